//! Where a viewer's packets go: never for long where nobody answers, at once where it does, whatever
//! its checks say of where they come from.

use std::net::SocketAddr;
use std::time::Duration;

use str0m::media::MediaKind as PeerKind;

use super::forwarding::{CODECS, live_publisher, video_numbers};
use super::net::{Net, Rtp};
use crate::api::{Event, LayerCap, PathStage};
use crate::checks::tests::{request_with, response};
use crate::demux::{Class, classify};
use crate::error::CloseReason;
use crate::path::Over;
use crate::stats::DropReason;

/// More than any candidate of the peers has.
const HIGH: u32 = 0x7eff_ffff;

fn third_party() -> SocketAddr {
    ([203, 0, 113, 9], 5004).into()
}

/// A publisher that sends fifty packets a second, and a viewer.
struct Room {
    net: Net,
    publisher: usize,
    viewer: usize,
    seq: u64,
}

impl Room {
    fn new() -> Self {
        let mut net = Net::new(1);
        let (publisher, publications) = live_publisher(&mut net, 0);
        let viewer = net.viewer(0, &publications, LayerCap::High);
        net.connect(viewer);
        Self { net, publisher, viewer, seq: 2 }
    }

    /// A check of the viewer's that seems to come from elsewhere.
    fn check_from(&mut self, from: SocketAddr, nominates: bool) {
        let (ours, password) = self.net.credentials(self.viewer);
        let (theirs, _) = self.net.remote_credentials(self.viewer);
        let check = request_with(&format!("{ours}:{theirs}"), &password, nominates, HIGH);
        self.net.reach_server(from, &check);
        self.net.settle();
    }

    fn send_for(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / 20 {
            self.net.publish(
                self.publisher,
                PeerKind::Video,
                Rtp::vp8(self.seq, self.seq.is_multiple_of(50)),
            );
            self.seq += 1;
            self.net.advance(Duration::from_millis(20));
        }
    }

    /// How many packets the viewer's peer has got in a second.
    fn arriving(&mut self) -> usize {
        let before = self.net.peers[self.viewer].packets.len();
        self.send_for(Duration::from_secs(1));
        self.net.peers[self.viewer].packets.len() - before
    }

    /// What went to an address, but for answers and checks of STUN.
    fn media_to(&self, address: SocketAddr) -> usize {
        let strays = self.net.strays.iter().filter(|(to, _)| *to == address);
        strays.filter(|(_, datagram)| classify(datagram) != Class::Stun).count()
    }

    /// Who is at an address answers what it was asked last.
    fn answer_from(&mut self, address: SocketAddr) {
        let (_, password) = self.net.remote_credentials(self.viewer);
        let asked = self
            .net
            .strays
            .iter()
            .rev()
            .find(|(to, datagram)| *to == address && datagram.starts_with(&[0, 1]));
        let (_, asked) = asked.expect("it was asked");
        let id = asked[8..20].try_into().expect("twelve octets");
        self.net.reach_server(address, &response(id, &password));
        self.net.settle();
    }

    fn closed(&self) -> Option<CloseReason> {
        let id = self.net.peers[self.viewer].id;
        self.net.events.iter().find_map(|event| match event {
            Event::Closed { transport, reason, .. } if *transport == id => Some(*reason),
            _ => None,
        })
    }
}

/// The viewer knows its own password, so its forgery is authentic.
#[test]
fn a_forged_check_aims_no_media_at_a_third_party() {
    let mut room = Room::new();
    for _ in 0..20 {
        room.check_from(third_party(), true);
        assert!(room.arriving() >= 40, "the viewer itself gets its stream");
    }
    assert_eq!(room.media_to(third_party()), 0);
    let strays = room.net.strays.len();
    assert!(strays <= 20 * 4, "{strays} answers and checks for 20 forgeries");
    // Forged answers do not help: the id of the question is what proves.
    let (_, password) = room.net.remote_credentials(room.viewer);
    for guess in 0..=255 {
        room.net.reach_server(third_party(), &response([guess; 12], &password));
    }
    room.send_for(Duration::from_secs(1));
    assert_eq!(room.media_to(third_party()), 0);
}

