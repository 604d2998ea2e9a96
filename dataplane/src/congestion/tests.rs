//! The Controller over links in virtual time: a bottleneck with a drop-tail queue, random loss, and
//! feedback as a browser sends it.

use std::collections::VecDeque;

use super::*;
use crate::twcc::ArrivalLog;

/// One client behind a bottleneck, which sends as much as its estimate allows, up to `media_bps`.
struct Link {
    controller: Controller,
    flow: Flow,
    log: ArrivalLog,
    now_us: u64,
    capacity_bps: u64,
    queue_us: u64,
    one_way_us: u64,
    loss_percent: u64,
    media_bps: u64,
    /// When the bottleneck is free again.
    free_us: u64,
    arrivals: VecDeque<(u64, u16, usize)>,
    feedback: VecDeque<(u64, Vec<u8>)>,
    owed_bits: u64,
    probe_bits: u64,
    fed_us: u64,
    random: u64,
    delivered_bytes: u64,
    queued_us: Vec<u64>,
}

const PACKET_BYTES: usize = 1200;

impl Link {
    fn new(capacity_bps: u64) -> Self {
        let mut controller = Controller::default();
        controller.begin(1);
        Self {
            controller,
            flow: Flow::default(),
            log: ArrivalLog::default(),
            now_us: 1,
            capacity_bps,
            queue_us: 300_000,
            one_way_us: 50_000,
            loss_percent: 0,
            media_bps: 1_500_000,
            free_us: 0,
            arrivals: VecDeque::new(),
            feedback: VecDeque::new(),
            owed_bits: 0,
            probe_bits: 0,
            fed_us: 0,
            random: 9,
            delivered_bytes: 0,
            queued_us: Vec::new(),
        }
    }

    fn estimate(&self) -> u64 {
        let oldest_us = self.flow.history.oldest_us();
        self.controller.estimate_bps(oldest_us, self.now_us).expect("it is judged")
    }

    fn send(&mut self, probe: ProbeId) {
        let number = self.flow.history.record(self.now_us, PACKET_BYTES, probe);
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let is_lost = (self.random >> 33) % 100 < self.loss_percent;
        let wait_us = self.free_us.saturating_sub(self.now_us);
        self.queued_us.push(wait_us);
        if is_lost || wait_us > self.queue_us {
            return;
        }
        let start_us = self.free_us.max(self.now_us);
        self.free_us = start_us + PACKET_BYTES as u64 * 8_000_000 / self.capacity_bps;
        self.arrivals.push_back((self.free_us + self.one_way_us, number, PACKET_BYTES));
    }

    /// Lets `seconds` pass in steps of 5 ms.
    fn run(&mut self, seconds: f64) {
        let end_us = self.now_us + (seconds * 1e6) as u64;
        while self.now_us < end_us {
            self.now_us += 5_000;
            self.step();
        }
    }

    fn step(&mut self) {
        let rate_bps = self.estimate().min(self.media_bps);
        self.owed_bits += rate_bps / 200;
        let wanted_bps = self.media_bps * 11 / 10;
        self.controller.begin_probe(wanted_bps, false, self.now_us);
        let probe = self.controller.probe(self.now_us);
        if let Some(cluster) = probe {
            self.probe_bits += cluster.rate_bps.saturating_sub(rate_bps) / 200;
        }
        let id = probe.map_or(0, |cluster| cluster.id);
        while self.owed_bits >= 8 * PACKET_BYTES as u64 {
            self.owed_bits -= 8 * PACKET_BYTES as u64;
            self.send(id);
        }
        while self.probe_bits >= 8 * PACKET_BYTES as u64 {
            self.probe_bits -= 8 * PACKET_BYTES as u64;
            self.send(id);
        }
        while self.arrivals.front().is_some_and(|(at_us, ..)| *at_us <= self.now_us) {
            let (at_us, number, bytes) = self.arrivals.pop_front().expect("there is one");
            self.log.record(number, at_us, bytes);
            self.delivered_bytes += bytes as u64;
        }
        if self.now_us - self.fed_us >= 50_000 {
            self.fed_us = self.now_us;
            let mut body = [0; 1024];
            while let Some(len) = self.log.write(&mut body) {
                self.feedback.push_back((self.now_us + self.one_way_us, body[..len].to_vec()));
            }
        }
        while self.feedback.front().is_some_and(|(at_us, _)| *at_us <= self.now_us) {
            let (_, body) = self.feedback.pop_front().expect("there is one");
            let mut results = Vec::new();
            assert!(self.flow.history.take_feedback(&body, &mut results));
            self.flow.delay.take(&results, |_| false);
            self.controller.take_results(self.flow.delay.usage(), &results, self.now_us);
        }
    }

