//! Every metric, once: its name, type, labels, meaning and value. `docs/metrics.md` says the same.

use std::sync::atomic::Ordering;

use signalling::UnixMs;

use super::Observed;
use super::exposition::{Kind, Samples};
use super::process::Process;
use crate::bridge::codec_labels;
use crate::recorder::TroubleKind;

pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The labels with their values, as the documentation has them.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test compares it with the documentation"))]
    pub(super) labels: &'static str,
    pub(super) help: &'static str,
    pub(super) value: Value,
}

/// Where its value comes from.
pub(super) enum Value {
    /// The server itself.
    Ours(fn(&Observed<'_>, &mut Samples<'_>)),
    /// The system, of any process; it may not say.
    Process(fn(&Process) -> Option<f64>),
}

/// In the order of the page.
pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "aula_build_info",
        kind: Kind::Gauge,
        labels: "`version`, `commit`",
        help: "Always 1: the version that runs, and the commit it was built from if that is known.",
        value: Value::Ours(|_, out| {
            let labels = [("version", env!("CARGO_PKG_VERSION")), ("commit", env!("AULA_COMMIT"))];
            out.labelled(&labels, 1);
        }),
    },
    Metric {
        name: "aula_groups",
        kind: Kind::Gauge,
        labels: "",
        help: "Groups in memory.",
        value: Value::Ours(|now, out| out.one(now.census.groups)),
    },
    Metric {
        name: "aula_clients",
        kind: Kind::Gauge,
        labels: "",
        help: "Members of groups.",
        value: Value::Ours(|now, out| out.one(now.census.clients)),
    },
    Metric {
        name: "aula_connections",
        kind: Kind::Gauge,
        labels: "",
        help: "Connections of clients, members or not: WebSockets, WHIP and WHEP sessions.",
        value: Value::Ours(|now, out| out.one(now.census.connections)),
    },
    Metric {
        name: "aula_streams",
        kind: Kind::Gauge,
        labels: "`direction`: `in`, `out`",
        help: "Streams that members send (in) and receive (out); one has audio, video or both.",
        value: Value::Ours(|now, out| out.in_and_out((now.census.ups, now.census.downs))),
    },
    Metric {
        name: "aula_draining",
        kind: Kind::Gauge,
        labels: "",
        help: "1 while the server is shutting down.",
        value: Value::Ours(|now, out| out.one(u8::from(now.is_draining))),
    },
    Metric {
        name: "aula_transports",
        kind: Kind::Gauge,
        labels: "`state`: `connecting`, `connected`, `silent`",
        help: "Media transports: ICE and DTLS not up yet, up, or up and not heard for 10 s.",
        value: Value::Ours(|now, out| {
            let mut state = |name, value| out.labelled(&[("state", name)], value);
            state("connecting", now.sum(|shard| shard.gauges.connecting));
            state("connected", now.sum(|shard| shard.gauges.connected));
            state("silent", now.sum(|shard| shard.gauges.silent));
        }),
    },
    Metric {
        name: "aula_publications",
        kind: Kind::Gauge,
        labels: "`kind`: `audio`, `video`; `codec`: `vp8`, `vp9`, `av1`, `h264`, `opus`, `g722`, \
                 `pcmu`, `pcma`",
        help: "Media sources that members send, by the codec that has arrived last.",
        value: Value::Ours(|now, out| {
            for (at, (kind, codec)) in codec_labels().enumerate() {
                let counts = now.shards.iter().filter_map(|s| s.gauges.publications.get(at));
                out.labelled(&[("kind", kind), ("codec", codec)], counts.sum::<u64>());
            }
        }),
    },
    Metric {
        name: "aula_subscriptions",
        kind: Kind::Gauge,
        labels: "`kind`: `audio`, `video`",
        help: "Media sources that viewers receive, each viewer by itself.",
        value: Value::Ours(|now, out| {
            out.labelled(&[("kind", "audio")], now.sum(|shard| shard.gauges.subscriptions.audio));
            out.labelled(&[("kind", "video")], now.sum(|shard| shard.gauges.subscriptions.video));
        }),
    },
    Metric {
        name: "aula_rtp_packets_total",
        kind: Kind::Counter,
        labels: "`direction`: `in`, `out`; `kind`: `audio`, `video`",
        help: "RTP packets taken in from publishers, and sealed for viewers; retransmissions too.",
        value: Value::Ours(|now, out| {
            let mut of = |direction, kind, value| {
                out.labelled(&[("direction", direction), ("kind", kind)], value);
            };
            of("in", "audio", now.sum(|shard| shard.rtp_in.audio.packets));
            of("in", "video", now.sum(|shard| shard.rtp_in.video.packets));
            of("out", "audio", now.sum(|shard| shard.rtp_out.audio.packets));
            of("out", "video", now.sum(|shard| shard.rtp_out.video.packets));
        }),
    },
    Metric {
        name: "aula_rtp_bytes_total",
        kind: Kind::Counter,
        labels: "`direction`: `in`, `out`; `kind`: `audio`, `video`",
        help: "Bytes of those packets as SRTP, without UDP and IP.",
        value: Value::Ours(|now, out| {
            let mut of = |direction, kind, value| {
                out.labelled(&[("direction", direction), ("kind", kind)], value);
            };
            of("in", "audio", now.sum(|shard| shard.rtp_in.audio.bytes));
            of("in", "video", now.sum(|shard| shard.rtp_in.video.bytes));
            of("out", "audio", now.sum(|shard| shard.rtp_out.audio.bytes));
            of("out", "video", now.sum(|shard| shard.rtp_out.video.bytes));
        }),
    },
    Metric {
        name: "aula_retransmits_total",
        kind: Kind::Counter,
        labels: "",
        help: "RTP packets sent to viewers again.",
        value: Value::Ours(|now, out| out.one(now.sum(|shard| shard.retransmitted))),
    },
    Metric {
        name: "aula_probe_bytes_total",
        kind: Kind::Counter,
        labels: "",
        help: "Octets of padding and of packets repeated unasked, to find out what paths take.",
        value: Value::Ours(|now, out| out.one(now.sum(|shard| shard.probed_bytes))),
    },
    Metric {
        name: "aula_nacks_total",
        kind: Kind::Counter,
        labels: "`direction`: `in`, `out`",
        help: "RTP packets that viewers asked for again (in), and that publishers were asked for \
               again (out).",
        value: Value::Ours(|now, out| {
            out.in_and_out((now.sum(|shard| shard.nacked_in), now.sum(|shard| shard.nacked_out)));
        }),
    },
    Metric {
        name: "aula_keyframe_requests_total",
        kind: Kind::Counter,
        labels: "`direction`: `in`, `out`",
        help: "Keyframe requests from viewers (in), and to publishers (out).",
        value: Value::Ours(|now, out| {
            let into = now.sum(|shard| shard.keyframe_requests_in);
            out.in_and_out((into, now.sum(|shard| shard.keyframe_requests_out)));
        }),
    },
    Metric {
        name: "aula_layer_switches_total",
        kind: Kind::Counter,
        labels: "`direction`: `up`, `down`",
        help: "Changes of viewers to a better (up) or worse (down) encoding or layer.",
        value: Value::Ours(|now, out| {
            out.labelled(&[("direction", "up")], now.sum(|shard| shard.switches.up));
            out.labelled(&[("direction", "down")], now.sum(|shard| shard.switches.down));
        }),
    },
    Metric {
        name: "aula_forward_seconds",
        kind: Kind::Histogram,
        labels: "",
        help: "From reading a packet until the kernel has taken its copy for a viewer, one entry \
               for each copy; of packets that leave together the oldest counts.",
        value: Value::Ours(|now, out| out.histogram(&now.merged(|shard| &shard.forward))),
    },
    Metric {
        name: "aula_join_seconds",
        kind: Kind::Histogram,
        labels: "",
        help: "From a transport's first offer, taken from a publisher or player or made to a \
               viewer, until ICE and DTLS are up.",
        value: Value::Ours(|now, out| out.histogram(&now.merged(|shard| &shard.join))),
    },
    Metric {
        name: "aula_ice_failures_total",
        kind: Kind::Counter,
        labels: "`reason`: `no_check`, `consent_expired`",
        help: "Transports without any connectivity check in time, and connected ones that vanished.",
        value: Value::Ours(|now, out| {
            out.labelled(&[("reason", "no_check")], now.sum(|shard| shard.ice_unchecked));
            out.labelled(&[("reason", "consent_expired")], now.sum(|shard| shard.ice_expired));
        }),
    },
    Metric {
        name: "aula_path_changes_total",
        kind: Kind::Counter,
        labels: "",
        help: "Connected transports whose packets have taken another way to the peer.",
        value: Value::Ours(|now, out| out.one(now.sum(|shard| shard.path_changes))),
    },
    Metric {
        name: "aula_path_checks_total",
        kind: Kind::Counter,
        labels: "`result`: `sent`, `answered`",
        help: "Checks of our own, whether a path leads to the peer and the peer still wants media.",
        value: Value::Ours(|now, out| {
            out.labelled(&[("result", "sent")], now.sum(|shard| shard.consent_questions));
            out.labelled(&[("result", "answered")], now.sum(|shard| shard.consent_answers));
        }),
    },
    Metric {
        name: "aula_dtls_failures_total",
        kind: Kind::Counter,
        labels: "",
        help: "DTLS handshakes that failed or did not end in time.",
        value: Value::Ours(|now, out| out.one(now.sum(|shard| shard.dtls_failures))),
    },
    Metric {
        name: "aula_transport_panics_total",
        kind: Kind::Counter,
        labels: "",
        help: "Transports ended by a fault of the peer engine: each is a bug worth a report.",
        value: Value::Ours(|now, out| out.one(now.sum(|shard| shard.engine_faults))),
    },
    Metric {
        name: "aula_udp_datagrams_total",
        kind: Kind::Counter,
        labels: "`direction`: `in`, `out`",
        help: "Datagrams read from the sockets, and handed to the kernel.",
        value: Value::Ours(|now, out| {
            let into = now.sum(|shard| shard.datagrams_in);
            out.in_and_out((into, now.sum(|shard| shard.datagrams_out)));
        }),
    },
    Metric {
        name: "aula_udp_bytes_total",
        kind: Kind::Counter,
        labels: "`direction`: `in`, `out`",
        help: "Bytes of those datagrams, without UDP and IP.",
        value: Value::Ours(|now, out| {
            out.in_and_out((now.sum(|shard| shard.bytes_in), now.sum(|shard| shard.bytes_out)));
        }),
    },
    Metric {
        name: "aula_tcp_connections",
        kind: Kind::Gauge,
        labels: "",
        help: "TCP connections that carry media (ICE-TCP).",
        value: Value::Ours(|now, out| out.one(now.sum(|shard| shard.streams))),
    },
    Metric {
        name: "aula_tcp_connections_total",
        kind: Kind::Counter,
        labels: "",
        help: "TCP connections that named one of our transports.",
        value: Value::Ours(|now, out| out.one(now.sum(|shard| shard.streams_taken))),
    },
    Metric {
        name: "aula_tcp_refused_total",
        kind: Kind::Counter,
        labels: "`reason`: `foreign`, `late`, `too_many`, `busy`",
        help: "Connections that were to carry media and were closed at once: no check of a peer of ours, \
               or not in time, or too many of them, or no shard has time.",
        value: Value::Ours(|now, out| {
            for (reason, count) in now.counters.stream_refusals() {
                out.labelled(&[("reason", reason)], count);
            }
        }),
    },
    Metric {
        name: "aula_turn_allocations",
        kind: Kind::Gauge,
        labels: "",
        help: "Allocations of the TURN server. Their media counts as that of TCP connections.",
        value: Value::Ours(|now, out| {
            out.one(now.counters.turn_allocations.load(Ordering::Relaxed))
        }),
    },
    Metric {
        name: "aula_turn_refused_total",
        kind: Kind::Counter,
        labels: "`code`: `401`, `403`, `437`, `438`, `486`, `508`, `other`",
        help: "What the TURN server has refused, by RFC 8656's code. Every client begins with a 401; 403 is a peer \
               that is none of our candidates, or credentials that have ended.",
        value: Value::Ours(|now, out| {
            for (code, count) in now.counters.turn_refusals() {
                out.labelled(&[("code", code)], count);
            }
        }),
    },
    Metric {
        name: "aula_tcp_frames_total",
        kind: Kind::Counter,
        labels: "`direction`: `in`, `out`",
        help: "Frames read from TCP connections, and handed to them.",
        value: Value::Ours(|now, out| {
            out.in_and_out((now.sum(|shard| shard.frames_in), now.sum(|shard| shard.frames_out)));
        }),
    },
    Metric {
        name: "aula_tcp_bytes_total",
        kind: Kind::Counter,
        labels: "`direction`: `in`, `out`",
        help: "Bytes of those frames.",
        value: Value::Ours(|now, out| {
            let into = now.sum(|shard| shard.frame_bytes_in);
            out.in_and_out((into, now.sum(|shard| shard.frame_bytes_out)));
        }),
    },
    Metric {
        name: "aula_udp_drops_total",
        kind: Kind::Counter,
        labels: "`reason`: see below",
        help: "What went no further, by reason.",
        value: Value::Ours(|now, out| {
            let Some(first) = now.shards.first() else {
                return;
            };
            for (index, (reason, _)) in first.drops.iter().enumerate() {
                let dropped = now.shards.iter().filter_map(|shard| shard.drops.get(index));
                out.labelled(&[("reason", reason)], dropped.map(|(_, count)| count).sum::<u64>());
            }
        }),
    },
    Metric {
        name: "aula_socket_overflows_total",
        kind: Kind::Counter,
        labels: "",
        help: "Datagrams that the kernel dropped before they could be read: no room in the \
               receive buffers, or a wrong checksum.",
        value: Value::Ours(|now, out| out.one(now.sum(|shard| shard.socket_overflows))),
    },
    Metric {
        name: "aula_lane_packets_total",
        kind: Kind::Counter,
        labels: "`direction`: `in`, `out`",
        help: "Packets copied to other shards (out), and taken from them (in).",
        value: Value::Ours(|now, out| {
            out.in_and_out((now.sum(|shard| shard.lane_in), now.sum(|shard| shard.lane_out)));
        }),
    },
    Metric {
        name: "aula_recordings",
        kind: Kind::Gauge,
        labels: "",
        help: "Recordings that run.",
        value: Value::Ours(|now, out| {
            out.one(now.counters.recording.sessions.load(Ordering::Relaxed))
        }),
    },
    Metric {
        name: "aula_recording_bytes_total",
        kind: Kind::Counter,
        labels: "",
        help: "Bytes of fragments written to recordings.",
        value: Value::Ours(|now, out| {
            out.one(now.counters.recording.bytes.load(Ordering::Relaxed))
        }),
    },
    Metric {
        name: "aula_recording_fragments_total",
        kind: Kind::Counter,
        labels: "",
        help: "Fragments written to recordings.",
        value: Value::Ours(|now, out| {
            out.one(now.counters.recording.fragments.load(Ordering::Relaxed))
        }),
    },
    Metric {
        name: "aula_recording_files_total",
        kind: Kind::Counter,
        labels: "",
        help: "Files of recordings begun.",
        value: Value::Ours(|now, out| {
            out.one(now.counters.recording.files.load(Ordering::Relaxed))
        }),
    },
    Metric {
        name: "aula_recording_gaps_total",
        kind: Kind::Counter,
        labels: "",
        help: "Losses in recorded streams that no retransmission made good.",
        value: Value::Ours(|now, out| out.one(now.counters.recording.gaps.load(Ordering::Relaxed))),
    },
    Metric {
        name: "aula_recording_failures_total",
        kind: Kind::Counter,
        labels: "",
        help: "Recordings that could not begin or go on.",
        value: Value::Ours(|now, out| {
            out.one(now.counters.recording.failures.load(Ordering::Relaxed))
        }),
    },
    Metric {
        name: "aula_recordings_interrupted",
        kind: Kind::Gauge,
        labels: "",
        help: "Of the recordings that run, those that cannot be written at present.",
        value: Value::Ours(|now, out| {
            out.one(now.counters.recording.interrupted.load(Ordering::Relaxed))
        }),
    },
    Metric {
        name: "aula_recording_interruptions_total",
        kind: Kind::Counter,
        labels: "`reason`: `full`, `limit`, `not_writable`, `gone`, `failed`, `other`",
        help: "Attempts to write a recording that failed: no room, more than is allowed, no permission, \
               no folder, a broken disk.",
        value: Value::Ours(|now, out| {
            let counts = &now.counters.recording.interruptions;
            for ((_, reason), count) in TroubleKind::ALL.iter().zip(counts) {
                out.labelled(&[("reason", reason)], count.load(Ordering::Relaxed));
            }
        }),
    },
    Metric {
        name: "aula_recording_expired_total",
        kind: Kind::Counter,
        labels: "",
        help: "Files of recordings deleted because they were as old as they may get.",
        value: Value::Ours(|now, out| {
            out.one(now.counters.recording.expired.load(Ordering::Relaxed))
        }),
    },
    Metric {
        name: "aula_recording_stored_bytes",
        kind: Kind::Gauge,
        labels: "",
        help: "Bytes in the folder of recordings, counted every 30 s.",
        value: Value::Ours(|now, out| {
            out.one(now.counters.recording.stored_bytes.load(Ordering::Relaxed))
        }),
    },
    Metric {
        name: "aula_recording_free_bytes",
        kind: Kind::Gauge,
        labels: "",
        help: "Bytes left on the disk of recordings, looked at every 30 s.",
        value: Value::Ours(|now, out| {
            out.one(now.counters.recording.free_bytes.load(Ordering::Relaxed))
        }),
    },
    Metric {
        name: "aula_recording_packets_total",
        kind: Kind::Counter,
        labels: "",
        help: "Packets given to the recorder.",
        value: Value::Ours(|now, out| out.one(now.sum(|shard| shard.recorded))),
    },
    Metric {
        name: "aula_recording_drops_total",
        kind: Kind::Counter,
        labels: "",
        help: "Packets that the recorder was too slow for.",
        value: Value::Ours(|now, out| {
            let left_out = now.counters.recording.left_out.load(Ordering::Relaxed);
            out.one(now.sum(|shard| shard.unrecorded) + left_out)
        }),
    },
    Metric {
        name: "aula_lane_drops_total",
        kind: Kind::Counter,
        labels: "`lane`: the two shards, such as `0-1`",
        help: "Packets that did not fit into the queue from one shard to another.",
        value: Value::Ours(|now, out| {
            for (from, shard) in now.each_shard() {
                for (to, count) in now.each_shard().map(|(to, _)| to).zip(shard.lane_drops) {
                    if from != to {
                        out.labelled(&[("lane", &format!("{from}-{to}"))], count);
                    }
                }
            }
        }),
    },
    Metric {
        name: "aula_shard_transports",
        kind: Kind::Gauge,
        labels: "`shard`",
        help: "Media transports on a shard.",
        value: Value::Ours(|now, out| {
            for (index, shard) in now.each_shard() {
                out.labelled(&[("shard", &index)], shard.transports);
            }
        }),
    },
    Metric {
        name: "aula_shard_busy_ratio",
        kind: Kind::Gauge,
        labels: "`shard`",
        help: "The share of the last second in which a shard's thread did not wait for input.",
        value: Value::Ours(|now, out| {
            for (index, shard) in now.each_shard() {
                out.labelled(&[("shard", &index)], shard.busy_ppm as f64 / 1e6);
            }
        }),
    },
    Metric {
        name: "aula_shard_loop_seconds",
        kind: Kind::Histogram,
        labels: "",
        help: "How long each turn of a shard's loop took, from waking up to waiting again.",
        value: Value::Ours(|now, out| out.histogram(&now.merged(|shard| &shard.turns))),
    },
    Metric {
        name: "aula_ws_closed_total",
        kind: Kind::Counter,
        labels: "`code`: `1000`, `1001`, `1002`, `1003`, `1007`, `1008`, `1009`, `1011`, `1013`, \
                 `other`, `none`",
        help: "WebSockets that have ended, by close code, whichever side sent it.",
        value: Value::Ours(|now, out| {
            for (code, count) in now.counters.closed_websockets() {
                out.labelled(&[("code", code)], count);
            }
        }),
    },
    Metric {
        name: "aula_auth_failures_total",
        kind: Kind::Counter,
        labels: "`reason`: `password`, `no_password`, `token`, `malformed`, `throttled`",
        help: "Refused credentials: a wrong password, a user of a group without one or that does not exist, \
               a token, a header that cannot be read, a guess too many.",
        value: Value::Ours(|now, out| {
            for (reason, count) in now.counters.auth_failures() {
                out.labelled(&[("reason", reason)], count);
            }
        }),
    },
    Metric {
        name: "aula_api_requests_total",
        kind: Kind::Counter,
        labels: "",
        help: "Requests to the administration API.",
        value: Value::Ours(|now, out| out.one(now.counters.api_requests.load(Ordering::Relaxed))),
    },
    Metric {
        name: "aula_certificate_expiry_timestamp_seconds",
        kind: Kind::Gauge,
        labels: "",
        help: "When the certificate in use ends, in seconds since 1970; absent where TLS ends \
               elsewhere.",
        value: Value::Ours(|now, out| {
            out.maybe(now.certificate_not_after.map(|UnixMs(ms)| ms as f64 / 1000.0));
        }),
    },
    Metric {
        name: "process_cpu_seconds_total",
        kind: Kind::Counter,
        labels: "",
        help: "CPU time, of user and system.",
        value: Value::Process(|process| process.cpu_seconds),
    },
    Metric {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge,
        labels: "",
        help: "Resident memory.",
        value: Value::Process(|process| process.resident_bytes.map(|value| value as f64)),
    },
    Metric {
        name: "process_open_fds",
        kind: Kind::Gauge,
        labels: "",
        help: "Open files and sockets.",
        value: Value::Process(|process| process.open_files.map(|value| value as f64)),
    },
    Metric {
        name: "process_max_fds",
        kind: Kind::Gauge,
        labels: "",
        help: "Files and sockets that may be open at once.",
        value: Value::Process(|process| process.files_max.map(|value| value as f64)),
    },
    Metric {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        labels: "",
        help: "When the process started, in seconds since 1970.",
        value: Value::Process(|process| process.start_seconds),
    },
];
