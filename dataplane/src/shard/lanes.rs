//! The lanes that lead away from a shard: to the others, and to the recorder.

use crate::clock::SenderClock;
use crate::id::{PublicationId, READERS_MAX, ReaderId, ShardId};
use crate::lane::Producer;
use crate::lane::record::{self, Record};
use crate::path::Path;
use crate::stats::{Counters, DropReason};

/// See the module's documentation.
pub(super) struct LanesOut {
    /// By [`ReaderId::index`].
    lanes: Vec<Option<Producer>>,
    /// Something in a lane must not wait with packets that are gathered.
    is_urgent: bool,
}

impl LanesOut {
    /// With a producer for every other shard, by index.
    pub(super) fn new(lanes: Vec<Option<Producer>>) -> Self {
        Self { lanes, is_urgent: false }
    }

    /// The recorder's lane: what it attaches to goes there.
    pub(super) fn adopt_recorder(&mut self, lane: Producer) {
        self.lanes.resize_with(READERS_MAX, || None);
        if let Some(place) = self.lanes.get_mut(ReaderId::Recorder.index()) {
            *place = Some(lane);
        }
    }

    /// The lane to a reader, if there is one.
    pub(super) fn to(&mut self, reader: ReaderId) -> Option<&mut Producer> {
        self.lanes.get_mut(reader.index())?.as_mut()
    }

    /// What is in the lanes shall not wait.
    pub(super) fn hurry(&mut self) {
        self.is_urgent = true;
    }

    /// Puts a packet into the lanes of these readers.
    pub(super) fn push_packet(
        &mut self,
        readers: u32,
        record: &Record<'_>,
        counters: &mut Counters,
    ) {
        for reader in ReaderId::all_in(readers) {
            if let Some(lane) = self.to(reader) {
                let is_taken = record::push(lane, record);
                counters.count_reader(reader, is_taken);
            }
        }
    }

    /// Tells these readers of a stream's clock relation.
    pub(super) fn push_clock(
        &mut self,
        readers: u32,
        (publication, encoding): (PublicationId, u8),
        clock: SenderClock,
    ) {
        for reader in ReaderId::all_in(readers) {
            if let Some(lane) = self.to(reader) {
                // Repeated with the next report: a full lane delays it, no more.
                let _ = record::push(lane, &Record::Clock { publication, encoding, clock });
                self.is_urgent = true;
            }
        }
    }

    /// Hands a datagram to the shard that it is for.
    pub(super) fn pass_on(
        &mut self,
        shard: ShardId,
        (path, at_us): (Path, u64),
        bytes: &[u8],
        counters: &mut Counters,
    ) {
        let Some(lane) = self.to(ReaderId::Shard(shard)) else {
            counters.drop(DropReason::UnknownUfrag);
            return;
        };
        if !record::push(lane, &Record::Datagram { path, at_us, bytes }) {
            counters.drop_from_lane(shard);
        }
        self.is_urgent = true;
    }

    /// Publishes what is in the lanes, if it is time or must not wait. Calls `wake` for each shard that has
    /// something to read.
    pub(super) fn flush(&mut self, is_due: bool, mut wake: impl FnMut(ShardId)) {
        let is_urgent = std::mem::take(&mut self.is_urgent);
        if !is_due && !is_urgent {
            return;
        }
        for (shard, lane) in self.lanes.iter_mut().enumerate() {
            if lane.as_mut().is_some_and(Producer::flush) {
                wake(ShardId(shard as u8));
            }
        }
    }
}
