//! The STUN gate (RFC 8489, RFC 8445): which Transport a binding request is for, and whether its
//! sender knows that Transport's password. Requests that do not pass get no answer at all, so
//! that nobody can use the server as a reflector. The answers to those that do. And the checks that we
//! make ourselves, to see whether a path leads to the peer (`path.rs`), with their answers.

use std::net::SocketAddr;

use stun::{Attribute, Class, Draft, INTEGRITY_BYTES, Raw, attribute as at, integrity, method};

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_RESPONSE: u16 = 0x0101;
/// The largest check of ours: both fragments of a user name may have 256 characters.
pub(crate) const CHECK_BYTES_MAX: usize = 640;
/// A longer USERNAME is nobody's we know: both fragments may have 256 characters, ours has 24.
const USERNAME_BYTES_MAX: usize = 300;
/// A STUN message, well formed, with exactly one MESSAGE-INTEGRITY.
#[derive(Clone, Copy, Debug)]
struct Message<'a> {
    bytes: &'a [u8],
    id: [u8; 12],
    integrity_at: usize,
    username: Option<&'a [u8]>,
    priority: u32,
    nominates: bool,
    is_plain: bool,
}

impl<'a> Message<'a> {
    fn parse(bytes: &'a [u8], kind: u16) -> Option<Self> {
        let raw = Raw::parse(bytes).filter(|raw| raw.kind == kind)?;
        let (mut username, mut integrity_at, mut nominates) = (None, None, false);
        let (mut priority, mut is_plain) = (0, true);
        for attribute in raw.attributes() {
            let Attribute { at: begin, name, value } = attribute?;
            match name {
                at::INTEGRITY if integrity_at.is_some() || value.len() != 20 => return None,
                at::INTEGRITY => integrity_at = Some(begin),
                // RFC 8489 s14.5: what follows the integrity, but for FINGERPRINT, is ignored.
                _ if integrity_at.is_some() => {}
                at::USERNAME => username = Some(value),
                at::PRIORITY => priority = value.try_into().map_or(0, u32::from_be_bytes),
                at::USE_CANDIDATE => nominates = true,
                at::CONTROLLED | ..at::OPTIONAL => is_plain = false,
                _ => {}
            }
        }
        let integrity_at = integrity_at?;
        let id = raw.id;
        Some(Self { bytes, id, integrity_at, username, priority, nominates, is_plain })
    }

    /// Whether MESSAGE-INTEGRITY was made with `password` (RFC 8489 s14.5, short-term credential).
    fn is_authentic(&self, password: &str) -> bool {
        let received = &self.bytes[self.integrity_at + 4..self.integrity_at + INTEGRITY_BYTES];
        let made = integrity(&self.bytes[..self.integrity_at], password.as_bytes());
        aws_lc_rs::constant_time::verify_slices_are_equal(made.as_ref(), received).is_ok()
    }
}

/// A binding request, not yet proven authentic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BindingRequest<'a> {
    message: Message<'a>,
    /// Our user name fragment, the part of USERNAME before the colon.
    pub local_ufrag: &'a str,
    /// Whether the controlling side nominates this pair.
    pub nominates: bool,
    /// The priority of its candidate; 0 if it does not say.
    pub priority: u32,
    /// Nothing in it but what every controlling agent says: no conflict of roles (RFC 8445 s7.3.1.1),
    /// and nothing that must be refused for not being understood (RFC 8489 s6.3.1).
    pub is_plain: bool,
}

impl<'a> BindingRequest<'a> {
    /// Parses a message as far as the gate needs. `None` for anything but a well-formed binding
    /// request with USERNAME and exactly one MESSAGE-INTEGRITY.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let message = Message::parse(bytes, BINDING_REQUEST)?;
        let username = message.username.filter(|name| name.len() <= USERNAME_BYTES_MAX)?;
        let (local_ufrag, _) = std::str::from_utf8(username).ok()?.split_once(':')?;
        let Message { nominates, priority, is_plain, .. } = message;
        Some(Self { message, local_ufrag, nominates, priority, is_plain })
    }

    /// Whether MESSAGE-INTEGRITY was made with `password`.
    pub(crate) fn is_authentic(&self, password: &str) -> bool {
        self.message.is_authentic(password)
    }

    /// The answer that it gets if it is authentic: where it came from (RFC 8445 s7.3.1).
    pub(crate) fn answer(&self, from: SocketAddr, password: &str) -> Vec<u8> {
        Draft::new(Class::Success, method::BINDING, self.message.id)
            .with_address(at::MAPPED_ADDRESS, from)
            .finish_check(password.as_bytes())
    }
}

