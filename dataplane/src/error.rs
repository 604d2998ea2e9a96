//! What can go wrong, by audience: [`PeerError`] for the remote that did it, [`CloseReason`] for
//! the control plane's log and the peer, [`StartError`] for the operator.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::unused::{Unused, Why};

/// A remote description that cannot be used. The text is fit for the peer's eyes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerError {
    /// The SDP is larger than 256 KiB.
    SdpTooLarge,
    /// A line is longer than 8 KiB.
    SdpLineTooLong {
        /// The line's number, from 1.
        line: usize,
    },
    /// More than 64 m-sections.
    TooManyMSections,
    /// Two m-sections share a mid.
    DuplicateMid {
        /// The line of the second.
        line: usize,
    },
    /// A mid that is no token (RFC 5888 s4).
    MidUnusable {
        /// The line's number, from 1.
        line: usize,
    },
    /// Not SDP.
    SdpSyntax {
        /// The line's number, from 1, if known; 0 otherwise.
        line: usize,
    },
    /// Syntactically right, but the engine cannot take it (answer without offer, changed order
    /// of m-sections, and the like).
    SdpUnusable,
    /// No ICE user name fragment or password.
    NoCredentials,
    /// No fingerprint of a certificate, or none by a hash that is safe.
    NoFingerprint {
        /// Whether there is one at all.
        is_weak: bool,
    },
    /// A later description names another certificate.
    CertificateChanged,
    /// An `a=setup` that leaves nobody to begin the handshake, or changes who did.
    SetupUnusable,
    /// RTP and RTCP would need a port each.
    NoRtcpMux,
    /// Both sides are ICE-lite.
    BothLite,
    /// A later offer has fewer m-sections, or the same in another order.
    SectionsMoved,
    /// An m-section that is needed cannot be used.
    SectionUnusable(Unused),
    /// None of the offered codecs may be used in this group.
    NoCommonCodec,
    /// The offer sends no media.
    NoMedia,
    /// A viewer's offer receives no media.
    NothingWanted,
    /// An offer made by us has not been answered yet.
    OfferOutstanding,
    /// An answer without an offer.
    NoOfferOutstanding,
    /// The server has as many Transports as it takes.
    ServerFull,
    /// More Subscriptions than one Transport takes (64).
    TooManySubscriptions,
}

impl PeerError {
    /// Whether the description breaks the syntax or the limits, whatever it says.
    pub fn is_malformed(&self) -> bool {
        matches!(
            self,
            Self::SdpTooLarge
                | Self::SdpLineTooLong { .. }
                | Self::TooManyMSections
                | Self::DuplicateMid { .. }
                | Self::MidUnusable { .. }
                | Self::SdpSyntax { .. }
        )
    }

    /// Whether other codecs would do.
    pub fn is_about_codecs(&self) -> bool {
        match self {
            Self::NoCommonCodec => true,
            Self::SectionUnusable(unused) => unused.why == Why::Formats,
            _ => false,
        }
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SdpTooLarge => write!(f, "SDP is larger than 256 KiB"),
            Self::SdpLineTooLong { line } => write!(f, "SDP line {line} is longer than 8 KiB"),
            Self::TooManyMSections => write!(f, "SDP has more than 64 m-sections"),
            Self::DuplicateMid { line } => write!(f, "SDP line {line} repeats a mid"),
            Self::MidUnusable { line } => {
                write!(f, "SDP line {line}: a mid must be a token, such as 0 or audio-1")
            }
            Self::SdpSyntax { line: 0 } => write!(f, "cannot parse SDP"),
            Self::SdpSyntax { line } => write!(f, "cannot parse SDP at line {line}"),
            Self::SdpUnusable => write!(f, "SDP does not fit this session"),
            Self::NoCredentials => write!(f, "SDP lacks a=ice-ufrag or a=ice-pwd"),
            Self::NoFingerprint { is_weak: false } => write!(f, "SDP lacks a=fingerprint"),
            Self::NoFingerprint { is_weak: true } => {
                write!(f, "SDP has no a=fingerprint by sha-256, sha-384 or sha-512")
            }
            Self::CertificateChanged => {
                write!(
                    f,
                    "a=fingerprint names another certificate than before: begin a new session"
                )
            }
            Self::SetupUnusable => {
                write!(
                    f,
                    "a=setup must be actpass, active or passive, and fit the handshake before"
                )
            }
            Self::NoRtcpMux => {
                write!(f, "SDP lacks a=rtcp-mux: there is one port for RTP and RTCP")
            }
            Self::BothLite => write!(f, "a=ice-lite on both sides: one must make the checks"),
            Self::SectionsMoved => {
                write!(f, "the offer must keep the m-sections of the one before, in their order")
            }
            Self::SectionUnusable(unused) => unused.fmt(f),
            Self::NoCommonCodec => write!(f, "none of the offered codecs is allowed here"),
            Self::NoMedia => write!(f, "the offer sends no audio or video"),
            Self::NothingWanted => write!(f, "the offer receives no audio or video"),
            Self::OfferOutstanding => write!(f, "an offer is still unanswered"),
            Self::NoOfferOutstanding => write!(f, "there is no offer to answer"),
            Self::ServerFull => write!(f, "the server is full, try again later"),
            Self::TooManySubscriptions => write!(f, "more than 64 subscriptions"),
        }
    }
}

impl std::error::Error for PeerError {}

/// Why a Transport ended other than by command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// ICE or DTLS did not come up in time.
    ConnectTimeout,
    /// No valid connectivity check for the consent time (RFC 7675).
    ConsentExpired,
    /// The peer closed DTLS.
    DtlsClosed,
    /// The DTLS handshake failed, or the engine gave up later.
    DtlsFailed,
    /// The peer has shown a certificate of a kind that cannot be used with its DTLS library, or none.
    CertificateUnusable,
    /// The peer has shown another certificate than its description names.
    WrongCertificate,
    /// The engine panicked or span; only this Transport is affected.
    EngineFault,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConnectTimeout => "no connection in time",
            Self::ConsentExpired => "the peer vanished",
            Self::DtlsClosed => "the peer closed the connection",
            Self::DtlsFailed => "the connection failed",
            Self::CertificateUnusable => {
                "the certificate cannot be used: make an ECDSA one, as browsers do by themselves"
            }
            Self::WrongCertificate => "the certificate is not the one in the description",
            Self::EngineFault => "internal fault of the peer engine",
        })
    }
}

/// The data plane cannot start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A UDP socket cannot be bound.
    Bind {
        /// Where.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Shard count outside 1..=16.
    ShardCount {
        /// What was asked for.
        shards: usize,
    },
    /// Fewer ports than shards.
    PortRange {
        /// Ports in the range.
        ports: usize,
        /// Shards wanted.
        shards: usize,
    },
    /// No address to advertise.
    NoAddress,
    /// Threads, polls or the DTLS certificate.
    System {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { addr, source } => write!(f, "cannot bind UDP {addr}: {source}"),
            Self::ShardCount { shards } => write!(f, "{shards} shards: must be 1 to 16"),
            Self::PortRange { ports, shards } => {
                write!(f, "{ports} UDP ports for {shards} shards: one port per shard is needed")
            }
            Self::NoAddress => write!(f, "no address to put into candidates"),
            Self::System { doing, source } => write!(f, "{doing}: {source}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. } | Self::System { source, .. } => Some(source),
            Self::ShardCount { .. } | Self::PortRange { .. } | Self::NoAddress => None,
        }
    }
}
