//! A publisher's packet on its way in: open, parse, bind, account, and hand to every Source.

use std::time::Instant;

use super::Shard;
use super::paths::Home;
use crate::api::{Event, PublicationInfo};
use crate::canonical::{HEADER_BYTES_MAX, PACKET_BYTES_MAX, PacketMeta, Written, write_header};
use crate::clock::SenderClock;
use crate::codec::{Codec, MediaKind};
use crate::descriptor;
use crate::extension::Extension;
use crate::id::{PublicationId, ReaderId};
use crate::lane::record::{self, Record};
use crate::publication::Publication;
use crate::rtp::RtpHeader;
use crate::sending::Packet;
use crate::source::{Source, clock_hz};
use crate::stats::DropReason;
use crate::transport::{Publisher, Role, STREAMS_MAX, Stream, Transport};
use crate::voice::Passed;

/// A bound SSRC must have been silent this long before another takes its Encoding, unless that one
/// says by its mid where it belongs; and one that was replaced does not come back sooner.
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
        let transport =
            self.slots.get_mut(slot).and_then(Option::as_mut).ok_or(DropReason::NotReady)?;
        let opener = transport.opener.as_mut().ok_or(DropReason::NotReady)?;
        let (len, index) =
            opener.open_rtp(datagram, header.header_len).ok_or(DropReason::SrtpDenied)?;
        transport.hear(home.path, now);
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

    #[expect(clippy::too_many_lines, reason = "the path of a packet, in its order")]
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
        let mut header = [0; HEADER_BYTES_MAX];
        let written = write_header(&received.header, received.packet, &extensions, &mut header)
            .ok_or(DropReason::BadRtp)?;
        let Written { len: header_len, is_two_byte, dependency, level } = written;
        let (dependency_at, dependency_len) = dependency;
        let mut frame = descriptor::parse(codec, received.payload);
        if dependency_at != 0 {
            let at = usize::from(dependency_at);
            let described = &header[at..at + usize::from(dependency_len)];
            if let Some(described) = encoding.dependencies.read(described) {
                frame.describe(codec, &described);
            }
        }
        encoding.clock_hz = clock_hz(codec);
        let rtp_time = received.header.rtp_time;
        encoding.receive(received.seq, rtp_time, at_us, received.is_repair, has_nack);
        encoding.count_octets(received.payload.len());
        if frame.is_keyframe {
            encoding.is_keyframe_wanted = false;
        }
        let timed = !encoding.has_sender_report() && !received.is_repair;
        let clock = timed.then(|| encoding.arrivals.note(rtp_time, at_us, encoding.clock_hz));
        if header_len + received.payload.len() > PACKET_BYTES_MAX {
            return Err(DropReason::NotOurs);
        }
        let is_sound = publication.kind == MediaKind::Audio;
        let passed = match is_sound {
            true => publication.gate.pass(received.seq),
            false => Some(Passed { seq: received.seq, is_first: false }),
        };
        let voice = level.filter(|_| is_sound && !received.is_repair);
        let voice = voice.and_then(|level| publication.voice.hear(level, at_us));
        let meta = PacketMeta {
            seq: received.seq,
            rtp_time,
            at_us,
            marker: received.header.marker,
            is_two_byte,
            header_len: header_len as u16,
            dependency_at,
            frame,
        };
        let pub_id = PublicationId { transport: id, m_line };
        if publication.announced != Some(codec) {
            publication.announced = Some(codec);
            publication.announced_at_us = at_us;
            let info = info(pub_id, publication, codec, received.pt);
            self.events.push(Event::Published { transport: id, publication: info });
        }
        let (encodings, readers) = (publication.encodings.len(), publication.readers);
        let source = self.sources.entry(pub_id).or_insert_with(|| Source::new(codec, encodings));
        source.set_codec(codec);
        source.ensure_encodings(encodings);
        if let Some(clock) = clock
            && source.clock(encoding_index) != Some(clock)
        {
            self.set_clock(pub_id, encoding_index, clock);
        }
        if let Some(report) = voice {
            self.tell_voice(pub_id, report);
        }
        let (header, payload) = (&header[..header_len], received.payload);
        let packet = Packet { meta: &meta, header, payload, padding: 0 };
        let recorder = readers & ReaderId::Recorder.bit();
        if recorder != 0 {
            self.deliver_readers(pub_id, (encoding_index, codec), packet, recorder);
        }
        if let Some(Passed { seq, is_first }) = passed {
            let meta = PacketMeta { seq, marker: meta.marker || is_first, ..meta };
            let packet = Packet { meta: &meta, ..packet };
            self.deliver_home(pub_id, (encoding_index, codec), packet, readers & !recorder);
        }
        Ok(())
    }

    /// Hands a packet to the local viewers, and once to each of the other `shards` that have some.
    fn deliver_home(
        &mut self,
        publication: PublicationId,
        (encoding, codec): (u8, Codec),
        packet: Packet<'_>,
        shards: u32,
    ) {
        let Some(source) = self.sources.get_mut(&publication) else {
            return;
        };
        let (is_full, viewers) = (source.keep(encoding, packet), source.live);
        let until_us = self.gather_until(packet.meta.at_us, viewers, shards != 0);
        self.kept(publication, until_us, is_full);
        if shards != 0 {
            self.deliver_readers(publication, (encoding, codec), packet, shards);
        }
    }

    /// Puts a packet into the lanes of these readers.
    fn deliver_readers(
        &mut self,
        publication: PublicationId,
        (encoding, codec): (u8, Codec),
        packet: Packet<'_>,
        readers: u32,
    ) {
        let Packet { meta, header, payload, .. } = packet;
        let mut whole = [0; PACKET_BYTES_MAX];
        let len = header.len() + payload.len();
        whole[..header.len()].copy_from_slice(header);
        whole[header.len()..len].copy_from_slice(payload);
        let record =
            Record::Packet { publication, encoding, codec, meta: *meta, bytes: &whole[..len] };
        for reader in ReaderId::all_in(readers) {
            let Some(Some(lane)) = self.lanes.get_mut(reader.index()) else {
                continue;
            };
            let is_taken = record::push(lane, &record);
            self.counters.count_reader(reader, is_taken);
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
        let readers = self.publication(publication).map_or(0, |known| known.readers);
        for reader in ReaderId::all_in(readers) {
            if let Some(Some(lane)) = self.lanes.get_mut(reader.index()) {
                self.is_lane_urgent = true;
                // Repeated with the next report.
                let _ = record::push(lane, &Record::Clock { publication, encoding, clock });
            }
        }
    }
}

