//! WHEP (draft-ietf-wish-whep) as an adapter over the hub: a POST makes a member that watches the
//! group through the seats of its offer, a DELETE ends it. See `whep_events.rs` for the
//! extensions.

use crate::exchange::{Exchanges, Heard, Patch, SDP, Stage, description_in, offer_of};
use crate::fragment::directions;
pub use crate::http::Reply;
use crate::http::{Request, Response, is_media_type, options};
use crate::hub::{Event, Hub};
use crate::ids::{ConnId, Ticket};
use crate::protocol::Protocol;
use crate::relay::Relay;
use crate::time::Now;
use crate::view::ViewRequest;
use crate::whep_events::{EVENTS, Streams};

const ENDPOINT_METHODS: &str = "OPTIONS, GET, HEAD, POST";
const SESSION_METHODS: &str = "OPTIONS, GET, HEAD, PATCH, DELETE";
/// What a PATCH may carry: a fragment, or the answer to our offer.
const ACCEPT_PATCH: &str = "application/trickle-ice-sdpfrag, application/sdp";
const EVENTS_REL: &str = "urn:ietf:params:whep:ext:core:server-sent-events";
const LAYER_REL: &str = "urn:ietf:params:whep:ext:core:layer";
/// How long our offer holds, in seconds (WHEP s4.3: 30 unless said otherwise).
const OFFER_FOR_S: u64 = 30;
/// Seats that we offer of each kind unless `?audio=` and `?video=` say otherwise.
const SEATS: u8 = 1;
const SEATS_MAX: u8 = 8;

/// All sessions of players.
#[derive(Debug)]
pub struct Endpoint {
    exchanges: Exchanges,
    streams: Streams,
    /// Answer 409 while nobody publishes, instead of holding.
    refuses_empty: bool,
}

impl Default for Endpoint {
    fn default() -> Self {
        let exchanges = Exchanges::new(Protocol::Whep);
        Self { exchanges, streams: Streams::default(), refuses_empty: false }
    }
}

impl Endpoint {
    /// Our own TURN server, for more `Link` headers.
    pub(crate) fn set_relay(&mut self, relay: Option<Relay>) {
        self.exchanges.set_relay(relay);
    }

    /// Values of `Link` headers, and whether a PATCH needs If-Match.
    pub(crate) fn configure(&mut self, links: Option<Vec<String>>, is_strict: Option<bool>) {
        self.exchanges.configure(links, is_strict);
    }

    /// Whether to answer 409 while nobody publishes.
    pub(crate) fn refuse_empty(&mut self, refuses_empty: bool) {
        self.refuses_empty = refuses_empty;
    }

    /// The next piece of an open body, or its end.
    pub(crate) fn poll_chunk(&mut self) -> Option<(Ticket, Option<String>)> {
        self.streams.poll_chunk()
    }

    /// Nobody reads an open body any more.
    pub(crate) fn reader_left(&mut self, ticket: Ticket) {
        self.streams.reader_left(ticket);
    }

    /// Answers at once, or later by [`Self::event`] or [`Self::tick`].
    pub fn handle(
        &mut self,
        ticket: Ticket,
        request: Request,
        now: Now,
        hub: &mut Hub,
    ) -> Option<Reply> {
        let is_session = request.session.is_some();
        let handled = match (request.method.as_str(), request.below.as_str()) {
            ("OPTIONS", below) => Ok(Some(self.options(is_session, below, &request))),
            (_, below) if !below.is_empty() => {
                return Some(match self.exchanges.find_within_rate(&request, now) {
                    Ok(conn) => {
                        let path = self.exchanges.path_below(conn, EVENTS);
                        self.streams.handle(conn, ticket, &request, &path, hub)
                    }
                    Err(problem) => Reply::Whole(*problem),
                });
            }
            ("POST", _) if !is_session => self.post(ticket, request, now, hub).map(|()| None),
            // WHEP s4.2: HEAD tells players what the URL is; GET has the same headers.
            ("GET" | "HEAD", _) if !is_session => {
                let found = Response::new(200).with("content-type", SDP);
                Ok(Some(found.with("accept-post", SDP)))
            }
            ("GET" | "HEAD", _) => Ok(Some(Response::new(204))),
            ("DELETE", _) if is_session => self.exchanges.find(&request).map(|conn| {
                self.end(conn, now, hub);
                Some(Response::new(200))
            }),
            ("PATCH", _) if is_session => self.patch(ticket, &request, now, hub),
            _ => Ok(Some(not_allowed(is_session))),
        };
        handled.unwrap_or_else(|problem| Some(*problem)).map(Reply::Whole)
    }

