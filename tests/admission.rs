//! What would drown the server is turned away with a word, and those inside do not notice.

mod server;

use serde_json::{Value, json};
use server::{Server, request};

#[tokio::test]
async fn a_full_server_says_so() {
    let server = Server::start_with(&["-insecure", "--memory", "1"], |scratch| {
        scratch.write("groups/test.json", server::OPEN);
    });
    let upgrade = "GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for head in [upgrade, "POST /group/test/.whip HTTP/1.1\r\n", "POST /group/test/ HTTP/1.1\r\n"] {
        let refused = request(server.port, head, b"");
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("30")), "{head}");
    }
    assert_eq!(server.get("/readyz").status, 503);
    assert_eq!(server.get("/healthz").status, 200, "it lives");
    assert_eq!(server.get("/group/test/").status, 200, "pages cost nothing that stays");
}

/// Some milliseconds of hashing each, so that they pile up.
const STORM: &str = r#"{"users":{"op":{"password":"pw","permissions":"op"},
    "class":{"password":{"type":"pbkdf2","hash":"sha-256","iterations":40000,"salt":"73616c74",
        "key":"00"},"permissions":"present"}},
    "wildcard-user":{"password":"guest","permissions":"present"}}"#;

#[tokio::test]
async fn a_storm_of_passwords_is_answered_and_holds_nobody_else_up() {
    let server = Server::start_with(&["-insecure"], |scratch| {
        scratch.write("groups/test.json", STORM);
    });
    let join = |username: &str, password: &str| {
        json!({"type": "join", "kind": "join", "group": "test", "username": username,
            "password": password})
    };
    let mut storm = Vec::new();
    for index in 0..400 {
        let mut client = server.greet(&format!("s{index}")).await;
        client.say(join("class", "wrong")).await;
        storm.push(client);
    }
    // Plain passwords need no worker: a student and the teacher come in past the queue.
    for (username, password) in [("zoe", "guest"), ("op", "pw")] {
        let mut client = server.greet(username).await;
        client.say(join(username, password)).await;
        assert_eq!(client.hear().await["kind"], "join", "{username}");
    }
    let mut answers = std::collections::BTreeMap::<String, usize>::new();
    for client in &mut storm {
        let said = client.hear_until(|said| said["type"] == "joined").await;
        let value: &Value = &said.last().expect("an answer")["value"];
        *answers.entry(value.as_str().expect("a reason").to_owned()).or_default() += 1;
    }
    assert_eq!(answers.values().sum::<usize>(), 400, "everybody has an answer: {answers:?}");
    let known = ["not authorised", "server busy, try again"];
    assert!(answers.keys().all(|answer| known.contains(&answer.as_str())), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_edited_all_the_time_keeps_the_door_open() {
    let server = Server::start();
    let path = server.scratch.0.join("groups/test.json");
    let _first = server.join("first").await;
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // As a careless editor does it: half a file, then the rest.
            let mut round = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                round += 1;
                let whole = format!("{{\"op\":[{{}}],\"comment\":\"{round}\"}}");
                std::fs::write(&path, &whole[..whole.len() / 2]).expect("it is written");
                std::thread::yield_now();
                std::fs::write(&path, &whole).expect("it is written");
            }
        });
        let joins = async {
            for index in 0..60 {
                // Panics unless it becomes a member.
                server.join(&format!("j{index}")).await;
            }
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(joins));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn ten_thousand_groups_are_no_trouble() {
    let server = Server::start_with(&["-insecure"], |scratch| {
        scratch.write(
            "data/config.json",
            r#"{"users":{"root":{"password":"pw","permissions":"admin"}}}"#,
        );
        for index in 0..10_000 {
            let path = scratch.0.join(format!("groups/g{index:05}.json"));
            std::fs::write(path, server::OPEN).expect("it is written");
        }
    });
    let head = "GET /galene-api/v0/.groups/ HTTP/1.1\r\nAuthorization: Basic cm9vdDpwdw==\r\n";
    let names: Vec<String> = serde_json::from_slice(&server.request(head, b"").body).unwrap();
    assert_eq!(names.len(), 10_000);
    assert!(names.is_sorted());
    assert_eq!(server.get("/group/g09999/").status, 200);
}

#[tokio::test]
async fn the_log_has_no_secrets_and_where_it_is_wanted_no_names() {
    for (form, names) in [("text", "--redact-logs"), ("json", "--redact-logs"), ("json", "")] {
        let mut arguments = vec!["-insecure", "--log", form];
        arguments.extend(Some(names).filter(|names| !names.is_empty()));
        let server = Server::start_with(&arguments, |scratch| {
            scratch.write(
                "groups/test.json",
                r#"{"users":{"hidden-name":{"password":"hidden-pw","permissions":"op"}}}"#,
            );
            scratch.write(
                "data/config.json",
                r#"{"users":{"hidden-root":{"password":"hidden-pw","permissions":"admin"}}}"#,
            );
        });
        for (username, password) in [
            ("hidden-name", "hidden-pw"),
            ("hidden-name", "hidden-wrong"),
            ("hidden\u{1b}[31m", "x"),
        ] {
            let mut client = server.greet("shown-id").await;
            client
                .say(json!({"type": "join", "kind": "join", "group": "test",
                    "username": username, "password": password, "token": ""}))
                .await;
            client.hear().await;
            client.say(json!({"type": "chat", "value": "hidden-word\n\u{1b}[31m"})).await;
            client
                .say(json!({"type": "groupaction", "kind": "lock", "value": "hidden-lock"}))
                .await;
            client.say(json!({"type": "nonsense"})).await;
            client.closed().await;
        }
        for authorization in ["Basic aGlkZGVuLXJvb3Q6aGlkZGVuLXB3", "Bearer hidden-token"] {
            let head = format!(
                "GET /galene-api/v0/.groups/hidden-group HTTP/1.1\r\nAuthorization: {authorization}\r\n"
            );
            server.request(&head, b"");
        }
        let whip = "POST /group/test/.whip?token=hidden-token HTTP/1.1\r\n\
            Content-Type: application/sdp\r\nAuthorization: Bearer hidden-bearer\r\n";
        server.request(whip, b"v=0 hidden-sdp");
        let log = server.log();
        assert!(log.contains("shown-id"), "{log}");
        if names.is_empty() {
            assert!(log.contains("hidden-name"), "{log}");
            for secret in ["pw", "wrong", "word", "lock", "token", "bearer", "sdp"] {
                assert!(!log.contains(&format!("hidden-{secret}")), "{secret}: {log}");
            }
        } else {
            assert!(!log.contains("hidden"), "{log}");
        }
        assert!(!log.contains('\u{1b}') && !log.contains("127.0.0.1:"), "{log}");
        for line in log.lines().filter(|_| form == "json") {
            serde_json::from_str::<Value>(line).expect("one JSON object on each line");
        }
    }
}
