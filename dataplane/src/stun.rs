//! The STUN gate (RFC 8489, RFC 8445): which Transport a binding request is for, and whether its
//! sender knows that Transport's password. Requests that do not pass get no answer at all, so
//! that nobody can use the server as a reflector.

use aws_lc_rs::hmac;

const HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: u16 = 0x0001;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const USE_CANDIDATE: u16 = 0x0025;
/// A longer USERNAME is nobody's we know: both fragments may have 256 characters, ours has 24.
const USERNAME_BYTES_MAX: usize = 300;
/// More attributes than any client sends.
const ATTRIBUTES_MAX: usize = 32;

/// A binding request, not yet proven authentic.
#[derive(Clone, Copy, Debug)]
pub struct BindingRequest<'a> {
    message: &'a [u8],
    integrity_at: usize,
    /// Our user name fragment, the part of USERNAME before the colon.
    pub local_ufrag: &'a str,
    /// Whether the controlling side nominates this pair.
    pub nominates: bool,
}

impl<'a> BindingRequest<'a> {
    /// Parses a message as far as the gate needs. `None` for anything but a well-formed binding
    /// request with USERNAME and exactly one MESSAGE-INTEGRITY.
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = message.first_chunk()?;
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if u16::from_be_bytes([header[0], header[1]]) != BINDING_REQUEST
            || header[4..8] != MAGIC_COOKIE
            || message.len() != HEADER_BYTES + len
            || len % 4 != 0
        {
            return None;
        }
        let (mut username, mut integrity_at, mut nominates) = (None, None, false);
        let mut at = HEADER_BYTES;
        for _ in 0..ATTRIBUTES_MAX {
            if at == message.len() {
                break;
            }
            let attribute = message.get(at..at + 4)?;
            let kind = u16::from_be_bytes([attribute[0], attribute[1]]);
            let value_len = usize::from(u16::from_be_bytes([attribute[2], attribute[3]]));
            let value = message.get(at + 4..at + 4 + value_len)?;
            match kind {
                MESSAGE_INTEGRITY if integrity_at.is_some() || value_len != 20 => return None,
                MESSAGE_INTEGRITY => integrity_at = Some(at),
                // RFC 8489 s14.5: what follows the integrity, but for FINGERPRINT, is ignored.
                _ if integrity_at.is_some() => {}
                USERNAME => username = Some(value),
                USE_CANDIDATE => nominates = true,
                _ => {}
            }
            at += 4 + value_len.next_multiple_of(4);
        }
        let username = username.filter(|name| name.len() <= USERNAME_BYTES_MAX)?;
        let (local_ufrag, _) = std::str::from_utf8(username).ok()?.split_once(':')?;
        Some(Self { message, integrity_at: integrity_at?, local_ufrag, nominates })
    }

    /// Whether MESSAGE-INTEGRITY was made with `password` (RFC 8489 s14.5, short-term credential).
    pub fn is_authentic(&self, password: &str) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let mut mac = hmac::Context::with_key(&key);
        // The length counts up to and including MESSAGE-INTEGRITY, whatever follows it.
        let counted = (self.integrity_at + 24 - HEADER_BYTES) as u16;
        mac.update(&self.message[..2]);
        mac.update(&counted.to_be_bytes());
        mac.update(&self.message[4..self.integrity_at]);
        let received = &self.message[self.integrity_at + 4..self.integrity_at + 24];
        aws_lc_rs::constant_time::verify_slices_are_equal(mac.sign().as_ref(), received).is_ok()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A binding request as a client would send it.
    pub(crate) fn request(username: &str, password: &str, nominates: bool) -> Vec<u8> {
        let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        message.extend([7; 12]);
        let attribute = |message: &mut Vec<u8>, kind: u16, value: &[u8]| {
            message.extend(kind.to_be_bytes());
            message.extend((value.len() as u16).to_be_bytes());
            message.extend(value);
            message.resize(message.len().next_multiple_of(4), 0);
        };
        attribute(&mut message, USERNAME, username.as_bytes());
        attribute(&mut message, 0x0024, &[0, 0, 1, 0]);
        attribute(&mut message, 0x802a, &[0; 8]);
        if nominates {
            attribute(&mut message, USE_CANDIDATE, &[]);
        }
        let len = message.len() - HEADER_BYTES + 24;
        message[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let tag = hmac::sign(&key, &message);
        attribute(&mut message, MESSAGE_INTEGRITY, tag.as_ref());
        message
    }

    #[test]
    fn the_password_decides() {
        let message = request("ours:theirs", "secret", true);
        let parsed = BindingRequest::parse(&message).expect("well formed");
        assert_eq!(parsed.local_ufrag, "ours");
        assert!(parsed.nominates);
        assert!(parsed.is_authentic("secret"));
        assert!(!parsed.is_authentic("Secret"));
        assert!(!parsed.is_authentic(""));
    }

    #[test]
    fn a_changed_bit_anywhere_is_noticed_or_harmless() {
        let message = request("ours:theirs", "secret", false);
        for at in 0..message.len() {
            let mut bad = message.clone();
            bad[at] ^= 1;
            assert!(
                !BindingRequest::parse(&bad).is_some_and(|parsed| parsed.is_authentic("secret")),
                "byte {at}"
            );
        }
    }

    #[test]
    fn two_integrity_attributes_or_none_do_not_pass() {
        let message = request("a:b", "x", false);
        let mut doubled = message.clone();
        doubled.extend_from_slice(&message[message.len() - 24..]);
        let len = (doubled.len() - HEADER_BYTES) as u16;
        doubled[2..4].copy_from_slice(&len.to_be_bytes());
        assert!(BindingRequest::parse(&doubled).is_none());
        let mut bare = message[..message.len() - 24].to_vec();
        let len = (bare.len() - HEADER_BYTES) as u16;
        bare[2..4].copy_from_slice(&len.to_be_bytes());
        assert!(BindingRequest::parse(&bare).is_none());
    }
}
