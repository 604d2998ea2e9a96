//! The octets of a message: header, attributes, integrity, and how messages lie in a stream.

use aws_lc_rs::hmac;

use crate::{HEADER_BYTES, INTEGRITY_BYTES, MAGIC_COOKIE, method};

/// More attributes than any client sends.
const ATTRIBUTES_MAX: usize = 32;

/// A message of which the header is right.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    /// All octets of the message, the header first.
    pub bytes: &'a [u8],
    /// Method and class, as on the wire.
    pub kind: u16,
    /// What an answer has of its request (RFC 8489 s5).
    pub id: [u8; 12],
}

/// An attribute: type, length and value (RFC 8489 s14).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attribute<'a> {
    /// Where it begins in the message.
    pub at: usize,
    /// Its type, one of [`crate::attribute`].
    pub name: u16,
    /// Its value, without padding.
    pub value: &'a [u8],
}

impl<'a> Raw<'a> {
    /// Nothing if this is no message, or not exactly one.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[4..8] != MAGIC_COOKIE || bytes.len() != HEADER_BYTES + len || len % 4 != 0 {
            return None;
        }
        let kind = u16::from_be_bytes([header[0], header[1]]);
        Some(Self { bytes, kind, id: header[8..].try_into().ok()? })
    }

    /// All in order; nothing in place of one that does not fit, or that is one too many, and then no more.
    pub fn attributes(self) -> impl Iterator<Item = Option<Attribute<'a>>> {
        let (mut next, mut left) = (Some(HEADER_BYTES), ATTRIBUTES_MAX);
        std::iter::from_fn(move || {
            let at = next.take().filter(|at| *at < self.bytes.len())?;
            let attribute = if left > 0 { self.attribute(at) } else { None };
            left = left.saturating_sub(1);
            next = attribute.map(|found| at + 4 + found.value.len().next_multiple_of(4));
            Some(attribute)
        })
    }

    fn attribute(self, at: usize) -> Option<Attribute<'a>> {
        let [name_high, name_low, len @ ..] = self.bytes.get(at..)?.first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes(*len));
        let value = self.bytes.get(at + 4..at + 4 + len)?;
        Some(Attribute { at, name: u16::from_be_bytes([*name_high, *name_low]), value })
    }
}

/// MESSAGE-INTEGRITY behind `message`, whatever its header says of its length: that counts up to and
/// including the attribute (RFC 8489 s14.5).
#[must_use]
pub fn integrity(message: &[u8], key: &[u8]) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let mut mac = hmac::Context::with_key(&key);
    let counted = (message.len() + INTEGRITY_BYTES - HEADER_BYTES) as u16;
    mac.update(message.get(..2).unwrap_or_default());
    mac.update(&counted.to_be_bytes());
    mac.update(message.get(4..).unwrap_or_default());
    mac.sign()
}

/// Appends an attribute and its padding.
pub fn write_attribute(message: &mut Vec<u8>, name: u16, value: &[u8]) {
    message.extend(name.to_be_bytes());
    message.extend((value.len() as u16).to_be_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// The checksum of ITU V.42, bit by bit: messages with one are rare and short.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

/// Whether a connection begins as TURN over TCP does: with a request for an address or an allocation.
/// As a frame of ICE-TCP (RFC 4571) that would be shorter than any message.
#[must_use]
pub fn begins_turn(octets: [u8; 2]) -> bool {
    matches!(u16::from_be_bytes(octets), method::BINDING | method::ALLOCATE)
}

/// The length of the first message of a stream of TURN, padding included, once all of it is there; an
/// outer nothing if it cannot be one, or is longer than `most` (RFC 8656 s12.5, RFC 8489 s6.2.2).
#[must_use]
pub fn message_bytes(octets: &[u8], most: usize) -> Option<Option<usize>> {
    let Some([first, _, high, low]) = octets.first_chunk() else {
        return Some(None);
    };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    let len = match first >> 6 {
        0 => HEADER_BYTES + len,
        1 => 4 + len.next_multiple_of(4),
        _ => return None,
    };
    (len <= most).then_some((len <= octets.len()).then_some(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(attributes: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, attributes.len() as u8];
        bytes.extend(MAGIC_COOKIE);
        bytes.extend([7; 12]);
        bytes.extend(attributes);
        bytes
    }

    #[test]
    fn attributes_come_in_order_until_one_does_not_fit() {
        let bytes = message(&[0, 6, 0, 1, b'x', 0, 0, 0, 0, 9, 0, 0, 0, 8, 0, 5]);
        let found: Vec<_> = Raw::parse(&bytes).unwrap().attributes().collect();
        let first = Attribute { at: 20, name: 6, value: b"x" };
        assert_eq!(found, [Some(first), Some(Attribute { at: 28, name: 9, value: b"" }), None]);
        let many = [0, 9, 0, 0].repeat(ATTRIBUTES_MAX + 3);
        let bytes = message(&many);
        let found: Vec<_> = Raw::parse(&bytes).unwrap().attributes().collect();
        assert_eq!(found.len(), ATTRIBUTES_MAX + 1);
        assert_eq!((found.last(), found[ATTRIBUTES_MAX - 1].is_some()), (Some(&None), true));
        let bytes = message(&[]);
        assert_eq!(Raw::parse(&bytes).unwrap().attributes().count(), 0);
    }

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn messages_of_a_stream_end_where_they_say() {
        assert_eq!(message_bytes(&[], 99), Some(None));
        assert_eq!(message_bytes(&[0, 1, 0], 99), Some(None));
        assert_eq!(message_bytes(&[0, 1, 0, 8], 99), Some(None));
        assert_eq!(message_bytes(&message(&[0; 8]), 99), Some(Some(28)));
        assert_eq!(message_bytes(&[0x40, 0, 0, 1, 9], 99), Some(None), "the padding is awaited");
        assert_eq!(message_bytes(&[0x40, 0, 0, 1, 9, 0, 0, 0, 5], 99), Some(Some(8)));
        assert_eq!(message_bytes(&[0x40, 0, 0, 0], 99), Some(Some(4)), "an empty one");
        assert_eq!(message_bytes(&[0, 1, 0, 80], 99), None, "too long");
        assert_eq!(message_bytes(&[0x40, 0, 255, 255], 99), None);
        assert_eq!(message_bytes(&[0x80, 0, 0, 0], 99), None, "media");
    }
}