/// The answer to a check of ours, not yet proven authentic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BindingResponse<'a> {
    message: Message<'a>,
    /// The id of the check.
    pub id: [u8; 12],
}

impl<'a> BindingResponse<'a> {
    /// `None` for anything but a well-formed successful answer with one MESSAGE-INTEGRITY.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let message = Message::parse(bytes, BINDING_RESPONSE)?;
        Some(Self { message, id: message.id })
    }

    /// Whether MESSAGE-INTEGRITY was made with `password`, the peer's.
    pub(crate) fn is_authentic(&self, password: &str) -> bool {
        self.message.is_authentic(password)
    }
}

/// A check of ours: a binding request of a controlled agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnCheck<'a> {
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
    pub(crate) fn write(&self, out: &mut [u8; CHECK_BYTES_MAX]) -> usize {
        let (remote_ufrag, password) = self.remote;
        let username_len = remote_ufrag.len() + 1 + self.local_ufrag.len();
        if username_len > 2 * 256 + 1 {
            return 0;
        }
        let username = format!("{remote_ufrag}:{}", self.local_ufrag);
        let message = Draft::new(Class::Request, method::BINDING, self.id)
            .with(at::USERNAME, username.as_bytes())
            .with(at::PRIORITY, &self.priority.to_be_bytes())
            .with(at::CONTROLLED, &self.tie_breaker.to_be_bytes())
            .finish_check(password.as_bytes());
        match out.get_mut(..message.len()) {
            Some(out) => out.copy_from_slice(&message),
            None => return 0,
        }
        message.len()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_lc_rs::hmac;
    use stun::{HEADER_BYTES, write_attribute as attribute};

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
        attribute(&mut message, at::USERNAME, username.as_bytes());
        attribute(&mut message, at::PRIORITY, &priority.to_be_bytes());
        attribute(&mut message, 0x802a, &[0; 8]);
        if nominates {
            attribute(&mut message, at::USE_CANDIDATE, &[]);
        }
        let len = message.len() - HEADER_BYTES + 24;
        message[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let tag = hmac::sign(&key, &message);
        attribute(&mut message, at::INTEGRITY, tag.as_ref());
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
        let long = "x".repeat(300);
        assert!(OwnCheck { remote: (&long, "p"), ..check }.write(&mut out) > 0);
        let long = "x".repeat(600);
        assert_eq!(OwnCheck { remote: (&long, "p"), ..check }.write(&mut out), 0);
    }

    /// A foreign implementation takes our answer to its check.
    #[test]
    fn an_answer_is_one_by_the_book() {
        let message = request("ours:theirs", "secret", true);
        let parsed = BindingRequest::parse(&message).expect("well formed");
        assert!(parsed.is_plain);
        for from in ["192.0.2.7:5000", "[2001:db8::7]:5000"] {
            let from: SocketAddr = from.parse().expect("an address");
            let answer = parsed.answer(from, "secret");
            let read = str0m::ice::StunMessage::parse(&answer).expect("well formed");
            assert!(read.is_successful_binding_response());
            assert_eq!(read.mapped_address(), Some(from));
            let ours = BindingResponse::parse(&answer).expect("well formed");
            assert!(ours.is_authentic("secret") && !ours.is_authentic("other"));
            assert_eq!(ours.id, [7; 12]);
        }
    }

    #[test]
    fn what_is_not_understood_or_claims_our_role_is_not_plain() {
        for (name, is_plain) in [(at::CONTROLLED, false), (0x7777, false), (0x8777, true)] {
            let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
            message.extend([7; 12]);
            attribute(&mut message, at::USERNAME, b"ours:theirs");
            attribute(&mut message, name, &[0; 8]);
            let tag = integrity(&message, b"secret");
            attribute(&mut message, at::INTEGRITY, tag.as_ref());
            let len = (message.len() - HEADER_BYTES) as u16;
            message[2..4].copy_from_slice(&len.to_be_bytes());
            let parsed = BindingRequest::parse(&message).expect("well formed");
            assert!(parsed.is_authentic("secret"));
            assert_eq!(parsed.is_plain, is_plain, "{name:#06x}");
        }
    }

    /// An answer to a check, as a client would send it.
    pub(crate) fn response(id: [u8; 12], password: &str) -> Vec<u8> {
        let mut message = vec![1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        message.extend(id);
        attribute(&mut message, 0x0020, &[0, 1, 0, 0, 0, 0, 0, 0]);
        let tag = integrity(&message, password.as_bytes());
        attribute(&mut message, at::INTEGRITY, tag.as_ref());
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
