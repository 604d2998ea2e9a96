//! What a Publication can be sent as, from the best to the least, by what is alive and what it costs.

use super::pace::{PROVEN_US, Pace, Pictures};
use super::{Source, SourceEncoding};
use crate::api::LayerCap;
use crate::choose::{Allowance, Meanwhile, Rung, Target, choose};
use crate::subscriber::Subscriber;

/// An Encoding is left for its silence if a cheaper one goes on for so long: they pause together, too.
const ALONE_US: u64 = 400_000;
/// One that is left must cost so many times less to be taken for the cheaper one: it comes in fits.
const LEFT_COSTS_LESS: u64 = 4;
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

    fn pace(&self, encoding: u8) -> Option<&Pace> {
        self.encodings.get(usize::from(encoding)).map(|encoding| &encoding.pace)
    }

    /// Those that are alive and in the choice, best first.
    fn alive(&self, now_us: u64) -> impl DoubleEndedIterator<Item = u8> + Clone {
        self.order.iter().copied().filter(move |at| {
            self.pace(*at).is_some_and(|pace| !pace.is_left && pace.is_alive(now_us))
        })
    }

    /// Whether nothing comes of it at present.
    pub(crate) fn is_silent(&self, now_us: u64) -> bool {
        !self.encodings.iter().any(|encoding| encoding.pace.is_alive(now_us))
    }

    /// What to aim for of what is wished, on a path that takes so much.
    pub(crate) fn choose(&self, cap: LayerCap, allowance: Allowance, now_us: u64) -> Target {
        let is_in = |at: &&u8| self.pace(**at).is_some_and(|pace| !pace.is_left);
        let default = self.order.iter().find(is_in).or_else(|| self.order.first());
        let default = default.copied().unwrap_or(0);
        choose(cap, allowance, self.alive(now_us), |at| self.rank(at), default)
    }

    /// Takes Encodings that went silent or jerky out of the choice as long as there is a cheaper one, and
    /// those that flow again back into it.
    pub(super) fn judge_encodings(&mut self, now_us: u64) {
        if self.order.len() < 2 {
            return;
        }
        if self.encodings.iter().all(|encoding| encoding.pace.has_paused(now_us)) {
            // What is there when its publisher goes on is not known.
            self.encodings.iter_mut().for_each(|encoding| encoding.pace.is_left = false);
            return;
        }
        // Of a shared screen few pictures that can be read are better than many that cannot.
        let is_screen = self.subscribers.iter().flatten().any(Subscriber::is_screen);
        // Of those in the choice that cost less: how their pictures come, and since when; until when.
        let mut cheaper = None::<(Pictures, u64)>;
        let mut cheaper_at_us = 0;
        for (place, at) in self.order.iter().rev().enumerate() {
            let Some(SourceEncoding { pace, .. }) = self.encodings.get_mut(usize::from(*at)) else {
                continue;
            };
            let is_left = match (pace.is_left, cheaper) {
                _ if place == 0 => false,
                (true, Some((cheaper, _))) => !pace.has_recovered(cheaper, is_screen, now_us),
                // What is in the choice has been silent for a while, and this flows.
                (true, None) => {
                    now_us.saturating_sub(cheaper_at_us) < PROVEN_US
                        || !pace.has_lived(PROVEN_US, now_us)
                }
                (false, Some((cheaper, _))) if pace.is_alive(now_us) => {
                    !is_screen && pace.is_jerky(cheaper, now_us)
                }
                // A silence of both is not held against this one.
                (false, Some((_, since_us))) => pace.last_at_us().is_some_and(|last_us| {
                    last_us >= since_us && cheaper_at_us > last_us + ALONE_US
                }),
                (false, None) => false,
            };
            match is_left {
                true if !pace.is_left => pace.leave(),
                _ => pace.is_left = is_left,
            }
            if is_left {
                continue;
            }
            cheaper_at_us = cheaper_at_us.max(pace.last_at_us().unwrap_or(0));
            if pace.is_alive(now_us) {
                let (pictures, since_us) = (pace.pictures(now_us), pace.alive_since_us());
                cheaper =
                    Some(cheaper.map_or((pictures, since_us), |(others, others_since_us)| {
                        (others.max(pictures), others_since_us.min(since_us))
                    }));
            }
        }
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
                let due_us = e.pace.last_at_us().map(|at_us| at_us + 2 * e.pace.interval_us());
                due_us.is_some_and(|due_us| now_us <= due_us)
                    && e.pace.has_lived(SETTLED_US, now_us)
            })
        };
        let cost = |at: u8| {
            encodings.get(usize::from(at)).map_or(0, |e| e.meter.bits_per_second(u8::MAX, u8::MAX))
        };
        for place in 1..self.order.len() {
            let (one, other) = (self.order[place - 1], self.order[place]);
            let (before, next) = (cost(one), cost(other));
            let is_left = |at: u8| self.pace(at).is_some_and(|pace| pace.is_left);
            let clearly = match is_left(one) || is_left(other) {
                true => before.saturating_mul(LEFT_COSTS_LESS),
                false => before + before / 2,
            };
            if is_settled(one) && is_settled(other) && before > 0 && next > clearly {
                self.order.swap(place - 1, place);
            }
        }
    }
}
