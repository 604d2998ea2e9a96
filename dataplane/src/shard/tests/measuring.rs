//! What a shard counts and tells of its Transports and viewers.

use std::time::Duration;

use str0m::media::MediaKind as PeerKind;

use super::forwarding::{CODECS, live_publisher};
use super::layers;
use super::net::{Net, Rtp};
use crate::api::{Aim, Command, Event, Held, LayerCap, PublicationInfo, SubscriptionRate};
use crate::codec::{Codec, MediaKind};
use crate::id::TransportId;
use crate::rtcp::{ReportBlock, Writer};
use crate::stats::Counters;

/// Asks a shard, and checks that the answer comes in parts of which one is the last.
fn survey(net: &mut Net, shard: usize) -> Vec<SubscriptionRate> {
    let first = net.events.len();
    net.shards[shard].begin_survey(77);
    net.settle();
    let mut all = Vec::new();
    let mut ends = 0;
    for event in &net.events[first..] {
        if let Event::Surveyed { survey: 77, rates, is_last } = event {
            assert_eq!(ends, 0, "nothing comes after the last part");
            all.extend(rates.iter().copied());
            ends += usize::from(*is_last);
        }
    }
    assert_eq!(ends, 1);
    all
}

/// What a client is told of all that it gets.
pub(super) fn numbers(net: &mut Net, transport: TransportId) -> Vec<SubscriptionRate> {
    let first = net.events.len();
    net.command(Command::Number { transport });
    net.settle();
    let told = net.events[first..].iter().filter_map(|event| match event {
        Event::Numbers { transport: of, rates } if *of == transport => Some(rates.clone()),
        _ => None,
    });
    let [rates] = &told.collect::<Vec<_>>()[..] else { panic!("one answer") };
    rates.clone()
}

/// The counters that a shard has told last.
fn told(net: &Net, shard: u8) -> Counters {
    let last = net.events.iter().rev().find_map(|event| match event {
        Event::Stats { shard: from, counters } if from.0 == shard => Some(counters.clone()),
        _ => None,
    });
    *last.expect("a second has passed")
}

/// A publisher that sends 50 packets per second of each kind to one viewer, for some seconds.
fn class(shards: usize, viewer_shard: u8, seconds: u64) -> (Net, usize, Vec<PublicationInfo>) {
    let mut net = Net::new(shards);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(viewer_shard, &publications, LayerCap::High);
    net.connect(viewer);
    for seq in 2..2 + 50 * seconds {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, seq % 50 == 0));
        net.publish(publisher, PeerKind::Audio, Rtp::opus(seq));
        net.advance(Duration::from_millis(20));
    }
    (net, viewer, publications)
}

