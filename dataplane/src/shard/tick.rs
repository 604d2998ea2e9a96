//! Housekeeping every 20 ms: feedback to publishers, sender reports to viewers, layer choice,
//! silence and deadlines.

use std::time::{Duration, Instant};

use super::{Shard, TICKS_PER_SECOND};
use crate::api::{EncodingRate, Event};
use crate::choose::Allowance;
use crate::codec::{Codec, MediaKind};
use crate::egress::Egress;
use crate::error::CloseReason;
use crate::id::PublicationId;
use crate::outbox::Outbox;
use crate::rtcp::{ReportBlock, Writer};
use crate::srtp::SEAL_OVERHEAD_MAX_BYTES;
use crate::stats::{Counters, ESTIMATES_BPS};
use crate::transport::{Role, Transport};

/// Silence after which an ICE restart may help: checks come every 2.5 s (libwebrtc) to 5 s (others).
/// The first is for peers that answer our own checks, three of which have gone unanswered by then.
const SILENCE: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(10));
/// NACK items per packet: 16 items cover up to 272 losses.
const NACK_ITEMS_MAX: usize = 16;
/// Between two looks at the viewers' layers, in ticks.
const SOURCE_TICKS: u64 = 5;

impl Shard {
    pub(super) fn run_tick(&mut self, now: Instant) {
        let now_us = self.micros(now);
        for at in 0..self.publishers.len() {
            let slot = self.publishers[at];
            self.publisher_tick(slot, now_us);
        }
        if self.tick.is_multiple_of(SOURCE_TICKS) {
            self.source_tick(now_us);
        }
        self.look_at_clients(now);
        self.look_at_demand(now_us);
        let phase = self.tick % TICKS_PER_SECOND;
        let mut slot = phase as usize;
        while slot < self.slots.len() {
            self.transport_second(slot, now, now_us);
            slot += TICKS_PER_SECOND as usize;
        }
        if phase == 0 {
            self.tell_counters(now_us);
        }
    }

    fn tell_counters(&mut self, now_us: u64) {
        self.counters.transports = self.by_id.len() as u64;
        self.counters.gauges = std::mem::take(&mut self.gauges);
        let (busy_us, at_us) = std::mem::replace(&mut self.busy_told, (self.busy_us, now_us));
        let passed_us = now_us.saturating_sub(at_us).max(1);
        self.counters.busy_ppm = ((self.busy_us - busy_us) * 1_000_000 / passed_us).min(1_000_000);
        let counters = Box::new(self.counters.clone());
        self.events.push(Event::Stats { shard: self.config.id, counters });
    }

    fn publisher_tick(&mut self, slot: usize, now_us: u64) {
        let ntp_now = self.ntp_at(now_us);
        let Some(Some(Transport { role: Role::Publisher(publisher), .. })) =
            self.slots.get_mut(slot)
        else {
            return;
        };
        let Some(Some(egress)) = self.egress.get_mut(slot) else {
            return;
        };
        let sender = publisher.rtcp_ssrc;
        for publication in publisher.publications.iter_mut().flatten() {
            if publication.kind == MediaKind::Audio {
                continue;
            }
            let takes_requests = publication.takes_keyframe_requests();
            for encoding in &mut publication.encodings {
                let Some(ssrc) = encoding.ssrc else { continue };
                if takes_requests && encoding.take_keyframe_request(now_us) {
                    self.counters.keyframe_requests_out += 1;
                    send_rtcp(egress, &mut self.outbox, &mut self.counters, |writer| {
                        writer.pli(sender, ssrc);
                    });
                }
                if encoding.has_gaps() {
                    let mut items = [(0, 0); NACK_ITEMS_MAX];
                    let used = encoding.nacks(now_us, &mut items);
                    if used > 0 {
                        self.counters.nacked_out += items[..used]
                            .iter()
                            .map(|(_, mask)| 1 + u64::from(mask.count_ones()))
                            .sum::<u64>();
                        send_rtcp(egress, &mut self.outbox, &mut self.counters, |writer| {
                            writer.nack(sender, ssrc, &items[..used]);
                        });
                    }
                }
            }
        }
        let passed_us = now_us.saturating_sub(publisher.feedback_at_us);
        let wait_us = match (&publisher.arrivals, &publisher.receptions) {
            (Some(arrivals), _) => arrivals.interval_us(passed_us),
            (None, Some(receptions)) => receptions.interval_us(passed_us),
            (None, None) => return,
        };
        // Half a tick early rather than half a tick late.
        if passed_us.saturating_add(super::TICK.as_micros() as u64 / 2) < wait_us {
            return;
        }
        let media = publisher.streams.first().map_or(0, |stream| stream.ssrc);
        let mut body = [0; 1024];
        // A burst may need more than one packet.
        for _ in 0..4 {
            let is_wide = publisher.arrivals.is_some();
            let written = match (&mut publisher.arrivals, &mut publisher.receptions) {
                (Some(arrivals), _) => arrivals.write(&mut body),
                (None, Some(receptions)) => {
                    receptions.write(&mut body, (ntp_now >> 16) as u32, now_us)
                }
                (None, None) => None,
            };
            let Some(len) = written else {
                break;
            };
            publisher.feedback_at_us = now_us;
            send_rtcp(egress, &mut self.outbox, &mut self.counters, |writer| match is_wide {
                true => writer.twcc(sender, media, &body[..len]),
                false => writer.ccfb(sender, &body[..len]),
            });
        }
    }

