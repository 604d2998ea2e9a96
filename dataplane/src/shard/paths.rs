//! Which way a Transport's packets take: checks of the peer, checks of our own, and what follows from
//! them (`path.rs` decides).

use std::net::SocketAddr;
use std::time::Instant;

use super::{ADDRESSES_MAX, Shard, ShardConfig};
use crate::checks::{BindingRequest, BindingResponse, CHECK_BYTES_MAX, OwnCheck};
use crate::describe::{host_priority, tcp_priority};
use crate::id::ShardId;
use crate::lane::PeerMessage;
use crate::outbox::Outbox;
use crate::path::{Check, Path, PathIndex, Paths, StreamId, pair_priority};
use crate::stats::{Counters, DropReason};
use crate::transport::Transport;

/// Which Transport an address belongs to, and which of its paths that is.
#[derive(Clone, Copy)]
pub(super) struct Home {
    /// The Transport's.
    pub slot: usize,
    /// The path.
    pub path: PathIndex,
}

/// The way out for what a Transport's engine makes.
pub(super) fn sender<'a>(
    paths: &'a mut Paths,
    via: Option<PathIndex>,
    outbox: &'a mut Outbox,
    counters: &'a mut Counters,
) -> impl FnMut(SocketAddr, SocketAddr, &[u8]) + 'a {
    move |_candidate, to, datagram| {
        if let Some(path) = paths.way(via, to, datagram) {
            outbox.push(datagram, path, counters);
        }
    }
}

impl Shard {
    /// A check of a peer of this shard.
    pub(super) fn handle_check(
        &mut self,
        slot: usize,
        path: Path,
        request: &BindingRequest<'_>,
        datagram: &[u8],
        now: Instant,
    ) {
        let Some(at) = self.note_check(slot, path, request, now) else {
            return;
        };
        if !self.answer_check(slot, at, request, now)
            && let Some(candidate) = self.candidate_for(path)
        {
            self.step_peer(slot, Some(at), now, |peer, transmit| {
                peer.handle_datagram(path.peer, candidate, datagram, now, transmit)
            });
        }
        self.choose_path(slot, now);
    }

    /// Answers an authentic check of a connected peer, most of which say that all is as it was, without
    /// its engine, which takes twenty times as long. Says whether that is done.
    fn answer_check(
        &mut self,
        slot: usize,
        at: PathIndex,
        request: &BindingRequest<'_>,
        now: Instant,
    ) -> bool {
        let Some(Some(transport)) = self.slots.get_mut(slot) else {
            return false;
        };
        if !transport.is_connected || !request.is_plain || transport.paths.take_engine_turn(at, now)
        {
            return false;
        }
        let Some(path) = transport.paths.get(at) else {
            return false;
        };
        let (_, password) = transport.peer.credentials();
        self.outbox.push(&request.answer(path.peer, password), path, &mut self.counters);
        true
    }

    /// Lets an authentic check count. Returns its path's place.
    fn note_check(
        &mut self,
        slot: usize,
        path: Path,
        request: &BindingRequest<'_>,
        now: Instant,
    ) -> Option<PathIndex> {
        let priority = pair_priority(request.priority, self.own_priority(path));
        let Some(Some(transport)) = self.slots.get_mut(slot) else {
            self.count(DropReason::UnknownUfrag);
            return None;
        };
        let (ufrag, password) = transport.peer.credentials();
        if ufrag != request.local_ufrag {
            self.count(DropReason::UnknownUfrag);
            return None;
        }
        if !request.is_authentic(password) {
            self.count(DropReason::BadIntegrity);
            return None;
        }
        // Who can send under another member's address must not cut that one off.
        let owner = self.home_of(path).filter(|home| home.slot != slot);
        if owner.is_some_and(|home| path.stream.is_some() || self.is_live(home, now)) {
            self.count(DropReason::AddressTaken);
            return None;
        }
        if self.by_address.len() >= ADDRESSES_MAX && self.home_of(path).is_none() {
            self.count(DropReason::AddressLimit);
            return None;
        }
        let Some(Some(transport)) = self.slots.get_mut(slot) else {
            return None;
        };
        let generation = transport.peer.restarts();
        let check = Check { priority, nominates: request.nominates, generation };
        let (at, evicted) = transport.paths.check(path, check, now);
        if let Some(evicted) = evicted {
            self.forget_path(evicted, slot);
        }
        self.find_home(path, Home { slot, path: at });
        Some(at)
    }

    /// From now on what comes over a path is a Transport's.
    pub(super) fn find_home(&mut self, path: Path, home: Home) {
        if let Some(stream) = path.stream {
            self.by_stream.insert(stream, home);
        } else if self.by_address.insert(path.peer, home).is_none() {
            route(&self.config, &mut self.messages, path.peer, Some(self.config.id));
        }
    }

    fn is_live(&self, home: Home, now: Instant) -> bool {
        self.transport(home.slot).is_some_and(|transport| transport.paths.is_live(home.path, now))
    }

    /// The priority of our candidate that a datagram came to.
    fn own_priority(&self, path: Path) -> u32 {
        if path.stream.is_some() {
            return tcp_priority(1);
        }
        let candidate = self.candidate_for(path);
        let at = self.config.candidates.iter().position(|known| Some(*known) == candidate);
        host_priority(1 + at.unwrap_or_default() as u32)
    }

