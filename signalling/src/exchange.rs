//! What WHIP and WHEP sessions have in common as HTTP resources: who may touch them, what their
//! ETag is, when a PATCH trickles and when it restarts ICE (RFC 9725 s4.3).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::authorization::credentials;
use crate::fragment::{FRAGMENT, Fragment, credentials_in, polished, with_credentials};
use crate::http::{Request, Response, challenge, digest, is_media_type, options, server_links};
use crate::hub::{Cause, Event, Failure, Hub, JoinRequest, Joined, JoinedKind};
use crate::ids::{ConnId, StreamId, Ticket};
use crate::limit::TokenBucket;
use crate::name::encode_path;
use crate::protocol::Protocol;
use crate::relay::Relay;
use crate::time::Now;
use crate::traits::Traits;

/// The content type of descriptions.
pub(crate) const SDP: &str = "application/sdp";
/// As many sessions as this of one protocol; more are told to come back.
const SESSIONS_MAX: usize = 65_536;
/// What has not been answered by the data plane by then is given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// POSTs from one address: so many at once, so many per second after that. A class may sit behind
/// one address.
const POSTS: (u32, u32) = (256, 64);
/// Networks whose POSTs are counted. When so many are busy at once, further ones must wait.
const ADDRESSES_MAX: usize = 8192;
/// Requests of one session, of any kind but DELETE.
const REQUESTS: (u32, u32) = (64, 16);
/// Superseded user name fragments that a session remembers, and of ours as many; one restarted more
/// often has no late PATCHes of that age.
const UFRAGS_MAX: usize = 16;

/// Where a session stands.
#[derive(Debug)]
pub(crate) enum Stage {
    /// The join is being decided.
    Joining,
    /// The description is with the data plane.
    Offering,
    /// The session URL is out.
    Live,
    /// The description of an ICE restart is with the data plane.
    Restarting { ufrag: String, pwd: String },
}

/// A session over HTTP, from its POST on.
#[derive(Debug)]
pub(crate) struct Exchange {
    group: String,
    /// The last part of the session URL.
    secret: String,
    /// The query of the POST, if the session URL needs it for its token.
    query: String,
    etag: String,
    /// The id of the member, and of the stream if there is one.
    pub(crate) stream: StreamId,
    /// What the POST was authorised with; later requests need the same.
    authorization: Option<[u8; 32]>,
    is_from_page: bool,
    /// `Link` headers of our own TURN server, until they are told.
    relay_links: Vec<String>,
    pub(crate) stage: Stage,
    /// Who waits for the end of the stage, and since when.
    pub(crate) waiting: Option<(Ticket, Duration)>,
    /// The client's description, which a restart repeats with other credentials. Empty if the
    /// offer was ours.
    pub(crate) offer: String,
    /// The ICE credentials of the client's description: of each section that says some, as some clients
    /// name those of one that is off.
    credentials: Vec<(String, String)>,
    old_ufrags: Vec<String>,
    /// The user name fragments of our descriptions: some clients trickle under ours instead of theirs.
    own_ufrags: Vec<String>,
    /// The answer to the last restart, in case it got lost.
    last_restart: Option<Response>,
    requests: TokenBucket,
}

impl Exchange {
    /// Notes the ICE credentials of the client's description.
    pub(crate) fn adopt_credentials(&mut self, sdp: &str) {
        self.credentials = credentials_in(sdp);
    }

    /// Whether a fragment belongs to the present ICE session: it names the client's credentials, none,
    /// or ours, which nobody restarts to.
    fn is_about_what_there_is(&self, fragment: &Fragment) -> bool {
        let (ufrag, pwd) = (fragment.ufrag.as_ref(), fragment.pwd.as_ref());
        let is_own = self.credentials.iter().any(|(own_ufrag, own_pwd)| {
            ufrag.is_none_or(|given| given == own_ufrag) && pwd.is_none_or(|given| given == own_pwd)
        });
        let is_ours = ufrag.is_some_and(|given| self.own_ufrags.contains(given));
        is_own || is_ours || (ufrag.is_none() && pwd.is_none())
    }
}

