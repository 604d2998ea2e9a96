//! Connecting, moving, restarting, vanishing.

use std::time::Duration;

use aws_lc_rs::digest::{self, Algorithm};
use str0m::RtcConfig;
use str0m::media::{Direction, MediaKind as PeerKind};

use super::forwarding::{CODECS, live_publisher, video_numbers};
use super::net::{Net, Rtp};
use crate::api::{ClientKey, Command, Event, LayerCap};
use crate::error::{CloseReason, PeerError};

fn refusals(net: &Net) -> Vec<PeerError> {
    net.events
        .iter()
        .filter_map(|event| match event {
            Event::Refused { error, .. } => Some(error.clone()),
            _ => None,
        })
        .collect()
}

/// Row 9.
#[test]
fn a_peer_that_vanishes_is_noticed_told_and_forgotten() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.connect(viewer);
    net.peers[viewer].loss_up = 100;
    let id = net.peers[viewer].id;
    let vanished = net.now;
    net.run_until("the silence is told", |net| {
        net.events
            .iter()
            .any(|e| matches!(e, Event::Disconnected { transport } if *transport == id))
    });
    net.run_until("it is closed", |net| {
        net.events.iter().any(|e| {
            matches!(e, Event::Closed { transport, reason: CloseReason::ConsentExpired, .. } if *transport == id)
        })
    });
    let took = (net.now - vanished).as_secs();
    assert!((25..=35).contains(&took), "{took} s");
    let id = net.peers[publisher].id;
    net.command(Command::Close { transport: id });
    assert!(net.shards[0].is_empty());
}

#[test]
fn a_peer_that_says_goodbye_is_told_from_one_that_fails() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.connect(viewer);
    let closed = |net: &mut Net, peer: usize| {
        let id = net.peers[peer].id;
        net.run_until("it is closed", |net| {
            net.events
                .iter()
                .any(|e| matches!(e, Event::Closed { transport, .. } if *transport == id))
        });
        net.events.iter().find_map(|event| match event {
            Event::Closed { transport, reason, .. } if *transport == id => Some(*reason),
            _ => None,
        })
    };
    net.peers[viewer].rtc.close().expect("it is open");
    assert_eq!(closed(&mut net, viewer), Some(CloseReason::DtlsClosed));
    let id = net.peers[publisher].id;
    net.shards[0].inject_failure(id, net.now);
    net.settle();
    assert_eq!(closed(&mut net, publisher), Some(CloseReason::DtlsFailed));
}

#[test]
fn a_peer_that_never_connects_is_closed() {
    let mut net = Net::new(1);
    let publisher = net.publisher(0, CODECS, &[]);
    net.peers[publisher].loss_up = 100;
    net.peers[publisher].loss_down = 100;
    net.advance(Duration::from_secs(62));
    let (late, failed) = (CloseReason::ConnectTimeout, CloseReason::DtlsFailed);
    assert!(net.events.iter().any(|event| {
        matches!(event, Event::Closed { reason, .. } if [late, failed].contains(reason))
    }));
    assert!(net.shards[0].is_empty());
}

/// Row 10: the same peer from another port, as after a NAT rebinding.
#[test]
fn media_follows_a_rebinding_and_nobody_new_appears() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.connect(viewer);
    net.nat = Some((viewer, 6000));
    let transports = net.shards[0].transport_count();
    let mut seq = 2;
    let mut arrived = |net: &mut Net| {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, true));
        seq += 1;
        net.advance(Duration::from_millis(100));
        net.peers[viewer].packets.len()
    };
    let before = arrived(&mut net);
    for _ in 0..80 {
        arrived(&mut net);
    }
    assert!(arrived(&mut net) > before + 30);
    assert_eq!(net.shards[0].transport_count(), transports);
}

/// Row 11, the server's half: an ICE restart keeps media flowing and changes the credentials.
#[test]
fn an_ice_restart_by_either_side_keeps_the_transport() {
    let mut net = Net::new(2);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(1, &publications, LayerCap::High);
    net.connect(viewer);
    let before = net.ufrag(viewer);
    net.subscribe(viewer, &publications, LayerCap::High, true);
    net.advance(Duration::from_secs(2));
    let after = net.ufrag(viewer);
    assert_ne!(before, after);
    let (shard, _) = crate::ufrag::decode(&after).expect("ours");
    assert_eq!(shard.0, 1, "the new fragment still names the shard");
    let ours = net.ufrag(publisher);
    net.republish_with_restart(publisher, CODECS);
    net.advance(Duration::from_secs(2));
    assert_ne!(net.ufrag(publisher), ours);
    for seq in 2..20 {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, seq == 2));
        net.advance(Duration::from_millis(50));
    }
    let numbers = video_numbers(&net.peers[viewer].packets);
    assert!((2..20).all(|number| numbers.contains(&number)), "{numbers:?}");
    assert_eq!(refusals(&net), []);
}

