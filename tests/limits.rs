//! What greedy, broken and hostile clients get, and that nobody else notices.

mod server;

use std::io::{Read, Write};
use std::net::TcpStream as BlockingStream;
use std::time::Duration;

use futures_util::SinkExt;
use serde_json::json;
use server::{LIMIT, OPEN, Server, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{Bytes, Message};

#[tokio::test]
async fn a_message_of_two_mebibytes_closes_with_1009() {
    let server = Server::start();
    let mut bystander = server.join("by").await;
    let mut greedy = server.join("greedy").await;
    let big = json!({"type": "chat", "value": "x".repeat(2 * 1024 * 1024)}).to_string();
    // The server may close before all of it is written.
    let _ = greedy.socket.send(Message::text(big)).await;
    assert_eq!(greedy.closed().await.0, 1009);
    bystander.hear_until(|said| said["kind"] == "delete" && said["id"] == "greedy").await;
    bystander.ping().await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed_and_others_do_not_wait() {
    let server = Server::start();
    let mut talker = server.join("talker").await;
    let mut stuck = server.join("stuck").await;
    let mut bystander = server.join("by").await;
    let big = "x".repeat(60_000);
    // Its queue, the kernel's buffers and the budget of one talker: some seconds of talk.
    let mut is_gone = false;
    for round in 0..2000 {
        talker.say(json!({"type": "chat", "noecho": true, "value": big})).await;
        if round % 20 == 0 {
            talker.ping_until_quiet(&mut is_gone).await;
            bystander.ping().await;
        }
        if is_gone {
            break;
        }
        if round > 60 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert!(is_gone, "the client that does not read is still a member");
    assert_eq!(stuck.closed().await.0, 1013);
    bystander.ping().await;
}

impl server::Client {
    /// Reads what has come; notes if `stuck` has left.
    async fn ping_until_quiet(&mut self, is_gone: &mut bool) {
        self.say(json!({"type": "ping"})).await;
        let heard = self.hear_until(|said| said["type"] == "pong").await;
        *is_gone |= heard.iter().any(|said| said["kind"] == "delete" && said["id"] == "stuck");
    }
}

#[tokio::test]
async fn broken_framing_and_bad_text_have_their_codes() {
    let server = Server::start();
    let mut client = server.join("binary").await;
    client.socket.send(Message::binary(Bytes::from_static(&[0xff, 0xfe]))).await.unwrap();
    assert_eq!(client.closed().await.0, 1007);
    // Binary JSON is as good as text.
    let mut client = server.join("binary2").await;
    client.socket.send(Message::binary(Bytes::from_static(b"{\"type\":\"ping\"}"))).await.unwrap();
    client.hear_until(|said| said["type"] == "pong").await;
    // An unmasked frame, written past the library.
    let mut client = server.join("bare").await;
    client.socket.get_mut().write_all(b"\x81\x02{}").await.unwrap();
    assert_eq!(client.closed().await.0, 1002);
    let mut client = server.join("malformed").await;
    client.socket.send(Message::text("{\"type\":3}")).await.unwrap();
    assert_eq!(client.closed().await.0, 1011);
    let mut client = server.connect().await;
    client.say(json!({"type": "join"})).await;
    assert_eq!(client.closed().await, (1002, "you must handshake first".to_owned()));
    let mut client = server.join("unknown").await;
    client.say(json!({"type": "banana"})).await;
    assert_eq!(client.closed().await, (1002, "unexpected message".to_owned()));
}

#[tokio::test]
async fn a_message_in_one_byte_fragments_is_a_message() {
    let server = Server::start();
    let mut client = server.join("ann").await;
    let text = b"{\"type\":\"ping\"}";
    let mut frames = Vec::new();
    for (index, byte) in text.iter().enumerate() {
        let opcode = u8::from(index == 0) | if index + 1 == text.len() { 0x80 } else { 0 };
        // Masked with zeros.
        frames.extend_from_slice(&[opcode, 0x81, 0, 0, 0, 0, *byte]);
    }
    client.socket.get_mut().write_all(&frames).await.unwrap();
    client.hear_until(|said| said["type"] == "pong").await;
}

#[tokio::test]
async fn a_ping_flood_is_slowed_down_and_harms_nobody() {
    let server = Server::start();
    let mut bystander = server.join("by").await;
    let mut flooder = server.join("flood").await;
    let flood = async {
        for _ in 0..5000 {
            if flooder.socket.feed(Message::Ping(Bytes::from_static(b"x"))).await.is_err() {
                break;
            }
        }
        // The kernel's buffers may be full: that is the point.
        let _ = tokio::time::timeout(Duration::from_secs(1), flooder.socket.flush()).await;
    };
    let calm = async {
        for _ in 0..20 {
            bystander.ping().await;
        }
    };
    tokio::join!(flood, calm);
    bystander.ping().await;
}

#[test]
fn bodies_have_limits() {
    let server = Server::start();
    let post = |size: usize| {
        let head = "POST /group/test/.whip HTTP/1.1\r\nContent-Type: application/sdp\r\n";
        server.request(head, &vec![b'x'; size])
    };
    assert_eq!(post(2 * 1024 * 1024).status, 413);
    assert_eq!(post(257 * 1024).status, 413);
    assert_eq!(post(1024).status, 400);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn ambiguous_and_oversized_requests_are_refused() {
    let server = Server::start();
    for head in [
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc".to_owned(),
        "GET /\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(200_000)),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(10_000)),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(200_000)),
    ] {
        let mut stream = BlockingStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        // It may be refused before it is all written.
        let _ = stream.write_all(head.as_bytes());
        let mut answer = Vec::new();
        let mut chunk = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut chunk) {
            answer.extend_from_slice(&chunk[..read]);
        }
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{head:.60}: {answer:.60}");
    }
    assert_eq!(server.get("/healthz").status, 200);
}

#[tokio::test]
async fn slow_heads_and_silent_connections_are_cut_off() {
    let server = Server::start();
    let mut slow = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    let mut silent = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    for stream in [&mut slow, &mut silent] {
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "the server waits for ever");
    }
}

#[tokio::test]
async fn a_silent_tls_client_is_cut_off() {
    let server = Server::start_with(&[], |scratch| scratch.write("groups/test.json", OPEN));
    let mut silent = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(LIMIT, silent.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the server waits for ever");
}

#[test]
fn running_out_of_descriptors_is_survived_and_logged_sparingly() {
    let mut server = Server::start();
    let pid = i32::try_from(server.child.id()).unwrap();
    let limit = libc::rlimit { rlim_cur: 48, rlim_max: 48 };
    // SAFETY: `limit` outlives the call; the process is our own child.
    let set = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &limit, std::ptr::null_mut()) };
    assert_eq!(set, 0);
    // More than it can take, but no more than the kernel queues for it.
    let held: Vec<BlockingStream> =
        (0..100).filter_map(|_| BlockingStream::connect(("127.0.0.1", server.port)).ok()).collect();
    until("the error in the log", || server.log().contains("cannot accept connections"));
    drop(held);
    until("service as before", || {
        let ended = server.child.try_wait().unwrap();
        assert!(ended.is_none(), "{ended:?}: {}", server.log());
        let stream = BlockingStream::connect(("127.0.0.1", server.port));
        stream.is_ok_and(|mut stream| {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            let _ =
                stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).is_ok() && answer.ends_with(b"200")
        })
    });
    let lines = server.log().matches("cannot accept connections").count();
    assert!(lines < 60, "{lines} lines");
}
