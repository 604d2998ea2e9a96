//! How much memory there is to use, and whether newcomers still fit. The limit is that of the
//! control group (Linux, either version) unless the operator names one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Of the limit; beyond it newcomers are refused, so that those inside keep what they have.
const FULL_PERCENT: u64 = 85;
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Giving memory back takes some milliseconds, in which others wait who want some.
const TRIM_INTERVAL: Duration = Duration::from_secs(2);
const TRIM_INTERVAL_MAX: Duration = Duration::from_secs(60);
/// Control groups of version 1 without a limit have one that no machine has.
const NO_LIMIT_BYTES: u64 = 1 << 60;

/// What memory there is.
pub(crate) struct Memory {
    limit: Limit,
    page_bytes: u64,
    /// When it was, and whether memory was full.
    last_look: Mutex<Option<(Instant, bool)>>,
    /// When the allocator last gave back what it held, and how long it is left alone after that.
    last_trim: Mutex<Option<(Instant, Duration)>>,
}

enum Limit {
    /// The operator's, in bytes.
    Own(u64),
    /// Those of the control groups that the process is in; perhaps none.
    Groups(Vec<Group>),
}

impl Memory {
    /// `limit_mib` is what the operator says.
    pub(crate) fn new(limit_mib: Option<u64>) -> Self {
        let limit = match limit_mib {
            Some(mib) => Limit::Own(mib.saturating_mul(1024 * 1024)),
            None => {
                let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
                Limit::Groups(Group::find(&groups, Path::new("/sys/fs/cgroup")))
            }
        };
        Self {
            limit,
            page_bytes: page_bytes(),
            last_look: Mutex::new(None),
            last_trim: Mutex::new(None),
        }
    }

    /// Whether newcomers must be refused. Anybody may ask, so the files are read ten times a
    /// second at most.
    pub(crate) fn is_full(&self) -> bool {
        let mut last = self.last_look.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some((at, is_full)) if at.elapsed() < LOOK_INTERVAL => is_full,
            _ => {
                let is_full = self.look();
                *last = Some((Instant::now(), is_full));
                is_full
            }
        }
    }

    fn look(&self) -> bool {
        let own = || resident_bytes(self.page_bytes).unwrap_or_default();
        let is_full = match &self.limit {
            Limit::Own(bytes_max) => is_beyond(own(), *bytes_max),
            // A group counts what the kernel keeps for us, such as the buffers of sockets, as well
            // as what others in it use.
            Limit::Groups(groups) => {
                groups.iter().any(|group| is_beyond(group.used_bytes(own), group.bytes_max))
            }
        };
        if is_full {
            // Of those that have left, the allocator keeps the memory for others to come: without
            // being asked it would give none back, and the server would stay full.
            self.trim();
        }
        is_full
    }
}

fn is_beyond(used_bytes: u64, bytes_max: u64) -> bool {
    used_bytes > bytes_max / 100 * FULL_PERCENT
}

