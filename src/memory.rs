//! How much memory there is to use, and whether newcomers still fit. The limit is that of the
//! control group (Linux cgroup v2) unless the operator names one.

use std::fs;
use std::path::Path;

/// Of the limit; beyond it newcomers are refused, so that those inside keep what they have.
const FULL_PERCENT: u64 = 85;

/// The limit, if there is one.
pub(crate) struct Memory {
    bytes_max: Option<u64>,
    page_bytes: u64,
}

impl Memory {
    /// `limit_mib` is what the operator says.
    pub(crate) fn new(limit_mib: Option<u64>) -> Self {
        let own = limit_mib.map(|mib| mib.saturating_mul(1024 * 1024));
        Self { bytes_max: own.or_else(of_control_group), page_bytes: page_bytes() }
    }

    /// Whether newcomers must be refused.
    pub(crate) fn is_full(&self) -> bool {
        let Some(bytes_max) = self.bytes_max else {
            return false;
        };
        resident_bytes(self.page_bytes).is_some_and(|bytes| bytes > bytes_max / 100 * FULL_PERCENT)
    }
}

/// Bytes in a page.
pub(crate) fn page_bytes() -> u64 {
    // SAFETY: `sysconf` has no preconditions.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// What the process holds in memory.
pub(crate) fn resident_bytes(page_bytes: u64) -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * page_bytes)
}

/// The smallest limit of the process's control group and those above it.
fn of_control_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let folders = Path::new("/sys/fs/cgroup").join(own);
    let limits = folders.ancestors().take_while(|folder| folder.starts_with("/sys/fs/cgroup"));
    let read = |folder: &Path| fs::read_to_string(folder.join("memory.max")).ok();
    // "max" is no limit.
    limits.filter_map(|folder| read(folder)?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_counts_against_the_limit() {
        let used = resident_bytes(page_bytes()).unwrap();
        assert!(used > 0);
        assert!(!Memory { bytes_max: None, page_bytes: page_bytes() }.is_full());
        assert!(!Memory { bytes_max: Some(u64::MAX), page_bytes: page_bytes() }.is_full());
        assert!(Memory { bytes_max: Some(used / 2), page_bytes: page_bytes() }.is_full());
        assert!(Memory::new(Some(0)).is_full());
    }
}
