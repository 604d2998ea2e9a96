//! RTP packets as offsets into a buffer (RFC 3550 s5.1, RFC 8285). Parsing allocates nothing and
//! never reads past the buffer; a packet that lies about a length does not parse.

/// The fixed header.
pub(crate) const HEADER_BYTES: usize = 12;
/// RFC 8285 s4.2.
pub const ONE_BYTE_PROFILE: u16 = 0xbede;
/// RFC 8285 s4.3, the lower four bits are free.
pub const TWO_BYTE_PROFILE: u16 = 0x1000;

/// The header of an RTP packet and where its parts lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// The marker bit.
    pub marker: bool,
    /// Payload type, 0..=127.
    pub pt: u8,
    /// Sequence number.
    pub seq_no: u16,
    /// Timestamp, in units of the payload's clock rate.
    pub rtp_time: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// The header's length with CSRCs and extension block; the payload begins here.
    pub header_len: usize,
    /// The extension profile and the block's range, without its own 4-byte header.
    pub extension: Option<(u16, usize, usize)>,
    has_padding: bool,
}

impl RtpHeader {
    /// Parses the header, which SRTP leaves in the clear. `None` if `packet` is no RTP version 2
    /// packet or too short for what it claims.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let fixed: &[u8; HEADER_BYTES] = packet.first_chunk()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let mut header_len = HEADER_BYTES + 4 * usize::from(fixed[0] & 0x0f);
        let mut extension = None;
        if fixed[0] & 0x10 != 0 {
            let block = packet.get(header_len..header_len + 4)?;
            let profile = u16::from_be_bytes([block[0], block[1]]);
            let words = usize::from(u16::from_be_bytes([block[2], block[3]]));
            let start = header_len + 4;
            header_len = start + 4 * words;
            extension = Some((profile, start, header_len));
        }
        if packet.len() < header_len {
            return None;
        }
        Some(Self {
            marker: fixed[1] & 0x80 != 0,
            pt: fixed[1] & 0x7f,
            seq_no: u16::from_be_bytes([fixed[2], fixed[3]]),
            rtp_time: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            header_len,
            extension,
            has_padding: fixed[0] & 0x20 != 0,
        })
    }

    /// The payload's range in the decrypted `packet`, without padding. `None` if the padding
    /// count is zero or longer than the payload (RFC 3550 s5.1).
    pub fn payload(&self, packet: &[u8]) -> Option<(usize, usize)> {
        let mut end = packet.len();
        if self.has_padding {
            let padding = usize::from(*packet.last()?);
            if padding == 0 {
                return None;
            }
            end = end.checked_sub(padding)?;
        }
        (end >= self.header_len).then_some((self.header_len, end))
    }

    /// The value of the extension element with this id.
    pub fn element<'a>(&self, packet: &'a [u8], id: u8) -> Option<&'a [u8]> {
        self.elements(packet).find_map(|(found, value)| (found == id).then_some(value))
    }

    /// The header extension elements of the packet.
    pub fn elements<'a>(&self, packet: &'a [u8]) -> Elements<'a> {
        let (profile, block) = match self.extension {
            Some((profile, start, end)) => (profile, packet.get(start..end).unwrap_or(&[])),
            None => (0, &[][..]),
        };
        Elements {
            is_two_byte: profile & 0xfff0 == TWO_BYTE_PROFILE,
            rest: match profile {
                ONE_BYTE_PROFILE => block,
                _ if profile & 0xfff0 == TWO_BYTE_PROFILE => block,
                _ => &[],
            },
        }
    }
}

/// Walks `(id, value)` pairs of a header extension block of either form; stops at the first
/// element that does not fit.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    is_two_byte: bool,
    rest: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&first, rest) = self.rest.split_first()?;
            if first == 0 {
                // A padding octet in either form.
                self.rest = rest;
                continue;
            }
            let (id, len, rest) = if self.is_two_byte {
                let (&len, rest) = rest.split_first()?;
                (first, usize::from(len), rest)
            } else {
                // RFC 8285 s4.2: id 15 ends the block, whatever follows.
                if first >> 4 == 15 {
                    self.rest = &[];
                    return None;
                }
                (first >> 4, usize::from(first & 0x0f) + 1, rest)
            };
            let Some((value, rest)) = rest.split_at_checked(len) else {
                self.rest = &[];
                return None;
            };
            self.rest = rest;
            return Some((id, value));
        }
    }
}

/// How many steps `to` is ahead of `from`, modulo 2^16; negative when behind.
pub(crate) fn seq_diff(to: u16, from: u16) -> i16 {
    to.wrapping_sub(from) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![first, 0x80 | 96, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2];
        packet.extend(rest);
        packet
    }

    #[test]
    fn a_plain_packet_parses() {
        let packet = packet(0x80, b"abc");
        let header = RtpHeader::parse(&packet).expect("valid");
        assert_eq!((header.pt, header.marker, header.seq_no, header.ssrc), (96, true, 7, 2));
        assert_eq!(header.payload(&packet), Some((12, 15)));
        assert_eq!(header.elements(&packet).count(), 0);
    }

    #[test]
    fn both_extension_forms_give_their_elements() {
        let one = packet(0x90, &[0xbe, 0xde, 0, 2, 0x10, 7, 0, 0x51, 1, 2, 0, 0, b'x']);
        let header = RtpHeader::parse(&one).expect("valid");
        let found: Vec<_> = header.elements(&one).collect();
        assert_eq!(found, [(1, &[7][..]), (5, &[1, 2][..])]);
        assert_eq!(header.payload(&one), Some((24, 25)));
        let two = packet(0x90, &[0x10, 0, 0, 2, 3, 0, 9, 2, 8, 8, 0, 0]);
        let header = RtpHeader::parse(&two).expect("valid");
        assert_eq!(header.elements(&two).collect::<Vec<_>>(), [(3, &[][..]), (9, &[8, 8][..])]);
    }

    #[test]
    fn lying_lengths_do_not_parse_or_end_the_walk() {
        assert!(RtpHeader::parse(&packet(0x8f, &[0; 59])).is_none(), "15 CSRCs");
        assert!(RtpHeader::parse(&packet(0x8f, &[0; 60])).is_some());
        assert!(RtpHeader::parse(&packet(0x90, &[0xbe, 0xde, 0xff, 0xff, 0])).is_none());
        assert!(RtpHeader::parse(&packet(0x00, &[])).is_none(), "version 0");
        assert!(RtpHeader::parse(&[0x80; 11]).is_none());
        let long = packet(0x90, &[0xbe, 0xde, 0, 1, 0x1f, 1, 2, 3]);
        let header = RtpHeader::parse(&long).expect("valid");
        assert_eq!(header.elements(&long).count(), 0);
    }

    #[test]
    fn padding_is_taken_off_or_refused() {
        let good = packet(0xa0, &[1, 2, 0, 2]);
        assert_eq!(RtpHeader::parse(&good).and_then(|h| h.payload(&good)), Some((12, 14)));
        for bad in [packet(0xa0, &[1, 0]), packet(0xa0, &[1, 9])] {
            assert_eq!(RtpHeader::parse(&bad).and_then(|h| h.payload(&bad)), None);
        }
    }
}
