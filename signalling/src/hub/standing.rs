//! What members are told of their standing, of each other and of their group; and what is written down
//! of them.

use serde_json::{Map, Value};

use super::{Event, Happening, Joined, JoinedKind, Output, Shared, UserKind, What};
use crate::group::Group;
use crate::ids::ConnId;
use crate::member::Member;
use crate::name::GroupName;

impl Group {
    /// Notes what has happened to a member.
    pub(super) fn note(&self, shared: &mut Shared, conn: ConnId, what: What) {
        let Some(member) = self.members.get(&conn) else {
            return;
        };
        let happening = Happening {
            what,
            group: self.name.as_str().to_owned(),
            client: member.id.as_str().to_owned(),
            username: member.username.as_str().to_owned(),
        };
        shared.outputs.push_back(Output::Happened(Box::new(happening)));
    }

    /// Tells every member of its standing and the group's, each with its own permissions.
    pub(super) fn tell_changed(&self, shared: &mut Shared, with_data: bool) {
        let status = shared.status_of(self);
        let data = if with_data { self.data.clone() } else { Map::new() };
        for (conn, member) in self.members.iter().filter(|(_, member)| member.traits.chats) {
            let event = changed(&self.name, member, status.clone(), data.clone());
            shared.tell(*conn, event);
        }
    }

    /// Tells one member of its own standing, and everyone of that member.
    pub(super) fn tell_user_changed(
        &self,
        shared: &mut Shared,
        conn: ConnId,
        is_permissions: bool,
    ) {
        let Some(member) = self.members.get(&conn) else {
            return;
        };
        if is_permissions && member.traits.chats {
            let own = changed(&self.name, member, shared.status_of(self), Map::new());
            shared.tell(conn, own);
        }
        shared.tell_many(self.chatting(), user_event(UserKind::Change, member));
    }
}

fn changed(
    name: &GroupName,
    member: &Member,
    status: Map<String, Value>,
    data: Map<String, Value>,
) -> Event {
    Event::Joined(Box::new(Joined {
        kind: JoinedKind::Change,
        group: name.as_str().to_owned(),
        username: Some(member.username.clone()),
        permissions: member.permissions.clone(),
        status: Some(status),
        data,
        failure: None,
        value: None,
    }))
}

/// Tells members that somebody is there, has changed, or is gone.
pub(super) fn user_event(kind: UserKind, member: &Member) -> Event {
    let is_delete = kind == UserKind::Delete;
    Event::User {
        kind,
        id: member.id.clone(),
        username: member.username.clone(),
        permissions: if is_delete { Default::default() } else { member.permissions.clone() },
        data: if is_delete { Map::new() } else { member.public_data() },
    }
}
