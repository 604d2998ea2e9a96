//! The fan-out of a Source: what has been kept since the last one, viewer by viewer.

use super::{PENDING_MAX, Source, SourceEncoding};
use crate::codec::{Codec, MediaKind};
use crate::egress::{Egress, Paced};
use crate::forward::{Placement, Skip};
use crate::ring::PacketRing;
use crate::sending::{Batch, Packet, Sending, send, send_red};
use crate::stats::{Counters, DropReason};
use crate::subscriber::Subscriber;

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

impl Source {
    /// Sends what was kept to every local Subscriber whose Forwarder takes it.
    pub(crate) fn fan_out(&mut self, sending: &mut Sending<'_>) {
        self.fan_out_beside(None, sending);
    }

    /// The same for pictures and the sound beside them, which follows them viewer by viewer: a short
    /// packet can be the last one of a run.
    pub(crate) fn fan_out_with(&mut self, sound: &mut Self, sending: &mut Sending<'_>) {
        self.fan_out_beside(Some(sound), sending);
    }

    fn fan_out_beside(&mut self, sound: Option<&mut Self>, sending: &mut Sending<'_>) {
        let Self { encodings, subscribers, pending, codec, .. } = self;
        let gathered = Gathered::new(*codec, encodings, pending);
        let Some(sound) = sound else {
            sending.batch.outbox.begin_fan_out(gathered.oldest_us());
            subscribers.iter_mut().flatten().for_each(|one| gathered.serve(one, sending));
            sending.batch.outbox.end_fan_out();
            return;
        };
        let Self { encodings, subscribers: hearers, pending, codec, .. } = sound;
        let sounds = Gathered::new(*codec, encodings, pending);
        sending.batch.outbox.begin_fan_out(gathered.oldest_us().min(sounds.oldest_us()));
        // Who sees and hears somebody mostly has the same place among both.
        let places = subscribers.len().max(hearers.len());
        let viewer_of = |list: &[Option<Subscriber>], at: usize| {
            list.get(at).and_then(Option::as_ref).map(|subscriber| subscriber.viewer)
        };
        for at in 0..places {
            if let Some(Some(viewer)) = subscribers.get_mut(at) {
                gathered.serve(viewer, sending);
            }
            if viewer_of(subscribers, at) == viewer_of(hearers, at)
                && let Some(Some(hearer)) = hearers.get_mut(at)
            {
                sounds.serve(hearer, sending);
            }
        }
        for at in 0..hearers.len() {
            if viewer_of(subscribers, at) != viewer_of(hearers, at)
                && let Some(Some(hearer)) = hearers.get_mut(at)
            {
                sounds.serve(hearer, sending);
            }
        }
        sending.batch.outbox.end_fan_out();
    }
}

/// What has been kept since the last fan-out, ready for any Subscriber.
struct Gathered<'a> {
    codec: Codec,
    encodings: &'a [SourceEncoding],
    waiting: [Option<Waiting<'a>>; PENDING_MAX],
    count: usize,
}

impl<'a> Gathered<'a> {
    fn new(codec: Codec, encodings: &'a [SourceEncoding], pending: &mut Vec<(u8, u64)>) -> Self {
        let (mut waiting, mut count) = ([None; PENDING_MAX], 0);
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
        Self { codec, encodings, waiting, count }
    }

    fn packets(&self) -> impl Iterator<Item = &Waiting<'a>> {
        self.waiting[..self.count].iter().flatten()
    }

    /// When the first of them had arrived.
    fn oldest_us(&self) -> u64 {
        self.packets().map(|waiting| waiting.packet.meta.at_us).min().unwrap_or(u64::MAX)
    }

    /// Sends one Subscriber what its Forwarder takes, or lets it wait for its turn.
    fn serve(&self, subscriber: &mut Subscriber, sending: &mut Sending<'_>) {
        // Negotiated for another codec: the control plane will offer this one.
        if subscriber.forwarder.codec() != self.codec {
            return;
        }
        let Some(Some(egress)) = sending.egress.get_mut(subscriber.viewer) else {
            return;
        };
        let is_paced = self.codec.kind() == MediaKind::Video;
        for Waiting { encoding, packet, padding } in self.packets() {
            if packet.payload.is_empty() {
                subscriber.forwarder.skip_empty(*encoding, packet.meta);
                continue;
            }
            let placement = match subscriber.forwarder.place(*encoding, packet.meta) {
                Ok(placement) => placement,
                Err(Skip::NotWanted | Skip::TooOld) => continue,
            };
            subscriber.waiting_since_us = None;
            if is_paced && !egress.may_send(sending.batch.now_us) {
                let Batch { counters, .. } = &mut sending.batch;
                let waiting = Waiting { encoding: *encoding, packet: *packet, padding: *padding };
                wait(subscriber, egress, waiting, placement, sending.pacing, counters);
                continue;
            }
            let batch = &mut sending.batch;
            if subscriber.red_blocks > 0 {
                let ring = self.encodings.get(usize::from(*encoding));
                if let Some(ring) = ring.and_then(|e| e.ring.as_ref()) {
                    let earlier = earlier_packets(ring, packet, subscriber.red_blocks);
                    send_red(subscriber, egress, &placement, *packet, earlier, batch);
                    continue;
                }
            }
            let packet = Packet { padding: *padding, ..*packet };
            send(subscriber, egress, &placement, packet, batch);
        }
    }
}

/// Lets a packet wait for its turn. Apart, so that the packets of those who need not wait go by quickly.
#[cold]
#[inline(never)]
fn wait(
    subscriber: &Subscriber,
    egress: &mut Egress,
    waiting: Waiting<'_>,
    placement: Placement,
    pacing: &mut Vec<usize>,
    counters: &mut Counters,
) {
    let Waiting { encoding, packet, padding } = waiting;
    let ((publication, at), ssrc) = (subscriber.key, subscriber.ssrc);
    let seq = packet.meta.seq;
    let since_us = packet.meta.at_us;
    let paced = Paced { publication, at, ssrc, encoding, seq, padding, placement, since_us };
    if egress.paced.is_empty() {
        pacing.push(subscriber.viewer);
    }
    if !egress.wait(paced) {
        counters.drop(DropReason::PaceFull);
    }
}

/// Timestamps and payloads of the packets before one, the oldest first.
fn earlier_packets<'a>(
    ring: &'a PacketRing,
    packet: &Packet<'_>,
    count: u8,
) -> impl Iterator<Item = (u32, &'a [u8])> + Clone + use<'a> {
    let seq = packet.meta.seq;
    (1..=u64::from(count)).rev().filter_map(move |back| {
        let (meta, bytes) = ring.get(seq.checked_sub(back)?)?;
        Some((meta.rtp_time, Packet::split(meta, bytes)?.payload))
    })
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
