//! Which shard somebody new is given to: the first one that is not full, so that a small class keeps
//! one core busy instead of waking up all of them for little; the one that has the fewest, once all are
//! full.

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Placement {
    /// How many make a shard full.
    fill: u32,
    /// How many each shard has.
    given: Vec<u32>,
}

impl Placement {
    /// For so many shards; `fill` of 1 spreads evenly.
    pub(crate) fn new(shards: usize, fill: u32) -> Self {
        Self { fill, given: vec![0; shards] }
    }

    /// The shard for one more.
    pub(crate) fn take(&mut self) -> usize {
        let given = || self.given.iter().copied().enumerate();
        let free = given().find(|(_, count)| *count < self.fill);
        let shard = free.or_else(|| given().min_by_key(|(_, count)| *count));
        let shard = shard.map_or(0, |(shard, _)| shard);
        if let Some(count) = self.given.get_mut(shard) {
            *count += 1;
        }
        shard
    }

    /// Takes one back.
    pub(crate) fn give_back(&mut self, shard: usize) {
        if let Some(count) = self.given.get_mut(shard) {
            *count = count.saturating_sub(1);
        }
    }

    /// The first so many shards have somebody; one at least.
    pub(crate) fn used(&self) -> usize {
        self.given.iter().rposition(|count| *count > 0).map_or(1, |last| last + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_shard_is_filled_before_the_next_and_then_all_alike() {
        let mut placement = Placement::new(3, 2);
        assert_eq!(placement.used(), 1);
        let taken: Vec<_> = (0..8).map(|_| placement.take()).collect();
        assert_eq!(taken, [0, 0, 1, 1, 2, 2, 0, 1]);
        assert_eq!(placement.used(), 3);
        [2, 2, 0, 0].into_iter().for_each(|shard| placement.give_back(shard));
        assert_eq!(placement.used(), 2, "the last one is empty");
        assert_eq!((placement.take(), placement.take()), (0, 2));
        placement.give_back(7);
        (0..9).for_each(|_| placement.give_back(2));
        assert_eq!(placement.used(), 2);
    }

    #[test]
    fn a_fill_of_one_spreads() {
        let mut placement = Placement::new(2, 1);
        let taken: Vec<_> = (0..4).map(|_| placement.take()).collect();
        assert_eq!(taken, [0, 1, 0, 1]);
    }
}
