//! Viewers whose own offer made seats: one negotiation, then any Publications one after another.

use std::time::Duration;

use str0m::RtcConfig;
use str0m::media::{Direction, MediaKind as PeerKind};

use super::forwarding::{CODECS, live_publisher, video_numbers};
use super::net::{Net, Rtp};
use crate::api::{
    ClientKey, Command, Event, LayerCap, Layers, PublicationInfo, SubscriptionSpec, ViewOffer,
};
use crate::codec::{Codec, MediaKind};
use crate::id::PublicationId;

impl Net {
    /// Adds a viewer that offers to receive so many streams of each kind, and exchanges SDP.
    fn seat_viewer(&mut self, shard: u8, audio: usize, video: usize) -> usize {
        let id = self.id_on(shard);
        let at = self.add_peer(id, RtcConfig::new());
        let mut changes = self.peers[at].rtc.sdp_api();
        let kinds = std::iter::repeat_n(PeerKind::Audio, audio)
            .chain(std::iter::repeat_n(PeerKind::Video, video));
        let mids: Vec<_> = kinds
            .map(|kind| changes.add_media(kind, Direction::RecvOnly, None, None, None))
            .collect();
        let (offer, pending) = changes.apply().expect("an offer");
        self.peers[at].known_mids = mids;
        self.peers[at].pending = Some(pending);
        self.view(at, offer.to_sdp_string());
        self.run_until("the answer is taken", |net| net.peers[at].pending.is_none());
        at
    }

    fn view(&mut self, viewer: usize, offer: String) {
        self.command(Command::View {
            transport: self.peers[viewer].id,
            client: ClientKey(viewer as u64),
            offer: ViewOffer::Theirs(offer),
            msid: "class".to_owned(),
            codecs: CODECS.to_vec(),
            reached: None,
        });
    }

    fn watch(&mut self, viewer: usize, wanted: &[&PublicationInfo], cap: LayerCap) {
        let transport = self.peers[viewer].id;
        let subscriptions = wanted
            .iter()
            .map(|info| SubscriptionSpec { publication: (*info).clone(), cap, priority: 1 })
            .collect();
        self.command(Command::Watch { transport, subscriptions });
        self.settle();
    }

    /// What a viewer's seats carry, as last told.
    fn watched(&self, viewer: usize) -> Vec<Option<PublicationId>> {
        let id = self.peers[viewer].id;
        let told = self.events.iter().rev().find_map(|event| match event {
            Event::Watching { transport, seats } if *transport == id => Some(seats.clone()),
            _ => None,
        });
        told.expect("the viewer watches")
    }
}

fn of_kind(publications: &[PublicationInfo], kind: MediaKind) -> &PublicationInfo {
    publications.iter().find(|info| info.kind == kind).expect("a publication of the kind")
}

fn answer_of(net: &Net, viewer: usize) -> String {
    let id = net.peers[viewer].id;
    let answer = net.events.iter().rev().find_map(|event| match event {
        Event::Viewed { transport, answer, .. } if *transport == id => answer.clone(),
        _ => None,
    });
    answer.expect("an answer")
}

#[test]
fn the_answer_sends_in_one_mediastream_with_all_candidates() {
    let mut net = Net::new(1);
    let viewer = net.seat_viewer(0, 1, 2);
    let answer = answer_of(&net, viewer);
    assert_eq!(answer.matches("a=sendonly\r\n").count(), 3, "{answer}");
    assert_eq!(answer.matches("a=msid:class ").count(), 3, "{answer}");
    assert_eq!(answer.matches(" msid:").count(), answer.matches(" msid:class ").count());
    assert!(answer.contains("a=end-of-candidates") && answer.contains("a=ice-lite"), "{answer}");
    let seats = net.events.iter().find_map(|event| match event {
        Event::Viewed { seats, .. } => Some(seats.clone()),
        _ => None,
    });
    let kinds: Vec<MediaKind> = seats.expect("seats").into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, [MediaKind::Audio, MediaKind::Video, MediaKind::Video]);
}

