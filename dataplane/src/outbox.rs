//! The send batch: packets are sealed straight into its slab and leave together.

use std::net::{IpAddr, SocketAddr};

use crate::stats::Counters;

/// Datagrams per batch: some dozen runs of equal packets to one viewer each.
pub const BATCH_MAX: usize = 128;
/// The largest datagram that leaves.
pub const DATAGRAM_BYTES_MAX: usize = 1600;

/// Where a datagram goes and where it lies in the slab.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing {
    /// The peer.
    pub to: SocketAddr,
    /// The local address to send from, so that a peer hears from where it spoke to.
    pub from: Option<IpAddr>,
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
}

/// See the module's documentation.
pub struct Outbox {
    slab: Box<[u8]>,
    batch: Vec<Outgoing>,
    used: usize,
    wire: Box<dyn Wire>,
}

impl Outbox {
    /// An empty batch in front of a wire.
    pub fn new(wire: Box<dyn Wire>) -> Self {
        Self {
            slab: vec![0; BATCH_MAX * DATAGRAM_BYTES_MAX].into_boxed_slice(),
            batch: Vec::with_capacity(BATCH_MAX),
            used: 0,
            wire,
        }
    }

    /// Room for one datagram, to be filled and then [`Self::commit`]ted. Sends the batch first if
    /// it is full.
    pub fn slot(&mut self, counters: &mut Counters) -> &mut [u8] {
        if self.batch.len() == BATCH_MAX || self.used + DATAGRAM_BYTES_MAX > self.slab.len() {
            self.flush(counters);
        }
        &mut self.slab[self.used..self.used + DATAGRAM_BYTES_MAX]
    }

    /// Takes the first `len` bytes of the last slot as a datagram; 0 takes nothing.
    pub fn commit(&mut self, len: usize, to: SocketAddr, from: Option<IpAddr>) {
        if len > 0 && len <= DATAGRAM_BYTES_MAX {
            self.batch.push(Outgoing { to, from, start: self.used, len });
            self.used += len;
        }
    }

    /// Copies a whole datagram in.
    pub fn push(
        &mut self,
        datagram: &[u8],
        to: SocketAddr,
        from: Option<IpAddr>,
        counters: &mut Counters,
    ) {
        if let Some(slot) = self.slot(counters).get_mut(..datagram.len()) {
            slot.copy_from_slice(datagram);
            self.commit(datagram.len(), to, from);
        }
    }

    /// Sends what is there.
    pub fn flush(&mut self, counters: &mut Counters) {
        if self.batch.is_empty() {
            return;
        }
        let taken = self.wire.send(&self.slab[..self.used], &self.batch);
        counters.datagrams_out += taken as u64;
        counters.bytes_out += self.batch.iter().map(|out| out.len as u64).sum::<u64>();
        for _ in taken..self.batch.len() {
            counters.drop(crate::stats::DropReason::SendFailed);
        }
        self.batch.clear();
        self.used = 0;
    }
}
