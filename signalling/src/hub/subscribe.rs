//! Down streams: what viewers want, and the offers made to them. At most one offer per stream is
//! outstanding; needs that arise meanwhile are met by the next one.

use std::time::Duration;

use super::{Cause, Event, Hub, MediaEvent, MediaOwner, MediaRequest, MediaRole, Shared};
use crate::group::Group;
use crate::ids::{ConnId, MediaId, PublicationKey, StreamId};
use crate::member::Member;
use crate::name::GroupName;
use crate::stream::{Down, MediaKind, Negotiation, Request, SCREEN_LABEL, Up, Want, select};
use crate::time::Now;

/// A stream that did not get through is offered again after this, then after twice as long.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Transports of one member that fall silent within this time do so for one reason.
const RESTART_AGAIN: Duration = Duration::from_secs(5);
/// After so many attempts in a row it is left alone until the viewer asks for it.
const RETRIES_MAX: u32 = 4;

/// A stream that viewers may know, as they need to know it.
struct Announced {
    publisher: ConnId,
    stream: StreamId,
    label: String,
    /// What it takes the place of, for viewers who have that.
    replace: Option<StreamId>,
    media: MediaId,
    publications: Vec<(u8, MediaKind)>,
}

impl Announced {
    /// Nothing if viewers know nothing of it yet, or keep what they have until its owner says what follows.
    fn of(publisher: ConnId, stream: &StreamId, up: &Up) -> Option<Self> {
        (up.is_announced && !up.is_ended).then(|| Self {
            publisher,
            stream: stream.clone(),
            label: up.label.clone(),
            replace: up.replace.clone(),
            media: up.media,
            publications: up.publications.clone(),
        })
    }

    /// The sections of it that these wishes select.
    fn wants(&self, wishes: &[String]) -> Vec<Want> {
        let mut wants = select(wishes, self.media, &self.publications);
        wants.iter_mut().for_each(|want| want.is_screen = self.label == SCREEN_LABEL);
        wants
    }
}

impl Hub {
    /// Replaces a member's wishes for all streams. One who does so all the time is told to slow
    /// down: what it wishes then holds for later streams only.
    pub fn request(&mut self, conn: ConnId, request: Request, now: Now) {
        if let Some((group, shared)) = self.at(conn) {
            group.request(shared, conn, request, now);
        }
    }

    /// Sets a member's wishes for one stream it views; nothing goes back to its request. Unknown
    /// ids are ignored: the stream may just have ended.
    pub fn request_stream(&mut self, conn: ConnId, stream: &StreamId, wishes: Option<Vec<String>>) {
        if let Some((group, shared)) = self.at(conn) {
            group.request_stream(shared, conn, stream, wishes);
        }
    }

    /// A viewer's answer. An answer to nothing closes the stream.
    pub fn answer(&mut self, conn: ConnId, stream: &StreamId, answer: String) {
        if let Some((group, shared)) = self.at(conn)
            && let Some(member) = group.members.get_mut(&conn)
        {
            member.answer(shared, conn, stream, answer);
        }
    }

    /// A viewer refuses a stream. Always confirmed by [`Event::Close`].
    pub fn refuse_stream(&mut self, conn: ConnId, stream: &StreamId) {
        if let Some((group, shared)) = self.at(conn)
            && let Some(down) = group.members.get_mut(&conn).and_then(|m| m.downs.remove(stream))
        {
            shared.close_media(down.media);
        }
        self.shared.tell(conn, Event::Close { stream: stream.clone() });
    }

    /// A viewer wants ICE restarted on a stream it views. Unknown ids are ignored.
    pub fn renegotiate(&mut self, conn: ConnId, stream: &StreamId, now: Now) {
        let Some((group, shared)) = self.at(conn) else {
            return;
        };
        let Some(member) = group.members.get_mut(&conn) else {
            return;
        };
        if !member.offer_budget.take(now.mono) {
            return shared.tell_error(conn, "too many offers, slow down");
        }
        if let Some(down) = member.downs.get_mut(stream) {
            down.restart(shared, conn, stream);
        }
    }
}

impl Down {
    /// Restarts ICE on it.
    fn restart(&mut self, shared: &mut Shared, viewer: ConnId, stream: &StreamId) {
        self.is_dirty = true;
        self.is_restart = true;
        self.offer_again(shared, viewer, stream);
    }

