//! Spatial layers of VP9 as players want them: of the frames of one picture only the last is shown
//! (Annex B of the specification). Encoders of calls mark all of them as shown, since some receivers
//! get the lower ones only; FFmpeg then shows each picture several times, in all sizes.

use crate::bits::Bits;

/// Frames that later ones refer to.
const REFERENCES: usize = 8;
/// Features of a segment: the bits of their values, and whether those have signs.
const FEATURES: [(u32, bool); 4] = [(8, true), (6, true), (2, false), (0, false)];

type Size = (u16, u16);

/// What is to be known of frames to understand the headers of those that follow.
#[derive(Default)]
pub(crate) struct Layers {
    sizes: [Option<Size>; REFERENCES],
    /// Of the last frame that was understood.
    shown: Option<Size>,
}

/// What a header (s6.2) says, as far as it matters.
struct Header {
    size: Size,
    /// Its bits, without those that fill the last octet.
    bits: usize,
    /// Where `show_frame` is, if the frame is shown.
    shown_at: Option<usize>,
    is_key: bool,
}

impl Layers {
    /// Lets only the last of the frames of a picture be shown. What is not understood stays as it is.
    pub(crate) fn hide_all_but_last(&mut self, frames: &mut [Vec<u8>]) {
        let headers: Vec<Option<Header>> = frames.iter().map(|frame| self.read(frame)).collect();
        for (at, frame) in frames.iter_mut().enumerate() {
            let (Some(Some(own)), Some(Some(next))) = (headers.get(at), headers.get(at + 1)) else {
                continue;
            };
            // Motion is predicted from a frame of the same size only if that was shown.
            if own.size != next.size
                && let Some(hidden) = hidden(frame, own)
            {
                *frame = hidden;
            }
        }
    }

    /// How large the last picture is shown.
    pub(crate) fn shown(&self) -> Option<Size> {
        self.shown
    }

    fn read(&mut self, frame: &[u8]) -> Option<Header> {
        let mut bits = Bits::new(frame);
        bits.skip(2)?;
        let (low, high) = (bits.take(1)?, bits.take(1)?);
        let profile = high << 1 | low;
        if profile == 3 {
            bits.skip(1)?;
        }
        if bits.bit()? {
            return None;
        }
        let is_key = !bits.bit()?;
        let at = bits.position();
        let is_shown = bits.bit()?;
        let is_resilient = bits.bit()?;
        let is_intra = !is_key && !is_shown && bits.bit()?;
        if !is_key && !is_resilient {
            bits.skip(2)?;
        }
        let (size, refreshed) = if is_key || is_intra {
            bits.skip(24)?;
            if is_key || profile > 0 {
                skip_colours(&mut bits, profile)?;
            }
            let refreshed = if is_key { 0xff } else { bits.take(8)? };
            (read_size(&mut bits)?, refreshed)
        } else {
            let refreshed = bits.take(8)?;
            let mut references = [0; 3];
            for reference in &mut references {
                *reference = bits.take(3)? as usize;
                bits.skip(1)?;
            }
            (self.read_size_of_reference(&mut bits, references)?, refreshed)
        };
        if bits.bit()? {
            bits.skip(32)?;
        }
        if !(is_key || is_intra) {
            bits.skip(1)?;
            if !bits.bit()? {
                bits.skip(2)?;
            }
        }
        if !is_resilient {
            bits.skip(2)?;
        }
        bits.skip(2)?;
        skip_filters(&mut bits)?;
        skip_segments(&mut bits)?;
        skip_tiles(&mut bits, size.0)?;
        bits.skip(16)?;
        for (reference, known) in self.sizes.iter_mut().enumerate() {
            if refreshed >> reference & 1 == 1 {
                *known = Some(size);
            }
        }
        self.shown = Some(size);
        let shown_at = is_shown.then_some(at);
        Some(Header { size, bits: bits.position(), shown_at, is_key })
    }

