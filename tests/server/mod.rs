//! The real server in a directory of its own, on a port that the system chooses, and plain
//! clients for it. Nothing waits for a time; everything waits for a condition, generously.
#![allow(dead_code)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream as BlockingStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error as WebSocketError;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, client_async};

const OWN: [&str; 6] = ["-http", "127.0.0.1:0", "--shards", "1", "--advertise", "127.0.0.1"];
pub(crate) const OPEN: &str = r#"{"op":[{}],"allow-anonymous":true}"#;
/// Far beyond what anything here takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(240);

/// A directory that goes away with the test.
pub(crate) struct Scratch(pub PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("aula-test-{}-{serial}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("groups")).expect("a directory for the test");
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("inside")).expect("a directory for the file");
        // As a careful editor does it: never half a file.
        let temporary = path.with_extension("new");
        fs::write(&temporary, text).expect("the file is written");
        fs::rename(temporary, path).expect("the file is in place");
    }

    /// Runs the server to its end; gives its exit code and standard error.
    pub(crate) fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let (code, _, stderr) = self.run_for_output(arguments);
        (code, stderr)
    }

    /// As [`Self::run`], with standard output before standard error.
    pub(crate) fn run_for_output(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = command(&self.0, arguments).output().expect("the server runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aula"));
    command.current_dir(directory).args(arguments).stdin(Stdio::null());
    command
}

pub(crate) struct Server {
    pub scratch: Scratch,
    pub port: u16,
    /// Where the operator's listener is, if there is one.
    pub metrics_port: Option<u16>,
    pub child: Child,
}

impl Server {
    /// Plain HTTP, with the open group `test`.
    pub(crate) fn start() -> Self {
        Self::start_with(&["-insecure"], |scratch| scratch.write("groups/test.json", OPEN))
    }

    pub(crate) fn start_with(arguments: &[&str], prepare: impl FnOnce(&Scratch)) -> Self {
        let scratch = Scratch::new();
        prepare(&scratch);
        Self::start_in(scratch, arguments)
    }

    /// In a directory that is there already.
    pub(crate) fn start_in(scratch: Scratch, arguments: &[&str]) -> Self {
        let arguments: Vec<&str> = OWN.iter().chain(arguments).copied().collect();
        let command = command(&scratch.0, &arguments);
        Self::spawn(scratch, command)
    }

