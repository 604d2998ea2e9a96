//! Plain counters of a shard, copied out by value about once per second.

/// Sums since the start unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Transports alive now.
    pub transports: u64,
    /// Datagrams read from the sockets.
    pub datagrams_in: u64,
    /// RTP packets that passed authentication.
    pub rtp_in: u64,
    /// RTP packets sealed for viewers.
    pub rtp_out: u64,
    /// Datagrams handed to the kernel.
    pub datagrams_out: u64,
    /// Bytes of those.
    pub bytes_out: u64,
    /// What was dropped, by reason: `(name, count)` in a fixed order.
    pub drops: Vec<(&'static str, u64)>,
}
