//! The Sources of a shard: what it has of Publications, whether their publishers are here or not.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::gathering::Gathering;
use crate::api::PublicationInfo;
use crate::codec::{Codec, MediaKind};
use crate::forward::Parked;
use crate::id::{PublicationId, ReaderId, ShardId, TransportId};
use crate::lane::PeerMessage;
use crate::sending::Sending;
use crate::source::{Origin, Source};
use crate::stats::Counters;
use crate::subscriber::Subscriber;

/// See the module's documentation.
pub(super) struct Sources {
    here: ShardId,
    by_id: HashMap<PublicationId, Source>,
    gathering: Gathering,
}

impl Sources {
    /// None yet on this shard.
    pub(super) fn new(here: ShardId, gathering: Gathering) -> Self {
        Self { here, by_id: HashMap::new(), gathering }
    }

    /// What there is of a Publication.
    pub(super) fn get(&self, id: PublicationId) -> Option<&Source> {
        self.by_id.get(&id)
    }

    /// The same.
    pub(super) fn get_mut(&mut self, id: PublicationId) -> Option<&mut Source> {
        self.by_id.get_mut(&id)
    }

    /// All of them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (PublicationId, &mut Source)> {
        self.by_id.iter_mut().map(|(id, source)| (*id, source))
    }

    /// A Subscriber, by its index in its Source.
    pub(super) fn subscriber_mut(
        &mut self,
        (id, at): (PublicationId, usize),
    ) -> Option<&mut Subscriber> {
        self.by_id.get_mut(&id)?.subscribers.get_mut(at)?.as_mut()
    }

    /// The Source of a publisher in this slot, of so many Encodings in this codec, and where it waits when
    /// it has kept something.
    pub(super) fn of_publisher(
        &mut self,
        slot: usize,
        id: PublicationId,
        (codec, encodings): (Codec, usize),
    ) -> (&mut Source, &mut Gathering) {
        let origin = Origin::Publisher(slot);
        let source = self.by_id.entry(id);
        let source = source.or_insert_with(|| Source::new(origin, codec, encodings));
        source.origin = origin;
        source.set_codec(codec);
        source.ensure_encodings(encodings);
        (source, &mut self.gathering)
    }

    /// The Source of what is viewed here. What comes through a lane is attached to the first time.
    pub(super) fn of_viewer(
        &mut self,
        info: &PublicationInfo,
        origin: Origin,
        messages: &mut Vec<(ShardId, PeerMessage)>,
    ) -> &mut Source {
        self.by_id.entry(info.id).or_insert_with(|| {
            if let Origin::Lane(shard) = origin {
                let (publication, from) = (info.id, ReaderId::Shard(self.here));
                messages.push((shard, PeerMessage::Attach { publication, from }));
            }
            Source::new(origin, info.codec, info.rids.len())
        })
    }

    /// The Source of what comes through a lane, if anybody still views it, and where it waits when it has
    /// kept something.
    pub(super) fn of_lane(&mut self, id: PublicationId) -> Option<(&mut Source, &mut Gathering)> {
        Some((self.by_id.get_mut(&id)?, &mut self.gathering))
    }

    /// A publisher with so many m-lines has left. What has viewers stays until they leave, because it knows
    /// their numbering.
    pub(super) fn publisher_left(&mut self, transport: TransportId, m_lines: usize) {
        for m_line in 0..m_lines {
            let id = PublicationId { transport, m_line: m_line as u8 };
            if let Entry::Occupied(mut known) = self.by_id.entry(id) {
                if known.get().live == 0 {
                    known.remove();
                } else {
                    known.get_mut().origin = Origin::Gone;
                }
            }
        }
    }

    /// Removes a Subscriber; returns where its SSRCs go on. The last one takes the Source with it, unless
    /// its publisher is here.
    pub(super) fn leave(
        &mut self,
        (publication, at): (PublicationId, usize),
        counters: &mut Counters,
        messages: &mut Vec<(ShardId, PeerMessage)>,
    ) -> Option<Parked> {
        let Entry::Occupied(mut known) = self.by_id.entry(publication) else {
            return None;
        };
        let source = known.get_mut();
        let subscriber = source.subscribers.get_mut(at)?.as_mut()?;
        counters.switches.merge(subscriber.forwarder.take_switches());
        let parked = subscriber.forwarder.park(subscriber.rtx_next);
        source.remove(at);
        if source.live == 0 {
            match source.origin {
                Origin::Publisher(_) => {}
                Origin::Lane(shard) => {
                    let from = ReaderId::Shard(self.here);
                    messages.push((shard, PeerMessage::Detach { publication, from }));
                    known.remove();
                }
                Origin::Gone => {
                    known.remove();
                }
            }
        }
        Some(parked)
    }

    /// When what has gathered is to leave, in microseconds since our epoch.
    pub(super) fn fan_out_at_us(&self) -> Option<u64> {
        self.gathering.until_us()
    }

    /// Fans out what has gathered if it is time; says whether it is.
    pub(super) fn fan_out_due(&mut self, sending: &mut Sending<'_>) -> bool {
        let is_due = self.gathering.take_due(sending.batch.now_us);
        if is_due {
            self.fan_out_all(sending);
        }
        is_due
    }

    fn fan_out_all(&mut self, sending: &mut Sending<'_>) {
        let Self { by_id, gathering, .. } = self;
        while let Some(id) = gathering.pop() {
            let is_sound = |id: &PublicationId| {
                by_id.get(id).is_some_and(|source| source.codec.kind() == MediaKind::Audio)
            };
            // The other half of what one person sends mostly goes to the same viewers.
            let is_one_sound = is_sound(&id);
            let partner = gathering.take_first(|other| {
                other.transport == id.transport && is_sound(other) != is_one_sound
            });
            let Some(partner) = partner else {
                if let Some(source) = by_id.get_mut(&id) {
                    source.fan_out(sending);
                }
                continue;
            };
            let (picture, sound) = if is_one_sound { (partner, id) } else { (id, partner) };
            if let [Some(picture), Some(sound)] = by_id.get_disjoint_mut([&picture, &sound]) {
                picture.fan_out_with(sound, sending);
            }
        }
    }
}

#[cfg(test)]
impl Sources {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
