//! A Source: what one shard has of a Publication, wherever its publisher lives. It keeps the
//! packet rings and the local viewers' Forwarders, in one array, and fans a packet out to them.

mod fan_out;
mod ladder;
mod pace;

use crate::choose::{Allowance, Meanwhile, Target};
use crate::clock::SenderClock;
use crate::codec::{Codec, MediaKind};
use crate::demand::{Asked, Demand};
use crate::egress::Paced;
use crate::forward::Lack;
use crate::id::ShardId;
use crate::meter::Meter;
use crate::playout::Lateness;
use crate::publication::ENCODINGS_MAX;
use crate::repeats::Repeats;
use crate::ring::{self, PacketRing};
use crate::sending::{Packet, Sending, send, send_again, send_padding, send_rtx};
use crate::srtp::ReplayWindow;
use crate::stats::DropReason;
use crate::subscriber::Subscriber;
use pace::Pace;

/// A late joiner gets the last keyframe and what follows at once if that is no more than this;
/// otherwise a keyframe is asked for.
const REPLAY_PACKETS_MAX: u64 = 64;
/// The same on a path that is known: no more than it takes in this.
const REPLAY_US: u64 = 400_000;
/// Temporal layers that do not come back by themselves for so long need a keyframe.
const LACKING_US: u64 = 2_000_000;
/// The same for layers that are to be left: where a lower one does not stand by itself there is no
/// way down between two pictures.
const EXIT_US: u64 = 150_000;
/// A publisher that did not answer a keyframe request by then may never do so (FFmpeg's does not
/// even offer PLI): the viewer gets what the ring has.
const REPLAY_AFTER_US: u64 = 400_000;
/// How far back a probe goes for packets to repeat.
const PROBE_BACK_MAX: u16 = 24;
/// Packets that wait for one fan-out: more than a keyframe's burst between two looks at the socket.
const PENDING_MAX: usize = 64;

/// Where a Source's packets come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// A publisher of this shard, in this slot.
    Publisher(usize),
    /// The shard that has the publisher, through a lane.
    Lane(ShardId),
    /// Nowhere any more: its publisher was here and has left. Who views it may not know yet.
    Gone,
}

/// See the module's documentation.
pub(crate) struct Source {
    /// Where its packets come from.
    pub origin: Origin,
    /// The codec of its packets.
    pub codec: Codec,
    /// Its clock rate in Hz.
    pub clock_hz: u32,
    /// Kept and not yet fanned out: Encoding and sequence number.
    pending: Vec<(u8, u64)>,
    /// By stable index; freed entries are used again.
    pub subscribers: Vec<Option<Subscriber>>,
    /// How many entries are live.
    pub live: usize,
    encodings: Vec<SourceEncoding>,
    /// Encodings by what they cost, the most first: whatever order they were offered in.
    order: Vec<u8>,
    /// What its publisher's shard knows of what the viewers here ask.
    pub demand_told: Demand,
    /// What its publisher has been asked for.
    pub asked: Asked,
    /// Of pictures: whether who is in them speaks.
    pub is_speaking: bool,
    /// How late what its publisher's path loses comes.
    pub lateness: Lateness,
}

#[derive(Default)]
struct SourceEncoding {
    ring: Option<PacketRing>,
    /// Which sequence numbers have been kept, each once.
    kept: ReplayWindow,
    pace: Pace,
    clock: Option<SenderClock>,
    /// The highest spatial and temporal layer seen.
    layers_max: (u8, u8),
    meter: Meter,
}

impl Source {
    /// An empty Source.
    pub(crate) fn new(origin: Origin, codec: Codec, encodings: usize) -> Self {
        let mut list = Vec::new();
        list.resize_with(encodings.clamp(1, ENCODINGS_MAX), SourceEncoding::default);
        let order = (0..list.len() as u8).collect();
        let clock_hz = clock_hz(codec);
        Self {
            origin,
            codec,
            clock_hz,
            pending: Vec::with_capacity(PENDING_MAX),
            subscribers: Vec::new(),
            live: 0,
            encodings: list,
            order,
            demand_told: Demand::default(),
            asked: Asked::default(),
            is_speaking: false,
            lateness: Lateness::default(),
        }
    }

