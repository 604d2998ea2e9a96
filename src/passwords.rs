//! Credential checks, off the control plane's task: as many at once as there are cores, a bounded
//! queue behind them, and a pause before every refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use signalling::{PasswordCheck, Verdict};
use tokio::sync::Semaphore;

/// Checks waiting or running; more are told that the server is busy. At 50 ms each and two cores
/// the last one in waits a few seconds.
const WAITING_MAX: usize = 256;
/// What a wrong guess costs, at least.
const PENALTY: Duration = Duration::from_millis(200);

/// The pool.
#[derive(Clone)]
pub(crate) struct Passwords {
    workers: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// Counts a check for as long as it lives.
struct Turn(Arc<AtomicUsize>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Passwords {
    /// One worker per core.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { workers: Arc::new(Semaphore::new(cores)), waiting: Arc::new(AtomicUsize::new(0)) }
    }

    /// Checks. Only the caller waits.
    pub(crate) async fn check(&self, check: PasswordCheck) -> Verdict {
        let verdict = match check {
            PasswordCheck::Refuse => Verdict::Wrong,
            PasswordCheck::Verify { password, candidate } if !password.is_slow() => {
                verdict(password.verify(&candidate))
            }
            PasswordCheck::Verify { password, candidate } => {
                self.waiting.fetch_add(1, Ordering::Relaxed);
                let turn = Turn(self.waiting.clone());
                if self.waiting.load(Ordering::Relaxed) > WAITING_MAX {
                    return Verdict::Busy;
                }
                let Ok(permit) = self.workers.clone().acquire_owned().await else {
                    return Verdict::Busy;
                };
                let work = move || {
                    let _held = (permit, turn);
                    verdict(password.verify(&candidate))
                };
                tokio::task::spawn_blocking(work).await.unwrap_or(Verdict::Busy)
            }
        };
        if verdict == Verdict::Wrong {
            tokio::time::sleep(PENALTY).await;
        }
        verdict
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
    use std::time::Instant;

    use signalling::Password;

    use super::*;

    fn check(password: &str, candidate: &str) -> PasswordCheck {
        let password: Password = serde_json::from_str(password).unwrap();
        PasswordCheck::Verify { password, candidate: candidate.to_owned() }
    }

    /// Slow enough to pile up: some tens of milliseconds.
    const SLOW: &str = r#"{"type":"pbkdf2","hash":"sha-256","iterations":100000,
        "salt":"00","key":"0000000000000000"}"#;

    #[tokio::test]
    async fn refusals_take_their_time_and_admissions_do_not_wait_for_them() {
        let passwords = Passwords::new();
        let started = Instant::now();
        let refused = passwords.check(PasswordCheck::Refuse);
        let wrong = passwords.check(check("\"a\"", "b"));
        let right = async {
            let verdict = passwords.check(check("\"a\"", "a")).await;
            (verdict, started.elapsed())
        };
        let (refused, wrong, (right, took)) = tokio::join!(refused, wrong, right);
        assert_eq!((refused, wrong, right), (Verdict::Wrong, Verdict::Wrong, Verdict::Right));
        assert!(started.elapsed() >= PENALTY && took < PENALTY);
    }

    #[tokio::test]
    async fn a_storm_is_bounded_and_everyone_gets_an_answer() {
        let passwords = Passwords::new();
        let storm = (0..WAITING_MAX + 50).map(|_| {
            let passwords = passwords.clone();
            tokio::spawn(async move { passwords.check(check(SLOW, "x")).await })
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
        assert_eq!(passwords.waiting.load(Ordering::Relaxed), 0);
        assert_eq!(passwords.check(check(SLOW, "x")).await, Verdict::Wrong, "and it goes on");
    }
}
