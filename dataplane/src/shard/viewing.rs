//! A viewer's side of the control contract: subscribe, answer, change a cap.

use std::net::SocketAddr;
use std::time::Instant;

use super::commands::Refusal;
use super::{PeerMessage, Shard};
use crate::api::{Codec, Event, LayerCap, MediaKind, PublicationInfo, SubscriptionSpec};
use crate::canonical::MidBytes;
use crate::error::PeerError;
use crate::extension::Extension;
use crate::forward::{Forwarder, Parked};
use crate::id::{PublicationId, TransportId};
use crate::peer::OfferedSection;
use crate::sdp::{self, Description, Section};
use crate::sending::Sending;
use crate::source::{Negotiated, Source, Subscriber};
use crate::transport::{Role, Transport, Viewer, ViewerLine};

/// Subscriptions of one viewing Transport.
const SUBSCRIPTIONS_MAX: usize = 64;

impl Shard {
    pub(super) fn subscribe(
        &mut self,
        id: TransportId,
        msid: &str,
        subscriptions: Vec<SubscriptionSpec>,
        ice_restart: bool,
        now: Instant,
    ) -> Result<(), Refusal> {
        if subscriptions.len() > SUBSCRIPTIONS_MAX {
            return Err(Ok(PeerError::TooManySubscriptions));
        }
        let (slot, is_new) = match self.by_id.get(&id).copied() {
            Some(slot) => (slot, false),
            None => (self.create_viewer(id, msid, &subscriptions, now)?, true),
        };
        let (is_outstanding, has_codecs) = match self.transport(slot) {
            Some(Transport { peer, role: Role::Viewer(viewer), .. }) if !viewer.has_slots => (
                peer.has_offer_outstanding(),
                subscriptions.iter().all(|s| viewer.codecs.contains(&s.publication.codec)),
            ),
            _ => return Err(Ok(PeerError::SdpUnusable)),
        };
        if is_outstanding {
            return Err(Ok(PeerError::OfferOutstanding));
        }
        if !has_codecs {
            return Err(Ok(PeerError::NoCommonCodec));
        }
        let offered = self.offer_viewer(slot, subscriptions, ice_restart, now);
        match offered {
            Ok(offer) => {
                self.events.push(Event::Offered { transport: id, offer });
                Ok(())
            }
            Err(refusal) => {
                if is_new {
                    self.close(slot);
                }
                Err(refusal)
            }
        }
    }

    fn create_viewer(
        &mut self,
        id: TransportId,
        msid: &str,
        subscriptions: &[SubscriptionSpec],
        now: Instant,
    ) -> Result<usize, Refusal> {
        // One codec per kind, as publishers send it; of a kind that may be added later, all.
        let mut codecs: Vec<(Codec, Option<&str>)> = Vec::new();
        for SubscriptionSpec { publication, .. } in subscriptions {
            let fmtp = match publication.codec {
                Codec::H264 | Codec::Vp9 | Codec::Opus if !publication.fmtp.is_empty() => {
                    Some(publication.fmtp.as_str())
                }
                _ => None,
            };
            if !codecs.iter().any(|(codec, _)| *codec == publication.codec) {
                codecs.push((publication.codec, fmtp));
            }
        }
        for kind in [MediaKind::Video, MediaKind::Audio] {
            if !codecs.iter().any(|(codec, _)| codec.kind() == kind) {
                codecs.extend(
                    Codec::ALL.into_iter().filter(|c| c.kind() == kind).map(|codec| (codec, None)),
                );
            }
        }
        let viewer = Viewer {
            msid: msid.to_owned(),
            codecs: codecs.iter().map(|(codec, _)| *codec).collect(),
            ..Viewer::default()
        };
        self.create(id, &codecs, Role::Viewer(Box::new(viewer)), now)
    }

