//! What members do to each other and to their group. Every action names the permission it needs.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    ActionRequest, Event, GROUP_DATA_BYTES_MAX, Hub, Message, Shared, USER_DATA_BYTES_MAX, merge,
};
use crate::group::Group;
use crate::ids::{ClientId, ConnId};
use crate::member::Member;
use crate::name::{GroupName, Username};
use crate::permission::{MESSAGE, OP, PRESENT, RECORD};
use crate::time::Now;

/// The longest text of a kick or a lock.
const TEXT_BYTES_MAX: usize = 4 * 1024;

const JOIN_FIRST: &str = "join a group first";
/// The answer to whoever lacks the permission.
pub(super) const NOT_AUTHORISED_TEXT: &str = "not authorised";

/// Why an action was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The member is told and goes on.
    Error(&'static str),
    /// It has not the right to. It is told, unless it has been told already, and goes on.
    NotAuthorised {
        /// In plain words, if it is still to be told.
        text: Option<&'static str>,
    },
    /// The member is told, and its connection ends.
    Fatal(&'static str),
}

use Refusal::{Error, Fatal};

impl Refusal {
    /// For whoever lacks the permission, and has not been told.
    pub(super) const NOT_AUTHORISED: Self = Self::NotAuthorised { text: Some(NOT_AUTHORISED_TEXT) };
}

/// What an action adds to or takes from a member.
struct Change {
    add: &'static [&'static str],
    remove: &'static [&'static str],
}

impl Change {
    /// What an action of this kind does, in a group that allows recording or not.
    fn of(kind: &str, records: bool) -> Self {
        match kind {
            "op" if records => Self { add: &[OP, RECORD], remove: &[] },
            "op" => Self { add: &[OP], remove: &[] },
            "unop" => Self { add: &[], remove: &[OP, RECORD] },
            "present" => Self { add: &[PRESENT], remove: &[] },
            "unpresent" => Self { add: &[], remove: &[PRESENT] },
            "shutup" => Self { add: &[], remove: &[MESSAGE] },
            _ => Self { add: &[MESSAGE], remove: &[] },
        }
    }

    fn make(&self, member: &mut Member) {
        for permission in self.add {
            member.permissions.add(permission);
        }
        for permission in self.remove {
            member.permissions.remove(permission);
        }
    }
}

impl Hub {
    /// One member acts on another, or on itself.
    pub fn user_action(
        &mut self,
        conn: ConnId,
        action: ActionRequest,
        now: Now,
    ) -> Result<(), Refusal> {
        let name = self.shared.place_of(conn).cloned().ok_or(Error(JOIN_FIRST))?;
        let done = self.within(&name, |group, shared| group.user_action(shared, conn, action, now));
        done.unwrap_or(Err(Error(JOIN_FIRST)))
    }

    /// A member acts on its group.
    pub fn group_action(
        &mut self,
        conn: ConnId,
        action: ActionRequest,
        now: Now,
    ) -> Result<(), Refusal> {
        let name = self.shared.place_of(conn).cloned().ok_or(Error(JOIN_FIRST))?;
        // The only one that is about other groups as well.
        let lists_subgroups = action.kind == "subgroups";
        let done = self.within(&name, |group, shared| {
            group.charge_action(conn, &action.kind, now)?;
            group.group_action(shared, conn, action, now)
        });
        done.unwrap_or(Err(Error(JOIN_FIRST)))?;
        if lists_subgroups {
            self.list_subgroups(&name, conn, now);
        }
        Ok(())
    }

    fn list_subgroups(&mut self, name: &GroupName, conn: ConnId, now: Now) {
        let below = self.groups.values();
        let below = below.filter(|group| group.name.is_below(name) && !group.members.is_empty());
        let mut lines: Vec<String> = below
            .map(|group| {
                let count = group.members.len();
                let plural = if count == 1 { "" } else { "s" };
                format!("{} ({count} client{plural})\n", group.name.as_str())
            })
            .collect();
        lines.sort();
        let message = Message {
            username: Username::parse("Server").ok(),
            dest: self.member(conn).map(|member| member.id.clone()),
            time: now.unix.to_rfc3339(),
            value: Some(lines.concat().into()),
            ..Message::default()
        };
        self.shared.tell(conn, Event::Chat(Arc::new(message)));
    }
}

impl Group {
    fn user_action(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        action: ActionRequest,
        now: Now,
    ) -> Result<(), Refusal> {
        let member = self.members.get_mut(&conn).ok_or(Error(JOIN_FIRST))?;
        let kind = action.kind.as_str();
        let is_known = matches!(
            kind,
            "op" | "unop"
                | "present"
                | "unpresent"
                | "shutup"
                | "unshutup"
                | "kick"
                | "identify"
                | "admit"
                | "refuse"
                | "setdata"
                | "consent"
        );
        // Not an answer to go on with: the client speaks another protocol than we do.
        if !is_known {
            return Err(Fatal("unknown user action"));
        }
        if !member.chat_budget.take(now.mono) {
            return Err(Error("too many messages, slow down"));
        }
        if kind == "setdata" {
            return self.set_user_data(shared, conn, &action);
        }
        if kind == "consent" {
            return self.consent(shared, conn, &action);
        }
        if !member.may(OP) {
            return Err(Refusal::NOT_AUTHORISED);
        }
        let by = (member.id.clone(), member.username.clone());
        let dest = self.find(&action.dest);
        match kind {
            "admit" => self.answer_knock(shared, &action.dest, None, now),
            "refuse" => {
                let text = text_of(action.value)?;
                self.answer_knock(shared, &action.dest, Some(text), now)
            }
            "kick" => {
                let dest = dest.ok_or(Error("no such user"))?;
                let text = text_of(action.value)?;
                self.remove(shared, dest, Some(by), text, now);
                Ok(())
            }
            "identify" => {
                let dest = dest.ok_or(Error("client not found"))?;
                self.identify(shared, conn, by, dest)
            }
            _ => {
                let dest = dest.ok_or(Error("no such user"))?;
                self.change_permissions(shared, dest, kind)?;
                if kind == "op" {
                    self.tell_waiting(shared, dest);
                    self.open_door(shared, now);
                }
                Ok(())
            }
        }
    }

