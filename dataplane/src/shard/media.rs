//! A publisher's packet on its way in: opened, parsed, bound (`binding.rs`), accounted for, and handed to
//! its Source and to the lanes.

use std::time::Instant;

use super::binding::stream_of;
use super::routes::Home;
use super::{Shard, sending};
use crate::api::{Event, PublicationInfo};
use crate::canonical::{HEADER_BYTES_MAX, PACKET_BYTES_MAX, PacketMeta, write_header};
use crate::clock::SenderClock;
use crate::codec::{Codec, MediaKind};
use crate::descriptor;
use crate::extension::{Extension, ExtensionMap};
use crate::id::{PublicationId, ReaderId, ShardId};
use crate::lane::record::Record;
use crate::publication::Publication;
use crate::red;
use crate::rtp::RtpHeader;
use crate::sending::Packet;
use crate::source::clock_hz;
use crate::stats::DropReason;
use crate::transport::{Role, Stream};
use crate::voice::{Passed, VoiceReport};

/// Between two announcements of a Publication's codec.
const ANNOUNCE_AFTER_US: u64 = 1_000_000;

/// A packet with its place in its Encoding.
struct Received<'a> {
    header: RtpHeader,
    packet: &'a [u8],
    payload: &'a [u8],
    stream: Stream,
    seq: u64,
    pt: u8,
    arrival: Arrival,
}

/// How a packet came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrival {
    /// As itself.
    Own,
    /// As a retransmission (RFC 4588).
    Repair,
    /// In one that came after it (RFC 2198).
    Redundant,
}

/// A packet that goes on, and what it has shown.
struct Accepted {
    codec: Codec,
    meta: PacketMeta,
    /// How its stream's timestamps relate to our clock.
    clock: Option<SenderClock>,
    /// Its number for viewers, unless the Gate withholds it from them.
    passed: Option<Passed>,
    voice: Option<VoiceReport>,
}

/// Where a packet goes.
struct Delivery<'a> {
    /// The publisher's.
    slot: usize,
    publication: PublicationId,
    encoding: u8,
    /// How many Encodings the Publication has.
    encodings: usize,
    /// Who has it behind a lane.
    readers: u32,
    /// The canonical header.
    header: &'a [u8],
    payload: &'a [u8],
}

impl Shard {
    pub(super) fn handle_rtp(&mut self, home: Home, datagram: &mut [u8], at_us: u64, now: Instant) {
        if let Err(reason) = self.try_rtp(home, datagram, at_us, now) {
            self.count(reason);
        }
    }

    fn try_rtp(
        &mut self,
        home: Home,
        datagram: &mut [u8],
        at_us: u64,
        now: Instant,
    ) -> Result<(), DropReason> {
        let slot = home.slot;
        let header = RtpHeader::parse(datagram).ok_or(DropReason::BadRtp)?;
        let transport = self.transports.get_mut(slot).ok_or(DropReason::NotReady)?;
        let opener = transport.opener.as_mut().ok_or(DropReason::NotReady)?;
        let (len, index) =
            opener.open_rtp(datagram, header.header_len).ok_or(DropReason::SrtpDenied)?;
        transport.hear(home.path, now);
        let size = datagram.len();
        let packet = datagram.get(..len).ok_or(DropReason::BadRtp)?;
        let Role::Publisher(publisher) = &mut transport.role else {
            return Err(DropReason::NotReady);
        };
        let stream = stream_of(publisher, &header, packet, at_us)?;
        let known = publisher.publication(stream.m_line).ok_or(DropReason::UnknownSsrc)?;
        self.statistics.counters.rtp_in.of(known.kind).count(size);
        let Some(received) = receive(known, stream, header, packet, index)? else {
            return Ok(());
        };
        let carried = known.section.format(received.pt).and_then(|format| format.own_of_red());
        match carried {
            // Padding alone, with which publishers probe: it is nobody's sound, but it has a number.
            Some(pt) if received.payload.is_empty() => {
                self.take(slot, &Received { pt, ..received }, at_us)
            }
            Some(_) => self.take_redundant(slot, &received, at_us),
            None => self.take(slot, &received, at_us),
        }
    }

    /// Redundant sound: what was lost of the packets before it, then its own.
    fn take_redundant(
        &mut self,
        slot: usize,
        received: &Received<'_>,
        at_us: u64,
    ) -> Result<(), DropReason> {
        let parts = red::Parts::read(received.payload).ok_or(DropReason::BadRtp)?;
        let (pt, own) = parts.own;
        for (back, distance, payload) in parts.earlier() {
            let Some(seq) = self.lost_before(slot, received, back, distance) else { continue };
            let mut header = received.header;
            header.rtp_time = header.rtp_time.wrapping_sub(distance);
            // What else its header had is lost.
            (header.marker, header.extension) = (false, None);
            let arrival = Arrival::Redundant;
            let lost = Received { header, payload, seq, pt, arrival, ..*received };
            if let Err(reason) = self.take(slot, &lost, at_us) {
                self.count(reason);
            }
        }
        self.take(slot, &Received { payload: own, pt, ..*received }, at_us)
    }

