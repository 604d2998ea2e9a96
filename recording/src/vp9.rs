//! VP9 (RFC 9628 and the bitstream's specification).

use crate::bits::Bits;
use crate::vp9_layers::Layers;
use crate::{Codec, Config, Picture};

/// Layers of one picture that a superframe index can name.
const FRAMES_MAX: usize = 8;

struct Descriptor {
    len: usize,
    begins: bool,
    /// Of the highest spatial layer, where the packet tells.
    size: Option<(u16, u16)>,
}

/// A picture from the payloads of its packets: its spatial layers as one superframe.
pub(crate) fn picture(payloads: &[Vec<u8>], layers: &mut Layers) -> Option<Picture> {
    let mut frames: Vec<Vec<u8>> = Vec::new();
    let mut told = None;
    for payload in payloads {
        let descriptor = descriptor(payload)?;
        told = told.or(descriptor.size);
        let rest = payload.get(descriptor.len..)?;
        if descriptor.begins {
            frames.push(Vec::new());
        }
        frames.last_mut()?.extend_from_slice(rest);
    }
    let (is_key, mut config) = match header(frames.first()?)? {
        Some(config) => (true, Some(config)),
        None => (false, None),
    };
    if let (Some(config), Some(size), true) = (&mut config, told, frames.len() > 1) {
        config.size = size;
        if let Some(level) = config.record.get_mut(1) {
            *level = level_of(size);
        }
    }
    layers.hide_all_but_last(&mut frames);
    Some(Picture { data: superframe(frames)?, is_key, config })
}

fn descriptor(payload: &[u8]) -> Option<Descriptor> {
    let flags = *payload.first()?;
    let has = |bit: u8| flags & bit != 0;
    let mut at = 1;
    if has(0x80) {
        at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
    }
    if has(0x20) {
        at += if has(0x10) { 1 } else { 2 };
    }
    if has(0x10) && has(0x40) {
        for _ in 0..3 {
            at += 1;
            if payload.get(at - 1)? & 1 == 0 {
                break;
            }
        }
    }
    let mut size = None;
    if has(0x02) {
        let structure = *payload.get(at)?;
        at += 1;
        let layers = usize::from(structure >> 5) + 1;
        if structure & 0x10 != 0 {
            at += layers * 4;
            let [w1, w0, h1, h0] = *payload.get(at - 4..)?.first_chunk()?;
            size = Some((u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0])));
        }
        if structure & 0x08 != 0 {
            let pictures = *payload.get(at)?;
            at += 1;
            for _ in 0..pictures {
                at += 1 + usize::from(payload.get(at)? >> 2 & 3);
            }
        }
    }
    Some(Descriptor { len: at, begins: has(0x08), size })
}

/// The configuration of a keyframe, nothing of another frame; `None` for what is no frame.
fn header(frame: &[u8]) -> Option<Option<Config>> {
    let mut bits = Bits::new(frame);
    if bits.take(2)? != 2 {
        return None;
    }
    let (low, high) = (bits.take(1)?, bits.take(1)?);
    let profile = high << 1 | low;
    if profile == 3 {
        bits.skip(1)?;
    }
    // An existing frame is shown; or it is no keyframe.
    if bits.bit()? || bits.bit()? {
        return Some(None);
    }
    bits.skip(2)?;
    if bits.take(24)? != 0x49_83_42 {
        return None;
    }
    let depth = if profile >= 2 && bits.bit()? { 12 } else { 8 + 2 * u8::from(profile >= 2) };
    let is_rgb = bits.take(3)? == 7;
    let (mut is_full, mut chroma) = (true, 3);
    if is_rgb {
        bits.skip(u32::from(profile & 1 == 1))?;
    } else {
        is_full = bits.bit()?;
        chroma = 1;
        if profile & 1 == 1 {
            chroma = if bits.bit()? { 2 } else { 3 };
            bits.skip(2)?;
        }
    }
    let size =
        (bits.take(16)? as u16).checked_add(1).zip((bits.take(16)? as u16).checked_add(1))?;
    let format = depth << 4 | chroma << 1 | u8::from(is_full);
    // Colours are not specified (2), and there is no more to initialise with.
    let record = vec![profile as u8, level_of(size), format, 2, 2, 2, 0, 0];
    Some(Some(Config { codec: Codec::Vp9, size, record }))
}

/// The level that a picture of this size needs.
fn level_of((width, height): (u16, u16)) -> u8 {
    const LEVELS: [(u32, u8); 8] = [
        (36_864, 10),
        (73_728, 11),
        (122_880, 20),
        (245_760, 21),
        (552_960, 30),
        (983_040, 31),
        (2_228_224, 40),
        (8_912_896, 50),
    ];
    let samples = u32::from(width) * u32::from(height);
    LEVELS.iter().find(|(max, _)| samples <= *max).map_or(60, |(_, level)| *level)
}

/// Several frames as one, with an index behind them (Annex B of the specification).
fn superframe(mut frames: Vec<Vec<u8>>) -> Option<Vec<u8>> {
    if frames.len() == 1 {
        return frames.pop();
    }
    if frames.len() > FRAMES_MAX {
        return None;
    }
    let marker = 0b1101_1000 | (frames.len() - 1) as u8;
    let sizes: Vec<u32> = frames.iter().map(|frame| frame.len() as u32).collect();
    let mut data = frames.concat();
    data.push(marker);
    for size in sizes {
        data.extend_from_slice(&size.to_le_bytes());
    }
    data.push(marker);
    Some(data)
}
