//! What a datagram is, by its first byte (RFC 7983, RFC 5761 for RTCP).

use crate::rtp::HEADER_BYTES;

/// See [`classify`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    /// 0..=3.
    Stun,
    /// 20..=63.
    Dtls,
    /// 128..=191 with a payload type outside 64..=95.
    Rtp,
    /// 128..=191 with packet types 192..=223.
    Rtcp,
    /// Everything else: ZRTP, TURN channels, noise.
    Other,
}

/// Tells the class of a datagram.
pub(crate) fn classify(datagram: &[u8]) -> Class {
    match datagram {
        [0..=3, ..] if datagram.len() >= 20 => Class::Stun,
        [20..=63, ..] if datagram.len() >= 13 => Class::Dtls,
        [128..=191, second, ..] if (192..=223).contains(second) && datagram.len() >= 8 => {
            Class::Rtcp
        }
        [128..=191, ..] if datagram.len() >= HEADER_BYTES => Class::Rtp,
        _ => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_decides_and_short_datagrams_are_nothing() {
        let class = |first: u8, second: u8, len: usize| {
            let mut datagram = vec![0; len];
            datagram[0] = first;
            datagram[1] = second;
            classify(&datagram)
        };
        assert_eq!(class(0, 1, 20), Class::Stun);
        assert_eq!(class(22, 254, 30), Class::Dtls);
        assert_eq!(class(0x80, 96, 12), Class::Rtp);
        assert_eq!(class(0x80, 0x80 | 111, 12), Class::Rtp);
        assert_eq!(class(0x80, 200, 12), Class::Rtcp);
        for (first, second, len) in
            [(0, 0, 19), (22, 0, 12), (0x80, 96, 11), (64, 0, 50), (255, 0, 50)]
        {
            assert_eq!(class(first, second, len), Class::Other);
        }
        assert_eq!(classify(&[]), Class::Other);
    }
}