/// Adds user name fragments to those that are remembered, and forgets the oldest.
fn remember(ufrags: &mut Vec<String>, of: Vec<(String, String)>) {
    ufrags.extend(of.into_iter().map(|(ufrag, _)| ufrag));
    let excess = ufrags.len().saturating_sub(UFRAGS_MAX);
    ufrags.drain(..excess);
}

/// What a PATCH with a fragment turns out to be.
#[derive(Debug)]
pub(crate) enum Patch {
    /// It was answered before: the same once more.
    Done(Response),
    /// It adds candidates; answer it with 204.
    Trickle(Vec<String>),
    /// It restarts ICE: negotiate this offer.
    Restart(String),
}

/// What an event turns out to be.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The member is in, and what the session is for can begin.
    Joined,
    /// All is done, but for whoever waits for this. The session may be over.
    Done(Option<(Ticket, Response)>),
    /// The protocol knows what to do with it.
    Other,
}

/// All sessions of one protocol.
#[derive(Debug)]
pub(crate) struct Exchanges {
    protocol: Protocol,
    by_conn: HashMap<ConnId, Exchange>,
    by_secret: HashMap<String, ConnId>,
    posts: HashMap<String, TokenBucket>,
    /// Ready-made values of `Link` headers.
    links: Vec<String>,
    /// Our own TURN server, if there is one.
    relay: Option<Relay>,
    /// Whether a PATCH needs If-Match (RFC 9725 s4.3.1), which some clients do not send.
    is_strict: bool,
}

type Refused = Box<Response>;

fn problem(status: u16, title: &str, detail: &str) -> Refused {
    Box::new(Response::problem(status, title, detail))
}

