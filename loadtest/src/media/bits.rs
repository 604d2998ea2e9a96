//! Writing bit by bit, as sequence headers and dependency descriptors want it.

/// Bits, most significant first.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    used: usize,
}

impl BitWriter {
    /// Appends the low `bits` (at most 32) of a value.
    pub(super) fn put(&mut self, value: u32, bits: usize) {
        for bit in (0..bits).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << (7 - self.used % 8);
            }
            self.used += 1;
        }
    }

    /// Appends an unsigned Exp-Golomb code (H.264 s9.1).
    pub(super) fn put_ue(&mut self, value: u32) {
        let bits = (32 - (value + 1).leading_zeros()) as usize;
        self.put(0, bits - 1);
        self.put(value + 1, bits);
    }

    /// Appends a 1 and zeros up to a whole octet: the trailing bits of H.264 and AV1.
    pub(super) fn put_trailing(&mut self) {
        self.put(1, 1);
        self.align();
    }

    /// Appends zeros up to a whole octet.
    pub(super) fn align(&mut self) {
        self.used = self.used.next_multiple_of(8);
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_codes_stand_in_order() {
        let mut writer = BitWriter::default();
        writer.put(0b101, 3);
        for value in [0, 1, 2, 6] {
            writer.put_ue(value);
        }
        writer.put_trailing();
        // 101, 1, 010, 011, 00111 and the trailing 1, which closes the octet.
        assert_eq!(writer.into_bytes(), [0b1011_0100, 0b1100_1111]);
    }
}
