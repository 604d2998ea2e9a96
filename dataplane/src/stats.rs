//! Plain counters of a shard, copied out by value about once per second.

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a datagram or packet went no further. Nothing a packet can do ends a Transport.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum DropReason {
            $($(#[$doc])* $variant,)*
        }

        impl DropReason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The label value in metrics.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

drop_reasons! {
    /// Empty, oversized, or of no kind of RFC 7983.
    NotOurs = "not_ours",
    /// A STUN message that is no well-formed binding request.
    BadStun = "bad_stun",
    /// A binding request for a Transport that does not exist.
    UnknownUfrag = "unknown_ufrag",
    /// A binding request with a wrong MESSAGE-INTEGRITY.
    BadIntegrity = "bad_integrity",
    /// DTLS, SRTP or SRTCP from an address that no Transport has validated.
    UnverifiedSource = "unverified_source",
    /// SRTP or SRTCP before the handshake, or media from a viewer.
    NotReady = "not_ready",
    /// A tag that does not match, or a replay.
    SrtpDenied = "srtp_denied",
    /// Malformed RTP behind a valid tag.
    BadRtp = "bad_rtp",
    /// Malformed RTCP behind a valid tag.
    BadRtcp = "bad_rtcp",
    /// An SSRC that belongs to no m-section, or one more than an m-section may have.
    UnknownSsrc = "unknown_ssrc",
    /// A payload type that was not negotiated.
    UnknownPt = "unknown_pt",
    /// Padding without payload, or a retransmission of what is known.
    NoPayload = "no_payload",
    /// The lane to another shard is full.
    LaneFull = "lane_full",
    /// A retransmission refused by the viewer's budget, or of a packet long gone.
    NackRefused = "nack_refused",
    /// Feedback about an SSRC that is not the sender's to talk about.
    FeedbackForeign = "feedback_foreign",
    /// The kernel did not take the datagram.
    SendFailed = "send_failed",
    /// More addresses than a Transport or shard remembers.
    AddressLimit = "address_limit",
    /// RTP or RTCP made by the peer engine, which has no keys for it: must stay 0.
    EngineMedia = "engine_media",
    /// A trickled candidate; an ICE-lite agent has no use for them.
    CandidateIgnored = "candidate_ignored",
    /// A step of a handshake found as many waiting as may wait; its peer repeats it.
    HandshakeBusy = "handshake_busy",
}

/// Sums since the start unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Transports alive now.
    pub transports: u64,
    /// Datagrams read from the sockets.
    pub datagrams_in: u64,
    /// RTP packets that passed authentication.
    pub rtp_in: u64,
    /// RTP packets sealed for viewers.
    pub rtp_out: u64,
    /// Of those, retransmissions.
    pub retransmitted: u64,
    /// Datagrams handed to the kernel.
    pub datagrams_out: u64,
    /// Bytes of those.
    pub bytes_out: u64,
    /// Packets copied to other shards.
    pub lane_out: u64,
    /// Packets taken from other shards.
    pub lane_in: u64,
    /// Keyframe requests sent to publishers.
    pub keyframe_requests: u64,
    /// Packets asked for from publishers.
    pub nacked: u64,
    /// Steps of peer engines: STUN, DTLS and their timers.
    pub engine_steps: u64,
    /// Transports ended by a fault of the peer engine.
    pub engine_faults: u64,
    /// What was dropped, by reason: `(name, count)` in a fixed order.
    pub drops: Vec<(&'static str, u64)>,
}

impl Counters {
    /// Counters at zero.
    pub fn new() -> Self {
        Self {
            drops: DropReason::ALL.iter().map(|reason| (reason.name(), 0)).collect(),
            ..Self::default()
        }
    }

    /// Counts a drop.
    pub fn drop(&mut self, reason: DropReason) {
        if let Some((_, count)) = self.drops.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// How often something was dropped for a reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize).map_or(0, |(_, count)| *count)
    }
}
