//! The limit on open files, which a large class meets first.

/// What the program needs beside its clients.
const RESERVE: u64 = 64;

/// Raises the soft limit as far as it goes; an error says what to do if `clients` descriptors do
/// not fit into it.
pub(crate) fn ensure(clients: usize) -> Result<(), String> {
    let needed = clients as u64 + RESERVE;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the result.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Ok(()); // Unknown: opening will tell.
    }
    if limit.rlim_cur < needed && limit.rlim_cur < limit.rlim_max {
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
        // SAFETY: `raised` outlives the call.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 {
            limit = raised;
        }
    }
    if limit.rlim_cur < needed {
        return Err(format!(
            "too few file descriptors: this load needs {needed}, the limit is {}; raise it with \
             ulimit -n {needed}",
            limit.rlim_cur
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_beyond_any_limit_is_refused_with_the_command_to_raise_it() {
        assert_eq!(ensure(1), Ok(()));
        let error = ensure(usize::MAX / 2).expect_err("no machine has so many");
        assert!(error.contains("ulimit -n"), "{error}");
    }
}
