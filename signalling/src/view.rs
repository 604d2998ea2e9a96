//! How a member watches its group: through seats, over one transport that is negotiated once. What
//! the seats carry then follows who publishes.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ConnId, MediaId, PublicationKey, StreamId};
use crate::name::Username;
use crate::path::PathState;
use crate::stream::{Layers, MediaKind, SCREEN_LABEL, Up, Want};

/// Sections that one view may be offered; the data plane takes no more.
const WANTS_MAX: usize = 64;

/// What a member wants to watch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ViewRequest {
    /// The member's offer; without one it gets an offer for so many seats of each kind.
    pub offer: Option<String>,
    /// Seats to offer for audio and video.
    pub seats: (u8, u8),
    /// Only the stream of this id.
    pub stream: Option<String>,
    /// Only streams of members of this name.
    pub username: Option<String>,
}

/// How a member watches.
#[derive(Debug)]
pub(crate) struct View {
    media: MediaId,
    request: ViewRequest,
    /// As last sent to the data plane.
    wants: Vec<Want>,
    seats: Vec<(String, MediaKind)>,
    /// By seat, the index of its m-section.
    m_lines: Vec<usize>,
    carried: Vec<Option<PublicationKey>>,
    /// What the member has chosen, by mid.
    layers: BTreeMap<String, Layers>,
    is_negotiated: bool,
    /// What the member's path has no room for.
    paused: BTreeSet<PublicationKey>,
    /// How its connection fares.
    pub(crate) path: Option<PathState>,
}

/// What one seat shows now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeatState {
    /// The mid of its m-section.
    pub mid: String,
    /// The index of its m-section.
    pub m_line: usize,
    /// What its m-section is for.
    pub kind: MediaKind,
    /// Whether it carries anything that the member's path has room for.
    pub is_active: bool,
    /// The Encodings to choose from.
    pub encodings: Vec<EncodingState>,
    /// Whose stream it carries, and what that is.
    pub shows: Option<Shown>,
}

/// The stream that a seat carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The name of its sender.
    pub username: String,
    /// What its sender calls it, such as `camera` or `screenshare`.
    pub label: String,
}

/// One Encoding of what a seat shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EncodingState {
    /// Its name; empty if it is the only one.
    pub rid: String,
    /// Bits per second that it brings to the server; 0 if nothing comes of it.
    pub bits_per_second: u64,
    /// The highest spatial and temporal layer that the viewer can get.
    pub layers_max: (u8, u8),
}

/// What a view shows now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ViewState {
    /// In the order of the description.
    pub seats: Vec<SeatState>,
    /// Members that take streams.
    pub viewers: usize,
    /// How the connection fares, once that is known.
    pub path: Option<PathState>,
}

/// A stream that views may carry.
pub(crate) struct Watchable<'a> {
    pub(crate) conn: ConnId,
    pub(crate) username: &'a Username,
    pub(crate) stream: &'a StreamId,
    pub(crate) up: &'a Up,
}

/// A seat of a view, and what it brings its viewer.
pub(crate) struct Seat<'a> {
    pub(crate) mid: &'a str,
    /// The index of its m-section.
    pub(crate) m_line: usize,
    pub(crate) kind: MediaKind,
    /// Nothing too while the viewer's path has no room for it.
    pub(crate) shows: Option<PublicationKey>,
}

impl View {
    pub(crate) fn new(media: MediaId, request: ViewRequest) -> Self {
        Self {
            media,
            request,
            wants: Vec::new(),
            seats: Vec::new(),
            m_lines: Vec::new(),
            carried: Vec::new(),
            layers: BTreeMap::new(),
            is_negotiated: false,
            paused: BTreeSet::new(),
            path: None,
        }
    }

    /// Its transport.
    pub(crate) fn media(&self) -> MediaId {
        self.media
    }

    /// What its seats carry.
    pub(crate) fn carried(&self) -> impl Iterator<Item = &PublicationKey> {
        self.carried.iter().flatten()
    }

    /// The same, each with the index of the m-section that it is in.
    pub(crate) fn carried_by_line(&self) -> impl Iterator<Item = (usize, PublicationKey)> {
        let lines = self.m_lines.iter().copied();
        lines.zip(&self.carried).filter_map(|(m_line, carried)| Some((m_line, (*carried)?)))
    }

