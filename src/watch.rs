//! Wakes the reload when something below the groups or data folder changes, and says what. What it
//! misses, such as edits on network file systems, is found by looking again from time to time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// More paths than that are as good as all.
const PATHS_MAX: usize = 1000;

#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Changed {
    /// Anything may have: it was too much, or the kernel does not know.
    All,
    /// These files and folders, with canonical paths.
    Paths(BTreeSet<PathBuf>),
}

/// Changes that nobody has looked at yet.
pub(crate) struct Changes {
    changed: Mutex<Changed>,
    wake: Notify,
}

impl Changes {
    fn new() -> Self {
        Self { changed: Mutex::new(Changed::Paths(BTreeSet::new())), wake: Notify::new() }
    }

    /// Waits until something has changed.
    pub(crate) async fn notified(&self) {
        self.wake.notified().await;
    }

    /// Takes those that there are.
    pub(crate) fn take(&self) -> Changed {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut changed, Changed::Paths(BTreeSet::new()))
    }

    fn note(&self, event: Result<notify::Event, notify::Error>) {
        if event.as_ref().is_ok_and(|event| is_reading(event.kind)) {
            return;
        }
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        match (&mut *changed, event) {
            (Changed::Paths(paths), Ok(event)) if !event.need_rescan() => {
                paths.extend(event.paths);
                if paths.len() > PATHS_MAX {
                    *changed = Changed::All;
                }
            }
            _ => *changed = Changed::All,
        }
        self.wake.notify_one();
    }
}

/// Our own reading is no change.
fn is_reading(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Access(
            AccessKind::Open(_) | AccessKind::Read | AccessKind::Any | AccessKind::Other
        )
    )
}

/// The kernel's watch over some folders and all below them.
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    /// Those that are not watched yet, because they did not exist.
    missing: Vec<PathBuf>,
}

impl Watch {
    /// Of the folders, which need not exist. The changes are those below any of them.
    pub(crate) fn new(folders: &[&Path]) -> (Self, Arc<Changes>) {
        let changes = Arc::new(Changes::new());
        let noted = changes.clone();
        let wake = move |event| noted.note(event);
        let watcher = notify::recommended_watcher(wake)
            .inspect_err(|error| tracing::warn!("files are not watched: {error}"));
        let missing = folders.iter().map(|folder| folder.to_path_buf()).collect();
        let mut watch = Self { watcher: watcher.ok(), missing };
        watch.look();
        (watch, changes)
    }

    /// Begins to watch folders that have come into being.
    pub(crate) fn look(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        self.missing.retain(|folder| {
            // Events name the path that is watched: one way to name a folder, however many the
            // flags have.
            let Ok(canonical) = folder.canonicalize() else {
                return true;
            };
            if let Err(error) = watcher.watch(&canonical, RecursiveMode::Recursive) {
                tracing::warn!(
                    folder = %folder.display(),
                    "not watched, looked at from time to time instead: {error}"
                );
            }
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::Event;
    use notify::event::{CreateKind, Flag};

    fn event(kind: EventKind, path: &str) -> Result<Event, notify::Error> {
        Ok(Event::new(kind).add_path(PathBuf::from(path)))
    }

    const CREATED: EventKind = EventKind::Create(CreateKind::File);

    fn paths(paths: &[&str]) -> Changed {
        Changed::Paths(paths.iter().map(PathBuf::from).collect())
    }

    #[tokio::test]
    async fn changes_are_gathered_until_they_are_taken() {
        let changes = Changes::new();
        assert_eq!(changes.take(), paths(&[]));
        for path in ["groups/a.json", "groups/b.json", "groups/a.json"] {
            changes.note(event(CREATED, path));
        }
        changes.note(event(EventKind::Access(AccessKind::Read), "groups/c.json"));
        changes.notified().await;
        assert_eq!(changes.take(), paths(&["groups/a.json", "groups/b.json"]));
        assert_eq!(changes.take(), paths(&[]));
    }

    /// Whatever way the folder is named, the names of changed groups are found.
    #[tokio::test]
    async fn files_that_change_have_groups() {
        let folder = std::env::temp_dir().join(format!("aula-watch-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let here = std::env::current_dir().unwrap();
        let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
        let relative = up.join(folder.strip_prefix("/").unwrap());
        for (name, folder) in [("a", &folder), ("b", &relative)] {
            let store = crate::store::GroupStore::new(folder.clone());
            let (_watch, changes) = Watch::new(&[folder]);
            std::fs::write(folder.join(format!("{name}.json")), "{}").unwrap();
            let mut found = BTreeSet::new();
            while found.is_empty() {
                changes.notified().await;
                let Changed::Paths(paths) = changes.take() else { panic!("not all") };
                found = store.changed(&paths).expect("files only");
            }
            assert_eq!(found.first().unwrap().as_str(), name);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn too_many_or_lost_ones_are_all() {
        let changes = Changes::new();
        (0..=PATHS_MAX).for_each(|name| changes.note(event(CREATED, &name.to_string())));
        assert_eq!(changes.take(), Changed::All);
        changes.note(Err(notify::Error::generic("lost")));
        changes.note(event(CREATED, "a"));
        assert_eq!(changes.take(), Changed::All);
        changes.note(event(CREATED, "a").map(|event| event.set_flag(Flag::Rescan)));
        assert_eq!(changes.take(), Changed::All);
    }
}
