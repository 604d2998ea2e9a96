//! Streams of members: what a publisher sends (up), what a viewer gets of it (down), and which
//! media sections a wish list selects.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::ids::{ConnId, MediaId, PublicationKey, StreamId};
use crate::path::PathState;

/// The label of shared screens (docs/protocol.md).
pub(crate) const SCREEN_LABEL: &str = "screenshare";
/// The label of cameras with their microphones.
pub(crate) const CAMERA_LABEL: &str = "camera";
/// The most labels in one `request`; stock clients use three.
const REQUEST_LABELS_MAX: usize = 64;
/// The most wishes per label; there are three that mean something.
const REQUEST_WISHES_MAX: usize = 16;

/// So many reports, which come once per second, without anything mean that a stream is silent.
const QUIET_REPORTS: u8 = 2;

/// What a media section brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum MediaKind {
    Audio,
    Video,
}

/// One media section that a viewer is to get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Want {
    /// The section that it is about.
    pub publication: PublicationKey,
    /// Only its lowest layer.
    pub is_low: bool,
    /// The layers that the viewer has chosen; wins over `is_low`.
    pub layers: Option<Layers>,
    /// It is a shared screen, which comes before faces where not all fits the viewer's path.
    pub is_screen: bool,
}

impl Want {
    /// All of a section.
    pub(crate) fn of(publication: PublicationKey) -> Self {
        Self { publication, is_low: false, layers: None, is_screen: false }
    }
}

/// Layers of a section that a viewer has chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layers {
    /// The index of the Encoding among the rids; nothing for the best.
    pub encoding: Option<u8>,
    /// The highest spatial layer.
    pub spatial_max: u8,
    /// The highest temporal layer.
    pub temporal_max: u8,
}

/// A client's wishes, by stream label.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Request(BTreeMap<String, Vec<String>>);

impl Request {
    /// Reads the `request` field. Nothing if it is not an object of lists of strings.
    pub fn from_value(value: &Value) -> Option<Self> {
        let Value::Object(labels) = value else {
            return None;
        };
        if labels.len() > REQUEST_LABELS_MAX {
            return None;
        }
        labels
            .iter()
            .map(|(label, wishes)| Some((label.clone(), wishes_from_value(wishes)?)))
            .collect::<Option<_>>()
            .map(Self)
    }

    /// The wishes for a stream: those of its label, else those of the empty label.
    pub(crate) fn wishes(&self, label: &str) -> &[String] {
        self.0.get(label).or_else(|| self.0.get("")).map_or(&[], Vec::as_slice)
    }
}

/// Reads a list of wishes; `null` is an empty one.
pub(crate) fn wishes_from_value(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Array(items) if items.len() <= REQUEST_WISHES_MAX => {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
        }
        _ => None,
    }
}

/// At most one audio and one video section. `video` is the first one; `video-low` the last one,
/// at its lowest layer.
pub(crate) fn select(
    wishes: &[String],
    media: MediaId,
    publications: &[(u8, MediaKind)],
) -> Vec<Want> {
    let wishes_for = |name: &str| wishes.iter().any(|wish| wish == name);
    let of_kind = |kind| {
        publications.iter().filter(move |(_, found)| *found == kind).map(|(m_line, _)| *m_line)
    };
    let want = |m_line, is_low| Want { is_low, ..Want::of(PublicationKey { media, m_line }) };
    let mut wants = Vec::new();
    if wishes_for("audio") {
        wants.extend(of_kind(MediaKind::Audio).next().map(|m_line| want(m_line, false)));
    }
    if wishes_for("video") {
        wants.extend(of_kind(MediaKind::Video).next().map(|m_line| want(m_line, false)));
    } else if wishes_for("video-low") {
        wants.extend(of_kind(MediaKind::Video).next_back().map(|m_line| want(m_line, true)));
    }
    wants
}

/// What one Encoding of a section brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rate {
    /// The index of the m-section.
    pub m_line: u8,
    /// The index of the Encoding among the rids.
    pub encoding: u8,
    /// Bits per second of payload in the last second, without retransmissions over RTX.
    pub bits_per_second: u64,
    /// The share of packets lost on the way to the server, in 256ths.
    pub loss_256: u8,
    /// Interarrival jitter in microseconds.
    pub jitter_us: u32,
    /// How long the last check of the path took in microseconds; 0 if that is not known.
    pub rtt_us: u32,
    /// The name of the codec.
    pub codec: &'static str,
    /// The highest spatial and temporal layer.
    pub layers_max: (u8, u8),
}

/// Why no pictures go out to a viewer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// Its path has no room.
    Path,
    /// The publisher sends none, or its path has failed.
    Publisher,
    /// A keyframe is awaited.
    Keyframe,
}

impl Held {
    /// As clients and operators are told.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Publisher => "publisher",
            Self::Keyframe => "keyframe",
        }
    }
}

