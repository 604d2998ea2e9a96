//! Congestion control feedback (RFC 8888): of each SSRC, which packets arrived, and when. To publishers
//! that offer it, in place of transport-wide feedback; and from viewers that do.

use crate::rtcp::{be_u16, be_u32};
use crate::twcc::ArrivalLog;

/// SSRCs that are told of; those of more are not.
const STREAMS_MAX: usize = 128;
/// The unit of arrival offsets, per second.
const OFFSETS_PER_S: u64 = 1024;
/// The packet arrived (s3.1).
const RECEIVED: u16 = 1 << 15;
/// Offsets that say that it was long ago, and that it is not known when.
const OFFSET_LONG: u16 = 0x1ffe;
const OFFSET_UNKNOWN: u16 = 0x1fff;
/// What stands before the metrics of an SSRC, and behind all of them.
const STREAM_BYTES: usize = 8;
const TIMESTAMP_BYTES: usize = 4;
/// Packets of one SSRC whose numbers are kept: those of seconds.
const KEPT: usize = 1024;

/// Arrivals from a publisher since the last report, by SSRC.
#[derive(Debug, Default)]
pub(crate) struct ReceptionLog {
    streams: Vec<(u32, ArrivalLog)>,
}

impl ReceptionLog {
    /// Records an authentic packet of `bytes`.
    pub(crate) fn record(&mut self, ssrc: u32, seq_no: u16, at_us: u64, bytes: usize) {
        let at = match self.streams.iter().position(|(known, _)| *known == ssrc) {
            Some(at) => at,
            None if self.streams.len() < STREAMS_MAX => {
                self.streams.push((ssrc, ArrivalLog::default()));
                self.streams.len() - 1
            }
            None => return,
        };
        if let Some((_, log)) = self.streams.get_mut(at) {
            log.record(seq_no, at_us, bytes);
        }
    }

    /// How long to wait between two reports, as [`ArrivalLog::interval_us`] of what came most.
    pub(crate) fn interval_us(&self, passed_us: u64) -> u64 {
        let intervals = self.streams.iter().map(|(_, log)| log.interval_us(passed_us));
        intervals.min().unwrap_or(u64::MAX)
    }

    /// Writes what follows the sender's SSRC of the next report into `out` and returns its length, a
    /// multiple of 4; `None` if there is nothing to report. `ntp` is the report's timestamp, the middle
    /// half of what the clock says at `now_us`.
    pub(crate) fn write(&mut self, out: &mut [u8; 1024], ntp: u32, now_us: u64) -> Option<usize> {
        let mut at = 0;
        for (ssrc, log) in &mut self.streams {
            let Some(room) = (out.len() - TIMESTAMP_BYTES).checked_sub(at + STREAM_BYTES) else {
                break;
            };
            // An odd number of metrics is padded.
            let most = room / 4 * 2;
            let metrics = out.get_mut(at + STREAM_BYTES..)?;
            let mut words = metrics.chunks_exact_mut(2);
            let told = log.take(most, |arrived_us| {
                if let Some(word) = words.next() {
                    word.copy_from_slice(&metric(arrived_us, now_us).to_be_bytes());
                }
            });
            let Some((begin, count)) = told else { continue };
            let end = at + STREAM_BYTES + usize::from(count).next_multiple_of(2) * 2;
            if count % 2 == 1 {
                out.get_mut(end - 2..end)?.fill(0);
            }
            let head = out.get_mut(at..at + STREAM_BYTES)?;
            head[..4].copy_from_slice(&ssrc.to_be_bytes());
            head[4..6].copy_from_slice(&begin.to_be_bytes());
            head[6..].copy_from_slice(&count.to_be_bytes());
            at = end;
        }
        if at == 0 {
            return None;
        }
        out.get_mut(at..at + TIMESTAMP_BYTES)?.copy_from_slice(&ntp.to_be_bytes());
        Some(at + TIMESTAMP_BYTES)
    }
}

