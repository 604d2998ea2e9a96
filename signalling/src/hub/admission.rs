//! Admission: who is let in where, and what a new member is told first.

use std::time::Duration;

use serde_json::Map;

use super::join::{Login, Refused};
use super::{
    Event, Failure, Hub, JoinRequest, Joined, JoinedKind, Place, USER_DATA_BYTES_MAX, UserKind,
    What, merge, user_event,
};
use crate::group::Group;
use crate::ids::{ClientId, ConnId};
use crate::member::Member;
use crate::name::{GroupName, Username};
use crate::permission::{OP, Permissions};
use crate::time::{Now, UnixMs};

/// What non-ops are told where an op must be present.
pub(super) const NO_OP_TEXT: &str = "there are no operators in this group";

impl Hub {
    /// The rules of admission, in Galene's order; then the new member's first messages.
    pub(super) fn admit(
        &mut self,
        conn: ConnId,
        request: &JoinRequest,
        name: &GroupName,
        login: Login,
        now: Now,
    ) -> Result<(), Refused> {
        if let Some(text) = &self.closing {
            return Err(Refused(Failure::Closed, text.clone()));
        }
        let Login { username, permissions, expires, kept, .. } = login;
        let group = self.groups.get(name).ok_or_else(Refused::no_such_group)?;
        if group.is_orphan {
            return Err(Refused::no_such_group());
        }
        // Before the rules: who is sent elsewhere takes no place here.
        if let Some(url) = group.description.listing.redirect.clone() {
            self.tell_redirect(conn, request, username, url);
            return Ok(());
        }
        if !permissions.has(OP) {
            check_open(group, now.unix)?;
        }
        let id = ClientId::parse(&request.client).map_err(|_| Refused::internal())?;
        if group.find(id.as_str()).is_some() {
            return Err(Refused::internal());
        }
        let mut data = Map::new();
        if !merge(&mut data, &request.data, USER_DATA_BYTES_MAX) {
            return Err(Refused::new(Failure::Internal, "the data of the join is too large"));
        }
        let Some(client) = self.clients.get_mut(&conn) else {
            return Ok(());
        };
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
        let traits = client.traits.clone();
        let member = Member { data, ..Member::new(id, username, traits, permissions, now.mono) };
        self.welcome(conn, name, member, now);
        Ok(())
    }

    fn tell_redirect(
        &mut self,
        conn: ConnId,
        request: &JoinRequest,
        username: Username,
        url: String,
    ) {
        let joined = Joined {
            kind: JoinedKind::Redirect,
            group: request.group.clone(),
            username: Some(username),
            permissions: Permissions::default(),
            status: None,
            data: Map::new(),
            failure: None,
            value: Some(url),
        };
        self.tell(conn, Event::Joined(Box::new(joined)));
    }

    /// Puts the member in. The order is part of the protocol: joined, history, users.
    fn welcome(&mut self, conn: ConnId, name: &GroupName, member: Member, now: Now) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let others = group.chatting();
        let mut member = member;
        member.is_recorded = group.records(conn, &member);
        let add = user_event(UserKind::Add, &member);
        let chats = member.traits.chats;
        let mut joined = Joined {
            kind: JoinedKind::Join,
            group: name.as_str().to_owned(),
            username: Some(member.username.clone()),
            permissions: member.permissions.clone(),
            status: None,
            data: group.data.clone(),
            failure: None,
            value: None,
        };
        let present: Vec<Event> = if chats {
            group.members.values().map(|other| user_event(UserKind::Add, other)).collect()
        } else {
            Vec::new()
        };
        let permissions = member.permissions.as_slice().to_vec();
        group.members.insert(conn, member);
        group.touched_at = now.mono;
        let history_age_ms = i64::try_from(group.description.history_age_ms).unwrap_or(i64::MAX);
        let history = group.history.recent(UnixMs(now.unix.0.saturating_sub(history_age_ms)));
        joined.status = self.groups.get(name).map(|group| self.member_status(group));
        self.note(name, conn, What::Joined { permissions });
        self.note_member(name, conn, "joined");
        self.tell(conn, Event::Joined(Box::new(joined)));
        if chats {
            for message in history {
                self.tell(conn, Event::History(message));
            }
            self.tell(conn, add.clone());
            for event in present {
                self.tell(conn, event);
            }
        }
        self.tell_many(others, add);
        self.tell_speakers_to(name, conn);
        self.settle_voices(name);
    }
}

/// What ops need not care about.
fn check_open(group: &Group, now: UnixMs) -> Result<(), Refused> {
    let description = &group.description;
    if let Some(lock) = &group.lock {
        return Err(Refused::new(Failure::Closed, lock.text()));
    }
    if description.not_before.is_some_and(|not_before| now < not_before) {
        return Err(Refused::new(Failure::Closed, "this group is not open yet"));
    }
    if description.expires.is_some_and(|expires| now > expires) {
        return Err(Refused::new(Failure::Closed, "this group is closed"));
    }
    if description.is_autokick && !group.has_op() {
        return Err(Refused::new(Failure::Closed, NO_OP_TEXT));
    }
    let clients_max = description.clients_max.map_or(usize::MAX, |max| max as usize);
    if group.members.len() >= clients_max {
        return Err(Refused::new(Failure::Full, "too many users"));
    }
    Ok(())
}
