//! What left when: every packet of one Transport under its transport-wide sequence number, media,
//! retransmissions and padding alike, until the peer has told what became of it.

use std::collections::VecDeque;

use super::{PacketResult, ProbeId};
use crate::rtcp::be_u16;

/// Packets that may be waiting for feedback: some seconds at class bitrates. What is forgotten
/// counts neither as arrived nor as lost.
const PACKETS_MAX: usize = 4096;
/// Feedback about older packets is no use to anybody.
const AGE_MAX_US: u64 = 10_000_000;
/// The unit of a feedback packet's reference time.
const REFERENCE_US: i64 = 64_000;
/// The unit of its deltas.
const DELTA_US: i64 = 250;

/// One packet that left.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at_us: u64,
    /// As the network carries it, or 0 once feedback has told of it.
    bytes: u16,
    probe: ProbeId,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct SendHistory {
    packets: VecDeque<Sent>,
    /// The extended number of the first one kept, and of the next one to come.
    first: u64,
    next: u64,
    in_flight_bytes: u64,
    /// Of the last feedback, in units of 64 ms, without the wrap at 24 bits.
    reference: Option<i64>,
}

impl SendHistory {
    /// Records a packet of `bytes` (with IP and UDP) that leaves now; returns its number.
    pub fn record(&mut self, now_us: u64, bytes: usize, probe: ProbeId) -> u16 {
        while self.packets.len() >= PACKETS_MAX
            || self.packets.front().is_some_and(|sent| {
                sent.bytes == 0 || now_us.saturating_sub(sent.at_us) > AGE_MAX_US
            })
        {
            self.forget_first();
        }
        let bytes = u16::try_from(bytes).unwrap_or(u16::MAX).max(1);
        self.packets.push_back(Sent { at_us: now_us, bytes, probe });
        self.in_flight_bytes += u64::from(bytes);
        let number = self.next as u16;
        self.next += 1;
        number
    }

    /// Whether anything has left.
    pub fn has_sent(&self) -> bool {
        self.next > 0
    }

    /// Octets of which nothing has been heard yet.
    #[cfg(test)]
    pub fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    /// When the oldest packet left of which nothing has been heard.
    pub fn oldest_us(&self) -> Option<u64> {
        self.packets.iter().find(|sent| sent.bytes > 0).map(|sent| sent.at_us)
    }

    fn forget_first(&mut self) {
        if let Some(sent) = self.packets.pop_front() {
            self.in_flight_bytes -= u64::from(sent.bytes);
            self.first += 1;
        }
    }

    /// Takes the body of a transport-wide feedback packet (what follows the two SSRCs) and adds
    /// what it tells to `results`, in the order of sending. Numbers that were never used, or of
    /// which feedback has told before, are passed over. Returns whether the body was well formed;
    /// of one that is cut short what could be read counts.
    pub fn take_feedback(&mut self, body: &[u8], results: &mut Vec<PacketResult>) -> bool {
        let (Some(base), Some(count), Some(reference)) =
            (be_u16(body, 0), be_u16(body, 2), body.get(4..7))
        else {
            return false;
        };
        let raw = i64::from(reference[0]) << 16 | i64::from(reference[1]) << 8;
        let raw = raw | i64::from(reference[2]);
        // The 24-bit reference time wraps after 12 days: the nearest to the last one is meant.
        let reference = match self.reference {
            Some(last) => last + (((raw - last) << 40) >> 40),
            None => raw,
        };
        let mut clock_us = reference * REFERENCE_US;
        let Some(mut seq) = self.extend(base) else {
            return true;
        };
        self.reference = Some(reference);
        let mut deltas = symbols_end(body, count);
        let is_whole = each_symbol(body, count, |symbol| {
            let arrived_us = match symbol {
                1 => body.get(deltas).map(|delta| (1, i64::from(*delta))),
                2 => be_u16(body, deltas).map(|delta| (2, i64::from(delta as i16))),
                _ => Some((0, 0)),
            };
            let Some((len, delta)) = arrived_us else {
                return false;
            };
            deltas += len;
            clock_us += delta * DELTA_US;
            self.conclude(seq, (len > 0).then_some(clock_us), results);
            seq += 1;
            true
        });
        while self.packets.front().is_some_and(|sent| sent.bytes == 0) {
            self.forget_first();
        }
        is_whole
    }

    /// Takes what became of one packet, by its number; as [`Self::take_feedback`] otherwise.
    pub fn take_one(
        &mut self,
        number: u16,
        arrived_us: Option<i64>,
        results: &mut Vec<PacketResult>,
    ) {
        if let Some(seq) = self.extend(number) {
            self.conclude(seq, arrived_us, results);
        }
        while self.packets.front().is_some_and(|sent| sent.bytes == 0) {
            self.forget_first();
        }
    }

