//! A whole conversation between two stock clients and the server, in order.

mod world;

use serde_json::json;
use signalling::{ConnId, MediaEvent, MediaKind, MediaRequest};
use world::{World, kinds};

const FILE: &str = r#"{"users":{"bob":{"password":"b","permissions":"op"},
    "ann":{"password":"x","permissions":"present"}}}"#;

#[test]
fn two_clients_meet_talk_and_see_each_other() {
    let mut world = World::new(FILE);
    let (bob, chat_id) = bob_comes_and_says_hi(&mut world);
    bob_publishes(&mut world, bob);
    let ann = ann_comes_and_hears_of_both(&mut world, &chat_id);
    assert_eq!(kinds(&world.take(bob)), ["user/add"]);
    ann_watches_bob(&mut world, ann);
    world.say(
        ann,
        json!({"type": "groupaction", "source": "9f", "kind": "maketoken",
        "username": "ann", "value": {"group": "test", "expires": 86_400_000}}),
    );
    assert_eq!(
        world.take(ann),
        [json!({"type": "usermessage", "kind": "token", "error": "not-authorised",
            "privileged": true, "value": "not authorised"})]
    );
    world.say(ann, json!({"type": "leave"}));
    assert!(world.closed.contains_key(&ann));
    assert_eq!(kinds(&world.take(bob)), ["user/delete"]);
}

/// Gives the id of what he says as well.
fn bob_comes_and_says_hi(world: &mut World) -> (ConnId, String) {
    let bob = world.connect();
    world.say(bob, json!({"type": "handshake", "version": ["2"], "id": "77"}));
    assert_eq!(world.take(bob), [json!({"type": "handshake", "version": ["2"]})]);
    world.say(
        bob,
        json!({"type": "join", "kind": "join", "group": "test", "username": "bob",
        "password": "b"}),
    );
    assert_eq!(kinds(&world.take(bob)), ["joined/join", "user/add"]);
    world.say(
        bob,
        json!({"type": "chat", "source": "77", "username": "bob", "dest": null,
        "value": "hi"}),
    );
    let echo = world.take(bob);
    assert_eq!(echo[0]["value"], "hi");
    let chat_id = echo[0]["id"].as_str().expect("chat has an id").to_owned();
    assert_eq!(chat_id.len(), 11);
    (bob, chat_id)
}

fn bob_publishes(world: &mut World, bob: ConnId) {
    world.say(
        bob,
        json!({"type": "offer", "source": "77", "username": "bob", "kind": "",
        "id": "aa", "replace": null, "label": "camera", "sdp": "v=0 bob"}),
    );
    let up = world.last_publish();
    world.event(MediaEvent::Answered {
        media: up,
        answer: "v=0 re bob".into(),
        publications: 2,
        unused: Vec::new(),
    });
    assert_eq!(world.take(bob), [json!({"type": "answer", "id": "aa", "sdp": "v=0 re bob"})]);
    world.arrives(up, 0, MediaKind::Audio);
    world.arrives(up, 1, MediaKind::Video);
}

fn ann_comes_and_hears_of_both(world: &mut World, chat_id: &str) -> ConnId {
    let ann = world.greet("9f");
    world.say(
        ann,
        json!({"type": "join", "kind": "join", "group": "test", "username": "ann",
        "password": "x"}),
    );
    assert_eq!(
        world.take(ann),
        [
            json!({"type": "joined", "kind": "join", "group": "test", "username": "ann",
                "permissions": ["present", "message"],
                "status": {"name": "test", "clientCount": 2}, "rtcConfiguration": {}}),
            json!({"type": "chathistory", "id": chat_id, "source": "77", "username": "bob",
                "time": "2027-01-15T08:00:00Z", "value": "hi"}),
            json!({"type": "user", "kind": "add", "id": "9f", "username": "ann",
                "permissions": ["present", "message"]}),
            json!({"type": "user", "kind": "add", "id": "77", "username": "bob",
                "permissions": ["op", "present", "message", "caption", "token"]}),
        ]
    );
    ann
}

fn ann_watches_bob(world: &mut World, ann: ConnId) {
    world.say(ann, json!({"type": "request", "request": {"": ["audio", "video"]}}));
    assert!(world.take(ann).is_empty());
    let down = world.offered();
    assert_eq!(
        world.take(ann),
        [json!({"type": "offer", "id": "aa", "label": "camera", "source": "77",
            "username": "bob", "sdp": "v=0 down"})]
    );
    world.forget();
    world.say(ann, json!({"type": "answer", "id": "aa", "sdp": "v=0 re"}));
    world.say(
        ann,
        json!({"type": "ice", "id": "aa", "candidate": {"candidate": "candidate:1",
        "sdpMid": "", "sdpMLineIndex": 0, "usernameFragment": null}}),
    );
    assert_eq!(
        world.media,
        [
            MediaRequest::AcceptAnswer { media: down, answer: "v=0 re".into() },
            MediaRequest::AddCandidate { media: down, candidate: "candidate:1".into() },
        ]
    );

    // Another layer of the same section is a matter between server and data plane.
    world.forget();
    world.say(ann, json!({"type": "requestStream", "id": "aa", "request": ["audio", "video-low"]}));
    assert!(matches!(world.media[..], [MediaRequest::SetCap { media, want }]
        if media == down && want.is_low));
    assert!(world.take(ann).is_empty());
}
