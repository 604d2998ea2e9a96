//! Clients: who gets what over one path. All viewing Transports of a client live on one shard and
//! share one congestion controller; what its path takes is divided among all that it gets.

use std::time::{Duration, Instant};

use super::Shard;
use crate::allocate::{Wish, allocate};
use crate::api::{ClientKey, Event};
use crate::choose::Allowance;
use crate::codec::MediaKind;
use crate::congestion::{Cluster, Controller};
use crate::demand;
use crate::id::PublicationId;
use crate::red;
use crate::source::Source;
use crate::subscriber::Subscriber;
use crate::transport::{Role, Transport};

/// Between two looks at what a client gets, in ticks; sooner when its path gets worse.
pub(super) const LOOK_TICKS: u64 = 5;
/// The same for clients at ease.
const EASY_LOOK_TICKS: u64 = 5 * LOOK_TICKS;
/// A client whose path takes so many times what it gets, and who could get nothing better, is at ease.
const EASE: u64 = 2;
/// Between two packets of a probe, at least.
const PROBE_STEP: Duration = Duration::from_millis(5);
/// Packets of a probe in one step.
const PROBE_PACKETS_MAX: usize = 64;
/// Of what a path takes audio gets its part first, and so much is left for reports, in percent.
const SPARE_PERCENT: u64 = 3;
/// A path must take so many times what sound costs with it before sound is sent more than once.
const REDUNDANT_FROM: u64 = 2;
/// What would be of use is probed for with so much to spare, in percent: a probe measures a little less
/// than it sends.
const PROBE_PERCENT: u64 = 115;
/// An only Encoding that does not fit any more goes on for so long, since its publisher is asked for less
/// at once: what is too much until it does so waits before the network. To stop it would cost a keyframe,
/// and a pause that is longer than this.
const SPARED_US: u64 = 600_000;
/// An upgrade that had to be taken back within this was one too many.
const REGRET_US: u64 = 10_000_000;
/// The next one then waits: doubled from the first to the second, as long as it goes on.
const WAIT_US: (u64, u64) = (2_000_000, 16_000_000);

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Client {
    /// What its path takes.
    pub controller: Controller,
    /// Its viewing Transports.
    pub slots: Vec<usize>,
    /// What would be of use, if its path took more.
    wanted_bps: Option<u64>,
    hold: Hold,
    /// Some picture does not even get its least.
    is_starved: bool,
    /// Its path is no bound, for some time to come: see [`EASE`].
    is_at_ease: bool,
    /// The last estimate that was divided.
    divided_bps: u64,
}

/// What a client is given: its sounds and what they cost, and its pictures with their wishes. Each is
/// named by its Publication and the Subscriber's index there.
#[derive(Default)]
struct Given {
    audio_bps: u64,
    /// The sounds without redundancy.
    alone_bps: u64,
    sounds: Vec<(PublicationId, usize)>,
    pictures: Vec<(PublicationId, usize)>,
    wishes: Vec<Wish>,
}

/// What a picture may have, what its path could take of it, and whether that is less than it costs.
struct Share {
    allowance: Allowance,
    takes_bps: u64,
    is_short: bool,
}

/// Keeps a client from going up and down.
#[derive(Default)]
struct Hold {
    raised_us: Option<u64>,
    until_us: u64,
    wait_us: u64,
}

impl Hold {
    fn raised(&mut self, now_us: u64) {
        self.raised_us = Some(now_us);
    }

    fn lowered(&mut self, now_us: u64) {
        match self.raised_us.take() {
            Some(at_us) if now_us.saturating_sub(at_us) < REGRET_US => {
                self.wait_us = (2 * self.wait_us).clamp(WAIT_US.0, WAIT_US.1);
                self.until_us = now_us + self.wait_us;
            }
            _ => self.wait_us = 0,
        }
    }

    fn is_on(&self, now_us: u64) -> bool {
        now_us < self.until_us
    }
}

impl Shard {
    /// A viewing Transport belongs to this client.
    pub(super) fn join_client(&mut self, slot: usize, key: ClientKey) {
        if let Some(Some(Transport { role: Role::Viewer(viewer), .. })) = self.slots.get_mut(slot) {
            viewer.client = Some(key);
            self.clients.entry(key).or_default().slots.push(slot);
        }
    }

    /// It has ended.
    pub(super) fn leave_client(&mut self, slot: usize, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(&key) {
            client.slots.retain(|known| *known != slot);
            if client.slots.is_empty() {
                self.clients.remove(&key);
            }
        }
    }

