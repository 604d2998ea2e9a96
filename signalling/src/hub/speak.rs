//! Chat and messages between user interfaces.

use std::sync::Arc;

use serde_json::Value;

use super::{Event, Hub, Message, Recipients};
use crate::ids::{ClientId, ConnId};
use crate::name::GroupName;
use crate::permission::{CAPTION, MESSAGE, OP};
use crate::time::Now;

/// The largest `value` of a message, as JSON. It goes to every member and into the history.
const VALUE_BYTES_MAX: usize = 64 * 1024;
/// The longest `kind` and `id` of a message.
const WORD_BYTES_MAX: usize = 256;

/// What a member says, before the server has signed it.
#[derive(Clone, Debug, Default)]
pub struct Utterance {
    /// Chat, or a message for the user interface.
    pub is_chat: bool,
    /// Free, such as `me`.
    pub kind: String,
    /// Chosen by its sender; chat without one gets one of ours.
    pub id: String,
    /// The client id of the receiver; empty for everyone.
    pub dest: String,
    /// No copy for the sender.
    pub is_noecho: bool,
    /// The text, or whatever user interfaces agree on.
    pub value: Option<Value>,
}

impl Hub {
    /// A member speaks. Errors come back as [`Event::Error`].
    pub fn speak(&mut self, conn: ConnId, utterance: Utterance, now: Now) {
        if let Err(text) = self.try_speak(conn, utterance, now) {
            self.tell_error(conn, text);
        }
    }

    fn try_speak(
        &mut self,
        conn: ConnId,
        utterance: Utterance,
        now: Now,
    ) -> Result<(), &'static str> {
        let (name, member) = self.member_of(conn).ok_or("join a group first")?;
        let is_caption = utterance.is_chat && utterance.kind == "caption";
        if !member.may(if is_caption { CAPTION } else { MESSAGE }) {
            return Err("not authorised");
        }
        if !member.chat_budget.take(now.mono) {
            return Err("too many messages, slow down");
        }
        let value = utterance.value.as_ref();
        let bytes = value.and_then(|value| serde_json::to_string(value).ok());
        let bytes = bytes.map_or(0, |text| text.len());
        if bytes > VALUE_BYTES_MAX
            || utterance.kind.len() > WORD_BYTES_MAX
            || utterance.id.len() > WORD_BYTES_MAX
        {
            return Err("the message is too long");
        }
        let mut message = Message {
            kind: utterance.kind,
            id: utterance.id,
            source: Some(member.id.clone()),
            username: Some(member.username.clone()),
            dest: None,
            is_privileged: member.may(OP),
            is_noecho: utterance.is_noecho,
            time: now.unix.to_rfc3339(),
            error: "",
            value: utterance.value,
        };
        if utterance.dest.is_empty() {
            if utterance.is_chat && message.id.is_empty() {
                message.id = self.entropy.short_id();
            }
            self.broadcast(&name, conn, utterance.is_chat, bytes, message, now);
            return Ok(());
        }
        let group = self.groups.get(&name).ok_or("join a group first")?;
        let dest = group.find(&utterance.dest).ok_or("user unknown")?;
        let member = group.members.get(&dest).ok_or("user unknown")?;
        if !member.traits.chats {
            return Err("this user doesn't chat");
        }
        message.dest = Some(member.id.clone());
        let event = said(utterance.is_chat, Arc::new(message));
        self.tell(dest, event);
        Ok(())
    }

    fn broadcast(
        &mut self,
        name: &GroupName,
        sender: ConnId,
        is_chat: bool,
        bytes: usize,
        message: Message,
        now: Now,
    ) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let message = Arc::new(message);
        if is_chat {
            let overhead = message.kind.len() + message.id.len() + 256;
            group.history.push(now.unix, bytes + overhead, message.clone());
        }
        let mut everyone = group.chatting();
        if message.is_noecho {
            everyone.retain(|conn| *conn != sender);
        }
        if is_chat {
            self.note_chat(name, &message);
        }
        self.tell_many(everyone, said(is_chat, message));
    }

    /// A message from the server to one member's user interface.
    pub(super) fn tell_as_server(&mut self, conn: ConnId, kind: &str, value: Value) {
        let message = Message {
            kind: kind.to_owned(),
            is_privileged: true,
            value: Some(value),
            ..Message::default()
        };
        self.tell(conn, Event::UserMessage(Arc::new(message)));
    }

    /// `clearchat`: nothing for all of it; or one user's messages; or one message.
    pub(super) fn clear_chat(
        &mut self,
        name: &GroupName,
        value: Option<Value>,
    ) -> Result<(), &'static str> {
        const BAD: &str = "bad value in clearchat";
        let field = |key: &str| match value.as_ref().and_then(|value| value.get(key)) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(BAD),
        };
        if !matches!(value, None | Some(Value::Object(_))) {
            return Err(BAD);
        }
        let (user, id) = (field("userId")?, field("id")?);
        let group = self.groups.get_mut(name).ok_or(BAD)?;
        let is_by = |message: &Message, user: &str| {
            message.source.as_ref().map(ClientId::as_str) == Some(user)
        };
        match (user, id) {
            (None, None) => group.history.forget(|_| true),
            (Some(user), None) => group.history.forget(|message| is_by(message, &user)),
            (Some(user), Some(id)) => {
                group.history.forget(|message| message.id == id && is_by(message, &user));
            }
            (None, Some(_)) => return Err(BAD),
        }
        let everyone = group.chatting();
        let message = Message {
            kind: "clearchat".to_owned(),
            is_privileged: true,
            value,
            ..Message::default()
        };
        let event = Event::UserMessage(Arc::new(message));
        self.outputs.push_back(super::Output::Event(Recipients::Many(everyone), event));
        Ok(())
    }
}

fn said(is_chat: bool, message: Arc<Message>) -> Event {
    if is_chat { Event::Chat(message) } else { Event::UserMessage(message) }
}
