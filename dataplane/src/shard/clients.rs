//! Clients: who gets what over one path. All viewing Transports of a client live on one shard and
//! share one congestion controller; what its path takes is divided among all that it gets
//! (`dividing.rs`), and what more it might take is probed for (`probing.rs`).

use std::collections::HashMap;
use std::time::Instant;

use super::brisk::Brisk;
use super::transports::Transports;
use crate::api::ClientKey;
use crate::congestion::{Controller, PacketResult};
use crate::egress::Egress;

/// Between two looks at what a client gets, in ticks; sooner when its path gets worse.
const LOOK_TICKS: u64 = 5;
/// The same for clients at ease.
const EASY_LOOK_TICKS: u64 = 5 * LOOK_TICKS;
/// An upgrade that had to be taken back within this was one too many.
const REGRET_US: u64 = 10_000_000;
/// The next one then waits: doubled from the first to the second, as long as it goes on.
const WAIT_US: (u64, u64) = (2_000_000, 16_000_000);
/// What has come up on a path that has been too narrow lately is left alone for so long: its first
/// keyframe is burst enough.
const SETTLE_US: u64 = 1_000_000;
const LATELY_US: u64 = 60_000_000;
/// A path that takes so many times what failed on it has become another one, in halves.
const WIDER_HALVES: u64 = 3;

/// Those who view on a shard.
#[derive(Default)]
pub(super) struct Clients {
    by_key: HashMap<ClientKey, Client>,
    /// Those whose paths are probed, and when that goes on.
    pub probing: Vec<ClientKey>,
    /// See there.
    pub probe_at: Option<Instant>,
    /// What feedback told, while it is taken in.
    results: Vec<PacketResult>,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Client {
    /// What its path takes.
    pub controller: Controller,
    /// Its viewing Transports.
    pub slots: Vec<usize>,
    /// What would be of use, if its path took more.
    pub wanted_bps: Option<u64>,
    /// Keeps it from going up and down.
    pub hold: Hold,
    /// Some picture does not even get its least.
    pub is_starved: bool,
    /// Its path is no bound, for some time to come.
    pub is_at_ease: bool,
    /// The last estimate that was divided.
    pub divided_bps: u64,
    /// What is sent to it, in bits per second.
    pub media_bps: u64,
    /// When its path is probed for the sake of quick pictures.
    pub brisk: Brisk,
}

/// Keeps a client from going up and down.
#[derive(Default)]
pub(super) struct Hold {
    raised_us: Option<u64>,
    lowered_us: Option<u64>,
    until_us: u64,
    wait_us: u64,
    /// What the path was taken for when what it got last was raised, in bits per second.
    tried_bps: u64,
}

impl Hold {
    /// It gets more than before, because its path is taken for `estimate_bps`.
    pub(super) fn raised(&mut self, estimate_bps: u64, now_us: u64) {
        self.raised_us = Some(now_us);
        self.tried_bps = estimate_bps;
    }

    /// It gets less than before.
    pub(super) fn lowered(&mut self, now_us: u64) {
        self.lowered_us = Some(now_us);
        match self.raised_us.take() {
            Some(at_us) if now_us.saturating_sub(at_us) < REGRET_US => {
                self.wait_us = (2 * self.wait_us).clamp(WAIT_US.0, WAIT_US.1);
                self.until_us = now_us + self.wait_us;
            }
            _ => self.wait_us = 0,
        }
    }

    /// Whether it may get no more than it has.
    pub(super) fn is_on(&self, now_us: u64) -> bool {
        now_us < self.until_us
    }

    /// Whether what it got last must show itself first.
    pub(super) fn is_settling(&self, now_us: u64) -> bool {
        let is_within = |at: Option<u64>, us| at.is_some_and(|at_us| now_us < at_us + us);
        is_within(self.raised_us, SETTLE_US) && is_within(self.lowered_us, LATELY_US)
    }

