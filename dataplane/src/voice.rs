//! Who speaks, by the levels that come with the sound (RFC 6464), and what of the sound goes to
//! viewers: in a large class only that of the loudest.

/// How far the smoothed loudness goes towards that of each packet, as a shift: a voice is there within
/// four packets, and a pause between two words does not end it.
const ATTACK_SHIFT: u32 = 2;
const RELEASE_SHIFT: u32 = 4;
/// Loudness has so many steps to a decibel.
const STEPS: i32 = 16;
/// Somebody speaks from so many dB above the lowest level (-127 dBov) on, and until it was below the
/// second for [`HOLD_US`].
const SPEAKS_FROM: i32 = 82 * STEPS;
const SPEAKS_TO: i32 = 72 * STEPS;
const HOLD_US: u64 = 1_000_000;
/// Between two reports about somebody who goes on speaking, and by how many dB they differ at least.
const REPORT_US: u64 = 300_000;
const REPORT_STEP: i32 = 6 * STEPS;

/// What is told of a Publication's sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VoiceReport {
    /// Smoothed, in dB above -127 dBov: `0..=127`.
    pub loudness: u8,
    /// Whether somebody speaks, or something else is as loud.
    pub is_speaking: bool,
}

/// Listens to one Publication.
#[derive(Debug, Default)]
pub(crate) struct Voice {
    /// In steps.
    loudness: i32,
    is_speaking: bool,
    /// When it was last loud enough.
    loud_at_us: u64,
    /// The last report, and when it was made.
    told: Option<(VoiceReport, u64)>,
}

impl Voice {
    /// Takes the value of an audio level extension: -dBov in the low seven bits (RFC 6464 s3). Its
    /// voice activity bit is not used, as most senders set it always or never. Returns what is news.
    pub(crate) fn hear(&mut self, value: u8, at_us: u64) -> Option<VoiceReport> {
        let heard = i32::from(127 - (value & 0x7f)) * STEPS;
        let shift = if heard > self.loudness { ATTACK_SHIFT } else { RELEASE_SHIFT };
        self.loudness += (heard - self.loudness) >> shift;
        self.look(at_us)
    }

    /// Nothing may have come for a while: who does not send does not speak.
    pub(crate) fn look(&mut self, now_us: u64) -> Option<VoiceReport> {
        if self.loudness >= if self.is_speaking { SPEAKS_TO } else { SPEAKS_FROM } {
            // A packet that is late must not make it last longer, nor must silence.
            self.loud_at_us = self.loud_at_us.max(now_us);
            self.is_speaking = true;
        } else if now_us.saturating_sub(self.loud_at_us) >= HOLD_US {
            self.is_speaking = false;
        }
        self.news(now_us)
    }

    /// The sound has stopped: nothing has come for longer than any pause between packets.
    pub(crate) fn fall_silent(&mut self, now_us: u64) -> Option<VoiceReport> {
        self.told.as_ref()?;
        self.loudness = 0;
        self.is_speaking = false;
        self.news(now_us)
    }

    /// Whether somebody speaks now.
    pub(crate) fn is_speaking(&self) -> bool {
        self.is_speaking
    }

    fn news(&mut self, now_us: u64) -> Option<VoiceReport> {
        let loudness = (self.loudness / STEPS).clamp(0, 127) as u8;
        let report = VoiceReport { loudness, is_speaking: self.is_speaking };
        let is_news = self.told.is_none_or(|(told, at_us)| {
            let differs = (i32::from(told.loudness) * STEPS - self.loudness).abs() >= REPORT_STEP;
            let is_due = now_us.saturating_sub(at_us) >= REPORT_US;
            told.is_speaking != self.is_speaking || self.is_speaking && differs && is_due
        });
        is_news.then(|| {
            self.told = Some((report, now_us));
            report
        })
    }
}

/// Lets the packets of a Publication through to viewers, or not. What goes through is numbered without
/// the gaps that withheld packets would leave: to viewers those have never been sent (RFC 3550 s5.1).
#[derive(Debug, Default)]
pub(crate) struct Gate {
    is_closed: bool,
    /// Whether the next packet is the first one after a pause.
    is_resuming: bool,
    /// The highest extended sequence number seen.
    newest: u64,
    /// What comes late from before this was withheld.
    from: u64,
    /// How many numbers have been left out so far.
    left_out: u64,
    /// The highest number given to a packet.
    last: Option<u64>,
}

/// A packet that goes through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Passed {
    /// Its number for viewers.
    pub seq: u64,
    /// Whether sound begins again with it (RFC 3551 s4.1: the marker bit).
    pub is_first: bool,
}

impl Gate {
    /// Opens or closes it.
    pub(crate) fn set_open(&mut self, is_open: bool) {
        if self.is_closed == is_open {
            self.is_closed = !is_open;
            self.is_resuming = is_open;
        }
    }

