//! What is not a proper message, and what silence does.

mod world;

use std::time::Duration;

use serde_json::{Value, json};
use signalling::{CloseCode, ConnId};
use world::{OPEN, World, kinds};

fn close_of(world: &World, conn: ConnId) -> (u16, String) {
    match world.closed.get(&conn) {
        Some(CloseCode::Frame { code, reason }) => (*code, reason.clone()),
        Some(CloseCode::Abrupt) => (0, String::new()),
        None => panic!("still open"),
    }
}

#[test]
fn the_first_message_must_be_a_handshake() {
    let mut world = World::new(OPEN);
    for (first, code, reason) in [
        (r#"{"type":"join"}"#, 1002, "you must handshake first"),
        ("{}", 1002, "you must handshake first"),
        ("nonsense", 0, ""),
    ] {
        let conn = world.connect();
        world.text(conn, first);
        assert_eq!(close_of(&world, conn), (code, reason.to_owned()), "{first}");
    }
}

#[test]
fn an_unknown_version_gets_a_warning_and_goes_on() {
    let mut world = World::new(OPEN);
    let conn = world.connect();
    world.say(conn, json!({"type": "handshake", "version": ["1", "3"], "id": "x"}));
    assert_eq!(kinds(&world.take(conn)), ["handshake", "usermessage/warning"]);
    world.say(conn, json!({"type": "ping"}));
    assert_eq!(kinds(&world.take(conn)), ["pong"]);
}

#[test]
fn malformed_messages_and_bombs_close_with_1011_and_touch_nobody_else() {
    let mut world = World::new(OPEN);
    let bystander = world.member("by", "by");
    let deep = format!(r#"{{"type":"chat","value":{}"#, "[".repeat(100_000));
    for text in [
        "",
        "null",
        "{",
        r#"{"type":3}"#,
        r#"{"type":"chat","noecho":"yes"}"#,
        r#"{"type":"chat","value":1e309}"#,
        &deep,
    ] {
        let conn = world.member("bad", "bad");
        world.text(conn, text);
        assert_eq!(close_of(&world, conn), (1011, String::new()), "{text:.40}");
    }
    world.take(bystander);
    world.say(bystander, json!({"type": "ping"}));
    assert_eq!(kinds(&world.take(bystander)), ["pong"]);
}

#[test]
fn protocol_errors_say_what_and_close_with_1002() {
    let mut world = World::new(OPEN);
    let cases: [(Value, &str); 12] = [
        (json!({"type": "banana"}), "unexpected message"),
        (json!({"type": ""}), "unexpected message"),
        (json!({"type": "chat", "source": "other", "value": "x"}), "spoofed client id"),
        (json!({"type": "chat", "username": "eve", "value": "x"}), "spoofed username"),
        (json!({"type": "offer", "sdp": "v=0"}), "empty id"),
        (json!({"type": "answer"}), "empty id"),
        (json!({"type": "renegotiate"}), "empty id"),
        (json!({"type": "close"}), "empty id"),
        (json!({"type": "abort"}), "empty id"),
        (json!({"type": "ice", "id": "x"}), "null candidate"),
        (json!({"type": "join", "kind": "banana"}), "unknown kind"),
        (json!({"type": "join", "kind": "join", "group": "test"}), "cannot join multiple groups"),
    ];
    for (message, text) in cases {
        let conn = world.member("id", "ann");
        world.say(conn, message.clone());
        let said = world.take(conn);
        assert_eq!(kinds(&said), ["usermessage/error"], "{message}");
        assert_eq!(
            said[0],
            json!({"type": "usermessage", "kind": "error", "dest": "id", "privileged": true,
                "value": text})
        );
        assert_eq!(close_of(&world, conn), (1002, text.to_owned()), "{message}");
    }
}

#[test]
fn fatal_user_errors_close_with_1000() {
    let mut world = World::new(OPEN);
    for (message, text) in [
        (json!({"type": "groupaction", "kind": "banana"}), "unknown group action"),
        (json!({"type": "useraction", "kind": "banana", "dest": "id"}), "unknown user action"),
        (json!({"type": "join", "kind": "leave", "group": "other"}), "you are not joined"),
    ] {
        let conn = world.member("id", "ann");
        world.say(conn, message);
        assert_eq!(kinds(&world.take(conn)), ["usermessage/error"]);
        assert_eq!(close_of(&world, conn), (1000, text.to_owned()));
    }
}

#[test]
fn before_joining_a_claimed_name_is_spoofed_and_most_things_need_a_group() {
    let mut world = World::new(OPEN);
    for message in [
        json!({"type": "chat", "value": "x"}),
        json!({"type": "useraction", "kind": "kick", "dest": "x"}),
        json!({"type": "groupaction", "kind": "lock"}),
        json!({"type": "request", "request": {}}),
    ] {
        let conn = world.greet("x");
        world.say(conn, message.clone());
        let said = world.take(conn);
        assert_eq!(said[0]["value"], "join a group first", "{message}");
        assert!(!world.closed.contains_key(&conn));
    }
    let conn = world.greet("x");
    world.say(conn, json!({"type": "chat", "username": "ann", "value": "x"}));
    assert_eq!(close_of(&world, conn).1, "spoofed username");
}

#[test]
fn races_and_nonsense_about_streams_do_not_end_the_connection() {
    let mut world = World::new(OPEN);
    let conn = world.member("id", "ann");
    for message in [
        json!({"type": "request", "request": null}),
        json!({"type": "request", "request": [1]}),
        json!({"type": "requestStream", "id": "gone", "request": ["audio"]}),
        json!({"type": "requestStream", "id": "gone", "request": 3}),
        json!({"type": "renegotiate", "id": "gone"}),
        json!({"type": "close", "id": "gone"}),
        json!({"type": "abort", "id": "gone"}),
        json!({"type": "answer", "id": "gone", "sdp": "v=0"}),
        json!({"type": "ice", "id": "gone", "candidate": {"candidate": "candidate:1"}}),
        json!({"type": "pong"}),
    ] {
        world.say(conn, message);
    }
    assert!(!world.closed.contains_key(&conn));
    assert!(world.media.is_empty());
    let closes = world.take(conn).iter().filter(|said| said["type"] == "close").count();
    assert_eq!(closes, 2, "abort and answer of unknown streams are answered with close");
}

#[test]
fn silence_is_asked_about_and_then_given_up() {
    let mut world = World::new(OPEN);
    let conn = world.greet("x");
    world.advance(Duration::from_secs(20));
    assert!(world.take(conn).is_empty());
    world.advance(Duration::from_secs(20));
    assert!(kinds(&world.take(conn)).contains(&"ping".to_owned()));
    world.text(conn, r#"{"type":"pong"}"#);
    world.advance(Duration::from_secs(40));
    assert!(!world.closed.contains_key(&conn));
    world.advance(Duration::from_secs(20));
    assert_eq!(close_of(&world, conn).0, 1011);
}

#[test]
fn a_client_that_never_introduces_itself_is_cut_off() {
    let mut world = World::new(OPEN);
    let conn = world.connect();
    world.advance(Duration::from_secs(14));
    assert!(!world.closed.contains_key(&conn));
    world.advance(Duration::from_secs(3));
    assert_eq!(world.closed.get(&conn), Some(&CloseCode::Abrupt));
}

#[test]
fn long_kick_reasons_fit_a_close_frame() {
    let mut world = World::new(OPEN);
    let op = world.member("op", "op");
    let ann = world.member("ann", "ann");
    let text = "ü".repeat(1000);
    world.say(op, json!({"type": "useraction", "kind": "kick", "dest": "ann", "value": text}));
    let (code, reason) = close_of(&world, ann);
    assert_eq!(code, 1000);
    assert!(reason.len() <= 123 && reason.starts_with("kicked out (ü"));
}
