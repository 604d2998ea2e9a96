//! Group files on disk. Every look at a group stats its file; it is parsed again only if it has
//! changed. Blocking: call it off the request path.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use signalling::{
    Description, DescriptionError, Document, GroupFile, GroupName, parse_description,
};

use crate::durable::{self, Stamp};

/// A larger file is not a group.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Parsed files kept; more are parsed again each time.
const CACHE_MAX: usize = 20_000;
/// How many files and folders a scan looks at.
const SCAN_ENTRIES_MAX: usize = 50_000;
/// Deeper folders are not scanned.
const SCAN_DEPTH_MAX: usize = 32;

/// A group file, read.
pub(crate) type Read = Result<Arc<Description>, Arc<DescriptionError>>;

#[derive(Clone)]
struct Cached {
    stamp: Stamp,
    result: Read,
}

/// The groups directory.
pub(crate) struct GroupStore {
    root: PathBuf,
    cache: Mutex<HashMap<GroupName, Cached>>,
    /// Held through a change, so that one follows the other.
    changing: Mutex<()>,
}

/// Why an edit did not happen.
#[derive(Debug)]
pub(crate) enum Unedited {
    /// The file that is there cannot be used.
    Broken(DescriptionError),
    /// The system refused.
    System(io::Error),
}

impl GroupStore {
    /// Need not exist yet.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, cache: Mutex::new(HashMap::new()), changing: Mutex::new(()) }
    }

    /// The group's description: from its file, or from the nearest ancestor that has one and
    /// lets subgroups be.
    pub(crate) fn load(&self, name: &GroupName) -> GroupFile {
        let mut ancestor = Some(name.clone());
        let mut is_own = true;
        while let Some(current) = ancestor {
            match self.read(&current) {
                None => {}
                Some(Ok(description)) if is_own => return GroupFile::Found(description),
                Some(Ok(description)) => {
                    return match description.for_subgroup() {
                        Some(description) => GroupFile::Found(Arc::new(description)),
                        None => GroupFile::Missing,
                    };
                }
                Some(Err(error)) => return GroupFile::Broken(error),
            }
            is_own = false;
            ancestor = current.parent();
        }
        GroupFile::Missing
    }

    /// One file; nothing if there is none.
    fn read(&self, name: &GroupName) -> Option<Read> {
        let path = self.root.join(name.file_path());
        let metadata = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return None,
            Err(error) if is_absent(&error) => {
                self.cache.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
                return None;
            }
            Err(error) => return Some(Err(Arc::new(whole(&path, &error)))),
        };
        let stamp = Stamp::from(&metadata);
        if let Some(cached) = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(name)
            && cached.stamp == stamp
        {
            return Some(cached.result.clone());
        }
        let result = parse_file(&path).map_err(Arc::new);
        let result = result.map(|(description, warnings)| {
            for warning in warnings {
                tracing::warn!("{warning}");
            }
            Arc::new(description)
        });
        if let Err(error) = &result {
            tracing::error!(
                "{error}; until that is mended its group keeps the rules it has if it is running, \
                 and is closed otherwise"
            );
        }
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if result.is_ok() && cache.get(name).is_some_and(|before| before.result.is_err()) {
            tracing::info!("{} is good again", path.display());
        }
        if cache.len() < CACHE_MAX || cache.contains_key(name) {
            cache.insert(name.clone(), Cached { stamp, result: result.clone() });
        }
        Some(result)
    }

    /// The group's own file as it is edited, with its ETag; nothing if it has none.
    pub(crate) fn document(
        &self,
        name: &GroupName,
    ) -> Result<Option<(Document, String)>, Unedited> {
        let path = self.root.join(name.file_path());
        // The stamp of the open file: what is read is what the ETag is of.
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = match opened {
            Ok((metadata, file)) if metadata.is_file() => (metadata, file),
            Ok(_) => return Ok(None),
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(Unedited::System(error)),
        };
        let text = read_all(file, &path).map_err(Unedited::Broken)?;
        let document = Document::parse(&path.display().to_string(), &text);
        let etag = Stamp::from(&metadata).etag();
        document.map(|document| Some((document, etag))).map_err(Unedited::Broken)
    }

    /// Changes the group's own file, or refuses to. `edit` sees it as it is, with its ETag; if it
    /// fails nothing is written.
    pub(crate) fn change<T, E: From<Unedited>>(
        &self,
        name: &GroupName,
        edit: impl FnOnce(Option<(Document, String)>) -> Result<(Document, T), E>,
    ) -> Result<T, E> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.root.join(name.file_path());
        let (document, result) = edit(self.document(name)?)?;
        durable::replace(&path, document.to_text().as_bytes()).map_err(|error| {
            tracing::error!("{}: {error}", path.display());
            Unedited::System(error)
        })?;
        Ok(result)
    }

    /// Deletes the group's own file, whatever is in it, or refuses to. `check` sees its ETag,
    /// nothing if there is no file; if it fails nothing is deleted.
    pub(crate) fn delete<E: From<Unedited>>(
        &self,
        name: &GroupName,
        check: impl FnOnce(Option<&str>) -> Result<(), E>,
    ) -> Result<(), E> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.root.join(name.file_path());
        let etag = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => Some(Stamp::from(&metadata).etag()),
            Ok(_) => None,
            Err(error) if is_absent(&error) => None,
            Err(error) => return Err(Unedited::System(error).into()),
        };
        check(etag.as_deref())?;
        durable::remove(&path).map_err(|error| {
            tracing::error!("{}: {error}", path.display());
            Unedited::System(error).into()
        })
    }

    /// The groups whose files these are, by absolute paths; nothing if something else below the
    /// folder has changed, such as a folder.
    pub(crate) fn changed(&self, paths: &BTreeSet<PathBuf>) -> Option<BTreeSet<GroupName>> {
        let root = std::path::absolute(&self.root).ok()?;
        let mut names = BTreeSet::new();
        for path in paths.iter().filter_map(|path| path.strip_prefix(&root).ok()) {
            let Some(path) = path.to_str() else {
                continue;
            };
            if durable::is_temporary(path) {
                continue;
            }
            // What has no name as a group is no group.
            names.extend(GroupName::parse(path.strip_suffix(".json")?));
        }
        Some(names)
    }

    /// Whether there is a good file of this name, for a group that is listed.
    pub(crate) fn is_public(&self, name: &GroupName) -> bool {
        matches!(self.read(name), Some(Ok(description)) if description.listing.is_public)
    }

    /// The names of all groups that have files, sorted.
    pub(crate) fn names(&self) -> Vec<GroupName> {
        let mut names = Vec::new();
        let mut budget = SCAN_ENTRIES_MAX;
        collect(&self.root, "", 0, &mut budget, &mut names);
        names.sort();
        names
    }

    /// Reads all group files, sorted, for whoever wants to know whether they are good: the
    /// warnings about each.
    pub(crate) fn check(&self) -> Vec<(GroupName, Result<Vec<String>, DescriptionError>)> {
        let checked = self.names().into_iter().map(|name| {
            let read = parse_file(&self.root.join(name.file_path()));
            (name, read.map(|(_, warnings)| warnings))
        });
        checked.collect()
    }

    /// All groups that have files, sorted, with those that cannot be used.
    pub(crate) fn scan(&self) -> Vec<(GroupName, Read)> {
        self.names()
            .into_iter()
            .filter_map(|name| self.read(&name).map(|result| (name, result)))
            .collect()
    }
}