impl Exchanges {
    pub(crate) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            by_conn: HashMap::new(),
            by_secret: HashMap::new(),
            posts: HashMap::new(),
            links: Vec::new(),
            relay: None,
            is_strict: false,
        }
    }

    /// Values of `Link` headers, and whether a PATCH needs If-Match; nothing leaves it as it is.
    pub(crate) fn configure(&mut self, links: Option<Vec<String>>, is_strict: Option<bool>) {
        self.links = links.unwrap_or_else(|| std::mem::take(&mut self.links));
        self.is_strict = is_strict.unwrap_or(self.is_strict);
    }

    /// Sessions are told of our own TURN server from now on, each with credentials of its own.
    pub(crate) fn set_relay(&mut self, relay: Option<Relay>) {
        self.relay = relay;
    }

    /// The answer to OPTIONS on the endpoint.
    pub(crate) fn endpoint_options(&self, methods: &str, request: &Request) -> Response {
        let mut response = options(methods).with("accept-post", SDP);
        for link in self.links.iter().filter(|_| !request.is_preflight) {
            response = response.with("link", link.clone());
        }
        response
    }

    /// Whether a session goes on.
    pub(crate) fn is_open(&self, conn: ConnId) -> bool {
        self.by_conn.contains_key(&conn)
    }

    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Exchange> {
        self.by_conn.get_mut(&conn)
    }

    /// A POST: begins to join. `body` has passed the protocol's own checks.
    pub(crate) fn open(
        &mut self,
        ticket: Ticket,
        request: Request,
        offer: String,
        now: Now,
        hub: &mut Hub,
    ) -> Result<ConnId, Refused> {
        if !self.take_post(request.address.as_deref(), now) {
            let slow = problem(429, "too many requests", "wait before the next POST");
            return Err(Box::new(slow.with("retry-after", "2")));
        }
        let credentials = credentials(request.authorization.as_deref());
        if self.by_conn.len() >= SESSIONS_MAX {
            let busy = problem(503, "server full", "try again later");
            return Err(Box::new(busy.with("retry-after", "30")));
        }
        let client = hub.entropy().hex_id();
        let Ok(stream) = StreamId::parse(&client) else {
            return Err(problem(500, "internal server error", "try again"));
        };
        let has_token = request.param("token").is_some();
        let (address, reached) = (request.address, request.reached);
        let host = request.host.clone();
        let protocol = Some(self.protocol);
        let conn = hub.connect(Traits { address, reached, host, protocol, ..Traits::default() });
        let host = request.host.as_deref();
        let relay = self.relay.as_ref().and_then(|relay| relay.entry(conn, host, now.unix));
        let mut exchange = Exchange {
            group: request.group.clone(),
            secret: hub.entropy().long_id(),
            query: if has_token { request.query } else { String::new() },
            etag: format!("\"{}\"", hub.entropy().short_id()),
            stream,
            authorization: request.authorization.as_deref().map(digest),
            is_from_page: request.is_from_page,
            relay_links: relay.as_ref().map(server_links).unwrap_or_default(),
            stage: Stage::Joining,
            waiting: Some((ticket, now.mono)),
            credentials: Vec::new(),
            offer,
            old_ufrags: Vec::new(),
            own_ufrags: Vec::new(),
            last_restart: None,
            requests: TokenBucket::new(REQUESTS.0, REQUESTS.1, now.mono),
        };
        // Later fragments name these if they belong to this ICE session.
        exchange.adopt_credentials(&exchange.offer.clone());
        self.by_secret.insert(exchange.secret.clone(), conn);
        self.by_conn.insert(conn, exchange);
        let data = serde_json::Map::new();
        hub.join(conn, JoinRequest { client, group: request.group, credentials, data });
        Ok(conn)
    }

    fn take_post(&mut self, address: Option<&str>, now: Now) -> bool {
        let network = address.map(network_of).unwrap_or_default();
        if self.posts.len() >= ADDRESSES_MAX && !self.posts.contains_key(&network) {
            self.posts.retain(|_, bucket| !bucket.is_full(now.mono));
            if self.posts.len() >= ADDRESSES_MAX {
                return false;
            }
        }
        let bucket = self.posts.entry(network);
        bucket.or_insert_with(|| TokenBucket::new(POSTS.0, POSTS.1, now.mono)).take(now.mono)
    }

    /// The session that a request is about, if it may be touched.
    pub(crate) fn find(&self, request: &Request) -> Result<ConnId, Refused> {
        let secret = request.session.as_deref().unwrap_or_default();
        let conn = self.by_secret.get(secret).copied();
        let found = conn.and_then(|conn| Some((conn, self.by_conn.get(&conn)?)));
        let Some((conn, exchange)) = found.filter(|(_, found)| found.group == request.group) else {
            let detail = "the session has ended or never was: POST a new offer";
            return Err(problem(404, "no such session", detail));
        };
        match (&exchange.authorization, request.authorization.as_deref().map(digest)) {
            (None, _) => Ok(conn),
            (Some(_), None) => Err(Box::new(challenge(request.is_from_page))),
            // Who guesses learns nothing from the time that it takes.
            (Some(own), Some(given)) if bool::from(own.ct_eq(&given)) => Ok(conn),
            (Some(_), Some(_)) => Err(problem(403, "not yours", "use the credentials of the POST")),
        }
    }

    /// The same, if it does not come too often.
    pub(crate) fn find_within_rate(
        &mut self,
        request: &Request,
        now: Now,
    ) -> Result<ConnId, Refused> {
        let conn = self.find(request)?;
        let exchange = self.by_conn.get_mut(&conn);
        if exchange.is_some_and(|exchange| !exchange.requests.take(now.mono)) {
            let slow = problem(429, "too many requests", "wait before the next request");
            return Err(Box::new(slow.with("retry-after", "1")));
        }
        Ok(conn)
    }

    /// A PATCH with a fragment. The user name fragment decides between trickle and restart, the
    /// ETag only about what is stale: candidates can overtake a restart, and the other way round.
    pub(crate) fn patch(
        &mut self,
        conn: ConnId,
        ticket: Ticket,
        request: &Request,
        now: Now,
    ) -> Result<Patch, Refused> {
        let is_strict = self.is_strict;
        let Some(exchange) = self.by_conn.get_mut(&conn) else {
            return Err(problem(404, "no such session", "POST a new offer"));
        };
        if !exchange.requests.take(now.mono) {
            let slow = problem(429, "too many requests", "collect candidates before you send them");
            return Err(Box::new(slow.with("retry-after", "1")));
        }
        if !is_media_type(request.content_type.as_deref(), FRAGMENT) {
            let wrong = problem(415, "not a fragment", "send an SDP fragment (RFC 8840)");
            return Err(Box::new(wrong.with("accept-patch", FRAGMENT)));
        }
        let fragment = Fragment::parse(&request.body).map_err(|line| {
            problem(400, "not a fragment", &format!("line {line} of the fragment makes no sense"))
        })?;
        let if_match = request.if_match.as_deref();
        let is_any = matches!(if_match, Some("*" | "\"*\""));
        // RFC 9110 s13.1.1: a list.
        let names_own = |tags: &str| tags.split(',').any(|etag| etag.trim() == exchange.etag);
        let is_current = is_any || if_match.is_none_or(names_own);
        if is_strict && if_match.is_none() {
            let detail = "send If-Match with the ETag of the last answer, or * to restart ICE";
            return Err(problem(428, "precondition required", detail));
        }
        let stale = || problem(412, "stale", "this belongs to an ICE session that is over");
        if exchange.is_about_what_there_is(&fragment) {
            return match &exchange.last_restart {
                // The same restart once more: its answer may have been lost.
                Some(answer) if is_any => Ok(Patch::Done(answer.clone())),
                _ if is_current => Ok(Patch::Trickle(fragment.candidates)),
                _ => Err(stale()),
            };
        }
        let is_old = |ufrag: &String| exchange.old_ufrags.contains(ufrag);
        if fragment.ufrag.as_ref().is_some_and(is_old) || !is_current {
            return Err(stale());
        }
        let Some((ufrag, pwd)) = fragment.into_credentials() else {
            let detail =
                "a restart needs a=ice-ufrag and a=ice-pwd, of 4 and 22 characters at least";
            return Err(problem(400, "no ICE credentials", detail));
        };
        match &exchange.stage {
            Stage::Live if exchange.offer.is_empty() => {
                let detail = "this session cannot restart ICE: DELETE it and POST an offer";
                Err(problem(422, "no ICE restart", detail))
            }
            Stage::Live => {
                let offer = with_credentials(&exchange.offer, &ufrag, &pwd);
                exchange.stage = Stage::Restarting { ufrag, pwd };
                exchange.waiting = Some((ticket, now.mono));
                Ok(Patch::Restart(offer))
            }
            // Candidates of a restart that is under way: they are not needed.
            Stage::Restarting { ufrag: next, .. } if *next == ufrag => {
                Ok(Patch::Trickle(Vec::new()))
            }
            _ => {
                let busy = problem(503, "busy", "another request of this session is under way");
                Err(Box::new(busy.with("retry-after", "1")))
            }
        }
    }

    /// The response to whoever waits, made from our answer (or, with 406, our offer).
    pub(crate) fn answered(
        &mut self,
        conn: ConnId,
        status: u16,
        sdp: &str,
        hub: &mut Hub,
    ) -> Option<(Ticket, Response)> {
        let mut links = self.links.clone();
        let path = self.by_conn.get(&conn).map(|exchange| self.path_of(exchange))?;
        let exchange = self.by_conn.get_mut(&conn)?;
        let (ticket, _) = exchange.waiting.take()?;
        remember(&mut exchange.own_ufrags, credentials_in(sdp));
        let stage = std::mem::replace(&mut exchange.stage, Stage::Live);
        if let Stage::Restarting { ufrag, pwd } = stage {
            let old = std::mem::replace(&mut exchange.credentials, vec![(ufrag, pwd)]);
            // Candidates of the ICE session before may still be on their way: they are stale, not new.
            remember(&mut exchange.old_ufrags, old);
            exchange.etag = format!("\"{}\"", hub.entropy().short_id());
            let mut response = Response::new(200)
                .with("content-type", FRAGMENT)
                .with("etag", exchange.etag.clone());
            response.body = Fragment::of_answer(sdp);
            exchange.last_restart = Some(response.clone());
            return Some((ticket, response));
        }
        let mut response = Response::new(status)
            .with("location", path)
            .with("etag", exchange.etag.clone())
            .with("content-type", SDP)
            .with("accept-patch", FRAGMENT);
        links.append(&mut exchange.relay_links);
        for link in links {
            response = response.with("link", link);
        }
        response.body = if status == 201 { polished(sdp) } else { sdp.to_owned() };
        Some((ticket, response))
    }

    /// The session URL, an absolute path.
    fn path_of(&self, exchange: &Exchange) -> String {
        let Exchange { group, secret, query, .. } = exchange;
        format!("/group/{}/{}/{secret}{query}", encode_path(group), self.protocol.segment())
    }

    /// The URL of something below a session.
    pub(crate) fn path_below(&self, conn: ConnId, name: &str) -> String {
        let Some(exchange) = self.by_conn.get(&conn) else {
            return String::new();
        };
        let Exchange { group, secret, query, .. } = exchange;
        format!("/group/{}/{}/{secret}/{name}{query}", encode_path(group), self.protocol.segment())
    }

    /// What an event means for a session, as far as it means the same in both protocols.
    pub(crate) fn hear(&mut self, conn: ConnId, event: &Event, now: Now, hub: &mut Hub) -> Heard {
        let Some(exchange) = self.by_conn.get(&conn) else {
            return Heard::Done(None);
        };
        match event {
            Event::Joined(joined) if matches!(exchange.stage, Stage::Joining) => {
                if joined.kind == JoinedKind::Join {
                    return Heard::Joined;
                }
                let refusal = refusal(joined, exchange.is_from_page);
                Heard::Done(self.give_up(conn, refusal, now, hub))
            }
            Event::Kicked { message, .. } => {
                let kicked = Response::problem(403, "kicked out", message);
                Heard::Done(self.give_up(conn, kicked, now, hub))
            }
            _ => Heard::Other,
        }
    }

    /// A description was refused. A session that has nothing without it ends.
    pub(crate) fn refused(
        &mut self,
        conn: ConnId,
        (cause, text): (Cause, &str),
        now: Now,
        hub: &mut Hub,
    ) -> Option<(Ticket, Response)> {
        let takes = hub.codecs(conn).to_vec();
        let answer = self.refusal_of_description(conn, cause, text, &takes)?;
        let stream = self.by_conn.get(&conn).map(|exchange| &exchange.stream);
        if !stream.is_some_and(|stream| hub.has_media(conn, stream)) {
            self.end(conn, now, hub);
        }
        Some(answer)
    }

    /// The response to whoever waits for a description that was refused.
    fn refusal_of_description(
        &mut self,
        conn: ConnId,
        cause: Cause,
        text: &str,
        takes: &[String],
    ) -> Option<(Ticket, Response)> {
        let exchange = self.by_conn.get_mut(&conn)?;
        let (ticket, _) = exchange.waiting.take()?;
        if matches!(exchange.stage, Stage::Restarting { .. }) {
            exchange.stage = Stage::Live;
        }
        let response = match cause {
            Cause::Busy => Response::problem(503, "server busy", text).with("retry-after", "5"),
            Cause::Malformed => Response::problem(400, "the description cannot be read", text),
            Cause::Codecs if !takes.is_empty() => {
                let detail = format!("{text}; this group takes {}", takes.join(", "));
                Response::problem(422, "the description cannot be used", &detail)
            }
            Cause::Codecs | Cause::Other => {
                Response::problem(422, "the description cannot be used", text)
            }
        };
        Some((ticket, response))
    }

    /// Ends a session; whoever waits for it gets the problem.
    pub(crate) fn give_up(
        &mut self,
        conn: ConnId,
        problem: Response,
        now: Now,
        hub: &mut Hub,
    ) -> Option<(Ticket, Response)> {
        let waiting = self.take_waiting(conn);
        self.end(conn, now, hub);
        Some((waiting?, problem))
    }

    /// Gives up what the data plane does not answer: a restart, or else the whole session.
    pub(crate) fn tick(&mut self, now: Now, hub: &mut Hub) -> Vec<(ConnId, Ticket, Response)> {
        let mut late = Vec::new();
        for (conn, exchange) in &mut self.by_conn {
            if exchange.waiting.is_none_or(|(_, since)| now.mono <= since + ANSWER_WITHIN) {
                continue;
            }
            let Some((ticket, _)) = exchange.waiting.take() else { continue };
            let is_restart = matches!(exchange.stage, Stage::Restarting { .. });
            if is_restart {
                exchange.stage = Stage::Live;
            }
            late.push((*conn, ticket, is_restart));
        }
        let answered = late.into_iter().map(|(conn, ticket, is_restart)| {
            if !is_restart {
                self.end(conn, now, hub);
            }
            let busy = Response::problem(503, "server busy", "no answer in time, try again");
            (conn, ticket, busy.with("retry-after", "5"))
        });
        answered.collect()
    }

    /// Whoever waits for a session.
    pub(crate) fn take_waiting(&mut self, conn: ConnId) -> Option<Ticket> {
        Some(self.by_conn.get_mut(&conn)?.waiting.take()?.0)
    }

    /// Forgets a session, and its member.
    pub(crate) fn end(&mut self, conn: ConnId, now: Now, hub: &mut Hub) {
        if let Some(exchange) = self.by_conn.remove(&conn) {
            self.by_secret.remove(&exchange.secret);
        }
        hub.disconnect(conn, now);
    }
}

