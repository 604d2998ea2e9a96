//! Up streams: offers of publishers, and when viewers learn of them.

use std::time::Duration;

use super::{Cause, Event, Hub, MediaEvent, MediaOwner, MediaRequest, MediaRole, What};
use crate::group::Group;
use crate::ids::{ConnId, MediaId, PublicationKey, StreamId};
use crate::name::GroupName;
use crate::permission::PRESENT;
use crate::stream::{MediaKind, Up};
use crate::time::Now;

/// The most streams one client publishes: a camera and some screens.
const UPS_MAX: usize = 16;
/// The longest stream label.
const LABEL_BYTES_MAX: usize = 256;
/// Viewers learn of a stream when all its sections have media, or this long after the first has.
const ANNOUNCE_AFTER: Duration = Duration::from_millis(500);
/// A client that has closed a stream's transport says within this time that the stream is over or
/// what replaces it: the two come by different ways, and a camera may have to start in between.
/// Galene waits without end.
const END_AFTER: Duration = Duration::from_secs(10);

impl Group {
    /// Why a member may not publish this, if it may not.
    fn refusal_to_publish(
        &self,
        conn: ConnId,
        stream: &StreamId,
        label: &str,
        is_in_budget: bool,
    ) -> Option<&'static str> {
        let member = self.members.get(&conn)?;
        if !member.may(PRESENT) {
            Some("not authorised")
        } else if !is_in_budget {
            Some("too many offers, slow down")
        } else if label.len() > LABEL_BYTES_MAX {
            Some("the stream's label is too long")
        } else if member.ups.contains_key(stream) {
            None
        } else if self.publishes(stream) {
            Some("the stream's id is in use")
        } else if member.ups.len() >= UPS_MAX {
            Some("too many streams")
        } else {
            None
        }
    }

    /// Whether any member publishes under this id: viewers know a stream by it alone.
    fn publishes(&self, stream: &StreamId) -> bool {
        self.members.values().any(|member| member.ups.contains_key(stream))
    }
}

impl Hub {
    /// A member publishes, or renegotiates what it publishes. Answered by [`Event::Answer`], or
    /// by [`Event::Abort`] and [`Event::Error`].
    pub fn publish(
        &mut self,
        conn: ConnId,
        stream: StreamId,
        label: &str,
        replace: Option<StreamId>,
        offer: String,
        now: Now,
    ) {
        let Some((name, member)) = self.member_of(conn) else {
            self.tell(conn, Event::Abort { stream });
            return self.tell_error(conn, "join a group first");
        };
        // Offers that are refused count as well: reading them is what costs.
        let is_in_budget = member.offer_budget.take(now.mono);
        // Its transport is gone. The same id again is another stream, not a renegotiation.
        if member.ups.get(&stream).is_some_and(|up| up.is_ended) {
            self.close_up(&name, conn, &stream, false);
        }
        let Some(group) = self.groups.get_mut(&name) else {
            return;
        };
        if let Some(text) = group.refusal_to_publish(conn, &stream, label, is_in_budget) {
            if let Some(old) = replace {
                self.close_up(&name, conn, &old, true);
            }
            self.tell(conn, Event::Abort { stream });
            return self.tell_error(conn, text);
        }
        let codecs = group.description.codecs.clone();
        let Some(member) = group.members.get_mut(&conn) else {
            return;
        };
        let reached = member.traits.reached;
        if let Some(up) = member.ups.get(&stream) {
            let media = up.media;
            let request = MediaRequest::Publish { media, offer, codecs, reached };
            return self.want_media(request);
        }
        // A replacement of something that viewers have never been offered stands for what they
        // do have.
        let replaced = replace.and_then(|old| Some((member.ups.remove(&old)?, old)));
        let replace = replaced.as_ref().and_then(|(up, old)| {
            if up.is_announced { Some(old.clone()) } else { up.replace.clone() }
        });
        let (group, role) = (name.clone(), MediaRole::Up);
        let media = self.new_media(MediaOwner { group, conn, stream: stream.clone(), role });
        if let Some(member) = self.member_in(&name, conn) {
            member.ups.insert(stream, Up::new(label.to_owned(), media, replace));
        }
        if let Some((up, _)) = replaced {
            self.recorded_stream_ended(&name, up.media);
            self.forget_voices(&name, up.media);
            self.forget_up(&up);
        }
        self.want_media(MediaRequest::Publish { media, offer, codecs, reached });
    }