    /// The client of a viewing Transport.
    pub(super) fn client_of(&self, slot: usize) -> Option<ClientKey> {
        self.transport(slot)?.client()
    }

    /// Looks at a part of the clients, so that each has its turn every [`LOOK_TICKS`] ticks.
    pub(super) fn look_at_clients(&mut self, now: Instant) {
        let is_due = |(key, client): &(&ClientKey, &Client)| {
            let every = if client.is_at_ease { EASY_LOOK_TICKS } else { LOOK_TICKS };
            key.0 % every == self.tick % every
        };
        let keys: Vec<ClientKey> =
            self.clients.iter().filter(is_due).map(|(key, _)| *key).collect();
        for key in keys {
            self.divide(key, now);
            self.begin_probe(key, now);
        }
    }

    /// What a client's path takes, in bits per second; nothing if that is not known.
    pub(super) fn estimate_of(&self, key: ClientKey, now_us: u64) -> Option<u64> {
        let client = self.clients.get(&key)?;
        let egresses = client.slots.iter().filter_map(|slot| self.egress.get(*slot)?.as_ref());
        let oldest_us = egresses.filter_map(|egress| egress.flow.history.oldest_us()).min();
        client.controller.estimate_bps(oldest_us, now_us)
    }

    /// Divides again at once if the path has become worse.
    pub(super) fn divide_if_worse(&mut self, key: ClientKey, now: Instant) {
        let estimate_bps = self.estimate_of(key, self.micros(now));
        let divided_bps = self.clients.get(&key).map_or(0, |client| client.divided_bps);
        if estimate_bps.is_some_and(|estimate_bps| estimate_bps < divided_bps * 9 / 10) {
            self.divide(key, now);
        }
    }

    /// Something else than before is sent to a viewer.
    pub(super) fn disturb(&mut self, slot: usize) {
        if let Some(client) = self.client_of(slot).and_then(|key| self.clients.get_mut(&key)) {
            client.is_at_ease = false;
        }
    }

    /// Divides what a client's path takes among all that it gets.
    fn divide(&mut self, key: ClientKey, now: Instant) {
        let now_us = self.micros(now);
        self.note_beginning(key, now_us);
        let is_behind = self.note_backlog(key, now_us);
        let estimate_bps = self.estimate_of(key, now_us);
        let Some(client) = self.clients.get(&key) else {
            return;
        };
        let Given { audio_bps, alone_bps, sounds, pictures, mut wishes } =
            self.given_to(client, now_us);
        let is_strained = client.controller.is_strained(now_us);
        let is_held = client.hold.is_on(now_us);
        let mut takes = vec![u64::MAX; wishes.len()];
        let mut shorts = vec![false; wishes.len()];
        let allowances = match estimate_bps {
            None => wishes.iter().map(|_| Allowance::All).collect(),
            Some(estimate_bps) => {
                let budget_bps =
                    (estimate_bps * (100 - SPARE_PERCENT) / 100).saturating_sub(audio_bps);
                let next_bps = allocate(budget_bps, is_strained, &mut wishes);
                takes = demand::takes(budget_bps, &wishes);
                for (wish, is_short) in wishes.iter_mut().zip(&mut shorts) {
                    *is_short = wish.then.is_none() && wish.now.is_some();
                    // Over a connection that is behind, pictures are left out already.
                    if *is_short && wish.is_spared && !is_behind {
                        wish.then = wish.now;
                    }
                }
                if is_held {
                    // Nobody is kept from the least.
                    for wish in &mut wishes {
                        wish.then = wish.then.min(wish.now.max(Some(0)));
                    }
                }
                if let Some(client) = self.clients.get_mut(&key) {
                    let wanted_bps = next_bps.max(demand::stretch(&wishes, &takes));
                    client.wanted_bps =
                        wanted_bps.map(|bps| (bps + audio_bps) * PROBE_PERCENT / 100);
                    client.divided_bps = estimate_bps;
                    client.is_starved = wishes.iter().any(|wish| wish.then.is_none());
                }
                allowances(budget_bps, &wishes)
            }
        };
        let media_bps = audio_bps + wishes.iter().map(Wish::bits_per_second).sum::<u64>();
        self.note_ease(key, estimate_bps, media_bps);
        self.set_pace(key, estimate_bps, media_bps, now_us);
        self.set_redundancy(key, &sounds, estimate_bps, alone_bps);
        self.note_moves(key, &wishes, now_us);
        let shares = allowances.into_iter().zip(takes).zip(shorts);
        for (picture, ((allowance, takes_bps), is_short)) in pictures.into_iter().zip(shares) {
            self.allow(picture, Share { allowance, takes_bps, is_short }, now);
        }
    }

