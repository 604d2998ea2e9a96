//! STUN messages as TURN has them (RFC 8489, RFC 8656): requests in, answers out. Long-term credentials.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::{constant_time, hmac};
use md5::{Digest as _, Md5};

const HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// MESSAGE-INTEGRITY with its head.
const INTEGRITY_BYTES: usize = 24;
/// More attributes than any client sends.
const ATTRIBUTES_MAX: usize = 32;

/// What a message is about.
pub(super) mod method {
    pub(crate) const BINDING: u16 = 0x001;
    pub(crate) const ALLOCATE: u16 = 0x003;
    pub(crate) const REFRESH: u16 = 0x004;
    pub(crate) const SEND: u16 = 0x006;
    pub(crate) const DATA: u16 = 0x007;
    pub(crate) const CREATE_PERMISSION: u16 = 0x008;
    pub(crate) const CHANNEL_BIND: u16 = 0x009;
}

/// What a message tells.
pub(super) mod attribute {
    pub(crate) const USERNAME: u16 = 0x0006;
    pub(crate) const INTEGRITY: u16 = 0x0008;
    pub(crate) const ERROR_CODE: u16 = 0x0009;
    pub(crate) const UNKNOWN: u16 = 0x000a;
    pub(crate) const CHANNEL_NUMBER: u16 = 0x000c;
    pub(crate) const LIFETIME: u16 = 0x000d;
    pub(crate) const PEER_ADDRESS: u16 = 0x0012;
    pub(crate) const DATA: u16 = 0x0013;
    pub(crate) const REALM: u16 = 0x0014;
    pub(crate) const NONCE: u16 = 0x0015;
    pub(crate) const RELAYED_ADDRESS: u16 = 0x0016;
    pub(crate) const FAMILY: u16 = 0x0017;
    pub(crate) const EVEN_PORT: u16 = 0x0018;
    pub(crate) const TRANSPORT: u16 = 0x0019;
    pub(crate) const DONT_FRAGMENT: u16 = 0x001a;
    pub(crate) const RESERVATION: u16 = 0x0022;
    pub(crate) const MAPPED_ADDRESS: u16 = 0x0020;
    /// From here on a client does not mind if it is not understood (RFC 8489 s14).
    pub(crate) const OPTIONAL: u16 = 0x8000;
}

use attribute as at;

/// Request, indication, or what only a server sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// A well-formed message of a client.
#[derive(Clone, Debug)]
pub(super) struct Message<'a> {
    bytes: &'a [u8],
    pub(super) class: Class,
    pub(super) method: u16,
    pub(super) id: [u8; 12],
    attributes: Vec<(u16, &'a [u8])>,
    integrity_at: Option<usize>,
}

/// The key of a long-term credential (RFC 8489 s9.2.2).
pub(super) fn key(username: &str, realm: &str, password: &str) -> [u8; 16] {
    Md5::digest(format!("{username}:{realm}:{password}")).into()
}

fn integrity(message: &[u8], key: &[u8]) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let mut mac = hmac::Context::with_key(&key);
    let counted = (message.len() + INTEGRITY_BYTES - HEADER_BYTES) as u16;
    mac.update(&message[..2]);
    mac.update(&counted.to_be_bytes());
    mac.update(&message[4..]);
    mac.sign()
}

