//! What a shard knows of time: its epoch, the time that came in last, and its ticks.

use std::time::{Duration, Instant};

/// The base period of all housekeeping.
pub(crate) const TICK: Duration = Duration::from_millis(20);
/// Ticks per second.
const TICKS_PER_SECOND: u64 = 50;

/// See the module's documentation.
pub(super) struct Time {
    epoch: Instant,
    /// NTP time (32.32) at the epoch.
    ntp_epoch: u64,
    /// The last time that came in with anything, in microseconds since the epoch: what is sent
    /// between two inputs leaves then.
    pub now_us: u64,
    tick_at: Instant,
    /// Ticks so far.
    pub tick: u64,
    /// The last tick before nobody was here, and when that was.
    resting: Option<(u64, Instant)>,
}

impl Time {
    /// Time that begins now, with an epoch that may be earlier.
    pub(super) fn new(epoch: Instant, ntp_epoch: u64, now: Instant) -> Self {
        Self { epoch, ntp_epoch, now_us: 1, tick_at: now + TICK, tick: 0, resting: None }
    }

    /// Microseconds since the epoch; never 0, so that 0 can mean "long ago".
    pub(super) fn micros(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_micros() as u64 + 1
    }

    /// The inverse of [`Self::micros`].
    pub(super) fn instant(&self, at_us: u64) -> Instant {
        self.epoch + Duration::from_micros(at_us.saturating_sub(1))
    }

    /// NTP time (32.32) on the clock of our sender reports.
    pub(super) fn ntp_at(&self, at_us: u64) -> u64 {
        self.ntp_epoch.wrapping_add(((u128::from(at_us) << 32) / 1_000_000) as u64)
    }

    /// It is `now`. Returns that in microseconds since the epoch.
    pub(super) fn set(&mut self, now: Instant) -> u64 {
        self.now_us = self.micros(now);
        self.now_us
    }

    /// When the next tick is due.
    pub(super) fn tick_at(&self) -> Instant {
        self.tick_at
    }

    /// Begins the next tick if it is due. After a stall the missed ones are not made up for.
    pub(super) fn take_tick(&mut self, now: Instant) -> bool {
        let is_due = now >= self.tick_at;
        if is_due {
            self.tick_at = now + TICK;
            self.tick += 1;
            self.resting = None;
        }
        is_due
    }

    /// Nobody is here: the next tick is the first of the next second.
    pub(super) fn rest(&mut self, now: Instant) {
        let left = TICKS_PER_SECOND - self.tick % TICKS_PER_SECOND;
        self.resting = Some((self.tick, now));
        self.tick += left - 1;
        self.tick_at = now + TICK * left as u32;
    }

    /// Somebody is: ticks go on as if there had been all of them.
    pub(super) fn wake(&mut self, now: Instant) {
        if let Some((tick, since)) = self.resting.take() {
            let passed = now.saturating_duration_since(since).as_micros() / TICK.as_micros();
            self.tick = self.tick.min(tick + passed as u64);
            self.tick_at = self.tick_at.min(now + TICK);
        }
    }

    /// Whether this tick is one of every so many.
    pub(super) fn is_every(&self, ticks: u64) -> bool {
        self.tick.is_multiple_of(ticks)
    }

    /// Which tick of its second this is, and of how many: each second every slot has one.
    pub(super) fn phase(&self) -> (usize, usize) {
        ((self.tick % TICKS_PER_SECOND) as usize, TICKS_PER_SECOND as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_rests_has_the_first_tick_of_each_second_until_woken() {
        let start = Instant::now();
        let mut time = Time::new(start, 0, start);
        let mut now = start;
        for _ in 0..7 {
            now = time.tick_at();
            assert!(time.take_tick(now));
        }
        assert_eq!(time.phase().0, 7);
        for ticks in [43, 50, 50] {
            time.rest(now);
            assert_eq!(time.tick_at() - now, ticks * TICK);
            now = time.tick_at();
            assert!(time.take_tick(now));
            assert_eq!(time.phase().0, 0, "its statistics are told");
        }
        time.rest(now);
        now += 10 * TICK;
        time.wake(now);
        time.wake(now + TICK / 2);
        assert_eq!(time.tick_at() - now, TICK, "not put off");
        assert!(time.take_tick(now + TICK));
        assert_eq!(time.phase().0, 11, "as many as there would have been");
    }
}
