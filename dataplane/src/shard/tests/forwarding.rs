//! What viewers get: every packet, once, in order, under the right SSRC, type and extensions.

use std::time::Duration;

use str0m::media::MediaKind as PeerKind;
use str0m::rtp::RtpPacket;

use super::net::{Net, Rtp};
use crate::api::{Event, LayerCap, PublicationInfo};
use crate::codec::Codec;
use crate::stats::DropReason;

pub(super) const CODECS: &[Codec] = &[Codec::Vp8, Codec::Opus];

/// A connected publisher that has announced audio and video, and its Publications.
pub(super) fn live_publisher(net: &mut Net, shard: u8) -> (usize, Vec<PublicationInfo>) {
    let publisher = net.publisher(shard, CODECS, &[]);
    net.connect(publisher);
    net.publish(publisher, PeerKind::Audio, Rtp::opus(1));
    net.publish(publisher, PeerKind::Video, Rtp::vp8(1, true));
    net.run_until("both are announced", |net| net.publications(publisher).len() == 2);
    let publications = net.publications(publisher);
    (publisher, publications)
}

/// The publisher's numbers as they stand in the payloads.
pub(super) fn video_numbers(packets: &[RtpPacket]) -> Vec<u32> {
    packets
        .iter()
        .filter(|packet| !packet.payload.starts_with(b"opus"))
        .map(|packet| u32::from_be_bytes(packet.payload[5..9].try_into().expect("four bytes")))
        .collect()
}

pub(super) fn audio_numbers(packets: &[RtpPacket]) -> Vec<u32> {
    packets
        .iter()
        .filter(|packet| packet.payload.starts_with(b"opus"))
        .map(|packet| u32::from_be_bytes(packet.payload[4..8].try_into().expect("four bytes")))
        .collect()
}

fn one_to_one(
    shards: usize,
    publisher_shard: u8,
    viewer_shard: u8,
    steer: fn(std::net::SocketAddr, usize) -> usize,
) {
    let mut net = Net::new(shards);
    net.steer = steer;
    let (publisher, publications) = live_publisher(&mut net, publisher_shard);
    let viewer = net.viewer(viewer_shard, &publications, LayerCap::High);
    net.connect(viewer);
    // The late joiner gets the last keyframe at once, from the ring.
    net.run_until("the keyframe arrives", |net| {
        !video_numbers(&net.peers[viewer].packets).is_empty()
    });
    for seq in 2..200 {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, seq % 50 == 0));
        net.publish(publisher, PeerKind::Audio, Rtp::opus(seq));
        net.advance(Duration::from_millis(20));
    }
    let packets = &net.peers[viewer].packets;
    assert_eq!(video_numbers(packets), (1..200).collect::<Vec<u32>>());
    assert_eq!(audio_numbers(packets), (2..200).collect::<Vec<u32>>());
    check_stream(packets, b"opus", false, 960);
    check_stream(packets, b"opus", true, 3000);
    if publisher_shard != viewer_shard {
        let home = net.shards[usize::from(publisher_shard)].counters();
        let away = net.shards[usize::from(viewer_shard)].counters();
        assert!(home.lane_out >= 396, "{}", home.lane_out);
        assert!(away.lane_in >= 396 && away.rtp_out.packets() >= 396);
        assert_eq!(home.rtp_out.packets(), 0, "the publisher's shard has no viewer");
    }
    assert_eq!(net.dropped(DropReason::EngineMedia), 0, "the engine never makes RTP or RTCP");
}

/// One SSRC, one payload type, consecutive numbers, even steps in time.
fn check_stream(packets: &[RtpPacket], prefix: &[u8], is_other: bool, step: u32) {
    let stream: Vec<&RtpPacket> =
        packets.iter().filter(|packet| packet.payload.starts_with(prefix) != is_other).collect();
    for pair in stream.windows(2) {
        let (before, after) = (&pair[0].header, &pair[1].header);
        assert_eq!(before.ssrc, after.ssrc);
        assert_eq!(before.payload_type, after.payload_type);
        assert_eq!(*pair[1].seq_no, *pair[0].seq_no + 1);
        assert_eq!(after.timestamp.wrapping_sub(before.timestamp), step);
        assert!(after.ext_vals.transport_cc.is_some() && after.ext_vals.mid.is_some());
    }
}