    /// Changes codec: what was there is of no use to anybody.
    pub(crate) fn set_codec(&mut self, codec: Codec) {
        if self.codec != codec {
            self.codec = codec;
            self.clock_hz = clock_hz(codec);
            for encoding in &mut self.encodings {
                (encoding.ring, encoding.clock) = (None, None);
                encoding.pace = Pace::default();
                encoding.layers_max = (0, 0);
                encoding.meter = Meter::default();
            }
            self.pending.clear();
        }
    }

    /// Grows to as many Encodings as the Publication has.
    pub(crate) fn ensure_encodings(&mut self, count: usize) {
        let count = count.clamp(1, ENCODINGS_MAX);
        if self.encodings.len() < count {
            self.encodings.resize_with(count, SourceEncoding::default);
            self.order.extend(self.order.len() as u8..count as u8);
        }
    }

    /// Adds a Subscriber and returns its index.
    pub(crate) fn add(&mut self, mut subscriber: Subscriber) -> usize {
        self.live += 1;
        let free = self.subscribers.iter().position(Option::is_none);
        let at = free.unwrap_or(self.subscribers.len());
        subscriber.key.1 = at;
        match self.subscribers.get_mut(at) {
            Some(place) => *place = Some(subscriber),
            None => self.subscribers.push(Some(subscriber)),
        }
        at
    }

    /// Removes a Subscriber.
    pub(crate) fn remove(&mut self, at: usize) {
        if self.subscribers.get_mut(at).and_then(Option::take).is_some() {
            self.live -= 1;
        }
    }

    /// Records the relation of an Encoding's timestamps to our clock.
    pub(crate) fn set_clock(&mut self, encoding: u8, clock: SenderClock) {
        if let Some(encoding) = self.encodings.get_mut(usize::from(encoding)) {
            encoding.clock = Some(clock);
        }
    }

    /// The relation for an Encoding.
    pub(crate) fn clock(&self, encoding: u8) -> Option<SenderClock> {
        self.encodings.get(usize::from(encoding))?.clock
    }

    /// The highest spatial and temporal layer that an Encoding has had.
    pub(crate) fn layers_max(&self, encoding: u8) -> (u8, u8) {
        self.encodings.get(usize::from(encoding)).map_or((0, 0), |encoding| encoding.layers_max)
    }

    /// Whether there is a smaller picture to choose: several Encodings, or spatial layers of one.
    pub(crate) fn has_choice(&self) -> bool {
        self.encodings.len() > 1 || self.encodings.iter().any(|e| e.layers_max.0 > 0)
    }

    /// The ring of an Encoding, if any packet has come.
    pub(crate) fn ring(&self, encoding: u8) -> Option<&PacketRing> {
        self.encodings.get(usize::from(encoding))?.ring.as_ref()
    }

    /// Keeps a packet for every local Subscriber; [`Self::fan_out`] sends it. Packets that arrive
    /// together leave together, viewer by viewer, so that the kernel gets them as one run. Returns
    /// whether as many wait as may.
    #[must_use]
    pub(crate) fn keep(&mut self, encoding: u8, packet: Packet<'_>) -> bool {
        let is_video = self.codec.kind() == MediaKind::Video;
        let Some(state) = self.encodings.get_mut(usize::from(encoding)) else {
            return false;
        };
        // A shard that attaches anew may get a packet from the ring and live as well. Forwarded
        // twice it would use its number twice, and with it a nonce.
        if !state.kept.is_new(packet.meta.seq) {
            return false;
        }
        state.kept.record(packet.meta.seq);
        // Padding alone is no picture: an Encoding that sends nothing else is silent.
        if !packet.payload.is_empty() {
            let is_keyframe = packet.meta.frame.is_keyframe;
            state.pace.note(packet.meta.rtp_time, is_keyframe, packet.meta.at_us);
        }
        let (frame, (sid_max, tid_max)) = (&packet.meta.frame, &mut state.layers_max);
        (*sid_max, *tid_max) = ((*sid_max).max(frame.sid), (*tid_max).max(frame.tid));
        state.meter.count(packet.meta, packet.payload.len());
        let ring = state.ring.get_or_insert_with(|| {
            if is_video {
                PacketRing::new(ring::VIDEO_PACKETS, ring::VIDEO_BYTES)
            } else {
                PacketRing::new(ring::AUDIO_PACKETS, ring::AUDIO_BYTES)
            }
        });
        if let Some(late_us) = ring.late_us(packet.meta) {
            self.lateness.note(late_us, packet.meta.at_us);
        }
        ring.store(*packet.meta, packet.header, packet.payload);
        self.pending.push((encoding, packet.meta.seq));
        self.pending.len() >= PENDING_MAX
    }