    /// What becomes of the packet with this extended sequence number; `None` if it is withheld.
    pub(crate) fn pass(&mut self, seq: u64) -> Option<Passed> {
        let is_late = seq <= self.newest;
        self.newest = self.newest.max(seq);
        if self.is_closed {
            return None;
        }
        // What comes late of the time before a pause cannot end it.
        let is_first = self.is_resuming && !is_late;
        if is_first {
            self.is_resuming = false;
            self.left_out = self.last.map_or(0, |last| seq.saturating_sub(last + 1));
            self.from = seq;
        }
        if self.is_resuming || seq < self.from {
            return None;
        }
        let number = seq - self.left_out;
        self.last = self.last.max(Some(number));
        Some(Passed { seq: number, is_first })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const PACKET_US: u64 = 20_000;

    /// Hears `packets` of one level and collects what is told.
    fn hear(voice: &mut Voice, at_us: &mut u64, level: u8, packets: u64) -> Vec<VoiceReport> {
        let mut told = Vec::new();
        for _ in 0..packets {
            *at_us += PACKET_US;
            told.extend(voice.hear(level, *at_us));
        }
        told
    }

    #[test]
    fn speech_is_told_when_it_begins_and_when_it_has_ended() {
        let (mut voice, mut at_us) = (Voice::default(), 5_000_000);
        let told = hear(&mut voice, &mut at_us, 127, 50);
        assert_eq!(
            told,
            [VoiceReport { loudness: 0, is_speaking: false }],
            "that there are levels"
        );
        let told = hear(&mut voice, &mut at_us, 25, 8);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].is_speaking && told[0].loudness >= 82);
        // Between words, and between sentences.
        for _ in 0..5 {
            let told = hear(&mut voice, &mut at_us, 90, 15);
            assert!(told.iter().all(|report| report.is_speaking), "{told:?}");
            let told = hear(&mut voice, &mut at_us, 25, 15);
            assert!(told.iter().all(|report| report.is_speaking), "{told:?}");
        }
        let told = hear(&mut voice, &mut at_us, 100, 100);
        assert_eq!(told.iter().filter(|report| !report.is_speaking).count(), 1, "{told:?}");
        assert!(!voice.is_speaking());
    }

    #[test]
    fn a_click_is_no_speech_and_noise_is_none() {
        let (mut voice, mut at_us) = (Voice::default(), 5_000_000);
        hear(&mut voice, &mut at_us, 127, 10);
        assert!(hear(&mut voice, &mut at_us, 0, 2).is_empty());
        assert!(hear(&mut voice, &mut at_us, 60, 500).is_empty());
    }

    #[test]
    fn who_sends_nothing_does_not_speak() {
        let (mut voice, mut at_us) = (Voice::default(), 5_000_000);
        assert_eq!(voice.fall_silent(at_us), None, "nothing was ever told");
        hear(&mut voice, &mut at_us, 20, 50);
        assert!(voice.is_speaking());
        assert_eq!(voice.fall_silent(at_us), Some(VoiceReport { loudness: 0, is_speaking: false }));
        assert_eq!(voice.fall_silent(at_us), None);
    }

    #[test]
    fn reports_are_few_however_levels_jump() {
        let (mut voice, mut at_us) = (Voice::default(), 5_000_000);
        let mut told = 0;
        for at in 0..3000_u64 {
            at_us += PACKET_US;
            told += usize::from(voice.hear((at * 37 % 128) as u8, at_us).is_some());
        }
        assert!(told <= 220, "{told} reports in a minute");
    }

    fn numbers(gate: &mut Gate, seqs: impl IntoIterator<Item = u64>) -> Vec<u64> {
        seqs.into_iter().filter_map(|seq| gate.pass(seq)).map(|passed| passed.seq).collect()
    }

    #[test]
    fn withheld_packets_leave_no_gap_and_lost_ones_do() {
        let mut gate = Gate::default();
        assert_eq!(numbers(&mut gate, [100, 101, 103]), [100, 101, 103]);
        gate.set_open(false);
        assert_eq!(numbers(&mut gate, 104..200), []);
        gate.set_open(true);
        assert_eq!(gate.pass(200), Some(Passed { seq: 104, is_first: true }));
        assert_eq!(gate.pass(202), Some(Passed { seq: 106, is_first: false }));
        // Late: of this run, of the pause, and of the run before.
        assert_eq!(numbers(&mut gate, [201, 199, 102]), [105]);
        gate.set_open(true);
        assert_eq!(numbers(&mut gate, [203]), [107]);
    }

    #[test]
    fn no_number_is_given_twice() {
        let mut gate = Gate::default();
        let (mut seen, mut given) = (HashSet::new(), HashSet::new());
        let (mut random, mut is_open) = (7_u64, true);
        for step in 0..20_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (dice, back) = (random >> 60, (random >> 50) & 7);
            if dice == 0 {
                is_open = !is_open;
                gate.set_open(is_open);
            }
            // Each packet comes once, as who calls sees to, and some are late.
            let seq = 1000 + (step ^ back);
            if seen.insert(seq)
                && let Some(passed) = gate.pass(seq)
            {
                assert!(given.insert(passed.seq), "{passed:?}");
            }
        }
        assert!(given.len() > 5000);
    }

    #[test]
    fn a_gate_that_was_shut_from_the_first_packet_on_opens_at_any() {
        let mut gate = Gate::default();
        gate.set_open(false);
        assert_eq!(numbers(&mut gate, 5..9), []);
        gate.set_open(true);
        assert_eq!(numbers(&mut gate, 9..12), [9, 10, 11]);
    }
}
