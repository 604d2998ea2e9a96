//! What shards have to do with each other: packets and records that came through a lane, messages,
//! and the first viewer of a Publication on another shard.

use std::time::Instant;

use super::{ADDRESSES_MAX, Shard};
use crate::canonical::PacketMeta;
use crate::codec::{Codec, MediaKind};
use crate::demand::Demand;
use crate::id::{PublicationId, ReaderId};
use crate::lane::LANE_BYTES;
use crate::lane::PeerMessage;
use crate::lane::record::{self, Record};
use crate::sending::Packet;
use crate::stats::DropReason;

impl Shard {
    /// Takes a record from a lane.
    pub(crate) fn handle_record(&mut self, record: &[u8], now: Instant) {
        self.now_us = self.micros(now);
        match record::read(record) {
            Some(Record::Packet { publication, encoding, codec, meta, bytes }) => {
                self.counters.lane_in += 1;
                self.deliver_foreign(publication, encoding, codec, &meta, bytes);
            }
            Some(Record::Clock { publication, encoding, clock }) => {
                if let Some(source) = self.sources.get_mut(&publication) {
                    source.set_clock(encoding, clock);
                }
            }
            Some(Record::Datagram { path, at_us, bytes }) => {
                let mut copy = [0; crate::outbox::DATAGRAM_BYTES_MAX];
                if let Some(copy) = copy.get_mut(..bytes.len()) {
                    copy.copy_from_slice(bytes);
                    self.strays.is_from_lane = true;
                    self.handle_local_datagram(path, copy, at_us, now);
                    self.strays.is_from_lane = false;
                }
            }
            None => debug_assert!(false, "a record that no shard wrote"),
        }
    }

    /// Takes a message from another shard.
    pub(crate) fn handle_message(&mut self, message: PeerMessage) {
        match message {
            PeerMessage::Attach { publication, from } => self.attach(publication, from),
            PeerMessage::Detach { publication, from } => {
                if let Some(known) = self.publication(publication) {
                    known.readers &= !from.bit();
                }
                if let ReaderId::Shard(from) = from {
                    self.take_demand(publication, from, Demand::default());
                }
            }
            PeerMessage::Route { address, owner } => {
                self.hints.remove(&address);
                match owner {
                    Some(owner) if self.foreign.len() < ADDRESSES_MAX => {
                        self.foreign.insert(address, owner);
                    }
                    Some(_) => self.count(DropReason::AddressLimit),
                    None => {
                        self.foreign.remove(&address);
                    }
                }
            }
            PeerMessage::Demand { publication, from, demand } => {
                self.take_demand(publication, from, demand);
            }
            PeerMessage::Asked { publication, bound_bps } => {
                if let Some(source) = self.sources.get_mut(&publication) {
                    source.asked.ask(bound_bps, self.now_us);
                }
            }
            PeerMessage::Speaking { publication, is_speaking } => {
                if let Some(source) = self.sources.get_mut(&publication) {
                    source.is_speaking = is_speaking;
                }
            }
            PeerMessage::KeyframeWanted { publication, encoding } => {
                self.want_keyframe(publication, encoding);
            }
        }
    }

    fn deliver_foreign(
        &mut self,
        publication: PublicationId,
        encoding: u8,
        codec: Codec,
        meta: &PacketMeta,
        bytes: &[u8],
    ) {
        // The last viewer may have left while the packet was on its way.
        let Some(source) = self.sources.get_mut(&publication) else {
            return;
        };
        source.set_codec(codec);
        let Some(packet) = Packet::split(meta, bytes) else {
            return;
        };
        let is_full = source.keep(encoding, packet);
        // It has waited on its way already.
        self.kept(publication, 0, is_full);
    }

    /// Another shard has its first viewer, or something is to be recorded: from now on there goes a
    /// copy, beginning with what the rings have since the last keyframe.
    fn attach(&mut self, publication: PublicationId, from: ReaderId) {
        // It may have closed while the message was on its way.
        let Some(known) = self.publication(publication) else {
            return;
        };
        known.readers |= from.bit();
        self.is_lane_urgent = true;
        let Some(source) = self.sources.get(&publication) else {
            return;
        };
        let Some(Some(lane)) = self.lanes.get_mut(from.index()) else {
            return;
        };
        if let (true, ReaderId::Shard(shard)) = (source.is_speaking, from) {
            self.messages.push((shard, PeerMessage::Speaking { publication, is_speaking: true }));
        }
        let codec = source.codec;
        for encoding in 0..crate::publication::ENCODINGS_MAX as u8 {
            if let Some(clock) = source.clock(encoding) {
                // Repeated with each report: a full lane delays it, no more.
                let _ = record::push(lane, &Record::Clock { publication, encoding, clock });
            }
            let Some(ring) = source.ring(encoding) else {
                continue;
            };
            if codec.kind() == MediaKind::Audio {
                continue;
            }
            let Some(run) = ring.since_keyframe() else {
                continue;
            };
            let packets = || run.clone().filter_map(|seq| ring.get(seq));
            // A run cut short would be worse than none: then the viewer asks for a keyframe.
            if packets().map(|(_, bytes)| bytes.len()).sum::<usize>() > LANE_BYTES / 2 {
                continue;
            }
            for (meta, bytes) in packets() {
                let meta = *meta;
                let record = Record::Packet { publication, encoding, codec, meta, bytes };
                let is_taken = record::push(lane, &record);
                self.counters.count_reader(from, is_taken);
                if !is_taken {
                    break;
                }
            }
        }
    }

    pub(super) fn want_keyframe(&mut self, publication: PublicationId, encoding: u8) {
        let home = publication.transport.shard();
        if home != self.config.id {
            let message = PeerMessage::KeyframeWanted { publication, encoding };
            if !self.messages.contains(&(home, message.clone())) {
                self.messages.push((home, message));
            }
            return;
        }
        if let Some(publication) = self.publication(publication)
            && let Some(encoding) = publication.encodings.get_mut(usize::from(encoding))
        {
            encoding.is_keyframe_wanted = true;
        }
    }
}
