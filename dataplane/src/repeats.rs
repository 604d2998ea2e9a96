//! Sound that may have to be sent again. There is no RTX for it, so a packet must be repeated octet by octet:
//! sealed anew with other numbers of this hop, two packets would share a nonce (RFC 3711 s9.1). So what left
//! sealed is kept, for viewers that have asked for sound once.

/// A second of sound: what is older would not be heard any more.
const PACKETS: usize = 50;
/// A larger packet is not kept. Opus at 64 kbit/s with one that went before has 400.
const BYTES_MAX: usize = 480;

/// See the module's documentation.
pub(crate) struct Repeats {
    packets: [Kept; PACKETS],
}

#[derive(Clone, Copy)]
struct Kept {
    seq_no: u16,
    twcc: u16,
    len: u16,
    bytes: [u8; BYTES_MAX],
}

impl Repeats {
    /// None so far. It is large, and few need it.
    pub(crate) fn new() -> Box<Self> {
        Box::new(Self {
            packets: [Kept { seq_no: 0, twcc: 0, len: 0, bytes: [0; BYTES_MAX] }; PACKETS],
        })
    }

    /// Keeps a sealed packet, with its sequence number and its transport-wide one.
    pub(crate) fn keep(&mut self, seq_no: u16, twcc: u16, sealed: &[u8]) {
        let kept = &mut self.packets[usize::from(seq_no) % PACKETS];
        let target = kept.bytes.get_mut(..sealed.len());
        (kept.seq_no, kept.twcc, kept.len) = (seq_no, twcc, 0);
        if let Some(target) = target {
            target.copy_from_slice(sealed);
            kept.len = sealed.len() as u16;
        }
    }

    /// A packet that was kept, and its transport-wide number.
    pub(crate) fn get(&self, seq_no: u16) -> Option<(u16, &[u8])> {
        let kept = &self.packets[usize::from(seq_no) % PACKETS];
        let is_here = kept.seq_no == seq_no && kept.len > 0;
        is_here.then_some((kept.twcc, &kept.bytes[..usize::from(kept.len)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_last_is_there_and_nothing_else() {
        let mut repeats = Repeats::new();
        assert_eq!(repeats.get(0), None, "nothing yet");
        for seq_no in (65_500..=u16::MAX).chain(0..30) {
            repeats.keep(seq_no, seq_no ^ 7, &seq_no.to_be_bytes());
        }
        assert_eq!(repeats.get(u16::MAX), Some((u16::MAX ^ 7, &[0xff, 0xff][..])));
        assert_eq!(repeats.get(29), Some((29 ^ 7, &[0, 29][..])));
        assert_eq!(repeats.get(65_500), None, "too old");
        assert_eq!(repeats.get(30), None, "not yet");
        repeats.keep(29, 0, &[1; BYTES_MAX + 1]);
        assert_eq!(repeats.get(29), None, "too large");
        repeats.keep(28, 0, &[1; BYTES_MAX]);
        assert!(repeats.get(28).is_some());
    }
}
