//! The send batch: packets are sealed straight into its slab and leave together.

use crate::path::{Path, StreamId};
use crate::stats::{Counters, DropReason};

/// Datagrams per batch: some dozen runs of equal packets to one viewer each.
pub const BATCH_MAX: usize = 128;
/// The largest datagram that leaves.
pub const DATAGRAM_BYTES_MAX: usize = 1600;

/// A batch that leaves so much later than its first datagram was said to has met a stall.
const STALL_US: u64 = 4_000;
/// Stalls that are remembered: feedback comes within a second or so.
const STALLS_MAX: usize = 32;

/// Where a datagram goes and where it lies in the slab.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing {
    /// The way to the peer, from the address that it spoke to.
    pub path: Path,
    /// Its place in the slab.
    pub start: usize,
    /// Its length.
    pub len: usize,
}

/// Takes batches to the network; the only thing that differs between a shard and its tests.
pub trait Wire {
    /// Sends the datagrams, in order. What cannot be sent is dropped and counted: a UDP sender
    /// that waits helps nobody. Returns how many were taken.
    fn send(&mut self, slab: &[u8], batch: &[Outgoing]) -> usize;

    /// Sends what goes over TCP, in order: what a connection does not take at once waits for it.
    /// Returns how many were taken.
    fn send_framed(&mut self, slab: &[u8], batch: &[Outgoing]) -> usize {
        let _ = (slab, batch);
        0
    }

    /// Whether what waits for a connection has waited so long that pictures are of no use there.
    fn is_late(&mut self, stream: StreamId) -> bool {
        let _ = stream;
        false
    }

    /// What the clock says: microseconds since the shards' epoch.
    fn now_us(&mut self) -> u64;
}

/// See the module's documentation.
pub struct Outbox {
    slab: Box<[u8]>,
    batch: Vec<Outgoing>,
    used: usize,
    /// Those that go over TCP.
    framed: Vec<Outgoing>,
    /// When what is being fanned out had arrived, and where in the batch its copies begin.
    fan_out: Option<(u64, usize)>,
    /// The same for those that wait in the batch: arrivals and numbers of copies.
    arrivals: Vec<(u64, u64)>,
    /// When the first datagram of the batch was said to leave, and when the last batch had left.
    first_us: Option<u64>,
    flushed_us: u64,
    stalls: Stalls,
    wire: Box<dyn Wire>,
}

/// What is said to have left between two instants left at the second, because the machine had other
/// things to do: how long it took says nothing about the path. The last few.
#[derive(Debug, Default)]
struct Stalls {
    spans_us: [(u64, u64); STALLS_MAX],
    next: usize,
}

impl Stalls {
    fn note(&mut self, from_us: u64, to_us: u64) {
        self.spans_us[self.next] = (from_us, to_us);
        self.next = (self.next + 1) % STALLS_MAX;
    }

    fn has(&self, at_us: u64) -> bool {
        self.spans_us.iter().any(|(from_us, to_us)| (*from_us..*to_us).contains(&at_us))
    }
}

impl Outbox {
    /// An empty batch in front of a wire.
    pub fn new(wire: Box<dyn Wire>) -> Self {
        Self {
            slab: vec![0; BATCH_MAX * DATAGRAM_BYTES_MAX].into_boxed_slice(),
            batch: Vec::with_capacity(BATCH_MAX),
            used: 0,
            framed: Vec::new(),
            fan_out: None,
            arrivals: Vec::with_capacity(BATCH_MAX),
            first_us: None,
            flushed_us: 0,
            stalls: Stalls::default(),
            wire,
        }
    }

    /// When what is put in next leaves: `now_us`, or later if a batch has left since then. Much is sent
    /// in one turn of the loop, and a path is judged by differences of a millisecond.
    pub fn leave_us(&mut self, now_us: u64, counters: &mut Counters) -> u64 {
        self.make_room(counters);
        let leave_us = now_us.max(self.flushed_us);
        self.first_us.get_or_insert(leave_us);
        leave_us
    }

    /// Whether what was to leave at an instant may have left much later.
    pub fn has_stalled(&self, at_us: u64) -> bool {
        self.stalls.has(at_us)
    }

