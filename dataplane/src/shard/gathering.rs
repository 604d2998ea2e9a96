//! Packets for many viewers wait a little for those that follow: the packets of a frame come one by
//! one, and each send costs more than the packet itself. What has gathered leaves viewer by viewer,
//! pictures first and then the sound, so that each viewer's share is one run for the kernel.

use std::time::{Duration, Instant};

use super::Shard;
use crate::codec::MediaKind;
use crate::id::{PublicationId, ShardId};
use crate::lane::Producer;

/// Below so many viewers there is nothing to gain, and latency to lose.
const GATHER_FROM: usize = 4;

impl Shard {
    /// Until when a packet that arrived at `at_us` may wait for others: not at all if few want it.
    pub(super) fn gather_until(&self, at_us: u64, local_viewers: usize, has_remote: bool) -> u64 {
        match has_remote || local_viewers >= GATHER_FROM {
            true => at_us + self.config.gather_for.as_micros() as u64,
            false => 0,
        }
    }

    /// A Source has kept a packet, which may wait until then; `is_full`: no other one would fit beside it.
    pub(super) fn kept(&mut self, publication: PublicationId, until_us: u64, is_full: bool) {
        // A handful of publishers per batch: cheaper to search than to hash.
        if !self.dirty.contains(&publication) {
            self.dirty.push(publication);
        }
        self.fan_out_at_us = Some(self.fan_out_at_us.map_or(until_us, |at_us| at_us.min(until_us)));
        if is_full {
            self.fan_out(publication);
        }
    }

    /// When what has gathered is to leave.
    pub(super) fn fan_out_timeout(&self) -> Option<Instant> {
        // Micros begin at 1: see `Shard::micros`.
        let at_us = self.fan_out_at_us?.saturating_sub(1);
        Some(self.config.epoch + Duration::from_micros(at_us))
    }

    /// Sends what one Source has kept since the last time.
    fn fan_out(&mut self, publication: PublicationId) {
        let (mut sending, sources) = self.sending(self.now_us);
        if let Some(source) = sources.get_mut(&publication) {
            source.fan_out(&mut sending);
        }
    }

    /// The same for all that have kept anything.
    fn fan_out_all(&mut self) {
        while let Some(publication) = self.dirty.pop() {
            let is_sound = |shard: &Self, id: &PublicationId| {
                let source = shard.sources.get(id);
                source.is_some_and(|source| source.codec.kind() == MediaKind::Audio)
            };
            // The other half of what one person sends mostly goes to the same viewers.
            let partner = self.dirty.iter().position(|other| {
                other.transport == publication.transport
                    && is_sound(self, other) != is_sound(self, &publication)
            });
            let Some(partner) = partner.map(|at| self.dirty.swap_remove(at)) else {
                self.fan_out(publication);
                continue;
            };
            let (picture, sound) = match is_sound(self, &publication) {
                true => (partner, publication),
                false => (publication, partner),
            };
            let (mut sending, sources) = self.sending(self.now_us);
            if let [Some(picture), Some(sound)] = sources.get_disjoint_mut([&picture, &sound]) {
                picture.fan_out_with(sound, &mut sending);
            }
        }
    }

    /// Fans out what has gathered if it is time, sends what is in the batch and publishes what is in
    /// the lanes. Calls `wake` for each shard that has something to read.
    pub(crate) fn flush(&mut self, mut wake: impl FnMut(ShardId)) {
        let is_due = self.fan_out_at_us.is_none_or(|at_us| at_us <= self.now_us);
        if is_due {
            self.fan_out_at_us = None;
            self.fan_out_all();
        }
        self.begin_pacing();
        self.outbox.flush(&mut self.counters);
        let is_urgent = std::mem::take(&mut self.is_lane_urgent);
        if !is_due && !is_urgent {
            return;
        }
        for (shard, lane) in self.lanes.iter_mut().enumerate() {
            if lane.as_mut().is_some_and(Producer::flush) {
                wake(ShardId(shard as u8));
            }
        }
    }
}
