//! Frames of packets: reorders what retransmission brings late, takes the payloads of one picture
//! together, and leaves out what a decoder could not show.

use std::collections::BTreeMap;

use crate::h264::Sets;
use crate::vp9_layers::Layers;
use crate::{Codec, Config, Picture, av1, opus, vp8, vp9};

/// How long a gap may wait to be filled: some round trips of a bad path, with NACKs repeated.
const WAIT_US: u64 = 1_000_000;
/// Packets that wait behind a gap; with more the gap is given up. 2 s at 8 Mbit/s.
const PACKETS_MAX: usize = 2048;
/// Packets of one picture; more belong to none.
const PICTURE_PACKETS_MAX: usize = 4096;

/// One packet as it came.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Its number, extended so that it never wraps.
    pub seq: u64,
    /// Its RTP timestamp, in ticks of its codec.
    pub rtp_time: u32,
    /// When it came, in microseconds on a clock that only goes on.
    pub at_us: u64,
    /// The marker bit: of pictures, whether this is the last packet of one.
    pub marker: bool,
    /// Without header, extensions and padding.
    pub payload: &'a [u8],
}

/// What a decoder gets at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Its RTP timestamp, in ticks of its codec.
    pub rtp_time: u32,
    /// When the last packet of it came.
    pub at_us: u64,
    /// How long it sounds, in ticks of its timestamps; 0 for pictures.
    pub ticks: u32,
    /// Whether a decoder may begin with it.
    pub is_key: bool,
    /// As files have it.
    pub data: Vec<u8>,
    /// What a decoder must know, with keyframes.
    pub config: Option<Config>,
}

struct Kept {
    rtp_time: u32,
    at_us: u64,
    marker: bool,
    payload: Vec<u8>,
}

/// See the module's documentation.
pub struct Assembler {
    codec: Codec,
    /// The number that must come next.
    next: Option<u64>,
    kept: BTreeMap<u64, Kept>,
    /// Of the picture that is coming.
    payloads: Vec<Vec<u8>>,
    rtp_time: u32,
    at_us: u64,
    sets: Sets,
    layers: Layers,
    /// The sender marks the last packet of a picture.
    has_marked: bool,
    /// Pictures cannot be shown before the next keyframe.
    is_broken: bool,
    /// What the last keyframe says, and whether pictures have become larger since.
    size: (u16, u16),
    has_outgrown: bool,
    gaps: u64,
}