/// Which pictures a viewer is to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Aim {
    /// The index of the Encoding among the rids.
    pub encoding: u8,
    /// The spatial layer, counted as in [`SentRate::spatial`].
    pub spatial: u8,
    /// The temporal layer, from 0.
    pub temporal: u8,
}

/// What a viewer is sent of one section, and what it says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SentRate {
    /// The section that is sent on.
    pub publication: PublicationKey,
    /// Audio or video.
    pub kind: MediaKind,
    /// The name of the codec that it gets.
    pub codec: &'static str,
    /// The index of the Encoding that goes out, among the rids.
    pub encoding: Option<u8>,
    /// What is to go out; nothing for sound, or while pictures are paused.
    pub aim: Option<Aim>,
    /// Why no pictures go out, if none do.
    pub held: Option<Held>,
    /// How often its pictures have stood still for a second or longer at the server, and for how many
    /// milliseconds.
    pub still: (u32, u32),
    /// How often it has asked for a keyframe.
    pub keyframes_asked: u32,
    /// The spatial layer that it gets, and the highest one that there is.
    pub spatial: (u8, u8),
    /// The temporal layer that it gets, and the highest one that there is.
    pub temporal: (u8, u8),
    /// Bits per second of payload in the last second, without retransmissions over RTX.
    pub bits_per_second: u64,
    /// What the viewer believes that its path takes, if it says so, in bits per second.
    pub estimate_bits_per_second: Option<u64>,
    /// The share of packets lost on the way to the viewer, in 256ths.
    pub loss_256: u8,
    /// The round trip to the viewer in microseconds; 0 if it is not known.
    pub rtt_us: u32,
    /// Interarrival jitter in microseconds; 0 if it is not known.
    pub jitter_us: u32,
}

/// A stream that a member publishes.
#[derive(Debug)]
pub(crate) struct Up {
    pub(crate) label: String,
    pub(crate) media: MediaId,
    /// Kept until viewers have been told.
    pub(crate) replace: Option<StreamId>,
    /// How many sections will send media, once the offer is answered.
    pub(crate) expected: Option<usize>,
    /// Sections whose media has arrived, by index.
    pub(crate) publications: Vec<(u8, MediaKind)>,
    /// The rids of each section that has any.
    pub(crate) rids: BTreeMap<u8, Vec<String>>,
    /// What its Encodings bring, as last told.
    pub(crate) rates: Vec<Rate>,
    /// Of sections, the Encodings that anybody wishes to have, as bits; all of those that are not named.
    pub(crate) wanted: BTreeMap<u8, u8>,
    /// Reports in a row of which none brought anything.
    quiet_reports: u8,
    /// Whether viewers know it.
    pub(crate) is_announced: bool,
    /// When to tell them at the latest; once it has ended, that it has.
    pub(crate) announce_at: Option<Duration>,
    /// Its transport has been up.
    pub(crate) is_connected: bool,
    /// How its transport's connection fares.
    pub(crate) path: Option<PathState>,
    /// Nothing comes from its owner at present.
    pub(crate) is_cut: bool,
    /// Its owner has closed the transport, and will say what becomes of the stream.
    pub(crate) is_ended: bool,
}

impl Up {
    pub(crate) fn new(label: String, media: MediaId, replace: Option<StreamId>) -> Self {
        Self {
            label,
            media,
            replace,
            expected: None,
            publications: Vec::new(),
            rids: BTreeMap::new(),
            rates: Vec::new(),
            wanted: BTreeMap::new(),
            quiet_reports: 0,
            is_announced: false,
            announce_at: None,
            is_connected: false,
            path: None,
            is_cut: false,
            is_ended: false,
        }
    }

    /// Notes what its Encodings bring.
    pub(crate) fn note_rates(&mut self, rates: Vec<Rate>) {
        let is_quiet = rates.iter().all(|rate| rate.bits_per_second == 0);
        self.quiet_reports = if is_quiet { self.quiet_reports.saturating_add(1) } else { 0 };
        self.rates = rates;
    }

    /// The name of an Encoding of a section; empty if it is the only one.
    pub(crate) fn rid(&self, m_line: u8, encoding: u8) -> &str {
        let rids = self.rids.get(&m_line);
        rids.and_then(|rids| rids.get(usize::from(encoding))).map_or("", String::as_str)
    }