    /// What the path must take for this to end before its time, in bits per second.
    pub(super) fn ends_at_bps(&self) -> u64 {
        self.tried_bps * WIDER_HALVES / 2
    }

    /// The path takes `estimate_bps`: if that is far more than what failed, nobody is held any more.
    pub(super) fn note(&mut self, estimate_bps: u64, now_us: u64) {
        if self.is_on(now_us) && estimate_bps >= self.ends_at_bps() {
            self.until_us = 0;
        }
    }
}

impl Clients {
    /// A viewing Transport belongs to this client.
    pub(super) fn join(&mut self, slot: usize, key: ClientKey) {
        self.by_key.entry(key).or_default().slots.push(slot);
    }

    /// It has ended.
    pub(super) fn leave(&mut self, slot: usize, key: ClientKey) {
        if let Some(client) = self.by_key.get_mut(&key) {
            client.slots.retain(|known| *known != slot);
            if client.slots.is_empty() {
                self.by_key.remove(&key);
            }
        }
    }

    /// A client.
    pub(super) fn get(&self, key: ClientKey) -> Option<&Client> {
        self.by_key.get(&key)
    }

    /// The same.
    pub(super) fn get_mut(&mut self, key: ClientKey) -> Option<&mut Client> {
        self.by_key.get_mut(&key)
    }

    /// The same, with an empty list for what its feedback tells.
    pub(super) fn for_feedback(
        &mut self,
        key: ClientKey,
    ) -> Option<(&mut Client, &mut Vec<PacketResult>)> {
        let client = self.by_key.get_mut(&key)?;
        self.results.clear();
        Some((client, &mut self.results))
    }

    /// Those whose turn it is in this tick, so that each has one every [`LOOK_TICKS`] ticks.
    pub(super) fn due(&self, tick: u64) -> Vec<ClientKey> {
        let is_due = |(key, client): &(&ClientKey, &Client)| {
            let every = if client.is_at_ease { EASY_LOOK_TICKS } else { LOOK_TICKS };
            key.0 % every == tick % every
        };
        self.by_key.iter().filter(is_due).map(|(key, _)| *key).collect()
    }

    /// Something else than before is sent to a client.
    pub(super) fn disturb(&mut self, key: ClientKey) {
        if let Some(client) = self.by_key.get_mut(&key) {
            client.is_at_ease = false;
        }
    }
}

impl Client {
    /// Where its packets go, as far as it is connected.
    pub(super) fn egresses<'a>(
        &'a self,
        transports: &'a Transports,
    ) -> impl Iterator<Item = &'a Egress> {
        self.slots.iter().filter_map(|slot| transports.egress(*slot))
    }

    /// What its path takes, in bits per second; nothing if that is not known.
    pub(super) fn estimate_bps(&self, transports: &Transports, now_us: u64) -> Option<u64> {
        let egresses = self.egresses(transports);
        let oldest_us = egresses.filter_map(|egress| egress.flow.history.oldest_us()).min();
        self.controller.estimate_bps(oldest_us, now_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_went_up_in_vain_is_held_until_the_path_is_another_one() {
        let mut hold = Hold::default();
        hold.raised(400_000, 1_000_000);
        assert!(!hold.is_settling(1_500_000), "nothing has been too much yet");
        hold.lowered(2_000_000);
        assert!(hold.is_on(3_999_999) && !hold.is_on(4_000_000));
        hold.note(599_999, 3_000_000);
        assert!(hold.is_on(3_000_000), "no more than had been tried");
        hold.note(600_000, 3_000_000);
        assert!(!hold.is_on(3_000_000));
        hold.raised(600_000, 3_000_000);
        assert!(hold.is_settling(3_999_999) && !hold.is_settling(4_000_000));
        hold.lowered(5_000_000);
        assert!(hold.is_on(8_999_999), "twice as long");
        hold.lowered(30_000_000);
        assert!(!hold.is_on(30_000_000), "it had not gone up");
        hold.raised(100_000, 100_000_000);
        assert!(!hold.is_settling(100_500_000), "that was long ago");
    }
}
