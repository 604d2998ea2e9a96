//! What a recorded stream becomes, without input or output: [`Assembler`] makes frames of RTP
//! payloads, [`Film`] makes a file of frames, fragment by fragment, so that what has been written
//! plays whatever happens afterwards. Threads, files and clocks are the server's.

mod assemble;
mod av1;
mod bits;
mod film;
mod h264;
mod matroska;
mod mp4;
mod opus;
mod vp8;
mod vp9;
mod vp9_layers;

pub use assemble::{Assembler, Frame, Packet};
pub use film::{Ending, Film, Form, Fragment, Patch, Sample, Track};

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
    /// Of what.
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
}

/// What a codec makes of the payloads of one picture.
struct Picture {
    data: Vec<u8>,
    is_key: bool,
    /// Of keyframes.
    config: Option<Config>,
}
