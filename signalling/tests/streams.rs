//! Up and down streams: what viewers are offered, when, and what ends it.

mod world;

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use signalling::{Cause, ConnId, MediaEvent, MediaId, MediaKind, MediaRequest};
use world::{OPEN, World, kinds};

fn subscribes(world: &World) -> Vec<(MediaId, usize, bool)> {
    let subscribes = world.media.iter().filter_map(|request| match request {
        MediaRequest::Subscribe { media, wants, is_restart, .. } => {
            Some((*media, wants.len(), *is_restart))
        }
        _ => None,
    });
    subscribes.collect()
}

fn closes(world: &World) -> Vec<MediaId> {
    let closes = world.media.iter().filter_map(|request| match request {
        MediaRequest::Close { media } => Some(*media),
        _ => None,
    });
    closes.collect()
}

#[test]
fn viewers_learn_of_a_stream_once_all_its_media_has_arrived() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    world.member("bob", "bob");
    world.forget();
    let up = world.publish(ann, "s", json!({}));
    assert!(subscribes(&world).is_empty());
    world.arrives(up, 1, MediaKind::Video);
    assert!(subscribes(&world).is_empty());
    world.arrives(up, 0, MediaKind::Audio);
    assert_eq!(subscribes(&world).len(), 1);
    assert_eq!(subscribes(&world)[0].1, 2);
    world.advance(Duration::from_secs(2));
    assert_eq!(subscribes(&world).len(), 1, "told once");
}

#[test]
fn a_missing_section_is_waited_for_half_a_second_and_added_later() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    let up = world.publish(ann, "s", json!({}));
    world.arrives(up, 0, MediaKind::Audio);
    world.advance(Duration::from_millis(499));
    assert!(subscribes(&world).is_empty());
    world.advance(Duration::from_millis(1));
    assert_eq!(subscribes(&world)[0].1, 1);
    world.offered();
    world.say(bob, json!({"type": "answer", "id": "s", "sdp": "v=0"}));
    world.arrives(up, 1, MediaKind::Video);
    assert_eq!(subscribes(&world)[1].1, 2);
    assert_eq!(subscribes(&world)[0].0, subscribes(&world)[1].0, "the same transport");
}

#[test]
fn nobody_gets_what_was_not_asked_for() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.join_as("bob", "bob", "");
    world.live(ann, "s");
    assert!(subscribes(&world).is_empty(), "no request yet, and never one's own");
    world
        .say(bob, json!({"type": "request", "request": {"screenshare": ["video"], "": ["audio"]}}));
    assert_eq!(subscribes(&world)[0].1, 1);
    let down = world.offered();
    world.take(bob);
    world.forget();
    world.say(bob, json!({"type": "request", "request": {"camera": []}}));
    assert_eq!(world.take(bob), [json!({"type": "close", "id": "s"})]);
    assert_eq!(closes(&world), [down]);
    world.say(bob, json!({"type": "request", "request": {}}));
    assert!(world.take(bob).is_empty(), "what one never had is not closed");
    world.say(bob, json!({"type": "request"}));
    assert!(world.take(bob).is_empty(), "no wishes are none");
}

#[test]
fn needs_that_arise_while_an_offer_is_out_are_met_by_one_more() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    world.live(ann, "s");
    world.forget();
    let request = |wishes| json!({"type": "requestStream", "id": "s", "request": wishes});
    world.say(bob, request(json!(["audio"])));
    world.say(bob, json!({"type": "renegotiate", "id": "s"}));
    world.say(bob, request(json!(["video"])));
    assert!(subscribes(&world).is_empty(), "the first offer is still being made");
    let board = &mut world;
    let media = {
        board.say(bob, json!({"type": "answer", "id": "s", "sdp": "early"}));
        MediaId(2)
    };
    world.event(MediaEvent::Offered { media, offer: "v=0 first".into() });
    assert!(subscribes(&world).is_empty(), "the first offer is out");
    world.say(bob, json!({"type": "answer", "id": "s", "sdp": "v=0"}));
    assert_eq!(subscribes(&world), [(media, 1, true)]);
    // Glare: an answer to an offer that has not been made yet is an error, and nothing breaks.
    world.take(bob);
    world.say(bob, json!({"type": "answer", "id": "s", "sdp": "v=0"}));
    assert_eq!(kinds(&world.take(bob)), ["usermessage/error"]);
    world.event(MediaEvent::Offered { media, offer: "v=0 second".into() });
    world.say(bob, json!({"type": "answer", "id": "s", "sdp": "v=0"}));
    assert_eq!(subscribes(&world).len(), 1, "nothing more is needed");
}

