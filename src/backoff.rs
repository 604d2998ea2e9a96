//! How long a login waits because of wrong ones before it. Guessing gets slow; a class behind one
//! address is not locked out by one that guesses elsewhere, and hardly by one that guesses from
//! the same address, because what counts most is the pair of address and name, and what counts for
//! all of an address or all of an account adds two seconds at most.

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
/// The longest wait of one name at one address.
const PAIR_MAX: Duration = Duration::from_secs(8);
/// Logins under one name at one address at a time, waiting or being checked; more are told that
/// the server is busy. Together with the longest wait it bounds guessing to two a second.
const PAIR_PLACES: u32 = 16;
/// From so many on, all of an address waits: more than a large class mistypes.
const ADDRESS_FREE: u32 = 300;
/// Logins from such an address at a time: 32 guesses a second over all accounts.
const ADDRESS_PLACES: u32 = 64;
/// From so many on, an account waits for names that have not logged in from that address before.
const ACCOUNT_FREE: u32 = 20;
/// Logins to such an account from one address at a time: 8 guesses a second at a password that all
/// names share.
const ACCOUNT_PLACES: u32 = 16;
/// The wait for all of an address or an account.
const BROAD_WAIT: Duration = Duration::from_secs(2);
/// Passwords of logins from one address that are hashed, or wait for it, at a time: a quarter of
/// the queue.
const HASHING_PLACES: u32 = 64;
/// Entries of each kind; beyond that the half that is quiet for longest is forgotten.
const ENTRIES_MAX: usize = 20_000;

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    failures: u32,
    failed_at: Duration,
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

/// What a login claims.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// Where the name is one.
    pub realm: &'a str,
    /// The name under which it tries to log in.
    pub username: &'a str,
    /// Any other name would be compared with the same password.
    pub is_wildcard: bool,
    /// `ip:port`; nothing over a Unix socket.
    pub address: Option<&'a str>,
}

/// Who tries to be whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Attempt {
    /// Nothing over a Unix socket.
    address: Option<IpAddr>,
    /// A hash: names may be long.
    name: u64,
    /// A hash of whose password it is: one for all names that share one.
    account: u64,
}

impl Attempt {
    fn pair(&self) -> (Option<IpAddr>, u64) {
        (self.address, self.name)
    }
}

/// Whose address `ip:port` is. An IPv6 customer has a /64 at least.
pub(crate) fn customer(address: Option<&str>) -> Option<IpAddr> {
    let address = address?.parse::<SocketAddr>().ok()?;
    Some(match address.ip().to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & !u128::from(u64::MAX)).into()),
        ip => ip,
    })
}

/// Something of which one may take only so much at a time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Place {
    Pair(Option<IpAddr>, u64),
    Address(IpAddr),
    Account(Option<IpAddr>, u64),
    Hashing(IpAddr),
}

/// A login under way. It ends with [`Backoff::ended`].
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Admission {
    /// How long it has to wait before it is looked at.
    pub wait: Duration,
    places: Vec<Place>,
}

/// Wrong guesses of late.
pub(crate) struct Backoff {
    hasher: RandomState,
    pairs: HashMap<(Option<IpAddr>, u64), Record>,
    addresses: HashMap<IpAddr, Record>,
    accounts: HashMap<u64, Record>,
    /// How many are taken; those of which none is are not there.
    places: HashMap<Place, u32>,
}

