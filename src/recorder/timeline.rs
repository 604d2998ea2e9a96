//! The timeline of a recording: one JSON object a line, only ever appended to.

use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::file::{Disk, Growing};
use super::names;
use super::storage::Storage;

/// Lines that wait for a disk; an hour of a busy class. With more the newest are lost.
const LINES_BYTES_MAX: usize = 1 << 20;

/// A moment, on the shards' clock and on the wall.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) us: u64,
    pub(super) wall: SystemTime,
}

/// See the module's documentation.
pub(super) struct Timeline {
    file: Growing,
    start_us: u64,
    /// Written with the next look, all at once.
    waiting: Vec<u8>,
    lost_lines: u64,
}

impl Timeline {
    /// Makes its file, with the line that says what it is of.
    pub(super) fn create(
        storage: &dyn Storage,
        place: (&Path, &str),
        start: Now,
        by: &str,
    ) -> io::Result<Self> {
        let file = Growing::create(storage, place, &names::stamp(start.wall), "timeline.jsonl")?;
        let mut timeline = Self { file, start_us: start.us, waiting: Vec::new(), lost_lines: 0 };
        let unix_ms = start.wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        timeline.put_json(
            start.us,
            json!({
                "event": "session", "version": 1, "group": place.1, "by": by, "unix_ms": unix_ms,
            }),
        );
        Ok(timeline)
    }

    /// Adds a line; `now_us` is on the shards' clock.
    pub(super) fn put(&mut self, now_us: u64, mut what: Map<String, Value>) {
        if self.waiting.len() > LINES_BYTES_MAX {
            self.lost_lines += 1;
            return;
        }
        what.insert("at_us".to_owned(), now_us.saturating_sub(self.start_us).into());
        self.waiting.extend_from_slice(Value::Object(what).to_string().as_bytes());
        self.waiting.push(b'\n');
    }

    /// The same for the literal of an object.
    pub(super) fn put_json(&mut self, now_us: u64, what: Value) {
        if let Value::Object(what) = what {
            self.put(now_us, what);
        }
    }

    /// What the session is called: the name without its ending.
    pub(super) fn session(&self) -> &str {
        let name = self.file.name();
        name.strip_suffix(".timeline.jsonl").unwrap_or(name)
    }

    pub(super) fn write(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.file.append(&self.waiting)?;
        self.waiting.clear();
        if self.lost_lines > 0 {
            tracing::warn!(lines = self.lost_lines, "a timeline lacks lines");
            self.lost_lines = 0;
        }
        Ok(())
    }

    /// What its file is called.
    pub(super) fn file_name(&self) -> &str {
        self.file.name()
    }

    /// Has the disk keep what was written, from time to time.
    pub(super) fn sync(&mut self, now_us: u64, disk: &Disk) {
        self.file.sync(now_us, disk);
    }

    /// Takes over the lines that another one has not written.
    pub(super) fn take_waiting(&mut self, other: &mut Self) {
        self.waiting.append(&mut other.waiting);
    }
}
