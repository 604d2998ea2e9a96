//! Ids that cross the control contract. All are plain integers, unique within one process, and
//! never reused; they name things, they never point at them.

use std::fmt;

/// The most shards one process runs: one per core, up to 16.
pub const SHARDS_MAX: usize = 16;

/// A shard: one pinned thread with its own socket, transports and timers. `0..SHARDS_MAX`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ShardId(pub u8);

impl ShardId {
    /// The index into per-shard tables.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A reader of a Source beside its local Subscribers, behind a lane.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReaderId {
    /// Another shard, with viewers of its own.
    Shard(ShardId),
    /// The recorder.
    Recorder,
}

/// The most readers of one Source.
pub(crate) const READERS_MAX: usize = SHARDS_MAX + 1;

impl ReaderId {
    /// The index into tables of lanes.
    pub fn index(self) -> usize {
        match self {
            Self::Shard(shard) => shard.index(),
            Self::Recorder => SHARDS_MAX,
        }
    }

    /// The reader behind a lane; beyond the shards it is the recorder.
    pub fn from_index(index: usize) -> Self {
        if index < SHARDS_MAX { Self::Shard(ShardId(index as u8)) } else { Self::Recorder }
    }

    /// Its bit in a set of readers.
    pub fn bit(self) -> u32 {
        1 << self.index()
    }

    /// The readers in a set.
    pub fn all_in(set: u32) -> impl Iterator<Item = Self> {
        let mut rest = set;
        std::iter::from_fn(move || {
            let first = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(Self::from_index(first))
        })
    }
}

/// A Transport: one ICE and DTLS association with one remote peer. Names its shard, because a
/// Transport never moves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransportId(u64);

impl TransportId {
    /// Builds an id from the shard that will own the Transport and a serial number
    /// (only its lower 56 bits are kept).
    pub fn new(shard: ShardId, serial: u64) -> Self {
        Self(u64::from(shard.0) << 56 | (serial & 0x00ff_ffff_ffff_ffff))
    }

    /// The shard that owns the Transport.
    pub fn shard(self) -> ShardId {
        ShardId((self.0 >> 56) as u8)
    }

    /// The integer form, for logs, stats and maps of other crates.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The inverse of [`Self::as_u64`].
    pub fn from_u64(raw: u64) -> Self {
        Self(raw)
    }
}

impl fmt::Debug for TransportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transport {}/{}", self.0 >> 56, self.0 & 0x00ff_ffff_ffff_ffff)
    }
}

/// A Publication: one upstream media source (RFC 7656 s2.1.10), that is one m-section of a
/// publishing Transport. Simulcast Encodings of the same source share it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PublicationId {
    /// The Transport that publishes.
    pub transport: TransportId,
    /// The index of the m-section in the publisher's SDP, from 0.
    pub m_line: u8,
}