    /// A member ends a stream of its own. Unknown ids are ignored.
    pub fn close_stream(&mut self, conn: ConnId, stream: &StreamId) {
        if let Some(name) = self.place_of(conn).cloned() {
            self.close_up(&name, conn, stream, true);
        }
    }

    /// Ends a member's up stream, for its viewers too.
    pub(super) fn close_up(
        &mut self,
        name: &GroupName,
        conn: ConnId,
        stream: &StreamId,
        with_media: bool,
    ) {
        let Some(up) = self.member_in(name, conn).and_then(|member| member.ups.remove(stream))
        else {
            return;
        };
        if up.is_announced {
            let (stream, label) = (stream.as_str().to_owned(), up.label.clone());
            self.note(name, conn, What::Ended { stream, label });
        }
        self.recorded_stream_ended(name, up.media);
        self.forget_voices(name, up.media);
        if with_media {
            self.forget_up(&up);
        } else {
            self.media.remove(&up.media);
            self.unschedule(&up);
        }
        self.close_for_viewers(name, conn, stream);
        if let Some(old) = &up.replace {
            self.close_for_viewers(name, conn, old);
        }
    }

    fn forget_up(&mut self, up: &Up) {
        self.media.remove(&up.media);
        self.unschedule(up);
        if !up.is_ended {
            self.want_media(MediaRequest::Close { media: up.media });
        }
    }

    fn unschedule(&mut self, up: &Up) {
        if let Some(at) = up.announce_at {
            self.announcements.remove(&(at, up.media));
        }
    }

    /// Ends all streams of a member, those it publishes and those it views.
    pub(super) fn close_all_streams(&mut self, name: &GroupName, conn: ConnId) {
        self.close_all_ups(name, conn, None);
        self.close_view(name, conn);
        let Some(member) = self.member_in(name, conn) else {
            return;
        };
        // Their viewer is leaving, and need not be told.
        for (_, down) in std::mem::take(&mut member.downs) {
            self.drop_down(&down);
        }
    }

    /// Ends all streams that a member publishes. With a `reason`, the member is told.
    pub(super) fn close_all_ups(&mut self, name: &GroupName, conn: ConnId, reason: Option<&str>) {
        let Some(member) = self.member_in(name, conn) else {
            return;
        };
        let streams: Vec<StreamId> = member.ups.keys().cloned().collect();
        for stream in streams {
            self.close_up(name, conn, &stream, true);
            if let Some(reason) = reason {
                self.tell(conn, Event::Abort { stream });
                self.tell_error(conn, reason);
            }
        }
    }

    /// A trickled candidate for any stream of the member, of either direction.
    pub fn candidate(&mut self, conn: ConnId, stream: &StreamId, candidate: String) {
        let Some((_, member)) = self.member_of(conn) else {
            return;
        };
        let up = member.ups.get(stream).map(|up| up.media);
        let media = up.or_else(|| member.downs.get(stream).map(|down| down.media));
        if let Some(media) = media {
            self.want_media(MediaRequest::AddCandidate { media, candidate });
        }
    }

    /// News from the data plane. News of transports that are gone is ignored.
    pub fn media(&mut self, event: MediaEvent, now: Now) {
        let Some(owner) = self.media.get(&event.media()).cloned() else {
            return;
        };
        if let MediaEvent::Numbers { sent, .. } = event {
            return self.tell_numbers(owner.conn, &sent);
        }
        match owner.role {
            MediaRole::Up => self.up_event(owner, event, now),
            MediaRole::Down => self.down_event(owner, event, now),
            MediaRole::View => self.view_event(owner, event),
        }
    }