/// A publisher turns its video, and then its sound, off and on again by renegotiation, twice; and then its SSRC changes.
/// Viewers go on, and no number of theirs is used twice (their engine would drop it as a replay).
#[test]
fn a_section_that_comes_back_goes_on_where_it_was() {
    let mut net = Net::new(2);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(1, &publications, LayerCap::High);
    net.connect(viewer);
    let mut seq = 2;
    for round in 0..3 {
        let before = net.peers[viewer].packets.len();
        for _ in 0..20 {
            net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, seq % 5 == 0));
            seq += 1;
            net.advance(Duration::from_millis(20));
        }
        assert!(net.peers[viewer].packets.len() >= before + 14, "round {round}");
        if round < 2 {
            // With the sound off as well nothing is sent at all (RFC 3264 s8.4).
            for (kind, sends) in [
                (PeerKind::Video, false),
                (PeerKind::Audio, false),
                (PeerKind::Audio, true),
                (PeerKind::Video, true),
            ] {
                net.set_direction(publisher, kind, sends, CODECS);
            }
        }
    }
    let packets = &net.peers[viewer].packets;
    let video: Vec<_> = packets.iter().filter(|p| !p.payload.starts_with(b"opus")).collect();
    let mut numbers: Vec<u64> = video.iter().map(|p| *p.seq_no).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), video.len());
    assert!(video.windows(2).all(|pair| pair[0].header.ssrc == pair[1].header.ssrc));
}

/// The same at the forwarding end: packets under an SSRC that nobody announced take the section's
/// place by mid, and viewers see one continuous stream at the next keyframe.
#[test]
fn another_ssrc_on_a_live_section_is_a_break_and_not_an_end() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.connect(viewer);
    for seq in 2..20 {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, seq == 2));
        net.advance(Duration::from_millis(20));
    }
    // The old one falls silent, then another sends.
    net.advance(Duration::from_secs(1));
    let before = net.peers[viewer].packets.len();
    let sealer = net.steal_keys(publisher);
    let address = net.peers[publisher].address;
    let mid = net.mid(publisher, PeerKind::Video).to_string();
    for seq in 1..30u16 {
        let mut packet = vec![0; 200];
        packet[..4].copy_from_slice(&[0x90, 0x80 | 96, (seq >> 8) as u8, seq as u8]);
        packet[4..8].copy_from_slice(&(u32::from(seq) * 3000 + 77).to_be_bytes());
        packet[8..12].copy_from_slice(&4242u32.to_be_bytes());
        packet[12..16].copy_from_slice(&[0xbe, 0xde, 0, 1]);
        packet[16] = 0x40 | (mid.len() - 1) as u8;
        packet[17..17 + mid.len()].copy_from_slice(mid.as_bytes());
        let payload = Rtp::vp8(u64::from(seq), seq == 1).payload;
        packet.resize(20 + payload.len() + 32, 0);
        let len = sealer.seal_rtp(&mut packet, 20, &payload, 0);
        net.reach_server(address, &packet[..len]);
        net.advance(Duration::from_millis(20));
    }
    let packets = &net.peers[viewer].packets;
    assert!(packets.len() >= before + 25, "{} after {before}", packets.len());
    for pair in packets[before - 1..].windows(2) {
        assert_eq!(*pair[1].seq_no, *pair[0].seq_no + 1);
        assert_eq!(pair[0].header.ssrc, pair[1].header.ssrc);
    }
}

/// Viewers leave and return on another shard while media flows between the two.
#[test]
fn leaving_and_returning_across_shards_under_traffic_repeats_nothing() {
    let mut net = Net::new(2);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(1, &publications, LayerCap::High);
    net.connect(viewer);
    let audio: Vec<_> =
        publications.iter().filter(|p| p.kind == crate::codec::MediaKind::Audio).cloned().collect();
    let mut seq = 2;
    for _ in 0..20 {
        for _ in 0..3 {
            net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, true));
            seq += 1;
            // Both within one step of the network: detach, attach and packets are all in flight.
            net.subscribe(viewer, &audio, LayerCap::High, false);
            net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, true));
            seq += 1;
            net.subscribe(viewer, &publications, LayerCap::High, false);
        }
        net.advance(Duration::from_millis(50));
    }
    let before = net.peers[viewer].packets.len();
    for _ in 0..10 {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, true));
        seq += 1;
        net.advance(Duration::from_millis(20));
    }
    assert!(net.peers[viewer].packets.len() >= before + 8);
}