impl Assembler {
    /// Waits for the first packet of a stream of this codec.
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            next: None,
            kept: BTreeMap::new(),
            payloads: Vec::new(),
            rtp_time: 0,
            at_us: 0,
            sets: Sets::default(),
            layers: Layers::default(),
            has_marked: false,
            is_broken: !codec.is_audio(),
            size: (0, 0),
            has_outgrown: false,
            gaps: 0,
        }
    }

    /// What it is made for.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Whether no picture can be shown as it should be before the next keyframe.
    pub fn needs_keyframe(&self) -> bool {
        self.is_broken || self.has_outgrown
    }

    /// How often packets were given up.
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Takes a packet; [`Self::poll`] tells what has become complete.
    pub fn push(&mut self, packet: &Packet<'_>) {
        if self.next.is_some_and(|next| packet.seq < next) {
            return;
        }
        self.kept.entry(packet.seq).or_insert_with(|| Kept {
            rtp_time: packet.rtp_time,
            at_us: packet.at_us,
            marker: packet.marker,
            payload: packet.payload.to_vec(),
        });
    }

    /// The next frame, if there is one by now.
    pub fn poll(&mut self, now_us: u64) -> Option<Frame> {
        loop {
            let (seq, first) = self.kept.first_key_value()?;
            let (seq, rtp_time, came_us) = (*seq, first.rtp_time, first.at_us);
            let next = *self.next.get_or_insert(seq);
            if seq > next {
                let has_waited = now_us.saturating_sub(came_us) >= WAIT_US;
                if !has_waited && self.kept.len() < PACKETS_MAX {
                    return None;
                }
                self.gaps += 1;
                self.give_up();
            }
            // The packet that shows that the picture before it has ended stays for the next turn.
            let is_other = !self.payloads.is_empty() && rtp_time != self.rtp_time;
            if is_other && seq == next {
                // libwebrtc throws away what still waits of a picture when a keyframe is to go out, and
                // numbers packets only then: what is cut off leaves no gap.
                if self.has_marked {
                    self.give_up();
                } else if let Some(frame) = self.complete() {
                    return Some(frame);
                }
                continue;
            }
            let (_, packet) = self.kept.pop_first()?;
            self.next = Some(seq + 1);
            if packet.payload.is_empty() {
                continue;
            }
            self.has_marked |= packet.marker;
            (self.rtp_time, self.at_us) = (packet.rtp_time, packet.at_us);
            self.payloads.push(packet.payload);
            let is_whole = packet.marker || self.codec.is_audio();
            if self.payloads.len() > PICTURE_PACKETS_MAX {
                self.give_up();
            } else if is_whole && let Some(frame) = self.complete() {
                return Some(frame);
            }
        }
    }

    fn give_up(&mut self) {
        self.payloads.clear();
        self.is_broken |= !self.codec.is_audio();
    }

    fn complete(&mut self) -> Option<Frame> {
        let payloads = std::mem::take(&mut self.payloads);
        let (rtp_time, at_us) = (self.rtp_time, self.at_us);
        let picture = match self.codec {
            Codec::Opus => {
                let data = payloads.into_iter().next()?;
                let ticks = opus::samples(&data)?;
                let config = Some(Config::opus());
                return Some(Frame { rtp_time, at_us, ticks, is_key: true, data, config });
            }
            Codec::Vp8 => vp8::picture(&payloads),
            Codec::Vp9 => vp9::picture(&payloads, &mut self.layers),
            Codec::H264 => self.sets.picture(&payloads),
            Codec::Av1 => av1::picture(&payloads),
        };
        let Some(Picture { data, is_key, config }) = picture else {
            // Parameter sets alone are no picture, and others do not need it.
            self.is_broken |= !self.is_harmless(&payloads);
            return None;
        };
        let is_key = is_key && config.is_some();
        if self.is_broken && !is_key {
            return None;
        }
        self.is_broken = false;
        if let Some(config) = &config {
            // Who says less with each keyframe than it shows is not asked again and again.
            let shown = self.layers.shown().filter(|(width, _)| *width > config.size.0);
            (self.size, self.has_outgrown) = (shown.unwrap_or(config.size), false);
        } else if let Some((width, _)) = self.layers.shown() {
            // A layer more, without a keyframe: the file's head says less.
            self.has_outgrown |= width > self.size.0;
        }
        Some(Frame { rtp_time, at_us, ticks: 0, is_key, data, config })
    }

    fn is_harmless(&self, payloads: &[Vec<u8>]) -> bool {
        let is_set = |payload: &Vec<u8>| payload.first().is_some_and(|b| matches!(b & 0x1f, 7..=9));
        self.codec == Codec::H264 && payloads.iter().all(is_set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(seq: u64, payload: &[u8], marker: bool) -> Packet<'_> {
        Packet { seq, rtp_time: 3000 * (seq as u32 / 2), at_us: seq * 1000, marker, payload }
    }

    /// A keyframe of 16 by 8 in two packets, or another frame.
    fn vp8(assembler: &mut Assembler, seq: u64, is_key: bool, lost: bool) {
        let head: &[u8] = match is_key {
            true => &[0x10, 0, 0, 0, 0x9d, 1, 0x2a, 16, 0, 8, 0],
            false => &[0x10, 1, 0, 0],
        };
        assembler.push(&packet(seq, head, false));
        if !lost {
            assembler.push(&packet(seq + 1, &[0, 9, 9], true));
        }
    }

    #[test]
    fn pictures_begin_with_a_keyframe_and_after_a_gap_with_another() {
        let mut assembler = Assembler::new(Codec::Vp8);
        let polled = |assembler: &mut Assembler, now_us| {
            std::iter::from_fn(|| assembler.poll(now_us)).map(|f| f.is_key).collect::<Vec<_>>()
        };
        vp8(&mut assembler, 0, false, false);
        assert_eq!(polled(&mut assembler, 0), []);
        assert!(assembler.needs_keyframe());
        vp8(&mut assembler, 2, true, false);
        vp8(&mut assembler, 4, false, false);
        assert_eq!(polled(&mut assembler, 0), [true, false]);
        vp8(&mut assembler, 6, false, true);
        vp8(&mut assembler, 8, false, false);
        assert_eq!(polled(&mut assembler, 9000), [], "the gap may be filled yet");
        assembler.push(&packet(7, &[0, 9], true));
        assert_eq!(polled(&mut assembler, 9000), [false, false]);
        vp8(&mut assembler, 10, false, true);
        vp8(&mut assembler, 12, false, false);
        vp8(&mut assembler, 14, true, false);
        assert_eq!(polled(&mut assembler, 2_000_000), [true], "nothing of what lacks a packet");
        assert_eq!(assembler.gaps(), 1);
        assembler.push(&packet(11, &[0, 9], true));
        assert_eq!(polled(&mut assembler, 2_000_000), [], "too late");
    }

    #[test]
    fn a_picture_that_was_cut_off_without_a_gap_is_left_out() {
        let mut assembler = Assembler::new(Codec::Vp8);
        vp8(&mut assembler, 0, true, false);
        // Of this one the second packet never got a number.
        let head = [0x10, 1, 0, 0];
        assembler.push(&Packet { rtp_time: 7, ..packet(2, &head, false) });
        let key = [0x10, 0, 0, 0, 0x9d, 1, 0x2a, 16, 0, 8, 0];
        assembler.push(&Packet { rtp_time: 8, ..packet(3, &key, true) });
        let times = std::iter::from_fn(|| assembler.poll(0)).map(|frame| frame.rtp_time);
        assert_eq!(times.collect::<Vec<_>>(), [0, 8]);
        // Who never marks an end means the next beginning.
        let mut assembler = Assembler::new(Codec::Vp8);
        for (seq, rtp_time) in [(0, 1), (1, 2), (2, 3)] {
            assembler.push(&Packet { rtp_time, ..packet(seq, &key, false) });
        }
        let times = std::iter::from_fn(|| assembler.poll(0)).map(|frame| frame.rtp_time);
        assert_eq!(times.collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn keyframes_tell_the_size() {
        let mut assembler = Assembler::new(Codec::Vp8);
        vp8(&mut assembler, 2, true, false);
        let config = assembler.poll(0).and_then(|frame| frame.config).expect("a keyframe");
        assert_eq!(config.size, (16, 8));
    }

    #[test]
    fn units_of_h264_come_out_behind_their_lengths() {
        let mut assembler = Assembler::new(Codec::H264);
        // 640x480, baseline; as a camera of Chromium says it.
        let sps =
            [0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x50, 0x1e, 0xd0, 0x0f, 0x08, 0x84, 0x6a];
        let mut sets = vec![0x78, 0, sps.len() as u8];
        sets.extend(sps);
        sets.extend([0, 3, 0x68, 0xce, 0x3c]);
        assembler.push(&Packet { rtp_time: 1, ..packet(1, &sets, false) });
        assembler.push(&Packet { rtp_time: 1, ..packet(2, &[0x7c, 0x85, 1, 2], false) });
        assembler.push(&Packet { rtp_time: 1, ..packet(3, &[0x7c, 0x45, 3], true) });
        let frame = assembler.poll(0).expect("a keyframe");
        assert_eq!(frame.data, [0, 0, 0, 4, 0x65, 1, 2, 3]);
        let config = frame.config.expect("what a decoder needs");
        assert_eq!(config.size, (640, 480));
        assert_eq!(config.record[..5], [1, 0x42, 0xc0, 0x1f, 0xff]);
        assembler.push(&Packet { rtp_time: 2, ..packet(4, &[0x7c, 0x41, 3], true) });
        assert_eq!(assembler.poll(0), None, "it lacks its beginning");
        assert!(assembler.needs_keyframe());
    }

    #[test]
    fn units_of_av1_get_sizes_and_lose_delimiters() {
        let mut assembler = Assembler::new(Codec::Av1);
        // A delimiter, a reduced sequence header of 16 by 8 and the beginning of a frame.
        let sequence = [0x08, 0b0001_1000, 0b0001_1001, 0b1111_1101, 0b1100_0000, 0, 0];
        let mut first = vec![0b0111_1000, 1, 0x10, sequence.len() as u8];
        first.extend(sequence);
        first.extend([0x30, 0x10, 7]);
        assembler.push(&Packet { rtp_time: 1, ..packet(1, &first, false) });
        assembler.push(&Packet { rtp_time: 1, ..packet(2, &[0b1001_0000, 8, 9], true) });
        let frame = assembler.poll(0).expect("a keyframe");
        let mut expected = vec![0x0a, 6];
        expected.extend(&sequence[1..]);
        expected.extend([0x32, 4, 0x10, 7, 8, 9]);
        assert_eq!(frame.data, expected);
        assert!(frame.is_key);
        assembler.push(&Packet { rtp_time: 2, ..packet(3, &[0b1001_0000, 8, 9], true) });
        assert_eq!(assembler.poll(0), None, "it lacks its beginning");
    }

    #[test]
    fn layers_of_vp9_are_one_superframe() {
        let mut assembler = Assembler::new(Codec::Vp9);
        // Profile 0, a keyframe, shown; 640x480.
        let key = [0x82, 0x49, 0x83, 0x42, 0x00, 0x27, 0xf0, 0x1d, 0xf0];
        let with = |descriptor: &[u8], rest: &[u8]| [descriptor, rest].concat();
        let lower = with(&[0x2c, 0x00, 1], &key);
        let upper = with(&[0x6c, 0x03, 1], &[0x86, 7]);
        assembler.push(&Packet { rtp_time: 1, ..packet(1, &lower, false) });
        assembler.push(&Packet { rtp_time: 1, ..packet(2, &upper, true) });
        let frame = assembler.poll(0).expect("a keyframe");
        assert_eq!(frame.config.map(|config| config.size), Some((640, 480)));
        let index = [0xd9, 9, 0, 0, 0, 2, 0, 0, 0, 0xd9];
        assert_eq!(frame.data, [&key[..], &[0x86, 7], &index].concat());
    }

    #[test]
    fn no_payload_panics() {
        let mut state = 1u64;
        for codec in [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1, Codec::Opus] {
            for round in 0..20_000u64 {
                let mut bytes = [0; 24];
                for byte in &mut bytes {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    *byte = (state >> 56) as u8;
                }
                // What is likely to be taken for a keyframe.
                let starts = [0x10, 0x0a, 0x67, 0x08, 0x65, 0x8a];
                if round % 2 == 0 {
                    bytes[0] = starts[round as usize / 2 % starts.len()];
                }
                let mut assembler = Assembler::new(codec);
                let len = round as usize % 24;
                assembler.push(&packet(0, &bytes[..len], false));
                assembler.push(&packet(1, &bytes[..23 - len], true));
                while assembler.poll(0).is_some() {}
            }
        }
    }
}
