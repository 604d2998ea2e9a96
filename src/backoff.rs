//! How long a login waits because of wrong ones before it. Guessing gets slow; a class behind one
//! address is never locked out, because what counts most is the pair of address and account, and
//! what counts for all of an address or all of an account adds two seconds at most.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Wrong guesses are forgotten after this time without a further one.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// So many are free: people mistype.
const PAIR_FREE: u32 = 3;
/// The wait after one more, doubled by each further one.
const PAIR_FIRST: Duration = Duration::from_millis(250);
/// The longest wait of one account at one address.
const PAIR_MAX: Duration = Duration::from_secs(8);
/// Logins of one account at one address that wait at a time; more are told that the server is
/// busy. Together with the longest wait it bounds guessing to two a second.
const PAIR_WAITING_MAX: u32 = 16;
/// From so many on, all of an address waits: more than a large class mistypes.
const ADDRESS_FREE: u32 = 300;
/// From so many on, an account waits for addresses where it has not logged in before.
const ACCOUNT_FREE: u32 = 20;
/// And for so long.
const BROAD_WAIT: Duration = Duration::from_secs(2);
/// Entries of each kind; beyond that the half that is quiet for longest is forgotten.
const ENTRIES_MAX: usize = 20_000;

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    failures: u32,
    failed_at: Duration,
    waiting: u32,
    is_known: bool,
}

impl Record {
    /// The wrong guesses that still count.
    fn failures(&self, now: Duration) -> u32 {
        if now > self.failed_at + FORGET_AFTER { 0 } else { self.failures }
    }

    fn fail(&mut self, now: Duration) {
        self.failures = self.failures(now).saturating_add(1);
        self.failed_at = now;
    }

    /// How long it still is until `after` the last wrong guess.
    fn left(&self, after: Duration, now: Duration) -> Duration {
        (self.failed_at + after).saturating_sub(now)
    }
}

/// Who tries to be whom.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Attempt {
    /// Nothing over a Unix socket. An IPv6 customer has a /64 at least.
    address: Option<IpAddr>,
    /// A hash: names may be long.
    account: u64,
}

/// Wrong guesses of late.
pub(crate) struct Backoff {
    hasher: RandomState,
    pairs: HashMap<Attempt, Record>,
    addresses: HashMap<IpAddr, Record>,
    accounts: HashMap<u64, Record>,
}

impl Backoff {
    /// Nobody has guessed.
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            pairs: HashMap::new(),
            addresses: HashMap::new(),
            accounts: HashMap::new(),
        }
    }

    /// A login of `username` in `realm`, from `address` (`ip:port`).
    pub(crate) fn attempt(&self, realm: &str, username: &str, address: Option<&str>) -> Attempt {
        let address = address.and_then(|address| address.parse::<SocketAddr>().ok());
        let address = address.map(|address| match address.ip().to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & !u128::from(u64::MAX)).into()),
            ip => ip,
        });
        Attempt { address, account: self.hasher.hash_one((realm, username)) }
    }

    /// How long the login has to wait before it is looked at; nothing if too many of its kind
    /// wait already. Every wait ends with [`Self::waited`].
    pub(crate) fn before(&mut self, attempt: Attempt, now: Duration) -> Option<Duration> {
        let mut wait = Duration::ZERO;
        let mut is_known = false;
        if let Some(pair) = self.pairs.get_mut(&attempt) {
            is_known = pair.is_known;
            if let Some(beyond) = pair.failures(now).checked_sub(PAIR_FREE) {
                let doubled = PAIR_FIRST.saturating_mul(1 << beyond.min(16)).min(PAIR_MAX);
                wait = pair.left(doubled, now);
            }
            if !wait.is_zero() && pair.waiting >= PAIR_WAITING_MAX {
                return None;
            }
            pair.waiting += 1;
        }
        let address = attempt.address.and_then(|address| self.addresses.get(&address));
        let address = address.filter(|record| record.failures(now) >= ADDRESS_FREE);
        let account = self.accounts.get(&attempt.account).filter(|_| !is_known);
        let account = account.filter(|record| record.failures(now) >= ACCOUNT_FREE);
        for record in address.into_iter().chain(account) {
            wait = wait.max(record.left(BROAD_WAIT, now));
        }
        Some(wait)
    }

    /// The wait is over.
    pub(crate) fn waited(&mut self, attempt: Attempt) {
        if let Some(pair) = self.pairs.get_mut(&attempt) {
            pair.waiting = pair.waiting.saturating_sub(1);
        }
    }

    /// What came of the login.
    pub(crate) fn after(&mut self, attempt: Attempt, is_right: bool, now: Duration) {
        if is_right {
            let pair = entry(&mut self.pairs, attempt);
            (pair.failures, pair.is_known) = (0, true);
            return;
        }
        entry(&mut self.pairs, attempt).fail(now);
        entry(&mut self.accounts, attempt.account).fail(now);
        if let Some(address) = attempt.address {
            entry(&mut self.addresses, address).fail(now);
        }
    }
}