/// A cap that is set while an offer waits for its answer holds afterwards.
#[test]
fn a_cap_set_during_a_negotiation_is_kept() {
    let mut net = Net::new(1);
    let (_, publications) = live_publisher(&mut net, 0);
    net.is_mute = true;
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.settle();
    let transport = net.peers[viewer].id;
    let video = publications.iter().find(|p| p.kind == crate::codec::MediaKind::Video);
    let publication = video.expect("video was announced").id;
    net.command(Command::SetCap { transport, publication, cap: LayerCap::Low });
    net.answer_last_offer(viewer);
    net.connect(viewer);
    assert_eq!(net.shards[0].cap_of(transport, publication), Some(LayerCap::Low));
}

/// Row 45: the machine stalls for 200 ms; what was sent meanwhile arrives, and nothing is closed.
#[test]
fn a_stall_of_the_shard_is_made_up_for() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.connect(viewer);
    for seq in 2..10 {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, seq == 2));
        net.advance(Duration::from_millis(20));
    }
    net.now += Duration::from_millis(200);
    for seq in 10..20 {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, false));
    }
    net.advance(Duration::from_millis(500));
    let numbers = video_numbers(&net.peers[viewer].packets);
    assert!((2..20).all(|number| numbers.contains(&number)), "{numbers:?}");
    assert!(!net.events.iter().any(|event| matches!(event, Event::Closed { .. })));
}

/// Row 25, the data plane's half.
#[test]
fn answers_without_offers_and_offers_upon_offers_are_refused_and_harmless() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.connect(viewer);
    let transport = net.peers[viewer].id;
    let answer = "v=0\r\n".to_owned();
    net.command(Command::AcceptAnswer { transport, answer: answer.clone() });
    net.settle();
    assert_eq!(refusals(&net), [PeerError::NoOfferOutstanding]);
    // Two offers without an answer between them; then garbage for an answer.
    net.is_mute = true;
    net.subscribe(viewer, &publications[..1], LayerCap::High, false);
    net.subscribe(viewer, &publications, LayerCap::High, false);
    net.settle();
    assert_eq!(refusals(&net).last(), Some(&PeerError::OfferOutstanding));
    net.command(Command::AcceptAnswer { transport, answer });
    net.settle();
    assert!(matches!(
        refusals(&net).last(),
        Some(PeerError::SdpSyntax { .. } | PeerError::SdpUnusable)
    ));
    net.is_mute = false;
    // A viewer cannot publish, a publisher cannot view.
    let id = net.peers[publisher].id;
    net.command(Command::Subscribe {
        transport: id,
        client: ClientKey(9),
        msid: "x".to_owned(),
        subscriptions: Vec::new(),
        ice_restart: false,
    });
    net.settle();
    assert_eq!(refusals(&net).last(), Some(&PeerError::SdpUnusable));
    net.command(Command::Close {
        transport: crate::id::TransportId::new(crate::id::ShardId(0), 12345),
    });
    net.publish(publisher, PeerKind::Video, Rtp::vp8(2, true));
    net.advance(Duration::from_millis(100));
}

/// Many who join at once share each loop with those who are in.
#[test]
fn steps_of_handshakes_take_turns_with_media() {
    let mut net = Net::new(1);
    let shard = &mut net.shards[0];
    let path = crate::path::Path::udp(([10, 0, 9, 9], 1).into(), Some([10, 0, 0, 1].into()));
    for _ in 0..10 {
        shard.handshakes.add(path, &[22; 40]);
    }
    let now = net.now;
    let turns: Vec<(bool, usize)> =
        (0..3).map(|_| (shard.run_handshakes(now), shard.handshakes.len())).collect();
    assert_eq!(turns, [(true, 6), (true, 2), (false, 0)]);
}

/// Transports that only stay connected cost their checks and little else.
#[test]
fn idle_transports_are_left_alone() {
    let mut net = Net::new(1);
    let publisher = net.publisher(0, CODECS, &[]);
    net.connect(publisher);
    net.advance(Duration::from_secs(10));
    let before = net.shards[0].counters().clone();
    net.advance(Duration::from_secs(60));
    let after = net.shards[0].counters().clone();
    let steps = after.engine_steps - before.engine_steps;
    let checks = after.datagrams_in - before.datagrams_in;
    assert!(checks > 10, "the peer checks: {checks}");
    assert!(steps <= 3 * checks, "{steps} steps for {checks} checks");
}

