//! Packets of pictures that wait for their turn: what is due to a viewer within a step leaves
//! together, so that a keyframe does not fill a slow path's queue. Sound does not wait.

use std::time::{Duration, Instant};

use super::Shard;

/// Between two looks at what waits.
const STEP: Duration = Duration::from_millis(5);

/// Viewers with packets that wait for their turn, and when that comes.
#[derive(Default)]
pub(super) struct Pacing {
    /// Their slots.
    pub waiting: Vec<usize>,
    at: Option<Instant>,
}

impl Pacing {
    /// When the next look is due.
    pub(super) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Sets the time of the next look, if anything waits.
    pub(super) fn begin(&mut self, now: Instant) {
        if !self.waiting.is_empty() && self.at.is_none() {
            self.at = Some(now + STEP);
        }
    }

    /// The slots of those who wait, if it is time to look.
    fn take_due(&mut self, now: Instant) -> Option<Vec<usize>> {
        self.at.filter(|at| *at <= now)?;
        Some(std::mem::take(&mut self.waiting))
    }

    /// These still wait.
    fn go_on(&mut self, mut slots: Vec<usize>, now: Instant) {
        self.waiting.append(&mut slots);
        self.at = (!self.waiting.is_empty()).then(|| now + STEP);
    }
}

impl Shard {
    /// Sends what has its turn.
    pub(super) fn run_pacing(&mut self, now: Instant) {
        let Some(mut slots) = self.pacing.take_due(now) else {
            return;
        };
        let now_us = self.time.micros(now);
        slots.retain(|slot| {
            while let Some(egress) = self.transports.egress_mut(*slot)
                && let Some(paced) = egress.next_paced(now_us)
            {
                let (mut sending, sources) = self.sending(now_us);
                if let Some(source) = sources.get_mut(paced.publication) {
                    source.send_paced(*slot, &paced, &mut sending);
                }
            }
            self.transports.egress(*slot).is_some_and(|egress| !egress.paced.is_empty())
        });
        self.pacing.go_on(slots, now);
    }
}
