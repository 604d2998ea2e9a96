//! AV1 (the RTP payload format of AOMedia, and the bitstream's specification).

use crate::bits::{Bits, leb128, put_leb128};
use crate::{Codec, Config, Picture};

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;

/// A temporal unit from the payloads of its packets, each unit with its size.
pub(crate) fn picture(payloads: &[Vec<u8>]) -> Option<Picture> {
    let (mut data, mut config, mut is_key) = (Vec::new(), None, None);
    for unit in units(payloads)? {
        let (kind, head, body) = parts(&unit)?;
        match kind {
            TEMPORAL_DELIMITER | TILE_LIST | PADDING => continue,
            SEQUENCE_HEADER if config.is_none() => {
                let mut own = Vec::new();
                put(&mut own, head, body);
                config = Some(read_sequence(body, own)?);
            }
            // Neither is an existing frame shown, nor is it another kind than a keyframe.
            FRAME | FRAME_HEADER => {
                is_key = is_key.or(Some(body.first()? & 0b1110_0000 == 0));
            }
            _ => {}
        }
        put(&mut data, head, body);
    }
    let is_key = is_key? && config.is_some();
    Some(Picture { data, is_key, config: config.filter(|_| is_key) })
}

fn put(out: &mut Vec<u8>, head: &[u8], body: &[u8]) {
    out.push(head.first().copied().unwrap_or_default() | 0x02);
    out.extend_from_slice(head.get(1..).unwrap_or_default());
    put_leb128(out, body.len());
    out.extend_from_slice(body);
}

/// Kind, header and payload of a unit.
fn parts(unit: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let first = *unit.first()?;
    let head = 1 + usize::from(first & 0x04 != 0);
    let (head, mut body) = unit.split_at_checked(head)?;
    if first & 0x02 != 0 {
        let (len, octets) = leb128(body)?;
        body = body.get(octets..)?.get(..len)?;
    }
    Some((first >> 3 & 0x0f, head, body))
}

/// The units in the payloads; `None` if one lacks its beginning or its end.
fn units(payloads: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let mut units: Vec<Vec<u8>> = Vec::new();
    let mut is_open = false;
    for payload in payloads {
        let (aggregation, mut rest) = payload.split_first()?;
        let count = aggregation >> 4 & 3;
        if (aggregation & 0x80 != 0) != is_open {
            return None;
        }
        let mut taken = 0;
        while !rest.is_empty() {
            taken += 1;
            let element;
            (element, rest) = if count != 0 && taken == count {
                (rest, &[][..])
            } else {
                let (len, octets) = leb128(rest)?;
                rest.get(octets..)?.split_at_checked(len)?
            };
            if std::mem::take(&mut is_open) {
                units.last_mut()?.extend_from_slice(element);
            } else {
                units.push(element.to_vec());
            }
        }
        is_open = aggregation & 0x40 != 0;
    }
    units.retain(|unit| !unit.is_empty());
    (!is_open).then_some(units)
}

/// Reads the timing and the operating points of a sequence header. Gives level and tier of the first
/// point, which is that of the whole stream.
fn read_operating_points(bits: &mut Bits<'_>) -> Option<(u8, u8)> {
    let (mut level, mut tier) = (0, 0);
    let mut delay_len = None;
    if bits.bit()? {
        bits.skip(64)?;
        if bits.bit()? {
            bits.golomb()?;
        }
        if bits.bit()? {
            delay_len = Some(bits.take(5)? + 1);
            bits.skip(32 + 5 + 5)?;
        }
    }
    let has_display_delay = bits.bit()?;
    for point in 0..=bits.take(5)? {
        bits.skip(12)?;
        let own_level = bits.take(5)? as u8;
        let own_tier = if own_level > 7 { bits.take(1)? as u8 } else { 0 };
        if point == 0 {
            (level, tier) = (own_level, own_tier);
        }
        if let Some(len) = delay_len
            && bits.bit()?
        {
            bits.skip(2 * len + 1)?;
        }
        if has_display_delay && bits.bit()? {
            bits.skip(4)?;
        }
    }
    Some((level, tier))
}

/// Reads a sequence header (s5.5.1) as far as the colours.
fn read_sequence(body: &[u8], own: Vec<u8>) -> Option<Config> {
    let mut bits = Bits::new(body);
    let profile = bits.take(3)? as u8;
    bits.skip(1)?;
    let is_reduced = bits.bit()?;
    let (level, tier) =
        if is_reduced { (bits.take(5)? as u8, 0) } else { read_operating_points(&mut bits)? };
    let (width_len, height_len) = (bits.take(4)? + 1, bits.take(4)? + 1);
    let width = u16::try_from(bits.take(width_len)? + 1).ok()?;
    let height = u16::try_from(bits.take(height_len)? + 1).ok()?;
    if !is_reduced && bits.bit()? {
        bits.skip(4 + 3)?;
    }
    bits.skip(3)?;
    if !is_reduced {
        bits.skip(4)?;
        let has_order_hint = bits.bit()?;
        if has_order_hint {
            bits.skip(2)?;
        }
        let screen_tools = if bits.bit()? { 2 } else { bits.take(1)? };
        if screen_tools > 0 && !bits.bit()? {
            bits.skip(1)?;
        }
        if has_order_hint {
            bits.skip(3)?;
        }
    }
    bits.skip(3)?;
    let is_deep = bits.bit()?;
    let is_twelve = profile == 2 && is_deep && bits.bit()?;
    let is_mono = profile != 1 && bits.bit()?;
    let subsampling = match profile {
        0 => 0b11,
        1 => 0b00,
        _ => 0b10,
    };
    let depth = u8::from(is_deep) << 6 | u8::from(is_twelve) << 5 | u8::from(is_mono) << 4;
    let mut record = vec![0x81, profile << 5 | level, tier << 7 | depth | subsampling << 2, 0];
    record.extend(own);
    Some(Config { codec: Codec::Av1, size: (width, height), record })
}