    /// Ends what is no longer wanted at once, and offers the m-sections for the rest.
    fn offer_viewer(
        &mut self,
        slot: usize,
        subscriptions: Vec<SubscriptionSpec>,
        ice_restart: bool,
        now: Instant,
    ) -> Result<String, Refusal> {
        let (wanted, added) = self.assign_lines(slot, subscriptions);
        let fresh = self.credentials(slot);
        let Some(Some(Transport { peer, role: Role::Viewer(viewer), .. })) =
            self.slots.get_mut(slot)
        else {
            return Err(Ok(PeerError::SdpUnusable));
        };
        let directions: Vec<(&str, bool)> = viewer
            .lines
            .iter()
            .zip(&wanted)
            .map(|(line, wanted)| (line.mid.as_str(), wanted.is_some()))
            .collect();
        let sections: Vec<OfferedSection<'_>> = added
            .iter()
            .map(|spec| OfferedSection {
                kind: spec.publication.kind,
                stream_id: &viewer.msid,
                track_id: match (spec.publication.track_id.as_str(), spec.publication.kind) {
                    ("", MediaKind::Audio) => "audio",
                    ("", MediaKind::Video) => "video",
                    (track_id, _) => track_id,
                },
            })
            .collect();
        let outbox = &mut self.outbox;
        let counters = &mut self.counters;
        let mut transmit = |_: SocketAddr, to: SocketAddr, datagram: &[u8]| {
            outbox.push(datagram, to, None, counters);
        };
        let restart = ice_restart.then(|| fresh.clone());
        let offered = peer
            .offer(&sections, &directions, restart, now, &mut transmit)
            .and_then(|offered| match offered {
                Some(offered) => Ok(Some(offered)),
                // Nothing changed, but an offer was asked for: new credentials make one.
                None => peer.offer(&[], &[], Some(fresh), now, &mut transmit),
            })
            .map_err(Err)?;
        let Some((offer, mids)) = offered else {
            return Err(Ok(PeerError::SdpUnusable));
        };
        let description = Description::read(&offer);
        for (spec, mid) in added.iter().zip(mids) {
            let section = description.sections.iter().find(|section| section.mid == mid);
            let Some(section) = section else {
                return Err(Ok(PeerError::SdpUnusable));
            };
            let Some(ssrc) = section.ssrcs.first().copied() else {
                return Err(Ok(PeerError::SdpUnusable));
            };
            let rtx = section.fid.iter().find(|(media, _)| *media == ssrc).map(|(_, rtx)| *rtx);
            viewer.lines.push(ViewerLine {
                mid,
                kind: spec.publication.kind,
                subscription: None,
                ssrc: (ssrc, rtx),
                section: None,
                parked: Parked::fresh(self.random.next(), self.random.next()),
            });
        }
        viewer.wanted = wanted;
        viewer.wanted.extend(added.into_iter().map(|spec| Some((spec.publication, spec.cap))));
        Ok(offer)
    }

    /// Distributes wishes over the m-lines there are: what stays keeps its line, what ends frees
    /// it, what is new takes a free one of its kind. Returns the wishes by line and those that
    /// need a new line.
    fn assign_lines(
        &mut self,
        slot: usize,
        mut subscriptions: Vec<SubscriptionSpec>,
    ) -> (Vec<Option<(PublicationInfo, LayerCap)>>, Vec<SubscriptionSpec>) {
        let Some(Some(Transport { role: Role::Viewer(viewer), .. })) = self.slots.get_mut(slot)
        else {
            return (Vec::new(), subscriptions);
        };
        let mut lines = std::mem::take(&mut viewer.lines);
        let mut wanted: Vec<Option<(PublicationInfo, LayerCap)>> = vec![None; lines.len()];
        for (line, wanted) in lines.iter_mut().zip(&mut wanted) {
            let Some((info, at)) = &line.subscription else {
                continue;
            };
            let stays = subscriptions.iter().position(|s| s.publication == *info);
            if let Some(stays) = stays {
                let spec = subscriptions.remove(stays);
                *wanted = Some((spec.publication, spec.cap));
            } else {
                if let Some(parked) = self.remove_subscriber(info.id, *at) {
                    line.parked = parked;
                }
                line.subscription = None;
            }
        }
        for (line, wanted) in lines.iter().zip(&mut wanted) {
            let fits = subscriptions.iter().position(|s| s.publication.kind == line.kind);
            if let (None, Some(fits)) = (&wanted, fits) {
                let spec = subscriptions.remove(fits);
                *wanted = Some((spec.publication, spec.cap));
            }
        }
        if let Some(Some(Transport { role: Role::Viewer(viewer), .. })) = self.slots.get_mut(slot) {
            viewer.lines = lines;
        }
        (wanted, subscriptions)
    }

