//! Wrong passwords at the administration API: after five of one name from one address within a
//! minute the rest of that minute is over for them, with 429 (docs/threats.md, row 55). The waits
//! of [`crate::backoff`] come on top.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use crate::backoff::customer;

/// People mistype, and scripts have an old password.
const WRONG_MAX: u32 = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// Beyond that the minutes that are over are forgotten, and if none is, all.
const ENTRIES_MAX: usize = 20_000;

/// Whose guesses count together: a name at an address, whatever it is tried on, so that the count
/// says nothing about where there is such a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Guesser(Option<IpAddr>, u64);

#[derive(Clone, Copy, Debug)]
struct Minute {
    began: Duration,
    wrong: u32,
}

/// Wrong passwords of the last minute.
pub(crate) struct Guesses {
    hasher: RandomState,
    minutes: HashMap<Guesser, Minute>,
}

impl Guesses {
    /// Remembers nothing so far.
    pub(crate) fn new() -> Self {
        Self { hasher: RandomState::new(), minutes: HashMap::new() }
    }

    /// Who it is: `address` is `ip:port`, nothing over a Unix socket.
    pub(crate) fn guesser(&self, address: Option<&str>, username: &str) -> Guesser {
        Guesser(customer(address), self.hasher.hash_one(username))
    }

    /// How long this one has to stay away; nothing if it may try.
    pub(crate) fn shut_for(&self, guesser: Guesser, now: Duration) -> Option<Duration> {
        let minute = self.minutes.get(&guesser).filter(|minute| minute.wrong >= WRONG_MAX)?;
        let left = (minute.began + WINDOW).saturating_sub(now);
        (!left.is_zero()).then_some(left)
    }

    /// One more was wrong.
    pub(crate) fn wrong(&mut self, guesser: Guesser, now: Duration) {
        if self.minutes.len() >= ENTRIES_MAX && !self.minutes.contains_key(&guesser) {
            self.minutes.retain(|_, minute| now < minute.began + WINDOW);
            if self.minutes.len() >= ENTRIES_MAX {
                self.minutes.clear();
            }
        }
        let minute = self.minutes.entry(guesser).or_insert(Minute { began: now, wrong: 0 });
        if now >= minute.began + WINDOW {
            *minute = Minute { began: now, wrong: 0 };
        }
        minute.wrong += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Option<&str> = Some("192.0.2.1:5");

    #[test]
    fn five_a_minute() {
        let mut guesses = Guesses::new();
        let root = guesses.guesser(ONE, "root");
        let start = Duration::from_secs(100);
        for wrong in 0..WRONG_MAX {
            assert_eq!(guesses.shut_for(root, start), None, "{wrong}");
            guesses.wrong(root, start);
        }
        assert_eq!(guesses.shut_for(root, start), Some(WINDOW));
        let half = start + WINDOW / 2;
        assert_eq!(guesses.shut_for(root, half), Some(WINDOW / 2));
        for (address, username) in [(ONE, "ann"), (Some("192.0.2.2:5"), "root"), (None, "root")] {
            let other = guesses.guesser(address, username);
            assert_eq!(guesses.shut_for(other, half), None, "{address:?} {username}");
        }
        let next = start + WINDOW;
        assert_eq!(guesses.shut_for(root, next), None);
        guesses.wrong(root, next);
        assert_eq!(guesses.shut_for(root, next), None, "a minute of its own");
    }

    #[test]
    fn memory_is_bounded() {
        let mut guesses = Guesses::new();
        for name in 0..ENTRIES_MAX * 3 {
            let guesser = guesses.guesser(ONE, &name.to_string());
            guesses.wrong(guesser, Duration::from_millis(name as u64));
        }
        assert!(guesses.minutes.len() <= ENTRIES_MAX);
    }
}
