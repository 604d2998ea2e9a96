//! Random ids from one seed: SHA-256 over seed and counter. As unpredictable as the seed, and
//! repeatable in tests.

use sha2::{Digest, Sha256};

use crate::base64::encode_url;

/// A generator that hands out at most 2^64 blocks.
pub struct Entropy {
    seed: [u8; 32],
    counter: u64,
}

impl Entropy {
    /// From 256 secret bits.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0 }
    }

    fn block(&mut self) -> [u8; 32] {
        self.counter = self.counter.wrapping_add(1);
        let mut hash = Sha256::new();
        hash.update(self.seed);
        hash.update(self.counter.to_be_bytes());
        hash.finalize().into()
    }

    /// 64 bits as 11 characters of unpadded base64url.
    pub fn short_id(&mut self) -> String {
        encode_url(self.block().get(..8).unwrap_or_default())
    }

    /// 128 bits as 22 characters of unpadded base64url: not guessable.
    pub fn long_id(&mut self) -> String {
        encode_url(self.block().get(..16).unwrap_or_default())
    }

    /// 128 bits as 32 hex digits, like the ids that stock clients choose.
    pub fn hex_id(&mut self) -> String {
        self.block().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_length_and_never_repeat() {
        let mut entropy = Entropy::new([7; 32]);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            assert_eq!(entropy.short_id().len(), 11);
            let long = entropy.long_id();
            assert_eq!(long.len(), 22);
            assert!(seen.insert(long));
            assert_eq!(entropy.hex_id().len(), 32);
        }
    }
}
