//! The RTP header extensions we know, how they are negotiated, and the ids we use ourselves.
//!
//! Towards viewers we are the offerer, so every viewer has the same ids: a packet's extension
//! block is written once for all of them in the *canonical* form (see `canonical.rs`).

use crate::codec::MediaKind;

/// A header extension (RFC 8285) that the data plane reads, forwards or writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Extension {
    /// RFC 6464: client-to-mixer audio level. Forwarded.
    AudioLevel = 1,
    /// abs-send-time: written anew per hop.
    AbsSendTime = 2,
    /// Transport-wide congestion control sequence number: written anew per hop.
    Twcc = 3,
    /// RFC 9143: MID. Written anew per hop.
    Mid = 4,
    /// 3GPP TS 26.114: coordination of video orientation. Forwarded.
    VideoOrientation = 5,
    /// Playout delay limits. Forwarded.
    PlayoutDelay = 6,
    /// abs-capture-time. Forwarded.
    AbsCaptureTime = 7,
    /// AV1 dependency descriptor. Forwarded.
    DependencyDescriptor = 8,
    /// RFC 8852: RID. Read only.
    Rid = 10,
    /// RFC 8852: repaired RID. Read only.
    RepairedRid = 11,
}

impl Extension {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::AudioLevel,
        Self::AbsSendTime,
        Self::Twcc,
        Self::Mid,
        Self::VideoOrientation,
        Self::PlayoutDelay,
        Self::AbsCaptureTime,
        Self::DependencyDescriptor,
        Self::Rid,
        Self::RepairedRid,
    ];

    /// The id under which we offer it, 1..=14.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The URI in `a=extmap`.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::Twcc => {
                "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
            }
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::VideoOrientation => "urn:3gpp:video-orientation",
            Self::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            Self::AbsCaptureTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
            Self::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
        }
    }

    /// The extension for a URI.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|extension| extension.uri() == uri)
    }

    /// Whether it makes sense with this kind of media.
    pub const fn is_for(self, kind: MediaKind) -> bool {
        match self {
            Self::AudioLevel => matches!(kind, MediaKind::Audio),
            Self::AbsSendTime | Self::Twcc | Self::Mid | Self::AbsCaptureTime => true,
            Self::VideoOrientation
            | Self::PlayoutDelay
            | Self::DependencyDescriptor
            | Self::Rid
            | Self::RepairedRid => matches!(kind, MediaKind::Video),
        }
    }

    /// Whether a publisher's value goes through to viewers; the dependency descriptor where it is of use, and
    /// with what each of them gets.
    pub const fn is_forwarded(self) -> bool {
        matches!(
            self,
            Self::AudioLevel
                | Self::VideoOrientation
                | Self::PlayoutDelay
                | Self::AbsCaptureTime
                | Self::DependencyDescriptor
        )
    }
}

/// The negotiated ids of one m-section: from the id on the wire to its meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionMap {
    by_id: [Option<Extension>; 15],
}

impl ExtensionMap {
    /// Records one `a=extmap`. Ids outside 1..=14 cannot be used with browsers' one-byte form
    /// and are left out, as are unknown URIs.
    pub fn insert(&mut self, id: u8, uri: &str) {
        if let (Some(place), Some(extension)) =
            (self.by_id.get_mut(usize::from(id)).filter(|_| id > 0), Extension::from_uri(uri))
        {
            *place = Some(extension);
        }
    }

    /// The meaning of an id.
    pub fn get(&self, id: u8) -> Option<Extension> {
        self.by_id.get(usize::from(id)).copied().flatten()
    }

    /// The id of an extension.
    pub fn id_of(&self, extension: Extension) -> Option<u8> {
        (1..15).find(|id| self.get(*id) == Some(extension))
    }
}