    fn read_size_of_reference(&self, bits: &mut Bits<'_>, references: [usize; 3]) -> Option<Size> {
        for reference in references {
            if bits.bit()? {
                return *self.sizes.get(reference)?;
            }
        }
        read_size(bits)
    }
}

/// The frame as one that is not shown. If it is no keyframe its header then has a bit more, which says
/// that it is not of pictures of its own only.
fn hidden(frame: &[u8], header: &Header) -> Option<Vec<u8>> {
    let at = header.shown_at?;
    let rest = frame.get(header.bits.div_ceil(8)..)?;
    let mut out = Vec::with_capacity(frame.len() + 1);
    let (mut octet, mut count) = (0, 0);
    let mut put = |bit: bool| {
        octet = octet << 1 | u8::from(bit);
        count += 1;
        if count % 8 == 0 {
            out.push(octet);
        }
        count % 8 != 0
    };
    let mut is_open = false;
    for number in 0..header.bits {
        let bit = frame.get(number / 8)? >> (7 - number % 8) & 1 == 1;
        is_open = put(bit && number != at);
        // Behind it comes whether the frame is resilient, and then the new one.
        if !header.is_key && number == at + 1 {
            is_open = put(false);
        }
    }
    while is_open {
        is_open = put(false);
    }
    out.extend_from_slice(rest);
    Some(out)
}

fn read_size(bits: &mut Bits<'_>) -> Option<Size> {
    let (width, height) = (bits.take(16)? as u16, bits.take(16)? as u16);
    Some((width.checked_add(1)?, height.checked_add(1)?))
}

fn skip_colours(bits: &mut Bits<'_>, profile: u32) -> Option<()> {
    if profile >= 2 {
        bits.skip(1)?;
    }
    let is_rgb = bits.take(3)? == 7;
    let is_odd = profile & 1 == 1;
    match is_rgb {
        true => bits.skip(u32::from(is_odd)),
        false => bits.skip(1 + if is_odd { 3 } else { 0 }),
    }
}

/// Of loops and of quantisers.
fn skip_filters(bits: &mut Bits<'_>) -> Option<()> {
    bits.skip(9)?;
    if bits.bit()? && bits.bit()? {
        for _ in 0..6 {
            if bits.bit()? {
                bits.skip(7)?;
            }
        }
    }
    bits.skip(8)?;
    for _ in 0..3 {
        if bits.bit()? {
            bits.skip(5)?;
        }
    }
    Some(())
}

fn skip_segments(bits: &mut Bits<'_>) -> Option<()> {
    if !bits.bit()? {
        return Some(());
    }
    let skip_chances = |bits: &mut Bits<'_>, count| {
        for _ in 0..count {
            if bits.bit()? {
                bits.skip(8)?;
            }
        }
        Some(())
    };
    if bits.bit()? {
        skip_chances(bits, 7)?;
        if bits.bit()? {
            skip_chances(bits, 3)?;
        }
    }
    if bits.bit()? {
        bits.skip(1)?;
        for _ in 0..8 {
            for (len, has_sign) in FEATURES {
                if bits.bit()? {
                    bits.skip(len + u32::from(has_sign))?;
                }
            }
        }
    }
    Some(())
}

