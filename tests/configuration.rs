//! Flags and files: what is wrong is said in one line, what changes is noticed.

mod server;

use serde_json::json;
use server::{OPEN, Scratch, Server, until};

#[test]
fn mistakes_end_with_78_and_one_line_that_names_the_fix() {
    for (name, text, arguments, words) in [
        (
            "groups/a.json",
            "{\n\"max-client\":1}",
            &["--check-config"][..],
            &["groups/a.json:2", "\"max-client\"", "did you mean \"max-clients\"?"][..],
        ),
        ("groups/sub/b.json", "{\"public\":", &["--check-config"], &["groups/sub/b.json:1"]),
        (
            "groups/a.json",
            r#"{"users":{"x":{"permissions":"opp"}}}"#,
            &["--check-config"],
            &["opp", "did you mean \"op\"?"],
        ),
        (
            "data/config.json",
            "{\"canonicalhosts\":\"x\"}",
            &["--check-config"],
            &["config.json:1", "did you mean \"canonicalHost\"?"],
        ),
        ("data/config.json", "{\"canonicalhosts\":\"x\"}", &[], &["config.json:1"]),
        ("data/cert.pem", "nonsense", &["--check-config"], &["cert.pem", "remove"]),
        ("data/var/tokens.jsonl", "\n{\"token\":3}", &["--check-config"], &["tokens.jsonl:2"]),
        ("groups/a.json", OPEN, &["--bananas"], &["--bananas", "--help"]),
        ("groups/a.json", OPEN, &["--shards", "99"], &["--shards", "1..16"]),
        ("groups/a.json", OPEN, &["-static", "nowhere"], &["--static", "nowhere"]),
        ("groups/a.json", OPEN, &["-udp-range", "9-1"], &["udp-range", "A-B"]),
        ("groups/a.json", OPEN, &["-groups", "groups/a.json"], &["--groups", "not a directory"]),
    ] {
        let scratch = Scratch::new();
        scratch.write(name, text);
        let (code, stderr) = scratch.run(arguments);
        assert_eq!(code, Some(78), "{arguments:?} {text}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        for word in words {
            assert!(stderr.contains(word), "{word:?} in {stderr}");
        }
    }
}

#[test]
fn a_good_configuration_is_said_to_be_good() {
    let scratch = Scratch::new();
    scratch.write("groups/a.json", OPEN);
    scratch.write("groups/b/c.json", OPEN);
    let (code, _) = scratch.run(&["--check-config"]);
    assert_eq!(code, Some(0));
    assert!(!scratch.0.join("data").exists(), "a check changes nothing");
    assert_eq!(scratch.run(&["--help"]).0, Some(0));
    assert_eq!(scratch.run(&["--version"]).0, Some(0));
}

#[test]
fn a_check_tells_everything_at_once() {
    let scratch = Scratch::new();
    for (name, text) in [
        ("data/config.json", "{"),
        ("data/ice-servers.json", "{"),
        ("data/var/tokens.jsonl", "{"),
        ("groups/a.json", "{"),
        ("groups/b.json", "{"),
        ("groups/c.json", r#"{"codecs":["theora"]}"#),
    ] {
        scratch.write(name, text);
    }
    let (code, stderr) = scratch.run(&["--check-config"]);
    assert_eq!(code, Some(78));
    let words = ["config.json:1", "tokens.jsonl:1", "ice-servers.json:1", "a.json:1", "b.json:1"];
    let words = words.iter().chain(&["c.json: unknown codec \"theora\""]);
    assert_eq!(stderr.lines().count(), words.clone().count(), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word} in {stderr}");
    }
}