    /// Starts, or starts again, a Subscriber whose viewer is connected: chooses its Encoding and
    /// plays what the ring has since the last keyframe. Returns the Encoding of which a keyframe
    /// should be asked for.
    pub(crate) fn start(
        &mut self,
        at: usize,
        now_us: u64,
        sending: &mut Sending<'_>,
    ) -> Option<u8> {
        // What waits would otherwise go out twice: now from the ring, and later.
        self.fan_out(sending);
        let subscriber = self.subscribers.get(at)?.as_ref()?;
        let (cap, allowance) = (subscriber.cap, subscriber.allowance);
        let current = subscriber.forwarder.current();
        let mut target = self.choose(cap, allowance, now_us);
        if let (Some(current), Allowance::UpTo(_, budget_bps)) = (current, allowance)
            && target.encoding.is_some_and(|wanted| self.rank(current) < self.rank(wanted))
        {
            target.meanwhile = self.meanwhile(current, budget_bps);
        }
        let is_audio = self.codec.kind() == MediaKind::Audio;
        let subscriber = self.subscribers.get_mut(at)?.as_mut()?;
        subscriber.forwarder.set_target(target);
        if is_audio || !subscriber.forwarder.needs_keyframe() {
            return None;
        }
        let target = target.encoding?;
        // More than this at once would only wait in the network.
        let replay_bytes_max = match allowance {
            Allowance::UpTo(_, budget_bps) => budget_bps / 8 * REPLAY_US / 1_000_000,
            Allowance::All | Allowance::Nothing => u64::MAX,
        };
        let waiting_since = *subscriber.waiting_since_us.get_or_insert(now_us);
        let ring = self.encodings.get(usize::from(target))?.ring.as_ref();
        let has_waited = now_us.saturating_sub(waiting_since) >= REPLAY_AFTER_US;
        let replayed = ring.is_some_and(|ring| {
            let Some(keyframe) = ring.keyframe() else {
                return false;
            };
            // Who has seen later pictures already must not go back in time.
            if subscriber.forwarder.last_at_us().is_some_and(|at_us| at_us >= keyframe.at_us) {
                return false;
            }
            let Some(run) = ring.since_keyframe() else {
                return false;
            };
            let bytes: usize =
                run.clone().filter_map(|seq| ring.get(seq)).map(|(_, bytes)| bytes.len()).sum();
            let is_long = run.end() - run.start() > REPLAY_PACKETS_MAX;
            if (is_long || bytes as u64 > replay_bytes_max) && !has_waited {
                return false;
            }
            let Sending { egress, batch, .. } = sending;
            let Some(Some(egress)) = egress.get_mut(subscriber.viewer) else {
                return false;
            };
            for seq in run {
                let Some(packet) = ring.get(seq).and_then(|(meta, b)| Packet::split(meta, b))
                else {
                    continue;
                };
                if let Ok(placement) = subscriber.forwarder.place(target, packet.meta) {
                    send(subscriber, egress, &placement, packet, batch);
                }
            }
            true
        });
        if replayed {
            subscriber.waiting_since_us = None;
            return None;
        }
        Some(target)
    }

