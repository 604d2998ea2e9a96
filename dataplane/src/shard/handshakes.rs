//! Steps of handshakes cost a hundred times what a packet costs: when many join at once they wait their
//! turn behind the media of those who are in.

use std::collections::VecDeque;
use std::time::Instant;

use super::Shard;
use super::routes::Home;
use crate::path::Path;
use crate::stats::DropReason;

/// Steps of handshakes in one loop: about half a millisecond.
const HANDSHAKES_PER_LOOP: usize = 4;
/// Steps that wait; more are dropped, and their peers repeat them.
const HANDSHAKES_MAX: usize = 8192;

/// DTLS of Transports that are not connected yet: how it came, and what.
#[derive(Default)]
pub(super) struct Handshakes(VecDeque<(Path, Box<[u8]>)>);

impl Handshakes {
    /// Lets a datagram wait; says whether there was room.
    pub(super) fn add(&mut self, path: Path, datagram: &[u8]) -> bool {
        let has_room = self.0.len() < HANDSHAKES_MAX;
        if has_room {
            self.0.push_back((path, datagram.into()));
        }
        has_room
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Shard {
    /// Takes DTLS of a connected Transport at once; that of others waits.
    pub(super) fn handle_dtls(&mut self, home: Home, path: Path, datagram: &[u8], now: Instant) {
        if self.transports.get(home.slot).is_some_and(|transport| transport.is_connected) {
            self.step_handshake(home, path, datagram, now);
        } else if !self.handshakes.add(path, datagram) {
            // DTLS sends it again (RFC 6347 s4.2.4).
            self.count(DropReason::HandshakeBusy);
        }
    }

    /// Takes as many steps of handshakes as one loop may; says whether more wait.
    pub(crate) fn run_handshakes(&mut self, now: Instant) -> bool {
        for _ in 0..HANDSHAKES_PER_LOOP {
            let Some((path, datagram)) = self.handshakes.0.pop_front() else {
                return false;
            };
            // The Transport may have ended meanwhile, and its address be another's.
            if let Some(home) = self.routes.home_of(path) {
                self.step_handshake(home, path, &datagram, now);
            }
        }
        self.handshakes.len() > 0
    }

    fn step_handshake(&mut self, home: Home, path: Path, datagram: &[u8], now: Instant) {
        let Home { slot, path: at } = home;
        let Some(candidate) = self.config.candidate_for(path) else {
            return;
        };
        let Some(transport) = self.transports.get_mut(slot) else {
            return;
        };
        transport.paths.handshake_from(at);
        self.step_peer(slot, Some(at), now, |peer, transmit| {
            peer.handle_datagram(path.peer, candidate, datagram, now, transmit)
        });
    }
}
