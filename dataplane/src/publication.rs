//! The receiving end of a Publication on its publisher's shard: SSRC binding, receive statistics,
//! the NACK list, keyframe requests. Viewers hang on its `Source` (see `source.rs`).

use crate::clock::ArrivalClock;
use crate::codec::{Codec, MediaKind};
use crate::demand::{Demand, Wanted};
use crate::dependency::Dependencies;
use crate::id::SHARDS_MAX;
use crate::rtcp::ReportBlock;
use crate::sdp::Section;
use crate::srtp::ReplayWindow;
use crate::voice::{Gate, Voice};

/// Simulcast Encodings of one Publication (docs/threats.md, row 20).
pub(crate) const ENCODINGS_MAX: usize = 8;
/// Packets that came redundantly and may come late themselves.
const RECOVERED_MAX: usize = 8;
/// Missing packets remembered per Encoding; more at once are a break, not a loss.
const MISSING_MAX: usize = 256;
/// How often one packet is asked for.
const NACKS_PER_PACKET_MAX: u8 = 8;
/// Reordering is not loss: a gap must be this old before it is asked for.
const NACK_AFTER_US: u64 = 10_000;
/// Between two requests for the same packet: a quarter more than the first answer takes lately, and so
/// much; while that is not known, the last.
const NACK_SPARE_US: u64 = 10_000;
const NACK_AGAIN_US: (u64, u64) = (30_000, 500_000);
const NACK_AGAIN_UNKNOWN_US: u64 = 100_000;
/// A gap older than this is given up.
const NACK_GIVE_UP_US: u64 = 1_000_000;
/// Between two keyframe requests for one Encoding (libwebrtc sends no more often either).
pub(crate) const KEYFRAME_REQUEST_US: u64 = 500_000;

/// One m-section of a publisher.
pub(crate) struct Publication {
    /// What was negotiated for it: formats and extensions of the answer, the rest of the offer.
    pub section: Section,
    /// Audio or video.
    pub kind: MediaKind,
    /// The Encodings, by index in `section.rids` or just one.
    pub encodings: Vec<Encoding>,
    /// The codec last announced.
    pub announced: Option<Codec>,
    /// When that was, in microseconds since our epoch.
    pub announced_at_us: u64,
    /// Who has it beyond this shard's viewers: [`crate::id::ReaderId`]s, as bits.
    pub readers: u32,
    /// By shard, what its viewers ask.
    pub demands: [Demand; SHARDS_MAX],
    /// Which Encodings are known to be wanted.
    pub wanted: Wanted,
    /// Of sound: whether somebody speaks.
    pub voice: Voice,
    /// Of sound: whether it goes to viewers.
    pub gate: Gate,
}

/// One RTP stream of a Publication.
#[derive(Debug, Default)]
pub(crate) struct Encoding {
    /// The SSRC that is bound to it.
    pub ssrc: Option<u32>,
    /// The SSRC of its RTX stream.
    pub rtx_ssrc: Option<u32>,
    /// Its clock rate in Hz, once known.
    pub clock_hz: u32,
    /// Arrival of the last packet.
    pub last_at_us: u64,
    /// Whether a viewer needs a keyframe.
    pub is_keyframe_wanted: bool,
    keyframe_requested_at_us: Option<u64>,
    /// Added to SRTP indices, so that a new SSRC never uses a number of the one before. A
    /// multiple of 2^16.
    pub seq_base: u64,
    receive: ReceiveStats,
    /// What has been passed on, whether it came by itself, by RTX, or redundantly.
    accepted: ReplayWindow,
    /// Of these the last that came redundantly, in a ring: they may only have been overtaken.
    recovered: [u64; RECOVERED_MAX],
    recovered_at: usize,
    missing: Vec<Missing>,
    /// From a request to the packet asked for, smoothed; 0 while no request was answered.
    repair_us: u64,
    sender_report: Option<(u64, u64)>,
    /// Its timeline, while there is no report.
    pub arrivals: ArrivalClock,
    /// The SSRC that was bound before, and when it lost its place.
    retired: Option<(u32, u64)>,
    /// Payload octets received, and as many as [`Self::take_rate`] has told of, and when.
    octets: u64,
    told: (u64, u64),
    /// Of the last report: loss in 256ths, jitter in microseconds.
    quality: (u8, u32),
    /// What its dependency descriptors have said.
    pub dependencies: Dependencies,
}

#[derive(Debug, Default)]
struct ReceiveStats {
    first: Option<u64>,
    highest: u64,
    /// The timestamp of that.
    highest_rtp_time: u32,
    received: u64,
    jitter_16: i64,
    transit: Option<i64>,
    expected_prior: u64,
    received_prior: u64,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    seq: u64,
    since_us: u64,
    asked_at_us: Option<u64>,
    asked: u8,
}

