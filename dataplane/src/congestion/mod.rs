//! Congestion control towards one client: how much its path takes, from what left when and what
//! the client says arrived when (draft-ietf-rmcat-gcc-02, and what WebRTC has made of it since).
//! Sans-IO: time is an argument. A [`Flow`] belongs to each viewing Transport, one [`Controller`]
//! to the client that all of them share a path to (the idea of RFC 8699).
//!
//! Order of calls: [`SendHistory::record`] for every packet that leaves; when feedback comes,
//! [`SendHistory::take_feedback`], [`DelayDetector::take`] and [`Controller::take_results`]; then
//! [`Controller::estimate_bps`] says what may be sent.

mod aimd;
mod delay;
mod history;
mod loss;
mod probe;
mod throughput;

pub(crate) use delay::{DelayDetector, Usage};
pub use history::SendHistory;
pub use probe::Cluster;

use aimd::Aimd;
use loss::LossDetector;
use probe::Prober;
use throughput::Throughput;

/// No path is so slow that it does not take audio.
pub(crate) const RATE_MIN_BPS: u64 = 50_000;
/// No client is sent more.
pub(crate) const RATE_MAX_BPS: u64 = 200_000_000;
/// Where an estimate begins: what a camera and a slide need, so that nobody on an ordinary path
/// begins with less; a path that takes less shows within a second.
pub const START_BPS: u64 = 2_000_000;
/// A client that has been sent packets for so long and told nothing will never tell.
const FEEDBACK_WITHIN_US: u64 = 3_000_000;
/// Feedback that has stopped for so long (and a round trip) means that little arrives.
const SILENCE_US: u64 = 1_500_000;
/// Overuse so often within [`STRAIN_US`] is more than a hiccup.
const STRAIN_TIMES: usize = 3;
const STRAIN_US: u64 = 4_000_000;
/// Decreases closer together count once.
const STRAIN_APART_US: u64 = 300_000;
/// Who loses a greater share is not probed, since more would be lost, too; and what a probe may lose itself to
/// say something.
const PROBE_LOSS_MAX: (f64, f64) = (0.1, 0.1);
/// The same where no picture flows, which nothing else would bring back.
const STARVED_LOSS_MAX: (f64, f64) = (0.25, 0.35);
/// What a path that is not to be disturbed may lose to be probed for more than is of use.
const CALM_LOSS_MAX: f64 = 0.02;
/// For so long after the delay has demanded less, what is lost may have been lost by a full queue: it
/// takes a moment until less is sent, and until the queue has gone.
const FULL_US: u64 = 1_000_000;
/// What would be of use is probed for with so much to spare, in percent: a probe measures a little less
/// than it sends.
pub(crate) const PROBE_PERCENT: u64 = 115;
/// REMB counts for so long.
const REMB_FOR_US: u64 = 30_000_000;

/// Marks the packets of a probe; 0 is none.
pub(crate) type ProbeId = u8;

/// What feedback tells of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketResult {
    /// When it left, in microseconds since our epoch.
    pub sent_us: u64,
    /// When it arrived, on the receiver's clock in microseconds; `None` if it did not.
    pub arrived_us: Option<i64>,
    /// As the network carries it.
    pub bytes: u32,
    /// The probe that it belongs to.
    pub probe: ProbeId,
}

/// What one viewing Transport brings to its client's Controller.
#[derive(Debug, Default)]
pub struct Flow {
    /// What left when.
    pub history: SendHistory,
    /// What that says of the queue.
    pub delay: DelayDetector,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Controller {
    aimd: Aimd,
    loss: LossDetector,
    throughput: Throughput,
    prober: Prober,
    rtt_us: u64,
    /// When the first packet left, and when feedback came last.
    begun_us: Option<u64>,
    feedback_us: Option<u64>,
    /// Decreases that count as strain, newest last.
    strains: [u64; STRAIN_TIMES],
    reports: ReportBased,
}

impl Default for Controller {
    fn default() -> Self {
        Self {
            aimd: Aimd::new(START_BPS),
            loss: LossDetector::default(),
            throughput: Throughput::default(),
            prober: Prober::default(),
            rtt_us: 100_000,
            begun_us: None,
            feedback_us: None,
            strains: [0; STRAIN_TIMES],
            reports: ReportBased::default(),
        }
    }
}

impl Controller {
    /// A Transport whose packets are numbered has begun to send.
    pub fn begin(&mut self, now_us: u64) {
        self.begun_us.get_or_insert(now_us);
    }

