//! A viewer's side of the control contract: subscribe, answer, change a cap.

use std::time::Instant;

use super::Shard;
use super::commands::{ours, read_description};
use super::paths::sender;
use super::random::Random;
use crate::agree::link_of;
use crate::api::{ClientKey, Event, LayerCap, PublicationInfo, SubscriptionSpec};
use crate::canonical::Element;
use crate::choose::Target;
use crate::codec::{Codec, MediaKind};
use crate::describe::{self, Offered, Ours, Track, format_for, offered_formats};
use crate::error::PeerError;
use crate::extension::Extension;
use crate::format::CCFB;
use crate::format::Format;
use crate::forward::{Forwarder, Parked};
use crate::id::{PublicationId, TransportId};
use crate::peer::{Drained, Refusal};
use crate::sdp::Section;
use crate::source::Origin;
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
        let (slot, is_new) = match self.transports.slot_of(id) {
            Some(slot) => (slot, false),
            None => {
                let viewer = Viewer { msid: msid.to_owned(), ..Viewer::default() };
                (self.create_viewer(id, client, viewer, now)?, true)
            }
        };
        let is_outstanding = match self.transports.get(slot) {
            Some(Transport { peer, role: Role::Viewer(viewer), .. }) if !viewer.has_seats => {
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
        let Self { config, transports, sources, random, outbox, statistics, messages, .. } = self;
        let counters = &mut statistics.counters;
        let Some(Transport { peer, paths, role: Role::Viewer(viewer), .. }) =
            transports.get_mut(slot)
        else {
            return Err(PeerError::SdpUnusable.into());
        };
        let (mut wanted, added) = assign_lines(&mut viewer.lines, subscriptions, |subscription| {
            sources.leave(subscription, counters, messages)
        });
        for spec in &added {
            viewer.add_line(spec.publication.kind, &spec.publication.track_id, random);
        }
        wanted.extend(added.into_iter().map(Some));
        let fresh = random.credentials(config.id, slot);
        for (line, wanted) in viewer.lines.iter_mut().zip(&wanted) {
            let Some(SubscriptionSpec { publication: info, .. }) = wanted else { continue };
            line.codec = Some(info.codec);
            if viewer.params.iter().all(|(codec, _)| *codec != info.codec) {
                viewer.params.push((info.codec, info.fmtp.clone()));
            }
        }
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
        let candidates = config.candidates_near(None);
        let ours =
            Ours { credentials: (&credentials.0, &credentials.1), ..ours(peer, &candidates) };
        Ok(describe::offer(&ours, &sections, &viewer.msid))
    }

    pub(super) fn accept_answer(
        &mut self,
        id: TransportId,
        answer: &str,
        now: Instant,
    ) -> Result<(), Refusal> {
        let description = read_description(answer)?;
        let Some(slot) = self.transports.slot_of(id) else {
            return Err(PeerError::NoOfferOutstanding.into());
        };
        let Some(Transport { peer, paths, role: Role::Viewer(viewer), .. }) =
            self.transports.get_mut(slot)
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
        let (outbox, counters) = (&mut self.outbox, &mut self.statistics.counters);
        let drained = if bundle.is_empty() {
            // It can use none of it, and says nothing of ICE either.
            peer.drop_offer();
            Drained::default()
        } else {
            peer.accept_answer(&link, now, &mut sender(paths, None, outbox, counters))?
        };
        let wanted = std::mem::take(&mut viewer.wanted);
        let has_seats = viewer.has_seats;
        if has_seats {
            self.seats_answered(slot, &description);
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

    /// Begins what a viewer wishes on one of its m-lines, as it has described that, or changes what it may
    /// have of it.
    pub(super) fn begin_subscription(
        &mut self,
        slot: usize,
        line: usize,
        wish: SubscriptionSpec,
        section: &Section,
        now: Instant,
    ) {
        let SubscriptionSpec { publication: info, cap, priority } = wish;
        let origin = self.origin_of(&info);
        let Some(Transport { id, is_connected, role: Role::Viewer(viewer), .. }) =
            self.transports.get_mut(slot)
        else {
            return;
        };
        let is_theirs = !viewer.mids.is_empty();
        let Some(line) = viewer.lines.get_mut(line) else {
            return;
        };
        if let Some((info, at)) = &line.subscription {
            let subscription = (info.id, *at);
            self.set_cap_of(subscription, (cap, Some(priority)), now);
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
        let negotiated = negotiated(line, section, format, is_theirs);
        let (parked, publication) = (line.parked, info.id);
        let source = self.sources.of_viewer(&info, origin, &mut self.messages);
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
        line.subscription = Some((info, at));
        if *is_connected {
            self.start_subscriber((publication, at), now);
        }
    }

    /// Where the packets of a Publication come from.
    fn origin_of(&self, info: &PublicationInfo) -> Origin {
        if info.shard != self.config.id {
            return Origin::Lane(info.shard);
        }
        self.transports.slot_of(info.id.transport).map_or(Origin::Gone, Origin::Publisher)
    }

    /// All Subscriptions of a viewer that has just connected.
    pub(super) fn start_viewer(&mut self, slot: usize, now: Instant) {
        let Some(viewer) = self.transports.viewer(slot) else {
            return;
        };
        let all: Vec<(PublicationId, usize)> = viewer
            .lines
            .iter()
            .filter_map(|line| line.subscription.as_ref().map(|(info, at)| (info.id, *at)))
            .collect();
        for subscription in all {
            self.start_subscriber(subscription, now);
        }
    }

    /// Starts, or starts again, what a Subscriber gets.
    pub(super) fn start_subscriber(
        &mut self,
        (publication, at): (PublicationId, usize),
        now: Instant,
    ) {
        let now_us = self.time.micros(now);
        let (mut sending, sources) = self.sending(now_us);
        let Some(source) = sources.get_mut(publication) else {
            return;
        };
        let needed = source.start(at, now_us, &mut sending);
        // Layers that cannot be stepped up to need a keyframe as well.
        let needed = needed.or_else(|| source.lacking(at, now_us));
        let origin = source.origin;
        let viewer = source.subscribers.get(at).and_then(|s| Some(s.as_ref()?.viewer));
        if let Some(key) = viewer.and_then(|viewer| self.transports.client_of(viewer)) {
            self.clients.disturb(key);
        }
        if let Some(encoding) = needed {
            self.want_keyframe(origin, publication, encoding);
        }
    }

    /// Changes what a viewer may have of a Publication.
    pub(super) fn set_cap(
        &mut self,
        id: TransportId,
        publication: PublicationId,
        cap: LayerCap,
        now: Instant,
    ) {
        let Some(slot) = self.transports.slot_of(id) else {
            return;
        };
        let Some(viewer) = self.transports.viewer_mut(slot) else {
            return;
        };
        // An offer may be out; the cap is to hold when its answer comes, too.
        let wanted = viewer.wanted.iter_mut().flatten();
        for wish in wanted.filter(|wish| wish.publication.id == publication) {
            wish.cap = cap;
        }
        let mut subscriptions = viewer.lines.iter().filter_map(|line| line.subscription.as_ref());
        let known = subscriptions.find(|(info, _)| info.id == publication);
        if let Some(subscription) = known.map(|(info, at)| (info.id, *at)) {
            self.set_cap_of(subscription, (cap, None), now);
        }
    }

    fn set_cap_of(
        &mut self,
        subscription: (PublicationId, usize),
        (cap, priority): (LayerCap, Option<u8>),
        now: Instant,
    ) {
        let Some(subscriber) = self.sources.subscriber_mut(subscription) else {
            return;
        };
        subscriber.priority = priority.unwrap_or(subscriber.priority);
        if std::mem::replace(&mut subscriber.cap, cap) != cap {
            self.start_subscriber(subscription, now);
        }
    }

    /// A viewing Transport of a client's.
    pub(super) fn create_viewer(
        &mut self,
        id: TransportId,
        client: ClientKey,
        viewer: Viewer,
        now: Instant,
    ) -> Result<usize, Refusal> {
        let viewer = Viewer { client: Some(client), ..viewer };
        let slot = self.create(id, Role::Viewer(Box::new(viewer)), now)?;
        self.clients.join(slot, client);
        Ok(slot)
    }
}

impl Viewer {
    /// Adds an m-line, with SSRCs and numbers of its own.
    pub(super) fn add_line(&mut self, kind: MediaKind, track_id: &str, random: &mut Random) {
        let mid = self.lines.len().to_string();
        let track_id = match (track_id, kind) {
            ("", MediaKind::Audio) => "audio".to_owned(),
            ("", MediaKind::Video) => "video".to_owned(),
            (track_id, _) => track_id.to_owned(),
        };
        let line = ViewerLine { track_id, ..self.new_line(mid, kind, random) };
        self.lines.push(line);
    }

    /// An m-line for it. Its SSRCs are no other line's: one SSRC on two lines would be one nonce for two
    /// packets.
    pub(super) fn new_line(&self, mid: String, kind: MediaKind, random: &mut Random) -> ViewerLine {
        let ssrcs = self.lines.iter().map(|line| line.ssrc);
        let mut taken: Vec<u32> =
            ssrcs.flat_map(|(media, rtx)| std::iter::once(media).chain(rtx)).collect();
        let mut next = || loop {
            let ssrc = random.next() as u32;
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
            parked: Parked::fresh(random.next(), random.next()),
        }
    }
}

/// Distributes wishes over the m-lines there are: what stays keeps its line, what ends frees it, what is
/// new takes a free one of its kind. Ends by `leave`, which says where a line's SSRCs go on. Returns the
/// wishes by line and those that need a new line.
fn assign_lines(
    lines: &mut [ViewerLine],
    mut subscriptions: Vec<SubscriptionSpec>,
    mut leave: impl FnMut((PublicationId, usize)) -> Option<Parked>,
) -> (Vec<Option<SubscriptionSpec>>, Vec<SubscriptionSpec>) {
    let mut wanted: Vec<Option<SubscriptionSpec>> = vec![None; lines.len()];
    for (line, wanted) in lines.iter_mut().zip(&mut wanted) {
        let Some((info, at)) = &line.subscription else {
            continue;
        };
        let stays = subscriptions.iter().position(|s| s.publication == *info);
        if let Some(stays) = stays {
            *wanted = Some(subscriptions.remove(stays));
        } else {
            line.parked = leave((info.id, *at)).unwrap_or(line.parked);
            line.subscription = None;
        }
    }
    for (line, wanted) in lines.iter().zip(&mut wanted) {
        let fits = subscriptions.iter().position(|s| s.publication.kind == line.kind);
        if let (None, Some(fits)) = (&wanted, fits) {
            *wanted = Some(subscriptions.remove(fits));
        }
    }
    (wanted, subscriptions)
}

/// What a viewer has described of one of its m-lines, in a format of it; `is_theirs` if the offer was its
/// own.
fn negotiated(
    line: &ViewerLine,
    section: &Section,
    format: &Format,
    is_theirs: bool,
) -> Negotiated {
    let (ssrc, rtx_ssrc) = line.ssrc;
    let has = |extension| section.extensions.id_of(extension).is_some();
    Negotiated {
        ssrc,
        pt: format.pt,
        rtx: rtx_ssrc.zip(section.rtx_of(format.pt)),
        red: section.red_of(format.pt),
        mid: if has(Extension::Mid) { Element::mid(&line.mid) } else { Element::default() },
        ids: extension_ids(section),
        has_feedback: has(Extension::Twcc),
        // An answer may not have what we did not offer, so this is of viewers that did.
        tells_by_ssrc: is_theirs && format.feedback.has(CCFB),
        has_dependencies: has(Extension::DependencyDescriptor),
        has_playout_delay: has(Extension::PlayoutDelay),
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
