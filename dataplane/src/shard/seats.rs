//! A viewer's side of the control contract without renegotiation: its m-sections are seats, agreed
//! upon once, which carry one Publication after another.

use std::net::IpAddr;
use std::time::Instant;

use super::Shard;
use super::commands::{check_order, ours, read_description};
use super::paths::sender;
use super::random::Random;
use super::viewing::offered;
use crate::agree::{Agreement, Role as PeerRole, agree, link_of};
use crate::api::{ClientKey, Event, PublicationInfo, SubscriptionSpec, ViewOffer};
use crate::codec::{Codec, MediaKind};
use crate::describe::{self, Offered, Track, format_for, offered_formats};
use crate::error::PeerError;
use crate::format::Format;
use crate::id::TransportId;
use crate::peer::{Drained, Refusal};
use crate::sdp::{Description, Section};
use crate::transport::{Role, Transport, Viewer, ViewerLine};

/// Seats of each kind that we offer at most.
const OFFERED_SEATS_MAX: u8 = 8;

/// How the track of a seat is named in descriptions, with a number behind it.
const TRACK: &str = "slot";

impl Shard {
    pub(super) fn view(
        &mut self,
        id: TransportId,
        offer: &ViewOffer,
        (client, msid): (ClientKey, &str),
        (codecs, reached): (&[Codec], Option<IpAddr>),
        now: Instant,
    ) -> Result<(), Refusal> {
        let (slot, is_new) = match self.transports.slot_of(id) {
            Some(slot) => (slot, false),
            None => {
                let viewer = Viewer {
                    msid: msid.to_owned(),
                    codecs: codecs.to_vec(),
                    has_seats: true,
                    ..Viewer::default()
                };
                (self.create_viewer(id, client, viewer, now)?, true)
            }
        };
        let done = match offer {
            ViewOffer::Theirs(offer) => {
                self.answer_viewer(slot, offer, (codecs, reached), now).map(|drained| {
                    self.after_drain(slot, drained, now);
                })
            }
            ViewOffer::Ours { audio, video } => {
                self.offer_seats(slot, (*audio, *video), reached, now)
            }
        };
        if done.is_err() && is_new {
            self.close(slot);
        }
        done
    }

    fn answer_viewer(
        &mut self,
        slot: usize,
        offer: &str,
        (codecs, reached): (&[Codec], Option<IpAddr>),
        now: Instant,
    ) -> Result<Drained, Refusal> {
        let remote = read_description(offer)?;
        let before = match self.transports.get(slot) {
            Some(Transport { peer, role: Role::Viewer(viewer), .. })
                if viewer.has_seats && !peer.has_offer_outstanding() =>
            {
                viewer
            }
            _ => return Err(PeerError::SdpUnusable.into()),
        };
        check_order(&before.mids, &remote)?;
        let agreement = agree(&remote, PeerRole::Viewer, codecs, &[])?;
        let link = link_of(&remote, &agreement.bundle);
        let fresh = self.random.credentials(self.config.id, slot);
        let (outbox, counters) = (&mut self.outbox, &mut self.statistics.counters);
        let Some(Transport { id, peer, paths, role: Role::Viewer(viewer), .. }) =
            self.transports.get_mut(slot)
        else {
            return Err(PeerError::SdpUnusable.into());
        };
        let mut transmit = sender(paths, None, outbox, counters);
        let drained = peer.accept_offer(&link, fresh, now, &mut transmit)?;
        drop(transmit);
        let carried = viewer.carry(&agreement, &mut self.random);
        viewer.mids = remote.sections.iter().map(|section| section.mid.clone()).collect();
        let candidates = self.config.candidates_near(reached);
        let ours = ours(peer, &candidates);
        let track = |m_line: usize| {
            let at = carried.iter().position(|carried| *carried == m_line)?;
            let line = viewer.lines.get(at)?;
            let (ssrc, rtx) = line.ssrc;
            Some(Track { stream: &viewer.msid, track: &line.track_id, ssrc, rtx })
        };
        let role = PeerRole::Viewer;
        let answer = describe::answer(&remote, &agreement, role, &ours, link.has_rsize, track);
        let (seats, unused) = (seats(viewer), agreement.unused(&remote));
        self.events.push(Event::Viewed { transport: *id, answer: Some(answer), seats, unused });
        Ok(drained)
    }

