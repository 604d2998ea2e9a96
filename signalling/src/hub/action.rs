//! What members do to each other and to their group. Every action names the permission it needs.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{ActionRequest, Event, GROUP_DATA_BYTES_MAX, Hub, Message, USER_DATA_BYTES_MAX, merge};
use crate::group::Group;
use crate::ids::{ClientId, ConnId};
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

impl Group {
    /// Gives or takes what an action of this kind does. Says whether the member may publish then.
    fn change_permissions(&mut self, dest: ConnId, kind: &str) -> Result<bool, Refusal> {
        let records = self.description.flags.allow_recording;
        let member = self.members.get_mut(&dest).ok_or(Error("no such user"))?;
        // Behind WHIP and WHEP is nobody who could do with it what a person does.
        if !member.traits.chats {
            return Err(Error("this is not a real user"));
        }
        let change = match kind {
            "op" if records => Change { add: &[OP, RECORD], remove: &[] },
            "op" => Change { add: &[OP], remove: &[] },
            "unop" => Change { add: &[], remove: &[OP, RECORD] },
            "present" => Change { add: &[PRESENT], remove: &[] },
            "unpresent" => Change { add: &[], remove: &[PRESENT] },
            "shutup" => Change { add: &[], remove: &[MESSAGE] },
            _ => Change { add: &[MESSAGE], remove: &[] },
        };
        for permission in change.add {
            member.permissions.add(permission);
        }
        for permission in change.remove {
            member.permissions.remove(permission);
        }
        Ok(member.may(PRESENT))
    }