#[test]
fn a_layer_is_a_cap_and_not_an_offer() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    world.live(ann, "s");
    world.offered();
    world.forget();
    let request = |wishes| json!({"type": "request", "request": {"": wishes}});
    world.say(bob, request(json!(["audio", "video-low"])));
    world.say(bob, request(json!(["audio", "video"])));
    assert!(matches!(world.media[..], [
        MediaRequest::SetCap { want: low, .. },
        MediaRequest::SetCap { want: high, .. },
    ] if low.is_low && !high.is_low));
    assert!(world.take(bob).is_empty());
}

#[test]
fn a_stream_override_lasts_until_it_is_taken_back() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    world.live(ann, "s");
    world.offered();
    world.say(bob, json!({"type": "answer", "id": "s", "sdp": "v=0"}));
    world.say(bob, json!({"type": "requestStream", "id": "s", "request": ["audio"]}));
    world.forget();
    world.say(bob, json!({"type": "request", "request": {"": ["video", "audio"]}}));
    assert!(subscribes(&world).is_empty(), "the override wins");
    let media = MediaId(2);
    world.event(MediaEvent::Offered { media, offer: "v=0".into() });
    world.say(bob, json!({"type": "answer", "id": "s", "sdp": "v=0"}));
    world.say(bob, json!({"type": "requestStream", "id": "s", "request": null}));
    assert_eq!(subscribes(&world), [(media, 2, false)]);
}

#[test]
fn replacing_is_one_offer_and_no_close() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    let old_up = world.live(ann, "old");
    let old_down = world.offered();
    world.forget();
    let new_up = world.publish(ann, "new", json!({"replace": "old"}));
    assert_eq!(closes(&world), [old_up]);
    assert!(world.take(bob).is_empty(), "the old one stays until the new one is known");
    world.arrives(new_up, 0, MediaKind::Audio);
    world.arrives(new_up, 1, MediaKind::Video);
    world.offered();
    assert_eq!(closes(&world), [old_up, old_down]);
    let said = world.take(bob);
    assert_eq!(kinds(&said), ["offer"]);
    assert_eq!((&said[0]["id"], &said[0]["replace"]), (&json!("new"), &json!("old")));
}

#[test]
fn a_replacement_of_a_replacement_stands_for_what_viewers_have() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    world.live(ann, "one");
    world.offered();
    world.publish(ann, "two", json!({"replace": "one"}));
    let up = world.publish(ann, "three", json!({"replace": "two"}));
    world.take(bob);
    world.arrives(up, 0, MediaKind::Audio);
    world.arrives(up, 1, MediaKind::Video);
    world.offered();
    let said = world.take(bob);
    assert_eq!((kinds(&said), &said[0]["replace"]), (vec!["offer".to_owned()], &json!("one")));
}

#[test]
fn a_replacement_that_fails_or_ends_takes_the_old_stream_with_it() {
    for is_refused in [true, false] {
        let mut world = World::new(OPEN);
        let ann = world.member("ann", "ann");
        let bob = world.member("bob", "bob");
        world.live(ann, "old");
        world.offered();
        world.take(bob);
        world.say(ann, json!({"type": "offer", "id": "new", "replace": "old", "sdp": "v=0"}));
        let media = world.last_publish();
        if is_refused {
            world.event(MediaEvent::Refused { media, text: "bad".into(), cause: Cause::Other });
        } else {
            world.say(ann, json!({"type": "close", "id": "new"}));
        }
        assert_eq!(world.take(bob), [json!({"type": "close", "id": "old"})]);
    }
}

#[test]
fn a_stale_replace_is_ignored() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    let eve = world.member("eve", "eve");
    world.live(eve, "eves");
    let eves_down = world.last_subscribe();
    world.event(MediaEvent::Offered { media: eves_down, offer: "v=0".into() });
    world.take(bob);
    world.forget();
    // Neither an unknown stream nor somebody else's is replaced.
    for old in ["never", "eves"] {
        let stream = format!("s-{old}");
        let up = world.publish(ann, &stream, json!({"replace": old}));
        world.arrives(up, 0, MediaKind::Audio);
        world.arrives(up, 1, MediaKind::Video);
    }
    assert!(closes(&world).is_empty());
    assert!(kinds(&world.take(bob)).iter().all(|kind| kind != "close"));
}

