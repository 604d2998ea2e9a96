//! From a datagram to its Transport: RFC 7983 classes, the STUN gate, the source gate.

use std::time::Instant;

use super::paths::Home;
use super::{HINTS_MAX, Shard};
use crate::checks::BindingRequest;
use crate::demux::{Class, classify};
use crate::id::ShardId;
use crate::lane::record::{self, Record};
use crate::path::Path;
use crate::stats::DropReason;

/// Steps of handshakes in one loop: about half a millisecond.
const HANDSHAKES_PER_LOOP: usize = 4;
/// Steps that wait; more are dropped, and their peers repeat them.
const HANDSHAKES_MAX: usize = 8192;

impl Shard {
    /// Takes a datagram from this shard's socket; `arrived_at` is when the kernel had it.
    pub(crate) fn handle_datagram(
        &mut self,
        path: Path,
        datagram: &mut [u8],
        arrived_at: Instant,
        now: Instant,
    ) {
        self.counters.datagrams_in += 1;
        self.counters.bytes_in += datagram.len() as u64;
        let at_us = self.micros(arrived_at);
        self.now_us = self.micros(now);
        self.handle_local_datagram(path, datagram, at_us, now);
    }

    /// The same for a datagram that another shard passed on.
    pub(super) fn handle_local_datagram(
        &mut self,
        path: Path,
        datagram: &mut [u8],
        at_us: u64,
        now: Instant,
    ) {
        let class = classify(datagram);
        match class {
            Class::Stun => self.handle_stun(path, datagram, at_us, now),
            Class::Dtls | Class::Rtp | Class::Rtcp => {
                // str0m does not check where DTLS comes from: without this gate anybody could
                // race the handshake with a ClientHello of their own (CVE-2023-49786).
                let Some(home) = self.home_of(path) else {
                    self.pass_on_or_drop(path, at_us, datagram, now);
                    return;
                };
                match class {
                    Class::Dtls => self.defer_dtls(home, path, datagram, now),
                    Class::Rtp => self.handle_rtp(home, datagram, at_us, now),
                    _ => self.handle_rtcp(home, datagram, now),
                }
            }
            Class::Other => self.count(DropReason::NotOurs),
        }
    }

    /// With one port for all shards the kernel may deliver a peer's datagrams to any of them; its
    /// STUN has told whose it is.
    pub(super) fn pass_on_or_drop(
        &mut self,
        path: Path,
        at_us: u64,
        datagram: &[u8],
        now: Instant,
    ) {
        // A connection was handed to the shard that it named.
        if path.stream.is_some() {
            return self.count(DropReason::UnverifiedSource);
        }
        // What an owner has said counts for more than what anybody may claim.
        match self.foreign.get(&path.peer).or_else(|| self.hints.get(&path.peer)).copied() {
            Some(shard) => self.pass_on(shard, path, at_us, datagram),
            None => self.handle_stray(path, at_us, datagram, now),
        }
    }

    pub(super) fn pass_on(&mut self, shard: ShardId, path: Path, at_us: u64, bytes: &[u8]) {
        let Some(Some(lane)) = self.lanes.get_mut(shard.index()) else {
            self.count(DropReason::UnknownUfrag);
            return;
        };
        self.is_lane_urgent = true;
        if !record::push(lane, &Record::Datagram { path, at_us, bytes }) {
            self.counters.drop_from_lane(shard);
        }
    }

    fn handle_stun(&mut self, path: Path, datagram: &[u8], at_us: u64, now: Instant) {
        let Some(request) = BindingRequest::parse(datagram) else {
            self.handle_answer(path, datagram, at_us, now);
            return;
        };
        let Some((shard, slot)) = crate::ufrag::decode(request.local_ufrag) else {
            self.count(DropReason::UnknownUfrag);
            return;
        };
        if shard != self.config.id && path.stream.is_some() {
            return self.count(DropReason::UnknownUfrag);
        }
        if shard != self.config.id {
            // Only a hint for routing; the owner checks the sender.
            if shard.index() < self.config.shards {
                if self.hints.len() >= HINTS_MAX {
                    self.hints.clear();
                }
                self.hints.insert(path.peer, shard);
            }
            self.pass_on(shard, path, at_us, datagram);
            return;
        }
        self.handle_check(slot as usize, path, &request, datagram, now);
    }

    /// Steps of a handshake cost a hundred times what a packet costs: when many join at once they
    /// wait their turn behind the media of those who are in.
    fn defer_dtls(&mut self, home: Home, path: Path, datagram: &[u8], now: Instant) {
        if self.transport(home.slot).is_some_and(|transport| transport.is_connected) {
            self.handle_dtls(home, path, datagram, now);
        } else if self.handshakes.len() < HANDSHAKES_MAX {
            self.handshakes.push_back((path, datagram.into()));
        } else {
            // DTLS sends it again (RFC 6347 s4.2.4).
            self.count(DropReason::HandshakeBusy);
        }
    }

    /// Takes as many steps of handshakes as one loop may; says whether more wait.
    pub(crate) fn run_handshakes(&mut self, now: Instant) -> bool {
        for _ in 0..HANDSHAKES_PER_LOOP {
            let Some((path, datagram)) = self.handshakes.pop_front() else {
                return false;
            };
            // The Transport may have ended meanwhile, and its address be another's.
            if let Some(home) = self.home_of(path) {
                self.handle_dtls(home, path, &datagram, now);
            }
        }
        !self.handshakes.is_empty()
    }

    fn handle_dtls(&mut self, home: Home, path: Path, datagram: &[u8], now: Instant) {
        let Home { slot, path: at } = home;
        let Some(candidate) = self.candidate_for(path) else {
            return;
        };
        let Some(Some(transport)) = self.slots.get_mut(slot) else {
            return;
        };
        transport.paths.handshake_from(at);
        self.step_peer(slot, Some(at), now, |peer, transmit| {
            peer.handle_datagram(path.peer, candidate, datagram, now, transmit)
        });
    }
}