    fn offer_seats(
        &mut self,
        slot: usize,
        (audio, video): (u8, u8),
        reached: Option<IpAddr>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let codecs = match self.transports.get(slot) {
            Some(Transport { peer, role: Role::Viewer(viewer), .. })
                if viewer.lines.is_empty() && !peer.has_offer_outstanding() =>
            {
                viewer.codecs.clone()
            }
            _ => return Err(PeerError::OfferOutstanding.into()),
        };
        let kinds: Vec<MediaKind> = std::iter::empty()
            .chain((0..audio.min(OFFERED_SEATS_MAX)).map(|_| MediaKind::Audio))
            .chain((0..video.min(OFFERED_SEATS_MAX)).map(|_| MediaKind::Video))
            .filter(|kind| codecs.iter().any(|codec| codec.kind() == *kind))
            .collect();
        if kinds.is_empty() {
            return Err(PeerError::NoCommonCodec.into());
        }
        let Some(Transport { id, peer, paths, role: Role::Viewer(viewer), .. }) =
            self.transports.get_mut(slot)
        else {
            return Err(PeerError::SdpUnusable.into());
        };
        for (at, kind) in kinds.into_iter().enumerate() {
            viewer.add_line(kind, &format!("{TRACK}{at}"), &mut self.random);
        }
        let (outbox, counters) = (&mut self.outbox, &mut self.statistics.counters);
        let mut transmit = sender(paths, None, outbox, counters);
        peer.offer(None, now, &mut transmit)?;
        drop(transmit);
        let formats = |kind: MediaKind| -> Vec<Format> {
            let of_kind = codecs.iter().filter(|codec| codec.kind() == kind);
            of_kind.flat_map(|codec| offered_formats(*codec, None)).collect()
        };
        let (audio, video) = (formats(MediaKind::Audio), formats(MediaKind::Video));
        let sections: Vec<Offered<'_>> = viewer
            .lines
            .iter()
            .map(|line| {
                let formats = match line.kind {
                    MediaKind::Audio => &audio,
                    MediaKind::Video => &video,
                };
                offered(line, true, formats, &viewer.msid)
            })
            .collect();
        let candidates = self.config.candidates_near(reached);
        let offer = describe::offer(&ours(peer, &candidates), &sections, &viewer.msid);
        self.events.push(Event::Offered { transport: *id, offer });
        Ok(())
    }

    /// The viewer has answered our offer of seats.
    pub(super) fn seats_answered(&mut self, slot: usize, answer: &Description) {
        let Some(Transport { id, role: Role::Viewer(viewer), .. }) = self.transports.get_mut(slot)
        else {
            return;
        };
        // As many as we have offered: that was checked.
        for (line, section) in viewer.lines.iter_mut().zip(&answer.sections) {
            line.section = Some(section).filter(|s| s.is_active && s.receives).cloned();
        }
        let (seats, unused) = (seats(viewer), Vec::new());
        self.events.push(Event::Viewed { transport: *id, answer: None, seats, unused });
    }

