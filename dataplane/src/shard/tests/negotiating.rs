//! Later offers and answers of the peers on the virtual network.

use str0m::media::{Direction, MediaKind as PeerKind};

use super::net::Net;
use crate::api::Event;
use crate::codec::Codec;

impl Net {
    /// Answers the last offer to a viewer that was left unanswered.
    pub(super) fn answer_last_offer(&mut self, viewer: usize) {
        let id = self.peers[viewer].id;
        let offer = self.events.iter().rev().find_map(|event| match event {
            Event::Offered { transport, offer } if *transport == id => Some(offer.clone()),
            _ => None,
        });
        self.is_mute = false;
        let offer = offer.expect("an offer was made");
        self.on_event(&Event::Offered { transport: id, offer });
        self.settle();
    }

    /// A publisher turns a section on or off by a new offer.
    pub(super) fn set_direction(
        &mut self,
        peer: usize,
        kind: PeerKind,
        sends: bool,
        codecs: &[Codec],
    ) {
        let mid = self.mid(peer, kind);
        let mut changes = self.peers[peer].rtc.sdp_api();
        let direction = if sends { Direction::SendOnly } else { Direction::Inactive };
        changes.set_direction(mid, direction);
        let (offer, pending) = changes.apply().expect("an offer");
        self.peers[peer].pending = Some(pending);
        self.send_offer(self.peers[peer].id, &offer, codecs.to_vec());
        self.run_until("the answer is taken", |net| net.peers[peer].pending.is_none());
    }

    /// A new offer of a publisher for its Transport, with new ICE credentials.
    pub(super) fn republish_with_restart(&mut self, peer: usize, codecs: &[Codec]) {
        let mut changes = self.peers[peer].rtc.sdp_api();
        changes.ice_restart(true);
        let (offer, pending) = changes.apply().expect("an offer");
        self.peers[peer].pending = Some(pending);
        self.send_offer(self.peers[peer].id, &offer, codecs.to_vec());
        self.run_until("the answer is taken", |net| net.peers[peer].pending.is_none());
    }
}