#[test]
fn a_viewer_on_the_same_shard_gets_every_packet_in_order() {
    one_to_one(1, 0, 0, |_, _| 0);
}

#[test]
fn a_viewer_on_another_shard_gets_every_packet_in_order() {
    one_to_one(2, 0, 1, |_, _| 0);
}

#[test]
fn it_does_not_matter_which_socket_the_kernel_chooses() {
    one_to_one(3, 2, 1, |from, shards| usize::from(from.ip().is_ipv4()) % shards);
}

/// Row 21: sequence number and timestamp wrap, and the numbers jump by nearly half their range.
#[test]
fn wraps_and_jumps_of_numbers_reach_the_viewer_as_one_stream() {
    let mut net = Net::new(2);
    let publisher = net.publisher(0, CODECS, &[]);
    net.connect(publisher);
    let start = 65_500;
    let send = |net: &mut Net, seq: u64, is_keyframe: bool| {
        let mut rtp = Rtp::vp8(seq, is_keyframe);
        rtp.time = (seq as u32).wrapping_mul(3000).wrapping_sub(65_540 * 3000);
        net.publish(publisher, PeerKind::Video, rtp);
        net.advance(Duration::from_millis(20));
    };
    send(&mut net, start, true);
    net.run_until("video is announced", |net| !net.publications(publisher).is_empty());
    let publications = net.publications(publisher);
    let viewer = net.viewer(1, &publications, LayerCap::High);
    net.connect(viewer);
    for seq in start + 1..start + 100 {
        send(&mut net, seq, false);
    }
    let numbers = video_numbers(&net.peers[viewer].packets);
    let expected: Vec<u32> = (start as u32..start as u32 + 100).collect();
    assert_eq!(numbers, expected);
    check_stream(&net.peers[viewer].packets, b"opus", true, 3000);
    // A jump is a break: the viewer goes on at the next keyframe, without a gap of its own.
    let before = net.peers[viewer].packets.len();
    for seq in start + 30_000..start + 30_010 {
        send(&mut net, seq, seq == start + 30_003);
    }
    let packets = &net.peers[viewer].packets[before - 1..];
    assert_eq!(
        video_numbers(packets)[1..],
        (start as u32 + 30_003..start as u32 + 30_010).collect::<Vec<_>>()
    );
    assert!(packets.windows(2).all(|pair| *pair[1].seq_no == *pair[0].seq_no + 1));
}

/// Every codec that a group may allow, with its own payload format for a first packet.
#[test]
fn every_codec_passes() {
    use str0m::format::Codec as PeerCodec;
    let video: [(Codec, PeerCodec, &[u8]); 4] = [
        (Codec::Vp8, PeerCodec::Vp8, &[0x10, 0]),
        (Codec::Vp9, PeerCodec::Vp9, &[0x88, 5, 1]),
        (Codec::H264, PeerCodec::H264, &[0x67, 1, 2]),
        (Codec::Av1, PeerCodec::Av1, &[0x18, 0, 1]),
    ];
    let audio = [
        (Codec::Opus, PeerCodec::Opus),
        (Codec::G722, PeerCodec::G722),
        (Codec::Pcmu, PeerCodec::PCMU),
        (Codec::Pcma, PeerCodec::PCMA),
    ];
    for ((video, video_peer, payload), (audio, audio_peer)) in video.into_iter().zip(audio) {
        let mut net = Net::new(2);
        let config = || str0m::RtcConfig::new().enable_g722(true, false);
        let config = || config().enable_pcmu(true, false).enable_pcma(true, false);
        let publisher = net.publisher_with(0, &[video, audio], &[], config());
        net.connect(publisher);
        let send = |net: &mut Net, seq| {
            let mut rtp = Rtp { codec: video_peer, ..Rtp::vp8(seq, true) };
            rtp.payload = payload.to_vec();
            net.publish(publisher, PeerKind::Video, rtp);
            net.publish(publisher, PeerKind::Audio, Rtp { codec: audio_peer, ..Rtp::opus(seq) });
        };
        send(&mut net, 1);
        net.run_until("both are announced", |net| net.publications(publisher).len() == 2);
        let publications = net.publications(publisher);
        assert!(publications.iter().any(|p| p.codec == video), "{publications:?}");
        assert!(publications.iter().any(|p| p.codec == audio), "{publications:?}");
        let viewer = net.viewer_with(1, &publications, LayerCap::High, config());
        net.connect(viewer);
        for seq in 2..12 {
            send(&mut net, seq);
            net.advance(Duration::from_millis(20));
        }
        let packets = &net.peers[viewer].packets;
        let is_video = |p: &&RtpPacket| *p.payload == *payload;
        assert!(packets.iter().filter(is_video).count() >= 10, "{video:?}");
        assert!(packets.iter().filter(|p| !is_video(p)).count() >= 10, "{audio:?}");
    }
}

