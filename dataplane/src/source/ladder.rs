//! What a Publication can be sent as, from the best to the least, by what is alive and what it costs.

use super::Source;
use crate::api::LayerCap;
use crate::choose::{Allowance, Meanwhile, Rung, Target, choose};

/// Encodings are compared when they have been alive for so long.
const SETTLED_US: u64 = 4_000_000;

impl Source {
    /// An Encoding's place among all, 0 for the best.
    pub(crate) fn rank(&self, encoding: u8) -> usize {
        self.order.iter().position(|known| *known == encoding).unwrap_or(usize::MAX)
    }

    /// The Encodings from this place on, as bits.
    pub(crate) fn bits_from_rank(&self, rank: usize) -> u8 {
        self.order
            .iter()
            .skip(rank)
            .fold(0, |bits, at| bits | 1u8.checked_shl((*at).into()).unwrap_or(0))
    }

    /// How many Encodings there are.
    pub(crate) fn encodings_len(&self) -> usize {
        self.order.len()
    }

    /// Those that are alive, best first.
    pub(super) fn alive(&self, now_us: u64) -> impl DoubleEndedIterator<Item = u8> + Clone {
        self.order.iter().copied().filter(move |at| {
            self.encodings.get(usize::from(*at)).is_some_and(|encoding| encoding.is_alive(now_us))
        })
    }

    /// Whether nothing comes of it at present.
    pub(crate) fn is_silent(&self, now_us: u64) -> bool {
        self.alive(now_us).next().is_none()
    }

    /// What to aim for of what is wished, on a path that takes so much.
    pub(crate) fn choose(&self, cap: LayerCap, allowance: Allowance, now_us: u64) -> Target {
        let default = self.order.first().copied().unwrap_or(0);
        choose(cap, allowance, self.alive(now_us), |at| self.rank(at), default)
    }

    /// What all of it costs, with IP and UDP; 0 while nothing is known.
    pub(crate) fn bits_per_second(&self) -> u64 {
        self.encodings.iter().map(|e| e.meter.bits_per_second(u8::MAX, u8::MAX)).sum()
    }

    /// What it has cost at most lately, if there is nothing to choose from; else 0.
    pub(crate) fn peak_bits_per_second(&self) -> u64 {
        let only = self.encodings.first().filter(|_| !self.has_choice());
        only.map_or(0, |encoding| encoding.meter.peak_bits_per_second())
    }

    /// What an Encoding costs over some seconds.
    pub(crate) fn steady_bits_per_second(&self, encoding: u8) -> u64 {
        let state = self.encodings.get(usize::from(encoding));
        state.map_or(0, |state| state.meter.steady_bits_per_second())
    }

    /// Adds to `rungs` what it can be sent as within what is wished, cheapest first.
    pub(crate) fn rungs(&self, cap: LayerCap, now_us: u64, rungs: &mut Vec<Rung>) {
        let best = self.choose(cap, Allowance::All, now_us);
        let Some(best_encoding) = best.encoding else {
            return;
        };
        let within = self.rank(best_encoding);
        let has_choice = self.has_choice();
        let alive = self.alive(now_us).rev().filter(|at| self.rank(*at) >= within);
        for encoding in alive {
            let Some(state) = self.encodings.get(usize::from(encoding)) else {
                continue;
            };
            let (sid_max, tid_max) = state.layers_max;
            let (sid_max, tid_max) =
                (sid_max.min(best.spatial_max), tid_max.min(best.temporal_max));
            let mut add = |spatial_max: u8, temporal_max: u8| {
                let mut bits_per_second = state.meter.bits_per_second(spatial_max, temporal_max);
                if !has_choice {
                    bits_per_second = bits_per_second.min(state.meter.latest_bits_per_second());
                }
                // The highest means all that there may come.
                let spatial_max = if spatial_max == sid_max { u8::MAX } else { spatial_max };
                let temporal_max = if temporal_max == tid_max { u8::MAX } else { temporal_max };
                // What costs as much as something better is of no use.
                rungs.truncate(rungs.partition_point(|r| r.bits_per_second < bits_per_second));
                rungs.push(Rung { encoding, spatial_max, temporal_max, bits_per_second });
            };
            // Of a worse Encoding all pictures are better than few of a better one.
            if self.alive(now_us).next_back() == Some(encoding) {
                (0..tid_max).for_each(|tid| add(0, tid));
            }
            (0..=sid_max).for_each(|sid| add(sid, tid_max));
        }
    }

    /// What goes on of `current` while a keyframe of something cheaper is awaited, on a path that
    /// takes `budget_bps`.
    pub(super) fn meanwhile(&self, current: u8, budget_bps: u64) -> Meanwhile {
        let Some(state) = self.encodings.get(usize::from(current)) else {
            return Meanwhile::Nothing;
        };
        let (sid_max, tid_max) = state.layers_max;
        let fits = |tid: &u8| state.meter.bits_per_second(sid_max, *tid) <= budget_bps;
        (0..=tid_max).rev().find(fits).map_or(Meanwhile::Nothing, Meanwhile::Temporal)
    }

    /// Sorts the Encodings anew by what they cost. One must cost clearly more to go before another.
    pub(super) fn sort_encodings(&mut self, now_us: u64) {
        let encodings = &self.encodings;
        // What has just begun, or pauses, seems to cost less than it does.
        let is_settled = |at: u8| {
            encodings.get(usize::from(at)).is_some_and(|e| {
                let is_due = e.last_at_us.is_some_and(|at| now_us <= at + 2 * e.interval_us);
                is_due && now_us.saturating_sub(e.alive_since_us) > SETTLED_US
            })
        };
        let cost = |at: u8| {
            encodings.get(usize::from(at)).map_or(0, |e| e.meter.bits_per_second(u8::MAX, u8::MAX))
        };
        for place in 1..self.order.len() {
            let (one, other) = (self.order[place - 1], self.order[place]);
            let (before, next) = (cost(one), cost(other));
            if is_settled(one) && is_settled(other) && before > 0 && next > before + before / 2 {
                self.order.swap(place - 1, place);
            }
        }
    }
}