#[test]
fn a_check_warns_of_what_is_ignored() {
    let scratch = Scratch::new();
    let user = r#"{"users":{"ann":{"password":{"type":"rot13"},"permissions":["op","presnt"]}}}"#;
    scratch.write("data/config.json", r#"{"admin":[],"users":{"root":{"permissions":"admin"}}}"#);
    scratch.write("data/ice-servers.json", r#"[{"urls":["foo:bar","stun:a.example"]}]"#);
    scratch.write("./groups/a.json", user);
    scratch.write("groups/b.json/c.json", "{}");
    let token = r#"{"token":"t","group":"a","permissions":["prsent"],"user":"x"}"#;
    scratch.write("data/var/tokens.jsonl", token);
    let arguments = ["--check-config", "-groups", "./groups", "-data", "data"];
    let (code, stdout, stderr) = scratch.run_for_output(&arguments);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for word in [
        "config.json: no user can administer the server",
        "config.json: admin has no effect",
        "ice-servers.json: entry 1: the URL \"foo:bar\" is skipped",
        "a.json: user \"ann\" cannot log in: unknown password type",
        "a.json: user \"ann\": the permission \"presnt\" means nothing: did you mean \"present\"?",
        "groups/b.json: a folder: only files are groups",
        "tokens.jsonl:1: the permission \"prsent\" means nothing: did you mean \"present\"?",
        "tokens.jsonl:1: the key \"user\" means nothing: did you mean \"username\"?",
        "tokens.jsonl:1: it has no expires, so it opens nothing",
        "configuration is good: 2 groups",
    ] {
        assert!(stdout.contains(word), "{word} in {stdout}");
    }
    let (code, stderr) = scratch.run(&["--check-config", "-groups", "gruops"]);
    assert_eq!(code, Some(78));
    assert!(stderr.contains("flag --groups: there is no folder gruops"), "{stderr}");
}

#[test]
fn a_damaged_file_of_tokens_is_told_at_once() {
    let server = Server::start_with(&["-insecure"], |scratch| {
        scratch.write("groups/test.json", OPEN);
        scratch.write("data/var/tokens.jsonl", "{");
        scratch.write("data/ice-servers.json", "{");
    });
    until("the complaint", || server.log().contains("tokens.jsonl:1"));
    assert!(server.log().contains("no token is good"), "{}", server.log());
    until("the other", || server.log().contains("clients are told of no servers"));
    server.scratch.write("data/var/tokens.jsonl", "");
    until("its end", || server.log().contains("tokens.jsonl is good again"));
    server.scratch.write("data/var/tokens.jsonl", "{{");
    until("the next complaint", || server.log().contains("good before stay so"));
}

#[test]
fn the_examples_are_good() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples");
    let (code, stderr) = Scratch::new().run(&["--check-config", "--groups", examples]);
    assert_eq!(code, Some(0), "{stderr}");
}

#[test]
fn a_taken_port_is_said_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let scratch = Scratch::new();
    let address = taken.local_addr().unwrap().to_string();
    let (code, stderr) = scratch.run(&["-insecure", "-http", &address]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("--http"), "{stderr}");
}

#[tokio::test]
async fn group_files_are_read_again_and_broken_edits_are_not() {
    let server = Server::start();
    let mut ann = server.join("ann").await;
    server.scratch.write("groups/test.json", r#"{"displayName":"Changed","op":[{}]}"#);
    let heard = ann.hear_until(|said| said["kind"] == "change").await;
    assert_eq!(heard.last().unwrap()["status"]["displayName"], "Changed");
    server.scratch.write("groups/test.json", "{\n\"displayName\": Broken");
    let heard = ann.hear_until(|said| said["kind"] == "warning").await;
    assert!(heard.last().unwrap()["value"].as_str().unwrap().contains("test.json:2"));
    assert!(server.log().contains("test.json:2"));
    // The old one stays in force.
    server.join("bob").await;
    // A new one needs no restart either.
    server.scratch.write("groups/new.json", OPEN);
    assert_eq!(server.get("/group/new/").status, 200);
    std::fs::remove_file(server.scratch.0.join("groups/new.json")).unwrap();
    assert_eq!(server.get("/group/new/").status, 404);
    ann.ping().await;
}

#[tokio::test]
async fn subgroups_appear_where_their_parent_lets_them() {
    let server = Server::start_with(&["-insecure"], |scratch| {
        scratch.write("groups/test.json", r#"{"auto-subgroups":true,"op":[{}]}"#);
        scratch.write("groups/closed.json", OPEN);
    });
    assert_eq!(server.get("/group/test/a/b/").status, 200);
    assert_eq!(server.get("/group/closed/a/").status, 404);
    let mut client = server.greet("ann").await;
    client.say(json!({"type": "join", "kind": "join", "group": "test/a", "username": "x"})).await;
    assert_eq!(client.hear().await["kind"], "join");
}

#[test]
fn the_configuration_is_read_again() {
    let server = Server::start();
    assert_eq!(server.get("/").status, 200);
    server.scratch.write("data/config.json", r#"{"canonicalHost":"aula.example"}"#);
    until("the redirect", || server.get("/").status == 301);
    server.scratch.write("data/config.json", r#"{"canonical":"#);
    until("the complaint", || server.log().contains("the old configuration stays"));
    assert_eq!(server.get("/").status, 301);
}

#[test]
fn the_certificate_is_read_again() {
    let server = Server::start_with(&[], |scratch| scratch.write("groups/test.json", OPEN));
    let other = Server::start_with(&[], |scratch| scratch.write("groups/test.json", OPEN));
    for name in ["data/key.pem", "data/cert.pem"] {
        let pem = std::fs::read(other.scratch.0.join(name)).unwrap();
        server.scratch.write(name, pem);
    }
    until("the new certificate", || server.log().contains("certificate read again"));
    server.scratch.write("data/cert.pem", "nonsense");
    until("the complaint", || server.log().contains("the old certificate stays"));
}

#[test]
fn logs_can_be_json_and_keep_names_to_themselves() {
    let server = Server::start_with(&["-insecure", "--log", "json"], |scratch| {
        scratch.write("groups/test.json", OPEN);
    });
    let log = server.log();
    let line = log.lines().next().expect("the warning about allow-anonymous");
    let entry: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(entry["level"], "WARN");
}
