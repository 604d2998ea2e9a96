//! The control contract: everything the control plane and the shards say to each other, as plain
//! values. A signalling protocol is an adapter over it: publish with an offer, subscribe, close,
//! and events. SDP crosses as opaque text.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::codec::{Codec, MediaKind};
use crate::error::{CloseReason, PeerError};
use crate::id::{PublicationId, ShardId, TransportId};
use crate::path::Over;
use crate::stats::Counters;
use crate::unused::Unused;
use crate::voice::VoiceReport;

/// What a Publication carries, as much as a Subscription to it must know to be negotiated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicationInfo {
    /// Its id, group-wide and process-wide.
    pub id: PublicationId,
    /// The shard that its packets come to first.
    pub shard: ShardId,
    /// Audio or video.
    pub kind: MediaKind,
    /// The codec of the packets that arrive (not merely the first one negotiated).
    pub codec: Codec,
    /// The publisher's `a=fmtp` parameters for that codec, without payload type; may be empty.
    pub fmtp: String,
    /// The publisher's MediaStreamTrack id (`a=msid` appdata), may be empty.
    pub track_id: String,
    /// The simulcast rids in the order of `a=simulcast` (highest first by contract); empty when
    /// the publisher sends one Encoding.
    pub rids: Vec<String>,
}

/// The most a Subscription wants of a Publication's Encodings and layers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LayerCap {
    /// The best Encoding there is.
    #[default]
    High,
    /// The last simulcast Encoding, or spatial layer 0 of a single one (Galene's `video-low`).
    Low,
    /// What the viewer has chosen itself.
    Chosen(Layers),
}

/// Layers that a viewer has chosen (WHEP layer selection).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layers {
    /// The Encoding, an index into [`PublicationInfo::rids`]; `None` for the best one. While it
    /// is silent another one stands in.
    pub encoding: Option<u8>,
    /// The highest spatial layer, `0..=7`, as far as the codec's packets name it (VP9).
    pub spatial_max: u8,
    /// The highest temporal layer, `0..=7`, as far as the codec's packets name it (VP8, VP9).
    pub temporal_max: u8,
}

impl LayerCap {
    /// The highest spatial layer to forward.
    pub(crate) fn spatial_max(self) -> u8 {
        match self {
            Self::High => u8::MAX,
            Self::Low => 0,
            Self::Chosen(layers) => layers.spatial_max,
        }
    }

    /// The highest temporal layer to forward.
    pub(crate) fn temporal_max(self) -> u8 {
        match self {
            Self::High | Self::Low => u8::MAX,
            Self::Chosen(layers) => layers.temporal_max,
        }
    }
}

/// How a viewer that watches without further negotiation begins (WHEP).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ViewOffer {
    /// The viewer's offer, at most 256 KiB. Each m-section in which it receives becomes a seat.
    Theirs(String),
    /// We make the offer, with so many seats of each kind; [`Command::AcceptAnswer`] ends the
    /// exchange.
    Ours {
        /// Seats for audio, at most 8.
        audio: u8,
        /// Seats for video, at most 8.
        video: u8,
    },
}

/// What a publisher's Encoding brought lately.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EncodingRate {
    /// Whose.
    pub publication: PublicationId,
    /// An index into [`PublicationInfo::rids`].
    pub encoding: u8,
    /// Bits per second of RTP payload since the last report.
    pub bits_per_second: u64,
    /// The share of packets lost on the way to us in the last second, in 256ths (RFC 3550 s6.4.1).
    pub loss_256: u8,
    /// Interarrival jitter (RFC 3550 s6.4.1), in microseconds.
    pub jitter_us: u32,
    /// How long the last answer to a check of ours took, in microseconds; 0 if there was none.
    pub rtt_us: u32,
    /// The codec that arrives.
    pub codec: Codec,
    /// The highest spatial and temporal layer that it has.
    pub layers_max: (u8, u8),
}

/// Why none of a Publication's pictures goes out to a viewer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// The viewer's path has no room.
    Path,
    /// The publisher sends none, or its path has failed.
    Publisher,
    /// A keyframe is awaited.
    Keyframe,
}

/// What a viewer shall be sent of a Publication's pictures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Aim {
    /// The Encoding, an index into [`PublicationInfo::rids`].
    pub encoding: u8,
    /// The spatial layer, counted as [`SubscriptionRate::spatial`] is.
    pub spatial: u8,
    /// The temporal layer.
    pub temporal: u8,
}

