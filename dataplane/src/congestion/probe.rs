//! Probing: a short time at a higher rate tells whether the path takes more, before anything that
//! people see depends on it. Its packets are retransmissions and padding.

use super::{PacketResult, ProbeId, RATE_MAX_BPS};

/// How long a probe lasts. Longer than the burst that a token bucket lets pass takes to spend, so
/// that what is measured is the bucket's rate.
const PROBE_US: u64 = 60_000;
/// It lasts longer if so much would not go out in that, up to this: too few packets do not count, and of
/// too few octets a token bucket lets all pass at once.
const BYTES: u64 = 6000;
const PROBE_MAX_US: u64 = 300_000;
/// Full packets would be too few at less than this, in bits per second.
const SMALL_BELOW_BPS: u64 = 1_280_000;
/// Of a probe's packets, the first third is not measured: see above.
const SKIPPED: usize = 3;
/// Packets that a probe must bring to count.
const PACKETS_MIN: usize = 6;
/// A probe's rate is compared when its packets should all have been told of.
const WAIT_US: u64 = 1_500_000;
/// Between two probes that found nothing: doubled from the first to the second.
const AGAIN_US: (u64, u64) = (2_000_000, 4_000_000);
/// After so long without overuse a probe is worth it.
const CALM_US: u64 = 2_000_000;
/// Received much slower than sent, the path is full: a bit less than that is its capacity.
const SATURATED: f64 = 0.9;
const SATURATED_SHARE: f64 = 0.95;
/// A probe goes no further above the estimate than this, in halves; after one that found nothing
/// no further than the second, so that a narrow path's queue does not feel it.
const STEP_HALVES: (u64, u64) = (6, 3);

/// A probe under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cluster {
    /// Marks its packets.
    pub id: ProbeId,
    /// All that is sent while it lasts, together.
    pub rate_bps: u64,
    /// When it began.
    pub since_us: u64,
    /// When it ends.
    pub until_us: u64,
    /// Full packets would be too few to measure by.
    pub is_small: bool,
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    sent_us: u64,
    arrived_us: i64,
    bytes: u32,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Prober {
    last_id: ProbeId,
    running: Option<Cluster>,
    measured: Option<Cluster>,
    /// What is known of the packets of the one to be measured.
    arrived: Vec<Packet>,
    lost: usize,
    /// Of a probe that loses a larger share nothing is concluded: where a queue is full of the packets of
    /// others, what comes through is what it has pushed out, and no room.
    lost_max: f64,
    again_us: u64,
    next_us: u64,
    step_halves: u64,
}

impl Default for Prober {
    fn default() -> Self {
        Self {
            last_id: 0,
            running: None,
            measured: None,
            arrived: Vec::new(),
            lost: 0,
            lost_max: 0.0,
            again_us: AGAIN_US.0,
            next_us: 0,
            step_halves: STEP_HALVES.0,
        }
    }
}

impl Prober {
    /// The probe that runs, if any.
    pub(crate) fn running(&self, now_us: u64) -> Option<Cluster> {
        self.running.filter(|cluster| now_us < cluster.until_us)
    }

    /// Overuse: what runs is over, and the next one waits.
    pub(crate) fn overuse(&mut self, now_us: u64) {
        if let Some(cluster) = &mut self.running {
            cluster.until_us = cluster.until_us.min(now_us);
        }
        self.next_us = self.next_us.max(now_us + CALM_US);
    }

