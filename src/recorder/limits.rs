//! How much may be recorded, for how long it is kept, and how much there is.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use super::storage::Room;
use super::trouble::Trouble;

/// Kept free where the file does not say: a disk without room also loses group files and tokens.
const KEEP_FREE_BYTES: u64 = 256 << 20;

/// What `config.json` says about all recordings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, default, rename_all = "camelCase")]
pub(crate) struct Rules {
    /// How long files are kept.
    pub(crate) keep_days: Option<signalling::Days>,
    /// Of all groups together.
    pub(crate) max_bytes: Option<u64>,
    /// The most bytes that the files of one group may have.
    pub(crate) max_bytes_per_group: Option<u64>,
    /// Bytes on the disk that are left for others.
    pub(crate) keep_free_bytes: Option<u64>,
}
signalling::only_objects!(Rules);

/// What holds for one group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    pub(crate) keep_days: Option<u32>,
    pub(crate) group_bytes_max: Option<u64>,
    pub(crate) bytes_max: Option<u64>,
    pub(crate) free_bytes_min: u64,
}

impl Limits {
    /// A group may be stricter than the server, not looser.
    pub(crate) fn of(rules: &Rules, group: (Option<u32>, Option<u64>)) -> Self {
        let stricter = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        let days = rules.keep_days.map(|days| days.0);
        Self {
            keep_days: days.into_iter().chain(group.0).min(),
            group_bytes_max: stricter(rules.max_bytes_per_group, group.1),
            bytes_max: rules.max_bytes,
            free_bytes_min: rules.keep_free_bytes.unwrap_or(KEEP_FREE_BYTES),
        }
    }

    /// Whether a group may have more.
    pub(super) fn check(&self, (own, all): (u64, u64), room: Room) -> Result<(), Trouble> {
        if self.group_bytes_max.is_some_and(|max| own >= max) {
            return Err(Trouble::GroupFull);
        }
        if self.bytes_max.is_some_and(|max| all >= max) {
            return Err(Trouble::AllFull);
        }
        if room.bytes < self.free_bytes_min {
            return Err(Trouble::TooLittleRoom);
        }
        if !room.has_inodes {
            return Err(Trouble::NoInodes);
        }
        Ok(())
    }
}

/// How many bytes each group has: counted from time to time, and what is written since.
#[derive(Debug, Default)]
pub(crate) struct Usage(Mutex<HashMap<String, u64>>);

impl Usage {
    /// What was counted on the disk.
    pub(super) fn set(&self, counted: HashMap<String, u64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counted;
    }

    /// Adds what has just been written to what was counted.
    pub(super) fn add(&self, group: &str, bytes: u64) {
        let mut usage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match usage.get_mut(group) {
            Some(known) => *known += bytes,
            None => {
                usage.insert(group.to_owned(), bytes);
            }
        }
    }

    /// Of one group, and of all.
    pub(super) fn of(&self, group: &str) -> (u64, u64) {
        let usage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (usage.get(group).copied().unwrap_or_default(), usage.values().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_may_be_stricter_than_the_server_and_not_looser() {
        let rules = Rules {
            keep_days: Some(signalling::Days(30)),
            max_bytes: Some(1000),
            max_bytes_per_group: Some(100),
            keep_free_bytes: Some(10),
        };
        let limits = Limits::of(&rules, (Some(7), Some(500)));
        assert_eq!((limits.keep_days, limits.group_bytes_max), (Some(7), Some(100)));
        let limits = Limits::of(&rules, (Some(90), Some(50)));
        assert_eq!((limits.keep_days, limits.group_bytes_max), (Some(30), Some(50)));
        let limits = Limits::of(&Rules::default(), (None, None));
        assert_eq!(
            (limits.keep_days, limits.group_bytes_max, limits.bytes_max),
            (None, None, None)
        );
        assert_eq!(limits.free_bytes_min, KEEP_FREE_BYTES);
    }

    #[test]
    fn each_limit_says_which_it_is() {
        let limits = Limits {
            keep_days: None,
            group_bytes_max: Some(100),
            bytes_max: Some(1000),
            free_bytes_min: 10,
        };
        let room = Room { bytes: 10, has_inodes: true };
        let said = |used, room| limits.check(used, room).err().map(|trouble| trouble.to_string());
        assert_eq!(said((99, 999), room), None);
        assert!(said((100, 999), room).is_some_and(|text| text.contains("this group")));
        assert!(said((99, 1000), room).is_some_and(|text| text.contains("the server has as many")));
        let less = Room { bytes: 9, ..room };
        assert!(said((99, 999), less).is_some_and(|text| text.contains("too little room")));
        let none = Room { has_inodes: false, ..room };
        assert!(said((99, 999), none).is_some_and(|text| text.contains("no more files")));
    }

    #[test]
    fn what_is_written_counts_until_the_next_count() {
        let usage = Usage::default();
        usage.set(HashMap::from([("a".to_owned(), 5), ("b".to_owned(), 7)]));
        usage.add("a", 10);
        usage.add("c", 1);
        assert_eq!(usage.of("a"), (15, 23));
        usage.set(HashMap::from([("a".to_owned(), 3)]));
        assert_eq!(usage.of("a"), (3, 3));
        assert_eq!(usage.of("c"), (0, 3));
    }
}