    /// The peer may have answered a check of ours.
    pub(super) fn handle_answer(&mut self, path: Path, datagram: &[u8], at_us: u64, now: Instant) {
        let Some(response) = BindingResponse::parse(datagram) else {
            self.count(DropReason::BadStun);
            return;
        };
        let Some(home) = self.home_of(path) else {
            self.pass_on_or_drop(path, at_us, datagram, now);
            return;
        };
        let Some(Some(transport)) = self.slots.get_mut(home.slot) else {
            return;
        };
        let password = transport.peer.remote_credentials().map(|(_, password)| password);
        if !password.is_some_and(|password| response.is_authentic(password)) {
            self.count(DropReason::BadIntegrity);
            return;
        }
        if !transport.paths.answer(home.path, response.id, now) {
            self.count(DropReason::BadStun);
            return;
        }
        self.counters.consent_answers += 1;
        if !transport.is_connected && transport.peer.keys().is_some() {
            self.connect(home.slot, now);
        }
        self.choose_path(home.slot, now);
    }

    /// Uses the best path that there is, and asks for what would be better. Says whether there is
    /// one, or may be soon.
    pub(super) fn choose_path(&mut self, slot: usize, now: Instant) -> bool {
        let Some(Some(transport)) = self.slots.get_mut(slot) else {
            return false;
        };
        if !transport.is_connected {
            return false;
        }
        let path = transport.paths.select(now);
        if let (Some(path), Some(Some(egress))) = (path, self.egress.get_mut(slot)) {
            let before = std::mem::replace(&mut egress.path, path);
            self.counters.path_changes += u64::from(before.peer != path.peer);
        }
        self.ask(slot, now);
        match self.transport(slot) {
            Some(transport) => !transport.paths.has_lapsed(now),
            None => false,
        }
    }

    /// Makes a check of our own, if it is time for one.
    pub(super) fn ask(&mut self, slot: usize, now: Instant) {
        let tie_breaker = self.random.next();
        let priority = host_priority(1);
        let Some(Some(Transport { paths, peer, .. })) = self.slots.get_mut(slot) else {
            return;
        };
        let Some(remote) = peer.remote_credentials() else {
            return;
        };
        let Some((path, id)) = paths.question(now) else {
            return;
        };
        let (local_ufrag, _) = peer.credentials();
        let check = OwnCheck { id, remote, local_ufrag, priority, tie_breaker };
        let mut message = [0; CHECK_BYTES_MAX];
        let len = check.write(&mut message);
        self.counters.consent_questions += 1;
        self.outbox.push(&message[..len], path, &mut self.counters);
    }

    /// Whose a path is, and which of its paths.
    pub(super) fn home_of(&self, path: Path) -> Option<Home> {
        match path.stream {
            None => self.by_address.get(&path.peer).copied(),
            Some(stream) => self.by_stream.get(&stream).copied(),
        }
    }

    /// A path is no longer this Transport's.
    pub(super) fn forget_path(&mut self, path: Path, slot: usize) {
        if let Some(stream) = path.stream {
            if self.by_stream.remove(&stream).is_some() {
                self.ended_streams.push(stream);
            }
            return;
        }
        // Another Transport may have the address since (NAT).
        if self.by_address.get(&path.peer).is_some_and(|home| home.slot == slot) {
            self.by_address.remove(&path.peer);
            route(&self.config, &mut self.messages, path.peer, None);
        }
    }

    /// Takes a frame of a TCP connection.
    pub(crate) fn handle_frame(&mut self, path: Path, frame: &mut [u8], now: Instant) {
        self.counters.frames_in += 1;
        self.counters.frame_bytes_in += frame.len() as u64;
        self.now_us = self.micros(now);
        let at_us = self.now_us;
        self.handle_local_datagram(path, frame, at_us, now);
    }

    /// Whether a TCP connection is a Transport's: its check was authentic.
    pub(crate) fn has_stream(&self, stream: StreamId) -> bool {
        self.by_stream.contains_key(&stream)
    }

    /// A TCP connection has been made, or has ended.
    pub(crate) fn count_stream(&mut self, is_open: bool) {
        if is_open {
            self.counters.streams += 1;
            self.counters.streams_taken += 1;
        } else {
            self.counters.streams = self.counters.streams.saturating_sub(1);
        }
    }

    /// A TCP connection has ended.
    pub(crate) fn handle_stream_end(&mut self, stream: StreamId, now: Instant) {
        let Some(Home { slot, path }) = self.by_stream.remove(&stream) else {
            return;
        };
        if let Some(Some(transport)) = self.slots.get_mut(slot) {
            transport.paths.lose(path, now);
        }
        self.choose_path(slot, now);
    }

    /// The candidate that the engine should believe a datagram was sent to.
    pub(super) fn candidate_for(&self, path: Path) -> Option<SocketAddr> {
        let local = path.local?;
        let candidates = &self.config.candidates;
        candidates
            .iter()
            .find(|candidate| candidate.ip() == local)
            // Behind 1:1 NAT, or advertised under another address.
            .or_else(|| candidates.iter().find(|c| c.is_ipv4() == local.is_ipv4()))
            .or_else(|| candidates.first())
            .copied()
    }
}

/// Tells the other shards, whose sockets may get its datagrams, where a peer's address belongs.
fn route(
    config: &ShardConfig,
    messages: &mut Vec<(ShardId, PeerMessage)>,
    address: SocketAddr,
    owner: Option<ShardId>,
) {
    let others = (0..config.shards).map(|shard| ShardId(shard as u8)).filter(|s| *s != config.id);
    messages.extend(others.map(|shard| (shard, PeerMessage::Route { address, owner })));
}