    /// What a client is given at present, and what else its pictures could be.
    fn given_to(&self, client: &Client, now_us: u64) -> Given {
        let mut given = Given::default();
        for slot in &client.slots {
            let Some(Transport { role: Role::Viewer(viewer), is_connected: true, .. }) =
                self.transport(*slot)
            else {
                continue;
            };
            for (info, at) in viewer.lines.iter().filter_map(|line| line.subscription.as_ref()) {
                let Some(source) = self.sources.get(&info.id) else { continue };
                let Some(Some(subscriber)) = source.subscribers.get(*at) else { continue };
                if info.kind == MediaKind::Audio {
                    let alone_bps = source.bits_per_second();
                    given.audio_bps += red::cost_bps(alone_bps, subscriber.red_blocks);
                    given.alone_bps += alone_bps;
                    given.sounds.push((info.id, *at));
                } else if let Some(wish) = wish_for(source, subscriber, now_us) {
                    given.wishes.push(wish);
                    given.pictures.push((info.id, *at));
                }
            }
        }
        given
    }

    /// Takes in whether a TCP connection of the client's is behind, and returns it.
    fn note_backlog(&mut self, key: ClientKey, now_us: u64) -> bool {
        let Some(client) = self.clients.get_mut(&key) else {
            return false;
        };
        let mut is_behind = false;
        for slot in &client.slots {
            if let Some(Some(egress)) = self.egress.get_mut(*slot) {
                is_behind |= std::mem::take(&mut egress.is_behind);
            }
        }
        if is_behind {
            client.controller.fell_behind(now_us);
        }
        is_behind
    }

