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
pub(crate) struct SenderClock {
    /// The publisher's timestamp.
    pub rtp_time: u32,
    /// In microseconds since our epoch.
    pub at_us: u64,
}

impl SenderClock {
    /// The timestamp at another instant, within 13 hours.
    pub(crate) fn rtp_time_at(&self, at_us: u64, clock_hz: u32) -> u32 {
        let passed = at_us as i64 - self.at_us as i64;
        let ticks = i128::from(passed) * i128::from(clock_hz) / 1_000_000;
        self.rtp_time.wrapping_add(ticks as u32)
    }
}

/// The distance of one publisher's NTP clock to ours.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PublisherClock {
    offset_us: Option<i64>,
}

impl PublisherClock {
    /// Takes a sender report that arrived at `at_us` and relates it to our clock.
    pub(crate) fn report(&mut self, ntp_time: u64, rtp_time: u32, at_us: u64) -> SenderClock {
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

/// So long the least delayed arrival is looked for before the relation follows a stream that has
/// fallen behind.
const WINDOW_US: u64 = 2_000_000;
/// Behind by so much is no delay of a network.
const JUMP_US: i64 = 5_000_000;
/// Behind by so little nobody can see or hear.
const TOLERANCE_US: i64 = 5_000;

/// The stand-in while no report has come: the earliest arrival relative to the timestamps, lately.
/// A microphone whose timestamps stand still while it is muted is later than before from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ArrivalClock {
    known: Option<SenderClock>,
    /// When the present look began, and the least delay in it with the packet that had it.
    window: Option<(u64, i64, SenderClock)>,
}

impl ArrivalClock {
    /// Takes a packet's arrival; returns the relation that holds now.
    pub(crate) fn note(&mut self, rtp_time: u32, at_us: u64, clock_hz: u32) -> SenderClock {
        let seen = SenderClock { rtp_time, at_us };
        let Some(known) = self.known else {
            self.known = Some(seen);
            return seen;
        };
        let ahead = rtp_time.wrapping_sub(known.rtp_time_at(at_us, clock_hz)) as i32;
        let late_us = -i64::from(ahead) * 1_000_000 / i64::from(clock_hz.max(1));
        if !(0..=JUMP_US).contains(&late_us) {
            *self = Self { known: Some(seen), window: None };
            return seen;
        }
        self.window = match self.window {
            Some((since_us, ..)) if at_us.saturating_sub(since_us) > 2 * WINDOW_US => {
                // Nothing has come for a while: what was before it says nothing of what is now.
                Some((at_us, late_us, seen))
            }
            Some((since_us, least_us, best)) if at_us.saturating_sub(since_us) >= WINDOW_US => {
                if least_us.min(late_us) > TOLERANCE_US {
                    self.known = Some(if late_us < least_us { seen } else { best });
                }
                None
            }
            Some((since_us, least_us, _)) if late_us < least_us => Some((since_us, late_us, seen)),
            Some(window) => Some(window),
            None => Some((at_us, late_us, seen)),
        };
        self.known.unwrap_or(seen)
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
        let mut clock = ArrivalClock::default();
        let first = clock.note(0, 1_000_000, 90_000);
        assert_eq!(clock.note(9_000, 1_150_000, 90_000), first, "50 ms late");
        assert_eq!(clock.note(9_000, 1_090_000, 90_000).at_us, 1_090_000, "10 ms early");
    }

    /// The packets of a microphone, each 20 ms, that is muted: its timestamps stand still.
    #[test]
    fn after_a_mute_the_relation_is_right_again() {
        for muted_us in [40_000, 700_000, 3_000_000, 14_000_000] {
            let mut clock = ArrivalClock::default();
            let (mut rtp_time, mut at_us) = (4_000_000_000u32, 1_000_000u64);
            let mut speak = |clock: &mut ArrivalClock, at_us: &mut u64, packets: u64| {
                let mut last = None;
                for packet in 0..packets {
                    // Every other packet is late by 15 ms.
                    let jitter_us = packet % 2 * 15_000;
                    last = Some(clock.note(rtp_time, *at_us + jitter_us, 48_000));
                    rtp_time = rtp_time.wrapping_add(960);
                    *at_us += 20_000;
                }
                (last.expect("some packets"), rtp_time)
            };
            speak(&mut clock, &mut at_us, 500);
            at_us += muted_us;
            let (relation, next) = speak(&mut clock, &mut at_us, 300);
            let off = next.wrapping_sub(relation.rtp_time_at(at_us, 48_000)) as i32;
            assert!(off.abs() <= 48 * 6, "muted for {muted_us} us: off by {off} ticks");
        }
    }

    /// A network that holds everything up for a moment has not changed the publisher's clock.
    #[test]
    fn a_burst_of_late_packets_changes_nothing() {
        let mut clock = ArrivalClock::default();
        let first = clock.note(0, 1_000_000, 90_000);
        for packet in 1..300u32 {
            let sent_us = 1_000_000 + u64::from(packet) * 10_000;
            let at_us = if (100..200).contains(&packet) { 3_000_000 } else { sent_us };
            let relation = clock.note(packet * 900, at_us.max(sent_us), 90_000);
            let off = relation.rtp_time_at(5_000_000, 90_000) as i32
                - first.rtp_time_at(5_000_000, 90_000) as i32;
            assert_eq!(off, 0, "packet {packet}");
        }
    }
}
