//! How far each Transport's connection has come and over what, told when it changes: who sees nothing
//! wants a sentence that says why.

use std::time::{Duration, Instant};

use super::Shard;
use crate::api::{Event, PathReport, PathStage};
use crate::path::Over;
use crate::transport::{Role, Transport};

/// Ordinary connections take less; what has not come by then is worth a word.
const PATIENCE: Duration = Duration::from_secs(5);

impl Shard {
    /// Looks once per second.
    pub(super) fn tell_path(&mut self, slot: usize, now: Instant) {
        let Some(transport) = self.transports.get_mut(slot) else {
            return;
        };
        let Some(report) = report(transport, now) else {
            return;
        };
        if transport.told_path.replace(report) != Some(report) {
            self.events.push(Event::Path { transport: transport.id, report });
        }
    }
}

/// Nothing while it takes no longer than usual.
fn report(transport: &Transport, now: Instant) -> Option<PathReport> {
    let has_media = match &transport.role {
        Role::Publisher(publisher) => {
            let mut publications = publisher.publications.iter().flatten();
            publications.any(|publication| publication.announced.is_some())
        }
        Role::Viewer(viewer) => viewer.has_arrived,
    };
    let age = now.saturating_duration_since(transport.created_at);
    let stage = match transport.is_connected {
        true if transport.is_silence_told => PathStage::Silent,
        true if has_media => PathStage::Flowing,
        true if age >= 2 * PATIENCE => PathStage::Connected,
        false if age >= PATIENCE && transport.paths.is_empty() => PathStage::Waiting,
        false if age >= PATIENCE => PathStage::Checked,
        _ => return None,
    };
    let all = || transport.paths.iter();
    let over = match transport.paths.current() {
        Some(path) => Some(path.over),
        // UDP, if that has come as well as others.
        None => {
            all().find(|path| path.over == Over::Udp).or_else(|| all().next()).map(|path| path.over)
        }
    };
    Some(PathReport { stage, over })
}