impl<'a> Message<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let kind = u16::from_be_bytes([header[0], header[1]]);
        if header[4..8] != MAGIC_COOKIE || bytes.len() != HEADER_BYTES + len || len % 4 != 0 {
            return None;
        }
        // RFC 8489 s5: the class is in bits 4 and 8; methods above 15 are nobody's here.
        let class = match kind & !0xf {
            0x000 => Class::Request,
            0x010 => Class::Indication,
            _ => return None,
        };
        let id = header[8..].try_into().ok()?;
        let (mut attributes, mut integrity_at) = (Vec::new(), None);
        let mut at = HEADER_BYTES;
        while at < bytes.len() {
            let head = bytes.get(at..at + 4)?;
            let name = u16::from_be_bytes([head[0], head[1]]);
            let value_len = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let value = bytes.get(at + 4..at + 4 + value_len)?;
            match name {
                // RFC 8489 s14.5: what follows the integrity counts for nothing.
                _ if integrity_at.is_some() => {}
                at::INTEGRITY if value_len == INTEGRITY_BYTES - 4 => integrity_at = Some(at),
                at::INTEGRITY => return None,
                _ => attributes.push((name, value)),
            }
            at += 4 + value_len.next_multiple_of(4);
            if attributes.len() > ATTRIBUTES_MAX {
                return None;
            }
        }
        Some(Self { bytes, class, method: kind & 0xf, id, attributes, integrity_at })
    }

    pub(super) fn get(&self, name: u16) -> Option<&'a [u8]> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    pub(super) fn text(&self, name: u16) -> Option<&'a str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    pub(super) fn number(&self, name: u16) -> Option<u32> {
        self.get(name)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// All addresses under a name; nothing if one of them is none.
    pub(super) fn addresses(&self, name: u16) -> Option<Vec<SocketAddr>> {
        let of_name = self.attributes.iter().filter(|(known, _)| *known == name);
        of_name.map(|(_, value)| read_address(value, &self.id)).collect()
    }

    /// Attributes that a client insists on and that mean nothing here.
    pub(super) fn unknown(&self) -> Vec<u16> {
        let is_known = |name: u16| {
            matches!(
                name,
                at::USERNAME
                    | at::CHANNEL_NUMBER
                    | at::LIFETIME
                    | at::PEER_ADDRESS
                    | at::DATA
                    | at::REALM
                    | at::NONCE
                    | at::FAMILY
                    | at::EVEN_PORT
                    | at::TRANSPORT
                    | at::DONT_FRAGMENT
                    | at::RESERVATION
            )
        };
        let names = self.attributes.iter().map(|(name, _)| *name);
        names.filter(|name| *name < at::OPTIONAL && !is_known(*name)).collect()
    }

    pub(super) fn has_integrity(&self) -> bool {
        self.integrity_at.is_some()
    }

    pub(super) fn is_authentic(&self, key: &[u8; 16]) -> bool {
        self.integrity_at.is_some_and(|at| {
            let received = &self.bytes[at + 4..at + INTEGRITY_BYTES];
            let made = integrity(&self.bytes[..at], key);
            constant_time::verify_slices_are_equal(made.as_ref(), received).is_ok()
        })
    }
}

/// A message of ours.
pub(super) struct Answer {
    bytes: Vec<u8>,
}

impl Answer {
    pub(super) fn new(class: Class, method: u16, id: [u8; 12]) -> Self {
        let class = match class {
            Class::Request => 0x000,
            Class::Indication => 0x010,
            Class::Success => 0x100,
            Class::Error => 0x110,
        };
        let mut bytes = (method | class).to_be_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(MAGIC_COOKIE);
        bytes.extend(id);
        Self { bytes }
    }

    pub(super) fn with(mut self, name: u16, value: &[u8]) -> Self {
        self.bytes.extend(name.to_be_bytes());
        self.bytes.extend((value.len() as u16).to_be_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn with_address(self, name: u16, address: SocketAddr) -> Self {
        let id: [u8; 12] = self.bytes[8..HEADER_BYTES].try_into().unwrap_or_default();
        self.with(name, &write_address(address, &id))
    }

    /// RFC 8489 s14.8.
    pub(super) fn with_error(self, code: u16, reason: &str) -> Self {
        let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
        value.extend(reason.as_bytes());
        self.with(at::ERROR_CODE, &value)
    }

    /// The whole message, with its integrity if there is a key.
    pub(super) fn finish(self, key: Option<&[u8; 16]>) -> Vec<u8> {
        let mut answer = self;
        if let Some(key) = key {
            let tag = integrity(&answer.bytes, key);
            answer = answer.with(at::INTEGRITY, tag.as_ref());
        }
        let len = (answer.bytes.len() - HEADER_BYTES) as u16;
        answer.bytes[2..4].copy_from_slice(&len.to_be_bytes());
        answer.bytes
    }
}

/// The code of an answer of ours that says no: that is its first attribute.
pub(super) fn error_code(answer: &[u8]) -> Option<u16> {
    let is_error = answer.get(1)? & 0x10 != 0 && answer[0] & 1 != 0;
    let [class, number] = answer.get(HEADER_BYTES + 6..)?.first_chunk()?;
    is_error.then_some(u16::from(*class) * 100 + u16::from(*number))
}

/// What addresses are made different by on the wire (RFC 8489 s14.2).
fn mask(id: &[u8; 12]) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE);
    mask[4..].copy_from_slice(id);
    mask
}

