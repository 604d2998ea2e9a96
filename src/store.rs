//! Group files on disk. Every look at a group stats its file; it is parsed again only if it has
//! changed. Blocking: call it off the request path.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signalling::{
    Description, DescriptionError, Document, GroupFile, GroupName, parse_description,
};

use crate::durable::{self, Stamp, is_absent};
use crate::reread;

/// A larger file is not a group.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
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
    /// Nothing if the file could not be read: the next look tries again.
    stamp: Option<Stamp>,
    result: Read,
}

/// The folder of group files, and what has been read of it.
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
    /// What it would become is larger than what is read.
    TooLarge,
    System(io::Error),
}

impl GroupStore {
    /// `root` need not exist yet.
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
                    return match description.for_subgroup(&current) {
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
        let looked = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Stamp::from(&metadata)),
            Ok(_) => return None,
            Err(error) if is_absent(&error) => {
                if self.cache().remove(name).is_some() {
                    tracing::info!("{} is gone", path.display());
                }
                return None;
            }
            Err(error) => Err(whole(&path, &error)),
        };
        let before = self.cache().get(name).cloned();
        if let (Ok(stamp), Some(before)) = (&looked, &before)
            && before.stamp == Some(*stamp)
        {
            return Some(before.result.clone());
        }
        let read = looked.and_then(|_| {
            reread::read(&path, FILE_BYTES_MAX).map_err(|error| whole(&path, &error))
        });
        let (stamp, result) = match read {
            Ok(None) => return None,
            Ok(Some((stamp, text))) => (Some(stamp), parse(&path, &text)),
            Err(error) => (None, Err(error)),
        };
        let result = result.map_err(Arc::new).map(|(description, warnings)| {
            for warning in warnings {
                tracing::warn!("{warning}");
            }
            Arc::new(description)
        });
        let before = before.map(|before| before.result);
        match (&result, &before) {
            (Err(error), Some(Err(before))) if error == before => {}
            (Err(error), _) => tracing::error!(
                "{error}; until that is mended its group keeps the rules it had if it is in \
                 memory, as public groups always are, and is closed otherwise"
            ),
            (Ok(_), Some(Err(_))) => tracing::info!("{} is good again", path.display()),
            (Ok(_), _) => tracing::debug!(group = name.as_str(), "group file read"),
        }
        let mut cache = self.cache();
        if cache.len() < CACHE_MAX || cache.contains_key(name) {
            cache.insert(name.clone(), Cached { stamp, result: result.clone() });
        }
        Some(result)
    }

    fn cache(&self) -> MutexGuard<'_, HashMap<GroupName, Cached>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group's own file as it is edited, with its ETag; nothing if it has none.
    pub(crate) fn document(
        &self,
        name: &GroupName,
    ) -> Result<Option<(Document, String)>, Unedited> {
        let path = self.root.join(name.file_path());
        if path.is_dir() {
            return Ok(None);
        }
        let read = reread::read(&path, FILE_BYTES_MAX).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => Unedited::Broken(whole(&path, &error)),
            _ => Unedited::System(error),
        })?;
        let Some((stamp, text)) = read else {
            return Ok(None);
        };
        let document = Document::parse(&path.display().to_string(), &text);
        let etag = stamp.etag();
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
        let mut text = document.to_text();
        if text.len() as u64 > FILE_BYTES_MAX {
            text = document.to_compact_text();
        }
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(Unedited::TooLarge.into());
        }
        durable::replace(&path, text.as_bytes()).map_err(|error| {
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

    /// The groups whose files these are, by canonical paths; nothing if something else below the
    /// folder has changed, such as a folder.
    pub(crate) fn changed(&self, paths: &BTreeSet<PathBuf>) -> Option<BTreeSet<GroupName>> {
        let root = fs::canonicalize(&self.root).ok()?;
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
        self.find().names
    }

    fn find(&self) -> Found {
        let mut found = Found::default();
        let mut budget = SCAN_ENTRIES_MAX;
        collect(&self.root, "", &mut Vec::new(), &mut budget, &mut found);
        found.names.sort();
        found
    }

    /// Reads all group files, sorted, for whoever wants to know whether they are good: how many
    /// are, what is broken, and what is ignored.
    pub(crate) fn check(&self) -> (usize, Vec<String>, Vec<String>) {
        let Found { names, mut troubles, oddities: mut warnings } = self.find();
        let mut good = 0;
        for name in names {
            let path = self.root.join(name.file_path());
            match reread::read(&path, FILE_BYTES_MAX) {
                Ok(None) => {}
                Ok(Some((_, text))) => match parse(&path, &text) {
                    Ok((_, ignored)) => {
                        good += 1;
                        warnings.extend(ignored);
                    }
                    Err(_) => {
                        let file = path.display().to_string();
                        let errors = signalling::description_errors(&file, &text);
                        troubles.extend(errors.iter().map(ToString::to_string));
                    }
                },
                Err(error) => troubles.push(whole(&path, &error).to_string()),
            }
        }
        (good, troubles, warnings)
    }

    /// All groups that have files, sorted, with those that cannot be used.
    pub(crate) fn scan(&self) -> Vec<(GroupName, Read)> {
        self.names()
            .into_iter()
            .filter_map(|name| self.read(&name).map(|result| (name, result)))
            .collect()
    }
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
fn parse(path: &Path, text: &[u8]) -> Result<(Description, Vec<String>), DescriptionError> {
    let file = path.display().to_string();
    let (description, warnings) = parse_description(&file, text)?;
    let warnings = warnings.into_iter().map(|warning| format!("{file}: {warning}"));
    Ok((description, warnings.collect()))
}

/// What a scan finds.
#[derive(Default)]
struct Found {
    names: Vec<GroupName>,
    /// What could not be looked at, or is no group although it seems to be one.
    troubles: Vec<String>,
    /// What is likely a mistake.
    oddities: Vec<String>,
}

/// `above` are the folders on the way, as they are without links: one that leads back is not followed.
fn collect(
    folder: &Path,
    prefix: &str,
    above: &mut Vec<PathBuf>,
    budget: &mut usize,
    found: &mut Found,
) {
    let real = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    if above.contains(&real) {
        found.oddities.push(format!("{}: a link in a circle is not followed", folder.display()));
        return;
    }
    above.push(real);
    collect_in(folder, prefix, above, budget, found);
    above.pop();
}

fn collect_in(
    folder: &Path,
    prefix: &str,
    above: &mut Vec<PathBuf>,
    budget: &mut usize,
    found: &mut Found,
) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            if !is_absent(&error) {
                found.troubles.push(format!("{}: {error}", folder.display()));
            }
            return;
        }
    };
    for entry in entries.flatten() {
        if *budget == 0 {
            let folder = folder.display();
            found.troubles.push(format!("{folder}: too many files: the rest is not scanned"));
            return;
        }
        *budget -= 1;
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str().filter(|name| !name.starts_with('.')) else {
            continue;
        };
        if entry.path().is_dir() {
            if file_name.ends_with(".json") {
                let path = entry.path();
                let text = format!("{}: a folder: only files are groups", path.display());
                found.oddities.push(text);
            }
            if above.len() <= SCAN_DEPTH_MAX {
                let prefix = format!("{prefix}{file_name}/");
                collect(&entry.path(), &prefix, above, budget, found);
            }
        } else if let Some(stem) = file_name.strip_suffix(".json") {
            match GroupName::parse(&format!("{prefix}{stem}")) {
                Ok(name) => found.names.push(name),
                Err(_) => found.troubles.push(format!(
                    "{}: this cannot be the name of a group: rename the file",
                    entry.path().display()
                )),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_paths_have_groups() {
        // There is such a folder where tests run.
        let store = GroupStore::new(PathBuf::from("./src/../groups/"));
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        let changed = |paths: &[&str]| {
            let names = store.changed(&paths.iter().map(|path| here.join(path)).collect())?;
            Some(names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>())
        };
        let some = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(changed(&["groups/a.json", "groups/b/c.json"]), some(&["a", "b/c"]));
        assert_eq!(changed(&["data/config.json", "groups/.a.json.temp"]), some(&[]));
        assert_eq!(changed(&["groups/a.json", "groups/b"]), None, "a folder");
        assert_eq!(changed(&["groups/"]), None);
        assert_eq!(changed(&["groups/..data"]), None, "a link that leads elsewhere now");
    }

    #[test]
    fn what_cannot_be_read_is_tried_again_and_what_cannot_be_a_group_is_told() {
        let root = std::env::temp_dir().join(format!("aula-store-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let store = GroupStore::new(root.clone());
        let name = GroupName::parse("a").unwrap();
        fs::write(root.join("a.json"), "{}").unwrap();
        assert!(matches!(store.load(&name), GroupFile::Found(_)));
        // A link in a circle hides the file; then the very same file is there again.
        fs::rename(root.join("a.json"), root.join("kept")).unwrap();
        std::os::unix::fs::symlink("a.json", root.join("a.json")).unwrap();
        assert!(matches!(store.load(&name), GroupFile::Broken(_)));
        fs::remove_file(root.join("a.json")).unwrap();
        fs::rename(root.join("kept"), root.join("a.json")).unwrap();
        assert!(matches!(store.load(&name), GroupFile::Found(_)));
        // Folders that lead back are looked into once; what is elsewhere is, wherever that is.
        for link in ["here", "there"] {
            std::os::unix::fs::symlink(".", root.join(link)).unwrap();
        }
        fs::write(root.join("..json"), "{}").unwrap();
        fs::write(root.join("a\\b.json"), "{}").unwrap();
        let (good, troubles, _) = store.check();
        assert_eq!((good, troubles.len()), (1, 1), "{troubles:?}");
        assert!(troubles[0].contains("a\\b.json: this cannot be the name"), "{troubles:?}");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_file_that_could_not_be_read_again_is_not_written() {
        let root = std::env::temp_dir().join(format!("aula-store-large-{}", std::process::id()));
        let store = GroupStore::new(root.clone());
        let name = GroupName::parse("a").unwrap();
        let write = |codecs: usize| {
            let text = format!("{{\"codecs\":[{}\"opus\"]}}", "\"a\",".repeat(codecs));
            let document = Document::parse("a", text.as_bytes()).unwrap();
            store.change(&name, |_| Ok::<_, Unedited>((document, ())))
        };
        write(1_200_000).unwrap();
        assert!(matches!(store.load(&name), GroupFile::Found(_)), "without the indents it fits");
        assert!(matches!(write(2_400_000), Err(Unedited::TooLarge)));
        assert!(matches!(store.load(&name), GroupFile::Found(_)));
        fs::remove_dir_all(root).unwrap();
    }
}
