//! Which frames an encoder makes, and how large: layers in the patterns of libvpx and libaom,
//! keyframes several times the size of what follows, and sizes that vary around a rate that is
//! kept over a second or so. Everything follows from a seed.

/// Numbers that look random and repeat with their seed (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// A sequence of its own for each seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number in 0..1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// One spatial layer's part of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Pictures since the start.
    pub picture: u64,
    /// Pictures since the last keyframe.
    pub since_keyframe: u64,
    /// Whether the picture is a keyframe.
    pub is_keyframe: bool,
    pub tid: u8,
    pub sid: u8,
    /// Whether no layer of this picture follows.
    pub ends_picture: bool,
    /// Octets of the encoded frame.
    pub bytes: usize,
    /// Units of 90 kHz.
    pub rtp_time: u32,
}

/// Temporal layers in their repeating order, each with its share of an average frame's size.
pub(super) type TemporalPattern = &'static [(u8, f64)];

pub(super) const L1T1: TemporalPattern = &[(0, 1.0)];
/// libvpx gives the lower of two layers 60 % of the rate.
pub(super) const L1T2: TemporalPattern = &[(0, 1.2), (1, 0.8)];
/// Of three layers 40, 20 and 40 %.
pub(super) const L1T3: TemporalPattern = &[(0, 1.6), (2, 0.8), (1, 0.8), (2, 0.8)];

/// What an encoder is set to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Bits per second of encoded frames.
    pub bitrate_bps: u64,
    pub fps: u64,
    pub temporal: TemporalPattern,
    /// Spatial layers; each has three times the rate of the one below.
    pub spatial: u8,
    /// Where the variation comes from.
    pub seed: u64,
}

/// A keyframe as a multiple of an average frame. Of libvpx at real-time settings: 4 to 8.
const KEYFRAME_FACTOR: f64 = 5.0;
/// Seconds between keyframes that nobody asked for.
const KEYFRAME_EVERY_S: u64 = 10;
/// What a keyframe was too large, the frames of so many seconds after it are smaller.
const RECOVER_S: f64 = 1.0;
/// A frame is never smaller, in octets.
const FRAME_BYTES_MIN: f64 = 48.0;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Encoder {
    settings: Settings,
    random: Random,
    picture: u64,
    keyframe_at: u64,
    /// Octets sent beyond the rate.
    debt: f64,
}

impl Encoder {
    /// An encoder before its first keyframe.
    pub(super) fn new(settings: Settings) -> Self {
        let random = Random::new(settings.seed);
        Self { settings, random, picture: 0, keyframe_at: 0, debt: 0.0 }
    }

    /// Keeps to another rate from the next picture on.
    pub(super) fn set_rate(&mut self, bitrate_bps: u64) {
        self.settings.bitrate_bps = bitrate_bps;
    }

    /// The frames of the next picture, lowest layer first.
    pub(super) fn next_picture(&mut self, wants_keyframe: bool) -> Vec<Frame> {
        let Settings { bitrate_bps, fps, temporal, spatial, .. } = self.settings;
        let picture = self.picture;
        self.picture += 1;
        let is_keyframe =
            wants_keyframe || picture == 0 || picture - self.keyframe_at >= KEYFRAME_EVERY_S * fps;
        if is_keyframe {
            self.keyframe_at = picture;
        }
        let since_keyframe = picture - self.keyframe_at;
        let (tid, weight) = temporal[since_keyframe as usize % temporal.len()];
        let mean = bitrate_bps as f64 / 8.0 / fps as f64;
        // The sum of three is near enough to a bell curve, between 0.5 and 1.5.
        let noise = 0.5 + (0..3).map(|_| self.random.share()).sum::<f64>() / 3.0;
        let mut size = mean * weight * noise;
        if is_keyframe {
            size = mean * KEYFRAME_FACTOR * noise;
        } else {
            size -= (self.debt / (RECOVER_S * fps as f64)).min(size * 0.6);
        }
        let size = size.max(FRAME_BYTES_MIN);
        self.debt += size - mean;
        let weights: f64 = (0..i32::from(spatial)).map(|sid| 3f64.powi(sid)).sum();
        (0..spatial)
            .map(|sid| Frame {
                picture,
                since_keyframe,
                is_keyframe,
                tid,
                sid,
                ends_picture: sid + 1 == spatial,
                bytes: (size * 3f64.powi(i32::from(sid)) / weights).max(FRAME_BYTES_MIN) as usize,
                rtp_time: (picture * 90_000 / fps) as u32,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(seed: u64) -> Vec<Frame> {
        let settings = Settings { bitrate_bps: 800_000, fps: 25, temporal: L1T3, spatial: 1, seed };
        let mut encoder = Encoder::new(settings);
        (0..500).flat_map(|at| encoder.next_picture(at == 77)).collect()
    }

    #[test]
    fn the_rate_is_kept_and_frames_differ() {
        let frames = sizes(1);
        let bytes: usize = frames.iter().map(|frame| frame.bytes).sum();
        let bps = bytes as f64 * 8.0 / 20.0;
        assert!((760_000.0..840_000.0).contains(&bps), "{bps}");
        let keyframes: Vec<u64> =
            frames.iter().filter(|frame| frame.is_keyframe).map(|frame| frame.picture).collect();
        assert_eq!(keyframes, [0, 77, 327]);
        let mean = bytes / frames.len();
        assert!(frames.iter().filter(|f| f.is_keyframe).all(|f| f.bytes > 2 * mean));
        let mut distinct: Vec<usize> = frames.iter().map(|frame| frame.bytes).collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() > 300, "sizes vary");
    }

    #[test]
    fn the_same_seed_makes_the_same_frames() {
        assert_eq!(sizes(7), sizes(7));
        assert_ne!(sizes(7), sizes(8));
    }

    #[test]
    fn layers_follow_their_pattern_from_every_keyframe_on() {
        let frames = sizes(3);
        let tids = |from: usize| frames[from..from + 5].iter().map(|f| f.tid).collect::<Vec<_>>();
        assert_eq!(tids(0), [0, 2, 1, 2, 0]);
        assert_eq!(tids(77), [0, 2, 1, 2, 0]);
        let settings =
            Settings { bitrate_bps: 700_000, fps: 30, temporal: L1T1, spatial: 3, seed: 1 };
        let picture = Encoder::new(settings).next_picture(false);
        let sids: Vec<_> = picture.iter().map(|f| (f.sid, f.ends_picture)).collect();
        assert_eq!(sids, [(0, false), (1, false), (2, true)]);
        assert!(picture[2].bytes > 2 * picture[1].bytes);
    }
}
