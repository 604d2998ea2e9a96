//! What members are told of what they cannot see or send, and what the books say of members.

mod world;

use std::time::Duration;

use serde_json::json;
use signalling::{
    MediaEvent, MediaKind, MediaRequest, Over, PathStage, PathState, PublicationKey, What,
};
use world::{OPEN, World, kinds};

#[test]
fn a_member_learns_once_what_it_cannot_show_or_send() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "Ann");
    let bob = world.member("bob", "bob");
    let up = world.live(ann, "s");
    let down = world.offered();
    world.say(bob, json!({"type": "answer", "id": "s", "sdp": "v=0"}));
    world.take(bob);
    let unshown = MediaEvent::Unshown {
        media: down,
        publication: PublicationKey { media: up, m_line: 1 },
        codec: "h264",
        kind: MediaKind::Video,
    };
    world.event(unshown.clone());
    world.event(unshown);
    let said = world.take(bob);
    assert_eq!(kinds(&said), ["usermessage/warning"], "once");
    let text = said[0]["value"].as_str().unwrap();
    assert!(text.contains("cannot see Ann") && text.contains("H264"), "{text}");
    assert_eq!(said[0]["privileged"], true);

    world.say(bob, json!({"type": "offer", "id": "t", "label": "camera", "sdp": "v=0"}));
    let media = world.last_publish();
    let unused = vec!["m-section 2 (video): none of its codecs is allowed here".to_owned()];
    let answered =
        |unused| MediaEvent::Answered { media, answer: "v=0".into(), publications: 1, unused };
    world.event(answered(unused.clone()));
    world.event(answered(unused));
    assert_eq!(kinds(&world.take(bob)), ["answer", "usermessage/warning", "answer"]);
}

#[test]
fn the_books_say_who_came_published_and_went_and_why() {
    let mut world = World::new(
        r#"{"users":{"Ann":{"password":"chalk","permissions":"op"}},
            "wildcard-user":{"password":{"type":"wildcard"},"permissions":"present"}}"#,
    );
    let ann = world.join_as("ann", "Ann", "chalk");
    world.join_as("eve", "Ann", "cheese");
    let bob = world.join_as("bob", "bob", "");
    let up = world.live(bob, "s");
    let whose = world.board.whose(up).expect("it is there");
    assert_eq!((whose.group.as_str(), whose.username.as_str()), ("test", "bob"));
    let kick = json!({"type": "useraction", "kind": "kick", "dest": "bob", "value": "enough"});
    world.say(ann, kick);
    world.disconnect(ann);
    assert!(world.board.whose(up).is_none());
    let (stream, label) = ("s".to_owned(), "camera".to_owned());
    let all: Vec<(&str, &What)> =
        world.happened.iter().map(|it| (it.client.as_str(), &it.what)).collect();
    let [came, refused, also, published, kicked, ended, left, last] = &all[..] else {
        panic!("{all:?}");
    };
    assert!(matches!(came, ("ann", What::Joined { permissions }) if permissions[0] == "op"));
    assert_eq!(*refused, ("eve", &What::Refused { why: "not authorised".into() }));
    assert!(matches!(also, ("bob", What::Joined { .. })));
    let there = What::Published { stream: stream.clone(), label: label.clone(), has: (true, true) };
    assert_eq!(*published, ("bob", &there));
    let by = Some("Ann".to_owned());
    assert_eq!(*kicked, ("bob", &What::Kicked { by, message: "enough".into() }));
    assert_eq!(*ended, ("bob", &What::Ended { stream, label }));
    assert_eq!((*left, *last), (("bob", &What::Left), ("ann", &What::Left)));
    assert!(world.happened.iter().all(|it| it.group == "test"));
}

/// An address that changes breaks all paths at once, and each would be noticed by itself.
#[test]
fn one_silent_transport_makes_all_of_its_member_restart() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    world.live(ann, "a");
    let down = world.offered();
    world.say(bob, json!({"type": "answer", "id": "a", "sdp": "v=0"}));
    let up = world.live(bob, "b");
    world.forget();
    let restarts = |world: &World| {
        let restarts = world.media.iter().filter(|request| {
            matches!(request, MediaRequest::Subscribe { media, is_restart: true, .. } if *media == down)
        });
        restarts.count()
    };
    world.event(MediaEvent::Disconnected { media: up });
    assert_eq!(world.take(bob), [json!({"type": "renegotiate", "id": "b"})]);
    assert_eq!(restarts(&world), 1);
    assert_eq!(kinds(&world.take(ann)), ["stream/silent"], "it is not her path");
    // The others are noticed a moment later, and told already.
    world.event(MediaEvent::Disconnected { media: down });
    assert_eq!(restarts(&world), 1);
    world.advance(Duration::from_secs(6));
    world.event(MediaEvent::Disconnected { media: up });
    assert_eq!(kinds(&world.take(bob)), ["renegotiate"]);
}