    fn up_event(&mut self, owner: MediaOwner, event: MediaEvent, now: Now) {
        let MediaOwner { group: name, conn, stream, .. } = owner;
        let Some(member) = self.member_in(&name, conn) else {
            return;
        };
        let Some(up) = member.ups.get_mut(&stream) else {
            return;
        };
        match event {
            MediaEvent::Answered { media, answer, publications, unused } => {
                let (is_first, is_due) = (up.note_answer(publications), up.is_due());
                self.tell_answer(conn, stream, (answer, unused), is_first);
                if is_due {
                    self.announce_media(media);
                }
            }
            MediaEvent::Refused { text, cause, .. } => {
                // A stream that had been negotiated before goes on until its owner closes it.
                if up.expected.is_none() {
                    self.close_up(&name, conn, &stream, true);
                }
                self.tell_abort(conn, stream, text, cause);
            }
            MediaEvent::Published { publication, kind, rids } => {
                up.rids.insert(publication.m_line, rids);
                let changed = up.note(publication.m_line, kind).then_some(publication);
                self.follow_media(&name, conn, &stream, changed, now);
            }
            MediaEvent::Reconnected { .. } => self.set_cut(&name, conn, &stream, false),
            MediaEvent::Disconnected { .. } => {
                self.set_cut(&name, conn, &stream, true);
                self.restart_all(&name, conn, now);
            }
            // Its owner knows, and is about to say more; viewers keep what they have until then.
            MediaEvent::Closed { is_by_peer: true, .. }
                if member.traits.chats && (up.is_connected || !up.publications.is_empty()) =>
            {
                up.is_ended = true;
                self.schedule(&name, conn, &stream, now.mono + END_AFTER);
            }
            MediaEvent::Closed { text, .. } => {
                self.close_up(&name, conn, &stream, false);
                self.tell_abort(conn, stream, text, Cause::Other);
            }
            MediaEvent::Received { rates, .. } => {
                let was_silent = up.is_silent();
                up.note_rates(rates);
                if up.is_announced && up.is_silent() != was_silent {
                    self.refresh_views(&name);
                }
            }
            MediaEvent::Voice { publication, loudness, is_speaking } => {
                self.note_voice(&name, (conn, &stream), publication, (loudness, is_speaking));
            }
            MediaEvent::Wanted { publication, encodings } => {
                let rids = up.note_wanted(publication.m_line, encodings);
                if member.traits.spares_encodings && !rids.is_empty() {
                    self.tell(conn, Event::Wanted { stream, rids });
                }
            }
            MediaEvent::Connected { .. } => up.is_connected = true,
            MediaEvent::Path { path, .. } => {
                if path.is_news_after(up.path.replace(path)) {
                    self.tell(conn, Event::Path { stream, path });
                }
            }
            MediaEvent::Offered { .. }
            | MediaEvent::Viewed { .. }
            | MediaEvent::Unshown { .. }
            | MediaEvent::Paused { .. }
            | MediaEvent::Numbers { .. }
            | MediaEvent::Watching { .. } => {}
        }
    }

    /// Answers a publisher's offer. With the first answer it learns what is of no use.
    fn tell_answer(
        &mut self,
        conn: ConnId,
        stream: StreamId,
        (sdp, unused): (String, Vec<String>),
        is_first: bool,
    ) {
        let warning = (is_first && !unused.is_empty())
            .then(|| format!("Not all that you send can be used here: {}", unused.join("; ")));
        self.tell(conn, Event::Answer { stream, sdp, unused });
        if let Some(text) = warning {
            self.tell(conn, Event::Warning { text });
        }
    }

