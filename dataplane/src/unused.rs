//! M-sections of a description that cannot be used, and why, for whoever wrote it.

use std::fmt;

/// Why an m-section cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// It is neither audio nor video.
    Kind,
    /// Not RTP over DTLS.
    Protocol(String),
    /// None of its formats is one that we take and that may be used.
    Formats,
    /// It is not in the bundle of the first one, and there is one transport only.
    NotBundled,
    /// It used to carry another kind of media.
    KindChanged,
}

/// An m-section that is not used, for its writer to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unused {
    /// Which, from 0.
    pub m_line: usize,
    /// What it is called in the `m=` line.
    pub media: String,
    /// Why.
    pub why: Why,
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { m_line, media, why } = self;
        write!(f, "m-section {} ({media}): ", m_line + 1)?;
        match why {
            Why::Kind => write!(f, "only audio and video are taken"),
            Why::Protocol(proto) => {
                write!(f, "the transport protocol {proto} is not RTP over DTLS")
            }
            Why::Formats => write!(
                f,
                "none of its formats can be used here: each has a codec, clock rate or parameters \
                 that are not taken, or a payload type from 64 to 95"
            ),
            Why::NotBundled => {
                write!(f, "a=group:BUNDLE does not name it together with the first one")
            }
            Why::KindChanged => write!(f, "it used to carry another kind of media"),
        }
    }
}
