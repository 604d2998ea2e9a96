//! RTCP: parsing what peers report, writing what we report (RFC 3550 s6, RFC 4585, RFC 5104,
//! draft-holmer-rmcat-transport-wide-cc-extensions-01, draft-alvestrand-rmcat-remb-03).

const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const RTPFB: u8 = 205;
const PSFB: u8 = 206;
/// Reports, requests and the like read from one compound packet at most; the rest is ignored.
const ITEMS_MAX: usize = 256;

/// What one RTCP packet says, as far as an SFU listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback<'a> {
    /// A sender report: its SSRC, NTP time (32.32) and RTP time.
    SenderReport {
        /// Who sends.
        ssrc: u32,
        /// The sender's clock, seconds since 1900 in 32.32.
        ntp_time: u64,
        /// The same instant in RTP units.
        rtp_time: u32,
    },
    /// A report block about a stream of ours.
    Report(ReportBlock),
    /// These SSRCs have left.
    Bye(SsrcList<'a>),
    /// Picture loss indication, RFC 4585 s6.3.1.
    Pli {
        /// The stream that needs a keyframe.
        ssrc: u32,
    },
    /// Full intra request, RFC 5104 s4.3.1.
    Fir {
        /// The stream that needs a keyframe.
        ssrc: u32,
    },
    /// Generic NACK, RFC 4585 s6.2.1: `seq_no` and the following ones whose bit is set.
    Nack {
        /// The stream with the gap.
        ssrc: u32,
        /// The first missing sequence number.
        seq_no: u16,
        /// Bit i set: `seq_no` + i + 1 is missing too.
        bitmask: u16,
    },
    /// Receiver estimated maximum bitrate.
    Remb {
        /// In bits per second, saturated.
        bitrate_bps: u64,
    },
    /// Transport-wide feedback, the part after the two SSRCs.
    Twcc(&'a [u8]),
    /// Congestion control feedback (RFC 8888), the part after the sender's SSRC.
    Ccfb(&'a [u8]),
}

/// RFC 3550 s6.4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// Whose packets were received.
    pub ssrc: u32,
    /// Loss since the last report in 1/256.
    pub fraction_lost: u8,
    /// 24 bits, signed.
    pub packets_lost: i32,
    /// Cycles and highest sequence number.
    pub highest_seq: u32,
    /// In RTP units.
    pub jitter: u32,
    /// Middle 32 bits of the last SR's NTP time.
    pub last_sr: u32,
    /// Since that SR, in 1/65536 s.
    pub delay_since_sr: u32,
}

/// SSRCs in a BYE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SsrcList<'a>(&'a [u8]);

impl SsrcList<'_> {
    /// The SSRCs.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.chunks_exact(4).filter_map(|chunk| be_u32(chunk, 0))
    }
}

/// Calls `each` for what a compound packet says. Stops at the first malformed packet; returns
/// whether the whole was well formed.
pub fn parse<'a>(compound: &'a [u8], mut each: impl FnMut(Feedback<'a>)) -> bool {
    let mut rest = compound;
    let mut items = 0;
    let mut each = |feedback| {
        items += 1;
        if items <= ITEMS_MAX {
            each(feedback);
        }
    };
    while !rest.is_empty() {
        let Some(header) = rest.first_chunk::<4>() else {
            return false;
        };
        let len = 4 * (usize::from(u16::from_be_bytes([header[2], header[3]])) + 1);
        if header[0] >> 6 != 2 || rest.len() < len {
            return false;
        }
        let (packet, next) = rest.split_at(len);
        rest = next;
        if parse_one(packet, header[0] & 0x1f, header[1], &mut each).is_none() {
            return false;
        }
    }
    true
}

fn parse_one<'a>(
    packet: &'a [u8],
    count: u8,
    packet_type: u8,
    each: &mut impl FnMut(Feedback<'a>),
) -> Option<()> {
    match packet_type {
        SR => {
            each(Feedback::SenderReport {
                ssrc: be_u32(packet, 4)?,
                ntp_time: u64::from(be_u32(packet, 8)?) << 32 | u64::from(be_u32(packet, 12)?),
                rtp_time: be_u32(packet, 16)?,
            });
            parse_blocks(packet.get(28..)?, count, each)
        }
        RR => parse_blocks(packet.get(8..)?, count, each),
        BYE => {
            each(Feedback::Bye(SsrcList(packet.get(4..4 + 4 * usize::from(count))?)));
            Some(())
        }
        RTPFB => parse_transport_feedback(packet, count, each),
        PSFB => parse_payload_feedback(packet, count, each),
        // SDES, APP, XR and what the future brings: well formed, not for us.
        _ => Some(()),
    }
}

