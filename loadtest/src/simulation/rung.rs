//! The ladder of links: from good to barely usable, with jitter, and loss in bursts.

use std::time::Duration;

use crate::netem::{Bursts, Impairment};

/// Packets wait no longer before the line (as in RFC 8867).
const QUEUE: Duration = Duration::from_millis(300);

/// One link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rung {
    /// Its rate each way.
    pub kbps: u64,
    /// There and back, without queues.
    pub rtt_ms: u64,
    /// Evenly from nothing up to this, each way.
    pub jitter_ms: u64,
    /// The share of packets that is lost, in percent, each way.
    pub loss_percent: u64,
    /// How many are lost at a stretch, in the mean.
    pub burst: u64,
}

/// From good to barely usable.
pub const RUNGS: [Rung; 6] = [
    Rung { kbps: 25_000, rtt_ms: 40, jitter_ms: 12, loss_percent: 1, burst: 6 },
    Rung { kbps: 8_000, rtt_ms: 90, jitter_ms: 15, loss_percent: 2, burst: 8 },
    Rung { kbps: 3_000, rtt_ms: 200, jitter_ms: 30, loss_percent: 3, burst: 10 },
    Rung { kbps: 1_500, rtt_ms: 300, jitter_ms: 40, loss_percent: 5, burst: 12 },
    Rung { kbps: 800, rtt_ms: 450, jitter_ms: 60, loss_percent: 8, burst: 20 },
    Rung { kbps: 500, rtt_ms: 450, jitter_ms: 80, loss_percent: 12, burst: 25 },
];

impl Rung {
    /// What the link does to datagrams, in either direction.
    pub fn impairment(&self) -> Impairment {
        Impairment { rate_bps: Some(self.kbps * 1000), queue: QUEUE, ..self.without_line() }
    }

    /// The same without its rate and its queue.
    pub fn without_line(&self) -> Impairment {
        let end = 1.0 / self.burst as f64;
        let lost = self.loss_percent as f64 / 100.0;
        Impairment {
            bursts: Some(Bursts { begin: end * lost / (1.0 - lost), end }),
            delay: Duration::from_millis(self.rtt_ms / 2),
            jitter: Duration::from_millis(self.jitter_ms),
            ..Impairment::default()
        }
    }
}

/// For people: `8 Mbit/s, 90 ms, 15 ms, 2 %, 8`.
impl std::fmt::Display for Rung {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kbps, rtt_ms, jitter_ms, loss_percent, burst } = self;
        let mbps = *kbps as f64 / 1000.0;
        write!(f, "{mbps} Mbit/s, {rtt_ms} ms, {jitter_ms} ms, {loss_percent} %, {burst}")
    }
}
