//! A packet in canonical form: decrypted, its header written once for all viewers, with room for
//! what differs between them. Per viewer only a few bytes are then patched in place.
//!
//! ```text
//! fixed header (12): marker and rtp_time as received, pt, seq_no, ssrc patched per viewer
//! extension header (4)
//! abs-send-time, TWCC, MID: at fixed offsets, patched or blanked per viewer
//! forwarded extensions, padding
//! payload
//! ```

use crate::dependency::Targets;
use crate::descriptor::FrameInfo;
use crate::extension::{Extension, ExtensionMap};
use crate::rtp::{HEADER_BYTES, ONE_BYTE_PROFILE, RtpHeader, TWO_BYTE_PROFILE};

/// The largest canonical packet: an Ethernet payload less IP, UDP and the SRTP tag, with room
/// for the extensions that we add. A larger one is dropped.
pub(crate) const PACKET_BYTES_MAX: usize = 1500;
/// The longest mid that is written into packets; a longer one is left out (viewers find the
/// stream by its signalled SSRC).
pub(crate) const MID_BYTES_MAX: usize = 3;
/// The longest header: fixed part, our three elements, and forwarded ones.
pub(crate) const HEADER_BYTES_MAX: usize = 512;

/// What is known of a packet beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct PacketMeta {
    /// Extended sequence number in the Encoding (rollover counter and sequence number).
    pub seq: u64,
    /// The publisher's timestamp.
    pub rtp_time: u32,
    /// Arrival, in microseconds since the data plane's epoch.
    pub at_us: u64,
    /// The marker bit.
    pub marker: bool,
    /// Whether the extension block has the two-byte form.
    pub is_two_byte: bool,
    /// The canonical header's length.
    pub header_len: u16,
    /// Where in it the dependency descriptor lies; 0 if there is none.
    pub dependency_at: u16,
    /// The payload descriptor.
    pub frame: FrameInfo,
}

/// Where the three per-viewer elements' values lie in a canonical header.
#[derive(Clone, Copy)]
struct Offsets {
    abs_send_time: usize,
    twcc: usize,
    mid: usize,
    end: usize,
    element_header: usize,
}

const BLOCK: usize = HEADER_BYTES + 4;
const ONE_BYTE: Offsets = offsets(1);
const TWO_BYTE: Offsets = offsets(2);

const fn offsets(element_header: usize) -> Offsets {
    let abs_send_time = BLOCK + element_header;
    let twcc = abs_send_time + 3 + element_header;
    let mid = twcc + 2 + element_header;
    Offsets { abs_send_time, twcc, mid, end: mid + MID_BYTES_MAX, element_header }
}

impl PacketMeta {
    fn offsets(&self) -> Offsets {
        if self.is_two_byte { TWO_BYTE } else { ONE_BYTE }
    }
}

/// A canonical header that has been written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// Its length.
    pub len: usize,
    /// Whether the extension block has the two-byte form.
    pub is_two_byte: bool,
    /// Where the dependency descriptor lies; 0 if there is none.
    pub dependency_at: u16,
    /// The value of the audio level extension (RFC 6464), if there is one.
    pub level: Option<u8>,
}