    /// In the control group of this folder.
    pub(crate) fn start_grouped(folder: &Path, prepare: impl FnOnce(&Scratch)) -> Self {
        let scratch = Scratch::new();
        prepare(&scratch);
        let mut command = Command::new("sh");
        command
            .current_dir(&scratch.0)
            .args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""])
            .arg(folder)
            .arg(env!("CARGO_BIN_EXE_aula"))
            .args(OWN)
            .arg("-insecure")
            .stdin(Stdio::null());
        Self::spawn(scratch, command)
    }

    /// With a file system of its own for recordings, of so many bytes, which only the server sees;
    /// nothing where users may not have such a thing. As root, look below `/proc/PID/root`.
    pub(crate) fn start_mounted(
        size: &str,
        arguments: &[&str],
        prepare: impl FnOnce(&Scratch),
    ) -> Option<Self> {
        let is_possible =
            Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
        if !is_possible.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let scratch = Scratch::new();
        prepare(&scratch);
        fs::create_dir_all(scratch.0.join("recordings")).expect("a folder");
        let mut command = Command::new("unshare");
        command
            .current_dir(&scratch.0)
            .args(["-rm", "sh", "-c"])
            .arg("mount -t tmpfs -o size=$0 none recordings && cd . && exec \"$@\"")
            .arg(size)
            .arg(env!("CARGO_BIN_EXE_aula"))
            .args(OWN)
            .args(arguments)
            .stdin(Stdio::null());
        Some(Self::spawn(scratch, command))
    }

    /// The folder of recordings as the server sees it.
    pub(crate) fn recordings(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        let below = self.scratch.0.strip_prefix("/").expect("absolute");
        root.join(below).join("recordings")
    }

    fn spawn(scratch: Scratch, mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(fs::File::create(scratch.0.join("log")).expect("a log file"))
            .spawn()
            .expect("the server starts");
        let stdout = child.stdout.take().expect("piped");
        let mut lines = BufReader::new(stdout).lines();
        let mut metrics_port = None;
        let port = lines.find_map(|line| {
            let line = line.ok()?;
            if let Some(url) = line.strip_prefix("Metrics: http://127.0.0.1:") {
                metrics_port = url.split('/').next().and_then(|port| port.parse().ok());
                return None;
            }
            let (_, url) = line.split_once("://")?;
            let (_, port) = url.split('/').next()?.rsplit_once(':')?;
            port.parse().ok()
        });
        let port = port.unwrap_or_else(|| panic!("no port: {}", log_of(&scratch)));
        Self { scratch, port, metrics_port, child }
    }

    pub(crate) fn log(&self) -> String {
        log_of(&self.scratch)
    }

    pub(crate) fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("process ids are small");
        // SAFETY: `pid` is our own child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Waits for the end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// One HTTP/1.1 request on a connection of its own.
    pub(crate) fn request(&self, head: &str, body: &[u8]) -> Response {
        request(self.port, head, body)
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.request(&format!("GET {path} HTTP/1.1\r\n"), b"")
    }

    pub(crate) async fn connect(&self) -> Client {
        self.try_connect().await.expect("a WebSocket")
    }

    /// A WebSocket, or the status of the refusal.
    pub(crate) async fn try_connect(&self) -> Result<Client, u16> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("it listens");
        match client_async(format!("ws://127.0.0.1:{}/ws", self.port), stream).await {
            Ok((socket, _)) => Ok(Client { socket }),
            Err(WebSocketError::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// A client that has said hello.
    pub(crate) async fn greet(&self, id: &str) -> Client {
        let mut client = self.connect().await;
        client.hello(id).await;
        client
    }

    /// A member of `test`, once it knows that it is one.
    pub(crate) async fn join(&self, id: &str) -> Client {
        let mut client = self.greet(id).await;
        client.say(json!({"type": "join", "kind": "join", "group": "test", "username": id})).await;
        client.hear_until(|said| said["type"] == "user" && said["id"] == id).await;
        client
    }
}

impl Server {
    /// Ends it without a warning, and gives its directory.
    pub(crate) fn kill(mut self) -> Scratch {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
        Scratch(std::mem::take(&mut self.scratch.0))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_of(scratch: &Scratch) -> String {
    fs::read_to_string(scratch.0.join("log")).unwrap_or_default()
}

#[derive(Debug)]
pub(crate) struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) fn request(port: u16, head: &str, body: &[u8]) -> Response {
    let mut stream = BlockingStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    let length = if body.is_empty() && !head.starts_with("POST") {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let head = format!("{head}Host: 127.0.0.1:{port}\r\nConnection: close\r\n{length}\r\n");
    stream.write_all(head.as_bytes()).expect("the head is written");
    // A server that refuses a body need not read it.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        answer.extend_from_slice(&chunk[..read]);
    }
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Response { status, head, body: answer[split + 4..].to_vec() }
}

pub(crate) struct Client<S = TcpStream> {
    pub socket: WebSocketStream<S>,
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn say(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.expect("still open");
    }

    /// The next message.
    pub(crate) async fn hear(&mut self) -> Value {
        match self.next().await {
            Heard::Said(value) => value,
            Heard::Closed(frame) => panic!("closed: {frame:?}"),
        }
    }

    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            let message = tokio::time::timeout(LIMIT, self.socket.next()).await;
            match message.expect("something within the limit") {
                Some(Ok(Message::Text(text))) => {
                    return Heard::Said(serde_json::from_str(&text).expect("JSON"));
                }
                Some(Ok(Message::Close(frame))) => return Heard::Closed(frame),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::Closed(None),
            }
        }
    }

    /// Messages up to the one that is waited for, which is the last.
    pub(crate) async fn hear_until(&mut self, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut heard = Vec::new();
        loop {
            let said = self.hear().await;
            let is_last = is_it(&said);
            heard.push(said);
            if is_last {
                return heard;
            }
        }
    }

    /// The close code, whatever is said before it; 0 if there is none.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Heard::Closed(frame) = self.next().await {
                return frame.map_or((0, String::new()), |frame| {
                    (frame.code.into(), frame.reason.to_string())
                });
            }
        }
    }

    /// Says who it is, as every client does first.
    pub(crate) async fn hello(&mut self, id: &str) {
        self.say(json!({"type": "handshake", "version": ["2"], "id": id})).await;
        assert_eq!(self.hear().await, json!({"type": "handshake", "version": ["2"]}));
    }

    /// Proves that the server still serves this client.
    pub(crate) async fn ping(&mut self) {
        self.say(json!({"type": "ping"})).await;
        self.hear_until(|said| said["type"] == "pong").await;
    }
}

pub(crate) enum Heard {
    Said(Value),
    Closed(Option<CloseFrame>),
}

/// Waits for a condition.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "still waiting for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that nobody has, for TCP and UDP. Where the system does not choose: nobody else is given it.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 8_000) as u16;
    let is_free = |port: &u16| {
        TcpListener::bind(("0.0.0.0", *port)).is_ok() && UdpSocket::bind(("0.0.0.0", *port)).is_ok()
    };
    let next = || first + NEXT.fetch_add(1, Ordering::Relaxed);
    std::iter::repeat_with(next).find(is_free).expect("a free port")
}
