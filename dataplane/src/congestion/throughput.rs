//! What gets through: the rate of the packets that arrived lately, by the receiver's clock and not
//! above the rate at which they were sent, so that neither a burst of feedback nor a stall of the
//! receiver passes for capacity.

use std::collections::VecDeque;

use super::PacketResult;

/// Enough packets to speak of a rate.
const PACKETS_MIN: usize = 20;
/// The window holds at least so many packets and at least so much time.
const WINDOW_US: i64 = 500_000;
/// No window is longer or larger.
const WINDOW_MAX_US: i64 = 5_000_000;
const PACKETS_MAX: usize = 500;
/// What was sent lately, for [`Throughput::sent_bits_per_second`].
const RECENT_US: u64 = 300_000;

#[derive(Clone, Copy, Debug)]
struct Arrived {
    at_us: i64,
    sent_us: u64,
    bytes: u32,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Throughput {
    /// By arrival.
    window: VecDeque<Arrived>,
    /// When what was sent lately left, and its octets.
    sent: VecDeque<(u64, u32)>,
}

impl Throughput {
    /// Takes what feedback told.
    pub(crate) fn take(&mut self, results: &[PacketResult]) {
        let newest_us = results.last().map_or(0, |result| result.sent_us);
        self.sent.extend(results.iter().map(|result| (result.sent_us, result.bytes)));
        while self.sent.front().is_some_and(|(at_us, _)| at_us + RECENT_US < newest_us) {
            self.sent.pop_front();
        }
        for result in results {
            let Some(at_us) = result.arrived_us else {
                continue;
            };
            // A receiver's clock that was set: what came before cannot be compared.
            if self.window.back().is_some_and(|last| (at_us - last.at_us).abs() > WINDOW_MAX_US) {
                self.window.clear();
            }
            let place = self.window.iter().rposition(|known| known.at_us <= at_us);
            let arrived = Arrived { at_us, sent_us: result.sent_us, bytes: result.bytes };
            self.window.insert(place.map_or(0, |at| at + 1), arrived);
        }
        while self.is_too_long() {
            self.window.pop_front();
        }
    }

    fn is_too_long(&self) -> bool {
        let (Some(first), Some(last)) = (self.window.front(), self.window.back()) else {
            return false;
        };
        let lasts_us = last.at_us - first.at_us;
        let len = self.window.len();
        len > PACKETS_MAX || lasts_us > WINDOW_MAX_US || (len > PACKETS_MIN && lasts_us > WINDOW_US)
    }

    /// How fast it was sent lately, what was lost included, in bits per second.
    pub(crate) fn sent_bits_per_second(&self) -> u64 {
        self.sent.iter().map(|(_, bytes)| u64::from(*bytes)).sum::<u64>() * 8_000_000 / RECENT_US
    }

    /// In bits per second; `None` while too little has arrived.
    pub(crate) fn bits_per_second(&self) -> Option<u64> {
        if self.window.len() < PACKETS_MIN {
            return None;
        }
        let (first, last) = (self.window.front()?, self.window.back()?);
        // The longest silence of the receiver is a stall until a second one shows otherwise.
        let mut gaps = (0, 0);
        for (before, next) in self.window.iter().zip(self.window.iter().skip(1)) {
            let gap = next.at_us - before.at_us;
            gaps = if gap > gaps.0 { (gap, gaps.0) } else { (gaps.0, gaps.1.max(gap)) };
        }
        let bytes: u64 = self.window.iter().map(|arrived| u64::from(arrived.bytes)).sum();
        let arrived_us = (last.at_us - first.at_us - gaps.0 + gaps.1).max(1) as u64;
        let sent = self.window.iter().map(|arrived| arrived.sent_us);
        let sent_us = (sent.clone().max()? - sent.min()?).max(1);
        let by_arrival = (bytes - u64::from(first.bytes)) * 8_000_000 / arrived_us;
        let by_sending = (bytes - u64::from(last.bytes)) * 8_000_000 / sent_us;
        Some(by_arrival.min(by_sending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(from: u64, count: u64, sent_step: u64, arrived_step: u64) -> Vec<PacketResult> {
        (from..from + count)
            .map(|at| PacketResult {
                sent_us: at * sent_step,
                arrived_us: Some((at * arrived_step) as i64),
                bytes: 1250,
                probe: 0,
            })
            .collect()
    }

    #[test]
    fn the_rate_is_that_of_the_bottleneck() {
        let mut throughput = Throughput::default();
        assert_eq!(throughput.bits_per_second(), None);
        // Sent at 2 Mbit/s, through at 1 Mbit/s.
        throughput.take(&results(0, 200, 5_000, 10_000));
        let rate = throughput.bits_per_second().expect("enough has arrived");
        assert!((950_000..=1_050_000).contains(&rate), "{rate}");
    }

    #[test]
    fn a_burst_of_arrivals_is_not_capacity() {
        let mut throughput = Throughput::default();
        throughput.take(&results(0, 200, 10_000, 100));
        let rate = throughput.bits_per_second().expect("enough has arrived");
        assert!(rate <= 1_050_000, "{rate}");
    }
}
