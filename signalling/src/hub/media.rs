//! What the hub wants of the data plane, and what that says.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::event::Cause;
use super::stats::Sent;
use crate::ids::{ConnId, MediaId, PublicationKey};
use crate::stream::{MediaKind, Rate, Want};

/// A wish to the data plane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MediaRequest {
    /// Take a publisher's offer; a known transport is renegotiated.
    Publish {
        /// Whose.
        media: MediaId,
        /// The offer.
        offer: String,
        /// The codecs of the group, in order of preference.
        codecs: Vec<String>,
        /// Our address that the publisher has reached.
        reached: Option<IpAddr>,
    },
    /// Make an offer with exactly these; a known transport is renegotiated.
    Subscribe {
        /// Whose.
        media: MediaId,
        /// Who gets it: all that one member gets shares what its path takes.
        client: ConnId,
        /// The stream id of every track.
        msid: String,
        /// What to forward.
        wants: Vec<Want>,
        /// Whether to restart ICE.
        is_restart: bool,
    },
    /// Let it watch through slots; a known transport takes the offer as an ICE restart.
    View {
        /// Whose.
        media: MediaId,
        /// Who gets it.
        client: ConnId,
        /// Its offer; without one we make one, with so many slots for audio and video.
        offer: Result<String, (u8, u8)>,
        /// The stream id of every track.
        msid: String,
        /// The codecs of the group, in order of preference.
        codecs: Vec<String>,
        /// Our address that the viewer has reached.
        reached: Option<IpAddr>,
    },
    /// What its slots shall carry, the most important first.
    Watch {
        /// Whose.
        media: MediaId,
        /// What does not fit is left out.
        wants: Vec<Want>,
    },
    /// The viewer's answer.
    AcceptAnswer {
        /// Whose.
        media: MediaId,
        /// The answer.
        answer: String,
    },
    /// Another layer of the same section, without an offer.
    SetCap {
        /// The viewer's transport.
        media: MediaId,
        /// What and how much of it.
        want: Want,
    },
    /// Send a section's sound on, or not.
    SetHeard {
        /// Which.
        publication: PublicationKey,
        /// Whether it is sent on, as it is at first.
        is_heard: bool,
    },
    /// Tell how all fares that the owner of this viewing transport gets.
    Number {
        /// One of its transports.
        media: MediaId,
    },
    /// A trickled candidate.
    AddCandidate {
        /// Whose.
        media: MediaId,
        /// The value of the `candidate` attribute.
        candidate: String,
    },
    /// End it.
    Close {
        /// Which.
        media: MediaId,
    },
}

impl MediaRequest {
    /// The transport that it is about.
    pub fn media(&self) -> MediaId {
        match self {
            Self::Publish { media, .. }
            | Self::Subscribe { media, .. }
            | Self::View { media, .. }
            | Self::Watch { media, .. }
            | Self::AcceptAnswer { media, .. }
            | Self::SetCap { media, .. }
            | Self::AddCandidate { media, .. }
            | Self::Number { media }
            | Self::Close { media } => *media,
            Self::SetHeard { publication, .. } => publication.media,
        }
    }
}

impl MediaEvent {
    /// The transport that it is about.
    pub fn media(&self) -> MediaId {
        match self {
            Self::Answered { media, .. }
            | Self::Offered { media, .. }
            | Self::Refused { media, .. }
            | Self::Viewed { media, .. }
            | Self::Watching { media, .. }
            | Self::Unshown { media, .. }
            | Self::Paused { media, .. }
            | Self::Received { media, .. }
            | Self::Connected { media }
            | Self::Disconnected { media }
            | Self::Reconnected { media }
            | Self::Path { media, .. }
            | Self::Numbers { media, .. }
            | Self::Closed { media, .. } => *media,
            Self::Published { publication, .. }
            | Self::Voice { publication, .. }
            | Self::Wanted { publication, .. } => publication.media,
        }
    }
}

/// How far a transport's connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathStage {
    /// Nothing has come from the peer.
    Waiting,
    /// Checks have, but the handshake does not end.
    Checked,
    /// It is up, without media so far.
    Connected,
    /// Media has come, or word that it has arrived.
    Flowing,
    /// Nothing comes any more.
    Silent,
}

/// What media goes over on its way to and from a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// UDP.
    Udp,
    /// TCP (ICE-TCP).
    Tcp,
    /// Our TURN server, which the client reaches over UDP.
    TurnUdp,
    /// The same over TCP.
    TurnTcp,
    /// The same over TLS.
    TurnTls,
}

impl Over {
    /// As clients, operators and the log are told.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::TurnUdp => "turn/udp",
            Self::TurnTcp => "turn/tcp",
            Self::TurnTls => "turn/tls",
        }
    }
}

