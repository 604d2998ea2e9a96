//! The congestion control of a flow, ours or another one to compare with.

use dataplane::bench::{Controller, Estimated};

/// A time at a higher rate, to find out whether the path takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Marks its packets; not 0.
    pub id: u8,
    /// All that is sent meanwhile, together.
    pub rate_bps: u64,
}

/// What decides how much a flow sends. Times are microseconds of the virtual clock.
pub trait Control {
    /// A packet leaves; `probe` is the id of the probe that it belongs to, or 0. Returns its
    /// transport-wide number.
    fn sent(&mut self, bytes: u32, probe: u8, now_us: u64) -> u16;

    /// Takes the body of a transport-wide feedback message.
    fn take_feedback(&mut self, body: &[u8], now_us: u64);

    /// What may be sent, in bits per second.
    fn rate_bps(&mut self, now_us: u64) -> u64;

    /// The probe that runs now, if any; `wanted_bps` would be of use.
    fn probe(&mut self, wanted_bps: u64, now_us: u64) -> Option<Probe>;
}

/// That of the server.
#[derive(Debug, Default)]
pub struct Ours {
    controller: Controller,
    flow: Estimated,
    results: Vec<dataplane::bench::PacketResult>,
}

impl Control for Ours {
    fn sent(&mut self, bytes: u32, probe: u8, now_us: u64) -> u16 {
        self.controller.begin(now_us);
        self.flow.history.record(now_us, bytes as usize, probe)
    }

    fn take_feedback(&mut self, body: &[u8], now_us: u64) {
        self.results.clear();
        if !self.flow.history.take_feedback(body, &mut self.results) {
            return;
        }
        self.flow.delay.take(&self.results, |_| false);
        self.controller.take_results(self.flow.delay.usage(), &self.results, now_us);
    }

    fn rate_bps(&mut self, now_us: u64) -> u64 {
        let oldest_us = self.flow.history.oldest_us();
        self.controller.estimate_bps(oldest_us, now_us).unwrap_or(dataplane::bench::START_BPS)
    }

    fn probe(&mut self, wanted_bps: u64, now_us: u64) -> Option<Probe> {
        self.controller.begin_probe(wanted_bps, false, now_us);
        let cluster = self.controller.probe(now_us)?;
        Some(Probe { id: cluster.id, rate_bps: cluster.rate_bps })
    }
}
