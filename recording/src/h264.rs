//! H.264 (RFC 6184, ISO/IEC 14496-10 and -15).

use std::collections::BTreeMap;

use crate::bits::Bits;
use crate::{Codec, Config, Picture};

const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// Parameter sets that are remembered: more than this is no camera.
const SETS_MAX: usize = 16;

/// What has been said of the stream so far, by id.
#[derive(Default)]
pub(crate) struct Sets {
    sps: BTreeMap<u32, Vec<u8>>,
    pps: BTreeMap<u32, Vec<u8>>,
}

impl Sets {
    /// A picture from the payloads of its packets, as units behind their lengths. Parameter sets of
    /// keyframes are in the configuration only.
    pub(crate) fn picture(&mut self, payloads: &[Vec<u8>]) -> Option<Picture> {
        let units = units(payloads)?;
        let is_key = units.iter().any(|unit| kind(unit) == IDR);
        let mut data = Vec::with_capacity(units.iter().map(|unit| unit.len() + 4).sum());
        for unit in units {
            let kind = kind(&unit);
            match kind {
                SPS => self.note(true, unit.clone()),
                PPS => self.note(false, unit.clone()),
                _ => {}
            }
            if kind == DELIMITER || (is_key && matches!(kind, SPS | PPS)) {
                continue;
            }
            data.extend_from_slice(&(unit.len() as u32).to_be_bytes());
            data.extend_from_slice(&unit);
        }
        let config = if is_key { Some(self.config()?) } else { None };
        (!data.is_empty()).then_some(Picture { data, is_key, config })
    }

    fn note(&mut self, is_sps: bool, unit: Vec<u8>) {
        let sets = if is_sps { &mut self.sps } else { &mut self.pps };
        // An SPS begins with profile, constraints and level.
        let id = unit.get(if is_sps { 4 } else { 1 }..).and_then(|rest| Bits::new(rest).golomb());
        let Some(id) = id else {
            return;
        };
        if sets.len() < SETS_MAX || sets.contains_key(&id) {
            sets.insert(id, unit);
        }
    }

    fn config(&self) -> Option<Config> {
        let first = self.sps.values().next()?;
        self.pps.values().next()?;
        let [_, profile, constraints, level] = *first.first_chunk()?;
        let sequence = Sequence::read(first)?;
        let mut record = vec![1, profile, constraints, level, 0xff];
        record.push(0xe0 | self.sps.len() as u8);
        put_all(&mut record, self.sps.values());
        record.push(self.pps.len() as u8);
        put_all(&mut record, self.pps.values());
        if has_chroma(profile) {
            let Sequence { chroma, depths, .. } = sequence;
            record.extend([0xfc | chroma, 0xf8 | depths.0, 0xf8 | depths.1, 0]);
        }
        Some(Config { codec: Codec::H264, size: sequence.size, record })
    }
}

fn put_all<'a>(record: &mut Vec<u8>, sets: impl Iterator<Item = &'a Vec<u8>>) {
    for set in sets {
        record.extend_from_slice(&(set.len() as u16).to_be_bytes());
        record.extend_from_slice(set);
    }
}

fn kind(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |first| first & 0x1f)
}

/// The units in the payloads of a picture; `None` if one lacks its beginning or its end.
fn units(payloads: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let mut units = Vec::new();
    let mut open: Option<Vec<u8>> = None;
    for payload in payloads {
        match kind(payload) {
            1..=23 if open.is_none() => units.push(payload.clone()),
            STAP_A if open.is_none() => {
                let mut rest = payload.get(1..)?;
                while let Some((len, after)) = rest.split_first_chunk() {
                    let (unit, after) = after.split_at_checked(u16::from_be_bytes(*len).into())?;
                    if !unit.is_empty() {
                        units.push(unit.to_vec());
                    }
                    rest = after;
                }
            }
            FU_A => {
                let [indicator, header] = *payload.first_chunk()?;
                if header & 0x80 != 0 {
                    open = Some(vec![indicator & 0xe0 | header & 0x1f]);
                }
                open.as_mut()?.extend_from_slice(payload.get(2..)?);
                if header & 0x40 != 0 {
                    units.extend(open.take());
                }
            }
            _ => return None,
        }
    }
    open.is_none().then_some(units)
}

fn has_chroma(profile: u8) -> bool {
    matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128)
}

/// What of a sequence parameter set is of use.
struct Sequence {
    size: (u16, u16),
    chroma: u8,
    depths: (u8, u8),
}

impl Sequence {
    /// Reads s7.3.2.1.1 as far as the size.
    fn read(unit: &[u8]) -> Option<Self> {
        let plain = without_emulation(unit);
        let profile = *plain.get(1)?;
        let mut bits = Bits::new(plain.get(4..)?);
        bits.golomb()?;
        let (mut chroma, mut depths, mut is_separate) = (1, (0, 0), false);
        if has_chroma(profile) {
            chroma = bits.golomb()?.min(3);
            is_separate = chroma == 3 && bits.bit()?;
            depths = (bits.golomb()?.min(7) as u8, bits.golomb()?.min(7) as u8);
            bits.skip(1)?;
            if bits.bit()? {
                for list in 0..if chroma == 3 { 12 } else { 8 } {
                    if bits.bit()? {
                        skip_scaling(&mut bits, if list < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        bits.golomb()?;
        match bits.golomb()? {
            0 => {
                bits.golomb()?;
            }
            1 => {
                bits.skip(1)?;
                bits.golomb()?;
                bits.golomb()?;
                for _ in 0..bits.golomb()?.min(255) {
                    bits.golomb()?;
                }
            }
            _ => {}
        }
        bits.golomb()?;
        bits.skip(1)?;
        let (columns, rows) = (bits.golomb()?.checked_add(1)?, bits.golomb()?.checked_add(1)?);
        let fields = if bits.bit()? { 1 } else { 2 };
        if fields == 2 {
            bits.skip(1)?;
        }
        bits.skip(1)?;
        let mut crop = [0; 4];
        if bits.bit()? {
            for side in &mut crop {
                *side = bits.golomb()?;
            }
        }
        let sub = |on: bool| if on { 2 } else { 1 };
        let is_mono = chroma == 0 || is_separate;
        let unit_x = sub(!is_mono && chroma < 3);
        let unit_y = sub(!is_mono && chroma == 1) * fields;
        let cut = |whole: u32, cut: [u32; 2], unit: u32| {
            let cut = cut[0].checked_add(cut[1])?.checked_mul(unit)?;
            u16::try_from(whole.checked_sub(cut)?).ok()
        };
        let width = cut(columns.checked_mul(16)?, [crop[0], crop[1]], unit_x)?;
        let height = cut(rows.checked_mul(16)?.checked_mul(fields)?, [crop[2], crop[3]], unit_y)?;
        Some(Self { size: (width, height), chroma: chroma as u8, depths })
    }
}

fn skip_scaling(bits: &mut Bits<'_>, size: usize) -> Option<()> {
    let (mut last, mut next) = (8i32, 8i32);
    for _ in 0..size {
        if next != 0 {
            next = (last.wrapping_add(bits.signed_golomb()?)).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

/// Takes out the octets that keep start codes from appearing (s7.4.1).
fn without_emulation(unit: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for byte in unit {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        plain.push(*byte);
    }
    plain
}
