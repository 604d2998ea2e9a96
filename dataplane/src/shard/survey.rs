//! How viewers fare, told when the control plane asks: of all of them bit by bit, so that a question about
//! thousands holds no packet up; of one client at once.

use std::time::Instant;

use super::Shard;
use super::sources::Sources;
use crate::api::{Aim, Event, Held, PublicationInfo, SubscriptionRate};
use crate::choose::Allowance;
use crate::codec::MediaKind;
use crate::id::TransportId;
use crate::publication::ENCODINGS_MAX;
use crate::quality::REPORT_FOR_US;
use crate::source::Source;
use crate::subscriber::Subscriber;
use crate::transport::{Role, Transport};

/// Slots looked at in one turn of the loop: some 50 us if all of them view audio and video.
const SLOTS_PER_TURN: usize = 128;

impl Shard {
    /// Begins to answer a question about all viewers with [`Event::Surveyed`]. One that is being
    /// answered is dropped for a new one.
    pub(crate) fn begin_survey(&mut self, survey: u64) {
        self.statistics.survey = Some((survey, 0));
    }

    /// Goes on with the answer; says whether there is more to tell.
    pub(crate) fn run_survey(&mut self, now: Instant) -> bool {
        let Some((survey, first)) = self.statistics.survey else {
            return false;
        };
        let now_us = self.time.micros(now);
        let end = (first + SLOTS_PER_TURN).min(self.transports.slots());
        let mut rates = Vec::new();
        for transport in (first..end).filter_map(|slot| self.transports.get(slot)) {
            let client = transport.client().and_then(|key| self.clients.get(key));
            let estimate_bps =
                client.and_then(|client| client.estimate_bps(&self.transports, now_us));
            let known = rates_of(transport, &self.sources, estimate_bps, now_us);
            rates.extend(known.into_iter().flatten());
        }
        let is_last = end == self.transports.slots();
        self.statistics.survey = (!is_last).then_some((survey, end));
        if is_last || !rates.is_empty() {
            self.events.push(Event::Surveyed { survey, rates, is_last });
        }
        !is_last
    }

    /// Tells how all fares that the client of a viewing Transport gets. That is at most as much as one
    /// turn of a survey: a client has a Transport for each stream, and a group some thousands at most.
    pub(crate) fn tell_numbers(&mut self, transport: TransportId, now: Instant) {
        let now_us = self.time.micros(now);
        let slot = self.transports.slot_of(transport);
        let key = slot.and_then(|slot| self.transports.client_of(slot));
        let client = key.and_then(|key| self.clients.get(key));
        let estimate_bps = client.and_then(|client| client.estimate_bps(&self.transports, now_us));
        let slots = client.map_or(&[][..], |client| &client.slots);
        let rates = slots
            .iter()
            .filter_map(|slot| self.transports.get(*slot))
            .filter_map(|transport| rates_of(transport, &self.sources, estimate_bps, now_us));
        let rates = rates.flatten().collect();
        self.events.push(Event::Numbers { transport, rates });
    }
}

/// Of a viewer that is connected, and whose client's path takes `estimate_bps`, if that is known.
fn rates_of<'a>(
    transport: &'a Transport,
    sources: &'a Sources,
    estimate_bps: Option<u64>,
    now_us: u64,
) -> Option<impl Iterator<Item = SubscriptionRate> + use<'a>> {
    let Transport { id, paths, role: Role::Viewer(viewer), is_connected: true, .. } = transport
    else {
        return None;
    };
    // What the client believes itself counts while nothing better is known.
    let remb = viewer.estimate;
    let remb = remb.filter(|(_, at_us)| now_us.saturating_sub(*at_us) < REPORT_FOR_US);
    let estimate = estimate_bps.or_else(|| remb.map(|(bits_per_second, _)| bits_per_second));
    let checked_us = paths.round_trip_us();
    Some(viewer.lines.iter().filter_map(move |line| {
        let (info, at) = line.subscription.as_ref()?;
        let source = sources.get(info.id)?;
        let subscriber = source.subscribers.get(*at)?.as_ref()?;
        let mut rate = rate_of(*id, info, source, subscriber, now_us);
        rate.estimate_bits_per_second = estimate.filter(|_| line.kind == MediaKind::Video);
        if rate.rtt_us == 0 {
            rate.rtt_us = checked_us;
        }
        Some(rate)
    }))
}

/// What one Subscription gets, but for what it shares with others.
fn rate_of(
    transport: TransportId,
    info: &PublicationInfo,
    source: &Source,
    subscriber: &Subscriber,
    now_us: u64,
) -> SubscriptionRate {
    let forwarder = &subscriber.forwarder;
    let target = forwarder.target();
    let current = forwarder.current();
    let encoding = current.or(target.encoding).unwrap_or(0);
    let (sid_max, tid_max) = source.layers_max(encoding);
    let (sid, tid) = forwarder.layers();
    let (loss_256, jitter_us, rtt_us) = subscriber.quality.reported(now_us);
    // Of several Encodings each counts as a layer above the worse ones; the first is the best.
    let count = info.rids.len().clamp(1, ENCODINGS_MAX) as u8;
    let below = |encoding: u8| (count - 1).saturating_sub(encoding);
    let is_video = info.kind == MediaKind::Video;
    let aim = target.encoding.filter(|_| is_video).map(|encoding| {
        let (sid_max, tid_max) = source.layers_max(encoding);
        let spatial = below(encoding) + target.spatial_max.min(sid_max);
        Aim { encoding, spatial, temporal: target.temporal_max.min(tid_max) }
    });
    let held = match subscriber.allowance {
        _ if !is_video => None,
        Allowance::Nothing => Some(Held::Path),
        _ if source.is_silent(now_us) => Some(Held::Publisher),
        _ => current.is_none().then_some(Held::Keyframe),
    };
    SubscriptionRate {
        transport,
        publication: info.id,
        codec: forwarder.codec(),
        encoding: current,
        aim,
        held,
        still: subscriber.stillness.told(now_us),
        keyframes_asked: subscriber.keyframes_asked,
        spatial: (below(encoding) + sid.min(sid_max), count - 1 + sid_max),
        temporal: (tid.min(tid_max), tid_max),
        bits_per_second: subscriber.quality.bits_per_second(),
        estimate_bits_per_second: None,
        loss_256,
        rtt_us,
        jitter_us,
    }
}