/// A picture that stands still says why, at once and not when the transport has been given up.
#[test]
fn viewers_are_told_that_nothing_comes_and_that_it_comes_again() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    let carl = world.member("carl", "carl");
    world.say(bob, json!({"type": "request", "request": {"": ["audio", "video"]}}));
    world.say(carl, json!({"type": "request", "request": {}}));
    let up = world.live(ann, "a");
    world.offered();
    world.say(bob, json!({"type": "answer", "id": "a", "sdp": "v=0"}));
    world.forget();
    for (event, kind) in [
        (MediaEvent::Disconnected { media: up }, "silent"),
        (MediaEvent::Reconnected { media: up }, "heard"),
    ] {
        world.event(event.clone());
        assert_eq!(kinds(&world.take(ann)).is_empty(), kind == "heard", "she restarts ICE");
        let told = json!({"type": "stream", "kind": kind, "id": "a"});
        assert_eq!(world.take(bob), [told]);
        assert!(world.take(carl).is_empty(), "he does not watch it");
        world.event(event);
        assert!(world.take(bob).is_empty(), "told once");
    }
}

/// A client that can leave Encodings out is told which nobody wishes to have.
#[test]
fn who_asked_for_it_is_told_which_encodings_are_wanted() {
    let mut world = World::new(OPEN);
    for (wants, is_told) in [(json!(["encodings"]), true), (json!(["speakers"]), false)] {
        let ann = world.connect();
        let hello = json!({"type": "handshake", "version": ["2"], "id": "ann", "wants": wants});
        world.say(ann, hello);
        world.say(ann, json!({"type": "join", "kind": "join", "group": "test", "username": "a"}));
        let media = world.publish(ann, "s", json!({}));
        let publication = PublicationKey { media, m_line: 1 };
        let wanted = |encodings| MediaEvent::Wanted { publication, encodings };
        world.take(ann);
        world.event(wanted(1));
        assert!(world.take(ann).is_empty(), "there is only one");
        let rids = vec!["h".to_owned(), "l".to_owned()];
        world.event(MediaEvent::Published { publication, kind: MediaKind::Video, rids });
        world.event(wanted(0b10));
        world.event(wanted(0b11));
        let told = |rids| json!({"type": "stream", "kind": "wanted", "id": "s", "value": rids});
        let expected = [told(json!(["l"])), told(json!(["h", "l"]))];
        assert_eq!(world.take(ann), if is_told { &expected[..] } else { &[] });
        world.disconnect(ann);
    }
}

/// Who sees nothing is told how far the connection has come; who sees is not.
#[test]
fn a_connection_in_trouble_is_told_to_its_owner_and_an_ordinary_one_is_not() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    world.say(bob, json!({"type": "request", "request": {"": ["audio", "video"]}}));
    let up = world.live(ann, "a");
    let down = world.offered();
    world.say(bob, json!({"type": "answer", "id": "a", "sdp": "v=0"}));
    world.forget();
    let path = |stage, over| PathState { stage, over };
    let told = |value| vec![json!({"type": "stream", "kind": "path", "id": "a", "value": value})];
    for (media, conn) in [(up, ann), (down, bob)] {
        for (path, value) in [
            (path(PathStage::Flowing, Some(Over::Udp)), None),
            (path(PathStage::Waiting, None), Some(json!({"state": "waiting"}))),
            (
                path(PathStage::Checked, Some(Over::Udp)),
                Some(json!({"state": "checked", "over": "udp"})),
            ),
            (
                path(PathStage::Connected, Some(Over::Tcp)),
                Some(json!({"state": "connected", "over": "tcp"})),
            ),
            (
                path(PathStage::Flowing, Some(Over::TurnTls)),
                Some(json!({"state": "flowing", "over": "turn/tls"})),
            ),
            (
                path(PathStage::Silent, Some(Over::Tcp)),
                Some(json!({"state": "silent", "over": "tcp"})),
            ),
            (
                path(PathStage::Flowing, Some(Over::Udp)),
                Some(json!({"state": "flowing", "over": "udp"})),
            ),
            (path(PathStage::Flowing, Some(Over::Udp)), None),
        ] {
            world.event(MediaEvent::Path { media, path });
            assert_eq!(world.take(conn), value.map(told).unwrap_or_default(), "{path:?}");
        }
    }
}
