//! What a recorded stream becomes, without input or output: [`Assembler`] makes frames of RTP
//! payloads, [`Film`] makes a file of frames, fragment by fragment, so that what has been written
//! plays whatever happens afterwards. Threads, files and clocks are the server's.

// It reads what others have written: what is not there must not end the process.
#![warn(clippy::indexing_slicing)]

mod assemble;
mod av1;
mod bits;
mod container;
mod film;
mod h264;
mod matroska;
mod mp4;
mod opus;
mod read;
mod vp8;
mod vp9;
mod vp9_layers;

pub use assemble::{Assembler, Frame, Packet};
pub use container::{Patch, Sample, Track};
pub use film::{Ending, Film, Form, Fragment};
pub use mp4::{chunk, head};
pub use opus::SILENCE;
pub use read::samples;

/// What can be recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Codec {
    Vp8,
    Vp9,
    Av1,
    H264,
    Opus,
}

impl Codec {
    /// Every codec that can be recorded.
    pub const ALL: [Self; 5] = [Self::Vp8, Self::Vp9, Self::Av1, Self::H264, Self::Opus];

    /// As timelines have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "vp8",
            Self::Vp9 => "vp9",
            Self::Av1 => "av1",
            Self::H264 => "h264",
            Self::Opus => "opus",
        }
    }

    /// Whether it is sound.
    pub fn is_audio(self) -> bool {
        self == Self::Opus
    }

    /// Ticks of its RTP timestamps per second.
    pub fn clock_hz(self) -> u32 {
        if self.is_audio() { 48_000 } else { 90_000 }
    }
}

/// What a decoder must know before the first frame. When it changes, so must the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The codec that it configures.
    pub codec: Codec,
    /// Width and height in pixels; zeros for sound.
    pub size: (u16, u16),
    /// The codec's configuration record: `avcC`, `av1C`, `vpcC` or `dOps` without their box headers.
    /// Empty for VP8.
    pub record: Vec<u8>,
}

impl Config {
    /// That of all Opus streams.
    pub fn opus() -> Self {
        Self { codec: Codec::Opus, size: (0, 0), record: opus::record() }
    }

    /// What players call it (RFC 6381, and what AOMedia and WebM add).
    pub fn mime_codec(&self) -> String {
        match (self.codec, &*self.record) {
            (Codec::H264, [_, profile, constraints, level, ..]) => {
                format!("avc1.{profile:02x}{constraints:02x}{level:02x}")
            }
            (Codec::Vp9, [profile, level, format, ..]) => {
                format!("vp09.{profile:02}.{level:02}.{:02}", format >> 4)
            }
            (Codec::Av1, [_, first, second, ..]) => {
                let tier = if second & 0x80 != 0 { 'H' } else { 'M' };
                let depth = match second >> 5 & 3 {
                    0 | 1 => 8,
                    2 => 10,
                    _ => 12,
                };
                format!("av01.{}.{:02}{tier}.{depth:02}", first >> 5, first & 0x1f)
            }
            (codec, _) => codec.name().to_owned(),
        }
    }
}

/// What a codec makes of the payloads of one picture.
struct Picture {
    data: Vec<u8>,
    is_key: bool,
    /// What keyframes say; others say nothing.
    config: Option<Config>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn players_know_the_names_of_codecs() {
        let name = |codec, record: &[u8]| {
            Config { codec, size: (0, 0), record: record.to_vec() }.mime_codec()
        };
        assert_eq!(name(Codec::H264, &[1, 0x42, 0xc0, 0x1f, 0xff]), "avc1.42c01f");
        assert_eq!(name(Codec::Vp9, &[0, 31, 0x82, 2, 2, 2, 0, 0]), "vp09.00.31.08");
        assert_eq!(name(Codec::Av1, &[0x81, 0x05, 0x0c, 0]), "av01.0.05M.08");
        assert_eq!(name(Codec::Av1, &[0x81, 0x28, 0xcc, 0]), "av01.1.08H.10");
        assert_eq!(name(Codec::Vp8, &[]), "vp8");
        assert_eq!(name(Codec::H264, &[]), "h264", "a damaged timeline");
        assert_eq!(Config::opus().mime_codec(), "opus");
    }
}
