//! What the recorder asks of file systems, and nothing else does: tests put faults here.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What a file system has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Room {
    pub(super) bytes: u64,
    /// Whether it can hold another file; some have a table for them that is full first.
    pub(super) has_inodes: bool,
}

/// What the recorder needs of a file system, so that tests can have a broken one.
pub(super) trait Storage: Send + Sync {
    /// The folder of a group, made if it is not there, and within the root.
    fn folder(&self, root: &Path, group: &str) -> io::Result<PathBuf>;
    /// A new file.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Stored>>;
    /// Whether there is a file of this name.
    fn find(&self, path: &Path) -> io::Result<()>;
    /// What is left where the folder is.
    fn room(&self, folder: &Path) -> io::Result<Room>;
}

/// What it needs of a file.
pub(super) trait Stored: Send {
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()>;
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Waits until the disk has all that was written, on another thread.
    fn syncing(&self) -> io::Result<Syncing>;
}

pub(super) type Syncing = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// The file system of this machine.
pub(super) struct System;

impl Storage for System {
    fn folder(&self, root: &Path, group: &str) -> io::Result<PathBuf> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(root)?;
        let folder = root.join(group);
        builder.create(&folder)?;
        // A link that an administrator has put there may lead about, but not out.
        let (root, folder) = (root.canonicalize()?, folder.canonicalize()?);
        if !folder.starts_with(&root) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(folder)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Stored>> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        Ok(Box::new(options.open(path)?))
    }

    fn find(&self, path: &Path) -> io::Result<()> {
        std::fs::symlink_metadata(path).map(drop)
    }

    fn room(&self, folder: &Path) -> io::Result<Room> {
        room(folder)
    }
}

impl Stored for File {
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn syncing(&self) -> io::Result<Syncing> {
        let file = self.try_clone()?;
        Ok(Box::new(move || file.sync_data()))
    }
}

/// What is left where the folder is, for whoever is not root.
pub(super) fn room(folder: &Path) -> io::Result<Room> {
    let path = std::ffi::CString::new(folder.as_os_str().as_bytes())?;
    // SAFETY: an all-zero `statvfs` is a valid one.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right type.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut found) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let bytes = found.f_bavail.saturating_mul(found.f_frsize);
    // Btrfs and others have no such table, and say 0 of 0.
    let has_inodes = found.f_files == 0 || found.f_favail > 0;
    Ok(Room { bytes, has_inodes })
}