    pub(super) fn watch(
        &mut self,
        id: TransportId,
        subscriptions: Vec<SubscriptionSpec>,
        now: Instant,
    ) {
        let Some(slot) = self.transports.slot_of(id) else {
            return;
        };
        let Some(viewer) = self.transports.viewer_mut(slot).filter(|viewer| viewer.has_seats)
        else {
            return;
        };
        let wanted = assign(&viewer.lines, subscriptions);
        for (line, wanted) in viewer.lines.iter_mut().zip(&wanted) {
            if let Some((info, at)) = line.subscription.take_if(|(info, _)| {
                wanted.as_ref().is_none_or(|wanted| wanted.publication != *info)
            }) {
                let counters = &mut self.statistics.counters;
                let parked = self.sources.leave((info.id, at), counters, &mut self.messages);
                line.parked = parked.unwrap_or(line.parked);
            }
        }
        let sections: Vec<Option<Section>> =
            viewer.lines.iter().map(|line| line.section.clone()).collect();
        for (line, (wanted, section)) in wanted.into_iter().zip(sections).enumerate() {
            if let (Some(wish), Some(section)) = (wanted, section) {
                self.begin_subscription(slot, line, wish, &section, now);
            }
        }
        if let Some(viewer) = self.transports.viewer(slot) {
            let lines = viewer.lines.iter();
            let seats = lines.map(|line| line.subscription.as_ref().map(|(info, _)| info.id));
            let seats = seats.collect();
            self.events.push(Event::Watching { transport: id, seats });
        }
    }
}

impl Viewer {
    /// Makes seats of the agreed sections. Returns their m-lines, in the order of the seats.
    fn carry(&mut self, agreement: &Agreement, random: &mut Random) -> Vec<usize> {
        let mut carried = Vec::new();
        let mut lines: Vec<ViewerLine> = Vec::new();
        for m_line in 0..agreement.outcomes.len() {
            let Some(section) = agreement.section(m_line).filter(|section| section.receives) else {
                continue;
            };
            let fresh = self.new_line(section.mid.clone(), section.kind_or_video(), random);
            let known = self.lines.iter().position(|line| line.mid == section.mid);
            let line = match known {
                Some(known) => self.lines.swap_remove(known),
                None => ViewerLine { track_id: format!("{TRACK}{m_line}"), ..fresh },
            };
            lines.push(ViewerLine { section: Some(section.clone()), ..line });
            carried.push(m_line);
        }
        // What a later offer leaves out keeps its numbers, should it come back.
        lines.append(&mut self.lines);
        self.lines = lines;
        carried
    }
}

fn seats(viewer: &Viewer) -> Vec<(String, MediaKind)> {
    viewer.lines.iter().map(|line| (line.mid.clone(), line.kind)).collect()
}

/// By seat, what it shall carry. The first wishes win; a winner that is carried already stays where
/// it is, because moving it would cost a keyframe.
fn assign(
    lines: &[ViewerLine],
    subscriptions: Vec<SubscriptionSpec>,
) -> Vec<Option<SubscriptionSpec>> {
    let can_carry = |line: &ViewerLine, info: &PublicationInfo| {
        line.kind == info.kind
            && line
                .section
                .as_ref()
                .is_some_and(|section| format_for(section, info.codec, &info.fmtp).is_some())
    };
    let mut winners: Vec<SubscriptionSpec> = Vec::new();
    for spec in subscriptions {
        let info = &spec.publication;
        let room = lines.iter().filter(|line| can_carry(line, info)).count();
        let used = winners.iter().filter(|winner| winner.publication.kind == info.kind).count();
        let is_new = winners.iter().all(|winner| winner.publication.id != info.id);
        if used < room && is_new {
            winners.push(spec);
        }
    }
    let mut wanted: Vec<Option<SubscriptionSpec>> = lines
        .iter()
        .map(|line| {
            let (carried, _) = line.subscription.as_ref()?;
            let at = winners.iter().position(|winner| winner.publication == *carried)?;
            Some(winners.remove(at))
        })
        .collect();
    for winner in winners {
        let free = (0..lines.len())
            .find(|at| wanted[*at].is_none() && can_carry(&lines[*at], &winner.publication));
        if let Some(at) = free {
            wanted[at] = Some(winner);
        }
    }
    wanted
}
