//! What viewers can take reaches the publisher, and nobody's bad path lowers another's picture.

use std::time::Duration;

use str0m::media::MediaKind as PeerKind;

use super::forwarding::{live_publisher, video_numbers};
use super::net::{Net, Rtp};
use crate::api::LayerCap;

/// Sends pictures for so long.
fn go_on(net: &mut Net, publisher: usize, seq: &mut u64, ticks: u32) {
    for _ in 0..ticks {
        *seq += 1;
        net.publish(publisher, PeerKind::Video, Rtp::vp8(*seq, (*seq).is_multiple_of(25)));
        net.advance(Duration::from_millis(20));
    }
}

#[test]
fn a_publisher_is_asked_for_what_its_best_viewer_can_take() {
    let mut net = Net::new(2);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let id = net.peers[publisher].id;
    let bound = |net: &Net| net.shards[0].told_bound(id);
    let bad = net.viewer(1, &publications, LayerCap::High);
    net.connect(bad);
    let mut seq = 1;
    go_on(&mut net, publisher, &mut seq, 50);
    assert!(!video_numbers(&net.peers[bad].packets).is_empty());
    net.peers[bad].loss_down = 60;
    for _ in 0..60 {
        go_on(&mut net, publisher, &mut seq, 50);
        if bound(&net).is_some_and(|bps| bps < 1_000_000) {
            break;
        }
    }
    let asked = bound(&net).expect("its only viewer has a bad path");
    assert!(asked < 1_000_000, "{asked}");
    // Another one whose path is good, on another shard.
    let good = net.viewer(0, &publications, LayerCap::High);
    net.connect(good);
    go_on(&mut net, publisher, &mut seq, 100);
    assert!(bound(&net).is_none_or(|bps| bps > 1_500_000), "{:?}", bound(&net));
    // Nobody is left.
    for viewer in [bad, good] {
        net.command(crate::api::Command::Close { transport: net.peers[viewer].id });
    }
    go_on(&mut net, publisher, &mut seq, 100);
    assert_eq!(bound(&net), None);
}
