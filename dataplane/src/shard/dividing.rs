//! Dividing what a client's path takes among all that it gets: sound first, then pictures.

use std::time::Instant;

use super::Shard;
use super::clients::Client;
use super::sources::Sources;
use super::transports::Transports;
use crate::allocate::{Wish, allocate};
use crate::api::{ClientKey, Event};
use crate::choose::Allowance;
use crate::codec::MediaKind;
use crate::congestion::PROBE_PERCENT;
use crate::demand;
use crate::id::PublicationId;
use crate::red;
use crate::source::Source;
use crate::subscriber::Subscriber;
use crate::transport::{Role, Transport};

/// A client whose path takes so many times what it gets, and who could get nothing better, is at ease.
const EASE: u64 = 2;
/// Of what a path takes audio gets its part first, and so much is left for reports, in percent.
const SPARE_PERCENT: u64 = 3;
/// A path must take so many times what sound costs with it before sound is sent more than once.
const REDUNDANT_FROM: u64 = 2;
/// An only Encoding that does not fit any more goes on for so long, since its publisher is asked for less
/// at once: what is too much until it does so waits before the network. To stop it would cost a keyframe,
/// and a pause that is longer than this.
const SPARED_US: u64 = 600_000;
/// That ends when packets wait for so long: some encoders need seconds.
const FLOODED_US: u64 = 1_200_000;
/// What has come back after a pause goes on for so long, unless packets wait for as long: its first keyframe
/// alone may be more than the path takes in a second, and to stop it then would cost another one.
const RESUMED_US: u64 = 3_000_000;

/// A Subscription: the Publication, and the Subscriber's index in its Source.
type Picture = (PublicationId, usize);
/// What of a picture its viewer may get.
struct Share {
    allowance: Allowance,
    /// What of it the path could take, in bits per second.
    takes_bps: u64,
    /// It costs more than that, and flows.
    is_short: bool,
    /// So much waits that its publisher cannot be waited for.
    is_flooded: bool,
}

/// What a client is given: its sounds and what they cost, and its pictures with their wishes.
#[derive(Default)]
struct Given {
    audio_bps: u64,
    /// The sounds without redundancy.
    alone_bps: u64,
    sounds: Vec<(PublicationId, usize)>,
    pictures: Vec<Picture>,
    wishes: Vec<Wish>,
}

impl Shard {
    /// Looks at a part of the clients.
    pub(super) fn look_at_clients(&mut self, now: Instant) {
        for key in self.clients.due(self.time.tick) {
            self.divide(key, now);
            self.begin_probe(key, now);
        }
    }

    /// Divides again at once if the path has become worse.
    pub(super) fn divide_if_worse(&mut self, key: ClientKey, now: Instant) {
        let now_us = self.time.micros(now);
        let is_worse = self.clients.get(key).is_some_and(|client| {
            let estimate_bps = client.estimate_bps(&self.transports, now_us);
            estimate_bps.is_some_and(|estimate_bps| estimate_bps < client.divided_bps * 9 / 10)
        });
        if is_worse {
            self.divide(key, now);
        }
    }

    /// Divides what a client's path takes among all that it gets.
    fn divide(&mut self, key: ClientKey, now: Instant) {
        let now_us = self.time.micros(now);
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let shares = client.divide(&mut self.transports, &mut self.sources, now_us);
        for (picture, share) in shares {
            self.allow(picture, share, now);
        }
    }

    /// Changes what of a Publication a viewer may get, and notes what of it its path could take.
    fn allow(&mut self, picture: Picture, share: Share, now: Instant) {
        let Share { allowance, takes_bps, is_short, is_flooded } = share;
        let now_us = self.time.micros(now);
        let Some(subscriber) = self.sources.subscriber_mut(picture) else {
            return;
        };
        subscriber.takes_bps = takes_bps;
        let since_us = subscriber.short_since_us.unwrap_or(now_us);
        subscriber.short_since_us = is_short.then_some(since_us);
        // Who was relied upon in vain is shown again when it is seen to fit.
        subscriber.is_flooded = is_flooded && allowance == Allowance::Nothing;
        let before = std::mem::replace(&mut subscriber.allowance, allowance);
        let is_paused = allowance == Allowance::Nothing;
        if before == Allowance::Nothing && !is_paused {
            subscriber.resumed_us = Some(now_us);
        }
        if is_paused != (before == Allowance::Nothing)
            && let Some(transport) = self.transports.get(subscriber.viewer)
        {
            let (transport, (publication, _)) = (transport.id, picture);
            self.events.push(Event::Paused { transport, publication, is_paused });
        }
        if !before.is_same(&allowance) {
            self.start_subscriber(picture, now);
        }
    }
}

