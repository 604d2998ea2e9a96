//! A Source: what one shard has of a Publication, wherever its publisher lives. It keeps the
//! packet rings and the local viewers' Forwarders, in one array, and fans a packet out to them.

use crate::api::{Codec, LayerCap, Layers, MediaKind, PublicationInfo};
use crate::canonical::MidBytes;
use crate::clock::SenderClock;
use crate::forward::{Forwarder, Skip};
use crate::publication::ENCODINGS_MAX;
use crate::quality::Quality;
use crate::ring::{self, PacketRing};
use crate::sending::{Packet, Sending, send, send_rtx};
use crate::srtp::ReplayWindow;
use crate::stats::DropReason;

/// An Encoding that was silent this long is not a good choice (reliability row 19).
const STALLED_US: u64 = 800_000;
/// A late joiner gets the last keyframe and what follows at once if that is no more than this;
/// otherwise a keyframe is asked for.
const REPLAY_PACKETS_MAX: u64 = 64;
/// A publisher that did not answer a keyframe request by then may never do so (FFmpeg's does not
/// even offer PLI): the viewer gets what the ring has.
const REPLAY_AFTER_US: u64 = 400_000;
/// A retransmission budget's floor and its share of what is sent: one quarter (row 15).
pub(crate) const RETRANSMIT_BURST_BYTES: u32 = 128 * 1024;
/// How often one packet is retransmitted to one viewer (row 15).
const RETRANSMITS_PER_PACKET_MAX: u8 = 10;
const RECENT: usize = 64;
/// Packets that wait for one fan-out: more than a keyframe's burst between two looks at the socket.
const PENDING_MAX: usize = 64;
/// Padding that makes the packets of a frame equally long, so that they form one GSO run. Encoders
/// split a frame about equally; what differs more is not worth the octets.
const PADDING_MAX: usize = 12;

/// A packet that waits to be fanned out.
#[derive(Clone, Copy)]
struct Waiting<'a> {
    encoding: u8,
    packet: Packet<'a>,
    padding: u8,
}

/// A viewer's Subscription on this shard.
pub struct Subscriber {
    /// The viewer's slot, an index into the egress table.
    pub viewer: usize,
    /// Decides and renumbers.
    pub forwarder: Forwarder,
    /// Outgoing SSRC.
    pub ssrc: u32,
    /// Outgoing payload type.
    pub pt: u8,
    /// RTX SSRC and payload type, if negotiated.
    pub rtx: Option<(u32, u8)>,
    /// The mid in its packets.
    pub mid: MidBytes,
    /// Its extension ids, if they are not ours.
    pub ids: Option<Box<[u8; 15]>>,
    /// Packets and payload octets sent, for sender reports.
    pub sent: (u32, u32),
    /// Since when it waits for a keyframe; `None` while media flows.
    pub waiting_since_us: Option<u64>,
    /// The next extended sequence number on the RTX SSRC.
    pub rtx_next: u64,
    /// What it may still have retransmitted, in octets.
    pub retransmit_bytes: u32,
    /// How it fares.
    pub quality: Quality,
    recent: [(u16, u8); RECENT],
}

/// How a Subscriber's stream was negotiated.
pub struct Negotiated {
    /// Outgoing SSRC.
    pub ssrc: u32,
    /// Outgoing payload type.
    pub pt: u8,
    /// RTX SSRC and payload type.
    pub rtx: Option<(u32, u8)>,
    /// The m-section's mid.
    pub mid: MidBytes,
    /// Extension ids, if the viewer chose them.
    pub ids: Option<Box<[u8; 15]>>,
}

impl Subscriber {
    /// A Subscription that has not begun.
    pub fn new(viewer: usize, forwarder: Forwarder, negotiated: Negotiated, rtx_next: u64) -> Self {
        let Negotiated { ssrc, pt, rtx, mid, ids } = negotiated;
        Self {
            viewer,
            forwarder,
            ssrc,
            pt,
            rtx,
            mid,
            ids,
            sent: (0, 0),
            waiting_since_us: None,
            rtx_next,
            retransmit_bytes: RETRANSMIT_BURST_BYTES,
            quality: Quality::default(),
            recent: [(0, 0); RECENT],
        }
    }

