//! A publisher's packet on its way in: open, parse, bind, account, and hand to every Source.

use std::time::Instant;

use super::Shard;
use crate::api::{Event, PublicationInfo};
use crate::canonical::{HEADER_BYTES_MAX, PACKET_BYTES_MAX, PacketMeta, write_header};
use crate::clock::{self, SenderClock};
use crate::descriptor;
use crate::extension::Extension;
use crate::id::{PublicationId, ShardId};
use crate::publication::{Encoding, Publication};
use crate::record::{self, Record};
use crate::rtp::RtpHeader;
use crate::sending::Packet;
use crate::source::{Source, clock_hz};
use crate::stats::DropReason;
use crate::transport::{Publisher, Role, STREAMS_MAX, Stream, Transport};

/// A bound SSRC must have been silent this long before another takes its Encoding (RFC 3550 s8.2).
const REBIND_AFTER_US: u64 = 500_000;

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
    is_repair: bool,
}

impl Shard {
    pub(super) fn handle_rtp(
        &mut self,
        slot: usize,
        datagram: &mut [u8],
        at_us: u64,
        now: Instant,
    ) {
        if let Err(reason) = self.try_rtp(slot, datagram, at_us, now) {
            self.count(reason);
        }
    }

    fn try_rtp(
        &mut self,
        slot: usize,
        datagram: &mut [u8],
        at_us: u64,
        now: Instant,
    ) -> Result<(), DropReason> {
        let header = RtpHeader::parse(datagram).ok_or(DropReason::BadRtp)?;
        let transport =
            self.slots.get_mut(slot).and_then(Option::as_mut).ok_or(DropReason::NotReady)?;
        let opener = transport.opener.as_mut().ok_or(DropReason::NotReady)?;
        let (len, index) =
            opener.open_rtp(datagram, header.header_len).ok_or(DropReason::SrtpDenied)?;
        transport.heard_at = now;
        transport.is_silence_told = false;
        let size = datagram.len();
        let packet = datagram.get(..len).ok_or(DropReason::BadRtp)?;
        let id = transport.id;
        let Role::Publisher(publisher) = &mut transport.role else {
            return Err(DropReason::NotReady);
        };
        let stream = stream_of(publisher, &header, packet, at_us)?;
        let kind = publisher.publication(stream.m_line).ok_or(DropReason::UnknownSsrc)?.kind;
        self.counters.rtp_in.of(kind).count(size);
        let Some(received) = receive(publisher, stream, header, packet, index)? else {
            return Ok(());
        };
        self.forward(slot, id, &received, at_us)
    }

    fn forward(
        &mut self,
        slot: usize,
        id: crate::id::TransportId,
        received: &Received<'_>,
        at_us: u64,
    ) -> Result<(), DropReason> {
        let Some(Some(Transport { role: Role::Publisher(publisher), .. })) =
            self.slots.get_mut(slot)
        else {
            return Err(DropReason::NotReady);
        };
        let Stream { m_line, encoding: encoding_index, .. } = received.stream;
        let extensions = publisher.extensions;
        let publication = publisher.publication(m_line).ok_or(DropReason::UnknownSsrc)?;
        let format = publication.section.format(received.pt).ok_or(DropReason::UnknownPt)?;
        let codec = format.codec.ok_or(DropReason::UnknownPt)?;
        let has_nack = format.has_nack;
        let encoding = publication
            .encodings
            .get_mut(usize::from(encoding_index))
            .ok_or(DropReason::UnknownSsrc)?;
        // Whoever flips between codecs makes work for everybody: once per second is enough.
        let is_flip = publication.announced.is_some_and(|announced| announced != codec);
        if is_flip && at_us.saturating_sub(publication.announced_at_us) < ANNOUNCE_AFTER_US {
            return Err(DropReason::UnknownPt);
        }
        if !encoding.accept_once(received.seq) {
            return Err(DropReason::NoPayload);
        }
        let is_first = !encoding.has_received();
        let frame = descriptor::parse(codec, received.payload);
        encoding.clock_hz = clock_hz(codec);
        let rtp_time = received.header.rtp_time;
        encoding.receive(received.seq, rtp_time, at_us, received.is_repair, has_nack);
        encoding.count_octets(received.payload.len());
        if frame.is_keyframe {
            encoding.is_keyframe_wanted = false;
        }
        let mut header = [0; HEADER_BYTES_MAX];
        let (header_len, is_two_byte) =
            write_header(&received.header, received.packet, &extensions, &mut header)
                .ok_or(DropReason::BadRtp)?;
        if header_len + received.payload.len() > PACKET_BYTES_MAX {
            return Err(DropReason::NotOurs);
        }
        let meta = PacketMeta {
            seq: received.seq,
            rtp_time,
            at_us,
            marker: received.header.marker,
            is_two_byte,
            header_len: header_len as u16,
            frame,
        };
        let pub_id = PublicationId { transport: id, m_line };
        if publication.announced != Some(codec) {
            publication.announced = Some(codec);
            publication.announced_at_us = at_us;
            let info = info(pub_id, publication, codec, received.pt);
            self.events.push(Event::Published { transport: id, publication: info });
        }
        let encodings = publication.encodings.len();
        let has_reports = publication
            .encodings
            .get(usize::from(encoding_index))
            .is_some_and(Encoding::has_sender_report);
        let source = self.sources.entry(pub_id).or_insert_with(|| Source::new(codec, encodings));
        source.set_codec(codec);
        source.ensure_encodings(encodings);
        if !has_reports && !received.is_repair {
            // Another SSRC has another timeline.
            let known = source.clock(encoding_index).filter(|_| !is_first);
            let clock = clock::from_arrival(known, rtp_time, at_us, clock_hz(codec));
            if known != Some(clock) {
                self.set_clock(pub_id, encoding_index, clock);
            }
        }
        let (header, payload) = (&header[..header_len], received.payload);
        let packet = Packet { meta: &meta, header, payload, padding: 0 };
        self.deliver_home(pub_id, encoding_index, packet);
        Ok(())
    }

