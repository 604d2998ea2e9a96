//! What viewers can take reaches the publisher. A Publication of one Encoding without layers fits
//! everybody or is paused for those whom it does not fit; where no viewer can take all of it, its
//! publisher is asked to send less (REMB, draft-alvestrand-rmcat-remb-03). The best of all viewers
//! decides, so nobody's bad path lowers another's picture. Of several Encodings those that nobody wishes
//! to have are told to the control plane: publishers that understand leave them out.

use super::{PeerMessage, Shard};
use crate::allocate::Wish;
use crate::api::{Event, LayerCap, MediaKind};
use crate::id::{PublicationId, ReaderId, ShardId};
use crate::publication::Publication;
use crate::source::Source;
use crate::transport::{Role, Transport};

/// Between two looks at what is in demand, in ticks.
const DEMAND_TICKS: u64 = 10;
/// A demand that has changed by less than one part in so many is not told.
const CHANGE_PARTS: u64 = 16;
/// A publisher is not asked for less than this, in bits per second: less is no picture.
const BOUND_MIN_BPS: u64 = 100_000;
/// What says that there is no bound any more.
const NO_BOUND_BPS: u64 = 1_000_000_000;
/// An encoder overshoots: so much of what fits is asked for, in percent.
const ASK_PERCENT: u64 = 85;
/// A bound is repeated after so long, because reports get lost; and its end so many times.
const REPEAT_US: u64 = 1_000_000;
const LIFTS: u8 = 3;
/// Sound beside the picture gets what it has and so much more, in percent.
const SOUND_PERCENT: u64 = 150;
/// A picture is at the limit of its path from this share of it on, in percent: then it is of use to
/// know whether there is more.
const BINDING_PERCENT: u64 = 75;
/// What has been sent at most lately must fit with so much to spare, in percent.
const PEAK_PERCENT: u64 = 130;

/// Encodings must be unwanted for so long before it is told: pages are turned back and forth. What is
/// wanted is told at once.
const UNWANTED_US: u64 = 5_000_000;

/// What the viewers on one shard ask of a Publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// What the best of them can take, in bits per second; 0 if there are none.
    pub bits_per_second: u64,
    /// The Encodings that any of them wishes to have if its path takes them, and all cheaper ones, as
    /// bits.
    pub wished: u8,
}

/// Which Encodings of a Publication the control plane knows to be wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// As bits; nothing as long as all are.
    told: Option<u8>,
    /// Since when fewer are.
    fewer_since_us: Option<u64>,
}

impl Wanted {
    /// What to tell now, if anything: of `all` those in `wanted`.
    fn next(&mut self, wanted: u8, all: u8, now_us: u64) -> Option<u8> {
        let told = self.told.unwrap_or(all);
        if wanted & !told != 0 {
            // What else has become unwanted meanwhile waits.
            let told = told | wanted;
            (self.told, self.fewer_since_us) = (Some(told), None);
            return Some(told);
        }
        if wanted == told {
            self.fewer_since_us = None;
            return None;
        }
        let since_us = *self.fewer_since_us.get_or_insert(now_us);
        if now_us.saturating_sub(since_us) < UNWANTED_US {
            return None;
        }
        (self.told, self.fewer_since_us) = (Some(wanted), None);
        Some(wanted)
    }
}

/// The bound that a publisher has been told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    bound_bps: Option<u64>,
    at_us: u64,
    lifts: u8,
}

/// What of `budget_bps` each picture could take if it were sent at any rate.
pub(super) fn takes(budget_bps: u64, wishes: &[Wish]) -> Vec<u64> {
    let sum: u64 = wishes.iter().map(Wish::bits_per_second).sum();
    let spare = budget_bps.saturating_sub(sum);
    let takes = wishes.iter().map(|wish| {
        let peers = wishes.iter().filter(|other| other.priority == wish.priority);
        let is_short = peers.clone().any(|other| other.then.is_none());
        let own = wish.bits_per_second() + spare;
        if !is_short {
            return own;
        }
        // Somebody as important gets nothing: then all of them shall get the same.
        let above = wishes.iter().filter(|other| other.priority < wish.priority);
        let above: u64 = above.map(Wish::bits_per_second).sum();
        budget_bps.saturating_sub(above) / peers.count().max(1) as u64
    });
    takes.collect()
}

