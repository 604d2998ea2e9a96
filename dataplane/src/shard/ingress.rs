//! From a datagram to its Transport: RFC 7983 classes, the STUN gate, the source gate.

use std::time::Instant;

use super::Shard;
use crate::checks::BindingRequest;
use crate::demux::{Class, classify};
use crate::path::Path;
use crate::stats::DropReason;

impl Shard {
    /// Takes a datagram from this shard's socket; `arrived_at` is when the kernel had it.
    pub(crate) fn handle_datagram(
        &mut self,
        path: Path,
        datagram: &mut [u8],
        arrived_at: Instant,
        now: Instant,
    ) {
        let counters = &mut self.statistics.counters;
        counters.datagrams_in += 1;
        counters.bytes_in += datagram.len() as u64;
        self.time.set(now);
        let at_us = self.time.micros(arrived_at);
        self.handle_local_datagram(path, datagram, at_us, now);
    }

    /// Takes a frame of a TCP connection.
    pub(crate) fn handle_frame(&mut self, path: Path, frame: &mut [u8], now: Instant) {
        let counters = &mut self.statistics.counters;
        counters.frames_in += 1;
        counters.frame_bytes_in += frame.len() as u64;
        let at_us = self.time.set(now);
        self.handle_local_datagram(path, frame, at_us, now);
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
                let Some(home) = self.routes.home_of(path) else {
                    self.pass_on_or_drop(path, at_us, datagram, now);
                    return;
                };
                match class {
                    Class::Dtls => self.handle_dtls(home, path, datagram, now),
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
        match self.routes.elsewhere(path.peer) {
            Some(shard) => {
                let counters = &mut self.statistics.counters;
                self.lanes.pass_on(shard, (path, at_us), datagram, counters);
            }
            None => self.handle_stray(path, at_us, datagram, now),
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
        if shard == self.config.id {
            return self.handle_check(slot as usize, path, &request, datagram, now);
        }
        // A connection was handed to the shard that it named.
        if path.stream.is_some() {
            return self.count(DropReason::UnknownUfrag);
        }
        self.routes.hint(path.peer, shard);
        self.lanes.pass_on(shard, (path, at_us), datagram, &mut self.statistics.counters);
    }
}
