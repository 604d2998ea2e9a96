//! The page of metrics. `table.rs` has every metric; no group and no user is ever a label.

mod exposition;
mod process;
mod quality;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use signalling::{Census, UnixMs};

use crate::bridge::{Histogram, ShardCounters};
use crate::recorder::Tally;
use exposition::Page;
use process::Process;
use quality::QUALITY;
use table::{METRICS, Metric, Value};

/// Why a credential was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AuthFailure {
    /// The password is wrong.
    Password,
    /// There is no such user, or it has no password.
    NoPassword,
    /// The token is not good here.
    Token,
    /// The Authorization header cannot be read.
    Malformed,
    /// Too many wrong passwords before it: it was not looked at.
    Throttled,
}

impl AuthFailure {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Password, "password"),
        (Self::NoPassword, "no_password"),
        (Self::Token, "token"),
        (Self::Malformed, "malformed"),
        (Self::Throttled, "throttled"),
    ];
}

/// Why a connection that was to carry media was closed before it did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StreamRefusal {
    /// It did not begin with a check of a peer of ours.
    Foreign,
    /// Its first frame did not come in time.
    Late,
    /// As many are awaited already, in all or of its address.
    TooMany,
    /// Its shard has too much to do.
    Busy,
}

impl StreamRefusal {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Foreign, "foreign"),
        (Self::Late, "late"),
        (Self::TooMany, "too_many"),
        (Self::Busy, "busy"),
    ];
}

/// Error codes of TURN that are counted by themselves (RFC 8656 s18).
const TURN_CODES: [(u16, &str); 6] =
    [(401, "401"), (403, "403"), (437, "437"), (438, "438"), (486, "486"), (508, "508")];

/// Close codes of WebSockets that are counted by themselves (RFC 6455 s7.4.1); clients may choose
/// any other, which counts as such.
const CLOSE_CODES: [(u16, &str); 9] = [
    (1000, "1000"),
    (1001, "1001"),
    (1002, "1002"),
    (1003, "1003"),
    (1007, "1007"),
    (1008, "1008"),
    (1009, "1009"),
    (1011, "1011"),
    (1013, "1013"),
];

/// What the control plane counts since the start.
#[derive(Default)]
pub(crate) struct Counters {
    /// Requests to the administration API.
    pub(crate) api_requests: AtomicU64,
    /// In the order of [`AuthFailure::ALL`].
    auth_failures: [AtomicU64; AuthFailure::ALL.len()],
    /// In the order of [`StreamRefusal::ALL`].
    stream_refusals: [AtomicU64; StreamRefusal::ALL.len()],
    /// Allocations of the TURN server that there are.
    pub(crate) turn_allocations: AtomicU64,
    /// In the order of [`TURN_CODES`], then others.
    turn_refusals: [AtomicU64; TURN_CODES.len() + 1],
    /// In the order of [`CLOSE_CODES`], then other codes, then those without one.
    ws_closed: [AtomicU64; CLOSE_CODES.len() + 2],
    /// What the recorder counts.
    pub(crate) recording: Arc<Tally>,
}

