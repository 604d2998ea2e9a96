//! The ids that signalling deals in. Integers name things of this process; strings come from
//! clients and are validated here once.

use std::fmt;
use std::sync::Arc;

/// The longest client or stream id. Stock clients use 32 hex digits.
const ID_BYTES_MAX: usize = 256;

/// One connection of a client: a WebSocket, or a WHIP session. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConnId(pub u64);

/// One media transport, as signalling names it. The bridge maps it to the data plane's own id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct MediaId(pub u64);

/// A request from outside that waits for its answer, such as an HTTP request. Chosen by the
/// asker, never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ticket(pub u64);

/// One m-section of a publishing transport.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PublicationKey {
    /// The transport that the section comes over.
    pub media: MediaId,
    /// The index of the m-section in the publisher's SDP, from 0.
    pub m_line: u8,
}

/// An id chosen by a client cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum IdError {
    /// It has no characters.
    Empty,
    /// It has more than 256 bytes.
    TooLong,
    /// It has a control character.
    Control,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty id",
            Self::TooLong => "id is longer than 256 bytes",
            Self::Control => "id has a control character",
        })
    }
}

impl std::error::Error for IdError {}

fn checked(id: &str) -> Result<Arc<str>, IdError> {
    if id.is_empty() {
        return Err(IdError::Empty);
    }
    if id.len() > ID_BYTES_MAX {
        return Err(IdError::TooLong);
    }
    if id.chars().any(char::is_control) {
        return Err(IdError::Control);
    }
    Ok(id.into())
}

/// The id under which a client is known in its group, chosen by the client.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// Checks length and characters.
    pub fn parse(id: &str) -> Result<Self, IdError> {
        checked(id).map(Self)
    }

    /// As it goes over the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a stream, chosen by its publisher and the same for all its viewers.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct StreamId(Arc<str>);

impl StreamId {
    /// Checks length and characters.
    pub fn parse(id: &str) -> Result<Self, IdError> {
        checked(id).map(Self)
    }

    /// As it goes over the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_bounded_and_printable() {
        assert_eq!(ClientId::parse(""), Err(IdError::Empty));
        assert_eq!(StreamId::parse(&"a".repeat(257)), Err(IdError::TooLong));
        assert_eq!(StreamId::parse("a\0b"), Err(IdError::Control));
        assert_eq!(ClientId::parse("9f").map(|id| id.as_str().to_owned()), Ok("9f".to_owned()));
    }
}