/// How much of a Publication a viewer has been sent lately, and what it says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubscriptionRate {
    /// The viewer.
    pub transport: TransportId,
    /// What it gets.
    pub publication: PublicationId,
    /// The codec that it gets.
    pub codec: Codec,
    /// The Encoding that goes out, an index into [`PublicationInfo::rids`].
    pub encoding: Option<u8>,
    /// What shall go out; nothing of sound, or while pictures are paused.
    pub aim: Option<Aim>,
    /// Why no pictures go out, if none do.
    pub held: Option<Held>,
    /// How often its pictures have stood still for a second or longer although the publisher's came, and
    /// for how many milliseconds all in all.
    pub still: (u32, u32),
    /// How often the viewer has asked for a keyframe: it could not go on without.
    pub keyframes_asked: u32,
    /// The spatial layer that it gets, `0..=7`, and the highest one that there is.
    pub spatial: (u8, u8),
    /// The temporal layer that it gets, `0..=7`, and the highest one that there is.
    pub temporal: (u8, u8),
    /// Bits per second of RTP payload in the last second, without RTX.
    pub bits_per_second: u64,
    /// What the viewer believes that its path takes, in bits per second for all that it gets
    /// together (REMB), if it has said so within 30 s. Only with video.
    pub estimate_bits_per_second: Option<u64>,
    /// The share of packets lost in the viewer's last report, in 256ths (RFC 3550 s6.4.1); 0 if
    /// that is older than 30 s.
    pub loss_256: u8,
    /// The smoothed round trip (RFC 3550 s6.4.1), or else that of the last check of ours, in microseconds;
    /// 0 if it is not known.
    pub rtt_us: u32,
    /// Interarrival jitter in the viewer's last report, in microseconds; 0 as for loss.
    pub jitter_us: u32,
}

/// Names the client that a viewing Transport belongs to. All of one client's live on one shard and
/// share what its path takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientKey(pub u64);

/// One entry of a viewer's wish list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubscriptionSpec {
    /// What to forward.
    pub publication: PublicationInfo,
    /// Which of its layers at most.
    pub cap: LayerCap,
    /// How important it is where not all fits the viewer's path: 0 is the most.
    pub priority: u8,
}

/// A wish of the control plane, sent to the shard that owns `transport`.
#[derive(Clone, Debug)]
pub enum Command {
    /// Take a publisher's offer. A `transport` unknown so far is created, a known one is
    /// renegotiated (added m-sections, ICE restart). Answered by [`Event::Answered`] or
    /// [`Event::Refused`].
    Publish {
        /// Who publishes.
        transport: TransportId,
        /// The offer (RFC 8829), at most 256 KiB.
        offer: String,
        /// The codecs the group allows, in order of preference.
        codecs: Vec<Codec>,
        /// Our address that the offer came to, whose candidate is the first in the answer.
        reached: Option<IpAddr>,
    },
    /// Make an offer to a viewer, with exactly these Subscriptions. A `transport` unknown so far
    /// is created, a known one is renegotiated: Subscriptions absent from the list end, others
    /// are kept or added. Answered by [`Event::Offered`] or [`Event::Refused`]. While an offer is
    /// outstanding a second one is refused with [`PeerError::OfferOutstanding`].
    Subscribe {
        /// Who views.
        transport: TransportId,
        /// Whose it is.
        client: ClientKey,
        /// The `a=msid` stream id for every track; must not be empty.
        msid: String,
        /// At most 64.
        subscriptions: Vec<SubscriptionSpec>,
        /// Whether to restart ICE (new ufrag and password).
        ice_restart: bool,
    },
    /// Let a viewer watch through seats: m-sections that carry one Publication after another, as
    /// [`Command::Watch`] says, with no further negotiation. A `transport` unknown so far is
    /// created; a known one takes the offer as an ICE restart. Answered by [`Event::Viewed`],
    /// [`Event::Offered`] or [`Event::Refused`].
    View {
        /// Who views.
        transport: TransportId,
        /// Whose it is.
        client: ClientKey,
        /// Whose offer it is.
        offer: ViewOffer,
        /// The `a=msid` stream id for every track; must not be empty.
        msid: String,
        /// The codecs the group allows, in order of preference.
        codecs: Vec<Codec>,
        /// Our address that the wish came to, whose candidate is the first that is told.
        reached: Option<IpAddr>,
    },
    /// What the seats shall carry, most important first: what does not fit is left out, what is
    /// there already keeps its seat. Unknown ids are ignored. Answered by [`Event::Watching`].
    Watch {
        /// The viewer.
        transport: TransportId,
        /// At most 64; the rest is ignored.
        subscriptions: Vec<SubscriptionSpec>,
    },
    /// The viewer's answer to the last offer. A bad one gives [`Event::Refused`].
    AcceptAnswer {
        /// Whose answer.
        transport: TransportId,
        /// The answer.
        answer: String,
    },
    /// Change the cap of a running Subscription, with no renegotiation.
    SetCap {
        /// The viewer.
        transport: TransportId,
        /// The Publication it watches.
        publication: PublicationId,
        /// The new cap.
        cap: LayerCap,
    },
    /// Send the sound of a Publication on to viewers or not: in a large class only that of the loudest
    /// is. What was withheld leaves no gap in the numbering. A recorder gets it all the same.
    SetHeard {
        /// Whose sound.
        publication: PublicationId,
        /// Whether it is sent on, as it is at first.
        is_heard: bool,
    },
    /// A trickled candidate (RFC 8838), as the value of the `candidate` attribute. One that
    /// cannot be used (mDNS, TCP, unparsable) is dropped and counted.
    AddCandidate {
        /// Whose candidate.
        transport: TransportId,
        /// With or without the leading `candidate:`.
        candidate: String,
    },
    /// Tell how all that the client of this viewing Transport gets fares. Answered by
    /// [`Event::Numbers`], whoever it is.
    Number {
        /// One of the client's.
        transport: TransportId,
    },
    /// Close a Transport and all that hangs on it. No event follows. Unknown ids are ignored.
    Close {
        /// Which.
        transport: TransportId,
    },
}

