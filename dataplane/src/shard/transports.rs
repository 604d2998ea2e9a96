//! The Transports of a shard, by slot: an index that stays a Transport's for its life and is used
//! again after it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Instant;

use crate::api::ClientKey;
use crate::egress::Egress;
use crate::id::{PublicationId, TransportId};
use crate::publication::Publication;
use crate::transport::{Publisher, Role, Transport, Viewer};

/// Transports of one shard; one more is refused as "server full".
pub(crate) const TRANSPORTS_MAX: usize = 65_536;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Transports {
    slots: Vec<Option<Transport>>,
    free: Vec<usize>,
    publishers: Vec<usize>,
    by_id: HashMap<TransportId, usize>,
    /// By slot, of those that are connected: apart from the rest of them, because a fan-out needs
    /// nothing else.
    egress: Vec<Option<Egress>>,
    timers: BinaryHeap<Reverse<(Instant, usize, TransportId)>>,
}

impl Transports {
    /// A free slot, or `None` if the shard is full.
    pub(super) fn reserve(&mut self) -> Option<usize> {
        match self.free.pop() {
            Some(slot) => Some(slot),
            None if self.slots.len() < TRANSPORTS_MAX => {
                self.slots.push(None);
                Some(self.slots.len() - 1)
            }
            None => None,
        }
    }

    /// Gives a slot back that was reserved for nothing.
    pub(super) fn release(&mut self, slot: usize) {
        self.free.push(slot);
    }

    /// Puts a Transport into the slot that was reserved for it.
    pub(super) fn insert(&mut self, slot: usize, transport: Transport) {
        self.by_id.insert(transport.id, slot);
        self.slots[slot] = Some(transport);
    }

    /// Takes a Transport out; its slot is free.
    pub(super) fn remove(&mut self, slot: usize) -> Option<Transport> {
        let transport = self.slots.get_mut(slot)?.take()?;
        self.by_id.remove(&transport.id);
        if let Some(egress) = self.egress.get_mut(slot) {
            *egress = None;
        }
        if matches!(transport.role, Role::Publisher(_)) {
            self.publishers.retain(|known| *known != slot);
        }
        self.free.push(slot);
        Some(transport)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.by_id.len()
    }

    /// How many slots there are, with or without a Transport.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The ids of all.
    pub(super) fn ids(&self) -> impl Iterator<Item = TransportId> {
        self.by_id.keys().copied()
    }

