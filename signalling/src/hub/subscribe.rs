//! Down streams: what viewers want, and the offers made to them. At most one offer per stream is
//! outstanding; needs that arise meanwhile are met by the next one.

use std::time::Duration;

use super::{Cause, Event, Hub, MediaEvent, MediaOwner, MediaRequest, MediaRole};
use crate::ids::{ConnId, PublicationKey, StreamId};
use crate::name::GroupName;
use crate::stream::{Down, MediaKind, Negotiation, Request, SCREEN_LABEL, Want, select};
use crate::time::Now;

/// A stream that did not get through is offered again after this, then after twice as long.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Transports of one member that fall silent within this time do so for one reason.
const RESTART_AGAIN: Duration = Duration::from_secs(5);
/// After so many attempts in a row it is left alone until the viewer asks for it.
const RETRIES_MAX: u32 = 4;

impl Hub {
    /// Replaces a member's wishes for all streams. One who does so all the time is told to slow
    /// down: what it wishes then holds for later streams only.
    pub fn request(&mut self, conn: ConnId, request: Request, now: Now) {
        let Some((name, member)) = self.member_of(conn) else {
            return;
        };
        if !member.traits.receives {
            return;
        }
        member.request = request;
        if !member.request_budget.take(now.mono) {
            return self.tell_error(conn, "too many requests, slow down");
        }
        member.failures.clear();
        let Some(group) = self.groups.get(&name) else {
            return;
        };
        let streams: Vec<(ConnId, StreamId)> = group
            .members
            .iter()
            .flat_map(|(publisher, member)| {
                member.ups.keys().map(|stream| (*publisher, stream.clone()))
            })
            .collect();
        for (publisher, stream) in streams {
            self.refresh_viewer(&name, conn, publisher, &stream);
        }
    }

    /// Sets a member's wishes for one stream it views; nothing goes back to its request. Unknown
    /// ids are ignored: the stream may just have ended.
    pub fn request_stream(&mut self, conn: ConnId, stream: &StreamId, wishes: Option<Vec<String>>) {
        let Some((name, member)) = self.member_of(conn) else {
            return;
        };
        let Some(down) = member.downs.get_mut(stream) else {
            return;
        };
        down.wishes = wishes;
        let publisher = down.publisher;
        self.refresh_viewer(&name, conn, publisher, stream);
    }

    /// A viewer's answer. An answer to nothing closes the stream.
    pub fn answer(&mut self, conn: ConnId, stream: &StreamId, answer: String) {
        let Some((_, member)) = self.member_of(conn) else {
            return;
        };
        match member.downs.get_mut(stream) {
            Some(down) if down.negotiation == Negotiation::Offered => {
                down.negotiation = Negotiation::Stable;
                let media = down.media;
                self.want_media(MediaRequest::AcceptAnswer { media, answer });
                // What has changed while the offer was out.
                self.offer_again(conn, stream);
            }
            // An answer that nobody waits for: a late one after a restart, or a mistake. What
            // runs goes on.
            Some(_) => self.tell_error(conn, "there is no offer to answer"),
            None => self.tell(conn, Event::Close { stream: stream.clone() }),
        }
    }

    /// A viewer refuses a stream. Always confirmed by [`Event::Close`].
    pub fn refuse_stream(&mut self, conn: ConnId, stream: &StreamId) {
        let down = self.member_of(conn).and_then(|(_, member)| member.downs.remove(stream));
        if let Some(down) = down {
            self.drop_down(&down);
        }
        self.tell(conn, Event::Close { stream: stream.clone() });
    }

    /// A viewer wants ICE restarted on a stream it views. Unknown ids are ignored.
    pub fn renegotiate(&mut self, conn: ConnId, stream: &StreamId, now: Now) {
        let Some((_, member)) = self.member_of(conn) else {
            return;
        };
        if !member.offer_budget.take(now.mono) {
            return self.tell_error(conn, "too many offers, slow down");
        }
        self.restart_down(conn, stream);
    }

