//! How viewers fare, all together: what `.stats` has of each.

use super::exposition::Kind;
use super::table::{Metric, Value};
use crate::bridge::ESTIMATES_BPS;

/// Behind the others on the page.
pub(super) const QUALITY: &[Metric] = &[
    Metric {
        name: "aula_viewer_rtt_seconds",
        kind: Kind::Histogram,
        labels: "",
        help: "Round trips to viewers, one entry for each of their reports that tells one.",
        value: Value::Ours(|now, out| out.histogram(&now.merged(|shard| &shard.round_trips))),
    },
    Metric {
        name: "aula_viewer_jitter_seconds",
        kind: Kind::Histogram,
        labels: "",
        help: "Interarrival jitter at viewers, one entry for each stream in each of their reports.",
        value: Value::Ours(|now, out| out.histogram(&now.merged(|shard| &shard.jitters))),
    },
    Metric {
        name: "aula_viewer_lost_packets_total",
        kind: Kind::Counter,
        labels: "",
        help: "RTP packets that viewers have reported as lost, whether sent again later or not.",
        value: Value::Ours(|now, out| out.one(now.sum(|shard| shard.lost))),
    },
    Metric {
        name: "aula_viewers_by_estimate",
        kind: Kind::Gauge,
        labels: "`up_to`: `150000`, `300000`, `600000`, `1200000`, `2500000`, `5000000`, `more`",
        help: "Clients that receive media, by what their paths are believed to take, in bits per \
               second: up to this and more than the one before.",
        value: Value::Ours(|now, out| {
            let bounds = ESTIMATES_BPS.map(|bound| bound.to_string());
            let names = bounds.iter().map(String::as_str).chain(["more"]);
            for (class, name) in names.enumerate() {
                let counts = now.shards.iter().filter_map(|s| s.gauges.estimates.get(class));
                out.labelled(&[("up_to", name)], counts.sum::<u64>());
            }
        }),
    },
    Metric {
        name: "aula_viewer_pictures",
        kind: Kind::Gauge,
        labels: "`state`: `whole`, `reduced`, `held`",
        help: "Pictures that viewers receive: all that they wish for, a smaller encoding or layer \
               because their path takes no more, or nothing because it does not even take that.",
        value: Value::Ours(|now, out| {
            let mut state = |name, value| out.labelled(&[("state", name)], value);
            state("whole", now.sum(|shard| shard.gauges.pictures.whole));
            state("reduced", now.sum(|shard| shard.gauges.pictures.reduced));
            state("held", now.sum(|shard| shard.gauges.pictures.held));
        }),
    },
    Metric {
        name: "aula_picture_freezes_total",
        kind: Kind::Counter,
        labels: "",
        help: "Times that none of a publisher's pictures went on to a viewer for a second although \
               they came. What is lost behind the server is not in it.",
        value: Value::Ours(|now, out| out.one(now.sum(|shard| shard.stills))),
    },
];
