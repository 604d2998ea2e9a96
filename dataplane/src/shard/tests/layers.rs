//! Simulcast: which Encoding a viewer gets, and how switches look to it.

use std::time::Duration;

use str0m::media::MediaKind as PeerKind;

use super::forwarding::CODECS;
use super::net::{Net, Rtp};
use crate::api::{Command, Event, LayerCap, PublicationInfo};

/// A packet of an Encoding; its payload tells which.
fn layer(rid: &str, seq: u64, is_keyframe: bool) -> Rtp<'_> {
    let mut rtp = Rtp::vp8(seq, is_keyframe);
    rtp.payload[9] = rid.as_bytes()[0];
    if rid == "h" {
        rtp.payload.resize(600, 0);
    }
    rtp.rid = Some(rid);
    rtp.ext.rid = Some(rid.into());
    rtp
}

pub(super) fn start(net: &mut Net) -> (usize, PublicationInfo) {
    let publisher = net.publisher(0, CODECS, &["h", "l"]);
    net.connect(publisher);
    send(net, publisher, &["h", "l"], 1, true);
    net.run_until("the video is announced", |net| !net.publications(publisher).is_empty());
    let info = net.publications(publisher).remove(0);
    assert_eq!(info.rids, ["h", "l"]);
    (publisher, info)
}

pub(super) fn send(net: &mut Net, publisher: usize, rids: &[&str], seq: u64, is_keyframe: bool) {
    for rid in rids {
        let mut rtp = layer(rid, seq + if *rid == "l" { 5000 } else { 0 }, is_keyframe);
        rtp.ext.mid = Some(net.mid(publisher, PeerKind::Video));
        net.publish(publisher, PeerKind::Video, rtp);
    }
    net.advance(Duration::from_millis(30));
}

fn layers_seen(net: &Net, viewer: usize, from: usize) -> String {
    let mut seen: Vec<char> =
        net.peers[viewer].packets[from..].iter().map(|p| char::from(p.payload[9])).collect();
    seen.dedup();
    seen.into_iter().collect()
}

fn is_continuous(net: &Net, viewer: usize) -> bool {
    let ids: Vec<u16> = net.peers[viewer]
        .packets
        .iter()
        .map(|p| u16::from_be_bytes([p.payload[2] & 0x7f, p.payload[3]]))
        .collect();
    net.peers[viewer].packets.windows(2).all(|pair| {
        *pair[1].seq_no == *pair[0].seq_no + 1
            && pair[0].header.ssrc == pair[1].header.ssrc
            && (pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp) as i32) > 0
    }) && ids.windows(2).all(|pair| pair[1] == (pair[0] + 1) & 0x7fff)
}

#[test]
fn the_cap_chooses_the_encoding_and_changes_it_at_a_keyframe_without_renegotiation() {
    let mut net = Net::new(1);
    let (publisher, info) = start(&mut net);
    let viewer = net.viewer(0, std::slice::from_ref(&info), LayerCap::High);
    net.connect(viewer);
    for seq in 2..20 {
        send(&mut net, publisher, &["h", "l"], seq, seq % 5 == 0);
    }
    assert_eq!(layers_seen(&net, viewer, 0), "h");
    let transport = net.peers[viewer].id;
    let offers = net.events.len();
    net.command(Command::SetCap { transport, publication: info.id, cap: LayerCap::Low });
    for seq in 20..40 {
        send(&mut net, publisher, &["h", "l"], seq, seq % 5 == 0);
    }
    assert_eq!(layers_seen(&net, viewer, 0), "hl");
    net.command(Command::SetCap { transport, publication: info.id, cap: LayerCap::High });
    for seq in 40..60 {
        send(&mut net, publisher, &["h", "l"], seq, seq % 5 == 0);
    }
    assert_eq!(layers_seen(&net, viewer, 0), "hlh");
    assert!(is_continuous(&net, viewer));
    let new = &net.events[offers..];
    assert!(!new.iter().any(|event| matches!(event, Event::Offered { .. })));
}

/// Row 19.
#[test]
fn a_viewer_falls_back_when_the_best_encoding_stops_and_returns_with_it() {
    let mut net = Net::new(1);
    let (publisher, info) = start(&mut net);
    let viewer = net.viewer(0, &[info], LayerCap::High);
    net.connect(viewer);
    for seq in 2..20 {
        send(&mut net, publisher, &["h", "l"], seq, false);
    }
    let stopped = net.now;
    let before = net.peers[viewer].packets.len();
    let mut seq = 20;
    while net.peers[viewer].packets.len() == before {
        // The publisher answers keyframe requests.
        let asked = net.peers[publisher].keyframe_requests.iter().any(|r| r.rid.is_some());
        send(&mut net, publisher, &["l"], seq, asked);
        seq += 1;
        assert!(seq < 200, "no fall-back");
    }
    assert!(net.now - stopped < Duration::from_millis(1500), "{:?}", net.now - stopped);
    for _ in 0..100 {
        send(&mut net, publisher, &["h", "l"], seq, seq % 10 == 0);
        seq += 1;
    }
    assert_eq!(layers_seen(&net, viewer, 0), "hlh");
    assert!(is_continuous(&net, viewer));
}

