//! What viewers ask of a Publication, and what its publisher and the control plane have been told of
//! that. `shard/demand.rs` asks and tells.

use crate::allocate::Wish;

/// A demand that has changed by less than one part in so many is not told.
const CHANGE_PARTS: u64 = 16;
/// What says that there is no bound any more.
pub(crate) const NO_BOUND_BPS: u64 = 1_000_000_000;
/// A bound is repeated after so long, because reports get lost; and its end so many times.
const REPEAT_US: u64 = 1_000_000;
const LIFTS: u8 = 3;
/// A picture is at the limit of its path from this share of it on, in percent: then it is of use to
/// know whether there is more.
const BINDING_PERCENT: u64 = 75;
/// What has been sent at most lately must fit with so much to spare, in percent.
const PEAK_PERCENT: u64 = 130;
/// Encodings must be unwanted for so long before it is told: pages are turned back and forth. What is
/// wanted is told at once.
const UNWANTED_US: u64 = 5_000_000;
/// A publisher that is asked for less sends less within this: a round trip, its encoder, and two windows
/// of the meter.
const OBEYS_US: u64 = 1_500_000;
/// One that still sends so much of what it was asked for does not listen, in percent, and is not relied
/// upon for so long.
const DEAF_PERCENT: u64 = 150;
const DEAF_US: u64 = 60_000_000;
/// Looks over which what it sends is taken.
const LOOKS: u64 = 16;

/// What the viewers on one shard ask of a Publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    /// What the best of them can take, in bits per second; 0 if there are none.
    pub bits_per_second: u64,
    /// The Encodings that any of them wishes to have if its path takes them, and all cheaper ones, as
    /// bits.
    pub wished: u8,
}

/// Which Encodings of a Publication the control plane knows to be wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    /// As bits; nothing as long as all are.
    told: Option<u8>,
    /// Since when fewer are.
    fewer_since_us: Option<u64>,
}

impl Wanted {
    /// What to tell now, if anything: of `all` those in `wanted`.
    pub(crate) fn next(&mut self, wanted: u8, all: u8, now_us: u64) -> Option<u8> {
        let told = self.told.unwrap_or(all);
        if wanted & !told != 0 {
            // What else has become unwanted meanwhile waits.
            let told = told | wanted;
            (self.told, self.fewer_since_us) = (Some(told), None);
            return Some(told);
        }
        if wanted == told {
            self.fewer_since_us = None;
            return None;
        }
        let since_us = *self.fewer_since_us.get_or_insert(now_us);
        if now_us.saturating_sub(since_us) < UNWANTED_US {
            return None;
        }
        (self.told, self.fewer_since_us) = (Some(wanted), None);
        Some(wanted)
    }
}

/// What the publisher of an only Encoding has been asked to keep within. It is relied upon for a while,
/// because what it costs by then is known for certain only later, and who waited for that would see
/// nothing meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    bound_bps: Option<u64>,
    /// What it sends of what it has been asked for, in percent and not less than 100: some do not count
    /// headers, and what is meant for sound beside it may go into pictures.
    sends_percent: u64,
    /// When it was last asked for less than before.
    since_us: u64,
    is_checked: bool,
    /// It has not done what it was asked for, and is not relied upon again before this.
    deaf_until_us: u64,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            bound_bps: None,
            sends_percent: 100,
            since_us: 0,
            is_checked: false,
            deaf_until_us: 0,
        }
    }
}

impl Asked {
    /// Takes what has been asked for; nothing if there is no bound.
    pub(crate) fn ask(&mut self, bound_bps: Option<u64>, now_us: u64) {
        let is_less = bound_bps.is_some_and(|bound_bps| {
            let before_bps = self.bound_bps.unwrap_or(NO_BOUND_BPS);
            bound_bps < before_bps && !is_told(before_bps, bound_bps)
        });
        if is_less {
            (self.since_us, self.is_checked) = (now_us, false);
        }
        if bound_bps.is_none() {
            self.sends_percent = 100;
        }
        self.bound_bps = bound_bps;
    }

