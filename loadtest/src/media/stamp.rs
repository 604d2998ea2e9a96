//! The stamp at the end of every payload: when it was sent.
//!
//! No octet of it is zero and it ends with a stop bit, so that it may end an H.264 NAL unit
//! without looking like a start code.

/// A stamp's length: magic, eight times seven bits of microseconds, stop bit.
pub(super) const STAMP_BYTES: usize = 12;
const MAGIC: [u8; 3] = *b"aUl";
const STOP: u8 = 0x80;
const TIME_BYTES: usize = 8;

/// Reads the stamp of a payload: microseconds since the harness's epoch.
pub(crate) fn read_stamp(payload: &[u8]) -> Option<u64> {
    let stamp: &[u8; STAMP_BYTES] = payload.last_chunk()?;
    let (magic, rest) = stamp.split_first_chunk()?;
    let (time, stop) = rest.split_first_chunk::<TIME_BYTES>()?;
    if *magic != MAGIC || stop != [STOP] || time.iter().any(|byte| byte & 0x80 == 0) {
        return None;
    }
    Some(time.iter().fold(0, |all, byte| all << 7 | u64::from(byte & 0x7f)))
}

/// Writes the stamp over the end of a payload; a shorter one gets none.
pub(crate) fn write_stamp(payload: &mut [u8], at_us: u64) {
    if let Some(stamp) = payload.last_chunk_mut::<STAMP_BYTES>() {
        stamp[..3].copy_from_slice(&MAGIC);
        for (at, byte) in stamp[3..3 + TIME_BYTES].iter_mut().enumerate() {
            *byte = 0x80 | (at_us >> (7 * (TIME_BYTES - 1 - at))) as u8;
        }
        stamp[STAMP_BYTES - 1] = STOP;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back_and_nothing_else_is_one() {
        let mut payload = [0; 40];
        assert_eq!(read_stamp(&payload), None);
        for at_us in [0, 1, 127, 128, 1_000_000, 1 << 40] {
            write_stamp(&mut payload, at_us);
            assert_eq!(read_stamp(&payload), Some(at_us));
            assert!(!payload[28..].contains(&0));
        }
        payload[39] ^= 1;
        assert_eq!(read_stamp(&payload), None);
        assert_eq!(read_stamp(&payload[..11]), None);
    }
}
