//! The dependency descriptor (appendix A of RTP Payload Format For AV1, v1.0) of the modes L1T3 and
//! L3T3_KEY: which decode targets need a frame, so that a server can drop layers without reading
//! payloads.

use super::bits::BitWriter;
use super::encoder::Frame;

/// Temporal layers; every spatial one has a decode target for each.
const TEMPORAL: u32 = 3;
/// Indications of a frame for a decode target: not in it, discardable, a switching point.
const ABSENT: u32 = 0;
const DISCARDABLE: u32 = 1;
const SWITCH: u32 = 2;
/// Width and height of the spatial layers; of one layer the middle one.
const SIZES: [(u32, u32); 3] = [(320, 180), (640, 360), (1280, 720)];

/// A kind of frame, by its place among four pictures: temporal layer, indications for the decode
/// targets of its spatial layer, and how many pictures back what it refers to lies, and the last
/// picture of the lowest temporal layer.
struct Place {
    tid: u8,
    targets: [u32; TEMPORAL as usize],
    refers: u32,
    chain: u32,
}

/// In the order of their templates, which go up by layers.
const PLACES: [Place; 4] = [
    Place { tid: 0, targets: [SWITCH, SWITCH, SWITCH], refers: 4, chain: 4 },
    Place { tid: 1, targets: [ABSENT, DISCARDABLE, SWITCH], refers: 2, chain: 2 },
    Place { tid: 2, targets: [ABSENT, ABSENT, DISCARDABLE], refers: 1, chain: 1 },
    Place { tid: 2, targets: [ABSENT, ABSENT, DISCARDABLE], refers: 1, chain: 3 },
];
/// Templates of one spatial layer: that of keyframes, then the places.
const TEMPLATES: u32 = 1 + PLACES.len() as u32;

/// The descriptor of one packet of a frame of a stream with `spatial` layers; with the structure in
/// the first one of a keyframe.
pub(super) fn descriptor(frame: &Frame, spatial: u8, begins: bool, ends: bool) -> Vec<u8> {
    let place = match (frame.is_keyframe, frame.since_keyframe % 4) {
        (true, _) => 0,
        (false, 0) => 1,
        (false, 1) => 3,
        (false, 2) => 2,
        _ => 4,
    };
    let number = frame.picture * u64::from(spatial) + u64::from(frame.sid);
    let mut bits = BitWriter::default();
    bits.put(u32::from(begins), 1);
    bits.put(u32::from(ends), 1);
    bits.put(u32::from(frame.sid) * TEMPLATES + place, 6);
    bits.put(number as u32 & 0xffff, 16);
    if frame.is_keyframe && frame.sid == 0 && begins {
        // Of the five flags: structure present, the rest as the template says.
        bits.put(0b10000, 5);
        put_structure(&mut bits, u32::from(spatial));
    }
    bits.into_bytes()
}

/// The frame number of a descriptor.
pub(crate) fn frame_number(descriptor: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes([*descriptor.get(1)?, *descriptor.get(2)?]))
}

fn put_structure(bits: &mut BitWriter, spatial: u32) {
    bits.put(0, 6); // the first template's id
    bits.put(spatial * TEMPORAL - 1, 5);
    for sid in 0..spatial {
        // Each template's layer after the one before: the same, the next temporal, the next
        // spatial, no more.
        bits.put(0, 2);
        for pair in PLACES.windows(2) {
            bits.put(u32::from(pair[1].tid != pair[0].tid), 2);
        }
        bits.put(if sid + 1 < spatial { 2 } else { 3 }, 2);
    }
    for sid in 0..spatial {
        // A keyframe is needed by its own layer and those above it.
        for target in 0..spatial {
            let needed = if target >= sid { SWITCH } else { ABSENT };
            (0..TEMPORAL).for_each(|_| bits.put(needed, 2));
        }
        for (place, target) in PLACES.iter().flat_map(|p| (0..spatial).map(move |t| (p, t))) {
            for indication in place.targets {
                bits.put(if target == sid { indication } else { ABSENT }, 2);
            }
        }
    }
    for sid in 0..spatial {
        // In a keyframe upper layers refer to the one below.
        put_distances(bits, u32::from(sid > 0));
        PLACES.iter().for_each(|place| put_distances(bits, place.refers * spatial));
    }
    put_chains(bits, spatial);
    bits.put(1, 1); // the sizes follow
    for (width, height) in if spatial == 1 { &SIZES[1..2] } else { &SIZES[..spatial as usize] } {
        bits.put(width - 1, 16);
        bits.put(height - 1, 16);
    }
}

/// How far back in frames the one lies that a template refers to; 0 for none.
fn put_distances(bits: &mut BitWriter, distance: u32) {
    if distance > 0 {
        bits.put(1, 1);
        bits.put(distance - 1, 4);
    }
    bits.put(0, 1);
}

/// A chain for each spatial layer, which protects its decode targets: its keyframe, those of the
/// layers below, and its frames of the lowest temporal layer.
fn put_chains(bits: &mut BitWriter, spatial: u32) {
    put_non_symmetric(bits, spatial, spatial * TEMPORAL + 1);
    for target in 0..spatial {
        (0..TEMPORAL).for_each(|_| put_non_symmetric(bits, target, spatial));
    }
    for sid in 0..spatial {
        for chain in 0..spatial {
            // The last one before it is that of the layer below, or of its own in the chain of a
            // lower layer.
            bits.put(sid.saturating_sub(chain.min(sid.saturating_sub(1))), 4);
        }
        for place in &PLACES {
            for chain in 0..spatial {
                // Lower layers of this very picture went before, if the picture is in the chain.
                let has_passed = place.tid == 0 && chain < sid;
                let pictures = if has_passed { 0 } else { place.chain };
                bits.put(pictures * spatial + sid - chain, 4);
            }
        }
    }
}

/// A value below `values` (s4.10.7 of the AV1 specification).
fn put_non_symmetric(bits: &mut BitWriter, value: u32, values: u32) {
    let width = (u32::BITS - values.leading_zeros()) as usize;
    let short = (1 << width) - values;
    if value < short {
        bits.put(value, width - 1);
    } else {
        bits.put((value + short) >> 1, width - 1);
        bits.put((value + short) & 1, 1);
    }
}