    /// One of a member's transports has fallen silent. What broke its path, an address that changed or
    /// a network that is gone, has most likely broken the others': all restart ICE, instead of each
    /// when its own time is up.
    pub(super) fn restart_all(&mut self, name: &GroupName, conn: ConnId, now: Now) {
        let Some(member) = self.member_in(name, conn) else {
            return;
        };
        // Each of its transports falls silent at a time of its own.
        if member.restarted_at.is_some_and(|at| now.mono < at + RESTART_AGAIN) {
            return;
        }
        member.restarted_at = Some(now.mono);
        let live = member.ups.iter().filter(|(_, up)| !up.is_ended);
        let ups: Vec<StreamId> = live.map(|(stream, _)| stream.clone()).collect();
        let downs: Vec<StreamId> = member.downs.keys().cloned().collect();
        for stream in ups {
            self.tell(conn, Event::Renegotiate { stream });
        }
        for stream in downs {
            self.restart_down(conn, &stream);
        }
    }

    /// Restarts ICE on a stream that a member views.
    fn restart_down(&mut self, conn: ConnId, stream: &StreamId) {
        let Some((_, member)) = self.member_of(conn) else {
            return;
        };
        if let Some(down) = member.downs.get_mut(stream) {
            down.is_dirty = true;
            down.is_restart = true;
            self.offer_again(conn, stream);
        }
    }

    /// Meets a need for another offer, if nothing is outstanding.
    fn offer_again(&mut self, conn: ConnId, stream: &StreamId) {
        let Some((_, member)) = self.member_of(conn) else {
            return;
        };
        let Some(down) = member.downs.get_mut(stream) else {
            return;
        };
        if !down.is_dirty || down.negotiation != Negotiation::Stable {
            return;
        }
        down.is_dirty = false;
        down.negotiation = Negotiation::Offering;
        let request = MediaRequest::Subscribe {
            media: down.media,
            client: conn,
            msid: stream.as_str().to_owned(),
            wants: down.wants.clone(),
            is_restart: std::mem::take(&mut down.is_restart),
        };
        self.want_media(request);
    }

    /// Ends the transport of what a viewer got.
    pub(super) fn drop_down(&mut self, down: &Down) {
        self.media.remove(&down.media);
        self.want_media(MediaRequest::Close { media: down.media });
    }