    /// The number of a packet that was lost and comes in this one.
    fn lost_before(
        &mut self,
        slot: usize,
        received: &Received<'_>,
        back: u64,
        distance: u32,
    ) -> Option<u64> {
        let Role::Publisher(publisher) = &mut self.transports.get_mut(slot)?.role else {
            return None;
        };
        let Stream { m_line, encoding, .. } = received.stream;
        let encoding = publisher.publication(m_line)?.encodings.get(usize::from(encoding))?;
        encoding.lost_before((received.seq, received.header.rtp_time), back, distance)
    }

    /// Takes in a packet of a publisher's, however it came.
    fn take(&mut self, slot: usize, received: &Received<'_>, at_us: u64) -> Result<(), DropReason> {
        let transport = self.transports.get_mut(slot).ok_or(DropReason::NotReady)?;
        let id = transport.id;
        let Role::Publisher(publisher) = &mut transport.role else {
            return Err(DropReason::NotReady);
        };
        let Stream { m_line, encoding, .. } = received.stream;
        let extensions = publisher.extensions;
        let known = publisher.publication(m_line).ok_or(DropReason::UnknownSsrc)?;
        let mut header = [0; HEADER_BYTES_MAX];
        let accepted = accept(known, received, &extensions, at_us, &mut header)?;
        let publication = PublicationId { transport: id, m_line };
        if known.announced != Some(accepted.codec) {
            known.announced = Some(accepted.codec);
            known.announced_at_us = at_us;
            let info = info((publication, self.config.id), known, accepted.codec, received.pt);
            self.events.push(Event::Published { transport: id, publication: info });
        }
        let delivery = Delivery {
            slot,
            publication,
            encoding,
            encodings: known.encodings.len(),
            readers: known.readers,
            header: &header[..usize::from(accepted.meta.header_len)],
            payload: received.payload,
        };
        self.deliver(&delivery, &accepted);
        if let Some(report) = accepted.voice {
            self.tell_voice(slot, publication, report);
        }
        Ok(())
    }

    /// Hands a packet to the recorder, to the local viewers, and once to each other shard that has some.
    fn deliver(&mut self, delivery: &Delivery<'_>, accepted: &Accepted) {
        let Delivery { slot, publication, encoding, encodings, readers, header, payload } =
            *delivery;
        let Accepted { codec, meta, clock, passed, .. } = *accepted;
        let Self { transports, sources, lanes, pacing, outbox, statistics, time, .. } = self;
        let counters = &mut statistics.counters;
        let (source, gathering) = sources.of_publisher(slot, publication, (codec, encodings));
        if let Some(clock) = clock.filter(|clock| source.clock(encoding) != Some(*clock)) {
            source.set_clock(encoding, clock);
            lanes.push_clock(readers, (publication, encoding), clock);
        }
        let record = Record::Packet { publication, encoding, codec, meta, header, payload };
        let recorder = readers & ReaderId::Recorder.bit();
        if recorder != 0 {
            lanes.push_packet(recorder, &record, counters);
        }
        let Some(Passed { seq, is_first }) = passed else {
            return;
        };
        let meta = PacketMeta { seq, marker: meta.marker || is_first, ..meta };
        let is_full = source.keep(encoding, Packet { meta: &meta, header, payload, padding: 0 });
        let shards = readers & !recorder;
        let until_us = gathering.may_wait(meta.at_us, source.live, shards != 0);
        gathering.add(publication, until_us);
        if is_full {
            source.fan_out(&mut sending(transports, pacing, outbox, counters, time.now_us));
        }
        if shards != 0 {
            let record = Record::Packet { publication, encoding, codec, meta, header, payload };
            lanes.push_packet(shards, &record, counters);
        }
    }
}

/// What viewers must know; built only when it is announced.
fn info(
    (id, shard): (PublicationId, ShardId),
    publication: &Publication,
    codec: Codec,
    pt: u8,
) -> PublicationInfo {
    let format = publication.section.format(pt);
    PublicationInfo {
        id,
        shard,
        kind: publication.kind,
        codec,
        fmtp: format.map(|format| format.fmtp.clone()).unwrap_or_default(),
        track_id: publication.section.msid.1.clone(),
        rids: publication.section.rids.clone(),
    }
}

