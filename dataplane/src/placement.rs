//! Which shard somebody new is given to: the first one that is neither full nor busy, so that a small class
//! keeps one core awake instead of waking up all of them for little; else the one that has the fewest.

/// A shard that is awake for so much of a second gets nobody new as long as there is another: who is there
/// never moves, and may get more streams. In parts of a million.
const BUSY_PPM: u64 = 200_000;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Placement {
    /// How many make a shard full.
    fill: u32,
    shards: Vec<Given>,
}

/// What a shard has been given.
#[derive(Clone, Copy, Debug, Default)]
struct Given {
    count: u32,
    is_busy: bool,
}

impl Placement {
    /// For so many shards; `fill` of 1 spreads evenly.
    pub(crate) fn new(shards: usize, fill: u32) -> Self {
        Self { fill, shards: vec![Given::default(); shards] }
    }

    /// The shard for one more.
    pub(crate) fn take(&mut self) -> usize {
        let shards = || self.shards.iter().enumerate();
        let free = shards().find(|(_, given)| given.count < self.fill && !given.is_busy);
        let fewest = || shards().min_by_key(|(_, given)| (given.is_busy, given.count));
        let shard = free.or_else(fewest).map_or(0, |(shard, _)| shard);
        if let Some(given) = self.shards.get_mut(shard) {
            given.count += 1;
        }
        shard
    }

    /// Takes one back.
    pub(crate) fn give_back(&mut self, shard: usize) {
        if let Some(given) = self.shards.get_mut(shard) {
            given.count = given.count.saturating_sub(1);
        }
    }

    /// A shard was awake for so much of the last second, in parts of a million.
    pub(crate) fn note_busy(&mut self, shard: usize, busy_ppm: u64) {
        if let Some(given) = self.shards.get_mut(shard) {
            // Who spreads evenly does so in any case.
            given.is_busy = self.fill > 1 && busy_ppm >= BUSY_PPM;
        }
    }

    /// The first so many shards have somebody; one at least.
    pub(crate) fn used(&self) -> usize {
        self.shards.iter().rposition(|given| given.count > 0).map_or(1, |last| last + 1)
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
    fn a_busy_shard_gets_nobody_as_long_as_there_is_another() {
        let mut placement = Placement::new(3, 2);
        placement.note_busy(0, BUSY_PPM);
        let taken: Vec<_> = (0..6).map(|_| placement.take()).collect();
        assert_eq!(taken, [1, 1, 2, 2, 1, 2]);
        placement.note_busy(0, BUSY_PPM - 1);
        assert_eq!(placement.take(), 0);
        (0..3).for_each(|shard| placement.note_busy(shard, 1_000_000));
        assert_eq!(placement.take(), 0, "all are");
    }

    #[test]
    fn a_fill_of_one_spreads() {
        let mut placement = Placement::new(2, 1);
        placement.note_busy(1, 1_000_000);
        let taken: Vec<_> = (0..4).map(|_| placement.take()).collect();
        assert_eq!(taken, [0, 1, 0, 1]);
    }
}
