//! Does the queue grow? Packets are taken in groups that left together; the trend of what each
//! group took longer than the one before, over the last twenty, is held against a threshold that
//! adapts itself (draft-ietf-rmcat-gcc-02 s4, with the trendline filter in place of Kalman's).

use std::collections::VecDeque;

use super::PacketResult;

/// Packets that left within this are one group.
const BURST_US: u64 = 5_000;
/// A group does not last longer, whatever arrives in one piece.
const GROUP_MAX_US: i64 = 100_000;
/// Groups over which the trend is taken.
const WINDOW: usize = 20;
/// The smoothing of the accumulated delay.
const SMOOTHING: f64 = 0.9;
/// The trend counts for more the more of it has been seen, up to this many groups.
const DELTAS_MAX: f64 = 60.0;
const GAIN: f64 = 4.0;
/// The threshold in ms, where it begins and within which it stays (s4.4, which has 6 at least: with
/// that, the slow growth of a TCP connection's window next to us counts as our own overuse, and a
/// download leaves us next to nothing).
const THRESHOLD_START_MS: f64 = 12.5;
const THRESHOLD_MS: std::ops::RangeInclusive<f64> = 9.5..=600.0;
/// How fast the threshold follows up and down, per ms.
const THRESHOLD_UP: f64 = 0.0087;
const THRESHOLD_DOWN: f64 = 0.039;
/// A trend this far above the threshold is a jump and not to be followed.
const ADAPT_WITHIN_MS: f64 = 15.0;
/// The trend must be above the threshold for so long to count.
const OVERUSE_FOR_MS: f64 = 10.0;

/// What the delay says of the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Usage {
    /// The queue stands, or there is none.
    #[default]
    Normal,
    /// The queue grows.
    Over,
    /// The queue drains.
    Under,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent_us: u64,
    last_sent_us: u64,
    first_arrived_us: i64,
    last_arrived_us: i64,
}

/// See the module's documentation. One per Transport, because arrivals of two are told by two
/// clocks and at different times.
#[derive(Debug)]
pub struct DelayDetector {
    group: Option<Group>,
    before: Option<Group>,
    /// Arrival in ms since the first, and smoothed accumulated delay.
    points: VecDeque<(f64, f64)>,
    first_arrived_us: Option<i64>,
    accumulated_ms: f64,
    smoothed_ms: f64,
    deltas: f64,
    threshold_ms: f64,
    updated_us: Option<i64>,
    over_for_ms: Option<f64>,
    over_count: u32,
    trend_before: f64,
    usage: Usage,
}

impl Default for DelayDetector {
    fn default() -> Self {
        Self {
            group: None,
            before: None,
            points: VecDeque::with_capacity(WINDOW + 1),
            first_arrived_us: None,
            accumulated_ms: 0.0,
            smoothed_ms: 0.0,
            deltas: 0.0,
            threshold_ms: THRESHOLD_START_MS,
            updated_us: None,
            over_for_ms: None,
            over_count: 0,
            trend_before: 0.0,
            usage: Usage::Normal,
        }
    }
}

impl DelayDetector {
    /// Takes what feedback told, in the order of sending, but for packets that may not have left when
    /// they were said to.
    pub fn take(&mut self, results: &[PacketResult], is_doubtful: impl Fn(u64) -> bool) {
        for result in results {
            if let Some(arrived_us) = result.arrived_us.filter(|_| !is_doubtful(result.sent_us)) {
                self.packet(result.sent_us, arrived_us);
            }
        }
    }

