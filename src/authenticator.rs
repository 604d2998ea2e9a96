//! Credential checks, off the control plane's task: as many hashes at once as there are cores, a
//! bounded queue behind them, a wait for who has guessed wrong, and one time for all refusals,
//! whatever was wrong.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use signalling::jwt::{self, Audience, JwtError};
use signalling::{CredentialCheck, GroupName, Password, Proof, TokenGrant, Verdict};
use tokio::sync::Semaphore;

use crate::backoff::{Admission, Attempt, Backoff, Claim};
use crate::clock::unix_now;
use crate::config::ConfigFile;
use crate::guesses::Guesses;
use crate::metrics::{AuthFailure, Counters};
use crate::tokens::TokenStore;

/// Checks waiting or running; more are told that the server is busy. At 50 ms each and two cores
/// the last one in waits a few seconds.
const WAITING_MAX: usize = 256;
/// Refusals leave at multiples of this after the question came, so that neither the kind of the
/// stored password nor its absence shows in the time.
const PENALTY: Duration = Duration::from_millis(300);

/// Where credentials are checked, a few at a time.
#[derive(Clone)]
pub(crate) struct Authenticator {
    inner: Arc<Inner>,
}

struct Inner {
    workers: Arc<Semaphore>,
    waiting: AtomicUsize,
    backoff: Mutex<Backoff>,
    guesses: Mutex<Guesses>,
    started: Instant,
    tokens: Arc<TokenStore>,
    config: Arc<ConfigFile>,
    counters: Arc<Counters>,
}

/// What a password is compared with.
pub(crate) enum Stored {
    Own(Password),
    /// There is no such user, or it has none: the same work for nothing.
    Decoy(Password),
}

/// Counts a check for as long as it lives.
struct Turn(Arc<Inner>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A login under way: its places are free again when it ends, whatever ends it.
struct Login {
    inner: Arc<Inner>,
    attempt: Attempt,
    admission: Option<Admission>,
}

impl Login {
    /// Takes its turn among those of its kind, unless there are too many.
    fn begin(inner: &Arc<Inner>, claim: Claim<'_>) -> Option<Self> {
        let mut backoff = inner.backoff();
        let attempt = backoff.attempt(claim);
        let admission = backoff.before(attempt, inner.started.elapsed())?;
        Some(Self { inner: inner.clone(), attempt, admission: Some(admission) })
    }

    /// Whether its address may have one more password hashed.
    fn may_hash(&mut self) -> bool {
        let admission = self.admission.as_mut();
        admission.is_some_and(|admission| self.inner.backoff().hashes(self.attempt, admission))
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            self.inner.backoff().ended(admission);
        }
    }
}

