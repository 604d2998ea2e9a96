//! Members of a class over real sockets: join, talk, moderate; with TLS and without.

mod server;

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::SinkExt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use server::{Client, OPEN, Server};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

#[tokio::test]
async fn members_see_and_hear_each_other() {
    let server = Server::start();
    let mut ann = server.join("ann").await;
    let mut bob = server.join("bob").await;
    let seen = ann.hear().await;
    assert_eq!((&seen["type"], &seen["id"]), (&json!("user"), &json!("bob")));
    ann.say(json!({"type": "chat", "value": "hello"})).await;
    let heard = bob.hear_until(|said| said["type"] == "chat").await;
    let chat = heard.last().unwrap();
    assert_eq!((&chat["source"], &chat["value"]), (&json!("ann"), &json!("hello")));
    ann.hear_until(|said| said["type"] == "chat").await;
    bob.say(json!({"type": "chat", "dest": "ann", "value": "psst"})).await;
    assert_eq!(ann.hear().await["value"], "psst");
    let mut late = server.greet("late").await;
    late.say(json!({"type": "join", "kind": "join", "group": "test", "username": "late"})).await;
    let heard = late.hear_until(|said| said["type"] == "user").await;
    let kinds: Vec<_> = heard.iter().map(|said| said["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["joined", "chathistory", "user"]);
}

#[tokio::test]
async fn ops_lock_and_kick() {
    let server = Server::start();
    let mut ann = server.join("ann").await;
    let mut bob = server.join("bob").await;
    ann.say(json!({"type": "groupaction", "kind": "lock", "value": "exam"})).await;
    let heard = bob.hear_until(|said| said["kind"] == "change").await;
    assert_eq!(heard.last().unwrap()["status"]["locked"], true);
    ann.say(json!({"type": "useraction", "kind": "kick", "dest": "bob", "value": "out"})).await;
    bob.hear_until(|said| said["kind"] == "kicked").await;
    assert_eq!(bob.closed().await, (1000, "kicked out (out) by ann".to_owned()));
    ann.hear_until(|said| said["kind"] == "delete").await;
}

#[tokio::test]
async fn a_tab_that_dies_disappears_from_the_list() {
    let server = Server::start();
    let mut ann = server.join("ann").await;
    let bob = server.join("bob").await;
    drop(bob);
    ann.hear_until(|said| said["kind"] == "delete" && said["id"] == "bob").await;
}

#[tokio::test]
async fn a_client_that_says_goodbye_is_answered() {
    let server = Server::start();
    let mut ann = server.join("ann").await;
    let frame = CloseFrame { code: CloseCode::Normal, reason: "bye".into() };
    ann.socket.send(Message::Close(Some(frame))).await.unwrap();
    assert_eq!(ann.closed().await.0, 1000);
}

#[tokio::test]
async fn a_class_joins_at_once_and_everyone_sees_everyone() {
    const MEMBERS: usize = 200;
    let server = Arc::new(Server::start());
    let joined = (0..MEMBERS).map(|index| {
        let server = server.clone();
        tokio::spawn(async move {
            let mut client = server.greet(&format!("c{index}")).await;
            let name = format!("n{index}");
            let join = json!({"type": "join", "kind": "join", "group": "test", "username": name});
            client.say(join).await;
            let mut seen = HashSet::new();
            while seen.len() < MEMBERS {
                let said = client.hear().await;
                if said["type"] == "user" {
                    assert!(seen.insert(said["id"].as_str().unwrap().to_owned()), "{said}");
                }
            }
            client
        })
    });
    let joined: Vec<_> = joined.collect();
    let mut clients = Vec::new();
    for task in joined {
        clients.push(task.await.unwrap());
    }
    clients[0].say(json!({"type": "chat", "value": "hello, all"})).await;
    for client in &mut clients {
        client.hear_until(|said| said["type"] == "chat").await;
    }
}

#[tokio::test]
async fn wrong_passwords_are_slow_for_the_guesser_alone() {
    let server = Server::start_with(&["-insecure"], |scratch| {
        scratch.write(
            "groups/test.json",
            r#"{"users":{"ann":{"password":"a","permissions":"op"}},
            "wildcard-user":{"password":{"type":"wildcard"},"permissions":"message"}}"#,
        );
    });
    let mut guesser = server.greet("guesser").await;
    let mut bystander = server.join("by").await;
    let join = json!({"type": "join", "kind": "join", "group": "test", "username": "ann",
        "password": "wrong"});
    let started = std::time::Instant::now();
    guesser.say(join).await;
    bystander.ping().await;
    let said = guesser.hear().await;
    assert_eq!((&said["kind"], &said["value"]), (&json!("fail"), &json!("not authorised")));
    assert!(started.elapsed() >= std::time::Duration::from_millis(200));
}

#[tokio::test]
async fn the_class_meets_over_tls_with_the_certificate_made_at_the_start() {
    let server = Server::start_with(&[], |scratch| scratch.write("groups/test.json", OPEN));
    let made = std::fs::read(server.scratch.0.join("data/cert.pem")).expect("a certificate");
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_slice_iter(&made) {
        roots.add(cert.expect("PEM")).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let url = format!("wss://localhost:{}/ws", server.port);
    let (socket, _) = client_async(url, stream).await.unwrap();
    let mut client = Client { socket };
    client.say(json!({"type": "handshake", "version": ["2"], "id": "ann"})).await;
    client.say(json!({"type": "join", "kind": "join", "group": "test", "username": "ann"})).await;
    client.hear_until(|said| said["kind"] == "add").await;
    use std::os::unix::fs::PermissionsExt as _;
    let key = std::fs::metadata(server.scratch.0.join("data/key.pem")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}
