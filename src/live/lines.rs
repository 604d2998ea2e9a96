//! Timelines as who watches reads them: line by line while they grow.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use recording::{Codec, Config, Form, Track};
use serde::Deserialize;

/// Longest line: a chat message has less.
const LINE_BYTES_MAX: usize = 1 << 20;
/// What is read before others get their turn: an hour of a class in some looks.
const READ_BYTES_MAX: u64 = 16 << 20;

/// What matters of a line. Damaged lines are none.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Line {
    Session {
        unix_ms: u64,
    },
    Stream {
        stream: String,
        username: String,
        #[serde(default)]
        label: String,
    },
    StreamEnd {
        stream: String,
    },
    File {
        at_us: u64,
        file: String,
        stream: String,
        tracks: Vec<TrackLine>,
    },
    Fragment {
        at_us: u64,
        file: String,
        offset: u64,
        length: u32,
        #[serde(default)]
        has_key: bool,
        #[serde(default)]
        video_us: Option<(u64, u64)>,
        #[serde(default)]
        audio_us: Option<(u64, u64)>,
    },
    Speakers {
        streams: Vec<String>,
    },
    End {},
    #[serde(other)]
    Other,
}

/// One track of a file.
#[derive(Debug, Deserialize)]
pub(super) struct TrackLine {
    codec: String,
    #[serde(default)]
    width: u16,
    #[serde(default)]
    height: u16,
    #[serde(default)]
    record: String,
}

impl TrackLine {
    /// The track, if it is one of ours.
    pub(super) fn track(&self) -> Option<Track> {
        let codec = Codec::ALL.into_iter().find(|codec| codec.name() == self.codec)?;
        let digits = self.record.as_bytes().chunks_exact(2);
        let record: Option<Vec<u8>> = digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        // Timelines of earlier versions have none.
        let record = record.filter(|record| !record.is_empty() || codec == Codec::Vp8)?;
        Some(Track { config: Config { codec, size: (self.width, self.height), record } })
    }
}

/// The form of a file, by its name.
pub(super) fn form_of(name: &str) -> Option<Form> {
    match name.rsplit_once('.')?.1 {
        "mp4" => Some(Form::Mp4),
        "webm" | "mkv" => Some(Form::WebM),
        _ => None,
    }
}

/// Reads a file that grows.
pub(super) struct Lines {
    file: File,
    rest: Vec<u8>,
}

impl Lines {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, rest: Vec::new() })
    }

    /// Calls `each` for what has come since; says whether that was all.
    pub(super) fn read(&mut self, mut each: impl FnMut(Line)) -> io::Result<bool> {
        let taken = (&mut self.file).take(READ_BYTES_MAX).read_to_end(&mut self.rest)? as u64;
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in self.rest.get(..end).unwrap_or_default().split(|byte| *byte == b'\n') {
            if let Ok(line) = serde_json::from_slice(line) {
                each(line);
            }
        }
        self.rest.drain(..end);
        if self.rest.len() > LINE_BYTES_MAX {
            self.rest.clear();
        }
        Ok(taken < READ_BYTES_MAX)
    }
}
