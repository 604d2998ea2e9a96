//! Our ICE user name fragments: they name the shard and slot, so that a STUN request finds its
//! Transport with no table shared between shards. Layout, in base-36 digits behind the version
//! letter `a`: shard (1), slot (5), random (12). The random part makes a stale fragment of a slot
//! used again miss, and is compared by the owner; it is no secret, the ICE password is.

use crate::id::ShardId;

const VERSION: u8 = b'a';
const SLOT_DIGITS: usize = 5;
const RANDOM_DIGITS: usize = 12;
const LEN: usize = 2 + SLOT_DIGITS + RANDOM_DIGITS;
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// Slots that fit the layout.
pub(crate) const SLOTS_MAX: u32 = 36_u32.pow(SLOT_DIGITS as u32);

/// Writes the fragment for a slot, which must be below [`SLOTS_MAX`].
pub(crate) fn encode(shard: ShardId, slot: u32, mut random: u64) -> String {
    let mut ufrag = [VERSION; LEN];
    ufrag[1] = DIGITS[usize::from(shard.0) % 36];
    let mut slot = slot;
    for digit in ufrag[2..2 + SLOT_DIGITS].iter_mut().rev() {
        *digit = DIGITS[(slot % 36) as usize];
        slot /= 36;
    }
    for digit in &mut ufrag[2 + SLOT_DIGITS..] {
        *digit = DIGITS[(random % 36) as usize];
        random /= 36;
    }
    ufrag.iter().map(|digit| char::from(*digit)).collect()
}

/// Reads shard and slot back; `None` for what we never wrote.
pub(crate) fn decode(ufrag: &str) -> Option<(ShardId, u32)> {
    let ufrag: &[u8; LEN] = ufrag.as_bytes().try_into().ok()?;
    if ufrag[0] != VERSION {
        return None;
    }
    let shard = value(ufrag[1])?;
    let mut slot = 0;
    for digit in &ufrag[2..2 + SLOT_DIGITS] {
        slot = slot * 36 + u32::from(value(*digit)?);
    }
    Some((ShardId(shard), slot))
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'z' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_decodes() {
        for shard in [0, 1, 15] {
            for slot in [0, 1, 35, 36, 999_999, SLOTS_MAX - 1] {
                let ufrag = encode(ShardId(shard), slot, u64::MAX);
                assert_eq!(decode(&ufrag), Some((ShardId(shard), slot)), "{ufrag}");
            }
        }
    }

    #[test]
    fn anything_else_does_not() {
        for other in ["", "a", "b000000xxxxxxxxxxxx", "a0000A0xxxxxxxxxxxx", "äääääääää"] {
            assert_eq!(decode(other), None, "{other}");
        }
    }
}