/// An uplink that is too narrow: a picture of the best Encoding now and then, and more of the other.
/// Each switch would cost a keyframe of both, for which there is no room.
#[test]
fn regression_an_encoding_that_comes_in_fits_is_left_until_it_flows() {
    let mut net = Net::new(1);
    let (publisher, info) = start(&mut net);
    let viewer = net.viewer(0, &[info], LayerCap::High);
    net.connect(viewer);
    let mut seq = 1;
    let mut go_on = |net: &mut Net, rids: &[&str], pauses: u32| {
        seq += 1;
        send(net, publisher, rids, seq, true);
        net.advance(Duration::from_millis(30) * pauses);
    };
    (0..20).for_each(|_| go_on(&mut net, &["h", "l"], 0));
    for _ in 0..20 {
        go_on(&mut net, &["h", "l"], 9);
        go_on(&mut net, &["l"], 9);
        go_on(&mut net, &["l"], 9);
    }
    assert_eq!(layers_seen(&net, viewer, 0), "hl");
    let left = net.peers[viewer].packets.len();
    (0..150).for_each(|_| go_on(&mut net, &["h", "l"], 0));
    assert_eq!(layers_seen(&net, viewer, left), "lh");
    assert!(is_continuous(&net, viewer));
    // A pause of both is not held against the one that comes last.
    net.advance(Duration::from_millis(1500));
    let paused = net.peers[viewer].packets.len();
    go_on(&mut net, &["l"], 1);
    (0..20).for_each(|_| go_on(&mut net, &["h", "l"], 0));
    assert!(layers_seen(&net, viewer, paused).ends_with('h'));
}

/// What was there before a long pause does not count after it.
#[test]
fn a_pause_of_all_encodings_gives_back_the_one_that_was_left() {
    let mut net = Net::new(1);
    let (publisher, info) = start(&mut net);
    let viewer = net.viewer(0, &[info], LayerCap::High);
    net.connect(viewer);
    for seq in 2..100 {
        let rids: &[&str] = if seq < 20 { &["h", "l"] } else { &["l"] };
        send(&mut net, publisher, rids, seq, seq % 10 == 0);
    }
    assert_eq!(layers_seen(&net, viewer, 0), "hl");
    net.advance(Duration::from_secs(3));
    let paused = net.peers[viewer].packets.len();
    // Not with a keyframe, which would bring it back by itself.
    for seq in 100..125 {
        send(&mut net, publisher, &["l", "h"], seq, seq % 10 == 0);
    }
    assert!(layers_seen(&net, viewer, paused).ends_with('h'));
    assert!(is_continuous(&net, viewer));
}

/// What nobody wishes to have is told after a while, and what somebody does at once.
#[test]
fn encodings_that_nobody_wishes_to_have_are_told() {
    for shards in [1, 2] {
        let mut net = Net::new(shards);
        let (publisher, info) = start(&mut net);
        let told = |net: &Net| {
            let told = net.events.iter().filter_map(|event| match event {
                Event::Wanted { encodings, publication } if *publication == info.id => {
                    Some(*encodings)
                }
                _ => None,
            });
            told.collect::<Vec<u8>>()
        };
        let mut seq = 1;
        let mut go_on = |net: &mut Net, rids: &[&str], steps: u64| {
            for _ in 0..steps {
                seq += 1;
                send(net, publisher, rids, seq, seq.is_multiple_of(25));
            }
        };
        let best = net.viewer(shards as u8 - 1, std::slice::from_ref(&info), LayerCap::High);
        net.connect(best);
        go_on(&mut net, &["h", "l"], 300);
        assert_eq!(told(&net), [], "somebody wishes to have the best");
        let transport = net.peers[best].id;
        let cap = |cap| Command::SetCap { transport, publication: info.id, cap };
        net.command(cap(LayerCap::Low));
        go_on(&mut net, &["h", "l"], 100);
        assert_eq!(told(&net), [], "it may be for a moment only");
        go_on(&mut net, &["h", "l"], 150);
        assert_eq!(told(&net), [0b10]);
        // Its publisher leaves it out.
        go_on(&mut net, &["l"], 300);
        net.command(cap(LayerCap::High));
        go_on(&mut net, &["l"], 20);
        assert_eq!(told(&net), [0b10, 0b11]);
        let from = net.peers[best].packets.len();
        go_on(&mut net, &["h", "l"], 100);
        assert_eq!(layers_seen(&net, best, from).chars().last(), Some('h'));
        assert!(is_continuous(&net, best));
        // Nobody is left: the least is enough for whoever comes.
        net.command(Command::Close { transport });
        go_on(&mut net, &["h", "l"], 300);
        assert_eq!(told(&net), [0b10, 0b11, 0b10]);
    }
}
