//! What publishers send in tests.

use str0m::rtp::ExtensionValues;

/// One packet to publish.
pub(super) struct Rtp<'a> {
    pub(super) seq: u64,
    pub(super) time: u32,
    pub(super) marker: bool,
    pub(super) rid: Option<&'a str>,
    pub(super) codec: str0m::format::Codec,
    pub(super) ext: ExtensionValues,
    pub(super) payload: Vec<u8>,
}

impl Rtp<'_> {
    /// A VP8 packet that is one frame, with a 15-bit picture id.
    pub(super) fn vp8(seq: u64, is_keyframe: bool) -> Self {
        let id = seq as u16 & 0x7fff;
        let mut payload = vec![0x90, 0x80, 0x80 | (id >> 8) as u8, id as u8];
        payload.push(u8::from(!is_keyframe));
        payload.extend((seq as u32).to_be_bytes());
        payload.resize(200, 9);
        Rtp {
            seq,
            time: seq as u32 * 3000,
            marker: true,
            rid: None,
            codec: str0m::format::Codec::Vp8,
            ext: ExtensionValues::default(),
            payload,
        }
    }

    /// An opus packet.
    pub(super) fn opus(seq: u64) -> Self {
        let mut payload = b"opus".to_vec();
        payload.extend((seq as u32).to_be_bytes());
        Rtp {
            time: seq as u32 * 960,
            codec: str0m::format::Codec::Opus,
            payload,
            marker: false,
            ..Self::vp8(seq, false)
        }
    }
}