    /// What is put in from here on are copies of packets that arrived at `since_us` (of several
    /// the oldest), until [`Self::end_fan_out`]: how long they take is measured.
    pub fn begin_fan_out(&mut self, since_us: u64) {
        self.fan_out = Some((since_us, self.batch.len()));
    }

    /// See [`Self::begin_fan_out`].
    pub fn end_fan_out(&mut self) {
        self.note_arrivals();
        self.fan_out = None;
    }

    fn note_arrivals(&mut self) {
        if let Some((since_us, first)) = &mut self.fan_out {
            let copies = self.batch.len() - *first;
            if copies > 0 {
                self.arrivals.push((*since_us, copies as u64));
            }
            *first = self.batch.len();
        }
    }

    /// Sends the batch if it is full.
    fn make_room(&mut self, counters: &mut Counters) {
        if self.batch.len() == BATCH_MAX
            || self.framed.len() == BATCH_MAX
            || self.used + DATAGRAM_BYTES_MAX > self.slab.len()
        {
            self.flush(counters);
        }
    }

    /// Room for one datagram, to be filled and then [`Self::commit`]ted.
    pub fn room(&mut self, counters: &mut Counters) -> &mut [u8] {
        self.make_room(counters);
        &mut self.slab[self.used..self.used + DATAGRAM_BYTES_MAX]
    }

    /// Takes the first `len` bytes of the last room as a datagram; 0 takes nothing.
    pub fn commit(&mut self, len: usize, path: &Path) {
        if len > 0 && len <= DATAGRAM_BYTES_MAX {
            let start = self.used;
            self.used += len;
            let list = if path.stream.is_none() { &mut self.batch } else { &mut self.framed };
            list.push(Outgoing { path: *path, start, len });
        }
    }

    /// Copies a whole datagram in.
    pub fn push(&mut self, datagram: &[u8], path: Path, counters: &mut Counters) {
        if let Some(room) = self.room(counters).get_mut(..datagram.len()) {
            room.copy_from_slice(datagram);
            self.commit(datagram.len(), &path);
        }
    }

    /// Whether a connection is so far behind that pictures are of no use there.
    pub fn is_late(&mut self, stream: StreamId) -> bool {
        self.wire.is_late(stream)
    }

    /// Sends what is there.
    pub fn flush(&mut self, counters: &mut Counters) {
        // Also of what was not put in after all.
        let first_us = self.first_us.take();
        if !self.framed.is_empty() {
            self.flush_framed(counters);
        }
        if !self.batch.is_empty() {
            self.flush_batch(first_us, counters);
        }
        self.used = 0;
    }

    fn flush_framed(&mut self, counters: &mut Counters) {
        let taken = self.wire.send_framed(&self.slab[..self.used], &self.framed);
        counters.frames_out += taken as u64;
        counters.frame_bytes_out += self.framed.iter().map(|out| out.len as u64).sum::<u64>();
        for _ in taken..self.framed.len() {
            counters.drop(DropReason::StreamFull);
        }
        self.framed.clear();
    }