fn metric(arrived_us: Option<u64>, now_us: u64) -> u16 {
    let Some(arrived_us) = arrived_us else {
        return 0;
    };
    let passed_us = now_us.checked_sub(arrived_us);
    let offset = passed_us.map_or(OFFSET_UNKNOWN, |passed_us| {
        (passed_us * OFFSETS_PER_S / 1_000_000).min(u64::from(OFFSET_LONG)) as u16
    });
    RECEIVED | offset
}

/// Which packets went to a viewer under which transport-wide number, by SSRC and sequence number.
#[derive(Debug, Default)]
pub(crate) struct SentNumbers {
    streams: Vec<(u32, Box<[Sent; KEPT]>)>,
    /// Of the last report, in 65536ths of a second, without the wrap at 32 bits.
    told: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    seq_no: u16,
    /// One more than the number, so that 0 is none.
    number: u32,
}

impl SentNumbers {
    /// Notes a packet that leaves.
    pub(crate) fn note(&mut self, ssrc: u32, seq_no: u16, number: u16) {
        let at = match self.streams.iter().position(|(known, _)| *known == ssrc) {
            Some(at) => at,
            None if self.streams.len() < STREAMS_MAX => {
                self.streams.push((ssrc, Box::new([Sent::default(); KEPT])));
                self.streams.len() - 1
            }
            None => return,
        };
        if let Some((_, sent)) = self.streams.get_mut(at) {
            sent[usize::from(seq_no) % KEPT] = Sent { seq_no, number: u32::from(number) + 1 };
        }
    }

