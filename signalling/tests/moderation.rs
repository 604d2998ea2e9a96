//! Every action against every kind of member, chat, and what spoofing gets.

mod world;

use std::time::Duration;

use serde_json::{Value, json};
use signalling::{ConnId, MediaRequest};
use world::{OPEN, World, kinds};

const FILE: &str = r#"{"users":{
    "op":{"password":{"type":"wildcard"},"permissions":"op"},
    "present":{"password":{"type":"wildcard"},"permissions":"present"},
    "message":{"password":{"type":"wildcard"},"permissions":"message"},
    "caption":{"password":{"type":"wildcard"},"permissions":"caption"},
    "observe":{"password":{"type":"wildcard"},"permissions":"observe"}}}"#;

fn error_of(said: &[Value]) -> Option<String> {
    let error = said.iter().find(|message| message["kind"] == "error")?;
    error["value"].as_str().map(str::to_owned)
}

#[test]
fn every_action_needs_its_permission() {
    let actions: [(&str, Value); 16] = [
        ("op", json!({"type": "useraction", "kind": "op", "dest": "victim"})),
        ("op", json!({"type": "useraction", "kind": "unop", "dest": "victim"})),
        ("op", json!({"type": "useraction", "kind": "present", "dest": "victim"})),
        ("op", json!({"type": "useraction", "kind": "unpresent", "dest": "victim"})),
        ("op", json!({"type": "useraction", "kind": "shutup", "dest": "victim"})),
        ("op", json!({"type": "useraction", "kind": "unshutup", "dest": "victim"})),
        ("op", json!({"type": "useraction", "kind": "kick", "dest": "victim"})),
        ("op", json!({"type": "useraction", "kind": "identify", "dest": "victim"})),
        ("op", json!({"type": "groupaction", "kind": "clearchat"})),
        ("op", json!({"type": "groupaction", "kind": "lock"})),
        ("op", json!({"type": "groupaction", "kind": "unlock"})),
        ("op", json!({"type": "groupaction", "kind": "subgroups"})),
        ("op", json!({"type": "groupaction", "kind": "setdata", "value": {"a": 1}})),
        ("nobody", json!({"type": "groupaction", "kind": "record"})),
        ("nobody", json!({"type": "groupaction", "kind": "unrecord"})),
        ("self", json!({"type": "useraction", "kind": "setdata", "dest": "victim", "value": {}})),
    ];
    for role in ["op", "present", "message", "caption", "observe"] {
        for (needs, action) in &actions {
            let mut world = World::new(FILE);
            let actor = world.member("actor", role);
            let victim = world.member("victim", "message");
            world.forget();
            world.say(actor, action.clone());
            let refused = error_of(&world.take(actor));
            if *needs == role {
                assert_eq!(refused, None, "{role} {action}");
            } else {
                assert_eq!(refused.as_deref(), Some("not authorised"), "{role} {action}");
                let what = action["type"].as_str().unwrap_or_default();
                assert_eq!(world.audit, [(actor, what)], "{role} {action}");
                assert!(world.take(victim).is_empty(), "{role} {action}");
                assert!(!world.closed.contains_key(&victim), "{role} {action}");
            }
        }
    }
}

#[test]
fn speaking_and_publishing_need_their_permissions() {
    for (role, chats, captions, presents) in [
        ("op", true, true, true),
        ("present", true, false, true),
        ("message", true, false, false),
        ("caption", false, true, false),
        ("observe", false, false, false),
    ] {
        let mut world = World::new(FILE);
        let actor = world.member("actor", role);
        let listener = world.member("listener", "observe");
        for (message, is_allowed) in [
            (json!({"type": "chat", "value": "x"}), chats),
            (json!({"type": "chat", "kind": "me", "value": "x"}), chats),
            (json!({"type": "usermessage", "kind": "info", "value": "x"}), chats),
            (json!({"type": "chat", "kind": "caption", "value": "x"}), captions),
        ] {
            world.forget();
            world.say(actor, message.clone());
            assert_eq!(world.take(listener).len(), usize::from(is_allowed), "{role} {message}");
            assert_eq!(error_of(&world.take(actor)).is_none(), is_allowed, "{role} {message}");
        }
        world.forget();
        world.say(actor, json!({"type": "offer", "id": "s", "label": "camera", "sdp": "v=0"}));
        assert_eq!(world.media.len(), usize::from(presents), "{role}");
        let expected: &[&str] = if presents { &[] } else { &["abort", "usermessage/error"] };
        assert_eq!(kinds(&world.take(actor)), expected, "{role}");
    }
}

