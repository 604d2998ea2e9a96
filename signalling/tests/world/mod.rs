//! A world around a switchboard: group files in memory, passwords checked at once, a clock that
//! moves only when told to, and a record of all that goes out.
#![allow(dead_code)]

pub(crate) mod http;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use signalling::{
    Action, Caller, CloseCode, ConnId, CredentialCheck, GroupFile, GroupName, Happening,
    MediaEvent, MediaId, MediaKind, MediaRequest, Now, Password, Proof, Protocol, PublicationKey,
    Recipients, RecordOrder, StatusReply, Switchboard, Ticket, Token, TokenReply, TokenRequest,
    UnixMs, Verdict, jwt, parse_description, whip,
};

pub(crate) const OPEN: &str = r#"{"op":[{}]}"#;

pub(crate) struct World {
    pub board: Switchboard,
    pub files: HashMap<String, GroupFile>,
    pub now: Now,
    pub sent: HashMap<ConnId, Vec<Value>>,
    pub closed: HashMap<ConnId, CloseCode>,
    /// Who tried what without the right to.
    pub audit: Vec<(ConnId, &'static str)>,
    pub media: Vec<MediaRequest>,
    pub responses: HashMap<Ticket, whip::Response>,
    /// What open bodies got.
    pub chunks: Vec<(Ticket, Option<String>)>,
    pub statuses: HashMap<Ticket, StatusReply>,
    /// Checks wait here instead of being made.
    pub held_checks: Option<Vec<(ConnId, CredentialCheck)>>,
    /// What the server keeps.
    pub tokens: Vec<Token>,
    /// The books.
    pub happened: Vec<Happening>,
    /// What the recorder was told.
    pub orders: Vec<RecordOrder>,
    next_ticket: u64,
}

pub(crate) fn group(text: &str) -> GroupFile {
    match parse_description("test.json", text.as_bytes()) {
        Ok((description, _)) => GroupFile::Found(Arc::new(description)),
        Err(error) => GroupFile::Broken(Arc::new(error)),
    }
}

impl World {
    /// With one group, `test`.
    pub(crate) fn new(file: &str) -> Self {
        Self {
            board: Switchboard::new([1; 32]),
            files: HashMap::from([("test".to_owned(), group(file))]),
            now: Now { mono: Duration::from_secs(1), unix: UnixMs(1_800_000_000_000) },
            sent: HashMap::new(),
            closed: HashMap::new(),
            audit: Vec::new(),
            media: Vec::new(),
            responses: HashMap::new(),
            chunks: Vec::new(),
            statuses: HashMap::new(),
            held_checks: None,
            tokens: Vec::new(),
            happened: Vec::new(),
            orders: Vec::new(),
            next_ticket: 0,
        }
    }

    pub(crate) fn connect(&mut self) -> ConnId {
        let address = Some("192.0.2.1:5".to_owned());
        let host = Some("aula.example.org:8443".to_owned());
        self.board.connected(Caller { address, reached: None, host }, self.now)
    }

    pub(crate) fn text(&mut self, conn: ConnId, text: &str) {
        self.board.text(conn, text.to_owned(), self.now);
        self.settle();
    }

    pub(crate) fn say(&mut self, conn: ConnId, message: Value) {
        self.text(conn, &message.to_string());
    }

    pub(crate) fn disconnect(&mut self, conn: ConnId) {
        self.board.disconnected(conn, self.now);
        self.settle();
    }

    /// A connection that has introduced itself.
    pub(crate) fn greet(&mut self, id: &str) -> ConnId {
        let conn = self.connect();
        self.say(conn, json!({"type": "handshake", "version": ["2"], "id": id}));
        self.sent.remove(&conn);
        conn
    }

    pub(crate) fn join_as(&mut self, id: &str, username: &str, password: &str) -> ConnId {
        let conn = self.greet(id);
        self.say(
            conn,
            json!({"type": "join", "kind": "join", "group": "test", "username": username,
                "password": password}),
        );
        conn
    }

    /// A member that wants everything; what it was told so far is forgotten.
    pub(crate) fn member(&mut self, id: &str, username: &str) -> ConnId {
        let conn = self.join_as(id, username, "");
        let said = self.take(conn);
        assert_eq!(said[0]["kind"], "join", "{said:?}");
        self.say(conn, json!({"type": "request", "request": {"": ["audio", "video"]}}));
        self.take(conn);
        conn
    }

