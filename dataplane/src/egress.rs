//! Where a viewer's packets go, under which keys, and what has left when. One per Transport, by
//! slot.

use std::collections::VecDeque;

use crate::bucket::Bucket;
use crate::canonical::HopFields;
use crate::ccfb::SentNumbers;
use crate::congestion::{Cluster, Flow};
use crate::forward::Placement;
use crate::id::PublicationId;
use crate::path::Path;
use crate::srtp::Sealer;

/// What IP and UDP add to a datagram: without options, IPv4 less 20 octets.
pub(crate) const DATAGRAM_OVERHEAD_BYTES: usize = 28;
/// Packets of pictures that wait for their turn: more than a second of what anybody is sent. Beyond
/// that they are dropped, and asked for again if they are missed.
const PACED_MAX: usize = 1024;
/// Packets leave at the estimate, so that no keyframe of a better picture, which the path takes, is
/// mistaken for too much, and a large slide waits here and not in the network; at this times the
/// estimate, in tenths, where packets of pictures have waited for so long.
const LATE_PACE_TENTHS: u64 = 12;
const LATE_US: u64 = 100_000;
/// So much leaves at once: what comes due in this, but one packet at least, and what is begun is sent.
const BURST_US: u64 = 10_000;
const BURST_BYTES_MIN: u64 = 1_200;
/// What retransmissions may take at once: what is due in this.
const REPAIR_BURST_US: u64 = 500_000;
/// Retransmissions may take at least this part of the estimate, and more where packets wait for their
/// turn: without what was lost before them those cannot be decoded.
const REPAIR_PERCENT: u64 = 25;
const REPAIR_BEFORE_PERCENT: u64 = 75;
/// What sealing adds to a packet, mostly.
const TAG_BYTES: usize = 16;

/// See the module's documentation.
pub(crate) struct Egress {
    /// The way to the viewer: one that is proven to lead there.
    pub path: Path,
    /// Its connection has been too slow for what it was to carry.
    pub is_behind: bool,
    /// Our keys.
    pub sealer: Sealer,
    /// What left when, and what became of it.
    pub flow: Flow,
    /// For viewers that tell of arrivals by SSRC (RFC 8888).
    pub numbers: SentNumbers,
    /// The probe that packets belong to, and the octets that it has had so far.
    probe: Option<(Cluster, u64)>,
    /// Packets of pictures that wait, the oldest first, and when they may leave.
    pub paced: VecDeque<Paced>,
    pace: Bucket,
    /// At which rate, while no probe runs.
    pace_bps: Option<u64>,
    /// What retransmissions may take.
    repair: Bucket,
}

/// A packet that waits for its turn: it lies in its Source's ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paced {
    /// Whose.
    pub publication: PublicationId,
    /// The Subscriber's index there, which may be another's by then, and its SSRC.
    pub at: usize,
    /// See there.
    pub ssrc: u32,
    /// The Encoding.
    pub encoding: u8,
    /// The number of the packet in it.
    pub seq: u64,
    /// Padding to add.
    pub padding: u8,
    /// Where it goes in the outgoing stream.
    pub placement: Placement,
    /// When it came.
    pub since_us: u64,
}

impl Egress {
    /// A connected Transport's.
    pub(crate) fn new(path: Path, sealer: Sealer) -> Self {
        Self {
            path,
            is_behind: false,
            sealer,
            flow: Flow::default(),
            numbers: SentNumbers::default(),
            probe: None,
            paced: VecDeque::new(),
            pace: Bucket::default(),
            pace_bps: None,
            repair: Bucket::default(),
        }
    }

    /// The client's path takes so much, of which pictures and sound have `media_bps`; nothing if
    /// that is not known.
    pub(crate) fn set_estimate(&mut self, estimate_bps: Option<u64>, media_bps: u64, now_us: u64) {
        let tenths = if self.waits_us(now_us) > LATE_US { LATE_PACE_TENTHS } else { 10 };
        self.pace_bps = estimate_bps.map(|bps| bps * tenths / 10);
        self.set_pace(now_us);
        let least_percent =
            if self.paced.is_empty() { REPAIR_PERCENT } else { REPAIR_BEFORE_PERCENT };
        let repair_bps =
            estimate_bps.map(|bps| bps.saturating_sub(media_bps).max(bps * least_percent / 100));
        let burst = repair_bps.map_or(0, |bps| bps * REPAIR_BURST_US / 8_000_000);
        self.repair.set(repair_bps, burst, now_us);
    }

    /// While a probe runs, pictures leave at its rate: else they would wait behind its padding.
    fn set_pace(&mut self, now_us: u64) {
        let probe = self.probe.filter(|(cluster, _)| now_us < cluster.until_us);
        let probe_bps = probe.map_or(0, |(cluster, _)| cluster.rate_bps);
        let pace_bps = self.pace_bps.map(|bps| bps.max(probe_bps));
        let burst = pace_bps.map_or(0, |bps| (bps * BURST_US / 8_000_000).max(BURST_BYTES_MIN));
        self.pace.set(pace_bps, burst, now_us);
    }

    /// Whether the next packet of a picture may leave now.
    pub(crate) fn may_send(&mut self, now_us: u64) -> bool {
        self.paced.is_empty() && self.pace.has_some(now_us)
    }

    /// Lets a packet wait; says whether there was room.
    pub(crate) fn wait(&mut self, packet: Paced) -> bool {
        let has_room = self.paced.len() < PACED_MAX;
        if has_room {
            self.paced.push_back(packet);
        }
        has_room
    }

    /// For how long the oldest packet has waited for its turn.
    pub(crate) fn waits_us(&self, now_us: u64) -> u64 {
        self.paced.front().map_or(0, |oldest| now_us.saturating_sub(oldest.since_us))
    }

    /// The next packet whose turn has come.
    pub(crate) fn next_paced(&mut self, now_us: u64) -> Option<Paced> {
        if !self.pace.has_some(now_us) {
            return None;
        }
        self.paced.pop_front()
    }

    /// Whether a retransmission fits the path.
    pub(crate) fn may_repair(&mut self, bytes: usize, now_us: u64) -> bool {
        let may = self.repair.has_some(now_us);
        if may {
            self.repair.take(bytes);
        }
        may
    }

    /// What a packet of `len` octets that leaves now carries of this hop. It counts from here on.
    pub(crate) fn stamp(&mut self, len: usize, now_us: u64) -> HopFields {
        let bytes = len + TAG_BYTES + DATAGRAM_OVERHEAD_BYTES;
        self.pace.take(bytes);
        let probe = match &mut self.probe {
            Some((cluster, sent)) if now_us < cluster.until_us => {
                *sent += bytes as u64;
                cluster.id
            }
            _ => 0,
        };
        let twcc = self.flow.history.record(now_us, bytes, probe);
        HopFields { abs_send_time: abs_send_time(now_us), twcc }
    }

    /// What is sent from now on belongs to a probe.
    pub(crate) fn set_probe(&mut self, cluster: Cluster, now_us: u64) {
        self.probe = Some((cluster, 0));
        self.set_pace(now_us);
    }

    /// The probe is over.
    pub(crate) fn end_probe(&mut self, now_us: u64) {
        self.probe = None;
        self.set_pace(now_us);
    }

    /// The octets that a probe has had.
    pub(crate) fn probe_bytes(&self, cluster: Cluster) -> u64 {
        self.probe.filter(|(known, _)| *known == cluster).map_or(0, |(_, sent)| sent)
    }
}

/// 6.18 fixed point seconds.
fn abs_send_time(at_us: u64) -> u32 {
    ((at_us << 18) / 1_000_000) as u32 & 0xff_ffff
}
