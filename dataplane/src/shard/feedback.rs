//! RTCP on its way in: from viewers about what they got, from publishers about their clocks.
//! Feedback about somebody else's SSRC is counted and ignored.

use std::time::Instant;

use super::Shard;
use super::routes::Home;
use crate::id::PublicationId;
use crate::rtcp::{self, Feedback, ReportBlock};
use crate::stats::DropReason;
use crate::transport::{Role, Stream, Transport};

/// NACKed packets answered per compound RTCP packet (row 15).
const NACKED_MAX: usize = 256;

/// What a viewer's compound packet asks for, collected before it is acted upon.
#[derive(Default)]
struct Asked<'a> {
    /// Bodies of transport-wide feedback.
    feedback: Vec<&'a [u8]>,
    /// The same of RFC 8888.
    arrivals: Vec<&'a [u8]>,
    keyframes: Vec<u32>,
    lost: Vec<(u32, u16)>,
    reports: Vec<ReportBlock>,
    /// REMB, in bits per second.
    estimate: Option<u64>,
}

impl Shard {
    pub(super) fn handle_rtcp(&mut self, home: Home, datagram: &mut [u8], now: Instant) {
        let at_us = self.time.micros(now);
        let slot = home.slot;
        let Some(transport) = self.transports.get_mut(slot) else {
            return;
        };
        let Some(opener) = transport.opener.as_mut() else {
            self.count(DropReason::NotReady);
            return;
        };
        let Ok(len) = opener.open_rtcp(datagram) else {
            self.count(DropReason::SrtpDenied);
            return;
        };
        transport.hear(home.path, now);
        let compound = &datagram[..len];
        match transport.role {
            Role::Publisher(_) => self.publisher_feedback(slot, compound, at_us),
            Role::Viewer(_) => self.viewer_feedback(slot, compound, at_us, now),
        }
    }

    fn publisher_feedback(&mut self, slot: usize, compound: &[u8], at_us: u64) {
        let mut reports = Vec::new();
        let is_whole = rtcp::parse(compound, |feedback| {
            if let Feedback::SenderReport { ssrc, ntp_time, rtp_time } = feedback {
                reports.push((ssrc, ntp_time, rtp_time));
            }
        });
        if !is_whole {
            self.count(DropReason::BadRtcp);
        }
        let Self { transports, sources, lanes, statistics, .. } = self;
        let Some(Transport { id, role: Role::Publisher(publisher), .. }) = transports.get_mut(slot)
        else {
            return;
        };
        for (ssrc, ntp_time, rtp_time) in reports {
            let Some(stream) = publisher.stream(ssrc).filter(|stream| !stream.is_rtx) else {
                statistics.counters.drop(DropReason::FeedbackForeign);
                continue;
            };
            let Stream { m_line, encoding, .. } = stream;
            let clock = publisher.clock.report(ntp_time, rtp_time, at_us);
            let publication = PublicationId { transport: *id, m_line };
            if let Some(source) = sources.get_mut(publication) {
                source.set_clock(encoding, clock);
            }
            let Some(known) = publisher.publication(m_line) else {
                continue;
            };
            if let Some(known) = known.encodings.get_mut(usize::from(encoding)) {
                known.sender_report(ntp_time, at_us);
            }
            lanes.push_clock(known.readers, (publication, encoding), clock);
        }
    }

    fn viewer_feedback(&mut self, slot: usize, compound: &[u8], at_us: u64, now: Instant) {
        let mut asked = Asked::default();
        let is_whole = rtcp::parse(compound, |feedback| match feedback {
            Feedback::Pli { ssrc } | Feedback::Fir { ssrc } => {
                if !asked.keyframes.contains(&ssrc) {
                    asked.keyframes.push(ssrc);
                }
            }
            Feedback::Nack { ssrc, seq_no, bitmask } => {
                let following = (0..16).filter(|bit| bitmask >> bit & 1 != 0);
                let all = std::iter::once(seq_no)
                    .chain(following.map(|bit| seq_no.wrapping_add(bit + 1)));
                let room = NACKED_MAX - asked.lost.len();
                asked.lost.extend(all.take(room).map(|seq_no| (ssrc, seq_no)));
            }
            Feedback::Twcc(body) => asked.feedback.push(body),
            Feedback::Ccfb(body) => asked.arrivals.push(body),
            Feedback::Report(block) => asked.reports.push(block),
            Feedback::Remb { bitrate_bps } => asked.estimate = Some(bitrate_bps),
            Feedback::SenderReport { .. } | Feedback::Bye(_) => {}
        });
        if !is_whole {
            self.count(DropReason::BadRtcp);
        }
        if !(asked.reports.is_empty() && asked.feedback.is_empty() && asked.arrivals.is_empty())
            && let Some(viewer) = self.transports.viewer_mut(slot)
        {
            viewer.has_arrived = true;
        }
        let counters = &mut self.statistics.counters;
        counters.keyframe_requests_in += asked.keyframes.len() as u64;
        counters.nacked_in += asked.lost.len() as u64;
        self.take_reports(slot, &asked, at_us);
        self.take_feedback(slot, &asked, at_us, now);
        for ssrc in asked.keyframes {
            self.keyframe_asked(slot, ssrc);
        }
        for (ssrc, seq_no) in asked.lost {
            let Some((publication, at)) = self.transports.subscription(slot, ssrc) else {
                self.count(DropReason::FeedbackForeign);
                continue;
            };
            let (mut sending, sources) = self.sending(at_us);
            if let Some(source) = sources.get_mut(publication) {
                source.retransmit(at, seq_no, &mut sending);
            }
        }
    }

