//! People come and go at the real server: descriptors and memory come back.

mod server;

use std::fs;

use serde_json::{Value, json};
use server::{Server, until};

const ROUNDS: usize = 40;
const PEOPLE: usize = 25;

fn descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.child.id())).expect("it runs").count()
}

fn resident_kib(server: &Server) -> u64 {
    let status =
        fs::read_to_string(format!("/proc/{}/status", server.child.id())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

#[tokio::test]
async fn a_thousand_joins_and_leaves_return_what_they_took() {
    let server = Server::start_with(&["-insecure"], |scratch| {
        scratch.write("groups/test.json", server::OPEN);
        scratch.write(
            "data/config.json",
            r#"{"users":{"root":{"password":"pw","permissions":"admin"}}}"#,
        );
    });
    let (mut before, mut after_warming) = (0, 0);
    for round in 0..ROUNDS {
        let mut people = Vec::new();
        for index in 0..PEOPLE {
            let mut person = server.join(&format!("p{round}-{index}")).await;
            person.say(json!({"type": "chat", "value": "hello"})).await;
            people.push(person);
        }
        for mut person in people {
            // Half of them say goodbye, the others' computers die.
            if round % 2 == 0 {
                person.say(json!({"type": "join", "kind": "leave", "group": "test"})).await;
                person.hear_until(|said| said["kind"] == "leave").await;
            }
        }
        until("everybody to be gone", || {
            let head =
                "GET /galene-api/v0/.stats HTTP/1.1\r\nAuthorization: Basic cm9vdDpwdw==\r\n";
            let stats: Value = serde_json::from_slice(&server.request(head, b"").body).unwrap();
            stats == json!([{"name": "test"}])
        });
        if round == 0 {
            // All that the server itself opens is open by now.
            before = descriptors(&server);
        }
        if round == ROUNDS / 4 {
            after_warming = resident_kib(&server);
        }
    }
    until("the descriptors to be back", || descriptors(&server) <= before);
    let grown = resident_kib(&server).saturating_sub(after_warming);
    // Thirty rounds of 25 people: a leak of 16 KiB each would show.
    assert!(grown < 12 * 1024, "{grown} KiB more than after the first rounds");
}
