//! What Prometheus' own clients tell of every process. What the system does not say is left out.

use std::fs;

use crate::descriptors;
use crate::memory::{page_bytes, resident_bytes};

/// What the system knows of this process.
#[derive(Default)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) start_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_files: Option<usize>,
    pub(super) files_max: Option<u64>,
}

impl Process {
    /// Asks the system; what it does not say is nothing.
    pub(super) fn read() -> Self {
        // SAFETY: `sysconf` has no preconditions.
        let ticks = u32::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100);
        let seconds = |spent: u64| spent as f64 / f64::from(ticks.max(1));
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The fields after the program's name, which may hold anything, from the third on.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
        let field = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<u64>().ok());
        let cpu = field(12).zip(field(13)).map(|(user, system)| seconds(user + system));
        let start = field(20).zip(boot_seconds());
        Self {
            cpu_seconds: cpu,
            start_seconds: start.map(|(after, boot)| boot as f64 + seconds(after)),
            resident_bytes: resident_bytes(page_bytes()),
            open_files: fs::read_dir("/proc/self/fd").ok().map(Iterator::count),
            files_max: descriptors::limit().map(|limit| limit.rlim_cur),
        }
    }
}

/// When the system started, in seconds since 1970.
fn boot_seconds() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn this_process_has_started_uses_memory_and_has_files_open() {
        let process = Process::read();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        // The system's start is known to the second.
        let start = process.start_seconds.unwrap();
        assert!(start < now + 2.0 && start > now - 86_400.0, "{start} {now}");
        assert!(process.cpu_seconds.unwrap() >= 0.0);
        assert!(process.resident_bytes.unwrap() > 100_000);
        let open = process.open_files.unwrap() as u64;
        assert!(open >= 3 && open <= process.files_max.unwrap());
    }
}
