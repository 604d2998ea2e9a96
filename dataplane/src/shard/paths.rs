//! Which way a Transport's packets take: checks of the peer, checks of our own, and what follows from
//! them (`path.rs` decides).

use std::net::SocketAddr;
use std::time::Instant;

use super::Shard;
use super::routes::Home;
use crate::checks::{BindingRequest, BindingResponse, CHECK_BYTES_MAX, OwnCheck};
use crate::describe::host_priority;
use crate::outbox::Outbox;
use crate::path::{Check, Path, PathIndex, Paths, StreamId, pair_priority};
use crate::stats::{Counters, DropReason};
use crate::transport::Transport;

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
            && let Some(candidate) = self.config.candidate_for(path)
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
        let Some(transport) = self.transports.get_mut(slot) else {
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
        self.outbox.push(&request.answer(path.peer, password), path, &mut self.statistics.counters);
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
        let priority = pair_priority(request.priority, self.config.own_priority(path));
        let Some(transport) = self.transports.get_mut(slot) else {
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
        let owner = self.routes.home_of(path).filter(|home| home.slot != slot);
        if owner.is_some_and(|home| path.stream.is_some() || self.is_live(home, now)) {
            self.count(DropReason::AddressTaken);
            return None;
        }
        if self.routes.is_full() && self.routes.home_of(path).is_none() {
            self.count(DropReason::AddressLimit);
            return None;
        }
        let transport = self.transports.get_mut(slot)?;
        let generation = transport.peer.restarts();
        let check = Check { priority, nominates: request.nominates, generation };
        let (at, evicted) = transport.paths.check(path, check, now);
        if let Some(evicted) = evicted {
            self.routes.forget(evicted, slot, &mut self.messages);
        }
        self.routes.find_home(path, Home { slot, path: at }, &mut self.messages);
        Some(at)
    }

    fn is_live(&self, home: Home, now: Instant) -> bool {
        self.transports
            .get(home.slot)
            .is_some_and(|transport| transport.paths.is_live(home.path, now))
    }

    /// The peer may have answered a check of ours.
    pub(super) fn handle_answer(&mut self, path: Path, datagram: &[u8], at_us: u64, now: Instant) {
        let Some(response) = BindingResponse::parse(datagram) else {
            self.count(DropReason::BadStun);
            return;
        };
        let Some(home) = self.routes.home_of(path) else {
            self.pass_on_or_drop(path, at_us, datagram, now);
            return;
        };
        let Some(transport) = self.transports.get_mut(home.slot) else {
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
        self.statistics.counters.consent_answers += 1;
        if !transport.is_connected && transport.peer.keys().is_some() {
            self.connect(home.slot, now);
        }
        self.choose_path(home.slot, now);
    }

    /// Uses the best path that there is, and asks for what would be better. Says whether there is
    /// one, or may be soon.
    pub(super) fn choose_path(&mut self, slot: usize, now: Instant) -> bool {
        let Some(transport) = self.transports.get_mut(slot) else {
            return false;
        };
        if !transport.is_connected {
            return false;
        }
        let path = transport.paths.select(now);
        if let (Some(path), Some(egress)) = (path, self.transports.egress_mut(slot)) {
            let before = std::mem::replace(&mut egress.path, path);
            self.statistics.counters.path_changes += u64::from(before.peer != path.peer);
        }
        self.ask(slot, now);
        match self.transports.get(slot) {
            Some(transport) => !transport.paths.has_lapsed(now),
            None => false,
        }
    }

    /// Makes a check of our own, if it is time for one.
    pub(super) fn ask(&mut self, slot: usize, now: Instant) {
        let tie_breaker = self.random.next();
        let priority = host_priority(1);
        let Some(Transport { paths, peer, .. }) = self.transports.get_mut(slot) else {
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
        self.statistics.counters.consent_questions += 1;
        self.outbox.push(&message[..len], path, &mut self.statistics.counters);
    }

    /// Whether a TCP connection is a Transport's: its check was authentic.
    pub(crate) fn has_stream(&self, stream: StreamId) -> bool {
        self.routes.has_stream(stream)
    }

    /// A TCP connection has been made, or has ended.
    pub(crate) fn count_stream(&mut self, is_open: bool) {
        if is_open {
            self.statistics.counters.streams += 1;
            self.statistics.counters.streams_taken += 1;
        } else {
            self.statistics.counters.streams = self.statistics.counters.streams.saturating_sub(1);
        }
    }

    /// A TCP connection has ended.
    pub(crate) fn handle_stream_end(&mut self, stream: StreamId, now: Instant) {
        let Some(Home { slot, path }) = self.routes.end_stream(stream) else {
            return;
        };
        if let Some(transport) = self.transports.get_mut(slot) {
            transport.paths.lose(path, now);
        }
        self.choose_path(slot, now);
    }
}
