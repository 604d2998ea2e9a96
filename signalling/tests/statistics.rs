//! What administrators see of streams, in Galene's form (docs/admin-api.md).

mod world;

use std::collections::HashMap;

use serde_json::{Value, json};
use signalling::{MediaEvent, PathStage, PathState, PublicationKey, Rate, SentRate, whip};
use world::{OPEN, World};

/// One that is sent something and has said nothing of it.
fn sent(publication: PublicationKey, bits_per_second: u64) -> SentRate {
    SentRate {
        publication,
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
    let audio = Rate { bits_per_second: 40_000, ..Rate::default() };
    let video = Rate {
        m_line: 1,
        bits_per_second: 700_000,
        loss_256: 64,
        jitter_us: 1500,
        ..Rate::default()
    };
    world.event(MediaEvent::Received { media, rates: vec![audio, video] });
    assert_eq!(
        tracks(&world),
        json!([{"bitrate": 40_000, "loss": 0.0},
            {"bitrate": 700_000, "loss": 0.25, "jitter": 1.5}])
    );
    let path = PathState { stage: PathStage::Silent, over: Some(signalling::Over::Udp) };
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
    let audio = sent(PublicationKey { media: up, m_line: 0 }, 30_000);
    let video = SentRate {
        spatial: (1, 2),
        temporal: (0, 3),
        estimate_bits_per_second: Some(1_000_000),
        loss_256: 128,
        rtt_us: 20_500,
        jitter_us: 3000,
        ..sent(PublicationKey { media: up, m_line: 1 }, 600_000)
    };
    let stats = world.board.stats(&HashMap::from([(down, vec![audio, video])]));
    assert_eq!(
        stats[0]["clients"][1]["down"],
        json!([{"id": "one", "tracks": [
            {"sid": 0, "maxSid": 0, "tid": 0, "maxTid": 0, "bitrate": 30_000, "loss": 0.0},
            {"sid": 1, "maxSid": 2, "tid": 0, "maxTid": 3, "bitrate": 600_000,
                "maxBitrate": 1_000_000, "loss": 0.5, "rtt": 20.5, "jitter": 3.0}
        ]}])
    );
    let text = serde_json::to_string(&stats).unwrap();
    assert!(!text.contains("username"), "{text}");
}

#[test]
fn players_over_http_show_what_their_slots_carry() {
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
    let slots = vec![("0".to_owned(), signalling::MediaKind::Video)];
    world.event(MediaEvent::Viewed { media: view, answer: Some("v=0".into()), slots });
    let video = PublicationKey { media: up, m_line: 1 };
    world.event(MediaEvent::Watching { media: view, slots: vec![Some(video)] });
    let of_player = |stats: Value| {
        let clients = stats[0]["clients"].as_array().unwrap().clone();
        clients.into_iter().find(|client| client["id"] != "ann").expect("the player")
    };
    let player = of_player(world.board.stats(&HashMap::new()));
    assert_eq!(player["down"], json!([{"id": "one", "tracks": null}]));
    let rates = HashMap::from([(view, vec![sent(video, 500_000)])]);
    let player = of_player(world.board.stats(&rates));
    assert_eq!(player["down"][0]["tracks"][0]["bitrate"], 500_000);
    world.event(MediaEvent::Watching { media: view, slots: vec![None] });
    assert_eq!(of_player(world.board.stats(&rates)).get("down"), None);
}
