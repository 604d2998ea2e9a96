//! Up streams: offers of publishers, and when viewers learn of them.

use std::time::Duration;

use super::{Cause, Event, Hub, MediaEvent, MediaOwner, MediaRequest, MediaRole, Shared, What};
use crate::group::Group;
use crate::ids::{ConnId, MediaId, PublicationKey, StreamId};
use crate::member::Member;
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

/// A publisher's offer, and what it says of the stream.
struct Publishing<'a> {
    stream: StreamId,
    label: &'a str,
    replace: Option<StreamId>,
    offer: String,
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
        if let Some((group, shared)) = self.at(conn) {
            group.publish(shared, conn, Publishing { stream, label, replace, offer }, now);
        } else {
            self.shared.tell(conn, Event::Abort { stream });
            self.shared.tell_error(conn, "join a group first");
        }
    }

    /// A member ends a stream of its own. Unknown ids are ignored.
    pub fn close_stream(&mut self, conn: ConnId, stream: &StreamId) {
        if let Some((group, shared)) = self.at(conn) {
            group.close_up(shared, conn, stream, true);
        }
    }

    /// A trickled candidate for any stream of the member, of either direction.
    pub fn candidate(&mut self, conn: ConnId, stream: &StreamId, candidate: String) {
        if let Some(media) = self.member(conn).and_then(|member| member.media_of(stream)) {
            self.shared.want_media(MediaRequest::AddCandidate { media, candidate });
        }
    }

    /// News from the data plane. News of transports that are gone is ignored.
    pub fn media(&mut self, event: MediaEvent, now: Now) {
        let shared = &mut self.shared;
        let Some(owner) = shared.media.get(&event.media()) else {
            return;
        };
        let Some(group) = self.groups.get_mut(&owner.group) else {
            return;
        };
        let (conn, stream, role) = (owner.conn, owner.stream.clone(), owner.role);
        if let MediaEvent::Numbers { sent, .. } = event {
            return group.tell_numbers(shared, conn, &sent);
        }
        match role {
            MediaRole::Up => group.up_event(shared, conn, stream, event, now),
            MediaRole::Down => group.down_event(shared, conn, stream, event, now),
            MediaRole::View => group.view_event(shared, conn, event),
        }
    }
}

impl Member {
    /// The transport of a stream that it publishes or views.
    fn media_of(&self, stream: &StreamId) -> Option<MediaId> {
        let up = self.ups.get(stream).map(|up| up.media);
        up.or_else(|| self.downs.get(stream).map(|down| down.media))
    }

    /// It publishes one more stream, over this transport. Gives what that replaces, if it has that.
    fn add_up(
        &mut self,
        stream: StreamId,
        label: &str,
        media: MediaId,
        replace: Option<StreamId>,
    ) -> Option<Up> {
        let replaced = replace.and_then(|old| Some((self.ups.remove(&old)?, old)));
        // A replacement of something that viewers have never been offered stands for what they
        // do have.
        let replace = replaced.as_ref().and_then(|(up, old)| {
            if up.is_announced { Some(old.clone()) } else { up.replace.clone() }
        });
        self.ups.insert(stream, Up::new(label.to_owned(), media, replace));
        replaced.map(|(up, _)| up)
    }
}

impl Shared {
    /// Ends a publisher's transport, unless it has ended by itself.
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