    /// Whether this packet may be sent once more.
    fn may_retransmit(&mut self, seq_no: u16, bytes: usize) -> bool {
        let (known, count) = &mut self.recent[usize::from(seq_no) % RECENT];
        if *known != seq_no {
            (*known, *count) = (seq_no, 0);
        }
        let bytes = bytes as u32;
        if *count >= RETRANSMITS_PER_PACKET_MAX || self.retransmit_bytes < bytes {
            return false;
        }
        *count += 1;
        self.retransmit_bytes -= bytes;
        true
    }
}

/// See the module's documentation.
pub struct Source {
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
}

#[derive(Default)]
struct SourceEncoding {
    ring: Option<PacketRing>,
    /// Which sequence numbers have been kept, each once.
    kept: ReplayWindow,
    last_at_us: Option<u64>,
    clock: Option<SenderClock>,
    /// The highest spatial and temporal layer seen.
    layers_max: (u8, u8),
}

impl Source {
    /// An empty Source.
    pub fn new(codec: Codec, encodings: usize) -> Self {
        let mut list = Vec::new();
        list.resize_with(encodings.clamp(1, ENCODINGS_MAX), SourceEncoding::default);
        let clock_hz = clock_hz(codec);
        Self {
            codec,
            clock_hz,
            pending: Vec::with_capacity(PENDING_MAX),
            subscribers: Vec::new(),
            live: 0,
            encodings: list,
        }
    }

    /// The same from what the control plane knows.
    pub fn from_info(info: &PublicationInfo) -> Self {
        Self::new(info.codec, info.rids.len())
    }

    /// Changes codec: what was there is of no use to anybody.
    pub fn set_codec(&mut self, codec: Codec) {
        if self.codec != codec {
            self.codec = codec;
            self.clock_hz = clock_hz(codec);
            for encoding in &mut self.encodings {
                (encoding.ring, encoding.clock) = (None, None);
                encoding.layers_max = (0, 0);
            }
            self.pending.clear();
        }
    }

    /// Grows to as many Encodings as the Publication has.
    pub fn ensure_encodings(&mut self, count: usize) {
        let count = count.clamp(1, ENCODINGS_MAX);
        if self.encodings.len() < count {
            self.encodings.resize_with(count, SourceEncoding::default);
        }
    }

    /// Adds a Subscriber and returns its index.
    pub fn add(&mut self, subscriber: Subscriber) -> usize {
        self.live += 1;
        match self.subscribers.iter().position(Option::is_none) {
            Some(at) if self.live <= self.subscribers.len() => {
                self.subscribers[at] = Some(subscriber);
                at
            }
            _ => {
                self.subscribers.push(Some(subscriber));
                self.subscribers.len() - 1
            }
        }
    }

    /// Removes a Subscriber.
    pub fn remove(&mut self, at: usize) {
        if self.subscribers.get_mut(at).and_then(Option::take).is_some() {
            self.live -= 1;
        }
    }

    /// Records the relation of an Encoding's timestamps to our clock.
    pub fn set_clock(&mut self, encoding: u8, clock: SenderClock) {
        if let Some(encoding) = self.encodings.get_mut(usize::from(encoding)) {
            encoding.clock = Some(clock);
        }
    }

    /// The relation for an Encoding.
    pub fn clock(&self, encoding: u8) -> Option<SenderClock> {
        self.encodings.get(usize::from(encoding))?.clock
    }

    /// The highest spatial and temporal layer that an Encoding has had.
    pub fn layers_max(&self, encoding: u8) -> (u8, u8) {
        self.encodings.get(usize::from(encoding)).map_or((0, 0), |encoding| encoding.layers_max)
    }

    /// The ring of an Encoding, if any packet has come.
    pub fn ring(&self, encoding: u8) -> Option<&PacketRing> {
        self.encodings.get(usize::from(encoding))?.ring.as_ref()
    }

    /// The Encoding to aim for under a cap: the best or the last of those that are alive.
    pub fn choose(&self, cap: LayerCap, now_us: u64) -> u8 {
        let is_alive = |encoding: &SourceEncoding| {
            encoding.last_at_us.is_some_and(|at_us| now_us.saturating_sub(at_us) < STALLED_US)
        };
        let mut alive = (0..self.encodings.len()).filter(|at| is_alive(&self.encodings[*at]));
        let chosen = match cap {
            LayerCap::High => alive.next(),
            LayerCap::Low => alive.next_back(),
            // Rather a worse one than a better one: who chooses has a reason.
            LayerCap::Chosen(Layers { encoding, .. }) => {
                let wanted = usize::from(encoding.unwrap_or(0));
                let mut all = alive.clone();
                all.find(|at| *at >= wanted).or_else(|| alive.next_back())
            }
        };
        chosen.map_or(0, |at| at as u8)
    }