/// What counts as one client: an IPv4 address, or the /64 that an IPv6 customer has to itself.
fn network_of(address: &str) -> String {
    match address.parse() {
        Ok(SocketAddr::V6(v6)) if v6.ip().to_ipv4_mapped().is_none() => {
            let [a, b, c, d, ..] = v6.ip().segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}")
        }
        Ok(address) => address.ip().to_canonical().to_string(),
        Err(_) => address.to_owned(),
    }
}

/// A description as text: titles come in any encoding, editors put a mark before them, templates begin with
/// an empty line.
pub(crate) fn description_in(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.trim_start_matches('\u{feff}').trim_start().to_owned()
}

/// Checks that a POST brings an offer, and gives it as text.
pub(crate) fn offer_of(request: &mut Request) -> Result<String, Refused> {
    if !is_media_type(request.content_type.as_deref(), SDP) {
        let detail = "send an SDP offer with content-type application/sdp";
        let wrong = problem(415, "not an offer", detail);
        return Err(Box::new(wrong.with("accept-post", SDP)));
    }
    let offer = description_in(&std::mem::take(&mut request.body));
    if offer.starts_with("v=0") {
        return Ok(offer);
    }
    Err(problem(400, "not SDP", "line 1 must be v=0: the body must be an SDP offer (RFC 8866)"))
}

fn refusal(joined: &Joined, is_from_page: bool) -> Response {
    let detail = joined.value.as_deref().unwrap_or_default();
    if joined.kind == JoinedKind::Redirect {
        // RFC 9725 s4.5: a redirect of the POST must keep the method.
        return Response::new(307).with("location", detail);
    }
    match joined.failure {
        Some(Failure::NotAuthorised | Failure::NeedUsername | Failure::DuplicateUsername) => {
            challenge(is_from_page)
        }
        Some(Failure::NoSuchGroup) => Response::problem(404, "no such group", detail),
        Some(Failure::Locked | Failure::Closed | Failure::Full) => {
            Response::problem(403, "not open", detail)
        }
        Some(Failure::Busy) => {
            Response::problem(503, "server busy", detail).with("retry-after", "5")
        }
        Some(Failure::Internal) | None => Response::problem(500, "internal server error", detail),
    }
}