    /// Takes what transport-wide feedback told of one Transport's packets, in the order of sending,
    /// and what their delay says.
    pub fn take_results(&mut self, usage: Usage, results: &[PacketResult], now_us: u64) {
        let Some(newest) =
            results.iter().filter(|r| r.arrived_us.is_some()).map(|r| r.sent_us).max()
        else {
            // All of them lost: that counts, too.
            self.prober.note(results);
            let through = self.throughput.bits_per_second();
            self.loss.take(results, through, self.aimd.rate_bps(), self.is_full(now_us));
            return;
        };
        self.feedback_us = Some(now_us);
        let seen_us = now_us.saturating_sub(newest).clamp(1_000, 10_000_000);
        // Feedback waits at the receiver: the quickest tells best, and is slowly forgotten.
        self.rtt_us = (self.rtt_us + self.rtt_us / 64 + 100).min(seen_us.max(1_000));
        self.throughput.take(results);
        let through = self.throughput.bits_per_second();
        let measured = self.prober.take(results, self.rtt_us, now_us);
        if let Some(measured) = measured
            && measured > self.aimd.rate_bps()
            && usage != Usage::Over
        {
            self.aimd.set(measured, now_us);
            self.loss.set(measured);
        }
        let (before_us, before_bps) = (self.aimd.decreased_us(), self.aimd.rate_bps());
        // What a probe does to the queue is no reason to send less than before it; nor is a queue
        // that drains while little is sent.
        let is_probed = results.iter().any(|result| result.probe != 0);
        let sent_bps = self.throughput.sent_bits_per_second();
        let is_little = through.is_some_and(|through| sent_bps < through * 7 / 10);
        let usage = match usage {
            Usage::Over if is_probed || is_little => Usage::Under,
            usage => usage,
        };
        self.aimd.update(usage, through, self.rtt_us, now_us);
        if usage == Usage::Over {
            self.prober.overuse(now_us);
        }
        if let Some(at_us) = self.aimd.decreased_us().filter(|at_us| Some(*at_us) != before_us) {
            let [.., last] = self.strains;
            // What was lost meanwhile is explained by the queue.
            if self.aimd.rate_bps() < before_bps * 7 / 10 {
                self.loss.forgive();
            }
            if at_us.saturating_sub(last) >= STRAIN_APART_US {
                self.strains.rotate_left(1);
                self.strains[STRAIN_TIMES - 1] = at_us;
            }
        }
        self.loss.take(results, through, self.aimd.rate_bps(), self.is_full(now_us));
    }

    /// A connection over TCP takes less than it was given: nothing is lost there that would tell, and
    /// what waits on our side shows sooner than feedback does.
    pub fn fell_behind(&mut self, now_us: u64) {
        self.aimd.update(Usage::Over, self.throughput.bits_per_second(), self.rtt_us, now_us);
        self.prober.overuse(now_us);
    }

    /// Takes a receiver report's share of loss in 256ths, for clients that have nothing better.
    pub fn take_report(&mut self, loss_256: u8, now_us: u64) {
        self.reports.take(loss_256, now_us);
    }

    /// Takes what the client believes that its path takes.
    pub fn take_remb(&mut self, bits_per_second: u64, now_us: u64) {
        let bits_per_second = bits_per_second.clamp(RATE_MIN_BPS, RATE_MAX_BPS);
        self.reports.remb = Some((bits_per_second, now_us));
    }

    /// What may be sent to the client, in bits per second with IP and UDP; `None` if it tells
    /// nothing to judge by. `oldest_us`: when the oldest packet left of which nothing is heard.
    pub fn estimate_bps(&self, oldest_us: Option<u64>, now_us: u64) -> Option<u64> {
        let begun_us = self.begun_us?;
        let Some(feedback_us) = self.feedback_us else {
            let is_mute = now_us.saturating_sub(begun_us) > FEEDBACK_WITHIN_US;
            return if is_mute { self.reports.estimate_bps(now_us) } else { Some(START_BPS) };
        };
        let rate_bps = self.loss.rate_bps().unwrap_or(RATE_MAX_BPS).min(self.aimd.rate_bps());
        let silence_us = SILENCE_US + self.rtt_us;
        let is_silent = now_us.saturating_sub(feedback_us) > silence_us
            && oldest_us.is_some_and(|at_us| now_us.saturating_sub(at_us) > silence_us);
        Some(if is_silent { (rate_bps / 2).max(RATE_MIN_BPS) } else { rate_bps })
    }