    /// Gives or takes what an action of this kind does, with all that follows from that.
    fn change_permissions(
        &mut self,
        shared: &mut Shared,
        dest: ConnId,
        kind: &str,
    ) -> Result<(), Refusal> {
        let records = self.description.flags.allow_recording;
        let member = self.members.get_mut(&dest).ok_or(Error("no such user"))?;
        // Behind WHIP and WHEP is nobody who could do with it what a person does.
        if !member.traits.chats {
            return Err(Error("this is not a real user"));
        }
        Change::of(kind, records).make(member);
        let may_present = member.may(PRESENT);
        self.tell_user_changed(shared, dest, true);
        self.follow_consent(shared, dest);
        // After it has learnt why.
        if !may_present {
            self.close_all_ups(shared, dest, Some("permission denied"));
        }
        Ok(())
    }

    /// Tells a member who another one is, and that one that it has been told.
    fn identify(
        &self,
        shared: &mut Shared,
        conn: ConnId,
        by: (ClientId, Username),
        dest: ConnId,
    ) -> Result<(), Refusal> {
        let member = self.members.get(&dest).ok_or(Error("client not found"))?;
        let mut value = Map::new();
        value.insert("id".into(), member.id.as_str().into());
        if !member.username.as_str().is_empty() {
            value.insert("username".into(), member.username.as_str().into());
        }
        if let Some(address) = &member.traits.address {
            value.insert("address".into(), address.as_str().into());
        }
        shared.tell_as_server(conn, "userinfo", Value::Object(value));
        if member.traits.chats && dest != conn {
            let caller = if by.1.as_str().is_empty() { by.0.as_str() } else { by.1.as_str() };
            let has_address = member.traits.address.is_some();
            let what = if has_address { "Your IP address" } else { "Your id" };
            shared.tell_as_server(
                dest,
                "warning",
                json!(format!("{what} has been communicated to user {caller}.")),
            );
        }
        Ok(())
    }

    /// A member changes what it shows of itself.
    fn set_user_data(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        action: &ActionRequest,
    ) -> Result<(), Refusal> {
        let member = self.members.get_mut(&conn).ok_or(Error(JOIN_FIRST))?;
        if action.dest != member.id.as_str() {
            return Err(Refusal::NOT_AUTHORISED);
        }
        let Some(Value::Object(update)) = &action.value else {
            return Err(Error("Bad value in setdata"));
        };
        let had_hand = member.has_hand_up();
        if !merge(&mut member.data, update, USER_DATA_BYTES_MAX) {
            return Err(Error("the data is too large"));
        }
        let has_hand = member.has_hand_up();
        if had_hand != has_hand {
            self.note_member(shared, conn, if has_hand { "hand-up" } else { "hand-down" });
        }
        self.tell_user_changed(shared, conn, false);
        Ok(())
    }

    /// Whether a member may do this to its group now. What it may do costs it of its budget.
    fn charge_action(&mut self, conn: ConnId, kind: &str, now: Now) -> Result<(), Refusal> {
        let member = self.members.get_mut(&conn).ok_or(Error(JOIN_FIRST))?;
        let may = match kind {
            "clearchat" | "lock" | "unlock" | "subgroups" | "setdata" => member.may(OP),
            "record" | "unrecord" => member.may(RECORD),
            // Tokens have rules and refusals of their own.
            "maketoken" | "edittoken" | "listtokens" => true,
            _ => return Err(Fatal("unknown group action")),
        };
        if !may {
            return Err(Refusal::NOT_AUTHORISED);
        }
        if !member.chat_budget.take(now.mono) {
            return Err(Error("too many messages, slow down"));
        }
        Ok(())
    }

    /// Does what [`Self::charge_action`] has let pass.
    fn group_action(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        action: ActionRequest,
        now: Now,
    ) -> Result<(), Refusal> {
        match action.kind.as_str() {
            "record" => return self.record(shared, conn, now),
            "unrecord" => self.unrecord(shared, now),
            "maketoken" | "edittoken" | "listtokens" => {
                return self.token_action(shared, conn, &action, now);
            }
            "clearchat" => return self.clear_chat(shared, action.value).map_err(Error),
            "setdata" => {
                self.set_data(&action)?;
                self.tell_changed(shared, true);
            }
            "lock" => self.set_lock(shared, Some(text_of(action.value)?), now),
            "unlock" => self.set_lock(shared, None, now),
            _ => {}
        }
        Ok(())
    }

    /// An operator changes what is known to all of the group.
    fn set_data(&mut self, action: &ActionRequest) -> Result<(), Refusal> {
        let Some(Value::Object(update)) = &action.value else {
            return Err(Error("Bad value in setdata"));
        };
        if !merge(&mut self.data, update, GROUP_DATA_BYTES_MAX) {
            return Err(Error("the data is too large"));
        }
        Ok(())
    }
}

/// The words that go with an action; what is no text is none, and hinders nothing.
fn text_of(value: Option<Value>) -> Result<String, Refusal> {
    match value {
        Some(Value::String(text)) if text.len() <= TEXT_BYTES_MAX => Ok(text),
        Some(Value::String(_)) => Err(Error("the message is too long")),
        _ => Ok(String::new()),
    }
}
