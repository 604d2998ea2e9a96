//! Wakes the reload when something below the groups or data folder changes. What it misses, such
//! as edits on network file systems, is found by looking again from time to time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// Watches folders.
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    /// Those that are not watched yet, because they did not exist.
    missing: Vec<PathBuf>,
}

impl Watch {
    /// `changed` is woken by changes below any of the folders, which need not exist.
    pub(crate) fn new(folders: &[&Path], changed: Arc<Notify>) -> Self {
        let wake = move |event: Result<notify::Event, notify::Error>| {
            // Our own reading is no change.
            let is_access = matches!(
                event.as_ref().map(|event| event.kind),
                Ok(EventKind::Access(
                    AccessKind::Open(_) | AccessKind::Read | AccessKind::Any | AccessKind::Other
                ))
            );
            if !is_access {
                changed.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(wake)
            .inspect_err(|error| tracing::warn!("files are not watched: {error}"));
        let missing = folders.iter().map(|folder| (*folder).to_owned()).collect();
        let mut watch = Self { watcher: watcher.ok(), missing };
        watch.look();
        watch
    }

    /// Begins to watch folders that have come into being.
    pub(crate) fn look(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        self.missing.retain(|folder| {
            if !folder.is_dir() {
                return true;
            }
            if let Err(error) = watcher.watch(folder, RecursiveMode::Recursive) {
                tracing::warn!(
                    folder = %folder.display(),
                    "not watched, looked at from time to time instead: {error}"
                );
            }
            false
        });
    }
}
