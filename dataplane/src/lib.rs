//! The data plane: RTP forwarding on pinned, share-nothing shards.

mod api;
mod canonical;
mod descriptor;
mod error;
mod extension;
mod forward;
mod handle;
mod id;
mod ring;
mod rtcp;
mod rtp;
mod sdp;
mod srtp;
mod stats;
mod stun;
mod ufrag;

pub use api::{
    Codec, Command, Config, Event, LayerCap, Listening, MediaKind, PublicationInfo,
    SubscriptionSpec, UdpPorts,
};
pub use error::{CloseReason, PeerError, StartError};
pub use handle::{Busy, DataPlane};
pub use id::{PublicationId, SHARDS_MAX, ShardId, TransportId};
pub use stats::Counters;
