//! Knocking: who finds the door locked waits there if its client knows how to, until an operator lets it in,
//! the group is unlocked, or an operator comes where one is needed. Ours, not Galene's.

use std::time::Duration;

use super::action::Refusal;
use super::refused::{Claim, Refused};
use super::{Event, Failure, Hub, Joined, JoinedKind, Place, Shared, UserKind};
use crate::door::{Entrant, Title};
use crate::group::Group;
use crate::ids::ConnId;
use crate::name::GroupName;
use crate::permission::OP;
use crate::time::Now;

/// What those read who were not let in, unless the operator has found other words.
const REFUSED_TEXT: &str = "you were not let in";
/// As many come in at once, and so long before as many more do.
const AT_ONCE_MAX: usize = 20;
const OPENING_INTERVAL: Duration = Duration::from_millis(100);
/// What operators read who come too late.
const NOBODY: Refusal = Refusal::Error("this user does not wait any more");

impl Hub {
    /// The group at whose door a connection waits.
    pub(super) fn waits_for(&self, conn: ConnId) -> Option<&GroupName> {
        match &self.shared.clients.get(&conn)?.place {
            Place::Waiting(name) => Some(name),
            Place::Outside | Place::Joining(_) | Place::In(_) => None,
        }
    }

    /// A connection gives up waiting, if it waits.
    pub(super) fn stop_waiting(&mut self, conn: ConnId) {
        if let Some(name) = self.waits_for(conn).cloned() {
            self.within(&name, |group, shared| group.take_from_door(shared, conn));
            self.shared.put_outside(conn);
        }
    }

    /// Somebody has lost its token: it waits no longer, if it does.
    pub(super) fn turn_away_revoked(&mut self, conn: ConnId, text: &str) {
        if let Some(name) = self.waits_for(conn).cloned() {
            let refused = Refused::new(Failure::NotAuthorised, text);
            self.within(&name, |group, shared| group.turn_away(shared, conn, refused));
        }
    }
}

impl Group {
    /// The door is locked for somebody who knows how to wait.
    pub(super) fn wait(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        entrant: Entrant,
        why: String,
    ) -> Result<(), Refused> {
        let waits = Joined {
            username: Some(entrant.username.clone()),
            value: Some(why.clone()),
            ..Joined::new(JoinedKind::Wait, &entrant.group)
        };
        let event = knock_event(UserKind::Add, &entrant);
        if !self.door.wait(conn, entrant) {
            return Err(Refused(Failure::Locked, why));
        }
        if let Some(client) = shared.clients.get_mut(&conn) {
            client.place = Place::Waiting(self.name.clone());
        }
        shared.tell(conn, Event::Joined(Box::new(waits)));
        shared.tell_many(self.doorkeepers(), event);
        Ok(())
    }

    /// Tells an operator who waits.
    pub(super) fn tell_waiting(&self, shared: &mut Shared, conn: ConnId) {
        if self.doorkeepers().contains(&conn) {
            for (_, entrant) in self.door.waiting() {
                shared.tell(conn, knock_event(UserKind::Add, entrant));
            }
        }
    }

    /// Lets those in for whom the door has opened: some now, the others soon. Each is news to all members, and
    /// the other groups wait meanwhile.
    pub(super) fn open_door(&mut self, shared: &mut Shared, now: Now) {
        let waiting: Vec<(ConnId, Title)> =
            self.door.waiting().map(|(conn, entrant)| (conn, entrant.title)).collect();
        for (number, (conn, title)) in waiting.into_iter().enumerate() {
            match self.check_open(title, now.unix) {
                Ok(()) if number >= AT_ONCE_MAX => {
                    shared.openings.insert((now.mono + OPENING_INTERVAL, self.name.clone()));
                    return;
                }
                Ok(()) => self.let_in(shared, conn, now),
                Err(Refused(Failure::Locked, _)) => {}
                Err(refused) => self.turn_away(shared, conn, refused),
            }
        }
    }

    /// The file says something else than when those who wait were looked at.
    pub(super) fn look_again_at_waiting(&mut self, shared: &mut Shared) {
        let description = &self.description;
        let is_elsewhere = description.listing.redirect.is_some();
        let mut lost = Vec::new();
        for (conn, entrant) in self.door.waiting_mut() {
            let user = description.user(entrant.username.as_str());
            match user.filter(|user| user.password.is_some()) {
                _ if is_elsewhere => lost.push(conn),
                _ if !entrant.is_of_file => {}
                Some(user) => entrant.permissions = description.permissions(user),
                None => lost.push(conn),
            }
        }
        for conn in lost {
            self.turn_away(shared, conn, Refused::not_authorised());
        }
    }

    /// Turns all away who wait.
    pub(super) fn close_door(&mut self, shared: &mut Shared, refused: &Refused) {
        let waiting: Vec<ConnId> = self.door.waiting().map(|(conn, _)| conn).collect();
        for conn in waiting {
            self.turn_away(shared, conn, refused.clone());
        }
    }

    /// An operator answers who waits under this id.
    pub(super) fn answer_knock(
        &mut self,
        shared: &mut Shared,
        id: &str,
        refusal: Option<String>,
        now: Now,
    ) -> Result<(), Refusal> {
        let conn = self.door.find(id).ok_or(NOBODY)?;
        if let Some(text) = refusal {
            let text = if text.is_empty() { REFUSED_TEXT.to_owned() } else { text };
            self.turn_away(shared, conn, Refused(Failure::Closed, text));
            return Ok(());
        }
        match self.check_open(Title::Admitted, now.unix) {
            Ok(()) => self.let_in(shared, conn, now),
            // It goes on waiting: that may change.
            Err(Refused(Failure::Full, _)) => return Err(Refusal::Error("too many users")),
            Err(refused) => self.turn_away(shared, conn, refused),
        }
        Ok(())
    }

    fn let_in(&mut self, shared: &mut Shared, conn: ConnId, now: Now) {
        if let Some(entrant) = self.take_from_door(shared, conn) {
            self.enter(shared, conn, entrant, now);
        }
    }

    fn turn_away(&mut self, shared: &mut Shared, conn: ConnId, refused: Refused) {
        if let Some(entrant) = self.take_from_door(shared, conn) {
            let claim = Claim {
                group: entrant.group,
                client: entrant.id.as_str().to_owned(),
                username: entrant.username.as_str().to_owned(),
            };
            shared.refuse(conn, claim, refused);
        }
    }

    /// Operators no longer see somebody wait.
    fn take_from_door(&mut self, shared: &mut Shared, conn: ConnId) -> Option<Entrant> {
        let entrant = self.door.take(conn)?;
        shared.tell_many(self.doorkeepers(), knock_event(UserKind::Delete, &entrant));
        Some(entrant)
    }

    /// The operators who are told who waits.
    fn doorkeepers(&self) -> Vec<ConnId> {
        let ops = self.members.iter();
        let ops = ops.filter(|(_, member)| member.may(OP) && member.traits.knocks);
        ops.map(|(conn, _)| *conn).collect()
    }
}

fn knock_event(kind: UserKind, entrant: &Entrant) -> Event {
    Event::Knock { kind, id: entrant.id.clone(), username: entrant.username.clone() }
}