/// Writes the canonical header for a packet into `out`, with this dependency descriptor instead of its
/// own. `None` if the forwarded extensions do not fit (no browser sends that much).
pub(crate) fn write_header(
    header: &RtpHeader,
    packet: &[u8],
    extensions: &ExtensionMap,
    descriptor: Option<&[u8]>,
    out: &mut [u8; HEADER_BYTES_MAX],
) -> Option<Written> {
    let forwarded = || {
        header.elements(packet).filter_map(|(id, value)| {
            let extension = extensions.get(id).filter(|extension| extension.is_forwarded())?;
            let is_descriptor = extension == Extension::DependencyDescriptor;
            Some((extension.id(), if is_descriptor { descriptor? } else { value }))
        })
    };
    let is_two_byte = forwarded().any(|(_, value)| value.is_empty() || value.len() > 16);
    let offsets = if is_two_byte { TWO_BYTE } else { ONE_BYTE };
    out[..BLOCK].fill(0);
    out[0] = 0x90;
    out[1] = u8::from(header.marker) << 7;
    out[4..8].copy_from_slice(&header.rtp_time.to_be_bytes());
    let profile = if is_two_byte { TWO_BYTE_PROFILE } else { ONE_BYTE_PROFILE };
    out[12..14].copy_from_slice(&profile.to_be_bytes());
    let mut at = BLOCK;
    let mut dependency_at = 0;
    let mut put = |id: u8, value: &[u8]| {
        let element = out.get_mut(at..at + offsets.element_header + value.len())?;
        let (head, body) = element.split_at_mut(offsets.element_header);
        match head {
            [id_len] => *id_len = id << 4 | (value.len() - 1) as u8,
            [id_byte, len] => (*id_byte, *len) = (id, u8::try_from(value.len()).ok()?),
            _ => return None,
        }
        body.copy_from_slice(value);
        if id == Extension::DependencyDescriptor.id() {
            dependency_at = (at + offsets.element_header) as u16;
        }
        at += offsets.element_header + value.len();
        Some(())
    };
    put(Extension::AbsSendTime.id(), &[0; 3])?;
    put(Extension::Twcc.id(), &[0; 2])?;
    put(Extension::Mid.id(), &[0; MID_BYTES_MAX])?;
    let mut level = None;
    for (id, value) in forwarded() {
        put(id, value)?;
        if id == Extension::AudioLevel.id() {
            level = value.first().copied();
        }
    }
    let end = at.next_multiple_of(4);
    out.get_mut(at..end)?.fill(0);
    out[14..16].copy_from_slice(&(((end - BLOCK) / 4) as u16).to_be_bytes());
    Some(Written { len: end, is_two_byte, dependency_at, level })
}

/// Writes the header of a packet that carries nothing of any publisher's.
pub(crate) fn write_blank_header(out: &mut [u8; HEADER_BYTES_MAX]) -> Option<PacketMeta> {
    let mut fixed = [0; HEADER_BYTES];
    fixed[0] = 0x80;
    let header = RtpHeader::parse(&fixed)?;
    let written = write_header(&header, &fixed, &ExtensionMap::default(), None, out)?;
    let Written { len, is_two_byte, .. } = written;
    Some(PacketMeta { is_two_byte, header_len: len as u16, ..PacketMeta::default() })
}

/// What differs between the viewers of a packet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PerViewer {
    /// Marker bit and payload type, the second octet of the header.
    pub marker_pt: u8,
    /// Sequence number.
    pub seq_no: u16,
    /// Timestamp.
    pub rtp_time: u32,
    /// Outgoing SSRC.
    pub ssrc: u32,
    /// The m-section's mid, or what now and then takes its place.
    pub element: Element,
    /// Extensions of this hop.
    pub hop: HopFields,
    /// To add to the frame number of the dependency descriptor.
    pub frame_delta: u16,
    /// The decode targets that the descriptor shall call active; nothing to leave it.
    pub active: Option<Targets>,
}

/// What a viewer's Transport writes into each packet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HopFields {
    /// 24-bit abs-send-time (6.18 s).
    pub abs_send_time: u32,
    /// Transport-wide sequence number.
    pub twcc: u16,
}

/// An extension element of packets to one viewer: mostly the mid, which receivers must see once
/// (RFC 9143 s15.2) and so can spare for a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    /// Id and length as the one-byte form has them (RFC 8285 s4.2); 0, which is padding, for none.
    id_len: u8,
    bytes: [u8; MID_BYTES_MAX],
}

impl Element {
    /// Takes a mid; one longer than [`MID_BYTES_MAX`] counts as none.
    pub(crate) fn mid(mid: &str) -> Self {
        let mut bytes = [0; MID_BYTES_MAX];
        let len = mid.len();
        match bytes.get_mut(..len) {
            Some(target) if len > 0 => {
                target.copy_from_slice(mid.as_bytes());
                Self { id_len: Extension::Mid.id() << 4 | (len - 1) as u8, bytes }
            }
            _ => Self::default(),
        }
    }

