//! Which instant of ours an RTP timestamp stands for. Sender reports to viewers are made from it,
//! so that audio and video of one publisher stay in step whatever its wall clock says.
//!
//! Within one publisher its own reports relate its streams exactly; only their distance to our
//! clock is taken from arrivals, and is one number for the whole Transport. Without reports a
//! stream's earliest arrivals must do.

/// How far the offset may drift up per report, in microseconds: clocks of cheap machines differ by
/// 50 parts in a million, and reports come each second or less often.
const DRIFT_US: i64 = 100;
/// 1900 to 1970 does not matter here: only differences are used.
const NTP_FRACTION: u128 = 1 << 32;

/// An RTP timestamp and the microseconds since our epoch at which it was sampled (or arrived).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderClock {
    /// The publisher's timestamp.
    pub rtp_time: u32,
    /// In microseconds since our epoch.
    pub at_us: u64,
}

impl SenderClock {
    /// The timestamp at another instant, within 13 hours.
    pub fn rtp_time_at(&self, at_us: u64, clock_hz: u32) -> u32 {
        let passed = at_us as i64 - self.at_us as i64;
        let ticks = i128::from(passed) * i128::from(clock_hz) / 1_000_000;
        self.rtp_time.wrapping_add(ticks as u32)
    }
}

/// The distance of one publisher's NTP clock to ours.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublisherClock {
    offset_us: Option<i64>,
}

impl PublisherClock {
    /// Takes a sender report that arrived at `at_us` and relates it to our clock.
    pub fn report(&mut self, ntp_time: u64, rtp_time: u32, at_us: u64) -> SenderClock {
        let theirs_us = (u128::from(ntp_time) * 1_000_000 / NTP_FRACTION) as i64;
        let seen = at_us as i64 - theirs_us;
        // The report with the least delay tells best; the bound creeps up to follow drift.
        let offset = match self.offset_us {
            // A jump of seconds is a clock that was set, not delay.
            Some(known) if (seen - known).abs() < 5_000_000 => seen.min(known + DRIFT_US),
            _ => seen,
        };
        self.offset_us = Some(offset);
        SenderClock { rtp_time, at_us: (theirs_us + offset).max(0) as u64 }
    }
}

/// The stand-in while no report has come: the earliest arrival relative to the timestamps.
pub fn from_arrival(
    known: Option<SenderClock>,
    rtp_time: u32,
    at_us: u64,
    clock_hz: u32,
) -> SenderClock {
    let seen = SenderClock { rtp_time, at_us };
    match known {
        None => seen,
        // Ahead of what the old relation predicts: it arrived with less delay.
        Some(known) => {
            let predicted = known.rtp_time_at(at_us, clock_hz);
            if (rtp_time.wrapping_sub(predicted) as i32) > 0 { seen } else { known }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ntp(seconds: f64) -> u64 {
        (seconds * 4_294_967_296.0) as u64
    }

    #[test]
    fn streams_stay_in_step_with_a_clock_that_is_days_off() {
        let mut clock = PublisherClock::default();
        // The same second on the publisher: video 90 kHz, audio 48 kHz, reports 40 ms apart.
        let audio = clock.report(ntp(9e8), 48_000, 5_000_000);
        let video = clock.report(ntp(9e8 + 0.04), 3_600, 5_060_000);
        let audio_at = audio.rtp_time_at(6_000_000, 48_000);
        let video_at = video.rtp_time_at(6_000_000, 90_000);
        let audio_s = f64::from(audio_at - 48_000) / 48_000.0;
        let video_s = f64::from(video_at - 3_600) / 90_000.0 + 0.04;
        assert!((audio_s - video_s).abs() < 0.001, "{audio_s} {video_s}");
    }

    #[test]
    fn a_clock_that_is_set_is_followed() {
        let mut clock = PublisherClock::default();
        clock.report(ntp(1000.0), 0, 1_000_000);
        let after = clock.report(ntp(9000.0), 90_000, 2_000_000);
        assert_eq!(after.at_us, 2_000_000);
    }

    #[test]
    fn without_reports_the_least_delayed_arrival_counts() {
        let first = from_arrival(None, 0, 1_000_000, 90_000);
        let late = from_arrival(Some(first), 9_000, 1_150_000, 90_000);
        assert_eq!(late, first);
        let early = from_arrival(Some(first), 9_000, 1_090_000, 90_000);
        assert_eq!(early.at_us, 1_090_000);
    }
}