    /// Looks at a stream again at this time, and not when that was planned before.
    fn schedule(&mut self, up: &mut Up, at: Duration) {
        self.unschedule(up);
        up.announce_at = Some(at);
        self.announcements.insert((at, up.media));
    }
}

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

    fn up_mut(&mut self, conn: ConnId, stream: &StreamId) -> Option<&mut Up> {
        self.members.get_mut(&conn)?.ups.get_mut(stream)
    }

    fn publish(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        Publishing { stream, label, replace, offer }: Publishing<'_>,
        now: Now,
    ) {
        let Some(member) = self.members.get_mut(&conn) else {
            return;
        };
        // Offers that are refused count as well: reading them is what costs.
        let is_in_budget = member.offer_budget.take(now.mono);
        // Its transport is gone. The same id again is another stream, not a renegotiation.
        if member.ups.get(&stream).is_some_and(|up| up.is_ended) {
            self.close_up(shared, conn, &stream, false);
        }
        if let Some(text) = self.refusal_to_publish(conn, &stream, label, is_in_budget) {
            // As in Galene: whoever replaces a stream has done with it, whatever becomes of the next one.
            if let Some(old) = replace {
                self.close_up(shared, conn, &old, true);
            }
            shared.tell(conn, Event::Abort { stream });
            return shared.tell_error(conn, text);
        }
        let codecs = self.description.codecs.clone();
        let Some(member) = self.members.get_mut(&conn) else {
            return;
        };
        let reached = member.traits.reached;
        if let Some(media) = member.ups.get(&stream).map(|up| up.media) {
            return shared.want_media(MediaRequest::Publish { media, offer, codecs, reached });
        }
        let (group, role) = (self.name.clone(), MediaRole::Up);
        let media = shared.new_media(MediaOwner { group, conn, stream: stream.clone(), role });
        if let Some(replaced) = member.add_up(stream, label, media, replace) {
            self.recorded_stream_ended(shared, replaced.media);
            self.forget_voices(shared, replaced.media);
            shared.forget_up(&replaced);
        }
        shared.want_media(MediaRequest::Publish { media, offer, codecs, reached });
    }

    /// Ends a member's up stream, for its viewers too.
    pub(super) fn close_up(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        stream: &StreamId,
        with_media: bool,
    ) {
        let up = self.members.get_mut(&conn).and_then(|member| member.ups.remove(stream));
        let Some(up) = up else {
            return;
        };
        if up.is_announced {
            let (stream, label) = (stream.as_str().to_owned(), up.label.clone());
            self.note(shared, conn, What::Ended { stream, label });
        }
        self.recorded_stream_ended(shared, up.media);
        self.forget_voices(shared, up.media);
        if with_media {
            shared.forget_up(&up);
        } else {
            shared.media.remove(&up.media);
            shared.unschedule(&up);
        }
        self.close_for_viewers(shared, conn, stream);
        if let Some(old) = &up.replace {
            self.close_for_viewers(shared, conn, old);
        }
    }

    /// Ends all streams of a member, those it publishes and those it views.
    pub(super) fn close_all_streams(&mut self, shared: &mut Shared, conn: ConnId) {
        self.close_all_ups(shared, conn, None);
        let Some(member) = self.members.get_mut(&conn) else {
            return;
        };
        member.close_view(shared);
        // Their viewer is leaving, and need not be told.
        for (_, down) in std::mem::take(&mut member.downs) {
            shared.close_media(down.media);
        }
    }

    /// Ends all streams that a member publishes. With a `reason`, the member is told.
    pub(super) fn close_all_ups(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        reason: Option<&str>,
    ) {
        let Some(member) = self.members.get(&conn) else {
            return;
        };
        let streams: Vec<StreamId> = member.ups.keys().cloned().collect();
        for stream in streams {
            self.close_up(shared, conn, &stream, true);
            if let Some(reason) = reason {
                shared.tell(conn, Event::Abort { stream });
                shared.tell_error(conn, reason);
            }
        }
    }

    fn up_event(
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
        let Some(up) = member.ups.get_mut(&stream) else {
            return;
        };
        match event {
            MediaEvent::Answered { answer, publications, unused, .. } => {
                let (is_first, is_due) = (up.note_answer(publications), up.is_due());
                tell_answer(shared, conn, &stream, (answer, unused), is_first);
                if is_due {
                    self.announce(shared, conn, &stream);
                }
            }
            MediaEvent::Refused { text, cause, .. } => {
                // A stream that had been negotiated before goes on until its owner closes it.
                if up.expected.is_none() {
                    self.close_up(shared, conn, &stream, true);
                }
                tell_abort(shared, conn, stream, text, cause);
            }
            MediaEvent::Published { publication, kind, rids } => {
                up.rids.insert(publication.m_line, rids);
                let changed = up.note(publication.m_line, kind).then_some(publication);
                self.follow_media(shared, conn, &stream, changed, now);
            }
            MediaEvent::Reconnected { .. } => self.set_cut(shared, conn, &stream, false),
            MediaEvent::Disconnected { .. } => {
                self.set_cut(shared, conn, &stream, true);
                self.restart_all(shared, conn, now);
            }
            // Its owner knows, and is about to say more; viewers keep what they have until then.
            MediaEvent::Closed { is_by_peer: true, .. }
                if member.traits.chats && (up.is_connected || !up.publications.is_empty()) =>
            {
                up.is_ended = true;
                shared.schedule(up, now.mono + END_AFTER);
            }
            MediaEvent::Closed { text, .. } => {
                self.close_up(shared, conn, &stream, false);
                tell_abort(shared, conn, stream, text, Cause::Other);
            }
            MediaEvent::Received { rates, .. } => {
                let was_silent = up.is_silent();
                up.note_rates(rates);
                if up.is_announced && up.is_silent() != was_silent {
                    self.refresh_views(shared);
                }
            }
            MediaEvent::Voice { publication, loudness, is_speaking } => {
                let level = (loudness, is_speaking);
                self.note_voice(shared, (conn, &stream), publication, level);
            }
            MediaEvent::Wanted { publication, encodings } => {
                let rids = up.note_wanted(publication.m_line, encodings);
                if member.traits.spares_encodings && !rids.is_empty() {
                    shared.tell(conn, Event::Wanted { stream, rids });
                }
            }
            MediaEvent::Connected { .. } => up.is_connected = true,
            MediaEvent::Path { path, .. } => {
                if path.is_news_after(up.path.replace(path)) {
                    shared.tell(conn, Event::Path { stream, path });
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

    /// One more section of a stream brings media, or `changed` brings another kind of it.
    fn follow_media(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        stream: &StreamId,
        changed: Option<PublicationKey>,
        now: Now,
    ) {
        let Some(up) = self.up_mut(conn, stream) else {
            return;
        };
        if up.is_announced {
            self.record_stream(shared, conn, stream);
            self.refresh_viewers(shared, conn, stream, changed);
        } else if up.is_complete() {
            self.announce(shared, conn, stream);
        } else if up.announce_at.is_none() {
            shared.schedule(up, now.mono + ANNOUNCE_AFTER);
        }
    }

    /// Nothing comes from a publisher, or it does again: its viewers are told why the picture stands,
    /// and seats go to who sends.
    fn set_cut(&mut self, shared: &mut Shared, conn: ConnId, stream: &StreamId, is_cut: bool) {
        let Some(up) = self.up_mut(conn, stream) else {
            return;
        };
        let was_silent = up.is_silent();
        // Several of its paths may say the same.
        if std::mem::replace(&mut up.is_cut, is_cut) == is_cut {
            return;
        }
        let has_changed = up.is_silent() != was_silent;
        let viewers = self.members.iter().filter(|(_, member)| {
            member.downs.get(stream).is_some_and(|down| down.publisher == conn)
        });
        let viewers: Vec<ConnId> = viewers.map(|(viewer, _)| *viewer).collect();
        shared.tell_many(viewers, Event::Silent { stream: stream.clone(), is_silent: is_cut });
        if has_changed {
            self.refresh_views(shared);
        }
    }

    /// Tells viewers of a stream whose media is known, or that has ended.
    pub(super) fn announce(&mut self, shared: &mut Shared, conn: ConnId, stream: &StreamId) {
        let Some(up) = self.up_mut(conn, stream) else {
            return;
        };
        if up.is_ended {
            return self.close_up(shared, conn, stream, false);
        }
        up.is_announced = true;
        let published = What::Published {
            stream: stream.as_str().to_owned(),
            label: up.label.clone(),
            has: (up.has(MediaKind::Audio), up.has(MediaKind::Video)),
        };
        shared.unschedule(up);
        up.announce_at = None;
        self.note(shared, conn, published);
        self.record_stream(shared, conn, stream);
        self.refresh_viewers(shared, conn, stream, None);
        // Whoever has the stream now has had the old one taken away with it.
        if let Some(up) = self.up_mut(conn, stream) {
            up.replace = None;
        }
    }
}

/// Answers a publisher's offer. With the first answer it learns what is of no use.
fn tell_answer(
    shared: &mut Shared,
    conn: ConnId,
    stream: &StreamId,
    (sdp, unused): (String, Vec<String>),
    is_first: bool,
) {
    let warning = (is_first && !unused.is_empty())
        .then(|| format!("Not all that you send can be used here: {}", unused.join("; ")));
    shared.tell(conn, Event::Answer { stream: stream.clone(), sdp, unused });
    if let Some(text) = warning {
        shared.tell(conn, Event::Warning { text });
    }
}

/// A member's stream does not go on.
fn tell_abort(shared: &mut Shared, conn: ConnId, stream: StreamId, text: String, cause: Cause) {
    // Adapters take the words for those of the abort before them.
    shared.tell(conn, Event::Abort { stream });
    shared.tell(conn, Event::Error { text, cause });
}
