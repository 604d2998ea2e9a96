//! Entries for the benches in `benches/`: the steps of a packet's path, each by itself, fed with
//! fixed input. Not a public interface.

use crate::canonical::{
    Element, HEADER_BYTES_MAX, HopFields, PacketMeta, PerViewer, Written, patch, write_header,
};
use crate::checks::BindingRequest;
use crate::codec::Codec;
use crate::demux::{Class, classify};
use crate::descriptor::{self, FrameInfo};
use crate::extension::{Extension, ExtensionMap};
use crate::rtp::RtpHeader;
use crate::ufrag;

// For simulations of paths.
pub use crate::congestion::{
    Cluster, Controller, Flow as Estimated, PacketResult, START_BPS, SendHistory,
};
pub use crate::twcc::ArrivalLog;

pub use crate::fanout::{BareSeal, Fanout, Seal};
pub use crate::lane::{LANE_BYTES, lane};

/// Finds out what a datagram is and, for STUN, whose: what the first look at every datagram costs.
/// Returns 0 for what would be dropped.
pub fn demux(datagram: &[u8]) -> usize {
    match classify(datagram) {
        Class::Stun => BindingRequest::parse(datagram)
            .and_then(|request| ufrag::decode(request.local_ufrag))
            .map_or(0, |(shard, slot)| usize::from(shard.0) + slot as usize + 1),
        Class::Dtls => 1,
        Class::Rtp => 2,
        Class::Rtcp => 3,
        Class::Other => 0,
    }
}

/// A STUN binding request to shard 1, slot 7, with a browser's attributes but no true integrity.
pub fn binding_request() -> Vec<u8> {
    let ufrag = ufrag::encode(crate::id::ShardId(1), 7, 0x1234_5678_9abc_def0);
    let user = format!("{ufrag}:abcd");
    let mut body = Vec::new();
    let mut put = |kind: u16, value: &[u8]| {
        body.extend(kind.to_be_bytes());
        body.extend((value.len() as u16).to_be_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(4), 0);
    };
    put(0x0006, user.as_bytes());
    put(0x0024, &[0x6e, 0x7f, 0x1e, 0xff]);
    put(0x802a, &[7; 8]);
    put(0x0025, &[]);
    put(0x0008, &[9; 20]);
    put(0x8028, &[5; 4]);
    let mut message = vec![0, 1];
    message.extend((body.len() as u16).to_be_bytes());
    message.extend([0x21, 0x12, 0xa4, 0x42]);
    message.extend([3; 12]);
    message.extend(body);
    message
}

/// Header, extensions and payload descriptor of a packet, as ingress reads them. Returns the
/// descriptor and how many extensions there were.
pub fn parse(codec: Codec, packet: &[u8]) -> Option<(FrameInfo, usize)> {
    let header = RtpHeader::parse(packet)?;
    let (start, end) = header.payload(packet)?;
    let count = header.elements(packet).count();
    Some((descriptor::parse(codec, packet.get(start..end)?), count))
}

/// A packet of 1,150 octets of payload with the extensions of a browser, by its payload's start.
pub fn packet(payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 3];
    // abs-send-time, TWCC and mid, padded.
    packet.extend([0x22, 1, 2, 3, 0x31, 4, 5, 0x40, b'1', 0, 0, 0]);
    packet.extend(payload);
    packet.resize(28 + 1150, 9);
    packet
}

/// The header of one packet, and its fields per viewer.
pub struct Rewrite {
    packet: Vec<u8>,
    header: RtpHeader,
    extensions: ExtensionMap,
    out: [u8; HEADER_BYTES_MAX],
    meta: PacketMeta,
    viewer: PerViewer,
}

impl Rewrite {
    /// A packet of [`packet`]; `None` never.
    pub fn new() -> Option<Self> {
        let packet = packet(&[0x90, 0x80, 0x80, 1, 0]);
        let header = RtpHeader::parse(&packet)?;
        let mut extensions = ExtensionMap::default();
        for extension in Extension::ALL {
            extensions.insert(extension.id(), extension.uri());
        }
        let viewer =
            PerViewer { marker_pt: 96, element: Element::mid("abc"), ..PerViewer::default() };
        let (out, meta) = ([0; HEADER_BYTES_MAX], PacketMeta::default());
        let mut rewrite = Self { packet, header, extensions, out, meta, viewer };
        rewrite.canonical()?;
        Some(rewrite)
    }

    /// Writes the canonical header, once per packet. Returns its length.
    pub fn canonical(&mut self) -> Option<usize> {
        let Self { packet, header, extensions, out, .. } = self;
        let Written { len, is_two_byte, .. } = write_header(header, packet, extensions, None, out)?;
        self.meta = PacketMeta { is_two_byte, header_len: len as u16, ..self.meta };
        Some(len)
    }

    /// Copies it and patches it for a viewer. Returns the copy's first octets.
    pub fn patch(&mut self) -> u64 {
        let mut copy = [0; HEADER_BYTES_MAX];
        let len = usize::from(self.meta.header_len);
        copy[..len].copy_from_slice(&self.out[..len]);
        self.viewer.seq_no = self.viewer.seq_no.wrapping_add(1);
        let twcc = self.viewer.hop.twcc.wrapping_add(1);
        self.viewer.hop = HopFields { twcc, abs_send_time: 7 };
        patch(&mut copy[..len], &self.meta, &self.viewer);
        copy.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }
}

/// A publisher's arrivals.
#[derive(Default)]
pub struct Arrivals {
    log: ArrivalLog,
    seq_no: u16,
    at_us: u64,
}

impl Arrivals {
    /// Records so many packets, one in 50 missing, and writes the feedback about them. Returns
    /// its length.
    pub fn feedback(&mut self, packets: u16) -> usize {
        for _ in 0..packets {
            self.seq_no = self.seq_no.wrapping_add(1);
            self.at_us += 700;
            if !self.seq_no.is_multiple_of(50) {
                self.log.record(self.seq_no, self.at_us, 1200);
            }
        }
        let mut out = [0; 1024];
        self.log.write(&mut out).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_of_the_benches_is_what_it_says() {
        assert_eq!(demux(&binding_request()), 1 + 7 + 1);
        let vp8 = packet(&[0x90, 0xe0, 0x81, 0x02, 9, 0x40, 0x00]);
        let (info, extensions) = parse(Codec::Vp8, &vp8).expect("RTP");
        assert!(info.is_keyframe && info.picture_id.is_some());
        assert_eq!(extensions, 3);
        let mut rewrite = Rewrite::new().expect("RTP");
        assert_eq!(rewrite.canonical(), Some(28));
        assert_ne!(rewrite.patch(), rewrite.patch(), "numbers go on");
        assert!(Arrivals::default().feedback(100) > 100);
    }
}