/// Before there is a proof some flights of the handshake may go astray, and that is all.
#[test]
fn before_it_is_connected_a_transport_sends_a_third_party_a_few_flights_at_most() {
    let mut net = Net::new(1);
    let (_, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.settle();
    let mut room = Room { net, publisher: 0, viewer, seq: 2 };
    room.check_from(third_party(), true);
    room.net.connect(viewer);
    assert!(room.arriving() >= 40);
    assert!(room.media_to(third_party()) <= 5, "{}", room.media_to(third_party()));
    assert!(room.net.strays.iter().all(|(_, datagram)| classify(datagram) != Class::Rtp));
}

/// A NAT gives another port: media and feedback come from there before any check does.
#[test]
fn media_follows_what_is_authentic_as_soon_as_it_is_proven() {
    let mut room = Room::new();
    let id = room.net.peers[room.viewer].id;
    room.send_for(Duration::from_secs(1));
    let home = room.net.peers[room.viewer].address;
    let moved = (home.ip(), 6000).into();
    let mut sealer = room.net.shards[0].test_peer_sealer(id);
    sealer.set_rtcp_index(1000);
    let mut feedback = || {
        // An empty receiver report.
        let mut packet = [0; 64];
        packet[..8].copy_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, 1]);
        let len = sealer.seal_rtcp(&mut packet, 8);
        packet[..len].to_vec()
    };
    // While the peer is heard at its address nobody else is asked.
    let (said, other) = (feedback(), feedback());
    room.net.reach_server(home, &said);
    room.net.reach_server(moved, &other);
    room.net.settle();
    assert!(room.net.strays.iter().all(|(to, _)| *to != moved));
    room.net.peers[room.viewer].loss_up = 100;
    room.send_for(Duration::from_millis(400));
    // Neither what is forged nor what was said before, nor what comes from elsewhere.
    let mut forged = feedback();
    forged[12] ^= 1;
    let (good, elsewhere) = (feedback(), ([10, 0, 7, 7], 6000).into());
    for (from, datagram) in [(moved, &forged), (elsewhere, &good), (moved, &said)] {
        room.net.reach_server(from, datagram);
        room.net.advance(Duration::from_millis(5));
    }
    assert!(room.net.strays.iter().all(|(to, _)| *to != moved && *to != elsewhere));
    room.net.reach_server(moved, &good);
    room.net.settle();
    room.send_for(Duration::from_millis(100));
    assert_eq!(room.media_to(moved), 0, "it is not proven");
    room.answer_from(moved);
    room.send_for(Duration::from_millis(200));
    assert!(room.media_to(moved) >= 8, "{}", room.media_to(moved));
}

/// A second network of the viewer, of higher priority, which is there for a while.
#[test]
fn media_goes_to_a_better_path_within_a_round_trip_and_returns_when_it_dies() {
    let mut room = Room::new();
    room.send_for(Duration::from_secs(1));
    let second = third_party();
    room.check_from(second, true);
    room.answer_from(second);
    let before = room.net.peers[room.viewer].packets.len();
    room.send_for(Duration::from_secs(1));
    assert!(room.media_to(second) >= 40);
    assert!(room.net.peers[room.viewer].packets.len() <= before + 1);
    // From now on nothing comes from there; the first path is checked as ever.
    let mut waited = 0;
    while room.arriving() < 40 {
        waited += 1;
        assert!(waited < 10, "media has not returned");
    }
    let went = room.media_to(second);
    room.send_for(Duration::from_secs(5));
    assert_eq!(room.media_to(second), went);
    assert_eq!(room.net.shards[0].counters().path_changes, 2);
}

/// Checks alone, which anybody may forge, keep nothing alive.
#[test]
fn a_peer_that_used_to_answer_is_left_when_it_does_no_longer() {
    let mut room = Room::new();
    room.send_for(Duration::from_secs(25));
    assert!(room.net.shards[0].counters().consent_answers >= 2, "it answers what we ask");
    let address = room.net.peers[room.viewer].address;
    room.net.peers[room.viewer].loss_up = 100;
    let mut silent = 0;
    while room.closed().is_none() {
        room.check_from(address, true);
        room.send_for(Duration::from_secs(1));
        silent += 1;
        assert!(silent <= 40, "it goes on for ever");
    }
    assert_eq!(room.closed(), Some(CloseReason::ConsentExpired));
}

