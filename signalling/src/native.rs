//! Galene's native protocol as an adapter over the hub: one [`Session`] per WebSocket turns JSON
//! into wishes, and [`encode`] turns events into JSON.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;

use crate::encode::{KNOCK, NUMBERS, SPEAKERS, bare, encode, encode_message, out};
use crate::hub::{
    ActionRequest, Cause, Credentials, Event, Hub, JoinRequest, Joined, JoinedKind, Refusal,
    Secret, Utterance,
};
use crate::ids::{ConnId, StreamId};
use crate::message::Message;
use crate::name::Username;
use crate::stream::{Request, wishes_from_value};
use crate::time::Now;
use crate::wire::{Incoming, Outgoing, VERSION};

/// A client that has not said who it is by then is cut off.
const HANDSHAKE_FOR_MAX: Duration = Duration::from_secs(15);
/// How often silence is looked at.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// After this much silence the client is asked for a sign of life.
const SILENCE_BEFORE_PING: Duration = Duration::from_secs(20);
/// After this much silence it is given up.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// What a client may pipeline while its join is being decided; more ends the connection.
const INBOX_MESSAGES_MAX: usize = 256;
/// The same, in bytes: one message of the largest size.
const INBOX_BYTES_MAX: usize = 1024 * 1024;
/// What a handshake may want: to know who speaks, which Encodings of the client's own streams are of use,
/// to ask how its streams fare, and to wait at locked doors. All but the second are also types of messages.
const WANTS: [&str; 4] = [SPEAKERS, "encodings", NUMBERS, KNOCK];

/// WebSocket close codes (RFC 6455 s7.4.1).
pub(crate) mod code {
    pub(crate) const NORMAL: u16 = 1000;
    pub(crate) const GOING_AWAY: u16 = 1001;
    pub(crate) const PROTOCOL: u16 = 1002;
    pub(crate) const POLICY: u16 = 1008;
    pub(crate) const INTERNAL: u16 = 1011;
}

/// What a session does to its own connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Send this message, which is JSON.
    Text(String),
    /// Send a close frame, and end.
    Close {
        /// The code of the close frame (RFC 6455 s7.4).
        code: u16,
        /// At most 123 bytes.
        reason: String,
    },
    /// End without a close frame.
    Drop,
    /// Nothing for the client: the operator's log is to say that it tried something that is not
    /// its right.
    Audit(&'static str),
}

#[derive(Debug)]
enum State {
    /// Nothing has been said.
    New,
    /// The client has introduced itself under this id.
    Open(String),
    /// What still comes is ignored.
    Ended,
}

/// One client's side of the protocol.
#[derive(Debug)]
pub struct Session {
    conn: ConnId,
    state: State,
    since: Duration,
    heard_at: Duration,
    next_keepalive: Duration,
    /// The last name the server gave; messages that claim another are refused.
    username: String,
    /// What came while a join was being decided.
    inbox: VecDeque<String>,
    inbox_bytes: usize,
    /// What the message under way tried without the right to.
    audit: Option<&'static str>,
}

