//! Which decode targets are active, said anew for each viewer (A.8.2 of the specification,
//! `active_decode_targets_bitmask`): who gets fewer layers than there are shall not wait for frames of
//! the others, nor shall a server behind ours.

use super::{SPATIAL_MAX, TEMPORAL_MAX, Targets};

/// Bits before the flags: begin, end, template and frame number.
const FLAGS_AT: usize = 24;
/// The flag that says that the bitmask follows, the second of five.
const FLAG_AT: usize = FLAGS_AT + 1;
const FLAG_BITS: usize = 5;

/// Where a descriptor has its bitmask, and what the bits stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveMask {
    /// Its first bit, counted from the descriptor's beginning.
    pub at: u16,
    /// All decode targets; the lowest one is the bitmask's last bit.
    pub all: Targets,
    /// Whether all frames of a spatial layer's decode targets are part of the higher ones'.
    pub is_nested: bool,
}

impl ActiveMask {
    /// Those of the targets that are whole where what goes out is the one with these highest layers.
    pub(super) fn kept(&self, targets: Targets, (sid, tid): (u8, u8)) -> Targets {
        let temporal = 0xff >> (TEMPORAL_MAX - tid.min(TEMPORAL_MAX));
        let lowest = if self.is_nested { 0 } else { sid };
        let rows =
            (lowest..=sid.min(SPATIAL_MAX)).map(|sid| temporal << (sid * (TEMPORAL_MAX + 1)));
        targets & rows.fold(0, |all, row: Targets| all | row)
    }

    /// Writes into a descriptor which targets are active.
    pub(crate) fn write(&self, descriptor: &mut [u8], active: Targets) {
        let count = self.all.count_ones();
        let value = bitmask(self.all, active);
        for bit in 0..count {
            let is_set = value >> (count - 1 - bit) & 1 != 0;
            set(descriptor, usize::from(self.at) + bit as usize, is_set);
        }
    }
}

/// The bitmask of some of all targets.
fn bitmask(all: Targets, active: Targets) -> u32 {
    let targets = (0..Targets::BITS).filter(|bit| all >> bit & 1 != 0);
    (0..).zip(targets).fold(0, |mask, (at, bit)| mask | (active >> bit & 1) << at)
}

/// Copies a descriptor that has no bitmask into `out`, with one of `active` targets at `mask.at`.
pub(super) fn insert(descriptor: &[u8], mask: &mut ActiveMask, active: Targets, out: &mut Vec<u8>) {
    // Three octets have no flags: then those are put in as well.
    let flags = if descriptor.len() * 8 == FLAGS_AT { FLAG_BITS } else { 0 };
    let at = usize::from(mask.at) + flags;
    let bits = mask.all.count_ones() as usize;
    out.clear();
    out.resize((descriptor.len() * 8 + flags + bits).div_ceil(8), 0);
    for bit in 0..descriptor.len() * 8 {
        let is_set = descriptor[bit / 8] >> (7 - bit % 8) & 1 != 0;
        set(out, if bit < at { bit } else { bit + bits }, is_set);
    }
    set(out, FLAG_AT, true);
    mask.at = at as u16;
    mask.write(out, active);
}

fn set(bytes: &mut [u8], bit: usize, is_set: bool) {
    if let Some(byte) = bytes.get_mut(bit / 8) {
        let mask = 0x80 >> (bit % 8);
        *byte = if is_set { *byte | mask } else { *byte & !mask };
    }
}
