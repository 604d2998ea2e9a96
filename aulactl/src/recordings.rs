//! `recordings list`, `export` and `delete`: what has been recorded, in the server's folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use signalling::{GroupName, UnixMs};

use crate::failure::Failure;
use crate::flags::{Flag, Flags};
use crate::{Done, export, say, warn};

const FOLDER: Flag =
    Flag::value("recordings", "DIR", "the server's folder of recordings (./recordings/)");
const GROUP: Flag = Flag::value("group", "NAME", "the group");
const SESSION: Flag = Flag::value("session", "NAME", "the session, as recordings list names it");

/// Of `recordings list`.
pub(crate) const LISTING: &[Flag] = &[FOLDER, GROUP];
/// Of `recordings delete`.
pub(crate) const DELETING: &[Flag] = &[
    FOLDER,
    GROUP,
    SESSION,
    Flag::switch("force", "even if it seems to be recorded at this very moment"),
];
/// Of `recordings export`.
pub(crate) const EXPORTING: &[Flag] = &[
    FOLDER,
    GROUP,
    SESSION,
    Flag::value("out", "DIR", "where to (./SESSION/)"),
    Flag::value("ffmpeg", "FILE", "the program that does it (ffmpeg)"),
];

/// What names of timelines end with.
const TIMELINE: &str = ".timeline.jsonl";
/// Deeper folders are not looked into.
const DEPTH_MAX: usize = 32;
/// A timeline that has not grown for so long is not being written.
const QUIET_FOR: Duration = Duration::from_secs(60);

/// What was recorded from one press of the button to the next.
pub(crate) struct Session {
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) unix_ms: i64,
    pub(crate) duration_us: u64,
    is_over: bool,
    /// In the order of their beginnings.
    pub(crate) films: Vec<Film>,
}

/// One file of one stream.
pub(crate) struct Film {
    pub(crate) name: String,
    /// Who, and what: `camera` or `screenshare`.
    pub(crate) username: String,
    pub(crate) label: String,
    /// Since the session began.
    pub(crate) start_us: u64,
    pub(crate) end_us: u64,
    pub(crate) has_audio: bool,
    /// Its size, if it has pictures.
    pub(crate) size: Option<(u32, u32)>,
}

/// A line of a timeline, as far as it matters here.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Line {
    event: String,
    at_us: u64,
    unix_ms: i64,
    stream: String,
    username: String,
    label: String,
    file: String,
    end_us: u64,
    tracks: Vec<Track>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Track {
    kind: String,
    width: u32,
    height: u32,
}

/// `recordings list`
pub(crate) fn list(flags: &Flags) -> Done {
    let root = root(flags)?;
    let group = flags.get("group");
    let mut sessions = Vec::new();
    walk(&root, "", 0, &mut |group, folder, name| {
        sessions.push((group.to_owned(), folder.to_owned(), name.to_owned()));
    });
    sessions.sort();
    for (of, folder, name) in sessions {
        if group.is_some_and(|group| group != of) {
            continue;
        }
        match read(&of, &folder, &name) {
            Ok(session) => say(&session.line())?,
            Err(failure) => warn(failure),
        }
    }
    Ok(())
}

/// `recordings delete`
pub(crate) fn delete(flags: &Flags) -> Done {
    let session = wanted(flags)?;
    let timeline = session.folder.join(format!("{}{TIMELINE}", session.name));
    if session.may_grow(&timeline) && !flags.is_on("force") {
        let text = "it seems to be recorded at this moment: end that first, or say -force";
        return Err(Failure::about(&session.name, text));
    }
    let films = session.films.iter().map(|film| session.folder.join(&film.name));
    // The timeline last: it says what there is to delete.
    for path in films.chain([timeline]) {
        match fs::remove_file(&path) {
            Ok(()) => say(&format!("deleted {}\n", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::about(path.display(), error)),
        }
    }
    Ok(())
}

/// `recordings export`
pub(crate) fn export(flags: &Flags) -> Done {
    let session = wanted(flags)?;
    let out = flags.get("out").map_or_else(|| PathBuf::from(&session.name), PathBuf::from);
    export::run(&session, &out, flags.get("ffmpeg").unwrap_or("ffmpeg"))
}

fn root(flags: &Flags) -> Result<PathBuf, Failure> {
    let root = PathBuf::from(flags.get("recordings").unwrap_or("./recordings/"));
    match root.is_dir() {
        true => Ok(root),
        false => Err(Failure::about(root.display(), "no such folder: name it with -recordings")),
    }
}

/// The session that the flags name.
fn wanted(flags: &Flags) -> Result<Session, Failure> {
    let root = root(flags)?;
    let group = flags.need("group")?;
    GroupName::parse(group).map_err(|error| Failure::about(format!("-group {group}"), error))?;
    let session = flags.need("session")?;
    if session.contains(['/', '\0']) || session.starts_with('.') {
        return Err(Failure::about(format!("-session {session}"), "not the name of a session"));
    }
    read(group, &root.join(group), session.strip_suffix(TIMELINE).unwrap_or(session))
}

/// Tells `each` of every timeline: group, folder, name.
fn walk(folder: &Path, group: &str, depth: usize, each: &mut dyn FnMut(&str, &Path, &str)) {
    let Ok(entries) = fs::read_dir(folder) else {
        warn(format_args!("{}: cannot be read", folder.display()));
        return;
    };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && depth < DEPTH_MAX {
            let below = if group.is_empty() { name } else { format!("{group}/{name}") };
            walk(&entry.path(), &below, depth + 1, each);
        } else if let Some(session) = name.strip_suffix(TIMELINE) {
            each(group, folder, session);
        }
    }
}

