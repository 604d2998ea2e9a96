//! What one shard tells another beside media: rare, and never lost.

use std::net::SocketAddr;

use crate::demand::Demand;
use crate::id::{PublicationId, ReaderId, ShardId};

/// What one shard says to another, beside packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PeerMessage {
    /// `from` has viewers of a Publication, or records it.
    Attach {
        /// Of what.
        publication: PublicationId,
        /// Which reader.
        from: ReaderId,
    },
    /// It has no use for it any more.
    Detach {
        /// Of what.
        publication: PublicationId,
        /// Which reader.
        from: ReaderId,
    },
    /// A peer of `owner` has proven this address; or, without an owner, no longer has it.
    Route {
        /// The address.
        address: SocketAddr,
        /// Whose peer.
        owner: Option<ShardId>,
    },
    /// What the viewers on `from` ask of a Publication.
    Demand {
        /// Of what.
        publication: PublicationId,
        /// Which shard.
        from: ShardId,
        /// What they ask.
        demand: Demand,
    },
    /// What the publisher of an only Encoding has been asked for, in bits per second; nothing if it may
    /// send what it likes.
    Asked {
        /// Of what.
        publication: PublicationId,
        /// What it shall keep within.
        bound_bps: Option<u64>,
    },
    /// Whether the publisher of pictures speaks.
    Speaking {
        /// Of what.
        publication: PublicationId,
        /// Whether.
        is_speaking: bool,
    },
    /// A viewer needs a keyframe.
    KeyframeWanted {
        /// Of what.
        publication: PublicationId,
        /// Of which Encoding.
        encoding: u8,
    },
}
