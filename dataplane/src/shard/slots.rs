//! A viewer's side of the control contract without renegotiation: its m-sections are slots, agreed
//! upon once, which carry one Publication after another.

use std::time::Instant;

use super::Shard;
use super::commands::Refusal;
use crate::api::{Codec, Event, LayerCap, MediaKind, PublicationInfo, SubscriptionSpec, ViewOffer};
use crate::error::PeerError;
use crate::forward::Parked;
use crate::id::TransportId;
use crate::peer::{Drained, OfferedSection};
use crate::sdp::{self, Description, Section};
use crate::transport::{Role, Transport, Viewer, ViewerLine};

/// Slots of each kind that we offer at most.
const OFFERED_SLOTS_MAX: u8 = 8;

impl Shard {
    pub(super) fn view(
        &mut self,
        id: TransportId,
        offer: &ViewOffer,
        msid: &str,
        codecs: &[Codec],
        now: Instant,
    ) -> Result<(), Refusal> {
        let is_new = !self.by_id.contains_key(&id);
        let slot = match self.by_id.get(&id).copied() {
            Some(slot) => slot,
            None => {
                let configured: Vec<_> = codecs.iter().map(|codec| (*codec, None)).collect();
                let viewer = Viewer {
                    msid: msid.to_owned(),
                    codecs: codecs.to_vec(),
                    has_slots: true,
                    ..Viewer::default()
                };
                self.create(id, &configured, Role::Viewer(Box::new(viewer)), now)?
            }
        };
        let done = match offer {
            ViewOffer::Theirs(offer) => self.answer_viewer(slot, offer, now).map(|drained| {
                self.after_drain(slot, drained, now);
            }),
            ViewOffer::Ours { audio, video } => self.offer_slots(slot, *audio, *video, now),
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
        now: Instant,
    ) -> Result<Drained, Refusal> {
        sdp::check_limits(offer).map_err(Ok)?;
        let offer = sdp::normalise(offer, false);
        let remote = Description::read(&offer);
        if !remote.sections.iter().any(|s| s.receives && s.is_active && s.kind.is_some()) {
            return Err(Ok(PeerError::NothingWanted));
        }
        let fresh = self.credentials(slot);
        let Some(Some(Transport { id, peer, role: Role::Viewer(viewer), .. })) =
            self.slots.get_mut(slot)
        else {
            return Err(Ok(PeerError::SdpUnusable));
        };
        if !viewer.has_slots || peer.has_offer_outstanding() {
            return Err(Ok(PeerError::SdpUnusable));
        }
        let (outbox, counters) = (&mut self.outbox, &mut self.counters);
        let msid = Some(viewer.msid.as_str());
        let (answer, drained) = peer.accept_offer(&offer, fresh, msid, now, &mut |_, to, d| {
            outbox.push(d, to, None, counters);
        })?;
        let local = Description::read(&answer);
        let sections = remote.sections.iter().zip(&local.sections);
        let wanted = sections.filter(|(offered, answered)| carries_media(offered, answered));
        let mut lines: Vec<ViewerLine> = Vec::new();
        for (offered, answered) in wanted {
            // What our answer says of formats and extensions is what both sides can do.
            let section = Section { is_active: true, receives: true, ..answered.clone() };
            let known = viewer.lines.iter().position(|line| line.mid == offered.mid);
            let ssrc = answered.ssrcs.first().copied().filter(|ssrc| {
                // One SSRC in two slots would be one nonce for two packets.
                lines.iter().chain(&viewer.lines).all(|line| line.ssrc.0 != *ssrc)
            });
            let line = match (known, ssrc) {
                (Some(known), _) => {
                    ViewerLine { section: Some(section), ..viewer.lines.swap_remove(known) }
                }
                (None, Some(ssrc)) => ViewerLine {
                    mid: offered.mid.clone(),
                    kind: offered.kind.unwrap_or(MediaKind::Video),
                    subscription: None,
                    ssrc: (ssrc, rtx_of(answered, ssrc)),
                    section: Some(section),
                    parked: Parked::fresh(self.random.next(), self.random.next()),
                },
                (None, None) => continue,
            };
            lines.push(line);
        }
        if lines.is_empty() {
            return Err(Ok(PeerError::NoCommonCodec));
        }
        // What a later offer leaves out keeps its numbers, should it come back.
        lines.append(&mut viewer.lines);
        viewer.lines = lines;
        let slots = slots(viewer);
        self.events.push(Event::Viewed { transport: *id, answer: Some(answer), slots });
        Ok(drained)
    }

    fn offer_slots(
        &mut self,
        slot: usize,
        audio: u8,
        video: u8,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(Some(Transport { id, peer, role: Role::Viewer(viewer), .. })) =
            self.slots.get_mut(slot)
        else {
            return Err(Ok(PeerError::SdpUnusable));
        };
        if !viewer.lines.is_empty() || peer.has_offer_outstanding() {
            return Err(Ok(PeerError::OfferOutstanding));
        }
        let kinds: Vec<MediaKind> = std::iter::empty()
            .chain((0..audio.min(OFFERED_SLOTS_MAX)).map(|_| MediaKind::Audio))
            .chain((0..video.min(OFFERED_SLOTS_MAX)).map(|_| MediaKind::Video))
            .filter(|kind| viewer.codecs.iter().any(|codec| codec.kind() == *kind))
            .collect();
        let tracks: Vec<String> = (0..kinds.len()).map(|at| format!("slot{at}")).collect();
        let sections: Vec<OfferedSection<'_>> = kinds
            .iter()
            .zip(&tracks)
            .map(|(kind, track)| OfferedSection {
                kind: *kind,
                stream_id: &viewer.msid,
                track_id: track,
            })
            .collect();
        let (outbox, counters) = (&mut self.outbox, &mut self.counters);
        let offered = peer.offer(&sections, &[], None, now, &mut |_, to, datagram| {
            outbox.push(datagram, to, None, counters);
        });
        let Some((offer, mids)) = offered.map_err(Err)? else {
            return Err(Ok(PeerError::NoCommonCodec));
        };
        let description = Description::read(&offer);
        for (kind, mid) in kinds.into_iter().zip(mids) {
            let section = description.sections.iter().find(|section| section.mid == mid);
            let ssrc = section.and_then(|section| section.ssrcs.first().copied());
            let (Some(section), Some(ssrc)) = (section, ssrc) else {
                return Err(Ok(PeerError::SdpUnusable));
            };
            viewer.lines.push(ViewerLine {
                mid,
                kind,
                subscription: None,
                ssrc: (ssrc, rtx_of(section, ssrc)),
                section: None,
                parked: Parked::fresh(self.random.next(), self.random.next()),
            });
        }
        self.events.push(Event::Offered { transport: *id, offer });
        Ok(())
    }

    /// The viewer has answered our offer of slots.
    pub(super) fn slots_answered(&mut self, slot: usize, answer: &Description) {
        let Some(Some(Transport { id, role: Role::Viewer(viewer), .. })) = self.slots.get_mut(slot)
        else {
            return;
        };
        for line in &mut viewer.lines {
            let section = answer.sections.iter().find(|section| section.mid == line.mid);
            line.section = section.filter(|s| s.is_active && s.receives).cloned();
        }
        let slots = slots(viewer);
        self.events.push(Event::Viewed { transport: *id, answer: None, slots });
    }

    pub(super) fn watch(
        &mut self,
        id: TransportId,
        subscriptions: Vec<SubscriptionSpec>,
        now: Instant,
    ) {
        let Some(slot) = self.by_id.get(&id).copied() else {
            return;
        };
        let Some(Some(Transport { role: Role::Viewer(viewer), .. })) = self.slots.get_mut(slot)
        else {
            return;
        };
        if !viewer.has_slots {
            return;
        }
        let mut lines = std::mem::take(&mut viewer.lines);
        let wanted = assign(&lines, subscriptions);
        for (line, wanted) in lines.iter_mut().zip(&wanted) {
            if let Some((info, at)) = line
                .subscription
                .take_if(|(info, _)| wanted.as_ref().is_none_or(|(wanted, _)| wanted != info))
                && let Some(parked) = self.remove_subscriber(info.id, at)
            {
                line.parked = parked;
            }
        }
        let sections: Vec<Option<Section>> =
            lines.iter().map(|line| line.section.clone()).collect();
        if let Some(Some(Transport { role: Role::Viewer(viewer), .. })) = self.slots.get_mut(slot) {
            viewer.lines = lines;
        }
        for (line, (wanted, section)) in wanted.into_iter().zip(sections).enumerate() {
            if let (Some((info, cap)), Some(section)) = (wanted, section) {
                self.begin_subscription(slot, line, info, cap, &section, now);
            }
        }
        if let Some(Transport { role: Role::Viewer(viewer), .. }) = self.transport(slot) {
            let lines = viewer.lines.iter();
            let slots = lines.map(|line| line.subscription.as_ref().map(|(info, _)| info.id));
            let slots = slots.collect();
            self.events.push(Event::Watching { transport: id, slots });
        }
    }
}

/// Whether an m-section of a viewer's offer is answered with media.
fn carries_media(offered: &Section, answered: &Section) -> bool {
    offered.receives
        && offered.is_active
        && offered.kind.is_some()
        && answered.is_active
        && answered.sends
        && answered.formats.iter().any(|format| format.codec.is_some())
}

fn rtx_of(section: &Section, ssrc: u32) -> Option<u32> {
    section.fid.iter().find(|(media, _)| *media == ssrc).map(|(_, rtx)| *rtx)
}

fn slots(viewer: &Viewer) -> Vec<(String, MediaKind)> {
    viewer.lines.iter().map(|line| (line.mid.clone(), line.kind)).collect()
}

/// By slot, what it shall carry. The first wishes win; a winner that is carried already stays where
/// it is, because moving it would cost a keyframe.
fn assign(
    lines: &[ViewerLine],
    subscriptions: Vec<SubscriptionSpec>,
) -> Vec<Option<(PublicationInfo, LayerCap)>> {
    let can_carry = |line: &ViewerLine, info: &PublicationInfo| {
        line.kind == info.kind
            && line.section.as_ref().is_some_and(|section| {
                section.formats.iter().any(|format| format.codec == Some(info.codec))
            })
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
    let mut wanted: Vec<Option<(PublicationInfo, LayerCap)>> = lines
        .iter()
        .map(|line| {
            let (carried, _) = line.subscription.as_ref()?;
            let at = winners.iter().position(|winner| winner.publication == *carried)?;
            let SubscriptionSpec { publication, cap } = winners.remove(at);
            Some((publication, cap))
        })
        .collect();
    for SubscriptionSpec { publication, cap } in winners {
        let free = (0..lines.len())
            .find(|at| wanted[*at].is_none() && can_carry(&lines[*at], &publication));
        if let Some(at) = free {
            wanted[at] = Some((publication, cap));
        }
    }
    wanted
}
