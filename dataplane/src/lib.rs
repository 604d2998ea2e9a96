//! The data plane: RTP forwarding on pinned, share-nothing shards.

mod agree;
mod allocate;
mod api;
#[doc(hidden)]
pub mod bench;
mod bucket;
mod canonical;
mod ccfb;
mod checks;
mod choose;
#[doc(hidden)]
pub mod client;
mod clock;
mod codec;
mod congestion;
mod demand;
mod demux;
mod dependency;
mod describe;
mod descriptor;
mod dtls_openssl;
mod egress;
mod error;
mod extension;
#[doc(hidden)]
pub mod fanout;
mod fingerprint;
mod format;
mod forward;
mod framing;
#[doc(hidden)]
pub mod fuzz;
mod handle;
mod histogram;
mod id;
mod keys;
mod lane;
mod meter;
mod obu;
mod outbox;
mod path;
mod peer;
mod placement;
mod playout;
mod publication;
mod quality;
mod red;
mod repeats;
mod ring;
mod rtcp;
mod rtp;
mod run;
mod sdp;
mod sending;
mod shard;
#[doc(hidden)]
pub mod simulation;
mod source;
mod srtp;
mod stats;
mod stillness;
mod subscriber;
mod tape;
mod transport;
mod twcc;
mod ufrag;
mod unused;
mod voice;

pub use api::{
    Aim, ClientKey, Command, Config, EncodingRate, Event, Held, LayerCap, Layers, Listening,
    PathReport, PathStage, PublicationInfo, SubscriptionRate, SubscriptionSpec, UdpPorts,
    ViewOffer,
};
pub use codec::{Codec, MediaKind};
pub use error::{CloseReason, PeerError, StartError};
pub use framing::{FRAME_BYTES_MAX, FirstFrame, first_frame};
pub use handle::{Busy, DataPlane, Door};
pub use histogram::Histogram;
pub use id::{PublicationId, SHARDS_MAX, ShardId, TransportId};
pub use path::Over;
pub use stats::{ByKind, Counters, ESTIMATES_BPS, Gauges, Pictures, Switches, Traffic};
pub use tape::{Lanes, Tape, Taped, TapedPacket};
pub use unused::{Unused, Why};
pub use voice::VoiceReport;