    /// Begins a probe if it is time: more is `wanted_bps` than the estimate allows. If it loses a larger share
    /// than `lost_max`, it says nothing. If `is_spare`, nothing depends on it, and the next one does not wait
    /// for its sake.
    pub(crate) fn begin(
        &mut self,
        (estimate_bps, wanted_bps): (u64, u64),
        (lost_max, is_spare): (f64, bool),
        now_us: u64,
    ) -> Option<Cluster> {
        if wanted_bps <= estimate_bps || now_us < self.next_us || self.measured.is_some() {
            return None;
        }
        let rate_bps =
            wanted_bps.min(estimate_bps.saturating_mul(self.step_halves) / 2).min(RATE_MAX_BPS);
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        let is_small = rate_bps < SMALL_BELOW_BPS;
        let length_us = (BYTES * 8_000_000 / rate_bps.max(1)).clamp(PROBE_US, PROBE_MAX_US);
        let until_us = now_us + length_us;
        let cluster = Cluster { id: self.last_id, rate_bps, since_us: now_us, until_us, is_small };
        self.running = Some(cluster);
        self.measured = self.running;
        self.arrived.clear();
        (self.lost, self.lost_max) = (0, lost_max);
        if !is_spare {
            self.next_us = now_us + self.again_us;
            self.again_us = (2 * self.again_us).min(AGAIN_US.1);
            self.step_halves = STEP_HALVES.1;
        }
        Some(cluster)
    }

    /// Notes what became of a probe's packets; returns whether feedback tells of what left after it.
    pub(crate) fn note(&mut self, results: &[PacketResult]) -> bool {
        let Some(cluster) = self.measured else { return false };
        for result in results.iter().filter(|result| result.probe == cluster.id) {
            match result.arrived_us {
                Some(arrived_us) => {
                    let PacketResult { sent_us, bytes, .. } = *result;
                    self.arrived.push(Packet { sent_us, arrived_us, bytes });
                }
                None => self.lost += 1,
            }
        }
        results.iter().any(|result| result.sent_us >= cluster.until_us)
    }

    /// Takes what feedback told; returns what a probe has measured, once, in bits per second.
    pub(crate) fn take(
        &mut self,
        results: &[PacketResult],
        rtt_us: u64,
        now_us: u64,
    ) -> Option<u64> {
        let cluster = self.measured?;
        let is_past = self.note(results);
        let is_late = now_us > cluster.until_us + rtt_us + WAIT_US;
        if !is_past && !is_late {
            return None;
        }
        self.measured = None;
        let measured = self.measure()?;
        // Found: the next step may follow at once.
        if measured as f64 >= SATURATED * cluster.rate_bps as f64 {
            (self.again_us, self.next_us) = (AGAIN_US.0, now_us + rtt_us);
            self.step_halves = STEP_HALVES.0;
        }
        Some(measured)
    }

