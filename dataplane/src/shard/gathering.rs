//! Packets for many viewers wait a little for those that follow: the packets of a frame come one by
//! one, and each send costs more than the packet itself. What has gathered leaves viewer by viewer,
//! pictures first and then the sound, so that each viewer's share is one run for the kernel.

use std::time::Duration;

use crate::id::PublicationId;

/// Below so many viewers there is nothing to gain, and latency to lose.
const GATHER_FROM: usize = 4;

/// Publications with packets that wait, and until when.
pub(super) struct Gathering {
    /// How long a packet for many viewers may wait.
    for_us: u64,
    waiting: Vec<PublicationId>,
    until_us: Option<u64>,
}

impl Gathering {
    /// Lets packets for many viewers wait so long.
    pub(super) fn new(wait: Duration) -> Self {
        Self { for_us: wait.as_micros() as u64, waiting: Vec::new(), until_us: None }
    }

    /// Until when a packet that arrived at `at_us` may wait for others: not at all if few want it.
    pub(super) fn may_wait(&self, at_us: u64, local_viewers: usize, has_remote: bool) -> u64 {
        match has_remote || local_viewers >= GATHER_FROM {
            true => at_us + self.for_us,
            false => 0,
        }
    }

    /// A Source has kept a packet, which may wait until then.
    pub(super) fn add(&mut self, publication: PublicationId, until_us: u64) {
        // A handful of publishers per batch: cheaper to search than to hash.
        if !self.waiting.contains(&publication) {
            self.waiting.push(publication);
        }
        self.until_us = Some(self.until_us.map_or(until_us, |at_us| at_us.min(until_us)));
    }

    /// Until when what has gathered may wait, in microseconds since our epoch.
    pub(super) fn until_us(&self) -> Option<u64> {
        self.until_us
    }

    /// Whether the wait is over, or nothing waits.
    pub(super) fn take_due(&mut self, now_us: u64) -> bool {
        let is_due = self.until_us.is_none_or(|at_us| at_us <= now_us);
        if is_due {
            self.until_us = None;
        }
        is_due
    }

    /// One that waits.
    pub(super) fn pop(&mut self) -> Option<PublicationId> {
        self.waiting.pop()
    }

    /// The first one that waits and is meant.
    pub(super) fn take_first(
        &mut self,
        is_meant: impl FnMut(&PublicationId) -> bool,
    ) -> Option<PublicationId> {
        let at = self.waiting.iter().position(is_meant)?;
        Some(self.waiting.swap_remove(at))
    }
}
