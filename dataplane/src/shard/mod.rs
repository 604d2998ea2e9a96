//! A shard: everything that one core owns. Sans-IO: datagrams, lane records, commands and time
//! come in as arguments, datagrams leave through the outbox's `Wire`, everything else through
//! `events` and `messages`. The same code runs behind sockets (`run/`) and in tests.
//!
//! Order of calls: any number of `handle_*`, then [`Shard::flush`]; then wait no longer than
//! [`Shard::poll_timeout`] and call [`Shard::handle_timeout`] when it has passed.

mod clients;
mod commands;
mod demand;
mod feedback;
mod foreign;
mod gathering;
mod ingress;
mod media;
mod pacing;
mod paths;
mod slots;
mod strays;
mod survey;
mod telling;
#[cfg(test)]
mod tests;
mod tick;
mod viewing;
mod voices;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::config::DtlsCert;

use self::paths::{Home, sender};
use crate::api::{ClientKey, Event};
use crate::congestion::PacketResult;
use crate::describe::Candidates;
use crate::egress::Egress;
use crate::error::CloseReason;
use crate::forward::Parked;
use crate::id::{PublicationId, READERS_MAX, ReaderId, ShardId, TransportId};
use crate::lane::{PeerMessage, Producer};
use crate::outbox::{Outbox, Wire};
use crate::path::{Path, PathIndex, StreamId};
use crate::peer::{Drained, Fault};
use crate::publication::Publication;
use crate::sending::{Batch, Sending};
use crate::source::Source;
use crate::stats::{Counters, DropReason, Gauges};
use crate::transport::{Role, Transport};

/// Transports of one shard; one more is refused as "server full".
pub(crate) const TRANSPORTS_MAX: usize = 65_536;
/// Proven addresses of one shard, and remembered addresses of other shards' peers.
pub(crate) const ADDRESSES_MAX: usize = 65_536;
/// Routes that only unauthenticated STUN has told; owners confirm the good ones at once.
const HINTS_MAX: usize = 4096;
/// The base period of all housekeeping.
pub(crate) const TICK: Duration = Duration::from_millis(20);
/// Between two looks of a connected Transport's engine at its clock, unless something comes.
const IDLE_STEP: Duration = Duration::from_secs(5);
/// Ticks per second.
const TICKS_PER_SECOND: u64 = 50;

/// How a shard is set up.
pub(crate) struct ShardConfig {
    /// Which one.
    pub id: ShardId,
    /// How many there are.
    pub shards: usize,
    /// Candidates of UDP, best first.
    pub candidates: Vec<SocketAddr>,
    /// Those of TCP.
    pub tcp_candidates: Vec<SocketAddr>,
    /// The process's DTLS certificate.
    pub cert: Arc<DtlsCert>,
    /// Time zero of all shards.
    pub epoch: Instant,
    /// NTP time (32.32) at the epoch.
    pub ntp_epoch: u64,
    /// For sequence numbers and ufrags, not for secrets.
    pub seed: u64,
    /// See [`crate::Config`].
    pub connect_for_max: Duration,
    /// See [`crate::Config`].
    pub consent_for_max: Duration,
    /// How long a packet for many viewers may wait for others, to leave with them.
    pub gather_for: Duration,
}

impl ShardConfig {
    /// Our candidates, those of one address first.
    fn candidates_near(&self, reached: Option<IpAddr>) -> Candidates {
        Candidates::nearest_first(&self.candidates, &self.tcp_candidates, reached)
    }
}

/// See the module's documentation.
pub(crate) struct Shard {
    config: ShardConfig,
    slots: Vec<Option<Transport>>,
    free: Vec<usize>,
    publishers: Vec<usize>,
    by_id: HashMap<TransportId, usize>,
    by_address: HashMap<SocketAddr, Home>,
    /// TCP connections that have brought an authentic check.
    by_stream: HashMap<StreamId, Home>,
    /// Other shards' peers, as their owners said after authenticating them.
    foreign: HashMap<SocketAddr, ShardId>,
    /// DTLS of Transports that are not connected yet: how it came, and what.
    handshakes: VecDeque<(Path, Box<[u8]>)>,
    strays: strays::Strays,
    /// The same from STUN that nobody has authenticated yet: only until the owner has.
    hints: HashMap<SocketAddr, ShardId>,
    egress: Vec<Option<Egress>>,
    sources: HashMap<PublicationId, Source>,
    /// Those who view here.
    clients: HashMap<ClientKey, clients::Client>,
    /// Those whose paths are probed, and when that goes on.
    probing: Vec<ClientKey>,
    probe_at: Option<Instant>,
    /// Slots of viewers with packets that wait for their turn, and when that comes.
    pacing: Vec<usize>,
    pace_at: Option<Instant>,
    /// What feedback told, while it is taken in.
    results: Vec<PacketResult>,
    /// The last time that came in with anything: what is sent between two inputs leaves then.
    now_us: u64,
    /// Publications with packets that wait, and until when, in microseconds since our epoch.
    dirty: Vec<PublicationId>,
    fan_out_at_us: Option<u64>,
    /// Something in a lane must not wait with them.
    is_lane_urgent: bool,
    lanes: Vec<Option<Producer>>,
    outbox: Outbox,
    timers: BinaryHeap<Reverse<(Instant, usize, TransportId)>>,
    tick_at: Instant,
    tick: u64,
    random: Random,
    counters: Counters,
    /// What the look at every Transport, once per second, has found so far.
    gauges: Gauges,
    /// Microseconds in which the shard did not sleep, in all and up to the last second, and when
    /// that was.
    busy_us: u64,
    busy_told: (u64, u64),
    /// A question about all viewers that is being answered, and the slot to go on at.
    survey: Option<(u64, usize)>,
    /// For the control plane, to be taken after each step.
    pub events: Vec<Event>,
    /// For other shards, to be taken after each step.
    pub messages: Vec<(ShardId, PeerMessage)>,
    /// TCP connections to be closed after each step, and those that wait for the next time.
    pub ended_streams: Vec<StreamId>,
}

