//! What the clients of a run have counted together.

use crate::measure::Histogram;

/// Sums since the last reset.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Packets sent by publishers.
    pub published: u64,
    /// Packets that the streams' sequence numbers say there were.
    pub expected: u64,
    /// Packets received, each once.
    pub received: u64,
    /// Packets received again.
    pub duplicate: u64,
    /// Packets whose tag was checked.
    pub verified: u64,
    /// Packets whose tag or payload was wrong.
    pub bad: u64,
    /// Gaps of more than 500 ms in a video stream.
    pub freezes: u64,
    /// Viewer streams that are there, and that have had media.
    pub streams: usize,
    /// See `streams`.
    pub streams_up: usize,
    /// RTP streams (audio or video) that flow.
    pub flows: usize,
    /// One-way latency of verified packets.
    pub latency: Histogram,
    /// From the beginning of the join to the first packet, in milliseconds, one per stream.
    pub join_ms: Vec<u64>,
}