impl Client {
    /// What each of its pictures may get now.
    fn divide(
        &mut self,
        transports: &mut Transports,
        sources: &mut Sources,
        now_us: u64,
    ) -> impl Iterator<Item = (Picture, Share)> + use<> {
        self.note_beginning(transports, now_us);
        let is_behind = self.note_backlog(transports, now_us);
        let estimate_bps = self.estimate_bps(transports, now_us);
        let Given { audio_bps, alone_bps, sounds, pictures, mut wishes } =
            self.given(transports, sources, now_us);
        let mut takes = vec![u64::MAX; wishes.len()];
        let allowances = match estimate_bps {
            None => wishes.iter().map(|_| Allowance::All).collect(),
            Some(estimate_bps) => {
                let budget_bps =
                    (estimate_bps * (100 - SPARE_PERCENT) / 100).saturating_sub(audio_bps);
                let is_strained = self.controller.is_strained(now_us);
                let next_bps = allocate(budget_bps, is_strained, &mut wishes);
                takes = demand::takes(budget_bps, &wishes);
                for wish in &mut wishes {
                    wish.is_short = wish.then.is_none() && wish.now.is_some();
                    // Over a connection that is behind, pictures are left out already.
                    if wish.is_short && wish.is_spared && !is_behind {
                        wish.then = Some(0);
                    }
                }
                self.hold.note(estimate_bps, now_us);
                if self.hold.is_on(now_us) {
                    // Nobody is kept from the least.
                    for wish in &mut wishes {
                        wish.then = wish.then.min(wish.now.max(Some(0)));
                    }
                }
                let wanted_bps = next_bps.max(demand::stretch(&wishes, &takes));
                self.wanted_bps = wanted_bps.map(|bps| (bps + audio_bps) * PROBE_PERCENT / 100);
                self.divided_bps = estimate_bps;
                self.is_starved = wishes.iter().any(|wish| wish.then.is_none());
                allowances(budget_bps, &wishes)
            }
        };
        let media_bps = audio_bps + wishes.iter().map(Wish::bits_per_second).sum::<u64>();
        self.media_bps = media_bps;
        self.note_ease(transports, estimate_bps, media_bps);
        for slot in &self.slots {
            // Bounds what leaves at once, and what retransmissions take.
            if let Some(egress) = transports.egress_mut(*slot) {
                egress.set_estimate(estimate_bps, media_bps, now_us);
            }
        }
        self.set_redundancy(sources, &sounds, estimate_bps, alone_bps);
        self.note_moves(&wishes, now_us);
        let shares = allowances.into_iter().zip(takes).zip(wishes);
        let shares = shares.map(|((allowance, takes_bps), wish)| {
            let Wish { is_short, is_flooded, .. } = wish;
            Share { allowance, takes_bps, is_short, is_flooded }
        });
        pictures.into_iter().zip(shares)
    }

    /// What it is given at present, and what else its pictures could be.
    fn given(&self, transports: &Transports, sources: &Sources, now_us: u64) -> Given {
        let mut given = Given::default();
        for slot in &self.slots {
            let Some(Transport { role: Role::Viewer(viewer), is_connected: true, .. }) =
                transports.get(*slot)
            else {
                continue;
            };
            let waits_us = transports.egress(*slot).map_or(0, |egress| egress.waits_us(now_us));
            for (info, at) in viewer.lines.iter().filter_map(|line| line.subscription.as_ref()) {
                let Some(source) = sources.get(info.id) else { continue };
                let Some(Some(subscriber)) = source.subscribers.get(*at) else { continue };
                if info.kind == MediaKind::Audio {
                    let alone_bps = source.bits_per_second();
                    given.audio_bps += red::cost_bps(alone_bps, subscriber.red_blocks);
                    given.alone_bps += alone_bps;
                    given.sounds.push((info.id, *at));
                } else if let Some(wish) = wish_for(source, subscriber, waits_us, now_us) {
                    given.wishes.push(wish);
                    given.pictures.push((info.id, *at));
                }
            }
        }
        given
    }

    /// A client whose packets are numbered is expected to tell what became of them.
    fn note_beginning(&mut self, transports: &Transports, now_us: u64) {
        if self.egresses(transports).any(|egress| egress.flow.history.has_sent()) {
            self.controller.begin(now_us);
        }
    }

    /// Takes in whether a TCP connection of the client's is behind, and returns it.
    fn note_backlog(&mut self, transports: &mut Transports, now_us: u64) -> bool {
        let mut is_behind = false;
        for slot in &self.slots {
            if let Some(egress) = transports.egress_mut(*slot) {
                is_behind |= std::mem::take(&mut egress.is_behind);
            }
        }
        if is_behind {
            self.controller.fell_behind(now_us);
        }
        is_behind
    }

