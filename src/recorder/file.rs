//! Files that only grow, and the thread that waits until the disk has them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use recording::{Ending, Fragment};

use super::names;

/// How much may be lost when the power fails.
const SYNC_EVERY: Duration = Duration::from_secs(2);
/// Files that wait for the disk; a disk that is so far behind is not asked more often.
const SYNCS_MAX: usize = 256;
/// Files of one name: more in a millisecond are none of ours.
const ATTEMPTS_MAX: u32 = 99;

/// The thread that waits for the disk.
pub(super) struct Disk(mpsc::SyncSender<File>);

impl Disk {
    pub(super) fn start() -> io::Result<Self> {
        let (files, inputs) = mpsc::sync_channel::<File>(SYNCS_MAX);
        std::thread::Builder::new().name("recorder-disk".to_owned()).spawn(move || {
            for file in inputs {
                if let Err(error) = file.sync_data() {
                    tracing::error!(%error, "the disk has lost a part of a recording");
                }
            }
        })?;
        Ok(Self(files))
    }
}

/// One file.
pub(super) struct Growing {
    file: File,
    name: String,
    length: u64,
    synced_at: Instant,
    is_dirty: bool,
}

impl Growing {
    /// A new file in a folder, whatever is there already.
    pub(super) fn create(folder: &Path, stem: &str, extension: &str) -> io::Result<Self> {
        for number in 0..=ATTEMPTS_MAX {
            let name = names::attempt(stem, number, extension);
            let opened = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW)
                .open(folder.join(&name));
            match opened {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(file) => {
                    let synced_at = Instant::now();
                    return Ok(Self { file, name, length: 0, synced_at, is_dirty: false });
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
        if let Err(error) = self.file.write_all(bytes) {
            let _ = self.file.set_len(self.length);
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
    pub(super) fn sync(&mut self, disk: &Disk) {
        if !self.is_dirty || self.synced_at.elapsed() < SYNC_EVERY {
            return;
        }
        self.hand_over(disk);
    }

    fn hand_over(&mut self, disk: &Disk) {
        if let Ok(file) = self.file.try_clone()
            && disk.0.try_send(file).is_ok()
        {
            (self.synced_at, self.is_dirty) = (Instant::now(), false);
        }
    }

    /// Ends it in good order: what was written before must be safe before the head says that all is
    /// there, but a head that says so too early does no harm, as all it says has been written.
    pub(super) fn end(&mut self, ending: &Ending, disk: &Disk) -> io::Result<()> {
        self.append(&ending.index)?;
        for patch in &ending.patches {
            self.file.write_all_at(&patch.bytes, patch.at)?;
        }
        self.hand_over(disk);
        Ok(())
    }
}

/// What is wrong, in words for people.
pub(super) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => "the server's disk is full".to_owned(),
        Some(libc::EROFS | libc::EACCES | libc::EPERM) => {
            "the server may not write to the folder of recordings".to_owned()
        }
        Some(libc::ENOENT) => "the folder of recordings has been removed".to_owned(),
        Some(libc::EIO) => "the server's disk has failed".to_owned(),
        _ => format!("the server cannot write ({error})"),
    }
}
