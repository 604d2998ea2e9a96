//! Plain counters of a shard, copied out by value about once per second.

use crate::codec::{Codec, MediaKind};
use crate::histogram::Histogram;
use crate::id::{ReaderId, SHARDS_MAX, ShardId};
use crate::quality::Heard;

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
    /// A packet that waited for its turn too long, or that many waited before.
    PaceFull = "pace_full",
    /// The kernel did not take the datagram.
    SendFailed = "send_failed",
    /// A check under an address that another Transport is heard from.
    AddressTaken = "address_taken",
    /// Pictures for a TCP connection that is behind.
    StreamLate = "stream_late",
    /// More than may wait for a TCP connection, or it has ended.
    StreamFull = "stream_full",
    /// More addresses than a Transport or shard remembers.
    AddressLimit = "address_limit",
    /// RTP or RTCP made by the peer engine, which has no keys for it: must stay 0.
    EngineMedia = "engine_media",
    /// A trickled candidate; an ICE-lite agent has no use for them.
    CandidateIgnored = "candidate_ignored",
    /// A step of a handshake found as many waiting as may wait; its peer repeats it.
    HandshakeBusy = "handshake_busy",
}

/// One value for each kind of media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByKind<T> {
    /// Of audio.
    pub audio: T,
    /// Of video.
    pub video: T,
}

impl<T> ByKind<T> {
    /// The one of a kind.
    pub fn of(&mut self, kind: MediaKind) -> &mut T {
        match kind {
            MediaKind::Audio => &mut self.audio,
            MediaKind::Video => &mut self.video,
        }
    }
}

/// RTP packets, and their bytes as they are on the wire: header, payload and SRTP's tag, without
/// UDP and IP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many.
    pub packets: u64,
    /// How large they are together.
    pub bytes: u64,
}

impl Traffic {
    /// Counts one packet.
    pub fn count(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

impl ByKind<Traffic> {
    /// Packets of both kinds.
    pub fn packets(&self) -> u64 {
        self.audio.packets + self.video.packets
    }
}

/// Steps to better and to worse layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// To a better Encoding or a higher layer.
    pub up: u64,
    /// To a worse Encoding or a lower layer.
    pub down: u64,
}

impl Switches {
    /// Adds what another one has.
    pub fn merge(&mut self, other: Self) {
        self.up += other.up;
        self.down += other.down;
    }
}

/// How viewers' paths are told apart by what they take, in bits per second: up to these, or more.
pub const ESTIMATES_BPS: [u64; 6] = [150_000, 300_000, 600_000, 1_200_000, 2_500_000, 5_000_000];

/// Subscriptions to pictures, by what goes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pictures {
    /// The best that there is, or all that the viewer wishes.
    pub whole: u64,
    /// Less, because the path does not take it.
    pub reduced: u64,
    /// Nothing, because the path does not even take the least.
    pub held: u64,
}

/// What there is of everything, looked at once per second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Transports whose ICE and DTLS are not up yet.
    pub connecting: u64,
    /// Transports that are heard.
    pub connected: u64,
    /// Transports that were connected and have said nothing for ten seconds.
    pub silent: u64,
    /// Publications, by codec in the order of [`Codec::ALL`].
    pub publications: [u64; Codec::ALL.len()],
    /// Subscriptions.
    pub subscriptions: ByKind<u64>,
    /// Those to pictures, by what of them the viewers' paths take.
    pub pictures: Pictures,
    /// Viewing clients by what their paths take: up to each of [`ESTIMATES_BPS`], then more.
    pub estimates: [u64; ESTIMATES_BPS.len() + 1],
}

