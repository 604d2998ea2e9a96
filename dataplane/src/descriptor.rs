//! What an SFU must see of a video payload: where frames and keyframes begin, which layer a
//! packet belongs to, and where the picture ids lie that a switch must rewrite. Parsers of what
//! any publisher can send: they never read past the payload, and what they cannot read counts as
//! an ordinary packet of the base layer.

use crate::codec::Codec;
use crate::dependency::{Dependency, Descriptor};

/// A picture id field inside a payload (RFC 7741 s4.2, RFC 9628 s4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PictureId {
    /// Offset from the payload's start.
    pub at: u16,
    /// Whether it has 15 bits, otherwise 7.
    pub is_long: bool,
    /// Its value.
    pub value: u16,
}

/// What a payload descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FrameInfo {
    /// The packet begins a keyframe that a fresh decoder can start from.
    pub is_keyframe: bool,
    /// The packet has no picture, only what a decoder must know of those that follow (H.264).
    pub is_parameters: bool,
    /// Temporal layer.
    pub tid: u8,
    /// Spatial layer.
    pub sid: u8,
    /// The packet ends its layer's frame.
    pub is_layer_end: bool,
    /// The picture id, if the codec has one here.
    pub picture_id: Option<PictureId>,
    /// TL0PICIDX: offset and value (VP8).
    pub tl0: Option<(u16, u8)>,
    /// A receiver of fewer layers may go on to this packet's from here: a temporal layer that
    /// depends on the base layer only, or a spatial layer that depends on none of its own pictures.
    pub is_switch_point: bool,
    /// What the dependency descriptor says, where there is one.
    pub dependency: Option<Dependency>,
}

impl FrameInfo {
    /// Whether a dependency descriptor is of use beside the payload: VP9's payloads name their layers,
    /// and VP8's where they count those of the base layer (libwebrtc leaves all of it to the descriptor).
    pub fn needs_descriptor(&self, codec: Codec) -> bool {
        match codec {
            Codec::Av1 | Codec::H264 => true,
            Codec::Vp8 => self.tl0.is_none(),
            Codec::Vp9 | Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma => false,
        }
    }

    /// Adds what a packet's dependency descriptor says. Only where [`Self::needs_descriptor`].
    pub fn describe(&mut self, codec: Codec, described: &Descriptor) {
        let Descriptor { sid, tid, is_end, has_structure, dependency } = *described;
        (self.sid, self.tid, self.is_layer_end) = (sid, tid, is_end);
        self.is_keyframe |=
            codec == Codec::Av1 && has_structure && dependency.is_start && dependency.refs == 0;
        self.dependency = Some(dependency);
    }
}

/// Reads the descriptor of a payload. Audio has none.
pub fn parse(codec: Codec, payload: &[u8]) -> FrameInfo {
    match codec {
        Codec::Vp8 => vp8(payload),
        Codec::Vp9 => vp9(payload),
        Codec::H264 => Some(h264(payload)),
        // AV1 RTP s4.4: N says that a new coded video sequence starts here.
        Codec::Av1 => payload
            .first()
            .map(|first| FrameInfo { is_keyframe: first & 0x08 != 0 && first & 0x80 == 0, ..BASE }),
        Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma => None,
    }
    .unwrap_or(BASE)
}

const BASE: FrameInfo = FrameInfo {
    is_keyframe: false,
    is_parameters: false,
    tid: 0,
    sid: 0,
    is_layer_end: false,
    picture_id: None,
    tl0: None,
    is_switch_point: false,
    dependency: None,
};