    pub(crate) fn take(&mut self, conn: ConnId) -> Vec<Value> {
        self.sent.remove(&conn).unwrap_or_default()
    }

    pub(crate) fn forget(&mut self) {
        self.sent.clear();
        self.media.clear();
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        let target = self.now.mono + by;
        while self.now.mono < target {
            let step = self.board.poll_timeout().clamp(
                self.now.mono + Duration::from_millis(1),
                target.max(self.now.mono + Duration::from_millis(1)),
            );
            let step = step.min(target);
            self.now.unix.0 += (step - self.now.mono).as_millis() as i64;
            self.now.mono = step;
            self.board.tick(self.now);
            self.settle();
        }
    }

    pub(crate) fn event(&mut self, event: MediaEvent) {
        self.board.media(event, self.now);
        self.settle();
    }

    pub(crate) fn status(&mut self, name: &str) -> StatusReply {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.board.status(ticket, name, self.now);
        self.settle();
        self.statuses.remove(&ticket).expect("a status query is answered")
    }

    pub(crate) fn whip(&mut self, request: whip::Request) -> Option<whip::Response> {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.board.webrtc(ticket, Protocol::Whip, request, self.now);
        self.settle();
        self.responses.remove(&ticket)
    }

    pub(crate) fn whep(&mut self, request: whip::Request) -> Option<whip::Response> {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.board.webrtc(ticket, Protocol::Whep, request, self.now);
        self.settle();
        self.responses.remove(&ticket)
    }

    pub(crate) fn last_view(&self) -> MediaId {
        let view = self.media.iter().rev().find_map(|request| match request {
            MediaRequest::View { media, .. } => Some(*media),
            _ => None,
        });
        view.expect("a View has gone out")
    }

    pub(crate) fn reload(&mut self, file: &str) {
        self.files.insert("test".to_owned(), group(file));
        self.board.refresh(GroupName::parse("test").expect("legal"), self.now);
        self.settle();
    }

    pub(crate) fn settle(&mut self) {
        while let Some(action) = self.board.poll_action() {
            match action {
                Action::Send { to, text } => {
                    let message: Value = serde_json::from_str(&text).expect("JSON goes out");
                    let conns = match to {
                        Recipients::One(conn) => vec![conn],
                        Recipients::Many(conns) => conns,
                    };
                    for conn in conns {
                        assert!(!self.closed.contains_key(&conn), "{message} after the close");
                        self.sent.entry(conn).or_default().push(message.clone());
                    }
                }
                Action::Audit { conn, what } => self.audit.push((conn, what)),
                Action::Close { conn, code } => {
                    // The socket itself may take long to go; members must not notice.
                    self.closed.entry(conn).or_insert(code);
                }
                Action::Media(request) => self.media.push(request),
                Action::Load(name) => {
                    let file = self.files.get(name.as_str()).cloned();
                    let file = file.unwrap_or(GroupFile::Missing);
                    self.board.group_file(&name, file, self.now);
                }
                Action::Check(conn, check) => match &mut self.held_checks {
                    Some(held) => held.push((conn, check)),
                    None => self.check(conn, check),
                },
                Action::Token(conn, request) => self.ask_tokens(conn, request),
                Action::Record(order) => self.orders.push(*order),
                Action::Happened(happening) => self.happened.push(*happening),
                Action::Status(ticket, reply) => {
                    self.statuses.insert(ticket, reply);
                }
                Action::Respond(ticket, response) | Action::RespondOpen(ticket, response) => {
                    self.responses.insert(ticket, response);
                }
                Action::Chunk(ticket, chunk) => self.chunks.push((ticket, chunk)),
            }
        }
    }