/// Sums since the start unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Transports alive now.
    pub transports: u64,
    /// What there is of everything.
    pub gauges: Gauges,
    /// Datagrams read from the sockets.
    pub datagrams_in: u64,
    /// Bytes of those.
    pub bytes_in: u64,
    /// RTP packets that passed authentication and belong to a Publication.
    pub rtp_in: ByKind<Traffic>,
    /// RTP packets sealed for viewers, retransmissions too.
    pub rtp_out: ByKind<Traffic>,
    /// Of those, retransmissions.
    pub retransmitted: u64,
    /// Octets of padding and of packets repeated unasked, which probe viewers' paths.
    pub probed_bytes: u64,
    /// Datagrams handed to the kernel.
    pub datagrams_out: u64,
    /// Bytes of those.
    pub bytes_out: u64,
    /// Open TCP connections of peers, and how many there have been.
    pub streams: u64,
    /// See there.
    pub streams_taken: u64,
    /// Frames read from them.
    pub frames_in: u64,
    /// Bytes of those.
    pub frame_bytes_in: u64,
    /// Frames handed to them.
    pub frames_out: u64,
    /// Bytes of those.
    pub frame_bytes_out: u64,
    /// Datagrams that the kernel dropped at the socket before they could be read.
    pub socket_overflows: u64,
    /// Packets copied to other shards.
    pub lane_out: u64,
    /// Packets given to the recorder.
    pub recorded: u64,
    /// Packets that it had no room for.
    pub unrecorded: u64,
    /// Packets taken from other shards.
    pub lane_in: u64,
    /// Records that did not fit, by the shard that they were meant for.
    pub lane_drops: [u64; SHARDS_MAX],
    /// Keyframe requests from viewers.
    pub keyframe_requests_in: u64,
    /// Keyframe requests sent to publishers.
    pub keyframe_requests_out: u64,
    /// Packets that viewers have asked for again.
    pub nacked_in: u64,
    /// Packets asked for from publishers again.
    pub nacked_out: u64,
    /// Changes of what viewers get of their Publications.
    pub switches: Switches,
    /// Packets that viewers have reported as lost.
    pub lost: u64,
    /// Times that a viewer's pictures have come to stand although the publisher's came.
    pub stills: u64,
    /// Round trips, of each report of a viewer that tells one.
    pub round_trips: Histogram,
    /// Interarrival jitter, of each report of a viewer.
    pub jitters: Histogram,
    /// From a packet's arrival until the kernel has its copies, one entry for each copy. Of packets
    /// that leave together the oldest counts. Retransmissions and replays do not count.
    pub forward: Histogram,
    /// How long each turn of the shard's loop took, sleep excluded.
    pub turns: Histogram,
    /// The share of the last second in which the shard did not sleep, in millionths.
    pub busy_ppm: u64,
    /// From a Transport's first description until ICE and DTLS are up.
    pub join: Histogram,
    /// Transports to whose candidates no authentic connectivity check came in time.
    pub ice_unchecked: u64,
    /// Connected Transports that have vanished (RFC 7675).
    pub ice_expired: u64,
    /// Connected Transports whose packets have taken another path.
    pub path_changes: u64,
    /// Checks of ours: is the peer there?
    pub consent_questions: u64,
    /// Those that were answered.
    pub consent_answers: u64,
    /// Handshakes that failed, or did not end in time after ICE was up.
    pub dtls_failures: u64,
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

    /// A viewer has reported.
    pub fn note_heard(&mut self, heard: Heard) {
        self.lost += u64::from(heard.lost);
        self.jitters.add(heard.jitter_us.into(), 1);
        if let Some(rtt_us) = heard.rtt_us {
            self.round_trips.add(rtt_us.into(), 1);
        }
    }

    /// A packet for a reader has gone into its lane, or did not fit.
    pub fn count_reader(&mut self, reader: ReaderId, is_taken: bool) {
        match (reader, is_taken) {
            (ReaderId::Shard(_), true) => self.lane_out += 1,
            (ReaderId::Shard(shard), false) => self.drop_from_lane(shard),
            (ReaderId::Recorder, true) => self.recorded += 1,
            (ReaderId::Recorder, false) => self.unrecorded += 1,
        }
    }

    /// A record for another shard did not fit into the lane.
    pub fn drop_from_lane(&mut self, to: ShardId) {
        self.drop(DropReason::LaneFull);
        if let Some(count) = self.lane_drops.get_mut(to.index()) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gauges and drops are found by these.
    #[test]
    fn what_is_counted_by_its_place_in_a_list_has_that_place() {
        for (place, codec) in Codec::ALL.into_iter().enumerate() {
            assert_eq!(codec as usize, place, "{codec:?}");
        }
        for (place, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place, "{reason:?}");
        }
    }
}