fn read(group: &str, folder: &Path, name: &str) -> Result<Session, Failure> {
    let path = folder.join(format!("{name}{TIMELINE}"));
    let text = fs::read_to_string(&path).map_err(|error| Failure::about(path.display(), error))?;
    let mut session = Session {
        group: group.to_owned(),
        name: name.to_owned(),
        folder: folder.to_owned(),
        unix_ms: 0,
        duration_us: 0,
        is_over: false,
        films: Vec::new(),
    };
    let mut streams: BTreeMap<String, (String, String)> = BTreeMap::new();
    // A crash may have left half a line.
    for line in text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()) {
        session.duration_us = session.duration_us.max(line.at_us).max(line.end_us);
        match line.event.as_str() {
            "session" => session.unix_ms = line.unix_ms,
            "stream" => {
                streams.insert(line.stream, (line.username, line.label));
            }
            "file" => {
                let (username, label) = streams.get(&line.stream).cloned().unwrap_or_default();
                let video = line.tracks.iter().find(|track| track.kind == "video");
                session.films.push(Film {
                    name: plain(&line.file)?,
                    username,
                    label,
                    start_us: line.at_us,
                    end_us: line.at_us,
                    has_audio: line.tracks.iter().any(|track| track.kind == "audio"),
                    size: video.map(|track| (track.width, track.height)),
                });
            }
            "fragment" => {
                let film = session.films.iter_mut().rfind(|film| film.name == line.file);
                if let Some(film) = film {
                    film.end_us = film.end_us.max(line.end_us);
                }
            }
            "end" => session.is_over = true,
            _ => {}
        }
    }
    session.films.sort_by_key(|film| film.start_us);
    Ok(session)
}

/// A name in the session's own folder: a timeline that was tampered with shall not lead elsewhere.
fn plain(name: &str) -> Result<String, Failure> {
    match name.contains(['/', '\0']) || name.starts_with('.') || name.is_empty() {
        true => Err(Failure::about(format!("{name:?}"), "not the name of a recorded file")),
        false => Ok(name.to_owned()),
    }
}

impl Session {
    fn line(&self) -> String {
        let bytes: u64 = self.films.iter().filter_map(|film| self.bytes(film)).sum();
        let seconds = self.duration_us / 1_000_000;
        let mut names: Vec<&str> = self.films.iter().map(|film| film.username.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        format!(
            "{}\t{}\t{}\t{}:{:02}:{:02}\t{} MiB\t{}{}\n",
            self.group,
            self.name,
            UnixMs(self.unix_ms).to_rfc3339(),
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            bytes.div_ceil(1 << 20),
            names.join(", "),
            if self.is_over { "" } else { "\t(no end)" },
        )
    }

    fn bytes(&self, film: &Film) -> Option<u64> {
        fs::metadata(self.folder.join(&film.name)).ok().map(|metadata| metadata.len())
    }

    /// Whether a film is still there.
    pub(crate) fn has(&self, film: &Film) -> bool {
        self.bytes(film).is_some()
    }

    fn may_grow(&self, timeline: &Path) -> bool {
        let modified = fs::metadata(timeline).and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
        !self.is_over && age.is_none_or(|age| age < QUIET_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_timelines_lead_nowhere() {
        for name in ["../x.mp4", "/etc/passwd", "", ".hidden", "a/b"] {
            assert!(plain(name).is_err(), "{name}");
        }
        assert!(plain("2026-11-29T10:15:00.123-ann.mp4").is_ok());
    }
}
