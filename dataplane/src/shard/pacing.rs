//! Packets of pictures that wait for their turn: what is due to a viewer within a step leaves
//! together, so that a keyframe does not fill a slow path's queue. Sound does not wait.

use std::time::{Duration, Instant};

use super::Shard;

/// Between two looks at what waits.
const STEP: Duration = Duration::from_millis(5);

impl Shard {
    /// Sets the time of the next look, if anything waits.
    pub(super) fn begin_pacing(&mut self) {
        if !self.pacing.is_empty() && self.pace_at.is_none() {
            let now = self.config.epoch + Duration::from_micros(self.now_us);
            self.pace_at = Some(now + STEP);
        }
    }

    /// Sends what has its turn.
    pub(super) fn run_pacing(&mut self, now: Instant) {
        if self.pace_at.is_none_or(|at| at > now) {
            return;
        }
        let now_us = self.micros(now);
        let mut slots = std::mem::take(&mut self.pacing);
        slots.retain(|slot| {
            while let Some(Some(egress)) = self.egress.get_mut(*slot)
                && let Some(paced) = egress.next_paced(now_us)
            {
                let (mut sending, sources) = self.sending(now_us);
                if let Some(source) = sources.get_mut(&paced.publication) {
                    source.send_paced(*slot, &paced, &mut sending);
                }
            }
            matches!(self.egress.get(*slot), Some(Some(egress)) if !egress.paced.is_empty())
        });
        self.pacing.append(&mut slots);
        self.pace_at = (!self.pacing.is_empty()).then(|| now + STEP);
    }
}
