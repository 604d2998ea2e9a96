//! The time of day, for whatever is written down or expires.

use std::time::{SystemTime, UNIX_EPOCH};

use signalling::UnixMs;

/// The wall clock.
pub(crate) fn unix_now() -> UnixMs {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(i64::try_from(unix.as_millis()).unwrap_or(i64::MAX))
}

/// Seconds since 1970.
pub(crate) fn unix_s() -> u64 {
    unix_now().0.max(0) as u64 / 1000
}