impl Memory {
    /// Lets the allocator give back what nobody uses, in a thread of its own, unless it did so
    /// just now; the longer, the less it helps.
    fn trim(&self) {
        {
            let mut last = self.last_trim.lock().unwrap_or_else(PoisonError::into_inner);
            *last = match *last {
                Some((at, wait)) if at.elapsed() < wait => return,
                Some((at, wait)) if at.elapsed() < 2 * TRIM_INTERVAL_MAX => {
                    Some((Instant::now(), (2 * wait).min(TRIM_INTERVAL_MAX)))
                }
                _ => Some((Instant::now(), TRIM_INTERVAL)),
            };
        }
        #[cfg(target_env = "gnu")]
        {
            // Where there is no thread to be had, it is tried again later.
            let _ = std::thread::Builder::new().spawn(|| {
                // SAFETY: `malloc_trim` has no preconditions.
                unsafe { libc::malloc_trim(0) }
            });
        }
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

/// Where one version of control groups keeps what.
struct Files {
    limit: &'static str,
    used: &'static str,
    /// The keys in `memory.stat` of what the kernel takes back before it kills anybody.
    reclaimable: [&'static str; 2],
}

const VERSION_1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: ["total_inactive_file ", "total_active_file "],
};
const VERSION_2: Files = Files {
    limit: "memory.max",
    used: "memory.current",
    reclaimable: ["inactive_file ", "active_file "],
};

/// A control group that the process is in, itself or by those above it, and that has a limit.
struct Group {
    folder: PathBuf,
    files: &'static Files,
    bytes_max: u64,
}

impl Group {
    /// All of them. `groups` is what `/proc/self/cgroup` says, `root` where the file systems of both
    /// versions are mounted.
    fn find(groups: &str, root: &Path) -> Vec<Self> {
        let of_version_1 = groups.lines().find_map(|line| line.split_once(":memory:/"));
        let of_version_2 = groups.lines().find_map(|line| line.strip_prefix("0::/"));
        let (top, own, files) = match (of_version_1, of_version_2) {
            (Some((_, own)), _) => (root.join("memory"), own, &VERSION_1),
            (None, Some(own)) => (root.to_owned(), own, &VERSION_2),
            (None, None) => return Vec::new(),
        };
        let own = top.join(own);
        let folders = own.ancestors().take_while(|folder| folder.starts_with(&top));
        let limited = folders.filter_map(|folder| {
            // "max" is no limit.
            let bytes_max = number(&folder.join(files.limit))?;
            (bytes_max < NO_LIMIT_BYTES).then(|| Self {
                folder: folder.to_owned(),
                files,
                bytes_max,
            })
        });
        limited.collect()
    }

    /// What counts against the limit and cannot be taken back; if that cannot be read, what the
    /// process itself uses.
    fn used_bytes(&self, own: impl FnOnce() -> u64) -> u64 {
        let Some(used) = number(&self.folder.join(self.files.used)) else {
            return own();
        };
        let stat = fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let bytes_of =
            |key: &&str| stat.lines().find_map(|line| line.strip_prefix(*key)?.parse::<u64>().ok());
        let reclaimable: u64 = self.files.reclaimable.iter().filter_map(bytes_of).sum();
        used.saturating_sub(reclaimable)
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_counts_against_the_limit() {
        let used = resident_bytes(page_bytes()).unwrap();
        assert!(used > 0);
        let is_full = |limit| Memory { limit, ..Memory::new(Some(0)) }.is_full();
        assert!(!is_full(Limit::Groups(Vec::new())));
        assert!(!is_full(Limit::Own(u64::MAX)) && is_full(Limit::Own(used / 2)));
        assert!(Memory::new(Some(0)).is_full());
    }

    /// Files below a folder of their own, gone with the value.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root =
                std::env::temp_dir().join(format!("aula-memory-{}-{name}", std::process::id()));
            for (file, text) in files {
                let path = root.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn limits_and_use(groups: &[Group]) -> Vec<(u64, u64)> {
        let used = |group: &Group| group.used_bytes(|| panic!("it can be read"));
        groups.iter().map(|group| (group.bytes_max, used(group))).collect()
    }

    #[test]
    fn every_limit_above_us_counts() {
        let tree = Tree::new(
            "v2",
            &[
                ("a/memory.max", "2000\n"),
                ("a/memory.current", "900\n"),
                ("a/memory.stat", "anon 1\ninactive_file 300\nactive_file 100\n"),
                ("a/b/memory.max", "max\n"),
                ("a/b/c/memory.max", "1000\n"),
                ("a/b/c/memory.current", "100\n"),
                ("other/memory.max", "5\n"),
            ],
        );
        let groups = Group::find("0::/a/b/c\n", &tree.0);
        assert_eq!(limits_and_use(&groups), [(1000, 100), (2000, 500)]);
        let is_full =
            |groups| Memory { limit: Limit::Groups(groups), ..Memory::new(None) }.is_full();
        assert!(!is_full(groups));
        // The group has room, but that above it is full.
        fs::write(tree.0.join("a/memory.current"), "2400\n").unwrap();
        assert!(is_full(Group::find("0::/a/b/c\n", &tree.0)));
        assert!(Group::find("0::/c\n", &tree.0).is_empty());
        assert!(Group::find("", &tree.0).is_empty());
    }

    #[test]
    fn version_1_has_a_tree_for_memory() {
        let tree = Tree::new(
            "v1",
            &[
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/x/memory.limit_in_bytes", "4096\n"),
                ("memory/x/memory.usage_in_bytes", "1000\n"),
                ("memory/x/memory.stat", "inactive_file 1\ntotal_inactive_file 400\n"),
            ],
        );
        let groups = Group::find("5:cpu:/\n4:memory:/x\n0::/\n", &tree.0);
        assert_eq!(limits_and_use(&groups), [(4096, 600)]);
        assert!(Group::find("4:memory:/\n0::/\n", &tree.0).is_empty(), "no limit at all");
    }
}
