//! Transport-wide feedback to a publisher, so that its own congestion control knows which packets
//! arrived and when (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use std::collections::VecDeque;

/// Arrivals kept between two feedback packets; beyond that the oldest are reported as lost. At
/// 100 ms intervals this is 20,000 packets per second from one publisher.
const ARRIVALS_MAX: usize = 2048;
/// Sequence numbers covered by one feedback packet.
const SPAN_MAX: u64 = 400;
/// The unit of the reference time.
const REFERENCE_US: u64 = 64_000;
/// The unit of deltas.
const DELTA_US: u64 = 250;

/// Between two transport-wide feedback packets, by the rate they are about (libwebrtc's range):
/// they are to take no more than a twentieth of it.
const FEEDBACK_US: std::ops::RangeInclusive<u64> = 50_000..=250_000;
/// A feedback packet with all its headers, at about this rate.
const FEEDBACK_BYTES: u64 = 68;

/// Arrivals of one publisher's Transport since the last feedback.
#[derive(Debug, Default)]
pub struct ArrivalLog {
    /// Extended sequence number and arrival, sorted by number.
    arrivals: VecDeque<(u64, u64)>,
    highest: Option<u64>,
    /// The first number the next feedback reports.
    next: Option<u64>,
    feedback_count: u8,
    /// Octets that have come since the last feedback.
    bytes: u64,
}

impl ArrivalLog {
    /// Records a packet of `bytes`.
    pub fn record(&mut self, seq_no: u16, at_us: u64, bytes: usize) {
        self.bytes += bytes as u64;
        let seq = match self.highest {
            // Start high enough that what is reordered at the start does not underflow.
            None => 1 << 16 | u64::from(seq_no),
            Some(highest) => {
                let ahead = seq_no.wrapping_sub(highest as u16) as i16;
                highest.saturating_add_signed(i64::from(ahead))
            }
        };
        if self.next.is_some_and(|next| seq < next) {
            return; // Its absence has been reported already.
        }
        self.highest = Some(self.highest.unwrap_or(0).max(seq));
        let place = self.arrivals.iter().rposition(|(known, _)| *known <= seq);
        match place {
            Some(at) if self.arrivals[at].0 == seq => {}
            Some(at) => self.arrivals.insert(at + 1, (seq, at_us)),
            None => self.arrivals.push_front((seq, at_us)),
        }
        if self.arrivals.len() > ARRIVALS_MAX {
            self.arrivals.pop_front();
        }
    }

    /// How long to wait between two feedback packets at the rate of what has come in the
    /// `passed_us` since the last one, in microseconds.
    pub fn interval_us(&self, passed_us: u64) -> u64 {
        let bits_per_second = self.bytes * 8 * 1_000_000 / passed_us.max(1);
        let share = FEEDBACK_BYTES * 8 * 20 * 1_000_000 / bits_per_second.max(1);
        share.clamp(*FEEDBACK_US.start(), *FEEDBACK_US.end())
    }

    /// Takes out the next `most` numbers that there is something to tell of, gaps included, and calls
    /// `each` with when they arrived, if they did. Returns the first number and how many there are.
    pub fn take(&mut self, most: usize, mut each: impl FnMut(Option<u64>)) -> Option<(u16, u16)> {
        let &(first, _) = self.arrivals.front()?;
        self.bytes = 0;
        let start = self.next.unwrap_or(first).max(first.saturating_sub(SPAN_MAX / 2));
        let mut next = start;
        while let Some(&(seq, at_us)) = self.arrivals.front()
            && seq - start < most as u64
        {
            (next..seq).for_each(|_| each(None));
            each(Some(at_us));
            next = seq + 1;
            self.arrivals.pop_front();
        }
        // Nothing: the first one lies too far behind the last, and the next time begins with it.
        self.next = Some(if next == start { first } else { next });
        (next > start).then_some((start as u16, (next - start) as u16))
    }

