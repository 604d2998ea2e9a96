//! Sound as it is heard: played so late that 95 of 100 packets have come in time, as browsers do; what
//! has not is concealed.

/// An opus packet, in microseconds.
const PACKET_US: u64 = 20_000;
/// The same in units of 48 kHz.
const PACKET_RTP: u32 = 960;
/// Delays that decide about the next packet: those of ten seconds.
const WINDOW: usize = 500;
/// A packet that is still one packet behind is waited for.
const MARGIN_US: u64 = PACKET_US;

/// Packets of sound, and when each of them came.
#[derive(Debug, Default)]
pub(super) struct Sound {
    first: Option<u32>,
    /// By packet, from the first one on.
    came_us: Vec<Option<u64>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Heard {
    /// The share of packets that had not come when they were to be played.
    pub concealed: f64,
    /// Of the lengths of what is concealed at a stretch, in milliseconds.
    pub gap_p99_ms: u64,
    /// The mean time for which packets are held back, in milliseconds.
    pub delay_ms: u64,
}

impl Sound {
    /// Takes a packet: its timestamp, and whether it carries others (RFC 2198).
    pub(super) fn take(&mut self, rtp_time: u32, payload: &[u8], is_red: bool, now_us: u64) {
        if !is_red {
            self.put(rtp_time, now_us);
            return;
        }
        let mut rest = payload;
        while let Some((word, next)) = rest.split_first_chunk::<4>()
            && word[0] & 0x80 != 0
        {
            let distance = u32::from_be_bytes(*word) >> 10 & 0x3fff;
            self.put(rtp_time.wrapping_sub(distance), now_us);
            rest = next;
        }
        self.put(rtp_time, now_us);
    }

    fn put(&mut self, rtp_time: u32, now_us: u64) {
        let first = *self.first.get_or_insert(rtp_time);
        let Ok(ahead) = u32::try_from(rtp_time.wrapping_sub(first) as i32) else {
            return; // From before the first.
        };
        let at = (ahead / PACKET_RTP) as usize;
        if self.came_us.len() <= at {
            self.came_us.resize(at + 1, None);
        }
        self.came_us[at].get_or_insert(now_us);
    }

    /// What was heard of what was sent from `since_us` on.
    pub(super) fn heard(&self, since_us: u64) -> Heard {
        // How late each was, beside the quickest.
        let due = |at: usize| at as u64 * PACKET_US;
        let late = |at: usize| self.came_us[at].map(|came| came as i64 - due(at) as i64);
        let Some(quickest) = (0..self.came_us.len()).filter_map(late).min() else {
            return Heard::default();
        };
        let mut delays: Vec<u64> = Vec::new();
        let (mut gaps, mut gap) = (Vec::new(), 0u64);
        let (mut played, mut concealed, mut held) = (0u64, 0u64, 0u64);
        for at in 0..self.came_us.len() {
            let mut known: Vec<u64> = delays.iter().rev().take(WINDOW).copied().collect();
            known.sort_unstable();
            let target = known.get(known.len() * 95 / 100).copied().unwrap_or(0) + MARGIN_US;
            let delay = late(at).map(|late| (late - quickest) as u64);
            let is_in_time = delay.is_some_and(|delay| delay <= target);
            if (due(at) as i64 + quickest) as u64 >= since_us {
                played += 1;
                held += target;
                concealed += u64::from(!is_in_time);
                if is_in_time && gap > 0 {
                    gaps.push(std::mem::take(&mut gap));
                }
                gap += u64::from(!is_in_time);
            }
            delays.extend(delay);
        }
        gaps.extend((gap > 0).then_some(gap));
        gaps.sort_unstable();
        let gap_p99 = gaps.get((gaps.len() * 99 / 100).min(gaps.len().saturating_sub(1)));
        Heard {
            concealed: concealed as f64 / played.max(1) as f64,
            gap_p99_ms: gap_p99.map_or(0, |gap| gap * PACKET_US / 1000),
            delay_ms: held / played.max(1) / 1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_late_or_not_at_all_is_concealed() {
        let mut sound = Sound::default();
        for at in (0..1000u32).filter(|at| !(500..503).contains(at)) {
            let late = if at == 700 { 90_000 } else { u64::from(at % 3) * 4000 };
            sound.take(
                77 + at * PACKET_RTP,
                &[0xf8],
                false,
                1_000_000 + u64::from(at) * PACKET_US + late,
            );
        }
        let heard = sound.heard(0);
        assert!((0.0039..0.0041).contains(&heard.concealed), "{heard:?}");
        assert_eq!((heard.gap_p99_ms, heard.delay_ms), (60, 27));
    }

    #[test]
    fn redundant_packets_bring_what_was_lost() {
        let mut sound = Sound::default();
        for at in (0..1000u32).filter(|at| at % 10 != 4) {
            let block = 0x8000_0000 | 111 << 24 | PACKET_RTP << 10 | 3;
            let payload = [&u32::to_be_bytes(block)[..], &[111, 1, 2, 3, 4, 5, 6]].concat();
            sound.take(at * PACKET_RTP, &payload, true, 1_000_000 + u64::from(at) * PACKET_US);
        }
        assert_eq!(sound.heard(1_500_000).concealed, 0.0);
    }
}
