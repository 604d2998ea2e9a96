//! What a run is worth, beside what is asked of it.

use std::fmt::Write as _;

use super::flow::MEDIA_MAX_BPS;
use super::network::BIN_US;
use super::{Case, Run};

const BINS_PER_SECOND: usize = (1_000_000 / BIN_US) as usize;
/// After a rise and after a fall of what there is the use does not count for so long.
const RISE_BINS: usize = 5 * BINS_PER_SECOND;
const FALL_BINS: usize = BINS_PER_SECOND;
/// Near enough to what there is.
const NEAR: f64 = 0.1;
/// Fairness is judged when the last flow has been there for so long.
const SETTLE_BINS: usize = 10 * BINS_PER_SECOND;

/// The numbers of a run.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// What arrived, of what the line and the encoders can do.
    pub used: f64,
    /// The longest time until the flows make use of a rise, in seconds.
    pub rise_s: f64,
    /// The longest time until they heed a fall, in seconds.
    pub fall_s: f64,
    /// In milliseconds, 95 of 100 packets of media wait no longer.
    pub p95_queue_ms: f64,
    /// The share of media's packets that found the queue full.
    pub lost: f64,
    /// Jain's index of the flows while all are there.
    pub jain: f64,
    /// The least that one flow gets of its fair share.
    pub least: f64,
    /// All that arrived, in bits per second.
    pub received_bps: f64,
    /// The same as a share of the line.
    pub share: f64,
    /// After a pause, until the flow has its share again, in seconds.
    pub back_s: f64,
}

impl Judgement {
    /// Looks at what came of a case.
    pub fn of(case: &Case, run: &Run) -> Self {
        let bins = run.received_bps.first().map_or(0, Vec::len);
        let wanted: Vec<f64> = (0..bins).map(|bin| wanted_bps(case, bin)).collect();
        let sum = |of: &[Vec<u64>], bin: usize| -> f64 {
            of.iter().filter_map(|flow| flow.get(bin)).map(|bps| *bps as f64).sum()
        };
        let mut found = Self { jain: 1.0, least: 1.0, ..Self::default() };
        let mut is_counted = vec![true; bins];
        let mut last_bps = 0.0;
        for bin in 0..bins {
            if wanted[bin] == last_bps {
                continue;
            }
            let is_rise = wanted[bin] > last_bps;
            let until = (bin + 1..bins).find(|at| wanted[*at] != wanted[bin]).unwrap_or(bins);
            let is_near = |at: &usize| match is_rise {
                true => sum(&run.media_bps, *at) >= (1.0 - NEAR) * wanted[bin],
                false => sum(&run.media_bps, *at) <= (1.0 + NEAR) * wanted[bin],
            };
            let after = (bin..until).find(is_near).unwrap_or(until) - bin;
            let seconds = after as f64 / BINS_PER_SECOND as f64;
            let worst = if is_rise { &mut found.rise_s } else { &mut found.fall_s };
            *worst = worst.max(seconds);
            let length = if is_rise { RISE_BINS } else { FALL_BINS };
            is_counted[bin..(bin + length).min(bins)].fill(false);
            last_bps = wanted[bin];
        }
        let counted = || (0..bins).filter(|bin| is_counted[*bin]);
        let received: f64 = counted().map(|bin| sum(&run.received_bps, bin)).sum();
        found.used = received / counted().map(|bin| wanted[bin]).sum::<f64>().max(1.0);
        found.received_bps =
            (0..bins).map(|bin| sum(&run.received_bps, bin)).sum::<f64>() / bins.max(1) as f64;
        let line_bps: f64 =
            (0..bins).map(|bin| case.capacity_bps(bin as u64 * BIN_US) as f64).sum();
        found.share = found.received_bps * bins as f64 / line_bps.max(1.0);
        let at = (run.queued_us.len() * 95 / 100).min(run.queued_us.len().saturating_sub(1));
        found.p95_queue_ms = run.queued_us.get(at).map_or(0.0, |us| *us as f64 / 1_000.0);
        found.lost = run.lost as f64 / run.sent.max(1) as f64;
        found.shares(case, run, bins);
        found
    }

    fn shares(&mut self, case: &Case, run: &Run, bins: usize) {
        let is_on = |flow: usize, bin: usize| case.parts[flow].is_on((bin as u64 + 1) * BIN_US);
        let all_on = |bin: &usize| (0..case.parts.len()).all(|flow| is_on(flow, *bin));
        let since = (0..bins).find(all_on).unwrap_or(0) + SETTLE_BINS;
        let mut means = Vec::new();
        let mut shares = Vec::new();
        for (flow, received) in run.received_bps.iter().enumerate() {
            let bins: Vec<usize> = (since..bins).filter(all_on).collect();
            let mean = bins.iter().map(|bin| received[*bin] as f64).sum::<f64>();
            let fair = bins.iter().map(|bin| fair_bps(case, *bin)).sum::<f64>();
            means.push(mean);
            shares.push(mean / fair.max(1.0));
            if let Some((_, until_s)) = case.parts[flow].pause_s {
                let back = until_s as usize * BINS_PER_SECOND;
                let is_back = |bin: &usize| {
                    run.media_bps[flow][*bin] as f64 >= (1.0 - NEAR) * fair_bps(case, *bin)
                };
                let after = (back..received.len()).find(is_back).unwrap_or(received.len()) - back;
                self.back_s = self.back_s.max(after as f64 / BINS_PER_SECOND as f64);
            }
        }
        let (sum, squares) = means
            .iter()
            .fold((0.0, 0.0), |(sum, squares), mean| (sum + mean, squares + mean * mean));
        if squares > 0.0 {
            self.jain = sum * sum / (means.len() as f64 * squares);
        }
        self.least = shares.iter().copied().fold(f64::MAX, f64::min);
    }
}

/// What all flows of one direction, which the line is judged by, could get together.
fn wanted_bps(case: &Case, bin: usize) -> f64 {
    let now_us = (bin as u64 + 1) * BIN_US;
    let on = |is_backward| {
        case.parts
            .iter()
            .filter(|part| part.is_backward == is_backward && part.is_on(now_us))
            .count()
    };
    let forward = case.capacity_bps(now_us).min(on(false) as u64 * MEDIA_MAX_BPS);
    let back = case.back_bps(now_us).unwrap_or(0).min(on(true) as u64 * MEDIA_MAX_BPS);
    (forward + back) as f64
}

/// What each flow should get, among those that go the same way.
fn fair_bps(case: &Case, bin: usize) -> f64 {
    let now_us = (bin as u64 + 1) * BIN_US;
    let flows = case.parts.iter().filter(|part| !part.is_backward && part.is_on(now_us)).count();
    (case.capacity_bps(now_us) / flows.max(1) as u64).min(MEDIA_MAX_BPS) as f64
}

/// A table for people, in Markdown.
pub fn table(rows: &[(String, Judgement)]) -> String {
    let mut text =
        "| case | used | after a rise | after a fall | p95 of the queue | lost | Jain | \
                    least share | of the line |\n|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for (name, found) in rows {
        let Judgement { used, rise_s, fall_s, p95_queue_ms, lost, jain, least, .. } = found;
        let _ = writeln!(
            text,
            "| {name} | {:.0} % | {rise_s:.1} s | {fall_s:.1} s | {p95_queue_ms:.0} ms | {:.1} % | \
             {jain:.2} | {:.0} % | {:.0} % |",
            used * 100.0,
            lost * 100.0,
            least * 100.0,
            found.share * 100.0,
        );
    }
    text
}