#[test]
fn extensions_reach_the_viewer() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.connect(viewer);
    let mut audio = Rtp::opus(2);
    audio.ext.audio_level = Some(-30);
    audio.ext.voice_activity = Some(true);
    net.publish(publisher, PeerKind::Audio, audio);
    let mut video = Rtp::vp8(2, true);
    video.ext.video_orientation = Some(str0m::rtp::VideoOrientation::Deg90);
    net.publish(publisher, PeerKind::Video, video);
    net.advance(Duration::from_millis(50));
    let packets = &net.peers[viewer].packets;
    assert!(packets.iter().any(|p| p.header.ext_vals.audio_level == Some(-30)));
    let rotated = Some(str0m::rtp::VideoOrientation::Deg90);
    assert!(packets.iter().any(|p| p.header.ext_vals.video_orientation == rotated));
}

#[test]
fn a_thousand_packets_reach_a_viewer_over_a_bad_network_once_each() {
    for shards in [1, 2] {
        let mut net = Net::new(shards);
        let (publisher, publications) = live_publisher(&mut net, 0);
        let viewer = net.viewer(shards as u8 - 1, &publications, LayerCap::High);
        net.connect(viewer);
        net.peers[viewer].loss_down = 5;
        net.peers[publisher].loss_up = 5;
        for seq in 2..1000 {
            net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, seq % 100 == 0));
            net.advance(Duration::from_millis(10));
        }
        net.peers[viewer].loss_down = 0;
        net.peers[publisher].loss_up = 0;
        for seq in 1000..1020 {
            net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, false));
            net.advance(Duration::from_millis(30));
        }
        let mut numbers = video_numbers(&net.peers[viewer].packets);
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count, "str0m would not deliver a number twice, nor do we");
        // Loss on both legs is repaired by NACK; a rare packet may lose all its chances.
        assert!(count >= 1010, "{count} of 1019 with {shards} shards");
        let asked: u64 = net.shards.iter().map(|shard| shard.counters().nacked_out).sum();
        let again: u64 = net.shards.iter().map(|shard| shard.counters().retransmitted).sum();
        assert!(asked > 20 && again > 20, "asked {asked}, retransmitted {again}");
    }
}

#[test]
fn a_late_joiner_causes_one_keyframe_request_and_starts_with_its_answer() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    for seq in 2..200 {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, false));
        net.advance(Duration::from_millis(5));
    }
    let viewers: Vec<usize> =
        (0..4).map(|_| net.viewer(0, &publications, LayerCap::High)).collect();
    for viewer in &viewers {
        net.connect(*viewer);
    }
    net.run_until("a keyframe is asked for", |net| {
        !net.peers[publisher].keyframe_requests.is_empty()
    });
    net.publish(publisher, PeerKind::Video, Rtp::vp8(200, true));
    net.advance(Duration::from_millis(100));
    for viewer in viewers {
        let numbers = video_numbers(&net.peers[viewer].packets);
        assert!(numbers.contains(&200), "{numbers:?}");
    }
    assert_eq!(net.peers[publisher].keyframe_requests.len(), 1);
}

