//! A viewer's Subscription on one shard: how it was negotiated, what it gets and how it fares.

use crate::api::LayerCap;
use crate::canonical::Element;
use crate::choose::Allowance;
use crate::codec::Codec;
use crate::forward::Forwarder;
use crate::id::PublicationId;
use crate::playout::Playout;
use crate::quality::Quality;
use crate::repeats::Repeats;
use crate::stillness::Stillness;

/// A retransmission budget's floor and its share of what is sent: one quarter (row 15).
pub(crate) const RETRANSMIT_BURST_BYTES: u32 = 128 * 1024;
/// How often one packet is retransmitted to one viewer (row 15).
const RETRANSMITS_PER_PACKET_MAX: u8 = 10;
/// Packets whose retransmissions are remembered.
const RECENT: usize = 64;
/// A packet that was sent again is not sent a third time before it can have arrived: a request may
/// have been under way already. At most this, whatever the round trip.
const AGAIN_US_MAX: u64 = 500_000;

/// See the module's documentation.
pub(crate) struct Subscriber {
    /// The Publication, and the index in its Source.
    pub key: (PublicationId, usize),
    /// The viewer's slot, an index into the egress table.
    pub viewer: usize,
    /// Decides and renumbers.
    pub forwarder: Forwarder,
    /// What the viewer wishes.
    pub cap: LayerCap,
    /// What its path takes.
    pub allowance: Allowance,
    /// What its path could take of this, in bits per second; `u64::MAX` if that is not known.
    pub takes_bps: u64,
    /// Since when its path has taken less than the only Encoding there is costs.
    pub short_since_us: Option<u64>,
    /// When it was last shown again after its path had no room for it.
    pub resumed_us: Option<u64>,
    /// It has been stopped: what its publisher has been asked for does not count before it comes.
    pub is_flooded: bool,
    /// How important it is among all that its client gets: 0 is the most.
    pub priority: u8,
    /// Outgoing SSRC.
    pub ssrc: u32,
    /// Outgoing payload type.
    pub pt: u8,
    /// RTX SSRC and payload type, if negotiated.
    pub rtx: Option<(u32, u8)>,
    /// The payload type of redundant audio, if negotiated, and how many earlier packets each one
    /// carries.
    pub red: Option<u8>,
    /// See there.
    pub red_blocks: u8,
    /// The mid in its packets.
    pub mid: Element,
    /// Its extension ids, if they are not ours.
    pub ids: Option<Box<[u8; 15]>>,
    /// Whether its packets carry transport-wide numbers.
    pub is_numbered: bool,
    /// Whether the viewer tells of arrivals by SSRC (RFC 8888).
    pub tells_by_ssrc: bool,
    /// Packets and payload octets sent, for sender reports.
    pub sent: (u32, u32),
    /// Since when it waits for a keyframe; `None` while media flows.
    pub waiting_since_us: Option<u64>,
    /// Since when it lacks layers that it should get.
    pub lacking_since_us: Option<u64>,
    /// The next extended sequence number on the RTX SSRC.
    pub rtx_next: u64,
    /// Which of the last packets the next probe repeats.
    pub probe_back: u16,
    /// Sound that left, once the viewer has asked for some of it again.
    pub repeats: Option<Box<Repeats>>,
    /// What it may still have retransmitted, in octets.
    pub retransmit_bytes: u32,
    /// How it fares.
    pub quality: Quality,
    /// How long its pictures wait with the viewer.
    pub playout: Playout,
    /// How often its pictures stand still.
    pub stillness: Stillness,
    /// How often it has asked for a keyframe.
    pub keyframes_asked: u32,
    recent: [Repeated; RECENT],
}

/// A packet that was sent again.
#[derive(Clone, Copy, Default)]
struct Repeated {
    seq_no: u16,
    times: u8,
    at_us: u64,
}