/// The viewer's one video seat shows one publisher after another as one continuous stream.
#[test]
fn a_seat_goes_from_one_publisher_to_the_next_without_negotiation() {
    let mut net = Net::new(2);
    let (first, of_first) = live_publisher(&mut net, 0);
    let (second, of_second) = live_publisher(&mut net, 1);
    let viewer = net.seat_viewer(0, 1, 1);
    net.connect(viewer);
    let send = |net: &mut Net, seq: u64| {
        net.publish(first, PeerKind::Video, Rtp::vp8(seq, seq.is_multiple_of(5)));
        // The other publisher is at other numbers, timestamps and picture ids.
        net.publish(second, PeerKind::Video, Rtp::vp8(seq + 20_000, seq.is_multiple_of(5)));
        net.advance(Duration::from_millis(33));
    };
    let (one, other) =
        (of_kind(&of_first, MediaKind::Video), of_kind(&of_second, MediaKind::Video));
    net.watch(viewer, &[one, of_kind(&of_first, MediaKind::Audio)], LayerCap::High);
    assert_eq!(net.watched(viewer).len(), 2);
    assert_eq!(net.watched(viewer)[1], Some(one.id));
    (2..30).for_each(|seq| send(&mut net, seq));
    let seen = net.peers[viewer].packets.len();
    assert!(seen > 20, "{seen}");
    // More is wished for than there are seats: the first wish wins.
    net.watch(viewer, &[other, one], LayerCap::High);
    assert_eq!(net.watched(viewer), [None, Some(other.id)]);
    (30..60).for_each(|seq| send(&mut net, seq));
    net.watch(viewer, &[one], LayerCap::High);
    (60..90).for_each(|seq| send(&mut net, seq));
    net.watch(viewer, &[], LayerCap::High);
    (90..95).for_each(|seq| send(&mut net, seq));
    let packets = &net.peers[viewer].packets;
    let numbers = video_numbers(packets);
    assert!(numbers.iter().any(|n| (20_030..20_060).contains(n)), "{numbers:?}");
    assert!(numbers.iter().any(|n| (60..90).contains(n)), "{numbers:?}");
    assert!(numbers.iter().all(|n| !(90..95).contains(n)), "{numbers:?}");
    let video: Vec<_> = packets.iter().filter(|p| !p.payload.starts_with(b"opus")).collect();
    for pair in video.windows(2) {
        assert_eq!(*pair[1].seq_no, *pair[0].seq_no + 1);
        assert_eq!(pair[0].header.ssrc, pair[1].header.ssrc);
        let step = pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp);
        assert!((1..900_000).contains(&step), "{step}");
        let id = |packet: &str0m::rtp::RtpPacket| {
            u16::from_be_bytes([packet.payload[2] & 0x7f, packet.payload[3]])
        };
        assert_eq!(id(pair[1]), (id(pair[0]) + 1) & 0x7fff);
    }
}

#[test]
fn what_is_carried_keeps_its_seat_when_others_come_and_go() {
    let mut net = Net::new(1);
    let publishers: Vec<_> = (0..3).map(|_| live_publisher(&mut net, 0).1).collect();
    let [a, b, c] = [0, 1, 2].map(|at: usize| of_kind(&publishers[at], MediaKind::Video));
    let viewer = net.seat_viewer(0, 0, 2);
    net.connect(viewer);
    net.watch(viewer, &[a, b], LayerCap::High);
    assert_eq!(net.watched(viewer), [Some(a.id), Some(b.id)]);
    net.watch(viewer, &[c, b], LayerCap::High);
    assert_eq!(net.watched(viewer), [Some(c.id), Some(b.id)]);
    net.watch(viewer, &[b, c], LayerCap::High);
    assert_eq!(net.watched(viewer), [Some(c.id), Some(b.id)]);
    net.watch(viewer, &[a], LayerCap::High);
    assert_eq!(net.watched(viewer), [Some(a.id), None]);
}

#[test]
fn a_codec_that_the_viewer_does_not_take_leaves_the_seat_to_the_next() {
    let mut net = Net::new(1);
    let (_, publications) = live_publisher(&mut net, 0);
    let good = of_kind(&publications, MediaKind::Video);
    let foreign = PublicationInfo {
        codec: Codec::Av1,
        id: PublicationId { m_line: 9, ..good.id },
        ..good.clone()
    };
    let viewer = net.seat_viewer(0, 0, 1);
    net.connect(viewer);
    net.watch(viewer, &[&foreign, good], LayerCap::High);
    assert_eq!(net.watched(viewer), [Some(good.id)]);
}

#[test]
fn an_offer_of_ours_makes_seats_as_well() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let id = net.id_on(0);
    let viewer = net.add_peer(id, RtcConfig::new());
    net.command(Command::View {
        transport: id,
        client: ClientKey(9),
        offer: ViewOffer::Ours { audio: 1, video: 1 },
        msid: "class".to_owned(),
        codecs: CODECS.to_vec(),
        reached: None,
    });
    net.connect(viewer);
    let video = of_kind(&publications, MediaKind::Video);
    net.watch(viewer, &[video], LayerCap::High);
    assert_eq!(net.watched(viewer), [None, Some(video.id)]);
    for seq in 2..20 {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, seq == 10));
        net.advance(Duration::from_millis(33));
    }
    assert!(video_numbers(&net.peers[viewer].packets).contains(&19));
}

