//! From a datagram to its Transport: RFC 7983 classes, the STUN gate, the source gate.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::{ADDRESSES_MAX, HINTS_MAX, Shard, route};
use crate::demux::{Class, classify};
use crate::id::ShardId;
use crate::record::{self, Record};
use crate::stats::DropReason;
use crate::stun::BindingRequest;

/// Steps of handshakes in one loop: about half a millisecond.
const HANDSHAKES_PER_LOOP: usize = 4;
/// Steps that wait; more are dropped, and their peers repeat them.
const HANDSHAKES_MAX: usize = 8192;

impl Shard {
    /// Takes a datagram from this shard's socket. `local` is the address it was sent to,
    /// `arrived_at` when the kernel had it.
    pub fn handle_datagram(
        &mut self,
        from: SocketAddr,
        local: IpAddr,
        datagram: &mut [u8],
        arrived_at: Instant,
        now: Instant,
    ) {
        self.counters.datagrams_in += 1;
        self.counters.bytes_in += datagram.len() as u64;
        let at_us = self.micros(arrived_at);
        self.now_us = self.micros(now);
        self.handle_local_datagram(from, local, datagram, at_us, now);
    }

    /// The same for a datagram that another shard passed on.
    pub(super) fn handle_local_datagram(
        &mut self,
        from: SocketAddr,
        local: IpAddr,
        datagram: &mut [u8],
        at_us: u64,
        now: Instant,
    ) {
        let class = classify(datagram);
        match class {
            Class::Stun => self.handle_stun(from, local, datagram, at_us, now),
            Class::Dtls | Class::Rtp | Class::Rtcp => {
                // str0m does not check where DTLS comes from: without this gate anybody could
                // race the handshake with a ClientHello of their own (CVE-2023-49786).
                let Some(&slot) = self.by_address.get(&from) else {
                    self.pass_on_or_drop(from, local, at_us, datagram);
                    return;
                };
                match class {
                    Class::Dtls => self.defer_dtls(slot, from, local, datagram, now),
                    Class::Rtp => self.handle_rtp(slot, datagram, at_us, now),
                    _ => self.handle_rtcp(slot, datagram, now),
                }
            }
            Class::Other => self.count(DropReason::NotOurs),
        }
    }

    /// With one port for all shards the kernel may deliver a peer's datagrams to any of them; its
    /// STUN has told whose it is.
    fn pass_on_or_drop(&mut self, from: SocketAddr, local: IpAddr, at_us: u64, datagram: &[u8]) {
        // What an owner has said counts for more than what anybody may claim.
        match self.foreign.get(&from).or_else(|| self.hints.get(&from)).copied() {
            Some(shard) => self.pass_on(shard, from, local, at_us, datagram),
            None => self.count(DropReason::UnverifiedSource),
        }
    }

    fn pass_on(&mut self, shard: ShardId, from: SocketAddr, to: IpAddr, at_us: u64, bytes: &[u8]) {
        let Some(Some(lane)) = self.lanes.get_mut(shard.index()) else {
            self.count(DropReason::UnknownUfrag);
            return;
        };
        self.is_lane_urgent = true;
        if !record::push(lane, &Record::Datagram { from, to, at_us, bytes }) {
            self.counters.drop_from_lane(shard);
        }
    }

    fn handle_stun(
        &mut self,
        from: SocketAddr,
        local: IpAddr,
        datagram: &[u8],
        at_us: u64,
        now: Instant,
    ) {
        let Some(request) = BindingRequest::parse(datagram) else {
            self.count(DropReason::BadStun);
            return;
        };
        let Some((shard, slot)) = crate::ufrag::decode(request.local_ufrag) else {
            self.count(DropReason::UnknownUfrag);
            return;
        };
        if shard != self.config.id {
            // Only a hint for routing; the owner checks the sender.
            if shard.index() < self.config.shards {
                if self.hints.len() >= HINTS_MAX {
                    self.hints.clear();
                }
                self.hints.insert(from, shard);
            }
            self.pass_on(shard, from, local, at_us, datagram);
            return;
        }
        let slot = slot as usize;
        let Some(Some(transport)) = self.slots.get_mut(slot) else {
            self.count(DropReason::UnknownUfrag);
            return;
        };
        let (ufrag, password) = transport.peer.credentials();
        if ufrag != request.local_ufrag {
            self.count(DropReason::UnknownUfrag);
            return;
        }
        if !request.is_authentic(password) {
            self.count(DropReason::BadIntegrity);
            return;
        }
        transport.heard_at = now;
        transport.is_silence_told = false;
        let evicted = transport.prove_address(from, local);
        if request.nominates {
            transport.nominated = Some((from, local));
            if let Some(Some(egress)) = self.egress.get_mut(slot) {
                (egress.to, egress.from) = (from, Some(local));
            }
        }
        // Another Transport may have proven the evicted address since.
        if let Some(evicted) = evicted
            && self.by_address.get(&evicted) == Some(&slot)
        {
            self.by_address.remove(&evicted);
            route(&self.config, &mut self.messages, evicted, None);
        }
        if self.by_address.len() >= ADDRESSES_MAX && !self.by_address.contains_key(&from) {
            self.count(DropReason::AddressLimit);
            return;
        }
        if self.by_address.insert(from, slot).is_none() {
            route(&self.config, &mut self.messages, from, Some(self.config.id));
        }
        if let Some(candidate) = self.candidate_for(local) {
            self.step_peer(slot, now, |peer, transmit| {
                peer.handle_datagram(from, candidate, datagram, now, transmit)
            });
        }
    }

    /// Steps of a handshake cost a hundred times what a packet costs: when many join at once they
    /// wait their turn behind the media of those who are in.
    fn defer_dtls(
        &mut self,
        slot: usize,
        from: SocketAddr,
        local: IpAddr,
        datagram: &[u8],
        now: Instant,
    ) {
        if self.transport(slot).is_some_and(|transport| transport.is_connected) {
            self.handle_dtls(slot, from, local, datagram, now);
        } else if self.handshakes.len() < HANDSHAKES_MAX {
            self.handshakes.push_back((from, local, datagram.into()));
        } else {
            // DTLS sends it again (RFC 6347 s4.2.4).
            self.count(DropReason::HandshakeBusy);
        }
    }

    /// Takes as many steps of handshakes as one loop may; says whether more wait.
    pub fn run_handshakes(&mut self, now: Instant) -> bool {
        for _ in 0..HANDSHAKES_PER_LOOP {
            let Some((from, local, datagram)) = self.handshakes.pop_front() else {
                return false;
            };
            // The Transport may have ended meanwhile, and its address be another's.
            if let Some(&slot) = self.by_address.get(&from) {
                self.handle_dtls(slot, from, local, &datagram, now);
            }
        }
        !self.handshakes.is_empty()
    }

    fn handle_dtls(
        &mut self,
        slot: usize,
        from: SocketAddr,
        local: IpAddr,
        datagram: &[u8],
        now: Instant,
    ) {
        if let Some(candidate) = self.candidate_for(local) {
            self.step_peer(slot, now, |peer, transmit| {
                peer.handle_datagram(from, candidate, datagram, now, transmit)
            });
        }
    }
}