    /// Hands a packet to the local viewers, and once to each other shard that has any.
    fn deliver_home(&mut self, publication: PublicationId, encoding: u8, packet: Packet<'_>) {
        let Some(source) = self.sources.get_mut(&publication) else {
            return;
        };
        let codec = source.codec;
        let is_full = source.keep(encoding, packet);
        self.mark_dirty(publication);
        if is_full {
            self.fan_out(publication);
        }
        let mut mask = self.remote.get(&publication).copied().unwrap_or(0);
        if mask == 0 {
            return;
        }
        let Packet { meta, header, payload, .. } = packet;
        let mut whole = [0; PACKET_BYTES_MAX];
        let len = header.len() + payload.len();
        whole[..header.len()].copy_from_slice(header);
        whole[header.len()..len].copy_from_slice(payload);
        let record =
            Record::Packet { publication, encoding, codec, meta: *meta, bytes: &whole[..len] };
        while mask != 0 {
            let shard = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            let Some(Some(lane)) = self.lanes.get_mut(shard) else {
                continue;
            };
            if record::push(lane, &record) {
                self.counters.lane_out += 1;
            } else {
                self.counters.drop_from_lane(ShardId(shard as u8));
            }
        }
    }

    /// Records a stream's clock relation here and on all shards with viewers.
    pub(super) fn set_clock(
        &mut self,
        publication: PublicationId,
        encoding: u8,
        clock: SenderClock,
    ) {
        if let Some(source) = self.sources.get_mut(&publication) {
            source.set_clock(encoding, clock);
        }
        let mask = self.remote.get(&publication).copied().unwrap_or(0);
        for (shard, lane) in self.lanes.iter_mut().enumerate() {
            if let (Some(lane), true) = (lane, mask >> shard & 1 != 0) {
                // Repeated with the next report.
                let _ = record::push(lane, &Record::Clock { publication, encoding, clock });
            }
        }
    }
}

/// What viewers must know; built only when it is announced.
fn info(
    id: PublicationId,
    publication: &Publication,
    codec: crate::api::Codec,
    pt: u8,
) -> PublicationInfo {
    let format = publication.section.format(pt);
    PublicationInfo {
        id,
        kind: publication.kind,
        codec,
        fmtp: format.map(|format| format.fmtp.clone()).unwrap_or_default(),
        track_id: publication.section.msid.1.clone(),
        rids: publication.section.rids.clone(),
    }
}

/// Finds out where an authentic packet belongs, and notes its arrival for the feedback.
fn stream_of(
    publisher: &mut Publisher,
    header: &RtpHeader,
    packet: &[u8],
    at_us: u64,
) -> Result<Stream, DropReason> {
    if publisher.arrivals.is_some() {
        let extensions = publisher.extensions;
        let mut elements = header.elements(packet);
        let twcc = elements.find(|(id, _)| extensions.get(*id) == Some(Extension::Twcc));
        if let (Some((_, [high, low])), Some(arrivals)) = (twcc, publisher.arrivals.as_mut()) {
            arrivals.record(u16::from_be_bytes([*high, *low]), at_us, packet.len());
        }
    }
    match publisher.stream(header.ssrc) {
        Some(stream) => Ok(stream),
        None => bind(publisher, header, packet, at_us).ok_or(DropReason::UnknownSsrc),
    }
}

