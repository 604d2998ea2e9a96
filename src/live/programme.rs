//! What players are shown: parts of about a second, one after the other, and segments of them. It is
//! made of the timeline alone, so that everybody who asks is told the same.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use recording::Codec;

use super::cast::{Cast, Film, Kind, Piece};
use super::lines::{self, Line, TrackLine};

/// Longest segment. The recorder asks for a keyframe every 4 s while somebody watches; some come late.
pub(super) const TARGET_US: u64 = 6_000_000;
/// Longest part: two fragments, and the picture at the end of each.
pub(super) const PART_US_MAX: u64 = 1_150_000;
/// A part is whole from here on.
const PART_US_MIN: u64 = 980_000;
/// What needs no keyframe makes segments of so much.
const STEADY_US: u64 = 4_000_000;
/// Keyframes that follow so soon begin no segment.
const SEGMENT_US_MIN: u64 = 1_000_000;
/// Players see so much of what has passed.
const WINDOW_US: u64 = 300_000_000;
/// A time without anything to show that is longer is skipped.
const JUMP_US: u64 = 2_000_000;
/// Sound may end so much before or after its pictures.
const SOUND_APART_US: u64 = 300_000;
/// Pictures wait so long for their sound.
const SOUND_WITHIN_US: u64 = 700_000;
/// A part has a time, however short its pictures say they are.
const PART_US_LEAST: u64 = 20_000;
/// Times beyond are none of ours: thirty years of recording, and the year 9999.
const TIME_US_MAX: u64 = 1_000_000_000_000_000;
const UNIX_MS_MAX: u64 = 253_402_300_799_999;
/// Segments without a keyframe, one after the other, before it is clear that nobody has asked for any.
const DEPENDENT_MAX: usize = 2;

/// About a second.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Counts all parts from the beginning.
    pub(super) serial: u32,
    /// In microseconds since the recording began.
    pub(super) span: (u64, u64),
    /// Where its pictures are; the first of them is a keyframe that is held, if `is_held`.
    pub(super) pictures: Vec<Piece>,
    pub(super) is_held: bool,
    pub(super) sounds: Vec<Piece>,
    pub(super) sound_span: (u64, u64),
    /// Whether a player may begin with it.
    pub(super) is_independent: bool,
    scene: u64,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// How many breaks there have been before it.
    pub(super) breaks: u64,
    pub(super) parts: Vec<Part>,
    /// Whose pictures it has.
    pub(super) film: Option<Arc<Film>>,
}

impl Segment {
    pub(super) fn span(&self) -> (u64, u64) {
        let start_us = self.parts.first().map_or(0, |part| part.span.0);
        (start_us, self.parts.last().map_or(start_us, |part| part.span.1))
    }

    fn duration_us(&self) -> u64 {
        self.span().1 - self.span().0
    }

    fn is_independent(&self) -> bool {
        self.parts.first().is_some_and(|part| part.is_independent)
    }

    /// What it takes to send it, roughly.
    pub(super) fn bytes(&self) -> u64 {
        let pieces = self.parts.iter().flat_map(|part| part.pictures.iter().chain(&part.sounds));
        pieces.map(|piece| u64::from(piece.length)).sum()
    }
}

/// See the module's documentation.
pub(super) struct Programme {
    cast: Cast,
    films: HashMap<String, Arc<Film>>,
    pub(super) unix_ms: u64,
    now_us: u64,
    /// The file whose pictures are shown, and whether its last keyframe stands for more of them.
    shown: Option<Arc<Film>>,
    is_held: bool,
    scene: u64,
    /// Where the next part begins, and its sound.
    cursor_us: Option<u64>,
    sound_cursor_us: Option<u64>,
    building: Option<Part>,
    /// Parts that wait for their sound.
    waiting: VecDeque<Part>,
    serial: u32,
    segments: VecDeque<Segment>,
    next_number: u64,
    dependent: usize,
    pub(super) has_vp8: bool,
    is_over: bool,
}