    fn conclude(&mut self, seq: u64, arrived_us: Option<i64>, results: &mut Vec<PacketResult>) {
        let at = seq.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let Some(sent) = at.and_then(|at| self.packets.get_mut(at)).filter(|s| s.bytes > 0) else {
            return;
        };
        let bytes = std::mem::take(&mut sent.bytes);
        self.in_flight_bytes -= u64::from(bytes);
        results.push(PacketResult {
            sent_us: sent.at_us,
            arrived_us,
            bytes: u32::from(bytes),
            probe: sent.probe,
        });
    }

    /// What becomes of a packet from now on says nothing about the path.
    pub fn forget(&mut self, number: u16) {
        let seq = self.extend(number).and_then(|seq| seq.checked_sub(self.first));
        let at = seq.and_then(|at| usize::try_from(at).ok());
        if let Some(sent) = at.and_then(|at| self.packets.get_mut(at)) {
            self.in_flight_bytes -= u64::from(std::mem::take(&mut sent.bytes));
        }
    }

    /// The number that was meant: of those that have been used, the newest with these 16 bits.
    fn extend(&self, number: u16) -> Option<u64> {
        let newest = self.next.checked_sub(1)?;
        let behind = (newest as u16).wrapping_sub(number);
        // A little ahead of what was sent is a lie, and so far back nothing is kept.
        newest.checked_sub(u64::from(behind)).filter(|seq| seq + 2 * PACKETS_MAX as u64 > newest)
    }
}

/// Where the deltas begin: behind the chunks.
fn symbols_end(body: &[u8], count: u16) -> usize {
    let (mut at, mut seen) = (8, 0u32);
    while seen < u32::from(count) {
        let Some(chunk) = be_u16(body, at) else { break };
        at += 2;
        seen += match chunk {
            _ if chunk & 0x8000 == 0 => u32::from(chunk & 0x1fff).max(1),
            _ if chunk & 0x4000 == 0 => 14,
            _ => 7,
        };
    }
    at
}

/// Calls `each` with the symbol of every packet reported, until it returns `false`; returns whether
/// all were read.
fn each_symbol(body: &[u8], count: u16, mut each: impl FnMut(u8) -> bool) -> bool {
    let (mut at, mut left) = (8, count);
    while left > 0 {
        let Some(chunk) = be_u16(body, at) else {
            return false;
        };
        at += 2;
        let (run, symbol): (u16, &dyn Fn(u16) -> u8) = if chunk & 0x8000 == 0 {
            // A run of zero would never end.
            ((chunk & 0x1fff).max(1), &|_| (chunk >> 13 & 3) as u8)
        } else if chunk & 0x4000 == 0 {
            (14, &|i| (chunk >> (13 - i) & 1) as u8)
        } else {
            (7, &|i| (chunk >> (12 - 2 * i) & 3) as u8)
        };
        let run = run.min(left);
        left -= run;
        if !(0..run).all(|i| each(symbol(i))) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twcc::ArrivalLog;

    fn sent(packets: u64) -> SendHistory {
        let mut history = SendHistory::default();
        for seq in 0..packets {
            assert_eq!(history.record(seq * 1000, 1200, 0), seq as u16);
        }
        history
    }

    #[test]
    fn what_a_receiver_writes_is_read_back_with_its_arrivals() {
        let mut history = sent(70_000);
        let mut log = ArrivalLog::default();
        let is_lost = |seq: u64| seq % 10 == 3;
        for seq in (69_000..70_000).filter(|seq| !is_lost(*seq)) {
            log.record(seq as u16, 5_000_000 + seq * 1010, 1200);
        }
        let (mut results, mut body) = (Vec::new(), [0; 1024]);
        while let Some(len) = log.write(&mut body) {
            assert!(history.take_feedback(&body[..len], &mut results));
        }
        assert_eq!(results.len(), 1000);
        for (result, seq) in results.iter().zip(69_000u64..) {
            assert_eq!(result.sent_us, seq * 1000);
            assert_eq!(result.arrived_us.is_none(), is_lost(seq), "{seq}");
            if let Some(at) = result.arrived_us {
                assert!((at - (5_000_000 + seq as i64 * 1010)).abs() <= 250);
            }
        }
    }

    #[test]
    fn each_packet_is_told_of_once_and_what_was_never_sent_not_at_all() {
        let mut history = sent(10);
        let mut log = ArrivalLog::default();
        (0..200).for_each(|seq| log.record(seq, 1_000_000, 1200));
        let (mut results, mut body) = (Vec::new(), [0; 1024]);
        let len = log.write(&mut body).expect("something to report");
        assert!(history.take_feedback(&body[..len], &mut results));
        assert_eq!((results.len(), history.in_flight_bytes()), (10, 0));
        assert!(history.take_feedback(&body[..len], &mut results));
        assert_eq!(results.len(), 10);
    }

    #[test]
    fn no_garbage_panics_or_grows() {
        let mut state = 1u64;
        let mut history = sent(3000);
        let mut results = Vec::new();
        for _ in 0..20_000 {
            let body: Vec<u8> = (0..40)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                    (state >> 56) as u8
                })
                .collect();
            history.take_feedback(&body, &mut results);
        }
        assert!(results.len() <= 3000);
        assert_eq!(history.in_flight_bytes(), 1200 * (3000 - results.len() as u64));
    }
}
