//! Codecs, and what they are for.

/// Audio or video.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MediaKind {
    /// An `m=audio` section.
    Audio,
    /// An `m=video` section.
    Video,
}

/// A codec that a group may allow (docs/groups.md).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Codec {
    Vp8,
    Vp9,
    Av1,
    H264,
    Opus,
    G722,
    Pcmu,
    Pcma,
}

impl Codec {
    /// Every codec, in the order in which a group without a `codecs` field could register them.
    pub const ALL: [Self; 8] = [
        Self::Vp8,
        Self::Vp9,
        Self::Av1,
        Self::H264,
        Self::Opus,
        Self::G722,
        Self::Pcmu,
        Self::Pcma,
    ];

    /// The codec for a name as group files spell it (`vp8`, `opus`, ..), in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// The name as group files and SDP (but for case) spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "vp8",
            Self::Vp9 => "vp9",
            Self::Av1 => "av1",
            Self::H264 => "h264",
            Self::Opus => "opus",
            Self::G722 => "g722",
            Self::Pcmu => "pcmu",
            Self::Pcma => "pcma",
        }
    }

    /// Audio or video.
    pub fn kind(self) -> MediaKind {
        match self {
            Self::Vp8 | Self::Vp9 | Self::Av1 | Self::H264 => MediaKind::Video,
            Self::Opus | Self::G722 | Self::Pcmu | Self::Pcma => MediaKind::Audio,
        }
    }
}
