//! Opus (RFC 6716, RFC 7587).

/// 20 ms in which nothing is heard.
pub const SILENCE: &[u8] = &[0xf8, 0xff, 0xfe];

/// How long a packet sounds, in samples of 48 kHz (RFC 6716 s3.1).
pub(crate) fn samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let config = toc >> 3;
    let frame = match config {
        0..12 => match config & 3 {
            0 => 480,
            1 => 960,
            2 => 1920,
            _ => 2880,
        },
        12..16 => 480 << (config & 1),
        _ => 120 << (config & 3),
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    let samples = frame * frames;
    (1..=5760).contains(&samples).then_some(samples)
}

/// `dOps` without its header: version 0, two channels, nothing to skip, 48 kHz, no gain.
pub(crate) fn record() -> Vec<u8> {
    vec![0, 2, 0, 0, 0, 0, 0xbb, 0x80, 0, 0, 0]
}

/// The same as Ogg and Matroska have it: little endian, behind a name.
pub(crate) fn head() -> Vec<u8> {
    let mut head = b"OpusHead\x01\x02\x00\x00".to_vec();
    head.extend_from_slice(&48_000u32.to_le_bytes());
    head.extend_from_slice(&[0, 0, 0]);
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_tell_how_long_they_sound() {
        assert_eq!(samples(&[0x78]), Some(960), "what browsers send");
        assert_eq!(samples(&[0xf8 | 1]), Some(1920));
        assert_eq!(samples(&[0x18 | 3, 2]), Some(5760));
        assert_eq!(samples(&[0x18 | 3, 63]), None, "more than 120 ms");
        assert_eq!(samples(&[]), None);
        assert_eq!(samples(&[3]), None);
        assert_eq!(samples(SILENCE), Some(960));
    }
}
