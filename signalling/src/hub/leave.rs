//! Leaving: by oneself, by a kick, or with the token that let one in.

use super::{Bearer, Client, Event, Hub, Joined, JoinedKind, Place, UserKind, What, user_event};
use crate::ids::{ClientId, ConnId};
use crate::name::{GroupName, Username};
use crate::permission::Permissions;
use crate::time::Now;

/// What those hear whose token is over.
pub(super) const EXPIRED_TEXT: &str = "your token has expired";
/// What those hear whose token has been taken back.
const REVOKED_TEXT: &str = "your token has been revoked";

impl Hub {
    /// A member leaves and stays connected. False if it is not in `group`.
    pub fn leave(&mut self, conn: ConnId, group: &str, now: Now) -> bool {
        let Some(name) = self.place_of(conn).cloned() else {
            return false;
        };
        if name.as_str() != group {
            return false;
        }
        let username = self.membership(conn).map(|(_, username)| username.clone());
        // A group whose file is gone goes with its last member: then this is what there was.
        let group = self.groups.get(&name);
        let mut joined = Joined {
            kind: JoinedKind::Leave,
            group: name.as_str().to_owned(),
            username,
            permissions: Permissions::default(),
            status: group.map(|group| self.member_status(group)),
            data: group.map(|group| group.data.clone()).unwrap_or_default(),
            failure: None,
            value: None,
        };
        self.remove_member(&name, conn, now);
        if let Some(group) = self.groups.get(&name) {
            joined.status = Some(self.member_status(group));
        }
        self.tell(conn, Event::Joined(Box::new(joined)));
        self.settle(&name, now);
        true
    }

    /// Those who neither chat nor hear of it, with the secrets of the kept tokens that let them
    /// in: somebody may take these back.
    pub fn bearers(&self) -> Vec<Bearer> {
        let bearers = self.bearers.iter();
        bearers
            .filter_map(|(conn, secret)| {
                let group = self.place_of(*conn)?.clone();
                let realm = self.groups.get(&group)?.description.realm(&group);
                Some(Bearer { conn: *conn, group, realm, secret: secret.clone() })
            })
            .collect()
    }

    /// Sends those out whose token has been taken back.
    pub fn revoke(&mut self, conns: &[ConnId], now: Now) {
        for conn in conns.iter().copied() {
            // It may have left since somebody looked.
            if !self.bearers.contains_key(&conn) {
                continue;
            }
            if let Some(name) = self.place_of(conn).cloned() {
                self.kick(&name, conn, None, REVOKED_TEXT.to_owned(), now);
                self.settle(&name, now);
            }
        }
    }

    /// Takes a member out, with its streams. [`Hub::settle`] is the caller's.
    pub(super) fn remove_member(&mut self, name: &GroupName, conn: ConnId, now: Now) {
        // As long as it is a member: what is written down of it needs its name.
        self.close_all_streams(name, conn);
        self.note(name, conn, What::Left);
        self.note_member(name, conn, "left");
        self.bearers.remove(&conn);
        if let Some(Client { place, expires_at, .. }) = self.clients.get_mut(&conn) {
            *place = Place::Outside;
            if let Some(expires_at) = expires_at.take() {
                self.expiries.remove(&(expires_at, conn));
            }
        }
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let Some(member) = group.members.remove(&conn) else {
            return;
        };
        group.touched_at = now.mono;
        let others = group.chatting();
        if group.is_orphan && group.members.is_empty() {
            self.groups.remove(name);
        }
        self.tell_many(others, user_event(UserKind::Delete, &member));
        self.settle_voices(name);
        self.recording_after(name, conn, now);
    }

    /// Tells a member that it is out, and takes it out.
    pub(super) fn kick(
        &mut self,
        name: &GroupName,
        conn: ConnId,
        by: Option<(ClientId, Username)>,
        message: String,
        now: Now,
    ) {
        let Some(member) = self.groups.get(name).and_then(|group| group.members.get(&conn)) else {
            return;
        };
        let dest = member.id.clone();
        let who = by.as_ref().map(|(id, username)| match username.as_str() {
            "" => id.as_str().to_owned(),
            username => username.to_owned(),
        });
        self.note(name, conn, What::Kicked { by: who, message: message.clone() });
        self.tell(conn, Event::Kicked { by, dest, message });
        self.remove_member(name, conn, now);
    }
}
