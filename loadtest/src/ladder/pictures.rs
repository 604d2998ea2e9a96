//! Pictures as a browser's receiver gets them: gaps are asked for with NACK, whole pictures are
//! decoded in order, and where something stays away a keyframe goes on.

use std::collections::BTreeMap;
use std::ops::Bound;

/// Between two requests for one packet: what libwebrtc takes for the round trip where it only
/// receives.
const ASK_EVERY_US: u64 = 100_000;
/// After so many requests a packet is given up, as in libwebrtc.
const ASKS_MAX: u32 = 10;
/// More missing packets are not asked for one by one.
const MISSING_MAX: usize = 1000;
/// Between two requests for a keyframe.
const KEYFRAME_EVERY_US: u64 = 200_000;
/// A keyframe is asked for when nothing could be decoded for so long.
const NOTHING_FOR_US: u64 = 3_000_000;

/// What a packet says of its picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Which picture, in units of 90 kHz.
    pub rtp_time: u32,
    /// It is the last of it.
    pub marker: bool,
    /// It begins a keyframe.
    pub is_keyframe: bool,
    /// Octets of payload.
    pub bytes: usize,
}

/// A picture that could be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// When.
    pub at_us: u64,
    /// When it was taken, in units of 90 kHz.
    pub rtp_time: u32,
    /// Octets of payload.
    pub bytes: usize,
}

/// A picture all of whose packets are here: the first, the last, and what they say.
#[derive(Clone, Copy, Debug)]
struct Whole {
    first: u64,
    end: u64,
    rtp_time: u32,
    bytes: usize,
}

/// A packet that has not come.
#[derive(Clone, Copy, Debug, Default)]
struct Missing {
    asks: u32,
    asked_us: u64,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    parts: BTreeMap<u64, Part>,
    missing: BTreeMap<u64, Missing>,
    highest: Option<u64>,
    /// The first packet of the next picture, once one has been decoded.
    next: Option<u64>,
    needs_keyframe: bool,
    keyframe_asked_us: u64,
    pub decoded: Vec<Decoded>,
    /// How often a keyframe was asked for.
    pub keyframe_asks: u64,
}

impl Pictures {
    /// The extended number that these 16 bits mean.
    pub(super) fn extend(&self, seq_no: u16) -> u64 {
        match self.highest {
            // One cycle up, so that what comes late at the start stays positive.
            None => 1 << 16 | u64::from(seq_no),
            Some(highest) => {
                let ahead = seq_no.wrapping_sub(highest as u16) as i16;
                highest.saturating_add_signed(i64::from(ahead))
            }
        }
    }

    /// Takes a packet, as it came or retransmitted.
    pub(super) fn take(&mut self, seq: u64, part: Part, now_us: u64) {
        let expected = self.highest.map_or(seq, |highest| highest + 1);
        if seq > expected + MISSING_MAX as u64 {
            self.missing.clear();
            self.needs_keyframe = true;
        } else {
            (expected..seq).for_each(|seq| {
                self.missing.insert(seq, Missing::default());
            });
        }
        self.highest = Some(self.highest.map_or(seq, |highest| highest.max(seq)));
        self.missing.remove(&seq);
        if self.next.is_none_or(|next| seq >= next) {
            self.parts.insert(seq, part);
            self.decode(now_us);
        }
    }

    /// What is to be asked for now: missing packets, and whether a keyframe.
    pub(super) fn ask(&mut self, now_us: u64) -> (Vec<u16>, bool) {
        let mut numbers = Vec::new();
        let mut is_given_up = false;
        self.missing.retain(|seq, missing| {
            if missing.asks > 0 && now_us < missing.asked_us + ASK_EVERY_US {
                return true;
            }
            if missing.asks == ASKS_MAX {
                is_given_up = true;
                return false;
            }
            *missing = Missing { asks: missing.asks + 1, asked_us: now_us };
            numbers.push(*seq as u16);
            true
        });
        self.needs_keyframe |= is_given_up || self.missing.len() > MISSING_MAX;
        let last_us = self.decoded.last().map_or(0, |decoded| decoded.at_us);
        let wants = self.highest.is_some()
            && (self.needs_keyframe || self.next.is_none() || now_us > last_us + NOTHING_FOR_US)
            && now_us >= self.keyframe_asked_us + KEYFRAME_EVERY_US;
        if wants {
            self.keyframe_asked_us = now_us;
            self.keyframe_asks += 1;
        }
        (numbers, wants)
    }

