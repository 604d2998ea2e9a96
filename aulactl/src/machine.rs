//! What `doctor` finds on the machine it runs on: the kernel's limits, and those of the server if
//! it runs here as well.

use std::fs;

use crate::Done;
use crate::report::Report;

/// What a busy shard's socket should be able to hold.
const BUFFER_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// One per client, and some.
const FILES_MIN: u64 = 65_535;
/// Enough where classes are small.
const FILES_MIN_SMALL: u64 = 4096;
/// What to put into a unit; as in `packaging/`.
const FILES_WANTED: u64 = 65_536;
/// The names of servers' processes.
const SERVERS: [&str; 2] = ["aula", "galene"];

/// Looks at this machine.
pub(crate) fn look(report: &mut Report) -> Done {
    report.note("about this machine, if the server runs here (-remote leaves it out):")?;
    for name in ["net.core.rmem_max", "net.core.wmem_max"] {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let text = fs::read_to_string(path).unwrap_or_default();
        match text.trim().parse::<u64>() {
            Ok(bytes) if bytes < BUFFER_BYTES_MIN => report.bad(format!(
                "{name} is {bytes}: set it to 10485760 in /etc/sysctl.d, bursts are lost otherwise"
            ))?,
            Ok(bytes) => report.good(format!("{name} is {bytes}"))?,
            Err(_) => report.note(format!("{name} cannot be read here"))?,
        }
    }
    let servers = servers();
    if servers.is_empty() {
        let own = fs::read_to_string("/proc/self/limits").ok();
        let shells = own.as_deref().and_then(open_files).map_or_else(String::new, |files| {
            format!("; what this shell starts may open {files}, which says nothing about it")
        });
        return report.note(format!(
            "no server is seen running here, so that its limit on open files is not known{shells}: \
             look at \"Max open files\" in /proc/PID/limits of the server, LimitNOFILE in its unit \
             sets it and should be {FILES_MIN} or more"
        ));
    }
    for (server, files) in servers {
        match files {
            None => report.note(format!("the limits of {server} cannot be read"))?,
            Some(files) if is_few(files) => {
                let line = format!(
                    "{server} may open {files} files, one per client: for more, \
                     LimitNOFILE={FILES_WANTED} in its unit, or ulimit -n {FILES_WANTED} before it \
                     is started"
                );
                match files < FILES_MIN_SMALL {
                    true => report.bad(line)?,
                    false => report.note(line)?,
                }
            }
            Some(files) => report.good(format!("{server} may open {files} files"))?,
        }
    }
    Ok(())
}

/// The servers that run here, in words, with how many files each may open.
fn servers() -> Vec<(String, Option<u64>)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let server = |entry: fs::DirEntry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        let name = SERVERS.into_iter().find(|known| *known == name.trim_end())?;
        let limits = fs::read_to_string(entry.path().join("limits")).ok();
        Some((format!("{name} (process {pid})"), limits.as_deref().and_then(open_files)))
    };
    processes.filter_map(server).collect()
}

fn is_few(files: u64) -> bool {
    files < FILES_MIN
}

/// The soft limit on open files in the text of `/proc/PID/limits`, proc_pid_limits(5).
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let limits = |soft: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units     \n\
                 Max cpu time              unlimited            unlimited            seconds   \n\
                 Max open files            {soft:<20} 524288               files     \n"
            )
        };
        assert_eq!(open_files(&limits("1024")), Some(1024));
        assert_eq!(open_files(&limits("unlimited")), Some(u64::MAX));
        assert_eq!(open_files("Max open files"), None);
        assert!(is_few(20_000) && !is_few(FILES_WANTED));
        assert!(!is_few(u64::from(u16::MAX)), "a common limit, and enough");
        let own = fs::read_to_string("/proc/self/limits").expect("there is a /proc");
        assert!(open_files(&own).is_some(), "{own}");
    }
}
