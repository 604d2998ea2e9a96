//! Chat and messages between user interfaces.

use std::sync::Arc;

use serde_json::Value;

use super::{Event, Hub, Message, Shared};
use crate::group::Group;
use crate::ids::{ClientId, ConnId};
use crate::member::Member;
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
        let said = match self.at(conn) {
            Some((group, shared)) => group.speak(shared, conn, utterance, now),
            None => Err("join a group first"),
        };
        if let Err(text) = said {
            self.shared.tell_error(conn, text);
        }
    }
}

impl Member {
    /// Signs what it says, if it may say that. Gives the message's size as well, in bytes.
    fn sign(&mut self, utterance: Utterance, now: Now) -> Result<(Message, usize), &'static str> {
        let is_caption = utterance.is_chat && utterance.kind == "caption";
        if !self.may(if is_caption { CAPTION } else { MESSAGE }) {
            return Err("not authorised");
        }
        if !self.chat_budget.take(now.mono) {
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
        let message = Message {
            kind: utterance.kind,
            id: utterance.id,
            source: Some(self.id.clone()),
            username: Some(self.username.clone()),
            dest: None,
            is_privileged: self.may(OP),
            is_noecho: utterance.is_noecho,
            time: now.unix.to_rfc3339(),
            error: "",
            value: utterance.value,
        };
        Ok((message, bytes))
    }
}

impl Group {
    fn speak(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        mut utterance: Utterance,
        now: Now,
    ) -> Result<(), &'static str> {
        let (is_chat, dest) = (utterance.is_chat, std::mem::take(&mut utterance.dest));
        let member = self.members.get_mut(&conn).ok_or("join a group first")?;
        let (mut message, bytes) = member.sign(utterance, now)?;
        if dest.is_empty() {
            if is_chat && message.id.is_empty() {
                message.id = shared.entropy.short_id();
            }
            self.broadcast(shared, conn, (is_chat, bytes), message, now);
            return Ok(());
        }
        // Its sender gets no copy: clients show their own, which has no id either.
        let dest = self.find(&dest).ok_or("user unknown")?;
        let member = self.members.get(&dest).ok_or("user unknown")?;
        if !member.traits.chats {
            return Err("this user doesn't chat");
        }
        message.dest = Some(member.id.clone());
        shared.tell(dest, said(is_chat, Arc::new(message)));
        Ok(())
    }

    fn broadcast(
        &mut self,
        shared: &mut Shared,
        sender: ConnId,
        (is_chat, bytes): (bool, usize),
        message: Message,
        now: Now,
    ) {
        let message = Arc::new(message);
        // Also without an echo and of any kind: newcomers read what all have read.
        if is_chat {
            let overhead = message.kind.len() + message.id.len() + 256;
            self.history.push(now.unix, bytes + overhead, message.clone());
        }
        let mut everyone = self.chatting();
        if message.is_noecho {
            everyone.retain(|conn| *conn != sender);
        }
        if is_chat {
            self.note_chat(shared, &message);
        }
        shared.tell_many(everyone, said(is_chat, message));
    }

    /// `clearchat`: nothing for all of it; or one user's messages; or one message.
    pub(super) fn clear_chat(
        &mut self,
        shared: &mut Shared,
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
        let is_by = |message: &Message, user: &str| {
            message.source.as_ref().map(ClientId::as_str) == Some(user)
        };
        match (user, id) {
            (None, None) => self.history.forget(|_| true),
            (Some(user), None) => self.history.forget(|message| is_by(message, &user)),
            (Some(user), Some(id)) => {
                self.history.forget(|message| message.id == id && is_by(message, &user));
            }
            (None, Some(_)) => return Err(BAD),
        }
        let message = Message {
            kind: "clearchat".to_owned(),
            is_privileged: true,
            value,
            ..Message::default()
        };
        shared.tell_many(self.chatting(), Event::UserMessage(Arc::new(message)));
        Ok(())
    }
}

fn said(is_chat: bool, message: Arc<Message>) -> Event {
    if is_chat { Event::Chat(message) } else { Event::UserMessage(message) }
}
