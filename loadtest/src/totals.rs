//! What the clients of a run have counted together.

use crate::measure::Histogram;

/// Sums since the last reset.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    /// Packets sent by publishers.
    pub published: u64,
    /// Packets that the streams' sequence numbers say there were.
    pub expected: u64,
    /// Packets received, each once.
    pub received: u64,
    pub duplicate: u64,
    /// Packets whose tag was checked.
    pub verified: u64,
    /// Packets whose tag or payload was wrong.
    pub bad: u64,
    /// Complete video frames, and pauses between two of them that count as freezes.
    pub frames: u64,
    pub freezes: u64,
    /// Picture ids that did not go on from the packet before.
    pub breaks: u64,
    /// Viewer streams that are there and have had media.
    pub streams_up: usize,
    /// Their RTP streams, audio or video.
    pub flows: usize,
    /// Of those, the ones that have fallen silent.
    pub silent: usize,
    /// One-way latency of verified packets.
    pub latency: Histogram,
    /// From the beginning of the join to the first packet, in milliseconds, one per stream.
    pub join_ms: Vec<u64>,
}
