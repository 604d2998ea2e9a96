//! A shard in virtual time, for simulations of whole paths: no socket, no thread, no clock. What
//! comes in and when is an argument, what goes out is taken. Not a public interface.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::api::{Command, Event};
use crate::id::{ShardId, TransportId};
use crate::outbox::{Outgoing, Wire};
use crate::path::Path;
use crate::peer;
use crate::shard::{Shard, ShardConfig};

/// What has left, and what time it is there, in microseconds since the epoch.
#[derive(Default)]
struct Air {
    sent: VecDeque<(SocketAddr, Vec<u8>)>,
    now_us: u64,
}

/// Its own lock is never waited for: one thread has all of it.
#[derive(Clone, Default)]
struct Aerial(Arc<Mutex<Air>>);

impl Aerial {
    fn with<T>(&self, work: impl FnOnce(&mut Air) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Wire for Aerial {
    fn send(&mut self, slab: &[u8], batch: &[Outgoing]) -> usize {
        self.with(|air| {
            for out in batch {
                let datagram = slab.get(out.start..out.start + out.len).unwrap_or(&[]);
                air.sent.push_back((out.path.peer, datagram.to_vec()));
            }
        });
        batch.len()
    }

    fn now_us(&mut self) -> u64 {
        self.with(|air| air.now_us)
    }
}

/// See the module's documentation.
pub struct VirtualShard {
    shard: Shard,
    address: SocketAddr,
    epoch: Instant,
    aerial: Aerial,
    transports: u64,
}

impl VirtualShard {
    /// An empty one that is reached at `address`. The same seed makes the same one. `None` if no
    /// certificate could be made.
    pub fn new(address: SocketAddr, seed: u64, epoch: Instant) -> Option<Self> {
        let aerial = Aerial::default();
        let config = ShardConfig {
            id: ShardId(0),
            shards: 1,
            candidates: vec![address],
            tcp_candidates: Vec::new(),
            cert: Arc::new(peer::generate_certificate()?),
            epoch,
            ntp_epoch: 3_900_000_000 << 32,
            seed,
            connect_for_max: Duration::from_secs(60),
            consent_for_max: Duration::from_secs(30),
            gather_for: Duration::from_millis(5),
        };
        let shard = Shard::new(config, vec![None], Box::new(aerial.clone()), epoch);
        Some(Self { shard, address, epoch, aerial, transports: 0 })
    }

    /// A name for a Transport to be.
    pub fn transport(&mut self) -> TransportId {
        self.transports += 1;
        TransportId::new(ShardId(0), self.transports)
    }

    /// Takes a command of the control plane.
    pub fn command(&mut self, command: Command, now: Instant) {
        self.begin(now);
        self.shard.handle_command(command, now);
        self.end(now);
    }

    /// Takes a datagram that has just come.
    pub fn receive(&mut self, from: SocketAddr, datagram: &mut [u8], now: Instant) {
        self.begin(now);
        let path = Path::udp(from, Some(self.address.ip()));
        self.shard.handle_datagram(path, datagram, now, now);
        self.end(now);
    }

    /// When [`Self::pass`] wants to be called.
    pub fn next_at(&self) -> Instant {
        self.shard.poll_timeout()
    }

    /// Lets time pass.
    pub fn pass(&mut self, now: Instant) {
        self.begin(now);
        self.shard.handle_timeout(now);
        self.end(now);
    }

    /// The next datagram that has left, and where to.
    pub fn sent(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.aerial.with(|air| air.sent.pop_front())
    }

    /// What it has told since the last time.
    pub fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.shard.events)
    }

    fn begin(&mut self, now: Instant) {
        let now_us = now.saturating_duration_since(self.epoch).as_micros() as u64 + 1;
        self.aerial.with(|air| air.now_us = now_us);
    }

    fn end(&mut self, now: Instant) {
        while self.shard.run_handshakes(now) {}
        self.shard.flush(|_| {});
    }
}
