//! A viewer's side of the control contract: subscribe, answer, change a cap.

use std::time::Instant;

use super::Shard;
use super::commands::{ours, read_description};
use super::paths::sender;
use crate::agree::link_of;
use crate::api::{ClientKey, Event, LayerCap, SubscriptionSpec};
use crate::canonical::MidBytes;
use crate::choose::Target;
use crate::codec::{Codec, MediaKind};
use crate::describe::{self, Offered, Ours, Track, format_for, offered_formats};
use crate::error::PeerError;
use crate::extension::Extension;
use crate::format::CCFB;
use crate::format::Format;
use crate::forward::{Forwarder, Parked};
use crate::id::{PublicationId, ReaderId, TransportId};
use crate::lane::PeerMessage;
use crate::peer::{Drained, Refusal};
use crate::sdp::Section;
use crate::source::Source;
use crate::subscriber::{Negotiated, Subscriber};
use crate::transport::{Role, Transport, Viewer, ViewerLine};

/// Subscriptions of one viewing Transport.
const SUBSCRIPTIONS_MAX: usize = 64;

impl Shard {
    pub(super) fn subscribe(
        &mut self,
        id: TransportId,
        (client, msid): (ClientKey, &str),
        subscriptions: Vec<SubscriptionSpec>,
        ice_restart: bool,
        now: Instant,
    ) -> Result<(), Refusal> {
        if subscriptions.len() > SUBSCRIPTIONS_MAX {
            return Err(PeerError::TooManySubscriptions.into());
        }
        let (slot, is_new) = match self.by_id.get(&id).copied() {
            Some(slot) => (slot, false),
            None => {
                let viewer = Viewer { msid: msid.to_owned(), ..Viewer::default() };
                let slot = self.create(id, Role::Viewer(Box::new(viewer)), now)?;
                self.join_client(slot, client);
                (slot, true)
            }
        };
        let is_outstanding = match self.transport(slot) {
            Some(Transport { peer, role: Role::Viewer(viewer), .. }) if !viewer.has_slots => {
                peer.has_offer_outstanding()
            }
            _ => return Err(PeerError::SdpUnusable.into()),
        };
        if is_outstanding {
            return Err(PeerError::OfferOutstanding.into());
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

    /// Ends what is no longer wanted at once, and offers the m-sections for the rest.
    fn offer_viewer(
        &mut self,
        slot: usize,
        subscriptions: Vec<SubscriptionSpec>,
        ice_restart: bool,
        now: Instant,
    ) -> Result<String, Refusal> {
        let (mut wanted, added) = self.assign_lines(slot, subscriptions);
        for spec in &added {
            self.add_line(slot, spec.publication.kind, &spec.publication.track_id);
        }
        wanted.extend(added.into_iter().map(Some));
        let fresh = self.credentials(slot);
        let Some(Some(Transport { peer, paths, role: Role::Viewer(viewer), .. })) =
            self.slots.get_mut(slot)
        else {
            return Err(PeerError::SdpUnusable.into());
        };
        for (line, wanted) in viewer.lines.iter_mut().zip(&wanted) {
            let Some(SubscriptionSpec { publication: info, .. }) = wanted else { continue };
            line.codec = Some(info.codec);
            if viewer.params.iter().all(|(codec, _)| *codec != info.codec) {
                viewer.params.push((info.codec, info.fmtp.clone()));
            }
        }
        let (outbox, counters) = (&mut self.outbox, &mut self.counters);
        let mut transmit = sender(paths, None, outbox, counters);
        let credentials = peer.offer(ice_restart.then_some(fresh), now, &mut transmit)?;
        drop(transmit);
        viewer.wanted = wanted;
        let formats: Vec<Vec<Format>> =
            viewer.lines.iter().map(|line| formats_of(line, &viewer.params)).collect();
        let sections: Vec<Offered<'_>> = viewer
            .lines
            .iter()
            .zip(&viewer.wanted)
            .zip(&formats)
            .map(|((line, wanted), formats)| offered(line, wanted.is_some(), formats, &viewer.msid))
            .collect();
        let candidates = self.config.candidates_near(None);
        let ours =
            Ours { credentials: (&credentials.0, &credentials.1), ..ours(peer, &candidates) };
        Ok(describe::offer(&ours, &sections, &viewer.msid))
    }

    /// Adds an m-line towards a viewer, with SSRCs and numbers of its own.
    pub(super) fn add_line(&mut self, slot: usize, kind: MediaKind, track_id: &str) {
        let mid = match self.transport(slot) {
            Some(Transport { role: Role::Viewer(viewer), .. }) => viewer.lines.len().to_string(),
            _ => return,
        };
        let line = ViewerLine {
            codec: None,
            track_id: match (track_id, kind) {
                ("", MediaKind::Audio) => "audio".to_owned(),
                ("", MediaKind::Video) => "video".to_owned(),
                (track_id, _) => track_id.to_owned(),
            },
            ..self.new_line(slot, mid, kind)
        };
        if let Some(Some(Transport { role: Role::Viewer(viewer), .. })) = self.slots.get_mut(slot) {
            viewer.lines.push(line);
        }
    }

    /// An m-line towards a viewer. Its SSRCs are no other line's: one SSRC on two lines would be
    /// one nonce for two packets.
    pub(super) fn new_line(&mut self, slot: usize, mid: String, kind: MediaKind) -> ViewerLine {
        let mut taken: Vec<u32> = match self.transport(slot) {
            Some(Transport { role: Role::Viewer(viewer), .. }) => {
                let ssrcs = viewer.lines.iter().map(|line| line.ssrc);
                ssrcs.flat_map(|(media, rtx)| std::iter::once(media).chain(rtx)).collect()
            }
            _ => Vec::new(),
        };
        let mut next = || loop {
            let ssrc = self.random.next() as u32;
            if ssrc != 0 && !taken.contains(&ssrc) {
                taken.push(ssrc);
                return ssrc;
            }
        };
        let ssrc = (next(), (kind == MediaKind::Video).then(&mut next));
        ViewerLine {
            mid,
            kind,
            codec: None,
            track_id: String::new(),
            section: None,
            subscription: None,
            ssrc,
            parked: Parked::fresh(self.random.next(), self.random.next()),
        }
    }

    /// Distributes wishes over the m-lines there are: what stays keeps its line, what ends frees
    /// it, what is new takes a free one of its kind. Returns the wishes by line and those that
    /// need a new line.
    fn assign_lines(
        &mut self,
        slot: usize,
        mut subscriptions: Vec<SubscriptionSpec>,
    ) -> (Vec<Option<SubscriptionSpec>>, Vec<SubscriptionSpec>) {
        let Some(Some(Transport { role: Role::Viewer(viewer), .. })) = self.slots.get_mut(slot)
        else {
            return (Vec::new(), subscriptions);
        };
        let mut lines = std::mem::take(&mut viewer.lines);
        let mut wanted: Vec<Option<SubscriptionSpec>> = vec![None; lines.len()];
        for (line, wanted) in lines.iter_mut().zip(&mut wanted) {
            let Some((info, at)) = &line.subscription else {
                continue;
            };
            let stays = subscriptions.iter().position(|s| s.publication == *info);
            if let Some(stays) = stays {
                *wanted = Some(subscriptions.remove(stays));
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
                *wanted = Some(subscriptions.remove(fits));
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
        let description = read_description(answer)?;
        let Some(slot) = self.by_id.get(&id).copied() else {
            return Err(PeerError::NoOfferOutstanding.into());
        };
        let Some(Some(Transport { peer, paths, role: Role::Viewer(viewer), .. })) =
            self.slots.get_mut(slot)
        else {
            return Err(PeerError::SdpUnusable.into());
        };
        if !peer.has_offer_outstanding() {
            return Err(PeerError::NoOfferOutstanding.into());
        }
        let is_fitting = description.sections.len() == viewer.lines.len()
            && description.sections.iter().zip(&viewer.lines).all(|(section, line)| {
                section.kind == Some(line.kind) && (!section.is_active || section.mid == line.mid)
            });
        if !is_fitting {
            return Err(PeerError::SdpUnusable.into());
        }
        let is_on = |at: &usize| description.sections[*at].is_active;
        let bundle: Vec<usize> = (0..description.sections.len()).filter(is_on).collect();
        let link = link_of(&description, &bundle);
        let outbox = &mut self.outbox;
        let counters = &mut self.counters;
        let drained = if bundle.is_empty() {
            // It can use none of it, and says nothing of ICE either.
            peer.drop_offer();
            Drained::default()
        } else {
            peer.accept_answer(&link, now, &mut sender(paths, None, outbox, counters))?
        };
        let wanted = std::mem::take(&mut viewer.wanted);
        let has_slots = viewer.has_slots;
        if has_slots {
            self.slots_answered(slot, &description);
            self.after_drain(slot, drained, now);
            return Ok(());
        }
        for (line, (wish, section)) in wanted.into_iter().zip(description.sections).enumerate() {
            if let Some(wish) = wish {
                self.begin_subscription(slot, line, wish, &section, now);
            }
        }
        self.after_drain(slot, drained, now);
        Ok(())
    }

    pub(super) fn begin_subscription(
        &mut self,
        slot: usize,
        line: usize,
        wish: SubscriptionSpec,
        section: &Section,
        now: Instant,
    ) {
        let SubscriptionSpec { publication: info, cap, priority } = wish;
        let Some(Some(Transport { id, role: Role::Viewer(viewer), .. })) = self.slots.get_mut(slot)
        else {
            return;
        };
        let Some(line_state) = viewer.lines.get_mut(line) else {
            return;
        };
        if line_state.subscription.is_some() {
            self.set_cap_of_line(slot, line, (cap, Some(priority)), now);
            return;
        }
        let format = format_for(section, info.codec, &info.fmtp).filter(|_| section.is_active);
        let Some(format) = format else {
            let transport = *id;
            self.events.push(Event::Unshown { transport, publication: info.id, codec: info.codec });
            return;
        };
        if !section.receives {
            return; // The viewer does not want it.
        }
        let (ssrc, rtx_ssrc) = line_state.ssrc;
        let is_theirs = !viewer.mids.is_empty();
        let has_mid = section.extensions.id_of(Extension::Mid).is_some();
        let negotiated = Negotiated {
            ssrc,
            pt: format.pt,
            rtx: rtx_ssrc.zip(section.rtx_of(format.pt)),
            red: section.red_of(format.pt),
            mid: if has_mid { MidBytes::new(&line_state.mid) } else { MidBytes::default() },
            ids: extension_ids(section),
            has_feedback: section.extensions.id_of(Extension::Twcc).is_some(),
            // An answer may not have what we did not offer, so this is of viewers that did.
            tells_by_ssrc: is_theirs && format.feedback.has(CCFB),
            has_dependencies: section.extensions.id_of(Extension::DependencyDescriptor).is_some(),
        };
        let parked = line_state.parked;
        let publication = info.id;
        let is_foreign = publication.transport.shard() != self.config.id;
        if is_foreign && !self.sources.contains_key(&publication) {
            let from = ReaderId::Shard(self.config.id);
            let message = PeerMessage::Attach { publication, from };
            self.messages.push((publication.transport.shard(), message));
        }
        let source = self.sources.entry(publication).or_insert_with(|| Source::from_info(&info));
        let target = Target {
            spatial_max: cap.spatial_max(),
            temporal_max: cap.temporal_max(),
            ..Target::all(0)
        };
        let forwarder = Forwarder::new(info.codec, source.clock_hz, target, parked);
        let rtx_next = parked.rtx_next;
        let wish = (cap, priority);
        let at =
            source.add(Subscriber::new(publication, slot, forwarder, wish, negotiated, rtx_next));
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

    pub(super) fn start_subscriber(&mut self, publication: PublicationId, at: usize, now: Instant) {
        let now_us = self.micros(now);
        let (mut sending, sources) = self.sending(now_us);
        let Some(source) = sources.get_mut(&publication) else {
            return;
        };
        let needed = source.start(at, now_us, &mut sending);
        // Layers that cannot be stepped up to need a keyframe as well.
        let needed = needed.or_else(|| source.lacking(at, now_us));
        let viewer = source.subscribers.get(at).and_then(|s| Some(s.as_ref()?.viewer));
        if let Some(viewer) = viewer {
            self.disturb(viewer);
        }
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
            self.set_cap_of_line(slot, line, (cap, None), now);
        }
        // An offer may be out; the cap is to hold when its answer comes, too.
        if let Some(Some(Transport { role: Role::Viewer(viewer), .. })) = self.slots.get_mut(slot) {
            let wanted = viewer.wanted.iter_mut().flatten();
            for wish in wanted.filter(|wish| wish.publication.id == publication) {
                wish.cap = cap;
            }
        }
    }

    fn set_cap_of_line(
        &mut self,
        slot: usize,
        line: usize,
        (cap, priority): (LayerCap, Option<u8>),
        now: Instant,
    ) {
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
        subscriber.priority = priority.unwrap_or(subscriber.priority);
        if std::mem::replace(&mut subscriber.cap, cap) == cap {
            return;
        }
        self.start_subscriber(publication, at, now);
    }
}

/// The formats under which a line is offered.
fn formats_of(line: &ViewerLine, params: &[(Codec, String)]) -> Vec<Format> {
    let default = match line.kind {
        MediaKind::Audio => Codec::Opus,
        MediaKind::Video => Codec::Vp8,
    };
    let codec = line.codec.unwrap_or(default);
    let known = params.iter().find(|(known, _)| *known == codec);
    offered_formats(codec, known.map(|(_, fmtp)| fmtp.as_str()))
}

pub(super) fn offered<'a>(
    line: &'a ViewerLine,
    is_on: bool,
    formats: &'a [Format],
    stream: &'a str,
) -> Offered<'a> {
    let (ssrc, rtx) = line.ssrc;
    let track = Track { stream, track: &line.track_id, ssrc, rtx };
    Offered { kind: line.kind, mid: &line.mid, is_on, formats, track }
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
