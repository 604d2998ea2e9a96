//! A file that is read again when it has changed. Blocking.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::durable::{Stamp, is_absent};

/// What a look at the file gives.
pub(crate) enum Look {
    /// It is what it was.
    Same,
    /// What is in it; nothing if there is no file.
    Contents(Option<Vec<u8>>),
    /// It cannot be read, for a reason that has not been given just before. The next look tries
    /// again.
    Failed(String),
}

/// The file, and what was last seen of it.
pub(crate) struct Reread {
    path: PathBuf,
    bytes_max: u64,
    seen: Seen,
    complaint: Option<String>,
}

/// What the contents that were last given out belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    /// The file must be read, whatever its stamp.
    Nothing,
    /// There was no file.
    Absence,
    /// A file with this stamp.
    Contents(Stamp),
}

impl Reread {
    /// A file of more than `bytes_max` bytes is not read.
    pub(crate) fn new(path: PathBuf, bytes_max: u64) -> Self {
        Self { path, bytes_max, seen: Seen::Nothing, complaint: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the last look gave, to compare.
    pub(crate) fn seen(&self) -> Seen {
        self.seen
    }

    /// The next look reads the file in any case.
    pub(crate) fn forget(&mut self) {
        self.seen = Seen::Nothing;
    }

    /// The ETag of what was last seen; empty if there was no file.
    pub(crate) fn etag(&self) -> String {
        match self.seen {
            Seen::Contents(stamp) => stamp.etag(),
            Seen::Nothing | Seen::Absence => String::new(),
        }
    }

    /// Reads the file if it has changed.
    pub(crate) fn look(&mut self) -> Look {
        // Whoever may not be read need not have changed to be readable now.
        match self.read() {
            Ok(None) => Look::Same,
            Ok(Some((seen, contents))) => {
                self.seen = seen;
                self.complaint = None;
                Look::Contents(contents)
            }
            Err(error) => {
                self.seen = Seen::Nothing;
                let complaint = error.to_string();
                if self.complaint.as_ref() == Some(&complaint) {
                    return Look::Same;
                }
                self.complaint = Some(complaint.clone());
                Look::Failed(complaint)
            }
        }
    }

    fn read(&self) -> io::Result<Option<(Seen, Option<Vec<u8>>)>> {
        match Stamp::of(&self.path)? {
            None if self.seen == Seen::Absence => Ok(None),
            None => Ok(Some((Seen::Absence, None))),
            Some(stamp) if self.seen == Seen::Contents(stamp) => Ok(None),
            Some(_) => Ok(Some(match read(&self.path, self.bytes_max)? {
                None => (Seen::Absence, None),
                Some((stamp, contents)) => (Seen::Contents(stamp), Some(contents)),
            })),
        }
    }
}

/// What is in a file, with the stamp of just that; nothing if there is none.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<Option<(Stamp, Vec<u8>)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let stamp = Stamp::from(&file.metadata()?);
    let mut contents = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > bytes_max {
        let text = format!("larger than {} KiB", bytes_max / 1024);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(Some((stamp, contents)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn contents(look: Look) -> Option<Option<String>> {
        match look {
            Look::Contents(contents) => {
                Some(contents.map(|contents| String::from_utf8(contents).unwrap()))
            }
            Look::Same => None,
            Look::Failed(message) => panic!("{message}"),
        }
    }

    #[test]
    fn a_file_is_read_when_it_has_changed_and_until_it_can_be() {
        let folder = std::env::temp_dir().join(format!("aula-reread-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("file");
        let mut file = Reread::new(path.clone(), 16);
        let some = |text: &str| Some(Some(text.to_owned()));
        assert_eq!(contents(file.look()), Some(None), "that there is none is news");
        assert_eq!(contents(file.look()), None);
        fs::write(&path, "one").unwrap();
        assert_eq!(contents(file.look()), some("one"));
        assert_eq!(contents(file.look()), None);
        file.forget();
        assert_eq!(contents(file.look()), some("one"));
        // What another file of the same age and size has is something else.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(folder.join("other"), "two").unwrap();
        File::options()
            .write(true)
            .open(folder.join("other"))
            .unwrap()
            .set_modified(modified)
            .unwrap();
        fs::rename(folder.join("other"), &path).unwrap();
        assert_eq!(contents(file.look()), some("two"));
        // A link that leads in a circle is not "no file".
        fs::rename(&path, folder.join("away")).unwrap();
        std::os::unix::fs::symlink(&path, &path).unwrap();
        assert!(matches!(file.look(), Look::Failed(_)));
        assert!(matches!(file.look(), Look::Same), "said once");
        fs::remove_file(&path).unwrap();
        fs::rename(folder.join("away"), &path).unwrap();
        assert_eq!(contents(file.look()), some("two"), "the very file that was there before");
        fs::write(&path, "seventeen letters").unwrap();
        assert!(matches!(file.look(), Look::Failed(_)));
        fs::remove_file(&path).unwrap();
        assert_eq!(contents(file.look()), Some(None));
        fs::remove_dir_all(folder).unwrap();
    }
}
