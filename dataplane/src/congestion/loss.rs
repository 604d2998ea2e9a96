//! The loss-based rate. A path is thought of as losing a share of all packets whatever the rate
//! (radio), and all that is above its bandwidth. Which bandwidth and which share explain best what
//! was lost lately? Candidates around the last answer are compared by their likelihood, as in the
//! second generation of the loss-based controller of WebRTC.

use std::collections::VecDeque;

use super::{PacketResult, RATE_MAX_BPS, RATE_MIN_BPS};

/// Observations that count, and the least time that one covers.
const OBSERVATIONS: usize = 20;
const OBSERVATION_US: u64 = 250_000;
/// Before so many nothing is concluded.
const OBSERVATIONS_MIN: usize = 3;
/// What an observation counts for, against the one after it.
const WEIGHT: f64 = 0.9;
/// Where the bandwidth may go from where it is.
const CANDIDATES: [f64; 3] = [1.02, 1.0, 0.95];
/// Bounds of the share that is lost whatever the rate.
const INHERENT_MIN: f64 = 0.001;
const INHERENT_START: f64 = 0.01;
/// A rate can hardly have a larger inherent share than an offset and this over the rate.
const INHERENT_BALANCE_BPS: f64 = 75_000.0;
const INHERENT_OFFSET: f64 = 0.05;
/// While more than an offset is lost, the rate is bounded by this over the excess. Milder than for
/// an encoder (75 kbit/s and 5 %), which can send a little less: here less means another picture,
/// and what is lost is sent again.
const INSTANT_BALANCE_BPS: f64 = 100_000.0;
const INSTANT_OFFSET: f64 = 0.1;
/// Of two bandwidths that explain the same, the larger is preferred by so much.
const BIAS: f64 = 0.0002;
const LOG_BIAS: f64 = 0.02;
/// No preference for larger ones while so much is lost.
const BIAS_LOSS_MAX: f64 = 0.15;
const NEWTON_STEP: f64 = 0.75;
const NEWTON_STEPS: usize = 4;
/// The rate does not fall by more at once below what gets through.
const FLOOR: f64 = 0.8;
/// What sound and a small picture need: losses alone do not take that away, for to send still less
/// hardly ever loses less. A queue may, and so may the loss of more than this.
const LEAST_BPS: f64 = 160_000.0;
const LEAST_LOSS_MAX: f64 = 0.35;
/// The bandwidth does not run away from what gets through by more.
const AHEAD: f64 = 1.3;

#[derive(Clone, Copy, Debug, Default)]
struct Observation {
    packets: f64,
    lost: f64,
    rate_bps: f64,
    /// A queue may have overflowed.
    is_full: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct LossDetector {
    observations: VecDeque<Observation>,
    packets: u32,
    lost: u32,
    bytes: u64,
    is_full: bool,
    since_us: Option<u64>,
    inherent: f64,
    bandwidth_bps: Option<f64>,
    /// What got through lately, less a bit.
    floor_bps: f64,
}

impl Default for LossDetector {
    fn default() -> Self {
        Self {
            observations: VecDeque::with_capacity(OBSERVATIONS + 1),
            packets: 0,
            lost: 0,
            bytes: 0,
            is_full: false,
            since_us: None,
            inherent: INHERENT_START,
            bandwidth_bps: None,
            floor_bps: 0.0,
        }
    }
}

impl LossDetector {
    /// Takes what feedback told. `through_bps` is what gets through, `delay_bps` what the delay
    /// allows; a queue `is_full`, or was just now.
    pub(crate) fn take(
        &mut self,
        results: &[PacketResult],
        through_bps: Option<u64>,
        delay_bps: u64,
        is_full: bool,
    ) {
        let (mut first, mut last) = (u64::MAX, 0);
        for result in results {
            self.packets += 1;
            self.lost += u32::from(result.arrived_us.is_none());
            self.bytes += u64::from(result.bytes);
            (first, last) = (first.min(result.sent_us), last.max(result.sent_us));
        }
        if results.is_empty() {
            return;
        }
        self.is_full |= is_full;
        let since_us = *self.since_us.get_or_insert(first);
        let passed_us = last.saturating_sub(since_us);
        if passed_us < OBSERVATION_US {
            return;
        }
        let observation = Observation {
            packets: f64::from(self.packets),
            lost: f64::from(self.lost),
            rate_bps: self.bytes as f64 * 8e6 / passed_us as f64,
            is_full: std::mem::take(&mut self.is_full),
        };
        (self.packets, self.lost, self.bytes, self.since_us) = (0, 0, 0, Some(last));
        self.observations.push_back(observation);
        if self.observations.len() > OBSERVATIONS {
            self.observations.pop_front();
        }
        if self.observations.len() >= OBSERVATIONS_MIN {
            self.estimate(through_bps.map(|bps| bps as f64), delay_bps as f64);
        }
    }

