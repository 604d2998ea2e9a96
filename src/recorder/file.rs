//! Files that only grow, and the thread that waits until the disk has them.

use std::io;
use std::path::Path;
use std::sync::mpsc;

use recording::{Ending, Fragment};

use super::names;
use super::storage::{Storage, Stored, Syncing};

/// How much may be lost when the power fails.
const SYNC_EVERY_US: u64 = 2_000_000;
/// Files that wait for the disk; a disk that is so far behind is not asked more often.
const SYNCS_MAX: usize = 256;
/// Files of one name: more in a millisecond are none of ours.
const ATTEMPTS_MAX: u32 = 99;

/// The thread that waits for the disk.
pub(super) struct Disk {
    files: mpsc::SyncSender<(String, Syncing)>,
    failures: mpsc::Receiver<(String, io::Error)>,
}

impl Disk {
    pub(super) fn start() -> io::Result<Self> {
        let (files, inputs) = mpsc::sync_channel::<(String, Syncing)>(SYNCS_MAX);
        let (failed, failures) = mpsc::channel();
        std::thread::Builder::new().name("recorder-disk".to_owned()).spawn(move || {
            for (group, sync) in inputs {
                if let Err(error) = sync() {
                    // Nobody asks any more when the process ends.
                    let _ = failed.send((group, error));
                }
            }
        })?;
        Ok(Self { files, failures })
    }

    /// Whose bytes the disk has lost: a group, and why. What is on the disk then, nobody knows.
    pub(super) fn failure(&self) -> Option<(String, io::Error)> {
        self.failures.try_recv().ok()
    }
}

/// One file.
pub(super) struct Growing {
    file: Box<dyn Stored>,
    group: String,
    name: String,
    length: u64,
    synced_at_us: u64,
    is_dirty: bool,
}

impl Growing {
    /// A new file in a group's folder, whatever is there already.
    pub(super) fn create(
        storage: &dyn Storage,
        (folder, group): (&Path, &str),
        stem: &str,
        extension: &str,
    ) -> io::Result<Self> {
        for number in 0..=ATTEMPTS_MAX {
            let name = names::attempt(stem, number, extension);
            match storage.create(&folder.join(&name)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(file) => {
                    let (group, synced_at_us) = (group.to_owned(), 0);
                    return Ok(Self {
                        file,
                        group,
                        name,
                        length: 0,
                        synced_at_us,
                        is_dirty: false,
                    });
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Appends as a whole, or not at all: half a fragment would only be in the way.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_at(bytes, self.length) {
            let _ = self.file.truncate(self.length);
            return Err(error);
        }
        self.length += bytes.len() as u64;
        self.is_dirty = true;
        Ok(())
    }

    pub(super) fn fragment(&mut self, fragment: &Fragment) -> io::Result<()> {
        debug_assert_eq!(fragment.at, self.length);
        self.append(&fragment.bytes)
    }

    /// Lets the disk have it, from time to time.
    pub(super) fn sync(&mut self, now_us: u64, disk: &Disk) {
        if self.is_dirty && now_us.saturating_sub(self.synced_at_us) >= SYNC_EVERY_US {
            self.synced_at_us = now_us;
            self.hand_over(disk);
        }
    }

    fn hand_over(&mut self, disk: &Disk) {
        if let Ok(syncing) = self.file.syncing()
            && disk.files.try_send((self.group.clone(), syncing)).is_ok()
        {
            self.is_dirty = false;
        }
    }

    /// Ends it in good order: what was written before must be safe before the head says that all is
    /// there, but a head that says so too early does no harm, as all it says has been written.
    pub(super) fn end(&mut self, ending: &Ending, disk: &Disk) -> io::Result<()> {
        self.append(&ending.index)?;
        for patch in &ending.patches {
            self.file.write_at(&patch.bytes, patch.at)?;
        }
        self.hand_over(disk);
        Ok(())
    }
}