    fn flush_batch(&mut self, first_us: Option<u64>, counters: &mut Counters) {
        self.note_arrivals();
        let taken = self.wire.send(&self.slab[..self.used], &self.batch);
        counters.datagrams_out += taken as u64;
        counters.bytes_out += self.batch.iter().map(|out| out.len as u64).sum::<u64>();
        for _ in taken..self.batch.len() {
            counters.drop(DropReason::SendFailed);
        }
        let now_us = self.wire.now_us();
        self.flushed_us = now_us;
        if let Some(first_us) = first_us.filter(|first_us| now_us > first_us + STALL_US) {
            self.stalls.note(first_us, now_us);
        }
        for (since_us, copies) in self.arrivals.drain(..) {
            counters.forward.add(now_us.saturating_sub(since_us), copies);
        }
        self.batch.clear();
        if let Some((_, first)) = &mut self.fan_out {
            *first = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes everything; each look at its clock finds it 10 us later.
    struct Clockwork(u64);

    impl Wire for Clockwork {
        fn send(&mut self, _: &[u8], batch: &[Outgoing]) -> usize {
            batch.len()
        }

        fn now_us(&mut self) -> u64 {
            self.0 += 10;
            self.0
        }
    }

    #[test]
    fn copies_are_timed_until_their_own_batch_leaves_and_nothing_else_is() {
        const COPIES: usize = BATCH_MAX + 30;
        let mut outbox = Outbox::new(Box::new(Clockwork(100)));
        let mut counters = Counters::new();
        let to = Path::udp(([192, 0, 2, 1], 5).into(), None);
        let mut push = |outbox: &mut Outbox, times: usize| {
            (0..times).for_each(|_| outbox.push(&[1; 9], to, &mut counters));
        };
        // Reports, then the copies of a packet that arrived at 100, then more reports.
        push(&mut outbox, 10);
        outbox.begin_fan_out(100);
        push(&mut outbox, COPIES);
        outbox.end_fan_out();
        push(&mut outbox, 5);
        outbox.flush(&mut counters);
        // The clock is read once per batch: at 110 for what fitted beside the reports.
        let (first, second) = (BATCH_MAX as u64 - 10, COPIES as u64 - (BATCH_MAX as u64 - 10));
        assert_eq!(counters.forward.count(), first + second);
        assert_eq!(counters.forward.sum_us(), first * 10 + second * 20);
        outbox.push(&[1; 9], to, &mut counters);
        outbox.flush(&mut counters);
        assert_eq!(counters.forward.count(), first + second);
    }

    #[test]
    fn what_leaves_late_is_known_to() {
        let mut outbox = Outbox::new(Box::new(Clockwork(100)));
        let mut counters = Counters::new();
        let to = Path::udp(([192, 0, 2, 1], 5).into(), None);
        let mut send = |outbox: &mut Outbox, now_us: u64| {
            let leave_us = outbox.leave_us(now_us, &mut counters);
            outbox.push(&[1; 9], to, &mut counters);
            outbox.flush(&mut counters);
            leave_us
        };
        assert_eq!(send(&mut outbox, 105), 105);
        assert_eq!(send(&mut outbox, 105), 110, "after the first batch, in the same turn");
        assert!(!outbox.has_stalled(105) && !outbox.has_stalled(110));
        outbox.wire = Box::new(Clockwork(50_000));
        assert_eq!(send(&mut outbox, 40_000), 40_000);
        assert!(outbox.has_stalled(40_000) && !outbox.has_stalled(39_999));
        assert_eq!(send(&mut outbox, 40_000), 50_010);
        assert!(!outbox.has_stalled(50_010));
    }

    #[test]
    fn what_went_over_a_connection_or_nowhere_is_no_stall_of_what_comes_later() {
        let mut outbox = Outbox::new(Box::new(Clockwork(100)));
        let mut counters = Counters::new();
        let to = Path::udp(([192, 0, 2, 1], 5).into(), None);
        outbox.leave_us(1_000, &mut counters);
        outbox.push(&[1; 9], Path { stream: Some(StreamId(1)), ..to }, &mut counters);
        outbox.flush(&mut counters);
        outbox.leave_us(2_000, &mut counters);
        outbox.flush(&mut counters);
        outbox.wire = Box::new(Clockwork(50_000));
        outbox.leave_us(50_000, &mut counters);
        outbox.push(&[1; 9], to, &mut counters);
        outbox.flush(&mut counters);
        assert!((0..60_000).all(|at_us| !outbox.has_stalled(at_us)));
    }

    #[test]
    fn two_packets_in_one_batch_have_times_of_their_own() {
        let mut outbox = Outbox::new(Box::new(Clockwork(1000)));
        let mut counters = Counters::new();
        let to = Path::udp(([192, 0, 2, 1], 5).into(), None);
        for (since_us, copies) in [(1000, 3), (400, 2), (900, 0)] {
            outbox.begin_fan_out(since_us);
            for _ in 0..copies {
                outbox.push(&[1; 9], to, &mut counters);
            }
            outbox.end_fan_out();
        }
        outbox.flush(&mut counters);
        assert_eq!((counters.forward.count(), counters.forward.sum_us()), (5, 3 * 10 + 2 * 610));
    }
}