impl Backoff {
    /// Without anybody who has guessed wrong.
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            pairs: HashMap::new(),
            addresses: HashMap::new(),
            accounts: HashMap::new(),
            places: HashMap::new(),
        }
    }

    /// Whose guesses this login counts among.
    pub(crate) fn attempt(&self, claim: Claim<'_>) -> Attempt {
        let Claim { realm, username, is_wildcard, address } = claim;
        let address = customer(address);
        let account = (!is_wildcard).then_some(username);
        Attempt {
            address,
            name: self.hasher.hash_one((realm, username)),
            account: self.hasher.hash_one((realm, account)),
        }
    }

    /// Whether it has been right before.
    pub(crate) fn is_known(&self, attempt: Attempt) -> bool {
        self.pairs.get(&attempt.pair()).is_some_and(|record| record.is_known)
    }

    /// How long the login has to wait before it is looked at; nothing if too many of its kind are
    /// under way.
    pub(crate) fn before(&mut self, attempt: Attempt, now: Duration) -> Option<Admission> {
        let Attempt { address, name, account } = attempt;
        let pair = self.pairs.get(&attempt.pair()).copied().unwrap_or_default();
        let mut wait = Duration::ZERO;
        if let Some(beyond) = pair.failures(now).checked_sub(PAIR_FREE) {
            let doubled = PAIR_FIRST.saturating_mul(1 << beyond.min(16)).min(PAIR_MAX);
            wait = pair.left(doubled, now);
        }
        let mut wanted = vec![(Place::Pair(address, name), PAIR_PLACES)];
        let at_address = address.and_then(|ip| Some((ip, self.addresses.get(&ip)?)));
        if let Some((ip, record)) = at_address.filter(|(_, it)| it.failures(now) >= ADDRESS_FREE) {
            wait = wait.max(record.left(BROAD_WAIT, now));
            if !pair.is_known {
                wanted.push((Place::Address(ip), ADDRESS_PLACES));
            }
        }
        let of_account = self.accounts.get(&account).filter(|_| !pair.is_known);
        if let Some(record) = of_account.filter(|record| record.failures(now) >= ACCOUNT_FREE) {
            wait = wait.max(record.left(BROAD_WAIT, now));
            wanted.push((Place::Account(address, account), ACCOUNT_PLACES));
        }
        let mut admission = Admission { wait, places: Vec::new() };
        for (place, places_max) in wanted {
            if !self.take(place, places_max) {
                self.ended(admission);
                return None;
            }
            admission.places.push(place);
        }
        Some(admission)
    }

    /// Takes a place in the queue for hashes, until the admission ends. Says whether there is one
    /// left for the address.
    pub(crate) fn hashes(&mut self, attempt: Attempt, admission: &mut Admission) -> bool {
        let Some(place) = attempt.address.map(Place::Hashing) else {
            return true;
        };
        if admission.places.contains(&place) {
            return true;
        }
        let is_taken = self.take(place, HASHING_PLACES);
        if is_taken {
            admission.places.push(place);
        }
        is_taken
    }

    fn take(&mut self, place: Place, places_max: u32) -> bool {
        let taken = self.places.entry(place).or_default();
        let is_free = *taken < places_max;
        *taken += u32::from(is_free);
        is_free
    }

    /// The login has been looked at, or its client has left.
    pub(crate) fn ended(&mut self, admission: Admission) {
        for place in admission.places {
            let Some(taken) = self.places.get_mut(&place) else {
                continue;
            };
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                self.places.remove(&place);
            }
        }
    }

    /// What came of the login.
    pub(crate) fn after(&mut self, attempt: Attempt, is_right: bool, now: Duration) {
        let pair = entry(&mut self.pairs, attempt.pair());
        if is_right {
            (pair.failures, pair.is_known) = (0, true);
            return;
        }
        pair.fail(now);
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
            let goes = record.failed_at <= median && to_go > 0;
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

    fn named(backoff: &Backoff, realm: &str, username: &str, address: Option<&str>) -> Attempt {
        backoff.attempt(Claim { realm, username, is_wildcard: false, address })
    }

    fn shared(backoff: &Backoff, username: &str, address: Option<&str>) -> Attempt {
        backoff.attempt(Claim { realm: "g", username, is_wildcard: true, address })
    }

    fn wait(backoff: &mut Backoff, attempt: Attempt, now: Duration) -> Option<Duration> {
        let admission = backoff.before(attempt, now)?;
        let wait = admission.wait;
        backoff.ended(admission);
        Some(wait)
    }

    /// How many of these logins are let in if none of them ends.
    fn at_a_time(backoff: &mut Backoff, attempts: Vec<Attempt>, now: Duration) -> u32 {
        let admitted: Vec<_> =
            attempts.into_iter().filter_map(|attempt| backoff.before(attempt, now)).collect();
        let count = u32::try_from(admitted.len()).unwrap();
        admitted.into_iter().for_each(|admission| backoff.ended(admission));
        assert!(backoff.places.is_empty(), "all places are free again");
        count
    }

    #[test]
    fn guessing_one_account_gets_slow_and_a_right_password_clears_it() {
        let mut backoff = Backoff::new();
        let ann = named(&backoff, "g", "ann", ONE);
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
    fn a_class_behind_one_address_waits_little() {
        let mut backoff = Backoff::new();
        let now = Duration::from_secs(1);
        let victim = named(&backoff, "g", "student-1", ONE);
        for guess in 0..100_000 {
            let other = named(&backoff, "g", &format!("guess-{guess}"), ONE);
            backoff.after(other, false, now);
            backoff.after(named(&backoff, "g", "teacher", ONE), false, now);
        }
        assert!(wait(&mut backoff, victim, now).unwrap() <= BROAD_WAIT);
        assert!(backoff.pairs.len() <= ENTRIES_MAX);
        let elsewhere = named(&backoff, "g", "student-1", Some("192.0.2.2:5"));
        assert_eq!(wait(&mut backoff, elsewhere, now), Some(Duration::ZERO));
    }

    #[test]
    fn an_account_that_is_guessed_from_everywhere_stays_open_to_its_owner() {
        let mut backoff = Backoff::new();
        let now = Duration::from_secs(1);
        let home = named(&backoff, "g", "teacher", ONE);
        backoff.after(home, true, now);
        for host in 0..100 {
            let bot = named(&backoff, "g", "teacher", Some(&format!("198.51.100.{host}:5")));
            backoff.after(bot, false, now);
        }
        assert_eq!(wait(&mut backoff, home, now), Some(Duration::ZERO));
        let new = named(&backoff, "g", "teacher", Some("203.0.113.1:5"));
        assert_eq!(wait(&mut backoff, new, now), Some(BROAD_WAIT));
        let other_group = named(&backoff, "h", "teacher", Some("203.0.113.1:5"));
        assert_eq!(wait(&mut backoff, other_group, now), Some(Duration::ZERO));
    }

    #[test]
    fn regression_a_password_that_all_names_share_is_one_account() {
        let mut backoff = Backoff::new();
        let now = Duration::from_secs(1);
        let known = shared(&backoff, "ann", ONE);
        backoff.after(known, true, now);
        for guess in 0..ACCOUNT_FREE {
            let fresh = shared(&backoff, &format!("guess-{guess}"), ONE);
            assert_eq!(wait(&mut backoff, fresh, now), Some(Duration::ZERO), "{guess}");
            backoff.after(fresh, false, now);
        }
        let fresh: Vec<_> =
            (0..200).map(|name| shared(&backoff, &format!("fresh-{name}"), ONE)).collect();
        assert_eq!(wait(&mut backoff, fresh[0], now), Some(BROAD_WAIT), "a new name helps nobody");
        // Even when the wait is over, few are looked at before the first of them has failed.
        for now in [now, now + BROAD_WAIT] {
            assert_eq!(at_a_time(&mut backoff, fresh.clone(), now), ACCOUNT_PLACES);
        }
        // Elsewhere there are places, and who has been in before is not held up.
        let elsewhere = shared(&backoff, "bob", Some("192.0.2.2:5"));
        assert_eq!(
            at_a_time(&mut backoff, [fresh, vec![elsewhere]].concat(), now),
            ACCOUNT_PLACES + 1
        );
        assert_eq!(wait(&mut backoff, known, now), Some(Duration::ZERO));
        let named = named(&backoff, "g", "teacher", ONE);
        assert_eq!(wait(&mut backoff, named, now), Some(Duration::ZERO));
    }

    #[test]
    fn regression_few_are_under_way_at_a_time() {
        let mut backoff = Backoff::new();
        let now = Duration::from_secs(1);
        let ann = named(&backoff, "g", "ann", ONE);
        // Before the first wrong guess as well as after it, and when nobody has to wait.
        assert_eq!(at_a_time(&mut backoff, vec![ann; 100], now), PAIR_PLACES);
        for _ in 0..10 {
            backoff.after(ann, false, now);
        }
        for now in [now, now + PAIR_MAX] {
            assert_eq!(at_a_time(&mut backoff, vec![ann; 100], now), PAIR_PLACES);
        }
        // An address from which many accounts are guessed.
        for guess in 0..ADDRESS_FREE {
            backoff.after(named(&backoff, "g", &guess.to_string(), ONE), false, now);
        }
        let many: Vec<_> =
            (0..200).map(|name| named(&backoff, "g", &format!("fresh-{name}"), ONE)).collect();
        assert_eq!(at_a_time(&mut backoff, many, now + BROAD_WAIT), ADDRESS_PLACES);
    }

    #[test]
    fn regression_one_address_does_not_fill_the_queue_for_hashes() {
        let mut backoff = Backoff::new();
        let now = Duration::from_secs(1);
        let mut hashing = Vec::new();
        let mut ask = |backoff: &mut Backoff, username: &str, address| {
            let attempt = named(backoff, "g", username, address);
            let mut admission = backoff.before(attempt, now).unwrap();
            let is_in = backoff.hashes(attempt, &mut admission);
            assert!(!is_in || backoff.hashes(attempt, &mut admission), "it has its place");
            hashing.push(admission);
            is_in
        };
        for name in 0..HASHING_PLACES {
            assert!(ask(&mut backoff, &name.to_string(), ONE));
        }
        assert!(!ask(&mut backoff, "more", ONE));
        assert!(ask(&mut backoff, "more", Some("192.0.2.2:5")));
        hashing.into_iter().for_each(|admission| backoff.ended(admission));
        assert!(backoff.places.is_empty());
    }

    #[test]
    fn ipv6_customers_are_one() {
        let backoff = Backoff::new();
        let first = named(&backoff, "g", "x", Some("[2001:db8::1]:5"));
        assert_eq!(first, named(&backoff, "g", "x", Some("[2001:db8::ffff]:7")));
        assert_ne!(first, named(&backoff, "g", "x", Some("[2001:db8:0:1::1]:5")));
    }
}
