//! Who is shown and who is heard. Nothing is mixed: one picture and one voice at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use recording::{Form, Track};

/// A picture that has not come for so long is gone: shared screens send one a second at least.
const STALE_US: u64 = 3_000_000;
/// Sound is kept for so long for pictures that come late.
const SOUND_KEPT_US: u64 = 20_000_000;

/// What somebody watches.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Kind {
    /// A shared screen or who speaks, with the sound of who speaks.
    Live,
    /// The sound of who speaks.
    Sound,
    /// One user's pictures and sound, by name.
    Person(String),
}

/// A file as far as it matters here.
#[derive(Debug)]
pub(super) struct Film {
    /// Among those of the session.
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) stream: usize,
    pub(super) form: Form,
    pub(super) tracks: Vec<Track>,
    pub(super) at_us: u64,
    /// Which tracks are pictures that players can show, and sound.
    pub(super) video: Option<usize>,
    pub(super) audio: Option<usize>,
}

/// A piece of a file: a fragment, and the time that its pictures or its sound cover.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) film: Arc<Film>,
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) span: (u64, u64),
}

/// A stream of the session.
pub(super) struct Player {
    pub(super) id: String,
    username: String,
    is_screen: bool,
    is_over: bool,
    /// The end of its last picture.
    picture_us: Option<u64>,
    pub(super) last_key: Option<Piece>,
    has_sound: bool,
    sounds: VecDeque<Piece>,
}

/// All of them, and who of them is heard.
pub(super) struct Cast {
    kind: Kind,
    pub(super) players: Vec<Player>,
    pub(super) heard: Option<usize>,
}

impl Cast {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, players: Vec::new(), heard: None }
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(super) fn find(&self, id: &str) -> Option<usize> {
        self.players.iter().position(|player| player.id == id)
    }

    /// A stream that begins, or goes on.
    pub(super) fn enter(&mut self, id: String, username: String, label: &str) {
        if let Some(known) = self.find(&id).and_then(|at| self.players.get_mut(at)) {
            known.is_over = false;
            return;
        }
        self.players.push(Player {
            id,
            username,
            is_screen: label == "screenshare",
            is_over: false,
            picture_us: None,
            last_key: None,
            has_sound: false,
            sounds: VecDeque::new(),
        });
    }

    pub(super) fn leave(&mut self, id: &str) {
        if let Some(player) = self.find(id).and_then(|at| self.players.get_mut(at)) {
            player.is_over = true;
        }
        self.listen();
    }

    /// Whoever is heard stays heard as long as they are among those who speak.
    pub(super) fn speak(&mut self, ids: &[String]) {
        let mut speaking =
            ids.iter().filter_map(|id| self.find(id)).filter(|at| self.is_wanted(*at));
        let first = speaking.next();
        if first.is_some() && first != self.heard && !speaking.any(|at| Some(at) == self.heard) {
            self.heard = first;
        }
    }

    pub(super) fn sound(&mut self, piece: Piece, now_us: u64) {
        if let Some(player) = self.players.get_mut(piece.film.stream) {
            player.has_sound = true;
            player.sounds.push_back(piece);
            while player.sounds.front().is_some_and(|old| old.span.1 + SOUND_KEPT_US < now_us) {
                player.sounds.pop_front();
            }
        }
        self.listen();
    }

    pub(super) fn picture(&mut self, piece: &Piece, is_key: bool) {
        if let Some(player) = self.players.get_mut(piece.film.stream) {
            player.picture_us = Some(piece.span.1);
            if is_key {
                player.last_key = Some(piece.clone());
            }
        }
    }

    /// Somebody is heard, if there is anybody.
    fn listen(&mut self) {
        let heard = self.heard.and_then(|at| self.players.get(at));
        if heard.is_some_and(|player| !player.is_over && player.has_sound) {
            return;
        }
        let name = heard.map(|player| player.username.clone());
        let can = |player: &Player| !player.is_over && player.has_sound;
        let others = || (0..self.players.len()).filter(|at| self.is_wanted(*at));
        let same = others().find(|at| {
            let player = self.players.get(*at);
            player.is_some_and(|player| can(player) && Some(&player.username) == name.as_ref())
        });
        let any = || others().find(|at| self.players.get(*at).is_some_and(can));
        self.heard = same.or_else(any).or(self.heard);
    }

    fn is_wanted(&self, at: usize) -> bool {
        match (&self.kind, self.players.get(at)) {
            (Kind::Person(name), Some(player)) => player.username == *name,
            (_, player) => player.is_some(),
        }
    }

    /// Whether pictures of it come.
    pub(super) fn is_fresh(&self, at: usize, now_us: u64) -> bool {
        self.players.get(at).is_some_and(|player| {
            !player.is_over && player.picture_us.is_some_and(|us| us + STALE_US >= now_us)
        })
    }

    /// Whose picture should be shown.
    pub(super) fn wanted(&self, shown: Option<usize>, now_us: u64) -> Option<usize> {
        let fresh = || {
            let all = (0..self.players.len()).rev();
            all.filter(|at| self.is_wanted(*at) && self.is_fresh(*at, now_us))
        };
        let is = |at: usize, screen: bool| {
            self.players.get(at).is_some_and(|player| player.is_screen == screen)
        };
        match self.kind {
            Kind::Sound => None,
            Kind::Person(_) => fresh().find(|at| is(*at, false)).or_else(|| fresh().next()),
            Kind::Live => {
                let speaker = self.heard.and_then(|at| self.players.get(at));
                let of_speaker = |at: &usize| {
                    let name = self.players.get(*at).map(|player| &player.username);
                    name == speaker.map(|player| &player.username)
                };
                fresh()
                    .find(|at| is(*at, true))
                    .or_else(|| fresh().find(of_speaker))
                    .or_else(|| shown.filter(|at| self.is_fresh(*at, now_us)))
                    .or_else(|| fresh().next())
            }
        }
    }

    /// How far the sound of who is heard has come.
    pub(super) fn sound_end_us(&self) -> Option<u64> {
        let player = self.heard.and_then(|at| self.players.get(at))?;
        player.sounds.back().map(|piece| piece.span.1)
    }

    /// What is heard in this time.
    pub(super) fn sounds(&self, (from_us, to_us): (u64, u64)) -> Vec<Piece> {
        let player = self.heard.and_then(|at| self.players.get(at));
        let all = player.into_iter().flat_map(|player| &player.sounds);
        all.filter(|piece| piece.span.0 < to_us && piece.span.1 > from_us).cloned().collect()
    }
}
