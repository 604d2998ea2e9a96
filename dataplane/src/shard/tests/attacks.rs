//! What attackers send, by the rows of docs/threats.md: each is a counted drop, nothing is
//! answered, and nobody's media suffers.

use std::net::SocketAddr;
use std::time::Duration;

use str0m::media::MediaKind as PeerKind;

use super::forwarding::{CODECS, live_publisher, video_numbers};
use super::net::{Net, Rtp};
use crate::api::{Command, Event, LayerCap};
use crate::checks::tests::request;
use crate::stats::DropReason;

const ATTACKER: &str = "203.0.113.7:666";

/// A DTLS 1.2 ClientHello that offers only TLS_NULL_WITH_NULL_NULL.
fn null_client_hello() -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend([7; 32]);
    body.extend([0, 0, 0, 2, 0, 0, 1, 0]);
    let mut handshake = vec![1, 0, 0, body.len() as u8, 0, 0, 0, 0, 0, 0, 0, body.len() as u8];
    handshake.extend(body);
    let mut record = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, handshake.len() as u8];
    record.extend(handshake);
    record
}

fn attacker() -> SocketAddr {
    ATTACKER.parse().expect("an address")
}

fn bytes_out(net: &Net) -> u64 {
    net.shards.iter().map(|shard| shard.counters().datagrams_out).sum()
}

fn closed(net: &Net) -> usize {
    net.events.iter().filter(|event| matches!(event, Event::Closed { .. })).count()
}

/// A publisher and a viewer with media flowing; returns them and the next sequence number.
fn class(net: &mut Net) -> (usize, usize, u64) {
    let (publisher, publications) = live_publisher(net, 0);
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.connect(viewer);
    (publisher, viewer, 2)
}

/// Publishes ten packets and sees them arrive.
fn media_flows(net: &mut Net, publisher: usize, viewer: usize, seq: &mut u64) {
    let first = *seq;
    for _ in 0..10 {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(*seq, false));
        *seq += 1;
        net.advance(Duration::from_millis(20));
    }
    let numbers = video_numbers(&net.peers[viewer].packets);
    for number in first..*seq {
        assert!(numbers.contains(&(number as u32)), "{number} is missing");
    }
}

/// Row 1.
#[test]
fn a_forged_client_hello_from_elsewhere_is_not_even_answered() {
    let mut net = Net::new(1);
    let publisher = net.publisher(0, CODECS, &[]);
    // Before, during and after the handshake, a thousand times per second.
    for _ in 0..300 {
        net.reach_server(attacker(), &null_client_hello());
        net.advance(Duration::from_millis(1));
    }
    net.connect(publisher);
    let before = net.dropped(DropReason::UnverifiedSource);
    assert!(before >= 300);
    net.reach_server(attacker(), &null_client_hello());
    assert_eq!(net.dropped(DropReason::UnverifiedSource), before + 1);
    assert_eq!(closed(&net), 0);
}

/// Row 2: a spoofed source cannot be told from the victim. The handshake may fail; nothing else.
#[test]
fn a_client_hello_under_the_victims_address_hurts_the_victim_alone() {
    let mut net = Net::new(1);
    let (publisher, viewer, mut seq) = class(&mut net);
    let victim = net.publisher(0, CODECS, &[]);
    let address = net.peers[victim].address;
    for _ in 0..50 {
        net.reach_server(address, &null_client_hello());
        net.advance(Duration::from_millis(2));
    }
    media_flows(&mut net, publisher, viewer, &mut seq);
    // The victim comes back with a new offer, as clients do.
    let again = net.publisher(0, CODECS, &[]);
    net.connect(again);
}

/// Row 3.
#[test]
fn forged_alerts_after_the_handshake_are_ignored() {
    let mut net = Net::new(1);
    let (publisher, viewer, mut seq) = class(&mut net);
    for peer in [publisher, viewer] {
        let address = net.peers[peer].address;
        for (level, alert) in [(2, 40), (1, 0), (2, 80)] {
            let record = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, level, alert];
            net.reach_server(address, &record);
        }
    }
    net.advance(Duration::from_secs(1));
    assert_eq!(closed(&net), 0);
    media_flows(&mut net, publisher, viewer, &mut seq);
}