    pub(crate) fn seats(&self) -> impl Iterator<Item = Seat<'_>> {
        self.seats.iter().enumerate().map(|(seat, (mid, kind))| {
            let carried = self.carried.get(seat).copied().flatten();
            let m_line = self.m_lines.get(seat).copied().unwrap_or(seat);
            let shows = carried.filter(|key| !self.paused.contains(key));
            Seat { mid, m_line, kind: *kind, shows }
        })
    }

    pub(crate) fn is_negotiated(&self) -> bool {
        self.is_negotiated
    }

    /// The data plane has these seats, by our answer to the viewer's offer if that was its own.
    pub(crate) fn negotiated(&mut self, answer: Option<&str>, seats: Vec<(String, MediaKind)>) {
        self.m_lines = m_lines(answer, &seats);
        self.seats = seats;
        self.is_negotiated = true;
        // The data plane knows nothing of what older seats carried.
        self.wants.clear();
    }

    /// What it is to carry of these, if that is not what the data plane was told last.
    pub(crate) fn new_wants(&self, viewer: ConnId, all: &[Watchable<'_>]) -> Option<Vec<Want>> {
        let wants = self.wants(viewer, all);
        (self.is_negotiated && wants != self.wants).then_some(wants)
    }

    /// The data plane is told to carry these.
    pub(crate) fn set_wants(&mut self, wants: Vec<Want>) {
        self.wants = wants;
    }

    /// A publication is not what it was: if it is wanted, all has to be said anew.
    pub(crate) fn spoil(&mut self, key: PublicationKey) {
        if self.wants.iter().any(|want| want.publication == key) {
            self.wants.clear();
        }
    }

    /// The viewer's path has no room for the pictures of this, or has again.
    pub(crate) fn pause(&mut self, publication: PublicationKey, is_paused: bool) {
        match is_paused {
            true => self.paused.insert(publication),
            false => self.paused.remove(&publication),
        };
    }

    /// Its seats carry these now. Gives what of it is wanted in layers that the viewer has chosen for
    /// the seat, whatever it carries.
    pub(crate) fn carry(&mut self, carried: Vec<Option<PublicationKey>>) -> Vec<Want> {
        self.paused.retain(|key| carried.contains(&Some(*key)));
        self.carried = carried;
        let chosen = self.seats.iter().zip(&self.carried).filter_map(|((mid, _), carried)| {
            let layers = self.layers.get(mid).copied();
            Some(Want { layers: Some(layers?), ..Want::of((*carried)?) })
        });
        chosen.collect()
    }

    /// Notes the viewer's choice for the seat of this mid, or that it leaves the choice to the server
    /// again. Gives what the seat carries, or nothing if there is no such seat.
    pub(crate) fn choose(
        &mut self,
        mid: &str,
        layers: Option<Layers>,
    ) -> Option<Option<PublicationKey>> {
        let seat = self.seats.iter().position(|(known, _)| known == mid)?;
        match layers {
            Some(layers) => self.layers.insert(mid.to_owned(), layers),
            None => self.layers.remove(mid),
        };
        Some(self.carried.get(seat).copied().flatten())
    }

    /// What it is to carry of these.
    fn wants(&self, viewer: ConnId, all: &[Watchable<'_>]) -> Vec<Want> {
        let ViewRequest { stream, username, .. } = &self.request;
        let is_wanted = |name: &Option<String>, found: &str| {
            name.as_deref().is_none_or(|wanted| wanted == found)
        };
        let wanted = all.iter().filter(|found| {
            found.conn != viewer
                && is_wanted(username, found.username.as_str())
                && is_wanted(stream, found.stream.as_str())
        });
        let wants = wanted.flat_map(|Watchable { up, .. }| {
            up.publications.iter().map(|(m_line, _)| {
                let publication = PublicationKey { media: up.media, m_line: *m_line };
                let is_screen = up.label == SCREEN_LABEL;
                Want { layers: self.chosen(publication), is_screen, ..Want::of(publication) }
            })
        });
        // The least important are left out, as they are sorted.
        wants.take(WANTS_MAX).collect()
    }

    /// The layers that the member has chosen for the seat that carries this.
    fn chosen(&self, publication: PublicationKey) -> Option<Layers> {
        let seat = self.carried.iter().position(|carried| *carried == Some(publication))?;
        let (mid, _) = self.seats.get(seat)?;
        self.layers.get(mid).copied()
    }
}

/// By seat, the index of its m-section in an answer; in our own offers each is a seat.
fn m_lines(answer: Option<&str>, seats: &[(String, MediaKind)]) -> Vec<usize> {
    let mut mids: Vec<&str> = Vec::new();
    for line in answer.unwrap_or_default().lines() {
        if line.starts_with("m=") {
            mids.push("");
        } else if let (Some(mid), Some(last)) = (line.strip_prefix("a=mid:"), mids.last_mut()) {
            *last = mid.trim_end();
        }
    }
    let place = |(seat, (mid, _)): (usize, &(String, MediaKind))| {
        mids.iter().position(|found| found == mid).unwrap_or(seat)
    };
    seats.iter().enumerate().map(place).collect()
}
