//! A token bucket: so many at once, so many per second after that.

use std::time::Duration;

/// Refills continuously; empty means "not now".
#[derive(Clone, Debug)]
pub struct TokenBucket {
    millitokens: u64,
    burst: u64,
    per_second: u64,
    filled_at: Duration,
}

impl TokenBucket {
    /// Full at the start.
    pub fn new(burst: u32, per_second: u32, now: Duration) -> Self {
        let burst = u64::from(burst) * 1000;
        Self { millitokens: burst, burst, per_second: u64::from(per_second), filled_at: now }
    }

    /// Whether nothing has been taken lately.
    #[must_use]
    pub fn is_full(&self, now: Duration) -> bool {
        let elapsed_ms = now.saturating_sub(self.filled_at).as_millis() as u64;
        self.millitokens.saturating_add(elapsed_ms.saturating_mul(self.per_second)) >= self.burst
    }

    /// Takes one token, or says that there is none.
    #[must_use]
    pub fn take(&mut self, now: Duration) -> bool {
        let elapsed_ms = now.saturating_sub(self.filled_at).as_millis() as u64;
        let gained = elapsed_ms.saturating_mul(self.per_second);
        self.millitokens = self.millitokens.saturating_add(gained).min(self.burst);
        self.filled_at += Duration::from_millis(elapsed_ms);
        if self.millitokens < 1000 {
            return false;
        }
        self.millitokens -= 1000;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let mut bucket = TokenBucket::new(3, 2, Duration::ZERO);
        let taken = |bucket: &mut TokenBucket, ms| bucket.take(Duration::from_millis(ms));
        assert!((0..3).all(|_| taken(&mut bucket, 0)));
        assert!(!taken(&mut bucket, 0));
        assert!(!taken(&mut bucket, 499));
        assert!(taken(&mut bucket, 500));
        assert!(!taken(&mut bucket, 500));
        assert!((0..3).all(|_| taken(&mut bucket, 100_000)));
        assert!(!taken(&mut bucket, 100_000));
    }

    #[test]
    fn small_steps_lose_nothing() {
        let mut bucket = TokenBucket::new(1, 10, Duration::ZERO);
        let count = (0..10_000u64)
            .filter(|step| bucket.take(Duration::from_micros(step * 1000 + 999)))
            .count();
        assert!((100..=101).contains(&count), "{count}");
    }
}
