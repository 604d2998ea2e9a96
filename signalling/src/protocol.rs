//! The protocols over HTTP.

/// Which way the media goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// To us (RFC 9725).
    Whip,
    /// WHEP (draft-ietf-wish-whep): media goes from us to a player.
    Whep,
}

impl Protocol {
    /// The segment of its URLs behind the group's.
    pub(crate) fn segment(self) -> &'static str {
        match self {
            Self::Whip => ".whip",
            Self::Whep => ".whep",
        }
    }
}