/// Sends a report of a viewer about its video, sealed as its engine would.
fn report(net: &mut Net, viewer: usize, write: impl FnOnce(&mut Writer<'_>)) {
    let mut sealer = net.rtcp_sealer(viewer);
    net.send_rtcp(viewer, &mut sealer, write);
}

fn of_kind(
    rates: &[SubscriptionRate],
    publications: &[PublicationInfo],
    kind: MediaKind,
) -> SubscriptionRate {
    let info = publications.iter().find(|info| info.kind == kind).expect("published");
    *rates.iter().find(|rate| rate.publication == info.id).expect("told")
}

#[test]
fn a_survey_tells_what_each_viewer_is_sent() {
    for viewer_shard in [0, 1] {
        let (mut net, viewer, publications) = class(2, viewer_shard, 4);
        let rates = survey(&mut net, usize::from(viewer_shard));
        assert_eq!(rates.len(), 2);
        assert!(survey(&mut net, usize::from(1 - viewer_shard)).is_empty());
        let id = net.peers[viewer].id;
        assert!(rates.iter().all(|rate| rate.transport == id));
        // Payloads of 200 and 8 octets, 50 of each in a second.
        let video = of_kind(&rates, &publications, MediaKind::Video);
        assert!((75_000..=85_000).contains(&video.bits_per_second), "{video:?}");
        let audio = of_kind(&rates, &publications, MediaKind::Audio);
        assert!((3000..=3400).contains(&audio.bits_per_second), "{audio:?}");
        assert_eq!((video.spatial, video.temporal), ((0, 0), (0, 0)));
        // Who gets nothing any more has no rate.
        net.advance(Duration::from_secs(3));
        let rates = survey(&mut net, usize::from(viewer_shard));
        assert_eq!(of_kind(&rates, &publications, MediaKind::Video).bits_per_second, 0);
    }
}

#[test]
fn a_survey_tells_what_viewers_report_until_it_is_old() {
    let (mut net, viewer, publications) = class(1, 0, 2);
    let ssrc = net.video_ssrc(viewer);
    let ntp_now = (3_900_000_000u64 << 32) + ((u128::from(net.now_us()) << 32) / 1_000_000) as u64;
    let block = ReportBlock {
        ssrc,
        fraction_lost: 64,
        jitter: 450,
        last_sr: (ntp_now >> 16) as u32 - 65_536 / 2,
        delay_since_sr: 65_536 * 2 / 5,
        ..ReportBlock::default()
    };
    // One about somebody else's stream changes nothing.
    let foreign = ReportBlock { ssrc: ssrc.wrapping_add(77), fraction_lost: 200, ..block };
    // As often as it takes for what the engine itself has reported to be smoothed away.
    let mut blocks = [block; 31];
    blocks[0] = foreign;
    report(&mut net, viewer, |writer| writer.receiver_report(1, &blocks));
    let rates = survey(&mut net, 0);
    let video = of_kind(&rates, &publications, MediaKind::Video);
    assert_eq!((video.loss_256, video.jitter_us), (64, 5000));
    assert!((99_000..=101_000).contains(&video.rtt_us), "{}", video.rtt_us);
    let counters = net.shards[0].counters();
    let up_to = |ms: u64| {
        let mut bounds = counters.round_trips.cumulative();
        bounds.find(|(bound_us, _)| *bound_us >= ms * 1000).map_or(0, |(_, count)| count)
    };
    assert_eq!(up_to(100) - up_to(60), 30, "that of the foreign stream is not known");
    assert!(counters.jitters.count() >= 30);
    // The engine of the peer is silenced, or it would report as well.
    net.peers[viewer].loss_up = 100;
    net.advance(Duration::from_secs(25));
    let rates = survey(&mut net, 0);
    assert_eq!(of_kind(&rates, &publications, MediaKind::Video).loss_256, 64);
}

#[test]
fn the_estimate_of_a_viewers_path_is_told_with_its_video() {
    let (mut net, viewer, publications) = class(1, 0, 2);
    let estimate = |net: &mut Net, kind| {
        let rates = survey(net, 0);
        of_kind(&rates, &publications, kind).estimate_bits_per_second
    };
    let before = estimate(&mut net, MediaKind::Video);
    assert!(before.is_some_and(|bits_per_second| bits_per_second > 100_000), "{before:?}");
    assert_eq!(estimate(&mut net, MediaKind::Audio), None);
    // It tells of every packet: what it believes by itself is not needed.
    report(&mut net, viewer, |writer| writer.remb(1, 60_000));
    assert_eq!(estimate(&mut net, MediaKind::Video), before);
}

#[test]
fn a_survey_of_many_comes_in_parts_and_a_new_one_replaces_it() {
    let (mut net, viewer, _) = class(1, 0, 1);
    // Slots that are taken, though nobody is connected.
    let offer = {
        let mut changes = net.peers[viewer].rtc.sdp_api();
        let send = str0m::media::Direction::SendOnly;
        changes.add_media(PeerKind::Audio, send, None, None, None);
        changes.apply().expect("an offer").0.to_sdp_string()
    };
    for _ in 0..400 {
        let transport = net.id_on(0);
        let offer = offer.clone();
        net.command(Command::Publish { transport, offer, codecs: CODECS.to_vec(), reached: None });
    }
    assert!(net.shards[0].transport_count() > 300, "the offers are good");
    let now = net.now;
    net.shards[0].begin_survey(76);
    assert!(net.shards[0].run_survey(now), "one turn is not enough");
    assert_eq!(survey(&mut net, 0).len(), 2);
    assert!(!net.shards[0].run_survey(now), "nothing is left of the old one");
}

#[test]
fn a_client_is_told_what_it_gets_and_shall_get_and_nothing_of_others() {
    let mut net = Net::new(1);
    let (publisher, info) = layers::start(&mut net);
    let [low, high] = [LayerCap::Low, LayerCap::High].map(|cap| {
        let viewer = net.viewer(0, std::slice::from_ref(&info), cap);
        net.connect(viewer);
        viewer
    });
    let mut seq = 2;
    let mut go_on = |net: &mut Net, rids: &[&str], keyframes: bool| {
        for _ in 0..60 {
            layers::send(net, publisher, rids, seq, keyframes && seq.is_multiple_of(5));
            seq += 1;
        }
    };
    // A rate needs two looks, which come once a second.
    go_on(&mut net, &["h", "l"], true);
    go_on(&mut net, &["h", "l"], true);
    for (viewer, encoding, spatial) in [(low, 1, 0), (high, 0, 1)] {
        let id = net.peers[viewer].id;
        let rates = numbers(&mut net, id);
        let [rate] = &rates[..] else { panic!("{rates:?}") };
        assert_eq!((rate.transport, rate.publication, rate.codec), (id, info.id, Codec::Vp8));
        assert_eq!((rate.encoding, rate.held, rate.still), (Some(encoding), None, (0, 0)));
        assert_eq!(rate.aim, Some(Aim { encoding, spatial, temporal: 0 }));
        assert!(rate.bits_per_second > 0, "{rate:?}");
    }
    // The best one breaks off, and what would take its place has no keyframe.
    let id = net.peers[high].id;
    go_on(&mut net, &["l"], false);
    let rate = numbers(&mut net, id)[0];
    assert_eq!(rate.aim, Some(Aim { encoding: 1, spatial: 0, temporal: 0 }));
    assert_eq!(rate.still.0, 1, "{rate:?}");
    assert!((1000..=2000).contains(&rate.still.1), "{rate:?}");
    // Then nothing comes, and nobody waits for what nobody sends.
    let ssrc = net.video_ssrc(high);
    report(&mut net, high, |writer| writer.pli(1, ssrc));
    net.advance(Duration::from_secs(10));
    let rate = numbers(&mut net, id)[0];
    assert_eq!((rate.held, rate.bits_per_second), (Some(Held::Publisher), 0));
    assert!(rate.still.0 == 1 && rate.still.1 < 4000, "{rate:?}");
    assert!(rate.keyframes_asked >= 1);
    let counters = told(&net, 0);
    assert_eq!((counters.stills, counters.gauges.pictures.whole), (1, 2));
    let publisher = net.peers[publisher].id;
    assert!(numbers(&mut net, publisher).is_empty(), "it gets nothing");
    let nobody = net.id_on(0);
    assert!(numbers(&mut net, nobody).is_empty());
}

#[test]
fn counters_and_gauges_follow_a_class() {
    let (mut net, viewer, _) = class(2, 1, 3);
    net.advance(Duration::from_secs(2));
    let (home, away) = (told(&net, 0), told(&net, 1));
    assert_eq!((home.gauges.connected, home.gauges.connecting), (1, 0));
    let mut by_codec = [0; Codec::ALL.len()];
    (by_codec[Codec::Vp8 as usize], by_codec[Codec::Opus as usize]) = (1, 1);
    assert_eq!(home.gauges.publications, by_codec);
    assert_eq!(away.gauges.publications, [0; Codec::ALL.len()]);
    assert_eq!((away.gauges.subscriptions.audio, away.gauges.subscriptions.video), (1, 1));
    assert_eq!((home.join.count(), away.join.count()), (1, 1));
    // 150 packets and the first ones; the header has 12 octets or more, the tag 16.
    for (counted, payload) in [(home.rtp_in.audio, 8), (home.rtp_in.video, 200)] {
        assert_eq!(counted.packets, 151);
        assert!(counted.bytes >= 151 * (payload + 28), "{counted:?}");
    }
    assert_eq!(home.rtp_out.packets(), 0);
    let sent = away.rtp_out.audio.packets + away.rtp_out.video.packets;
    assert_eq!((away.rtp_out.audio.packets, sent), (150, 301), "the keyframe came from the ring");
    assert_eq!(away.forward.count(), 300, "what the ring gave does not count");
    assert!(home.bytes_in > home.rtp_in.audio.bytes + home.rtp_in.video.bytes);
    net.peers[viewer].loss_up = 100;
    net.advance(Duration::from_secs(13));
    let gauges = told(&net, 1).gauges;
    assert_eq!((gauges.connected, gauges.silent), (0, 1));
    net.advance(Duration::from_secs(25));
    let away = told(&net, 1);
    assert_eq!((away.gauges.silent, away.gauges.subscriptions.video), (0, 0));
    assert_eq!((away.ice_expired, away.ice_unchecked), (1, 0));
}

#[test]
fn who_never_connects_is_counted_by_what_was_missing() {
    let mut net = Net::new(1);
    net.is_lost = |_| true;
    net.publisher(0, CODECS, &[]);
    net.advance(Duration::from_secs(62));
    let counters = net.shards[0].counters();
    assert_eq!((counters.ice_unchecked, counters.dtls_failures), (1, 0));
    // Another one comes through, but its handshake does not.
    net.is_lost = |first| (20..64).contains(&first);
    let stuck = net.publisher(0, CODECS, &[]);
    net.advance(Duration::from_secs(62));
    assert!(!net.peers[stuck].is_connected);
    let counters = net.shards[0].counters();
    assert_eq!((counters.ice_unchecked, counters.dtls_failures, counters.ice_expired), (1, 1, 0));
    assert_eq!(counters.join.count(), 0);
}

#[test]
fn requests_of_viewers_and_changes_of_their_layers_are_counted() {
    let mut net = Net::new(1);
    let (publisher, info) = layers::start(&mut net);
    let viewer = net.viewer(0, std::slice::from_ref(&info), LayerCap::High);
    net.connect(viewer);
    let transport = net.peers[viewer].id;
    for (cap, seqs) in [(LayerCap::High, 2..20), (LayerCap::Low, 20..40), (LayerCap::High, 40..60)]
    {
        net.command(Command::SetCap { transport, publication: info.id, cap });
        for seq in seqs {
            layers::send(&mut net, publisher, &["h", "l"], seq, seq % 5 == 0);
        }
        let rates = survey(&mut net, 0);
        let wanted = if cap == LayerCap::Low { 0 } else { 1 };
        assert_eq!(rates[0].spatial, (wanted, 1));
    }
    net.advance(Duration::from_secs(2));
    let counters = told(&net, 0);
    assert_eq!((counters.switches.up, counters.switches.down), (1, 1));
    let ssrc = net.video_ssrc(viewer);
    let (nacks, keyframes) = (counters.nacked_in, counters.keyframe_requests_in);
    report(&mut net, viewer, |writer| {
        writer.pli(1, ssrc);
        writer.nack(1, ssrc, &[(7, 0b101)]);
    });
    let counters = net.shards[0].counters();
    assert_eq!((counters.nacked_in, counters.keyframe_requests_in), (nacks + 3, keyframes + 1));
}

#[test]
fn the_loop_is_as_busy_as_its_turns_are_long() {
    let mut net = Net::new(1);
    for _ in 0..200 {
        net.shards[0].count_turn(Duration::from_millis(5));
        net.advance(Duration::from_millis(20));
    }
    let counters = told(&net, 0);
    assert!((240_000..=260_000).contains(&counters.busy_ppm), "{}", counters.busy_ppm);
    assert_eq!(net.shards[0].counters().turns.count(), 200);
}