/// The record of `key`. When there are too many, the half that is quiet for longest goes.
fn entry<K: Copy + Eq + Hash>(records: &mut HashMap<K, Record>, key: K) -> &mut Record {
    if records.len() >= ENTRIES_MAX && !records.contains_key(&key) {
        let mut times: Vec<Duration> = records.values().map(|record| record.failed_at).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        let mut to_go = middle;
        records.retain(|_, record| {
            let goes = record.waiting == 0 && record.failed_at <= median && to_go > 0;
            to_go -= usize::from(goes);
            !goes
        });
    }
    records.entry(key).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Option<&str> = Some("192.0.2.1:5");

    fn wait(backoff: &mut Backoff, attempt: Attempt, now: Duration) -> Option<Duration> {
        let wait = backoff.before(attempt, now)?;
        backoff.waited(attempt);
        Some(wait)
    }

    #[test]
    fn guessing_one_account_gets_slow_and_a_right_password_clears_it() {
        let mut backoff = Backoff::new();
        let ann = backoff.attempt("g", "ann", ONE);
        let now = Duration::from_secs(1);
        let mut waits = Vec::new();
        for _ in 0..12 {
            waits.push(wait(&mut backoff, ann, now).unwrap());
            backoff.after(ann, false, now);
        }
        assert!(waits[..3].iter().all(Duration::is_zero));
        assert!(waits[3..].is_sorted() && !waits[3].is_zero());
        assert_eq!(*waits.last().unwrap(), PAIR_MAX);
        // The wait passes with time, and a right password ends it.
        assert_eq!(wait(&mut backoff, ann, now + PAIR_MAX), Some(Duration::ZERO));
        backoff.after(ann, true, now);
        assert_eq!(wait(&mut backoff, ann, now), Some(Duration::ZERO));
    }

    #[test]
    fn a_class_behind_one_address_is_not_locked_out() {
        let mut backoff = Backoff::new();
        let now = Duration::from_secs(1);
        let victim = backoff.attempt("g", "student-1", ONE);
        for guess in 0..100_000 {
            let other = backoff.attempt("g", &format!("guess-{guess}"), ONE);
            backoff.after(other, false, now);
            backoff.after(backoff.attempt("g", "teacher", ONE), false, now);
        }
        assert!(wait(&mut backoff, victim, now).unwrap() <= BROAD_WAIT);
        assert!(backoff.pairs.len() <= ENTRIES_MAX);
        let elsewhere = backoff.attempt("g", "student-1", Some("192.0.2.2:5"));
        assert_eq!(wait(&mut backoff, elsewhere, now), Some(Duration::ZERO));
    }

    #[test]
    fn an_account_that_is_guessed_from_everywhere_stays_open_to_its_owner() {
        let mut backoff = Backoff::new();
        let now = Duration::from_secs(1);
        let home = backoff.attempt("g", "teacher", ONE);
        backoff.after(home, true, now);
        for host in 0..100 {
            let bot = backoff.attempt("g", "teacher", Some(&format!("198.51.100.{host}:5")));
            backoff.after(bot, false, now);
        }
        assert_eq!(wait(&mut backoff, home, now), Some(Duration::ZERO));
        let new = backoff.attempt("g", "teacher", Some("203.0.113.1:5"));
        assert_eq!(wait(&mut backoff, new, now), Some(BROAD_WAIT));
        let other_group = backoff.attempt("h", "teacher", Some("203.0.113.1:5"));
        assert_eq!(wait(&mut backoff, other_group, now), Some(Duration::ZERO));
    }

    #[test]
    fn few_wait_at_a_time_and_ipv6_customers_are_one() {
        let mut backoff = Backoff::new();
        let now = Duration::from_secs(1);
        let first = backoff.attempt("g", "x", Some("[2001:db8::1]:5"));
        assert_eq!(first, backoff.attempt("g", "x", Some("[2001:db8::ffff]:7")));
        for _ in 0..10 {
            backoff.after(first, false, now);
        }
        for _ in 0..PAIR_WAITING_MAX {
            assert!(backoff.before(first, now).is_some());
        }
        assert_eq!(backoff.before(first, now), None);
        backoff.waited(first);
        assert!(backoff.before(first, now).is_some());
    }
}
