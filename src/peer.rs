//! Who is at the other end of a connection that brings requests.

use std::net::IpAddr;

use crate::redacted::Redacted;

/// Who asks, and how.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// `ip:port`, that of the client if a trusted proxy names it; nothing over a Unix socket.
    pub(crate) address: Option<Redacted<String>>,
    /// Our address that the connection has reached.
    pub(crate) local: Option<IpAddr>,
    /// Whether the client uses TLS.
    pub(crate) is_tls: bool,
}
