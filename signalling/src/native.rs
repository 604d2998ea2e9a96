//! Galene's native protocol as an adapter over the hub: one [`Session`] per WebSocket turns JSON
//! into wishes, and [`encode`] turns events into JSON.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;

use crate::hub::{
    ActionRequest, Cause, Credentials, Event, Failure, Hub, JoinRequest, Joined, JoinedKind,
    Message, NOT_AUTHORISED, Refusal, Secret, UserKind, Utterance,
};
use crate::ids::{ClientId, ConnId, StreamId};
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
/// and to ask how its streams fare. The first and the last are also types of messages.
const WANTS: [&str; 3] = [SPEAKERS, "encodings", NUMBERS];
const SPEAKERS: &str = "speakers";
const NUMBERS: &str = "numbers";

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
    /// Send this text.
    Text(String),
    /// Send a close frame, and end.
    Close {
        /// RFC 6455 s7.4.
        code: u16,
        /// At most 123 bytes.
        reason: String,
    },
    /// End without a close frame.
    Drop,
    /// Nothing for the client: the operator's log shall have that it tried something that is not
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

    /// Time has passed.
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
            [traits.follows_speakers, traits.spares_encodings, _] = wants;
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
        let kind = message.kind_of_message.as_str();
        if kind != "join" && message.username.as_ref().is_some_and(|name| *name != self.username) {
            self.audit = Some("spoofed username");
            return Err(Fault::Protocol("spoofed username"));
        }
        match kind {
            "ping" => return Ok(Some(Reply::Text(bare("pong")))),
            "pong" => {}
            "join" => self.handle_join(message, now, hub)?,
            "request" => match message
                .request
                .as_ref()
                .map_or_else(|| Some(Request::default()), Request::from_value)
            {
                Some(request) if hub.membership(conn).is_some() => {
                    hub.request(conn, request, now);
                }
                Some(_) => return Ok(self.error("join a group first")),
                None => return Ok(self.error("bad request")),
            },
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
            "useraction" | "groupaction" => {
                let is_user = kind == "useraction";
                let action =
                    ActionRequest { kind: message.kind, dest: message.dest, value: message.value };
                let done = if is_user {
                    hub.user_action(conn, action, now)
                } else {
                    hub.group_action(conn, action, now)
                };
                match done {
                    Ok(()) => {}
                    Err(Refusal::Told(_)) => {
                        self.audit = Some(if is_user { "useraction" } else { "groupaction" });
                    }
                    Err(Refusal::Error(text)) => {
                        if text == NOT_AUTHORISED {
                            self.audit = Some(if is_user { "useraction" } else { "groupaction" });
                        }
                        return Ok(self.error(text));
                    }
                    Err(Refusal::Fatal(text)) => return Err(Fault::Fatal(text)),
                }
            }
            _ => return Err(Fault::Protocol("unexpected message")),
        }
        Ok(None)
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

/// A message of this type.
fn out(kind: &str) -> Outgoing<'_> {
    Outgoing { kind_of_message: kind, ..Outgoing::default() }
}

