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
        Self {
            workers: Arc::new(Semaphore::new(cores)),
            waiting: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// Checks. Only the caller waits.
    pub(crate) async fn check(&self, check: PasswordCheck) -> Verdict {
        let verdict = match check {
            PasswordCheck::Refuse => Verdict::Wrong,
            PasswordCheck::Verify {
                password,
                candidate,
            } if !password.is_slow() => verdict(password.verify(&candidate)),
            PasswordCheck::Verify {
                password,
                candidate,
            } => {
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
                tokio::task::spawn_blocking(work)
                    .await
                    .unwrap_or(Verdict::Busy)
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
