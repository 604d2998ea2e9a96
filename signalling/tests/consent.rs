//! Who is recorded: everybody, those who have agreed, or operators; nothing of anybody else reaches
//! the recorder, and everybody sees of whom.

mod world;

use serde_json::{Value, json};
use signalling::{ConnId, MediaKind, RecordOrder};
use world::World;

fn file(consent: &str) -> String {
    format!(
        r#"{{"allow-recording":true,"recording-consent":"{consent}",
        "users":{{"ann":{{"password":"","permissions":"op"}}}},
        "wildcard-user":{{"password":{{"type":"wildcard"}},"permissions":"present"}}}}"#
    )
}

/// Ann, who may record, bob and eve, each with a camera.
fn class(consent: &str) -> (World, [ConnId; 3]) {
    let mut world = World::new(&file(consent));
    let conns = ["ann", "bob", "eve"].map(|name| world.member(name, name));
    for (conn, name) in conns.iter().zip(["ann", "bob", "eve"]) {
        let up = world.publish(*conn, &format!("{name}s"), json!({"label": "camera"}));
        world.arrives(up, 0, MediaKind::Audio);
        world.arrives(up, 1, MediaKind::Video);
    }
    world.forget();
    (world, conns)
}

fn record(world: &mut World, conn: ConnId) {
    world.say(conn, json!({"type": "groupaction", "kind": "record"}));
}

fn consent(world: &mut World, conn: ConnId, dest: &str, value: Value) {
    world.say(conn, json!({"type": "useraction", "kind": "consent", "dest": dest, "value": value}));
}

/// Streams that the recorder was told of and that have not ended for it, by their ids.
fn recorded(world: &World) -> Vec<String> {
    let mut streams = Vec::new();
    for order in &world.orders {
        match order {
            RecordOrder::Stream(stream) => {
                let media = stream.sections[0].0.media;
                streams.retain(|(known, _)| *known != media);
                streams.push((media, stream.stream.clone()));
            }
            RecordOrder::StreamEnded { media, .. } => streams.retain(|(known, _)| known != media),
            RecordOrder::End { .. } => streams.clear(),
            _ => {}
        }
    }
    streams.into_iter().map(|(_, stream)| stream).collect()
}

fn notes(world: &World, event: &str, key: &str) -> Vec<String> {
    let notes = world.orders.iter().filter_map(|order| match order {
        RecordOrder::Note { what, .. } if what["event"] == event => {
            what[key].as_str().map(str::to_owned)
        }
        _ => None,
    });
    notes.collect()
}

/// Of whom a member was told last that they are recorded, or not.
fn told(world: &mut World, conn: ConnId) -> Vec<(String, bool)> {
    let mut told = std::collections::BTreeMap::new();
    for message in world.take(conn) {
        if message["type"] == "user" && message["username"] != "RECORDING" {
            let is_recorded = message["data"]["recorded"] == true;
            told.insert(message["id"].as_str().unwrap_or_default().to_owned(), is_recorded);
        }
    }
    told.into_iter().collect()
}

#[test]
fn everybody_is_recorded_without_a_message_for_each_pair() {
    let (mut world, [ann, bob, _]) = class("everybody");
    record(&mut world, ann);
    assert_eq!(recorded(&world), ["anns", "bobs", "eves"]);
    let said = world.take(bob);
    assert_eq!(said.len(), 2, "the member RECORDING and the status: {said:?}");
    assert!(said[1]["status"].get("recordingConsent").is_none());
    assert_eq!(notes(&world, "joined", "username"), ["ann", "bob", "eve"]);
}