    /// All viewers of a stream look at it again. A section in `changed` needs a new offer.
    pub(super) fn refresh_viewers(
        &mut self,
        name: &GroupName,
        publisher: ConnId,
        stream: &StreamId,
        changed: Option<PublicationKey>,
    ) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let viewers: Vec<ConnId> = group.members.keys().copied().collect();
        for viewer in viewers {
            if let Some(changed) = changed {
                self.spoil_view(name, viewer, changed);
                let member = self.member_in(name, viewer);
                if let Some(down) = member.and_then(|member| member.downs.get_mut(stream)) {
                    down.is_dirty |= down.wants.iter().any(|want| want.publication == changed);
                }
            }
            self.refresh_viewer(name, viewer, publisher, stream);
        }
        self.refresh_views(name);
    }

    /// Brings what one viewer gets of one stream in line with what it wants.
    pub(super) fn refresh_viewer(
        &mut self,
        name: &GroupName,
        viewer: ConnId,
        publisher: ConnId,
        stream: &StreamId,
    ) {
        if viewer == publisher {
            return;
        }
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let Some(up) = group.members.get(&publisher).and_then(|member| member.ups.get(stream))
        else {
            return;
        };
        // Viewers know nothing of it yet, or keep what they have until its owner says what follows.
        if !up.is_announced || up.is_ended {
            return;
        }
        let (label, replace) = (up.label.clone(), up.replace.clone());
        let (up_media, publications) = (up.media, up.publications.clone());
        let Some(member) = group.members.get_mut(&viewer) else {
            return;
        };
        if !member.traits.receives {
            return;
        }
        // What takes the place of another stream is watched as that one was.
        let old = replace.and_then(|old| Some((member.downs.remove(&old)?, old)));
        let inherited = old.as_ref().and_then(|(down, _)| down.wishes.clone());
        let down = member.downs.get_mut(stream);
        let own = down.as_ref().and_then(|down| down.wishes.clone()).or_else(|| inherited.clone());
        let wishes = own.as_deref().unwrap_or_else(|| member.request.wishes(&label));
        let mut wants = select(wishes, up_media, &publications);
        wants.iter_mut().for_each(|want| want.is_screen = label == SCREEN_LABEL);
        match (down, wants.is_empty()) {
            (None, true) => {
                if let Some((old_down, old)) = old {
                    self.drop_down(&old_down);
                    self.tell(viewer, Event::Close { stream: old });
                }
            }
            (None, false) => {
                let (old_down, replace) = old.unzip();
                if let Some(old_down) = old_down {
                    self.drop_down(&old_down);
                }
                let media = self.new_media(MediaOwner {
                    group: name.clone(),
                    conn: viewer,
                    stream: stream.clone(),
                    role: MediaRole::Down,
                });
                let down = Down::new(publisher, media, wants);
                if let Some(member) = self.member_in(name, viewer) {
                    let down = Down { replace, wishes: inherited, ..down };
                    member.downs.insert(stream.clone(), down);
                }
                self.offer_again(viewer, stream);
            }
            (Some(_), true) => {
                if let Some(down) = member.downs.remove(stream) {
                    self.drop_down(&down);
                }
                self.tell(viewer, Event::Close { stream: stream.clone() });
            }
            (Some(down), false) => {
                let (media, caps) = (down.media, changed_caps(&down.wants, &wants));
                down.wants = wants;
                // Other sections need another offer; the same in other layers do not.
                down.is_dirty |= caps.is_none();
                for want in caps.into_iter().flatten() {
                    self.want_media(MediaRequest::SetCap { media, want });
                }
                self.offer_again(viewer, stream);
            }
        }
    }

    /// A stream is over: all who view it are told.
    pub(super) fn close_for_viewers(
        &mut self,
        name: &GroupName,
        publisher: ConnId,
        stream: &StreamId,
    ) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let mut viewers = Vec::new();
        let mut downs = Vec::new();
        for (viewer, member) in &mut group.members {
            member.failures.remove(stream);
            if member.downs.get(stream).is_some_and(|down| down.publisher == publisher) {
                downs.extend(member.downs.remove(stream));
                viewers.push(*viewer);
            }
        }
        for down in &downs {
            self.drop_down(down);
        }
        self.refresh_views(name);
        self.tell_many(viewers, Event::Close { stream: stream.clone() });
    }

    pub(super) fn down_event(&mut self, owner: MediaOwner, event: MediaEvent, now: Now) {
        let MediaOwner { group: name, conn, stream, .. } = owner;
        match event {
            MediaEvent::Offered { offer, .. } => self.forward_offer(&name, conn, stream, offer),
            MediaEvent::Refused { text, cause, .. } => {
                self.end_down(conn, &stream, true);
                if cause == Cause::Busy {
                    return self.schedule_retry(conn, stream, now);
                }
                self.tell_error(conn, text);
            }
            MediaEvent::Disconnected { .. } => self.restart_all(&name, conn, now),
            MediaEvent::Connected { .. } => {
                if let Some((_, member)) = self.member_of(conn) {
                    member.failures.remove(&stream);
                }
            }
            MediaEvent::Closed { .. } => {
                // Who can decode nothing of it has been told so: another attempt ends the same way.
                let is_hopeless = self.member_of(conn).is_some_and(|(_, member)| {
                    member.downs.get(&stream).is_some_and(Down::is_unshowable)
                });
                self.end_down(conn, &stream, false);
                if !is_hopeless {
                    self.schedule_retry(conn, stream, now);
                }
            }
            MediaEvent::Path { path, .. } => {
                let down = self.member_of(conn).and_then(|(_, m)| m.downs.get_mut(&stream));
                let is_told = down.is_some_and(|down| path.is_news_after(down.path.replace(path)));
                if is_told {
                    self.tell(conn, Event::Path { stream, path });
                }
            }
            MediaEvent::Paused { is_paused, .. } => {
                self.tell(conn, Event::Paused { stream, is_paused });
            }
            MediaEvent::Unshown { publication, codec, kind, .. } => {
                self.tell_unshown(&name, conn, &stream, (publication, codec, kind));
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

    /// Tells a viewer once why it does not get a part of a stream.
    fn tell_unshown(
        &mut self,
        name: &GroupName,
        conn: ConnId,
        stream: &StreamId,
        (publication, codec, kind): (PublicationKey, &'static str, MediaKind),
    ) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let Some(down) = group.members.get_mut(&conn).and_then(|m| m.downs.get_mut(stream)) else {
            return;
        };
        let publisher = down.publisher;
        if down.unshown.contains(&(publication, codec)) {
            return;
        }
        down.unshown.push((publication, codec));
        let username = group.members.get(&publisher).map(|member| member.username.as_str());
        let who = match username {
            Some("") | None => "someone".to_owned(),
            Some(username) => username.to_owned(),
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
        self.tell(conn, Event::Warning { text });
    }

    /// Takes a down stream from a viewer, with what it was to replace.
    fn end_down(&mut self, conn: ConnId, stream: &StreamId, with_media: bool) {
        let Some((_, member)) = self.member_of(conn) else {
            return;
        };
        let Some(down) = member.downs.remove(stream) else {
            return;
        };
        self.media.remove(&down.media);
        if with_media {
            self.want_media(MediaRequest::Close { media: down.media });
        }
        if let Some(old) = down.replace {
            self.tell(conn, Event::Close { stream: old });
        }
        self.tell(conn, Event::Close { stream: stream.clone() });
    }

    /// A viewer that could not be reached may be reached later, on a fresh transport.
    fn schedule_retry(&mut self, conn: ConnId, stream: StreamId, now: Now) {
        let Some((_, member)) = self.member_of(conn) else {
            return;
        };
        let failures = member.failures.entry(stream.clone()).or_default();
        *failures += 1;
        if *failures > RETRIES_MAX {
            return self.tell_error(conn, "no media gets through to you: is UDP blocked?");
        }
        let delay = RETRY_AFTER * 2u32.saturating_pow(*failures - 1);
        self.retries.insert((now.mono + delay, conn, stream));
    }

    pub(super) fn retry(&mut self, viewer: ConnId, stream: &StreamId) {
        let Some((name, group)) = self.group_of(viewer) else {
            return;
        };
        // The stream may have ended meanwhile, or come back from another member.
        let publisher = group.members.iter().find(|(_, member)| member.ups.contains_key(stream));
        if let Some(publisher) = publisher.map(|(conn, _)| *conn) {
            self.refresh_viewer(&name, viewer, publisher, stream);
        }
    }

    fn forward_offer(&mut self, name: &GroupName, conn: ConnId, stream: StreamId, sdp: String) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let Some(down) =
            group.members.get_mut(&conn).and_then(|member| member.downs.get_mut(&stream))
        else {
            return;
        };
        // It comes too late: the viewer has ended this, or something newer is on its way.
        if down.negotiation != Negotiation::Offering {
            return;
        }
        down.negotiation = Negotiation::Offered;
        let (publisher, replace) = (down.publisher, down.replace.take());
        let Some(publisher) = group.members.get(&publisher) else {
            return;
        };
        let label = publisher.ups.get(&stream).map(|up| up.label.clone()).unwrap_or_default();
        let (source, username) = (publisher.id.clone(), publisher.username.clone());
        self.tell(conn, Event::Offer { stream, label, replace, source, username, sdp });
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
