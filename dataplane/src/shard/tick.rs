//! Housekeeping every 20 ms: layer choice, silence and deadlines, what is measured once per second; and
//! reports, which are in `reports.rs`.

use std::time::{Duration, Instant};

use super::Shard;
use crate::api::Event;
use crate::choose::Allowance;
use crate::codec::MediaKind;
use crate::error::CloseReason;
use crate::id::PublicationId;
use crate::source::Origin;
use crate::stats::{ESTIMATES_BPS, Gauges};
use crate::transport::{Role, Transport};

/// Silence after which an ICE restart may help: checks come every 2.5 s (libwebrtc) to 5 s (others).
/// The first is for peers that answer our own checks, three of which have gone unanswered by then.
const SILENCE: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(10));
/// Between two looks at the viewers' layers, in ticks.
const SOURCE_TICKS: u64 = 5;

impl Shard {
    pub(super) fn run_tick(&mut self, now: Instant) {
        let now_us = self.time.micros(now);
        for at in 0..self.transports.publishers().len() {
            self.publisher_tick(self.transports.publishers()[at], now_us);
        }
        if self.time.is_every(SOURCE_TICKS) {
            self.source_tick(now_us);
        }
        self.look_at_clients(now);
        self.look_at_demand(now_us);
        let (phase, of) = self.time.phase();
        for slot in (phase..self.transports.slots()).step_by(of) {
            self.transport_second(slot, now, now_us);
        }
        if phase == 0 {
            let counters = self.statistics.take_second(self.transports.count(), now_us);
            self.events.push(Event::Stats { shard: self.config.id, counters });
        }
        if self.transports.count() == 0 {
            self.time.rest(now);
        }
    }

    fn source_tick(&mut self, now_us: u64) {
        let mut wanted: Vec<(Origin, PublicationId, u8)> = Vec::new();
        let (mut sending, sources) = self.sending(now_us);
        for (publication, source) in sources.iter_mut() {
            let origin = source.origin;
            source.tick(now_us, &mut sending, |encoding| {
                if !wanted.contains(&(origin, publication, encoding)) {
                    wanted.push((origin, publication, encoding));
                }
            });
        }
        for (origin, publication, encoding) in wanted {
            self.want_keyframe(origin, publication, encoding);
        }
    }

    fn transport_second(&mut self, slot: usize, now: Instant, now_us: u64) {
        self.tell_path(slot, now);
        let Some(transport) = self.transports.get(slot) else {
            return;
        };
        let heard_at = transport.paths.heard_at().unwrap_or(transport.created_at);
        let silent_for = now.saturating_duration_since(heard_at);
        count_transport(transport, &mut self.statistics.gauges);
        if !transport.is_connected {
            let age = now.saturating_duration_since(transport.created_at);
            if age >= self.config.connect_for_max {
                self.close_with_event(slot, CloseReason::ConnectTimeout);
            }
            return;
        }
        if silent_for >= self.config.consent_for_max || !self.choose_path(slot, now) {
            self.close_with_event(slot, CloseReason::ConsentExpired);
            return;
        }
        let Some(transport) = self.transports.get_mut(slot) else {
            return;
        };
        let silence = if transport.paths.answers() { SILENCE.0 } else { SILENCE.1 };
        // A connection that has ended says so at once.
        let is_silent = silent_for >= silence || transport.paths.current().is_none();
        if is_silent != std::mem::replace(&mut transport.is_silence_told, is_silent) {
            let transport = transport.id;
            self.events.push(match is_silent {
                true => Event::Disconnected { transport },
                false => Event::Reconnected { transport },
            });
        }
        if transport.timer_at.take_if(|at| *at <= now).is_some() {
            self.run_engine(slot, now);
        }
        match self.transports.get(slot).map(|transport| &transport.role) {
            None => {}
            Some(Role::Publisher(_)) => {
                self.receiver_report(slot, now_us);
                self.rates(slot, now_us);
                self.look_at_voices(slot, now_us);
            }
            Some(Role::Viewer(_)) => {
                self.sender_reports(slot, now_us);
                self.look_at_viewer(slot, now_us);
            }
        }
    }

    /// Measures what a viewer gets.
    fn look_at_viewer(&mut self, slot: usize, now_us: u64) {
        let Self { transports, clients, sources, statistics, .. } = self;
        let Some(viewer) = transports.viewer(slot) else {
            return;
        };
        if let Some(client) = viewer.client.and_then(|key| clients.get(key))
            // Once for all of a client's Transports.
            && client.slots.first() == Some(&slot)
            && let Some(estimate_bps) = client.estimate_bps(transports, now_us)
        {
            let class = ESTIMATES_BPS.partition_point(|bound| *bound < estimate_bps);
            statistics.gauges.estimates[class] += 1;
        }
        for (info, at) in viewer.lines.iter().filter_map(|line| line.subscription.as_ref()) {
            let late_us = sources.get(info.id).map_or(0, |source| source.lateness.now_us(now_us));
            let Some(subscriber) = sources.subscriber_mut((info.id, *at)) else {
                continue;
            };
            subscriber.quality.look(subscriber.sent.1, now_us);
            statistics.counters.switches.merge(subscriber.forwarder.take_switches());
            if info.kind == MediaKind::Video {
                let shown = subscriber.forwarder.last_rtp_time();
                subscriber.playout.look(subscriber.quality.rtt_us(), late_us, shown);
                let pictures = &mut statistics.gauges.pictures;
                *match subscriber.allowance {
                    Allowance::All => &mut pictures.whole,
                    Allowance::UpTo(..) => &mut pictures.reduced,
                    Allowance::Nothing => &mut pictures.held,
                } += 1;
            }
        }
    }
}

fn count_transport(transport: &Transport, gauges: &mut Gauges) {
    match (transport.is_connected, transport.is_silence_told) {
        (false, _) => gauges.connecting += 1,
        (true, false) => gauges.connected += 1,
        (true, true) => gauges.silent += 1,
    }
    match &transport.role {
        Role::Publisher(publisher) => {
            let publications = publisher.publications.iter().flatten();
            for codec in publications.filter_map(|publication| publication.announced) {
                gauges.publications[codec as usize] += 1;
            }
        }
        Role::Viewer(viewer) => {
            for line in viewer.lines.iter().filter(|line| line.subscription.is_some()) {
                *gauges.subscriptions.of(line.kind) += 1;
            }
        }
    }
}