    /// The slot of a Transport.
    pub(super) fn slot_of(&self, id: TransportId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// The Transport in a slot.
    pub(super) fn get(&self, slot: usize) -> Option<&Transport> {
        self.slots.get(slot)?.as_ref()
    }

    /// The same.
    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Transport> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// The publisher in a slot.
    pub(super) fn publisher(&self, slot: usize) -> Option<&Publisher> {
        match &self.get(slot)?.role {
            Role::Publisher(publisher) => Some(publisher),
            Role::Viewer(_) => None,
        }
    }

    /// The same.
    pub(super) fn publisher_mut(&mut self, slot: usize) -> Option<&mut Publisher> {
        match &mut self.get_mut(slot)?.role {
            Role::Publisher(publisher) => Some(publisher),
            Role::Viewer(_) => None,
        }
    }

    /// A Publication whose publisher is here.
    pub(super) fn publication_mut(&mut self, id: PublicationId) -> Option<&mut Publication> {
        let slot = self.slot_of(id.transport)?;
        self.publisher_mut(slot)?.publication(id.m_line)
    }

    /// The viewer in a slot.
    pub(super) fn viewer(&self, slot: usize) -> Option<&Viewer> {
        match &self.get(slot)?.role {
            Role::Viewer(viewer) => Some(viewer),
            Role::Publisher(_) => None,
        }
    }

    /// The same.
    pub(super) fn viewer_mut(&mut self, slot: usize) -> Option<&mut Viewer> {
        match &mut self.get_mut(slot)?.role {
            Role::Viewer(viewer) => Some(viewer),
            Role::Publisher(_) => None,
        }
    }

    /// Whose the viewer in a slot is.
    pub(super) fn client_of(&self, slot: usize) -> Option<ClientKey> {
        self.get(slot)?.client()
    }

    /// What a viewer gets under an SSRC: the Publication and the Subscriber's index there.
    pub(super) fn subscription(&self, slot: usize, ssrc: u32) -> Option<(PublicationId, usize)> {
        let (info, at) = self.viewer(slot)?.subscription_by_ssrc(ssrc)?;
        Some((info.id, at))
    }

    /// Notes that a Transport publishes.
    pub(super) fn note_publisher(&mut self, slot: usize) {
        if !self.publishers.contains(&slot) {
            self.publishers.push(slot);
        }
    }

    /// The slots of those that publish.
    pub(super) fn publishers(&self) -> &[usize] {
        &self.publishers
    }

    /// A Transport is connected: from now on packets leave for its peer.
    pub(super) fn connect(&mut self, slot: usize, egress: Egress) {
        if self.egress.len() <= slot {
            self.egress.resize_with(slot + 1, || None);
        }
        self.egress[slot] = Some(egress);
    }

    /// All egresses, by slot; `None` where nobody is connected.
    pub(super) fn egresses_mut(&mut self) -> &mut [Option<Egress>] {
        &mut self.egress
    }

    /// Where the packets of a connected Transport go.
    pub(super) fn egress(&self, slot: usize) -> Option<&Egress> {
        self.egress.get(slot)?.as_ref()
    }

    /// The same.
    pub(super) fn egress_mut(&mut self, slot: usize) -> Option<&mut Egress> {
        self.egress.get_mut(slot)?.as_mut()
    }

    /// A connected Transport, and where its packets go.
    pub(super) fn connected_mut(&mut self, slot: usize) -> Option<(&mut Transport, &mut Egress)> {
        let transport = self.slots.get_mut(slot)?.as_mut()?;
        Some((transport, self.egress.get_mut(slot)?.as_mut()?))
    }

    /// A connected publisher with its id, and where its packets go.
    pub(super) fn connected_publisher_mut(
        &mut self,
        slot: usize,
    ) -> Option<(TransportId, &mut Publisher, &mut Egress)> {
        let (transport, egress) = self.connected_mut(slot)?;
        match &mut transport.role {
            Role::Publisher(publisher) => Some((transport.id, publisher, egress)),
            Role::Viewer(_) => None,
        }
    }

    /// A connected viewer, and where its packets go.
    pub(super) fn connected_viewer_mut(
        &mut self,
        slot: usize,
    ) -> Option<(&mut Viewer, &mut Egress)> {
        let (transport, egress) = self.connected_mut(slot)?;
        match &mut transport.role {
            Role::Viewer(viewer) => Some((viewer, egress)),
            Role::Publisher(_) => None,
        }
    }

    /// Sets a Transport's timer, in place of the one that it may have.
    pub(super) fn set_timer(&mut self, slot: usize, at: Instant) {
        if let Some(transport) = self.slots.get_mut(slot).and_then(Option::as_mut)
            && transport.timer_at.replace(at) != Some(at)
        {
            self.timers.push(Reverse((at, slot, transport.id)));
        }
    }

    /// Nobody wakes up for timers that have been replaced.
    pub(super) fn drop_stale_timers(&mut self) {
        let mut timers = std::mem::take(&mut self.timers);
        timers.retain(|Reverse(timer)| self.is_current(*timer));
        self.timers = timers;
    }

    fn is_current(&self, (at, slot, id): (Instant, usize, TransportId)) -> bool {
        self.get(slot).is_some_and(|known| known.id == id && known.timer_at == Some(at))
    }

    /// When the next timer is due.
    pub(super) fn timer_at(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, ..))| *at)
    }

    /// The slot of a Transport whose timer is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<usize> {
        while let Some(Reverse(timer)) = self.timers.peek().copied() {
            let (at, slot, _) = timer;
            if at > now {
                return None;
            }
            self.timers.pop();
            if self.is_current(timer) {
                return Some(slot);
            }
        }
        None
    }
}

#[cfg(test)]
impl Transports {
    /// Whether nothing is left of any.
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
            && self.publishers.is_empty()
            && self.egress.iter().all(Option::is_none)
    }
}
