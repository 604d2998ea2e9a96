//! The STUN gate (RFC 8489, RFC 8445): which Transport a binding request is for, and whether its
//! sender knows that Transport's password. Requests that do not pass get no answer at all, so
//! that nobody can use the server as a reflector. And the checks that we make ourselves, to see
//! whether a path leads to the peer (`path.rs`), with their answers.

use aws_lc_rs::hmac;

const HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_RESPONSE: u16 = 0x0101;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
/// What FINGERPRINT's checksum is made different by (RFC 8489 s14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554e;
/// The largest check of ours: both fragments of a user name may have 256 characters.
pub const CHECK_BYTES_MAX: usize = 640;
/// A longer USERNAME is nobody's we know: both fragments may have 256 characters, ours has 24.
const USERNAME_BYTES_MAX: usize = 300;
/// More attributes than any client sends.
const ATTRIBUTES_MAX: usize = 32;

/// A STUN message, well formed, with exactly one MESSAGE-INTEGRITY.
#[derive(Clone, Copy, Debug)]
struct Message<'a> {
    bytes: &'a [u8],
    integrity_at: usize,
    username: Option<&'a [u8]>,
    priority: u32,
    nominates: bool,
}

impl<'a> Message<'a> {
    fn parse(bytes: &'a [u8], kind: u16) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if u16::from_be_bytes([header[0], header[1]]) != kind
            || header[4..8] != MAGIC_COOKIE
            || bytes.len() != HEADER_BYTES + len
            || len % 4 != 0
        {
            return None;
        }
        let (mut username, mut integrity_at, mut nominates) = (None, None, false);
        let mut priority = 0;
        let mut at = HEADER_BYTES;
        for _ in 0..ATTRIBUTES_MAX {
            if at == bytes.len() {
                break;
            }
            let attribute = bytes.get(at..at + 4)?;
            let kind = u16::from_be_bytes([attribute[0], attribute[1]]);
            let value_len = usize::from(u16::from_be_bytes([attribute[2], attribute[3]]));
            let value = bytes.get(at + 4..at + 4 + value_len)?;
            match kind {
                MESSAGE_INTEGRITY if integrity_at.is_some() || value_len != 20 => return None,
                MESSAGE_INTEGRITY => integrity_at = Some(at),
                // RFC 8489 s14.5: what follows the integrity, but for FINGERPRINT, is ignored.
                _ if integrity_at.is_some() => {}
                USERNAME => username = Some(value),
                PRIORITY => priority = value.try_into().map_or(0, u32::from_be_bytes),
                USE_CANDIDATE => nominates = true,
                _ => {}
            }
            at += 4 + value_len.next_multiple_of(4);
        }
        Some(Self { bytes, integrity_at: integrity_at?, username, priority, nominates })
    }

    /// Whether MESSAGE-INTEGRITY was made with `password` (RFC 8489 s14.5, short-term credential).
    fn is_authentic(&self, password: &str) -> bool {
        let received = &self.bytes[self.integrity_at + 4..self.integrity_at + 24];
        let made = integrity(&self.bytes[..self.integrity_at], password);
        aws_lc_rs::constant_time::verify_slices_are_equal(made.as_ref(), received).is_ok()
    }
}

/// MESSAGE-INTEGRITY behind `message`, whatever its header says of its length: that counts up to
/// and including the attribute.
fn integrity(message: &[u8], password: &str) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let mut mac = hmac::Context::with_key(&key);
    let counted = (message.len() + 24 - HEADER_BYTES) as u16;
    mac.update(&message[..2]);
    mac.update(&counted.to_be_bytes());
    mac.update(&message[4..]);
    mac.sign()
}

/// A binding request, not yet proven authentic.
#[derive(Clone, Copy, Debug)]
pub struct BindingRequest<'a> {
    message: Message<'a>,
    /// Our user name fragment, the part of USERNAME before the colon.
    pub local_ufrag: &'a str,
    /// Whether the controlling side nominates this pair.
    pub nominates: bool,
    /// The priority of its candidate; 0 if it does not say.
    pub priority: u32,
}

impl<'a> BindingRequest<'a> {
    /// Parses a message as far as the gate needs. `None` for anything but a well-formed binding
    /// request with USERNAME and exactly one MESSAGE-INTEGRITY.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let message = Message::parse(bytes, BINDING_REQUEST)?;
        let username = message.username.filter(|name| name.len() <= USERNAME_BYTES_MAX)?;
        let (local_ufrag, _) = std::str::from_utf8(username).ok()?.split_once(':')?;
        let Message { nominates, priority, .. } = message;
        Some(Self { message, local_ufrag, nominates, priority })
    }

    /// Whether MESSAGE-INTEGRITY was made with `password`.
    pub fn is_authentic(&self, password: &str) -> bool {
        self.message.is_authentic(password)
    }
}

/// The answer to a check of ours, not yet proven authentic.
#[derive(Clone, Copy, Debug)]
pub struct BindingResponse<'a> {
    message: Message<'a>,
    /// The id of the check.
    pub id: [u8; 12],
}

