//! What publishers send, and how viewers check it.

use dataplane::Codec;

/// What a publisher sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// The video's codec.
    pub codec: Codec,
    /// Whether the video has three encodings.
    pub simulcast: bool,
    /// Whether AV1 has three spatial layers; VP9 always has.
    pub is_svc: bool,
    /// Bitrate of the video, in simulcast of its best encoding; 0 for none.
    pub video_bps: u64,
    /// Video frames per second.
    pub fps: u64,
    /// Whether there is audio.
    pub audio: bool,
    /// Where the streams' variation comes from.
    pub seed: u64,
}

/// How packets are checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checks {
    /// One of so many packets of a stream is authenticated and read.
    pub verify_every: u64,
    /// A longer pause between two complete frames is a freeze, in microseconds.
    pub freeze_us: u64,
    /// Whether viewers send transport-wide feedback, as browsers do.
    pub feedback: bool,
}