    /// Looks after Subscribers between packets: falls back from Encodings that went silent,
    /// climbs back, asks for keyframes, replays for those who wait too long. Calls `request` for
    /// each Encoding of which a keyframe is needed.
    pub(crate) fn tick(
        &mut self,
        now_us: u64,
        sending: &mut Sending<'_>,
        mut request: impl FnMut(u8),
    ) {
        for encoding in &mut self.encodings {
            encoding.meter.look(now_us);
        }
        if self.codec.kind() == MediaKind::Audio {
            return;
        }
        if let [only] = self.encodings.as_slice() {
            self.asked.look(only.meter.latest_bits_per_second(), now_us);
        }
        self.sort_encodings(now_us);
        self.judge_encodings(now_us);
        let newest_us = self.encodings.iter().filter_map(|e| e.pace.last_at_us()).max();
        for at in 0..self.subscribers.len() {
            let Some(Some(subscriber)) = self.subscribers.get_mut(at) else {
                continue;
            };
            if !matches!(sending.egress.get(subscriber.viewer), Some(Some(_))) {
                continue;
            }
            let shown_us = subscriber.forwarder.last_at_us();
            let has_stopped = subscriber.stillness.look(newest_us, shown_us, now_us);
            sending.batch.counters.stills += u64::from(has_stopped);
            let (cap, allowance) = (subscriber.cap, subscriber.allowance);
            let wanted = self.choose(cap, allowance, now_us);
            let Some(Some(Subscriber { forwarder, .. })) = self.subscribers.get(at) else {
                continue;
            };
            let is_same = wanted == Target { meanwhile: Meanwhile::All, ..forwarder.target() };
            if (!is_same || forwarder.needs_keyframe())
                && let Some(encoding) = self.start(at, now_us, sending)
            {
                request(encoding);
            }
            if let Some(encoding) = self.lacking(at, now_us) {
                request(encoding);
            }
        }
    }

    /// The Encoding of which a Subscriber needs a keyframe to get layers that it should.
    pub(crate) fn lacking(&mut self, at: usize, now_us: u64) -> Option<u8> {
        let subscriber = self.subscribers.get(at)?.as_ref()?;
        let current = subscriber.forwarder.current()?;
        let max = self.layers_max(current);
        let subscriber = self.subscribers.get_mut(at)?.as_mut()?;
        let Some(lack) = subscriber.forwarder.lack(max) else {
            subscriber.lacking_since_us = None;
            return None;
        };
        let since_us = *subscriber.lacking_since_us.get_or_insert(now_us);
        let patience_us = match lack {
            Lack::Spatial => 0,
            Lack::Temporal => LACKING_US,
            Lack::Exit => EXIT_US,
        };
        (now_us.saturating_sub(since_us) >= patience_us).then_some(current)
    }

    /// Sends a packet whose turn has come.
    pub(crate) fn send_paced(&mut self, viewer: usize, paced: &Paced, sending: &mut Sending<'_>) {
        let Some(Some(subscriber)) = self.subscribers.get_mut(paced.at) else {
            return;
        };
        // Under another's keys or SSRC its number may have been used.
        if (subscriber.viewer, subscriber.ssrc) != (viewer, paced.ssrc) {
            return;
        }
        let ring = self.encodings.get(usize::from(paced.encoding)).and_then(|e| e.ring.as_ref());
        let found = ring.and_then(|ring| ring.get(paced.seq));
        let packet = found.and_then(|(meta, bytes)| Packet::split(meta, bytes));
        let Sending { egress, batch, .. } = sending;
        match (packet, egress.get_mut(subscriber.viewer)) {
            (Some(packet), Some(Some(egress))) => {
                let packet = Packet { padding: paced.padding, ..packet };
                send(subscriber, egress, &paced.placement, packet, batch);
            }
            _ => batch.counters.drop(DropReason::PaceFull),
        }
    }

    /// Sends a viewer something that it can do without, to fill a probe: padding if it `is_small`, else
    /// one of the last packets once more. Returns whether it could.
    pub(crate) fn send_probe(
        &mut self,
        at: usize,
        is_small: bool,
        sending: &mut Sending<'_>,
    ) -> bool {
        self.try_send_probe(at, is_small, sending).is_some()
    }

