//! What every form of a file is made of, whichever it is.

use crate::Config;

/// Sound or pictures of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Track {
    /// What a decoder of it must know.
    pub config: Config,
}

/// One frame in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sample {
    /// An index into the tracks.
    pub track: usize,
    /// When it begins, in microseconds since the film does.
    pub at_us: u64,
    /// How long it lasts; 0 if the next one tells.
    pub duration_us: u64,
    /// Whether a decoder may begin with it.
    pub is_key: bool,
    /// The frame, as its decoder takes it.
    pub data: Vec<u8>,
}

/// Bytes that replace others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Patch {
    /// Where in the file.
    pub at: u64,
    /// As many as there were.
    pub bytes: Vec<u8>,
}