/// Finds out what a packet of a known stream is; `None` for what carries no media.
fn receive<'a>(
    publication: &Publication,
    stream: Stream,
    header: RtpHeader,
    packet: &'a [u8],
    index: u64,
) -> Result<Option<Received<'a>>, DropReason> {
    let (start, end) = header.payload(packet).ok_or(DropReason::BadRtp)?;
    let payload = packet.get(start..end).ok_or(DropReason::BadRtp)?;
    let encoding = publication.encodings.get(usize::from(stream.encoding));
    if !stream.is_rtx {
        let pt = header.pt;
        let seq = index + encoding.ok_or(DropReason::UnknownSsrc)?.seq_base;
        let arrival = Arrival::Own;
        return Ok(Some(Received { header, packet, payload, stream, seq, pt, arrival }));
    }
    // RFC 4588 s4: the original sequence number, then the original payload. Empty ones are
    // bandwidth probes.
    let Some((osn, payload)) = payload.split_first_chunk() else {
        return Ok(None);
    };
    let apt = publication.section.format(header.pt).and_then(|format| format.apt());
    let pt = apt.ok_or(DropReason::UnknownPt)?;
    let encoding = encoding.ok_or(DropReason::UnknownSsrc)?;
    let seq = encoding.extend(u16::from_be_bytes(*osn)).ok_or(DropReason::NoPayload)?;
    let arrival = Arrival::Repair;
    Ok(Some(Received { header, packet, payload, stream, seq, pt, arrival }))
}

/// Accounts for a packet, and writes its canonical header into `out`.
fn accept(
    publication: &mut Publication,
    received: &Received<'_>,
    extensions: &ExtensionMap,
    at_us: u64,
    out: &mut [u8; HEADER_BYTES_MAX],
) -> Result<Accepted, DropReason> {
    let format = publication.section.format(received.pt).ok_or(DropReason::UnknownPt)?;
    let codec = format.codec.ok_or(DropReason::UnknownPt)?;
    let has_nack = format.has_nack;
    let encoding = publication
        .encodings
        .get_mut(usize::from(received.stream.encoding))
        .ok_or(DropReason::UnknownSsrc)?;
    // Whoever flips between codecs makes work for everybody: once per second is enough.
    let is_flip = publication.announced.is_some_and(|announced| announced != codec);
    if is_flip && at_us.saturating_sub(publication.announced_at_us) < ANNOUNCE_AFTER_US {
        return Err(DropReason::UnknownPt);
    }
    let rtp_time = received.header.rtp_time;
    let is_own = received.arrival == Arrival::Own;
    if !encoding.accept_once(received.seq) {
        // It was overtaken, and not lost.
        if is_own && encoding.was_recovered(received.seq) {
            encoding.receive(received.seq, rtp_time, at_us, false, has_nack);
        }
        return Err(DropReason::NoPayload);
    }
    let mut frame = descriptor::parse(codec, received.payload);
    // Where it is not needed it is not passed on: viewers would go by it alone, and only what is in the
    // payload is rewritten for them.
    let id = extensions.id_of(Extension::DependencyDescriptor);
    let raw = id.filter(|_| frame.needs_descriptor(codec));
    let raw = raw.and_then(|id| received.header.element(received.packet, id));
    let descriptor = raw.map(|raw| match encoding.dependencies.canonical(raw) {
        Some((described, canonical)) => {
            frame.describe(codec, &described);
            canonical
        }
        None => raw,
    });
    let written = write_header(&received.header, received.packet, extensions, descriptor, out)
        .ok_or(DropReason::BadRtp)?;
    encoding.clock_hz = clock_hz(codec);
    match received.arrival {
        // The publisher shall hear that it was lost.
        Arrival::Redundant => encoding.note_recovered(received.seq),
        Arrival::Own | Arrival::Repair => {
            encoding.receive(received.seq, rtp_time, at_us, !is_own, has_nack);
        }
    }
    encoding.count_octets(received.payload.len());
    if frame.is_keyframe {
        encoding.is_keyframe_wanted = false;
    }
    let timed = !encoding.has_sender_report() && is_own;
    let clock = timed.then(|| encoding.arrivals.note(rtp_time, at_us, encoding.clock_hz));
    if written.len + received.payload.len() > PACKET_BYTES_MAX {
        return Err(DropReason::NotOurs);
    }
    let is_sound = publication.kind == MediaKind::Audio;
    let passed = match is_sound {
        true => publication.gate.pass(received.seq),
        false => Some(Passed { seq: received.seq, is_first: false }),
    };
    let level = written.level.filter(|_| is_sound && is_own);
    let voice = level.and_then(|level| publication.voice.hear(level, at_us));
    let meta = PacketMeta {
        seq: received.seq,
        rtp_time,
        at_us,
        marker: received.header.marker,
        is_two_byte: written.is_two_byte,
        header_len: written.len as u16,
        dependency_at: written.dependency_at,
        frame,
    };
    Ok(Accepted { codec, meta, clock, passed, voice })
}