    /// A member changes what it shows of itself. Says so if its hand goes up or down by that.
    fn set_user_data(
        &mut self,
        conn: ConnId,
        action: &ActionRequest,
    ) -> Result<Option<bool>, Refusal> {
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
        Ok((had_hand != has_hand).then_some(has_hand))
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

impl Hub {
    /// One member acts on another, or on itself.
    pub fn user_action(
        &mut self,
        conn: ConnId,
        action: ActionRequest,
        now: Now,
    ) -> Result<(), Refusal> {
        let (name, member) = self.member_of(conn).ok_or(Error(JOIN_FIRST))?;
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
            return self.set_user_data(&name, conn, &action);
        }
        if kind == "consent" {
            return self.consent(&name, conn, &action);
        }
        if !member.may(OP) {
            return Err(Refusal::NOT_AUTHORISED);
        }
        let by = (member.id.clone(), member.username.clone());
        let Some(group) = self.groups.get(&name) else {
            return Err(Error(JOIN_FIRST));
        };
        let dest = group.find(&action.dest);
        match kind {
            "kick" => {
                let dest = dest.ok_or(Error("no such user"))?;
                let text = text_of(action.value)?;
                self.kick(&name, dest, Some(by), text, now);
                self.settle(&name, now);
                Ok(())
            }
            "identify" => self.identify(&name, conn, by, dest.ok_or(Error("client not found"))?),
            _ => self.change_permissions(&name, dest.ok_or(Error("no such user"))?, kind),
        }
    }

    fn change_permissions(
        &mut self,
        name: &GroupName,
        dest: ConnId,
        kind: &str,
    ) -> Result<(), Refusal> {
        let group = self.groups.get_mut(name).ok_or(Error(JOIN_FIRST))?;
        let may_present = group.change_permissions(dest, kind)?;
        self.tell_user_changed(name, dest, true);
        self.follow_consent(name, dest);
        if !may_present {
            self.close_all_ups(name, dest, Some("permission denied"));
        }
        Ok(())
    }

    fn identify(
        &mut self,
        name: &GroupName,
        conn: ConnId,
        by: (ClientId, Username),
        dest: ConnId,
    ) -> Result<(), Refusal> {
        let group = self.groups.get(name).ok_or(Error(JOIN_FIRST))?;
        let member = group.members.get(&dest).ok_or(Error("client not found"))?;
        let mut value = Map::new();
        value.insert("id".into(), member.id.as_str().into());
        if !member.username.as_str().is_empty() {
            value.insert("username".into(), member.username.as_str().into());
        }
        if let Some(address) = &member.traits.address {
            value.insert("address".into(), address.as_str().into());
        }
        let has_address = member.traits.address.is_some();
        let is_told = member.traits.chats && dest != conn;
        self.tell_as_server(conn, "userinfo", Value::Object(value));
        if is_told {
            let caller = if by.1.as_str().is_empty() { by.0.as_str() } else { by.1.as_str() };
            let what = if has_address { "Your IP address" } else { "Your id" };
            self.tell_as_server(
                dest,
                "warning",
                json!(format!("{what} has been communicated to user {caller}.")),
            );
        }
        Ok(())
    }

    fn set_user_data(
        &mut self,
        name: &GroupName,
        conn: ConnId,
        action: &ActionRequest,
    ) -> Result<(), Refusal> {
        let group = self.groups.get_mut(name).ok_or(Error(JOIN_FIRST))?;
        if let Some(is_up) = group.set_user_data(conn, action)? {
            self.note_member(name, conn, if is_up { "hand-up" } else { "hand-down" });
        }
        self.tell_user_changed(name, conn, false);
        Ok(())
    }

    /// A member acts on its group.
    pub fn group_action(
        &mut self,
        conn: ConnId,
        action: ActionRequest,
        now: Now,
    ) -> Result<(), Refusal> {
        let (name, member) = self.member_of(conn).ok_or(Error(JOIN_FIRST))?;
        let is_op = member.may(OP);
        let kind = action.kind.as_str();
        match kind {
            "clearchat" | "lock" | "unlock" | "subgroups" | "setdata" if !is_op => {
                return Err(Refusal::NOT_AUTHORISED);
            }
            "clearchat" | "lock" | "unlock" | "subgroups" | "setdata" => {
                if !member.chat_budget.take(now.mono) {
                    return Err(Error("too many messages, slow down"));
                }
            }
            "record" | "unrecord" if !member.may(RECORD) => return Err(Refusal::NOT_AUTHORISED),
            "record" | "unrecord" if !member.chat_budget.take(now.mono) => {
                return Err(Error("too many messages, slow down"));
            }
            "record" => return self.record(&name, conn, now),
            "unrecord" => {
                self.unrecord(&name, now);
                return Ok(());
            }
            "maketoken" | "edittoken" | "listtokens" => {
                if !member.chat_budget.take(now.mono) {
                    return Err(Error("too many messages, slow down"));
                }
                if self.token_action(&name, conn, &action, now) {
                    return Err(Refusal::NotAuthorised { text: None });
                }
                return Ok(());
            }
            _ => return Err(Fatal("unknown group action")),
        }
        match kind {
            "clearchat" => self.clear_chat(&name, action.value).map_err(Error),
            "subgroups" => {
                self.list_subgroups(&name, conn, now);
                Ok(())
            }
            "setdata" => {
                let group = self.groups.get_mut(&name).ok_or(Error(JOIN_FIRST))?;
                group.set_data(&action)?;
                self.tell_changed(&name, true);
                Ok(())
            }
            _ => {
                let lock = if kind == "lock" { Some(text_of(action.value)?) } else { None };
                self.set_lock(&name, lock);
                Ok(())
            }
        }
    }

    fn list_subgroups(&mut self, name: &GroupName, conn: ConnId, now: Now) {
        let mut lines: Vec<String> = self
            .groups
            .values()
            .filter(|group| group.name.is_below(name) && !group.members.is_empty())
            .map(|group| {
                let count = group.members.len();
                let plural = if count == 1 { "" } else { "s" };
                format!("{} ({count} client{plural})\n", group.name.as_str())
            })
            .collect();
        lines.sort();
        let Some(member) = self.groups.get(name).and_then(|group| group.members.get(&conn)) else {
            return;
        };
        let message = Message {
            username: Username::parse("Server").ok(),
            dest: Some(member.id.clone()),
            time: now.unix.to_rfc3339(),
            value: Some(lines.concat().into()),
            ..Message::default()
        };
        self.tell(conn, Event::Chat(Arc::new(message)));
    }
}

fn text_of(value: Option<Value>) -> Result<String, Refusal> {
    match value {
        None => Ok(String::new()),
        Some(Value::String(text)) if text.len() <= TEXT_BYTES_MAX => Ok(text),
        Some(Value::String(_)) => Err(Error("the message is too long")),
        Some(_) => Err(Error("the message must be text")),
    }
}