    pub(super) fn accept_answer(
        &mut self,
        id: TransportId,
        answer: &str,
        now: Instant,
    ) -> Result<(), Refusal> {
        sdp::check_limits(answer).map_err(Ok)?;
        let answer = sdp::normalise(answer, false);
        let Some(slot) = self.by_id.get(&id).copied() else {
            return Err(Ok(PeerError::NoOfferOutstanding));
        };
        let Some(Some(Transport { peer, role: Role::Viewer(viewer), .. })) =
            self.slots.get_mut(slot)
        else {
            return Err(Ok(PeerError::SdpUnusable));
        };
        let outbox = &mut self.outbox;
        let counters = &mut self.counters;
        let drained = peer.accept_answer(&answer, now, &mut |_, to, datagram| {
            outbox.push(datagram, to, None, counters);
        })?;
        let wanted = std::mem::take(&mut viewer.wanted);
        let has_slots = viewer.has_slots;
        let description = Description::read(&answer);
        if has_slots {
            self.slots_answered(slot, &description);
            self.after_drain(slot, drained, now);
            return Ok(());
        }
        for (line, (wish, section)) in wanted.into_iter().zip(description.sections).enumerate() {
            if let Some((info, cap)) = wish {
                self.begin_subscription(slot, line, info, cap, &section, now);
            }
        }
        self.after_drain(slot, drained, now);
        Ok(())
    }

    pub(super) fn begin_subscription(
        &mut self,
        slot: usize,
        line: usize,
        info: PublicationInfo,
        cap: LayerCap,
        section: &Section,
        now: Instant,
    ) {
        let Some(Some(Transport { role: Role::Viewer(viewer), .. })) = self.slots.get_mut(slot)
        else {
            return;
        };
        let Some(line_state) = viewer.lines.get_mut(line) else {
            return;
        };
        if line_state.subscription.is_some() {
            self.set_cap_of_line(slot, line, cap, now);
            return;
        }
        let format = section.formats.iter().find(|format| format.codec == Some(info.codec));
        let (Some(format), true) = (format, section.is_active && section.receives) else {
            return; // The viewer does not want it, or cannot decode it.
        };
        let (ssrc, rtx_ssrc) = line_state.ssrc;
        let has_mid = section.extensions.id_of(Extension::Mid).is_some();
        let negotiated = Negotiated {
            ssrc,
            pt: format.pt,
            rtx: rtx_ssrc.zip(section.rtx_of(format.pt)),
            mid: if has_mid { MidBytes::new(&line_state.mid) } else { MidBytes::default() },
            ids: extension_ids(section),
        };
        let parked = line_state.parked;
        let publication = info.id;
        let is_foreign = publication.transport.shard() != self.config.id;
        if is_foreign && !self.sources.contains_key(&publication) {
            let message = PeerMessage::Attach { publication, from: self.config.id };
            self.messages.push((publication.transport.shard(), message));
        }
        let source = self.sources.entry(publication).or_insert_with(|| Source::from_info(&info));
        let forwarder = Forwarder::new(info.codec, source.clock_hz, cap, 0, parked);
        let at = source.add(Subscriber::new(slot, forwarder, negotiated, parked.rtx_next));
        line_state.subscription = Some((info, at));
        let is_connected = self.egress.get(slot).is_some_and(Option::is_some);
        if is_connected {
            self.start_subscriber(publication, at, now);
        }
    }