/// Row 4.
#[test]
fn a_hundred_thousand_bad_tags_close_nothing_and_lose_nothing() {
    let mut net = Net::new(1);
    let (publisher, viewer, mut seq) = class(&mut net);
    let address = net.peers[publisher].address;
    let mut packet = vec![0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    packet.resize(100, 0xaa);
    for i in 0..100_000u32 {
        packet[2..6].copy_from_slice(&i.to_be_bytes());
        net.reach_server(address, &packet);
    }
    assert_eq!(net.dropped(DropReason::SrtpDenied), 100_000);
    assert_eq!(closed(&net), 0);
    media_flows(&mut net, publisher, viewer, &mut seq);
}

/// Rows 5 and 6. The publisher's own datagrams are recorded and played again.
#[test]
fn replayed_media_is_delivered_once_and_media_from_elsewhere_not_at_all() {
    let mut net = Net::new(1);
    let (publisher, viewer, mut seq) = class(&mut net);
    net.record_up = true;
    media_flows(&mut net, publisher, viewer, &mut seq);
    net.record_up = false;
    let recorded = std::mem::take(&mut net.recorded);
    let address = net.peers[publisher].address;
    let media: Vec<Vec<u8>> = recorded
        .into_iter()
        .filter(|(from, datagram)| *from == address && (128..192).contains(&datagram[0]))
        .map(|(_, datagram)| datagram)
        .collect();
    assert!(media.len() >= 10);
    let delivered = net.peers[viewer].packets.len();
    for pause in [0, 600] {
        net.advance(Duration::from_secs(pause / 25));
        for _ in 0..5 {
            for datagram in &media {
                net.reach_server(address, datagram);
            }
        }
    }
    assert_eq!(net.dropped(DropReason::SrtpDenied), media.len() as u64 * 10);
    for datagram in &media {
        net.reach_server(attacker(), datagram);
    }
    assert_eq!(net.dropped(DropReason::UnverifiedSource), media.len() as u64);
    net.settle();
    assert_eq!(net.peers[viewer].packets.len(), delivered);
    media_flows(&mut net, publisher, viewer, &mut seq);
}

/// Row 7: no answer, no change.
#[test]
fn binding_requests_without_the_password_get_no_answer() {
    let mut net = Net::new(1);
    let (publisher, viewer, mut seq) = class(&mut net);
    let ufrag = net.ufrag(publisher);
    net.settle();
    let before = bytes_out(&net);
    for _ in 0..10_000 {
        net.reach_server(attacker(), &request("nobody:x", "guess", true));
    }
    for username in [format!("{ufrag}:x"), format!("{ufrag}x:y"), ufrag.clone()] {
        net.reach_server(attacker(), &request(&username, "guess", true));
    }
    net.shards[0].flush(|_| {});
    assert_eq!(bytes_out(&net), before);
    assert_eq!(net.dropped(DropReason::BadIntegrity), 1);
    assert_eq!(net.dropped(DropReason::UnknownUfrag), 10_001);
    assert_eq!(net.dropped(DropReason::BadStun), 1);
    media_flows(&mut net, publisher, viewer, &mut seq);
}

/// Row 8: even who knows the password cannot fill memory with addresses.
#[test]
fn a_million_addresses_do_not_grow_the_address_table() {
    let mut net = Net::new(2);
    let publisher = net.publisher(0, CODECS, &[]);
    let (ufrag, password) = net.credentials(publisher);
    for i in 0..50_000u32 {
        let from = SocketAddr::from((i.to_be_bytes(), 1000));
        net.reach_server(from, &request(&format!("{ufrag}:x"), &password, false));
    }
    let foreign = crate::ufrag::encode(crate::id::ShardId(1), 5, 9);
    for i in 0..150_000u32 {
        let from = SocketAddr::from((i.to_be_bytes(), 1000));
        net.reach_server(from, &request(&format!("{foreign}:x"), "guess", false));
        if i % 1000 == 0 {
            net.settle();
        }
    }
    let (addresses, foreign, hints) = net.shards[0].address_counts();
    assert!(addresses <= crate::path::PATHS_MAX, "{addresses}");
    assert_eq!(foreign, 0, "nobody has proven any of them to the other shard");
    assert!(hints <= super::super::routes::HINTS_MAX, "{hints}");
}

/// Row 8's other half: who claims others' addresses does not cut them off.
#[test]
fn claimed_addresses_do_not_misroute_those_who_have_proven_theirs() {
    let mut net = Net::new(2);
    // Every datagram reaches shard 0; both peers live on shard 1.
    let (publisher, publications) = live_publisher(&mut net, 1);
    let viewer = net.viewer(1, &publications, LayerCap::High);
    net.connect(viewer);
    let foreign = crate::ufrag::encode(crate::id::ShardId(0), 5, 9);
    let other = crate::ufrag::encode(crate::id::ShardId(1), 5, 9);
    for peer in [publisher, viewer] {
        let address = net.peers[peer].address;
        net.reach_server(address, &request(&format!("{foreign}:x"), "guess", false));
        net.reach_server(address, &request(&format!("{other}:x"), "guess", false));
    }
    let mut seq = 2;
    media_flows(&mut net, publisher, viewer, &mut seq);
}

/// Row 20: a presenter who flips between codecs is announced once per second, not per packet.
#[test]
fn flipping_codecs_is_announced_seldom_and_reaches_nobody_who_negotiated_the_other() {
    use crate::codec::Codec;
    let mut net = Net::new(1);
    let codecs = [Codec::Vp8, Codec::H264, Codec::Opus];
    let publisher = net.publisher(0, &codecs, &[]);
    net.connect(publisher);
    net.publish(publisher, PeerKind::Video, Rtp::vp8(1, true));
    net.run_until("video is announced", |net| !net.publications(publisher).is_empty());
    let publications = net.publications(publisher);
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.connect(viewer);
    let announced = |net: &Net| {
        net.events.iter().filter(|event| matches!(event, Event::Published { .. })).count()
    };
    let before = announced(&net);
    for seq in 2..200 {
        let mut rtp = Rtp::vp8(seq, true);
        if seq % 2 == 0 {
            rtp.codec = str0m::format::Codec::H264;
            rtp.payload = vec![0x67; 100];
        }
        net.publish(publisher, PeerKind::Video, rtp);
        net.advance(Duration::from_millis(10));
    }
    assert!(announced(&net) - before <= 3, "{} in two seconds", announced(&net) - before);
    assert!(net.peers[viewer].packets.iter().all(|packet| packet.payload[0] != 0x67));
}

/// Rows 13 and 14.
#[test]
fn forged_rtcp_is_dropped_and_feedback_about_others_is_ignored() {
    let mut net = Net::new(1);
    let (publisher, viewer, mut seq) = class(&mut net);
    let (other, publications) = live_publisher(&mut net, 0);
    assert!(!publications.is_empty());
    let address = net.peers[publisher].address;
    let bye = [0x81, 203, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    net.reach_server(address, &bye);
    assert_eq!(net.dropped(DropReason::SrtpDenied), 1);
    // Authentic, from the viewer, but about streams that are not its own.
    let foreign = net.dropped(DropReason::FeedbackForeign);
    let requests = net.peers[other].keyframe_requests.len();
    for ssrc in [1u32, 99] {
        let mut api = net.peers[viewer].rtc.direct_api();
        api.send_pli_feedback(1.into(), ssrc.into());
    }
    net.advance(Duration::from_secs(1));
    assert_eq!(net.dropped(DropReason::FeedbackForeign), foreign + 2);
    assert_eq!(net.peers[other].keyframe_requests.len(), requests);
    media_flows(&mut net, publisher, viewer, &mut seq);
}

/// Row 16.
#[test]
fn a_storm_of_keyframe_requests_reaches_the_publisher_twice_per_second() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewers: Vec<usize> =
        (0..10).map(|_| net.viewer(0, &publications, LayerCap::High)).collect();
    for viewer in &viewers {
        net.connect(*viewer);
    }
    let ssrcs: Vec<u32> = viewers.iter().map(|viewer| net.video_ssrc(*viewer)).collect();
    let before = net.peers[publisher].keyframe_requests.len();
    for _ in 0..200 {
        for (viewer, ssrc) in viewers.iter().zip(&ssrcs) {
            let mut api = net.peers[*viewer].rtc.direct_api();
            api.send_pli_feedback(1.into(), (*ssrc).into());
        }
        net.advance(Duration::from_millis(10));
    }
    let requests = net.peers[publisher].keyframe_requests.len() - before;
    assert!((3..=5).contains(&requests), "{requests} in two seconds");
}

/// Row 15: everything that was sent is asked for, again and again, and what never was.
#[test]
fn a_bomb_of_nacks_gets_a_quarter_of_the_rate_at_most() {
    let mut net = Net::new(1);
    let (publisher, viewer, mut seq) = class(&mut net);
    let ssrc = net.video_ssrc(viewer);
    let mut sealer = net.rtcp_sealer(viewer);
    let before = net.shards[0].counters().clone();
    let mut asked = 0;
    for _ in 0..500 {
        seq += 1;
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, seq.is_multiple_of(50)));
        net.advance(Duration::from_millis(20));
        let newest = net.peers[viewer].packets.last().map_or(0, |packet| *packet.seq_no as u16);
        for back in [0, 17, 34, 30_000] {
            net.send_rtcp(viewer, &mut sealer, |writer| {
                writer.nack(1, ssrc, &[(newest.wrapping_sub(back + 16), u16::MAX)]);
            });
            asked += 17;
        }
    }
    let after = net.shards[0].counters().clone();
    let repeated = after.retransmitted - before.retransmitted;
    // Packets are alike: a quarter of what was sent, and what had been saved up before.
    let allowed = 500 / 4 + 128 * 1024 / 200;
    assert!(repeated > 100, "{repeated}: who asks gets something");
    assert!(repeated <= allowed, "{repeated} of {asked}, {allowed} allowed");
    assert!(net.dropped(DropReason::NackRefused) > 10_000);
    media_flows(&mut net, publisher, viewer, &mut seq);
}

