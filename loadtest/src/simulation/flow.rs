//! One flow of media: an encoder that follows the congestion control, a pacer, and a receiver that
//! sends feedback as a browser does.

use std::collections::VecDeque;

use dataplane::bench::ArrivalLog;

use super::{Control, Packet};
use crate::netem::{Impairment, Link};

/// What the encoder can do, in bits per second (RFC 8867 s4.3 has the same range).
pub(super) const MEDIA_MIN_BPS: u64 = 150_000;
pub(super) const MEDIA_MAX_BPS: u64 = 1_500_000;
/// Between two pictures.
const FRAME_US: u64 = 33_333;
const PACKET_BYTES: u64 = 1_200;
/// Pictures leave at this many halves of the estimate.
const PACE_HALVES: u64 = 5;
/// Feedback of a packet or so, with headers.
const FEEDBACK_BYTES: u32 = 120;

/// See the module's documentation.
pub struct Flow {
    control: Box<dyn Control>,
    log: ArrivalLog,
    fed_us: u64,
    next_frame_us: u64,
    /// Octets that wait for the pacer.
    unsent_bytes: u64,
    /// What the pacer, and a probe, may send now, in bits.
    budget_bits: u64,
    probe_bits: u64,
    /// What the bottleneck has taken or dropped: its number, and the transport-wide one.
    sent: VecDeque<(u64, u16)>,
    /// What is on its way from the bottleneck to the receiver.
    under_way: Link<(u16, u32)>,
    received_bytes: u64,
    next_number: u64,
    /// Feedback under way.
    feedback: Link<Vec<u8>>,
    feedback_number: u64,
    /// Feedback that goes through a queue: by its number.
    queued_feedback: VecDeque<(u64, Vec<u8>)>,
}

impl Flow {
    /// A flow at rest; `path` is what there is beside the queue, each way.
    pub fn new(control: Box<dyn Control>, path: Impairment, seed: u64) -> Self {
        Self {
            control,
            log: ArrivalLog::default(),
            fed_us: 0,
            next_frame_us: 0,
            unsent_bytes: 0,
            budget_bits: 0,
            probe_bits: 0,
            sent: VecDeque::new(),
            under_way: Link::new(path, seed),
            received_bytes: 0,
            next_number: 0,
            feedback: Link::new(path, seed + 1),
            feedback_number: 0,
            queued_feedback: VecDeque::new(),
        }
    }

    /// What the encoder makes now, in bits per second.
    pub fn media_bps(&mut self, now_us: u64) -> u64 {
        self.control.rate_bps(now_us).clamp(MEDIA_MIN_BPS, MEDIA_MAX_BPS)
    }

    /// Lets a step pass in which it sends; `push` takes the packets.
    pub fn send(&mut self, flow: usize, step_us: u64, now_us: u64, push: &mut impl FnMut(Packet)) {
        let estimate_bps = self.control.rate_bps(now_us);
        if now_us >= self.next_frame_us {
            self.next_frame_us = self.next_frame_us.max(now_us - step_us) + FRAME_US;
            self.unsent_bytes += self.media_bps(now_us) * FRAME_US / 8_000_000;
        }
        // A little more than there is: a probe that finds it all need not be repeated.
        let probe = self.control.probe(MEDIA_MAX_BPS * 11 / 10, now_us);
        let id = probe.map_or(0, |probe| probe.id);
        self.budget_bits += estimate_bps * PACE_HALVES / 2 * step_us / 1_000_000;
        while self.unsent_bytes > 0 && self.budget_bits >= 8 * PACKET_BYTES {
            let bytes = self.unsent_bytes.min(PACKET_BYTES);
            self.unsent_bytes -= bytes;
            self.budget_bits -= 8 * bytes;
            self.probe_bits = self.probe_bits.saturating_sub(8 * bytes);
            self.push(flow, bytes as u32, id, now_us, push);
        }
        if self.unsent_bytes == 0 {
            self.budget_bits = self.budget_bits.min(8 * PACKET_BYTES);
        }
        let Some(probe) = probe else {
            self.probe_bits = 0;
            return;
        };
        self.probe_bits += probe.rate_bps * step_us / 1_000_000;
        while self.probe_bits >= 8 * PACKET_BYTES {
            self.probe_bits -= 8 * PACKET_BYTES;
            self.push(flow, PACKET_BYTES as u32, id, now_us, push);
        }
    }

    fn push(
        &mut self,
        flow: usize,
        bytes: u32,
        probe: u8,
        now_us: u64,
        push: &mut impl FnMut(Packet),
    ) {
        let seq_no = self.control.sent(bytes, probe, now_us);
        self.sent.push_back((self.next_number, seq_no));
        push(Packet { flow, number: self.next_number, bytes, sent_us: now_us });
        self.next_number += 1;
    }

    /// A packet has left the bottleneck.
    pub fn arrives(&mut self, packet: Packet, left_us: u64) {
        // Queues keep the order, so what was sent before it has been dropped.
        while let Some((number, seq_no)) = self.sent.pop_front() {
            if number == packet.number {
                self.under_way.push((seq_no, packet.bytes), packet.bytes as usize, left_us);
                return;
            }
        }
    }

    /// Octets that have arrived.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Lets the receiver send feedback: through `back` if the way back has a queue.
    pub fn feed(&mut self, flow: usize, now_us: u64, mut back: Option<&mut dyn FnMut(Packet)>) {
        while let Some(at_us) = self.under_way.next_at_us()
            && let Some((seq_no, bytes)) = self.under_way.pop(now_us)
        {
            self.received_bytes += u64::from(bytes);
            self.log.record(seq_no, at_us, bytes as usize);
        }
        let passed_us = now_us.saturating_sub(self.fed_us);
        if passed_us < self.log.interval_us(passed_us) {
            return;
        }
        self.fed_us = now_us;
        let mut body = [0; 1024];
        while let Some(len) = self.log.write(&mut body) {
            let body = body[..len].to_vec();
            match &mut back {
                None => self.feedback.push(body, FEEDBACK_BYTES as usize, now_us),
                Some(back) => {
                    self.queued_feedback.push_back((self.feedback_number, body));
                    let (number, bytes) = (self.feedback_number, FEEDBACK_BYTES);
                    back(Packet { flow, number, bytes, sent_us: now_us });
                    self.feedback_number += 1;
                }
            }
        }
    }

    /// Feedback has left the queue of the way back.
    pub fn feedback_arrives(&mut self, packet: Packet, left_us: u64) {
        while let Some((number, body)) = self.queued_feedback.pop_front() {
            if number == packet.number {
                self.feedback.push(body, FEEDBACK_BYTES as usize, left_us);
                return;
            }
        }
    }

    /// Gives the congestion control the feedback that has come.
    pub fn learn(&mut self, now_us: u64) {
        while let Some(body) = self.feedback.pop(now_us) {
            self.control.take_feedback(&body, now_us);
        }
    }
}