fn read_address(value: &[u8], id: &[u8; 12]) -> Option<SocketAddr> {
    let ([_, family, high, low], rest) = value.split_first_chunk()?;
    let port = u16::from_be_bytes([high ^ MAGIC_COOKIE[0], low ^ MAGIC_COOKIE[1]]);
    let bytes: Vec<u8> = rest.iter().zip(mask(id)).map(|(byte, mask)| byte ^ mask).collect();
    let ip = match (family, rest.len()) {
        (1, 4) => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        (2, 16) => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn write_address(address: SocketAddr, id: &[u8; 12]) -> Vec<u8> {
    let (family, bytes) = match address.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let [high, low] = address.port().to_be_bytes();
    let mut value = vec![0, family, high ^ MAGIC_COOKIE[0], low ^ MAGIC_COOKIE[1]];
    value.extend(bytes.iter().zip(mask(id)).map(|(byte, mask)| byte ^ mask));
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_of_rfc_5769_with_long_term_authentication() {
        // RFC 5769 s2.4, the request without its user name's normalisation.
        let username = "\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}";
        let bytes: Vec<u8> = [
            &[0x00, 0x01, 0x00, 0x60, 0x21, 0x12, 0xa4, 0x42][..],
            &[0x78, 0xad, 0x34, 0x33, 0xc6, 0xad, 0x72, 0xc0, 0x29, 0xda, 0x41, 0x2e],
            &[0x00, 0x06, 0x00, 0x12],
            username.as_bytes(),
            &[0x00, 0x00],
            &[0x00, 0x15, 0x00, 0x1c],
            b"f//499k954d6OL34oL9FSTvy64sA",
            &[0x00, 0x14, 0x00, 0x0b],
            b"example.org",
            &[0x00],
            &[0x00, 0x08, 0x00, 0x14],
            &[0xf6, 0x70, 0x24, 0x65, 0x6d, 0xd6, 0x4a, 0x3e, 0x02, 0xb8],
            &[0xe0, 0x71, 0x2e, 0x85, 0xc9, 0xa2, 0x8c, 0xa8, 0x96, 0x66],
        ]
        .concat();
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.text(at::USERNAME), Some(username));
        assert!(message.is_authentic(&key(username, "example.org", "TheMatrIX")));
        assert!(!message.is_authentic(&key(username, "example.org", "TheMatrix")));
    }

    #[test]
    fn addresses_survive_and_bent_messages_are_no_messages() {
        for address in ["192.0.2.1:32853", "[2001:db8::1]:65535", "0.0.0.0:0"] {
            let address: SocketAddr = address.parse().unwrap();
            let bytes = Answer::new(Class::Request, method::CREATE_PERMISSION, [7; 12])
                .with_address(at::PEER_ADDRESS, address)
                .finish(Some(&[1; 16]));
            let message = Message::parse(&bytes).unwrap();
            assert_eq!(message.addresses(at::PEER_ADDRESS), Some(vec![address]));
            assert!(message.is_authentic(&[1; 16]));
            for cut in 0..bytes.len() {
                assert!(Message::parse(&bytes[..cut]).is_none(), "{cut}");
            }
            for at in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[at] ^= 1;
                let is_taken = Message::parse(&bad).is_some_and(|bad| bad.is_authentic(&[1; 16]));
                assert!(!is_taken, "byte {at}");
            }
        }
    }
}