fn parse_blocks<'a>(
    blocks: &'a [u8],
    count: u8,
    each: &mut impl FnMut(Feedback<'a>),
) -> Option<()> {
    for block in blocks.get(..24 * usize::from(count))?.chunks_exact(24) {
        let loss = be_u32(block, 4)?;
        each(Feedback::Report(ReportBlock {
            ssrc: be_u32(block, 0)?,
            fraction_lost: (loss >> 24) as u8,
            // Sign-extend 24 bits.
            packets_lost: ((loss << 8) as i32) >> 8,
            highest_seq: be_u32(block, 8)?,
            jitter: be_u32(block, 12)?,
            last_sr: be_u32(block, 16)?,
            delay_since_sr: be_u32(block, 20)?,
        }));
    }
    Some(())
}

fn parse_transport_feedback<'a>(
    packet: &'a [u8],
    format: u8,
    each: &mut impl FnMut(Feedback<'a>),
) -> Option<()> {
    let ssrc = be_u32(packet, 8)?;
    match format {
        1 => {
            for item in packet.get(12..)?.chunks_exact(4) {
                each(Feedback::Nack {
                    ssrc,
                    seq_no: u16::from_be_bytes([item[0], item[1]]),
                    bitmask: u16::from_be_bytes([item[2], item[3]]),
                });
            }
        }
        11 => each(Feedback::Ccfb(packet.get(8..)?)),
        15 => each(Feedback::Twcc(packet.get(12..)?)),
        _ => {}
    }
    Some(())
}

fn parse_payload_feedback<'a>(
    packet: &'a [u8],
    format: u8,
    each: &mut impl FnMut(Feedback<'a>),
) -> Option<()> {
    match format {
        1 => each(Feedback::Pli { ssrc: be_u32(packet, 8)? }),
        4 => {
            for item in packet.get(12..)?.chunks_exact(8) {
                each(Feedback::Fir { ssrc: be_u32(item, 0)? });
            }
        }
        15 if packet.get(12..16)? == b"REMB" => {
            let word = be_u32(packet, 16)?;
            let (exponent, mantissa) = ((word >> 18) & 0x3f, u64::from(word & 0x3_ffff));
            let bitrate_bps = mantissa.checked_shl(exponent).unwrap_or(u64::MAX);
            // A shift that pushes bits out is as absurd as one that is too long.
            let bitrate_bps = if bitrate_bps.checked_shr(exponent) == Some(mantissa) {
                bitrate_bps
            } else {
                u64::MAX
            };
            each(Feedback::Remb { bitrate_bps });
        }
        _ => {}
    }
    Some(())
}

/// Transport-wide feedback: which packets arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Twcc {
    /// The first sequence number reported.
    pub base_seq: u16,
    /// How many are reported.
    pub packets: u16,
    /// How many of them arrived.
    pub received: u16,
}

impl Twcc {
    /// Parses the body after the two SSRCs. `None` if it is cut short.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let base_seq = be_u16(body, 0)?;
        let packets = be_u16(body, 2)?;
        let (mut seen, mut received, mut at) = (0u16, 0u16, 8);
        while seen < packets {
            let chunk = be_u16(body, at)?;
            at += 2;
            let left = packets - seen;
            if chunk & 0x8000 == 0 {
                let run = (chunk & 0x1fff).min(left);
                if matches!((chunk >> 13) & 3, 1 | 2) {
                    received += run;
                }
                // A run of zero would never end.
                seen += run.max(1);
            } else if chunk & 0x4000 == 0 {
                let run = left.min(14);
                received += (0..run).filter(|i| chunk >> (13 - i) & 1 != 0).count() as u16;
                seen += run;
            } else {
                let run = left.min(7);
                received +=
                    (0..run).filter(|i| matches!(chunk >> (12 - 2 * i) & 3, 1 | 2)).count() as u16;
                seen += run;
            }
        }
        Some(Self { base_seq, packets, received })
    }
}

