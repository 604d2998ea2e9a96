//! Details that Galene's own clients rely on, each easy to lose and hard to notice. Those that
//! other tests pin down are not repeated here.

mod world;

use serde_json::{Value, json};
use signalling::{Token, UnixMs, parse_description};
use world::{World, group, kinds};

#[test]
fn an_empty_name_is_echoed_and_no_permissions_are_left_out() {
    let mut world = World::new(r#"{"wildcard-user":{"password":{"type":"wildcard"}}}"#);
    let conn = world.join_as("x", "", "");
    let said = world.take(conn);
    assert_eq!(kinds(&said), ["joined/join", "user/add"]);
    for message in &said {
        assert_eq!(message["username"], "", "{message}");
        assert!(message.get("permissions").is_none(), "{message}");
    }
}

/// `need-username` and `duplicate-username` are the only identifiers of a failed join.
#[test]
fn failed_joins_carry_no_other_identifier() {
    let file = r#"{"max-clients":1,"users":{"op":{"password":"pw","permissions":"op"},
        "bad":{"password":{"type":"rot13"},"permissions":"op"}},
        "wildcard-user":{"password":{"type":"wildcard"}}}"#;
    let mut world = World::new(file);
    world.files.insert("broken".into(), group("{"));
    let op = world.join_as("op", "op", "pw");
    for (group, username, password) in [
        ("test", "op", "no"),
        ("test", "bad", "x"),
        ("test", "zoe", "x"),
        ("none", "zoe", "x"),
        ("broken", "zoe", "x"),
        ("/", "zoe", "x"),
    ] {
        let conn = world.greet("y");
        world.say(
            conn,
            json!({"type": "join", "kind": "join", "group": group, "username": username,
                "password": password}),
        );
        let said = world.take(conn);
        assert_eq!(kinds(&said), ["joined/fail"], "{group} {username}");
        assert!(said[0].get("error").is_none() && said[0]["value"].is_string(), "{said:?}");
    }
    // An op gets in even when the group is full.
    assert!(!world.take(op).is_empty());
    let second = world.join_as("second", "op", "pw");
    assert_eq!(world.take(second)[0]["kind"], "join");
}

/// A token's permissions are what it says, whatever the group's flags would add.
#[test]
fn tokens_are_not_widened_by_flags() {
    let mut world = World::new(r#"{"allow-recording":true,"unrestricted-tokens":true}"#);
    world.tokens.push(Token {
        token: "t".into(),
        group: "test".into(),
        username: Some("x".into()),
        permissions: vec!["op".into(), "present".into()],
        expires: Some(UnixMs(world.now.unix.0 + 1000)),
        ..Token::default()
    });
    let conn = world.greet("x");
    world.say(conn, json!({"type": "join", "kind": "join", "group": "test", "token": "t"}));
    assert_eq!(world.take(conn)[0]["permissions"], json!(["op", "present"]));
}

/// The same idea has three spellings; each is unknown where another belongs.
#[test]
fn keys_are_spelt_as_galene_spells_them() {
    for key in ["display-name", "wildcardUser", "maxClients", "auth-keys", "notBefore", "auto-lock"]
    {
        let text = format!("{{\"{key}\":null}}");
        assert!(parse_description("g", text.as_bytes()).is_err(), "{key}");
    }
    let token: Token = serde_json::from_value(
        json!({"token": "t", "include-subgroups": true, "notBefore": "2026-01-01T00:00:00Z"}),
    )
    .expect("unknown keys of tokens are ignored");
    assert!(!token.include_subgroups && token.not_before.is_none());
}

/// A lock never lifts by itself, not even when an op comes.
#[test]
fn only_unlock_unlocks() {
    let file = r#"{"autolock":true,"users":{"op":{"password":{"type":"wildcard"},
        "permissions":"op"}},"wildcard-user":{"password":{"type":"wildcard"}}}"#;
    let mut world = World::new(file);
    for _ in 0..2 {
        let op = world.member("op", "op");
        let conn = world.join_as("x", "x", "");
        assert_eq!(world.take(conn)[0]["value"], "this group is locked");
        world.say(op, json!({"type": "groupaction", "kind": "unlock"}));
        let conn = world.join_as("y", "y", "");
        assert_eq!(world.take(conn)[0]["kind"], "join");
        world.disconnect(conn);
        world.disconnect(op);
    }
}

/// What only the server may say carries `privileged`, and no client can forge it.
#[test]
fn only_operators_and_the_server_are_privileged() {
    let file = r#"{"users":{"op":{"password":{"type":"wildcard"},"permissions":"op"}},
        "wildcard-user":{"password":{"type":"wildcard"},"permissions":"present"}}"#;
    let mut world = World::new(file);
    let (op, ann) = (world.member("op", "op"), world.member("ann", "ann"));
    world.take(op);
    for kind in ["kicked", "mute", "clearchat", "token", "error", "warning", "userinfo"] {
        let forged = json!({"type": "usermessage", "kind": kind, "dest": "op", "privileged": true,
            "time": "2001-01-01T00:00:00Z", "value": "x"});
        world.say(ann, forged);
        let heard: Vec<Value> = world.take(op);
        assert_eq!(heard.len(), 1);
        assert!(heard[0].get("privileged").is_none(), "{kind}");
        assert_eq!((&heard[0]["source"], &heard[0]["username"]), (&json!("ann"), &json!("ann")));
        assert_ne!(heard[0]["time"], "2001-01-01T00:00:00Z");
    }
}
