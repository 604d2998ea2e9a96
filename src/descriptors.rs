//! The limit on open files: a class needs one per client.

use std::time::Duration;

/// With fewer than this, a large class does not fit.
const WANTED: u64 = 65_535;
/// How long accepting pauses after an error, most likely that no more files may be open: asking again
/// at once would fail again.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many files may be open, soft and hard; nothing if the system does not say.
pub(crate) fn limit() -> Option<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the result.
    (unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0).then_some(limit)
}

/// Raises the soft limit as far as it goes, and says so if that is not far.
pub(crate) fn raise() {
    let Some(mut limit) = limit() else {
        return;
    };
    if limit.rlim_cur < limit.rlim_max {
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
        // SAFETY: `raised` outlives the call.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 {
            limit = raised;
        }
    }
    if limit.rlim_cur < WANTED {
        tracing::warn!(
            limit = limit.rlim_cur,
            "few files may be open: raise the limit (ulimit -n {WANTED}) for large classes"
        );
    }
}