#[test]
fn those_who_agree_are_recorded_until_they_do_not() {
    let (mut world, [ann, bob, eve]) = class("asked");
    record(&mut world, ann);
    // Who has started it has agreed.
    assert_eq!(recorded(&world), ["anns"]);
    let said = world.take(eve);
    let status = said.iter().rfind(|said| said["type"] == "joined").expect("told");
    assert_eq!(status["status"]["recordingConsent"], "asked");
    world.take(ann);
    consent(&mut world, bob, "bob", json!(true));
    assert_eq!(recorded(&world), ["anns", "bobs"]);
    assert_eq!(told(&mut world, eve), [("bob".to_owned(), true)]);
    consent(&mut world, eve, "eve", json!(false));
    assert_eq!(recorded(&world), ["anns", "bobs"]);
    world.say(bob, json!({"type": "chat", "value": "mine"}));
    world.say(eve, json!({"type": "chat", "value": "not mine"}));
    assert_eq!(notes(&world, "chat", "value"), ["mine"]);
    consent(&mut world, bob, "bob", json!(false));
    assert_eq!(recorded(&world), ["anns"]);
    assert_eq!(told(&mut world, ann), [("bob".to_owned(), false)]);
    // Another stream of whom is not recorded is not, either.
    let up = world.publish(bob, "screen", json!({"label": "screenshare"}));
    world.arrives(up, 0, MediaKind::Video);
    assert_eq!(recorded(&world), ["anns"]);
    assert_eq!(notes(&world, "joined", "username"), ["ann", "bob"], "nothing of eve");
    // Who comes later is asked, too.
    world.member("zoe", "zoe");
    assert_eq!(notes(&world, "joined", "username").len(), 2);
}

#[test]
fn raised_hands_of_whom_is_recorded_are_in_the_timeline() {
    let (mut world, [ann, bob, eve]) = class("asked");
    record(&mut world, ann);
    consent(&mut world, bob, "bob", json!(true));
    let hand = |world: &mut World, conn: ConnId, name: &str, is_up: Value| {
        let value = json!({"raisehand": is_up, "hand": 1});
        world.say(
            conn,
            json!({"type": "useraction", "kind": "setdata", "dest": name, "value": value}),
        );
    };
    hand(&mut world, bob, "bob", json!(true));
    hand(&mut world, bob, "bob", json!(true));
    hand(&mut world, eve, "eve", json!(true));
    assert_eq!(notes(&world, "hand-up", "username"), ["bob"]);
    hand(&mut world, bob, "bob", Value::Null);
    assert_eq!(notes(&world, "hand-down", "username"), ["bob"]);
}

#[test]
fn nobody_agrees_for_others_nor_by_a_name_in_its_data() {
    let (mut world, [ann, bob, eve]) = class("asked");
    record(&mut world, ann);
    world.forget();
    consent(&mut world, ann, "bob", json!(true));
    assert_eq!(world.take(ann)[0]["value"], "not authorised");
    consent(&mut world, bob, "bob", json!("yes"));
    assert!(world.take(bob)[0]["value"].as_str().is_some_and(|text| text.contains("consent")));
    let data = json!({"type": "useraction", "kind": "setdata", "dest": "bob",
        "value": {"recorded": true}});
    world.say(bob, data);
    assert_eq!(told(&mut world, eve), [("bob".to_owned(), false)]);
    assert_eq!(recorded(&world), ["anns"]);
}

#[test]
fn operators_only_are_those_who_are_it_at_the_time() {
    let (mut world, [ann, bob, eve]) = class("operators");
    record(&mut world, ann);
    assert_eq!(recorded(&world), ["anns"]);
    assert_eq!(told(&mut world, eve), [("ann".to_owned(), true)]);
    world.say(ann, json!({"type": "useraction", "kind": "op", "dest": "bob"}));
    assert_eq!(recorded(&world), ["anns", "bobs"]);
    world.say(ann, json!({"type": "useraction", "kind": "unop", "dest": "bob"}));
    assert_eq!(recorded(&world), ["anns"]);
    consent(&mut world, eve, "eve", json!(true));
    assert_eq!(recorded(&world), ["anns"], "she was not asked");
    world.take(bob);
    world.say(ann, json!({"type": "groupaction", "kind": "unrecord"}));
    assert_eq!(told(&mut world, bob), [("ann".to_owned(), false)]);
}

#[test]
fn a_file_that_becomes_stricter_holds_at_once() {
    let (mut world, [ann, ..]) = class("everybody");
    record(&mut world, ann);
    assert_eq!(recorded(&world).len(), 3);
    world.reload(&file("asked"));
    assert_eq!(recorded(&world), ["anns"]);
    world.reload(&file("everybody"));
    assert_eq!(recorded(&world).len(), 3);
}

#[test]
fn a_recording_ends_with_the_last_member_of_a_group_whose_file_is_gone() {
    let (mut world, conns) = class("everybody");
    record(&mut world, conns[0]);
    world.files.remove("test");
    world.status("test");
    for conn in conns {
        world.disconnect(conn);
    }
    assert!(matches!(world.orders.last(), Some(RecordOrder::End { .. })), "{:?}", world.orders);
    assert_eq!(world.board.census().connections, 0, "nor is the recorder left");
}
