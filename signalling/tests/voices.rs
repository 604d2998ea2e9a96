//! Who speaks, and of whom large groups hear.

mod world;

use std::time::Duration;

use serde_json::json;
use signalling::{ConnId, MediaEvent, MediaId, MediaKind, MediaRequest, PublicationKey};
use world::{OPEN, World, kinds};

/// Anybody may present, and the teacher has a name.
const CLASS: &str = r#"{"users":{"Teacher":{"password":"chalk","permissions":"op"}},
    "wildcard-user":{"password":{"type":"wildcard"},"permissions":"present"},"loudest":2}"#;

/// More than this many members are a large group.
const LARGE: usize = 50;

fn speak(world: &mut World, media: MediaId, loudness: u8) {
    let publication = PublicationKey { media, m_line: 0 };
    world.event(MediaEvent::Voice { publication, loudness, is_speaking: loudness >= 80 });
}

/// A member that wants to know who speaks.
fn follower(world: &mut World, id: &str) -> ConnId {
    let conn = world.connect();
    let wants = json!(["speakers", "the moon"]);
    world.say(conn, json!({"type": "handshake", "version": ["2"], "id": id, "wants": wants}));
    world.say(conn, json!({"type": "join", "kind": "join", "group": "test", "username": id}));
    world.take(conn);
    conn
}

/// What has become of whose sound since the last time.
fn heard(world: &mut World) -> Vec<(MediaId, bool)> {
    let heard = world.media.iter().filter_map(|request| match request {
        MediaRequest::SetHeard { publication, is_heard } => Some((publication.media, *is_heard)),
        _ => None,
    });
    let heard = heard.collect();
    world.media.clear();
    heard
}

#[test]
fn who_asked_for_it_is_told_who_speaks_and_nobody_else() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = follower(&mut world, "bob");
    let up = world.live(ann, "a");
    world.forget();
    speak(&mut world, up, 0);
    world.advance(Duration::from_secs(1));
    assert!(world.take(bob).is_empty(), "nobody speaks");
    speak(&mut world, up, 90);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.take(bob), [json!({"type": "speakers", "value": ["a"]})]);
    assert!(world.take(ann).is_empty());
    // Whoever comes now is told at once.
    let conn = world.connect();
    let wants = json!(["speakers"]);
    world.say(conn, json!({"type": "handshake", "version": ["2"], "id": "c", "wants": wants}));
    world.say(conn, json!({"type": "join", "kind": "join", "group": "test", "username": "c"}));
    assert_eq!(kinds(&world.take(conn)).last().map(String::as_str), Some("speakers"));
    // The end of a stream is the end of its speech.
    world.say(ann, json!({"type": "close", "id": "a"}));
    world.advance(Duration::from_secs(1));
    let told = world.take(bob);
    assert_eq!(told.last(), Some(&json!({"type": "speakers", "value": []})), "{told:?}");
}

#[test]
fn a_quarrel_is_told_twice_a_second_at_most() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = follower(&mut world, "bob");
    let (one, two) = (world.live(ann, "a"), world.live(ann, "b"));
    world.take(bob);
    for at in 0..100 {
        speak(&mut world, one, if at % 2 == 0 { 90 } else { 20 });
        speak(&mut world, two, if at % 2 == 0 { 20 } else { 90 });
        world.advance(Duration::from_millis(100));
    }
    let told = world.take(bob).len();
    assert!((2..=22).contains(&told), "{told} messages in ten seconds");
}

#[test]
fn a_large_group_hears_the_loudest_its_teacher_and_shared_screens() {
    let mut world = World::new(CLASS);
    let teacher = world.join_as("teacher", "Teacher", "chalk");
    let lecture = world.live(teacher, "lecture");
    let pupils: Vec<(ConnId, MediaId)> = (0..5)
        .map(|at| {
            let conn = world.join_as(&format!("p{at}"), &format!("p{at}"), "");
            (conn, world.live(conn, &format!("s{at}")))
        })
        .collect();
    let film = {
        let media = world.publish(pupils[0].0, "film", json!({"label": "screenshare"}));
        world.arrives(media, 0, MediaKind::Audio);
        media
    };
    for media in pupils.iter().map(|(_, media)| *media).chain([film, lecture]) {
        speak(&mut world, media, 20);
    }
    assert_eq!(heard(&mut world), [], "a small group hears all");
    let crowd: Vec<ConnId> =
        (0..LARGE - 5).map(|at| world.join_as(&format!("c{at}"), &format!("c{at}"), "")).collect();
    let quiet = heard(&mut world);
    assert_eq!(quiet.len(), 3, "five pupils, of whom two are heard: {quiet:?}");
    assert!(quiet.iter().all(|(media, is_heard)| !is_heard && *media != film && *media != lecture));
    // A pupil who speaks is heard, in the place of one who does not.
    let loud = quiet[0].0;
    speak(&mut world, loud, 90);
    let changed = heard(&mut world);
    assert_eq!(changed.len(), 2);
    assert!(changed.contains(&(loud, true)), "{changed:?}");
    // When the others have gone all are heard again.
    world.disconnect(crowd[0]);
    let changed = heard(&mut world);
    assert_eq!(changed.len(), 3);
    assert!(changed.iter().all(|(_, is_heard)| *is_heard), "{changed:?}");
}

#[test]
fn a_group_may_hear_all_however_large() {
    let mut world = World::new(&CLASS.replace("\"loudest\":2", "\"loudest\":0"));
    for at in 0..LARGE + 5 {
        let conn = world.join_as(&format!("p{at}"), &format!("p{at}"), "");
        let media = world.live(conn, &format!("s{at}"));
        speak(&mut world, media, 90);
    }
    assert_eq!(heard(&mut world), []);
}