/// Writes a compound packet into a buffer; what does not fit is left out as a whole packet.
pub struct Writer<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Starts an empty compound packet.
    pub fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, len: 0 }
    }

    /// The bytes written so far.
    pub fn written(&self) -> usize {
        self.len
    }

    /// A sender report without report blocks.
    pub fn sender_report(
        &mut self,
        ssrc: u32,
        ntp_time: u64,
        rtp_time: u32,
        packets: u32,
        octets: u32,
    ) {
        let mut body = [0; 24];
        body[..4].copy_from_slice(&ssrc.to_be_bytes());
        body[4..12].copy_from_slice(&ntp_time.to_be_bytes());
        body[12..16].copy_from_slice(&rtp_time.to_be_bytes());
        body[16..20].copy_from_slice(&packets.to_be_bytes());
        body[20..].copy_from_slice(&octets.to_be_bytes());
        self.packet(0, SR, &[&body]);
    }

    /// A receiver report with up to 31 blocks (RFC 3550 s6.4.2); more are left out.
    pub fn receiver_report(&mut self, ssrc: u32, blocks: &[ReportBlock]) {
        let mut body = [0; 31 * 24];
        let blocks = &blocks[..blocks.len().min(31)];
        for (block, out) in blocks.iter().zip(body.chunks_exact_mut(24)) {
            let loss = u32::from(block.fraction_lost) << 24
                | (block.packets_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff);
            let words = [
                block.ssrc,
                loss,
                block.highest_seq,
                block.jitter,
                block.last_sr,
                block.delay_since_sr,
            ];
            for (word, out) in words.into_iter().zip(out.chunks_exact_mut(4)) {
                out.copy_from_slice(&word.to_be_bytes());
            }
        }
        let used = &body[..24 * blocks.len()];
        self.packet(blocks.len() as u8, RR, &[&ssrc.to_be_bytes(), used]);
    }

    /// A source description with a CNAME of at most 64 bytes (RFC 3550 s6.5).
    pub fn cname(&mut self, ssrc: u32, cname: &str) {
        let cname = &cname.as_bytes()[..cname.len().min(64)];
        let mut body = [0; 4 + 2 + 64 + 4];
        body[..4].copy_from_slice(&ssrc.to_be_bytes());
        body[4] = 1;
        body[5] = cname.len() as u8;
        body[6..6 + cname.len()].copy_from_slice(cname);
        // At least one zero octet ends the items, then zeros up to the word.
        let end = (6 + cname.len()) / 4 * 4 + 4;
        self.packet(1, SDES, &[&body[..end]]);
    }

    /// A picture loss indication.
    pub fn pli(&mut self, sender: u32, media: u32) {
        self.packet(1, PSFB, &[&sender.to_be_bytes(), &media.to_be_bytes()]);
    }

    /// A generic NACK for `(seq_no, bitmask)` items.
    pub fn nack(&mut self, sender: u32, media: u32, items: &[(u16, u16)]) {
        let mut body = [0; 4 * 64];
        let items = &items[..items.len().min(64)];
        for ((seq_no, bitmask), out) in items.iter().zip(body.chunks_exact_mut(4)) {
            out[..2].copy_from_slice(&seq_no.to_be_bytes());
            out[2..].copy_from_slice(&bitmask.to_be_bytes());
        }
        let used = &body[..4 * items.len()];
        self.packet(1, RTPFB, &[&sender.to_be_bytes(), &media.to_be_bytes(), used]);
    }

    /// A receiver estimated maximum bitrate for everything that comes; of its 64 bits the 18
    /// highest are kept.
    pub fn remb(&mut self, sender: u32, bitrate_bps: u64) {
        let exponent = (u64::BITS - bitrate_bps.leading_zeros()).saturating_sub(18);
        let word = exponent << 18 | (bitrate_bps >> exponent) as u32;
        let parts: [&[u8]; 4] = [&sender.to_be_bytes(), &[0; 4], b"REMB", &word.to_be_bytes()];
        self.packet(15, PSFB, &parts);
    }

    /// Transport-wide feedback, `body` as written by `twcc.rs`.
    pub fn twcc(&mut self, sender: u32, media: u32, body: &[u8]) {
        self.packet(15, RTPFB, &[&sender.to_be_bytes(), &media.to_be_bytes(), body]);
    }

    /// Congestion control feedback (RFC 8888), `body` as written by `ccfb.rs`.
    pub fn ccfb(&mut self, sender: u32, body: &[u8]) {
        self.packet(11, RTPFB, &[&sender.to_be_bytes(), body]);
    }

    fn packet(&mut self, count: u8, packet_type: u8, parts: &[&[u8]]) {
        let body: usize = parts.iter().map(|part| part.len()).sum();
        debug_assert!(body.is_multiple_of(4));
        let Some(out) = self.buf.get_mut(self.len..self.len + 4 + body) else {
            return;
        };
        let words = (body / 4) as u16;
        out[..4].copy_from_slice(&[0x80 | count, packet_type, (words >> 8) as u8, words as u8]);
        let mut at = 4;
        for part in parts {
            out[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        self.len += at;
    }
}

pub(crate) fn be_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn be_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(compound: &[u8]) -> (Vec<String>, bool) {
        let mut said = Vec::new();
        let whole = parse(compound, |feedback| said.push(format!("{feedback:?}")));
        (said, whole)
    }

    #[test]
    fn what_we_write_is_what_we_read() {
        let mut buf = [0; 500];
        let mut writer = Writer::new(&mut buf);
        writer.sender_report(1, 0x0102_0304_0506_0708, 9, 10, 11);
        let block = ReportBlock {
            ssrc: 5,
            fraction_lost: 3,
            packets_lost: -2,
            highest_seq: 70000,
            jitter: 4,
            last_sr: 8,
            delay_since_sr: 9,
        };
        writer.receiver_report(1, &[block]);
        writer.cname(1, "abcd");
        writer.pli(1, 5);
        writer.nack(1, 5, &[(9, 1), (40, 0)]);
        writer.packet(1, BYE, &[&1u32.to_be_bytes()]);
        let len = writer.written();
        let mut said = Vec::new();
        assert!(parse(&buf[..len], |feedback| match feedback {
            Feedback::Bye(list) => assert_eq!(list.iter().collect::<Vec<_>>(), [1]),
            other => said.push(other),
        }));
        assert_eq!(
            said,
            [
                Feedback::SenderReport { ssrc: 1, ntp_time: 0x0102_0304_0506_0708, rtp_time: 9 },
                Feedback::Report(block),
                Feedback::Pli { ssrc: 5 },
                Feedback::Nack { ssrc: 5, seq_no: 9, bitmask: 1 },
                Feedback::Nack { ssrc: 5, seq_no: 40, bitmask: 0 },
            ]
        );
    }

    #[test]
    fn lying_lengths_and_counts_are_refused() {
        assert!(!read(&[0x80, 201, 0, 9, 0, 0, 0, 1]).1, "length past the end");
        assert!(!read(&[0x81, 201, 0, 1, 0, 0, 0, 1]).1, "a block too many");
        assert!(!read(&[0x82, 203, 0, 1, 0, 0, 0, 1]).1, "an SSRC too many");
        assert!(!read(&[0x80, 201]).1);
        assert!(!read(&[0x40, 201, 0, 1, 0, 0, 0, 1]).1, "version 1");
    }

    #[test]
    fn an_absurd_remb_saturates() {
        let mut packet = vec![0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0];
        packet.extend(b"REMB");
        packet.extend([1, 0xff, 0xff, 0xff, 0, 0, 0, 5]);
        let (said, _) = read(&packet);
        assert_eq!(said, [format!("{:?}", Feedback::Remb { bitrate_bps: u64::MAX })]);
    }

    #[test]
    fn twcc_chunks_of_all_kinds_are_counted_and_never_loop() {
        let mut body = vec![0, 10, 0, 24, 0, 0, 0, 0];
        body.extend([0x20, 3]); // Run of 3 received.
        body.extend(0b1010_0000_0000_0001u16.to_be_bytes()); // 14 one-bit symbols, 2 received.
        body.extend(0b1101_1000_0000_0000u16.to_be_bytes()); // 7 two-bit symbols, 2 received.
        let twcc = Twcc::parse(&body);
        assert_eq!(twcc, Some(Twcc { base_seq: 10, packets: 24, received: 7 }));
        assert_eq!(Twcc::parse(&[0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0]), None, "cut short");
    }
}
