//! How a Subscription fares: what goes out, and what its viewer reports (RFC 3550 s6.4.1).

use crate::rtcp::ReportBlock;

/// What was reported longer ago than this is no news (docs/admin-api.md).
pub(crate) const REPORT_FOR_US: u64 = 30_000_000;
/// A longer round trip is a broken clock or a lie.
const RTT_MAX_US: u64 = 30_000_000;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quality {
    /// Octets sent by the last look, and when that was, in microseconds since our epoch.
    seen: Option<(u32, u64)>,
    bits_per_second: u64,
    report: Option<Report>,
    rtt_us: u32,
    /// Lost of all packets so far, as reported last.
    lost: Option<i32>,
}

/// What one report has told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// Packets lost since the report before; 0 if it is the first.
    pub lost: u32,
    /// Interarrival jitter in microseconds.
    pub jitter_us: u32,
    /// The round trip in microseconds, if it can be told.
    pub rtt_us: Option<u32>,
}

/// What the viewer has said last.
#[derive(Clone, Copy, Debug)]
struct Report {
    at_us: u64,
    loss_256: u8,
    jitter_us: u32,
}

impl Quality {
    /// Looks at how many payload octets have been sent so far (modulo 2^32, as sender reports have
    /// it): to be called about once per second.
    pub(crate) fn look(&mut self, octets: u32, now_us: u64) {
        if let Some((before, at_us)) = self.seen.replace((octets, now_us)) {
            let passed_us = now_us.saturating_sub(at_us).max(1);
            let sent = u64::from(octets.wrapping_sub(before));
            self.bits_per_second = sent * 8_000_000 / passed_us;
        }
    }

    /// Takes a report about the stream that arrived at `at_us`, when NTP time was `ntp_now` (32.32)
    /// on the clock of our sender reports.
    pub(crate) fn report(
        &mut self,
        block: &ReportBlock,
        clock_hz: u32,
        at_us: u64,
        ntp_now: u64,
    ) -> Heard {
        let before = self.lost.replace(block.packets_lost).unwrap_or(block.packets_lost);
        // It falls when what counted as lost comes after all.
        let lost = u32::try_from(block.packets_lost.saturating_sub(before)).unwrap_or(0);
        let jitter_us = u64::from(block.jitter) * 1_000_000 / u64::from(clock_hz.max(1));
        let jitter_us = u32::try_from(jitter_us).unwrap_or(u32::MAX);
        self.report = Some(Report { at_us, loss_256: block.fraction_lost, jitter_us });
        let rtt_us = round_trip_us(block, ntp_now);
        if let Some(rtt_us) = rtt_us {
            // As Galene smooths it.
            let before = if self.rtt_us == 0 { rtt_us } else { self.rtt_us };
            self.rtt_us = ((3 * u64::from(before) + u64::from(rtt_us)) / 4) as u32;
        }
        Heard { lost, jitter_us, rtt_us }
    }

    /// The smoothed round trip in microseconds; 0 if it is not known.
    pub(crate) fn rtt_us(&self) -> u64 {
        u64::from(self.rtt_us)
    }

    /// Bits per second between the last two looks.
    pub(crate) fn bits_per_second(&self) -> u64 {
        self.bits_per_second
    }

    /// Loss in 256ths, jitter and round trip in microseconds; 0 where nothing is known.
    pub(crate) fn reported(&self, now_us: u64) -> (u8, u32, u32) {
        match self.report {
            Some(Report { at_us, loss_256, jitter_us })
                if now_us.saturating_sub(at_us) < REPORT_FOR_US =>
            {
                (loss_256, jitter_us, self.rtt_us)
            }
            _ => (0, 0, 0),
        }
    }
}

/// Arrival less the viewer's delay less our sender report's time, all in 1/65536 s; nothing if the
/// viewer has not seen a report yet, or cannot be right.
fn round_trip_us(block: &ReportBlock, ntp_now: u64) -> Option<u32> {
    if block.last_sr == 0 {
        return None;
    }
    let arrival = (ntp_now >> 16) as u32;
    let passed = arrival.wrapping_sub(block.last_sr);
    let rtt_us = u64::from(passed.checked_sub(block.delay_since_sr)?) * 1_000_000 / 65_536;
    (rtt_us > 0 && rtt_us < RTT_MAX_US).then_some(rtt_us as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 3550 s6.4.1, figure 2.
    const LSR: u32 = 0xb705_2000;
    const DLSR: u32 = 0x0005_4000;
    const ARRIVAL: u64 = 0xb44d_b710_8000_0000;

    #[test]
    fn the_round_trip_is_that_of_the_rfc() {
        let block = ReportBlock { last_sr: LSR, delay_since_sr: DLSR, ..ReportBlock::default() };
        assert_eq!(round_trip_us(&block, ARRIVAL), Some(6_125_000));
    }

    #[test]
    fn what_cannot_be_is_no_round_trip() {
        let block = |last_sr, delay_since_sr| ReportBlock {
            last_sr,
            delay_since_sr,
            ..ReportBlock::default()
        };
        for (last_sr, delay) in [(0, 0), (0, DLSR), (LSR, u32::MAX), (LSR, 0x000b_6001), (1, 1)] {
            assert_eq!(
                round_trip_us(&block(last_sr, delay), ARRIVAL),
                None,
                "{last_sr:x} {delay:x}"
            );
        }
    }

    #[test]
    fn reports_are_smoothed_and_grow_old() {
        let mut quality = Quality::default();
        let units = |ms: u32| ms * 65_536 / 1000;
        for (seconds, rtt_ms) in [(1u64, 100), (2, 200)] {
            let ntp_now = (1000 + seconds) << 32;
            let last_sr = ((ntp_now >> 16) as u32) - units(500);
            let delay_since_sr = units(500 - rtt_ms);
            let block = ReportBlock {
                fraction_lost: 64,
                jitter: 90,
                last_sr,
                delay_since_sr,
                ..ReportBlock::default()
            };
            quality.report(&block, 90_000, seconds * 1_000_000, ntp_now);
        }
        let (loss_256, jitter_us, rtt_us) = quality.reported(2_000_000 + REPORT_FOR_US - 1);
        assert_eq!((loss_256, jitter_us), (64, 1000));
        assert!((124_000..=126_000).contains(&rtt_us), "{rtt_us}");
        assert_eq!(quality.reported(2_000_000 + REPORT_FOR_US), (0, 0, 0));
    }

    #[test]
    fn losses_count_from_the_first_report_on_and_never_backwards() {
        let mut quality = Quality::default();
        let mut lost = |packets_lost| {
            let block = ReportBlock { packets_lost, jitter: 90, ..ReportBlock::default() };
            quality.report(&block, 90_000, 0, 0)
        };
        assert_eq!(lost(7), Heard { lost: 0, jitter_us: 1000, rtt_us: None });
        let told: Vec<u32> =
            [9, 9, 4, 5, i32::MIN, i32::MAX].map(|lost_so_far| lost(lost_so_far).lost).into();
        assert_eq!(told, [2, 0, 0, 1, 0, i32::MAX as u32]);
    }

    #[test]
    fn a_rate_needs_two_looks_and_survives_the_wrap_of_its_count() {
        let mut quality = Quality::default();
        quality.look(u32::MAX - 10_000, 1_000_000);
        assert_eq!(quality.bits_per_second(), 0);
        quality.look(114_999, 2_000_000);
        assert_eq!(quality.bits_per_second(), 1_000_000);
        quality.look(114_999, 3_000_000);
        assert_eq!(quality.bits_per_second(), 0);
    }
}
