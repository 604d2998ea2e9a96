//! What is measured: latencies, processes, and the numbers that make a result.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Latencies in logarithmic buckets of about 4 %, from 1 us to over an hour.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

const STEPS_PER_OCTAVE: f64 = 16.0;
const BUCKETS: usize = 512;

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    /// Adds a value in microseconds.
    pub(crate) fn add(&mut self, us: u64) {
        let at = ((us.max(1) as f64).log2() * STEPS_PER_OCTAVE) as usize;
        self.counts[at.min(BUCKETS - 1)] += 1;
        self.total += 1;
    }

    /// The value below which a share (0..=1) of all lies; `None` without values.
    pub(crate) fn quantile(&self, share: f64) -> Option<u64> {
        let rank = (share * self.total as f64).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank.max(1) {
                return Some(((at as f64 + 0.5) / STEPS_PER_OCTAVE).exp2() as u64);
            }
        }
        None
    }

    /// `(us, count)` of the buckets that hold something, for plots.
    pub(crate) fn buckets(&self) -> Vec<(u64, u64)> {
        let value = |at: usize| ((at as f64 + 0.5) / STEPS_PER_OCTAVE).exp2() as u64;
        let all = self.counts.iter().enumerate();
        all.filter(|(_, count)| **count > 0).map(|(at, count)| (value(at), *count)).collect()
    }
}

/// CPU time and memory of a process, from `/proc`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessUse {
    pub user: Duration,
    pub system: Duration,
    pub rss_bytes: u64,
}

impl ProcessUse {
    /// Reads a process's use; an error says which process is not there.
    pub(crate) fn read(pid: u32) -> Result<Self, String> {
        let gone = |error| format!("cannot read /proc/{pid}: {error}; is the server running?");
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(gone)?;
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).map_err(gone)?;
        Self::parse(&stat, &statm).ok_or_else(|| format!("cannot understand /proc/{pid}/stat"))
    }

    fn parse(stat: &str, statm: &str) -> Option<Self> {
        // The command name may hold anything but ends with the last parenthesis.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace().skip(11);
        let ticks =
            |field: Option<&str>| Some(Duration::from_millis(field?.parse::<u64>().ok()? * 10));
        let (user, system) = (ticks(fields.next())?, ticks(fields.next())?);
        let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
        Some(Self { user, system, rss_bytes: pages * 4096 })
    }

    /// CPU time since an earlier reading.
    pub(crate) fn cpu_since(&self, earlier: &Self) -> Duration {
        (self.user + self.system).saturating_sub(earlier.user + earlier.system)
    }
}

/// One run's result; what the table shows and the JSON holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    pub title: String,
    /// One of so many packets was verified.
    pub verify_every: u64,
    /// The seed of frame sizes and impairments.
    pub seed: u64,
    /// Seconds of the measured window.
    pub seconds: f64,
    /// Viewers that were asked for.
    pub viewers_wanted: usize,
    /// Viewers that received media.
    pub viewers_up: usize,
    /// Viewer streams (a viewer has one per publisher) expected and up.
    pub streams_wanted: usize,
    pub streams_up: usize,
    /// RTP streams, audio or video, that flowed to viewers.
    pub flows: usize,
    /// From the WebSocket's opening to the first media packet.
    pub join_ms_p50: Option<u64>,
    pub join_ms_p99: Option<u64>,
    /// RTP packets sent by the publishers.
    pub packets_published: u64,
    /// Packets that viewers should have, by the sequence numbers they saw.
    pub packets_expected: u64,
    /// Packets that viewers have.
    pub packets_received: u64,
    pub packets_duplicate: u64,
    /// Packets of which the tag was checked and the payload read.
    pub packets_verified: u64,
    /// Of those, packets that failed.
    pub packets_bad: u64,
    /// The share of expected packets that never came, 0..=1.
    pub loss: f64,
    /// Video frames of which all packets came.
    pub frames: u64,
    /// Pauses between complete frames of more than three times the frame interval, or 150 ms more
    /// than it, whichever is longer.
    pub freezes: u64,
    /// Picture ids (VP8, VP9, AV1) that did not go on from the verified packet before.
    pub picture_id_breaks: u64,
    /// One-way latency in microseconds: half of the packets took no longer.
    pub latency_us_p50: Option<u64>,
    pub latency_us_p99: Option<u64>,
    pub latency_us_p999: Option<u64>,
    /// Histogram for plots: microseconds and count.
    pub latency_histogram: Vec<(u64, u64)>,
    /// Server CPU seconds in the window, user and system, if `--pid` was given.
    pub server_cpu_s: Option<f64>,
    /// The user part of it.
    pub server_user_s: Option<f64>,
    /// The system part of it.
    pub server_system_s: Option<f64>,
    /// The same per packet that viewers received.
    pub cpu_us_per_packet: Option<f64>,
    /// Streams of audio or video that one core could forward at this cost.
    pub flows_per_core: Option<f64>,
    /// Resident memory of the server at the end.
    pub server_rss_bytes: Option<u64>,
    /// What the server grew per viewer.
    pub rss_bytes_per_viewer: Option<f64>,
    /// This machine's bare seal and send, measured in the same run.
    pub floor_us_per_packet: Option<f64>,
    /// `cpu_us_per_packet` as a multiple of the floor.
    pub floors: Option<f64>,
    /// What went wrong, in words.
    pub failures: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|us| histogram.add(us));
        for (share, expected) in [(0.5, 500.0), (0.99, 990.0)] {
            let found = histogram.quantile(share).expect("has values") as f64;
            assert!((found / expected - 1.0).abs() < 0.05, "{found}");
        }
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn a_command_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "12 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        let used = ProcessUse::parse(stat, "900 300 1 1 1 1 1").expect("parses");
        assert_eq!(used.user, Duration::from_millis(2500));
        assert_eq!(used.system, Duration::from_millis(500));
        assert_eq!(used.rss_bytes, 300 * 4096);
        assert!(ProcessUse::read(u32::MAX).is_err());
    }
}
