//! The thread that looks after what has been recorded: it counts, and deletes what is too old.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use super::limits::Limits;
use super::{LimitsOf, Tally, names, storage};

/// How often the folder is counted. Deleting makes room after so long at the latest.
const COUNT_EVERY: Duration = Duration::from_secs(30);
/// How often it is looked for what is too old: days are counted, not minutes.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// A clock that has been put forward or back by more than this has jumped.
const JUMP: Duration = Duration::from_secs(3600);
/// So long after a jump, and after the start, nothing is deleted: somebody may put the clock right.
const DOUBT: Duration = Duration::from_secs(24 * 3600);
const DOUBT_AT_START: Duration = Duration::from_secs(600);
/// Folders in folders are followed so far: names of groups have no more parts.
const DEPTH_MAX: usize = 32;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Starts it. It ends with the process.
pub(super) fn start(root: &Path, tally: Arc<Tally>, limits_of: LimitsOf) -> io::Result<()> {
    let root = root.to_owned();
    let mut clock = Clock::new(SystemTime::now(), Instant::now());
    let mut swept_at: Option<Instant> = None;
    let run = move || loop {
        let found = walk(&root);
        let mut usage = HashMap::new();
        for file in &found {
            *usage.entry(file.group.clone()).or_default() += file.bytes;
        }
        tally.stored_bytes.store(usage.values().sum(), Ordering::Relaxed);
        tally.usage.set(usage);
        // The folder comes with the first recording.
        let free = root.ancestors().find_map(|folder| storage::room(existing(folder)).ok());
        tally.free_bytes.store(free.map_or(0, |room| room.bytes), Ordering::Relaxed);
        let is_trusted = clock.is_trusted(SystemTime::now(), Instant::now());
        if is_trusted && swept_at.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
            swept_at = Some(Instant::now());
            sweep(&found, SystemTime::now(), &tally, &limits_of);
        }
        std::thread::sleep(COUNT_EVERY);
    };
    std::thread::Builder::new().name("recorder-keeper".to_owned()).spawn(run).map(drop)
}

fn existing(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// One file below the folder.
struct Found {
    group: String,
    path: PathBuf,
    bytes: u64,
    modified: SystemTime,
}

/// Every file; what cannot be read is left out, as it is nobody's.
fn walk(root: &Path) -> Vec<Found> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), String::new(), 0)];
    while let Some((folder, group, depth)) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            // Links are not followed: what is elsewhere is counted there, or is none of ours.
            let (Ok(metadata), Ok(name)) = (entry.metadata(), entry.file_name().into_string())
            else {
                continue;
            };
            if metadata.is_dir() && depth < DEPTH_MAX {
                let below = if group.is_empty() { name } else { format!("{group}/{name}") };
                folders.push((entry.path(), below, depth + 1));
            } else if metadata.is_file()
                && let Ok(modified) = metadata.modified()
            {
                let (group, path, bytes) = (group.clone(), entry.path(), metadata.len());
                found.push(Found { group, path, bytes, modified });
            }
        }
    }
    found
}

/// Deletes what has been kept for as long as it may be.
fn sweep(found: &[Found], now: SystemTime, tally: &Tally, limits_of: &LimitsOf) {
    let mut known: HashMap<&str, Limits> = HashMap::new();
    for file in found {
        let limits = known.entry(&file.group).or_insert_with(|| limits_of(&file.group));
        let Some(days) = limits.keep_days else {
            continue;
        };
        if !is_expired(file, now, days) {
            continue;
        }
        let (group, path) = (&file.group, file.path.display());
        match fs::remove_file(&file.path) {
            Ok(()) => {
                Tally::add(&tally.expired, 1);
                tracing::info!(target: "audit", group, %path, days, "recording expired");
            }
            Err(error) => tracing::warn!(group, %path, %error, "cannot delete an old recording"),
        }
    }
}

/// What somebody else has put there is not ours to delete.
fn is_expired(file: &Found, now: SystemTime, days: u32) -> bool {
    let name = file.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // A file from the future has an age of nothing.
    let age = now.duration_since(file.modified).unwrap_or_default();
    names::is_ours(name) && age > DAY * days
}