#[test]
fn a_stream_id_belongs_to_one_publisher() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    world.live(ann, "s");
    world.take(bob);
    world.forget();
    world.say(bob, json!({"type": "offer", "id": "s", "sdp": "v=0"}));
    assert_eq!(kinds(&world.take(bob)), ["abort", "usermessage/error"]);
    assert!(world.media.is_empty());
}

#[test]
fn a_second_offer_renegotiates_the_same_transport() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let up = world.live(ann, "s");
    world.forget();
    assert_eq!(world.publish(ann, "s", json!({"kind": "renegotiate"})), up);
    // A bad one leaves what runs alone, until the owner closes it.
    world.say(ann, json!({"type": "offer", "id": "s", "sdp": "nonsense"}));
    world.take(ann);
    world.event(MediaEvent::Refused { media: up, text: "bad".into(), cause: Cause::Other });
    assert_eq!(kinds(&world.take(ann)), ["abort", "usermessage/error"]);
    assert!(closes(&world).is_empty());
    world.say(ann, json!({"type": "close", "id": "s"}));
    assert_eq!(closes(&world), [up]);
}

#[test]
fn lost_connections_are_restarted_and_ends_are_told() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    let up = world.live(ann, "s");
    let down = world.offered();
    world.say(bob, json!({"type": "answer", "id": "s", "sdp": "v=0"}));
    world.forget();
    world.event(MediaEvent::Disconnected { media: up });
    assert_eq!(world.take(ann), [json!({"type": "renegotiate", "id": "s"})]);
    world.event(MediaEvent::Disconnected { media: down });
    assert_eq!(subscribes(&world), [(down, 2, true)]);
    world.event(MediaEvent::Closed {
        media: up,
        text: "the peer vanished".into(),
        detail: String::new(),
        is_by_peer: false,
    });
    assert_eq!(kinds(&world.take(ann)), ["abort", "usermessage/error"]);
    assert_eq!(kinds(&world.take(bob)), ["stream/silent", "close"]);
    assert_eq!(closes(&world), [down]);
    // News of what is gone is no news.
    for event in [
        MediaEvent::Closed {
            media: down,
            text: String::new(),
            detail: String::new(),
            is_by_peer: false,
        },
        MediaEvent::Offered { media: down, offer: "v=0".into() },
        MediaEvent::Answered {
            media: up,
            answer: "v=0".into(),
            publications: 1,
            unused: Vec::new(),
        },
        MediaEvent::Disconnected { media: MediaId(999) },
    ] {
        world.event(event);
    }
    assert!(world.take(ann).is_empty() && world.take(bob).is_empty());
}

/// Galene's client closes the transport before it says what becomes of the stream, and raises an
/// error when it is told to abort a stream that it has ended.
#[test]
fn who_closes_a_transport_may_say_what_replaces_it() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    let left = |world: &mut World, stream: &str| {
        let up = world.live(ann, stream);
        world.offered();
        world.say(bob, json!({"type": "answer", "id": stream, "sdp": "v=0"}));
        world.forget();
        world.event(MediaEvent::Closed {
            media: up,
            text: "left".into(),
            detail: String::new(),
            is_by_peer: true,
        });
        assert!(world.take(ann).is_empty() && world.take(bob).is_empty());
    };
    left(&mut world, "a");
    world.say(ann, json!({"type": "close", "id": "a"}));
    assert_eq!(world.take(bob), [json!({"type": "close", "id": "a"})]);

    left(&mut world, "b");
    let up = world.publish(ann, "c", json!({"replace": "b"}));
    world.arrives(up, 0, MediaKind::Audio);
    world.arrives(up, 1, MediaKind::Video);
    world.offered();
    let told = world.take(bob);
    assert_eq!(kinds(&told), ["offer"]);
    assert_eq!(told[0]["replace"], "b");
    world.say(ann, json!({"type": "close", "id": "c"}));
    world.take(bob);

    // The same id may come again, and silence is the end as well.
    left(&mut world, "d");
    world.publish(ann, "d", json!({}));
    assert_eq!(kinds(&world.take(bob)), ["close"]);
    world.say(ann, json!({"type": "close", "id": "d"}));
    left(&mut world, "e");
    world.advance(Duration::from_secs(9));
    assert!(world.take(bob).is_empty());
    world.advance(Duration::from_secs(2));
    assert_eq!(kinds(&world.take(bob)), ["close"]);
    assert!(world.take(ann).is_empty());

    // One that never came up has failed, whoever has ended it.
    let up = world.publish(ann, "f", json!({}));
    world.event(MediaEvent::Closed {
        media: up,
        text: "failed".into(),
        detail: String::new(),
        is_by_peer: true,
    });
    assert!(kinds(&world.take(ann)).contains(&"abort".to_owned()));
}

