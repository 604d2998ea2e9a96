//! The replay window of one SSRC or of SRTCP (RFC 3711 s3.3.2).

/// How far behind the newest index a packet may come. Wide, because retransmissions on the same
/// SSRC come late; the RFC asks for at least 64.
const WINDOW_PACKETS: u64 = 512;
const WORDS: usize = (WINDOW_PACKETS / 64) as usize;

/// Remembers which of the last 512 indices were seen.
#[derive(Clone, Debug, Default)]
pub struct ReplayWindow {
    /// One above the highest index seen; 0 if none.
    next: u64,
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// Whether `index` is new: neither seen nor too old.
    pub fn is_new(&self, index: u64) -> bool {
        index >= self.next
            || (index + WINDOW_PACKETS >= self.next && self.seen[word(index)] & bit(index) == 0)
    }

    /// Records `index` as seen. To be called only after the packet proved authentic.
    pub fn record(&mut self, index: u64) {
        if index >= self.next {
            let gap = index - self.next;
            if gap >= WINDOW_PACKETS {
                self.seen = [0; WORDS];
            } else {
                for skipped in self.next..index {
                    self.seen[word(skipped)] &= !bit(skipped);
                }
            }
            self.next = index + 1;
        }
        self.seen[word(index)] |= bit(index);
    }

    /// The highest index seen.
    pub fn highest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }
}

fn word(index: u64) -> usize {
    (index / 64) as usize % WORDS
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_index_passes_once_in_any_order_within_the_window() {
        let mut window = ReplayWindow::default();
        for index in [5, 3, 4, 900, 890, 889, 1411, 2000, 1999] {
            assert!(window.is_new(index), "{index}");
            window.record(index);
            assert!(!window.is_new(index), "{index}");
        }
        assert!(!window.is_new(5), "too old");
        assert!(window.is_new(1998));
        assert_eq!(window.highest(), Some(2000));
    }

    #[test]
    fn it_agrees_with_a_plain_set_on_a_pseudo_random_walk() {
        let mut window = ReplayWindow::default();
        let mut seen = std::collections::HashSet::new();
        let (mut state, mut base) = (7u64, 1000u64);
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            base += (state >> 33) % 3;
            let index = base - (state >> 40) % 500;
            assert_eq!(window.is_new(index), !seen.contains(&index));
            if window.is_new(index) {
                window.record(index);
                seen.insert(index);
            }
        }
    }
}
