//! VP8 payloads (RFC 7741) with picture ids and two temporal layers.

use super::encoder::Frame;
use super::{Packet, split};

/// X, S; I, L, T; 15-bit picture id; TL0PICIDX; TID and Y.
const DESCRIPTOR_BYTES: usize = 6;

/// Appends the packets of a frame. `tl0` counts the base layer's pictures.
pub(super) fn packetise(frame: &Frame, tl0: u8, out: &mut Vec<Packet>) {
    let mut data = vec![0x55; frame.bytes];
    data.splice(..0, payload_header(frame));
    let parts = split(&data, DESCRIPTOR_BYTES);
    let count = parts.len();
    for (at, part) in parts.into_iter().enumerate() {
        let id = frame.picture as u16 & 0x7fff;
        let mut payload = vec![
            if at == 0 { 0x90 } else { 0x80 },
            0xe0,
            0x80 | (id >> 8) as u8,
            id as u8,
            tl0,
            // Y: upper layers depend on the base layer only.
            frame.tid << 6 | 0x20,
        ];
        payload.extend(part);
        let marker = at + 1 == count;
        out.push(Packet { rtp_time: frame.rtp_time, marker, payload, dependency: Vec::new() });
    }
}

/// RFC 6386 s9.1: frame tag, and start code and size in a keyframe.
fn payload_header(frame: &Frame) -> Vec<u8> {
    let first_part = (frame.bytes / 4).min((1 << 19) - 1) as u32;
    let tag = u32::from(!frame.is_keyframe) | 1 << 4 | first_part << 5;
    let mut header = tag.to_le_bytes()[..3].to_vec();
    if frame.is_keyframe {
        header.extend([0x9d, 0x01, 0x2a]);
        header.extend(640u16.to_le_bytes());
        header.extend(360u16.to_le_bytes());
    }
    header
}