    /// Meets a need for another offer, if nothing is outstanding.
    fn offer_again(&mut self, shared: &mut Shared, viewer: ConnId, stream: &StreamId) {
        if !self.is_dirty || self.negotiation != Negotiation::Stable {
            return;
        }
        self.is_dirty = false;
        self.negotiation = Negotiation::Offering;
        shared.want_media(MediaRequest::Subscribe {
            media: self.media,
            client: viewer,
            msid: stream.as_str().to_owned(),
            wants: self.wants.clone(),
            is_restart: std::mem::take(&mut self.is_restart),
        });
    }

    /// Its viewer wants these sections of it.
    fn set_wants(&mut self, shared: &mut Shared, wants: Vec<Want>) {
        let caps = changed_caps(&self.wants, &wants);
        self.wants = wants;
        // Other sections need another offer; the same in other layers do not.
        self.is_dirty |= caps.is_none();
        for want in caps.into_iter().flatten() {
            shared.want_media(MediaRequest::SetCap { media: self.media, want });
        }
    }
}

impl Member {
    fn answer(&mut self, shared: &mut Shared, conn: ConnId, stream: &StreamId, answer: String) {
        match self.downs.get_mut(stream) {
            Some(down) if down.negotiation == Negotiation::Offered => {
                down.negotiation = Negotiation::Stable;
                shared.want_media(MediaRequest::AcceptAnswer { media: down.media, answer });
                // What has changed while the offer was out.
                down.offer_again(shared, conn, stream);
            }
            // An answer that nobody waits for: a late one after a restart, or a mistake. What
            // runs goes on.
            Some(_) => shared.tell_error(conn, "there is no offer to answer"),
            None => shared.tell(conn, Event::Close { stream: stream.clone() }),
        }
    }

    /// See [`Group::restart_all`].
    fn restart_all(&mut self, shared: &mut Shared, conn: ConnId, now: Now) {
        // Each of its transports falls silent at a time of its own.
        if self.restarted_at.is_some_and(|at| now.mono < at + RESTART_AGAIN) {
            return;
        }
        self.restarted_at = Some(now.mono);
        for (stream, _) in self.ups.iter().filter(|(_, up)| !up.is_ended) {
            shared.tell(conn, Event::Renegotiate { stream: stream.clone() });
        }
        for (stream, down) in &mut self.downs {
            down.restart(shared, conn, stream);
        }
    }

    /// Brings what it gets of one stream in line with what it wants.
    fn follow(&mut self, shared: &mut Shared, me: (&GroupName, ConnId), announced: &Announced) {
        let ((group, conn), stream) = (me, &announced.stream);
        if !self.traits.receives || conn == announced.publisher {
            return;
        }
        // What takes the place of another stream is watched as that one was.
        let old = announced.replace.as_ref();
        let old = old.and_then(|old| Some((self.downs.remove(old)?, old.clone())));
        let inherited = old.as_ref().and_then(|(down, _)| down.wishes.clone());
        let down = self.downs.get(stream);
        let own = down.and_then(|down| down.wishes.clone()).or_else(|| inherited.clone());
        let wishes = own.as_deref().unwrap_or_else(|| self.request.wishes(&announced.label));
        let wants = announced.wants(wishes);
        match (down.is_some(), wants.is_empty()) {
            (false, true) => {
                if let Some((old_down, old)) = old {
                    shared.close_media(old_down.media);
                    shared.tell(conn, Event::Close { stream: old });
                }
            }
            (false, false) => {
                let (old_down, replace) = old.unzip();
                if let Some(old_down) = old_down {
                    shared.close_media(old_down.media);
                }
                let (group, role) = (group.clone(), MediaRole::Down);
                let owner = MediaOwner { group, conn, stream: stream.clone(), role };
                let down = Down::new(announced.publisher, shared.new_media(owner), wants);
                let mut down = Down { replace, wishes: inherited, ..down };
                down.offer_again(shared, conn, stream);
                self.downs.insert(stream.clone(), down);
            }
            (true, true) => {
                if let Some(down) = self.downs.remove(stream) {
                    shared.close_media(down.media);
                }
                shared.tell(conn, Event::Close { stream: stream.clone() });
            }
            (true, false) => {
                if let Some(down) = self.downs.get_mut(stream) {
                    down.set_wants(shared, wants);
                    down.offer_again(shared, conn, stream);
                }
            }
        }
    }

    /// A section of a stream brings another kind of media than before: who gets it needs a new offer.
    fn spoil(&mut self, stream: &StreamId, changed: PublicationKey) {
        if let Some(view) = &mut self.view {
            view.spoil(changed);
        }
        if let Some(down) = self.downs.get_mut(stream) {
            down.is_dirty |= down.wants.iter().any(|want| want.publication == changed);
        }
    }