    /// Keeps a packet for every local Subscriber; [`Self::fan_out`] sends it. Packets that arrive
    /// together leave together, viewer by viewer, so that the kernel gets them as one run. Returns
    /// whether as many wait as may.
    #[must_use]
    pub fn keep(&mut self, encoding: u8, packet: Packet<'_>) -> bool {
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
        state.last_at_us = Some(packet.meta.at_us);
        let (frame, (sid_max, tid_max)) = (&packet.meta.frame, &mut state.layers_max);
        (*sid_max, *tid_max) = ((*sid_max).max(frame.sid), (*tid_max).max(frame.tid));
        state
            .ring
            .get_or_insert_with(|| {
                if is_video {
                    PacketRing::new(ring::VIDEO_PACKETS, ring::VIDEO_BYTES)
                } else {
                    PacketRing::new(ring::AUDIO_PACKETS, ring::AUDIO_BYTES)
                }
            })
            .store(*packet.meta, packet.header, packet.payload);
        self.pending.push((encoding, packet.meta.seq));
        self.pending.len() >= PENDING_MAX
    }

    /// Sends what was kept to every local Subscriber whose Forwarder takes it.
    pub fn fan_out(&mut self, sending: &mut Sending<'_>) {
        if self.pending.is_empty() {
            return;
        }
        let Self { encodings, subscribers, pending, codec, .. } = self;
        let mut waiting = [None; PENDING_MAX];
        let mut count = 0;
        for (encoding, seq) in pending.drain(..) {
            let ring = encodings.get(usize::from(encoding)).and_then(|e| e.ring.as_ref());
            let found = ring.and_then(|ring| ring.get(seq));
            if let Some(packet) = found.and_then(|(meta, bytes)| Packet::split(meta, bytes))
                && let Some(place) = waiting.get_mut(count)
            {
                *place = Some(Waiting { encoding, packet, padding: 0 });
                count += 1;
            }
        }
        equalise(&mut waiting[..count]);
        let arrivals = waiting[..count].iter().flatten().map(|waiting| waiting.packet.meta.at_us);
        if let Some(oldest) = arrivals.min() {
            sending.outbox.begin_fan_out(oldest);
        }
        for subscriber in subscribers.iter_mut().flatten() {
            // Negotiated for another codec: the control plane will offer this one.
            if subscriber.forwarder.codec() != *codec {
                continue;
            }
            let Some(Some(egress)) = sending.egress.get_mut(subscriber.viewer) else {
                continue;
            };
            for Waiting { encoding, packet, padding } in waiting[..count].iter().flatten() {
                if packet.payload.is_empty() {
                    subscriber.forwarder.skip_empty(*encoding, packet.meta);
                    continue;
                }
                match subscriber.forwarder.place(*encoding, packet.meta) {
                    Ok(placement) => {
                        subscriber.waiting_since_us = None;
                        let (outbox, counters) = (&mut *sending.outbox, &mut *sending.counters);
                        let packet = Packet { padding: *padding, ..*packet };
                        send(subscriber, egress, &placement, packet, outbox, counters);
                    }
                    Err(Skip::NotWanted | Skip::TooOld) => {}
                }
            }
        }
        sending.outbox.end_fan_out();
    }

