//! Watching while it records, by HTTP Live Streaming. Playlists are made of the timeline, and what
//! they name of the files: nothing here knows the recorder, but whether it runs and that there is more.

mod cast;
mod lines;
mod playlist;
mod programme;
mod render;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use cast::Kind;
use lines::Lines;
use programme::{Part, Programme};

/// What is not asked for is forgotten after so long.
const KEPT: Duration = Duration::from_secs(60);
/// So many programmes are watched at once; whoever wants another one has to wait.
const SHOWS_MAX: usize = 64;
/// A timeline that has just begun may not be known to run yet.
const BEGUN_WITHIN: Duration = Duration::from_secs(5);
/// Segments before this one are gone for good.
const AHEAD_MAX: u64 = 2;

/// What is asked for, below the address of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// The playlist to begin with.
    Multivariant,
    /// The playlist of segments, once it has what the number and the part say.
    Media {
        number: Option<u64>,
        part: Option<usize>,
    },
    /// How the files with a number begin; without one, sound.
    Head(Option<usize>),
    Segment(u64),
    Part(u64, usize),
}

/// What a request for a part of a live view finds.
#[derive(Debug)]
pub(crate) enum Found {
    Playlist(String),
    Media(Vec<u8>),
    /// Ask again when there is more.
    NotYet,
    /// It was never there, or is not there any more.
    Gone,
    /// Nobody will be able to play it.
    OnlyVp8,
    /// Beyond what comes next.
    TooFar,
    Busy,
}

/// One programme, and how far its timeline was read.
struct Show {
    programme: Programme,
    lines: Lines,
    used_at: Instant,
}

type Key = (PathBuf, Kind);

/// Everything that is watched.
#[derive(Default)]
pub(crate) struct Shows(Mutex<HashMap<Key, Arc<Mutex<Show>>>>);

/// What is watched of which session.
pub(crate) struct Ask<'a> {
    pub(crate) timeline: &'a Path,
    pub(crate) kind: Kind,
    /// The name before the dot, as it is in addresses.
    pub(crate) folder: &'a str,
    pub(crate) wanted: Wanted,
    /// What is added to all addresses: the token.
    pub(crate) query: &'a str,
    /// Whether the recorder is still at it.
    pub(crate) is_running: bool,
}

impl Shows {
    /// Looks once; may wait for a disk. Tells also whose keyframes are needed.
    pub(crate) fn look(&self, ask: &Ask<'_>) -> io::Result<(Found, Vec<String>)> {
        let Some(show) = self.show(ask)? else {
            return Ok((Found::Busy, Vec::new()));
        };
        let (answer, needs) = {
            let mut show = show.lock().unwrap_or_else(PoisonError::into_inner);
            show.used_at = Instant::now();
            let is_all = show.read()?;
            if is_all && !ask.is_running && is_settled(ask.timeline) {
                show.programme.end();
            }
            (answer(&show.programme, ask), show.programme.needs())
        };
        let found = match answer {
            Answer::Found(found) => found,
            Answer::Parts { parts, tracks, has_picture } => {
                let folder = ask.timeline.parent().unwrap_or_else(|| Path::new("."));
                Found::Media(render::parts(folder, &parts, &tracks, has_picture)?)
            }
        };
        Ok((found, needs))
    }

    fn show(&self, ask: &Ask<'_>) -> io::Result<Option<Arc<Mutex<Show>>>> {
        let mut shows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (ask.timeline.to_owned(), ask.kind.clone());
        if let Some(show) = shows.get(&key) {
            return Ok(Some(Arc::clone(show)));
        }
        shows.retain(|_, show| {
            // Who holds it uses it.
            show.try_lock().map_or(true, |show| show.used_at.elapsed() < KEPT)
        });
        if shows.len() >= SHOWS_MAX {
            return Ok(None);
        }
        let lines = Lines::open(ask.timeline)?;
        let programme = Programme::new(ask.kind.clone());
        let show = Arc::new(Mutex::new(Show { programme, lines, used_at: Instant::now() }));
        shows.insert(key, Arc::clone(&show));
        Ok(Some(show))
    }
}

impl Show {
    fn read(&mut self) -> io::Result<bool> {
        let programme = &mut self.programme;
        self.lines.read(|line| programme.take(line))
    }
}

fn is_settled(timeline: &Path) -> bool {
    let modified = std::fs::metadata(timeline).and_then(|metadata| metadata.modified());
    // A clock that was put back has settled nothing.
    modified.ok().and_then(|at| at.elapsed().ok()).is_none_or(|age| age > BEGUN_WITHIN)
}

enum Answer {
    Found(Found),
    Parts { parts: Vec<Part>, tracks: Vec<recording::Track>, has_picture: bool },
}

fn answer(programme: &Programme, ask: &Ask<'_>) -> Answer {
    let not_yet = |is_over: bool| match (is_over, programme.has_vp8) {
        (_, true) if programme.segments().is_empty() && ask.kind != Kind::Sound => Found::OnlyVp8,
        (true, _) => Found::Gone,
        (false, _) => Found::NotYet,
    };
    let is_over = programme.is_over();
    Answer::Found(match ask.wanted {
        Wanted::Multivariant | Wanted::Media { .. } if !programme.is_playable() => {
            let has_any = is_over && !programme.segments().is_empty();
            match (has_any, &ask.wanted) {
                (true, Wanted::Multivariant) => {
                    Found::Playlist(playlist::multivariant(programme, ask.folder, ask.query))
                }
                (true, _) => Found::Playlist(playlist::media(programme, ask.query)),
                (false, _) => not_yet(is_over),
            }
        }
        Wanted::Multivariant => {
            Found::Playlist(playlist::multivariant(programme, ask.folder, ask.query))
        }
        Wanted::Media { number: None, .. } => {
            Found::Playlist(playlist::media(programme, ask.query))
        }
        Wanted::Media { number: Some(number), part } => {
            let last = programme.segments().back().map_or(0, |last| last.number);
            if playlist::has(programme, number, part) {
                Found::Playlist(playlist::media(programme, ask.query))
            } else if number > last + AHEAD_MAX {
                Found::TooFar
            } else {
                Found::NotYet
            }
        }
        Wanted::Head(None) => Found::Media(recording::head(&playlist::tracks_of(None))),
        Wanted::Head(Some(number)) => match programme.film(number) {
            Some(film) => Found::Media(recording::head(&playlist::tracks_of(Some(&film)))),
            None => Found::Gone,
        },
        Wanted::Segment(number) | Wanted::Part(number, _) => {
            let segment = programme.segments().iter().find(|segment| segment.number == number);
            let Some(segment) = segment else {
                return Answer::Found(Found::Gone);
            };
            let parts = match ask.wanted {
                Wanted::Part(_, at) => segment.parts.get(at).cloned().into_iter().collect(),
                _ => segment.parts.clone(),
            };
            if parts.is_empty() {
                return Answer::Found(Found::Gone);
            }
            let film = segment.film.as_deref();
            let (tracks, has_picture) = (playlist::tracks_of(film), film.is_some());
            return Answer::Parts { parts, tracks, has_picture };
        }
    })
}