    fn try_send_probe(
        &mut self,
        at: usize,
        is_small: bool,
        sending: &mut Sending<'_>,
    ) -> Option<()> {
        let subscriber = self.subscribers.get_mut(at)?.as_mut()?;
        let rtx = subscriber.rtx.filter(|_| subscriber.is_numbered)?;
        let Sending { egress, batch, .. } = sending;
        let egress = egress.get_mut(subscriber.viewer)?.as_mut()?;
        subscriber.probe_back = subscriber.probe_back % PROBE_BACK_MAX + 1;
        let seq = subscriber.forwarder.next_out().checked_sub(u64::from(subscriber.probe_back));
        let found = seq.and_then(|seq| subscriber.forwarder.find(seq as u16));
        let packet = found.filter(|_| !is_small).and_then(|(encoding, seq_in)| {
            let ring = self.encodings.get(usize::from(encoding))?.ring.as_ref()?;
            let (meta, bytes) = ring.get(seq_in)?;
            let placement = subscriber.forwarder.place_again(encoding, meta)?;
            Some((placement, Packet::split(meta, bytes)?))
        });
        match packet {
            Some((placement, packet)) => {
                batch.counters.probed_bytes += packet.payload.len() as u64;
                send_rtx(subscriber, rtx, egress, &placement, packet, batch);
            }
            None => send_padding(subscriber, rtx, egress, batch),
        }
        Some(())
    }

    /// Answers a NACK: sends the packet that went out under `seq_no` once more.
    pub(crate) fn retransmit(&mut self, at: usize, seq_no: u16, sending: &mut Sending<'_>) {
        if let Some(Some(subscriber)) = self.subscribers.get_mut(at) {
            subscriber.playout.note_asked();
        }
        let sent = self.try_retransmit(at, seq_no, sending);
        if sent.is_none() {
            sending.batch.counters.drop(DropReason::NackRefused);
        }
    }

    fn try_retransmit(&mut self, at: usize, seq_no: u16, sending: &mut Sending<'_>) -> Option<()> {
        let subscriber = self.subscribers.get_mut(at)?.as_mut()?;
        let (encoding, seq_in) = subscriber.forwarder.find(seq_no)?;
        let ring = self.encodings.get(usize::from(encoding))?.ring.as_ref()?;
        let (meta, bytes) = ring.get(seq_in)?;
        let packet = Packet::split(meta, bytes)?;
        let placement = subscriber.forwarder.place_again(encoding, meta)?;
        let Sending { egress, batch, .. } = sending;
        let egress = egress.get_mut(subscriber.viewer)?.as_mut()?;
        // What came before a step down is of no use any more.
        let is_past = subscriber.forwarder.current().is_some_and(|current| current != encoding);
        if is_past && subscriber.allowance != Allowance::All {
            return None;
        }
        if !subscriber.may_retransmit(seq_no, bytes.len(), batch.now_us)
            || !egress.may_repair(bytes.len(), batch.now_us)
        {
            return None;
        }
        match subscriber.rtx {
            Some(rtx) => {
                send_rtx(subscriber, rtx, egress, &placement, packet, batch);
            }
            // Made anew, the packet would differ in its hop fields: see `hop`.
            None if !subscriber.forwarder.repairs_in_place() => {
                subscriber.repeats.get_or_insert_with(Repeats::new);
                send_again(subscriber, seq_no, egress, batch)?;
            }
            None => send(subscriber, egress, &placement, packet, batch),
        }
        batch.counters.retransmitted += 1;
        Some(())
    }
}

/// RFC 3551, RFC 7587 and the video payload formats.
pub(crate) fn clock_hz(codec: Codec) -> u32 {
    match codec {
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::H264 => 90_000,
        Codec::Opus => 48_000,
        Codec::G722 | Codec::Pcmu | Codec::Pcma => 8_000,
    }
}