impl Shard {
    /// An empty shard. `lanes` has a producer for every other shard, by index.
    pub(crate) fn new(
        config: ShardConfig,
        lanes: Vec<Option<Producer>>,
        wire: Box<dyn Wire>,
        now: Instant,
    ) -> Self {
        let random = Random(config.seed);
        Self {
            config,
            slots: Vec::new(),
            free: Vec::new(),
            publishers: Vec::new(),
            by_id: HashMap::new(),
            by_address: HashMap::new(),
            by_stream: HashMap::new(),
            foreign: HashMap::new(),
            handshakes: VecDeque::new(),
            strays: strays::Strays::default(),
            hints: HashMap::new(),
            egress: Vec::new(),
            sources: HashMap::new(),
            clients: HashMap::new(),
            probing: Vec::new(),
            probe_at: None,
            pacing: Vec::new(),
            pace_at: None,
            results: Vec::new(),
            now_us: 1,
            dirty: Vec::new(),
            fan_out_at_us: None,
            is_lane_urgent: false,
            lanes,
            outbox: Outbox::new(wire),
            timers: BinaryHeap::new(),
            tick_at: now + TICK,
            tick: 0,
            random,
            counters: Counters::new(),
            gauges: Gauges::default(),
            busy_us: 0,
            busy_told: (0, 0),
            survey: None,
            events: Vec::new(),
            messages: Vec::new(),
            ended_streams: Vec::new(),
        }
    }

    /// The recorder's lane: what it attaches to goes there.
    pub(crate) fn adopt_recorder(&mut self, lane: Producer) {
        self.lanes.resize_with(READERS_MAX, || None);
        if let Some(place) = self.lanes.get_mut(ReaderId::Recorder.index()) {
            *place = Some(lane);
        }
    }

    /// The counters so far.
    #[cfg(test)]
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts a turn of the loop that drives this shard: the time from waking up to sleeping.
    pub(crate) fn count_turn(&mut self, turn: Duration) {
        let us = turn.as_micros() as u64;
        self.counters.turns.add(us, 1);
        self.busy_us += us;
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Instant {
        let timer_at = self.timers.peek().map_or(self.tick_at, |Reverse((at, ..))| *at);
        let probe_at = self.probe_timeout().unwrap_or(self.tick_at);
        let pace_at = self.pace_at.unwrap_or(self.tick_at);
        let fan_out_at = self.fan_out_timeout().unwrap_or(self.tick_at);
        timer_at.min(probe_at).min(pace_at).min(fan_out_at).min(self.tick_at)
    }

    /// Lets time pass.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.now_us = self.micros(now);
        self.run_pacing(now);
        self.run_probes(now);
        while let Some(Reverse((at, slot, id))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            let is_current = self
                .transport(slot)
                .is_some_and(|transport| transport.id == id && transport.timer_at == Some(at));
            if is_current {
                self.run_engine(slot, now);
            }
        }
        if now >= self.tick_at {
            // After a stall the missed ticks are not made up for.
            self.tick_at = now + TICK;
            self.tick += 1;
            self.run_tick(now);
        }
    }

    /// NTP time (32.32) on the clock of our sender reports.
    fn ntp_at(&self, at_us: u64) -> u64 {
        self.config.ntp_epoch.wrapping_add(((u128::from(at_us) << 32) / 1_000_000) as u64)
    }

