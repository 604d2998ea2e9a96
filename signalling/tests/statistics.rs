//! What administrators see of streams, in Galene's form (docs/admin-api.md).

mod world;

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use signalling::{
    Aim, Held, MediaEvent, MediaId, MediaKind, MediaRequest, Over, PathStage, PathState,
    PublicationKey, Rate, SentRate, whip,
};
use world::{OPEN, World};

/// One that is sent something and has said nothing of it.
fn sent(publication: PublicationKey, bits_per_second: u64) -> SentRate {
    SentRate {
        publication,
        kind: if publication.m_line == 0 { MediaKind::Audio } else { MediaKind::Video },
        codec: if publication.m_line == 0 { "opus" } else { "vp9" },
        encoding: Some(0),
        aim: None,
        held: None,
        still: (0, 0),
        keyframes_asked: 0,
        spatial: (0, 0),
        temporal: (0, 0),
        bits_per_second,
        estimate_bits_per_second: None,
        loss_256: 0,
        rtt_us: 0,
        jitter_us: 0,
    }
}

#[test]
fn publishers_show_what_they_bring() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let media = world.live(ann, "one");
    let nothing = HashMap::new();
    let tracks =
        |world: &World| world.board.stats(&nothing)[0]["clients"][0]["up"][0]["tracks"].clone();
    assert_eq!(tracks(&world), Value::Null);
    let audio = Rate { bits_per_second: 40_000, codec: "opus", ..Rate::default() };
    let video = Rate {
        m_line: 1,
        bits_per_second: 700_000,
        loss_256: 64,
        jitter_us: 1500,
        rtt_us: 20_000,
        codec: "vp8",
        ..Rate::default()
    };
    let low = Rate { encoding: 1, ..video };
    let publication = PublicationKey { media, m_line: 1 };
    let rids = vec!["h".to_owned(), "l".to_owned()];
    world.event(MediaEvent::Published { publication, kind: MediaKind::Video, rids });
    world.event(MediaEvent::Received { media, rates: vec![audio, video, low] });
    let shown = |rid, is_wanted| {
        json!({"kind": "video", "codec": "vp8", "rid": rid, "bitrate": 700_000, "loss": 0.25,
            "rtt": 20.0, "jitter": 1.5, "wanted": is_wanted})
    };
    let audio = json!({"kind": "audio", "codec": "opus", "bitrate": 40_000, "loss": 0.0});
    assert_eq!(tracks(&world), json!([audio, shown("h", true), shown("l", true)]));
    world.event(MediaEvent::Wanted { publication, encodings: 0b10 });
    assert_eq!(tracks(&world), json!([audio, shown("h", false), shown("l", true)]));
    let path = PathState { stage: PathStage::Silent, over: Some(Over::Udp) };
    world.event(MediaEvent::Path { media, path });
    let up = world.board.stats(&nothing)[0]["clients"][0]["up"][0].clone();
    assert_eq!(up["path"], json!({"state": "silent", "over": "udp"}));
}

#[test]
fn viewers_show_what_they_get_and_say_of_it() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    world.member("bob", "bob");
    let up = world.live(ann, "one");
    let down = world.offered();
    let stats = world.board.stats(&HashMap::new());
    assert_eq!(
        stats[0]["clients"][1],
        json!({"id": "bob", "down": [{"id": "one", "tracks": null}]})
    );
    let video = PublicationKey { media: up, m_line: 1 };
    let rids = vec!["h".to_owned(), "l".to_owned()];
    world.event(MediaEvent::Published { publication: video, kind: MediaKind::Video, rids });
    let audio = sent(PublicationKey { media: up, m_line: 0 }, 30_000);
    let video = SentRate {
        spatial: (1, 2),
        temporal: (0, 3),
        estimate_bits_per_second: Some(1_000_000),
        loss_256: 128,
        rtt_us: 20_500,
        jitter_us: 3000,
        aim: Some(Aim { encoding: 1, spatial: 2, temporal: 1 }),
        held: Some(Held::Keyframe),
        still: (2, 3500),
        keyframes_asked: 4,
        ..sent(video, 600_000)
    };
    let stats = world.board.stats(&HashMap::from([(down, vec![audio, video])]));
    assert_eq!(
        stats[0]["clients"][1]["down"],
        json!([{"id": "one", "tracks": [
            {"kind": "audio", "codec": "opus",
                "sid": 0, "maxSid": 0, "tid": 0, "maxTid": 0, "bitrate": 30_000, "loss": 0.0},
            {"kind": "video", "codec": "vp9", "rid": "h", "sid": 1, "maxSid": 2, "tid": 0,
                "maxTid": 3, "target": {"rid": "l", "sid": 2, "tid": 1}, "bitrate": 600_000,
                "maxBitrate": 1_000_000, "loss": 0.5, "rtt": 20.5, "jitter": 3.0,
                "held": "keyframe", "freezes": 2, "frozen": 3.5, "keyframes": 4}
        ]}])
    );
    let text = serde_json::to_string(&stats).unwrap();
    assert!(!text.contains("username"), "{text}");
}

