//! One direction of an impaired path, without clocks and sockets.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Impairment;

/// Datagrams under way at most; more are lost. At 1,200 octets this is 80 MB.
const UNDER_WAY_MAX: usize = 65_536;

/// What became of the datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Datagrams that came in, whatever became of them.
    pub taken: u64,
    /// Lost by chance, alone or in bursts.
    pub lost: u64,
    /// Lost because the queue was full.
    pub overflowed: u64,
    /// Datagrams that came out twice.
    pub duplicated: u64,
    /// Sent past the others.
    pub reordered: u64,
}

/// See the module's documentation. Calling order: [`Self::push`] whenever a datagram comes in,
/// [`Self::pop`] until it returns `None` at every [`Self::next_at_us`]. Times are microseconds of
/// any clock that does not go back.
#[derive(Debug)]
pub struct Link<T> {
    impairment: Impairment,
    state: u64,
    is_in_burst: bool,
    /// When the rate lets the next datagram begin.
    free_at_us: u64,
    /// The latest departure so far: jitter must not overtake.
    last_at_us: u64,
    under_way: BinaryHeap<Reverse<UnderWay<T>>>,
    pushed: u64,
    stats: LinkStats,
}

#[derive(Debug)]
struct UnderWay<T> {
    at_us: u64,
    order: u64,
    datagram: T,
}

impl<T> PartialEq for UnderWay<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at_us, self.order) == (other.at_us, other.order)
    }
}

impl<T> Eq for UnderWay<T> {}

impl<T> PartialOrd for UnderWay<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for UnderWay<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.order).cmp(&(other.at_us, other.order))
    }
}

impl<T: Clone> Link<T> {
    /// A link at rest.
    pub fn new(impairment: Impairment, seed: u64) -> Self {
        Self {
            impairment,
            state: seed,
            is_in_burst: false,
            free_at_us: 0,
            last_at_us: 0,
            under_way: BinaryHeap::new(),
            pushed: 0,
            stats: LinkStats::default(),
        }
    }

    /// Does this to what comes from now on; what is under way stays as it is.
    pub fn change(&mut self, impairment: Impairment, now_us: u64) {
        let before_bps = self.impairment.rate_bps.unwrap_or(u64::MAX);
        let after_bps = impairment.rate_bps.unwrap_or(u64::MAX);
        let waits_us = u128::from(self.waits_us(now_us));
        // What waits before the line leaves at its new rate.
        let waits_us = waits_us * u128::from(before_bps) / u128::from(after_bps.max(1));
        self.free_at_us = now_us + waits_us as u64;
        self.impairment = impairment;
    }

    /// What became of the datagrams so far.
    pub fn stats(&self) -> LinkStats {
        self.stats
    }

    /// How long a datagram that came now would wait before the line, in microseconds.
    pub fn waits_us(&self, now_us: u64) -> u64 {
        self.free_at_us.saturating_sub(now_us)
    }

    /// Takes a datagram of so many octets.
    pub fn push(&mut self, datagram: T, bytes: usize, now_us: u64) {
        self.stats.taken += 1;
        // Every datagram draws the same numbers, so that one setting does not change what another
        // one does.
        let [lost, burst, jitter, reorder, duplicate] = std::array::from_fn(|_| self.draw());
        if let Some(bursts) = self.impairment.bursts {
            let change = if self.is_in_burst { bursts.end } else { bursts.begin };
            self.is_in_burst ^= burst < change;
        }
        if lost < self.impairment.loss || self.is_in_burst {
            self.stats.lost += 1;
            return;
        }
        let Some(free_at_us) = self.queue(bytes, now_us) else {
            self.stats.overflowed += 1;
            return;
        };
        let at_us = if reorder < self.impairment.reorder {
            self.stats.reordered += 1;
            now_us
        } else {
            let jitter_us = jitter * self.impairment.jitter.as_micros() as f64;
            let delay_us = self.impairment.delay.as_micros() as u64 + jitter_us as u64;
            self.last_at_us = self.last_at_us.max(free_at_us + delay_us);
            self.last_at_us
        };
        if duplicate < self.impairment.duplicate {
            self.stats.duplicated += 1;
            self.send(datagram.clone(), at_us);
        }
        self.send(datagram, at_us);
    }

    /// When a datagram comes out next.
    pub fn next_at_us(&self) -> Option<u64> {
        self.under_way.peek().map(|Reverse(next)| next.at_us)
    }

    /// The next datagram that has come out by now.
    pub fn pop(&mut self, now_us: u64) -> Option<T> {
        if self.next_at_us()? > now_us {
            return None;
        }
        self.under_way.pop().map(|Reverse(next)| next.datagram)
    }

    /// When the rate has let the datagram through; `None` if it would have to wait too long.
    fn queue(&mut self, bytes: usize, now_us: u64) -> Option<u64> {
        let Some(rate_bps) = self.impairment.rate_bps else {
            return Some(now_us);
        };
        let begins_at_us = self.free_at_us.max(now_us);
        if u128::from(begins_at_us - now_us) > self.impairment.queue.as_micros() {
            return None;
        }
        self.free_at_us = begins_at_us + bytes as u64 * 8_000_000 / rate_bps.max(1);
        Some(self.free_at_us)
    }

