//! What the load harness shares with the server: sockets, SRTP, parsers, key capture. Not a
//! public interface.

pub use crate::descriptor::{FrameInfo, parse as parse_descriptor};
pub use crate::extension::{Extension, ExtensionMap};
pub use crate::keys::{KeyCell, lean_provider as provider, with_cell};
pub use crate::outbox::{BATCH_MAX, DATAGRAM_BYTES_MAX, Outbox, Outgoing, Wire};
pub use crate::path::Path;
pub use crate::peer::generate_certificate;
pub use crate::rtcp::{Feedback, ReportBlock, Writer, parse as parse_rtcp};
pub use crate::rtp::{ONE_BYTE_PROFILE, RtpHeader, TWO_BYTE_PROFILE};
pub use crate::run::{Receiver, UdpWire, bind};
pub use crate::sdp::{Description, Section};
pub use crate::srtp::{DtlsKeys, Opener, Profile, ReplayWindow, SEAL_OVERHEAD_MAX_BYTES, Sealer};
pub use crate::stats::Counters;
pub use crate::twcc::ArrivalLog;