    /// Compares it with what comes, once the publisher has had time.
    pub(crate) fn look(&mut self, latest_bps: u64, now_us: u64) {
        let Some(bound_bps) = self.bound_bps else {
            return;
        };
        if now_us < self.since_us + OBEYS_US {
            return;
        }
        let sends_percent = latest_bps * 100 / bound_bps.max(1);
        let sends_percent = sends_percent.clamp(100, DEAF_PERCENT);
        self.sends_percent = (self.sends_percent * (LOOKS - 1) + sends_percent) / LOOKS;
        if std::mem::replace(&mut self.is_checked, true) {
            return;
        }
        if latest_bps * 100 > bound_bps * DEAF_PERCENT {
            self.deaf_until_us = now_us + DEAF_US;
        }
    }

    /// What to ask for, so that it sends no more than this.
    pub(crate) fn ask_bps(&self, bits_per_second: u64) -> u64 {
        bits_per_second * 100 / self.sends_percent
    }

    /// Whether its publisher may be relied upon to do what it is asked for.
    pub(crate) fn is_heard(&self, now_us: u64) -> bool {
        now_us >= self.deaf_until_us
    }

    /// What the Encoding is to be taken for that has cost so much lately.
    pub(crate) fn cost_bps(&self, measured_bps: u64, now_us: u64) -> u64 {
        let is_relied_on = now_us < self.since_us + OBEYS_US && self.is_heard(now_us);
        match self.bound_bps.filter(|_| is_relied_on) {
            Some(bound_bps) => measured_bps.min(bound_bps),
            None => measured_bps,
        }
    }
}

/// The bound that a publisher has been told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    bound_bps: Option<u64>,
    at_us: u64,
    lifts: u8,
}

/// What of `budget_bps` each picture could take if it were sent at any rate.
pub(crate) fn takes(budget_bps: u64, wishes: &[Wish]) -> Vec<u64> {
    let sum: u64 = wishes.iter().map(Wish::bits_per_second).sum();
    let spare = budget_bps.saturating_sub(sum);
    let takes = wishes.iter().map(|wish| {
        let peers = wishes.iter().filter(|other| other.priority == wish.priority);
        let is_short = peers.clone().any(|other| other.then.is_none());
        let own = wish.bits_per_second() + spare;
        if !is_short {
            return own;
        }
        // Somebody as important gets nothing: then all of them shall get the same.
        let above = wishes.iter().filter(|other| other.priority < wish.priority);
        let above: u64 = above.map(Wish::bits_per_second).sum();
        budget_bps.saturating_sub(above) / peers.count().max(1) as u64
    });
    takes.collect()
}

/// What would be of use to a picture whose publisher is asked for less than it would send, or may be:
/// one that takes nearly all that it can, or has been better before.
pub(crate) fn stretch(wishes: &[Wish], takes: &[u64]) -> Option<u64> {
    let sum: u64 = wishes.iter().map(Wish::bits_per_second).sum();
    let wanted = wishes.iter().zip(takes).filter(|(wish, _)| wish.peak_bps > 0).filter_map(
        |(wish, takes)| {
            let own = wish.bits_per_second();
            let peak = wish.peak_bps * PEAK_PERCENT / 100;
            let is_at_limit = own * 100 > *takes * BINDING_PERCENT;
            let wanted = if is_at_limit { own.max(peak) * 2 } else { peak };
            (is_at_limit || *takes < peak).then(|| sum - own + wanted.min(takes * 2))
        },
    );
    wanted.max()
}

/// Whether what has been told last still says it well enough.
pub(crate) fn is_told(told_bps: u64, bps: u64) -> bool {
    bps.abs_diff(told_bps) <= told_bps.min(bps) / CHANGE_PARTS
}

impl Told {
    /// The bound told last.
    #[cfg(test)]
    pub(crate) fn bound_bps(&self) -> Option<u64> {
        self.bound_bps
    }

