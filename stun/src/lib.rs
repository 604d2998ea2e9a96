//! STUN messages (RFC 8489), what one client of a TURN server that relays to itself has (RFC 8656), and a
//! client's half of it. No input or output, no clock.

// It reads what others have written: what is not there must not end the process.
#![warn(clippy::indexing_slicing)]

mod client;
mod message;
mod session;
mod wire;

pub use client::{Client, Heard};
pub use message::{Class, Draft, Message, attribute, error_code, key, method};
pub use session::{Grant, Output, Room, Rules, Session, Standing};
pub use wire::{Attribute, Raw, begins_turn, crc32, integrity, message_bytes, write_attribute};

/// What all messages have in front.
pub const HEADER_BYTES: usize = 20;
/// What octets 4 to 7 of every message are (RFC 8489 s5).
pub const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// MESSAGE-INTEGRITY with its head.
pub const INTEGRITY_BYTES: usize = 24;
/// What FINGERPRINT's checksum is made different by (RFC 8489 s14.7).
pub const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// Octets that nobody can guess.
fn unguessable<const LEN: usize>() -> [u8; LEN] {
    let mut bytes = [0; LEN];
    #[expect(clippy::disallowed_methods, reason = "nothing that is decided depends on it")]
    // aws-lc aborts rather than return weak randomness.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}