impl Inner {
    fn backoff(&self) -> std::sync::MutexGuard<'_, Backoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guesses(&self) -> std::sync::MutexGuard<'_, Guesses> {
        self.guesses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Authenticator {
    /// One worker per core.
    pub(crate) fn new(
        tokens: Arc<TokenStore>,
        config: Arc<ConfigFile>,
        counters: Arc<Counters>,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            inner: Arc::new(Inner {
                workers: Arc::new(Semaphore::new(cores)),
                waiting: AtomicUsize::new(0),
                backoff: Mutex::new(Backoff::new()),
                guesses: Mutex::new(Guesses::new()),
                started: Instant::now(),
                tokens,
                config,
                counters,
            }),
        }
    }

    /// The tokens that the server keeps.
    pub(crate) fn tokens(&self) -> &Arc<TokenStore> {
        &self.inner.tokens
    }

    /// Checks who wants to join. Only the caller waits.
    pub(crate) async fn check(&self, check: CredentialCheck) -> Verdict {
        let started = Instant::now();
        let CredentialCheck { group, realm, username, is_wildcard, address, proof } = check;
        let realm_name = realm.clone();
        let (realm, address) = (realm.as_str(), address.as_deref());
        let claim = Claim { realm, username: &username, is_wildcard, address };
        let why = match &proof {
            Proof::Nothing { .. } => AuthFailure::NoPassword,
            Proof::Password { .. } => AuthFailure::Password,
            Proof::Token { .. } => AuthFailure::Token,
        };
        let verdict = match proof {
            Proof::Nothing { decoy, given } => {
                self.password(claim, [Stored::Decoy(decoy)], given).await
            }
            Proof::Password { stored, given } => {
                self.password(claim, [Stored::Own(stored)], given).await
            }
            Proof::Token { token, keys, otherwise } => {
                let granted = self.token(token.clone(), group.clone(), realm_name, keys).await;
                match (granted, otherwise) {
                    (Some(grant), _) => Verdict::Granted(Box::new(grant)),
                    (None, None) => Verdict::Wrong,
                    (None, Some(stored)) => {
                        self.password(claim, [Stored::Own(stored)], token).await
                    }
                }
            }
        };
        if verdict == Verdict::Wrong {
            self.penalty(started, why).await;
        }
        verdict
    }

    /// What every refusal costs. Counts it, too.
    pub(crate) async fn penalty(&self, started: Instant, why: AuthFailure) {
        self.inner.counters.auth_failed(why);
        let spent = started.elapsed().as_millis() / PENALTY.as_millis();
        let until = PENALTY.saturating_mul(u32::try_from(spent).unwrap_or(u32::MAX - 1) + 1);
        tokio::time::sleep_until((started + until).into()).await;
    }

    /// How long this name must leave the administration API alone from this address, because of
    /// wrong guesses. Whoever has been right from there before only waits: guesses of a neighbour
    /// do not shut anybody out.
    pub(crate) fn shut_for(&self, claims: &[Claim<'_>]) -> Option<Duration> {
        let claim = claims.first()?;
        let now = self.inner.started.elapsed();
        let shut_for = {
            let guesses = self.inner.guesses();
            guesses.shut_for(guesses.guesser(claim.address, claim.username), now)?
        };
        let backoff = self.inner.backoff();
        let is_known = claims.iter().any(|claim| backoff.is_known(backoff.attempt(*claim)));
        (!is_known).then_some(shut_for)
    }

    /// A password was wrong at the administration API.
    pub(crate) fn guessed(&self, address: Option<&str>, username: &str) {
        let now = self.inner.started.elapsed();
        let mut guesses = self.inner.guesses();
        let guesser = guesses.guesser(address, username);
        guesses.wrong(guesser, now);
    }

    /// What a token gives in a group where the file of `realm` decides.
    pub(crate) async fn token(
        &self,
        token: String,
        group: GroupName,
        realm: GroupName,
        keys: Arc<[signalling::Key]>,
    ) -> Option<TokenGrant> {
        let (tokens, config) = (self.inner.tokens.clone(), self.inner.config.get());
        let work = move || {
            let (_, _, base) = config.proxy();
            let audience = Audience { group: &group, host: &config.canonical_host, base };
            match jwt::verify(&token, &keys, audience, unix_now()) {
                Ok(grant) => Some(grant),
                Err(JwtError::NotAJwt) => tokens.grant(&token, &group, &realm, unix_now()),
                Err(error) => {
                    tracing::info!(group = group.as_str(), ?error, "token refused");
                    None
                }
            }
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_default()
    }

    /// Whether `given` is one of the passwords, after the wait that earlier guesses ask for. All of
    /// them together are one guess. The caller lets the penalty pass.
    pub(crate) async fn password(
        &self,
        claim: Claim<'_>,
        candidates: impl IntoIterator<Item = Stored>,
        given: String,
    ) -> Verdict {
        let Some(mut login) = Login::begin(&self.inner, claim) else {
            return Verdict::Busy;
        };
        let wait = login.admission.as_ref().map_or(Duration::ZERO, |admission| admission.wait);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let mut verdict = Verdict::Wrong;
        for candidate in candidates {
            verdict = match candidate {
                Stored::Own(stored) => self.compare(&mut login, stored, given.clone()).await,
                Stored::Decoy(decoy) => {
                    match self.compare(&mut login, decoy, given.clone()).await {
                        Verdict::Busy => Verdict::Busy,
                        _ => Verdict::Wrong,
                    }
                }
            };
            if verdict != Verdict::Wrong {
                break;
            }
        }
        // A stored password that cannot be used must not stand out by being fast.
        if verdict != Verdict::Busy {
            let now = self.inner.started.elapsed();
            self.inner.backoff().after(login.attempt, verdict == Verdict::Right, now);
        }
        verdict
    }

    async fn compare(&self, login: &mut Login, stored: Password, given: String) -> Verdict {
        if !stored.is_slow() {
            return verdict(stored.verify(&given));
        }
        if !login.may_hash() {
            return Verdict::Busy;
        }
        let before = self.inner.waiting.fetch_add(1, Ordering::Relaxed);
        let turn = Turn(self.inner.clone());
        if before >= WAITING_MAX {
            return Verdict::Busy;
        }
        let Ok(permit) = self.inner.workers.clone().acquire_owned().await else {
            return Verdict::Busy;
        };
        let work = move || {
            let _held = (permit, turn);
            verdict(stored.verify(&given))
        };
        tokio::task::spawn_blocking(work).await.unwrap_or(Verdict::Busy)
    }
}

fn verdict(result: Result<bool, signalling::PasswordError>) -> Verdict {
    match result {
        Ok(true) => Verdict::Right,
        Ok(false) => Verdict::Wrong,
        Err(error) => Verdict::Broken(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authenticator() -> Authenticator {
        let nowhere = std::path::Path::new("/nonexistent");
        let config = ConfigFile::open(nowhere).unwrap();
        let tokens = Arc::new(TokenStore::new(nowhere));
        Authenticator::new(tokens, Arc::new(config), Arc::default())
    }

    fn check(username: &str, proof: Proof) -> CredentialCheck {
        CredentialCheck {
            realm: GroupName::parse("test").unwrap(),
            group: GroupName::parse("test").unwrap(),
            username: username.to_owned(),
            is_wildcard: false,
            address: Some("192.0.2.1:5".to_owned()),
            proof,
        }
    }

    fn password(stored: &str, given: &str) -> Proof {
        let stored: Password = serde_json::from_str(stored).unwrap();
        Proof::Password { stored, given: given.to_owned() }
    }

    /// Slow enough to pile up: some tens of milliseconds.
    const SLOW: &str = r#"{"type":"pbkdf2","hash":"sha-256","iterations":100000,
        "salt":"00","key":"0000000000000000"}"#;

    #[tokio::test]
    async fn refusals_take_one_time_and_admissions_do_not_wait_for_them() {
        let authenticator = authenticator();
        let started = Instant::now();
        let token = Proof::Token { token: "x".into(), keys: Vec::new().into(), otherwise: None };
        let nothing = Proof::Nothing { decoy: Password::Never, given: "x".to_owned() };
        let refused = authenticator.check(check("a", nothing));
        let wrong = authenticator.check(check("b", password("\"a\"", "b")));
        let token = authenticator.check(check("c", token));
        let right = async {
            let verdict = authenticator.check(check("d", password("\"a\"", "a"))).await;
            (verdict, started.elapsed())
        };
        let (refused, wrong, token, (right, took)) = tokio::join!(refused, wrong, token, right);
        assert_eq!((refused, wrong, token), (Verdict::Wrong, Verdict::Wrong, Verdict::Wrong));
        assert_eq!(right, Verdict::Right);
        assert!(started.elapsed() >= PENALTY && took < PENALTY);
    }

    #[tokio::test]
    async fn a_storm_is_bounded_and_everyone_gets_an_answer() {
        let authenticator = authenticator();
        let storm = (0..WAITING_MAX + 50).map(|index| {
            let authenticator = authenticator.clone();
            let mut check = check(&index.to_string(), password(SLOW, "x"));
            check.address = Some(format!("192.0.2.{}:5", index % 200));
            tokio::spawn(async move { authenticator.check(check).await })
        });
        let storm: Vec<_> = storm.collect();
        let mut busy = 0;
        for task in storm {
            match task.await.unwrap() {
                Verdict::Busy => busy += 1,
                Verdict::Wrong => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(busy > 0, "nobody was turned away");
        assert_eq!(authenticator.inner.waiting.load(Ordering::Relaxed), 0);
        let again = check("again", password(SLOW, "x"));
        assert_eq!(authenticator.check(again).await, Verdict::Wrong, "and it goes on");
    }

    #[tokio::test]
    async fn a_decoy_never_opens_and_counts_as_a_guess() {
        let authenticator = authenticator();
        let decoy: Password = serde_json::from_str("\"word\"").unwrap();
        for _ in 0..4 {
            let proof = Proof::Nothing { decoy: decoy.clone(), given: "word".to_owned() };
            assert_eq!(authenticator.check(check("ghost", proof)).await, Verdict::Wrong);
        }
        let inner = &authenticator.inner;
        let address = Some("192.0.2.1:5");
        let claim = Claim { realm: "test", username: "ghost", is_wildcard: false, address };
        let ghost = inner.backoff().attempt(claim);
        let admission = inner.backoff().before(ghost, inner.started.elapsed()).unwrap();
        assert!(
            !admission.wait.is_zero(),
            "a name that does not exist is slowed down as one that does"
        );
    }

    #[tokio::test]
    async fn several_candidates_are_one_guess_and_a_right_one_is_none() {
        let authenticator = authenticator();
        let word: Password = serde_json::from_str("\"word\"").unwrap();
        let claim = Claim { realm: "", username: "chief", is_wildcard: false, address: None };
        for _ in 0..8 {
            let candidates = [Stored::Decoy(Password::Never), Stored::Own(word.clone())];
            let verdict = authenticator.password(claim, candidates, "word".into()).await;
            assert_eq!(verdict, Verdict::Right);
        }
        let inner = &authenticator.inner;
        let chief = inner.backoff().attempt(claim);
        let admission = inner.backoff().before(chief, inner.started.elapsed()).unwrap();
        assert_eq!(admission.wait, Duration::ZERO);
    }

    #[tokio::test]
    async fn a_bearer_that_is_no_token_may_be_a_password() {
        let authenticator = authenticator();
        for (bearer, expected) in [("sesame", Verdict::Right), ("other", Verdict::Wrong)] {
            let otherwise = Some(serde_json::from_str("\"sesame\"").unwrap());
            let keys = Vec::new().into();
            let proof = Proof::Token { token: bearer.to_owned(), keys, otherwise };
            assert_eq!(authenticator.check(check("whip", proof)).await, expected);
        }
    }
}