/// RFC 7741 s4.2.
fn vp8(payload: &[u8]) -> Option<FrameInfo> {
    let first = *payload.first()?;
    let mut info = BASE;
    let mut at = 1;
    if first & 0x80 != 0 {
        let flags = *payload.get(at)?;
        at += 1;
        if flags & 0x80 != 0 {
            info.picture_id = Some(picture_id(payload, at)?);
            at += if info.picture_id.is_some_and(|id| id.is_long) { 2 } else { 1 };
        }
        if flags & 0x40 != 0 {
            info.tl0 = Some((at as u16, *payload.get(at)?));
            at += 1;
        }
        if flags & 0x30 != 0 {
            let layer = *payload.get(at)?;
            if flags & 0x20 != 0 {
                info.tid = layer >> 6;
                info.is_switch_point = layer & 0x20 != 0;
            }
            at += 1;
        }
    }
    // S = 1, PID = 0: the payload header follows; its P bit is 0 in a keyframe.
    let starts_frame = first & 0x10 != 0 && first & 0x07 == 0;
    info.is_keyframe = starts_frame && *payload.get(at)? & 1 == 0;
    Some(info)
}

/// RFC 9628 s4.2.
fn vp9(payload: &[u8]) -> Option<FrameInfo> {
    let first = *payload.first()?;
    let mut info = BASE;
    let mut at = 1;
    let mut is_upward = false;
    if first & 0x80 != 0 {
        let id = picture_id(payload, at)?;
        at += if id.is_long { 2 } else { 1 };
        info.picture_id = Some(id);
    }
    if first & 0x20 != 0 {
        let layer = *payload.get(at)?;
        info.tid = layer >> 5;
        info.sid = (layer >> 1) & 7;
        is_upward = layer & 0x10 != 0;
    }
    let (is_predicted, begins, ends) = (first & 0x40 != 0, first & 0x08 != 0, first & 0x04 != 0);
    info.is_keyframe = begins && !is_predicted && info.sid == 0;
    info.is_layer_end = ends;
    // Not predicted from earlier pictures, so from the layer below at most.
    info.is_switch_point = begins && (!is_predicted || (is_upward && info.tid > 0));
    Some(info)
}

fn picture_id(payload: &[u8], at: usize) -> Option<PictureId> {
    let first = *payload.get(at)?;
    let at16 = at as u16;
    if first & 0x80 == 0 {
        return Some(PictureId { at: at16, is_long: false, value: u16::from(first) });
    }
    let value = u16::from(first & 0x7f) << 8 | u16::from(*payload.get(at + 1)?);
    Some(PictureId { at: at16, is_long: true, value })
}

/// RFC 6184: a keyframe begins with a sequence parameter set or with its picture.
fn h264(payload: &[u8]) -> FrameInfo {
    const IDR: u8 = 5;
    const SPS: u8 = 7;
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    let Some((&first, mut rest)) = payload.split_first() else {
        return BASE;
    };
    let mut info = FrameInfo { is_parameters: true, ..BASE };
    let mut note = |kind: u8, begins: bool| {
        info.is_keyframe |= begins && matches!(kind & 0x1f, IDR | SPS);
        // Supplements, parameter sets, delimiters.
        info.is_parameters &= matches!(kind & 0x1f, 6..=9 | 13 | 15);
    };
    match first & 0x1f {
        STAP_A => {
            // s5.7.1: 16-bit size, then the NAL unit.
            while let [high, low, unit @ ..] = rest {
                let len = usize::from(*high) << 8 | usize::from(*low);
                let Some((unit, next)) = unit.split_at_checked(len) else {
                    return BASE;
                };
                if let Some(kind) = unit.first() {
                    note(*kind, true);
                }
                rest = next;
            }
        }
        // s5.8: the start bit and the fragmented unit's type.
        FU_A => match rest.first() {
            Some(unit) => note(*unit, unit & 0x80 != 0),
            None => return BASE,
        },
        kind => note(kind, true),
    }
    info
}