    fn options(&self, is_session: bool, below: &str, request: &Request) -> Response {
        match (is_session, below) {
            (false, _) => self.exchanges.endpoint_options(ENDPOINT_METHODS, request),
            (true, "") => options(SESSION_METHODS).with("accept-patch", ACCEPT_PATCH),
            (true, _) => options("OPTIONS, GET, POST, DELETE"),
        }
    }

    fn post(
        &mut self,
        ticket: Ticket,
        mut request: Request,
        now: Now,
        hub: &mut Hub,
    ) -> Result<(), Box<Response>> {
        // Without a body the player asks for an offer of ours (WHEP s4.3).
        let wants_offer = request.body.iter().all(u8::is_ascii_whitespace);
        let offer = if wants_offer { String::new() } else { offer_of(&mut request)? };
        let found = directions(&offer);
        // A section that rests beside others is no reason to turn a listener away.
        let is_idle = !found.is_empty() && found.iter().all(|found| *found == "inactive");
        if is_idle || found.contains(&"sendonly") {
            let detail = "audio and video sections must be recvonly; to publish, use .whip";
            return Err(Box::new(Response::problem(422, "not an offer to receive", detail)));
        }
        let seats = |name: &str| {
            let wanted = request.param(name).and_then(|count| count.parse().ok());
            wanted.map_or(SEATS, |count: u8| count.min(SEATS_MAX))
        };
        let view = ViewRequest {
            offer: (!wants_offer).then(|| offer.clone()),
            seats: (seats("audio"), seats("video")),
            stream: request.param("stream").map(str::to_owned),
            username: request.param("user").map(str::to_owned),
        };
        let conn = self.exchanges.open(ticket, request, offer, now, hub)?;
        self.streams.expect(conn, view);
        Ok(())
    }

    fn patch(
        &mut self,
        ticket: Ticket,
        request: &Request,
        now: Now,
        hub: &mut Hub,
    ) -> Result<Option<Response>, Box<Response>> {
        let conn = self.exchanges.find(request)?;
        if is_media_type(request.content_type.as_deref(), SDP) {
            return self.counter_answer(conn, ticket, request, now, hub);
        }
        Ok(match self.exchanges.patch(conn, ticket, request, now)? {
            Patch::Done(response) => Some(response),
            // Addresses are learnt from the player's checks.
            Patch::Trickle(_) => Some(Response::new(204)),
            Patch::Restart(offer) => {
                hub.view(conn, ViewRequest { offer: Some(offer), ..ViewRequest::default() }, now);
                None
            }
        })
    }

    /// The player's answer to our offer.
    fn counter_answer(
        &mut self,
        conn: ConnId,
        ticket: Ticket,
        request: &Request,
        now: Now,
        hub: &mut Hub,
    ) -> Result<Option<Response>, Box<Response>> {
        let problem =
            |status, title, detail| Err(Box::new(Response::problem(status, title, detail)));
        let answer = description_in(&request.body);
        let Some(exchange) = self.exchanges.get_mut(conn) else {
            return problem(404, "no such session", "POST again");
        };
        if !self.streams.is_offered(conn) || exchange.waiting.is_some() {
            return problem(409, "no offer to answer", "this session is negotiated");
        }
        if !answer.starts_with("v=0") {
            return problem(400, "not SDP", "line 1 must be v=0: the body must be an SDP answer");
        }
        if directions(&answer).iter().any(|found| matches!(*found, "sendonly" | "sendrecv")) {
            return problem(422, "not an answer to receive", "every section must be recvonly");
        }
        exchange.waiting = Some((ticket, now.mono));
        exchange.adopt_credentials(&answer);
        hub.view_answer(conn, answer);
        Ok(None)
    }