#[expect(clippy::indexing_slicing, reason = "each array is as long as what is counted in it")]
impl Counters {
    /// A credential was refused.
    pub(crate) fn auth_failed(&self, why: AuthFailure) {
        self.auth_failures[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A TCP connection for media was closed.
    pub(crate) fn stream_refused(&self, why: StreamRefusal) {
        self.stream_refusals[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many were closed for this reason.
    #[cfg(test)]
    pub(crate) fn stream_refusals_of(&self, why: StreamRefusal) -> u64 {
        self.stream_refusals[why as usize].load(Ordering::Relaxed)
    }

    fn stream_refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = StreamRefusal::ALL.iter().map(|(_, name)| *name);
        names.zip(self.stream_refusals.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// The TURN server has said no.
    pub(crate) fn turn_refused(&self, code: u16) {
        let at = TURN_CODES.iter().position(|(known, _)| *known == code);
        self.turn_refusals[at.unwrap_or(TURN_CODES.len())].fetch_add(1, Ordering::Relaxed);
    }

    fn turn_refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = TURN_CODES.iter().map(|(_, name)| *name).chain(["other"]);
        names.zip(self.turn_refusals.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// A WebSocket has ended with this close code, whoever sent it.
    pub(crate) fn ws_closed(&self, code: Option<u16>) {
        let known = |code| CLOSE_CODES.iter().position(|(known, _)| *known == code);
        let other = CLOSE_CODES.len();
        let at = code.map_or(other + 1, |code| known(code).unwrap_or(other));
        self.ws_closed[at].fetch_add(1, Ordering::Relaxed);
    }

    fn auth_failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = AuthFailure::ALL.iter().map(|(_, name)| *name);
        names.zip(&self.auth_failures).map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }

    fn closed_websockets(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = CLOSE_CODES.iter().map(|(_, name)| *name).chain(["other", "none"]);
        names.zip(&self.ws_closed).map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

/// What there is to tell at one moment.
pub(crate) struct Observed<'a> {
    pub(crate) census: Census,
    /// One for each shard.
    pub(crate) shards: &'a [ShardCounters],
    pub(crate) counters: &'a Counters,
    /// When the certificate ends, if TLS ends here.
    pub(crate) certificate_not_after: Option<UnixMs>,
    pub(crate) is_draining: bool,
}

impl Observed<'_> {
    /// Of all shards together.
    fn sum(&self, value: fn(&ShardCounters) -> u64) -> u64 {
        self.shards.iter().map(value).sum()
    }

    /// Of all shards together.
    fn merged(&self, histogram: fn(&ShardCounters) -> &Histogram) -> Histogram {
        let mut merged = Histogram::default();
        self.shards.iter().for_each(|shard| merged.merge(histogram(shard)));
        merged
    }

    /// Of each shard, with its number.
    fn each_shard(&self) -> impl Iterator<Item = (String, &ShardCounters)> {
        self.shards.iter().enumerate().map(|(index, shard)| (index.to_string(), shard))
    }
}

/// In the order of the page.
fn all() -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().chain(QUALITY)
}

/// The page of metrics, in the text form of Prometheus.
pub(crate) fn render(observed: &Observed<'_>) -> String {
    let process = Process::read();
    let mut page = Page::default();
    for metric in all() {
        let mut samples = page.metric(metric.name, metric.kind, metric.help);
        match metric.value {
            Value::Ours(value) => value(observed, &mut samples),
            Value::Process(value) => samples.maybe(value(&process)),
        }
    }
    page.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use exposition::Kind;

    /// The table as documentation has it.
    const DOCUMENTED: &str = include_str!("../../docs/metrics.md");

    fn page(shards: &[ShardCounters], counters: &Counters) -> String {
        render(&Observed {
            census: Census::default(),
            shards,
            counters,
            certificate_not_after: Some(UnixMs(1_800_000_000_500)),
            is_draining: false,
        })
    }

    /// The rows of the tables in the documentation whose first column begins so.
    fn documented(starts: &[&str]) -> Vec<&'static str> {
        let rows = DOCUMENTED.lines().filter(|line| {
            let name = line.strip_prefix("| `");
            name.is_some_and(|name| starts.iter().any(|start| name.starts_with(start)))
        });
        rows.collect()
    }

    #[test]
    fn the_documentation_says_of_every_metric_what_the_page_says() {
        let wanted: Vec<String> = all()
            .map(|metric| {
                let (kind, help) = (metric.kind.name(), metric.help);
                format!("| `{}` | {kind} | {} | {help} |", metric.name, metric.labels)
            })
            .collect();
        let rows = documented(&["aula_", "process_"]);
        assert!(rows == wanted, "docs/metrics.md wants these rows:\n{}", wanted.join("\n"));
    }

    #[test]
    fn the_documentation_has_every_reason_for_a_drop() {
        for (reason, _) in ShardCounters::new().drops {
            assert_eq!(documented(&[&format!("{reason}`")]).len(), 1, "{reason}");
        }
    }

    #[test]
    fn names_follow_the_rules() {
        for metric in all() {
            assert!(
                metric.name.starts_with("aula_") || metric.name.starts_with("process_"),
                "{}",
                metric.name
            );
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter);
            assert!(!metric.help.contains(['\\', '\n', '|']), "{}", metric.name);
        }
    }

    #[test]
    fn shards_add_up_or_are_told_apart() {
        let mut shard = ShardCounters { transports: 2, busy_ppm: 250_000, ..ShardCounters::new() };
        shard.rtp_in.audio.packets = 3;
        shard.rtp_out.video.bytes = 1_000_000_000_007;
        shard.join.add(20_000, 1);
        shard.lane_drops[0] = 9;
        let page = page(&[shard.clone(), shard], &Counters::default());
        for sample in [
            "aula_rtp_packets_total{direction=\"in\",kind=\"audio\"} 6\n",
            "aula_rtp_bytes_total{direction=\"out\",kind=\"video\"} 2000000000014\n",
            "aula_shard_transports{shard=\"1\"} 2\n",
            "aula_shard_busy_ratio{shard=\"0\"} 0.25\n",
            "aula_udp_drops_total{reason=\"srtp_denied\"} 0\n",
            "aula_join_seconds_bucket{le=\"0.016384\"} 0\n",
            "aula_join_seconds_bucket{le=\"0.032768\"} 2\n",
            "aula_join_seconds_sum 0.04\n",
            "aula_lane_drops_total{lane=\"1-0\"} 9\n",
            "aula_certificate_expiry_timestamp_seconds 1800000000.5\n",
            "aula_publications{kind=\"video\",codec=\"vp8\"} 0\n",
        ] {
            assert!(page.contains(sample), "{sample}{page}");
        }
        assert!(!page.contains("lane=\"0-0\""), "there is no such lane");
    }

    #[test]
    fn what_the_control_plane_counts_is_told_by_reason_and_code() {
        let counters = Counters::default();
        for (place, (why, _)) in AuthFailure::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, place, "{why:?} is counted by its place");
            counters.auth_failed(why);
        }
        counters.auth_failed(AuthFailure::Token);
        for (place, (why, _)) in StreamRefusal::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, place, "{why:?} is counted by its place");
            counters.stream_refused(why);
        }
        counters.turn_refused(403);
        counters.turn_refused(420);
        for code in [Some(1000), Some(1013), Some(4000), Some(4001), None] {
            counters.ws_closed(code);
        }
        let page = page(&[], &counters);
        for sample in [
            "aula_auth_failures_total{reason=\"password\"} 1\n",
            "aula_auth_failures_total{reason=\"no_password\"} 1\n",
            "aula_auth_failures_total{reason=\"token\"} 2\n",
            "aula_auth_failures_total{reason=\"malformed\"} 1\n",
            "aula_tcp_refused_total{reason=\"too_many\"} 1\n",
            "aula_turn_refused_total{code=\"403\"} 1\n",
            "aula_turn_refused_total{code=\"other\"} 1\n",
            "aula_turn_allocations 0\n",
            "aula_ws_closed_total{code=\"1000\"} 1\n",
            "aula_ws_closed_total{code=\"1001\"} 0\n",
            "aula_ws_closed_total{code=\"1013\"} 1\n",
            "aula_ws_closed_total{code=\"other\"} 2\n",
            "aula_ws_closed_total{code=\"none\"} 1\n",
        ] {
            assert!(page.contains(sample), "{sample}{page}");
        }
    }
}
