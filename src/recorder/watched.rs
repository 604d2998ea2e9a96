//! Which recordings run, and which of their streams somebody watches meanwhile: what the recorder and
//! those who serve viewers tell each other.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Who has not asked for so long does not watch any more.
const WATCHED_FOR: Duration = Duration::from_secs(15);

/// A recording that runs.
struct Run {
    /// As its timeline is named.
    session: String,
    /// Streams whose pictures are watched, and until when.
    streams: HashMap<String, Instant>,
}

/// See the module's documentation.
pub(crate) struct Watched {
    runs: Mutex<HashMap<String, Run>>,
    grown: watch::Sender<()>,
}

impl Default for Watched {
    fn default() -> Self {
        Self { runs: Mutex::default(), grown: watch::Sender::new(()) }
    }
}

impl Watched {
    fn runs(&self) -> std::sync::MutexGuard<'_, HashMap<String, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A recording has begun, or goes on in another timeline.
    pub(super) fn begun(&self, group: &str, session: &str) {
        let run = Run { session: session.to_owned(), streams: HashMap::new() };
        self.runs().insert(group.to_owned(), run);
    }

    pub(super) fn ended(&self, group: &str) {
        self.runs().remove(group);
        self.grown();
    }

    /// Something was written.
    pub(super) fn grown(&self) {
        self.grown.send_replace(());
    }

    /// Streams of the group that are watched.
    pub(super) fn streams(&self, group: &str) -> Vec<String> {
        let mut runs = self.runs();
        let Some(run) = runs.get_mut(group) else {
            return Vec::new();
        };
        let now = Instant::now();
        run.streams.retain(|_, until| *until > now);
        run.streams.keys().cloned().collect()
    }

    /// Whether anything is recorded.
    pub(super) fn is_any(&self) -> bool {
        !self.runs().is_empty()
    }

    /// Groups that are recorded.
    pub(super) fn groups(&self) -> Vec<String> {
        self.runs().keys().cloned().collect()
    }

    /// Changes when something was written.
    pub(crate) fn growth(&self) -> watch::Receiver<()> {
        self.grown.subscribe()
    }

    /// Whether this session is being recorded.
    pub(crate) fn is_running(&self, group: &str, session: &str) -> bool {
        self.runs().get(group).is_some_and(|run| run.session == session)
    }

    /// The session that is recorded of a group.
    pub(crate) fn session(&self, group: &str) -> Option<String> {
        self.runs().get(group).map(|run| run.session.clone())
    }

    /// Somebody watches these streams.
    pub(crate) fn watch(&self, group: &str, session: &str, streams: Vec<String>) {
        let mut runs = self.runs();
        if let Some(run) = runs.get_mut(group).filter(|run| run.session == session) {
            let until = Instant::now() + WATCHED_FOR;
            run.streams.extend(streams.into_iter().map(|stream| (stream, until)));
        }
    }
}
