//! How a shard is set up.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::config::DtlsCert;

use crate::describe::{Candidates, host_priority, tcp_priority};
use crate::id::ShardId;
use crate::path::Path;

/// How a shard is set up.
pub(crate) struct ShardConfig {
    /// Which one.
    pub id: ShardId,
    /// How many there are.
    pub shards: usize,
    /// Candidates of UDP, best first.
    pub candidates: Vec<SocketAddr>,
    /// Those of TCP.
    pub tcp_candidates: Vec<SocketAddr>,
    /// The process's DTLS certificate.
    pub cert: Arc<DtlsCert>,
    /// Time zero of all shards.
    pub epoch: Instant,
    /// NTP time (32.32) at the epoch.
    pub ntp_epoch: u64,
    /// For sequence numbers and ufrags, not for secrets.
    pub seed: u64,
    /// See [`crate::Config`].
    pub connect_for_max: Duration,
    /// See [`crate::Config`].
    pub consent_for_max: Duration,
    /// How long a packet for many viewers may wait for others, to leave with them.
    pub gather_for: Duration,
}

impl ShardConfig {
    /// Our candidates, those of one address first.
    pub(super) fn candidates_near(&self, reached: Option<IpAddr>) -> Candidates {
        Candidates::nearest_first(&self.candidates, &self.tcp_candidates, reached)
    }

    /// The candidate that the engine should believe a datagram was sent to.
    pub(super) fn candidate_for(&self, path: Path) -> Option<SocketAddr> {
        let local = path.local?;
        let candidates = &self.candidates;
        candidates
            .iter()
            .find(|candidate| candidate.ip() == local)
            // Behind 1:1 NAT, or advertised under another address.
            .or_else(|| candidates.iter().find(|c| c.is_ipv4() == local.is_ipv4()))
            .or_else(|| candidates.first())
            .copied()
    }

    /// The priority of our candidate that a datagram came to.
    pub(super) fn own_priority(&self, path: Path) -> u32 {
        if path.stream.is_some() {
            return tcp_priority(1);
        }
        let candidate = self.candidate_for(path);
        let at = self.candidates.iter().position(|known| Some(*known) == candidate);
        host_priority(1 + at.unwrap_or_default() as u32)
    }
}
