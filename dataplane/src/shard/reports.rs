//! RTCP on its way out: requests and feedback to publishers, reports to both; and the rates that the
//! control plane is told.

use super::Shard;
use super::time::TICK;
use crate::api::{EncodingRate, Event};
use crate::egress::Egress;
use crate::id::PublicationId;
use crate::outbox::Outbox;
use crate::rtcp::{ReportBlock, Writer};
use crate::srtp::SEAL_OVERHEAD_MAX_BYTES;
use crate::stats::Counters;
use crate::transport::{Publisher, Role, Transport};

/// NACK items per packet: 16 items cover up to 272 losses.
const NACK_ITEMS_MAX: usize = 16;

impl Shard {
    /// Asks a publisher for keyframes and for what is missing, and tells it what has arrived.
    pub(super) fn publisher_tick(&mut self, slot: usize, now_us: u64) {
        let ntp_now = self.time.ntp_at(now_us);
        let Self { transports, outbox, statistics, .. } = self;
        let Some((_, publisher, egress)) = transports.connected_publisher_mut(slot) else {
            return;
        };
        let counters = &mut statistics.counters;
        let sender = publisher.rtcp_ssrc;
        for publication in publisher.publications.iter_mut().flatten() {
            let takes_requests = publication.takes_keyframe_requests();
            for encoding in &mut publication.encodings {
                let Some(ssrc) = encoding.ssrc else { continue };
                if takes_requests && encoding.take_keyframe_request(now_us) {
                    counters.keyframe_requests_out += 1;
                    send_rtcp(egress, outbox, counters, |writer| {
                        writer.pli(sender, ssrc);
                    });
                }
                if encoding.has_gaps() {
                    let mut items = [(0, 0); NACK_ITEMS_MAX];
                    let used = encoding.nacks(now_us, &mut items);
                    if used > 0 {
                        counters.nacked_out += items[..used]
                            .iter()
                            .map(|(_, mask)| 1 + u64::from(mask.count_ones()))
                            .sum::<u64>();
                        send_rtcp(egress, outbox, counters, |writer| {
                            writer.nack(sender, ssrc, &items[..used]);
                        });
                    }
                }
            }
        }
        send_arrivals(publisher, egress, (outbox, counters), (now_us, ntp_now));
    }

    /// A receiver report about all that a publisher sends.
    pub(super) fn receiver_report(&mut self, slot: usize, now_us: u64) {
        let Some((_, publisher, egress)) = self.transports.connected_publisher_mut(slot) else {
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
        send_rtcp(egress, &mut self.outbox, &mut self.statistics.counters, |writer| {
            writer.receiver_report(sender, &blocks[..used]);
            writer.cname(sender, "aula");
        });
    }

    /// Tells the control plane what a publisher sends.
    pub(super) fn rates(&mut self, slot: usize, now_us: u64) {
        let Some(Transport { id, paths, role: Role::Publisher(publisher), .. }) =
            self.transports.get_mut(slot)
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
                    let source = sources.get(publication);
                    Some(EncodingRate {
                        publication,
                        encoding,
                        bits_per_second,
                        loss_256,
                        jitter_us,
                        rtt_us,
                        codec: announced?,
                        layers_max: source.map_or((0, 0), |source| source.layers_max(encoding)),
                    })
                })
            })
            .collect();
        if !rates.is_empty() {
            self.events.push(Event::Received { transport, rates });
        }
    }

    /// Sender reports about all that a viewer gets.
    pub(super) fn sender_reports(&mut self, slot: usize, now_us: u64) {
        let ntp_now = self.time.ntp_at(now_us);
        let Some((viewer, egress)) = self.transports.connected_viewer_mut(slot) else {
            return;
        };
        for line in &viewer.lines {
            let Some((info, at)) = &line.subscription else {
                continue;
            };
            let Some(source) = self.sources.get(info.id) else {
                continue;
            };
            let Some(Some(subscriber)) = source.subscribers.get(*at) else {
                continue;
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
            send_rtcp(egress, &mut self.outbox, &mut self.statistics.counters, |writer| {
                writer.sender_report(ssrc, ntp_now, rtp_time, packets, octets);
                writer.cname(ssrc, &viewer.msid);
            });
        }
    }
}

/// Transport-wide feedback, or that of RFC 8888, if it is time.
fn send_arrivals(
    publisher: &mut Publisher,
    egress: &mut Egress,
    (outbox, counters): (&mut Outbox, &mut Counters),
    (now_us, ntp_now): (u64, u64),
) {
    let sender = publisher.rtcp_ssrc;
    let passed_us = now_us.saturating_sub(publisher.feedback_at_us);
    let wait_us = match (&publisher.arrivals, &publisher.receptions) {
        (Some(arrivals), _) => arrivals.interval_us(passed_us),
        (None, Some(receptions)) => receptions.interval_us(passed_us),
        (None, None) => return,
    };
    // Half a tick early rather than half a tick late.
    if passed_us.saturating_add(TICK.as_micros() as u64 / 2) < wait_us {
        return;
    }
    let media = publisher.streams.first().map_or(0, |stream| stream.ssrc);
    let mut body = [0; 1024];
    // A burst may need more than one packet.
    for _ in 0..4 {
        let is_wide = publisher.arrivals.is_some();
        let written = match (&mut publisher.arrivals, &mut publisher.receptions) {
            (Some(arrivals), _) => arrivals.write(&mut body),
            (None, Some(receptions)) => receptions.write(&mut body, (ntp_now >> 16) as u32, now_us),
            (None, None) => None,
        };
        let Some(len) = written else {
            break;
        };
        publisher.feedback_at_us = now_us;
        send_rtcp(egress, outbox, counters, |writer| match is_wide {
            true => writer.twcc(sender, media, &body[..len]),
            false => writer.ccfb(sender, &body[..len]),
        });
    }
}

/// Writes, seals and sends one compound RTCP packet.
pub(super) fn send_rtcp(
    egress: &mut Egress,
    outbox: &mut Outbox,
    counters: &mut Counters,
    write: impl FnOnce(&mut Writer<'_>),
) {
    let out = outbox.room(counters);
    let room = out.len() - SEAL_OVERHEAD_MAX_BYTES;
    let mut writer = Writer::new(&mut out[..room]);
    write(&mut writer);
    let len = writer.written();
    let len = egress.sealer.seal_rtcp(out, len);
    outbox.commit(len, &egress.path);
}