impl Publication {
    /// A Publication for a negotiated section.
    pub(crate) fn new(section: Section, kind: MediaKind) -> Self {
        let count = section.rids.len().clamp(1, ENCODINGS_MAX);
        let mut encodings: Vec<Encoding> = Vec::new();
        encodings.resize_with(count, Encoding::default);
        let mut publication = Self {
            section,
            kind,
            encodings,
            announced: None,
            announced_at_us: 0,
            readers: 0,
            demands: [Demand::default(); SHARDS_MAX],
            wanted: Wanted::default(),
            voice: Voice::default(),
            gate: Gate::default(),
        };
        publication.bind_signalled();
        publication
    }

    /// Adopts a renegotiated section, keeping what is bound.
    pub(crate) fn renegotiate(&mut self, section: Section) {
        let count = section.rids.len().clamp(1, ENCODINGS_MAX).max(self.encodings.len());
        self.encodings.resize_with(count, Encoding::default);
        self.section = section;
        self.bind_signalled();
    }

    fn bind_signalled(&mut self) {
        if !self.section.rids.is_empty() {
            return;
        }
        // Without rids the first SSRC is the media, whatever else is listed.
        let media = self
            .section
            .fid
            .first()
            .map(|(media, _)| *media)
            .or_else(|| self.section.ssrcs.first().copied());
        let rtx = media.and_then(|ssrc| {
            self.section.fid.iter().find(|(media, _)| *media == ssrc).map(|(_, rtx)| *rtx)
        });
        if let Some(encoding) = self.encodings.first_mut()
            && let Some(media) = media
        {
            if encoding.ssrc != Some(media) {
                encoding.rebind(media);
            }
            encoding.rtx_ssrc = rtx;
        }
    }

    /// A viewer, here or elsewhere, needs a keyframe of this Encoding.
    pub(crate) fn want_keyframe(&mut self, encoding: u8) {
        if let Some(encoding) = self.encodings.get_mut(usize::from(encoding)) {
            encoding.is_keyframe_wanted = true;
        }
    }

    /// Whether the publisher can be asked for keyframes.
    pub(crate) fn takes_keyframe_requests(&self) -> bool {
        self.section.formats.iter().any(|format| format.has_pli)
    }
}

impl Encoding {
    /// Forgets everything that belongs to another SSRC and binds this one.
    pub(crate) fn rebind(&mut self, ssrc: u32) {
        let retired = self.ssrc.filter(|old| *old != ssrc).map(|old| (old, self.last_at_us));
        let seq_base = match self.highest() {
            Some(highest) => ((highest >> 16) + 2) << 16,
            None => self.seq_base,
        };
        *self = Self {
            ssrc: Some(ssrc),
            seq_base,
            retired: retired.or(self.retired),
            rtx_ssrc: self.rtx_ssrc,
            is_keyframe_wanted: self.is_keyframe_wanted,
            keyframe_requested_at_us: self.keyframe_requested_at_us,
            octets: self.octets,
            told: self.told,
            ..Self::default()
        };
    }

    /// Whether an SSRC has had its place until just before: what still comes of it is late.
    pub(crate) fn is_retired(&self, ssrc: u32, at_us: u64, for_us: u64) -> bool {
        self.retired
            .is_some_and(|(old, last_us)| old == ssrc && at_us.saturating_sub(last_us) < for_us)
    }

    /// Whether this sequence number is seen for the first time. A packet and its retransmission
    /// must not both go out: they would share a number, and with it a nonce.
    pub(crate) fn accept_once(&mut self, seq: u64) -> bool {
        let is_new = self.accepted.is_new(seq);
        if is_new {
            self.accepted.record(seq);
        }
        is_new
    }

    /// The number of a packet that has been lost and comes redundantly in the one with this number and
    /// timestamp: `back` packets before it, as it seems, and `distance` units of the clock. RFC 2198 gives the time
    /// only: if the packets since the last one that came were not all as long as each other, nobody knows.
    pub(crate) fn lost_before(
        &self,
        (seq, rtp_time): (u64, u32),
        back: u64,
        distance: u32,
    ) -> Option<u64> {
        let highest = self.highest()?;
        let lost = seq.checked_sub(back).filter(|lost| *lost > highest)?;
        let passed = rtp_time.wrapping_sub(self.receive.highest_rtp_time);
        let is_even = u64::from(distance) * (seq - highest) == back * u64::from(passed);
        (is_even && self.accepted.is_new(lost)).then_some(lost)
    }

