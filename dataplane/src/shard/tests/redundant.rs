//! Redundant sound from publishers (RFC 2198): what is lost on the way here is taken out of what comes.

use std::time::Duration;

use str0m::RtcConfig;
use str0m::media::MediaKind as PeerKind;
use str0m::rtp::{ExtensionValues, RtpWrite};

use super::net::Net;
use crate::api::LayerCap;
use crate::codec::Codec;

const OPUS_PT: u8 = 111;
const RED_PT: u8 = 63;

fn publisher(net: &mut Net) -> usize {
    let mut config = RtcConfig::new();
    config.codec_config().enable_opus(true, true);
    let publisher = net.publisher_with(0, &[Codec::Opus, Codec::Vp8], &[], config);
    net.connect(publisher);
    publisher
}

fn viewer_of(net: &mut Net, publisher: usize) -> usize {
    let wanted = net.publications(publisher);
    assert_eq!(wanted.len(), 1, "it is opus, whatever it came in");
    let viewer = net.viewer(0, &wanted, LayerCap::High);
    net.connect(viewer);
    viewer
}

fn sound(seq: u64) -> Vec<u8> {
    format!("opus {seq}").into_bytes()
}

/// A packet with the two before it; the network loses what `is_lost`.
fn speak(net: &mut Net, publisher: usize, seq: u64, is_lost: bool) {
    speak_with(net, publisher, seq, &[2, 1], is_lost);
}

/// A packet with those so many before it.
fn speak_with(net: &mut Net, publisher: usize, seq: u64, backs: &[u64], is_lost: bool) {
    let mut payload = Vec::new();
    for back in backs {
        let block = sound(seq - back);
        let (kind, distance) = (0x80 | u32::from(OPUS_PT), 960 * *back as u32);
        let word = (kind << 24) | (distance << 10) | block.len() as u32;
        payload.extend(word.to_be_bytes());
    }
    payload.push(OPUS_PT);
    backs.iter().chain(&[0]).for_each(|back| payload.extend(sound(seq - back)));
    net.peers[publisher].loss_up = if is_lost { 100 } else { 0 };
    write(net, publisher, seq, payload);
    net.peers[publisher].loss_up = 0;
}

fn write(net: &mut Net, publisher: usize, seq: u64, payload: Vec<u8>) {
    let mid = net.mid(publisher, PeerKind::Audio);
    let now = net.now;
    let mut api = net.peers[publisher].rtc.direct_api();
    let stream = api.stream_tx_by_mid(mid, None).expect("a stream");
    let rtp = RtpWrite::new(RED_PT.into(), seq.into(), seq as u32 * 960, now, payload);
    stream.write_rtp(rtp.ext_vals(ExtensionValues::default()));
    net.settle();
    net.advance(Duration::from_millis(20));
}

#[test]
fn what_is_lost_on_the_way_here_is_found_in_the_next_packets() {
    let mut net = Net::new(1);
    let publisher = publisher(&mut net);
    (10..20).for_each(|seq| speak(&mut net, publisher, seq, false));
    let viewer = viewer_of(&mut net, publisher);
    // One packet, two at a stretch, three at a stretch: of those the first is lost for good.
    let is_lost = |seq| matches!(seq, 25 | 30 | 31 | 40..=42);
    (20..60).for_each(|seq| speak(&mut net, publisher, seq, is_lost(seq)));
    let heard: Vec<_> = net.peers[viewer].packets.iter().collect();
    let first = heard.first().expect("sound");
    for (at, packet) in heard.iter().enumerate() {
        let seq = String::from_utf8_lossy(&packet.payload[5..]).parse::<u64>().expect("a number");
        assert_eq!(u64::from(packet.header.timestamp), seq * 960);
        let passed = packet.seq_no.as_u16().wrapping_sub(first.seq_no.as_u16());
        let skipped = u16::from(seq > 40);
        assert_eq!(usize::from(passed), at + usize::from(skipped), "packet {seq}");
    }
    let payloads: Vec<&[u8]> = heard.iter().map(|packet| &packet.payload[..]).collect();
    let expected: Vec<Vec<u8>> = (20..60).filter(|seq| *seq != 40).map(sound).collect();
    assert!(
        payloads.ends_with(&expected.iter().map(Vec::as_slice).collect::<Vec<_>>()),
        "{heard:?}"
    );
}

/// Chromium pads what probes the path under the payload type it sends last, and counts on.
#[test]
fn padding_between_redundant_packets_leaves_no_gap() {
    let mut net = Net::new(1);
    let publisher = publisher(&mut net);
    (10..20).for_each(|seq| speak(&mut net, publisher, seq, false));
    let viewer = viewer_of(&mut net, publisher);
    for seq in 20..40 {
        match seq {
            30..33 => write(&mut net, publisher, seq, Vec::new()),
            _ => speak(&mut net, publisher, seq, false),
        }
    }
    let numbers: Vec<u16> =
        net.peers[viewer].packets.iter().map(|packet| packet.seq_no.as_u16()).collect();
    assert_eq!(numbers.len(), 17, "who listens gets none of it: {numbers:?}");
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{numbers:?}");
}

fn heard(net: &Net, viewer: usize) -> Vec<String> {
    let packets = net.peers[viewer].packets.iter();
    packets.map(|packet| String::from_utf8_lossy(&packet.payload).into_owned()).collect()
}

/// RFC 2198 says when a block was, and not which packet: one alone of two before is not taken for the last one.
#[test]
fn a_block_with_a_gap_before_the_packet_is_nobody_s() {
    let mut net = Net::new(1);
    let publisher = publisher(&mut net);
    (10..20).for_each(|seq| speak_with(&mut net, publisher, seq, &[2], false));
    let viewer = viewer_of(&mut net, publisher);
    (20..40).for_each(|seq| speak_with(&mut net, publisher, seq, &[2], seq == 30));
    let expected = (20..40).filter(|seq| *seq != 30);
    let expected: Vec<String> = expected.map(|seq| format!("opus {seq}")).collect();
    assert!(heard(&net, viewer).ends_with(&expected), "{:?}", heard(&net, viewer));
}
