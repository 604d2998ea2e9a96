//! `doctor` where something is wrong that no real server of the tests can show.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};

use socket2::{Domain, Socket, Type};

/// Answers one request after another as a server whose media ports are silent, as is its TURN server.
fn answer(mut stream: TcpStream, udp: u16, tcp: u16) -> std::io::Result<()> {
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
         a=candidate:1 1 udp 1 127.0.0.1 {udp} typ host\r\n\
         a=candidate:2 1 tcp 1 127.0.0.1 {tcp} typ host tcptype passive\r\n"
    );
    let mut created = "201 Created\r\nLocation: /session".to_owned();
    for url in [
        format!("turn:127.0.0.1:{udp}?transport=udp"),
        format!("turn:127.0.0.1:{tcp}?transport=tcp"),
        format!("turns:127.0.0.1:{tcp}?transport=tcp"),
    ] {
        let link = format!("<{url}>; rel=\"ice-server\"; username=\"1:1\"; credential=\"x\"");
        created.push_str(&format!("\r\nLink: {link}"));
    }
    let (status, body) = match first.split(' ').next() {
        Some("POST") => (created.as_str(), answer.as_str()),
        _ => ("200 OK", "[]"),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[test]
fn regression_silent_ports_are_told_with_their_numbers_and_the_flags_that_set_them() {
    // Nobody answers there, and nobody else takes it.
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let udp = silent.local_addr().expect("an address").port();
    // Connections to this one are refused.
    let closed = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    closed.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    let tcp = closed.local_addr().expect("an address").as_socket().expect("of IP").port();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    // It ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that is gone misses its answer.
            let _ = answer(stream, udp, tcp);
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
    for line in [
        "note  clients are told private addresses only (127.0.0.1): for people outside name the public one"
            .to_owned(),
        format!("BAD   no media over TCP from 127.0.0.1:{tcp} (Connection refused"),
        format!("does the firewall let TCP {tcp} through? A proxy"),
        format!("BAD   TURN over UDP at 127.0.0.1:{udp} does not answer ("),
        format!("does the firewall let UDP {udp} through to it?"),
        format!("BAD   TURN over TCP at 127.0.0.1:{tcp} does not answer (Connection refused"),
        format!("BAD   TURN over TLS at 127.0.0.1:{tcp} cannot be used (Connection refused"),
        "is the certificate one for this name that browsers trust?".to_owned(),
    ] {
        assert!(said.contains(&line), "{line}: {said}");
    }
}
