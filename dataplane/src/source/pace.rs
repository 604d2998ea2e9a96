//! How an Encoding's pictures come: whether it is silent, and whether it may be chosen again.

/// An Encoding that was silent this long is not a good choice (docs/threats.md, row 19): the first, or
/// so many times what usually passes between two of its pictures, up to the second.
const STALLED_US: (u64, u64) = (800_000, 5_000_000);
const STALLED_PICTURES: u64 = 5;
/// One that was left comes back into the choice when it has flowed for so long.
pub(super) const PROVEN_US: u64 = 2_000_000;
/// Or at once, if it had been silent for so long and begins with a keyframe: its sender has switched it
/// off and on again.
const SWITCHED_OFF_US: u64 = 5_000_000;
/// Where nothing comes of any for so long, their publisher pauses.
const PAUSED_US: u64 = 2_000_000;
/// Pictures are counted in spans of this, so many of which are looked at. It is the same for all
/// Encodings, so that their counts can be compared.
const SPAN_US: u64 = 500_000;
const SPANS: usize = 16;
/// Those of them that show whether it has become jerky, and whether it is smooth again.
const SPANS_JERKY: usize = 4;
const SPANS_SMOOTH: usize = 8;
/// A timestamp that is so far behind at most is that of a picture that comes late, in units of 90 kHz:
/// longer than gaps are asked for. What is further behind is another count.
const LATE_TICKS: u32 = 180_000;
/// Fewer pictures than this in a second are jerky, if a cheaper Encoding has at least twice as many.
const JERKY_PER_SECOND: u32 = 2;
/// One that was left and has as many in a second comes back, whatever the cheaper one has.
const SMOOTH_PER_SECOND: u32 = 4;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Pace {
    last_at_us: Option<u64>,
    /// Since when it has not been silent for long.
    alive_since_us: u64,
    /// The timestamp and arrival of the last picture, and what passes between two, smoothed.
    picture: Option<(u32, u64)>,
    interval_us: u64,
    /// The span that is running, and the pictures in it and those before it.
    span: u64,
    pictures: [u32; SPANS + 1],
    /// It went silent or jerky while a cheaper one flowed, and has not shown yet that it flows again. On
    /// an uplink that is too narrow each switch costs a keyframe of every Encoding, and these the next
    /// silence.
    pub(super) is_left: bool,
}

/// How many pictures have come of an Encoding.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pictures {
    /// In the last [`SPANS_JERKY`].
    lately: u32,
    /// In the last [`SPANS_SMOOTH`].
    smooth: u32,
    /// In the last [`SPANS`].
    all: u32,
}

impl Pictures {
    /// The more of both.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            lately: self.lately.max(other.lately),
            smooth: self.smooth.max(other.smooth),
            all: self.all.max(other.all),
        }
    }
}

impl Pace {
    /// Records a packet that belongs to a picture.
    pub(super) fn note(&mut self, rtp_time: u32, is_keyframe: bool, at_us: u64) {
        if !self.is_alive(at_us) {
            self.alive_since_us = at_us;
            let silence_us = self.last_at_us.map_or(0, |last_us| at_us.saturating_sub(last_us));
            self.is_left &= !(is_keyframe && silence_us > SWITCHED_OFF_US);
        }
        self.last_at_us = Some(at_us);
        let (known, since_us) = *self.picture.get_or_insert((rtp_time, at_us));
        if known.wrapping_sub(rtp_time) > LATE_TICKS {
            let passed_us = at_us.saturating_sub(since_us).min(STALLED_US.1);
            self.interval_us = (7 * self.interval_us + passed_us) / 8;
            self.picture = Some((rtp_time, at_us));
            self.roll(at_us);
            self.pictures[0] += 1;
        }
    }

    /// Goes on to the span in which `now_us` is.
    fn roll(&mut self, now_us: u64) {
        let span = now_us / SPAN_US;
        let passed = span.saturating_sub(self.span).min(self.pictures.len() as u64) as usize;
        if passed > 0 {
            self.pictures.rotate_right(passed);
            self.pictures[..passed].fill(0);
            self.span = span;
        }
    }

