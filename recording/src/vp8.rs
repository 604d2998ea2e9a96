//! VP8 (RFC 7741, RFC 6386).

use crate::{Codec, Config, Picture};

/// A picture from the payloads of its packets.
pub(crate) fn picture(payloads: &[Vec<u8>]) -> Option<Picture> {
    let mut data = Vec::with_capacity(payloads.iter().map(Vec::len).sum());
    for (at, payload) in payloads.iter().enumerate() {
        // The first packet begins partition 0.
        if at == 0 && payload.first()? & 0x17 != 0x10 {
            return None;
        }
        data.extend_from_slice(payload.get(descriptor_len(payload)?..)?);
    }
    let is_key = data.first()? & 1 == 0;
    let mut config = None;
    if is_key {
        // RFC 6386 s9.1.
        let [_, _, _, 0x9d, 0x01, 0x2a, size @ ..] = data.first_chunk::<10>()? else {
            return None;
        };
        let [width @ .., _, _] = size;
        let [_, _, height @ ..] = size;
        let pixels = |octets: &[u8; 2]| u16::from_le_bytes(*octets) & 0x3fff;
        let size = (pixels(width), pixels(height));
        config = Some(Config { codec: Codec::Vp8, size, record: Vec::new() });
    }
    Some(Picture { data, is_key, config })
}

fn descriptor_len(payload: &[u8]) -> Option<usize> {
    let mut len = 1;
    if payload.first()? & 0x80 != 0 {
        let extension = *payload.get(1)?;
        len = 2;
        if extension & 0x80 != 0 {
            len += if payload.get(len)? & 0x80 != 0 { 2 } else { 1 };
        }
        len += usize::from(extension & 0x40 != 0);
        len += usize::from(extension & 0x30 != 0);
    }
    Some(len)
}
