//! The table of rights: every permission, every action, every state of the group. What is not
//! allowed is refused in its own form, shows to nobody else and changes nothing.

mod world;

use serde_json::{Value, json};
use signalling::{ConnId, GroupFile, GroupName, RecordOrder};
use world::{World, kinds};

/// How a refusal looks to who asked.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Form {
    /// A user error.
    Error,
    /// `token` or `tokenlist` with an error of its own.
    Token,
    /// An abort of the stream, then a user error.
    Abort,
}

/// A message, the permissions it needs, and how it is refused.
struct Case {
    message: Value,
    needs: &'static [&'static str],
    form: Form,
}

const ATOMS: [&str; 8] =
    ["op", "present", "message", "caption", "token", "record", "admin", "system"];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |message, needs, form| cases.push(Case { message, needs, form });
    for kind in ["op", "unop", "present", "unpresent", "shutup", "unshutup", "kick", "identify"] {
        add(json!({"type": "useraction", "kind": kind, "dest": "other"}), &["op"][..], Form::Error);
    }
    add(
        json!({"type": "useraction", "kind": "setdata", "dest": "me", "value": {"a": 1}}),
        &[],
        Form::Error,
    );
    add(
        json!({"type": "useraction", "kind": "consent", "dest": "me", "value": true}),
        &[],
        Form::Error,
    );
    for kind in ["clearchat", "lock", "unlock", "subgroups"] {
        add(json!({"type": "groupaction", "kind": kind}), &["op"], Form::Error);
    }
    add(json!({"type": "groupaction", "kind": "setdata", "value": {"a": 1}}), &["op"], Form::Error);
    for kind in ["record", "unrecord"] {
        add(json!({"type": "groupaction", "kind": kind}), &["record"], Form::Error);
    }
    add(
        json!({"type": "groupaction", "kind": "maketoken",
            "value": {"group": "test", "expires": 1000}}),
        &["token"],
        Form::Token,
    );
    add(
        json!({"type": "groupaction", "kind": "edittoken", "value": {"token": "t"}}),
        &["op", "token"],
        Form::Token,
    );
    add(json!({"type": "groupaction", "kind": "listtokens"}), &["op", "token"], Form::Token);
    add(json!({"type": "chat", "value": "x"}), &["message"], Form::Error);
    add(json!({"type": "chat", "dest": "other", "value": "x"}), &["message"], Form::Error);
    add(json!({"type": "chat", "kind": "caption", "value": "x"}), &["caption"], Form::Error);
    add(json!({"type": "usermessage", "kind": "mute", "value": "x"}), &["message"], Form::Error);
    add(
        json!({"type": "offer", "id": "s", "label": "camera", "sdp": "v=0"}),
        &["present"],
        Form::Abort,
    );
    cases
}

/// Nothing, each alone, what the cases need, and all.
fn holdings() -> Vec<Vec<&'static str>> {
    let mut holdings = vec![vec![], vec!["op", "token"], ATOMS.to_vec()];
    holdings.extend(ATOMS.iter().map(|atom| vec![*atom]));
    // All but one.
    holdings.extend(
        ATOMS
            .iter()
            .map(|out| ATOMS.iter().copied().filter(|atom| atom != out).collect::<Vec<_>>()),
    );
    holdings
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Open,
    Locked,
    /// An op watches; without one the group locks itself.
    Autolock,
    Vanished,
    Broken,
    Expired,
}

const STATES: [State; 6] =
    [State::Open, State::Locked, State::Autolock, State::Vanished, State::Broken, State::Expired];

/// `me` with these permissions, and `other`, who is an op and sees everything.
fn world(held: &[&str], state: State) -> (World, ConnId, ConnId) {
    let more = match state {
        State::Autolock => json!({"autolock": true}),
        _ => json!({}),
    };
    let mut file = json!({"users": {
        "other": {"password": {"type": "wildcard"}, "permissions": "op"},
        "me": {"password": {"type": "wildcard"}, "permissions": held}}});
    file.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let mut world = World::new(&file.to_string());
    let other = world.member("other", "other");
    if state == State::Autolock {
        world.say(other, json!({"type": "groupaction", "kind": "unlock"}));
    }
    let me = world.member("me", "me");
    match state {
        State::Open | State::Autolock => {}
        State::Locked => world.say(other, json!({"type": "groupaction", "kind": "lock"})),
        State::Vanished => {
            world.files.insert("test".into(), GroupFile::Missing);
            world.board.refresh(GroupName::parse("test").expect("a name"), world.now);
            world.settle();
        }
        State::Broken => world.reload("{"),
        State::Expired => {
            let mut file = file.clone();
            file["expires"] = "2001-01-01T00:00:00Z".into();
            world.reload(&file.to_string());
        }
    }
    world.forget();
    (world, me, other)
}

fn is_refused(said: &[Value], form: Form) -> bool {
    let kinds = kinds(said);
    let last = said.last();
    let words = last.and_then(|said| said["value"].as_str()).unwrap_or_default();
    words == "not authorised"
        && match form {
            Form::Error => kinds == ["usermessage/error"],
            Form::Token => {
                kinds.len() == 1
                    && kinds[0].starts_with("usermessage/token")
                    && last.is_some_and(|said| said["error"] == "not-authorised")
            }
            Form::Abort => kinds == ["abort", "usermessage/error"],
        }
}

