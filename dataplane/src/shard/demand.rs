//! What viewers can take reaches the publisher. A Publication of one Encoding without layers fits
//! everybody or is paused for those whom it does not fit; where no viewer can take all of it, its
//! publisher is asked to send less (REMB, draft-alvestrand-rmcat-remb-03). The best of all viewers
//! decides, so nobody's bad path lowers another's picture. Of several Encodings those that nobody wishes
//! to have are told to the control plane: publishers that understand leave them out.

use super::Shard;
use super::reports::send_rtcp;
use super::transports::Transports;
use crate::api::{Event, LayerCap};
use crate::codec::MediaKind;
use crate::demand::{Demand, NO_BOUND_BPS, is_told};
use crate::id::{PublicationId, ReaderId, ShardId};
use crate::lane::PeerMessage;
use crate::publication::Publication;
use crate::source::{Origin, Source};
use crate::transport::{Role, Transport};

/// Between two looks at what is in demand, in ticks.
const DEMAND_TICKS: u64 = 10;
/// A publisher is not asked for less than this, in bits per second: less is no picture.
const BOUND_MIN_BPS: u64 = 100_000;
/// An encoder overshoots: so much of what fits is asked for, in percent.
const ASK_PERCENT: u64 = 85;
/// Sound beside the picture gets what it has and so much more, in percent.
const SOUND_PERCENT: u64 = 150;

impl Shard {
    pub(super) fn look_at_demand(&mut self, now_us: u64) {
        if !self.time.is_every(DEMAND_TICKS) {
            return;
        }
        let mut told = Vec::new();
        for (publication, source) in self.sources.iter_mut() {
            if source.codec.kind() != MediaKind::Video {
                continue;
            }
            let (demand, before) = (source.demand(), source.demand_told);
            let is_same = demand.wished == before.wished;
            if !is_same || !is_told(before.bits_per_second, demand.bits_per_second) {
                source.demand_told = demand;
                told.push((publication, source.origin, demand));
            }
        }
        let from = self.config.id;
        for (publication, origin, demand) in told {
            match origin {
                Origin::Publisher(_) => self.transports.take_demand(publication, from, demand),
                Origin::Lane(shard) => {
                    let message = PeerMessage::Demand { publication, from, demand };
                    self.messages.push((shard, message));
                }
                Origin::Gone => {}
            }
        }
        for at in 0..self.transports.publishers().len() {
            let slot = self.transports.publishers()[at];
            self.bound_publisher(slot, now_us);
            self.tell_wanted(slot, now_us);
        }
    }

    /// Tells which Encodings of a publisher's anybody wishes to have.
    fn tell_wanted(&mut self, slot: usize, now_us: u64) {
        let Some(Transport { id, role: Role::Publisher(publisher), .. }) =
            self.transports.get_mut(slot)
        else {
            return;
        };
        let transport = *id;
        for (m_line, publication) in (0..).zip(&mut publisher.publications) {
            let Some(publication) = publication.as_mut().filter(|p| p.encodings.len() > 1) else {
                continue;
            };
            let id = PublicationId { transport, m_line };
            let Some(source) = self.sources.get(id).filter(|_| publication.announced.is_some())
            else {
                continue;
            };
            let all = u8::MAX >> (8 - publication.encodings.len().min(8));
            let is_recorded = publication.readers & ReaderId::Recorder.bit() != 0;
            // Who comes next is shown the least at once.
            let wished = publication.demands.iter().fold(source.least(), |all, d| all | d.wished);
            let wanted = if is_recorded { all } else { wished & all };
            if let Some(encodings) = publication.wanted.next(wanted, all, now_us) {
                self.events.push(Event::Wanted { publication: id, encodings });
            }
        }
    }

    /// Asks a publisher to send less, or no longer to.
    fn bound_publisher(&mut self, slot: usize, now_us: u64) {
        let Some(Transport { id, role: Role::Publisher(publisher), .. }) =
            self.transports.get_mut(slot)
        else {
            return;
        };
        let live = (0..).zip(&publisher.publications).filter_map(|(m_line, publication)| {
            Some((m_line, publication.as_ref().filter(|one| one.announced.is_some())?))
        });
        let transport = *id;
        let mut bounds = Vec::new();
        for (m_line, publication) in live {
            let id = PublicationId { transport, m_line };
            let bound_bps = self.sources.get(id).and_then(|source| bound(publication, source));
            bounds.push((id, publication.kind, publication.readers, bound_bps));
        }
        let all = bounds.iter().map(|(.., bound_bps)| *bound_bps).sum::<Option<u64>>();
        let Some(ask_bps) = publisher.told.next(all.filter(|bps| *bps > 0), now_us) else {
            return;
        };
        let sender = publisher.rtcp_ssrc;
        if let Some(egress) = self.transports.egress_mut(slot) {
            send_rtcp(egress, &mut self.outbox, &mut self.statistics.counters, |writer| {
                writer.remb(sender, ask_bps);
            });
        }
        for (publication, kind, readers, bound_bps) in bounds {
            if kind == MediaKind::Video {
                let bound_bps = bound_bps.filter(|_| ask_bps < NO_BOUND_BPS);
                self.note_asked(publication, readers, bound_bps, now_us);
            }
        }
    }

    /// Lets all who forward a Publication know what its publisher has been asked for.
    fn note_asked(
        &mut self,
        publication: PublicationId,
        readers: u32,
        bound_bps: Option<u64>,
        now_us: u64,
    ) {
        if let Some(source) = self.sources.get_mut(publication) {
            source.asked.ask(bound_bps, now_us);
        }
        for reader in ReaderId::all_in(readers) {
            if let ReaderId::Shard(shard) = reader {
                self.messages.push((shard, PeerMessage::Asked { publication, bound_bps }));
            }
        }
    }
}

impl Transports {
    /// What viewers on a shard ask of a Publication here.
    pub(super) fn take_demand(&mut self, id: PublicationId, from: ShardId, demand: Demand) {
        if let Some(publication) = self.publication_mut(id)
            && let Some(known) = publication.demands.get_mut(from.index())
        {
            *known = demand;
        }
    }
}

/// What a Publication should take at most; nothing if there is no bound.
fn bound(publication: &Publication, source: &Source) -> Option<u64> {
    match publication.kind {
        MediaKind::Audio => Some(source.bits_per_second() * SOUND_PERCENT / 100),
        MediaKind::Video if source.has_choice() => None,
        MediaKind::Video => {
            let best = publication.demands.iter().map(|d| d.bits_per_second).max()?;
            let is_bound = best > 0 && best < NO_BOUND_BPS;
            is_bound.then(|| source.asked.ask_bps(best * ASK_PERCENT / 100).max(BOUND_MIN_BPS))
        }
    }
}

impl Source {
    fn demand(&self) -> Demand {
        let mut demand = Demand::default();
        for subscriber in self.subscribers.iter().flatten() {
            // Whose path takes nothing is a viewer all the same.
            demand.bits_per_second = demand.bits_per_second.max(subscriber.takes_bps).max(1);
            demand.wished |= match subscriber.cap {
                LayerCap::High => u8::MAX,
                LayerCap::Low => self.least(),
                LayerCap::Chosen(layers) => layers
                    .encoding
                    .map_or(u8::MAX, |encoding| self.bits_from_rank(self.rank(encoding))),
            };
        }
        demand
    }

    /// The cheapest Encoding, as a bit.
    fn least(&self) -> u8 {
        self.bits_from_rank(self.encodings_len().saturating_sub(1))
    }
}
