//! What a shard counts, and how busy it is: told to the control plane once per second.

use std::time::Duration;

use crate::stats::{Counters, Gauges};

/// See the module's documentation.
pub(super) struct Statistics {
    /// Sums since the start.
    pub counters: Counters,
    /// What the look at every Transport, once per second, has found so far.
    pub gauges: Gauges,
    /// Microseconds in which the shard did not sleep, in all.
    busy_us: u64,
    /// The same up to the last second, and when that was.
    busy_told: (u64, u64),
    /// A question about all viewers that is being answered, and the slot to go on at.
    pub survey: Option<(u64, usize)>,
}

impl Statistics {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            counters: Counters::new(),
            gauges: Gauges::default(),
            busy_us: 0,
            busy_told: (0, 0),
            survey: None,
        }
    }

    /// Counts a turn of the loop that drives the shard: the time from waking up to sleeping.
    pub(super) fn count_turn(&mut self, turn: Duration) {
        let us = turn.as_micros() as u64;
        self.counters.turns.add(us, 1);
        self.busy_us += us;
    }

    /// A copy of everything with what has been found in this second, while so many Transports are
    /// alive.
    pub(super) fn take_second(&mut self, transports: usize, now_us: u64) -> Box<Counters> {
        self.counters.transports = transports as u64;
        self.counters.gauges = std::mem::take(&mut self.gauges);
        let (busy_us, at_us) = std::mem::replace(&mut self.busy_told, (self.busy_us, now_us));
        let passed_us = now_us.saturating_sub(at_us).max(1);
        self.counters.busy_ppm = ((self.busy_us - busy_us) * 1_000_000 / passed_us).min(1_000_000);
        Box::new(self.counters.clone())
    }
}