    /// The rate that losses allow, in bits per second; `None` while they say nothing.
    pub(crate) fn rate_bps(&self) -> Option<u64> {
        let least_bps = if self.loss() < LEAST_LOSS_MAX { LEAST_BPS } else { 0.0 };
        let floor_bps = self.floor_bps.max(least_bps);
        let bandwidth = self.bandwidth_bps?.min(self.instant_bound_bps()).max(floor_bps);
        Some((bandwidth as u64).clamp(RATE_MIN_BPS, RATE_MAX_BPS))
    }

    /// The share lost lately.
    pub(crate) fn loss(&self) -> f64 {
        share(self.weighted()).unwrap_or(0.0)
    }

    /// The same without what a queue may have lost that overflowed; 0 where it has been full all the time.
    pub(crate) fn loss_beyond_queue(&self) -> f64 {
        share(self.weighted().filter(|(_, observation)| !observation.is_full)).unwrap_or(0.0)
    }

    /// A probe has shown that the path takes more.
    pub(crate) fn set(&mut self, rate_bps: u64) {
        if self.bandwidth_bps.is_some_and(|known| known < rate_bps as f64) {
            self.bandwidth_bps = Some(rate_bps as f64);
        }
    }

    /// What was lost so far has another reason: the path had become slower, and that is known now.
    pub(crate) fn forgive(&mut self) {
        self.observations.clear();
        (self.packets, self.lost, self.bytes, self.since_us) = (0, 0, 0, None);
        self.bandwidth_bps = None;
    }

    /// What was lost lately counts more than what was lost before.
    fn weighted(&self) -> impl Iterator<Item = (f64, &Observation)> {
        let newest_first = self.observations.iter().rev();
        newest_first.scan(1.0, |weight, observation| {
            let now = *weight;
            *weight *= WEIGHT;
            Some((now, observation))
        })
    }

    fn instant_bound_bps(&self) -> f64 {
        let excess = self.loss() - INSTANT_OFFSET;
        if excess > 0.0 { INSTANT_BALANCE_BPS / excess } else { f64::MAX }
    }

    fn estimate(&mut self, through: Option<f64>, delay: f64) {
        let current = self.bandwidth_bps.unwrap_or(delay);
        let loss = self.loss();
        let mut best = (f64::MIN, current, self.inherent);
        let around = CANDIDATES.into_iter().map(|factor| factor * current);
        // What gets through is always worth a try, as is what the delay allows: but not straight
        // up while packets are lost.
        let through_candidate = through.filter(|_| loss > INHERENT_OFFSET);
        let delay_candidate = (loss < 0.02).then_some(delay);
        for bandwidth in around.chain(through_candidate).chain(delay_candidate) {
            let bandwidth = bandwidth.clamp(RATE_MIN_BPS as f64, RATE_MAX_BPS as f64);
            let inherent = self.fit_inherent(bandwidth);
            let value = self.likelihood(bandwidth, inherent, loss);
            if value > best.0 {
                best = (value, bandwidth, inherent);
            }
        }
        let (_, mut bandwidth, inherent) = best;
        if bandwidth > current
            && let Some(through) = through.filter(|_| loss > 0.02)
        {
            bandwidth = bandwidth.min((AHEAD * through).max(current));
        }
        self.inherent = inherent;
        self.bandwidth_bps = Some(bandwidth.min(delay.max(RATE_MIN_BPS as f64)));
        self.floor_bps = through.map_or(0.0, |through| FLOOR * through);
    }