#[test]
fn who_waits_too_long_gets_what_the_ring_has() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    for seq in 2..300 {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, false));
        net.advance(Duration::from_millis(1));
    }
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.connect(viewer);
    // The publisher never answers the keyframe request, as FFmpeg would not.
    net.run_until("the ring is replayed", |net| {
        video_numbers(&net.peers[viewer].packets).last() == Some(&299)
    });
    assert_eq!(video_numbers(&net.peers[viewer].packets).first(), Some(&1));
}

#[test]
fn removing_and_adding_video_reuses_the_section_and_never_a_number() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.connect(viewer);
    let audio: Vec<_> = publications.iter().filter(|p| p.codec == Codec::Opus).cloned().collect();
    let mut seq = 2;
    for _ in 0..3 {
        for _ in 0..10 {
            net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, seq % 5 == 0));
            seq += 1;
            net.advance(Duration::from_millis(20));
        }
        net.subscribe(viewer, &audio, LayerCap::High, false);
        net.advance(Duration::from_millis(100));
        let before = video_numbers(&net.peers[viewer].packets).len();
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, true));
        seq += 1;
        net.advance(Duration::from_millis(100));
        assert_eq!(video_numbers(&net.peers[viewer].packets).len(), before, "not wanted");
        net.subscribe(viewer, &publications, LayerCap::High, false);
        net.advance(Duration::from_millis(100));
    }
    let packets = &net.peers[viewer].packets;
    let video: Vec<&RtpPacket> =
        packets.iter().filter(|p| !p.payload.starts_with(b"opus")).collect();
    assert!(video.len() >= 30);
    for pair in video.windows(2) {
        assert_eq!(pair[0].header.ssrc, pair[1].header.ssrc);
        assert!(*pair[1].seq_no > *pair[0].seq_no);
    }
}

#[test]
fn a_closed_publisher_and_a_closed_viewer_leave_nothing_behind() {
    let mut net = Net::new(2);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(1, &publications, LayerCap::High);
    net.connect(viewer);
    let ids = [net.peers[viewer].id, net.peers[publisher].id];
    for transport in ids {
        net.command(crate::api::Command::Close { transport });
        net.advance(Duration::from_millis(100));
    }
    for shard in &net.shards {
        assert!(shard.is_empty(), "{:?}", shard.counters());
    }
    assert!(!net.events.iter().any(|event| matches!(event, Event::Closed { .. })));
}

/// One publisher, one viewer on each shard: every packet reaches everybody, and crosses to each
/// other shard once, however many viewers that has.
#[test]
fn a_class_spreads_over_up_to_sixteen_shards_with_one_copy_for_each() {
    for shards in [1usize, 2, 3, 8, 16] {
        let mut net = Net::new(shards);
        let (publisher, publications) = live_publisher(&mut net, 0);
        // Two viewers on each shard: the second must not cost another copy.
        let viewers: Vec<usize> = (0..shards * 2)
            .map(|at| net.viewer((at % shards) as u8, &publications, LayerCap::High))
            .collect();
        viewers.iter().for_each(|viewer| net.connect(*viewer));
        net.advance(Duration::from_millis(500));
        let before: Vec<_> = net.shards.iter().map(|shard| shard.counters().clone()).collect();
        for seq in 100..150 {
            net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, seq == 100));
            net.advance(Duration::from_millis(20));
        }
        for viewer in viewers {
            let numbers = video_numbers(&net.peers[viewer].packets);
            let last = numbers.len() - 50;
            assert_eq!(numbers[last..], (100..150).collect::<Vec<u32>>(), "of {shards} shards");
        }
        for (at, before) in before.iter().enumerate() {
            let after = net.shards[at].counters();
            let copies = if at == 0 { 50 * (shards as u64 - 1) } else { 0 };
            assert_eq!(after.lane_out - before.lane_out, copies, "shard {at} of {shards}");
            assert_eq!(after.lane_in - before.lane_in, if at == 0 { 0 } else { 50 });
            let sealed = after.rtp_out.packets() - before.rtp_out.packets();
            assert_eq!(sealed, 100, "two viewers on shard {at}");
        }
    }
}
