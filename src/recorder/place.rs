//! Where a recording is written, for all its streams.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::Tally;
use super::storage::Storage;
use super::timeline::Timeline;

/// What everything that belongs to a session's streams needs.
pub(super) struct Place {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) folder: PathBuf,
    pub(super) group: String,
    pub(super) is_webm: bool,
    /// Time zero of the timeline, on the shards' clock.
    pub(super) start_us: u64,
    /// What the wall's clock shows.
    pub(super) wall: SystemTime,
    pub(super) timeline: Timeline,
    pub(super) tally: Arc<Tally>,
    /// Whether a fragment has been written since this was last unset.
    pub(super) has_written: bool,
}

impl Place {
    /// Whether a file of ours is where it was made.
    pub(super) fn find(&self, name: &str) -> io::Result<()> {
        self.storage.find(&self.folder.join(name))
    }
}