    /// Starts, or starts again, a Subscriber whose viewer is connected: chooses its Encoding and
    /// plays what the ring has since the last keyframe. Returns the Encoding of which a keyframe
    /// should be asked for.
    pub fn start(&mut self, at: usize, now_us: u64, sending: &mut Sending<'_>) -> Option<u8> {
        // What waits would otherwise go out twice: now from the ring, and later.
        self.fan_out(sending);
        let cap = self.subscribers.get(at)?.as_ref()?.forwarder.cap();
        let target = self.choose(cap, now_us);
        let is_audio = self.codec.kind() == MediaKind::Audio;
        let subscriber = self.subscribers.get_mut(at)?.as_mut()?;
        subscriber.forwarder.set_target(target);
        if is_audio || !subscriber.forwarder.needs_keyframe() {
            return None;
        }
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
            if run.end() - run.start() > REPLAY_PACKETS_MAX && !has_waited {
                return false;
            }
            let Sending { egress, outbox, counters } = sending;
            let Some(Some(egress)) = egress.get_mut(subscriber.viewer) else {
                return false;
            };
            for seq in run {
                let Some(packet) = ring.get(seq).and_then(|(meta, b)| Packet::split(meta, b))
                else {
                    continue;
                };
                if let Ok(placement) = subscriber.forwarder.place(target, packet.meta) {
                    send(subscriber, egress, &placement, packet, outbox, counters);
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
    pub fn tick(&mut self, now_us: u64, sending: &mut Sending<'_>, mut request: impl FnMut(u8)) {
        if self.codec.kind() == MediaKind::Audio {
            return;
        }
        let choices = [LayerCap::High, LayerCap::Low].map(|cap| self.choose(cap, now_us));
        for at in 0..self.subscribers.len() {
            let Some(Some(subscriber)) = self.subscribers.get(at) else {
                continue;
            };
            if !matches!(sending.egress.get(subscriber.viewer), Some(Some(_))) {
                continue;
            }
            let wanted = match subscriber.forwarder.cap() {
                LayerCap::High => choices[0],
                LayerCap::Low => choices[1],
                cap @ LayerCap::Chosen(_) => self.choose(cap, now_us),
            };
            if (wanted != subscriber.forwarder.target() || subscriber.forwarder.needs_keyframe())
                && let Some(encoding) = self.start(at, now_us, sending)
            {
                request(encoding);
            }
        }
    }

    /// Answers a NACK: sends the packet that went out under `seq_no` once more.
    pub fn retransmit(&mut self, at: usize, seq_no: u16, sending: &mut Sending<'_>) {
        let sent = self.try_retransmit(at, seq_no, sending);
        if sent.is_none() {
            sending.counters.drop(DropReason::NackRefused);
        }
    }

    fn try_retransmit(&mut self, at: usize, seq_no: u16, sending: &mut Sending<'_>) -> Option<()> {
        let subscriber = self.subscribers.get_mut(at)?.as_mut()?;
        let (encoding, seq_in) = subscriber.forwarder.find(seq_no)?;
        let ring = self.encodings.get(usize::from(encoding))?.ring.as_ref()?;
        let (meta, bytes) = ring.get(seq_in)?;
        let packet = Packet::split(meta, bytes)?;
        let placement = subscriber.forwarder.place_again(encoding, meta)?;
        let Sending { egress, outbox, counters } = sending;
        let egress = egress.get_mut(subscriber.viewer)?.as_mut()?;
        if !subscriber.may_retransmit(seq_no, bytes.len()) {
            return None;
        }
        match subscriber.rtx {
            Some(rtx) => {
                send_rtx(subscriber, rtx, egress, &placement, packet, outbox, counters);
            }
            // Elsewhere the repeated packet would differ in its hop fields: see `hop`.
            None if !subscriber.forwarder.repairs_in_place() => return None,
            None => send(subscriber, egress, &placement, packet, outbox, counters),
        }
        counters.retransmitted += 1;
        Some(())
    }
}

/// Chooses the padding that makes packets of one frame equally long, up to [`PADDING_MAX`].
fn equalise(waiting: &mut [Option<Waiting<'_>>]) {
    let frame = |waiting: &Option<Waiting<'_>>| {
        waiting.map(|w| (w.encoding, w.packet.meta.rtp_time, w.packet.header.len()))
    };
    let mut rest = waiting;
    while let Some(first) = rest.first() {
        let key = frame(first);
        let run = rest.iter().take_while(|other| frame(other) == key).count().max(1);
        let (packets, others) = rest.split_at_mut(run);
        let longest = packets.iter().flatten().map(|w| w.packet.payload.len()).max().unwrap_or(0);
        for waiting in packets.iter_mut().flatten() {
            let missing = longest - waiting.packet.payload.len();
            // An empty payload is for nobody.
            if missing <= PADDING_MAX && !waiting.packet.payload.is_empty() {
                waiting.padding = missing as u8;
            }
        }
        rest = others;
    }
}

/// RFC 3551, RFC 7587 and the video payload formats.
pub fn clock_hz(codec: Codec) -> u32 {
    match codec {
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::H264 => 90_000,
        Codec::Opus => 48_000,
        Codec::G722 | Codec::Pcmu | Codec::Pcma => 8_000,
    }
}