    /// A packet has come redundantly.
    pub(crate) fn note_recovered(&mut self, seq: u64) {
        if let Some(oldest) = self.recovered.get_mut(self.recovered_at % RECOVERED_MAX) {
            *oldest = seq;
        }
        self.recovered_at = self.recovered_at.wrapping_add(1);
    }

    /// Whether a packet had come redundantly before it came itself; once.
    pub(crate) fn was_recovered(&mut self, seq: u64) -> bool {
        let found = self.recovered.iter_mut().find(|known| **known == seq && seq > 0);
        found.is_some_and(|known| std::mem::take(known) == seq)
    }

    /// Whether any packet has come.
    pub(crate) fn has_received(&self) -> bool {
        self.receive.first.is_some()
    }

    /// Counts payload octets.
    pub(crate) fn count_octets(&mut self, octets: usize) {
        self.octets += octets as u64;
    }

    /// Bits per second since the last call; `None` if nothing has come yet.
    pub(crate) fn take_rate(&mut self, now_us: u64) -> Option<u64> {
        let (octets, at_us) = std::mem::replace(&mut self.told, (self.octets, now_us));
        let passed_us = now_us.saturating_sub(at_us).max(1);
        self.has_received().then(|| (self.octets - octets) * 8_000_000 / passed_us)
    }

    /// Of the last report: the share of packets lost, in 256ths, and the jitter in microseconds.
    pub(crate) fn quality(&self) -> (u8, u32) {
        self.quality
    }

    /// Whether the publisher has sent a report about it.
    pub(crate) fn has_sender_report(&self) -> bool {
        self.sender_report.is_some()
    }

    /// Accounts for a packet. `is_repair`: it came by RTX, which says nothing about jitter.
    pub(crate) fn receive(
        &mut self,
        seq: u64,
        rtp_time: u32,
        at_us: u64,
        is_repair: bool,
        nacks: bool,
    ) {
        self.last_at_us = at_us;
        let stats = &mut self.receive;
        stats.received += 1;
        let Some(_) = stats.first else {
            stats.first = Some(seq);
            (stats.highest, stats.highest_rtp_time) = (seq, rtp_time);
            return;
        };
        if seq <= stats.highest {
            if let Some(at) = self.missing.iter().position(|missing| missing.seq == seq) {
                let found = self.missing.remove(at);
                self.note_repair(found, at_us);
            }
            return;
        }
        let gap = stats.highest + 1..seq;
        (stats.highest, stats.highest_rtp_time) = (seq, rtp_time);
        if nacks {
            if gap.end - gap.start > MISSING_MAX as u64 {
                self.missing.clear();
            } else {
                let excess = (self.missing.len() + (gap.end - gap.start) as usize)
                    .saturating_sub(MISSING_MAX);
                self.missing.drain(..excess.min(self.missing.len()));
                // What has come redundantly is not asked for.
                let lost = gap.filter(|seq| self.accepted.is_new(*seq));
                self.missing.extend(lost.map(|seq| Missing {
                    seq,
                    since_us: at_us,
                    asked_at_us: None,
                    asked: 0,
                }));
            }
        }
        if !is_repair {
            self.update_jitter(rtp_time, at_us);
        }
    }

    /// Learns how long a request takes. Of what was asked for twice nobody knows which one it answers.
    fn note_repair(&mut self, found: Missing, at_us: u64) {
        if let (1, Some(asked_at_us)) = (found.asked, found.asked_at_us) {
            let took_us = at_us.saturating_sub(asked_at_us).min(NACK_GIVE_UP_US);
            self.repair_us = match self.repair_us {
                0 => took_us,
                known_us => (7 * known_us + took_us) / 8,
            };
        }
    }

    fn again_us(&self) -> u64 {
        match self.repair_us {
            0 => NACK_AGAIN_UNKNOWN_US,
            us => (us * 5 / 4 + NACK_SPARE_US).clamp(NACK_AGAIN_US.0, NACK_AGAIN_US.1),
        }
    }

    /// RFC 3550 appendix A.8, scaled by 16.
    fn update_jitter(&mut self, rtp_time: u32, at_us: u64) {
        let arrival = (at_us.wrapping_mul(u64::from(self.clock_hz)) / 1_000_000) as u32;
        let transit = i64::from(arrival.wrapping_sub(rtp_time) as i32);
        if let Some(before) = self.receive.transit.replace(transit) {
            let change = (transit - before).abs().min(1 << 24);
            self.receive.jitter_16 += change - ((self.receive.jitter_16 + 8) >> 4);
        }
    }

