//! RTCP on its way in: from viewers about what they got, from publishers about their clocks.
//! Feedback about somebody else's SSRC is counted and ignored.

use std::time::Instant;

use super::Shard;
use super::paths::Home;
use crate::id::PublicationId;
use crate::rtcp::{self, Feedback, ReportBlock};
use crate::stats::DropReason;
use crate::transport::Role;

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
        let at_us = self.micros(now);
        let slot = home.slot;
        let Some(Some(transport)) = self.slots.get_mut(slot) else {
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
        for (ssrc, ntp_time, rtp_time) in reports {
            let Some(Some(transport)) = self.slots.get_mut(slot) else {
                return;
            };
            let id = transport.id;
            let Role::Publisher(publisher) = &mut transport.role else {
                return;
            };
            let Some(stream) = publisher.stream(ssrc).filter(|stream| !stream.is_rtx) else {
                self.count(DropReason::FeedbackForeign);
                continue;
            };
            let clock = publisher.clock.report(ntp_time, rtp_time, at_us);
            let publication = PublicationId { transport: id, m_line: stream.m_line };
            if let Some(encoding) = publisher
                .publication(stream.m_line)
                .and_then(|p| p.encodings.get_mut(usize::from(stream.encoding)))
            {
                encoding.sender_report(ntp_time, at_us);
            }
            self.set_clock(publication, stream.encoding, clock);
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
            && let Some(Some(transport)) = self.slots.get_mut(slot)
            && let Role::Viewer(viewer) = &mut transport.role
        {
            viewer.has_arrived = true;
        }
        self.counters.keyframe_requests_in += asked.keyframes.len() as u64;
        self.counters.nacked_in += asked.lost.len() as u64;
        self.take_reports(slot, &asked, at_us);
        self.take_feedback(slot, &asked, at_us, now);
        for ssrc in asked.keyframes {
            let Some((publication, at)) = self.subscription(slot, ssrc) else {
                self.count(DropReason::FeedbackForeign);
                continue;
            };
            let Some(source) = self.sources.get_mut(&publication) else {
                continue;
            };
            let Some(Some(subscriber)) = source.subscribers.get_mut(at) else {
                continue;
            };
            subscriber.keyframes_asked = subscriber.keyframes_asked.saturating_add(1);
            let forwarder = &subscriber.forwarder;
            let encoding = forwarder.current().or_else(|| forwarder.target().encoding);
            // Of what is paused no keyframe is of use.
            if let Some(encoding) = encoding {
                self.want_keyframe(publication, encoding);
            }
        }
        for (ssrc, seq_no) in asked.lost {
            let Some((publication, at)) = self.subscription(slot, ssrc) else {
                self.count(DropReason::FeedbackForeign);
                continue;
            };
            let (mut sending, sources) = self.sending(at_us);
            let Some(source) = sources.get_mut(&publication) else {
                continue;
            };
            source.retransmit(at, seq_no, &mut sending);
        }
    }

    /// What a viewer says of its path.
    fn take_feedback(&mut self, slot: usize, asked: &Asked<'_>, at_us: u64, now: Instant) {
        let Some(key) = self.client_of(slot) else {
            return;
        };
        let (Some(client), Some(Some(egress))) =
            (self.clients.get_mut(&key), self.egress.get_mut(slot))
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
        self.results.clear();
        for body in &asked.feedback {
            is_whole &= egress.flow.history.take_feedback(body, &mut self.results);
        }
        for body in &asked.arrivals {
            let (results, history) = (&mut self.results, &mut egress.flow.history);
            is_whole &= egress.numbers.take_report(body, |number, arrived_us| {
                history.take_one(number, arrived_us, results);
            });
        }
        // Of packets that the peer heard of out of turn, those that left first come first.
        self.results.sort_by_key(|result| result.sent_us);
        let outbox = &self.outbox;
        egress.flow.delay.take(&self.results, |sent_us| outbox.has_stalled(sent_us));
        client.controller.take_results(egress.flow.delay.usage(), &self.results, at_us);
        if !is_whole {
            self.count(DropReason::BadRtcp);
        }
        self.divide_if_worse(key, now);
    }

    /// What a viewer says of what it gets.
    fn take_reports(&mut self, slot: usize, asked: &Asked<'_>, at_us: u64) {
        let ntp_now = self.ntp_at(at_us);
        for block in &asked.reports {
            // Reports about RTX say nothing about the media.
            if let Some((publication, at)) = self.subscription(slot, block.ssrc)
                && let Some(source) = self.sources.get_mut(&publication)
                && let Some(Some(subscriber)) = source.subscribers.get_mut(at)
                && subscriber.ssrc == block.ssrc
            {
                let heard = subscriber.quality.report(block, source.clock_hz, at_us, ntp_now);
                self.counters.note_heard(heard);
            }
        }
        if let Some(bits_per_second) = asked.estimate
            && let Some(Some(transport)) = self.slots.get_mut(slot)
            && let Role::Viewer(viewer) = &mut transport.role
        {
            viewer.estimate = Some((bits_per_second, at_us));
        }
    }

    fn subscription(&self, slot: usize, ssrc: u32) -> Option<(PublicationId, usize)> {
        let Role::Viewer(viewer) = &self.transport(slot)?.role else {
            return None;
        };
        viewer.subscription_by_ssrc(ssrc).map(|(info, at)| (info.id, at))
    }
}
