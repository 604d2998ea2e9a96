//! Admission: who is let in where, and what a new member is told first.

use std::time::Duration;

use serde_json::Map;

use super::join::Login;
use super::leave::NO_OP_TEXT;
use super::refused::Refused;
use super::{
    Event, Failure, JoinRequest, Joined, JoinedKind, Place, Shared, Traits, USER_DATA_BYTES_MAX,
    UserKind, What, merge, user_event,
};
use crate::door::{Entrant, Title, succeeds};
use crate::group::Group;
use crate::ids::{ClientId, ConnId};
use crate::member::Member;
use crate::name::GroupName;
use crate::permission::OP;
use crate::time::{Now, UnixMs};

/// How long the old connection of who has come back stays.
const SUCCESSION: Duration = Duration::from_secs(15);

impl Group {
    /// The rules of admission, in Galene's order; then the new member's first messages.
    pub(super) fn admit(
        &mut self,
        shared: &mut Shared,
        closing: Option<&str>,
        conn: ConnId,
        (request, login): (&JoinRequest, Login),
        now: Now,
    ) -> Result<(), Refused> {
        if let Some(text) = closing {
            return Err(Refused::new(Failure::Closed, text));
        }
        let Login { username, permissions, expires, kept, is_of_file, .. } = login;
        if self.is_orphan {
            return Err(Refused::no_such_group());
        }
        // Before the rules: who is sent elsewhere takes no place here.
        if let Some(url) = self.description.listing.redirect.clone() {
            let redirect = Joined {
                username: Some(username),
                value: Some(url),
                ..Joined::new(JoinedKind::Redirect, &request.group)
            };
            shared.tell(conn, Event::Joined(Box::new(redirect)));
            return Ok(());
        }
        let id = ClientId::parse(&request.client).map_err(|_| Refused::internal())?;
        if self.find(id.as_str()).is_some() || self.door.find(id.as_str()).is_some() {
            return Err(Refused::internal());
        }
        let mut data = Map::new();
        if !merge(&mut data, &request.data, USER_DATA_BYTES_MAX) {
            return Err(Refused::new(Failure::Internal, "the data of the join is too large"));
        }
        let is_op = permissions.has(OP);
        let entrant = Entrant {
            id,
            group: request.group.clone(),
            username,
            permissions,
            is_of_file,
            token: (expires, kept),
            data,
            title: Title::None,
        };
        // Operators show it as well, and all read what they show.
        let (entrant, predecessor) = self.recognise(entrant, now);
        if !is_op {
            let knocks = shared.clients.get(&conn).is_some_and(|client| client.traits.knocks);
            match self.check_open(entrant.title, now.unix) {
                Err(Refused(Failure::Locked, why)) if knocks => {
                    return self.wait(shared, conn, entrant, why);
                }
                // It is counted already.
                Err(Refused(Failure::Full, _)) if predecessor.is_some() => {}
                open => open?,
            }
        }
        // Nobody passes on the way in and stays. Its media may still flow until the new one does.
        if let Some(predecessor) = predecessor {
            shared.successions.insert((now.mono + SUCCESSION, predecessor));
        }
        self.enter(shared, conn, entrant, now);
        if is_op {
            self.tell_waiting(shared, conn);
            self.open_door(shared, now);
        }
        Ok(())
    }

    /// Gives somebody its title if it shows that it was in here until its connection was lost; and the
    /// connection, if that still counts as a member.
    fn recognise(&mut self, entrant: Entrant, now: Now) -> (Entrant, Option<ConnId>) {
        let present = self.members.iter_mut().find(|(_, member)| succeeds(&entrant, member));
        let present = present.map(|(conn, member)| {
            member.is_succeeded = true;
            *conn
        });
        let is_back = self.door.is_back(&entrant, now.mono) || present.is_some();
        let title = if is_back { Title::Back } else { Title::None };
        (Entrant { title, ..entrant }, present)
    }

