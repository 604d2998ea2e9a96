//! Peers whose only way is a TCP connection.

use std::sync::atomic::Ordering;
use std::time::Duration;

use str0m::media::MediaKind as PeerKind;

use super::forwarding::{live_publisher, video_numbers};
use super::measuring::numbers;
use super::net::{Net, Rtp};
use crate::api::{ClientKey, Event, Held, LayerCap};
use crate::checks::tests::request;
use crate::codec::Codec;
use crate::path::{Over, Path, StreamId};
use crate::stats::DropReason;

/// A publisher over UDP and a viewer over TCP.
fn class() -> (Net, usize, usize) {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(0, &publications, LayerCap::High);
    let address = net.peers[viewer].address;
    net.streams.insert(address, StreamId(7));
    net.connect(viewer);
    (net, publisher, viewer)
}

fn send(net: &mut Net, publisher: usize, seqs: std::ops::Range<u64>) {
    for seq in seqs {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, seq.is_multiple_of(25)));
        net.publish(publisher, PeerKind::Audio, Rtp::opus(seq));
        net.advance(Duration::from_millis(20));
    }
}

fn arrived(net: &Net, viewer: usize) -> (usize, usize) {
    let packets = &net.peers[viewer].packets;
    let video = video_numbers(packets).len();
    (video, packets.len() - video)
}

#[test]
fn media_goes_over_a_connection_as_it_goes_over_udp() {
    let (mut net, publisher, viewer) = class();
    send(&mut net, publisher, 2..52);
    let (video, audio) = arrived(&net, viewer);
    assert!(video >= 50 && audio >= 50, "{video} {audio}");
    let counters = net.shards[0].counters().clone();
    assert!(counters.frames_in > 10 && counters.frames_out > 100);
    let (addresses, ..) = net.shards[0].address_counts();
    assert_eq!(addresses, 1, "the publisher's alone");
}

/// Sound goes on where pictures would wait, and the estimate falls although nothing is lost.
#[test]
fn a_connection_that_is_behind_gets_sound_and_no_pictures_and_less_is_sent_to_it() {
    let (mut net, publisher, viewer) = class();
    send(&mut net, publisher, 2..100);
    let before = arrived(&net, viewer);
    net.is_late.store(true, Ordering::Relaxed);
    send(&mut net, publisher, 100..125);
    let during = arrived(&net, viewer);
    assert_eq!(during.0, before.0, "pictures");
    assert!(during.1 >= before.1 + 25, "sound");
    let dropped = net.dropped(DropReason::StreamLate);
    assert!((1..25).contains(&dropped), "{dropped}: soon no more is tried");
    let is_paused = |event: &Event| matches!(event, Event::Paused { is_paused: true, .. });
    assert!(net.events.iter().any(is_paused));
    let key = ClientKey(net.peers[viewer].id.as_u64());
    let estimate_bps = net.shards[0].estimate_of(key, net.now_us()).expect("it tells");
    assert!(estimate_bps < 200_000, "{estimate_bps}");
    let id = net.peers[viewer].id;
    let told = numbers(&mut net, id).into_iter().find(|rate| rate.codec == Codec::Vp8);
    let told = told.expect("its pictures");
    assert_eq!((told.held, told.aim), (Some(Held::Path), None));
    assert_eq!(told.estimate_bits_per_second, Some(estimate_bps));
}

/// A connection that breaks is told at once; the next one of the same peer goes on.
#[test]
fn media_goes_on_over_the_next_connection() {
    let (mut net, publisher, viewer) = class();
    send(&mut net, publisher, 2..27);
    let (id, address) = (net.peers[viewer].id, net.peers[viewer].address);
    net.shards[0].handle_stream_end(StreamId(7), net.now);
    net.streams.insert(address, StreamId(8));
    net.peers[viewer].loss_up = 100;
    send(&mut net, publisher, 27..127);
    let is_told = |net: &Net| {
        net.events
            .iter()
            .any(|event| matches!(event, Event::Disconnected { transport } if *transport == id))
    };
    assert!(is_told(&net));
    let before = arrived(&net, viewer).0;
    net.peers[viewer].loss_up = 0;
    net.advance(Duration::from_secs(5));
    send(&mut net, publisher, 127..177);
    assert!(arrived(&net, viewer).0 >= before + 25);
    let closed = net.events.iter().any(|event| matches!(event, Event::Closed { .. }));
    assert!(!closed);
}

/// Two connections of one peer are two paths; one that brings no authentic check is none.
#[test]
fn a_connection_belongs_to_the_transport_whose_check_it_brought() {
    let (mut net, _, viewer) = class();
    let other = net.publisher(0, super::forwarding::CODECS, &[]);
    let local = Some([10, 0, 0, 1].into());
    let path = |stream| Path {
        peer: ([10, 0, 9, 9], 5).into(),
        local,
        stream: Some(StreamId(stream)),
        over: Over::Tcp,
    };
    let now = net.now;
    let (ufrag, password) = net.credentials(viewer);
    let mut forged = request(&format!("{ufrag}:x"), "guess", true);
    net.shards[0].handle_frame(path(20), &mut forged, now);
    assert!(!net.shards[0].has_stream(StreamId(20)));
    let mut check = request(&format!("{ufrag}:x"), &password, false);
    net.shards[0].handle_frame(path(20), &mut check, now);
    assert!(net.shards[0].has_stream(StreamId(20)));
    // Another member's check over the same connection changes nothing.
    let (ufrag, password) = net.credentials(other);
    let mut check = request(&format!("{ufrag}:x"), &password, true);
    net.shards[0].handle_frame(path(20), &mut check, now);
    assert_eq!(net.dropped(DropReason::AddressTaken), 1);
    // With its Transport a connection ends.
    let transport = net.peers[viewer].id;
    net.command(crate::api::Command::Close { transport });
    let mut ended: Vec<_> = std::iter::from_fn(|| net.shards[0].pop_ended_stream()).collect();
    ended.sort_by_key(|stream| stream.0);
    assert_eq!(ended, [StreamId(7), StreamId(20)]);
}
