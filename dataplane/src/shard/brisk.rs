//! How quickly pictures may leave where nothing better is to be had: an estimate that is little more than
//! what is sent spreads each picture over the time until the next one, and whoever sees it waits so long. So
//! a calm path is probed for more than anybody needs.

use crate::congestion::PROBE_PERCENT;

/// Pictures leave at so many halves of what is sent all in all, as browsers pace what they encode themselves.
const HALVES: u64 = 5;
/// But at no more than this, in bits per second: then even a large one leaves within some hundredths of a
/// second.
const MAX_BPS: u64 = 8_000_000;
/// From the first packet on, and since the path has last been too narrow.
const CALM_US: u64 = 5_000_000;
/// Between two attempts: doubled from the first to the second as long as they find less.
const WAIT_US: (u64, u64) = (10_000_000, 320_000_000);

/// An estimate that has grown by so many percent since the last attempt has found something.
const FOUND_PERCENT: u64 = 125;

/// When a path is probed next for that.
#[derive(Debug)]
pub(super) struct Brisk {
    next_us: u64,
    wait_us: u64,
    /// The estimate at the last attempt.
    from_bps: u64,
}

impl Default for Brisk {
    fn default() -> Self {
        Self { next_us: 0, wait_us: WAIT_US.0, from_bps: 0 }
    }
}

impl Brisk {
    /// What the path is to be probed for now, in bits per second, if `media_bps` are all that anybody
    /// wishes and the path has been calm since `calm_since_us`.
    pub(super) fn wish(
        &mut self,
        (media_bps, estimate_bps): (u64, u64),
        calm_since_us: u64,
        now_us: u64,
    ) -> Option<u64> {
        let wish_bps = (media_bps * HALVES / 2).min(MAX_BPS);
        if wish_bps <= estimate_bps {
            return None;
        }
        if estimate_bps * 100 >= self.from_bps * FOUND_PERCENT {
            (self.next_us, self.wait_us) = (0, WAIT_US.0);
        }
        if now_us < self.next_us.max(calm_since_us + CALM_US) {
            return None;
        }
        self.from_bps = estimate_bps;
        self.next_us = now_us + self.wait_us;
        self.wait_us = (2 * self.wait_us).min(WAIT_US.1);
        Some(wish_bps * PROBE_PERCENT / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds in which a path is probed that takes `takes_bps`.
    fn probed(brisk: &mut Brisk, takes_bps: u64, seconds: std::ops::Range<u64>) -> Vec<u64> {
        let mut estimate_bps = 2_000_000;
        let mut probed = Vec::new();
        for second in seconds {
            let wish = brisk.wish((1_200_000, estimate_bps), 3_000_000, second * 1_000_000);
            if let Some(wish_bps) = wish {
                estimate_bps = takes_bps.min(wish_bps);
                probed.push(second);
            }
        }
        probed
    }

    #[test]
    fn a_calm_path_is_probed_ever_more_rarely_until_it_takes_enough() {
        let mut brisk = Brisk::default();
        assert_eq!(probed(&mut brisk, 2_000_000, 0..200), [8, 18, 38, 78, 158]);
        assert_eq!(probed(&mut brisk, 2_100_000, 200..700), [318, 638]);
        assert_eq!(probed(&mut Brisk::default(), 10_000_000, 0..200), [8]);
        let wish = Brisk::default().wish((4_000_000, 4_000_000), 0, 400_000_000);
        assert_eq!(wish, Some(MAX_BPS * PROBE_PERCENT / 100));
        assert_eq!(Brisk::default().wish((9_000_000, 9_000_000), 0, 500_000_000), None);
    }

    #[test]
    fn what_has_become_wider_is_tried_again_at_once() {
        let mut brisk = Brisk::default();
        assert!(brisk.wish((1_200_000, 1_300_000), 0, 6_000_000).is_some());
        assert_eq!(brisk.wish((1_200_000, 1_400_000), 0, 7_000_000), None);
        assert!(brisk.wish((1_200_000, 2_000_000), 0, 8_000_000).is_some());
    }

    #[test]
    fn who_has_been_too_much_lately_is_left_alone() {
        let mut brisk = Brisk::default();
        assert_eq!(brisk.wish((1_000_000, 1_100_000), 9_000_000, 12_000_000), None);
        assert!(brisk.wish((1_000_000, 1_100_000), 9_000_000, 14_000_000).is_some());
    }
}
