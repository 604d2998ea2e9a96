//! VP9 payloads (RFC 9628) in non-flexible mode, as browsers send the mode L3T3_KEY: three spatial
//! layers, of which the upper ones depend on the lower ones in keyframes only, and three temporal
//! ones.

use super::encoder::Frame;
use super::{Packet, split};

/// I, P, L, F, B, E, V, Z; picture id; layer indices; TL0PICIDX.
const DESCRIPTOR_BYTES: usize = 5;
/// Width and height of the spatial layers.
const SIZES: [(u16, u16); 3] = [(320, 180), (640, 360), (1280, 720)];

/// Appends the packets of one spatial layer's frame. `tl0` counts the base layer's pictures.
pub(super) fn packetise(frame: &Frame, tl0: u8, out: &mut Vec<Packet>) {
    let mut data = vec![0x55; frame.bytes];
    data.splice(..0, frame_header(frame));
    let structure = (frame.is_keyframe && frame.sid == 0).then(scalability_structure);
    let room = DESCRIPTOR_BYTES + structure.as_ref().map_or(0, Vec::len);
    let parts = split(&data, room);
    let count = parts.len();
    for (at, part) in parts.into_iter().enumerate() {
        let (begins, ends) = (at == 0, at + 1 == count);
        let id = frame.picture as u16 & 0x7fff;
        let is_upper = frame.sid > 0;
        // Z: nothing above refers to this frame, which holds outside keyframes and at the top.
        let is_unreferenced = !frame.is_keyframe || frame.ends_picture;
        let flags = 0x80 // I
            | u8::from(!frame.is_keyframe) << 6 // P
            | 0x20 // L
            | u8::from(begins) << 3 // B
            | u8::from(ends) << 2 // E
            | u8::from(begins && structure.is_some()) << 1 // V
            | u8::from(is_unreferenced);
        let mut payload = vec![
            flags,
            0x80 | (id >> 8) as u8,
            id as u8,
            // U: every picture of an upper temporal layer refers to lower ones only.
            frame.tid << 5 | 1 << 4 | frame.sid << 1 | u8::from(frame.is_keyframe && is_upper),
            tl0,
        ];
        if begins && let Some(structure) = &structure {
            payload.extend(structure);
        }
        payload.extend(part);
        let marker = ends && frame.ends_picture;
        out.push(Packet { rtp_time: frame.rtp_time, marker, payload, dependency: Vec::new() });
    }
}

/// s4.2.1: the layers' sizes and the group of four pictures.
fn scalability_structure() -> Vec<u8> {
    // N_S, Y (sizes follow), G (a picture group follows).
    let mut out = vec![(SIZES.len() as u8 - 1) << 5 | 1 << 4 | 1 << 3];
    for (width, height) in SIZES {
        out.extend(width.to_be_bytes());
        out.extend(height.to_be_bytes());
    }
    // Per picture: TID, U, number of references, and how many pictures back they lie.
    let group = [(0u8, 4u8), (2, 1), (1, 2), (2, 1)];
    out.push(group.len() as u8);
    for (tid, back) in group {
        out.extend([tid << 5 | 1 << 4 | 1 << 2, back]);
    }
    out
}

/// The start of the uncompressed header of the VP9 bitstream (s6.2 of its specification): frame
/// marker, profile 0, show_existing_frame, frame type, show_frame, error resilience; and the sync
/// code, colour and size of a keyframe.
fn frame_header(frame: &Frame) -> Vec<u8> {
    let is_intra = frame.is_keyframe && frame.sid == 0;
    let mut bits = super::bits::BitWriter::default();
    bits.put(0b10, 2);
    bits.put(0, 3);
    bits.put(u32::from(!is_intra), 1);
    bits.put(1, 1);
    bits.put(1, 1);
    if is_intra {
        bits.put(0x0049_8342, 24);
        let (width, height) = SIZES[0];
        bits.put(2, 3);
        bits.put(0, 1);
        bits.put(u32::from(width) - 1, 16);
        bits.put(u32::from(height) - 1, 16);
    }
    bits.align();
    bits.into_bytes()
}
