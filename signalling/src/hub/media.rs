//! What the hub asks of the data plane, and what that reports.

use std::net::IpAddr;

use super::cause::Cause;
use super::stats::Sent;
use crate::ids::{ConnId, MediaId, PublicationKey};
use crate::path::PathState;
use crate::stream::{MediaKind, Rate, Want};

/// A request to the data plane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MediaRequest {
    /// Take a publisher's offer; a known transport is renegotiated.
    Publish {
        /// The publisher's transport, one for each of its streams.
        media: MediaId,
        /// Its SDP offer, as the client sent it.
        offer: String,
        /// The codecs of the group, in order of preference.
        codecs: Vec<String>,
        /// Our address that the publisher has reached.
        reached: Option<IpAddr>,
    },
    /// Make an offer with exactly these; a known transport is renegotiated.
    Subscribe {
        /// The viewer's transport, one for each stream that it gets.
        media: MediaId,
        /// Who gets it: all that one member gets shares what its path takes.
        client: ConnId,
        /// The stream id of every track.
        msid: String,
        /// What it is to carry from now on, and nothing else.
        wants: Vec<Want>,
        /// Whether to restart ICE.
        is_restart: bool,
    },
    /// Let a member watch through seats; a known transport takes the offer as an ICE restart.
    View {
        /// The transport of all that the member watches.
        media: MediaId,
        /// The member that watches.
        client: ConnId,
        /// Its offer; without one we make one, with so many seats for audio and video.
        offer: Result<String, (u8, u8)>,
        /// The stream id of every track.
        msid: String,
        /// The codecs of the group, in order of preference.
        codecs: Vec<String>,
        /// Our address that the viewer has reached.
        reached: Option<IpAddr>,
    },
    /// What the seats of a view are to carry, the most important first.
    Watch {
        /// The transport of the view.
        media: MediaId,
        /// What does not fit is left out.
        wants: Vec<Want>,
    },
    /// Take the answer of a viewer to our offer.
    AcceptAnswer {
        /// The viewer's transport.
        media: MediaId,
        /// Its SDP answer, as the client sent it.
        answer: String,
    },
    /// Another layer of the same section, without an offer.
    SetCap {
        /// The transport of the viewer.
        media: MediaId,
        /// What and how much of it.
        want: Want,
    },
    /// Send a section's sound on, or not.
    SetHeard {
        /// The section that this is about.
        publication: PublicationKey,
        /// Whether it is sent on, as it is at first.
        is_heard: bool,
    },
    /// Report on everything that the owner of this viewing transport is sent.
    Number {
        /// One of its transports.
        media: MediaId,
    },
    /// Note an address that a peer has found after its offer.
    AddCandidate {
        /// Of a publisher or a viewer.
        media: MediaId,
        /// The value of the `candidate` attribute.
        candidate: String,
    },
    /// End a transport, without a word to anybody.
    Close {
        /// Of a publisher or a viewer.
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

/// What the data plane reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MediaEvent {
    /// A publisher's offer was taken.
    Answered {
        /// The publisher's transport.
        media: MediaId,
        /// The SDP answer.
        answer: String,
        /// How many sections will send media.
        publications: usize,
        /// Audio and video sections that cannot be used, in plain words.
        unused: Vec<String>,
    },
    /// An offer for a viewer is ready.
    Offered {
        /// The viewer's transport.
        media: MediaId,
        /// The SDP offer.
        offer: String,
    },
    /// A description was refused.
    Refused {
        /// The transport whose description it was.
        media: MediaId,
        /// For the peer to read.
        text: String,
        /// What kind of failure it is.
        cause: Cause,
    },
    /// A viewer's seats are negotiated.
    Viewed {
        /// The transport of the view.
        media: MediaId,
        /// The answer to its offer, if the offer was its own.
        answer: Option<String>,
        /// By seat, the mid and the kind of its m-section.
        seats: Vec<(String, MediaKind)>,
    },
    /// A viewer cannot decode a section that it was offered.
    Unshown {
        /// The transport of the viewer.
        media: MediaId,
        /// What it does not get.
        publication: PublicationKey,
        /// The codec that it lacks.
        codec: &'static str,
        /// Whether sound or pictures are missing.
        kind: MediaKind,
    },
    /// A viewer's path has no room for the pictures of a section, or has again.
    Paused {
        /// The transport of the viewer.
        media: MediaId,
        /// What it does not get.
        publication: PublicationKey,
        /// Whether they are held back from now on.
        is_paused: bool,
    },
    /// Which Encodings of a section anybody wishes to have. Until the first time all are wanted.
    Wanted {
        /// The section that this is about.
        publication: PublicationKey,
        /// Indices into its rids, as bits.
        encodings: u8,
    },
    /// What a viewer's seats carry now.
    Watching {
        /// The transport of the view.
        media: MediaId,
        /// What each seat carries, in the order of the seats.
        seats: Vec<Option<PublicationKey>>,
    },
    /// What a publisher's sections bring, about once per second.
    Received {
        /// The publisher's transport.
        media: MediaId,
        /// Of each Encoding that has brought anything.
        rates: Vec<Rate>,
    },
    /// ICE and DTLS are up.
    Connected {
        /// Of a publisher or a viewer.
        media: MediaId,
    },
    /// A connection has come further, or has met trouble.
    Path {
        /// Of a publisher or a viewer.
        media: MediaId,
        /// How far it has come, and what it goes over.
        path: PathState,
    },
    /// The report that [`MediaRequest::Number`] has asked for.
    Numbers {
        /// The one that was named.
        media: MediaId,
        /// Of each of its viewing transports, what is sent over it.
        sent: Sent,
    },
    /// First media of a section, or its codec has changed.
    Published {
        /// The section that this is about.
        publication: PublicationKey,
        /// What the section brings.
        kind: MediaKind,
        /// The rids of its Encodings, best first; empty if there is one.
        rids: Vec<String>,
    },
    /// How loud a section's sound is, from the first level (RFC 6464) on.
    Voice {
        /// The section that this is about.
        publication: PublicationKey,
        /// In dB above the lowest level, `0..=127`.
        loudness: u8,
        /// Whether that is speech, and not noise.
        is_speaking: bool,
    },
    /// No connectivity; an ICE restart may help.
    Disconnected {
        /// The transport whose peer is not heard.
        media: MediaId,
    },
    /// The peer is heard again.
    Reconnected {
        /// One that was disconnected.
        media: MediaId,
    },
    /// A transport has ended by itself: nothing needs to be closed.
    Closed {
        /// The transport, which is no more.
        media: MediaId,
        /// For the member to read.
        text: String,
        /// What else is known of it, for the operator; may be empty.
        detail: String,
        /// The peer has closed it, as it does with a stream that it ends or replaces.
        is_by_peer: bool,
    },
}