    /// The pictures in the spans that are over.
    pub(super) fn pictures(&mut self, now_us: u64) -> Pictures {
        self.roll(now_us);
        let [_, over @ ..] = &self.pictures;
        let last = |spans: usize| over.iter().take(spans).sum();
        Pictures { lately: last(SPANS_JERKY), smooth: last(SPANS_SMOOTH), all: last(SPANS) }
    }

    /// When the last packet came.
    pub(super) fn last_at_us(&self) -> Option<u64> {
        self.last_at_us
    }

    /// What passes between two pictures, smoothed; 0 while that is not known.
    pub(super) fn interval_us(&self) -> u64 {
        self.interval_us
    }

    /// Whether it is not silent.
    pub(super) fn is_alive(&self, now_us: u64) -> bool {
        let silence_us = (STALLED_PICTURES * self.interval_us).clamp(STALLED_US.0, STALLED_US.1);
        self.last_at_us.is_some_and(|at_us| now_us.saturating_sub(at_us) < silence_us)
    }

    /// Since when it has not been silent for long, if it is not now.
    pub(super) fn alive_since_us(&self) -> u64 {
        self.alive_since_us
    }

    /// Whether nothing has come for so long that it is no pause between two pictures.
    pub(super) fn has_paused(&self, now_us: u64) -> bool {
        self.last_at_us.is_none_or(|at_us| now_us.saturating_sub(at_us) > PAUSED_US)
            && !self.is_alive(now_us)
    }

    /// Whether it has been alive for so long.
    pub(super) fn has_lived(&self, us: u64, now_us: u64) -> bool {
        self.is_alive(now_us) && now_us.saturating_sub(self.alive_since_us) > us
    }

    /// Takes it out of the choice. How it flowed before is no reason to take it back.
    pub(super) fn leave(&mut self) {
        self.is_left = true;
        self.pictures.fill(0);
    }

    /// Whether it has long had a picture now and then only, beside a cheaper one with these.
    pub(super) fn is_jerky(&mut self, cheaper: Pictures, now_us: u64) -> bool {
        let Pictures { lately, .. } = self.pictures(now_us);
        lately < in_spans(JERKY_PER_SECOND, SPANS_JERKY)
            && lately * 2 <= cheaper.lately
            && self.has_lived(PROVEN_US, now_us)
    }

    /// Whether it flows again, and well if it is no screen, beside a cheaper one with these pictures.
    pub(super) fn has_recovered(
        &mut self,
        cheaper: Pictures,
        is_screen: bool,
        now_us: u64,
    ) -> bool {
        let Pictures { smooth, all, .. } = self.pictures(now_us);
        let is_smooth = smooth >= in_spans(SMOOTH_PER_SECOND, SPANS_SMOOTH);
        // Where both are slow but not jerky, a picture or two less is no difference.
        let spared = if all < in_spans(JERKY_PER_SECOND, SPANS) { 0 } else { all / 4 };
        (is_screen || is_smooth || all + spared >= cheaper.all) && self.has_lived(PROVEN_US, now_us)
    }
}