/// Writes a picture id of the same width back into a payload.
pub(crate) fn write_picture_id(payload: &mut [u8], id: PictureId, value: u16) {
    let at = usize::from(id.at);
    if id.is_long {
        if let Some([high, low]) = payload.get_mut(at..at + 2) {
            *high = 0x80 | (value >> 8) as u8 & 0x7f;
            *low = value as u8;
        }
    } else if let Some(byte) = payload.get_mut(at) {
        *byte = value as u8 & 0x7f;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vp8_keyframes_layers_and_picture_ids_are_found() {
        let info = parse(Codec::Vp8, &[0x90, 0xf0, 0x81, 0x02, 9, 0x40, 0x00]);
        assert!(info.is_keyframe);
        assert_eq!(info.picture_id, Some(PictureId { at: 2, is_long: true, value: 0x102 }));
        assert_eq!((info.tl0, info.tid), (Some((4, 9)), 1));
        assert!(!parse(Codec::Vp8, &[0x10, 0x01]).is_keyframe, "inter frame");
        assert!(!parse(Codec::Vp8, &[0x00, 0x00]).is_keyframe, "not the start");
        assert!(parse(Codec::Vp8, &[0x10, 0x00]).is_keyframe, "no extension");
    }

    /// libwebrtc leaves out of VP8's payloads what the dependency descriptor says.
    #[test]
    fn a_descriptor_is_of_use_where_the_payload_names_no_layers() {
        let is_needed = |codec, payload: &[u8]| parse(codec, payload).needs_descriptor(codec);
        assert!(!is_needed(Codec::Vp8, &[0x90, 0xe0, 0x81, 2, 7, 0x40, 1]));
        assert!(is_needed(Codec::Vp8, &[0x10, 1]));
        assert!(!is_needed(Codec::Vp9, &[0xa8, 0x05, 0x22, 0]));
        assert!(is_needed(Codec::Av1, &[0x10, 0]));
        assert!(is_needed(Codec::H264, &[0x65, 1]));
    }

    #[test]
    fn vp9_h264_and_av1_keyframes_are_found() {
        assert!(parse(Codec::Vp9, &[0x88, 0x05, 1]).is_keyframe);
        assert!(!parse(Codec::Vp9, &[0xc8, 0x05, 1]).is_keyframe);
        let upper = parse(Codec::Vp9, &[0xa8, 0x05, 0x22, 0]);
        assert_eq!((upper.sid, upper.tid, upper.is_keyframe), (1, 1, false));
        assert!(parse(Codec::H264, &[0x67, 1]).is_keyframe);
        assert!(parse(Codec::H264, &[0x78, 0, 1, 0x09, 0, 2, 0x67, 1]).is_keyframe);
        assert!(parse(Codec::H264, &[0x7c, 0x85, 1]).is_keyframe);
        assert!(!parse(Codec::H264, &[0x7c, 0x45, 1]).is_keyframe, "end of an IDR");
        assert!(!parse(Codec::H264, &[0x78, 0xff, 0xff, 1]).is_keyframe);
        for (payload, is_parameters) in [
            (&[0x67, 1][..], true),
            (&[0x68, 1], true),
            (&[0x09, 1], true),
            (&[0x65, 1], false),
            (&[0x78, 0, 1, 0x67, 0, 1, 0x68], true),
            (&[0x78, 0, 1, 0x67, 0, 1, 0x65], false),
            (&[0x7c, 0x85, 1], false),
            (&[], false),
        ] {
            let found = parse(Codec::H264, payload).is_parameters;
            assert_eq!(found, is_parameters, "{payload:?}");
        }
        assert!(parse(Codec::Av1, &[0x18, 0]).is_keyframe);
        assert!(!parse(Codec::Av1, &[0x10, 0]).is_keyframe);
    }

    #[test]
    fn no_prefix_of_a_descriptor_panics() {
        let long = [0xff; 8];
        for codec in Codec::ALL {
            for len in 0..=long.len() {
                for first in 0..=255u8 {
                    let mut payload = long[..len].to_vec();
                    if let Some(byte) = payload.first_mut() {
                        *byte = first;
                    }
                    let _ = parse(codec, &payload);
                }
            }
        }
    }

    #[test]
    fn a_written_picture_id_reads_back() {
        for mut payload in [vec![0x90, 0x80, 0x81, 0x02, 0], vec![0x90, 0x80, 0x01, 0]] {
            let id = parse(Codec::Vp8, &payload).picture_id.expect("has one");
            write_picture_id(&mut payload, id, 0x55);
            assert_eq!(parse(Codec::Vp8, &payload).picture_id.map(|id| id.value), Some(0x55));
        }
    }
}