    /// Somebody is let in, whatever the rules say.
    pub(super) fn enter(&mut self, shared: &mut Shared, conn: ConnId, entrant: Entrant, now: Now) {
        let Entrant { id, username, permissions, token, data, .. } = entrant;
        if let Some(traits) = shared.put_in(conn, &self.name, token, now) {
            let member =
                Member { data, ..Member::new(id, username, traits, permissions, now.mono) };
            self.welcome(shared, conn, member, now);
        }
    }

    /// What ops need not care about.
    pub(super) fn check_open(&self, title: Title, now: UnixMs) -> Result<(), Refused> {
        let description = &self.description;
        if let Some(lock) = self.lock.as_ref().filter(|_| title == Title::None) {
            return Err(Refused::new(Failure::Locked, lock.text()));
        }
        if description.not_before.is_some_and(|not_before| now < not_before) {
            return Err(Refused::new(Failure::Closed, "this group is not open yet"));
        }
        if description.expires.is_some_and(|expires| now > expires) {
            return Err(Refused::new(Failure::Closed, "this group is closed"));
        }
        if description.is_autokick && !self.has_op() {
            return Err(Refused::new(Failure::Locked, NO_OP_TEXT));
        }
        // Of all members: the recorder and sessions over WHIP and WHEP take places as well.
        let clients_max = description.clients_max.map_or(usize::MAX, |max| max as usize);
        if self.members.len() >= clients_max {
            return Err(Refused::new(Failure::Full, "too many users"));
        }
        Ok(())
    }

    /// Puts the member in. The order is part of the protocol: joined, history, users.
    fn welcome(&mut self, shared: &mut Shared, conn: ConnId, mut member: Member, now: Now) {
        let others = self.chatting();
        member.is_recorded = self.records(conn, &member);
        let add = user_event(UserKind::Add, &member);
        let chats = member.traits.chats;
        let present: Vec<Event> = if chats {
            self.members.values().map(|other| user_event(UserKind::Add, other)).collect()
        } else {
            Vec::new()
        };
        let username = Some(member.username.clone());
        let permissions = member.permissions.clone();
        self.members.insert(conn, member);
        self.touched_at = now.mono;
        let history_age_ms = i64::try_from(self.description.history_age_ms).unwrap_or(i64::MAX);
        let history = self.history.recent(UnixMs(now.unix.0.saturating_sub(history_age_ms)));
        self.note(shared, conn, What::Joined { permissions: permissions.as_slice().to_vec() });
        self.note_member(shared, conn, "joined");
        let joined = Joined {
            username,
            permissions,
            status: Some(shared.status_of(self)),
            data: self.data.clone(),
            ..Joined::new(JoinedKind::Join, self.name.as_str())
        };
        shared.tell(conn, Event::Joined(Box::new(joined)));
        if chats {
            for message in history {
                shared.tell(conn, Event::History(message));
            }
            shared.tell(conn, add.clone());
            for event in present {
                shared.tell(conn, event);
            }
        }
        shared.tell_many(others, add);
        self.tell_speakers_to(shared, conn);
        self.settle_voices(shared);
    }
}

impl Shared {
    /// A connection is in a group from now on. Gives what it can do; nothing if it is gone.
    fn put_in(
        &mut self,
        conn: ConnId,
        name: &GroupName,
        (expires, kept): (Option<UnixMs>, Option<String>),
        now: Now,
    ) -> Option<Traits> {
        let client = self.clients.get_mut(&conn)?;
        client.place = Place::In(name.clone());
        // People stay: tokens of authentication servers are good for seconds. What publishes or
        // watches without a person in front of it has nobody else who would end it.
        if let Some(expires) = expires.filter(|_| !client.traits.chats) {
            let left_ms = u64::try_from(expires.0.saturating_sub(now.unix.0)).unwrap_or_default();
            let expires_at = now.mono + Duration::from_millis(left_ms);
            client.expires_at = Some(expires_at);
            self.expiries.insert((expires_at, conn));
            self.bearers.extend(kept.map(|secret| (conn, secret)));
        }
        Some(client.traits.clone())
    }
}
