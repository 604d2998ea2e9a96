//! STUN messages as TURN has them (RFC 8489, RFC 8656): requests in, answers out. Long-term credentials.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::constant_time;
use md5::{Digest as _, Md5};

use crate::wire::{Attribute, Raw, crc32, integrity, write_attribute};
use crate::{FINGERPRINT_XOR, HEADER_BYTES, INTEGRITY_BYTES, MAGIC_COOKIE};

/// What a message is about.
pub mod method {
    /// Asks for one's own address, or whether a path is there.
    pub const BINDING: u16 = 0x001;
    /// Asks for an address of the server's.
    pub const ALLOCATE: u16 = 0x003;
    /// Prolongs that, or gives it up.
    pub const REFRESH: u16 = 0x004;
    /// Data for a peer.
    pub const SEND: u16 = 0x006;
    /// Data from a peer.
    pub const DATA: u16 = 0x007;
    /// Lets a peer send.
    pub const CREATE_PERMISSION: u16 = 0x008;
    /// Gives a peer a number.
    pub const CHANNEL_BIND: u16 = 0x009;
}

/// What a message tells.
pub mod attribute {
    /// USERNAME (RFC 8489 s14.3): whose credentials integrity is by.
    pub const USERNAME: u16 = 0x0006;
    /// MESSAGE-INTEGRITY (RFC 8489 s14.5): HMAC-SHA1 of all before it.
    pub const INTEGRITY: u16 = 0x0008;
    /// ERROR-CODE (RFC 8489 s14.8): why a request was refused.
    pub const ERROR_CODE: u16 = 0x0009;
    /// UNKNOWN-ATTRIBUTES (RFC 8489 s14.13): the types that were not understood.
    pub const UNKNOWN: u16 = 0x000a;
    /// CHANNEL-NUMBER (RFC 8656 s18.1): what stands for a peer's address, `0x4000..=0x4fff`.
    pub const CHANNEL_NUMBER: u16 = 0x000c;
    /// LIFETIME (RFC 8656 s18.2), in seconds; 0 ends an allocation.
    pub const LIFETIME: u16 = 0x000d;
    /// XOR-PEER-ADDRESS (RFC 8656 s18.3): the address of a peer.
    pub const PEER_ADDRESS: u16 = 0x0012;
    /// DATA (RFC 8656 s18.4): what a peer says, or hears.
    pub const DATA: u16 = 0x0013;
    /// ICE: the priority of the candidate that is checked from (RFC 8445 s7.1.1).
    pub const PRIORITY: u16 = 0x0024;
    /// ICE: the pair is to be used.
    pub const USE_CANDIDATE: u16 = 0x0025;
    /// FINGERPRINT (RFC 8489 s14.7): CRC-32 of all before it, XOR `0x5354554e`.
    pub const FINGERPRINT: u16 = 0x8028;
    /// ICE: who does not decide.
    pub const CONTROLLED: u16 = 0x8029;
    /// ICE-CONTROLLING (RFC 8445 s7.1.3): the sender decides which pair is used.
    pub const CONTROLLING: u16 = 0x802a;
    /// REALM (RFC 8489 s14.9): what the password is for.
    pub const REALM: u16 = 0x0014;
    /// NONCE (RFC 8489 s14.10): what requests have to repeat.
    pub const NONCE: u16 = 0x0015;
    /// XOR-RELAYED-ADDRESS (RFC 8656 s18.5): the address that was allocated.
    pub const RELAYED_ADDRESS: u16 = 0x0016;
    /// REQUESTED-ADDRESS-FAMILY (RFC 8656 s18.6): that of the address wanted.
    pub const FAMILY: u16 = 0x0017;
    /// EVEN-PORT (RFC 8656 s18.7): with an even port, and the next one reserved on request.
    pub const EVEN_PORT: u16 = 0x0018;
    /// REQUESTED-TRANSPORT (RFC 8656 s18.8): the protocol towards peers.
    pub const TRANSPORT: u16 = 0x0019;
    /// DONT-FRAGMENT (RFC 8656 s18.9), as IP has it.
    pub const DONT_FRAGMENT: u16 = 0x001a;
    /// RESERVATION-TOKEN (RFC 8656 s18.10): an address that an earlier request has reserved.
    pub const RESERVATION: u16 = 0x0022;
    /// XOR-MAPPED-ADDRESS (RFC 8489 s14.2): the address that a request came from.
    pub const MAPPED_ADDRESS: u16 = 0x0020;
    /// From here on a client does not mind if it is not understood (RFC 8489 s14).
    pub const OPTIONAL: u16 = 0x8000;
}

use attribute as at;

/// Request, indication, or what only a server sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Wants an answer of one of the other two kinds.
    Request,
    /// Wants no answer, and gets none.
    Indication,
    /// A request was granted.
    Success,
    /// A request was refused, with an error code.
    Error,
}

/// A well-formed message.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// What is wanted of who gets it.
    pub class: Class,
    /// What it is about.
    pub method: u16,
    /// What an answer has of its request (RFC 8489 s5): 96 bits of chance.
    pub id: [u8; 12],
    attributes: Vec<(u16, &'a [u8])>,
    integrity_at: Option<usize>,
}