impl<'a> BindingResponse<'a> {
    /// `None` for anything but a well-formed successful answer with one MESSAGE-INTEGRITY.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let message = Message::parse(bytes, BINDING_RESPONSE)?;
        let id = bytes.get(8..HEADER_BYTES)?.try_into().ok()?;
        Some(Self { message, id })
    }

    /// Whether MESSAGE-INTEGRITY was made with `password`, the peer's.
    pub fn is_authentic(&self, password: &str) -> bool {
        self.message.is_authentic(password)
    }
}

/// A check of ours: a binding request of a controlled agent.
#[derive(Clone, Copy, Debug)]
pub struct OwnCheck<'a> {
    /// What its answer is told by.
    pub id: [u8; 12],
    /// The peer's user name fragment and password.
    pub remote: (&'a str, &'a str),
    /// Our user name fragment.
    pub local_ufrag: &'a str,
    /// The priority of our candidate.
    pub priority: u32,
    /// RFC 8445 s7.3.1.1: decides who is controlled if both want to be.
    pub tie_breaker: u64,
}

impl OwnCheck<'_> {
    /// Writes the message; returns its length, 0 if the user names are longer than they may be.
    pub fn write(&self, out: &mut [u8; CHECK_BYTES_MAX]) -> usize {
        let (remote_ufrag, password) = self.remote;
        let username_len = remote_ufrag.len() + 1 + self.local_ufrag.len();
        if username_len > 2 * 256 + 1 {
            return 0;
        }
        let mut message = Vec::with_capacity(CHECK_BYTES_MAX);
        message.extend(BINDING_REQUEST.to_be_bytes());
        message.extend([0, 0]);
        message.extend(MAGIC_COOKIE);
        message.extend(self.id);
        let username = format!("{remote_ufrag}:{}", self.local_ufrag);
        attribute(&mut message, USERNAME, username.as_bytes());
        attribute(&mut message, PRIORITY, &self.priority.to_be_bytes());
        attribute(&mut message, ICE_CONTROLLED, &self.tie_breaker.to_be_bytes());
        let tag = integrity(&message, password);
        attribute(&mut message, MESSAGE_INTEGRITY, tag.as_ref());
        // FINGERPRINT's checksum covers the final length.
        let len = (message.len() - HEADER_BYTES + 8) as u16;
        message[2..4].copy_from_slice(&len.to_be_bytes());
        let fingerprint = crc32(&message) ^ FINGERPRINT_XOR;
        attribute(&mut message, FINGERPRINT, &fingerprint.to_be_bytes());
        match out.get_mut(..message.len()) {
            Some(out) => out.copy_from_slice(&message),
            None => return 0,
        }
        message.len()
    }
}

fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend(kind.to_be_bytes());
    message.extend((value.len() as u16).to_be_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// The checksum of ITU V.42, bit by bit: checks of ours are rare and short.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A binding request as a client would send it.
    pub(crate) fn request(username: &str, password: &str, nominates: bool) -> Vec<u8> {
        request_with(username, password, nominates, 256)
    }

    /// The same with a PRIORITY.
    pub(crate) fn request_with(
        username: &str,
        password: &str,
        nominates: bool,
        priority: u32,
    ) -> Vec<u8> {
        let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        message.extend([7; 12]);
        attribute(&mut message, USERNAME, username.as_bytes());
        attribute(&mut message, PRIORITY, &priority.to_be_bytes());
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

    /// A foreign implementation takes what we write, and we take its answer.
    #[test]
    fn an_own_check_is_one_by_the_book() {
        let id = [9; 12];
        let check = OwnCheck {
            id,
            remote: ("theirs", "their password"),
            local_ufrag: "ours",
            priority: 5,
            tie_breaker: 77,
        };
        let mut out = [0; CHECK_BYTES_MAX];
        let len = check.write(&mut out);
        let parsed = str0m::ice::StunMessage::parse(&out[..len]).expect("well formed");
        assert!(parsed.is_binding_request());
        assert_eq!(parsed.split_username(), Some(("theirs", "ours")));
        let ours = BindingRequest::parse(&out[..len]).expect("well formed");
        assert!(ours.is_authentic("their password"));
        assert_eq!((ours.priority, ours.nominates), (5, false));
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let long = "x".repeat(300);
        assert!(OwnCheck { remote: (&long, "p"), ..check }.write(&mut out) > 0);
        let long = "x".repeat(600);
        assert_eq!(OwnCheck { remote: (&long, "p"), ..check }.write(&mut out), 0);
    }

    /// An answer to a check, as a client would send it.
    pub(crate) fn response(id: [u8; 12], password: &str) -> Vec<u8> {
        let mut message = vec![1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        message.extend(id);
        attribute(&mut message, 0x0020, &[0, 1, 0, 0, 0, 0, 0, 0]);
        let tag = integrity(&message, password);
        attribute(&mut message, MESSAGE_INTEGRITY, tag.as_ref());
        let len = (message.len() - HEADER_BYTES) as u16;
        message[2..4].copy_from_slice(&len.to_be_bytes());
        message
    }

    #[test]
    fn an_answer_counts_with_its_password_only() {
        let message = response([3; 12], "theirs");
        let parsed = BindingResponse::parse(&message).expect("well formed");
        assert_eq!(parsed.id, [3; 12]);
        assert!(parsed.is_authentic("theirs"));
        assert!(!parsed.is_authentic("ours"));
        assert!(BindingRequest::parse(&message).is_none());
    }
}
