//! A shard: everything that one core owns. Sans-IO: datagrams, lane records, commands and time
//! come in as arguments, datagrams leave through the outbox's `Wire`, everything else through
//! `events` and `messages`. The same code runs behind sockets (`run/`) and in tests.
//!
//! What it owns is in tables of their own: [`Transports`], [`Routes`], [`Sources`], [`Clients`] and
//! what is small beside them. None of them holds another one: what needs several gets them as
//! arguments, or is a method of the shard, in the file of what it is about.
//!
//! Order of calls: any number of `handle_*`, then [`Shard::flush`]; then wait no longer than
//! [`Shard::poll_timeout`] and call [`Shard::handle_timeout`] when it has passed.

mod binding;
mod brisk;
mod clients;
mod commands;
mod config;
mod demand;
mod dividing;
mod feedback;
mod foreign;
mod gathering;
mod handshakes;
mod ingress;
mod lanes;
mod life;
mod media;
mod pacing;
mod paths;
mod probing;
mod random;
mod reports;
mod routes;
mod seats;
mod sources;
mod statistics;
mod strays;
mod survey;
mod telling;
#[cfg(test)]
mod tests;
mod tick;
mod time;
mod transports;
mod viewing;
mod voices;

use std::time::{Duration, Instant};

pub(crate) use self::config::ShardConfig;

use self::clients::Clients;
use self::gathering::Gathering;
use self::handshakes::Handshakes;
use self::lanes::LanesOut;
use self::pacing::Pacing;
use self::random::Random;
use self::routes::Routes;
use self::sources::Sources;
use self::statistics::Statistics;
use self::time::Time;
use self::transports::Transports;
use crate::api::Event;
use crate::id::ShardId;
use crate::lane::{PeerMessage, Producer};
use crate::outbox::{Outbox, Wire};
use crate::path::StreamId;
use crate::sending::{Batch, Sending};
use crate::stats::{Counters, DropReason};

/// See the module's documentation.
pub(crate) struct Shard {
    config: ShardConfig,
    time: Time,
    random: Random,
    transports: Transports,
    routes: Routes,
    handshakes: Handshakes,
    sources: Sources,
    clients: Clients,
    pacing: Pacing,
    lanes: LanesOut,
    outbox: Outbox,
    statistics: Statistics,
    /// For the control plane, to be taken after each step.
    pub events: Vec<Event>,
    /// For other shards, to be taken after each step.
    pub messages: Vec<(ShardId, PeerMessage)>,
}

/// What it takes to send to viewers at `now_us`, from those who have it.
fn sending<'a>(
    transports: &'a mut Transports,
    pacing: &'a mut Pacing,
    outbox: &'a mut Outbox,
    counters: &'a mut Counters,
    now_us: u64,
) -> Sending<'a> {
    let batch = Batch { outbox, counters, now_us };
    Sending { egress: transports.egresses_mut(), batch, pacing: &mut pacing.waiting }
}

impl Shard {
    /// An empty shard. `lanes` has a producer for every other shard, by index.
    pub(crate) fn new(
        config: ShardConfig,
        lanes: Vec<Option<Producer>>,
        wire: Box<dyn Wire>,
        now: Instant,
    ) -> Self {
        Self {
            time: Time::new(config.epoch, config.ntp_epoch, now),
            random: Random::new(config.seed),
            transports: Transports::default(),
            routes: Routes::new(config.id, config.shards),
            handshakes: Handshakes::default(),
            sources: Sources::new(config.id, Gathering::new(config.gather_for)),
            clients: Clients::default(),
            pacing: Pacing::default(),
            lanes: LanesOut::new(lanes),
            outbox: Outbox::new(wire),
            statistics: Statistics::new(),
            events: Vec::new(),
            messages: Vec::new(),
            config,
        }
    }

    /// The recorder's lane: what it attaches to goes there.
    pub(crate) fn adopt_recorder(&mut self, lane: Producer) {
        self.lanes.adopt_recorder(lane);
    }

    /// The counters so far.
    #[cfg(test)]
    pub(crate) fn counters(&self) -> &Counters {
        &self.statistics.counters
    }

    /// Counts a turn of the loop that drives this shard: the time from waking up to sleeping.
    pub(crate) fn count_turn(&mut self, turn: Duration) {
        self.statistics.count_turn(turn);
    }

    /// A TCP connection that is to be closed after this step, or waits for the next time.
    pub(crate) fn pop_ended_stream(&mut self) -> Option<StreamId> {
        self.routes.pop_ended_stream()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Instant {
        let fan_out_at = self.sources.fan_out_at_us().map(|at_us| self.time.instant(at_us));
        let others =
            [self.transports.timer_at(), self.clients.probe_at, self.pacing.at(), fan_out_at];
        others.into_iter().flatten().fold(self.time.tick_at(), Instant::min)
    }

    /// Lets time pass.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.time.set(now);
        self.run_pacing(now);
        self.run_probes(now);
        while let Some(slot) = self.transports.take_due(now) {
            self.run_engine(slot, now);
        }
        if self.time.take_tick(now) {
            self.run_tick(now);
        }
    }

    /// Fans out what has gathered if it is time, sends what is in the batch and publishes what is in
    /// the lanes. Calls `wake` for each shard that has something to read.
    pub(crate) fn flush(&mut self, wake: impl FnMut(ShardId)) {
        let now_us = self.time.now_us;
        let (mut sending, sources) = self.sending(now_us);
        let is_due = sources.fan_out_due(&mut sending);
        self.pacing.begin(self.time.instant(now_us));
        self.outbox.flush(&mut self.statistics.counters);
        self.lanes.flush(is_due, wake);
    }

    /// What it takes to send to viewers at `now_us`, and what there is to send.
    fn sending(&mut self, now_us: u64) -> (Sending<'_>, &mut Sources) {
        let Self { transports, pacing, outbox, statistics, sources, .. } = self;
        (sending(transports, pacing, outbox, &mut statistics.counters, now_us), sources)
    }

    fn count(&mut self, reason: DropReason) {
        self.statistics.counters.drop(reason);
    }
}
