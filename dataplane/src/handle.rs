//! The control plane's handle on the running shards: placement, commands, the event queue.

use std::sync::Arc;

use crossbeam_channel::Receiver;

use crate::api::{Command, Config, Event, Listening};
use crate::error::StartError;
use crate::id::{ShardId, TransportId};

/// Starts shards and talks to them. Dropping it stops them.
pub struct DataPlane {
    _private: (),
}

/// A shard's command queue is full: the sender's Transport should be given up, or the request
/// refused as "server busy".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Busy;

impl DataPlane {
    /// Binds the sockets, starts and pins the threads. `notify` is called, from a shard's thread,
    /// after one or more events were put into the queue; it must not block.
    pub fn start(
        _config: Config,
        _notify: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Self, StartError> {
        unimplemented!()
    }

    /// Where the shards listen.
    pub fn listening(&self) -> &Listening {
        unimplemented!()
    }

    /// How many shards run.
    pub fn shards(&self) -> usize {
        unimplemented!()
    }

    /// A fresh Transport id on the least-loaded shard, or on `shard` if given (taken modulo the
    /// number of shards). Nothing exists under it until `Publish` or `Subscribe`.
    pub fn place(&self, _shard: Option<ShardId>) -> TransportId {
        unimplemented!()
    }

    /// Sends a command to the shard that its Transport names.
    pub fn command(&self, _command: Command) -> Result<(), Busy> {
        unimplemented!()
    }

    /// The events of all shards, in order per shard.
    pub fn events(&self) -> &Receiver<Event> {
        unimplemented!()
    }

    /// Closes every Transport (with DTLS close_notify) and joins the threads.
    pub fn shut_down(self) {
        unimplemented!()
    }
}