    /// The least and the greatest delay until a picture is shown, in units of 10 ms, 0..=4095 each
    /// (http://www.webrtc.org/experiments/rtp-hdrext/playout-delay).
    pub(crate) fn playout_delay(min: u16, max: u16) -> Self {
        let both = u32::from(min.min(0xfff)) << 12 | u32::from(max.min(0xfff));
        let [_, bytes @ ..] = both.to_be_bytes();
        Self { id_len: Extension::PlayoutDelay.id() << 4 | (bytes.len() - 1) as u8, bytes }
    }
}

/// Patches the per-viewer fields of a canonical header that has been copied into `out`.
#[inline]
pub(crate) fn patch(out: &mut [u8], meta: &PacketMeta, viewer: &PerViewer) {
    if meta.dependency_at != 0 {
        if viewer.frame_delta != 0 {
            add_to_frame_number(out, meta.dependency_at, viewer.frame_delta);
        }
        if let Some(active) = viewer.active {
            write_active(out, meta, active);
        }
    }
    let PerViewer { marker_pt, seq_no, rtp_time, ssrc, element, hop, .. } = *viewer;
    let offsets = meta.offsets();
    // The caller copied a canonical header, which is at least this long.
    let Some(header) = out.get_mut(..offsets.end) else {
        return;
    };
    header[1] = marker_pt;
    header[2..4].copy_from_slice(&seq_no.to_be_bytes());
    header[4..8].copy_from_slice(&rtp_time.to_be_bytes());
    header[8..12].copy_from_slice(&ssrc.to_be_bytes());
    header[offsets.abs_send_time..offsets.abs_send_time + 3]
        .copy_from_slice(&hop.abs_send_time.to_be_bytes()[1..]);
    header[offsets.twcc..offsets.twcc + 2].copy_from_slice(&hop.twcc.to_be_bytes());
    // A shorter mid is followed by zero octets, which are padding in both forms.
    header[offsets.mid..].copy_from_slice(&element.bytes);
    let head = offsets.mid - offsets.element_header;
    let id_len = element.id_len;
    if !meta.is_two_byte {
        header[head] = id_len;
    } else {
        header[head] = id_len >> 4;
        header[head + 1] = if id_len == 0 { 0 } else { (id_len & 0x0f) + 1 };
    }
}

/// Adds to a descriptor's frame number, its second and third octet.
fn add_to_frame_number(header: &mut [u8], dependency_at: u16, frame_delta: u16) {
    let at = usize::from(dependency_at) + 1;
    if let Some([high, low]) = header.get_mut(at..at + 2) {
        let number = u16::from_be_bytes([*high, *low]).wrapping_add(frame_delta);
        [*high, *low] = number.to_be_bytes();
    }
}

fn write_active(header: &mut [u8], meta: &PacketMeta, active: Targets) {
    let mask = meta.frame.dependency.and_then(|dependency| dependency.mask);
    if let (Some(mask), Some(descriptor)) =
        (mask, header.get_mut(usize::from(meta.dependency_at)..))
    {
        mask.write(descriptor, active);
    }
}