fn bare(kind: &str) -> String {
    out(kind).to_json()
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

/// The JSON of an event, or nothing if this protocol does not speak of it. `own` is the
/// receiver's id; messages to several do not need it.
pub fn encode(event: &Event, own: &str, rtc_configuration: &Value) -> Option<String> {
    let text = match event {
        Event::Joined(joined) => encode_joined(joined, rtc_configuration),
        Event::User { kind, id, username, permissions, data } => Outgoing {
            kind: match kind {
                UserKind::Add => "add",
                UserKind::Change => "change",
                UserKind::Delete => "delete",
            },
            id: id.as_str(),
            username: Some(username.as_str()),
            permissions: permissions.as_slice(),
            data: Some(data),
            ..out("user")
        }
        .to_json(),
        Event::History(message) => Outgoing {
            kind: &message.kind,
            id: &message.id,
            source: message.source.as_ref().map_or("", ClientId::as_str),
            username: message.username.as_ref().map(Username::as_str),
            time: &message.time,
            value: message.value.as_ref(),
            ..out("chathistory")
        }
        .to_json(),
        Event::Chat(message) => return encode_message("chat", message, ""),
        Event::UserMessage(message) => return encode_message("usermessage", message, ""),
        Event::Answer { stream, sdp, .. } => {
            Outgoing { id: stream.as_str(), sdp, ..out("answer") }.to_json()
        }
        Event::Offer { stream, label, replace, source, username, sdp } => Outgoing {
            id: stream.as_str(),
            label,
            replace: replace.as_ref().map_or("", StreamId::as_str),
            source: source.as_str(),
            username: Some(username.as_str()),
            sdp,
            ..out("offer")
        }
        .to_json(),
        Event::Paused { stream, is_paused } => {
            let kind = if *is_paused { "paused" } else { "resumed" };
            Outgoing { id: stream.as_str(), kind, ..out("stream") }.to_json()
        }
        Event::Path { stream, path } => {
            let value = Some(&path.to_value());
            Outgoing { id: stream.as_str(), kind: "path", value, ..out("stream") }.to_json()
        }
        Event::Silent { stream, is_silent } => {
            let kind = if *is_silent { "silent" } else { "heard" };
            Outgoing { id: stream.as_str(), kind, ..out("stream") }.to_json()
        }
        Event::Wanted { stream, rids } => {
            let rids = rids.iter().map(|rid| rid.as_str().into()).collect();
            let value = Some(&Value::Array(rids));
            Outgoing { id: stream.as_str(), kind: "wanted", value, ..out("stream") }.to_json()
        }
        Event::Numbers { value } => Outgoing { value: Some(value), ..out(NUMBERS) }.to_json(),
        Event::Speakers { streams } => {
            let streams = streams.iter().map(|stream| stream.as_str().into()).collect();
            Outgoing { value: Some(&Value::Array(streams)), ..out(SPEAKERS) }.to_json()
        }
        Event::Close { stream } => Outgoing { id: stream.as_str(), ..out("close") }.to_json(),
        Event::Abort { stream } => Outgoing { id: stream.as_str(), ..out("abort") }.to_json(),
        Event::Renegotiate { stream } => {
            Outgoing { id: stream.as_str(), ..out("renegotiate") }.to_json()
        }
        // Members of this protocol have streams, not views.
        Event::Viewing { .. }
        | Event::ViewOffer { .. }
        | Event::ViewRefused { .. }
        | Event::ViewClosed { .. } => return None,
        Event::Error { text, .. } => Outgoing {
            kind: "error",
            dest: own,
            privileged: true,
            value: Some(&Value::String(text.clone())),
            ..out("usermessage")
        }
        .to_json(),
        Event::Stopping { seconds } => {
            let plural = if *seconds == 1 { "" } else { "s" };
            let text = format!("The server stops in {seconds} second{plural}.");
            Outgoing {
                kind: "warning",
                error: "stopping",
                dest: own,
                privileged: true,
                value: Some(&Value::String(text)),
                ..out("usermessage")
            }
            .to_json()
        }
        Event::Warning { text } => Outgoing {
            kind: "warning",
            dest: own,
            privileged: true,
            value: Some(&Value::String(text.clone())),
            ..out("usermessage")
        }
        .to_json(),
        Event::Kicked { by, dest, message } => {
            let text = if message.is_empty() { "you have been kicked out" } else { message };
            Outgoing {
                kind: "kicked",
                id: by.as_ref().map_or("", |(id, _)| id.as_str()),
                username: by.as_ref().map(|(_, username)| username.as_str()),
                dest: dest.as_str(),
                privileged: true,
                value: Some(&Value::String(text.to_owned())),
                ..out("usermessage")
            }
            .to_json()
        }
    };
    Some(text)
}

fn encode_joined(joined: &Joined, rtc_configuration: &Value) -> String {
    let value = joined.value.clone().map(Value::String);
    let is_member =
        matches!(joined.kind, JoinedKind::Join | JoinedKind::Leave | JoinedKind::Change);
    Outgoing {
        kind_of_message: "joined",
        kind: match joined.kind {
            JoinedKind::Join => "join",
            JoinedKind::Fail => "fail",
            JoinedKind::Redirect => "redirect",
            JoinedKind::Leave => "leave",
            JoinedKind::Change => "change",
        },
        error: match joined.failure {
            Some(Failure::NeedUsername) => "need-username",
            Some(Failure::DuplicateUsername) => "duplicate-username",
            _ => "",
        },
        group: &joined.group,
        username: joined.username.as_ref().map(Username::as_str),
        permissions: joined.permissions.as_slice(),
        status: joined.status.as_ref(),
        data: Some(&joined.data),
        value: value.as_ref(),
        rtc_configuration: is_member.then_some(rtc_configuration),
        ..Outgoing::default()
    }
    .to_json()
}

fn encode_message(kind: &str, message: &Message, own: &str) -> Option<String> {
    let out = Outgoing {
        kind_of_message: kind,
        kind: &message.kind,
        error: message.error,
        id: &message.id,
        source: message.source.as_ref().map_or("", ClientId::as_str),
        username: message.username.as_ref().map(Username::as_str),
        dest: message.dest.as_ref().map_or(own, ClientId::as_str),
        privileged: message.is_privileged,
        noecho: message.is_noecho,
        time: &message.time,
        value: message.value.as_ref(),
        ..Outgoing::default()
    };
    Some(out.to_json())
}
