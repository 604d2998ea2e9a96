//! The time of day, for whatever is written down or expires.

use std::time::{SystemTime, UNIX_EPOCH};

use signalling::UnixMs;

/// The time of day, in milliseconds; 0 on a machine that believes to be before 1970.
pub(crate) fn unix_now() -> UnixMs {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(i64::try_from(unix.as_millis()).unwrap_or(i64::MAX))
}

/// The same in seconds.
pub(crate) fn unix_s() -> u64 {
    unix_now().0.max(0) as u64 / 1000
}
