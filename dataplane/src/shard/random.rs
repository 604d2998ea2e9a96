//! A small generator (splitmix64) for what must be spread, not secret; and passwords, which are.

use crate::id::ShardId;
use crate::ufrag;

/// See the module's documentation.
pub(super) struct Random(u64);

impl Random {
    /// The same seed makes the same numbers.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Fresh ICE credentials for a slot of a shard: a fragment that names them, and a password.
    pub(super) fn credentials(&mut self, shard: ShardId, slot: usize) -> (String, String) {
        (ufrag::encode(shard, slot as u32, self.next()), password())
    }
}

/// An unguessable ICE password of 144 bits (RFC 8445 s5.3 asks for 128).
fn password() -> String {
    const CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = [0; 24];
    // aws-lc aborts rather than return weak randomness; an error would leave a constant.
    let filled = aws_lc_rs::rand::fill(&mut bytes);
    assert!(filled.is_ok(), "the system has no randomness");
    bytes.iter().map(|byte| char::from(CHARS[usize::from(byte & 63)])).collect()
}