    /// Lets sound be sent more than once on a path that loses packets and has room for it.
    fn set_redundancy(
        &self,
        sources: &mut Sources,
        sounds: &[(PublicationId, usize)],
        estimate_bps: Option<u64>,
        alone_bps: u64,
    ) {
        // To say things twice in a full queue takes the place of pictures, and what was lost by the queue is
        // not lost again when less is sent.
        let loss = self.controller.loss_beyond_queue();
        let has_room = |blocks: &u8| {
            let cost_bps = red::cost_bps(alone_bps, *blocks);
            estimate_bps.is_some_and(|bps| bps > REDUNDANT_FROM * cost_bps)
        };
        for sound in sounds {
            if let Some(subscriber) = sources.subscriber_mut(*sound) {
                let blocks = red::blocks_for(loss, subscriber.red_blocks);
                let may = subscriber.red.is_some();
                let fits = (1..=blocks).rev().find(has_room).filter(|_| may);
                subscriber.red_blocks = fits.unwrap_or(0);
            }
        }
    }

    /// How soon it is to be looked at again. Whether a TCP connection is behind shows at a look only.
    fn note_ease(&mut self, transports: &Transports, estimate_bps: Option<u64>, media_bps: u64) {
        let mut egresses = self.egresses(transports);
        let is_at_ease = estimate_bps.is_none_or(|bps| bps > EASE * media_bps)
            && self.wanted_bps.is_none()
            && egresses.all(|egress| egress.path.stream.is_none());
        drop(egresses);
        self.is_at_ease = is_at_ease;
    }

    fn note_moves(&mut self, wishes: &[Wish], now_us: u64) {
        if wishes.iter().any(|wish| wish.then < wish.now) {
            self.hold.lowered(now_us);
        } else if wishes.iter().any(|wish| wish.then > wish.now) {
            self.hold.raised(self.divided_bps, now_us);
        }
    }
}

/// What a picture is sent as, and could be; nothing while nothing is known of it.
fn wish_for(source: &Source, subscriber: &Subscriber, waits_us: u64, now_us: u64) -> Option<Wish> {
    let mut rungs = Vec::new();
    source.rungs(subscriber.cap, now_us, &mut rungs);
    let top = rungs.len().checked_sub(1)?;
    let is_flooded = subscriber.is_flooded || waits_us > FLOODED_US;
    if let [only] = rungs.as_mut_slice()
        && !source.has_choice()
        && !is_flooded
    {
        only.bits_per_second = source.asked.cost_bps(only.bits_per_second, now_us);
    }
    // A slide that comes late is better than none: what waits, waits before the network.
    if subscriber.is_screen()
        && let Some(least) = rungs.first_mut()
    {
        let steady_bps = source.steady_bits_per_second(least.encoding);
        least.bits_per_second = least.bits_per_second.min(steady_bps);
    }
    let now = match subscriber.allowance {
        Allowance::All => Some(top),
        Allowance::UpTo(rung, _) => {
            Some(rungs.iter().rposition(|r| r.is_same_layers(&rung)).unwrap_or(top))
        }
        Allowance::Nothing => None,
    };
    // Slides first, then who speaks, then the others.
    let is_speaker = source.is_speaking && subscriber.priority > 0;
    let priority = subscriber.priority.saturating_mul(2) - u8::from(is_speaker);
    let peak_bps = source.peak_bits_per_second();
    let short_for_us = subscriber.short_since_us.map_or(0, |us| now_us.saturating_sub(us));
    let is_lowered =
        peak_bps > 0 && !is_flooded && source.asked.is_heard(now_us) && short_for_us < SPARED_US;
    let is_within = |at_us: u64| now_us.saturating_sub(at_us) < RESUMED_US;
    let is_back = subscriber.resumed_us.is_some_and(is_within) && waits_us < RESUMED_US;
    let is_spared = is_lowered || is_back;
    Some(Wish { rungs, priority, peak_bps, is_spared, is_flooded, now, ..Wish::default() })
}

/// What each picture may have.
fn allowances(budget_bps: u64, wishes: &[Wish]) -> Vec<Allowance> {
    let sum: u64 = wishes.iter().map(Wish::bits_per_second).sum();
    let spare = budget_bps.saturating_sub(sum);
    wishes
        .iter()
        .map(|wish| match wish.then {
            Some(then) if then + 1 == wish.rungs.len() => Allowance::All,
            Some(then) => {
                let rung = wish.rungs.get(then).copied();
                rung.map_or(Allowance::All, |rung| {
                    Allowance::UpTo(rung, wish.bits_per_second() + spare)
                })
            }
            None => Allowance::Nothing,
        })
        .collect()
}