fn act(world: &mut World, actor: ConnId, kind: &str, dest: &str) {
    world.say(actor, json!({"type": "useraction", "kind": kind, "dest": dest}));
}

#[test]
fn permission_changes_reach_the_member_and_everyone_in_order() {
    let mut world = World::new(FILE);
    let op = world.member("op", "op");
    let ann = world.member("ann", "present");
    let eve = world.member("eve", "present");
    for (kind, permissions) in [
        ("unpresent", json!(["message"])),
        ("op", json!(["message", "op"])),
        ("shutup", json!(["op"])),
        ("unop", Value::Null),
        ("unshutup", json!(["message"])),
        ("present", json!(["message", "present"])),
    ] {
        world.forget();
        act(&mut world, op, kind, "ann");
        let said = world.take(ann);
        assert_eq!(kinds(&said), ["joined/change", "user/change"], "{kind}");
        assert_eq!(said[0]["permissions"], permissions, "{kind}");
        assert_eq!(said[1]["permissions"], permissions, "{kind}");
        assert_eq!(world.take(eve), said[1..], "{kind}");
        assert_eq!(world.take(op), said[1..], "{kind}");
    }
    // What happened to one never shows in another of the same kind.
    act(&mut world, op, "unpresent", "ann");
    let zoe = world.greet("zoe");
    world.say(zoe, json!({"type": "join", "kind": "join", "group": "test", "username": "present"}));
    assert_eq!(world.take(zoe)[0]["permissions"], json!(["present", "message"]));
}

#[test]
fn losing_the_floor_ends_the_streams() {
    let mut world = World::new(FILE);
    let op = world.member("op", "op");
    let ann = world.member("ann", "present");
    world.live(ann, "s");
    world.offered();
    world.forget();
    act(&mut world, op, "unpresent", "ann");
    assert_eq!(
        kinds(&world.take(ann)),
        ["joined/change", "user/change", "abort", "usermessage/error"]
    );
    assert_eq!(kinds(&world.take(op)), ["user/change", "close"]);
    assert_eq!(world.media.len(), 2, "both transports are closed: {:?}", world.media);
    world.say(ann, json!({"type": "offer", "id": "s2", "sdp": "v=0"}));
    assert_eq!(kinds(&world.take(ann)), ["abort", "usermessage/error"]);
}

#[test]
fn a_kick_tells_who_and_why_and_ends_everything() {
    let mut world = World::new(OPEN);
    let op = world.member("op", "boss");
    let ann = world.member("ann", "ann");
    world.live(ann, "s");
    world.forget();
    world.say(op, json!({"type": "useraction", "kind": "kick", "dest": "ann", "value": "bye"}));
    assert_eq!(
        world.take(ann),
        [json!({"type": "usermessage", "kind": "kicked", "id": "op", "username": "boss",
            "dest": "ann", "privileged": true, "value": "bye"})]
    );
    assert_eq!(kinds(&world.take(op)), ["close", "user/delete"]);
    let closing = world.closed.get(&ann).map(|code| format!("{code:?}")).unwrap();
    assert!(closing.contains("kicked out (bye) by boss"), "{closing}");
    act(&mut world, op, "kick", "ann");
    assert_eq!(error_of(&world.take(op)).as_deref(), Some("no such user"));
}