/// What would be of use to a picture whose publisher is asked for less than it would send, or may be:
/// one that takes nearly all that it can, or has been better before.
pub(super) fn stretch(wishes: &[Wish], takes: &[u64]) -> Option<u64> {
    let sum: u64 = wishes.iter().map(Wish::bits_per_second).sum();
    let wanted = wishes.iter().zip(takes).filter(|(wish, _)| wish.peak_bps > 0).filter_map(
        |(wish, takes)| {
            let own = wish.bits_per_second();
            let peak = wish.peak_bps * PEAK_PERCENT / 100;
            let is_at_limit = own * 100 > *takes * BINDING_PERCENT;
            let wanted = if is_at_limit { own.max(peak) * 2 } else { peak };
            (is_at_limit || *takes < peak).then(|| sum - own + wanted.min(takes * 2))
        },
    );
    wanted.max()
}

impl Shard {
    pub(super) fn look_at_demand(&mut self, now_us: u64) {
        if !self.tick.is_multiple_of(DEMAND_TICKS) {
            return;
        }
        let mut told = Vec::new();
        for (publication, source) in &mut self.sources {
            if source.codec.kind() != MediaKind::Video {
                continue;
            }
            let (demand, before) = (source.demand(), source.demand_told);
            let is_same = demand.wished == before.wished;
            if !is_same || !is_told(before.bits_per_second, demand.bits_per_second) {
                source.demand_told = demand;
                told.push((*publication, demand));
            }
        }
        for (publication, demand) in told {
            let home = publication.transport.shard();
            let from = self.config.id;
            if home == from {
                self.take_demand(publication, from, demand);
            } else {
                self.messages.push((home, PeerMessage::Demand { publication, from, demand }));
            }
        }
        for at in 0..self.publishers.len() {
            self.bound_publisher(self.publishers[at], now_us);
            self.tell_wanted(self.publishers[at], now_us);
        }
    }

    /// Tells which Encodings of a publisher's anybody wishes to have.
    fn tell_wanted(&mut self, slot: usize, now_us: u64) {
        let Some(Some(Transport { id, role: Role::Publisher(publisher), .. })) =
            self.slots.get_mut(slot)
        else {
            return;
        };
        let transport = *id;
        for (m_line, publication) in (0..).zip(&mut publisher.publications) {
            let Some(publication) = publication.as_mut().filter(|p| p.encodings.len() > 1) else {
                continue;
            };
            let id = PublicationId { transport, m_line };
            let Some(source) = self.sources.get(&id).filter(|_| publication.announced.is_some())
            else {
                continue;
            };
            let all = u8::MAX >> (8 - publication.encodings.len().min(8));
            let readers = self.remote.get(&id).copied().unwrap_or(0);
            let is_recorded = readers & ReaderId::Recorder.bit() != 0;
            // Who comes next is shown the least at once.
            let wished = publication.demands.iter().fold(source.least(), |all, d| all | d.wished);
            let wanted = if is_recorded { all } else { wished & all };
            if let Some(encodings) = publication.wanted.next(wanted, all, now_us) {
                self.events.push(Event::Wanted { publication: id, encodings });
            }
        }
    }

    /// What viewers on a shard ask of a Publication here.
    pub(super) fn take_demand(&mut self, id: PublicationId, from: ShardId, demand: Demand) {
        if let Some(publication) = self.publication(id)
            && let Some(known) = publication.demands.get_mut(from.index())
        {
            *known = demand;
        }
    }

    fn bound_publisher(&mut self, slot: usize, now_us: u64) {
        let Some(Some(Transport { id, role: Role::Publisher(publisher), .. })) =
            self.slots.get_mut(slot)
        else {
            return;
        };
        let live = (0..).zip(&publisher.publications).filter_map(|(m_line, publication)| {
            Some((m_line, publication.as_ref().filter(|one| one.announced.is_some())?))
        });
        let bounds = live.map(|(m_line, publication)| {
            let source = self.sources.get(&PublicationId { transport: *id, m_line })?;
            bound(publication, source)
        });
        let bound_bps = bounds.sum::<Option<u64>>().filter(|bound_bps| *bound_bps > 0);
        let Some(ask_bps) = publisher.told.next(bound_bps, now_us) else {
            return;
        };
        let sender = publisher.rtcp_ssrc;
        if let Some(Some(egress)) = self.egress.get_mut(slot) {
            super::tick::send_rtcp(egress, &mut self.outbox, &mut self.counters, |writer| {
                writer.remb(sender, ask_bps);
            });
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
            is_bound.then(|| (best * ASK_PERCENT / 100).max(BOUND_MIN_BPS))
        }
    }
}