impl Programme {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            cast: Cast::new(kind),
            films: HashMap::new(),
            unix_ms: 0,
            now_us: 0,
            shown: None,
            is_held: false,
            scene: 0,
            cursor_us: None,
            sound_cursor_us: None,
            building: None,
            waiting: VecDeque::new(),
            serial: 0,
            segments: VecDeque::new(),
            next_number: 0,
            dependent: 0,
            has_vp8: false,
            is_over: false,
        }
    }

    pub(super) fn segments(&self) -> &VecDeque<Segment> {
        &self.segments
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether a player would find something to begin with: some want a whole segment.
    pub(super) fn is_playable(&self) -> bool {
        self.segments.len() > usize::from(!self.is_over) && self.dependent <= DEPENDENT_MAX
    }

    /// A file by its number, to tell players how it begins.
    pub(super) fn film(&self, number: usize) -> Option<Arc<Film>> {
        self.films.values().find(|film| film.number == number).cloned()
    }

    /// Streams whose keyframes it needs.
    pub(super) fn needs(&self) -> Vec<String> {
        let shown = self.shown.as_ref().map(|film| film.stream);
        let wanted = self.cast.wanted(shown, self.now_us);
        let both = [shown, wanted].into_iter().flatten();
        both.filter_map(|at| Some(self.cast.players.get(at)?.id.clone())).collect()
    }

    /// The next line of the timeline.
    pub(super) fn take(&mut self, line: Line) {
        match line {
            Line::Session { unix_ms } => self.unix_ms = unix_ms.min(UNIX_MS_MAX),
            Line::Stream { stream, username, label } => self.cast.enter(stream, username, &label),
            Line::StreamEnd { stream } => self.cast.leave(&stream),
            Line::Speakers { streams } => self.cast.speak(&streams),
            Line::File { at_us, file, stream, tracks } => self.file(at_us, file, &stream, &tracks),
            Line::Fragment { at_us, file, offset, length, has_key, video_us, audio_us } => {
                self.now_us = self.now_us.max(at_us.min(TIME_US_MAX));
                let is_ours =
                    |(start_us, end_us): &(u64, u64)| start_us <= end_us && *end_us <= TIME_US_MAX;
                let (video_us, audio_us) = (video_us.filter(is_ours), audio_us.filter(is_ours));
                if let Some(film) = self.films.get(&file).cloned() {
                    let piece = |span| Piece { film: film.clone(), offset, length, span };
                    if let Some(span) = audio_us.filter(|_| film.audio.is_some()) {
                        self.sound(piece(span));
                    }
                    if let Some(span) = video_us.filter(|_| film.video.is_some()) {
                        self.picture(piece(span), has_key);
                    }
                }
                self.publish();
            }
            Line::End {} => self.end(),
            Line::Other => {}
        }
    }

    /// Nothing more will come.
    pub(super) fn end(&mut self) {
        if !self.is_over {
            self.is_over = true;
            self.finish();
            self.publish();
        }
    }

    fn file(&mut self, at_us: u64, name: String, stream: &str, tracks: &[TrackLine]) {
        let Some((form, stream)) = lines::form_of(&name).zip(self.cast.find(stream)) else {
            return;
        };
        // A name that leads elsewhere is none of ours.
        let tracks: Option<Vec<_>> = tracks.iter().map(TrackLine::track).collect();
        let Some(tracks) = tracks.filter(|_| !name.contains(['/', '\\', '\0'])) else {
            return;
        };
        let find = |is: fn(Codec) -> bool| tracks.iter().position(|track| is(track.config.codec));
        self.has_vp8 |= find(|codec| codec == Codec::Vp8).is_some();
        let video = find(|codec| !codec.is_audio() && codec != Codec::Vp8);
        let audio = find(Codec::is_audio);
        let number = self.films.len();
        let at_us = at_us.min(TIME_US_MAX);
        let film = Film { number, name: name.clone(), stream, form, tracks, at_us, video, audio };
        self.films.insert(name, Arc::new(film));
    }

    fn sound(&mut self, piece: Piece) {
        let (stream, span) = (piece.film.stream, piece.span);
        self.cast.sound(piece, self.now_us);
        if self.cast.heard != Some(stream) {
            return;
        }
        if *self.cast.kind() == Kind::Sound {
            self.add(Vec::new(), span, true);
        } else if let Some(shown) = self.shown.clone()
            && !self.cast.is_fresh(shown.stream, self.now_us)
        {
            // The camera is off, or the screen does not change at all.
            let key =
                self.cast.players.get(shown.stream).and_then(|player| player.last_key.clone());
            let Some(key) = key.filter(|key| key.film.name == shown.name) else {
                return;
            };
            if !std::mem::replace(&mut self.is_held, true) {
                self.finish();
            }
            let Some(mut start_us) = self.cursor_us else {
                return;
            };
            while start_us < span.1 {
                let end_us = span.1.min(start_us + PART_US_MIN);
                self.add(vec![key.clone()], (start_us, end_us), true);
                start_us = end_us;
            }
        }
    }

    fn picture(&mut self, piece: Piece, is_key: bool) {
        self.cast.picture(&piece, is_key);
        let is_shown = self.shown.as_ref().is_some_and(|shown| shown.name == piece.film.name);
        let shown = self.shown.as_ref().map(|film| film.stream);
        let is_wanted = self.cast.wanted(shown, self.now_us) == Some(piece.film.stream);
        if is_key && is_wanted && !is_shown {
            self.finish();
            self.scene += u64::from(self.shown.is_some());
            (self.shown, self.is_held) = (Some(piece.film.clone()), false);
        } else if !is_shown || (self.is_held && !is_key) {
            return;
        } else if self.is_held {
            self.finish();
            self.is_held = false;
        } else if is_key && self.since_segment_us() >= SEGMENT_US_MIN {
            self.finish();
        }
        let span = piece.span;
        self.add(vec![piece], span, is_key);
    }

    /// How much has come since the last segment began.
    fn since_segment_us(&self) -> u64 {
        let end_us = self.cursor_us.unwrap_or_default();
        let coming = self.waiting.iter().chain(&self.building);
        let began = coming.filter(|part| part.is_independent).map(|part| part.span.0).next_back();
        let began = began.or_else(|| Some(self.segments.back()?.span().0));
        began.map_or(u64::MAX, |began_us| end_us.saturating_sub(began_us))
    }

    /// Adds to the part that is being built.
    fn add(&mut self, pictures: Vec<Piece>, (start_us, end_us): (u64, u64), is_key: bool) {
        let start_us = match self.cursor_us {
            Some(cursor_us) if start_us <= cursor_us + JUMP_US => cursor_us,
            Some(_) => {
                self.finish();
                self.scene += 1;
                self.sound_cursor_us = None;
                start_us
            }
            None => start_us,
        };
        let end_us = end_us.max(start_us + PART_US_LEAST);
        self.cursor_us = Some(end_us);
        let part = self.building.get_or_insert_with(|| Part {
            serial: 0,
            span: (start_us, end_us),
            pictures: Vec::new(),
            is_held: self.is_held,
            sounds: Vec::new(),
            sound_span: (start_us, end_us),
            is_independent: is_key,
            scene: self.scene,
        });
        part.span.1 = end_us;
        // The picture that is held is the same for all of the part.
        if !part.is_held || part.pictures.is_empty() {
            part.pictures.extend(pictures);
        }
        if end_us - part.span.0 >= PART_US_MIN {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.waiting.extend(self.building.take());
    }

    /// Publishes parts whose sound is there, or too late.
    fn publish(&mut self) {
        while let Some(part) = self.waiting.front() {
            let (start_us, end_us) = part.span;
            let has_us = self.cast.sound_end_us();
            let has_us = has_us.filter(|us| us + SOUND_APART_US >= end_us);
            let is_late = self.is_over || self.now_us >= end_us + SOUND_WITHIN_US;
            if has_us.is_none() && !is_late && self.cast.heard.is_some() {
                return;
            }
            let from_us = self.sound_cursor_us.unwrap_or(start_us);
            let to_us = has_us.map_or(end_us, |us| us.min(end_us + SOUND_APART_US)).max(from_us);
            let Some(mut part) = self.waiting.pop_front() else {
                return;
            };
            self.sound_cursor_us = Some(to_us);
            part.sound_span = (from_us, to_us);
            part.sounds = self.cast.sounds(part.sound_span);
            self.serial += 1;
            part.serial = self.serial;
            self.append(part);
        }
    }

    fn append(&mut self, part: Part) {
        let film = part.pictures.first().map(|piece| piece.film.clone());
        if let Some(last) = self.segments.back_mut() {
            let is_same = last.parts.last().is_some_and(|before| before.scene == part.scene);
            let after_us = last.duration_us() + part.span.1 - part.span.0;
            let is_steady = film.is_none() || part.is_held;
            let may_end = part.is_independent
                && last.duration_us() >= if is_steady { STEADY_US } else { SEGMENT_US_MIN };
            if is_same && after_us <= TARGET_US && !may_end {
                last.parts.push(part);
                return;
            }
        }
        self.begin(part, film);
    }

    fn begin(&mut self, part: Part, film: Option<Arc<Film>>) {
        let last = self.segments.back();
        let scene = last.and_then(|last| last.parts.last()).map(|before| before.scene);
        let is_break = scene.is_some_and(|scene| scene != part.scene);
        let breaks = last.map_or(0, |last| last.breaks) + u64::from(is_break);
        if !part.is_independent {
            self.dependent += 1;
        } else if std::mem::take(&mut self.dependent) > DEPENDENT_MAX {
            self.segments.clear();
        }
        let (number, end_us) = (self.next_number, part.span.1);
        self.next_number += 1;
        self.segments.push_back(Segment { number, breaks, parts: vec![part], film });
        // The next one must be one that a player may begin with.
        while let Some(first) = self.segments.front()
            && first.span().0 + WINDOW_US < end_us
        {
            let is_next = self.segments.iter().skip(1).position(Segment::is_independent);
            let Some(next) = is_next else {
                return;
            };
            self.segments.drain(..=next);
        }
    }
}