#[test]
fn a_viewer_that_cannot_be_reached_is_tried_again_some_times() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    world.live(ann, "s");
    let mut downs = vec![world.offered()];
    for _ in 0..4 {
        world.forget();
        let media = *downs.last().unwrap();
        world.event(MediaEvent::Closed {
            media,
            text: "no connection in time".into(),
            detail: String::new(),
            is_by_peer: false,
        });
        assert_eq!(world.take(bob), [json!({"type": "close", "id": "s"})]);
        assert!(subscribes(&world).is_empty(), "not at once");
        world.advance(Duration::from_secs(20));
        for conn in [ann, bob] {
            world.say(conn, json!({"type": "pong"}));
        }
        let media = world.offered();
        assert!(!downs.contains(&media), "a fresh transport");
        downs.push(media);
        assert!(kinds(&world.take(bob)).contains(&"offer".to_owned()));
    }
    world.forget();
    let media = *downs.last().unwrap();
    world.event(MediaEvent::Closed {
        media,
        text: "no connection in time".into(),
        detail: String::new(),
        is_by_peer: false,
    });
    assert_eq!(kinds(&world.take(bob)), ["close", "usermessage/error"]);
    world.advance(Duration::from_secs(20));
    assert!(subscribes(&world).is_empty());
    // Asking anew is a new beginning; getting through is another.
    world.say(bob, json!({"type": "request", "request": {"": ["audio"]}}));
    let media = world.offered();
    world.event(MediaEvent::Connected { media });
    world.forget();
    world.event(MediaEvent::Refused { media, text: "server full".into(), cause: Cause::Busy });
    world.advance(Duration::from_secs(3));
    assert_eq!(subscribes(&world).len(), 1);
}

#[test]
fn a_viewer_that_refuses_or_answers_badly_loses_only_that_stream() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    world.live(ann, "one");
    let one = world.offered();
    world.live(ann, "two");
    let two = world.offered();
    world.take(bob);
    world.forget();
    world.say(bob, json!({"type": "abort", "id": "one"}));
    assert_eq!(world.take(bob), [json!({"type": "close", "id": "one"})]);
    world.say(bob, json!({"type": "answer", "id": "two", "sdp": "nonsense"}));
    world.event(MediaEvent::Refused {
        media: two,
        text: "cannot parse".into(),
        cause: Cause::Other,
    });
    assert_eq!(kinds(&world.take(bob)), ["close", "usermessage/error"]);
    assert_eq!(closes(&world), [one, two]);
}

#[test]
fn a_close_in_the_middle_of_a_negotiation_is_final() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    world.live(ann, "s");
    let down = world.last_subscribe();
    world.say(ann, json!({"type": "close", "id": "s"}));
    assert_eq!(kinds(&world.take(bob)), ["close"]);
    world.event(MediaEvent::Offered { media: down, offer: "v=0".into() });
    assert!(world.take(bob).is_empty(), "no offer after the close");
    world.say(bob, json!({"type": "answer", "id": "s", "sdp": "v=0"}));
    assert_eq!(kinds(&world.take(bob)), ["close"]);
}

#[test]
fn a_changed_codec_is_offered_again() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    let up = world.live(ann, "s");
    let down = world.offered();
    world.say(bob, json!({"type": "answer", "id": "s", "sdp": "v=0"}));
    world.forget();
    world.arrives(up, 1, MediaKind::Video);
    assert_eq!(subscribes(&world), [(down, 2, false)]);
}

/// Random but repeatable.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A class in which anything may happen, and what its transports are known to be up to.
struct Turmoil {
    seed: u64,
    dice: Dice,
    world: World,
    conns: Vec<ConnId>,
    opened: HashSet<MediaId>,
    outstanding: HashSet<MediaId>,
}