    /// A client whose packets are numbered is expected to tell what became of them.
    fn note_beginning(&mut self, key: ClientKey, now_us: u64) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        let mut egresses = client.slots.iter().filter_map(|slot| self.egress.get(*slot)?.as_ref());
        if egresses.any(|egress| egress.flow.history.has_sent()) {
            client.controller.begin(now_us);
        }
    }

    /// Lets sound be sent more than once on a path that loses packets and has room for it.
    fn set_redundancy(
        &mut self,
        key: ClientKey,
        sounds: &[(PublicationId, usize)],
        estimate_bps: Option<u64>,
        alone_bps: u64,
    ) {
        let loss = self.clients.get(&key).map_or(0.0, |client| client.controller.loss());
        let has_room = |blocks: &u8| {
            let cost_bps = red::cost_bps(alone_bps, *blocks);
            estimate_bps.is_some_and(|bps| bps > REDUNDANT_FROM * cost_bps)
        };
        for (publication, at) in sounds {
            if let Some(source) = self.sources.get_mut(publication)
                && let Some(Some(subscriber)) = source.subscribers.get_mut(*at)
            {
                let blocks = red::blocks_for(loss, subscriber.red_blocks);
                let may = subscriber.red.is_some();
                let fits = (1..=blocks).rev().find(has_room).filter(|_| may);
                subscriber.red_blocks = fits.unwrap_or(0);
            }
        }
    }

    /// How soon a client is to be looked at again. Whether a TCP connection is behind shows at a look only.
    fn note_ease(&mut self, key: ClientKey, estimate_bps: Option<u64>, media_bps: u64) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        let mut egresses = client.slots.iter().filter_map(|slot| self.egress.get(*slot)?.as_ref());
        client.is_at_ease = estimate_bps.is_none_or(|bps| bps > EASE * media_bps)
            && client.wanted_bps.is_none()
            && egresses.all(|egress| egress.path.stream.is_none());
    }

    /// Bounds what leaves at once, and what retransmissions take.
    fn set_pace(&mut self, key: ClientKey, estimate_bps: Option<u64>, media_bps: u64, now_us: u64) {
        let Some(client) = self.clients.get(&key) else {
            return;
        };
        for slot in &client.slots {
            if let Some(Some(egress)) = self.egress.get_mut(*slot) {
                egress.set_estimate(estimate_bps, media_bps, now_us);
            }
        }
    }

    fn note_moves(&mut self, key: ClientKey, wishes: &[Wish], now_us: u64) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        if wishes.iter().any(|wish| wish.then < wish.now) {
            client.hold.lowered(now_us);
        } else if wishes.iter().any(|wish| wish.then > wish.now) {
            client.hold.raised(now_us);
        }
    }

    /// Changes what of a Publication a viewer may get, and notes what of it its path could take.
    fn allow(
        &mut self,
        (publication, at): (PublicationId, usize),
        Share { allowance, takes_bps, is_short }: Share,
        now: Instant,
    ) {
        let now_us = self.micros(now);
        let Some(source) = self.sources.get_mut(&publication) else {
            return;
        };
        let Some(Some(subscriber)) = source.subscribers.get_mut(at) else {
            return;
        };
        subscriber.takes_bps = takes_bps;
        let since_us = subscriber.short_since_us.unwrap_or(now_us);
        subscriber.short_since_us = is_short.then_some(since_us);
        let before = std::mem::replace(&mut subscriber.allowance, allowance);
        let viewer = subscriber.viewer;
        let is_paused = allowance == Allowance::Nothing;
        if is_paused != (before == Allowance::Nothing)
            && let Some(transport) = self.transport(viewer).map(|transport| transport.id)
        {
            self.events.push(Event::Paused { transport, publication, is_paused });
        }
        if !before.is_same(&allowance) {
            self.start_subscriber(publication, at, now);
        }
    }

    fn begin_probe(&mut self, key: ClientKey, now: Instant) {
        let now_us = self.micros(now);
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        // Whose pictures are paused has nothing to wait for.
        let may = client.is_starved || !client.hold.is_on(now_us);
        let Some(wanted_bps) = client.wanted_bps.filter(|_| may) else {
            return;
        };
        let Some(cluster) = client.controller.begin_probe(wanted_bps, client.is_starved, now_us)
        else {
            return;
        };
        for slot in &client.slots {
            if let Some(Some(egress)) = self.egress.get_mut(*slot) {
                egress.set_probe(cluster);
            }
        }
        self.probing.push(key);
        self.probe_at = Some(now);
    }

    /// When a probe goes on, if one runs.
    pub(super) fn probe_timeout(&self) -> Option<Instant> {
        self.probe_at
    }

    /// Fills the probes that run with what their viewers can do without.
    pub(super) fn run_probes(&mut self, now: Instant) {
        if self.probe_at.is_none_or(|at| at > now) {
            return;
        }
        let now_us = self.micros(now);
        let mut probing = std::mem::take(&mut self.probing);
        probing.retain(|key| {
            let cluster = self.clients.get(key).and_then(|client| client.controller.probe(now_us));
            cluster.is_some_and(|cluster| {
                self.fill_probe(*key, cluster, now_us);
                true
            })
        });
        self.probe_at = (!probing.is_empty()).then(|| now + PROBE_STEP);
        self.probing = probing;
    }

    fn fill_probe(&mut self, key: ClientKey, cluster: Cluster, now_us: u64) {
        let Some(client) = self.clients.get(&key) else {
            return;
        };
        // What is due by the end of this step.
        let passed_us = now_us - cluster.since_us + PROBE_STEP.as_micros() as u64;
        let due_bytes = cluster.rate_bps * passed_us / 8_000_000;
        let sent_bytes = |shard: &Self, slots: &[usize]| -> u64 {
            let egresses = slots.iter().filter_map(|slot| shard.egress.get(*slot)?.as_ref());
            egresses.map(|egress| egress.probe_bytes(cluster)).sum()
        };
        let slots = client.slots.clone();
        let carriers: Vec<(PublicationId, usize)> = slots
            .iter()
            .filter_map(|slot| match &self.transport(*slot)?.role {
                Role::Viewer(viewer) => Some(&viewer.lines),
                Role::Publisher(_) => None,
            })
            .flatten()
            .filter(|line| line.kind == MediaKind::Video)
            .filter_map(|line| line.subscription.as_ref().map(|(info, at)| (info.id, *at)))
            .collect();
        for step in 0..PROBE_PACKETS_MAX {
            if sent_bytes(self, &slots) >= due_bytes || carriers.is_empty() {
                return;
            }
            let (publication, at) = carriers[step % carriers.len()];
            let (mut sending, sources) = self.sending(now_us);
            let Some(source) = sources.get_mut(&publication) else {
                return;
            };
            source.send_probe(at, cluster.is_small, &mut sending);
        }
    }
}

/// What a picture is sent as, and could be; nothing while nothing is known of it.
fn wish_for(source: &Source, subscriber: &Subscriber, now_us: u64) -> Option<Wish> {
    let mut rungs = Vec::new();
    source.rungs(subscriber.bounds(), now_us, &mut rungs);
    let top = rungs.len().checked_sub(1)?;
    // A slide that comes late is better than none: what waits, waits before the network.
    if subscriber.priority == 0
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
    let is_spared = peak_bps > 0 && source.asked.is_heard(now_us) && short_for_us < SPARED_US;
    Some(Wish { rungs, priority, peak_bps, is_spared, now, then: None })
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