/// Translates the extension ids of a canonical header to those that a viewer negotiated as the
/// offerer, in place; what it did not negotiate becomes padding.
pub(crate) fn translate_ids(header: &mut [u8], meta: &PacketMeta, ids: &[u8; 15]) {
    let mut at = BLOCK;
    while let Some(&first) = header.get(at) {
        if first == 0 {
            at += 1;
            continue;
        }
        let (id, len, head) = if meta.is_two_byte {
            (first, header.get(at + 1).map_or(0, |len| usize::from(*len)), 2)
        } else {
            (first >> 4, usize::from(first & 0x0f) + 1, 1)
        };
        let end = (at + head + len).min(header.len());
        match ids.get(usize::from(id)).copied().unwrap_or(0) {
            0 => header[at..end].fill(0),
            new if meta.is_two_byte => header[at] = new,
            new => header[at] = new << 4 | first & 0x0f,
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(packet: &[u8], map: &ExtensionMap) -> (Vec<u8>, PacketMeta) {
        let header = RtpHeader::parse(packet).expect("valid");
        let mut out = [0; HEADER_BYTES_MAX];
        let id = map.id_of(Extension::DependencyDescriptor);
        let descriptor = id.and_then(|id| header.element(packet, id));
        let written = write_header(&header, packet, map, descriptor, &mut out).expect("fits");
        let Written { len, is_two_byte, .. } = written;
        let meta = PacketMeta { is_two_byte, header_len: len as u16, ..PacketMeta::default() };
        (out[..len].to_vec(), meta)
    }

    fn source() -> (Vec<u8>, ExtensionMap) {
        let mut map = ExtensionMap::default();
        map.insert(7, Extension::AudioLevel.uri());
        map.insert(9, Extension::Mid.uri());
        let mut packet = vec![0x90, 0xe0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 2];
        packet.extend([0x70, 0x85, 0x91, b'4', b'2', 0, 0, 0]);
        (packet, map)
    }

    #[test]
    fn forwarded_extensions_keep_their_value_and_change_their_id() {
        let (packet, map) = source();
        let (mut header, meta) = canonical(&packet, &map);
        let hop = HopFields { abs_send_time: 0x0001_0203, twcc: 0x0405 };
        let element = Element::mid("ab");
        let viewer = PerViewer {
            marker_pt: 0xe0,
            seq_no: 99,
            rtp_time: 1234,
            ssrc: 42,
            element,
            hop,
            ..PerViewer::default()
        };
        patch(&mut header, &meta, &viewer);
        let parsed = RtpHeader::parse(&header).expect("valid");
        assert_eq!((parsed.seq_no, parsed.rtp_time, parsed.ssrc), (99, 1234, 42));
        assert_eq!(parsed.header_len, header.len());
        let elements: Vec<_> = parsed.elements(&header).collect();
        assert_eq!(
            elements,
            [
                (Extension::AbsSendTime.id(), &[1, 2, 3][..]),
                (Extension::Twcc.id(), &[4, 5][..]),
                (Extension::Mid.id(), &b"ab"[..]),
                (Extension::AudioLevel.id(), &[0x85][..]),
            ]
        );
    }

    #[test]
    fn a_delay_takes_the_place_of_the_mid() {
        let (packet, map) = source();
        let (mut header, meta) = canonical(&packet, &map);
        let viewer =
            PerViewer { element: Element::playout_delay(34, 0xffff), ..PerViewer::default() };
        patch(&mut header, &meta, &viewer);
        let parsed = RtpHeader::parse(&header).expect("valid");
        assert_eq!(
            parsed.element(&header, Extension::PlayoutDelay.id()),
            Some(&[2, 0x2f, 0xff][..])
        );
        assert_eq!(parsed.element(&header, Extension::Mid.id()), None);
    }

    #[test]
    fn a_value_over_16_bytes_needs_the_two_byte_form() {
        let mut map = ExtensionMap::default();
        map.insert(12, Extension::DependencyDescriptor.uri());
        let mut packet = vec![0x90, 0x60, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0x10, 0, 0, 5];
        packet.extend([12, 18]);
        packet.extend([9; 18]);
        let (mut header, meta) = canonical(&packet, &map);
        assert!(meta.is_two_byte);
        patch(&mut header, &meta, &PerViewer::default());
        let parsed = RtpHeader::parse(&header).expect("valid");
        let elements: Vec<_> =
            parsed.elements(&header).map(|(id, value)| (id, value.len())).collect();
        assert_eq!(elements, [(2, 3), (3, 2), (8, 18)], "an empty mid is padding");
    }

    #[test]
    fn ids_translate_and_what_was_not_negotiated_vanishes() {
        let (packet, map) = source();
        let (mut header, meta) = canonical(&packet, &map);
        let viewer = PerViewer { element: Element::mid("x"), ..PerViewer::default() };
        patch(&mut header, &meta, &viewer);
        let mut ids = [0; 15];
        ids[usize::from(Extension::AudioLevel.id())] = 14;
        translate_ids(&mut header, &meta, &ids);
        let parsed = RtpHeader::parse(&header).expect("valid");
        assert_eq!(parsed.elements(&header).collect::<Vec<_>>(), [(14, &[0x85][..])]);
    }
}
