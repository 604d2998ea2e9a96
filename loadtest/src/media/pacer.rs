//! How a sender spaces the packets of its frames. Like libwebrtc's pacer: what 40 ms at two and a
//! half times the rate carry leaves at once, so an ordinary frame is one burst; the rest of a
//! keyframe follows every 5 ms.

use std::collections::VecDeque;

use super::Packet;

/// The pace as a multiple of the bitrate.
const FACTOR: f64 = 2.5;
/// What may leave at once, in microseconds at the pace.
const BURST_US: u64 = 40_000;
/// Between two sends while there is a queue, in microseconds.
const INTERVAL_US: u64 = 5_000;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Pacer {
    queue: VecDeque<Packet>,
    bytes_per_us: f64,
    /// Octets that may leave now.
    budget: f64,
    budget_at_us: u64,
}

impl Pacer {
    /// A pacer for a stream of this rate.
    pub(super) fn new(bitrate_bps: u64) -> Self {
        let bytes_per_us = bitrate_bps as f64 * FACTOR / 8e6;
        let budget = bytes_per_us * BURST_US as f64;
        Self { queue: VecDeque::new(), bytes_per_us, budget, budget_at_us: 0 }
    }

    /// Keeps to the pace of another rate.
    pub(super) fn set_rate(&mut self, bitrate_bps: u64) {
        self.bytes_per_us = bitrate_bps as f64 * FACTOR / 8e6;
    }

    pub(super) fn push(&mut self, packet: Packet) {
        self.queue.push_back(packet);
    }

    /// When the next packet is due; `None` if none waits.
    pub(super) fn next_at_us(&self) -> Option<u64> {
        let wait = if self.budget > 0.0 { 0 } else { INTERVAL_US };
        (!self.queue.is_empty()).then_some(self.budget_at_us + wait)
    }

    /// The next packet, if one may leave. The last one may overdraw the budget.
    pub(super) fn pop(&mut self, at_us: u64) -> Option<Packet> {
        let passed = at_us.saturating_sub(self.budget_at_us);
        self.budget_at_us = self.budget_at_us.max(at_us);
        let most = self.bytes_per_us * BURST_US as f64;
        self.budget = (self.budget + passed as f64 * self.bytes_per_us).min(most);
        if self.budget <= 0.0 {
            return None;
        }
        let packet = self.queue.pop_front()?;
        self.budget -= packet.payload.len() as f64;
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet() -> Packet {
        Packet { payload: vec![0; 1000], ..Packet::default() }
    }

    #[test]
    fn a_small_frame_leaves_at_once_and_a_large_one_is_spread() {
        // 800 kbit/s: the pace is 250 octets per ms, the burst 10,000 octets.
        let mut pacer = Pacer::new(800_000);
        (0..4).for_each(|_| pacer.push(packet()));
        let mut at_us = 1_000_000;
        assert_eq!(std::iter::from_fn(|| pacer.pop(at_us)).count(), 4);
        assert_eq!(pacer.next_at_us(), None);
        at_us += 1_000_000;
        (0..40).for_each(|_| pacer.push(packet()));
        assert_eq!(std::iter::from_fn(|| pacer.pop(at_us)).count(), 10);
        let start = at_us;
        let mut left = 30;
        while let Some(due) = pacer.next_at_us() {
            at_us = due;
            let burst = std::iter::from_fn(|| pacer.pop(at_us)).count();
            assert!(burst <= 2, "{burst} at once");
            left -= burst;
        }
        assert_eq!(left, 0);
        let took = at_us - start;
        assert!((100_000..140_000).contains(&took), "{took}");
    }
}
