//! AV1 payloads (RTP Payload Format For AV1, v1.0) with three temporal layers, and one spatial or
//! three: aggregation header, a sequence header before each keyframe, frame OBUs over as many packets as
//! it takes.

use super::bits::BitWriter;
use super::dependency;
use super::encoder::Frame;
use super::{Packet, split};

const OBU_SEQUENCE_HEADER: u8 = 1;
const OBU_FRAME: u8 = 6;
/// Bits of the aggregation header.
const CONTINUES: u8 = 0x80;
const TO_BE_CONTINUED: u8 = 0x40;
const NEW_SEQUENCE: u8 = 0x08;

/// Appends the packets of one frame of a stream with `spatial` layers.
pub(super) fn packetise(frame: &Frame, spatial: u8, out: &mut Vec<Packet>) {
    let begins_sequence = frame.is_keyframe && frame.sid == 0;
    let sequence = begins_sequence.then(sequence_header);
    // Type, extension flag, no size field: the payload format gives the sizes.
    let mut unit = vec![OBU_FRAME << 3 | 0x04, frame.tid << 5 | frame.sid << 3];
    unit.extend(frame_header(frame));
    unit.resize(unit.len() + frame.bytes, 0x55);
    let room = 1 + sequence.as_ref().map_or(0, |sequence| 1 + sequence.len());
    let parts = split(&unit, room);
    let count = parts.len();
    for (at, part) in parts.into_iter().enumerate() {
        let (begins, ends) = (at == 0, at + 1 == count);
        let elements = if begins && sequence.is_some() { 2 } else { 1 };
        let mut header = elements << 4;
        header |= if begins { 0 } else { CONTINUES };
        header |= if ends { 0 } else { TO_BE_CONTINUED };
        header |= if begins && begins_sequence { NEW_SEQUENCE } else { 0 };
        let mut payload = vec![header];
        if begins && let Some(sequence) = &sequence {
            // All elements but the last have their size before them, in LEB128; this one is small.
            payload.push(sequence.len() as u8);
            payload.extend(sequence);
        }
        payload.extend(part);
        let dependency = dependency::descriptor(frame, spatial, begins, ends);
        let marker = ends && frame.ends_picture;
        out.push(Packet { rtp_time: frame.rtp_time, marker, payload, dependency });
    }
}

/// s5.5 of the AV1 specification: main profile, level 3.1, 640 x 360, an operating point per
/// number of temporal layers.
fn sequence_header() -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.put(u32::from(OBU_SEQUENCE_HEADER << 3), 8);
    bits.put(0, 3); // profile
    bits.put(0, 4); // no still picture, no timing, no display delay
    bits.put(2, 5); // three operating points
    for layers in [0x107, 0x103, 0x101] {
        bits.put(layers, 12);
        bits.put(5, 5);
    }
    bits.put(9, 4);
    bits.put(8, 4);
    bits.put(639, 10);
    bits.put(359, 9);
    bits.put(0, 1); // no frame ids
    bits.put(0, 3); // 64x64 superblocks, no intra tools
    bits.put(0, 4); // no inter tools
    bits.put(0, 1); // no order hints
    bits.put(0b11, 2); // screen content and integer motion: as each frame says
    bits.put(0, 3); // no superresolution, CDEF, restoration
    bits.put(0, 3); // 8 bits, colour, no description
    bits.put(0, 1); // studio range
    bits.put(0, 2); // chroma position unknown
    bits.put(0, 2); // one delta for both chroma planes, no film grain
    bits.put_trailing();
    bits.into_bytes()
}

/// The start of a frame header (s5.9): shown, key or inter.
fn frame_header(frame: &Frame) -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.put(0, 1);
    let is_intra = frame.is_keyframe && frame.sid == 0;
    bits.put(u32::from(!is_intra), 2);
    bits.put(1, 1);
    if !is_intra {
        bits.put(1, 1); // error resilient
    }
    bits.align();
    bits.into_bytes()
}
