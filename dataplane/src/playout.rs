//! How long a viewer should hold pictures back before it shows them, so that what the path loses can come
//! again in time. Receivers find the depth of their buffer by how evenly packets arrive, and mostly know
//! no round trip, as they send nothing: on a far path that loses packets each loss is a freeze. We know
//! both, and say it in the playout delay extension; the sound follows the pictures.

use crate::canonical::Element;

/// On a nearer path the receiver's own buffer is deep enough, in milliseconds of round trip.
const NEAR_MS: u64 = 30;
/// A loss is seen with the next packet, which may be the next picture's, and asked for at the next look of
/// the receiver, which is every 20 ms.
const NOTICE_MS: u64 = 80;
/// Around the mean of what comes late.
const SPARE_MS: u64 = 40;
/// Who talks with others should not be later than this.
const MIN_DELAY_MAX_MS: u64 = 700;
/// No limit: 40.95 s. With a small one, receivers show pictures as they come.
const MAX_DELAY: u16 = 0xfff;
/// What a second with losses counts, with few and with more than `FEW`, and 1 less each without; from `LOSSY`
/// on the path is one that loses packets, and at 0 it is none any more.
const FEW: u32 = 2;
const LOST: (u32, u32) = (20, 30);
const LOSSY: u32 = 30;
const LOSS_MAX: u32 = 40;
/// So long a packet that was late is remembered.
const LATE_FOR_US: u64 = 40_000_000;
/// So often a value is said when it has changed to none: each may be lost.
const REPEATS: u8 = 5;

/// How late what is lost on its way to us comes, in the mean of the last ones: everybody's pictures have to
/// wait for it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lateness {
    mean_us: u64,
    at_us: u64,
}

impl Lateness {
    /// A packet has come so long after those behind it.
    pub(crate) fn note(&mut self, late_us: u64, now_us: u64) {
        let mean_us = self.now_us(now_us);
        // What comes in time after all is no reason to hurry: the next one may not.
        self.mean_us = match late_us.checked_sub(mean_us) {
            Some(more_us) => mean_us + more_us / 4,
            None => mean_us - (mean_us - late_us) / 16,
        };
        self.at_us = now_us;
    }

    /// In microseconds; 0 when nothing has been late for some time.
    pub(crate) fn now_us(&self, now_us: u64) -> u64 {
        if now_us.saturating_sub(self.at_us) < LATE_FOR_US { self.mean_us } else { 0 }
    }
}

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Playout {
    is_taken: bool,
    /// Packets asked for again since the last look.
    asked: u32,
    loss: u32,
    is_lossy: bool,
    min_ms: u64,
    repeats: u8,
    turn: Turn,
}

/// Which packets say it: all of a picture, because receivers go by the first one's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Turn {
    #[default]
    None,
    /// The next picture's; the timestamp is that of the last one.
    After(u32),
    /// Those with this timestamp.
    Of(u32),
}

impl Playout {
    /// For a viewer that can be told, or one that cannot.
    pub(crate) fn new(is_taken: bool) -> Self {
        Self { is_taken, ..Self::default() }
    }

    /// The viewer has asked for a packet again.
    pub(crate) fn note_asked(&mut self) {
        self.asked = self.asked.saturating_add(1);
    }

    /// Decides, about once per second: by the round trip, which is 0 if it is not known, and by how late packets
    /// of the publisher come. `last_rtp_time` is the timestamp of the last picture that went out.
    pub(crate) fn look(&mut self, rtt_us: u64, late_us: u64, last_rtp_time: u32) {
        let asked = std::mem::take(&mut self.asked);
        if !self.is_taken {
            return;
        }
        self.loss = match asked {
            0 => self.loss.saturating_sub(1),
            1..=FEW => (self.loss + LOST.0).min(LOSS_MAX),
            _ => (self.loss + LOST.1).min(LOSS_MAX),
        };
        self.is_lossy = self.loss >= LOSSY || self.is_lossy && self.loss > 0;
        let own_ms = match rtt_us / 1000 {
            rtt_ms @ NEAR_MS.. if self.is_lossy => rtt_ms * 5 / 4 + NOTICE_MS,
            _ => 0,
        };
        let others_ms = match late_us / 1000 {
            late_ms @ NEAR_MS.. => late_ms * 9 / 8 + SPARE_MS,
            _ => 0,
        };
        let needed_ms = (own_ms + others_ms).min(MIN_DELAY_MAX_MS);
        // Each change is slow motion, or a hurry, for some seconds.
        if needed_ms > self.min_ms * 9 / 8 || needed_ms < self.min_ms * 2 / 3 {
            self.min_ms = needed_ms;
            self.repeats = REPEATS;
        }
        if self.min_ms > 0 || self.repeats > 0 {
            self.repeats = self.repeats.saturating_sub(1);
            self.turn = Turn::After(last_rtp_time);
        }
    }