    /// The highest extended sequence number received.
    pub(crate) fn highest(&self) -> Option<u64> {
        self.receive.first.map(|_| self.receive.highest)
    }

    /// Extends a sequence number carried by RTX to the nearest one of this Encoding.
    pub(crate) fn extend(&self, seq_no: u16) -> Option<u64> {
        let highest = self.highest()?;
        let ahead = crate::rtp::seq_diff(seq_no, highest as u16);
        highest.checked_add_signed(i64::from(ahead))
    }

    /// Records the publisher's sender report.
    pub(crate) fn sender_report(&mut self, ntp_time: u64, at_us: u64) {
        self.sender_report = Some((ntp_time, at_us));
    }

    /// The block of the next receiver report; `None` if nothing was received.
    pub(crate) fn report(&mut self, now_us: u64) -> Option<ReportBlock> {
        let (ssrc, first) = (self.ssrc?, self.receive.first?);
        let stats = &mut self.receive;
        // RFC 3550 appendix A.3.
        let expected = stats.highest - first + 1;
        let expected_interval = expected - stats.expected_prior;
        let received_interval = stats.received - stats.received_prior;
        stats.expected_prior = expected;
        stats.received_prior = stats.received;
        let lost = expected_interval.saturating_sub(received_interval);
        let fraction = (lost * 256).checked_div(expected_interval).unwrap_or(0).min(255);
        let (last_sr, delay) = match self.sender_report {
            Some((ntp_time, at_us)) => {
                let passed = now_us.saturating_sub(at_us).min(60_000_000);
                ((ntp_time >> 16) as u32, (passed * 65_536 / 1_000_000) as u32)
            }
            None => (0, 0),
        };
        let jitter = (stats.jitter_16 >> 4) as u32;
        let jitter_us = u64::from(jitter) * 1_000_000 / u64::from(self.clock_hz.max(1));
        self.quality = (fraction as u8, u32::try_from(jitter_us).unwrap_or(u32::MAX));
        Some(ReportBlock {
            ssrc,
            fraction_lost: fraction as u8,
            packets_lost: (expected as i64 - stats.received as i64).clamp(-0x80_0000, 0x7f_ffff)
                as i32,
            highest_seq: (stats.highest - self.seq_base) as u32,
            jitter,
            last_sr,
            delay_since_sr: delay,
        })
    }

    /// Whether any packet is missing.
    pub(crate) fn has_gaps(&self) -> bool {
        !self.missing.is_empty()
    }

    /// The NACK items that are due: `(seq_no, bitmask)`, as many as fit `out`.
    pub(crate) fn nacks(&mut self, now_us: u64, out: &mut [(u16, u16)]) -> usize {
        self.missing.retain(|missing| {
            missing.asked < NACKS_PER_PACKET_MAX
                && now_us.saturating_sub(missing.since_us) < NACK_GIVE_UP_US
        });
        let again_us = self.again_us();
        let mut used = 0;
        let mut item_seq = None;
        for missing in &mut self.missing {
            let is_due = match missing.asked_at_us {
                None => now_us.saturating_sub(missing.since_us) >= NACK_AFTER_US,
                Some(asked_at_us) => now_us.saturating_sub(asked_at_us) >= again_us,
            };
            if !is_due {
                continue;
            }
            match item_seq {
                Some(first) if missing.seq - first <= 16 => {
                    out[used - 1].1 |= 1u16 << (missing.seq - first - 1);
                }
                _ if used == out.len() => break,
                _ => {
                    out[used] = (missing.seq as u16, 0);
                    used += 1;
                    item_seq = Some(missing.seq);
                }
            }
            missing.asked += 1;
            missing.asked_at_us = Some(now_us);
        }
        used
    }

