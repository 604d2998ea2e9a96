//! Every message of the native protocol, in one replayed conversation: what each type brings, word
//! by word, and that none is left out.

mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use signalling::{ConnId, MediaEvent, MediaKind};
use world::World;

const FILE: &str = r#"{"displayName":"T","users":{
    "bob":{"password":"b","permissions":"op"},"ann":{"password":"a","permissions":"present"}}}"#;

/// A conversation that remembers which types have been seen, in both directions.
struct Replay {
    world: World,
    said: BTreeSet<String>,
    heard: BTreeSet<String>,
}

impl Replay {
    /// `conn` says a message and hears exactly these.
    fn exchange(&mut self, conn: ConnId, message: Value, answers: &[Value]) {
        self.said.insert(message["type"].as_str().expect("a type").to_owned());
        self.world.say(conn, message.clone());
        self.hears(conn, answers, &message.to_string());
    }

    fn hears(&mut self, conn: ConnId, expected: &[Value], context: &str) {
        let heard = self.world.take(conn);
        for message in &heard {
            self.heard.insert(message["type"].as_str().expect("a type").to_owned());
        }
        assert_eq!(heard, expected, "{context}");
    }
}

fn error(dest: &str, text: &str) -> Value {
    json!({"type": "usermessage", "kind": "error", "dest": dest, "privileged": true, "value": text})
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table: each message")]
fn every_message_type_both_ways() {
    let mut world = World::new(FILE);
    let (bob, ann) = (world.connect(), world.connect());
    let mut r = Replay { world, said: BTreeSet::new(), heard: BTreeSet::new() };
    let hello = json!({"type": "handshake", "version": ["2"]});
    for (conn, id) in [(bob, "B"), (ann, "A")] {
        // Unknown keys are ignored, null is absent.
        let greeting = json!({"type": "handshake", "version": ["1", "2"], "id": id, "future": 1,
            "dest": null});
        r.exchange(conn, greeting, std::slice::from_ref(&hello));
    }
    r.exchange(bob, json!({"type": "ping"}), &[json!({"type": "pong"})]);
    r.exchange(bob, json!({"type": "pong"}), &[]);

    // join, with every way to fail that has an answer of its own
    let join = |username: &str, password: &str| {
        json!({"type": "join", "kind": "join", "group": "test", "username": username,
            "password": password})
    };
    let refused = json!({"type": "joined", "kind": "fail", "group": "test", "username": "bob",
        "value": "not authorised"});
    r.exchange(bob, join("bob", "wrong"), &[refused]);
    let op = json!(["op", "present", "message", "caption", "token"]);
    let user = |kind: &str, id: &str, name: &str, permissions: &Value| {
        json!({"type": "user", "kind": kind, "id": id, "username": name,
            "permissions": permissions})
    };
    let joined = |kind: &str, name: &str, permissions: &Value, count: u32| {
        json!({"type": "joined", "kind": kind, "group": "test", "username": name,
            "permissions": permissions, "rtcConfiguration": {},
            "status": {"name": "test", "displayName": "T", "clientCount": count}})
    };
    let add_bob = user("add", "B", "bob", &op);
    r.exchange(bob, join("bob", "b"), &[joined("join", "bob", &op, 1), add_bob.clone()]);
    let at = r.world.now.unix.to_rfc3339();
    let chat = json!({"type": "chat", "kind": "me", "source": "B", "username": "bob", "id": "m1",
        "value": "waves"});
    let mut signed = chat.clone();
    signed["privileged"] = true.into();
    signed["time"] = at.clone().into();
    r.exchange(bob, chat, &[signed]);
    let present = json!(["present", "message"]);
    let history = json!({"type": "chathistory", "kind": "me", "id": "m1", "source": "B",
        "username": "bob", "time": at, "value": "waves"});
    let add_ann = user("add", "A", "ann", &present);
    r.exchange(
        ann,
        join("ann", "a"),
        &[joined("join", "ann", &present, 2), history, add_ann.clone(), add_bob],
    );
    r.hears(bob, &[add_ann], "the join of ann");

    // request, offer, answer
    r.exchange(ann, json!({"type": "request", "request": {"": ["audio", "video"]}}), &[]);
    r.exchange(bob, json!({"type": "offer", "id": "s", "label": "camera", "sdp": "up"}), &[]);
    let up = r.world.last_publish();
    r.world.event(MediaEvent::Answered {
        media: up,
        answer: "re up".into(),
        publications: 2,
        unused: Vec::new(),
    });
    r.hears(bob, &[json!({"type": "answer", "id": "s", "sdp": "re up"})], "the answer");
    r.world.arrives(up, 0, MediaKind::Audio);
    r.world.arrives(up, 1, MediaKind::Video);
    r.world.offered();
    let offer = json!({"type": "offer", "id": "s", "label": "camera", "source": "B",
        "username": "bob", "sdp": "v=0 down"});
    r.hears(ann, std::slice::from_ref(&offer), "the stream");
    r.exchange(ann, json!({"type": "answer", "id": "s", "sdp": "re down"}), &[]);
    let candidate = json!({"candidate": "candidate:1", "sdpMid": "0", "sdpMLineIndex": 0});
    r.exchange(ann, json!({"type": "ice", "id": "s", "candidate": candidate}), &[]);

    // requestStream, renegotiate, abort, close
    r.exchange(ann, json!({"type": "requestStream", "id": "s", "request": ["audio"]}), &[]);
    r.world.offered();
    r.hears(ann, std::slice::from_ref(&offer), "audio only");
    r.exchange(ann, json!({"type": "answer", "id": "s", "sdp": "re"}), &[]);
    r.exchange(ann, json!({"type": "renegotiate", "id": "s"}), &[]);
    r.world.offered();
    r.hears(ann, &[offer], "the restart");
    r.exchange(ann, json!({"type": "answer", "id": "s", "sdp": "re"}), &[]);
    r.exchange(ann, json!({"type": "abort", "id": "s"}), &[json!({"type": "close", "id": "s"})]);
    r.world.event(MediaEvent::Disconnected { media: up });
    r.hears(bob, &[json!({"type": "renegotiate", "id": "s"})], "a lost connection");
    r.exchange(bob, json!({"type": "close", "id": "s"}), &[]);

    // usermessage, useraction, groupaction
    let mute = json!({"type": "usermessage", "kind": "mute", "dest": "A"});
    r.exchange(bob, mute, &[]);
    let muted = json!({"type": "usermessage", "kind": "mute", "source": "B", "username": "bob",
        "dest": "A", "privileged": true, "time": r.world.now.unix.to_rfc3339()});
    r.hears(ann, &[muted], "mute");
    r.exchange(
        ann,
        json!({"type": "groupaction", "kind": "lock"}),
        &[error("A", "not authorised")],
    );
    let mut locked = joined("change", "bob", &op, 2);
    locked["status"]["locked"] = true.into();
    r.exchange(bob, json!({"type": "groupaction", "kind": "lock", "value": "later"}), &[locked]);
    let mut locked = joined("change", "ann", &present, 2);
    locked["status"]["locked"] = true.into();
    r.hears(ann, &[locked.clone()], "the lock");
    // A stream that may not be.
    let listener = json!(["message"]);
    r.exchange(
        bob,
        json!({"type": "useraction", "kind": "unpresent", "dest": "A"}),
        &[user("change", "A", "ann", &listener)],
    );
    locked["permissions"] = listener.clone();
    r.hears(ann, &[locked, user("change", "A", "ann", &listener)], "the floor");
    r.exchange(
        ann,
        json!({"type": "offer", "id": "x", "label": "camera", "sdp": "no"}),
        &[json!({"type": "abort", "id": "x"}), error("A", "not authorised")],
    );
    r.exchange(
        bob,
        json!({"type": "useraction", "kind": "kick", "dest": "A", "value": "bye"}),
        &[json!({"type": "user", "kind": "delete", "id": "A", "username": "ann"})],
    );
    let kicked = json!({"type": "usermessage", "kind": "kicked", "id": "B", "username": "bob",
        "dest": "A", "privileged": true, "value": "bye"});
    r.hears(ann, &[kicked], "the kick");
    // Silence: who says nothing is asked.
    r.world.advance(Duration::from_secs(25));
    r.hears(bob, &[json!({"type": "ping"})], "silence");
    let mut left = joined("leave", "bob", &op, 0);
    left.as_object_mut().unwrap().remove("permissions");
    left["status"]["locked"] = true.into();
    r.exchange(bob, json!({"type": "join", "kind": "leave", "group": "test"}), &[left]);

    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    let said: BTreeSet<String> = names(&[
        "handshake",
        "ping",
        "pong",
        "join",
        "request",
        "requestStream",
        "offer",
        "answer",
        "renegotiate",
        "close",
        "abort",
        "ice",
        "chat",
        "usermessage",
        "groupaction",
        "useraction",
    ]);
    assert_eq!(r.said, said, "a type of the client is missing");
    // Our candidates are in the descriptions, so that no `ice` is ever sent.
    let heard: BTreeSet<String> = names(&[
        "handshake",
        "ping",
        "pong",
        "joined",
        "user",
        "offer",
        "answer",
        "renegotiate",
        "close",
        "abort",
        "chat",
        "chathistory",
        "usermessage",
    ]);
    assert_eq!(r.heard, heard, "a type of the server is missing");
}
