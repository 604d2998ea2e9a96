//! The life of a Transport: it is made, its engine takes steps, it is connected, it ends.

use std::time::{Duration, Instant};

use super::Shard;
use super::paths::sender;
use crate::api::Event;
use crate::egress::Egress;
use crate::error::{CloseReason, PeerError};
use crate::id::TransportId;
use crate::path::{PathIndex, Paths};
use crate::peer::{Drained, Fault, Peer, PeerConfig, Refusal, Transmit};
use crate::stats::{Counters, DropReason};
use crate::transport::{Role, Transport};

/// Between two looks of a connected Transport's engine at its clock, unless something comes.
const IDLE_STEP: Duration = Duration::from_secs(5);
/// A timer further away than this is none.
const TIMER_MAX: Duration = Duration::from_secs(3600);

impl Shard {
    /// A Transport with an engine of its own in a fresh slot.
    pub(super) fn create(
        &mut self,
        id: TransportId,
        role: Role,
        now: Instant,
    ) -> Result<usize, Refusal> {
        let slot = self.transports.reserve().ok_or(PeerError::ServerFull)?;
        let credentials = self.random.credentials(self.config.id, slot);
        // RFC 8866 s5.2: a number of 63 bits.
        let session = self.random.next() >> 2;
        let config = PeerConfig {
            cert: &self.config.cert,
            credentials,
            candidates: &self.config.candidates,
            session,
        };
        let peer = match Peer::new(&config, now) {
            Ok(peer) => peer,
            Err(error) => {
                self.transports.release(slot);
                return Err(error.into());
            }
        };
        let transport = Transport {
            id,
            peer,
            paths: Paths::default(),
            opener: None,
            is_connected: false,
            created_at: now,
            is_silence_told: false,
            told_path: None,
            timer_at: None,
            role,
        };
        self.transports.insert(slot, transport);
        self.time.wake(now);
        Ok(slot)
    }

    /// Lets time pass for a Transport's engine.
    pub(super) fn run_engine(&mut self, slot: usize, now: Instant) {
        self.step_peer(slot, None, now, |peer, transmit| peer.handle_timeout(now, transmit));
    }