    /// Whether to send a keyframe request now: one is wanted and the last is long enough ago.
    pub(crate) fn take_keyframe_request(&mut self, now_us: u64) -> bool {
        let is_due = self.is_keyframe_wanted
            && self
                .keyframe_requested_at_us
                .is_none_or(|at_us| now_us.saturating_sub(at_us) >= KEYFRAME_REQUEST_US);
        if is_due {
            // Wanted until one arrives; asked again if it is lost.
            self.keyframe_requested_at_us = Some(now_us);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding() -> Encoding {
        Encoding { ssrc: Some(1), clock_hz: 90_000, ..Encoding::default() }
    }

    #[test]
    fn what_comes_redundantly_has_the_number_that_its_time_says_and_may_come_late_itself() {
        let mut encoding = Encoding::default();
        assert_eq!(encoding.lost_before((5, 4800), 1, 960), None, "nothing has come");
        encoding.accept_once(10);
        encoding.receive(10, 9_600, 1, false, false);
        let lost = |encoding: &Encoding, back, distance| {
            encoding.lost_before((12, 11_520), back, distance)
        };
        assert_eq!(lost(&encoding, 1, 960), Some(11));
        assert_eq!(lost(&encoding, 1, 1_920), None, "it is of the one before");
        assert_eq!(lost(&encoding, 2, 1_920), None, "that has come");
        assert_eq!(encoding.lost_before((12, 11_000), 1, 960), None, "an odd one is between them");
        assert!(encoding.accept_once(11));
        encoding.note_recovered(11);
        assert_eq!(lost(&encoding, 1, 960), None);
        assert!(!encoding.accept_once(11) && encoding.was_recovered(11), "it was overtaken");
        assert!(!encoding.was_recovered(11) && !encoding.was_recovered(10));
    }

    #[test]
    fn a_gap_is_asked_for_after_a_while_again_later_and_not_for_ever() {
        let mut encoding = encoding();
        let mut out = [(0, 0); 8];
        for seq in [10, 11, 14, 40] {
            encoding.receive(seq, 0, 1_000_000, false, true);
        }
        assert_eq!(encoding.nacks(1_000_000, &mut out), 0, "may be reordering");
        let used = encoding.nacks(1_020_000, &mut out);
        assert_eq!(out[..used], [(12, 0b1111_1111_1111_1101), (29, 0b11_1111_1111)]);
        assert_eq!(encoding.nacks(1_030_000, &mut out), 0);
        encoding.receive(12, 0, 1_040_000, true, true);
        let used = encoding.nacks(1_110_000, &mut out);
        assert_eq!(out[..used].first(), Some(&(13, 0b1111_1111_1111_1110)));
        assert_eq!(encoding.nacks(9_000_000, &mut out), 0);
        assert!(!encoding.has_gaps());
    }

    #[test]
    fn requests_are_as_far_apart_as_their_answers_take() {
        let mut encoding = encoding();
        let mut out = [(0, 0); 8];
        let mut round = 0;
        // One packet of three is lost, and comes so long after it was asked for, or only when it is
        // asked for again: after how many milliseconds?
        let mut lose = |encoding: &mut Encoding, answer_us: Option<u64>| {
            round += 1;
            let (seq, at_us) = (3 * round, round * 1_000_000);
            encoding.receive(seq, 0, at_us, false, true);
            encoding.receive(seq + 2, 0, at_us, false, true);
            let asked_us = at_us + NACK_AFTER_US;
            assert_eq!(encoding.nacks(asked_us, &mut out), 1);
            let mut again =
                (1..900).filter(|ms| encoding.nacks(asked_us + ms * 1000, &mut out) > 0);
            let again_ms = if answer_us.is_none() { again.next().unwrap_or(0) } else { 0 };
            encoding.receive(seq + 1, 0, asked_us + answer_us.unwrap_or(900_000), true, true);
            again_ms
        };
        assert_eq!(lose(&mut encoding, None), 100, "nothing is known");
        lose(&mut encoding, Some(200_000));
        assert_eq!(lose(&mut encoding, None), 260);
        (0..40).for_each(|_| {
            lose(&mut encoding, Some(8_000));
        });
        assert_eq!(lose(&mut encoding, None), 30);
    }

    #[test]
    fn a_jump_is_no_loss() {
        let mut encoding = encoding();
        encoding.receive(1, 0, 0, false, true);
        encoding.receive(30_000, 0, 0, false, true);
        assert!(!encoding.has_gaps());
    }

    #[test]
    fn reports_count_loss_per_interval() {
        let mut encoding = encoding();
        for seq in (100..200).filter(|seq| seq % 4 != 1) {
            encoding.receive(seq, seq as u32 * 90, seq * 1000, false, true);
        }
        let report = encoding.report(0).expect("something was received");
        assert_eq!((report.fraction_lost, report.packets_lost), (64, 25));
        assert_eq!(report.highest_seq, 199);
        assert_eq!(report.jitter, 0);
        encoding.receive(200, 0, 200_000, false, true);
        assert_eq!(encoding.report(0).map(|report| report.fraction_lost), Some(0));
    }

    #[test]
    fn keyframe_requests_keep_their_distance() {
        let mut encoding = encoding();
        assert!(!encoding.take_keyframe_request(0));
        encoding.is_keyframe_wanted = true;
        let sent = (0..2000).filter(|ms| encoding.take_keyframe_request(ms * 1000)).count();
        assert_eq!(sent, 4);
    }
}