#[test]
fn identify_tells_both_sides() {
    let mut world = World::new(OPEN);
    let op = world.member("op", "boss");
    let ann = world.member("ann", "ann");
    world.forget();
    act(&mut world, op, "identify", "ann");
    let said = world.take(op);
    assert_eq!(kinds(&said), ["usermessage/userinfo"]);
    assert_eq!(said[0]["value"], json!({"id": "ann", "username": "ann", "address": "192.0.2.1:5"}));
    let told = world.take(ann);
    assert_eq!(kinds(&told), ["usermessage/warning"]);
    assert_eq!(told[0]["value"], "Your IP address has been communicated to user boss.");
    act(&mut world, op, "identify", "nobody");
    assert_eq!(error_of(&world.take(op)).as_deref(), Some("client not found"));
}

#[test]
fn data_is_merged_deleted_bounded_and_ones_own() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    world.forget();
    let set = |value: Value| {
        json!({"type": "useraction", "kind": "setdata", "dest": "ann",
        "value": value})
    };
    world.say(ann, set(json!({"raisehand": true, "x": 1})));
    assert_eq!(world.take(bob)[0]["data"], json!({"raisehand": true, "x": 1}));
    world.say(ann, set(json!({"raisehand": null})));
    assert_eq!(world.take(bob)[0]["data"], json!({"x": 1}));
    world.take(ann);
    for (value, text) in [
        (json!(3), "Bad value in setdata"),
        (json!({"big": "x".repeat(10_000)}), "the data is too large"),
    ] {
        world.say(ann, set(value));
        assert_eq!(error_of(&world.take(ann)).as_deref(), Some(text));
    }
    world.say(bob, set(json!({"x": 2})));
    assert_eq!(error_of(&world.take(bob)).as_deref(), Some("not authorised"));
    world.say(ann, json!({"type": "groupaction", "kind": "setdata", "value": {"topic": "t"}}));
    let said = world.take(bob);
    assert_eq!(
        (kinds(&said), &said[0]["data"]),
        (vec!["joined/change".to_owned()], &json!({"topic": "t"}))
    );
}

#[test]
fn chat_is_signed_by_the_server() {
    let mut world = World::new(FILE);
    let op = world.member("op", "op");
    let ann = world.member("ann", "present");
    world.forget();
    // Neither source nor name: both are filled in; claims of rank and time are not believed.
    world.say(
        ann,
        json!({"type": "chat", "value": {"any": [1]}, "privileged": true,
        "time": "1999-01-01T00:00:00Z"}),
    );
    let said = world.take(op);
    assert_eq!(said[0]["source"], "ann");
    assert_eq!(said[0]["username"], "present");
    assert_eq!(said[0].get("privileged"), None);
    assert_eq!(said[0]["time"], "2027-01-15T08:00:00Z");
    assert_eq!(world.take(ann), said, "the sender gets the same");
    world.say(op, json!({"type": "chat", "noecho": true, "value": "x"}));
    assert!(world.take(op).is_empty());
    let said = world.take(ann);
    assert_eq!((&said[0]["privileged"], &said[0]["noecho"]), (&json!(true), &json!(true)));
    // Private: only to the one, no echo, no id made up.
    world.say(op, json!({"type": "chat", "dest": "ann", "value": "psst"}));
    assert!(world.take(op).is_empty());
    let said = world.take(ann);
    assert_eq!((&said[0]["dest"], said[0].get("id")), (&json!("ann"), None));
    world.say(op, json!({"type": "chat", "dest": "nobody", "value": "psst"}));
    assert_eq!(error_of(&world.take(op)).as_deref(), Some("user unknown"));
    // Private messages are nobody else's history.
    let late = world.join_as("late", "message", "");
    let history = world.take(late).iter().filter(|said| said["type"] == "chathistory").count();
    assert_eq!(history, 2);
}

