//! Which m-section and Encoding of a publisher an SSRC belongs to.

use crate::extension::Extension;
use crate::rtp::RtpHeader;
use crate::stats::DropReason;
use crate::transport::{Publisher, STREAMS_MAX, Stream};

/// A bound SSRC must have been silent this long before another takes its Encoding, unless that one
/// says by its mid where it belongs; and one that was replaced does not come back sooner.
const REBIND_AFTER_US: u64 = 500_000;

/// Finds out where an authentic packet belongs, and notes its arrival for the feedback.
pub(super) fn stream_of(
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
    use crate::publication::Publication;
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
