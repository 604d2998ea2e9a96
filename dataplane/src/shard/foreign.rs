//! What shards have to do with each other: packets and records that came through a lane, messages,
//! and the first viewer of a Publication on another shard.

use std::time::Instant;

use super::Shard;
use crate::codec::{Codec, MediaKind};
use crate::demand::Demand;
use crate::id::{PublicationId, ReaderId};
use crate::lane::LANE_BYTES;
use crate::lane::PeerMessage;
use crate::lane::record::{self, Record};
use crate::sending::Packet;
use crate::source::Origin;
use crate::stats::DropReason;

impl Shard {
    /// Takes a record from a lane.
    pub(crate) fn handle_record(&mut self, record: &[u8], now: Instant) {
        self.time.set(now);
        match record::read(record) {
            Some(Record::Packet { publication, encoding, codec, meta, header, payload }) => {
                self.statistics.counters.lane_in += 1;
                let packet = Packet { meta: &meta, header, payload, padding: 0 };
                self.deliver_foreign(publication, (encoding, codec), packet);
            }
            Some(Record::Clock { publication, encoding, clock }) => {
                if let Some(source) = self.sources.get_mut(publication) {
                    source.set_clock(encoding, clock);
                }
            }
            Some(Record::Datagram { path, at_us, bytes }) => {
                let mut copy = [0; crate::outbox::DATAGRAM_BYTES_MAX];
                if let Some(copy) = copy.get_mut(..bytes.len()) {
                    copy.copy_from_slice(bytes);
                    self.routes.strays.is_from_lane = true;
                    self.handle_local_datagram(path, copy, at_us, now);
                    self.routes.strays.is_from_lane = false;
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
                if let Some(known) = self.transports.publication_mut(publication) {
                    known.readers &= !from.bit();
                }
                if let ReaderId::Shard(from) = from {
                    self.transports.take_demand(publication, from, Demand::default());
                }
            }
            PeerMessage::Route { address, owner } => {
                if !self.routes.learn(address, owner) {
                    self.count(DropReason::AddressLimit);
                }
            }
            PeerMessage::Demand { publication, from, demand } => {
                self.transports.take_demand(publication, from, demand);
            }
            PeerMessage::Asked { publication, bound_bps } => {
                if let Some(source) = self.sources.get_mut(publication) {
                    source.asked.ask(bound_bps, self.time.now_us);
                }
            }
            PeerMessage::Speaking { publication, is_speaking } => {
                if let Some(source) = self.sources.get_mut(publication) {
                    source.is_speaking = is_speaking;
                }
            }
            PeerMessage::KeyframeWanted { publication, encoding } => {
                if let Some(publication) = self.transports.publication_mut(publication) {
                    publication.want_keyframe(encoding);
                }
            }
        }
    }

    fn deliver_foreign(
        &mut self,
        publication: PublicationId,
        (encoding, codec): (u8, Codec),
        packet: Packet<'_>,
    ) {
        let (mut sending, sources) = self.sending(self.time.now_us);
        // The last viewer may have left while the packet was on its way.
        let Some((source, gathering)) = sources.of_lane(publication) else {
            return;
        };
        source.set_codec(codec);
        let is_full = source.keep(encoding, packet);
        // It has waited on its way already.
        gathering.add(publication, 0);
        if is_full {
            source.fan_out(&mut sending);
        }
    }

    /// Another shard has its first viewer, or something is to be recorded: from now on there goes a
    /// copy, beginning with what the rings have since the last keyframe.
    fn attach(&mut self, publication: PublicationId, from: ReaderId) {
        // It may have closed while the message was on its way.
        let Some(known) = self.transports.publication_mut(publication) else {
            return;
        };
        known.readers |= from.bit();
        self.lanes.hurry();
        let (Some(source), Some(lane)) = (self.sources.get(publication), self.lanes.to(from))
        else {
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
            let found = || run.clone().filter_map(|seq| ring.get(seq));
            let packets = || found().filter_map(|(meta, bytes)| Packet::split(meta, bytes));
            // A run cut short would be worse than none: then the viewer asks for a keyframe.
            if found().map(|(_, bytes)| bytes.len()).sum::<usize>() > LANE_BYTES / 2 {
                continue;
            }
            for Packet { meta, header, payload, .. } in packets() {
                let meta = *meta;
                let record = Record::Packet { publication, encoding, codec, meta, header, payload };
                let is_taken = record::push(lane, &record);
                self.statistics.counters.count_reader(from, is_taken);
                if !is_taken {
                    break;
                }
            }
        }
    }

    /// A viewer here needs a keyframe of what has this origin.
    pub(super) fn want_keyframe(
        &mut self,
        origin: Origin,
        publication: PublicationId,
        encoding: u8,
    ) {
        match origin {
            Origin::Publisher(slot) => {
                let publisher = self.transports.publisher_mut(slot);
                if let Some(known) = publisher.and_then(|one| one.publication(publication.m_line)) {
                    known.want_keyframe(encoding);
                }
            }
            Origin::Lane(shard) => {
                let message = (shard, PeerMessage::KeyframeWanted { publication, encoding });
                if !self.messages.contains(&message) {
                    self.messages.push(message);
                }
            }
            Origin::Gone => {}
        }
    }
}
