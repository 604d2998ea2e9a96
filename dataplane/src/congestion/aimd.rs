//! The delay-based rate: up while the queue stands, down to a share of what got through when it
//! grows (draft-ietf-rmcat-gcc-02 s5.5). Near the capacity seen before it climbs by packets per
//! round trip, elsewhere by 8 % a second.

use super::delay::Usage;
use super::{RATE_MAX_BPS, RATE_MIN_BPS};

/// What is left of the throughput after overuse.
const BACK_OFF: f64 = 0.86;
/// Per second, away from the known capacity.
const INCREASE: f64 = 1.08;
/// The rate does not run away from what is sent: this times what got through, and a bit.
const AHEAD: f64 = 1.5;
const AHEAD_BPS: f64 = 10_000.0;
/// The time in which a change of rate shows in feedback, as a rule. Not the true round trip: whoever is
/// far away would climb more slowly than its neighbours on the same line, and end with a quarter.
const RESPONSE_US: f64 = 170_000.0;
/// What a probe has measured is trusted for so long: until feedback tells of what is sent since,
/// throughput is that of what was sent before.
const MEASURED_US: u64 = 5_000_000;
/// The slowest climb near the capacity.
const ADDITIVE_MIN_BPS: f64 = 4_000.0;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Hold,
    Increase,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Aimd {
    rate_bps: f64,
    state: State,
    capacity: Capacity,
    changed_us: u64,
    decreased_us: Option<u64>,
    /// What a probe has measured, and when, until the first overuse after it.
    measured: Option<(f64, u64)>,
}

impl Aimd {
    /// Begins at a rate.
    pub(crate) fn new(rate_bps: u64) -> Self {
        Self {
            rate_bps: rate_bps as f64,
            state: State::Hold,
            capacity: Capacity::default(),
            changed_us: 0,
            decreased_us: None,
            measured: None,
        }
    }

    /// In bits per second.
    pub(crate) fn rate_bps(&self) -> u64 {
        self.rate_bps as u64
    }

    /// When overuse made it smaller last.
    pub(crate) fn decreased_us(&self) -> Option<u64> {
        self.decreased_us
    }

    /// A probe has measured the path.
    pub(crate) fn set(&mut self, rate_bps: u64, now_us: u64) {
        self.rate_bps = clamp(rate_bps as f64);
        self.changed_us = now_us;
        self.state = State::Hold;
        self.measured = Some((self.rate_bps, now_us));
    }

    /// Takes what the delay says, and what got through if that is known.
    pub(crate) fn update(
        &mut self,
        usage: Usage,
        through_bps: Option<u64>,
        rtt_us: u64,
        now_us: u64,
    ) {
        let passed_us = now_us.saturating_sub(self.changed_us).min(1_000_000);
        match usage {
            Usage::Over => self.decrease(through_bps, rtt_us, now_us),
            // The queue drains: wait until it has.
            Usage::Under => self.state = State::Hold,
            Usage::Normal if self.state == State::Hold => {
                self.state = State::Increase;
                self.changed_us = now_us;
            }
            Usage::Normal => self.increase(through_bps, passed_us as f64, now_us),
        }
    }

    fn increase(&mut self, through_bps: Option<u64>, passed_us: f64, now_us: u64) {
        let through = through_bps.map(|bps| bps as f64);
        if let Some(through) = through {
            self.capacity.forget_below(through);
        }
        let limit = through.map_or(f64::MAX, |through| AHEAD * through + AHEAD_BPS);
        self.changed_us = now_us;
        if self.rate_bps >= limit {
            return;
        }
        let step = if self.capacity.is_known() {
            let packet_bits = (self.rate_bps / 30.0).clamp(800.0, 9_600.0);
            let per_second = packet_bits * 1_000_000.0 / RESPONSE_US;
            per_second.max(ADDITIVE_MIN_BPS) * passed_us / 1_000_000.0
        } else {
            let factor = INCREASE.powf(passed_us / 1_000_000.0);
            (self.rate_bps * (factor - 1.0)).max(1000.0 * passed_us / 1_000_000.0)
        };
        self.rate_bps = clamp((self.rate_bps + step).min(limit));
    }