#[test]
fn history_is_cleared_as_asked() {
    for (value, left) in [
        (json!({}), 0),
        (Value::Null, 0),
        (json!({"userId": "ann"}), 1),
        (json!({"userId": "ann", "id": "m1"}), 2),
        (json!({"userId": "op", "id": "m1"}), 3),
    ] {
        let mut world = World::new(OPEN);
        let op = world.member("op", "op");
        let ann = world.member("ann", "ann");
        for (conn, id) in [(ann, "m1"), (ann, "m2"), (op, "m3")] {
            world.say(conn, json!({"type": "chat", "id": id, "value": "x"}));
        }
        world.forget();
        world.say(op, json!({"type": "groupaction", "kind": "clearchat", "value": value}));
        let said = world.take(ann);
        assert_eq!(kinds(&said), ["usermessage/clearchat"]);
        assert_eq!(said[0]["privileged"], true);
        let late = world.join_as("late", "late", "");
        let said = world.take(late);
        let history = said.iter().filter(|said| said["type"] == "chathistory").count();
        assert_eq!(history, left, "{value}");
    }
    let mut world = World::new(OPEN);
    let op = world.member("op", "op");
    for bad in [json!({"id": "m1"}), json!("all"), json!({"userId": 3})] {
        world.say(op, json!({"type": "groupaction", "kind": "clearchat", "value": bad}));
        assert_eq!(error_of(&world.take(op)).as_deref(), Some("bad value in clearchat"));
    }
}

#[test]
fn old_chat_is_not_replayed() {
    let mut world = World::new(r#"{"op":[{}],"max-history-age":60}"#);
    let ann = world.member("ann", "ann");
    world.say(ann, json!({"type": "chat", "value": "old"}));
    world.now.unix.0 += 61_000;
    world.say(ann, json!({"type": "chat", "value": "new"}));
    let late = world.join_as("late", "late", "");
    let said = world.take(late);
    let history: Vec<_> = said.iter().filter(|said| said["type"] == "chathistory").collect();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0]["value"], "new");
}

#[test]
fn a_flood_is_cut_down_and_long_messages_are_refused() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    world.forget();
    for _ in 0..500 {
        world.say(ann, json!({"type": "chat", "value": "spam"}));
    }
    assert_eq!(world.take(bob).len(), 100);
    assert!(error_of(&world.take(ann)).unwrap().contains("slow down"));
    assert!(!world.closed.contains_key(&ann));
    world.now.mono += Duration::from_secs(1);
    for _ in 0..500 {
        world.say(ann, json!({"type": "chat", "value": "spam"}));
    }
    assert_eq!(world.take(bob).len(), 10);
    world.take(ann);
    world.now.mono += Duration::from_secs(1);
    world.say(ann, json!({"type": "chat", "value": "x".repeat(70_000)}));
    assert_eq!(error_of(&world.take(ann)).as_deref(), Some("the message is too long"));
}

#[test]
fn a_flood_of_offers_is_cut_down() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    for _ in 0..200 {
        world.say(ann, json!({"type": "offer", "id": "s", "sdp": "v=0"}));
        world.say(ann, json!({"type": "close", "id": "s"}));
    }
    let offers = |world: &World| {
        let publish = |request: &&MediaRequest| matches!(request, MediaRequest::Publish { .. });
        world.media.iter().filter(publish).count()
    };
    assert_eq!(offers(&world), 40);
    assert!(error_of(&world.take(ann)).unwrap().contains("slow down"));
    world.now.mono += Duration::from_secs(1);
    world.say(ann, json!({"type": "offer", "id": "s", "sdp": "v=0"}));
    assert_eq!(offers(&world), 41);
}

#[test]
fn subgroups_are_listed_for_ops() {
    let mut world = World::new(OPEN);
    for name in ["test/a", "test/b", "tester"] {
        world.files.insert(name.to_owned(), world::group(OPEN));
        let conn = world.greet("x");
        world.say(conn, json!({"type": "join", "kind": "join", "group": name, "username": "x"}));
    }
    let other = world.greet("y");
    world.say(other, json!({"type": "join", "kind": "join", "group": "test/b", "username": "y"}));
    let op = world.member("op", "op");
    world.say(op, json!({"type": "groupaction", "kind": "subgroups"}));
    let said = world.take(op);
    assert_eq!(said[0]["username"], "Server");
    assert_eq!(said[0]["value"], "test/a (1 client)\ntest/b (2 clients)\n");
}