    /// Takes a down stream from it, with what it was to replace.
    fn end_down(&mut self, shared: &mut Shared, conn: ConnId, stream: &StreamId, with_media: bool) {
        let Some(down) = self.downs.remove(stream) else {
            return;
        };
        if with_media {
            shared.close_media(down.media);
        } else {
            shared.media.remove(&down.media);
        }
        if let Some(old) = down.replace {
            shared.tell(conn, Event::Close { stream: old });
        }
        shared.tell(conn, Event::Close { stream: stream.clone() });
    }

    /// Could not be reached, and may be reached later, on a fresh transport.
    fn schedule_retry(&mut self, shared: &mut Shared, conn: ConnId, stream: StreamId, now: Now) {
        let failures = self.failures.entry(stream.clone()).or_default();
        *failures += 1;
        if *failures > RETRIES_MAX {
            return shared.tell_error(conn, "no media gets through to you: is UDP blocked?");
        }
        let delay = RETRY_AFTER * 2u32.saturating_pow(*failures - 1);
        shared.retries.insert((now.mono + delay, conn, stream));
    }
}

impl Group {
    fn request(&mut self, shared: &mut Shared, conn: ConnId, request: Request, now: Now) {
        let Some(member) = self.members.get_mut(&conn).filter(|member| member.traits.receives)
        else {
            return;
        };
        member.request = request;
        if !member.request_budget.take(now.mono) {
            return shared.tell_error(conn, "too many requests, slow down");
        }
        member.failures.clear();
        let ups = self.members.iter().flat_map(|(publisher, member)| {
            member.ups.iter().filter_map(|(stream, up)| Announced::of(*publisher, stream, up))
        });
        for announced in ups.collect::<Vec<_>>() {
            self.refresh_viewer(shared, conn, &announced);
        }
    }

    fn request_stream(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        stream: &StreamId,
        wishes: Option<Vec<String>>,
    ) {
        let member = self.members.get_mut(&conn);
        let Some(down) = member.and_then(|member| member.downs.get_mut(stream)) else {
            return;
        };
        down.wishes = wishes;
        let publisher = down.publisher;
        if let Some(announced) = self.announced(publisher, stream) {
            self.refresh_viewer(shared, conn, &announced);
        }
    }

    /// One of a member's transports has fallen silent. What broke its path, an address that changed or
    /// a network that is gone, has most likely broken the others': all restart ICE, instead of each
    /// when its own time is up.
    pub(super) fn restart_all(&mut self, shared: &mut Shared, conn: ConnId, now: Now) {
        if let Some(member) = self.members.get_mut(&conn) {
            member.restart_all(shared, conn, now);
        }
    }

    fn announced(&self, publisher: ConnId, stream: &StreamId) -> Option<Announced> {
        let up = self.members.get(&publisher)?.ups.get(stream)?;
        Announced::of(publisher, stream, up)
    }

    /// All viewers of a stream look at it again. A section in `changed` needs a new offer.
    pub(super) fn refresh_viewers(
        &mut self,
        shared: &mut Shared,
        publisher: ConnId,
        stream: &StreamId,
        changed: Option<PublicationKey>,
    ) {
        let announced = self.announced(publisher, stream);
        for (viewer, member) in &mut self.members {
            if let Some(changed) = changed {
                member.spoil(stream, changed);
            }
            if let Some(announced) = &announced {
                member.follow(shared, (&self.name, *viewer), announced);
            }
        }
        self.refresh_views(shared);
    }

    fn refresh_viewer(&mut self, shared: &mut Shared, viewer: ConnId, announced: &Announced) {
        if let Some(member) = self.members.get_mut(&viewer) {
            member.follow(shared, (&self.name, viewer), announced);
        }
    }

    /// A stream is over: all who view it are told.
    pub(super) fn close_for_viewers(
        &mut self,
        shared: &mut Shared,
        publisher: ConnId,
        stream: &StreamId,
    ) {
        let mut viewers = Vec::new();
        for (viewer, member) in &mut self.members {
            member.failures.remove(stream);
            if member.downs.get(stream).is_some_and(|down| down.publisher == publisher)
                && let Some(down) = member.downs.remove(stream)
            {
                shared.close_media(down.media);
                viewers.push(*viewer);
            }
        }
        self.refresh_views(shared);
        shared.tell_many(viewers, Event::Close { stream: stream.clone() });
    }