    /// Whether nothing of it has come for some seconds.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_cut || self.quiet_reports >= QUIET_REPORTS
    }

    /// Notes a section's media; says whether it had been noted before.
    pub(crate) fn note(&mut self, m_line: u8, kind: MediaKind) -> bool {
        match self.publications.binary_search_by_key(&m_line, |(found, _)| *found) {
            Ok(_) => true,
            Err(at) => {
                self.publications.insert(at, (m_line, kind));
                false
            }
        }
    }

    /// Notes how many sections an answer has; says whether it is the first one.
    pub(crate) fn note_answer(&mut self, sections: usize) -> bool {
        self.expected.replace(sections).is_none()
    }

    /// Whether viewers can be told of it, and have not been.
    pub(crate) fn is_due(&self) -> bool {
        self.is_complete() && !self.is_announced && !self.publications.is_empty()
    }

    /// Whether a section has sound, or pictures.
    pub(crate) fn has(&self, kind: MediaKind) -> bool {
        self.publications.iter().any(|(_, found)| *found == kind)
    }

    /// Notes which Encodings of a section anybody wants, as bits of `encodings`. Gives their rids.
    pub(crate) fn note_wanted(&mut self, m_line: u8, encodings: u8) -> Vec<String> {
        self.wanted.insert(m_line, encodings);
        let rids = self.rids.get(&m_line).map_or(&[][..], Vec::as_slice);
        let among = (0..8).zip(rids).filter(|(at, _)| encodings >> at & 1 != 0);
        among.map(|(_, rid)| rid.clone()).collect()
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.expected.is_some_and(|expected| self.publications.len() >= expected)
    }
}

/// Where the offers of a down stream stand. One offer is outstanding at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Negotiation {
    /// The data plane is making an offer.
    Offering,
    /// The viewer has it and has not answered.
    Offered,
    /// Nothing is outstanding.
    Stable,
}

/// What a viewer gets of one up stream. Its id is the up stream's.
#[derive(Debug)]
pub(crate) struct Down {
    pub(crate) publisher: ConnId,
    pub(crate) media: MediaId,
    pub(crate) wants: Vec<Want>,
    pub(crate) negotiation: Negotiation,
    /// Another offer is needed once nothing is outstanding.
    pub(crate) is_dirty: bool,
    /// That offer restarts ICE.
    pub(crate) is_restart: bool,
    /// Carried by the next offer.
    pub(crate) replace: Option<StreamId>,
    /// Set by `requestStream`, in place of the client's map.
    pub(crate) wishes: Option<Vec<String>>,
    /// How its transport's connection fares.
    pub(crate) path: Option<PathState>,
    /// What the viewer has been told that it cannot decode.
    pub(crate) unshown: Vec<(PublicationKey, &'static str)>,
}

impl Down {
    /// One that still needs its first offer.
    pub(crate) fn new(publisher: ConnId, media: MediaId, wants: Vec<Want>) -> Self {
        Self {
            publisher,
            media,
            wants,
            negotiation: Negotiation::Stable,
            is_dirty: true,
            is_restart: false,
            replace: None,
            wishes: None,
            path: None,
            unshown: Vec::new(),
        }
    }

    /// Whether the viewer can decode nothing of what it wants.
    pub(crate) fn is_unshowable(&self) -> bool {
        let is_told = |want: &Want| self.unshown.iter().any(|(key, _)| *key == want.publication);
        !self.wants.is_empty() && self.wants.iter().all(is_told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUDIO: MediaKind = MediaKind::Audio;
    const VIDEO: MediaKind = MediaKind::Video;

    fn selected(wishes: &[&str], publications: &[(u8, MediaKind)]) -> Vec<(u8, bool)> {
        let wishes: Vec<String> = wishes.iter().map(|wish| (*wish).to_owned()).collect();
        select(&wishes, MediaId(1), publications)
            .into_iter()
            .map(|want| (want.publication.m_line, want.is_low))
            .collect()
    }

    #[test]
    fn wishes_select_at_most_one_audio_and_one_video() {
        let all = [(0, AUDIO), (1, VIDEO), (2, VIDEO), (3, AUDIO)];
        assert_eq!(selected(&["audio", "video"], &all), [(0, false), (1, false)]);
        assert_eq!(selected(&["audio", "video-low"], &all), [(0, false), (2, true)]);
        assert_eq!(selected(&["video", "video-low"], &all), [(1, false)]);
        assert_eq!(selected(&["video-low"], &[(1, VIDEO)]), [(1, true)]);
        assert_eq!(selected(&["smell"], &all), []);
        assert_eq!(selected(&["audio"], &[(1, VIDEO)]), []);
    }

    #[test]
    fn the_exact_label_wins_even_if_empty() {
        let value = serde_json::json!({"camera": [], "": ["audio"], "screenshare": null});
        let request = Request::from_value(&value).unwrap();
        assert!(request.wishes("camera").is_empty());
        assert!(request.wishes("screenshare").is_empty());
        assert_eq!(request.wishes("video"), ["audio"]);
        assert!(Request::default().wishes("camera").is_empty());
    }

    #[test]
    fn what_is_not_a_request_is_refused() {
        for text in ["null", "[]", "3", r#"{"a":3}"#, r#"{"a":[3]}"#] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(Request::from_value(&value), None, "{text}");
        }
    }
}