    fn decrease(&mut self, through_bps: Option<u64>, rtt_us: u64, now_us: u64) {
        // One queue is one reason: its reports come for a round trip.
        let again_us = rtt_us.clamp(10_000, 200_000);
        let is_again = self.decreased_us.is_some_and(|at| now_us.saturating_sub(at) < again_us);
        let through = through_bps.map_or(self.rate_bps / 2.0, |bps| bps as f64);
        // Much less than half of the rate gets through: that cannot wait.
        if is_again && through > self.rate_bps / 2.0 {
            return;
        }
        let measured =
            self.measured.take().filter(|(_, at)| now_us.saturating_sub(*at) < MEASURED_US);
        let through = measured.map_or(through, |(measured, _)| through.max(measured));
        let mut target = BACK_OFF * through;
        if target > self.rate_bps {
            // More got through than the rate says: the capacity is a better guess.
            target = self.capacity.estimate_bps.map_or(self.rate_bps, |known| BACK_OFF * known);
        }
        if let Some(through) = through_bps {
            self.capacity.overuse(through as f64);
        }
        self.rate_bps = clamp(target.min(self.rate_bps));
        self.state = State::Hold;
        (self.changed_us, self.decreased_us) = (now_us, Some(now_us));
    }
}

fn clamp(rate_bps: f64) -> f64 {
    rate_bps.clamp(RATE_MIN_BPS as f64, RATE_MAX_BPS as f64)
}

/// What got through when the queue grew: the mean, and how far it spreads.
#[derive(Debug, Default)]
struct Capacity {
    estimate_bps: Option<f64>,
    /// The variance, as a share of the mean.
    spread: f64,
}

impl Capacity {
    const SMOOTHING: f64 = 0.05;

    fn is_known(&self) -> bool {
        self.estimate_bps.is_some()
    }

    fn deviation_bps(&self, estimate: f64) -> f64 {
        // In kbit/s, as the published spread is.
        3.0 * (self.spread * estimate / 1000.0).sqrt() * 1000.0
    }

    /// The path takes more than it did.
    fn forget_below(&mut self, through_bps: f64) {
        if self.estimate_bps.is_some_and(|known| through_bps > known + self.deviation_bps(known)) {
            *self = Self { spread: self.spread, ..Self::default() };
        }
    }

    fn overuse(&mut self, through_bps: f64) {
        // Far below what was known is another path.
        let known = self
            .estimate_bps
            .filter(|known| through_bps > known - self.deviation_bps(*known))
            .unwrap_or(through_bps);
        let estimate = known + Self::SMOOTHING * (through_bps - known);
        let error = (estimate - through_bps) / 1000.0;
        let spread = error * error / (estimate / 1000.0).max(1.0);
        self.spread += Self::SMOOTHING * (spread - self.spread);
        self.spread = self.spread.clamp(0.4, 2.5);
        self.estimate_bps = Some(estimate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_falls_below_what_gets_through_and_climbs_no_further_than_that_allows() {
        let mut aimd = Aimd::new(2_000_000);
        aimd.update(Usage::Over, Some(1_000_000), 100_000, 1_000_000);
        assert_eq!(aimd.rate_bps(), 860_000);
        for step in 0..600u64 {
            let now_us = 1_100_000 + step * 100_000;
            aimd.update(Usage::Normal, Some(400_000), 100_000, now_us);
        }
        assert_eq!(aimd.rate_bps(), 860_000, "nobody sends that much");
        for step in 0..600u64 {
            let now_us = 70_000_000 + step * 100_000;
            aimd.update(Usage::Normal, Some(aimd.rate_bps()), 100_000, now_us);
        }
        assert!(aimd.rate_bps() > 1_500_000, "{}", aimd.rate_bps());
    }

    #[test]
    fn what_a_probe_has_measured_bounds_the_first_step_down_after_it() {
        let mut aimd = Aimd::new(200_000);
        aimd.set(500_000, 1_000_000);
        // What got through is still that of the smaller picture.
        aimd.update(Usage::Over, Some(150_000), 50_000, 1_200_000);
        assert_eq!(aimd.rate_bps(), 430_000);
        aimd.update(Usage::Over, Some(150_000), 50_000, 1_500_000);
        assert_eq!(aimd.rate_bps(), 129_000, "once");
        aimd.set(500_000, 2_000_000);
        aimd.update(Usage::Over, Some(150_000), 50_000, 8_000_000);
        assert_eq!(aimd.rate_bps(), 129_000, "long ago");
    }

    #[test]
    fn nothing_leaves_the_bounds() {
        let mut aimd = Aimd::new(300_000);
        for step in 0..10_000u64 {
            let usage = [Usage::Over, Usage::Normal, Usage::Under][(step % 3) as usize];
            let through = [None, Some(0), Some(u64::MAX), Some(1)][(step % 4) as usize];
            aimd.update(usage, through, step * 1_000_000_000, step * step * 1000);
            assert!((RATE_MIN_BPS..=RATE_MAX_BPS).contains(&aimd.rate_bps()));
        }
    }
}