    pub(super) fn down_event(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        stream: StreamId,
        event: MediaEvent,
        now: Now,
    ) {
        let Some(member) = self.members.get_mut(&conn) else {
            return;
        };
        match event {
            MediaEvent::Offered { offer, .. } => self.forward_offer(shared, conn, stream, offer),
            MediaEvent::Refused { text, cause, .. } => {
                member.end_down(shared, conn, &stream, true);
                if cause == Cause::Busy {
                    return member.schedule_retry(shared, conn, stream, now);
                }
                shared.tell_error(conn, text);
            }
            MediaEvent::Disconnected { .. } => member.restart_all(shared, conn, now),
            MediaEvent::Connected { .. } => {
                member.failures.remove(&stream);
            }
            MediaEvent::Closed { .. } => {
                // Who can decode nothing of it has been told so: another attempt ends the same way.
                let is_hopeless = member.downs.get(&stream).is_some_and(Down::is_unshowable);
                member.end_down(shared, conn, &stream, false);
                if !is_hopeless {
                    member.schedule_retry(shared, conn, stream, now);
                }
            }
            MediaEvent::Path { path, .. } => {
                let down = member.downs.get_mut(&stream);
                if down.is_some_and(|down| path.is_news_after(down.path.replace(path))) {
                    shared.tell(conn, Event::Path { stream, path });
                }
            }
            MediaEvent::Paused { is_paused, .. } => {
                shared.tell(conn, Event::Paused { stream, is_paused });
            }
            MediaEvent::Unshown { publication, codec, kind, .. } => {
                self.tell_unshown(shared, conn, &stream, (publication, codec, kind));
            }
            MediaEvent::Answered { .. }
            | MediaEvent::Reconnected { .. }
            | MediaEvent::Published { .. }
            | MediaEvent::Viewed { .. }
            | MediaEvent::Watching { .. }
            | MediaEvent::Voice { .. }
            | MediaEvent::Wanted { .. }
            | MediaEvent::Numbers { .. }
            | MediaEvent::Received { .. } => {}
        }
    }

    fn down_mut(&mut self, conn: ConnId, stream: &StreamId) -> Option<&mut Down> {
        self.members.get_mut(&conn)?.downs.get_mut(stream)
    }

    /// Tells a viewer once why it does not get a part of a stream.
    fn tell_unshown(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        stream: &StreamId,
        (publication, codec, kind): (PublicationKey, &'static str, MediaKind),
    ) {
        let Some(down) = self.down_mut(conn, stream) else {
            return;
        };
        let publisher = down.publisher;
        if down.unshown.contains(&(publication, codec)) {
            return;
        }
        down.unshown.push((publication, codec));
        let username = self.members.get(&publisher).map(|member| member.username.as_str());
        let who = match username {
            Some("") | None => "someone",
            Some(username) => username,
        };
        let (sense, what) = match kind {
            MediaKind::Audio => ("hear", "sound"),
            MediaKind::Video => ("see", "video"),
        };
        let codec = codec.to_ascii_uppercase();
        let text = format!(
            "You cannot {sense} {who}: this browser does not decode their {what} ({codec}). \
             Another browser may."
        );
        shared.tell(conn, Event::Warning { text });
    }

    /// Offers a stream again to a viewer whom it did not reach.
    pub(super) fn retry(&mut self, shared: &mut Shared, viewer: ConnId, stream: &StreamId) {
        // The stream may have ended meanwhile, or come back from another member.
        let publisher = self.members.iter().find(|(_, member)| member.ups.contains_key(stream));
        let announced = publisher.and_then(|(publisher, _)| self.announced(*publisher, stream));
        if let Some(announced) = announced {
            self.refresh_viewer(shared, viewer, &announced);
        }
    }

    fn forward_offer(&mut self, shared: &mut Shared, conn: ConnId, stream: StreamId, sdp: String) {
        // It may come too late: the viewer has ended this, or something newer is on its way.
        let down = self.down_mut(conn, &stream);
        let Some(down) = down.filter(|down| down.negotiation == Negotiation::Offering) else {
            return;
        };
        down.negotiation = Negotiation::Offered;
        let (publisher, replace) = (down.publisher, down.replace.take());
        let Some(publisher) = self.members.get(&publisher) else {
            return;
        };
        let label = publisher.ups.get(&stream).map(|up| up.label.clone()).unwrap_or_default();
        let (source, username) = (publisher.id.clone(), publisher.username.clone());
        shared.tell(conn, Event::Offer { stream, label, replace, source, username, sdp });
    }
}

/// If both lists name the same sections: those whose cap differs. Otherwise nothing.
fn changed_caps(old: &[Want], new: &[Want]) -> Option<Vec<Want>> {
    let same = old.len() == new.len()
        && old.iter().zip(new).all(|(old, new)| old.publication == new.publication);
    same.then(|| {
        let pairs = old.iter().zip(new).filter(|(old, new)| old.is_low != new.is_low);
        pairs.map(|(_, new)| *new).collect()
    })
}
