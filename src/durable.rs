//! Files that are either the old or the new ones, whenever the power fails: temporary file, fsync,
//! rename, fsync of the folder. Blocking.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What tells whether a file has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    modified: SystemTime,
    bytes: u64,
    inode: u64,
    /// When its owner, its mode or its contents changed, in seconds and nanoseconds.
    changed: (i64, i64),
}

impl Stamp {
    /// Nothing if there is no such file.
    pub(crate) fn of(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self::from(&metadata))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Galene's form, `"SIZE-MTIMENANOS"`, with its quotes (RFC 9110 s8.8.3).
    pub(crate) fn etag(self) -> String {
        let since = self.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        format!("\"{}-{}\"", self.bytes, since.as_nanos())
    }
}

impl From<&fs::Metadata> for Stamp {
    fn from(metadata: &fs::Metadata) -> Self {
        let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
        Self {
            modified,
            bytes: metadata.len(),
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Whether there is no such file. Any other error may hide one.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    // A name too long for the file system names nothing.
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
    )
}

/// Puts `contents` in place of the file, which may not exist, nor its folder. One caller at a time
/// for each file. The new stamp always differs from the old one, even if the clock stands still.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    make_folder(folder)?;
    let before = Stamp::of(path)?;
    let temporary = temporary(path);
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(contents)?;
        if let Some(before) = before {
            // File systems count time in steps of milliseconds: two edits within one step must
            // not look the same to whoever holds the ETag of the first.
            let after = file.metadata()?.modified()?;
            if after <= before.modified {
                file.set_modified(before.modified + Duration::from_micros(1))?;
            }
        }
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // What is left of the attempt is of no use; the first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_folder(folder)
}

/// Removes a file for good.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_folder(folder_of(path))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Hidden, so that no scan takes it for a group. A crash leaves one at most, and the next edit of
/// the same file takes its place.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.temp"))
}

/// Whether a path is that of such a file.
pub(crate) fn is_temporary(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.starts_with('.') && name.ends_with(".temp")
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder_of(folder);
    if above != folder {
        make_folder(above)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_folder(above)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edit_has_a_stamp_of_its_own() {
        let folder = std::env::temp_dir().join(format!("aula-durable-{}", std::process::id()));
        let path = folder.join("a/b/file.json");
        let mut seen = std::collections::HashSet::new();
        for index in 0..50 {
            replace(&path, format!("{index:02}").as_bytes()).unwrap();
            assert_eq!(fs::read(&path).unwrap(), format!("{index:02}").as_bytes());
            assert!(
                seen.insert(Stamp::of(&path).unwrap().unwrap().etag()),
                "an ETag has come back"
            );
        }
        let left = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "nothing but the file");
        remove(&path).unwrap();
        assert_eq!(Stamp::of(&path).unwrap(), None);
        assert!(remove(&path).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