/// What viewers must know; built only when it is announced.
fn info(id: PublicationId, publication: &Publication, codec: Codec, pt: u8) -> PublicationInfo {
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
    if let Some(receptions) = publisher.receptions.as_mut() {
        receptions.record(header.ssrc, header.seq_no, at_us, packet.len());
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
    // RFC 9143 s9.2: what names a section that is not there belongs nowhere.
    let (m_line, publication) = match mid {
        Some(_) => by_mid?,
        None => by_signalling().or_else(by_pt)?,
    };
    let is_named = mid.is_some();
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
        // RFC 9143 s9.2: what names its section is bound to it at once. An encoder that begins anew
        // does so with a keyframe, which must not be lost.
        let is_busy = bound.has_received()
            && previous != Some(ssrc)
            && !is_named
            && at_us.saturating_sub(bound.last_at_us) < REBIND_AFTER_US;
        let is_busy = is_busy || bound.is_retired(ssrc, at_us, REBIND_AFTER_US);
        if is_busy {
            return None;
        }
        bound.rebind(ssrc);
    }
    publisher.streams.retain(|known| Some(known.ssrc) != previous);
    publisher.streams.push(stream);
    Some(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Description;

    const MID_ID: u8 = 4;

    /// A publisher of audio `a` and video `v`.
    fn publisher() -> Publisher {
        let sdp = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\n\
            a=rtpmap:111 opus/48000/2\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\n\
            a=rtpmap:96 VP8/90000\r\n";
        let mut publisher = Publisher::default();
        publisher.extensions.insert(MID_ID, Extension::Mid.uri());
        for section in Description::read(sdp).sections {
            let kind = section.kind_or_video();
            publisher.publications.push(Some(Publication::new(section, kind)));
        }
        publisher
    }

    /// Binds a packet of an SSRC with a mid in it, or none, and counts it as received.
    fn bound(
        publisher: &mut Publisher,
        ssrc: u32,
        (mid, pt): (&str, u8),
        at_us: u64,
    ) -> Option<u8> {
        let mut packet = vec![if mid.is_empty() { 0x80 } else { 0x90 }, pt, 0, 1, 0, 0, 0, 9];
        packet.extend(ssrc.to_be_bytes());
        if !mid.is_empty() {
            packet.extend([0xbe, 0xde, 0, 1, MID_ID << 4 | (mid.len() as u8 - 1)]);
            packet.extend(mid.bytes().chain(std::iter::repeat(0)).take(3));
        }
        packet.push(1);
        let header = RtpHeader::parse(&packet).expect("a packet");
        let stream = match publisher.stream(ssrc) {
            Some(stream) => stream,
            None => bind(publisher, &header, &packet, at_us)?,
        };
        let encoding = &mut publisher.publication(stream.m_line)?.encodings[0];
        encoding.receive(1, 0, at_us, false, false);
        Some(stream.m_line)
    }

    /// RFC 9143 s9.2.
    #[test]
    fn a_stream_that_names_its_section_takes_its_place_at_once() {
        let mut publisher = publisher();
        assert_eq!(bound(&mut publisher, 1, ("v", 96), 1_000_000), Some(1));
        // Encoders that change their SSRC with each keyframe.
        for ssrc in 2..20 {
            let at_us = 1_000_000 + u64::from(ssrc) * 20_000;
            assert_eq!(bound(&mut publisher, ssrc, ("v", 96), at_us), Some(1), "{ssrc}");
            // What is late of the one before does not push it out again.
            assert_eq!(bound(&mut publisher, ssrc - 1, ("v", 96), at_us + 1000), None);
        }
        assert_eq!(publisher.streams.len(), 1);
        // Without a name it waits until nobody is there.
        assert_eq!(bound(&mut publisher, 50, ("", 96), 1_500_000), None);
        assert_eq!(bound(&mut publisher, 50, ("", 96), 2_500_000), Some(1));
    }

    #[test]
    fn a_stream_that_names_no_section_of_ours_belongs_nowhere() {
        let mut publisher = publisher();
        assert_eq!(bound(&mut publisher, 1, ("x", 96), 1_000_000), None);
        assert_eq!(bound(&mut publisher, 1, ("", 96), 1_000_000), Some(1));
        assert_eq!(bound(&mut publisher, 2, ("", 111), 1_000_000), Some(0));
    }
}