/// An ICE restart by the same viewer, while media flows: nothing is lost, no seat moves.
#[test]
fn a_new_offer_for_the_same_seats_restarts_ice_without_a_gap() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.seat_viewer(0, 1, 1);
    net.connect(viewer);
    let video = of_kind(&publications, MediaKind::Video);
    net.watch(viewer, &[video], LayerCap::High);
    let before = net.ufrag(viewer);
    for seq in 2..100 {
        if seq == 50 {
            let mut changes = net.peers[viewer].rtc.sdp_api();
            changes.ice_restart(true);
            let (offer, pending) = changes.apply().expect("an offer");
            net.peers[viewer].pending = Some(pending);
            net.view(viewer, offer.to_sdp_string());
        }
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, seq == 2));
        net.advance(Duration::from_millis(33));
    }
    assert_ne!(net.ufrag(viewer), before);
    let numbers = video_numbers(&net.peers[viewer].packets);
    assert_eq!(numbers, (*numbers.first().expect("media")..100).collect::<Vec<u32>>());
}

#[test]
fn a_viewer_may_do_without_higher_temporal_layers() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.seat_viewer(0, 0, 1);
    net.connect(viewer);
    let cap = LayerCap::Chosen(Layers { encoding: None, spatial_max: 7, temporal_max: 0 });
    net.watch(viewer, &[of_kind(&publications, MediaKind::Video)], cap);
    let tid_of = |seq: u64| (seq % 2) as u8;
    for seq in 2..60 {
        let mut rtp = Rtp::vp8(seq, seq % 20 == 0);
        // X with I, L and T: picture id of two octets, TL0PICIDX, TID.
        let id = [0x80 | (seq >> 8) as u8, seq as u8];
        let number = (seq as u32).to_be_bytes();
        rtp.payload = vec![0x90, 0xe0, id[0], id[1], (seq / 2) as u8, tid_of(seq) << 6];
        rtp.payload.push(u8::from(seq % 20 != 0));
        rtp.payload.extend(number);
        rtp.payload.resize(200, 1);
        net.publish(publisher, PeerKind::Video, rtp);
        net.advance(Duration::from_millis(33));
    }
    let packets = &net.peers[viewer].packets;
    let seen: Vec<u32> = packets
        .iter()
        .filter(|packet| packet.payload[1] == 0xe0)
        .map(|p| u32::from_be_bytes(p.payload[7..11].try_into().expect("four bytes")))
        .collect();
    assert!(seen.len() >= 15, "{seen:?}");
    assert!(seen.iter().all(|seq| seq % 2 == 0), "{seen:?}");
    assert!(packets.windows(2).all(|pair| *pair[1].seq_no == *pair[0].seq_no + 1));
}

#[test]
fn offers_that_receive_nothing_are_refused_and_leave_nothing() {
    let mut net = Net::new(1);
    let id = net.id_on(0);
    let at = net.add_peer(id, RtcConfig::new());
    let mut changes = net.peers[at].rtc.sdp_api();
    changes.add_media(PeerKind::Audio, Direction::SendOnly, None, None, None);
    let (offer, _) = changes.apply().expect("an offer");
    net.view(at, offer.to_sdp_string());
    net.settle();
    let is_refused =
        |event: &Event| matches!(event, Event::Refused { transport, .. } if *transport == id);
    assert!(net.events.iter().any(is_refused));
    net.command(Command::Watch { transport: id, subscriptions: Vec::new() });
    net.settle();
    assert!(!net.events.iter().any(|event| matches!(event, Event::Watching { .. })));
}

#[test]
fn publishers_rates_are_told_every_second() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    // Long enough for some whole seconds, whenever the first one began.
    for seq in 2..250 {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, false));
        net.advance(Duration::from_millis(20));
    }
    let id = of_kind(&publications, MediaKind::Video).id;
    let rates: Vec<u64> = net
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Received { rates, .. } => {
                rates.iter().find(|rate| rate.publication == id).map(|rate| rate.bits_per_second)
            }
            _ => None,
        })
        .collect();
    // 200 octets 50 times a second.
    assert!(rates.iter().any(|rate| (70_000..90_000).contains(rate)), "{rates:?}");
}
