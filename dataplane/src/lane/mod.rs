//! From a publisher's shard to its readers, other shards and the recorder: the ring that carries records,
//! what a record is, and what is said beside them.

mod message;
pub(crate) mod record;
mod ring;

pub(crate) use message::PeerMessage;
pub(crate) use ring::{Consumer, Producer};
pub use ring::{LANE_BYTES, lane};