    /// All Subscriptions of a viewer that has just connected.
    pub(super) fn start_viewer(&mut self, slot: usize, now: Instant) {
        let Some(Transport { role: Role::Viewer(viewer), .. }) = self.transport(slot) else {
            return;
        };
        let all: Vec<(PublicationId, usize)> = viewer
            .lines
            .iter()
            .filter_map(|line| line.subscription.as_ref().map(|(info, at)| (info.id, *at)))
            .collect();
        for (publication, at) in all {
            self.start_subscriber(publication, at, now);
        }
    }

    fn start_subscriber(&mut self, publication: PublicationId, at: usize, now: Instant) {
        let now_us = self.micros(now);
        let Some(source) = self.sources.get_mut(&publication) else {
            return;
        };
        let mut sending = Sending {
            egress: &mut self.egress,
            outbox: &mut self.outbox,
            counters: &mut self.counters,
        };
        let needed = source.start(at, now_us, &mut sending);
        if let Some(encoding) = needed {
            self.want_keyframe(publication, encoding);
        }
    }

    pub(super) fn set_cap(
        &mut self,
        id: TransportId,
        publication: PublicationId,
        cap: LayerCap,
        now: Instant,
    ) {
        let Some(slot) = self.by_id.get(&id).copied() else {
            return;
        };
        let Some(Transport { role: Role::Viewer(viewer), .. }) = self.transport(slot) else {
            return;
        };
        let line = viewer.lines.iter().position(|line| {
            line.subscription.as_ref().is_some_and(|(info, _)| info.id == publication)
        });
        if let Some(line) = line {
            self.set_cap_of_line(slot, line, cap, now);
        }
        // An offer may be out; the cap is to hold when its answer comes, too.
        if let Some(Some(Transport { role: Role::Viewer(viewer), .. })) = self.slots.get_mut(slot) {
            let wanted = viewer.wanted.iter_mut().flatten();
            for (_, wanted_cap) in wanted.filter(|(info, _)| info.id == publication) {
                *wanted_cap = cap;
            }
        }
    }

    fn set_cap_of_line(&mut self, slot: usize, line: usize, cap: LayerCap, now: Instant) {
        let Some(Transport { role: Role::Viewer(viewer), .. }) = self.transport(slot) else {
            return;
        };
        let Some((info, at)) = viewer.lines.get(line).and_then(|line| line.subscription.as_ref())
        else {
            return;
        };
        let (publication, at) = (info.id, *at);
        let Some(source) = self.sources.get_mut(&publication) else {
            return;
        };
        let Some(Some(subscriber)) = source.subscribers.get_mut(at) else {
            return;
        };
        if subscriber.forwarder.cap() == cap {
            return;
        }
        let current = subscriber.forwarder.current();
        if subscriber.forwarder.set_cap(cap)
            && let Some(encoding) = current
        {
            self.want_keyframe(publication, encoding);
        }
        self.start_subscriber(publication, at, now);
    }
}

/// The viewer's ids for our extensions, or `None` if they are ours anyway.
fn extension_ids(section: &Section) -> Option<Box<[u8; 15]>> {
    let mut ids = [0; 15];
    let mut is_same = true;
    for extension in Extension::ALL {
        let id = section.extensions.id_of(extension).unwrap_or(0);
        ids[usize::from(extension.id())] = id;
        let is_written = extension.is_forwarded()
            || matches!(extension, Extension::AbsSendTime | Extension::Twcc);
        is_same &= id == extension.id() || !is_written;
    }
    (!is_same).then(|| Box::new(ids))
}