    fn send(&mut self, datagram: T, at_us: u64) {
        if self.under_way.len() >= UNDER_WAY_MAX {
            self.stats.overflowed += 1;
            return;
        }
        self.pushed += 1;
        self.under_way.push(Reverse(UnderWay { at_us, order: self.pushed, datagram }));
    }

    /// A number in 0..1 (splitmix64).
    fn draw(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: u64 = 100_000;

    /// A packet of 1,000 octets per millisecond; returns what came out, and when.
    fn run(spec: &str, seed: u64) -> (Vec<(u64, u64)>, LinkStats) {
        let mut link = Link::new(spec.parse().expect("a good specification"), seed);
        let mut out = Vec::new();
        let mut drain = |link: &mut Link<u64>, until_us: u64| {
            while let Some(at_us) = link.next_at_us().filter(|at_us| *at_us <= until_us) {
                out.extend(link.pop(at_us).map(|packet| (packet, at_us)));
            }
        };
        for packet in 0..PACKETS {
            drain(&mut link, packet * 1000);
            link.push(packet, 1000, packet * 1000);
        }
        drain(&mut link, u64::MAX);
        (out, link.stats())
    }

    fn share(count: usize) -> f64 {
        count as f64 / PACKETS as f64
    }

    #[test]
    fn without_impairment_everything_passes_at_once() {
        let (out, stats) = run("", 1);
        let expected: Vec<_> = (0..PACKETS).map(|packet| (packet, packet * 1000)).collect();
        assert_eq!(out, expected);
        assert_eq!(stats, LinkStats { taken: PACKETS, ..LinkStats::default() });
    }

    #[test]
    fn loss_is_as_set_and_repeats_with_its_seed() {
        let (out, stats) = run("loss=2%", 1);
        assert!((0.018..0.022).contains(&(1.0 - share(out.len()))), "{}", out.len());
        assert_eq!(stats.lost + out.len() as u64, PACKETS);
        assert_eq!(run("loss=2%", 1).0, out);
        assert_ne!(run("loss=2%", 2).0, out);
    }

    #[test]
    fn bursts_are_as_long_as_set() {
        let (out, _) = run("burst=1%/25%", 1);
        let gaps: Vec<u64> =
            out.windows(2).map(|pair| pair[1].0 - pair[0].0 - 1).filter(|gap| *gap > 0).collect();
        let mean = gaps.iter().sum::<u64>() as f64 / gaps.len() as f64;
        assert!((3.6..4.4).contains(&mean), "{mean}");
        // The share of the bad state: begin / (begin + end).
        let lost = 1.0 - share(out.len());
        assert!((0.034..0.043).contains(&lost), "{lost}");
    }

    #[test]
    fn delay_and_jitter_lie_within_their_bounds_and_keep_the_order() {
        let (out, _) = run("delay=40ms,jitter=10ms", 1);
        assert_eq!(out.len() as u64, PACKETS);
        assert!(out.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let waits: Vec<u64> = out.iter().map(|(packet, at_us)| at_us - packet * 1000).collect();
        assert!(waits.iter().all(|wait| (40_000..=50_000).contains(wait)));
        let (least, most) = (waits.iter().min(), waits.iter().max());
        assert!(least < Some(&41_500) && most > Some(&49_000), "{least:?} {most:?}");
    }

    #[test]
    fn reordered_datagrams_overtake_and_duplicates_come_twice() {
        let (out, stats) = run("delay=5ms,reorder=3%", 1);
        assert_eq!(out.len() as u64, PACKETS);
        let overtaken = out.windows(2).filter(|pair| pair[1].0 < pair[0].0).count();
        assert!((0.025..0.035).contains(&share(stats.reordered as usize)));
        assert!((0.025..0.035).contains(&share(overtaken)), "{overtaken}");
        let (out, stats) = run("duplicate=3%", 1);
        let twice = out.windows(2).filter(|pair| pair[1].0 == pair[0].0).count();
        assert_eq!((stats.duplicated, out.len() as u64), (twice as u64, PACKETS + twice as u64));
        assert!((0.025..0.035).contains(&share(twice)), "{twice}");
    }

    #[test]
    fn a_rate_below_the_load_fills_its_queue_and_loses_the_rest() {
        // 8 Mbit/s come in, half of it goes through.
        let (out, stats) = run("rate=4m,queue=50ms", 1);
        assert!((0.49..0.51).contains(&share(out.len())), "{}", out.len());
        assert_eq!(stats.overflowed + out.len() as u64, PACKETS);
        let longest = out.iter().map(|(packet, at_us)| at_us - packet * 1000).max();
        assert!((50_000..=52_000).contains(&longest.expect("some passed")), "{longest:?}");
        let (out, _) = run("rate=16m,queue=50ms", 1);
        assert_eq!(out.len() as u64, PACKETS);
        assert!(out.iter().all(|(packet, at_us)| at_us - packet * 1000 == 500));
    }
}