    /// A viewer wants a keyframe of what it gets under an SSRC.
    fn keyframe_asked(&mut self, slot: usize, ssrc: u32) {
        let Some((publication, at)) = self.transports.subscription(slot, ssrc) else {
            self.count(DropReason::FeedbackForeign);
            return;
        };
        let Some(source) = self.sources.get_mut(publication) else {
            return;
        };
        let Some(Some(subscriber)) = source.subscribers.get_mut(at) else {
            return;
        };
        subscriber.keyframes_asked = subscriber.keyframes_asked.saturating_add(1);
        let forwarder = &subscriber.forwarder;
        let encoding = forwarder.current().or_else(|| forwarder.target().encoding);
        // Of what is paused no keyframe is of use.
        if let Some(encoding) = encoding {
            let origin = source.origin;
            self.want_keyframe(origin, publication, encoding);
        }
    }

    /// What a viewer says of its path.
    fn take_feedback(&mut self, slot: usize, asked: &Asked<'_>, at_us: u64, now: Instant) {
        let Some(key) = self.transports.client_of(slot) else {
            return;
        };
        let (Some((client, results)), Some(egress)) =
            (self.clients.for_feedback(key), self.transports.egress_mut(slot))
        else {
            return;
        };
        if let Some(bits_per_second) = asked.estimate {
            client.controller.take_remb(bits_per_second, at_us);
        }
        if let Some(loss_256) = asked.reports.iter().map(|block| block.fraction_lost).max() {
            client.controller.take_report(loss_256, at_us);
        }
        if asked.feedback.is_empty() && asked.arrivals.is_empty() {
            return;
        }
        let mut is_whole = true;
        for body in &asked.feedback {
            is_whole &= egress.flow.history.take_feedback(body, results);
        }
        for body in &asked.arrivals {
            let history = &mut egress.flow.history;
            is_whole &= egress.numbers.take_report(body, |number, arrived_us| {
                history.take_one(number, arrived_us, results);
            });
        }
        // Of packets that the peer heard of out of turn, those that left first come first.
        results.sort_by_key(|result| result.sent_us);
        let outbox = &self.outbox;
        egress.flow.delay.take(results, |sent_us| outbox.has_stalled(sent_us));
        client.controller.take_results(egress.flow.delay.usage(), results, at_us);
        if !is_whole {
            self.count(DropReason::BadRtcp);
        }
        self.divide_if_worse(key, now);
    }

    /// What a viewer says of what it gets.
    fn take_reports(&mut self, slot: usize, asked: &Asked<'_>, at_us: u64) {
        let ntp_now = self.time.ntp_at(at_us);
        for block in &asked.reports {
            // Reports about RTX say nothing about the media.
            if let Some((publication, at)) = self.transports.subscription(slot, block.ssrc)
                && let Some(source) = self.sources.get_mut(publication)
                && let Some(Some(subscriber)) = source.subscribers.get_mut(at)
                && subscriber.ssrc == block.ssrc
            {
                let heard = subscriber.quality.report(block, source.clock_hz, at_us, ntp_now);
                self.statistics.counters.note_heard(heard);
            }
        }
        if let Some(bits_per_second) = asked.estimate
            && let Some(viewer) = self.transports.viewer_mut(slot)
        {
            viewer.estimate = Some((bits_per_second, at_us));
        }
    }
}