    /// Runs one step of a Transport's engine and follows up on what it brought. `via` is the path
    /// that has caused it.
    pub(super) fn step_peer(
        &mut self,
        slot: usize,
        via: Option<PathIndex>,
        now: Instant,
        step: impl FnOnce(&mut Peer, Transmit<'_>) -> Result<Drained, Fault>,
    ) {
        let Some(Transport { peer, paths, .. }) = self.transports.get_mut(slot) else {
            return;
        };
        let counters = &mut self.statistics.counters;
        counters.engine_steps += 1;
        let stepped = step(peer, &mut sender(paths, via, &mut self.outbox, counters));
        match stepped {
            Ok(drained) => self.after_drain(slot, drained, now),
            Err(Fault) => {
                self.statistics.counters.engine_faults += 1;
                self.close_with_event(slot, CloseReason::EngineFault);
            }
        }
    }

    /// Follows up on what a step of a Transport's engine has brought.
    pub(super) fn after_drain(&mut self, slot: usize, drained: Drained, now: Instant) {
        for _ in 0..drained.engine_media {
            self.count(DropReason::EngineMedia);
        }
        let Some(transport) = self.transports.get_mut(slot) else {
            return;
        };
        // A peer that has said so is gone also if the engine takes that as its end.
        if drained.is_closed || drained.is_failed {
            let reason = match drained.is_closed {
                true => CloseReason::DtlsClosed,
                false => transport.peer.failure_reason(),
            };
            self.close_with_event(slot, reason);
            return;
        }
        // Once connected an ICE-lite peer has nothing that is urgent: it answers when asked, and looks
        // at its clock when the shard looks at its Transport anyway.
        if transport.is_connected {
            transport.timer_at = drained.timeout.map(|at| at.max(now + IDLE_STEP));
            return;
        }
        let has_keys = transport.peer.keys().is_some();
        if let Some(at) = drained.timeout.filter(|at| *at < now + TIMER_MAX) {
            self.transports.set_timer(slot, at);
        }
        if has_keys {
            self.connect(slot, now);
        }
    }

    /// DTLS is up: the keys are ours. Connected is who has a path that is proven, too.
    pub(super) fn connect(&mut self, slot: usize, now: Instant) {
        let Some(transport) = self.transports.get_mut(slot) else {
            return;
        };
        let derived = match transport.peer.keys() {
            Some(Ok(keys)) => keys.derive().ok_or(CloseReason::DtlsFailed),
            Some(Err(reason)) => Err(reason),
            None => Err(CloseReason::DtlsFailed),
        };
        let (sealer, opener) = match derived {
            Ok(keys) => keys,
            Err(reason) => {
                self.close_with_event(slot, reason);
                return;
            }
        };
        transport.paths.prove_by_handshake();
        // Without a path the peer is asked, and its answer leads here again.
        let Some(path) = transport.paths.select(now) else {
            self.ask(slot, now);
            return;
        };
        transport.is_connected = true;
        // What the handshake wanted to be woken for is not urgent any more.
        transport.timer_at = transport.timer_at.map(|at| at.max(now + IDLE_STEP));
        let joined_for = now.saturating_duration_since(transport.created_at);
        self.statistics.counters.join.add(joined_for.as_micros() as u64, 1);
        transport.opener = Some(opener);
        self.events.push(Event::Connected { transport: transport.id });
        self.transports.connect(slot, Egress::new(path, sealer));
        self.transports.drop_stale_timers();
        self.start_viewer(slot, now);
        self.ask(slot, now);
    }

    /// Closes a Transport and tells the control plane why.
    pub(super) fn close_with_event(&mut self, slot: usize, reason: CloseReason) {
        let Some(transport) = self.transports.get(slot) else {
            return;
        };
        let id = transport.id;
        let detail = detail_of_end(transport);
        count_end(transport, reason, &mut self.statistics.counters);
        self.close(slot);
        self.events.push(Event::Closed { transport: id, reason, detail });
    }

    /// Forgets a Transport and all that hangs on it.
    pub(super) fn close(&mut self, slot: usize) {
        let Some(transport) = self.transports.remove(slot) else {
            return;
        };
        for path in transport.paths.iter() {
            self.routes.forget(*path, slot, &mut self.messages);
        }
        match transport.role {
            Role::Publisher(publisher) => {
                self.sources.publisher_left(transport.id, publisher.publications.len());
            }
            Role::Viewer(viewer) => {
                if let Some(client) = viewer.client {
                    self.clients.leave(slot, client);
                }
                for (info, at) in viewer.lines.into_iter().filter_map(|line| line.subscription) {
                    let counters = &mut self.statistics.counters;
                    self.sources.leave((info.id, at), counters, &mut self.messages);
                }
            }
        }
    }
}

/// Why it has ended, in words for who operates the server.
fn detail_of_end(transport: &Transport) -> String {
    let (is_checked, is_connected) = (!transport.paths.is_empty(), transport.is_connected);
    let failure = transport.peer.failure();
    match (is_connected, is_checked) {
        (false, false) => {
            "no connectivity check has come: is UDP let through, or TCP to the port of the page?"
                .to_owned()
        }
        (false, true) if failure.is_empty() => {
            "checks have come, but DTLS was not finished".to_owned()
        }
        (true, _) | (false, true) => failure.to_owned(),
    }
}

fn count_end(transport: &Transport, reason: CloseReason, counters: &mut Counters) {
    match reason {
        CloseReason::ConsentExpired => counters.ice_expired += 1,
        // The engine may give up before we do.
        CloseReason::ConnectTimeout
        | CloseReason::DtlsClosed
        | CloseReason::DtlsFailed
        | CloseReason::CertificateUnusable
        | CloseReason::WrongCertificate
            if !transport.is_connected =>
        {
            if transport.paths.is_empty() {
                counters.ice_unchecked += 1;
            } else {
                counters.dtls_failures += 1;
            }
        }
        CloseReason::ConnectTimeout
        | CloseReason::DtlsClosed
        | CloseReason::DtlsFailed
        | CloseReason::CertificateUnusable
        | CloseReason::WrongCertificate
        | CloseReason::EngineFault => {}
    }
}
