//! The dependency descriptor (appendix A of RTP Payload Format For AV1, v1.0) of the mode L1T3:
//! which decode targets need a frame, so that a server can drop layers without reading payloads.

use super::bits::BitWriter;
use super::encoder::Frame;

/// Decode targets: one, two, three temporal layers.
const TARGETS: u32 = 3;
/// Indications of a frame for a decode target: not in it, discardable, a switching point.
const ABSENT: u32 = 0;
const DISCARDABLE: u32 = 1;
const SWITCH: u32 = 2;

/// A kind of frame: temporal layer, indications, distance to what it refers to (0: nothing), and
/// to the last frame of the chain.
struct Template {
    tid: u8,
    targets: [u32; TARGETS as usize],
    refers: u32,
    chain: u32,
}

const TEMPLATES: [Template; 5] = [
    Template { tid: 0, targets: [SWITCH, SWITCH, SWITCH], refers: 0, chain: 0 },
    Template { tid: 0, targets: [SWITCH, SWITCH, SWITCH], refers: 4, chain: 4 },
    Template { tid: 1, targets: [ABSENT, DISCARDABLE, SWITCH], refers: 2, chain: 2 },
    Template { tid: 2, targets: [ABSENT, ABSENT, DISCARDABLE], refers: 1, chain: 1 },
    Template { tid: 2, targets: [ABSENT, ABSENT, DISCARDABLE], refers: 1, chain: 3 },
];

/// The descriptor of one packet of a frame; with the structure in the first one of a keyframe.
pub fn descriptor(frame: &Frame, begins: bool, ends: bool) -> Vec<u8> {
    let template = match (frame.is_keyframe, frame.since_keyframe % 4) {
        (true, _) => 0,
        (false, 0) => 1,
        (false, 1) => 3,
        (false, 2) => 2,
        _ => 4,
    };
    let mut bits = BitWriter::default();
    bits.put(u32::from(begins), 1);
    bits.put(u32::from(ends), 1);
    bits.put(template, 6);
    bits.put(frame.picture as u32 & 0xffff, 16);
    if frame.is_keyframe && begins {
        // Of the five flags: structure present, the rest as the template says.
        bits.put(0b10000, 5);
        put_structure(&mut bits);
    }
    bits.into_bytes()
}

/// The frame number of a descriptor.
pub fn frame_number(descriptor: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes([*descriptor.get(1)?, *descriptor.get(2)?]))
}

fn put_structure(bits: &mut BitWriter) {
    bits.put(0, 6); // the first template's id
    bits.put(TARGETS - 1, 5);
    // Each template's layer after the one before: the same, the next temporal, no more.
    let layers: Vec<u8> = TEMPLATES.iter().map(|template| template.tid).collect();
    for pair in layers.windows(2) {
        bits.put(u32::from(pair[1] != pair[0]), 2);
    }
    bits.put(3, 2);
    for indication in TEMPLATES.iter().flat_map(|template| template.targets) {
        bits.put(indication, 2);
    }
    for template in &TEMPLATES {
        if template.refers > 0 {
            bits.put(1, 1);
            bits.put(template.refers - 1, 4);
        }
        bits.put(0, 1);
    }
    // One chain, as a non-symmetric number of 0..=3, protects all targets (which takes no bits).
    bits.put(1, 2);
    TEMPLATES.iter().for_each(|template| bits.put(template.chain, 4));
    bits.put(1, 1); // the size follows
    bits.put(639, 16);
    bits.put(359, 16);
}