    fn measure(&self) -> Option<u64> {
        let sent = self.arrived.len() + self.lost;
        if self.arrived.len() < PACKETS_MIN || self.lost as f64 > self.lost_max * sent as f64 {
            return None;
        }
        let counted = self.arrived.get(self.arrived.len() / SKIPPED..)?;
        let (first, last) = (counted.first()?, counted.last()?);
        let bytes: u64 = counted.iter().map(|packet| u64::from(packet.bytes)).sum();
        let sent_us = last.sent_us.saturating_sub(first.sent_us).max(1);
        let arrival = |best: fn(i64, i64) -> i64, from: i64| {
            counted.iter().map(|packet| packet.arrived_us).fold(from, best)
        };
        let arrived_us =
            (arrival(i64::max, i64::MIN) - arrival(i64::min, i64::MAX)).max(1).unsigned_abs();
        let sent = (bytes - u64::from(last.bytes)) * 8_000_000 / sent_us;
        let arrived = (bytes - u64::from(first.bytes)) * 8_000_000 / arrived_us;
        let is_saturated = (arrived as f64) < SATURATED * sent as f64;
        let share = if is_saturated { SATURATED_SHARE } else { 1.0 };
        Some((sent.min(arrived) as f64 * share) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a packet of padding takes on the network.
    const PADDING_BYTES: u64 = 320;

    /// A probe of 1.5 Mbit/s through a token bucket of `rate` with a burst of 4000 octets.
    fn probe_through(rate_bps: u64) -> Option<u64> {
        let mut prober = Prober::default();
        let cluster = prober.begin((500_000, 1_500_000), (0.1, false), 1)?;
        assert_eq!(cluster.rate_bps, 1_500_000);
        let (mut results, mut sent_us) = (Vec::new(), cluster.since_us);
        let (mut tokens, mut free_us) = (4000.0, 0.0f64);
        while sent_us < cluster.until_us {
            let bytes = 1200u32;
            let start = free_us.max(sent_us as f64);
            tokens = (tokens + (start - free_us) * rate_bps as f64 / 8e6).min(4000.0);
            let lack = (f64::from(bytes) - tokens).max(0.0);
            free_us = start + lack * 8e6 / rate_bps as f64;
            tokens = (tokens - f64::from(bytes)).max(0.0);
            let arrived_us = Some(free_us as i64);
            results.push(PacketResult { sent_us, arrived_us, bytes, probe: cluster.id });
            sent_us += u64::from(bytes) * 8_000_000 / cluster.rate_bps;
        }
        let (sent_us, arrived_us) = (cluster.until_us, Some(free_us as i64));
        results.push(PacketResult { sent_us, arrived_us, bytes: 100, probe: 0 });
        prober.take(&results, 50_000, cluster.until_us + 100_000)
    }

    #[test]
    fn a_probe_tells_a_wide_path_from_a_bucket_with_a_burst() {
        let wide = probe_through(10_000_000).expect("measured");
        assert!(wide > 1_350_000, "{wide}");
        let narrow = probe_through(500_000).expect("measured");
        assert!((400_000..750_000).contains(&narrow), "{narrow}");
    }

    #[test]
    fn a_probe_of_a_low_rate_brings_enough_packets() {
        let mut prober = Prober::default();
        let cluster = prober.begin((50_000, 300_000), (0.1, false), 1).expect("a probe");
        let bytes = cluster.rate_bps * (cluster.until_us - cluster.since_us) / 8_000_000;
        assert!(cluster.is_small && bytes / PADDING_BYTES >= PACKETS_MIN as u64, "{bytes}");
        let mut prober = Prober::default();
        let cluster = prober.begin((1_000_000, 3_000_000), (0.1, false), 1).expect("a probe");
        assert!(!cluster.is_small && cluster.until_us - cluster.since_us == PROBE_US);
    }

    #[test]
    fn a_probe_that_loses_more_than_a_tenth_says_nothing() {
        let measured = |lost: u64| {
            let mut prober = Prober::default();
            let cluster = prober.begin((500_000, 1_500_000), (0.1, false), 1)?;
            let results: Vec<PacketResult> = (0..20)
                .map(|at| {
                    let sent_us = cluster.since_us + at * 3_000;
                    let arrived_us = (at % 5 > 0 || at / 5 >= lost).then_some(sent_us as i64);
                    PacketResult { sent_us, arrived_us, bytes: 600, probe: cluster.id }
                })
                .collect();
            prober.take(&results, 50_000, cluster.until_us + 10_000_000)
        };
        assert!(measured(0).is_some_and(|bps| bps > 1_400_000), "{:?}", measured(0));
        assert!(measured(2).is_some_and(|bps| bps > 1_200_000), "{:?}", measured(2));
        assert_eq!(measured(3), None);
    }

    #[test]
    fn probes_that_find_nothing_come_less_often() {
        let mut prober = Prober::default();
        let mut begun = Vec::new();
        for now_us in (0..60_000_000).step_by(10_000) {
            if prober.begin((300_000, 900_000), (0.1, false), now_us).is_some() {
                begun.push(now_us);
            }
            prober.take(&[], 50_000, now_us);
        }
        let gaps: Vec<u64> = begun.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.is_sorted() && gaps.last().is_some_and(|gap| *gap <= 8_100_000), "{gaps:?}");
        assert_eq!(prober.begin((900_000, 900_000), (0.1, false), 100_000_000), None, "enough");
    }
}