/// Whether what has been told last still says it well enough.
fn is_told(told_bps: u64, bps: u64) -> bool {
    bps.abs_diff(told_bps) <= told_bps.min(bps) / CHANGE_PARTS
}

impl Told {
    /// The bound told last.
    #[cfg(test)]
    pub(super) fn bound_bps(&self) -> Option<u64> {
        self.bound_bps
    }

    /// What to tell now, if anything.
    fn next(&mut self, bound_bps: Option<u64>, now_us: u64) -> Option<u64> {
        let is_repeated = now_us.saturating_sub(self.at_us) >= REPEAT_US;
        match bound_bps {
            Some(bound_bps) => {
                if is_told(self.bound_bps.unwrap_or(0), bound_bps) && !is_repeated {
                    return None;
                }
                *self = Self { bound_bps: Some(bound_bps), at_us: now_us, lifts: LIFTS };
                Some(bound_bps)
            }
            None => {
                let has_ended = self.bound_bps.take().is_some();
                if self.lifts == 0 || (!has_ended && !is_repeated) {
                    return None;
                }
                (self.lifts, self.at_us) = (self.lifts - 1, now_us);
                Some(NO_BOUND_BPS)
            }
        }
    }
}

impl Source {
    fn demand(&self) -> Demand {
        let mut demand = Demand::default();
        for subscriber in self.subscribers.iter().flatten() {
            demand.bits_per_second = demand.bits_per_second.max(subscriber.takes_bps);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choose::Rung;

    fn wish(bits_per_second: u64, priority: u8, then: Option<usize>) -> Wish {
        let rung = Rung { encoding: 0, spatial_max: 0, temporal_max: 0, bits_per_second };
        Wish { rungs: vec![rung], priority, peak_bps: bits_per_second, now: then, then }
    }

    #[test]
    fn what_is_left_over_is_for_whoever_could_use_it() {
        let both = [wish(300, 1, Some(0)), wish(200, 1, Some(0))];
        assert_eq!(takes(1000, &both), [800, 700]);
        assert_eq!(stretch(&both, &[800, 700]), None, "there is room");
        assert_eq!(stretch(&both, &[310, 700]), Some(820), "the first could use twice as much");
        let before = [Wish { peak_bps: 900, ..wish(100, 1, Some(0)) }];
        assert_eq!(stretch(&before, &[400]), Some(800), "it has been better");
        assert_eq!(stretch(&before, &[1000]), Some(1170));
        assert_eq!(stretch(&before, &[1200]), None, "that fits");
        let chosen = [Wish { peak_bps: 0, ..wish(100, 1, Some(0)) }];
        assert_eq!(stretch(&chosen, &[100]), None, "there are other layers");
        let one_paused = [wish(900, 1, Some(0)), wish(800, 1, None), wish(40, 0, Some(0))];
        assert_eq!(takes(1000, &one_paused), [480, 480, 100], "halves of what slides leave");
    }

    #[test]
    fn a_bound_is_told_when_it_changes_repeated_and_lifted() {
        let mut told = Told::default();
        assert_eq!(told.next(None, 1), None);
        assert_eq!(told.next(Some(1_000_000), 2), Some(1_000_000));
        assert_eq!(told.next(Some(1_010_000), 3), None);
        assert_eq!(told.next(Some(500_000), 4), Some(500_000));
        assert_eq!(told.next(Some(500_000), 4 + REPEAT_US), Some(500_000));
        let lifted: Vec<_> = (0..10).map(|at| told.next(None, (3 + at) * REPEAT_US)).collect();
        let ends = lifted.iter().flatten().count();
        assert_eq!((lifted[0], ends), (Some(NO_BOUND_BPS), usize::from(LIFTS)));
    }
}