/// A publisher with a certificate of its own, whose offer names it as `names` says.
fn publisher_named(net: &mut Net, names: impl FnOnce(&[u8], &str) -> String) -> usize {
    let cert = crate::peer::generate_certificate().expect("a certificate");
    let der = cert.certificate.clone();
    let config = RtcConfig::new().set_dtls_cert(cert);
    let id = net.id_on(0);
    let at = net.add_peer(id, config);
    let mut changes = net.peers[at].rtc.sdp_api();
    changes.add_media(PeerKind::Video, Direction::SendOnly, None, None, None);
    let (offer, pending) = changes.apply().expect("an offer");
    net.peers[at].pending = Some(pending);
    let offer = offer.to_sdp_string();
    let line = offer.lines().find(|line| line.starts_with("a=fingerprint:")).expect("a line");
    let offer = offer.replace(line, &names(&der, line));
    net.command(Command::Publish { transport: id, offer, codecs: CODECS.to_vec(), reached: None });
    at
}

fn digest(hash: &str, algorithm: &'static Algorithm, der: &[u8]) -> String {
    let bytes = digest::digest(algorithm, der);
    let hex: Vec<String> = bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("a=fingerprint:{hash} {}", hex.join(":"))
}

/// RFC 8122 s5.
#[test]
fn a_certificate_may_be_named_by_any_safe_hash() {
    let mut net = Net::new(1);
    for named in [
        publisher_named(&mut net, |der, _| digest("SHA-512", &digest::SHA512, der)),
        publisher_named(&mut net, |der, _| digest("sha-384", &digest::SHA384, der)),
        publisher_named(&mut net, |der, line| {
            let other = digest("sha-256", &digest::SHA256, b"another");
            let old = digest("sha-1", &digest::SHA1_FOR_LEGACY_USE_ONLY, der);
            format!("{old}\r\n{other}\r\n{line}")
        }),
    ] {
        net.connect(named);
    }
}

#[test]
fn another_certificate_than_the_named_one_is_refused_and_told() {
    let mut net = Net::new(1);
    let wrong = |_: &[u8], _: &str| digest("sha-256", &digest::SHA256, b"another");
    let liar = publisher_named(&mut net, wrong);
    let id = net.peers[liar].id;
    let closed = |net: &Net| {
        net.events.iter().find_map(|event| match event {
            Event::Closed { transport, reason, .. } if *transport == id => Some(*reason),
            _ => None,
        })
    };
    net.run_until("it is refused", |net| closed(net).is_some());
    assert_eq!(closed(&net), Some(CloseReason::WrongCertificate));
    assert!(!net.events.iter().any(|event| matches!(event, Event::Connected { .. })));
}

/// The operator's log says how far somebody has come who does not get in.
#[test]
fn a_connection_that_fails_tells_how_far_it_came() {
    let mut net = Net::new(1);
    let mute = net.publisher(0, CODECS, &[]);
    net.peers[mute].loss_up = 100;
    let id = net.peers[mute].id;
    let detail = |net: &Net| {
        net.events.iter().find_map(|event| match event {
            Event::Closed { transport, detail, .. } if *transport == id => Some(detail.clone()),
            _ => None,
        })
    };
    net.run_until("it is given up", |net| detail(net).is_some());
    let told = detail(&net).expect("just found");
    assert!(told.contains("no connectivity check"), "{told}");
}

/// A viewer without a decoder for any of it: it is told, and may try again with another browser.
#[test]
fn an_answer_that_wants_nothing_is_no_error() {
    let mut net = Net::new(1);
    let (_, publications) = live_publisher(&mut net, 0);
    net.is_mute = true;
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.settle();
    let id = net.peers[viewer].id;
    let offer = net.events.iter().rev().find_map(|event| match event {
        Event::Offered { transport, offer } if *transport == id => Some(offer.clone()),
        _ => None,
    });
    let offer = offer.expect("an offer was made");
    let mut answer = String::from("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n");
    for line in offer.lines().filter(|line| line.starts_with("m=") || line.starts_with("a=mid:")) {
        answer.push_str(&line.replace(" 9 ", " 0 "));
        answer.push_str("\r\n");
    }
    net.command(Command::AcceptAnswer { transport: id, answer });
    net.settle();
    assert!(refusals(&net).is_empty(), "{:?}", refusals(&net));
    let unshown = net.events.iter().filter(|e| matches!(e, Event::Unshown { .. })).count();
    assert_eq!(unshown, publications.len());
    // The same transport, asked again, comes up.
    net.is_mute = false;
    net.subscribe(viewer, &publications, LayerCap::High, false);
    net.connect(viewer);
}