    /// What to tell now, if anything.
    pub(crate) fn next(&mut self, bound_bps: Option<u64>, now_us: u64) -> Option<u64> {
        let is_repeated = now_us.saturating_sub(self.at_us) >= REPEAT_US;
        match bound_bps {
            Some(bound_bps) => {
                if is_told(self.bound_bps.unwrap_or(0), bound_bps) && !is_repeated {
                    return None;
                }
                *self = Self { bound_bps: Some(bound_bps), at_us: now_us, lifts: LIFTS };
                Some(bound_bps)
            }
            None => {
                let has_ended = self.bound_bps.take().is_some();
                if self.lifts == 0 || (!has_ended && !is_repeated) {
                    return None;
                }
                (self.lifts, self.at_us) = (self.lifts - 1, now_us);
                Some(NO_BOUND_BPS)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choose::Rung;

    fn wish(bits_per_second: u64, priority: u8, then: Option<usize>) -> Wish {
        let rung = Rung { encoding: 0, spatial_max: 0, temporal_max: 0, bits_per_second };
        Wish {
            rungs: vec![rung],
            priority,
            peak_bps: bits_per_second,
            now: then,
            then,
            ..Wish::default()
        }
    }

    #[test]
    fn what_is_left_over_is_for_whoever_could_use_it() {
        let both = [wish(300, 1, Some(0)), wish(200, 1, Some(0))];
        assert_eq!(takes(1000, &both), [800, 700]);
        assert_eq!(stretch(&both, &[800, 700]), None, "there is room");
        assert_eq!(stretch(&both, &[310, 700]), Some(820), "the first could use twice as much");
        let before = [Wish { peak_bps: 900, ..wish(100, 1, Some(0)) }];
        assert_eq!(stretch(&before, &[400]), Some(800), "it has been better");
        assert_eq!(stretch(&before, &[1000]), Some(1170));
        assert_eq!(stretch(&before, &[1200]), None, "that fits");
        let chosen = [Wish { peak_bps: 0, ..wish(100, 1, Some(0)) }];
        assert_eq!(stretch(&chosen, &[100]), None, "there are other layers");
        let one_paused = [wish(900, 1, Some(0)), wish(800, 1, None), wish(40, 0, Some(0))];
        assert_eq!(takes(1000, &one_paused), [480, 480, 100], "halves of what slides leave");
    }

    #[test]
    fn who_is_asked_for_less_is_relied_upon_once_until_it_does_not_listen() {
        let mut asked = Asked::default();
        assert_eq!(asked.cost_bps(900, 1), 900);
        asked.ask(Some(300), 1_000_000);
        assert_eq!(asked.cost_bps(900, 1_400_000), 300);
        assert_eq!(asked.cost_bps(200, 1_400_000), 200);
        asked.ask(Some(295), 2_000_000);
        asked.look(250, 2_500_000);
        assert_eq!(asked.cost_bps(900, 2_500_000), 900, "repeated is not asked again");
        asked.ask(Some(200), 3_000_000);
        assert_eq!(asked.cost_bps(250, 3_100_000), 200);
        asked.look(900, 4_500_000);
        asked.ask(Some(100), 5_000_000);
        assert_eq!(asked.cost_bps(250, 5_000_000), 250, "it does not listen");
        asked.ask(Some(50), 5_000_000 + DEAF_US);
        assert_eq!(asked.cost_bps(250, 5_000_000 + DEAF_US), 50);
        asked.ask(None, 6_000_000 + DEAF_US);
        assert_eq!(asked.cost_bps(250, 6_000_000 + DEAF_US), 250);
    }

    #[test]
    fn a_bound_is_told_when_it_changes_repeated_and_lifted() {
        let mut told = Told::default();
        assert_eq!(told.next(None, 1), None);
        assert_eq!(told.next(Some(1_000_000), 2), Some(1_000_000));
        assert_eq!(told.next(Some(1_010_000), 3), None);
        assert_eq!(told.next(Some(500_000), 4), Some(500_000));
        assert_eq!(told.next(Some(500_000), 4 + REPEAT_US), Some(500_000));
        let lifted: Vec<_> = (0..10).map(|at| told.next(None, (3 + at) * REPEAT_US)).collect();
        let ends = lifted.iter().flatten().count();
        assert_eq!((lifted[0], ends), (Some(NO_BOUND_BPS), usize::from(LIFTS)));
    }
}
