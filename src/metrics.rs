//! Prometheus text (exposition format 0.0.4). Names have the prefix `aula_` and base units; no
//! group and no user is ever a label.

use std::fmt::{Display, Write as _};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use signalling::Census;

use crate::bridge::ShardCounters;
use crate::memory::{page_bytes, resident_bytes};

/// What the control plane counts since the start.
#[derive(Default)]
pub(crate) struct Counters {
    /// Refused credentials.
    pub(crate) auth_failures: AtomicU64,
    /// Requests to the administration API.
    pub(crate) api_requests: AtomicU64,
}

/// What is counted by the shards.
struct Family {
    name: &'static str,
    help: &'static str,
    value: fn(&ShardCounters) -> u64,
}

const TOTALS: [Family; 9] = [
    Family {
        name: "aula_udp_datagrams_in_total",
        help: "Datagrams read from the sockets.",
        value: |shard| shard.datagrams_in,
    },
    Family {
        name: "aula_udp_datagrams_out_total",
        help: "Datagrams handed to the kernel.",
        value: |shard| shard.datagrams_out,
    },
    Family {
        name: "aula_udp_out_bytes_total",
        help: "Bytes of those handed to the kernel.",
        value: |shard| shard.bytes_out,
    },
    Family {
        name: "aula_retransmits_total",
        help: "RTP packets sent to viewers again.",
        value: |shard| shard.retransmitted,
    },
    Family {
        name: "aula_nacked_packets_total",
        help: "RTP packets asked for from publishers again.",
        value: |shard| shard.nacked,
    },
    Family {
        name: "aula_keyframe_requests_total",
        help: "Keyframe requests sent to publishers.",
        value: |shard| shard.keyframe_requests,
    },
    Family {
        name: "aula_lane_out_packets_total",
        help: "Packets copied to other shards.",
        value: |shard| shard.lane_out,
    },
    Family {
        name: "aula_lane_in_packets_total",
        help: "Packets taken from other shards.",
        value: |shard| shard.lane_in,
    },
    Family {
        name: "aula_transport_panics_total",
        help: "Transports ended by a fault of the peer engine: each is a bug worth a report.",
        value: |shard| shard.engine_faults,
    },
];

/// The page.
pub(crate) fn render(
    census: Census,
    shards: &[ShardCounters],
    counters: &Counters,
    is_draining: bool,
) -> String {
    let mut page = Page(String::new());
    page.family("aula_build_info", "gauge", "The version that runs.");
    let version = env!("CARGO_PKG_VERSION");
    page.sample("aula_build_info", &format!("{{version=\"{version}\"}}"), 1);
    for (name, help, value) in [
        ("aula_groups", "Groups in memory.", census.groups),
        ("aula_clients", "Members of groups.", census.clients),
        ("aula_connections", "Connections, members or not.", census.connections),
        ("aula_publications", "Streams that members send.", census.publications),
        ("aula_subscriptions", "Streams that members receive.", census.subscriptions),
        ("aula_draining", "1 while the server is shutting down.", usize::from(is_draining)),
    ] {
        page.family(name, "gauge", help);
        page.sample(name, "", value);
    }
    page.family("aula_shard_transports", "gauge", "Transports alive on a shard.");
    for (index, shard) in shards.iter().enumerate() {
        page.sample("aula_shard_transports", &format!("{{shard=\"{index}\"}}"), shard.transports);
    }
    page.family(
        "aula_rtp_packets_total",
        "counter",
        "RTP packets taken in and sealed for viewers.",
    );
    for (direction, value) in [
        ("in", shards.iter().map(|shard| shard.rtp_in).sum::<u64>()),
        ("out", shards.iter().map(|shard| shard.rtp_out).sum()),
    ] {
        let label = format!("{{direction=\"{direction}\"}}");
        page.sample("aula_rtp_packets_total", &label, value);
    }
    for Family { name, help, value } in &TOTALS {
        page.family(name, "counter", help);
        page.sample(name, "", shards.iter().map(value).sum::<u64>());
    }
    page.family("aula_udp_drops_total", "counter", "What went no further, by reason.");
    if let Some(first) = shards.first() {
        for (index, (reason, _)) in first.drops.iter().enumerate() {
            let dropped = shards.iter().filter_map(|shard| shard.drops.get(index));
            let label = format!("{{reason=\"{reason}\"}}");
            page.sample(
                "aula_udp_drops_total",
                &label,
                dropped.map(|(_, count)| count).sum::<u64>(),
            );
        }
    }
    for (name, help, value) in [
        ("aula_auth_failures_total", "Refused credentials.", &counters.auth_failures),
        ("aula_api_requests_total", "Requests to the administration API.", &counters.api_requests),
    ] {
        page.family(name, "counter", help);
        page.sample(name, "", value.load(Ordering::Relaxed));
    }
    page.process();
    page.0
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail; so below.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    /// What Prometheus' own clients tell of every process.
    fn process(&mut self) {
        // SAFETY: `sysconf` has no preconditions.
        let ticks =
            u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100).max(1);
        if let Some(bytes) = resident_bytes(page_bytes()) {
            let name = "process_resident_memory_bytes";
            self.family(name, "gauge", "Resident memory.");
            self.sample(name, "", bytes);
        }
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The fields after the program's name, which may hold anything, from the third on.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
        let spent = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<u64>().ok());
        if let (Some(user), Some(system)) = (spent(12), spent(13)) {
            let name = "process_cpu_seconds_total";
            self.family(name, "counter", "CPU time.");
            self.sample(name, "", (user + system) as f64 / ticks as f64);
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            self.family("process_open_fds", "gauge", "Open files and sockets.");
            self.sample("process_open_fds", "", open.count());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_has_a_family_and_a_number() {
        let shard = ShardCounters { rtp_in: 3, transports: 2, ..ShardCounters::new() };
        let page = render(Census::default(), &[shard.clone(), shard], &Counters::default(), false);
        let mut families = Vec::new();
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                families.push(rest.split(' ').next().unwrap().to_owned());
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap();
                let name = name.split('{').next().unwrap();
                assert!(families.iter().any(|family| family == name), "{line}");
                assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
                assert_eq!(name.ends_with("_total"), page.contains(&format!("{name} counter")));
            }
        }
        let mut unique = families.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), families.len(), "a family is there twice");
        assert!(page.contains("aula_rtp_packets_total{direction=\"in\"} 6"));
        assert!(page.contains("aula_shard_transports{shard=\"1\"} 2"));
        assert!(page.contains("aula_udp_drops_total{reason=\"srtp_denied\"} 0"));
    }
}
