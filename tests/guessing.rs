//! Guessing passwords at the administration API, directly and through proxies (docs/threats.md,
//! row 55).

mod server;

use server::{Response, Scratch, Server, until};

/// `root:pw`
const RIGHT: &str = "Basic cm9vdDpwdw==";
/// `root:no`
const WRONG: &str = "Basic cm9vdDpubw==";
/// `chief:pw`
const OTHER: &str = "Basic Y2hpZWY6cHc=";

fn configure(scratch: &Scratch, proxies: &str) {
    let users = r#""users":{"root":{"password":"pw","permissions":"admin"},
        "chief":{"password":"pw","permissions":"admin"}}"#;
    scratch.write("data/config.json", format!(r#"{{"trustedProxies":{proxies},{users}}}"#));
}

fn start(proxies: &str) -> Server {
    Server::start_with(&["-insecure"], |scratch| {
        configure(scratch, proxies);
        scratch.write("groups/test.json", server::OPEN);
    })
}

fn ask(server: &Server, path: &str, authorization: &str, forwarded: &str) -> Response {
    let forwarded = match forwarded {
        "" => String::new(),
        client => format!("X-Forwarded-For: {client}\r\n"),
    };
    let head = format!(
        "GET /galene-api/v0{path} HTTP/1.1\r\nAuthorization: {authorization}\r\n{forwarded}"
    );
    server.request(&head, b"")
}

fn status(server: &Server, authorization: &str, forwarded: &str) -> u16 {
    ask(server, "/.stats", authorization, forwarded).status
}

/// Guesses until the door is shut.
fn guess(server: &Server, forwarded: &str) -> Vec<u16> {
    // Whether the name exists where it is tried makes no difference.
    let paths = ["/.stats", "/.groups/", "/.groups/test", "/.groups/none", "/.stats", "/.stats"];
    paths.iter().map(|path| ask(server, path, WRONG, forwarded).status).collect()
}

const SHUT: [u16; 6] = [401, 401, 401, 401, 401, 429];

#[test]
fn after_five_wrong_passwords_the_door_is_shut_for_a_while() {
    let server = start("[]");
    assert_eq!(guess(&server, ""), SHUT);
    let shut = ask(&server, "/.stats", RIGHT, "");
    assert_eq!(shut.status, 429, "even for the right one: it would tell");
    let after: u64 = shut.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&after), "{after}");
    assert!(shut.text().contains("too many wrong passwords"), "{}", shut.text());
    assert_eq!(status(&server, OTHER, ""), 200, "others are not held up");
}

#[test]
fn who_has_been_right_before_is_not_shut_out_by_a_neighbour() {
    let server = start("[]");
    assert_eq!(status(&server, RIGHT, ""), 200);
    for _ in 0..6 {
        assert_eq!(status(&server, WRONG, ""), 401);
    }
    assert_eq!(status(&server, RIGHT, ""), 200);
}

/// The administrator of the server and a user of the group may have one name, and who is known as
/// the one is not therefore known as the other.
#[test]
fn who_is_known_in_a_group_is_not_known_on_the_server() {
    let server = Server::start_with(&["-insecure"], |scratch| {
        configure(scratch, "[]");
        // `root:no` is right here.
        let user = r#"{"users":{"root":{"password":"no","permissions":"admin"}}}"#;
        scratch.write("groups/test.json", user);
    });
    assert_eq!(ask(&server, "/.groups/test", WRONG, "").status, 200);
    for _ in 0..5 {
        assert_eq!(status(&server, WRONG, ""), 401);
    }
    assert_eq!(status(&server, WRONG, ""), 429);
    assert_eq!(ask(&server, "/.groups/test", WRONG, "").status, 429);
}

#[test]
fn clients_behind_a_trusted_proxy_count_one_by_one() {
    let server = start(r#"["127.0.0.1"]"#);
    assert_eq!(guess(&server, "198.51.100.1"), SHUT);
    // What stands further left is that client's own word.
    assert_eq!(status(&server, RIGHT, "203.0.113.9, 198.51.100.1"), 429);
    assert_eq!(status(&server, RIGHT, "198.51.100.2"), 200);
}

#[test]
fn an_address_that_a_stranger_claims_is_not_believed() {
    let server = start("[]");
    let statuses: Vec<u16> =
        (1..=6).map(|host| status(&server, WRONG, &format!("198.51.100.{host}"))).collect();
    assert_eq!(statuses, SHUT);
    assert_eq!(status(&server, RIGHT, "198.51.100.7"), 429);
    // The list is read again when it changes.
    configure(&server.scratch, r#"["127.0.0.0/8"]"#);
    until("the new list", || status(&server, RIGHT, "198.51.100.7") == 200);
}
