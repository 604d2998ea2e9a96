//! A token bucket: so many octets per second, and so many at once.

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// Bits per second; nothing for no bound.
    rate_bps: Option<u64>,
    burst_bytes: i64,
    level_bytes: i64,
    at_us: u64,
}

impl Bucket {
    /// Changes the bounds; a bucket without any that gets some is full.
    pub(crate) fn set(&mut self, rate_bps: Option<u64>, burst_bytes: u64, now_us: u64) {
        self.fill(now_us);
        let burst_bytes = i64::try_from(burst_bytes).unwrap_or(i64::MAX);
        if self.rate_bps.is_none() {
            self.level_bytes = burst_bytes;
        }
        (self.rate_bps, self.burst_bytes) = (rate_bps, burst_bytes);
        self.level_bytes = self.level_bytes.min(burst_bytes);
    }

    /// Whether there is anything in it. What is taken may be more: the debt is paid before the
    /// next.
    pub(crate) fn has_some(&mut self, now_us: u64) -> bool {
        self.fill(now_us);
        self.rate_bps.is_none() || self.level_bytes > 0
    }

    /// Takes octets out.
    pub(crate) fn take(&mut self, bytes: usize) {
        if self.rate_bps.is_some() {
            self.level_bytes = self.level_bytes.saturating_sub_unsigned(bytes as u64);
        }
    }

    fn fill(&mut self, now_us: u64) {
        let passed_us = now_us.saturating_sub(std::mem::replace(&mut self.at_us, now_us));
        if passed_us == 0 {
            return;
        }
        if let Some(rate_bps) = self.rate_bps {
            // A second fills any.
            let bytes = u128::from(rate_bps) * u128::from(passed_us.min(1_000_000)) / 8_000_000;
            let level_bytes = self.level_bytes.saturating_add(bytes as i64);
            self.level_bytes = level_bytes.min(self.burst_bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_at_once_and_so_much_per_second() {
        let mut bucket = Bucket::default();
        assert!(bucket.has_some(1), "no bound");
        bucket.take(1 << 40);
        bucket.set(Some(800_000), 3_000, 1);
        let mut sent = 0;
        for now_us in (1..1_000_001).step_by(1_000) {
            while bucket.has_some(now_us) {
                bucket.take(1_000);
                sent += 1_000;
            }
        }
        assert!((102_000..=104_000).contains(&sent), "{sent}");
    }
}