    /// Whether no packet has to say anything now.
    pub(crate) fn is_silent(&self) -> bool {
        self.turn == Turn::None
    }

    /// What a packet with this timestamp says.
    #[cold]
    pub(crate) fn element(&mut self, rtp_time: u32) -> Option<Element> {
        self.turn = match self.turn {
            Turn::After(last) if last == rtp_time => return None,
            Turn::After(_) => Turn::Of(rtp_time),
            Turn::Of(current) if current == rtp_time => self.turn,
            Turn::Of(_) | Turn::None => Turn::None,
        };
        let min = (self.min_ms / 10) as u16;
        (self.turn != Turn::None).then(|| Element::playout_delay(min, MAX_DELAY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR_US: u64 = 200_000;

    /// A look, and the delay in milliseconds that the next picture's packets carry, if they do.
    fn look(playout: &mut Playout, asked: u32, rtt_us: u64, late_us: u64) -> Option<u64> {
        (0..asked).for_each(|_| playout.note_asked());
        playout.look(rtt_us, late_us, 7);
        assert_eq!(playout.element(7), None, "not in a picture that has begun");
        let [first, second] = [8, 8].map(|rtp_time| playout.element(rtp_time));
        assert_eq!(first, second, "all packets of a picture say the same");
        assert_eq!(playout.element(9), None, "once is enough");
        assert!(playout.is_silent());
        let said = (0..=70).find(|tens| first == Some(Element::playout_delay(*tens, MAX_DELAY)));
        assert_eq!(said.is_some(), first.is_some());
        said.map(|tens| u64::from(tens) * 10)
    }

    #[test]
    fn a_far_path_that_loses_packets_is_waited_for_until_it_has_lost_none_for_long() {
        let mut playout = Playout::new(true);
        assert_eq!(look(&mut playout, 0, FAR_US, 0), None, "nothing is lost");
        assert_eq!(look(&mut playout, 1, FAR_US, 0), None, "once is chance");
        assert_eq!(look(&mut playout, 1, FAR_US, 0), Some(330));
        assert_eq!(look(&mut playout, 9, FAR_US * 11 / 10, 0), Some(330), "nearly the same");
        assert_eq!(look(&mut playout, 9, FAR_US * 2, 0), Some(580));
        assert_eq!(look(&mut playout, 9, FAR_US * 40, 0), Some(MIN_DELAY_MAX_MS));
        assert_eq!(look(&mut playout, 9, FAR_US, 0), Some(330));
        for _ in 1..LOSS_MAX {
            assert_eq!(look(&mut playout, 0, FAR_US, 0), Some(330));
        }
        let end: Vec<_> = (0..=REPEATS).map(|_| look(&mut playout, 0, FAR_US, 0)).collect();
        assert_eq!(end, [Some(0), Some(0), Some(0), Some(0), Some(0), None]);
    }

    #[test]
    fn many_at_once_are_enough() {
        assert_eq!(look(&mut Playout::new(true), FEW + 1, FAR_US, 0), Some(330));
    }

    #[test]
    fn a_near_path_an_unknown_one_and_who_cannot_be_told_get_nothing() {
        for (is_taken, rtt_us) in [(true, 29_000), (true, 0), (false, FAR_US)] {
            let mut playout = Playout::new(is_taken);
            for _ in 0..9 {
                assert_eq!(look(&mut playout, 9, rtt_us, FAR_US * u64::from(!is_taken)), None);
            }
        }
    }

    #[test]
    fn what_is_late_of_the_publisher_is_waited_for_beside() {
        let mut playout = Playout::new(true);
        assert_eq!(look(&mut playout, 0, 1000, 29_000), None);
        assert_eq!(look(&mut playout, 0, 1000, FAR_US), Some(260));
        assert_eq!(look(&mut playout, 9, FAR_US, FAR_US), Some(590));
        assert_eq!(look(&mut playout, 9, FAR_US, 2 * FAR_US), Some(MIN_DELAY_MAX_MS));
    }

    #[test]
    fn lateness_is_a_mean_that_grows_old_and_falls_slowly() {
        let mut lateness = Lateness::default();
        (0..20).for_each(|second| lateness.note(FAR_US, second * 1_000_000));
        let mean_us = lateness.now_us(20_000_000);
        assert!((190_000..=FAR_US).contains(&mean_us), "{mean_us}");
        lateness.note(0, 20_000_000);
        assert!(lateness.now_us(20_000_000) > mean_us * 9 / 10);
        assert_eq!(lateness.now_us(20_000_000 + LATE_FOR_US), 0);
        lateness.note(u64::MAX, 100_000_000);
        lateness.note(u64::MAX, 100_000_000);
        assert!(lateness.now_us(100_000_000) > 0, "no overflow");
    }
}