    /// Writes the body of the next feedback packet (what follows the two SSRCs) into `out` and
    /// returns its length, a multiple of 4; `None` if there is nothing to report or no room.
    pub fn write(&mut self, out: &mut [u8; 1024]) -> Option<usize> {
        let &(first, first_at) = self.arrivals.front()?;
        self.bytes = 0;
        let start = self.next.unwrap_or(first).max(first.saturating_sub(SPAN_MAX / 2));
        let reference = first_at / REFERENCE_US;
        let mut symbols = [0u8; SPAN_MAX as usize];
        let mut deltas = [0u8; 2 * SPAN_MAX as usize];
        let (mut deltas_len, mut count) = (0, 0usize);
        let mut clock_us = reference * REFERENCE_US;
        while let Some(&(seq, at_us)) = self.arrivals.front() {
            let index = (seq - start) as usize;
            if index >= symbols.len() {
                break;
            }
            let ticks = (at_us as i64 - clock_us as i64).div_euclid(DELTA_US as i64);
            let Ok(delta) = i16::try_from(ticks) else {
                break;
            };
            if let Ok(small) = u8::try_from(delta) {
                symbols[index] = 1;
                deltas[deltas_len] = small;
                deltas_len += 1;
            } else {
                symbols[index] = 2;
                deltas[deltas_len..deltas_len + 2].copy_from_slice(&delta.to_be_bytes());
                deltas_len += 2;
            }
            clock_us = clock_us.saturating_add_signed(ticks * DELTA_US as i64);
            count = index + 1;
            self.arrivals.pop_front();
        }
        if count == 0 {
            // One arrival lies out of a delta's reach: start anew from it.
            self.next = Some(first);
            return None;
        }
        self.next = Some(start + count as u64);
        out[..2].copy_from_slice(&(start as u16).to_be_bytes());
        out[2..4].copy_from_slice(&(count as u16).to_be_bytes());
        out[4..7].copy_from_slice(&(reference as u32).to_be_bytes()[1..]);
        out[7] = self.feedback_count;
        self.feedback_count = self.feedback_count.wrapping_add(1);
        let mut at = 8;
        let mut rest = &symbols[..count];
        while let Some(&symbol) = rest.first() {
            let run = rest.iter().take_while(|other| **other == symbol).count();
            let (chunk, used) = if run >= 7 {
                (u16::from(symbol) << 13 | run as u16, run)
            } else {
                let used = rest.len().min(7);
                let bits = rest[..used]
                    .iter()
                    .enumerate()
                    .fold(0, |bits, (i, symbol)| bits | u16::from(*symbol) << (12 - 2 * i));
                (0xc000 | bits, used)
            };
            out[at..at + 2].copy_from_slice(&chunk.to_be_bytes());
            at += 2;
            rest = &rest[used..];
        }
        let end = at + deltas_len;
        out.get_mut(at..end)?.copy_from_slice(&deltas[..deltas_len]);
        let padded = end.next_multiple_of(4);
        out.get_mut(end..padded)?.fill(0);
        Some(padded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::Twcc;

    fn report(log: &mut ArrivalLog) -> Option<Twcc> {
        let mut out = [0; 1024];
        let len = log.write(&mut out)?;
        Twcc::parse(&out[..len])
    }

    #[test]
    fn what_arrived_is_reported_and_gaps_are_gaps() {
        let mut log = ArrivalLog::default();
        for seq_no in (65530..65536).chain(0..30).filter(|seq_no| seq_no % 10 != 3) {
            log.record(seq_no as u16, 5_000_000 + u64::from(seq_no as u16 % 100) * 2000, 1000);
        }
        let twcc = report(&mut log).expect("something to report");
        assert_eq!((twcc.base_seq, twcc.packets), (65530, 36));
        assert_eq!(twcc.received, 32, "65533, 3, 13 and 23 are missing");
        assert_eq!(report(&mut log), None);
    }

    #[test]
    fn later_feedback_goes_on_where_the_last_ended() {
        let mut log = ArrivalLog::default();
        for seq_no in 0..1000u16 {
            log.record(seq_no, 1_000_000 + u64::from(seq_no) * 100, 1000);
        }
        let mut next = 0;
        while let Some(twcc) = report(&mut log) {
            assert_eq!((twcc.base_seq, twcc.packets), (next, twcc.received));
            next += twcc.packets;
        }
        assert_eq!(next, 1000);
        log.record(1005, 2_000_000, 1000);
        let twcc = report(&mut log).expect("something to report");
        assert_eq!((twcc.base_seq, twcc.packets, twcc.received), (1000, 6, 1));
        log.record(1003, 2_000_100, 1000);
        assert_eq!(report(&mut log), None, "too late");
    }

    #[test]
    fn a_long_silence_does_not_stop_the_feedback() {
        let mut log = ArrivalLog::default();
        log.record(1, 1_000_000, 1000);
        log.record(2, 60_000_000, 1000);
        let mut reported = 0;
        for _ in 0..4 {
            reported += report(&mut log).map_or(0, |twcc| twcc.received);
        }
        assert_eq!(reported, 2);
    }
}