fn skip_tiles(bits: &mut Bits<'_>, width: u16) -> Option<()> {
    let columns = u32::from(width).div_ceil(64);
    let least = (0..).find(|log2| 64 << log2 >= columns)?;
    let most = (1..).find(|log2| columns >> log2 < 4)? - 1;
    for _ in least..most {
        if !bits.bit()? {
            break;
        }
    }
    if bits.bit()? {
        bits.skip(1)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits and numbers of bits, written one after the other.
    fn header(fields: &[(u32, u32)], rest: &[u8]) -> Vec<u8> {
        let bits: Vec<bool> = fields
            .iter()
            .flat_map(|(value, len)| (0..*len).rev().map(move |at| value >> at & 1 == 1))
            .collect();
        let octets = bits.chunks(8).map(|bits| {
            bits.iter().enumerate().fold(0, |octet, (at, bit)| octet | u8::from(*bit) << (7 - at))
        });
        octets.chain(rest.iter().copied()).collect()
    }

    /// What follows the size, up to the end: a filter and a segment with a value, tiles, 7 octets.
    fn rest(width: u32) -> Vec<(u32, u32)> {
        let mut fields =
            vec![(0, 2), (0, 2), (8, 9), (0b11, 2), (0b1000_0001, 8), (0, 5), (60, 8), (0, 3)];
        fields.extend([(0b10, 2), (0b10, 2), (0b10_0000_0110, 10), (0, 3 + 7 * 4)]);
        // One column, where there could be more, and one row.
        fields.extend([(0, u32::from(width > 500)), (0, 1), (7, 16)]);
        fields
    }

    fn key(width: u32) -> Vec<u8> {
        let mut fields =
            vec![(0b10, 2), (0, 2), (0, 1), (0b010, 3), (0x49_83_42, 24), (2, 3), (0, 1)];
        fields.extend([(width - 1, 16), (89, 16), (0, 1)]);
        fields.extend(rest(width));
        header(&fields, &[9; 7])
    }

    /// Of `width`, which is written, or that of the second of the references that it refers to.
    fn inter(is_written: bool, width: u32, references: [u32; 3], refreshed: u32) -> Vec<u8> {
        let mut fields = vec![(0b10, 2), (0, 2), (0, 1), (0b110, 3), (0, 2), (refreshed, 8)];
        fields.extend(references.map(|reference| (reference << 1, 4)));
        match is_written {
            true => fields.extend([(0, 3), (width - 1, 16), (89, 16)]),
            false => fields.push((0b01, 2)),
        }
        fields.extend([(0, 1), (1, 1), (1, 1)]);
        fields.extend(rest(width));
        header(&fields, &[9; 7])
    }

    #[test]
    fn only_the_last_frame_of_a_picture_is_shown() {
        let mut layers = Layers::default();
        let pictures = [
            vec![key(160), inter(true, 320, [0, 0, 0], 2), inter(true, 640, [1, 1, 1], 4)],
            vec![
                inter(false, 160, [2, 0, 0], 1),
                inter(false, 320, [0, 1, 1], 2),
                inter(false, 640, [1, 2, 2], 4),
            ],
        ];
        for sent in pictures {
            let mut frames = sent.clone();
            layers.hide_all_but_last(&mut frames);
            assert_eq!(frames[2], sent[2]);
            assert_eq!(layers.shown(), Some((640, 90)));
            // Who reads them sees the same, but that they are not shown.
            let mut reader = Layers { sizes: layers.sizes, shown: None };
            for (at, (frame, sent)) in frames.iter().zip(&sent).enumerate().take(2) {
                let found = reader.read(frame).expect("a header");
                assert_eq!(found.shown_at, None, "{at}");
                let before = reader.read(sent).expect("a header");
                assert_eq!(before.shown_at, Some(6));
                assert_eq!((found.size, found.is_key), (before.size, before.is_key));
                assert_eq!(found.bits, before.bits + usize::from(!found.is_key));
                assert_eq!(frame[found.bits.div_ceil(8)..], [9; 7]);
            }
        }
    }

    #[test]
    fn layers_of_one_size_and_what_is_not_understood_stay() {
        let mut layers = Layers::default();
        let mut frames = vec![key(640), inter(true, 640, [0, 0, 0], 2)];
        let sent = frames.clone();
        layers.hide_all_but_last(&mut frames);
        assert_eq!(frames, sent);
        let mut frames =
            vec![vec![], vec![0x88], key(640)[..9].to_vec(), inter(false, 640, [7, 7, 7], 1)];
        let sent = frames.clone();
        Layers::default().hide_all_but_last(&mut frames);
        assert_eq!(frames, sent);
    }
}