#[test]
fn every_permission_times_action_times_state() {
    let mut allowed_count = 0;
    for state in STATES {
        for held in holdings() {
            for Case { message, needs, form } in cases() {
                let (mut world, me, other) = world(&held, state);
                world.say(me, message.clone());
                let said = world.take(me);
                let heard = world.take(other);
                let is_allowed = needs.iter().all(|need| held.contains(need));
                let context = format!("{state:?} {held:?} {message}: {said:?} {heard:?}");
                assert_eq!(is_refused(&said, form), !is_allowed, "{context}");
                if is_allowed {
                    allowed_count += 1;
                    continue;
                }
                assert!(heard.is_empty(), "others hear of it: {context}");
                assert!(world.media.is_empty() && world.tokens.is_empty(), "{context}");
                assert_eq!(
                    world.audit.len(),
                    usize::from(form != Form::Abort && !is_speech(&message)),
                    "{context}"
                );
                assert!(!world.closed.contains_key(&me) && !world.closed.contains_key(&other));
            }
        }
    }
    assert!(allowed_count > 500, "the table has both sides: {allowed_count}");
}

fn is_speech(message: &Value) -> bool {
    message["type"] == "chat" || message["type"] == "usermessage"
}

#[test]
fn nobody_but_oneself_sets_ones_data() {
    for held in holdings() {
        let (mut world, me, other) = world(&held, State::Open);
        let message = json!({"type": "useraction", "kind": "setdata", "dest": "other",
            "value": {"a": 1}});
        world.say(me, message);
        assert!(is_refused(&world.take(me), Form::Error), "{held:?}");
        assert!(world.take(other).is_empty());
    }
}

#[test]
fn joining_depends_on_state_and_op_alone() {
    for state in STATES {
        for held in holdings() {
            let (mut world, me, _) = world(&held, state);
            world.disconnect(me);
            let conn = world.join_as("again", "me", "");
            let is_in = world.take(conn)[0]["kind"] == "join";
            let is_op = held.contains(&"op");
            let expected = match state {
                State::Open | State::Autolock | State::Broken => true,
                State::Locked | State::Expired => is_op,
                State::Vanished => false,
            };
            assert_eq!(is_in, expected, "{state:?} {held:?}");
        }
    }
}

/// Two operators change the same member: whatever the order of arrival, what was said last holds,
/// and everybody has seen the same.
#[test]
fn the_last_change_wins_and_all_see_it_in_order() {
    let file = r#"{"users":{"op":{"password":{"type":"wildcard"},"permissions":"op"}},
        "wildcard-user":{"password":{"type":"wildcard"},"permissions":"present"}}"#;
    let kinds = ["present", "unpresent", "shutup", "unshutup", "op", "unop"];
    let mut seed = 7u64;
    for _ in 0..200 {
        let mut world = World::new(file);
        let ops = [world.member("a", "op"), world.member("b", "op")];
        let target = world.member("t", "x");
        world.forget();
        for _ in 0..12 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let kind = kinds[(seed >> 33) as usize % kinds.len()];
            let op = ops[(seed >> 50) as usize % 2];
            world.say(op, json!({"type": "useraction", "kind": kind, "dest": "t"}));
        }
        let changes = |said: Vec<Value>| -> Vec<Value> {
            let changes = said.into_iter().filter(|said| said["type"] == "user");
            changes.map(|said| said["permissions"].clone()).collect()
        };
        let own = world.take(target);
        let told =
            own.iter().rfind(|said| said["type"] == "joined").unwrap()["permissions"].clone();
        let seen: Vec<Vec<Value>> = ops.iter().map(|op| changes(world.take(*op))).collect();
        let target_seen = changes(own);
        assert!(!target_seen.is_empty());
        assert_eq!(target_seen.last(), Some(&told));
        assert!(seen.iter().all(|seen| *seen == target_seen), "{seen:?}");
    }
}

#[test]
fn everybody_sees_that_it_records_and_who_comes_later_too() {
    let (mut world, me, other) = world(&["record"], State::Open);
    let record = |kind: &str| json!({"type": "groupaction", "kind": kind});
    world.say(other, record("record"));
    assert_eq!(world.take(other)[0]["value"], "not authorised");
    world.take(me);
    world.say(me, record("record"));
    assert!(matches!(&world.orders[0], RecordOrder::Begin { .. }));
    for conn in [me, other] {
        let seen = world.take(conn);
        assert_eq!(seen[0]["username"], "RECORDING");
        assert_eq!(seen[0]["permissions"], json!(["system"]));
        assert_eq!(seen[1]["status"]["recording"], true);
    }
    world.say(me, record("record"));
    assert_eq!(world.take(me)[0]["value"], "already recording");
    let group = GroupName::parse("test").unwrap();
    world.board.recorder_says(&group, "the disk is full", true, world.now);
    world.settle();
    assert_eq!(world.orders.last(), Some(&RecordOrder::End { group: group.clone() }));
    let told = world.take(me);
    assert_eq!(
        (&told[0]["kind"], &told[0]["value"]),
        (&json!("warning"), &json!("the disk is full"))
    );
    let seen = world.take(other);
    assert!(seen.iter().any(|said| said["type"] == "user" && said["kind"] == "delete"));
    let status = seen.last().map(|said| said["status"].clone()).unwrap_or_default();
    assert!(status.is_object() && status.get("recording").is_none(), "{seen:?}");
    world.say(me, record("record"));
    for conn in [me, other] {
        world.disconnect(conn);
    }
    world.settle();
    assert_eq!(world.orders.last(), Some(&RecordOrder::End { group }), "nobody is there");
}