/// How a Subscriber's stream was negotiated.
pub(crate) struct Negotiated {
    /// Outgoing SSRC.
    pub ssrc: u32,
    /// Outgoing payload type.
    pub pt: u8,
    /// RTX SSRC and payload type.
    pub rtx: Option<(u32, u8)>,
    /// The payload type of redundant audio.
    pub red: Option<u8>,
    /// The m-section's mid.
    pub mid: Element,
    /// Extension ids, if the viewer chose them.
    pub ids: Option<Box<[u8; 15]>>,
    /// Whether it takes transport-wide numbers, and tells what became of them.
    pub has_feedback: bool,
    /// Whether it tells by SSRC instead (RFC 8888).
    pub tells_by_ssrc: bool,
    /// Whether it takes dependency descriptors.
    pub has_dependencies: bool,
    /// Whether it can be told how long pictures shall wait before they are shown.
    pub has_playout_delay: bool,
}

impl Subscriber {
    /// Whether it is of a shared screen: what is most important is one.
    pub(crate) fn is_screen(&self) -> bool {
        self.priority == 0
    }

    /// A Subscription that has not begun.
    pub(crate) fn new(
        publication: PublicationId,
        viewer: usize,
        forwarder: Forwarder,
        (cap, priority): (LayerCap, u8),
        negotiated: Negotiated,
        rtx_next: u64,
    ) -> Self {
        let Negotiated { ssrc, pt, rtx, red, mid, ids, .. } = negotiated;
        // Without RTX a retransmission must repeat its packet bit by bit, or two packets would
        // share a nonce: then what differs per hop stays zero.
        let is_numbered = (negotiated.has_feedback || negotiated.tells_by_ssrc)
            && (rtx.is_some() || !forwarder.repairs_in_place());
        let is_blind = forwarder.codec() == Codec::Av1 && !negotiated.has_dependencies;
        Self {
            key: (publication, 0),
            viewer,
            forwarder: if is_blind { forwarder.joining() } else { forwarder },
            cap,
            allowance: Allowance::All,
            takes_bps: u64::MAX,
            short_since_us: None,
            resumed_us: None,
            is_flooded: false,
            priority,
            ssrc,
            pt,
            rtx,
            red,
            red_blocks: 0,
            mid,
            ids,
            is_numbered,
            tells_by_ssrc: negotiated.tells_by_ssrc,
            sent: (0, 0),
            waiting_since_us: None,
            lacking_since_us: None,
            rtx_next,
            probe_back: 0,
            repeats: None,
            retransmit_bytes: RETRANSMIT_BURST_BYTES,
            quality: Quality::default(),
            // A packet that must be repeated octet by octet cannot have what comes now and then.
            playout: Playout::new(negotiated.has_playout_delay && rtx.is_some()),
            stillness: Stillness::default(),
            keyframes_asked: 0,
            recent: [Repeated::default(); RECENT],
        }
    }

    /// What stands in the place of the mid in packets of a picture.
    #[inline]
    pub(crate) fn element(&mut self, rtp_time: u32) -> Element {
        if self.playout.is_silent() {
            return self.mid;
        }
        self.playout.element(rtp_time).unwrap_or(self.mid)
    }

    /// Whether this packet may be sent once more.
    pub(crate) fn may_retransmit(&mut self, seq_no: u16, bytes: usize, now_us: u64) -> bool {
        let again_us = self.quality.rtt_us().min(AGAIN_US_MAX) * 3 / 4;
        let known = &mut self.recent[usize::from(seq_no) % RECENT];
        if known.seq_no != seq_no {
            *known = Repeated { seq_no, ..Repeated::default() };
        }
        let bytes = bytes as u32;
        let is_early = known.times > 0 && now_us.saturating_sub(known.at_us) < again_us;
        let is_spent = known.times >= RETRANSMITS_PER_PACKET_MAX || self.retransmit_bytes < bytes;
        if is_early || is_spent {
            return false;
        }
        known.times += 1;
        known.at_us = now_us;
        self.retransmit_bytes -= bytes;
        true
    }
}
