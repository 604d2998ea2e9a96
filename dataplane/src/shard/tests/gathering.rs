//! What is due to many viewers within a few milliseconds leaves together, viewer by viewer.

use std::time::Duration;

use str0m::media::MediaKind as PeerKind;

use super::forwarding::{live_publisher, video_numbers};
use super::net::{Net, Rtp};
use crate::api::LayerCap;

const GATHER: Duration = Duration::from_millis(5);

/// Several viewers on a shard, who have what was published so far.
fn class(net: &mut Net, shard: u8, viewers: usize) -> (usize, Vec<usize>) {
    let (publisher, publications) = live_publisher(net, 0);
    let viewers: Vec<usize> =
        (0..viewers).map(|_| net.viewer(shard, &publications, LayerCap::High)).collect();
    viewers.iter().for_each(|viewer| net.connect(*viewer));
    net.run_until("all have the keyframe", |net| {
        viewers.iter().all(|viewer| !video_numbers(&net.peers[*viewer].packets).is_empty())
    });
    net.advance(Duration::from_millis(100));
    net.left.clear();
    (publisher, viewers)
}

/// The viewers in the order in which they were served, each run as one, with its packets.
fn runs(net: &Net) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (to, _) in &net.left {
        let viewer = net.peers.iter().position(|peer| peer.address == *to).expect("a peer");
        match runs.last_mut() {
            Some((last, packets)) if *last == viewer => *packets += 1,
            _ => runs.push((viewer, 1)),
        }
    }
    runs
}

/// A frame of three packets, a millisecond apart, and sound in between.
fn frame(net: &mut Net, publisher: usize, first: u64) {
    for at in 0..3 {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(first + at, false));
        if at == 1 {
            net.publish(publisher, PeerKind::Audio, Rtp::opus(first));
        }
        net.advance(Duration::from_millis(1));
    }
}

#[test]
fn a_frame_and_the_sound_beside_it_are_one_run_for_each_of_many() {
    let mut net = Net::gathering(1, GATHER);
    let (publisher, viewers) = class(&mut net, 0, 6);
    frame(&mut net, publisher, 2);
    assert_eq!(runs(&net), [], "5 ms are not over");
    net.advance(GATHER);
    let served: Vec<usize> = runs(&net).iter().map(|run| run.0).collect();
    assert_eq!(served, viewers);
    assert!(runs(&net).iter().all(|run| run.1 == 4), "{:?}", runs(&net));
    for run in net.left.chunks(4) {
        assert!(run[3].1 < run[0].1, "the sound is the last segment: {run:?}");
    }
    for viewer in viewers {
        assert_eq!(video_numbers(&net.peers[viewer].packets), [1, 2, 3, 4]);
    }
}

#[test]
fn few_viewers_do_not_wait() {
    let mut net = Net::gathering(1, GATHER);
    let (publisher, viewers) = class(&mut net, 0, 2);
    net.publish(publisher, PeerKind::Video, Rtp::vp8(2, false));
    net.advance(Duration::from_millis(1));
    assert_eq!(runs(&net), [(viewers[0], 1), (viewers[1], 1)]);
}

#[test]
fn what_goes_to_another_shard_waits_once() {
    let mut net = Net::gathering(2, GATHER);
    let (publisher, viewers) = class(&mut net, 1, 6);
    frame(&mut net, publisher, 2);
    assert_eq!(runs(&net), []);
    net.advance(GATHER);
    assert_eq!(runs(&net).iter().map(|run| run.0).collect::<Vec<_>>(), viewers);
    assert!(runs(&net).iter().all(|run| run.1 == 4), "{:?}", runs(&net));
}

#[test]
fn a_joiner_in_between_gets_each_packet_once() {
    let mut net = Net::gathering(1, GATHER);
    let (publisher, _) = class(&mut net, 0, 5);
    net.publish(publisher, PeerKind::Video, Rtp::vp8(2, true));
    let publications = net.publications(publisher);
    let late = net.viewer(0, &publications, LayerCap::High);
    net.connect(late);
    net.publish(publisher, PeerKind::Video, Rtp::vp8(3, false));
    net.run_until("the late one has all", |net| {
        video_numbers(&net.peers[late].packets).contains(&3)
    });
    assert_eq!(video_numbers(&net.peers[late].packets), [2, 3]);
}
