//! What administrators do to a group while it goes on, and what other programs are told of it.

mod server;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use server::{OPEN, Response, Server};

const CONFIG: &str = r#"{"users":{"root":{"password":"pw","permissions":"admin"}}}"#;

fn ask(server: &Server, method: &str, path: &str, body: &str) -> Response {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let length = if method == "PUT" { "Content-Length: 0\r\n" } else { "" };
    let head = format!(
        "{method} /galene-api/v0/.groups/test/{path} HTTP/1.1\r\n\
         Authorization: Basic cm9vdDpwdw==\r\n{kind}{length}"
    );
    server.request(&head, body.as_bytes())
}

#[tokio::test]
async fn an_administrator_looks_in_speaks_mutes_locks_and_sends_out() {
    let server = Server::start_with(&["-insecure"], |scratch| {
        scratch.write("data/config.json", CONFIG);
        scratch.write(
            "groups/test.json",
            r#"{"wildcard-user":{"password":{"type":"wildcard"},"permissions":"present"}}"#,
        );
    });
    assert_eq!(ask(&server, "GET", ".clients/", "").text().trim(), "[]");
    assert_eq!(ask(&server, "POST", ".mute", "").status, 404, "nobody is there");
    let head = "GET /galene-api/v0/.groups/nothing/.clients/ HTTP/1.1\r\n\
        Authorization: Basic cm9vdDpwdw==\r\n";
    assert_eq!(server.request(head, b"").status, 404, "there is no such group");
    let mut ann = server.join("ann").await;
    let listed: Value = serde_json::from_slice(&ask(&server, "GET", ".clients/", "").body).unwrap();
    assert_eq!(listed[0]["id"], "ann");
    assert_eq!((&listed[0]["username"], &listed[0]["chats"]), (&json!("ann"), &json!(true)));
    assert_eq!(ask(&server, "GET", ".clients/ann", "").status, 200);
    assert_eq!(ask(&server, "GET", ".clients/bob", "").status, 404);

    assert_eq!(ask(&server, "POST", ".message", r#"{"message":"five minutes"}"#).status, 204);
    let heard = ann.hear_until(|said| said["kind"] == "warning").await;
    assert_eq!(heard.last().unwrap()["value"], "five minutes");
    assert_eq!(ask(&server, "POST", ".message", r#"{"mesage":"x"}"#).status, 400);
    assert_eq!(ask(&server, "POST", ".clients/ann/.mute", "").status, 204);
    let heard = ann.hear_until(|said| said["kind"] == "mute").await;
    assert_eq!(heard.last().unwrap()["privileged"], true);

    assert_eq!(ask(&server, "PUT", ".lock?message=exam%20goes%20on", "").status, 204);
    let mut late = server.greet("late").await;
    late.say(json!({"type": "join", "kind": "join", "group": "test", "username": "late"})).await;
    let heard = late.hear_until(|said| said["type"] == "joined").await;
    assert_eq!(heard.last().unwrap()["value"], "exam goes on");
    assert_eq!(ask(&server, "DELETE", ".lock", "").status, 204);
    server.join("bob").await;

    assert_eq!(ask(&server, "DELETE", ".clients/ann/.streams/s", "").status, 404);
    assert_eq!(ask(&server, "DELETE", ".clients/ann?message=time%20is%20up", "").status, 204);
    let heard = ann.hear_until(|said| said["kind"] == "kicked").await;
    assert_eq!(heard.last().unwrap()["value"], "time is up");
    assert_eq!(ask(&server, "DELETE", ".clients/ann", "").status, 404);
    let stranger = server.get("/galene-api/v0/.groups/test/.clients/");
    assert_eq!(stranger.status, 401);
}

/// One request to a receiver; it gets this status.
fn receive(listener: &TcpListener, status: u16) -> (String, Value) {
    let (mut stream, _) = listener.accept().expect("a message");
    stream.set_read_timeout(Some(server::LIMIT)).expect("a limit");
    let mut reader = BufReader::new(stream.try_clone().expect("our own"));
    let (mut signature, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim().is_empty() {
                break;
            }
            assert!(line.starts_with("POST /hook?x=1 "), "{line}");
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "x-aula-signature" => value.clone_into(&mut signature),
            "content-length" => length = value.parse().expect("a length"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body");
    let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).expect("the answer");
    let (time, tag) = signature.split_once(",v1=").expect("two parts");
    let time = time.strip_prefix("t=").expect("a time");
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"shared");
    let signed = [time.as_bytes(), b".", &body].concat();
    let own: String =
        hmac::sign(&key, &signed).as_ref().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(tag, own, "signed by who knows the secret");
    (signature, serde_json::from_slice(&body).expect("JSON"))
}

#[tokio::test]
async fn other_programs_are_told_signed_and_once_more_if_need_be() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("ours").port();
    // Somebody who accepts and never answers must not hold the others up.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a port");
    let deaf_port = deaf.local_addr().expect("ours").port();
    let config = json!({"webhooks": [
        {"url": format!("http://127.0.0.1:{deaf_port}/"), "secret": "shared"},
        {"url": format!("http://127.0.0.1:{port}/hook?x=1"), "secret": "shared",
            "events": ["joined", "left"]},
    ]});
    let server = Server::start_with(&["-insecure"], |scratch| {
        scratch.write("data/config.json", config.to_string());
        scratch.write("groups/test.json", OPEN);
    });
    let told = tokio::task::spawn_blocking(move || {
        let (first, refused) = receive(&listener, 500);
        let (_, again) = receive(&listener, 204);
        assert_eq!(refused, again, "what was not taken comes again");
        assert!(first.starts_with("t="));
        let (_, left) = receive(&listener, 200);
        (again, left)
    });
    let client = server.join("ann").await;
    drop(client);
    let (joined, left) =
        tokio::time::timeout(Duration::from_secs(240), told).await.unwrap().unwrap();
    assert_eq!((&joined["event"], &joined["group"]), (&json!("joined"), &json!("test")));
    assert_eq!((&joined["client"], &joined["username"]), (&json!("ann"), &json!("ann")));
    assert!(joined["permissions"].as_array().is_some_and(|list| !list.is_empty()));
    assert!(joined["time"].as_str().is_some_and(|time| time.ends_with('Z')));
    assert_eq!((&left["event"], &left["client"]), (&json!("left"), &json!("ann")));
    assert!(!server.log().contains("shared"), "the secret stays one");
}
