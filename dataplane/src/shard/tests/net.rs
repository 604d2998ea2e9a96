//! Shards and str0m peers on a virtual network: virtual time, seeded loss, no sockets. The peers
//! are the oracle: whatever reaches them has been authenticated, decrypted and parsed by code that
//! is not ours.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{
    Direction, KeyframeRequest, MediaKind as PeerKind, Mid, Simulcast, SimulcastLayer,
};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite};
use str0m::{Candidate, Event as PeerEvent, Input, Output, Rtc, RtcConfig};

use super::super::{Shard, ShardConfig};
pub(super) use super::packets::Rtp;
use crate::api::{ClientKey, Command, Event, LayerCap, PublicationInfo, SubscriptionSpec};
use crate::codec::Codec;
use crate::id::{ShardId, TransportId};
use crate::lane::{self, Consumer};
use crate::outbox::{Outgoing, Wire};
use crate::path::{Over, Path, StreamId};

/// Where every shard listens, as with one shared port.
pub(super) const SERVER: &str = "10.0.0.1:8443";

type Sent = Arc<Mutex<VecDeque<(SocketAddr, Vec<u8>)>>>;

/// The virtual clock in microseconds, as the shards count them.
type Clock = Arc<AtomicU64>;

/// What goes to peers, the clock, and whether every connection is behind.
struct TestWire(Sent, Clock, Arc<AtomicBool>);

impl Wire for TestWire {
    fn send(&mut self, slab: &[u8], batch: &[Outgoing]) -> usize {
        let mut sent = self.0.lock().expect("no panic while locked");
        for out in batch {
            assert_eq!(
                out.path.local.map(|ip| ip.to_string()).as_deref().unwrap_or("10.0.0.1"),
                "10.0.0.1"
            );
            sent.push_back((out.path.peer, slab[out.start..out.start + out.len].to_vec()));
        }
        batch.len()
    }

    fn send_framed(&mut self, slab: &[u8], batch: &[Outgoing]) -> usize {
        assert!(batch.iter().all(|out| out.path.stream.is_some()));
        self.send(slab, batch)
    }

    fn is_late(&mut self, _: StreamId) -> bool {
        self.2.load(Ordering::Relaxed)
    }

    fn now_us(&mut self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }
}

/// A remote peer.
pub(super) struct TestPeer {
    pub(super) rtc: Rtc,
    pub(super) address: SocketAddr,
    pub(super) id: TransportId,
    pub(super) packets: Vec<RtpPacket>,
    pub(super) keyframe_requests: Vec<KeyframeRequest>,
    pub(super) is_connected: bool,
    pub(super) is_closed: bool,
    pub(super) pending: Option<SdpPendingOffer>,
    pub(super) known_mids: Vec<Mid>,
    timeout: Instant,
    /// Datagrams to the server: dropped with this probability, in percent.
    pub(super) loss_up: u64,
    /// The same from the server.
    pub(super) loss_down: u64,
    /// Everything that the server sent.
    pub(super) inbox: Vec<Vec<u8>>,
}

/// The network with all that hangs on it.
pub(super) struct Net {
    pub(super) now: Instant,
    /// Time zero of the shards.
    pub(super) epoch: Instant,
    clock: Clock,
    pub(super) shards: Vec<Shard>,
    pub(super) peers: Vec<TestPeer>,
    pub(super) events: Vec<Event>,
    lanes: Vec<Vec<Consumer>>,
    sent: Vec<Sent>,
    random: u64,
    serial: u64,
    next_host: u8,
    /// The shard whose socket gets a peer's datagrams: the kernel's hash, as bad as can be.
    pub(super) steer: fn(SocketAddr, usize) -> usize,
    /// Whether to keep what peers send.
    pub(super) record_up: bool,
    pub(super) recorded: Vec<(SocketAddr, Vec<u8>)>,
    /// A peer whose NAT shows it under another port, which answers reach too.
    pub(super) nat: Option<(usize, u16)>,
    /// Whether peers leave our offers unanswered.
    pub(super) is_mute: bool,
    /// Peers that come over TCP.
    pub(super) streams: HashMap<SocketAddr, StreamId>,
    /// Whether all connections are behind.
    pub(super) is_late: Arc<AtomicBool>,
    /// What went where no peer is.
    pub(super) strays: Vec<(SocketAddr, Vec<u8>)>,
    /// Which of the peers' datagrams are lost, by their first octet.
    pub(super) is_lost: fn(u8) -> bool,
    /// Who got how many octets of RTP, in the order in which it left.
    pub(super) left: Vec<(SocketAddr, usize)>,
}