/// Row 20: SSRCs that nobody announced, a thousand of them, under a valid key.
#[test]
fn a_flood_of_ssrcs_is_dropped_and_the_known_one_goes_on() {
    let mut net = Net::new(1);
    let (publisher, viewer, mut seq) = class(&mut net);
    let sealer = net.steal_keys(publisher);
    let address = net.peers[publisher].address;
    for ssrc in 1..1000u32 {
        let mut packet = vec![0; 64];
        packet[..4].copy_from_slice(&[0x80, 96, 0, 1]);
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        let len = sealer.seal_rtp(&mut packet, 12, b"forged", 0);
        net.reach_server(address, &packet[..len]);
    }
    assert!(net.dropped(DropReason::UnknownSsrc) + net.dropped(DropReason::SrtpDenied) >= 990);
    media_flows(&mut net, publisher, viewer, &mut seq);
}

/// Row 23, behind a valid tag: headers that lie.
#[test]
fn headers_that_lie_are_dropped_behind_a_valid_tag_too() {
    let mut net = Net::new(1);
    let (publisher, viewer, mut seq) = class(&mut net);
    let sealer = net.steal_keys(publisher);
    let address = net.peers[publisher].address;
    let ssrc = net.publisher_ssrc(publisher);
    for (number, extra) in (100u8..).zip([vec![0u8], vec![200], vec![]]) {
        let mut packet = vec![0; 80];
        packet[..4].copy_from_slice(&[0xa0, 96, 0, number]);
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        let len = sealer.seal_rtp(&mut packet, 12, &extra, 0);
        net.reach_server(address, &packet[..len]);
    }
    for datagram in [vec![0x9f; 12], vec![0x90; 15], vec![0x80; 11], vec![], vec![0xbf; 65_000]] {
        net.reach_server(address, &datagram);
    }
    assert!(net.dropped(DropReason::BadRtp) >= 5);
    assert_eq!(closed(&net), 0);
    media_flows(&mut net, publisher, viewer, &mut seq);
}

