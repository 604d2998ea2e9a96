//! The control plane as one state machine: the hub and the adapters over it. Input goes in,
//! [`Switchboard::poll_action`] says what to do.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde_json::Value;

use crate::encode::encode;
use crate::http::ice_links;
use crate::hub::{
    Bearer, Caller, Census, CredentialCheck, Event, GroupFile, Happening, Hub, MediaEvent,
    MediaRequest, NotDone, Operation, Output, Recipients, RecordOrder, Sent, StatusReply, Verdict,
    Whose,
};
use crate::ids::{ConnId, MediaId, Ticket};
use crate::name::GroupName;
use crate::native::{Reply, Session, close_reason};
use crate::protocol::Protocol;
use crate::relay::Relay;
use crate::status::StatusView;
use crate::time::Now;
use crate::token::{TokenReply, TokenRequest};
use crate::traits::Traits;
use crate::{whep, whip};

/// How often sessions are looked at.
const SESSION_TICK: Duration = Duration::from_secs(1);

/// What the server is to do, in order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send a text message to WebSockets.
    Send {
        /// One connection, or several.
        to: Recipients,
        /// The message, as JSON.
        text: String,
    },
    /// Log that a client tried what is not its right.
    Audit {
        /// The connection that tried.
        conn: ConnId,
        /// What it tried, in a few words.
        what: &'static str,
    },
    /// Close a WebSocket.
    Close {
        /// The connection to close.
        conn: ConnId,
        /// Whether with a word, and which.
        code: CloseCode,
    },
    /// Tell the data plane.
    Media(MediaRequest),
    /// Look for a group's file, and answer with [`Switchboard::group_file`].
    Load(GroupName),
    /// Check a credential, and answer with [`Switchboard::verdict`].
    Check(ConnId, CredentialCheck),
    /// Ask the server's tokens, and answer with [`Switchboard::token_reply`].
    Token(ConnId, TokenRequest),
    /// Answer a status query.
    Status(Ticket, StatusReply),
    /// Have the recorder begin, end or note something.
    Record(Box<RecordOrder>),
    /// Keep it in the books.
    Happened(Box<Happening>),
    /// Answer a WHIP or WHEP request.
    Respond(Ticket, whip::Response),
    /// The same, and keep the body open for what follows.
    RespondOpen(Ticket, whip::Response),
    /// More of an open body, or its end.
    Chunk(Ticket, Option<String>),
}

/// How a WebSocket ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CloseCode {
    /// With a close frame (RFC 6455 s7.4).
    Frame {
        /// The status code (RFC 6455 s7.4.1).
        code: u16,
        /// At most 123 bytes.
        reason: String,
    },
    /// Without a close frame: nobody is there who would read it.
    Abrupt,
}

/// The hub with its adapters. See the module for how to call it.
pub struct Switchboard {
    hub: Hub,
    sessions: HashMap<ConnId, Session>,
    whip: whip::Endpoint,
    whep: whep::Endpoint,
    actions: VecDeque<Action>,
    /// Whose join has been decided.
    resumable: VecDeque<ConnId>,
    /// Who has been closed and is a member no longer, however slowly the close frame travels.
    ended: Vec<ConnId>,
    rtc_configuration: Value,
    /// Our own TURN server, if there is one.
    relay: Option<Relay>,
    next_session_tick: Duration,
}