#[test]
fn players_over_http_show_what_their_seats_carry() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let up = world.live(ann, "one");
    let created = world.whep(whip::Request {
        group: "test".into(),
        method: "POST".into(),
        content_type: Some("application/sdp".into()),
        body: b"v=0 offer".to_vec(),
        ..whip::Request::default()
    });
    assert!(created.is_none(), "it waits for the data plane");
    let view = world.last_view();
    let seats = vec![("0".to_owned(), MediaKind::Video)];
    world.event(MediaEvent::Viewed { media: view, answer: Some("v=0".into()), seats });
    let video = PublicationKey { media: up, m_line: 1 };
    world.event(MediaEvent::Watching { media: view, seats: vec![Some(video)] });
    let of_player = |stats: Value| {
        let clients = stats[0]["clients"].as_array().unwrap().clone();
        clients.into_iter().find(|client| client["id"] != "ann").expect("the player")
    };
    let player = of_player(world.board.stats(&HashMap::new()));
    assert_eq!(player["down"], json!([{"id": "one", "tracks": null}]));
    let rates = HashMap::from([(view, vec![sent(video, 500_000)])]);
    let player = of_player(world.board.stats(&rates));
    assert_eq!(player["down"][0]["tracks"][0]["bitrate"], 500_000);
    world.event(MediaEvent::Watching { media: view, seats: vec![None] });
    assert_eq!(of_player(world.board.stats(&rates)).get("down"), None);
}

/// How often the data plane was asked, and about which transport.
fn asked(world: &World) -> Vec<MediaId> {
    let asked = world.media.iter().filter_map(|request| match request {
        MediaRequest::Number { media } => Some(*media),
        _ => None,
    });
    asked.collect()
}

#[test]
fn members_are_told_how_their_own_streams_fare_when_they_ask() {
    let mut world = World::new(OPEN);
    let stranger = world.greet("eve");
    world.say(stranger, json!({"type": "numbers"}));
    let (ann, bob) = (world.member("ann", "ann"), world.member("bob", "bob"));
    let up = world.live(ann, "one");
    let down = world.offered();
    let audio = Rate { bits_per_second: 40_000, codec: "opus", ..Rate::default() };
    world.event(MediaEvent::Received { media: up, rates: vec![audio] });
    world.forget();
    // Who gets nothing needs no answer of the data plane.
    world.say(ann, json!({"type": "numbers"}));
    let track = json!({"kind": "audio", "codec": "opus", "bitrate": 40_000, "loss": 0.0});
    let own = json!({"up": [{"id": "one", "tracks": [track]}]});
    assert_eq!(world.take(ann), [json!({"type": "numbers", "value": own})]);
    for _ in 0..5 {
        world.say(bob, json!({"type": "numbers"}));
    }
    assert_eq!(asked(&world), [down], "once in a second");
    let video = sent(PublicationKey { media: up, m_line: 1 }, 600_000);
    let rates = HashMap::from([(down, vec![video])]);
    world.event(MediaEvent::Numbers { media: down, sent: rates });
    let said = world.take(bob);
    assert_eq!(said.len(), 1);
    assert_eq!(said[0]["type"], "numbers");
    assert_eq!(said[0]["value"].as_object().unwrap().keys().collect::<Vec<_>>(), ["down"]);
    assert_eq!(said[0]["value"]["down"][0]["id"], "one");
    assert_eq!(said[0]["value"]["down"][0]["tracks"][0]["bitrate"], 600_000);
    assert!(world.take(ann).is_empty() && world.take(stranger).is_empty());
    world.advance(Duration::from_secs(2));
    world.say(bob, json!({"type": "numbers"}));
    assert_eq!(asked(&world), [down, down]);
    // The answer comes when nobody is there any more.
    world.disconnect(bob);
    world.event(MediaEvent::Numbers { media: down, sent: HashMap::new() });
}

#[test]
fn the_handshake_says_which_wishes_are_met_to_who_has_any() {
    let mut world = World::new(OPEN);
    for (wants, met) in [
        (json!(["numbers", "speakers", "the moon", "speakers"]), json!(["speakers", "numbers"])),
        (json!(["the moon"]), Value::Null),
        (Value::Null, Value::Null),
    ] {
        let conn = world.connect();
        let hello = json!({"type": "handshake", "version": ["2"], "id": "ann", "wants": wants});
        world.say(conn, hello);
        let said = world.take(conn);
        assert_eq!(said[0].get("wants").cloned().unwrap_or_default(), met);
    }
}