/// Row 24: SDP bombs are refused before anything parses them; nothing is left of them.
#[test]
fn sdp_bombs_are_refused_and_leave_nothing() {
    let mut net = Net::new(1);
    let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
    let section = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendonly\r\na=rtpmap:96 VP8/90000\r\n";
    let bombs = [
        format!("{head}{}", section.repeat(4000)),
        format!(
            "{head}{section}{}",
            "a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n".repeat(20_000)
        ),
        format!("{head}{section}a={}\r\n", "x".repeat(1 << 20)),
        format!("{head}{section}a=mid:0\r\n{section}a=mid:0\r\n"),
        format!("{head}{section}a=rtpmap:200 VP8/90000\r\n"),
        format!("{head}{section}"),
        "\u{0}\u{1}".repeat(1000),
        String::new(),
    ];
    for offer in bombs {
        let transport = crate::id::TransportId::new(crate::id::ShardId(0), 900);
        net.command(Command::Publish { transport, offer, codecs: CODECS.to_vec(), reached: None });
        net.settle();
        let refused = net.events.pop();
        assert!(matches!(refused, Some(Event::Refused { .. })), "{refused:?}");
    }
    assert!(net.shards[0].is_empty());
}

/// Row 45: the engine of one Transport panics; the others do not notice.
#[test]
fn a_panic_in_one_engine_ends_one_transport() {
    let mut net = Net::new(1);
    let (publisher, viewer, mut seq) = class(&mut net);
    let (other, _) = live_publisher(&mut net, 0);
    let id = net.peers[other].id;
    net.shards[0].inject_fault(id, net.now);
    net.settle();
    let reason = crate::error::CloseReason::EngineFault;
    assert!(net.events.iter().any(|event| {
        matches!(event, Event::Closed { transport, reason: r, .. } if *transport == id && *r == reason)
    }));
    assert_eq!(closed(&net), 1);
    assert_eq!(net.shards[0].counters().engine_faults, 1);
    media_flows(&mut net, publisher, viewer, &mut seq);
}