impl Command {
    /// The Transport that the command is about; it names the shard.
    pub fn transport(&self) -> TransportId {
        match self {
            Self::Publish { transport, .. }
            | Self::Subscribe { transport, .. }
            | Self::View { transport, .. }
            | Self::Watch { transport, .. }
            | Self::AcceptAnswer { transport, .. }
            | Self::SetCap { transport, .. }
            | Self::AddCandidate { transport, .. }
            | Self::Number { transport }
            | Self::Close { transport } => *transport,
            Self::SetHeard { publication, .. } => publication.transport,
        }
    }
}

/// How far a Transport's connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathStage {
    /// No check of the peer has come for 5 s.
    Waiting,
    /// Checks have come, but the DTLS handshake has not ended within 5 s.
    Checked,
    /// It is up, but no media has come after 10 s, nor word of any that was sent.
    Connected,
    /// Media has come, or word that it has arrived.
    Flowing,
    /// Nothing authentic comes any more.
    Silent,
}

/// See [`Event::Path`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathReport {
    /// How far it has come.
    pub stage: PathStage,
    /// What it goes over, once anything has come.
    pub over: Option<Over>,
}

/// What a shard tells the control plane.
#[derive(Clone, Debug)]
pub enum Event {
    /// A publisher's offer was taken.
    Answered {
        /// Whose.
        transport: TransportId,
        /// The answer, with all our candidates and `a=end-of-candidates`.
        answer: String,
        /// How many m-sections will send media.
        publications: usize,
        /// M-sections that cannot be used, beside those that are off.
        unused: Vec<Unused>,
    },
    /// A viewer's seats are negotiated.
    Viewed {
        /// Whose.
        transport: TransportId,
        /// The answer to its offer, with all our candidates and `a=end-of-candidates`; nothing
        /// if the offer was ours.
        answer: Option<String>,
        /// By seat, its m-section's mid and kind.
        seats: Vec<(String, MediaKind)>,
        /// M-sections that cannot be used, beside those that are off.
        unused: Vec<Unused>,
    },
    /// A viewer cannot decode what it was offered of a Publication, and does not get it.
    Unshown {
        /// Who views.
        transport: TransportId,
        /// What.
        publication: PublicationId,
        /// The codec that it lacks.
        codec: Codec,
    },
    /// A viewer's path has no room for the pictures of a Publication, or has again.
    Paused {
        /// Who views.
        transport: TransportId,
        /// What.
        publication: PublicationId,
        /// Whether they are held back from now on.
        is_paused: bool,
    },
    /// Which Encodings of a Publication anybody wishes to have: the others need not be sent. Until the first
    /// time all are wanted.
    Wanted {
        /// Whose.
        publication: PublicationId,
        /// Indices into [`PublicationInfo::rids`], as bits.
        encodings: u8,
    },
    /// What a viewer's seats carry now.
    Watching {
        /// Whose.
        transport: TransportId,
        /// By seat, in the order of [`Event::Viewed`].
        seats: Vec<Option<PublicationId>>,
    },
    /// How much a publisher's Encodings bring, about once per second while connected.
    Received {
        /// Whose.
        transport: TransportId,
        /// Those that have brought anything yet.
        rates: Vec<EncodingRate>,
    },
    /// An offer for a viewer is ready.
    Offered {
        /// Whose.
        transport: TransportId,
        /// The offer, with all our candidates and `a=end-of-candidates`.
        offer: String,
    },
    /// The remote description was refused. A Transport that existed before goes on as it was; a
    /// new one does not exist.
    Refused {
        /// Whose.
        transport: TransportId,
        /// Why, for the peer to read.
        error: PeerError,
    },
    /// ICE and DTLS are up.
    Connected {
        /// Which.
        transport: TransportId,
    },
    /// A Transport's connection has come further, or has met trouble. What takes no longer than usual
    /// is not told before it is done.
    Path {
        /// Which.
        transport: TransportId,
        /// What is known.
        report: PathReport,
    },
    /// First media of an m-section has arrived, or its codec has changed. Viewers can subscribe.
    Published {
        /// The same in `publication.id`.
        transport: TransportId,
        /// What arrived.
        publication: PublicationInfo,
    },
    /// What is heard of a Publication whose packets carry levels (RFC 6464): first when there are any,
    /// then when somebody begins or ends speaking or the loudness has changed much.
    Voice {
        /// Whose sound.
        publication: PublicationId,
        /// What is heard.
        report: VoiceReport,
    },
    /// Nothing authentic has come for some seconds: an ICE restart may help. Sent once until
    /// [`Event::Reconnected`].
    Disconnected {
        /// Which.
        transport: TransportId,
    },
    /// The peer is heard again.
    Reconnected {
        /// Which.
        transport: TransportId,
    },
    /// The Transport is gone and its id invalid.
    Closed {
        /// Which.
        transport: TransportId,
        /// Why.
        reason: CloseReason,
        /// What else is known of it, for the operator; may be empty.
        detail: String,
    },
    /// How all fares that one client gets, as [`Command::Number`] has asked.
    Numbers {
        /// The one that was named.
        transport: TransportId,
        /// Of all connected Transports of its client; empty if there are none.
        rates: Vec<SubscriptionRate>,
    },
    /// A part of the answer to [`crate::DataPlane::survey`].
    Surveyed {
        /// Which question this answers.
        survey: u64,
        /// Subscriptions of connected viewers.
        rates: Vec<SubscriptionRate>,
        /// Whether the shard has told all.
        is_last: bool,
    },
    /// A shard's counters, about once per second.
    Stats {
        /// Whose.
        shard: ShardId,
        /// Sums since the start, and gauges.
        counters: Box<Counters>,
    },
}

