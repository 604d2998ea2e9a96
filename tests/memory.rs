//! A storm of clients in a control group that is too small for them (docs/threats.md, row 42): the
//! server turns people away before the kernel ends it.

mod server;

use std::fs;
use std::path::{Path, PathBuf};

use server::{Server, until};

const LIMIT_BYTES: u64 = 48 * 1024 * 1024;
/// More than fit.
const CLIENTS_MAX: usize = 20_000;

/// A control group of our own, gone with the value.
struct Group(PathBuf);

impl Group {
    /// Nothing where the process may not make one.
    fn new() -> Option<Self> {
        let name = format!("aula-test-{}", std::process::id());
        for (top, limit) in
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        {
            let folder = Path::new(top).join(&name);
            if fs::create_dir(&folder).is_err() {
                continue;
            }
            let group = Self(folder);
            if fs::write(group.0.join(limit), LIMIT_BYTES.to_string()).is_ok() {
                return Some(group);
            }
        }
        None
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It empties when the process in it has been reaped.
        let _ = fs::remove_dir(&self.0);
    }
}

/// This process holds the other ends.
fn raise_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the result.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a valid value.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

#[tokio::test]
async fn a_storm_in_a_small_control_group_is_turned_away_and_those_inside_stay() {
    let Some(group) = Group::new() else {
        // Unprivileged, or a kernel without them: `src/memory.rs` has tests for any machine.
        eprintln!("skipped: no control group can be made here");
        return;
    };
    raise_descriptors();
    let mut server = Server::start_grouped(&group.0, |scratch| {
        scratch.write("groups/test.json", server::OPEN);
    });
    let mut inside = server.join("inside").await;
    let mut clients = Vec::new();
    let refusal = loop {
        assert!(clients.len() < CLIENTS_MAX, "all of them fitted");
        match server.try_connect().await {
            Ok(mut client) => {
                client.hello(&format!("c{}", clients.len())).await;
                clients.push(client);
            }
            Err(status) => break status,
        }
    };
    assert_eq!(refusal, 503);
    inside.ping().await;
    assert!(server.child.try_wait().unwrap().is_none(), "{}", server.log());
    drop(clients);
    until("room for newcomers", || server.get("/readyz").status == 200);
    server.join("next").await;
    drop(server);
}