    pub(crate) fn check(&mut self, conn: ConnId, check: CredentialCheck) {
        let password = |stored: &Password, given: &str| match stored.verify(given) {
            Ok(true) => Verdict::Right,
            Ok(false) => Verdict::Wrong,
            Err(error) => Verdict::Broken(error),
        };
        let verdict = match check.proof {
            Proof::Nothing { .. } => Verdict::Wrong,
            Proof::Password { stored, given } => password(&stored, &given),
            Proof::Token { token, keys, otherwise } => {
                let audience = jwt::Audience { group: &check.group, host: "", base: "" };
                let kept = self.tokens.iter().find(|kept| kept.token == token);
                let kept = kept.filter(|kept| kept.covers(&check.group, &check.realm));
                let kept = kept.filter(|kept| kept.is_current(self.now.unix));
                match (jwt::verify(&token, &keys, audience, self.now.unix), kept) {
                    (Ok(grant), _) => Verdict::Granted(Box::new(grant)),
                    (Err(jwt::JwtError::NotAJwt), Some(kept)) => {
                        Verdict::Granted(Box::new(kept.grant()))
                    }
                    _ => otherwise.map_or(Verdict::Wrong, |stored| password(&stored, &token)),
                }
            }
        };
        self.board.verdict(conn, verdict, self.now);
    }

    fn ask_tokens(&mut self, conn: ConnId, request: TokenRequest) {
        let is_list = matches!(request, TokenRequest::List { .. });
        let reply = match request {
            TokenRequest::Make(token) => {
                self.tokens.push((*token).clone());
                TokenReply::Token(token)
            }
            TokenRequest::Edit { token, group, held, expires, not_before } => {
                let kept = self.tokens.iter_mut();
                let mut kept = kept.filter(|kept| kept.is_within(&group, &held));
                match kept.find(|kept| kept.token == token) {
                    None => TokenReply::Unknown,
                    Some(kept) => {
                        kept.expires = expires.or(kept.expires);
                        kept.not_before = not_before.or(kept.not_before);
                        TokenReply::Token(Box::new(kept.clone()))
                    }
                }
            }
            TokenRequest::List { group, held } => {
                let own = self.tokens.iter().filter(|kept| kept.is_within(&group, &held));
                TokenReply::List(own.cloned().collect())
            }
        };
        self.board.token_reply(conn, is_list, reply, self.now);
    }

    /// Publishes, up to the answer. Gives the transport.
    pub(crate) fn publish(&mut self, conn: ConnId, stream: &str, more: Value) -> MediaId {
        let mut offer =
            json!({"type": "offer", "id": stream, "label": "camera", "sdp": "v=0 offer"});
        let fields = more.as_object().expect("an object").clone();
        offer.as_object_mut().expect("an object").extend(fields);
        self.say(conn, offer);
        let media = self.last_publish();
        self.event(MediaEvent::Answered {
            media,
            answer: "v=0 answer".into(),
            publications: 2,
            unused: Vec::new(),
        });
        media
    }

    pub(crate) fn last_publish(&self) -> MediaId {
        let publish = self.media.iter().rev().find_map(|request| match request {
            MediaRequest::Publish { media, .. } => Some(*media),
            _ => None,
        });
        publish.expect("a Publish has gone out")
    }

    pub(crate) fn last_subscribe(&self) -> MediaId {
        let subscribe = self.media.iter().rev().find_map(|request| match request {
            MediaRequest::Subscribe { media, .. } => Some(*media),
            _ => None,
        });
        subscribe.expect("a Subscribe has gone out")
    }

    pub(crate) fn arrives(&mut self, media: MediaId, m_line: u8, kind: MediaKind) {
        let publication = PublicationKey { media, m_line };
        self.event(MediaEvent::Published { publication, kind, rids: Vec::new() });
    }

    /// Publishes with audio and video flowing.
    pub(crate) fn live(&mut self, conn: ConnId, stream: &str) -> MediaId {
        let media = self.publish(conn, stream, json!({}));
        self.arrives(media, 0, MediaKind::Audio);
        self.arrives(media, 1, MediaKind::Video);
        media
    }

    /// Makes the offer that the last Subscribe asked for; gives the transport.
    pub(crate) fn offered(&mut self) -> MediaId {
        let media = self.last_subscribe();
        self.event(MediaEvent::Offered { media, offer: "v=0 down".into() });
        media
    }
}

/// The types and kinds of messages, for short comparisons.
pub(crate) fn kinds(messages: &[Value]) -> Vec<String> {
    messages
        .iter()
        .map(|message| {
            let kind = message["kind"].as_str().unwrap_or_default();
            let slash = if kind.is_empty() { "" } else { "/" };
            format!("{}{slash}{kind}", message["type"].as_str().unwrap_or_default())
        })
        .collect()
}
