//! A case, run.

use std::time::Duration;

use super::{Bottleneck, Case, Control, Flow, Packet, Part, Tcp};
use crate::netem::Impairment;

const STEP_US: u64 = 1_000;
/// What is measured is added up over so long.
pub(super) const BIN_US: u64 = 100_000;
/// Short connections: so many octets, and so long a rest between two (RFC 8867 s4.4 has the same
/// means), both drawn anew for each.
const SHORT_BYTES: std::ops::Range<u64> = 30_000..1_000_000;
const REST_US: std::ops::Range<u64> = 2_000_000..18_000_000;

/// What came of a case.
#[derive(Debug, Default)]
pub struct Run {
    /// Of each flow and each tenth of a second: what its encoder made, in bits per second.
    pub media_bps: Vec<Vec<u64>>,
    /// The same: what arrived.
    pub received_bps: Vec<Vec<u64>>,
    /// How long each packet of media waited in the queue, in microseconds, sorted.
    pub queued_us: Vec<u64>,
    /// Packets of media that found it full.
    pub lost: u64,
    /// Packets of media in all.
    pub sent: u64,
}

/// Runs a case, each flow with a control that `make` makes. The same seed gives the same numbers.
pub fn run(case: &Case, seed: u64, make: &dyn Fn() -> Box<dyn Control>) -> Run {
    let mut world = World::new(case, seed, make);
    for now_us in (0..case.length_s * 1_000_000).step_by(STEP_US as usize) {
        world.step(now_us + STEP_US);
    }
    world.run.queued_us.sort_unstable();
    world.run
}

struct World<'a> {
    case: &'a Case,
    line: Bottleneck,
    back: Option<Bottleneck>,
    flows: Vec<Flow>,
    long: Vec<Tcp>,
    short: Vec<Tcp>,
    random: u64,
    run: Run,
    received: Vec<u64>,
}

impl<'a> World<'a> {
    fn new(case: &'a Case, seed: u64, make: &dyn Fn() -> Box<dyn Control>) -> Self {
        let queue_us = case.queue_ms * 1_000;
        let path = |part: &Part| Impairment {
            delay: Duration::from_millis(part.one_way_ms),
            ..case.rung.map_or_else(Impairment::default, |rung| rung.without_line())
        };
        let flows: Vec<Flow> =
            case.parts.iter().map(|part| Flow::new(make(), path(part), seed)).collect();
        let mut world = Self {
            case,
            line: Bottleneck::new(case.capacity_bps(0), queue_us),
            back: case.back_bps(0).map(|bps| Bottleneck::new(bps, queue_us)),
            long: (0..case.long_tcp).map(|_| Tcp::new(50_000, 0, None)).collect(),
            short: Vec::new(),
            random: seed,
            run: Run {
                media_bps: vec![Vec::new(); flows.len()],
                received_bps: vec![Vec::new(); flows.len()],
                ..Run::default()
            },
            received: vec![0; flows.len()],
            flows,
        };
        for _ in 0..case.short_tcp {
            let (rest_us, bytes) = (world.draw(REST_US), world.draw(SHORT_BYTES));
            world.short.push(Tcp::new(50_000, rest_us, Some(bytes)));
        }
        world
    }

    fn step(&mut self, now_us: u64) {
        self.line.set_capacity(self.case.capacity_bps(now_us));
        if let (Some(back), Some(bps)) = (&mut self.back, self.case.back_bps(now_us)) {
            back.set_capacity(bps);
        }
        for (at, (flow, part)) in self.flows.iter_mut().zip(&self.case.parts).enumerate() {
            flow.learn(now_us);
            if !part.is_on(now_us) {
                continue;
            }
            let line = match &mut self.back {
                Some(back) if part.is_backward => back,
                _ => &mut self.line,
            };
            let (dropped, run) = (line.dropped(), &mut self.run);
            flow.send(at, STEP_US, now_us, &mut |packet| {
                run.sent += 1;
                line.push(packet);
            });
            run.lost += line.dropped() - dropped;
        }
        self.send_tcp(now_us);
        self.deliver(now_us);
        for (at, (flow, part)) in self.flows.iter_mut().zip(&self.case.parts).enumerate() {
            let other = match &mut self.back {
                Some(_) if part.is_backward => Some(&mut self.line),
                other => other.as_mut(),
            };
            let marked = at + FEEDBACK;
            match other {
                Some(other) => flow.feed(marked, now_us, Some(&mut |packet| other.push(packet))),
                None => flow.feed(marked, now_us, None),
            }
        }
        if now_us.is_multiple_of(BIN_US) {
            self.measure(now_us);
        }
    }

    fn send_tcp(&mut self, now_us: u64) {
        for (at, tcp) in self.long.iter_mut().enumerate() {
            tcp.send(LONG + at, now_us, &mut |packet| self.line.push(packet));
        }
        for at in 0..self.short.len() {
            if self.short[at].is_done() {
                let (rest_us, bytes) = (self.draw(REST_US), self.draw(SHORT_BYTES));
                self.short[at] = self.short[at].next(now_us + rest_us, bytes);
            }
            self.short[at].send(SHORT + at, now_us, &mut |packet| self.line.push(packet));
        }
    }

    fn deliver(&mut self, now_us: u64) {
        while let Some((packet, left_us)) = self.line.pop(now_us) {
            self.arrives(packet, left_us);
        }
        while let Some((packet, left_us)) = self.back.as_mut().and_then(|back| back.pop(now_us)) {
            self.arrives(packet, left_us);
        }
    }

    fn arrives(&mut self, packet: Packet, left_us: u64) {
        match packet.flow {
            at if at < FEEDBACK => {
                self.run.queued_us.push(left_us - packet.sent_us);
                self.flows[at].arrives(packet, left_us);
            }
            at if at < LONG => self.flows[at - FEEDBACK].feedback_arrives(packet, left_us),
            at if at < SHORT => self.long[at - LONG].arrives(packet, left_us),
            at => self.short[at - SHORT].arrives(packet, left_us),
        }
    }

    fn measure(&mut self, now_us: u64) {
        for (at, flow) in self.flows.iter_mut().enumerate() {
            let is_on = self.case.parts[at].is_on(now_us);
            let media_bps = if is_on { flow.media_bps(now_us) } else { 0 };
            self.run.media_bps[at].push(media_bps);
            let bytes = flow.received_bytes();
            self.run.received_bps[at].push((bytes - self.received[at]) * 8_000_000 / BIN_US);
            self.received[at] = bytes;
        }
    }

    fn draw(&mut self, range: std::ops::Range<u64>) -> u64 {
        // Knuth's multiplier; the high bits are the good ones.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        range.start + (self.random >> 33) % (range.end - range.start)
    }
}

/// How packets in the queues are told apart: flows of media first, then their feedback, then TCP.
const FEEDBACK: usize = 100;
const LONG: usize = 200;
const SHORT: usize = 300;
