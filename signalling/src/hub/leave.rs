//! Leaving: by oneself, by a kick, or with the token that let one in.

use super::{Bearer, Event, Hub, Joined, JoinedKind, Shared, UserKind, What, user_event};
use crate::group::Group;
use crate::ids::{ClientId, ConnId};
use crate::name::Username;
use crate::time::Now;

/// What those hear whose token is over.
pub(super) const EXPIRED_TEXT: &str = "your token has expired";
/// What a connection reads, should it live after all, in whose place another one has come.
pub(super) const BACK_TEXT: &str = "you have come back on another connection";
/// What those hear whose token has been taken back.
const REVOKED_TEXT: &str = "your token has been revoked";
/// What non-ops are told where an op must be present.
pub(super) const NO_OP_TEXT: &str = "there are no operators in this group";

impl Hub {
    /// A member leaves and stays connected, or gives up waiting. False if it does neither in `group`.
    pub fn leave(&mut self, conn: ConnId, group: &str, now: Now) -> bool {
        let name = self.shared.place_of(conn).filter(|name| name.as_str() == group);
        let Some(name) = name.cloned() else {
            return self.stop_waiting_for(conn, group);
        };
        self.within(&name, |group, shared| group.leave(shared, conn, now));
        true
    }

    fn stop_waiting_for(&mut self, conn: ConnId, group: &str) -> bool {
        let waits = self.waits_for(conn).is_some_and(|name| name.as_str() == group);
        if waits {
            self.stop_waiting(conn);
            let joined = Joined::new(JoinedKind::Leave, group);
            self.shared.tell(conn, Event::Joined(Box::new(joined)));
        }
        waits
    }

    /// Those who neither chat nor hear of it, and those who wait at a door, with the secrets of the kept
    /// tokens that let them in: somebody may take these back.
    pub fn bearers(&self) -> Vec<Bearer> {
        let waiting = self.groups.values().flat_map(|group| {
            group.door.waiting().filter_map(|(conn, entrant)| {
                let realm = group.description.realm(&group.name);
                let secret = entrant.token.1.clone()?;
                Some(Bearer { conn, group: group.name.clone(), realm, secret })
            })
        });
        let bearers = self.shared.bearers.iter();
        bearers
            .filter_map(|(conn, secret)| {
                let group = self.group(*conn)?;
                let realm = group.description.realm(&group.name);
                let (group, secret) = (group.name.clone(), secret.clone());
                Some(Bearer { conn: *conn, group, realm, secret })
            })
            .chain(waiting)
            .collect()
    }

    /// Sends those out whose token has been taken back.
    pub fn revoke(&mut self, conns: &[ConnId], now: Now) {
        for conn in conns {
            self.turn_away_revoked(*conn, REVOKED_TEXT);
            // It may have left since somebody looked.
            if self.shared.bearers.contains_key(conn) {
                self.send_out(*conn, REVOKED_TEXT, now);
            }
        }
    }
}

impl Group {
    fn leave(&mut self, shared: &mut Shared, conn: ConnId, now: Now) {
        let username = self.members.get(&conn).map(|member| member.username.clone());
        self.remove_member(shared, conn, now);
        let joined = Joined {
            username,
            status: Some(shared.status_of(self)),
            data: self.data.clone(),
            ..Joined::new(JoinedKind::Leave, self.name.as_str())
        };
        shared.tell(conn, Event::Joined(Box::new(joined)));
        self.settle(shared, now);
    }

    /// Takes a member out, with its streams. [`Self::settle`] is the caller's.
    pub(super) fn remove_member(&mut self, shared: &mut Shared, conn: ConnId, now: Now) {
        // As long as it is a member: what is written down of it needs its name.
        self.close_all_streams(shared, conn);
        self.note(shared, conn, What::Left);
        self.note_member(shared, conn, "left");
        shared.put_outside(conn);
        let Some(member) = self.members.remove(&conn) else {
            return;
        };
        self.touched_at = now.mono;
        shared.tell_many(self.chatting(), user_event(UserKind::Delete, &member));
        self.settle_voices(shared);
        self.recording_after(shared, conn, now);
    }

    /// Tells a member that it is out, and takes it out.
    pub(super) fn kick(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        by: Option<(ClientId, Username)>,
        message: String,
        now: Now,
    ) {
        let Some(member) = self.members.get(&conn) else {
            return;
        };
        let dest = member.id.clone();
        let who = by.as_ref().map(|(id, username)| match username.as_str() {
            "" => id.as_str().to_owned(),
            username => username.to_owned(),
        });
        self.note(shared, conn, What::Kicked { by: who, message: message.clone() });
        shared.tell(conn, Event::Kicked { by, dest, message });
        self.remove_member(shared, conn, now);
    }

    /// Sends a member out on purpose: it does not come back as somebody that it was before, or is as well.
    pub(super) fn remove(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        by: Option<(ClientId, Username)>,
        message: String,
        now: Now,
    ) {
        if let Some(name) = self.members.get(&conn).map(|member| member.username.clone()) {
            self.door.forget_name(&name);
            for namesake in self.members.values_mut().filter(|member| member.username == name) {
                namesake.is_succeeded = true;
            }
        }
        self.kick(shared, conn, by, message, now);
        self.settle(shared, now);
    }

    /// Kicks everybody, for the same reason.
    pub(super) fn kick_all(&mut self, shared: &mut Shared, text: &str, now: Now) {
        let conns: Vec<ConnId> = self.members.keys().copied().collect();
        for conn in conns {
            self.kick(shared, conn, None, text.to_owned(), now);
        }
    }

    /// Locks or empties the group if it has lost its last op and its file says so; then lets those in who
    /// wait, if nothing keeps them out any more.
    pub(super) fn settle(&mut self, shared: &mut Shared, now: Now) {
        if self.lock_without_op() {
            self.tell_changed(shared, true);
        }
        if self.description.is_autokick && !self.has_op() {
            self.kick_all(shared, NO_OP_TEXT, now);
        }
        self.open_door(shared, now);
    }
}