impl Net {
    pub(super) fn new(shards: usize) -> Self {
        Self::gathering(shards, Duration::ZERO)
    }

    /// The same whose shards gather packets for many viewers.
    pub(super) fn gathering(shards: usize, gather_for: Duration) -> Self {
        let epoch = Instant::now();
        let cert = Arc::new(crate::peer::generate_certificate().expect("a certificate"));
        let mut lanes: Vec<Vec<Consumer>> = (0..shards).map(|_| Vec::new()).collect();
        let clock = Clock::default();
        let is_late = Arc::new(AtomicBool::new(false));
        let sent: Vec<Sent> = (0..shards).map(|_| Sent::default()).collect();
        let shards_list = (0..shards)
            .map(|index| {
                let producers = (0..shards)
                    .map(|to| {
                        (to != index).then(|| {
                            let (producer, consumer) = lane::lane(1 << 20);
                            lanes[to].push(consumer);
                            producer
                        })
                    })
                    .collect();
                let config = ShardConfig {
                    id: ShardId(index as u8),
                    shards,
                    candidates: vec![SERVER.parse().expect("an address")],
                    tcp_candidates: vec![SERVER.parse().expect("an address")],
                    cert: Arc::clone(&cert),
                    epoch,
                    ntp_epoch: 3_900_000_000 << 32,
                    seed: 7 + index as u64,
                    connect_for_max: Duration::from_secs(60),
                    consent_for_max: Duration::from_secs(30),
                    gather_for,
                };
                let wire =
                    TestWire(Arc::clone(&sent[index]), Arc::clone(&clock), Arc::clone(&is_late));
                let wire = Box::new(wire);
                Shard::new(config, producers, wire, epoch)
            })
            .collect();
        Self {
            now: epoch,
            epoch,
            clock,
            shards: shards_list,
            peers: Vec::new(),
            events: Vec::new(),
            lanes,
            sent,
            random: 42,
            serial: 1,
            next_host: 2,
            steer: |_, _| 0,
            record_up: false,
            recorded: Vec::new(),
            nat: None,
            is_mute: false,
            streams: HashMap::new(),
            is_late,
            strays: Vec::new(),
            is_lost: |_| false,
            left: Vec::new(),
        }
    }