    /// Microseconds since the epoch; never 0, so that 0 can mean "long ago".
    fn micros(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.config.epoch).as_micros() as u64 + 1
    }

    /// What it takes to send to viewers at `now_us`, and what there is to send.
    fn sending(&mut self, now_us: u64) -> (Sending<'_>, &mut HashMap<PublicationId, Source>) {
        let batch = Batch { outbox: &mut self.outbox, counters: &mut self.counters, now_us };
        let sending = Sending { egress: &mut self.egress, batch, pacing: &mut self.pacing };
        (sending, &mut self.sources)
    }

    /// A Publication whose publisher is here.
    fn publication(&mut self, id: PublicationId) -> Option<&mut Publication> {
        let slot = *self.by_id.get(&id.transport)?;
        match &mut self.slots.get_mut(slot)?.as_mut()?.role {
            Role::Publisher(publisher) => publisher.publication(id.m_line),
            Role::Viewer(_) => None,
        }
    }

    fn transport(&self, slot: usize) -> Option<&Transport> {
        self.slots.get(slot)?.as_ref()
    }

    /// Lets time pass for a Transport's engine.
    fn run_engine(&mut self, slot: usize, now: Instant) {
        self.step_peer(slot, None, now, |peer, transmit| peer.handle_timeout(now, transmit));
    }

    /// Runs one step of a Transport's engine and follows up on what it brought. `via` is the path
    /// that has caused it.
    fn step_peer(
        &mut self,
        slot: usize,
        via: Option<PathIndex>,
        now: Instant,
        step: impl FnOnce(&mut crate::peer::Peer, crate::peer::Transmit<'_>) -> Result<Drained, Fault>,
    ) {
        let Some(Some(transport)) = self.slots.get_mut(slot) else {
            return;
        };
        let Transport { peer, paths, .. } = transport;
        self.counters.engine_steps += 1;
        let stepped = step(peer, &mut sender(paths, via, &mut self.outbox, &mut self.counters));
        match stepped {
            Ok(drained) => self.after_drain(slot, drained, now),
            Err(Fault) => self.engine_fault(slot),
        }
    }

    fn engine_fault(&mut self, slot: usize) {
        self.counters.engine_faults += 1;
        self.close_with_event(slot, CloseReason::EngineFault);
    }

    fn after_drain(&mut self, slot: usize, drained: Drained, now: Instant) {
        for _ in 0..drained.engine_media {
            self.counters.drop(DropReason::EngineMedia);
        }
        // A peer that has said so is gone also if the engine takes that as its end.
        if drained.is_closed || drained.is_failed {
            let reason = match self.transport(slot) {
                Some(transport) if !drained.is_closed => transport.peer.failure_reason(),
                _ => CloseReason::DtlsClosed,
            };
            self.close_with_event(slot, reason);
            return;
        }
        let Some(Some(transport)) = self.slots.get_mut(slot) else {
            return;
        };
        // Once connected an ICE-lite peer has nothing that is urgent: it answers when asked, and looks
        // at its clock when the shard looks at its Transport anyway.
        if transport.is_connected {
            transport.timer_at = drained.timeout.map(|at| at.max(now + IDLE_STEP));
            return;
        }
        if let Some(at) = drained.timeout
            && transport.timer_at != Some(at)
            && at < now + Duration::from_secs(3600)
        {
            transport.timer_at = Some(at);
            self.timers.push(Reverse((at, slot, transport.id)));
        }
        if transport.peer.keys().is_some() {
            self.connect(slot, now);
        }
    }

    /// DTLS is up: the keys are ours. Connected is who has a path that is proven, too.
    fn connect(&mut self, slot: usize, now: Instant) {
        let Some(Some(transport)) = self.slots.get_mut(slot) else {
            return;
        };
        let derived = match transport.peer.keys() {
            Some(Ok(keys)) => keys.derive().ok_or(CloseReason::DtlsFailed),
            Some(Err(reason)) => Err(reason),
            None => Err(CloseReason::DtlsFailed),
        };
        let (sealer, opener) = match derived {
            Ok(keys) => keys,
            Err(reason) => {
                self.close_with_event(slot, reason);
                return;
            }
        };
        transport.paths.prove_by_handshake();
        // Without a path the peer is asked, and its answer leads here again.
        let Some(path) = transport.paths.select(now) else {
            self.ask(slot, now);
            return;
        };
        transport.is_connected = true;
        let joined_for = now.saturating_duration_since(transport.created_at);
        self.counters.join.add(joined_for.as_micros() as u64, 1);
        transport.opener = Some(opener);
        let id = transport.id;
        if self.egress.len() <= slot {
            self.egress.resize_with(slot + 1, || None);
        }
        self.egress[slot] = Some(Egress::new(path, sealer));
        self.events.push(Event::Connected { transport: id });
        self.start_viewer(slot, now);
        self.ask(slot, now);
    }

    fn close_with_event(&mut self, slot: usize, reason: CloseReason) {
        let Some(transport) = self.transport(slot) else {
            return;
        };
        let id = transport.id;
        let (is_checked, is_connected) = (!transport.paths.is_empty(), transport.is_connected);
        let detail = match (is_connected, is_checked) {
            (true, _) => transport.peer.failure().to_owned(),
            (false, false) => "no connectivity check has come: is UDP let through, or TCP to the port of the page?".to_owned(),
            (false, true) if transport.peer.failure().is_empty() => {
                "checks have come, but DTLS was not finished".to_owned()
            }
            (false, true) => transport.peer.failure().to_owned(),
        };
        match reason {
            CloseReason::ConsentExpired => self.counters.ice_expired += 1,
            // The engine may give up before we do.
            CloseReason::ConnectTimeout
            | CloseReason::DtlsClosed
            | CloseReason::DtlsFailed
            | CloseReason::CertificateUnusable
            | CloseReason::WrongCertificate
                if !is_connected =>
            {
                if is_checked {
                    self.counters.dtls_failures += 1;
                } else {
                    self.counters.ice_unchecked += 1;
                }
            }
            CloseReason::ConnectTimeout
            | CloseReason::DtlsClosed
            | CloseReason::DtlsFailed
            | CloseReason::CertificateUnusable
            | CloseReason::WrongCertificate
            | CloseReason::EngineFault => {}
        }
        self.close(slot);
        self.events.push(Event::Closed { transport: id, reason, detail });
    }

    /// Forgets a Transport and all that hangs on it.
    fn close(&mut self, slot: usize) {
        let Some(transport) = self.slots.get_mut(slot).and_then(Option::take) else {
            return;
        };
        self.by_id.remove(&transport.id);
        for path in transport.paths.iter() {
            self.forget_path(*path, slot);
        }
        if let Some(egress) = self.egress.get_mut(slot) {
            *egress = None;
        }
        match transport.role {
            Role::Publisher(publisher) => {
                self.publishers.retain(|known| *known != slot);
                for m_line in 0..publisher.publications.len() {
                    let publication =
                        PublicationId { transport: transport.id, m_line: m_line as u8 };
                    // With viewers it stays until they leave: it knows their numbering.
                    if self.sources.get(&publication).is_some_and(|source| source.live == 0) {
                        self.sources.remove(&publication);
                    }
                }
            }
            Role::Viewer(viewer) => {
                if let Some(client) = viewer.client {
                    self.leave_client(slot, client);
                }
                for (info, at) in viewer.lines.into_iter().filter_map(|line| line.subscription) {
                    self.remove_subscriber(info.id, at);
                }
            }
        }
        self.free.push(slot);
    }

    /// Removes a Subscriber; returns where its SSRCs go on.
    fn remove_subscriber(&mut self, publication: PublicationId, at: usize) -> Option<Parked> {
        let source = self.sources.get_mut(&publication)?;
        let subscriber = source.subscribers.get_mut(at)?.as_mut()?;
        self.counters.switches.merge(subscriber.forwarder.take_switches());
        let parked = subscriber.forwarder.park(subscriber.rtx_next);
        source.remove(at);
        if source.live == 0 {
            let home = publication.transport.shard();
            if home != self.config.id {
                self.sources.remove(&publication);
                let from = ReaderId::Shard(self.config.id);
                let message = PeerMessage::Detach { publication, from };
                self.messages.push((home, message));
            } else if !self.by_id.contains_key(&publication.transport) {
                self.sources.remove(&publication);
            }
        }
        Some(parked)
    }

    /// A new slot, or `None` if the shard is full.
    fn allocate(&mut self) -> Option<usize> {
        match self.free.pop() {
            Some(slot) => Some(slot),
            None if self.slots.len() < TRANSPORTS_MAX => {
                self.slots.push(None);
                Some(self.slots.len() - 1)
            }
            None => None,
        }
    }

    /// Fresh ICE credentials for a slot: a fragment that names it and an unguessable password of
    /// 144 bits (RFC 8445 s5.3 asks for 128).
    fn credentials(&mut self, slot: usize) -> (String, String) {
        let ufrag = crate::ufrag::encode(self.config.id, slot as u32, self.random.next());
        (ufrag, password())
    }

    fn count(&mut self, reason: DropReason) {
        self.counters.drop(reason);
    }
}

/// An unguessable ICE password.
fn password() -> String {
    const CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = [0; 24];
    // aws-lc aborts rather than return weak randomness; an error would leave a constant.
    let filled = aws_lc_rs::rand::fill(&mut bytes);
    assert!(filled.is_ok(), "the system has no randomness");
    bytes.iter().map(|byte| char::from(CHARS[usize::from(byte & 63)])).collect()
}

/// A small generator (splitmix64) for what must be spread, not secret.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