/// The key of a long-term credential (RFC 8489 s9.2.2).
#[must_use]
pub fn key(username: &str, realm: &str, password: &str) -> [u8; 16] {
    Md5::digest(format!("{username}:{realm}:{password}")).into()
}

impl<'a> Message<'a> {
    /// Nothing if this is no message, or one of a method that is nobody's here.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let raw = Raw::parse(bytes)?;
        // RFC 8489 s5: the class is in bits 4 and 8; methods above 15 are nobody's here.
        let class = match raw.kind & !0xf {
            0x000 => Class::Request,
            0x010 => Class::Indication,
            0x100 => Class::Success,
            0x110 => Class::Error,
            _ => return None,
        };
        let (mut attributes, mut integrity_at) = (Vec::new(), None);
        for attribute in raw.attributes() {
            let Attribute { at, name, value } = attribute?;
            match name {
                // RFC 8489 s14.5: what follows the integrity counts for nothing.
                _ if integrity_at.is_some() => {}
                at::INTEGRITY if value.len() == INTEGRITY_BYTES - 4 => integrity_at = Some(at),
                at::INTEGRITY => return None,
                _ => attributes.push((name, value)),
            }
        }
        let (method, id) = (raw.kind & 0xf, raw.id);
        Some(Self { bytes, class, method, id, attributes, integrity_at })
    }

    /// The first value of a name.
    #[must_use]
    pub fn get(&self, name: u16) -> Option<&'a [u8]> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The same as text.
    #[must_use]
    pub fn text(&self, name: u16) -> Option<&'a str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// The same as a number of four octets.
    #[must_use]
    pub fn number(&self, name: u16) -> Option<u32> {
        self.get(name)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// All addresses under a name; nothing if one of them is none.
    #[must_use]
    pub fn addresses(&self, name: u16) -> Option<Vec<SocketAddr>> {
        let of_name = self.attributes.iter().filter(|(known, _)| *known == name);
        of_name.map(|(_, value)| read_address(value, &self.id)).collect()
    }

    /// Attributes that a client insists on and that mean nothing here.
    #[must_use]
    pub fn unknown(&self) -> Vec<u16> {
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

    /// Whether it is signed.
    #[must_use]
    pub fn has_integrity(&self) -> bool {
        self.integrity_at.is_some()
    }

    /// Whether it is signed with a key.
    #[must_use]
    pub fn is_authentic(&self, key: &[u8]) -> bool {
        let signed = self.integrity_at.and_then(|at| {
            Some((self.bytes.get(..at)?, self.bytes.get(at + 4..at + INTEGRITY_BYTES)?))
        });
        signed.is_some_and(|(message, received)| {
            let made = integrity(message, key);
            constant_time::verify_slices_are_equal(made.as_ref(), received).is_ok()
        })
    }
}

/// A message in the making.
pub struct Draft {
    bytes: Vec<u8>,
}

impl Draft {
    /// A message with nothing in it yet.
    #[must_use]
    pub fn new(class: Class, method: u16, id: [u8; 12]) -> Self {
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

    /// Adds an attribute, padded to four octets.
    #[must_use]
    pub fn with(mut self, name: u16, value: &[u8]) -> Self {
        write_attribute(&mut self.bytes, name, value);
        self
    }

    /// Adds one that is an address (RFC 8489 s14.2).
    #[must_use]
    pub fn with_address(self, name: u16, address: SocketAddr) -> Self {
        let id = self.bytes.get(8..HEADER_BYTES).and_then(|id| id.try_into().ok());
        let id: [u8; 12] = id.unwrap_or_default();
        self.with(name, &write_address(address, &id))
    }

    /// Adds why a request was refused (RFC 8489 s14.8).
    #[must_use]
    pub fn with_error(self, code: u16, reason: &str) -> Self {
        let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
        value.extend(reason.as_bytes());
        self.with(at::ERROR_CODE, &value)
    }

    /// The whole message, with its integrity if there is a key.
    #[must_use]
    pub fn finish(self, key: Option<&[u8]>) -> Vec<u8> {
        let mut draft = self;
        if let Some(key) = key {
            let tag = integrity(&draft.bytes, key);
            draft = draft.with(at::INTEGRITY, tag.as_ref());
        }
        draft.set_len(0);
        draft.bytes
    }

    /// The same with a checksum behind it, as ICE wants it (RFC 8445 s7.1).
    #[must_use]
    pub fn finish_check(self, key: &[u8]) -> Vec<u8> {
        let mut draft = Self { bytes: self.finish(Some(key)) };
        // The checksum covers the final length.
        draft.set_len(8);
        let sum = crc32(&draft.bytes) ^ FINGERPRINT_XOR;
        draft.with(at::FINGERPRINT, &sum.to_be_bytes()).bytes
    }

    fn set_len(&mut self, more: usize) {
        let len = (self.bytes.len() - HEADER_BYTES + more) as u16;
        if let Some(place) = self.bytes.get_mut(2..4) {
            place.copy_from_slice(&len.to_be_bytes());
        }
    }
}

/// The code of an answer of a server like ours that says no: that is its first attribute.
#[must_use]
pub fn error_code(answer: &[u8]) -> Option<u16> {
    let is_error = answer.get(1)? & 0x10 != 0 && answer.first()? & 1 != 0;
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
            let bytes = Draft::new(Class::Request, method::CREATE_PERMISSION, [7; 12])
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