/// How the data plane's UDP ports are laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UdpPorts {
    /// One port for all shards (SO_REUSEPORT). 0 lets the system choose.
    Shared(u16),
    /// One port per shard, `first + shard`; the range must hold at least as many as shards.
    PerShard {
        /// The first port.
        first: u16,
        /// The last one, inclusive.
        last: u16,
    },
}

/// How to start the data plane.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many shards, `1..=SHARDS_MAX`.
    pub shards: usize,
    /// Whether to pin each shard's thread to a core of its own (ignored when there are more
    /// shards than cores).
    pub pin: bool,
    /// Viewing clients and publishing Transports that a shard is given before the next one is used: a
    /// shard that sleeps most of the time costs more a packet than one that does not. 1 spreads
    /// evenly, as shards with a port each do in any case.
    pub fill: u32,
    /// UDP ports.
    pub ports: UdpPorts,
    /// The addresses written into candidates, best first (the port is the socket's own). Must
    /// not be empty. With 1:1 NAT these are the outside addresses.
    pub advertise: Vec<IpAddr>,
    /// TCP ports on which somebody accepts connections for [`crate::Door`], for candidates at the same
    /// addresses; may be empty.
    pub tcp_ports: Vec<u16>,
    /// Close a Transport that has not connected within this time.
    pub connect_for_max: Duration,
    /// Close a Transport without a valid connectivity check for this long (RFC 7675: 30 s).
    pub consent_for_max: Duration,
}

/// A class of a hundred stays together: it takes a tenth of a core (docs/performance.md).
const FILL: u32 = 128;

impl Config {
    /// Defaults for one shard on the given port and addresses.
    pub fn new(ports: UdpPorts, advertise: Vec<IpAddr>) -> Self {
        Self {
            shards: 1,
            pin: true,
            fill: FILL,
            ports,
            advertise,
            tcp_ports: Vec::new(),
            connect_for_max: Duration::from_secs(60),
            consent_for_max: Duration::from_secs(30),
        }
    }
}

/// Where the data plane listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listening {
    /// The bound socket address of each shard, by shard index.
    pub sockets: Vec<SocketAddr>,
}
