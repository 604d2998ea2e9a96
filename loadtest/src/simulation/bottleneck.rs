//! One queue that all flows of a case share.

use std::collections::VecDeque;

/// What a flow has put into the queue.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Whose it is, as its owner counts.
    pub flow: usize,
    /// Its number, as its owner counts.
    pub number: u64,
    /// Its length with all headers, in octets.
    pub bytes: u32,
    /// When it came to the queue, in microseconds.
    pub sent_us: u64,
}

/// A drop-tail queue in front of a line, in virtual time.
#[derive(Debug)]
pub struct Bottleneck {
    capacity_bps: u64,
    queue_us: u64,
    waiting: VecDeque<Packet>,
    waiting_bytes: u64,
    free_us: u64,
    dropped: u64,
}

impl Bottleneck {
    /// A line of `capacity_bps`, before which packets wait for at most `queue_us`.
    pub fn new(capacity_bps: u64, queue_us: u64) -> Self {
        let waiting = VecDeque::new();
        Self { capacity_bps, queue_us, waiting, waiting_bytes: 0, free_us: 0, dropped: 0 }
    }

    /// The line gets faster or slower.
    pub fn set_capacity(&mut self, capacity_bps: u64) {
        self.capacity_bps = capacity_bps;
    }

    /// What the line takes, in bits per second.
    pub fn capacity_bps(&self) -> u64 {
        self.capacity_bps
    }

    /// Packets that found the queue full.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes a packet, or drops it.
    pub fn push(&mut self, packet: Packet) {
        if self.waiting_bytes * 8_000_000 / self.capacity_bps > self.queue_us {
            self.dropped += 1;
            return;
        }
        self.waiting_bytes += u64::from(packet.bytes);
        self.waiting.push_back(packet);
    }

    /// The next packet that has left the line by `now_us`, and when it did.
    pub fn pop(&mut self, now_us: u64) -> Option<(Packet, u64)> {
        let packet = *self.waiting.front()?;
        let takes_us = u64::from(packet.bytes) * 8_000_000 / self.capacity_bps;
        let left_us = self.free_us.max(packet.sent_us) + takes_us;
        if left_us > now_us {
            return None;
        }
        self.waiting.pop_front();
        self.waiting_bytes -= u64::from(packet.bytes);
        self.free_us = left_us;
        Some((packet, left_us))
    }
}