fn is_absent(error: &io::Error) -> bool {
    // A name too long for the file system names nothing.
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
    )
}

fn whole(path: &Path, error: &io::Error) -> DescriptionError {
    DescriptionError {
        file: path.display().to_string(),
        line: 0,
        key: None,
        message: error.to_string(),
    }
}

/// The group, and warnings about what is ignored, each with the name of the file.
fn parse_file(path: &Path) -> Result<(Description, Vec<String>), DescriptionError> {
    let text = read_all(File::open(path).map_err(|error| whole(path, &error))?, path)?;
    let file = path.display().to_string();
    let (description, warnings) = parse_description(&file, &text)?;
    let warnings = warnings.into_iter().map(|warning| format!("{file}: {warning}"));
    Ok((description, warnings.collect()))
}

fn read_all(file: File, path: &Path) -> Result<Vec<u8>, DescriptionError> {
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(|error| whole(path, &error))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let error = io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB");
        return Err(whole(path, &error));
    }
    Ok(text)
}

fn collect(
    folder: &Path,
    prefix: &str,
    depth: usize,
    budget: &mut usize,
    names: &mut Vec<GroupName>,
) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if *budget == 0 {
            tracing::error!(folder = %folder.display(), "too many files: the rest is not scanned");
            return;
        }
        *budget -= 1;
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str().filter(|name| !name.starts_with('.')) else {
            continue;
        };
        if entry.path().is_dir() {
            if depth < SCAN_DEPTH_MAX {
                let prefix = format!("{prefix}{file_name}/");
                collect(&entry.path(), &prefix, depth + 1, budget, names);
            }
        } else if let Some(stem) = file_name.strip_suffix(".json") {
            names.extend(GroupName::parse(&format!("{prefix}{stem}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_paths_have_groups() {
        let store = GroupStore::new(PathBuf::from("./groups/"));
        let here = std::env::current_dir().unwrap();
        let changed = |paths: &[&str]| {
            let names = store.changed(&paths.iter().map(|path| here.join(path)).collect())?;
            Some(names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>())
        };
        let some = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(changed(&["./groups/a.json", "./groups/b/c.json"]), some(&["a", "b/c"]));
        assert_eq!(changed(&["./data/config.json", "./groups/.a.json.temp"]), some(&[]));
        assert_eq!(changed(&["./groups/a.json", "./groups/b"]), None, "a folder");
        assert_eq!(changed(&["./groups/"]), None);
        assert_eq!(changed(&["./groups/..data"]), None, "a link that leads elsewhere now");
    }
}