    fn source_tick(&mut self, now_us: u64) {
        let mut wanted: Vec<(PublicationId, u8)> = Vec::new();
        let (mut sending, sources) = self.sending(now_us);
        for (publication, source) in sources {
            source.tick(now_us, &mut sending, |encoding| {
                if !wanted.contains(&(*publication, encoding)) {
                    wanted.push((*publication, encoding));
                }
            });
        }
        for (publication, encoding) in wanted {
            self.want_keyframe(publication, encoding);
        }
    }

    fn transport_second(&mut self, slot: usize, now: Instant, now_us: u64) {
        self.tell_path(slot, now);
        let Some(Some(transport)) = self.slots.get_mut(slot) else {
            return;
        };
        let heard_at = transport.paths.heard_at().unwrap_or(transport.created_at);
        let silent_for = now.saturating_duration_since(heard_at);
        match (transport.is_connected, transport.is_silence_told) {
            (false, _) => self.gauges.connecting += 1,
            (true, false) => self.gauges.connected += 1,
            (true, true) => self.gauges.silent += 1,
        }
        match &transport.role {
            Role::Publisher(publisher) => {
                let publications = publisher.publications.iter().flatten();
                for codec in publications.filter_map(|publication| publication.announced) {
                    self.gauges.publications[codec as usize] += 1;
                }
            }
            Role::Viewer(viewer) => {
                for line in viewer.lines.iter().filter(|line| line.subscription.is_some()) {
                    *self.gauges.subscriptions.of(line.kind) += 1;
                }
            }
        }
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
        let Some(Some(transport)) = self.slots.get_mut(slot) else {
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
        match self.transport(slot).map(|transport| &transport.role) {
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
        if let Some(key) = self.client_of(slot)
            // Once for all of a client's Transports.
            && self.clients.get(&key).is_some_and(|client| client.slots.first() == Some(&slot))
            && let Some(estimate_bps) = self.estimate_of(key, now_us)
        {
            let class = ESTIMATES_BPS.partition_point(|bound| *bound < estimate_bps);
            self.gauges.estimates[class] += 1;
        }
        let Some(Some(Transport { role: Role::Viewer(viewer), .. })) = self.slots.get(slot) else {
            return;
        };
        for (info, at) in viewer.lines.iter().filter_map(|line| line.subscription.as_ref()) {
            if let Some(source) = self.sources.get_mut(&info.id)
                && let Some(Some(subscriber)) = source.subscribers.get_mut(*at)
            {
                subscriber.quality.look(subscriber.sent.1, now_us);
                self.counters.switches.merge(subscriber.forwarder.take_switches());
                if info.kind == MediaKind::Video {
                    let pictures = &mut self.gauges.pictures;
                    *match subscriber.allowance {
                        Allowance::All => &mut pictures.whole,
                        Allowance::UpTo(..) => &mut pictures.reduced,
                        Allowance::Nothing => &mut pictures.held,
                    } += 1;
                }
            }
        }
    }

    fn receiver_report(&mut self, slot: usize, now_us: u64) {
        let Some(Some(Transport { role: Role::Publisher(publisher), .. })) =
            self.slots.get_mut(slot)
        else {
            return;
        };
        let Some(Some(egress)) = self.egress.get_mut(slot) else {
            return;
        };
        let mut blocks = [ReportBlock::default(); 31];
        let mut used = 0;
        let encodings =
            publisher.publications.iter_mut().flatten().flat_map(|p| p.encodings.iter_mut());
        for (block, out) in encodings.filter_map(|e| e.report(now_us)).zip(&mut blocks) {
            *out = block;
            used += 1;
        }
        let sender = publisher.rtcp_ssrc;
        send_rtcp(egress, &mut self.outbox, &mut self.counters, |writer| {
            writer.receiver_report(sender, &blocks[..used]);
            writer.cname(sender, "aula");
        });
    }

    fn rates(&mut self, slot: usize, now_us: u64) {
        let Some(Some(Transport { id, paths, role: Role::Publisher(publisher), .. })) =
            self.slots.get_mut(slot)
        else {
            return;
        };
        let (transport, rtt_us) = (*id, paths.round_trip_us());
        let sources = &self.sources;
        let publications = (0..).zip(&mut publisher.publications);
        let rates: Vec<EncodingRate> = publications
            .filter_map(|(m_line, publication)| Some((m_line, publication.as_mut()?)))
            .flat_map(|(m_line, publication)| {
                let announced = publication.announced;
                let encodings = (0..).zip(&mut publication.encodings);
                encodings.filter_map(move |(encoding, state)| {
                    let bits_per_second = state.take_rate(now_us)?;
                    let publication = PublicationId { transport, m_line };
                    let (loss_256, jitter_us) = state.quality();
                    let source = sources.get(&publication);
                    Some(EncodingRate {
                        publication,
                        encoding,
                        bits_per_second,
                        loss_256,
                        jitter_us,
                        rtt_us,
                        codec: announced?,
                        layers_max: source.map_or((0, 0), |source| source.layers_max(encoding)),
                        is_described: source.is_some_and(|source| source.codec == Codec::Av1),
                    })
                })
            })
            .collect();
        if !rates.is_empty() {
            self.events.push(Event::Received { transport, rates });
        }
    }

    fn sender_reports(&mut self, slot: usize, now_us: u64) {
        let Some(Some(Transport { role: Role::Viewer(viewer), .. })) = self.slots.get(slot) else {
            return;
        };
        let ntp_now = self.ntp_at(now_us);
        for line in &viewer.lines {
            let Some((info, at)) = &line.subscription else {
                continue;
            };
            let Some(source) = self.sources.get(&info.id) else {
                continue;
            };
            let Some(Some(subscriber)) = source.subscribers.get(*at) else {
                continue;
            };
            let Some(Some(egress)) = self.egress.get_mut(slot) else {
                return;
            };
            let forwarder = &subscriber.forwarder;
            let Some(encoding) = forwarder.current() else {
                continue;
            };
            let Some(clock) = source.clock(encoding) else {
                continue;
            };
            let theirs = clock.rtp_time_at(now_us, source.clock_hz);
            let Some(rtp_time) = forwarder.rtp_time(encoding, theirs) else {
                continue;
            };
            let ssrc = subscriber.ssrc;
            let (packets, octets) = subscriber.sent;
            send_rtcp(egress, &mut self.outbox, &mut self.counters, |writer| {
                writer.sender_report(ssrc, ntp_now, rtp_time, packets, octets);
                writer.cname(ssrc, &viewer.msid);
            });
        }
    }
}

/// Writes, seals and sends one compound RTCP packet.
pub(super) fn send_rtcp(
    egress: &mut Egress,
    outbox: &mut Outbox,
    counters: &mut Counters,
    write: impl FnOnce(&mut Writer<'_>),
) {
    let out = outbox.slot(counters);
    let room = out.len() - SEAL_OVERHEAD_MAX_BYTES;
    let mut writer = Writer::new(&mut out[..room]);
    write(&mut writer);
    let len = writer.written();
    let len = egress.sealer.seal_rtcp(out, len);
    outbox.commit(len, &egress.path);
}