/// A message that ends the connection, and how.
enum Fault {
    /// The client is told, then closed with 1002.
    Protocol(&'static str),
    /// The client is told, then closed with 1000.
    Fatal(&'static str),
    /// Closed with 1011, without a word.
    Malformed,
}

impl Session {
    /// A connection that has just been made.
    pub fn new(conn: ConnId, now: Now) -> Self {
        Self {
            conn,
            state: State::New,
            since: now.mono,
            heard_at: now.mono,
            next_keepalive: now.mono + KEEPALIVE_INTERVAL,
            username: String::new(),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            audit: None,
        }
    }

    /// The id that the client gave; empty before that.
    pub fn id(&self) -> &str {
        if let State::Open(id) = &self.state { id } else { "" }
    }

    /// A message has come. It waits while a join is being decided.
    pub fn handle_text(&mut self, text: String, now: Now, hub: &mut Hub) -> Vec<Reply> {
        self.heard_at = now.mono;
        // What waits must not be overtaken by what came later.
        if !self.inbox.is_empty() || hub.is_joining(self.conn) {
            self.inbox_bytes += text.len();
            self.inbox.push_back(text);
            if self.inbox.len() > INBOX_MESSAGES_MAX || self.inbox_bytes > INBOX_BYTES_MAX {
                return self.end(code::POLICY, "too many messages while joining");
            }
            return Vec::new();
        }
        self.handle_now(&text, now, hub)
    }

    /// The next message that has waited, if its time has come.
    pub fn next_waiting(&mut self, hub: &Hub) -> Option<String> {
        if hub.is_joining(self.conn) {
            return None;
        }
        let text = self.inbox.pop_front()?;
        self.inbox_bytes -= text.len();
        Some(text)
    }

    /// Handles a message whose time has come.
    pub fn handle_now(&mut self, text: &str, now: Now, hub: &mut Hub) -> Vec<Reply> {
        let fault = match (&self.state, Incoming::parse(text)) {
            (State::Ended, _) => return Vec::new(),
            // Whoever does not even begin in our language has no use for a close frame; so Galene has it.
            (State::New, Err(_)) => {
                self.state = State::Ended;
                return vec![Reply::Drop];
            }
            (State::Open(_), Err(_)) => Fault::Malformed,
            (State::New, Ok(message)) => match self.shake_hands(message, hub) {
                Ok(replies) => return replies,
                Err(fault) => fault,
            },
            (State::Open(_), Ok(message)) => match self.handle(message, now, hub) {
                Ok(reply) => return self.take_audit().into_iter().chain(reply).collect(),
                Err(fault) => fault,
            },
        };
        let mut replies: Vec<Reply> = self.take_audit().into_iter().collect();
        replies.extend(match fault {
            Fault::Malformed => self.end(code::INTERNAL, ""),
            Fault::Protocol(text) => self.end_with_word(code::PROTOCOL, text),
            Fault::Fatal(text) => self.end_with_word(code::NORMAL, text),
        });
        replies
    }

    fn take_audit(&mut self) -> Option<Reply> {
        self.audit.take().map(Reply::Audit)
    }

    fn end(&mut self, code: u16, reason: &str) -> Vec<Reply> {
        self.state = State::Ended;
        self.inbox.clear();
        vec![Reply::Close { code, reason: reason.to_owned() }]
    }

    fn end_with_word(&mut self, code: u16, text: &str) -> Vec<Reply> {
        let error = Event::Error { text: text.to_owned(), cause: Cause::Other };
        let mut replies: Vec<Reply> =
            encode(&error, self.id(), &Value::Null).map(Reply::Text).into_iter().collect();
        replies.extend(self.end(code, text));
        replies
    }

    /// The connection has been given up by the hub.
    pub fn kicked(&mut self, by: Option<&Username>, message: &str) -> Vec<Reply> {
        let mut reason = "kicked out".to_owned();
        if !message.is_empty() {
            reason.push_str(&format!(" ({message})"));
        }
        if let Some(by) = by.filter(|by| !by.as_str().is_empty()) {
            reason.push_str(&format!(" by {}", by.as_str()));
        }
        self.end(code::NORMAL, close_reason(&reason))
    }

    /// The server is going away; those who are in no group are told, too.
    pub fn shut_down(&mut self, reason: &str) -> Vec<Reply> {
        if matches!(self.state, State::Ended) {
            return Vec::new();
        }
        self.end(code::GOING_AWAY, reason)
    }

    /// The hub has told this member its standing.
    pub fn joined(&mut self, joined: &Joined) {
        if let (JoinedKind::Join, Some(username)) = (joined.kind, &joined.username) {
            username.as_str().clone_into(&mut self.username);
        }
    }

    /// Ends what is silent for too long, and asks who is silent for a while.
    pub fn tick(&mut self, now: Now) -> Vec<Reply> {
        match self.state {
            State::Ended => return Vec::new(),
            State::New if now.mono >= self.since + HANDSHAKE_FOR_MAX => {
                self.state = State::Ended;
                return vec![Reply::Drop];
            }
            State::New | State::Open(_) => {}
        }
        if now.mono < self.next_keepalive {
            return Vec::new();
        }
        self.next_keepalive = now.mono + KEEPALIVE_INTERVAL;
        let silence = now.mono.saturating_sub(self.heard_at);
        if silence > SILENCE_MAX {
            return self.end(code::INTERNAL, "");
        }
        if silence > SILENCE_BEFORE_PING {
            return vec![Reply::Text(bare("ping"))];
        }
        Vec::new()
    }

    fn shake_hands(&mut self, message: Incoming, hub: &mut Hub) -> Result<Vec<Reply>, Fault> {
        if message.kind_of_message != "handshake" {
            return Err(Fault::Protocol("you must handshake first"));
        }
        let wants = WANTS.map(|known| message.wants.iter().any(|want| want == known));
        // Those that will be met: not every server knows them, and some end the connection of who asks.
        let met: Vec<&str> = WANTS
            .into_iter()
            .zip(wants)
            .filter_map(|(name, is_met)| is_met.then_some(name))
            .collect();
        let hello = Outgoing { version: &[VERSION], wants: &met, ..out("handshake") };
        let mut replies = vec![Reply::Text(hello.to_json())];
        if !message.version.iter().any(|version| version == VERSION) {
            let warning = Message {
                kind: "warning".to_owned(),
                is_privileged: true,
                value: Some("unknown protocol version, trying to continue".into()),
                ..Message::default()
            };
            replies.extend(encode_message("usermessage", &warning, "").map(Reply::Text));
        }
        if let Some(traits) = hub.traits_mut(self.conn) {
            [traits.follows_speakers, traits.spares_encodings, _, traits.knocks] = wants;
        }
        self.state = State::Open(message.id);
        Ok(replies)
    }

    fn handle(
        &mut self,
        message: Incoming,
        now: Now,
        hub: &mut Hub,
    ) -> Result<Option<Reply>, Fault> {
        let conn = self.conn;
        if !message.source.is_empty() && message.source != self.id() {
            self.audit = Some("spoofed client id");
            return Err(Fault::Protocol("spoofed client id"));
        }
        // The name is empty before the first join, and stays after a leave, for as long as no other join
        // gives another one.
        let kind = message.kind_of_message.as_str();
        if kind != "join" && message.username.as_ref().is_some_and(|name| *name != self.username) {
            self.audit = Some("spoofed username");
            return Err(Fault::Protocol("spoofed username"));
        }
        match kind {
            "ping" => return Ok(Some(Reply::Text(bare("pong")))),
            "pong" => {}
            "join" => self.handle_join(message, now, hub)?,
            "request" => {
                let request = message.request.as_ref();
                let request = request.map_or_else(|| Some(Request::default()), Request::from_value);
                match request {
                    Some(request) if hub.membership(conn).is_some() => {
                        hub.request(conn, request, now);
                    }
                    // Galene ends the connection for this and for what cannot be read.
                    Some(_) => return Ok(self.error("join a group first")),
                    None => return Ok(self.error("bad request")),
                }
            }
            "requestStream" => {
                let wishes = match &message.request {
                    None => None,
                    Some(value) => match wishes_from_value(value) {
                        Some(wishes) => Some(wishes),
                        None => return Ok(self.error("bad request")),
                    },
                };
                hub.request_stream(conn, &stream_id(&message.id)?, wishes);
            }
            "offer" => {
                let stream = stream_id(&message.id)?;
                let replace = match message.replace.as_str() {
                    "" => None,
                    old => Some(stream_id(old)?),
                };
                hub.publish(conn, stream, &message.label, replace, message.sdp, now);
            }
            "answer" => hub.answer(conn, &stream_id(&message.id)?, message.sdp),
            NUMBERS => hub.ask_numbers(conn, now),
            "renegotiate" => hub.renegotiate(conn, &stream_id(&message.id)?, now),
            "close" => hub.close_stream(conn, &stream_id(&message.id)?),
            "abort" => hub.refuse_stream(conn, &stream_id(&message.id)?),
            "ice" => {
                let stream = stream_id(&message.id)?;
                // Nobody says in this protocol that there are no more candidates.
                let candidate = message.candidate.ok_or(Fault::Protocol("null candidate"))?;
                hub.candidate(conn, &stream, candidate.candidate);
            }
            "chat" | "usermessage" => {
                let utterance = Utterance {
                    is_chat: kind == "chat",
                    kind: message.kind,
                    id: message.id,
                    dest: message.dest,
                    is_noecho: message.noecho,
                    value: message.value,
                };
                hub.speak(conn, utterance, now);
            }
            "useraction" | "groupaction" => return self.handle_action(message, now, hub),
            _ => return Err(Fault::Protocol("unexpected message")),
        }
        Ok(None)
    }

    /// A member acts on another, or on the group.
    fn handle_action(
        &mut self,
        message: Incoming,
        now: Now,
        hub: &mut Hub,
    ) -> Result<Option<Reply>, Fault> {
        let Incoming { kind, dest, value, .. } = message;
        let action = ActionRequest { kind, dest, value };
        let (done, what) = match message.kind_of_message.as_str() {
            "useraction" => (hub.user_action(self.conn, action, now), "useraction"),
            _ => (hub.group_action(self.conn, action, now), "groupaction"),
        };
        match done {
            Ok(()) => Ok(None),
            Err(Refusal::NotAuthorised { text }) => {
                self.audit = Some(what);
                Ok(text.and_then(|text| self.error(text)))
            }
            Err(Refusal::Error(text)) => Ok(self.error(text)),
            Err(Refusal::Fatal(text)) => Err(Fault::Fatal(text)),
        }
    }

    fn handle_join(&mut self, message: Incoming, now: Now, hub: &mut Hub) -> Result<(), Fault> {
        match message.kind.as_str() {
            "join" if hub.membership(self.conn).is_some() => {
                Err(Fault::Protocol("cannot join multiple groups"))
            }
            "join" => {
                let request = JoinRequest {
                    client: self.id().to_owned(),
                    group: message.group,
                    credentials: Credentials {
                        username: message.username,
                        secret: match message.token.as_str() {
                            "" => Secret::Password(message.password),
                            _ => Secret::Token(message.token),
                        },
                    },
                    data: message.data.unwrap_or_default(),
                };
                hub.join(self.conn, request);
                Ok(())
            }
            "leave" if hub.leave(self.conn, &message.group, now) => Ok(()),
            "leave" => Err(Fault::Fatal("you are not joined")),
            _ => Err(Fault::Protocol("unknown kind")),
        }
    }

    fn error(&self, text: &str) -> Option<Reply> {
        let error = Event::Error { text: text.to_owned(), cause: Cause::Other };
        encode(&error, self.id(), &Value::Null).map(Reply::Text)
    }
}

fn stream_id(id: &str) -> Result<StreamId, Fault> {
    use crate::ids::IdError;
    StreamId::parse(id).map_err(|error| {
        Fault::Protocol(match error {
            IdError::Empty => "empty id",
            IdError::TooLong => "id is longer than 256 bytes",
            IdError::Control => "id has a control character",
        })
    })
}

/// RFC 6455 s5.5: a close frame has 125 bytes at most, two of them the code.
pub(crate) fn close_reason(text: &str) -> &str {
    const REASON_BYTES_MAX: usize = 123;
    let mut end = text.len().min(REASON_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