/// Finds out what a packet of a known stream is; `None` for what carries no media.
fn receive<'a>(
    publisher: &mut Publisher,
    stream: Stream,
    header: RtpHeader,
    packet: &'a [u8],
    index: u64,
) -> Result<Option<Received<'a>>, DropReason> {
    let (start, end) = header.payload(packet).ok_or(DropReason::BadRtp)?;
    let payload = packet.get(start..end).ok_or(DropReason::BadRtp)?;
    if !stream.is_rtx {
        let pt = header.pt;
        let publication = publisher.publication(stream.m_line).ok_or(DropReason::UnknownSsrc)?;
        let bound = publication.encodings.get(usize::from(stream.encoding));
        let seq = index + bound.ok_or(DropReason::UnknownSsrc)?.seq_base;
        return Ok(Some(Received { header, packet, payload, stream, seq, pt, is_repair: false }));
    }
    // RFC 4588 s4: the original sequence number, then the original payload. Empty ones are
    // bandwidth probes.
    let Some((osn, payload)) = payload.split_first_chunk() else {
        return Ok(None);
    };
    let publication = publisher.publication(stream.m_line).ok_or(DropReason::UnknownSsrc)?;
    let apt = publication.section.format(header.pt).and_then(|format| format.apt());
    let pt = apt.ok_or(DropReason::UnknownPt)?;
    let encoding =
        publication.encodings.get(usize::from(stream.encoding)).ok_or(DropReason::UnknownSsrc)?;
    let seq = encoding.extend(u16::from_be_bytes(*osn)).ok_or(DropReason::NoPayload)?;
    Ok(Some(Received { header, packet, payload, stream, seq, pt, is_repair: true }))
}

/// RFC 9143 s9.2: a new SSRC is bound by its MID (and RID), else by what was signalled, else by a
/// payload type that only one m-section has.
fn bind(
    publisher: &mut Publisher,
    header: &RtpHeader,
    packet: &[u8],
    at_us: u64,
) -> Option<Stream> {
    if publisher.streams.len() >= STREAMS_MAX {
        return None;
    }
    let (mut mid, mut rid, mut repaired) = (None, None, None);
    for (id, value) in header.elements(packet) {
        let value = std::str::from_utf8(value).ok();
        match publisher.extensions.get(id) {
            Some(Extension::Mid) => mid = value,
            Some(Extension::Rid) => rid = value,
            Some(Extension::RepairedRid) => repaired = value,
            _ => {}
        }
    }
    let sections = || {
        publisher
            .publications
            .iter()
            .enumerate()
            .filter_map(|(m_line, publication)| Some((m_line, publication.as_ref()?)))
    };
    let ssrc = header.ssrc;
    let by_mid = mid.and_then(|mid| sections().find(|(_, p)| p.section.mid == mid));
    let by_signalling = || sections().find(|(_, p)| p.section.ssrcs.contains(&ssrc));
    let by_pt = || {
        let mut with_pt = sections().filter(|(_, p)| p.section.format(header.pt).is_some());
        with_pt.next().filter(|_| with_pt.next().is_none())
    };
    let (m_line, publication) = by_mid.or_else(by_signalling).or_else(by_pt)?;
    let format = publication.section.format(header.pt)?;
    let is_rtx = format.is_rtx;
    let encoding = match (rid, repaired) {
        (Some(rid), _) | (None, Some(rid)) => {
            publication.section.rids.iter().position(|known| known == rid)?
        }
        // A simulcast stream without its rid cannot be told from its siblings.
        (None, None) if publication.encodings.len() > 1 => return None,
        (None, None) => 0,
    };
    let m_line = u8::try_from(m_line).ok()?;
    let stream = Stream { ssrc, m_line, encoding: encoding as u8, is_rtx };
    let bound = publisher.publication(m_line)?.encodings.get_mut(encoding)?;
    let previous = if is_rtx { bound.rtx_ssrc.replace(ssrc) } else { bound.ssrc };
    if !is_rtx {
        let is_busy = bound.has_received()
            && previous != Some(ssrc)
            && at_us.saturating_sub(bound.last_at_us) < REBIND_AFTER_US;
        if is_busy {
            return None;
        }
        bound.rebind(ssrc);
    }
    publisher.streams.retain(|known| Some(known.ssrc) != previous);
    publisher.streams.push(stream);
    Some(stream)
}