    /// Some steps of Newton's method towards the inherent share that explains best what was lost, if
    /// the bandwidth is right.
    fn fit_inherent(&self, bandwidth: f64) -> f64 {
        let max = (INHERENT_OFFSET + INHERENT_BALANCE_BPS / bandwidth).clamp(INHERENT_MIN, 1.0);
        let mut inherent = self.inherent.clamp(INHERENT_MIN, max);
        for _ in 0..NEWTON_STEPS {
            let (mut first, mut second) = (0.0, 0.0);
            for (weight, o) in self.weighted() {
                let p = loss_probability(inherent, bandwidth, o.rate_bps);
                let came = o.packets - o.lost;
                first += weight * (o.lost / p - came / (1.0 - p));
                second -= weight * (o.lost / (p * p) + came / ((1.0 - p) * (1.0 - p)));
            }
            if second >= 0.0 {
                break;
            }
            inherent = (inherent - NEWTON_STEP * first / second).clamp(INHERENT_MIN, max);
        }
        inherent
    }

    fn likelihood(&self, bandwidth: f64, inherent: f64, loss: f64) -> f64 {
        let bias = if loss > BIAS_LOSS_MAX { 0.0 } else { 1.0 - loss / BIAS_LOSS_MAX };
        let kbps = bandwidth / 1000.0;
        let preference = bias * (BIAS * kbps + LOG_BIAS * (1.0 + kbps).ln());
        self.weighted()
            .map(|(weight, o)| {
                let p = loss_probability(inherent, bandwidth, o.rate_bps);
                let explains = o.lost * p.ln() + (o.packets - o.lost) * (1.0 - p).ln();
                weight * (explains + preference * o.packets)
            })
            .sum()
    }
}

/// The share that is lost of what is sent at a rate.
fn loss_probability(inherent: f64, bandwidth: f64, rate: f64) -> f64 {
    let above = if rate > bandwidth { (rate - bandwidth) / rate } else { 0.0 };
    (inherent + (1.0 - inherent) * above).clamp(1e-4, 1.0 - 1e-4)
}

/// The share of packets lost, by weight; `None` if there were none.
fn share<'a>(weighted: impl Iterator<Item = (f64, &'a Observation)>) -> Option<f64> {
    let (lost, packets) = weighted.fold((0.0, 0.0), |(lost, packets), (weight, o)| {
        (lost + weight * o.lost, packets + weight * o.packets)
    });
    (packets > 0.0).then(|| lost / packets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends at what the detector allows over a path that loses `inherent` of all and whatever is
    /// above `bandwidth`; returns the rate after a minute.
    fn settle(inherent: f64, bandwidth: f64) -> f64 {
        let mut detector = LossDetector::default();
        let (mut now_us, mut state) = (0u64, 1u64);
        let delay_bps = 3_000_000;
        for _ in 0..1200 {
            let rate = detector.rate_bps().unwrap_or(delay_bps).min(delay_bps) as f64;
            let share = loss_probability(inherent, bandwidth, rate);
            let count = (rate * 0.05 / 9600.0).max(1.0) as u64;
            let results: Vec<PacketResult> = (0..count)
                .map(|at| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let is_lost = ((state >> 33) % 10_000) as f64 / 10_000.0 < share;
                    PacketResult {
                        sent_us: now_us + at * 50_000 / count,
                        arrived_us: (!is_lost).then_some(1),
                        bytes: 1200,
                        probe: 0,
                    }
                })
                .collect();
            now_us += 50_000;
            let through = rate * (1.0 - share);
            detector.take(&results, Some(through as u64), delay_bps, false);
        }
        detector.rate_bps().map_or(0.0, |bps| bps as f64)
    }

    #[test]
    fn loss_of_a_radio_costs_little_and_loss_of_a_policer_is_obeyed() {
        let radio = settle(0.02, 1e9);
        assert!(radio > 2_000_000.0, "{radio}");
        let policed = settle(0.0, 1_000_000.0);
        assert!((600_000.0..1_300_000.0).contains(&policed), "{policed}");
    }

    #[test]
    fn without_loss_it_does_not_bound() {
        assert!(settle(0.0, 1e9) >= 2_900_000.0);
    }
}
