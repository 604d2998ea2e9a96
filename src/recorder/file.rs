//! Files that only grow, and the thread that waits until the disk has them.

use std::cell::Cell;
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

/// What is to be asked of the disk: whose it is, and when it was handed over.
struct Request {
    group: String,
    at_us: u64,
    sync: Syncing,
}

/// What the disk has said.
pub(super) struct Synced {
    pub(super) group: String,
    /// When it was asked.
    pub(super) at_us: u64,
    /// With an error a part may be lost, and what is on the disk then, nobody knows.
    pub(super) result: io::Result<()>,
}

/// The thread that waits for the disk.
pub(super) struct Disk {
    requests: mpsc::SyncSender<Request>,
    answers: mpsc::Receiver<Synced>,
    /// Requests without an answer.
    open: Cell<usize>,
}

impl Disk {
    pub(super) fn start() -> io::Result<Self> {
        let (requests, inputs) = mpsc::sync_channel::<Request>(SYNCS_MAX);
        #[expect(
            clippy::disallowed_methods,
            reason = "one answer for each request, and those are limited"
        )]
        let (answered, answers) = mpsc::channel();
        std::thread::Builder::new().name("recorder-disk".to_owned()).spawn(move || {
            for Request { group, at_us, sync } in inputs {
                // Nobody asks any more when the process ends.
                let _ = answered.send(Synced { group, at_us, result: sync() });
            }
        })?;
        Ok(Self { requests, answers, open: Cell::new(0) })
    }

    /// What it has said since.
    pub(super) fn answer(&self) -> Option<Synced> {
        let answer = self.answers.try_recv().ok()?;
        self.open.set(self.open.get() - 1);
        Some(answer)
    }

    /// Waits until it has answered everything, for tests whose clock would not wait.
    #[cfg(test)]
    pub(super) fn settled(&self) -> Vec<Synced> {
        let answers = self.answers.iter().take(self.open.replace(0));
        answers.collect()
    }

    fn ask(&self, request: Request) -> bool {
        let is_taken = self.requests.try_send(request).is_ok();
        self.open.set(self.open.get() + usize::from(is_taken));
        is_taken
    }
}

/// A file that is only ever appended to, but for a few places.
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
            self.hand_over(now_us, disk);
        }
    }

    fn hand_over(&mut self, at_us: u64, disk: &Disk) {
        let group = self.group.clone();
        if let Ok(sync) = self.file.syncing()
            && disk.ask(Request { group, at_us, sync })
        {
            self.is_dirty = false;
        }
    }

    /// Ends it in good order: what was written before must be safe before the head says that all is
    /// there, but a head that says so too early does no harm, as all it says has been written.
    pub(super) fn end(&mut self, ending: &Ending, now_us: u64, disk: &Disk) -> io::Result<()> {
        self.append(&ending.index)?;
        for patch in &ending.patches {
            self.file.write_at(&patch.bytes, patch.at)?;
        }
        self.hand_over(now_us, disk);
        Ok(())
    }
}