    /// What the last groups say.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    fn packet(&mut self, sent_us: u64, arrived_us: i64) {
        let Some(group) = &mut self.group else {
            self.group = Some(Group::new(sent_us, arrived_us));
            return;
        };
        // Out of order.
        if sent_us < group.first_sent_us {
            return;
        }
        if group.takes(sent_us, arrived_us) {
            group.last_sent_us = group.last_sent_us.max(sent_us);
            group.last_arrived_us = group.last_arrived_us.max(arrived_us);
            return;
        }
        let whole = *group;
        *group = Group::new(sent_us, arrived_us);
        if let Some(before) = self.before.replace(whole) {
            let sent_ms = (whole.last_sent_us as f64 - before.last_sent_us as f64) / 1000.0;
            let arrived_ms = (whole.last_arrived_us - before.last_arrived_us) as f64 / 1000.0;
            // A receiver's clock that was set tells nothing.
            if (-1000.0..60_000.0).contains(&arrived_ms) {
                self.update(arrived_ms - sent_ms, whole.last_arrived_us, sent_ms);
            } else {
                *self = Self { threshold_ms: self.threshold_ms, ..Self::default() };
            }
        }
    }

    fn update(&mut self, delta_ms: f64, arrived_us: i64, sent_ms: f64) {
        let first_us = *self.first_arrived_us.get_or_insert(arrived_us);
        self.deltas = (self.deltas + 1.0).min(DELTAS_MAX);
        self.accumulated_ms += delta_ms;
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * self.accumulated_ms;
        self.points.push_back(((arrived_us - first_us) as f64 / 1000.0, self.smoothed_ms));
        if self.points.len() > WINDOW {
            self.points.pop_front();
        }
        let trend = match self.points.len() {
            WINDOW => slope(&self.points).unwrap_or(self.trend_before),
            _ => self.trend_before,
        };
        self.detect(trend, sent_ms, arrived_us);
    }

    fn detect(&mut self, trend: f64, sent_ms: f64, arrived_us: i64) {
        let scaled_ms = self.deltas * trend * GAIN;
        if scaled_ms > self.threshold_ms {
            // As if it had come up in the middle of the interval.
            let over_for_ms = self.over_for_ms.map_or(sent_ms / 2.0, |for_ms| for_ms + sent_ms);
            self.over_for_ms = Some(over_for_ms);
            self.over_count += 1;
            if over_for_ms > OVERUSE_FOR_MS && self.over_count > 1 && trend >= self.trend_before {
                (self.over_for_ms, self.over_count) = (Some(0.0), 0);
                self.usage = Usage::Over;
            }
        } else {
            (self.over_for_ms, self.over_count) = (None, 0);
            let is_under = scaled_ms < -self.threshold_ms;
            self.usage = if is_under { Usage::Under } else { Usage::Normal };
        }
        self.trend_before = trend;
        self.adapt(scaled_ms.abs(), arrived_us);
    }

    fn adapt(&mut self, scaled_ms: f64, arrived_us: i64) {
        let passed_us = self.updated_us.replace(arrived_us).map_or(0, |at_us| arrived_us - at_us);
        if scaled_ms > self.threshold_ms + ADAPT_WITHIN_MS {
            return;
        }
        let gain = if scaled_ms < self.threshold_ms { THRESHOLD_DOWN } else { THRESHOLD_UP };
        let passed_ms = (passed_us.max(0) as f64 / 1000.0).min(100.0);
        let threshold_ms = self.threshold_ms + gain * (scaled_ms - self.threshold_ms) * passed_ms;
        self.threshold_ms = threshold_ms.clamp(*THRESHOLD_MS.start(), *THRESHOLD_MS.end());
    }
}

impl Group {
    fn new(sent_us: u64, arrived_us: i64) -> Self {
        Self {
            first_sent_us: sent_us,
            last_sent_us: sent_us,
            first_arrived_us: arrived_us,
            last_arrived_us: arrived_us,
        }
    }

    fn takes(&self, sent_us: u64, arrived_us: i64) -> bool {
        if sent_us.saturating_sub(self.first_sent_us) <= BURST_US {
            return true;
        }
        // What waited together in the network arrives together, faster than it was sent.
        let arrival_us = arrived_us - self.last_arrived_us;
        let sending_us = sent_us as i64 - self.last_sent_us as i64;
        arrival_us < sending_us
            && arrival_us <= BURST_US as i64
            && arrived_us - self.first_arrived_us < GROUP_MAX_US
    }
}

/// Least squares.
fn slope(points: &VecDeque<(f64, f64)>) -> Option<f64> {
    let count = points.len() as f64;
    let (sum_x, sum_y) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0, y + p.1));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let (over, under) = points.iter().fold((0.0, 0.0), |(over, under), (x, y)| {
        (over + (x - mean_x) * (y - mean_y), under + (x - mean_x) * (x - mean_x))
    });
    (under > 0.0).then(|| over / under)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(detector: &mut DelayDetector, from: u64, groups: u64, extra_us: i64) -> Usage {
        for at in from..from + groups {
            let sent_us = at * 20_000;
            let arrived_us = 1_000_000 + (sent_us as i64) + (at - from) as i64 * extra_us;
            detector.packet(sent_us, arrived_us);
        }
        detector.usage()
    }

    #[test]
    fn a_queue_that_grows_is_overuse_and_one_that_stands_is_not() {
        let mut detector = DelayDetector::default();
        assert_eq!(run(&mut detector, 0, 100, 0), Usage::Normal);
        assert_eq!(run(&mut detector, 100, 30, 3_000), Usage::Over);
        let mut draining = DelayDetector::default();
        run(&mut draining, 0, 50, 5_000);
        assert_eq!(run(&mut draining, 50, 40, -5_000), Usage::Under);
    }

    #[test]
    fn jitter_without_a_trend_is_not_overuse() {
        let mut detector = DelayDetector::default();
        let mut state = 5u64;
        for at in 0..2000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let jitter_us = (state >> 33) % 10_000;
            detector.packet(at * 20_000, (at * 20_000 + jitter_us) as i64);
            assert_ne!(detector.usage(), Usage::Over, "{at}");
        }
    }

    #[test]
    fn clocks_that_jump_do_no_harm() {
        let mut detector = DelayDetector::default();
        for (at, arrived_us) in [0, i64::MAX / 4, 5, -7, 1 << 50, 3, 4].into_iter().enumerate() {
            detector.packet(at as u64 * 20_000, arrived_us);
        }
        assert!(detector.threshold_ms.is_finite() && detector.smoothed_ms.is_finite());
    }
}
