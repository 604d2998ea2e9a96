//! A Transport's state on its shard: the peer engine, the paths to the peer, its keys, and
//! what it publishes or views.

use std::time::Instant;

use crate::api::{ClientKey, PathReport, PublicationInfo, SubscriptionSpec};
use crate::ccfb::ReceptionLog;
use crate::codec::{Codec, MediaKind};
use crate::demand::Told;
use crate::extension::ExtensionMap;
use crate::forward::Parked;
use crate::id::TransportId;
use crate::path::{PathIndex, Paths};
use crate::peer::Peer;
use crate::publication::Publication;
use crate::sdp::Section;
use crate::srtp::Opener;
use crate::twcc::ArrivalLog;

/// SSRCs bound in one publisher's Transport: 8 Encodings with RTX for each of audio, camera and
/// screen, and room.
pub(crate) const STREAMS_MAX: usize = 64;

/// See the module's documentation.
pub(crate) struct Transport {
    /// Its id.
    pub id: TransportId,
    /// The engine.
    pub peer: Peer,
    /// How the peer is reached.
    pub paths: Paths,
    /// The peer's keys.
    pub opener: Option<Opener>,
    /// Whether ICE and DTLS are up.
    pub is_connected: bool,
    /// When it was created.
    pub created_at: Instant,
    /// Whether the control plane was told of the silence.
    pub is_silence_told: bool,
    /// What the control plane was told last of its connection.
    pub told_path: Option<PathReport>,
    /// The timer that is set for it.
    pub timer_at: Option<Instant>,
    /// What it does.
    pub role: Role,
}

/// A Transport either publishes or views: Galene's streams are unidirectional (docs/protocol.md).
pub(crate) enum Role {
    /// Sends us media.
    Publisher(Box<Publisher>),
    /// Gets media from us.
    Viewer(Box<Viewer>),
}

/// A publishing Transport.
#[derive(Default)]
pub(crate) struct Publisher {
    /// By m-line; `None` where an m-section carries no media towards us.
    pub publications: Vec<Option<Publication>>,
    /// The mids of its last offer, by m-line.
    pub mids: Vec<String>,
    /// Bound SSRCs.
    pub streams: Vec<Stream>,
    /// The SSRC of our own RTCP.
    pub rtcp_ssrc: u32,
    /// Arrivals for transport-wide feedback, if negotiated.
    pub arrivals: Option<ArrivalLog>,
    /// Those for RFC 8888 instead, if that is negotiated.
    pub receptions: Option<ReceptionLog>,
    /// Relates the publisher's clock to ours.
    pub clock: crate::clock::PublisherClock,
    /// All sections' header extensions; with BUNDLE an id means the same everywhere
    /// (RFC 8843 s9.4).
    pub extensions: ExtensionMap,
    /// When feedback was last sent, in microseconds since our epoch.
    pub feedback_at_us: u64,
    /// How much it has been asked to send.
    pub told: Told,
}

/// What an SSRC of a publisher is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stream {
    /// The SSRC.
    pub ssrc: u32,
    /// Its m-section.
    pub m_line: u8,
    /// Its Encoding.
    pub encoding: u8,
    /// Whether it carries retransmissions.
    pub is_rtx: bool,
}

/// A viewing Transport.
#[derive(Default)]
pub(crate) struct Viewer {
    /// The msid stream id.
    pub msid: String,
    /// Its m-sections in order.
    pub lines: Vec<ViewerLine>,
    /// The mids of its last offer, if the offers are its own.
    pub mids: Vec<String>,
    /// With seats: the codecs that they may carry.
    pub codecs: Vec<Codec>,
    /// The `a=fmtp` parameters under which a codec was first offered to it: a payload type means
    /// the same for ever (RFC 8829 s5.2.2).
    pub params: Vec<(Codec, String)>,
    /// What the offer that waits for an answer says, by m-line.
    pub wanted: Vec<Option<SubscriptionSpec>>,
    /// What it believes that its path takes (REMB), in bits per second, and when it said so.
    pub estimate: Option<(u64, u64)>,
    /// Whether it has said that anything of it has arrived.
    pub has_arrived: bool,
    /// Whose it is.
    pub client: Option<ClientKey>,
    /// Whether its m-sections are seats ([`crate::Command::View`]).
    pub has_seats: bool,
}

/// One m-section towards a viewer. Its SSRCs stay for the Transport's life, so it remembers which
/// sequence numbers they have used.
#[derive(Debug)]
pub(crate) struct ViewerLine {
    /// Its mid.
    pub mid: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// The codec that it was last offered with; of a seat, nothing.
    pub codec: Option<Codec>,
    /// The track that it was offered as.
    pub track_id: String,
    /// For a seat: its m-section as the viewer described it, once negotiated.
    pub section: Option<Section>,
    /// What it carries: the Publication and the Subscriber's index in its Source.
    pub subscription: Option<(PublicationInfo, usize)>,
    /// The SSRC and the RTX SSRC.
    pub ssrc: (u32, Option<u32>),
    /// Where the streams on them go on when something is subscribed.
    pub parked: Parked,
}

impl Transport {
    /// Whose it is, if it views.
    pub(crate) fn client(&self) -> Option<ClientKey> {
        match &self.role {
            Role::Viewer(viewer) => viewer.client,
            Role::Publisher(_) => None,
        }
    }

    /// Any authentic packet shows that the peer is there.
    pub(crate) fn hear(&mut self, path: PathIndex, now: Instant) {
        self.paths.heard(path, now);
    }
}

impl Publisher {
    /// The stream for an SSRC.
    pub(crate) fn stream(&self, ssrc: u32) -> Option<Stream> {
        self.streams.iter().copied().find(|stream| stream.ssrc == ssrc)
    }

    /// The Publication of an m-line.
    pub(crate) fn publication(&mut self, m_line: u8) -> Option<&mut Publication> {
        self.publications.get_mut(usize::from(m_line))?.as_mut()
    }
}

impl Publisher {
    /// Binds the SSRCs that the offer names (and that are not told apart by rid).
    pub(crate) fn bind_signalled(&mut self) {
        for (m_line, publication) in (0..).zip(&self.publications) {
            let Some(publication) = publication else {
                continue;
            };
            for (encoding, bound) in (0..).zip(&publication.encodings) {
                for (ssrc, is_rtx) in [(bound.ssrc, false), (bound.rtx_ssrc, true)] {
                    let Some(ssrc) = ssrc else { continue };
                    // What was bound here before the offer named another SSRC.
                    self.streams.retain(|known| {
                        known.ssrc == ssrc
                            || (known.m_line, known.encoding, known.is_rtx)
                                != (m_line, encoding, is_rtx)
                    });
                    let is_known = self.streams.iter().any(|stream| stream.ssrc == ssrc);
                    if !is_known && self.streams.len() < STREAMS_MAX {
                        self.streams.push(Stream { ssrc, m_line, encoding, is_rtx });
                    }
                }
            }
        }
    }
}

impl Viewer {
    /// The Subscription whose outgoing SSRC (or RTX SSRC) this is.
    pub(crate) fn subscription_by_ssrc(&self, ssrc: u32) -> Option<(&PublicationInfo, usize)> {
        let line =
            self.lines.iter().find(|line| line.ssrc.0 == ssrc || line.ssrc.1 == Some(ssrc))?;
        line.subscription.as_ref().map(|(info, at)| (info, *at))
    }
}
