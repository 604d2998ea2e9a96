//! The control plane's handle on the running shards: placement, commands, the event queue.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use mio::Waker;

use crate::api::{Command, Config, Event, Listening};
use crate::error::StartError;
use crate::id::{ShardId, TransportId};
use crate::path::Over;
use crate::placement::Placement;
use crate::run::{self, NewStream, Running, ShardInput, Socket};
use crate::stats::Counters;

/// Starts shards and talks to them. Dropping it stops them.
pub struct DataPlane {
    running: Running,
    serial: u64,
    placement: Placement,
}

/// A shard's command queue is full: the sender's Transport should be given up, or the request
/// refused as "server busy".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Busy;

impl DataPlane {
    /// Binds the sockets, starts and pins the threads. `notify` is called, from a shard's thread,
    /// after one or more events were put into the queue; it must not block.
    ///
    /// # Errors
    /// [`StartError`] when the configuration cannot work or the system refuses a resource.
    pub fn start(config: Config, notify: Arc<dyn Fn() + Send + Sync>) -> Result<Self, StartError> {
        let running = run::start(&config, &notify)?;
        // Where each shard has a port, clients reach all of them from the start.
        let fill = if running.steering.is_some() { config.fill } else { 1 };
        let placement = Placement::new(running.shards.len(), fill);
        Ok(Self { running, serial: 0, placement })
    }

    /// The shards' inputs with their wakers.
    pub(crate) fn ends(&self) -> Vec<(Sender<ShardInput>, Arc<Waker>)> {
        let ends = self.running.shards.iter();
        ends.map(|end| (end.inputs.clone(), Arc::clone(&end.waker))).collect()
    }

    /// The shards' time zero.
    pub(crate) fn epoch(&self) -> Instant {
        self.running.epoch
    }

    /// Where the shards listen.
    pub fn listening(&self) -> &Listening {
        &self.running.listening
    }

    /// The way in for TCP connections.
    pub fn door(&self) -> Door {
        let ends = self.running.shards.iter();
        Door(ends.map(|end| (end.inputs.clone(), Arc::clone(&end.waker))).collect())
    }

    /// How many shards run.
    pub fn shards(&self) -> usize {
        self.running.shards.len()
    }

    /// A fresh Transport id on `home` if given (taken modulo the number of shards), else on a shard
    /// for somebody new ([`Config::fill`]), who is given back with [`Self::leave`]. Nothing exists under
    /// it until `Publish` or `Subscribe`.
    pub fn place(&mut self, home: Option<ShardId>) -> TransportId {
        let index = match home {
            Some(shard) => shard.index() % self.running.shards.len(),
            None => self.placement.take(),
        };
        self.steer();
        self.serial += 1;
        TransportId::new(ShardId(index as u8), self.serial)
    }

    /// Somebody who was new is gone with all Transports.
    pub fn leave(&mut self, shard: ShardId) {
        self.placement.give_back(shard.index());
        self.steer();
    }

    /// A shard has told its statistics ([`Event::Stats`]).
    pub fn note_stats(&mut self, shard: ShardId, counters: &Counters) {
        self.placement.note_busy(shard.index(), counters.busy_ppm);
    }

    fn steer(&mut self) {
        if let Some(steering) = &mut self.running.steering {
            steering.use_first(self.placement.used());
        }
    }

    /// Sends a command to the shard that its Transport names.
    ///
    /// # Errors
    /// [`Busy`] when that shard's queue is full, or the id names no shard of ours.
    pub fn command(&self, command: Command) -> Result<(), Busy> {
        let shard = command.transport().shard();
        let end = self.running.shards.get(shard.index()).ok_or(Busy)?;
        end.inputs.try_send(ShardInput::Command(command)).map_err(|_| Busy)?;
        // It wakes within a quarter of a second in any case.
        let _ = end.waker.wake();
        Ok(())
    }

    /// Asks every shard how all viewers fare. Each answers with one or more [`Event::Surveyed`]
    /// that carry `survey`, the last of them marked, unless it gets another question meanwhile or
    /// has more events waiting than it may. Returns how many shards were asked: one with a full
    /// queue is not.
    pub fn survey(&self, survey: u64) -> usize {
        let mut asked = 0;
        for end in &self.running.shards {
            if end.inputs.try_send(ShardInput::Survey(survey)).is_ok() {
                asked += 1;
                let _ = end.waker.wake();
            }
        }
        asked
    }

    /// The events of all shards, in order per shard.
    pub fn events(&self) -> &Receiver<Event> {
        &self.running.events
    }

    /// Closes every Transport (with DTLS close_notify) and joins the threads.
    pub fn shut_down(self) {
        drop(self);
    }
}

/// Hands TCP connections to the shards that their first frames name (ICE-TCP).
#[derive(Clone)]
pub struct Door(Arc<[(Sender<ShardInput>, Arc<Waker>)]>);

impl Door {
    /// Gives a connection, with all octets read from it so far, to a shard. The first frame among
    /// them, see [`crate::first_frame`], must be an authentic check of that shard's, or the shard
    /// closes it.
    ///
    /// # Errors
    /// [`Busy`] when the shard's queue is full, or there is no such shard.
    pub fn adopt(&self, shard: ShardId, stream: TcpStream, head: Vec<u8>) -> Result<(), Busy> {
        self.hand_over(shard, NewStream { stream: Socket::Tcp(stream), head })
    }

    /// The same for a peer that somebody in this process relays (TURN): `stream` is his end of a
    /// pair, on which the same frames travel, `peer` the peer's relayed address, `candidate` ours that
    /// it talks to, and `over` how it reaches the relay.
    ///
    /// # Errors
    /// As [`Self::adopt`].
    pub fn adopt_relayed(
        &self,
        shard: ShardId,
        stream: UnixStream,
        (peer, candidate): (SocketAddr, SocketAddr),
        over: Over,
        head: Vec<u8>,
    ) -> Result<(), Busy> {
        let stream = Socket::Relayed { stream, peer, local: candidate.ip(), over };
        self.hand_over(shard, NewStream { stream, head })
    }

    fn hand_over(&self, shard: ShardId, new: NewStream) -> Result<(), Busy> {
        let (inputs, waker) = self.0.get(shard.index()).ok_or(Busy)?;
        let new = Box::new(new);
        inputs.try_send(ShardInput::Stream(new)).map_err(|_| Busy)?;
        // It wakes within a quarter of a second in any case.
        let _ = waker.wake();
        Ok(())
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        for end in &self.running.shards {
            // Blocks only while a shard works off its queue.
            let _ = end.inputs.send(ShardInput::Stop);
            let _ = end.waker.wake();
        }
        for end in &mut self.running.shards {
            end.join();
        }
    }
}
