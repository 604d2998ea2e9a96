//! A TCP connection that others must live with: slow start, a window that grows by a segment for each
//! round trip and is halved by a loss (RFC 5681), selective acknowledgements, a retransmission timeout.

use std::collections::{BTreeMap, VecDeque};

use super::Packet;

const SEGMENT_BYTES: u32 = 1_500;
/// The initial window in segments (RFC 6928 s2).
const WINDOW_FIRST: f64 = 10.0;
/// Segments behind the newest acknowledged one that mean that one is lost (RFC 6675).
const DUPLICATES: u64 = 3;
const TIMEOUT_US: u64 = 1_000_000;

/// See the module's documentation.
#[derive(Debug)]
pub struct Tcp {
    one_way_us: u64,
    begins_us: u64,
    /// Segments that are still to be delivered; `None` for no end.
    left: Option<u64>,
    window: f64,
    threshold: f64,
    /// Sent and not yet known to have arrived, by number: when.
    unknown: BTreeMap<u64, u64>,
    next_number: u64,
    /// Losses up to this number have been answered already.
    answered: u64,
    /// Numbers that are acknowledged, and when the sender knows.
    acknowledged: VecDeque<(u64, u64)>,
    heard_us: u64,
}

impl Tcp {
    /// A connection that begins then, and delivers so many octets, or goes on for good.
    pub fn new(one_way_us: u64, begins_us: u64, bytes: Option<u64>) -> Self {
        Self {
            one_way_us,
            begins_us,
            left: bytes.map(|bytes| bytes.div_ceil(u64::from(SEGMENT_BYTES))),
            window: WINDOW_FIRST,
            threshold: f64::MAX,
            unknown: BTreeMap::new(),
            next_number: 0,
            answered: 0,
            acknowledged: VecDeque::new(),
            heard_us: begins_us,
        }
    }

    /// Another one in its place: what is still under way of the old one is none of its business.
    pub fn next(&self, begins_us: u64, bytes: u64) -> Self {
        let (next_number, answered) = (self.next_number, self.next_number);
        Self { next_number, answered, ..Self::new(self.one_way_us, begins_us, Some(bytes)) }
    }

    /// Whether all has been delivered.
    pub fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    /// Lets a step pass; `push` takes what it sends.
    pub fn send(&mut self, flow: usize, now_us: u64, push: &mut impl FnMut(Packet)) {
        if now_us < self.begins_us || self.is_done() {
            return;
        }
        while let Some((at_us, number)) = self.acknowledged.front().copied()
            && at_us <= now_us
        {
            self.acknowledged.pop_front();
            self.learn(number, at_us);
        }
        if !self.unknown.is_empty() && now_us.saturating_sub(self.heard_us) > TIMEOUT_US {
            self.threshold = (self.window / 2.0).max(2.0);
            self.window = 1.0;
            self.unknown.clear();
            self.answered = self.next_number;
            self.heard_us = now_us;
        }
        let wanted = self.left.unwrap_or(u64::MAX);
        while (self.unknown.len() as f64) < self.window.floor()
            && (self.unknown.len() as u64) < wanted
        {
            let number = self.next_number;
            self.next_number += 1;
            if self.unknown.is_empty() {
                self.heard_us = now_us;
            }
            self.unknown.insert(number, now_us);
            push(Packet { flow, number, bytes: SEGMENT_BYTES, sent_us: now_us });
        }
    }

    fn learn(&mut self, number: u64, now_us: u64) {
        self.heard_us = now_us;
        if self.unknown.remove(&number).is_some() {
            self.left = self.left.map(|left| left.saturating_sub(1));
            let is_slow_start = self.window < self.threshold;
            self.window += if is_slow_start { 1.0 } else { 1.0 / self.window };
        }
        // What is missing is sent again under a new number.
        let lost = number.saturating_sub(DUPLICATES);
        let rest = self.unknown.split_off(&lost);
        let missing = std::mem::replace(&mut self.unknown, rest);
        if missing.keys().any(|missing| *missing >= self.answered) {
            self.answered = self.next_number;
            self.threshold = (self.window / 2.0).max(2.0);
            self.window = self.threshold;
        }
    }

    /// A segment has left the bottleneck.
    pub fn arrives(&mut self, packet: Packet, left_us: u64) {
        self.acknowledged.push_back((left_us + 2 * self.one_way_us, packet.number));
    }
}
