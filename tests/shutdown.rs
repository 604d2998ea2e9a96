//! An orderly end: with nobody, with members, with members that do not listen.

mod server;

use std::time::Duration;

use serde_json::json;
use server::{OPEN, Server};

#[test]
fn an_empty_server_ends_with_zero() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut server = Server::start();
        assert_eq!(server.get("/readyz").status, 200);
        server.signal(signal);
        assert_eq!(server.ended().code(), Some(0));
    }
}

#[tokio::test]
async fn members_are_told_and_the_server_ends_with_zero() {
    let mut server = brisk();
    let mut ann = server.join("ann").await;
    server.signal(libc::SIGTERM);
    let heard = ann.hear_until(|said| said["kind"] == "kicked").await;
    assert_eq!(heard.last().unwrap()["value"], "server is shutting down");
    assert!(heard.iter().any(|said| said["kind"] == "change" && said["status"]["locked"] == true));
    assert_eq!(ann.closed().await.0, 1000);
    assert_eq!(server.ended().code(), Some(0));
}

/// People can finish their sentence, newcomers are turned away, and nobody waits for an empty
/// room.
#[tokio::test]
async fn members_may_stay_for_a_while_and_the_log_tells_the_story() {
    let arguments = ["-insecure", "--drain", "3600"];
    let mut server =
        Server::start_with(&arguments, |scratch| scratch.write("groups/test.json", OPEN));
    let mut ann = server.join("ann").await;
    let mut bob = server.join("bob").await;
    server.signal(libc::SIGTERM);
    let heard = ann.hear_until(|said| said["error"] == "stopping").await;
    let last = heard.last().unwrap();
    assert_eq!((&last["kind"], &last["privileged"]), (&json!("warning"), &json!(true)));
    assert_eq!(last["value"], "The server stops in 3600 seconds.");
    ann.say(json!({"type": "chat", "dest": "", "value": "bye"})).await;
    bob.hear_until(|said| said["type"] == "chat" && said["value"] == "bye").await;
    drop((ann, bob));
    assert_eq!(server.ended().code(), Some(0));
    let log = server.log();
    for words in ["joined", "left", "group=\"test\"", "member=\"ann\"", "client=\"bob\""] {
        assert!(log.contains(words), "{words}: {log}");
    }
}

#[tokio::test]
async fn names_stay_out_of_the_log_where_that_is_wanted() {
    let arguments = ["-insecure", "--redact-logs"];
    let server = Server::start_with(&arguments, |scratch| {
        scratch.write("groups/test.json", r#"{"op":[{}]}"#);
    });
    let mut client = server.greet("x1").await;
    client
        .say(json!({"type": "join", "kind": "join", "group": "test", "username": "Quirin"}))
        .await;
    client.hear_until(|said| said["type"] == "user").await;
    server::until("the line", || server.log().contains("joined"));
    let log = server.log();
    assert!(log.contains("x1") && !log.contains("Quirin"), "{log}");
}

/// A server that waits for nobody.
fn brisk() -> Server {
    let arguments = ["-insecure", "--drain", "0"];
    Server::start_with(&arguments, |scratch| scratch.write("groups/test.json", OPEN))
}

#[tokio::test]
async fn those_who_never_joined_are_told_too() {
    let mut server = Server::start();
    let mut visitor = server.greet("visitor").await;
    server.signal(libc::SIGTERM);
    assert_eq!(visitor.closed().await, (1001, "server is shutting down".to_owned()));
    assert_eq!(server.ended().code(), Some(0));
}

#[tokio::test]
async fn a_member_that_does_not_listen_delays_the_end_but_not_for_ever() {
    let mut server = brisk();
    // It never answers the close frame.
    let stuck = server.join("stuck").await;
    server.signal(libc::SIGTERM);
    server::until("readiness to go", || server.get("/readyz").status == 503);
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.ended().code(), Some(0));
    drop(stuck);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut server = Server::start();
    let stuck = server.join("stuck").await;
    server.signal(libc::SIGTERM);
    server::until("readiness to go", || server.get("/readyz").status == 503);
    let started = std::time::Instant::now();
    server.signal(libc::SIGTERM);
    assert_eq!(server.ended().code(), Some(0));
    // Without the second signal it takes five seconds to give up on a close frame.
    assert!(started.elapsed() < Duration::from_secs(4));
    drop(stuck);
}