    /// A member's stream does not go on.
    fn tell_abort(&mut self, conn: ConnId, stream: StreamId, text: String, cause: Cause) {
        // Adapters take the words for those of the abort before them.
        self.tell(conn, Event::Abort { stream });
        self.tell(conn, Event::Error { text, cause });
    }

    /// One more section of a stream brings media, or `changed` brings another kind of it.
    fn follow_media(
        &mut self,
        name: &GroupName,
        conn: ConnId,
        stream: &StreamId,
        changed: Option<PublicationKey>,
        now: Now,
    ) {
        let up = self.member_in(name, conn).and_then(|member| member.ups.get(stream));
        let Some(up) = up else {
            return;
        };
        let (media, is_planned) = (up.media, up.announce_at.is_some());
        match (up.is_announced, up.is_complete()) {
            (true, _) => {
                self.record_stream(name, conn, stream);
                self.refresh_viewers(name, conn, stream, changed);
            }
            (false, true) => self.announce_media(media),
            (false, false) if is_planned => {}
            (false, false) => self.schedule(name, conn, stream, now.mono + ANNOUNCE_AFTER),
        }
    }

    /// Looks at a stream again at this time, and not when that was planned before.
    fn schedule(&mut self, name: &GroupName, conn: ConnId, stream: &StreamId, at: Duration) {
        let up = self.member_in(name, conn).and_then(|member| member.ups.get_mut(stream));
        let Some(up) = up else {
            return;
        };
        let (media, before) = (up.media, up.announce_at.replace(at));
        if let Some(before) = before {
            self.announcements.remove(&(before, media));
        }
        self.announcements.insert((at, media));
    }

    /// Nothing comes from a publisher, or it does again: its viewers are told why the picture stands,
    /// and seats go to who sends.
    fn set_cut(&mut self, name: &GroupName, conn: ConnId, stream: &StreamId, is_cut: bool) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let Some(up) = group.members.get_mut(&conn).and_then(|m| m.ups.get_mut(stream)) else {
            return;
        };
        let was_silent = up.is_silent();
        // Several of its paths may say the same.
        if std::mem::replace(&mut up.is_cut, is_cut) == is_cut {
            return;
        }
        let has_changed = up.is_silent() != was_silent;
        let viewers = group.members.iter().filter(|(_, member)| {
            member.downs.get(stream).is_some_and(|down| down.publisher == conn)
        });
        let viewers: Vec<ConnId> = viewers.map(|(viewer, _)| *viewer).collect();
        self.tell_many(viewers, Event::Silent { stream: stream.clone(), is_silent: is_cut });
        if has_changed {
            self.refresh_views(name);
        }
    }

    /// Tells viewers of a stream whose media is known, or that has ended.
    pub(super) fn announce_media(&mut self, media: MediaId) {
        let Some(MediaOwner { group: name, conn, stream, .. }) = self.media.get(&media).cloned()
        else {
            return;
        };
        let up = self.member_in(&name, conn).and_then(|member| member.ups.get_mut(&stream));
        let Some(up) = up else {
            return;
        };
        if up.is_ended {
            return self.close_up(&name, conn, &stream, false);
        }
        up.is_announced = true;
        let published = What::Published {
            stream: stream.as_str().to_owned(),
            label: up.label.clone(),
            has: (up.has(MediaKind::Audio), up.has(MediaKind::Video)),
        };
        if let Some(at) = up.announce_at.take() {
            self.announcements.remove(&(at, media));
        }
        self.note(&name, conn, published);
        self.record_stream(&name, conn, &stream);
        let Some(group) = self.groups.get(&name) else {
            return;
        };
        let viewers: Vec<ConnId> = group.members.keys().copied().collect();
        for viewer in viewers {
            self.refresh_viewer(&name, viewer, conn, &stream);
        }
        self.refresh_views(&name);
        // Whoever has the stream now has had the old one taken away with it.
        let up = self.member_in(&name, conn).and_then(|member| member.ups.get_mut(&stream));
        if let Some(up) = up {
            up.replace = None;
        }
    }
}