impl Turmoil {
    fn new(seed: u64) -> Self {
        let mut world = World::new(OPEN);
        let conns = (0..3).map(|index| world.member(&format!("c{index}"), "ann")).collect();
        let (opened, outstanding) = (HashSet::new(), HashSet::new());
        Self { seed, dice: Dice(seed * 0x9e37_79b9), world, conns, opened, outstanding }
    }

    fn step(&mut self, step: u64) {
        let conn = self.conns[self.dice.roll(self.conns.len() as u64) as usize];
        let stream = format!("s{}", self.dice.roll(5));
        let media = MediaId(1 + self.dice.roll(12));
        match self.dice.roll(18) {
            deed @ 0..=8 => self.a_member_acts(deed, conn, &stream),
            16 => self.world.advance(Duration::from_millis(300)),
            17 => {
                let index = self.dice.roll(self.conns.len() as u64) as usize;
                self.world.disconnect(self.conns[index]);
                self.conns[index] = self.world.member(&format!("c{}-{step}", self.seed), "bob");
            }
            news => self.media_happens(news, media),
        }
        self.follow();
    }

    fn a_member_acts(&mut self, deed: u64, conn: ConnId, stream: &str) {
        let message = match deed {
            0 | 1 => json!({"type": "offer", "id": stream, "sdp": "v=0"}),
            2 => {
                let old = format!("s{}", self.dice.roll(5));
                json!({"type": "offer", "id": stream, "replace": old, "sdp": "v=0"})
            }
            3 => json!({"type": "close", "id": stream}),
            4 => json!({"type": "abort", "id": stream}),
            5 => json!({"type": "renegotiate", "id": stream}),
            6 | 7 => json!({"type": "answer", "id": stream, "sdp": "v=0"}),
            _ => {
                let wishes =
                    [json!(["audio"]), json!(["audio", "video"]), json!([]), json!(["video-low"])];
                let wishes = wishes[self.dice.roll(4) as usize].clone();
                json!({"type": "request", "request": {"": wishes}})
            }
        };
        self.world.say(conn, message);
    }

    fn media_happens(&mut self, news: u64, media: MediaId) {
        let event = match news {
            9 | 10 => MediaEvent::Answered {
                media,
                answer: "v=0".into(),
                publications: 2,
                unused: Vec::new(),
            },
            11 | 12 => {
                let m_line = self.dice.roll(2) as u8;
                return self.world.arrives(media, m_line, MediaKind::Video);
            }
            13 => {
                self.outstanding.remove(&media);
                MediaEvent::Offered { media, offer: "v=0".into() }
            }
            14 => MediaEvent::Refused { media, text: "no".into(), cause: Cause::Other },
            _ => {
                self.outstanding.remove(&media);
                self.opened.remove(&media);
                let (text, detail) = ("gone".into(), String::new());
                MediaEvent::Closed { media, text, detail, is_by_peer: false }
            }
        };
        self.world.event(event);
    }

    /// What is wished of the data plane must be possible.
    fn follow(&mut self) {
        let seed = self.seed;
        for request in std::mem::take(&mut self.world.media) {
            match request {
                MediaRequest::Publish { media, .. } => {
                    self.opened.insert(media);
                }
                MediaRequest::Subscribe { media, .. } => {
                    self.opened.insert(media);
                    assert!(self.outstanding.insert(media), "seed {seed}: two offers at once");
                }
                MediaRequest::Close { media } => {
                    self.outstanding.remove(&media);
                    assert!(self.opened.remove(&media), "seed {seed}: {media:?} closed twice");
                }
                _ => {}
            }
        }
    }

    fn end(mut self) {
        for conn in std::mem::take(&mut self.conns) {
            self.world.disconnect(conn);
        }
        self.follow();
        assert!(self.opened.is_empty(), "seed {}: {:?} left open", self.seed, self.opened);
    }
}

/// Any sequence of operations: nothing panics, no offer is made while one is outstanding, nothing
/// is sent to a closed connection, and once everybody has gone every transport has been closed.
#[test]
fn every_interleaving_ends_with_nothing_left() {
    for seed in 1..200 {
        let mut turmoil = Turmoil::new(seed);
        for step in 0..150 {
            turmoil.step(step);
        }
        turmoil.end();
    }
}