/// So many a second in so many spans.
fn in_spans(per_second: u32, spans: usize) -> u32 {
    (u64::from(per_second) * spans as u64 * SPAN_US / 1_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures from `from_us` on, one each `step_us`, until `to_us`.
    fn flow(pace: &mut Pace, from_us: u64, to_us: u64, step_us: u64) {
        for at_us in (from_us..to_us).step_by(step_us as usize) {
            pace.note(at_us as u32, false, at_us);
        }
    }

    #[test]
    fn silence_is_measured_by_what_is_usual() {
        let mut pace = Pace::default();
        assert!(!pace.is_alive(0));
        flow(&mut pace, 0, 3_000_000, 40_000);
        assert!(pace.is_alive(3_700_000) && !pace.is_alive(3_900_000));
        // Five pictures a second become one each second, as of a screen that stands still.
        flow(&mut pace, 4_000_000, 40_000_000, 1_000_000);
        assert!(pace.is_alive(43_000_000) && !pace.is_alive(45_000_000));
    }

    fn beside(step_us: u64, now_us: u64) -> Pictures {
        let mut cheaper = Pace::default();
        flow(&mut cheaper, now_us - 9_000_000, now_us, step_us);
        cheaper.pictures(now_us)
    }

    #[test]
    fn what_comes_late_is_no_picture_of_its_own() {
        let mut pace = Pace::default();
        for picture in 0..20u32 {
            let at_us = u64::from(picture) * 100_000;
            pace.note(picture.wrapping_mul(9000).wrapping_sub(90_000), false, at_us);
            pace.note(picture.wrapping_mul(9000).wrapping_sub(99_000), false, at_us);
        }
        assert_eq!(pace.pictures(2_000_000).all, 19);
        assert!((50_000..=100_000).contains(&pace.interval_us()), "{}", pace.interval_us());
        // Another count, behind the one before.
        pace.note(3_000_000_000, false, 2_100_000);
        assert_eq!(pace.pictures(2_500_000).all, 20);
    }

    #[test]
    fn what_was_left_must_flow_for_a_while_and_smoothly() {
        let mut pace = Pace::default();
        flow(&mut pace, 0, 2_000_000, 100_000);
        pace.leave();
        flow(&mut pace, 14_000_000, 15_000_000, 100_000);
        let slow = beside(400_000, 15_000_000);
        assert!(!pace.has_recovered(slow, false, 15_000_000), "a second is not enough");
        flow(&mut pace, 15_000_000, 16_500_000, 100_000);
        assert!(pace.has_recovered(beside(400_000, 16_500_000), false, 16_500_000));
        // One picture a second beside two is no better.
        flow(&mut pace, 16_500_000, 36_000_000, 1_000_000);
        assert!(!pace.has_recovered(beside(500_000, 36_000_000), false, 36_000_000));
        assert!(pace.has_recovered(beside(500_000, 36_000_000), true, 36_000_000), "a screen");
        assert!(!pace.has_recovered(beside(800_000, 36_000_000), false, 36_000_000));
        // If the other is as slow, both are what there is.
        assert!(pace.has_recovered(beside(1_000_000, 36_000_000), false, 36_000_000));
    }

    #[test]
    fn a_picture_less_is_no_difference_where_both_are_slow() {
        let mut pace = Pace::default();
        flow(&mut pace, 0, 20_000_000, 370_000);
        pace.leave();
        flow(&mut pace, 20_000_000, 32_000_000, 370_000);
        assert!(pace.has_recovered(beside(330_000, 32_000_000), false, 32_000_000));
        assert!(!pace.has_recovered(beside(200_000, 32_000_000), false, 32_000_000));
    }

    #[test]
    fn what_is_jerky_is_so_beside_something_better_only() {
        let mut pace = Pace::default();
        flow(&mut pace, 0, 10_000_000, 1_000_000);
        assert!(pace.is_jerky(beside(300_000, 10_000_000), 10_000_000));
        assert!(!pace.is_jerky(beside(800_000, 10_000_000), 10_000_000), "it is no better");
        flow(&mut pace, 10_000_000, 13_000_000, 400_000);
        assert!(!pace.is_jerky(beside(40_000, 13_000_000), 13_000_000), "few, but it goes on");
        let mut fresh = Pace::default();
        fresh.note(1, true, 13_000_000);
        assert!(!fresh.is_jerky(beside(40_000, 13_100_000), 13_100_000), "it has just begun");
    }

    #[test]
    fn what_was_switched_off_comes_back_with_its_keyframe() {
        let mut pace = Pace::default();
        flow(&mut pace, 0, 1_000_000, 100_000);
        pace.is_left = true;
        pace.note(1, true, 4_500_000);
        assert!(pace.is_left, "a keyframe that somebody asked for may come late");
        pace.note(2, true, 10_000_000);
        assert!(!pace.is_left);
    }
}
