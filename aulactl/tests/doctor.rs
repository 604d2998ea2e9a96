//! `doctor` where something is wrong that no real server of the tests can show.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};

/// Answers one request after another as a server whose media port is `udp` does.
fn answer(mut stream: TcpStream, udp: u16) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
        if line.is_empty() {
            break;
        }
    }
    reader.take(length).read_to_end(&mut Vec::new())?;
    let answer = format!(
        "v=0\r\na=ice-ufrag:a000001xxxxxxxxxxxx\r\na=ice-pwd:pw\r\n\
         a=candidate:1 1 udp 1 127.0.0.1 {udp} typ host\r\n"
    );
    let (status, body) = match first.split(' ').next() {
        Some("POST") => ("201 Created\r\nLocation: /session", answer.as_str()),
        _ => ("200 OK", "[]"),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[test]
fn regression_a_silent_port_is_told_with_its_number_and_the_flags_that_set_it() {
    // Nobody answers there, and nobody else takes it.
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let udp = silent.local_addr().expect("an address").port();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    // It ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that is gone misses its answer.
            let _ = answer(stream, udp);
        }
    });
    let output = Command::new(env!("CARGO_BIN_EXE_aulactl"))
        .args(["doctor", "-remote", "-server", &url, "-group", "g", "-probes", "1"])
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let line = format!("BAD   no answer from 127.0.0.1 on UDP port {udp}: is it the server's port");
    assert!(said.contains(&line) && said.contains("--udp-port"), "{said}");
}