/// See [`PathStage`] and [`Over`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathState {
    /// How far it has come.
    pub stage: PathStage,
    /// What it goes over, once anything has come.
    pub over: Option<Over>,
}

impl PathState {
    /// Whether it is worth a word: media over UDP is the case nearly always, and said only after
    /// something else was.
    pub(crate) fn is_news_after(self, before: Option<Self>) -> bool {
        !self.is_ordinary() || before.is_some_and(|before| !before.is_ordinary())
    }

    fn is_ordinary(self) -> bool {
        self.stage == PathStage::Flowing && self.over.is_none_or(|over| over == Over::Udp)
    }

    /// As clients are told.
    pub(crate) fn to_value(self) -> Value {
        let stage = match self.stage {
            PathStage::Waiting => "waiting",
            PathStage::Checked => "checked",
            PathStage::Connected => "connected",
            PathStage::Flowing => "flowing",
            PathStage::Silent => "silent",
        };
        match self.over {
            None => json!({ "state": stage }),
            Some(over) => json!({ "state": stage, "over": over.name() }),
        }
    }
}

/// What the data plane says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MediaEvent {
    /// A publisher's offer was taken.
    Answered {
        /// Whose.
        media: MediaId,
        /// The answer.
        answer: String,
        /// How many sections will send media.
        publications: usize,
        /// Audio and video sections that cannot be used, in plain words.
        unused: Vec<String>,
    },
    /// An offer for a viewer is ready.
    Offered {
        /// Whose.
        media: MediaId,
        /// The offer.
        offer: String,
    },
    /// A description was refused.
    Refused {
        /// Whose.
        media: MediaId,
        /// For the peer to read.
        text: String,
        /// What kind of failure it is.
        cause: Cause,
    },
    /// A viewer's slots are negotiated.
    Viewed {
        /// Whose.
        media: MediaId,
        /// The answer to its offer, if the offer was its own.
        answer: Option<String>,
        /// By slot, the mid and the kind of its m-section.
        slots: Vec<(String, MediaKind)>,
    },
    /// A viewer cannot decode a section that it was offered.
    Unshown {
        /// The viewer's transport.
        media: MediaId,
        /// What it does not get.
        publication: PublicationKey,
        /// The codec that it lacks.
        codec: &'static str,
        /// What of it.
        kind: MediaKind,
    },
    /// A viewer's path has no room for the pictures of a section, or has again.
    Paused {
        /// The viewer's transport.
        media: MediaId,
        /// What it does not get.
        publication: PublicationKey,
        /// Whether they are held back from now on.
        is_paused: bool,
    },
    /// Which Encodings of a section anybody wishes to have. Until the first time all are wanted.
    Wanted {
        /// Which.
        publication: PublicationKey,
        /// Indices into its rids, as bits.
        encodings: u8,
    },
    /// What a viewer's slots carry now.
    Watching {
        /// Whose.
        media: MediaId,
        /// By slot.
        slots: Vec<Option<PublicationKey>>,
    },
    /// What a publisher's sections bring, about once per second.
    Received {
        /// Whose.
        media: MediaId,
        /// Of each Encoding that has brought anything.
        rates: Vec<Rate>,
    },
    /// ICE and DTLS are up.
    Connected {
        /// Which.
        media: MediaId,
    },
    /// A connection has come further, or has met trouble.
    Path {
        /// Whose.
        media: MediaId,
        /// What is known.
        path: PathState,
    },
    /// How all fares that the owner of a transport gets, as [`MediaRequest::Number`] has asked.
    Numbers {
        /// The one that was named.
        media: MediaId,
        /// By transport.
        sent: Sent,
    },
    /// First media of a section, or its codec has changed.
    Published {
        /// Which.
        publication: PublicationKey,
        /// Audio or video.
        kind: MediaKind,
        /// The rids of its Encodings, best first; empty if there is one.
        rids: Vec<String>,
    },
    /// How loud a section's sound is, from the first level (RFC 6464) on.
    Voice {
        /// Which.
        publication: PublicationKey,
        /// In dB above the lowest level, `0..=127`.
        loudness: u8,
        /// Whether somebody speaks.
        is_speaking: bool,
    },
    /// No connectivity; an ICE restart may help.
    Disconnected {
        /// Which.
        media: MediaId,
    },
    /// The peer is heard again.
    Reconnected {
        /// Which.
        media: MediaId,
    },
    /// Gone.
    Closed {
        /// Which.
        media: MediaId,
        /// In plain words.
        text: String,
        /// What else is known of it, for the operator; may be empty.
        detail: String,
        /// The peer has closed it, as it does with a stream that it ends or replaces.
        is_by_peer: bool,
    },
}
