//! H.264 payloads (RFC 6184, packetization mode 1): parameter sets in a STAP-A before each IDR
//! picture, slices as single NAL units or FU-A fragments.

use super::bits::BitWriter;
use super::encoder::Frame;
use super::stamp::STAMP_BYTES;
use super::{Packet, split};

const NAL_SLICE: u8 = 1;
const NAL_IDR: u8 = 5;
const NAL_SEI: u8 = 6;
const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// nal_ref_idc of what everything depends on, and of a frame that may be dropped.
const HIGHEST: u8 = 3 << 5;
/// FU indicator and header.
const FU_BYTES: usize = 2;

/// Appends the packets of a frame.
pub(super) fn packetise(frame: &Frame, out: &mut Vec<Packet>) {
    let rtp_time = frame.rtp_time;
    let mut push = |marker, payload| {
        out.push(Packet { rtp_time, marker, payload, dependency: Vec::new() });
    };
    if frame.is_keyframe {
        push(false, parameter_sets());
    }
    let unit = slice(frame);
    let parts = split(&unit[1..], FU_BYTES);
    if parts.len() == 1 {
        push(true, unit);
        return;
    }
    let count = parts.len();
    for (at, part) in parts.into_iter().enumerate() {
        let (begins, ends) = (at == 0, at + 1 == count);
        let indicator = unit[0] & 0x60 | FU_A;
        let header = u8::from(begins) << 7 | u8::from(ends) << 6 | unit[0] & 0x1f;
        let mut payload = vec![indicator, header];
        payload.extend(part);
        push(ends, payload);
    }
}

/// s5.7.1: SPS, PPS and an SEI message that ends with the stamp.
fn parameter_sets() -> Vec<u8> {
    let mut payload = vec![HIGHEST | STAP_A];
    for unit in [sequence(), picture(), supplement()] {
        payload.extend((unit.len() as u16).to_be_bytes());
        payload.extend(unit);
    }
    payload
}

/// 640 x 360, constrained baseline, level 3.1 (H.264 s7.3.2.1).
fn sequence() -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.put(u32::from(HIGHEST | NAL_SPS), 8);
    bits.put(0x0042_e01f, 24);
    bits.put_ue(0); // id
    bits.put_ue(0); // frame_num has 4 bits
    bits.put_ue(2); // output order is decoding order
    bits.put_ue(1); // reference frames
    bits.put(0, 1);
    bits.put_ue(640 / 16 - 1);
    bits.put_ue(368 / 16 - 1);
    bits.put(0b11, 2); // frames only, direct 8x8
    bits.put(1, 1); // cropping: eight lines at the bottom
    [0, 0, 0, 4].into_iter().for_each(|edge| bits.put_ue(edge));
    bits.put(0, 1);
    bits.put_trailing();
    bits.into_bytes()
}

/// CAVLC, one slice group, no extras (s7.3.2.2).
fn picture() -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.put(u32::from(HIGHEST | NAL_PPS), 8);
    bits.put_ue(0);
    bits.put_ue(0);
    bits.put(0, 2);
    [0, 0, 0].into_iter().for_each(|value| bits.put_ue(value));
    bits.put(0, 3);
    // Initial QP, QS and chroma offset: signed codes of 0.
    [0, 0, 0].into_iter().for_each(|value| bits.put_ue(value));
    bits.put(0, 3);
    bits.put_trailing();
    bits.into_bytes()
}

/// A user data SEI message (sD.1.6): a UUID, and room for the stamp, whose last octet is at once
/// the NAL unit's trailing bits.
fn supplement() -> Vec<u8> {
    let data = 16 + STAMP_BYTES - 1;
    let mut unit = vec![NAL_SEI, 5, data as u8];
    unit.extend(*b"aula-loadtest-uu");
    unit.extend([0x55; STAMP_BYTES]);
    unit
}

/// A slice header (s7.3.3), then filling without start codes in it.
fn slice(frame: &Frame) -> Vec<u8> {
    let kind = if frame.is_keyframe { NAL_IDR } else { NAL_SLICE };
    let mut bits = BitWriter::default();
    bits.put(u32::from(HIGHEST | kind), 8);
    bits.put_ue(0);
    bits.put_ue(if frame.is_keyframe { 7 } else { 5 });
    bits.put_ue(0);
    bits.put(frame.since_keyframe as u32 & 15, 4);
    if frame.is_keyframe {
        bits.put_ue(0);
        bits.put(0, 2);
    } else {
        bits.put(0, 3);
    }
    bits.put_ue(0);
    bits.put_trailing();
    let mut unit = bits.into_bytes();
    unit.resize(unit.len() + frame.bytes.max(STAMP_BYTES), 0x55);
    unit
}
