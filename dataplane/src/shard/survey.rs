//! How all viewers fare, told when the control plane asks: bit by bit, so that a question about
//! thousands of them holds no packet up.

use std::time::Instant;

use super::Shard;
use crate::api::{Event, SubscriptionRate};
use crate::codec::MediaKind;
use crate::id::TransportId;
use crate::publication::ENCODINGS_MAX;
use crate::quality::REPORT_FOR_US;
use crate::transport::{Role, Transport, Viewer};

/// Slots looked at in one turn of the loop: some 50 us if all of them view audio and video.
const SLOTS_PER_TURN: usize = 128;

impl Shard {
    /// Begins to answer a question about all viewers with [`Event::Surveyed`]. One that is being
    /// answered is dropped for a new one.
    pub fn begin_survey(&mut self, survey: u64) {
        self.survey = Some((survey, 0));
    }

    /// Goes on with the answer; says whether there is more to tell.
    pub fn run_survey(&mut self, now: Instant) -> bool {
        let Some((survey, first)) = self.survey else {
            return false;
        };
        let now_us = self.micros(now);
        let end = (first + SLOTS_PER_TURN).min(self.slots.len());
        let mut rates = Vec::new();
        for transport in self.slots.get(first..end).unwrap_or_default().iter().flatten() {
            if let Transport { id, role: Role::Viewer(viewer), is_connected: true, .. } = transport
            {
                rates.extend(self.rates_of(*id, viewer, now_us));
            }
        }
        let is_last = end == self.slots.len();
        self.survey = (!is_last).then_some((survey, end));
        if is_last || !rates.is_empty() {
            self.events.push(Event::Surveyed { survey, rates, is_last });
        }
        !is_last
    }

    fn rates_of(
        &self,
        transport: TransportId,
        viewer: &Viewer,
        now_us: u64,
    ) -> impl Iterator<Item = SubscriptionRate> {
        // What the client believes itself counts while nothing better is known.
        let remb = viewer.estimate;
        let remb = remb.filter(|(_, at_us)| now_us.saturating_sub(*at_us) < REPORT_FOR_US);
        let ours = viewer.client.and_then(|client| self.estimate_of(client, now_us));
        let estimate = ours.or_else(|| remb.map(|(bits_per_second, _)| bits_per_second));
        viewer.lines.iter().filter_map(move |line| {
            let (info, at) = line.subscription.as_ref()?;
            let source = self.sources.get(&info.id)?;
            let subscriber = source.subscribers.get(*at)?.as_ref()?;
            let forwarder = &subscriber.forwarder;
            let encoding = forwarder.current().or_else(|| forwarder.target().encoding).unwrap_or(0);
            let (sid_max, tid_max) = source.layers_max(encoding);
            let (sid, tid) = forwarder.layers();
            let (loss_256, jitter_us, rtt_us) = subscriber.quality.reported(now_us);
            // Of several Encodings each counts as a layer above the worse ones; the first is the best.
            let count = info.rids.len().clamp(1, ENCODINGS_MAX) as u8;
            let below = (count - 1).saturating_sub(encoding);
            Some(SubscriptionRate {
                transport,
                publication: info.id,
                spatial: (below + sid.min(sid_max), count - 1 + sid_max),
                temporal: (tid.min(tid_max), tid_max),
                bits_per_second: subscriber.quality.bits_per_second(),
                estimate_bits_per_second: estimate.filter(|_| line.kind == MediaKind::Video),
                loss_256,
                rtt_us,
                jitter_us,
            })
        })
    }
}
