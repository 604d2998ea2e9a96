//! `kill -9` while the administration API writes: what was acknowledged is there afterwards, and
//! no file is ever half of anything.

mod server;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use server::{Scratch, Server};

const CONFIG: &str =
    r#"{"writableGroups":true,"users":{"root":{"password":"pw","permissions":"admin"}}}"#;
const KILLS: u64 = 200;
const TOKEN_END: &str = "2999-01-01T00:00:00Z";

/// One request; nothing if the server died over it.
fn put(port: u16, path: &str, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(server::LIMIT)).ok()?;
    let request = format!(
        "PUT /galene-api/v0/.groups/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Authorization: Basic cm9vdDpwdw==\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// What was tried last, and what was acknowledged last.
#[derive(Default)]
struct Progress {
    tried: AtomicU64,
    acknowledged: AtomicU64,
}

impl Progress {
    /// Writes ever higher numbers until the server is gone.
    fn write(&self, port: u16, request: impl Fn(u64) -> (String, String)) {
        loop {
            let number = self.tried.fetch_add(1, Ordering::SeqCst) + 1;
            let (path, body) = request(number);
            match put(port, &path, &body) {
                Some(201 | 204) => self.acknowledged.store(number, Ordering::SeqCst),
                Some(status) => panic!("{path}: {status}"),
                None => return,
            }
        }
    }

    fn check(&self, found: u64, what: &str) {
        let range = self.acknowledged.load(Ordering::SeqCst)..=self.tried.load(Ordering::SeqCst);
        assert!(range.contains(&found), "{what}: {found} is not in {range:?}");
    }
}

fn group_number(scratch: &Scratch) -> u64 {
    let text = fs::read(scratch.0.join("groups/sub/g.json")).unwrap_or_else(|_| b"{}".to_vec());
    let group: Value = serde_json::from_slice(&text).expect("a whole group file");
    group["max-clients"].as_u64().unwrap_or_default()
}

fn token_number(scratch: &Scratch) -> u64 {
    let text = fs::read_to_string(scratch.0.join("data/var/tokens.jsonl")).unwrap_or_default();
    let tokens = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("whole lines"));
    let names = tokens.map(|token| token["username"].as_str().expect("a name").to_owned());
    names.map(|name| name.parse().expect("a number")).max().unwrap_or_default()
}

#[test]
fn two_hundred_kills_damage_nothing() {
    let mut scratch = Scratch::new();
    scratch.write("data/config.json", CONFIG);
    let (groups, tokens) = (Progress::default(), Progress::default());
    for round in 0..KILLS {
        let server = Server::start_in(scratch, &["-insecure"]);
        let port = server.port;
        scratch = std::thread::scope(|scope| {
            scope.spawn(|| {
                let body = |number| format!("{{\"max-clients\":{number}}}");
                groups.write(port, |number| ("sub/g".to_owned(), body(number)));
            });
            scope.spawn(|| {
                tokens.write(port, |number| {
                    let body = format!(
                        "{{\"username\":\"{number}\",\"permissions\":[],\"expires\":\"{TOKEN_END}\"}}"
                    );
                    (".tokens/t".to_owned(), body)
                });
            });
            // A different moment each time; none of them matters more than the others.
            std::thread::sleep(Duration::from_millis(round * 7 % 40));
            server.kill()
        });
        groups.check(group_number(&scratch), "group");
        tokens.check(token_number(&scratch), "token");
    }
    assert!(groups.acknowledged.load(Ordering::SeqCst) > 0, "something was written");
    assert!(tokens.acknowledged.load(Ordering::SeqCst) > 0, "something was written");
    let left = fs::read_dir(scratch.0.join("groups/sub")).expect("a folder").count();
    assert!(left <= 2, "temporary files pile up: {left}");
    // And it serves.
    let server = Server::start_in(scratch, &["-insecure"]);
    assert_eq!(server.get("/group/sub/g/").status, 200);
}
