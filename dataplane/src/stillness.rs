//! How often a viewer's pictures stand still, as far as the server can see: the publisher's come, and none
//! goes on. What is lost behind the server, and what the viewer's decoder makes of it, is not in it.

/// Pictures stand still when none has gone on for so long, twice: once until what has come meanwhile is
/// so much newer than what went on, once more while that stays so. A slide that comes alone is no reason.
const LAG_US: u64 = 500_000;
/// A publisher whose last picture came before this sends none at present: nothing stands still.
const FRESH_US: u64 = 1_500_000;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stillness {
    lagging_since_us: Option<u64>,
    still_since_us: Option<u64>,
    times: u32,
    us: u64,
}

impl Stillness {
    /// Looks at when the newest picture of the publisher came and when the newest of those that went on
    /// had; to be called several times a second. Returns whether the pictures have just come to stand.
    pub(crate) fn look(
        &mut self,
        newest_us: Option<u64>,
        shown_us: Option<u64>,
        now_us: u64,
    ) -> bool {
        let lag_us = match (newest_us, shown_us) {
            (Some(newest_us), Some(shown_us)) if now_us < newest_us + FRESH_US => {
                newest_us.saturating_sub(shown_us)
            }
            _ => 0,
        };
        if lag_us < LAG_US {
            self.lagging_since_us = None;
            if let Some(since_us) = self.still_since_us.take() {
                self.us += now_us.saturating_sub(since_us);
            }
            return false;
        }
        let lagging_since_us = *self.lagging_since_us.get_or_insert(now_us);
        if self.still_since_us.is_some() || now_us.saturating_sub(lagging_since_us) < LAG_US {
            return false;
        }
        self.still_since_us = shown_us;
        self.times = self.times.saturating_add(1);
        true
    }

    /// How often the pictures have come to stand for a second or longer, and how many milliseconds they
    /// have stood all in all.
    pub(crate) fn told(&self, now_us: u64) -> (u32, u32) {
        let current_us = self.still_since_us.map_or(0, |since_us| now_us.saturating_sub(since_us));
        (self.times, u32::try_from((self.us + current_us) / 1000).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten looks a second at pictures that come every `every_ms` and go on unless they are held.
    fn watch(seconds: u64, every_ms: u64, is_held: impl Fn(u64) -> bool) -> (u32, u32) {
        let mut stillness = Stillness::default();
        let (mut newest_us, mut shown_us) = (None, None);
        let mut began = 0;
        for ms in 1..=seconds * 1000 {
            if ms % every_ms == 0 {
                newest_us = Some(ms * 1000);
                if !is_held(ms) {
                    shown_us = newest_us;
                }
            }
            // Between a picture's arrival and its going on, too.
            if ms % 100 == 37 {
                began += u32::from(stillness.look(newest_us, shown_us, ms * 1000));
            }
        }
        let told = stillness.told(seconds * 1_000_000);
        assert_eq!(told.0, began, "each is told once");
        told
    }

    #[test]
    fn pictures_that_go_on_do_not_stand_however_rare_they_are() {
        for every_ms in [33, 100, 250, 450, 1000, 3000] {
            assert_eq!(watch(30, every_ms, |_| false), (0, 0), "{every_ms}");
        }
    }

    #[test]
    fn what_is_held_back_for_a_second_stands_and_counts_from_its_last_picture() {
        let (times, ms) = watch(20, 33, |ms| (5000..8000).contains(&ms) || ms >= 15_000);
        assert_eq!(times, 2);
        assert!((7900..=8200).contains(&ms), "{ms}");
        assert_eq!(watch(20, 33, |ms| (5000..5600).contains(&ms)), (0, 0), "half a second");
    }

    #[test]
    fn who_has_not_begun_and_who_sends_nothing_does_not_stand() {
        assert_eq!(watch(10, 33, |_| true), (0, 0), "nothing has gone on yet");
        let mut stillness = Stillness::default();
        for ms in (0..20_000u64).step_by(100) {
            // The last picture came at 2 s and was held; the publisher sends no more.
            stillness.look(Some(ms.min(2000) * 1000), Some(ms.min(500) * 1000), ms * 1000);
        }
        let (times, ms) = stillness.told(20_000_000);
        assert!(times == 1 && (2500..=3500).contains(&ms), "{times} {ms}");
    }

    #[test]
    fn a_slide_that_waits_for_its_turn_is_no_standstill() {
        let mut stillness = Stillness::default();
        for ms in (0..60_000u64).step_by(100) {
            // Slides every 5 s, each goes on 300 ms after it came.
            let (newest, shown) = (ms / 5000 * 5000, ms.saturating_sub(300) / 5000 * 5000);
            assert!(!stillness.look(Some(newest * 1000), Some(shown * 1000), ms * 1000));
        }
    }
}
