//! What an administrator does to a group from outside: look who is there, send somebody out, mute,
//! lock, end a stream, say something. The same happens as if an operator did it.

use serde_json::{Map, Value, json};

use super::{Event, Hub, Shared};
use crate::group::{Group, Lock};
use crate::ids::{ConnId, StreamId};
use crate::name::GroupName;
use crate::permission::OP;
use crate::time::Now;

/// The longest text that is said to people.
const TEXT_BYTES_MAX: usize = 4 * 1024;

/// What an administrator may do to a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Send a member out.
    Kick {
        /// The client id of the member.
        client: String,
        /// Why; may be empty.
        message: String,
    },
    /// Ask a member's client, or everybody's but operators', to mute its microphone.
    Mute {
        /// The client id of the member; nothing for all.
        client: Option<String>,
    },
    /// Let nobody in but operators.
    Lock {
        /// What those at the door are told; may be empty.
        message: String,
    },
    /// Let people in again.
    Unlock,
    /// End a stream of a member.
    CloseStream {
        /// The client id of the member.
        client: String,
        /// The id of the stream.
        stream: String,
    },
    /// Say something to a member, or to all.
    Say {
        /// The client id of the member; nothing for all.
        client: Option<String>,
        /// The text, shown as it is.
        message: String,
    },
}

/// Why that could not be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotDone {
    /// The group is not in memory: nobody is in it.
    NoGroup,
    /// It has no member of that id.
    NoMember,
    /// The member has no stream of that id.
    NoStream,
    /// The text is too long.
    TooLong,
}

impl Hub {
    /// The members of a group in memory, as JSON, sorted by id.
    pub fn members(&self, name: &GroupName) -> Option<Value> {
        let group = self.groups.get(name)?;
        let mut members: Vec<_> = group.members.values().collect();
        members.sort_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
        let listed = members.into_iter().map(|member| {
            let streams = member.ups.iter().map(|(stream, up)| {
                json!({
                    "id": stream.as_str(),
                    "label": up.label,
                    "live": up.is_announced,
                })
            });
            let mut fields = Map::new();
            fields.insert("id".into(), member.id.as_str().into());
            fields.insert("username".into(), member.username.as_str().into());
            fields.insert("permissions".into(), member.permissions.as_slice().into());
            fields.insert("streams".into(), streams.collect());
            // WHIP and WHEP sessions have nobody who reads a message.
            fields.insert("chats".into(), member.traits.chats.into());
            Value::Object(fields)
        });
        Some(listed.collect())
    }

    /// Does something to a group.
    pub fn operate(
        &mut self,
        name: &GroupName,
        operation: Operation,
        now: Now,
    ) -> Result<(), NotDone> {
        let done = self.within(name, |group, shared| group.operate(shared, operation, now));
        done.unwrap_or(Err(NotDone::NoGroup))
    }
}

impl Group {
    fn operate(
        &mut self,
        shared: &mut Shared,
        operation: Operation,
        now: Now,
    ) -> Result<(), NotDone> {
        match operation {
            Operation::Kick { message, .. }
            | Operation::Lock { message }
            | Operation::Say { message, .. }
                if message.len() > TEXT_BYTES_MAX =>
            {
                return Err(NotDone::TooLong);
            }
            Operation::Kick { client, message } => {
                let conn = self.known(&client)?;
                self.remove(shared, conn, None, message, now);
            }
            Operation::Mute { client: Some(client) } => {
                shared.tell_as_server(self.known(&client)?, "mute", Value::Null);
            }
            Operation::Mute { client: None } => {
                for (conn, member) in &self.members {
                    if member.traits.chats && !member.may(OP) {
                        shared.tell_as_server(*conn, "mute", Value::Null);
                    }
                }
            }
            Operation::Lock { message } => self.set_lock(shared, Some(message), now),
            Operation::Unlock => self.set_lock(shared, None, now),
            Operation::CloseStream { client, stream } => {
                let conn = self.known(&client)?;
                let stream = StreamId::parse(&stream).map_err(|_| NotDone::NoStream)?;
                let member = self.members.get(&conn).ok_or(NotDone::NoMember)?;
                if !member.ups.contains_key(&stream) {
                    return Err(NotDone::NoStream);
                }
                self.close_up(shared, conn, &stream, true);
                shared.tell(conn, Event::Abort { stream });
                shared.tell_error(conn, "an administrator has ended this stream");
            }
            Operation::Say { client, message } => {
                let to = match client {
                    Some(client) => vec![self.known(&client)?],
                    None => self.chatting(),
                };
                for conn in to {
                    shared.tell(conn, Event::Warning { text: message.clone() });
                }
            }
        }
        Ok(())
    }

    /// The member of this client id.
    fn known(&self, client: &str) -> Result<ConnId, NotDone> {
        self.find(client).ok_or(NotDone::NoMember)
    }

    /// Locks it, or opens it also for those who wait, and tells its members.
    pub(super) fn set_lock(&mut self, shared: &mut Shared, lock: Option<String>, now: Now) {
        self.lock = lock.map(Lock::BySomebody);
        self.tell_changed(shared, true);
        self.open_door(shared, now);
    }
}