/// Who can send under another member's address does not take it away from that one.
#[test]
fn a_forged_check_under_a_publisher_s_address_does_not_cut_it_off() {
    let mut room = Room::new();
    room.send_for(Duration::from_secs(1));
    let victim = room.net.peers[room.publisher].address;
    for _ in 0..10 {
        room.check_from(victim, true);
        assert!(room.arriving() >= 40);
    }
    assert_eq!(room.net.dropped(DropReason::AddressTaken), 10);
}

/// After a NAT has given another port: at once with the first check.
#[test]
fn a_rebound_address_costs_a_round_trip_after_its_first_check() {
    let mut room = Room::new();
    room.send_for(Duration::from_secs(1));
    let (viewer, port) = (room.viewer, 6000);
    room.net.nat = Some((viewer, port));
    let from = SocketAddr::new(room.net.peers[viewer].address.ip(), port);
    let asked = room.net.shards[0].counters().consent_questions;
    while room.net.shards[0].counters().consent_questions == asked {
        room.send_for(Duration::from_millis(20));
    }
    let before = room.seq;
    room.send_for(Duration::from_millis(200));
    let numbers = video_numbers(&room.net.peers[viewer].packets);
    for number in before..room.seq {
        assert!(numbers.contains(&(number as u32)), "{number} of {before}.. to {from}");
    }
}

/// A peer that answers checks is missed after six seconds, and heard again at once.
#[test]
fn silence_is_told_soon_and_so_is_its_end() {
    let mut room = Room::new();
    room.send_for(Duration::from_secs(25));
    let id = room.net.peers[room.viewer].id;
    let told = |room: &Room| {
        let of_viewer = room.net.events.iter().filter_map(|event| match event {
            Event::Disconnected { transport } if *transport == id => Some("silent"),
            Event::Reconnected { transport } if *transport == id => Some("heard"),
            _ => None,
        });
        of_viewer.collect::<Vec<_>>()
    };
    room.net.peers[room.viewer].loss_up = 100;
    room.send_for(Duration::from_secs(5));
    assert_eq!(told(&room), [""; 0]);
    room.send_for(Duration::from_millis(2500));
    assert_eq!(told(&room), ["silent"]);
    room.net.peers[room.viewer].loss_up = 0;
    room.send_for(Duration::from_secs(5));
    assert_eq!(told(&room), ["silent", "heard"]);
}

/// What the server knows of a connection, in the order in which it learns it.
#[test]
fn how_far_a_connection_has_come_is_told_when_it_is_worth_it() {
    let reports = |net: &Net, peer: usize| -> Vec<(PathStage, Option<Over>)> {
        let id = net.peers[peer].id;
        let all = net.events.iter().filter_map(|event| match event {
            Event::Path { transport, report } if *transport == id => Some(*report),
            _ => None,
        });
        all.map(|report| (report.stage, report.over)).collect()
    };
    let mut room = Room::new();
    room.send_for(Duration::from_secs(3));
    let viewer = room.viewer;
    assert_eq!(reports(&room.net, viewer), [(PathStage::Flowing, Some(Over::Udp))]);
    assert_eq!(reports(&room.net, room.publisher), [(PathStage::Flowing, Some(Over::Udp))]);
    room.net.peers[viewer].loss_up = 100;
    room.send_for(Duration::from_secs(12));
    assert_eq!(reports(&room.net, viewer).last(), Some(&(PathStage::Silent, Some(Over::Udp))));
    // UDP is blocked: nothing comes.
    let blocked = room.net.publisher(0, CODECS, &[]);
    room.net.peers[blocked].loss_up = 100;
    room.send_for(Duration::from_secs(4));
    assert_eq!(reports(&room.net, blocked), []);
    room.send_for(Duration::from_secs(4));
    assert_eq!(reports(&room.net, blocked), [(PathStage::Waiting, None)]);
    // Only checks come through.
    room.net.is_lost = |first| (20..64).contains(&first);
    let address = {
        let address = ([10, 0, 1, 99], 5000).into();
        room.net.peers[blocked].loss_up = 0;
        address
    };
    let (ours, password) = room.net.credentials(blocked);
    let (theirs, _) = room.net.remote_credentials(blocked);
    let check = request_with(&format!("{ours}:{theirs}"), &password, true, HIGH);
    room.net.reach_server(address, &check);
    room.net.advance(Duration::from_secs(2));
    assert_eq!(reports(&room.net, blocked).last(), Some(&(PathStage::Checked, Some(Over::Udp))));
}