/// Whether the wall clock can be believed.
struct Clock {
    last: (SystemTime, Instant),
    doubted_until: Instant,
}

impl Clock {
    fn new(wall: SystemTime, mono: Instant) -> Self {
        Self { last: (wall, mono), doubted_until: mono + DOUBT_AT_START }
    }

    fn is_trusted(&mut self, wall: SystemTime, mono: Instant) -> bool {
        let (last_wall, last_mono) = std::mem::replace(&mut self.last, (wall, mono));
        let expected = last_wall + mono.saturating_duration_since(last_mono);
        let off = match wall.duration_since(expected) {
            Ok(ahead) => ahead,
            Err(behind) => behind.duration(),
        };
        if off > JUMP {
            tracing::warn!("the clock has jumped: no recording is deleted for a day");
            self.doubted_until = mono + DOUBT;
        }
        mono >= self.doubted_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_clock_that_jumps_deletes_nothing() {
        let (mut wall, mut mono) = (SystemTime::UNIX_EPOCH + 20_000 * DAY, Instant::now());
        let mut clock = Clock::new(wall, mono);
        let mut after = |clock: &mut Clock, on_wall: Duration, really: Duration| {
            (wall, mono) = (wall + on_wall, mono + really);
            clock.is_trusted(wall, mono)
        };
        assert!(!after(&mut clock, DOUBT_AT_START / 2, DOUBT_AT_START / 2), "it has just begun");
        assert!(after(&mut clock, DOUBT_AT_START, DOUBT_AT_START));
        assert!(after(&mut clock, HOUR + HOUR / 2, HOUR), "it was put right a little");
        assert!(!after(&mut clock, 3650 * DAY, COUNT_EVERY), "ten years in half a minute");
        assert!(!after(&mut clock, 20 * HOUR, 20 * HOUR));
        assert!(after(&mut clock, 5 * HOUR, 5 * HOUR), "nobody has put it back for a day");
        wall -= 3650 * DAY;
        assert!(!clock.is_trusted(wall, mono + COUNT_EVERY), "back again");
    }

    #[test]
    fn what_is_old_and_ours_goes() {
        let root = std::env::temp_dir().join(format!("aula-keeper-{}", std::process::id()));
        fs::create_dir_all(root.join("maths/algebra")).unwrap();
        fs::create_dir_all(root.join("art")).unwrap();
        let old = "maths/algebra/2026-01-01T10:00:00.000-ann.mp4";
        let names = [
            old,
            "maths/algebra/2026-01-01T10:00:00.000.timeline.jsonl",
            "maths/algebra/2026-01-09T10:00:00.000-ann.mp4",
            "maths/algebra/notes.mp4",
            "maths/2026-01-01T10:00:00.000-ann.webm",
            "art/2026-01-01T10:00:00.000-bob.mkv",
        ];
        let now = SystemTime::now();
        for name in names {
            let file = fs::File::create(root.join(name)).unwrap();
            file.set_len(1000).unwrap();
            let days = if name.contains("-09T") { 6 } else { 8 };
            file.set_modified(now - days * DAY).unwrap();
        }
        std::os::unix::fs::symlink(root.join("art"), root.join("maths/link")).unwrap();
        let found = walk(&root);
        assert_eq!(found.len(), names.len());
        let tally = Tally::default();
        let limits_of: LimitsOf = Arc::new(|group: &str| {
            let days = (group != "art").then_some(7);
            Limits::of(&Default::default(), (days, None))
        });
        sweep(&found, now, &tally, &limits_of);
        let mut left: Vec<String> = walk(&root)
            .iter()
            .map(|file| file.path.strip_prefix(&root).unwrap().display().to_string())
            .collect();
        left.sort();
        let mut expected = [names[2], names[3], names[5]];
        expected.sort_unstable();
        assert_eq!(left, expected);
        assert_eq!(tally.expired.load(Ordering::Relaxed), 3);
        // Nothing is older than the clock that has jumped back.
        sweep(&walk(&root), now - 100 * DAY, &tally, &limits_of);
        assert_eq!(tally.expired.load(Ordering::Relaxed), 3);
        fs::remove_dir_all(root).unwrap();
    }
}