    /// Delivered bits per second over the next seconds.
    fn goodput(&mut self, seconds: f64) -> f64 {
        let before = self.delivered_bytes;
        self.run(seconds);
        (self.delivered_bytes - before) as f64 * 8.0 / seconds
    }

    fn p95_queue_us(&mut self) -> u64 {
        let mut queued = std::mem::take(&mut self.queued_us);
        queued.sort_unstable();
        queued.get(queued.len() * 95 / 100).copied().unwrap_or(0)
    }
}

/// RFC 8867 s5.1: one flow, the capacity changes.
#[test]
fn it_follows_a_capacity_that_changes() {
    let mut link = Link::new(1_000_000);
    link.run(20.0);
    let first = link.goodput(20.0);
    assert!(first > 800_000.0, "{first}");
    link.capacity_bps = 2_500_000;
    link.run(5.0);
    let risen = link.goodput(15.0);
    assert!(risen > 1_350_000.0, "{risen}");
    link.capacity_bps = 600_000;
    link.run(1.5);
    let estimate = link.estimate();
    assert!(estimate < 660_000, "{estimate}");
    link.run(2.0);
    link.queued_us.clear();
    let fallen = link.goodput(15.0);
    assert!(fallen > 480_000.0, "{fallen}");
    let queued = link.p95_queue_us();
    assert!(queued < 120_000, "{queued}");
    link.capacity_bps = 1_000_000;
    link.run(5.0);
    let back = link.goodput(15.0);
    assert!(back > 800_000.0, "{back}");
}

#[test]
fn a_wide_path_is_found_at_once() {
    let mut link = Link::new(20_000_000);
    link.media_bps = 6_000_000;
    link.run(3.0);
    assert!(link.estimate() > 5_000_000, "{}", link.estimate());
}

/// Loss of a radio is not congestion.
#[test]
fn random_loss_costs_little() {
    let mut link = Link::new(20_000_000);
    link.loss_percent = 2;
    link.run(10.0);
    let rate = link.goodput(20.0);
    assert!(rate > 1_300_000.0, "{rate}");
    link.loss_percent = 10;
    link.run(5.0);
    let rate = link.goodput(20.0);
    assert!(rate > 700_000.0, "{rate}");
}

/// A sender that sends little does not forget what it knows, nor think that it knows more.
#[test]
fn little_to_send_is_no_reason_for_a_change() {
    let mut link = Link::new(3_000_000);
    link.run(5.0);
    let known = link.estimate();
    link.media_bps = 200_000;
    link.run(60.0);
    let later = link.estimate();
    assert!(later >= known * 8 / 10, "{known} {later}");
    assert!(later < 6_000_000, "{later}");
}

#[test]
fn feedback_that_stops_halves_the_rate_and_does_not_end_it() {
    let mut link = Link::new(3_000_000);
    link.run(5.0);
    let known = link.estimate();
    link.one_way_us = 100_000_000;
    link.run(3.0);
    assert_eq!(link.estimate(), known / 2);
}

#[test]
fn a_client_that_tells_nothing_is_not_bounded() {
    let mut controller = Controller::default();
    assert_eq!(controller.estimate_bps(None, 1), None);
    controller.begin(1);
    assert_eq!(controller.estimate_bps(None, 2), Some(START_BPS));
    assert_eq!(controller.estimate_bps(Some(1), 10_000_000), None);
    controller.take_remb(700_000, 10_000_000);
    assert_eq!(controller.estimate_bps(Some(1), 11_000_000), Some(700_000));
    for second in 11..20 {
        controller.take_report(255, second * 1_000_000 + 1);
    }
    let estimate = controller.estimate_bps(Some(1), 20_000_000).expect("it has reported");
    assert!((RATE_MIN_BPS..600_000).contains(&estimate), "{estimate}");
}

/// Sound is said twice by this: not because a queue has overflowed.
#[test]
fn what_a_full_queue_loses_is_told_from_what_a_radio_loses() {
    let worst = |link: &mut Link, seconds: f64| {
        let (mut all, mut beyond) = (0.0_f64, 0.0_f64);
        let end_us = link.now_us + (seconds * 1e6) as u64;
        while link.now_us < end_us {
            link.run(0.05);
            all = all.max(link.controller.loss.loss());
            beyond = beyond.max(link.controller.loss_beyond_queue());
        }
        (all, beyond)
    };
    let mut link = Link::new(2_000_000);
    link.queue_us = 200_000;
    link.run(10.0);
    link.capacity_bps = 300_000;
    let (all, beyond) = worst(&mut link, 10.0);
    assert!(all > 0.05, "{all}");
    assert!(beyond < 0.01, "{beyond}");
    link.loss_percent = 5;
    let (_, beyond) = worst(&mut link, 10.0);
    assert!(beyond > 0.03, "{beyond}");
}