    fn decode(&mut self, now_us: u64) {
        loop {
            let next = self.next.filter(|_| !self.needs_keyframe);
            let whole = next.and_then(|next| self.whole_at(next)).or_else(|| self.whole_keyframe());
            let Some(Whole { first, end, rtp_time, bytes }) = whole else {
                return;
            };
            debug_assert!(self.next.is_none_or(|next| first >= next));
            self.needs_keyframe = false;
            self.next = Some(end + 1);
            self.parts = self.parts.split_off(&(end + 1));
            self.missing = self.missing.split_off(&(end + 1));
            self.decoded.push(Decoded { at_us: now_us, rtp_time, bytes });
        }
    }

    /// The picture that begins with this packet, if all of it is here.
    fn whole_at(&self, first: u64) -> Option<Whole> {
        let rtp_time = self.parts.get(&first)?.rtp_time;
        let mut bytes = 0;
        for (expected, (seq, part)) in (first..).zip(self.parts.range(first..)) {
            if *seq != expected || part.rtp_time != rtp_time {
                return None;
            }
            bytes += part.bytes;
            if part.marker {
                return Some(Whole { first, end: *seq, rtp_time, bytes });
            }
        }
        None
    }

    /// The first whole keyframe behind the next picture.
    fn whole_keyframe(&self) -> Option<Whole> {
        let behind = self.next.map_or(Bound::Unbounded, Bound::Included);
        let mut all = self.parts.range((behind, Bound::Unbounded));
        all.find_map(|(seq, part)| part.is_keyframe.then(|| self.whole_at(*seq)).flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of three packets every 33 ms, a keyframe every 30.
    fn take(pictures: &mut Pictures, seq: u64, now_us: u64) {
        let (picture, at) = (seq / 3, seq % 3);
        let part = Part {
            rtp_time: picture as u32 * 3000,
            marker: at == 2,
            is_keyframe: at == 0 && picture.is_multiple_of(30),
            bytes: 1000,
        };
        pictures.take((1 << 16) + seq, part, now_us);
    }

    #[test]
    fn what_is_lost_is_asked_for_and_what_waits_for_it_is_decoded_then() {
        let mut pictures = Pictures::default();
        (0..12).filter(|seq| *seq != 4).for_each(|seq| take(&mut pictures, seq, seq * 11_000));
        assert_eq!(pictures.decoded.len(), 1);
        assert_eq!(pictures.ask(132_000), (vec![4], false));
        assert_eq!(pictures.ask(133_000), (vec![], false));
        assert_eq!(pictures.ask(232_000), (vec![4], false));
        take(&mut pictures, 4, 240_000);
        assert_eq!(pictures.decoded.len(), 4);
        assert_eq!(pictures.ask(400_000), (vec![], false));
    }

    #[test]
    fn what_stays_away_is_given_up_for_a_keyframe() {
        let mut pictures = Pictures::default();
        (0..89).filter(|seq| *seq != 4).for_each(|seq| take(&mut pictures, seq, 1));
        let asks: Vec<_> = (1..=12).map(|round| pictures.ask(round * ASK_EVERY_US)).collect();
        assert!(asks[..10].iter().all(|(numbers, wants)| *numbers == [4] && !wants));
        assert_eq!(asks[10], (vec![], true));
        assert_eq!(pictures.decoded.len(), 1);
        (89..93).for_each(|seq| take(&mut pictures, seq, 2));
        assert_eq!(pictures.decoded.len(), 2, "the keyframe");
        assert_eq!(pictures.ask(5_000_000), (vec![], true), "nothing new for long");
    }

    #[test]
    fn a_leap_is_no_list_of_a_thousand_requests() {
        let mut pictures = Pictures::default();
        (0..3).for_each(|seq| take(&mut pictures, seq, 1));
        take(&mut pictures, 3 + 2000, 1);
        let (numbers, wants) = pictures.ask(300_000);
        assert!(numbers.is_empty() && wants);
    }
}
