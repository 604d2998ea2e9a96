//! Whose an address or a TCP connection is: a Transport's of this shard, or another shard's peer's.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::id::ShardId;
use crate::lane::PeerMessage;
use crate::path::{Path, PathIndex, StreamId};

/// Proven addresses of one shard, and remembered addresses of other shards' peers.
pub(super) const ADDRESSES_MAX: usize = 65_536;
/// Routes that only unauthenticated STUN has told; owners confirm the good ones at once.
pub(super) const HINTS_MAX: usize = 4096;

/// Which Transport an address belongs to, and which of its paths that is.
#[derive(Clone, Copy)]
pub(super) struct Home {
    /// The Transport's.
    pub slot: usize,
    /// The path.
    pub path: PathIndex,
}

/// When a datagram of nobody's was looked at last, and where the search for its sender goes on.
#[derive(Debug, Default)]
pub(super) struct Strays {
    /// Before this, in microseconds since our epoch, none is looked at.
    pub next_at_us: u64,
    /// The slot to go on at.
    pub turn: usize,
    /// What comes through a lane was looked at by the shard that it had come to.
    pub is_from_lane: bool,
}

/// See the module's documentation.
pub(super) struct Routes {
    here: ShardId,
    shards: usize,
    by_address: HashMap<SocketAddr, Home>,
    /// TCP connections that have brought an authentic check.
    by_stream: HashMap<StreamId, Home>,
    /// Other shards' peers, as their owners said after authenticating them.
    foreign: HashMap<SocketAddr, ShardId>,
    /// The same from STUN that nobody has authenticated yet: only until the owner has.
    hints: HashMap<SocketAddr, ShardId>,
    /// TCP connections of no Transport any more, to be closed.
    ended_streams: Vec<StreamId>,
    /// The search for peers that have moved.
    pub strays: Strays,
}

impl Routes {
    /// Those of one of so many shards.
    pub(super) fn new(here: ShardId, shards: usize) -> Self {
        Self {
            here,
            shards,
            by_address: HashMap::new(),
            by_stream: HashMap::new(),
            foreign: HashMap::new(),
            hints: HashMap::new(),
            ended_streams: Vec::new(),
            strays: Strays::default(),
        }
    }

    /// Whose a path is, and which of its paths.
    pub(super) fn home_of(&self, path: Path) -> Option<Home> {
        match path.stream {
            None => self.by_address.get(&path.peer).copied(),
            Some(stream) => self.by_stream.get(&stream).copied(),
        }
    }

    /// Whether no more addresses can be taken.
    pub(super) fn is_full(&self) -> bool {
        self.by_address.len() >= ADDRESSES_MAX
    }

    /// Whether a TCP connection is a Transport's: its check was authentic.
    pub(super) fn has_stream(&self, stream: StreamId) -> bool {
        self.by_stream.contains_key(&stream)
    }

    /// From now on what comes over a path is a Transport's.
    pub(super) fn find_home(
        &mut self,
        path: Path,
        home: Home,
        messages: &mut Vec<(ShardId, PeerMessage)>,
    ) {
        if let Some(stream) = path.stream {
            self.by_stream.insert(stream, home);
        } else if self.by_address.insert(path.peer, home).is_none() {
            self.tell(path.peer, Some(self.here), messages);
        }
    }

    /// A path is no longer this Transport's.
    pub(super) fn forget(
        &mut self,
        path: Path,
        slot: usize,
        messages: &mut Vec<(ShardId, PeerMessage)>,
    ) {
        if let Some(stream) = path.stream {
            if self.by_stream.remove(&stream).is_some() {
                self.ended_streams.push(stream);
            }
            return;
        }
        // Another Transport may have the address since (NAT).
        if self.by_address.get(&path.peer).is_some_and(|home| home.slot == slot) {
            self.by_address.remove(&path.peer);
            self.tell(path.peer, None, messages);
        }
    }

    /// A TCP connection has ended. Returns whose it was.
    pub(super) fn end_stream(&mut self, stream: StreamId) -> Option<Home> {
        self.by_stream.remove(&stream)
    }

    /// A TCP connection that is to be closed.
    pub(super) fn pop_ended_stream(&mut self) -> Option<StreamId> {
        self.ended_streams.pop()
    }

    /// Tells the other shards, whose sockets may get its datagrams, where a peer's address belongs.
    fn tell(
        &self,
        address: SocketAddr,
        owner: Option<ShardId>,
        messages: &mut Vec<(ShardId, PeerMessage)>,
    ) {
        let all = (0..self.shards).map(|shard| ShardId(shard as u8));
        let others = all.filter(|shard| *shard != self.here);
        messages.extend(others.map(|shard| (shard, PeerMessage::Route { address, owner })));
    }

    /// Another shard has told whose an address is, or that it is nobody's any more. Says whether there
    /// was room to remember it.
    pub(super) fn learn(&mut self, address: SocketAddr, owner: Option<ShardId>) -> bool {
        self.hints.remove(&address);
        match owner {
            Some(_) if self.foreign.len() >= ADDRESSES_MAX => return false,
            Some(owner) => self.foreign.insert(address, owner),
            None => self.foreign.remove(&address),
        };
        true
    }

    /// STUN that nobody has authenticated says that an address is of another shard's peer. Only a hint:
    /// the owner checks the sender.
    pub(super) fn hint(&mut self, address: SocketAddr, shard: ShardId) {
        if shard.index() < self.shards {
            if self.hints.len() >= HINTS_MAX {
                self.hints.clear();
            }
            self.hints.insert(address, shard);
        }
    }

    /// The shard that an address belongs to, if it is another. What an owner has said counts for more than
    /// what anybody may claim.
    pub(super) fn elsewhere(&self, address: SocketAddr) -> Option<ShardId> {
        self.foreign.get(&address).or_else(|| self.hints.get(&address)).copied()
    }

    /// Other shards with a peer of this IP.
    pub(super) fn shards_at(&self, ip: IpAddr) -> Vec<ShardId> {
        let of_it = self.foreign.iter().filter(|(address, _)| address.ip() == ip);
        let mut shards: Vec<ShardId> = of_it.map(|(_, shard)| *shard).collect();
        shards.sort_unstable_by_key(|shard| shard.0);
        shards.dedup();
        shards
    }
}

#[cfg(test)]
impl Routes {
    /// Addresses proven here, proven elsewhere, and claimed to be elsewhere.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.by_address.len(), self.foreign.len(), self.hints.len())
    }
}