    /// Whether the path has been overused again and again: what is sent is really too much, and
    /// it is not one hiccup.
    pub fn is_strained(&self, now_us: u64) -> bool {
        let [first, ..] = self.strains;
        first > 0 && now_us.saturating_sub(first) < STRAIN_US
    }

    /// The share of packets that the path loses whatever is sent: without those that were lost while a
    /// queue was too long, which more packets would lengthen.
    pub fn loss_beyond_queue(&self) -> f64 {
        self.loss.loss_beyond_queue()
    }

    /// When it was overused last, or else when the first packet left; `None` before that, or if it loses more
    /// than a few packets.
    pub fn calm_since_us(&self) -> Option<u64> {
        let begun_us = self.begun_us.filter(|_| self.loss.loss() <= CALM_LOSS_MAX)?;
        self.aimd.decreased_us().max(Some(begun_us))
    }

    /// Whether a queue may overflow, or did just now.
    fn is_full(&self, now_us: u64) -> bool {
        let decreased_us = self.aimd.decreased_us();
        decreased_us.is_some_and(|at_us| now_us.saturating_sub(at_us) < FULL_US + self.rtt_us)
    }

    /// Begins a probe if it is time for one: `wanted_bps` would be of use. Who `is_starved` lacks a picture
    /// altogether.
    pub fn begin_probe(
        &mut self,
        wanted_bps: u64,
        is_starved: bool,
        now_us: u64,
    ) -> Option<Cluster> {
        let estimate_bps = self.estimate_bps(None, now_us)?;
        let is_judged = self.feedback_us.is_some() || self.begun_us == Some(now_us);
        let (loss_max, lost_max) = if is_starved { STARVED_LOSS_MAX } else { PROBE_LOSS_MAX };
        if !is_judged || self.loss.loss() > loss_max {
            return None;
        }
        self.prober.begin((estimate_bps, wanted_bps), (lost_max, false), now_us)
    }

    /// The same for more than is of use: whatever it finds, a probe that is needed does not wait for its sake.
    pub fn begin_spare_probe(&mut self, wanted_bps: u64, now_us: u64) -> Option<Cluster> {
        let estimate_bps = self.estimate_bps(None, now_us)?;
        self.feedback_us?;
        self.prober.begin((estimate_bps, wanted_bps), (PROBE_LOSS_MAX.1, true), now_us)
    }

    /// The probe that runs, if any.
    pub fn probe(&self, now_us: u64) -> Option<Cluster> {
        self.prober.running(now_us)
    }
}

/// The estimate of clients without feedback on packets: losses of their receiver reports, as the
/// first loss-based controller took them (draft-ietf-rmcat-gcc-02 s6), and REMB.
#[derive(Debug, Default)]
struct ReportBased {
    rate_bps: Option<f64>,
    taken_us: u64,
    decreased_us: u64,
    remb: Option<(u64, u64)>,
}

impl ReportBased {
    /// Where it begins: a client that tells so little is a program on a good network, mostly.
    const START_BPS: f64 = 5_000_000.0;
    const INCREASE: f64 = 1.05;
    const LITTLE_256: u8 = 5;
    const MUCH_256: u8 = 26;
    const DECREASE_APART_US: u64 = 1_000_000;

    fn take(&mut self, loss_256: u8, now_us: u64) {
        let rate = self.rate_bps.get_or_insert(Self::START_BPS);
        let passed_us = now_us.saturating_sub(self.taken_us).min(1_000_000) as f64;
        self.taken_us = now_us;
        if loss_256 <= Self::LITTLE_256 {
            *rate *= Self::INCREASE.powf(passed_us / 1e6);
        } else if loss_256 > Self::MUCH_256
            && now_us.saturating_sub(self.decreased_us) > Self::DECREASE_APART_US
        {
            self.decreased_us = now_us;
            *rate *= 1.0 - f64::from(loss_256) / 512.0;
        }
        *rate = rate.clamp(RATE_MIN_BPS as f64, RATE_MAX_BPS as f64);
    }

    fn estimate_bps(&self, now_us: u64) -> Option<u64> {
        let remb = self.remb.filter(|(_, at_us)| now_us.saturating_sub(*at_us) < REMB_FOR_US);
        let reports = self.rate_bps.map(|bps| bps as u64);
        match (remb, reports) {
            (Some((remb, _)), Some(reports)) => Some(remb.min(reports)),
            (remb, reports) => remb.map(|(bps, _)| bps).or(reports),
        }
    }
}

#[cfg(test)]
mod tests;