    pub(super) fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % below
    }

    pub(super) fn command(&mut self, command: Command) {
        let shard = command.transport().shard().index();
        self.shards[shard].handle_command(command, self.now);
    }

    pub(super) fn id_on(&mut self, shard: u8) -> TransportId {
        self.serial += 1;
        TransportId::new(ShardId(shard), self.serial)
    }

    pub(super) fn add_peer(&mut self, id: TransportId, config: RtcConfig) -> usize {
        let address = SocketAddr::from(([10, 0, 1, self.next_host], 5000));
        self.next_host += 1;
        let mut rtc = config
            .set_crypto_provider(Arc::new(str0m::crypto::from_feature_flags()))
            .set_rtp_mode(true)
            .build(self.now);
        rtc.add_local_candidate(Candidate::host(address, Protocol::Udp).expect("a candidate"));
        self.peers.push(TestPeer {
            rtc,
            address,
            id,
            packets: Vec::new(),
            keyframe_requests: Vec::new(),
            is_connected: false,
            is_closed: false,
            pending: None,
            known_mids: Vec::new(),
            timeout: self.now,
            loss_up: 0,
            loss_down: 0,
            inbox: Vec::new(),
        });
        self.peers.len() - 1
    }

    /// Adds a publisher of audio and video on a shard and exchanges SDP. Returns its index.
    pub(super) fn publisher(&mut self, shard: u8, codecs: &[Codec], rids: &[&str]) -> usize {
        let config = RtcConfig::new();
        self.publisher_with(shard, codecs, rids, config)
    }

    pub(super) fn publisher_with(
        &mut self,
        shard: u8,
        codecs: &[Codec],
        rids: &[&str],
        config: RtcConfig,
    ) -> usize {
        let id = self.id_on(shard);
        let at = self.add_peer(id, config);
        let simulcast = (!rids.is_empty()).then(|| {
            let mut simulcast = Simulcast::new();
            rids.iter().for_each(|rid| simulcast.add_send_layer(SimulcastLayer::new(rid)));
            simulcast
        });
        let mut changes = self.peers[at].rtc.sdp_api();
        let stream = || Some("stream".to_owned());
        let (audio, video) = (Some("a".into()), Some("v".into()));
        let send = Direction::SendOnly;
        let audio = changes.add_media(PeerKind::Audio, send, stream(), audio, None);
        let video = changes.add_media(PeerKind::Video, send, stream(), video, simulcast);
        let (offer, pending) = changes.apply().expect("an offer");
        self.peers[at].known_mids = vec![audio, video];
        self.peers[at].pending = Some(pending);
        let codecs = codecs.to_vec();
        self.send_offer(id, &offer, codecs);
        self.run_until("the answer is taken", |net| net.peers[at].pending.is_none());
        at
    }

    pub(super) fn send_offer(
        &mut self,
        transport: TransportId,
        offer: &SdpOffer,
        codecs: Vec<Codec>,
    ) {
        let offer = offer.to_sdp_string();
        self.command(Command::Publish { transport, offer, codecs, reached: None });
    }

    /// Adds a viewer on a shard that wants everything given.
    pub(super) fn viewer(&mut self, shard: u8, wanted: &[PublicationInfo], cap: LayerCap) -> usize {
        self.viewer_with(shard, wanted, cap, RtcConfig::new())
    }

    pub(super) fn viewer_with(
        &mut self,
        shard: u8,
        wanted: &[PublicationInfo],
        cap: LayerCap,
        config: RtcConfig,
    ) -> usize {
        let id = self.id_on(shard);
        let at = self.add_peer(id, config);
        self.subscribe(at, wanted, cap, false);
        at
    }

    pub(super) fn subscribe(
        &mut self,
        viewer: usize,
        wanted: &[PublicationInfo],
        cap: LayerCap,
        ice_restart: bool,
    ) {
        let transport = self.peers[viewer].id;
        let subscriptions = wanted
            .iter()
            .map(|publication| SubscriptionSpec {
                publication: publication.clone(),
                cap,
                priority: 1,
            })
            .collect();
        let msid = "stream".to_owned();
        self.command(Command::Subscribe {
            transport,
            client: ClientKey(transport.as_u64()),
            msid,
            subscriptions,
            ice_restart,
        });
    }

    /// What a publisher has announced so far.
    pub(super) fn publications(&self, publisher: usize) -> Vec<PublicationInfo> {
        let id = self.peers[publisher].id;
        let mut all: Vec<PublicationInfo> = Vec::new();
        for event in &self.events {
            if let Event::Published { transport, publication } = event
                && *transport == id
            {
                all.retain(|known| known.id != publication.id);
                all.push(publication.clone());
            }
        }
        all
    }

    pub(super) fn mid(&self, peer: usize, kind: PeerKind) -> Mid {
        // str0m generates mids: find the one of the kind.
        let rtc = &self.peers[peer].rtc;
        let of_kind = |mid: &&Mid| rtc.media(**mid).is_some_and(|media| media.kind() == kind);
        *self.peers[peer].known_mids.iter().find(of_kind).expect("a section of the kind")
    }

    pub(super) fn publisher_ssrc(&mut self, peer: usize) -> u32 {
        let mid = self.mid(peer, PeerKind::Video);
        let mut api = self.peers[peer].rtc.direct_api();
        *api.stream_tx_by_mid(mid, None).expect("a stream").ssrc()
    }

    /// The SSRC under which a viewer gets video.
    pub(super) fn video_ssrc(&mut self, viewer: usize) -> u32 {
        let id = self.peers[viewer].id;
        self.shards[id.shard().index()].test_video_ssrc(id)
    }

    /// Sends one RTP packet from a publisher.
    pub(super) fn publish(&mut self, peer: usize, kind: PeerKind, rtp: Rtp<'_>) {
        let mid = self.mid(peer, kind);
        let now = self.now;
        let rtc = &mut self.peers[peer].rtc;
        let codec = rtp.codec;
        let pt = rtc
            .codec_config()
            .params()
            .iter()
            .find(|params| params.spec().codec == codec)
            .expect("a negotiated codec")
            .pt();
        let mut api = rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, rtp.rid.map(Into::into)).expect("a stream");
        stream.write_rtp(
            RtpWrite::new(pt, rtp.seq.into(), rtp.time, now, rtp.payload)
                .marker(rtp.marker)
                .nackable(true)
                .ext_vals(rtp.ext),
        );
        self.settle();
    }

    /// What the shards' clock says now.
    pub(super) fn now_us(&self) -> u64 {
        (self.now - self.epoch).as_micros() as u64 + 1
    }

    /// Moves datagrams, records, messages and events until nothing moves at this instant.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut moved = false;
            for at in 0..self.peers.len() {
                moved |= self.drain_peer(at);
            }
            moved |= self.settle_shards();
            if !moved {
                return;
            }
        }
        panic!("the network does not settle");
    }

    fn settle_shards(&mut self) -> bool {
        let mut moved = false;
        self.clock.store(self.now_us(), Ordering::Relaxed);
        for at in 0..self.shards.len() {
            let now = self.now;
            for lane in &mut self.lanes[at] {
                let shard = &mut self.shards[at];
                moved |= lane.drain(1000, |record| shard.handle_record(record, now)) > 0;
            }
            moved |= self.shards[at].run_handshakes(now);
            moved |= self.shards[at].run_survey(now);
            self.shards[at].flush(|_| {});
            for (to, message) in std::mem::take(&mut self.shards[at].messages) {
                self.shards[to.index()].handle_message(message);
                moved = true;
            }
            for event in std::mem::take(&mut self.shards[at].events) {
                self.on_event(&event);
                self.events.push(event);
                moved = true;
            }
            let sent = std::mem::take(&mut *self.sent[at].lock().expect("no panic while locked"));
            for (to, datagram) in sent {
                moved = true;
                if datagram.first().is_some_and(|first| *first & 0xd0 == 0x90) {
                    self.left.push((to, datagram.len()));
                }
                self.reach_peer(to, datagram);
            }
        }
        moved
    }

    fn reach_peer(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        let chance = self.random(100);
        let server = SERVER.parse().expect("an address");
        let now = self.now;
        let mut address = to;
        let behind = self.nat.filter(|(_, port)| to.port() == *port);
        if let Some((at, _)) = behind {
            address = self.peers[at].address;
        }
        // The NAT has forgotten the old port.
        let is_stale =
            behind.is_none() && self.nat.is_some_and(|(at, _)| self.peers[at].address == to);
        let found = self.peers.iter().position(|peer| peer.address == address && !is_stale);
        let Some(at) = found else {
            self.strays.push((to, datagram));
            return;
        };
        let peer = &mut self.peers[at];
        if chance < peer.loss_down {
            return;
        }
        if let Ok(receive) = Receive::new(Protocol::Udp, server, address, &datagram) {
            let _ = peer.rtc.handle_input(Input::Receive(now, receive));
        }
        peer.inbox.push(datagram);
        // str0m wants to be drained after each input.
        self.drain_peer(at);
    }

    /// SDP goes both ways without delay.
    pub(super) fn on_event(&mut self, event: &Event) {
        match event {
            Event::Answered { transport, answer, .. }
            | Event::Viewed { transport, answer: Some(answer), .. } => {
                let Some(peer) = self.peers.iter_mut().find(|p| p.id == *transport) else {
                    return;
                };
                let answer = SdpAnswer::from_sdp_string(answer).expect("our answer parses");
                if let Some(pending) = peer.pending.take() {
                    peer.rtc.sdp_api().accept_answer(pending, answer).expect("our answer fits");
                }
            }
            Event::Offered { .. } if self.is_mute => {}
            Event::Offered { transport, offer } => {
                let Some(peer) = self.peers.iter_mut().find(|p| p.id == *transport) else {
                    return;
                };
                let offer = SdpOffer::from_sdp_string(offer).expect("our offer parses");
                let answer = peer.rtc.sdp_api().accept_offer(offer).expect("our offer fits");
                let answer = answer.to_sdp_string();
                self.command(Command::AcceptAnswer { transport: *transport, answer });
            }
            _ => {}
        }
    }

    fn drain_peer(&mut self, at: usize) -> bool {
        let mut moved = false;
        loop {
            let peer = &mut self.peers[at];
            match peer.rtc.poll_output() {
                Ok(Output::Timeout(timeout)) => {
                    peer.timeout = timeout;
                    return moved;
                }
                Ok(Output::Transmit(transmit)) => {
                    moved = true;
                    let (loss, mut from) = (peer.loss_up, peer.address);
                    if let Some((_, port)) = self.nat.filter(|(behind, _)| *behind == at) {
                        from.set_port(port);
                    }
                    if self.random(100) >= loss {
                        self.reach_server(from, &transmit.contents);
                    }
                }
                Ok(Output::Event(event)) => {
                    moved = true;
                    match event {
                        PeerEvent::Connected => peer.is_connected = true,
                        PeerEvent::RtpPacket(packet) => peer.packets.push(packet),
                        PeerEvent::KeyframeRequest(request) => peer.keyframe_requests.push(request),
                        PeerEvent::Closed => peer.is_closed = true,
                        PeerEvent::MediaAdded(added) => peer.known_mids.push(added.mid),
                        _ => {}
                    }
                }
                Err(_) => {
                    peer.is_closed = true;
                    peer.timeout = self.now + Duration::from_secs(1000);
                    return moved;
                }
            }
        }
    }

    /// A datagram from anywhere to the server's port.
    pub(super) fn reach_server(&mut self, from: SocketAddr, datagram: &[u8]) {
        if datagram.first().is_some_and(|first| (self.is_lost)(*first)) {
            return;
        }
        if self.record_up {
            self.recorded.push((from, datagram.to_vec()));
        }
        if let Some(stream) = self.streams.get(&from) {
            let local = Some([10, 0, 0, 1].into());
            let path = Path { peer: from, local, stream: Some(*stream), over: Over::Tcp };
            self.shards[0].handle_frame(path, &mut datagram.to_vec(), self.now);
            return;
        }
        let shard = (self.steer)(from, self.shards.len());
        let path = Path::udp(from, Some([10, 0, 0, 1].into()));
        self.shards[shard].handle_datagram(path, &mut datagram.to_vec(), self.now, self.now);
    }

    /// Lets time pass, event by event.
    pub(super) fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        while self.now < end {
            let next = self
                .shards
                .iter()
                .map(Shard::poll_timeout)
                .chain(self.peers.iter().map(|peer| peer.timeout))
                .min()
                .unwrap_or(end);
            self.now = next.max(self.now + Duration::from_micros(100)).min(end);
            for at in 0..self.peers.len() {
                if self.peers[at].timeout <= self.now {
                    let _ = self.peers[at].rtc.handle_input(Input::Timeout(self.now));
                    self.drain_peer(at);
                }
            }
            for shard in &mut self.shards {
                if shard.poll_timeout() <= self.now {
                    shard.handle_timeout(self.now);
                }
            }
            self.settle();
        }
    }

    pub(super) fn run_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        self.settle();
        for _ in 0..6000 {
            if done(self) {
                return;
            }
            self.advance(Duration::from_millis(10));
        }
        panic!("in a minute it did not happen that {what}");
    }

    pub(super) fn connect(&mut self, peer: usize) {
        self.run_until("the peer connects", |net| {
            let id = net.peers[peer].id;
            net.peers[peer].is_connected
                && net
                    .events
                    .iter()
                    .any(|e| matches!(e, Event::Connected { transport } if *transport == id))
        });
    }

    /// Counters of all shards, added up, for one drop reason.
    pub(super) fn dropped(&self, reason: crate::stats::DropReason) -> u64 {
        self.shards.iter().map(|shard| shard.counters().dropped(reason)).sum()
    }
}
