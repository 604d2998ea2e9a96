//! Divides what a client's path takes among the pictures that it gets: first all get their least,
//! in the order of their importance, then the most important are improved.

use crate::choose::Rung;

/// Going up must be worth it and last: the path must take so much more than the better picture
/// costs, in percent.
const UP_PERCENT: u64 = 108;
/// A picture that flows is kept while the path takes so much of what it costs, in percent: a
/// hiccup shall not cost a keyframe. A path that is strained gets no such credit.
const KEEP_PERCENT: u64 = 80;

/// One picture that a client gets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    /// What it can be sent as, cheapest first; not empty.
    pub rungs: Vec<Rung>,
    /// 0 is the most important.
    pub priority: u8,
    /// What it has cost at most lately, if there is nothing to choose from and its publisher is asked
    /// for less where that does not fit; else 0.
    pub peak_bps: u64,
    /// Its least goes on for now even where it does not fit: its publisher is being asked for less, or it
    /// has just come back.
    pub is_spared: bool,
    /// So much waits for its turn that what its publisher has been asked for does not count.
    pub is_flooded: bool,
    /// It flows, and costs more than its path takes.
    pub is_short: bool,
    /// What it is sent as, an index into `rungs`.
    pub now: Option<usize>,
    /// What it shall be sent as; `None` for nothing.
    pub then: Option<usize>,
}

impl Wish {
    /// What it will be sent at.
    pub(crate) fn bits_per_second(&self) -> u64 {
        let rung = self.then.and_then(|then| self.rungs.get(then));
        rung.map_or(0, |rung| rung.bits_per_second)
    }

    /// What a rung counts for.
    fn cost(&self, rung: usize, is_strained: bool) -> u64 {
        let bits_per_second = self.rungs.get(rung).map_or(0, |rung| rung.bits_per_second);
        let percent = match self.now {
            Some(now) if rung <= now && !is_strained => KEEP_PERCENT,
            Some(now) if rung <= now => 100,
            _ => UP_PERCENT,
        };
        bits_per_second * percent / 100
    }
}

/// Decides for all pictures within `budget_bps`. Returns what the next step up of any of them would
/// take together with all the rest, if there is one.
pub(crate) fn allocate(budget_bps: u64, is_strained: bool, wishes: &mut [Wish]) -> Option<u64> {
    let mut order: Vec<usize> = (0..wishes.len()).collect();
    order.sort_by_key(|at| wishes[*at].priority);
    let mut left = budget_bps;
    for at in &order {
        let wish = &mut wishes[*at];
        let cost = wish.cost(0, is_strained);
        wish.then = (cost <= left).then_some(0);
        left -= if wish.then.is_some() { cost } else { 0 };
    }
    // Of those that are as important as each other nobody gets two steps before all have one.
    let mut rest = order.as_slice();
    while let Some(first) = rest.first() {
        let priority = wishes[*first].priority;
        let peers = rest.iter().take_while(|at| wishes[**at].priority == priority).count();
        let (peers, others) = rest.split_at(peers);
        loop {
            let mut has_moved = false;
            for at in peers {
                has_moved |= raise(&mut wishes[*at], &mut left, is_strained);
            }
            if !has_moved {
                break;
            }
        }
        rest = others;
    }
    next_step(wishes)
}

fn raise(wish: &mut Wish, left: &mut u64, is_strained: bool) -> bool {
    let Some(then) = wish.then.filter(|then| then + 1 < wish.rungs.len()) else {
        return false;
    };
    let more = wish.cost(then + 1, is_strained).saturating_sub(wish.cost(then, is_strained));
    if more > *left {
        return false;
    }
    *left -= more;
    wish.then = Some(then + 1);
    true
}

/// The sum of what is sent, with the cheapest step up.
fn next_step(wishes: &[Wish]) -> Option<u64> {
    let cost = |wish: &Wish, rung: Option<usize>| {
        rung.and_then(|rung| wish.rungs.get(rung)).map_or(0, |rung| rung.bits_per_second)
    };
    let sum: u64 = wishes.iter().map(|wish| cost(wish, wish.then)).sum();
    let step = wishes.iter().filter_map(|wish| {
        let next = wish.then.map_or(0, |then| then + 1);
        let cheapest = wish.rungs.get(next)?.bits_per_second;
        Some(cheapest.saturating_sub(cost(wish, wish.then)))
    });
    step.min().map(|step| (sum + step) * UP_PERCENT / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(rates: &[u64], priority: u8, now: Option<usize>) -> Wish {
        let rungs = rates.iter().map(|bits_per_second| Rung {
            encoding: 0,
            spatial_max: 0,
            temporal_max: 0,
            bits_per_second: *bits_per_second,
        });
        Wish { rungs: rungs.collect(), priority, now, ..Wish::default() }
    }

    fn shares(budget: u64, is_strained: bool, mut wishes: Vec<Wish>) -> Vec<Option<usize>> {
        allocate(budget, is_strained, &mut wishes);
        wishes.iter().map(|wish| wish.then).collect()
    }

    #[test]
    fn everybody_gets_the_least_before_anybody_gets_more() {
        let cameras = || vec![wish(&[100, 300, 900], 1, None); 3];
        assert_eq!(shares(330, false, cameras()), [Some(0), Some(0), Some(0)]);
        assert_eq!(shares(800, false, cameras()), [Some(1), Some(1), Some(0)]);
        assert_eq!(shares(250, false, cameras()), [Some(0), Some(0), None]);
        assert_eq!(shares(50, false, cameras()), [None, None, None]);
        assert_eq!(shares(10_000, false, cameras()), [Some(2), Some(2), Some(2)]);
    }

    #[test]
    fn slides_come_before_faces() {
        let class = || vec![wish(&[100, 900], 1, None), wish(&[200, 1000], 0, None)];
        assert_eq!(shares(1200, false, class()), [Some(0), Some(1)]);
        assert_eq!(shares(230, false, class()), [None, Some(0)]);
    }

    #[test]
    fn what_flows_is_kept_through_a_hiccup_but_not_on_a_path_that_is_strained() {
        let flowing = || vec![wish(&[200, 1000], 1, Some(1))];
        assert_eq!(shares(850, false, flowing()), [Some(1)]);
        assert_eq!(shares(850, true, flowing()), [Some(0)]);
        assert_eq!(shares(790, false, flowing()), [Some(0)]);
        let waiting = || vec![wish(&[200, 1000], 1, Some(0))];
        assert_eq!(shares(1050, false, waiting()), [Some(0)]);
        assert_eq!(shares(1080, false, waiting()), [Some(1)]);
    }

    #[test]
    fn the_next_step_is_the_cheapest() {
        let mut wishes = vec![wish(&[100, 300], 1, None), wish(&[100, 1000], 0, None)];
        assert_eq!(allocate(250, false, &mut wishes), Some(400 * 108 / 100));
        let mut wishes = vec![wish(&[100], 1, None)];
        assert_eq!(allocate(250, false, &mut wishes), None);
        assert_eq!(allocate(50, false, &mut wishes), Some(108));
    }
}