    /// Something has happened to a member of ours.
    pub fn event(
        &mut self,
        conn: ConnId,
        event: &Event,
        now: Now,
        hub: &mut Hub,
    ) -> Option<(Ticket, Response)> {
        let answer = match self.exchanges.hear(conn, event, now, hub) {
            Heard::Joined => self.joined(conn, now, hub),
            Heard::Done(answer) => answer,
            Heard::Other => self.own_event(conn, event, now, hub),
        };
        self.tidy(conn);
        answer
    }

    /// The member is in: now it may watch.
    fn joined(&mut self, conn: ConnId, now: Now, hub: &mut Hub) -> Option<(Ticket, Response)> {
        if self.refuses_empty && !hub.has_streams(conn) {
            let refused = Response::problem(409, "nothing to watch", "nobody publishes here yet");
            return self.exchanges.give_up(conn, refused.with("retry-after", "5"), now, hub);
        }
        self.exchanges.get_mut(conn)?.stage = Stage::Offering;
        let request = self.streams.take_request(conn)?;
        hub.view(conn, request, now);
        None
    }

    fn own_event(
        &mut self,
        conn: ConnId,
        event: &Event,
        now: Now,
        hub: &mut Hub,
    ) -> Option<(Ticket, Response)> {
        match event {
            Event::Viewing { sdp: Some(sdp) } => {
                let (ticket, response) = self.exchanges.answered(conn, 201, sdp, hub)?;
                if response.status != 201 {
                    return Some((ticket, response));
                }
                let events = self.exchanges.path_below(conn, EVENTS);
                let layer = self.exchanges.path_below(conn, "layer");
                let names = crate::whep_events::NAMES.join(",");
                let link = format!("<{events}>; rel=\"{EVENTS_REL}\"; events=\"{names}\"");
                let response = response
                    .with("link", link)
                    .with("link", format!("<{layer}>; rel=\"{LAYER_REL}\""));
                Some((ticket, response))
            }
            // Our offer is answered.
            Event::Viewing { sdp: None } => {
                self.streams.negotiated(conn);
                Some((self.exchanges.take_waiting(conn)?, Response::new(204)))
            }
            Event::Numbers { value } => {
                self.streams.tell_numbers(conn, value);
                None
            }
            Event::ViewOffer { sdp } => {
                self.streams.offered(conn, now.mono);
                self.exchanges.answered(conn, 406, sdp, hub)
            }
            Event::ViewRefused { text, cause } => {
                self.exchanges.refused(conn, (*cause, text), now, hub)
            }
            Event::ViewClosed { text } => {
                let gone = Response::problem(503, "the connection is gone", text);
                self.exchanges.give_up(conn, gone, now, hub)
            }
            _ => None,
        }
    }

    fn end(&mut self, conn: ConnId, now: Now, hub: &mut Hub) {
        self.exchanges.end(conn, now, hub);
        self.tidy(conn);
    }

    /// A session that is over has no event streams.
    fn tidy(&mut self, conn: ConnId) {
        if !self.exchanges.is_open(conn) {
            self.streams.end(conn);
        }
    }

    /// Gives up what is not answered, and tells those who listen what has changed.
    pub fn tick(&mut self, now: Now, hub: &mut Hub) -> Vec<(Ticket, Response)> {
        for conn in self.streams.expired(now.mono, OFFER_FOR_S) {
            self.end(conn, now, hub);
        }
        let mut responses = Vec::new();
        for (conn, ticket, response) in self.exchanges.tick(now, hub) {
            self.tidy(conn);
            responses.push((ticket, response));
        }
        self.streams.tick(now, hub);
        responses
    }
}

fn not_allowed(is_session: bool) -> Response {
    let methods = if is_session { SESSION_METHODS } else { ENDPOINT_METHODS };
    let detail = if is_session {
        "use DELETE to end the session, PATCH to restart ICE"
    } else {
        "use POST with an SDP offer"
    };
    Response::problem(405, "method not allowed", detail).with("allow", methods)
}
