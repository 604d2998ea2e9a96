//! A histogram of durations with fixed buckets: plain integers, a handful of instructions to add to.

/// The first bucket holds what took up to 2^4 = 16 us.
const FIRST_LOG2: u32 = 4;
/// The last bound is 2^26 us, about 67 s.
const BOUNDS: usize = 23;

/// How often something took how long. Each bound is twice the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// By bound; what exceeds all of them comes last.
    counts: [u64; BOUNDS + 1],
    sum_us: u64,
}

impl Histogram {
    /// Adds `count` durations of `us` microseconds.
    pub fn add(&mut self, us: u64, count: u64) {
        // The smallest n with us <= 2^n.
        let log2 = u64::BITS - us.saturating_sub(1).leading_zeros();
        let bucket = (log2.saturating_sub(FIRST_LOG2) as usize).min(BOUNDS);
        self.counts[bucket] += count;
        self.sum_us = self.sum_us.saturating_add(us.saturating_mul(count));
    }

    /// Adds what another one has.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// The upper bounds in microseconds, inclusive, each with how many were no longer than that.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        (FIRST_LOG2..).zip(&self.counts[..BOUNDS]).scan(0, |total, (log2, count)| {
            *total += count;
            Some((1 << log2, *total))
        })
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long all of them took, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_counts_from_its_bound_on() {
        for us in [0, 1, 16, 17, 32, 33, 999, 1 << 26, (1 << 26) + 1, u64::MAX] {
            let mut histogram = Histogram::default();
            histogram.add(us, 3);
            for (bound, count) in histogram.cumulative() {
                assert_eq!(count, if us <= bound { 3 } else { 0 }, "{us} us, bound {bound}");
            }
            assert_eq!(histogram.count(), 3);
        }
    }

    #[test]
    fn two_histograms_add_up() {
        let (mut left, mut right) = (Histogram::default(), Histogram::default());
        left.add(20, 1);
        right.add(20, 2);
        right.add(70_000_000, 1);
        left.merge(&right);
        assert_eq!((left.count(), left.sum_us()), (4, 70_000_060));
        assert_eq!(left.cumulative().nth(1), Some((32, 3)));
        assert_eq!(left.cumulative().last(), Some((1 << 26, 3)));
    }
}