impl Switchboard {
    /// One that nobody is connected to, whose random ids follow from `seed`.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            hub: Hub::new(seed),
            sessions: HashMap::new(),
            whip: whip::Endpoint::default(),
            whep: whep::Endpoint::default(),
            actions: VecDeque::new(),
            resumable: VecDeque::new(),
            ended: Vec::new(),
            rtc_configuration: Value::Object(serde_json::Map::new()),
            relay: None,
            next_session_tick: SESSION_TICK,
        }
    }

    /// The next thing to do.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Self::tick`] next at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Duration {
        self.hub.poll_timeout().min(self.next_session_tick)
    }

    /// Time has passed. Spurious calls do nothing.
    pub fn tick(&mut self, now: Now) {
        self.hub.tick(now);
        self.drain(now);
        if now.mono < self.next_session_tick {
            return;
        }
        self.next_session_tick = now.mono + SESSION_TICK;
        let mut replies = Vec::new();
        for (conn, session) in &mut self.sessions {
            replies.extend(session.tick(now).into_iter().map(|reply| (*conn, reply)));
        }
        for (conn, reply) in replies {
            self.reply(conn, reply);
        }
        let late = self.whip.tick(now, &mut self.hub);
        for (ticket, response) in late.into_iter().chain(self.whep.tick(now, &mut self.hub)) {
            self.actions.push_back(Action::Respond(ticket, response));
        }
        self.drain(now);
    }

    /// A WebSocket has been opened.
    pub fn connected(&mut self, caller: Caller, now: Now) -> ConnId {
        let Caller { address, reached, host } = caller;
        let traits =
            Traits { receives: true, chats: true, address, reached, host, ..Traits::default() };
        let conn = self.hub.connect(traits);
        self.sessions.insert(conn, Session::new(conn, now));
        conn
    }

    /// A WebSocket is gone.
    pub fn disconnected(&mut self, conn: ConnId, now: Now) {
        self.sessions.remove(&conn);
        self.hub.disconnect(conn, now);
        self.drain(now);
    }

    /// A text message has come.
    pub fn text(&mut self, conn: ConnId, text: String, now: Now) {
        let Some(session) = self.sessions.get_mut(&conn) else {
            return;
        };
        let replies = session.handle_text(text, now, &mut self.hub);
        self.drain(now);
        for reply in replies {
            self.reply(conn, reply);
        }
        self.drain(now);
    }

    /// What came of [`Action::Load`].
    pub fn group_file(&mut self, name: &GroupName, file: GroupFile, now: Now) {
        self.hub.group_file(name, file, now);
        self.drain(now);
    }

    /// What came of [`Action::Check`].
    pub fn verdict(&mut self, conn: ConnId, verdict: Verdict, now: Now) {
        self.hub.verdict(conn, verdict, now);
        self.drain(now);
    }

    /// Who is in by a kept token without a person in front of it, and by which: asked from time to
    /// time, because tokens can be taken back.
    pub fn bearers(&self) -> Vec<Bearer> {
        self.hub.bearers()
    }

    /// Sends those out whose token has been taken back.
    pub fn revoke(&mut self, conns: &[ConnId], now: Now) {
        self.hub.revoke(conns, now);
        self.drain(now);
    }

    /// What came of [`Action::Token`]; `is_list` if it was a [`TokenRequest::List`].
    pub fn token_reply(&mut self, conn: ConnId, is_list: bool, reply: TokenReply, now: Now) {
        self.hub.token_reply(conn, is_list, reply);
        self.drain(now);
    }

    /// What the recorder has to tell those who may record; `is_over` if it has given up.
    pub fn recorder_says(&mut self, name: &GroupName, text: &str, is_over: bool, now: Now) {
        self.hub.recorder_says(name, text, is_over, now);
        self.drain(now);
    }

    /// News from the data plane.
    pub fn media(&mut self, event: MediaEvent, now: Now) {
        self.hub.media(event, now);
        self.drain(now);
    }

    /// Someone asks for a group's status, answered by [`Action::Status`].
    pub fn status(&mut self, ticket: Ticket, name: &str, now: Now) {
        self.hub.status(ticket, name);
        self.drain(now);
    }

    /// A WHIP or WHEP request, answered by [`Action::Respond`] or [`Action::RespondOpen`].
    pub fn webrtc(&mut self, ticket: Ticket, protocol: Protocol, request: whip::Request, now: Now) {
        let hub = &mut self.hub;
        let reply = match protocol {
            Protocol::Whip => self.whip.handle(ticket, request, now, hub).map(whep::Reply::Whole),
            Protocol::Whep => self.whep.handle(ticket, request, now, hub),
        };
        self.actions.extend(reply.map(|reply| match reply {
            whep::Reply::Whole(response) => Action::Respond(ticket, response),
            whep::Reply::Stream(response) => Action::RespondOpen(ticket, response),
        }));
        self.drain(now);
    }

    /// Nobody reads an open body any more.
    pub fn reader_left(&mut self, ticket: Ticket) {
        self.whep.reader_left(ticket);
    }

    /// How strict to be with WHIP and WHEP clients: whether a PATCH needs If-Match, and whether
    /// a WHEP POST is refused with 409 while nobody publishes.
    pub fn set_http_rules(&mut self, needs_if_match: bool, refuses_empty: bool) {
        self.whip.configure(None, Some(needs_if_match));
        self.whep.configure(None, Some(needs_if_match));
        self.whep.refuse_empty(refuses_empty);
    }

    /// A group's file may have changed.
    pub fn refresh(&mut self, name: GroupName, now: Now) {
        self.hub.refresh(name);
        self.drain(now);
    }

    /// The groups in memory.
    pub fn groups(&self) -> Vec<GroupName> {
        self.hub.groups().cloned().collect()
    }

    /// All groups in memory with their members and streams, in Galene's form. Only for
    /// administrators. `sent` is what the data plane knows of viewers; it may be empty.
    pub fn stats(&self, sent: &Sent) -> Value {
        self.hub.stats(sent)
    }

    /// How many there are of what.
    pub fn census(&self) -> Census {
        self.hub.census()
    }

    /// Public groups in memory, sorted by name.
    pub fn public_groups(&self) -> Vec<StatusView> {
        self.hub.public_groups()
    }

    /// Whether users may change their passwords over the administration API.
    pub fn set_writable(&mut self, is_writable: bool) {
        self.hub.set_writable(is_writable);
    }

    /// What browsers are told of ICE servers.
    pub fn set_rtc_configuration(&mut self, configuration: Value) {
        let links = ice_links(&configuration);
        self.whip.configure(Some(links.clone()), None);
        self.whep.configure(Some(links), None);
        self.rtc_configuration = configuration;
    }

    /// Clients are told of our own TURN server from now on, each with credentials of its own.
    pub fn set_relay(&mut self, relay: Option<Relay>) {
        self.whip.set_relay(relay.clone());
        self.whep.set_relay(relay.clone());
        self.relay = relay;
    }

    /// Whether a client is still there.
    #[must_use]
    pub fn is_here(&self, conn: ConnId) -> bool {
        self.hub.traits(conn).is_some()
    }

    /// What a browser of this client is told.
    fn configuration_for(&self, conn: ConnId, now: Now) -> Value {
        let mut configuration = self.rtc_configuration.clone();
        let host = self.hub.traits(conn).and_then(|traits| traits.host.as_deref());
        let relay = self.relay.as_ref().and_then(|relay| relay.entry(conn, host, now.unix));
        if let (Some(relay), Some(fields)) = (relay, configuration.as_object_mut())
            && let Some(servers) = fields
                .entry("iceServers")
                .or_insert_with(|| Value::Array(Vec::new()))
                .as_array_mut()
        {
            servers.push(relay);
        }
        configuration
    }

    /// Locks every group and kicks every member.
    pub fn shut_down(&mut self, text: &str, now: Now) {
        self.hub.shut_down(text, now);
        self.drain(now);
        let mut replies = Vec::new();
        for (conn, session) in &mut self.sessions {
            replies.extend(session.shut_down(text).into_iter().map(|reply| (*conn, reply)));
        }
        for (conn, reply) in replies {
            self.reply(conn, reply);
        }
        self.drain(now);
    }

    /// Lets nobody in any more, and tells members how long they may stay.
    pub fn announce_end(&mut self, text: &str, seconds: u32, now: Now) {
        self.hub.announce_end(text, seconds);
        self.drain(now);
    }

    /// The members of a group in memory, as JSON.
    pub fn members(&self, name: &GroupName) -> Option<Value> {
        self.hub.members(name)
    }

    /// Does to a group what an administrator wishes.
    pub fn operate(
        &mut self,
        name: &GroupName,
        operation: Operation,
        now: Now,
    ) -> Result<(), NotDone> {
        let done = self.hub.operate(name, operation, now);
        self.drain(now);
        done
    }

    /// Whose a transport is, while it is known.
    pub fn whose(&self, media: MediaId) -> Option<Whose> {
        self.hub.whose(media)
    }

    fn reply(&mut self, conn: ConnId, reply: Reply) {
        if !matches!(reply, Reply::Text(_) | Reply::Audit(_)) {
            self.ended.push(conn);
        }
        self.actions.push_back(match reply {
            Reply::Text(text) => Action::Send { to: Recipients::One(conn), text },
            Reply::Close { code, reason } => {
                let reason = close_reason(&reason).to_owned();
                Action::Close { conn, code: CloseCode::Frame { code, reason } }
            }
            Reply::Audit(what) => Action::Audit { conn, what },
            Reply::Drop => Action::Close { conn, code: CloseCode::Abrupt },
        });
    }

    /// Turns outputs of the hub into actions, and lets adapters react. What a client sent while
    /// its join was being decided is handled after all that the join itself gave rise to.
    fn drain(&mut self, now: Now) {
        let mut replies: Vec<(ConnId, Reply)> = Vec::new();
        loop {
            while let Some(output) = self.hub.poll_output() {
                match output {
                    Output::Event(to, event) => self.deliver(to, &event, now),
                    Output::Media(request) => self.actions.push_back(Action::Media(request)),
                    Output::Load(name) => self.actions.push_back(Action::Load(name)),
                    Output::Check(conn, check) => {
                        self.actions.push_back(Action::Check(conn, check));
                    }
                    Output::Token(conn, request) => {
                        self.actions.push_back(Action::Token(conn, request));
                    }
                    Output::Status(ticket, reply) => {
                        self.actions.push_back(Action::Status(ticket, reply));
                    }
                    Output::Record(order) => self.actions.push_back(Action::Record(order)),
                    Output::Happened(happening) => {
                        self.actions.push_back(Action::Happened(happening));
                    }
                }
            }
            while let Some((ticket, chunk)) = self.whep.poll_chunk() {
                self.actions.push_back(Action::Chunk(ticket, chunk));
            }
            // Behind what the message itself gave rise to: an error after what it is about.
            for (conn, reply) in replies.drain(..) {
                self.reply(conn, reply);
            }
            // Who is closed leaves its group now, and not when the client closes its side.
            if let Some(conn) = self.ended.pop() {
                self.hub.disconnect(conn, now);
                continue;
            }
            let Some(conn) = self.resumable.front().copied() else {
                break;
            };
            let session = self.sessions.get_mut(&conn);
            let text = session.and_then(|session| session.next_waiting(&self.hub));
            match (text, self.sessions.get_mut(&conn)) {
                (Some(text), Some(session)) => {
                    let more = session.handle_now(&text, now, &mut self.hub);
                    replies.extend(more.into_iter().map(|reply| (conn, reply)));
                }
                _ => {
                    self.resumable.pop_front();
                }
            }
        }
    }

    fn deliver(&mut self, to: Recipients, event: &Event, now: Now) {
        match to {
            Recipients::One(conn) => self.deliver_one(conn, event, now),
            // What each is told of our TURN server is different.
            Recipients::Many(conns) if matches!(event, Event::Joined(_)) => {
                for conn in conns {
                    self.deliver_one(conn, event, now);
                }
            }
            Recipients::Many(conns) => {
                let (native, others): (Vec<ConnId>, Vec<ConnId>) =
                    conns.into_iter().partition(|conn| self.sessions.contains_key(conn));
                if let Some(text) = encode(event, "", &self.rtc_configuration) {
                    self.actions.push_back(Action::Send { to: Recipients::Many(native), text });
                }
                for conn in others {
                    self.deliver_one(conn, event, now);
                }
            }
        }
    }

    fn deliver_one(&mut self, conn: ConnId, event: &Event, now: Now) {
        let own = matches!(event, Event::Joined(_)).then(|| self.configuration_for(conn, now));
        let Some(session) = self.sessions.get_mut(&conn) else {
            let answer = match self.hub.traits(conn).and_then(|traits| traits.protocol) {
                Some(Protocol::Whip) => self.whip.event(conn, event, now, &mut self.hub),
                Some(Protocol::Whep) => self.whep.event(conn, event, now, &mut self.hub),
                // A recorder, or somebody who has left meanwhile.
                None => None,
            };
            self.actions.extend(answer.map(|(ticket, reply)| Action::Respond(ticket, reply)));
            return;
        };
        if let Some(text) =
            encode(event, session.id(), own.as_ref().unwrap_or(&self.rtc_configuration))
        {
            self.actions.push_back(Action::Send { to: Recipients::One(conn), text });
        }
        match event {
            Event::Joined(joined) => {
                session.joined(joined);
                self.resumable.push_back(conn);
            }
            Event::Kicked { by, message, .. } => {
                let replies = session.kicked(by.as_ref().map(|(_, name)| name), message);
                for reply in replies {
                    self.reply(conn, reply);
                }
            }
            Event::User { .. }
            | Event::Knock { .. }
            | Event::History(_)
            | Event::Chat(_)
            | Event::UserMessage(_)
            | Event::Answer { .. }
            | Event::Offer { .. }
            | Event::Viewing { .. }
            | Event::ViewOffer { .. }
            | Event::ViewRefused { .. }
            | Event::ViewClosed { .. }
            | Event::Close { .. }
            | Event::Paused { .. }
            | Event::Silent { .. }
            | Event::Path { .. }
            | Event::Speakers { .. }
            | Event::Numbers { .. }
            | Event::Wanted { .. }
            | Event::Abort { .. }
            | Event::Renegotiate { .. }
            | Event::Stopping { .. }
            | Event::Warning { .. }
            | Event::Error { .. } => {}
        }
    }
}