    /// Takes a report (what follows the sender's SSRC) and calls `each` with the number of every packet
    /// that it tells of, and when that arrived on the receiver's clock in microseconds, if it did. Returns
    /// whether it was well formed; of one that is cut short what could be read counts.
    pub(crate) fn take_report(
        &mut self,
        body: &[u8],
        mut each: impl FnMut(u16, Option<i64>),
    ) -> bool {
        let Some((blocks, timestamp)) = body.split_last_chunk::<TIMESTAMP_BYTES>() else {
            return false;
        };
        let raw = i64::from(u32::from_be_bytes(*timestamp));
        // The timestamp wraps after 18 hours: the nearest to the last one is meant.
        let told = self.told.map_or(raw, |last| last + (((raw - last) << 32) >> 32));
        self.told = Some(told);
        let told_us = told.saturating_mul(1_000_000) >> 16;
        let mut at = 0;
        while at < blocks.len() {
            let (Some(ssrc), Some(begin), Some(count)) =
                (be_u32(blocks, at), be_u16(blocks, at + 4), be_u16(blocks, at + 6))
            else {
                return false;
            };
            at += STREAM_BYTES;
            let sent = self.streams.iter().find(|(known, _)| *known == ssrc).map(|(_, sent)| sent);
            for index in 0..count {
                let Some(metric) = be_u16(blocks, at + 2 * usize::from(index)) else {
                    return false;
                };
                let seq_no = begin.wrapping_add(index);
                let known = sent.map(|sent| sent[usize::from(seq_no) % KEPT]);
                let Some(Sent { number, .. }) = known.filter(|sent| sent.seq_no == seq_no) else {
                    continue;
                };
                let Some(number) = number.checked_sub(1).map(|number| number as u16) else {
                    continue;
                };
                match metric & 0x1fff {
                    _ if metric & RECEIVED == 0 => each(number, None),
                    // It has arrived, and nobody knows when.
                    OFFSET_LONG | OFFSET_UNKNOWN => {}
                    offset => {
                        let passed_us = i64::from(offset) * 1_000_000 / OFFSETS_PER_S as i64;
                        each(number, Some(told_us - passed_us));
                    }
                }
            }
            at += usize::from(count).next_multiple_of(2) * 2;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layout of RFC 8888 s3.1: two SSRCs, the second with an odd number of packets.
    #[test]
    fn a_report_is_laid_out_as_the_rfc_draws_it() {
        let mut log = ReceptionLog::default();
        let now_us = 10_000_000;
        log.record(0x0102_0304, 65_535, now_us - 500_000, 1200);
        log.record(0x0102_0304, 1, now_us - 250_000, 1200);
        log.record(0x0506_0708, 7, now_us - 9_000_000, 1200);
        let mut out = [0xff; 1024];
        let len = log.write(&mut out, 0x1122_3344, now_us).expect("a report");
        let expected: [&[u8]; 5] = [
            &[1, 2, 3, 4, 0xff, 0xff, 0, 3],
            // Half a second is 512 of 1024, a quarter 256; the one between did not come.
            &[0x82, 0x00, 0x00, 0x00, 0x81, 0x00, 0, 0],
            &[5, 6, 7, 8, 0, 7, 0, 1],
            // More than 8 s ago.
            &[0x9f, 0xfe, 0, 0],
            &[0x11, 0x22, 0x33, 0x44],
        ];
        assert_eq!(out[..len], expected.concat());
        assert_eq!(log.write(&mut out, 0, now_us), None, "told once");
    }

    #[test]
    fn what_is_told_is_read_back_with_its_arrivals() {
        let (mut log, mut sent) = (ReceptionLog::default(), SentNumbers::default());
        let start_us = 50_000_000u64;
        let arrival = |at: u64| start_us + at * 1000;
        // Two streams by turns, across the wrap of their numbers.
        for at in 0..3000u64 {
            let (ssrc, seq_no) = (at as u32 % 2 + 5, (65_000 + at / 2) as u16);
            sent.note(ssrc, seq_no, (64_000 + at) as u16);
            if at % 10 != 3 {
                log.record(ssrc, seq_no, arrival(at), 1200);
            }
            if at % 100 != 99 {
                continue;
            }
            let now_us = arrival(at) + 5_000;
            let ntp = ((now_us as u128) << 16).div_euclid(1_000_000) as u32;
            let (mut out, mut told) = ([0; 1024], Vec::new());
            let len = log.write(&mut out, ntp, now_us).expect("a report");
            assert!(sent.take_report(&out[..len], |number, at_us| told.push((number, at_us))));
            told.sort_unstable();
            assert!(told.len() >= 98, "{}", told.len());
            for (number, at_us) in told {
                let which = u64::from(number.wrapping_sub(64_000));
                match at_us {
                    None => assert_eq!(which % 10, 3),
                    Some(at_us) => assert!((at_us - arrival(which) as i64).abs() <= 1000),
                }
            }
        }
    }

    #[test]
    fn a_long_burst_takes_more_than_one_report() {
        let mut log = ReceptionLog::default();
        (0..1000u16).for_each(|seq_no| log.record(9, seq_no, 1_000_000, 100));
        let (mut out, mut reports, mut packets) = ([0; 1024], 0, 0);
        while let Some(len) = log.write(&mut out, 0, 2_000_000) {
            assert!(len.is_multiple_of(4) && len <= out.len());
            packets += usize::from(u16::from_be_bytes([out[6], out[7]]));
            reports += 1;
        }
        assert_eq!((reports, packets), (2, 1000));
    }

    #[test]
    fn no_garbage_panics_and_what_was_not_sent_is_passed_over() {
        let mut sent = SentNumbers::default();
        (0..2000u16).for_each(|seq_no| sent.note(1, seq_no, seq_no));
        let mut state = 1u64;
        for len in 0..400usize {
            let mut body: Vec<u8> = (0..len)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                    (state >> 56) as u8
                })
                .collect();
            if let Some(head) = body.get_mut(..4) {
                head.copy_from_slice(&[0, 0, 0, 1]);
            }
            sent.take_report(&body, |number, _| assert!((976..2000).contains(&number)));
        }
        assert!(!sent.take_report(&[1, 2, 3], |_, _| unreachable!("cut short")));
    }
}
