//! WHIP (RFC 9725) as an adapter over the hub: a POST makes a member with one stream, a DELETE
//! ends it. HTTP comes in and goes out as plain values; origins are the server's business.

use crate::exchange::{Exchanges, Heard, Patch, SDP, Stage, offer_of};
use crate::fragment::{FRAGMENT, directions};
use crate::http::options;
pub use crate::http::{Request, Response};
use crate::hub::{Event, Hub};
use crate::ids::{ConnId, Ticket};
use crate::permission::PRESENT;
use crate::protocol::Protocol;
use crate::relay::Relay;
use crate::time::Now;

const ENDPOINT_METHODS: &str = "OPTIONS, GET, HEAD, POST";
const SESSION_METHODS: &str = "OPTIONS, GET, HEAD, PATCH, DELETE";

/// All sessions of publishers.
#[derive(Debug)]
pub struct Endpoint {
    exchanges: Exchanges,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self { exchanges: Exchanges::new(Protocol::Whip) }
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

    /// Answers at once, or later by [`Self::event`] or [`Self::tick`].
    pub fn handle(
        &mut self,
        ticket: Ticket,
        request: Request,
        now: Now,
        hub: &mut Hub,
    ) -> Option<Response> {
        let handled = match (&request.session, request.method.as_str()) {
            (None, "POST") => self.post(ticket, request, now, hub).map(|()| None),
            (None, "OPTIONS") => {
                Ok(Some(self.exchanges.endpoint_options(ENDPOINT_METHODS, &request)))
            }
            (None, "GET" | "HEAD") => Ok(Some(Response::new(204).with("accept-post", SDP))),
            (Some(_), "OPTIONS") => {
                Ok(Some(options(SESSION_METHODS).with("accept-patch", FRAGMENT)))
            }
            (Some(_), "GET" | "HEAD") => Ok(Some(Response::new(204))),
            (Some(_), "DELETE") if request.below.is_empty() => {
                self.exchanges.find(&request).map(|conn| {
                    self.exchanges.end(conn, now, hub);
                    Some(Response::new(200))
                })
            }
            (Some(_), "PATCH") if request.below.is_empty() => {
                self.patch(ticket, &request, now, hub)
            }
            (session, _) => Ok(Some(not_allowed(session.is_some()))),
        };
        handled.unwrap_or_else(|problem| Some(*problem))
    }

    fn post(
        &mut self,
        ticket: Ticket,
        mut request: Request,
        now: Now,
        hub: &mut Hub,
    ) -> Result<(), Box<Response>> {
        let offer = offer_of(&mut request)?;
        let is_wrong = |direction: &&str| matches!(*direction, "recvonly" | "inactive");
        if directions(&offer).iter().any(is_wrong) {
            let detail = "every audio and video section must be sendonly; to watch, use .whep";
            return Err(Box::new(Response::problem(422, "not an offer to send", detail)));
        }
        self.exchanges.open(ticket, request, offer, now, hub).map(|_| ())
    }

    fn patch(
        &mut self,
        ticket: Ticket,
        request: &Request,
        now: Now,
        hub: &mut Hub,
    ) -> Result<Option<Response>, Box<Response>> {
        let conn = self.exchanges.find(request)?;
        let patch = self.exchanges.patch(conn, ticket, request, now)?;
        let stream = self.exchanges.get_mut(conn).map(|exchange| exchange.stream.clone());
        match (patch, stream) {
            (Patch::Done(response), _) => Ok(Some(response)),
            (Patch::Trickle(candidates), Some(stream)) => {
                for candidate in candidates {
                    hub.candidate(conn, &stream, candidate);
                }
                Ok(Some(Response::new(204)))
            }
            (Patch::Restart(offer), Some(stream)) => {
                hub.publish(conn, stream, "", None, offer, now);
                Ok(None)
            }
            (_, None) => Ok(Some(Response::new(204))),
        }
    }

    /// Something has happened to a member of ours.
    pub fn event(
        &mut self,
        conn: ConnId,
        event: &Event,
        now: Now,
        hub: &mut Hub,
    ) -> Option<(Ticket, Response)> {
        match self.exchanges.hear(conn, event, now, hub) {
            Heard::Joined => return self.joined(conn, now, hub),
            Heard::Done(answer) => return answer,
            Heard::Other => {}
        }
        let exchange = self.exchanges.get_mut(conn)?;
        match event {
            // RFC 9725 s4.4.3 wants all or nothing.
            Event::Answer { unused, .. }
                if matches!(exchange.stage, Stage::Offering) && !unused.is_empty() =>
            {
                let takes = hub.codecs(conn).join(", ");
                let detail = format!("{}; this group takes {takes}", unused.join("; "));
                let problem = Response::problem(422, "unsupported media", &detail);
                self.exchanges.give_up(conn, problem, now, hub)
            }
            Event::Answer { sdp, .. } => self.exchanges.answered(conn, 201, sdp, hub),
            // The words that explain an abort come with the error after it.
            Event::Error { text, cause } => self.exchanges.refused(conn, (*cause, text), now, hub),
            Event::Abort { .. } => {
                if matches!(exchange.stage, Stage::Live) {
                    self.exchanges.end(conn, now, hub);
                }
                None
            }
            _ => None,
        }
    }

    /// The member is in: now its offer counts.
    fn joined(&mut self, conn: ConnId, now: Now, hub: &mut Hub) -> Option<(Ticket, Response)> {
        if !hub.may(conn, PRESENT) {
            let detail = "this user may not present in this group";
            let problem = Response::problem(403, "not allowed", detail);
            return self.exchanges.give_up(conn, problem, now, hub);
        }
        let exchange = self.exchanges.get_mut(conn)?;
        exchange.stage = Stage::Offering;
        let (stream, offer) = (exchange.stream.clone(), exchange.offer.clone());
        hub.publish(conn, stream, "", None, offer, now);
        None
    }

    /// Gives up what the data plane does not answer.
    pub fn tick(&mut self, now: Now, hub: &mut Hub) -> Vec<(Ticket, Response)> {
        let late = self.exchanges.tick(now, hub);
        late.into_iter().map(|(_, ticket, response)| (ticket, response)).collect()
    }
}

fn not_allowed(is_session: bool) -> Response {
    let methods = if is_session { SESSION_METHODS } else { ENDPOINT_METHODS };
    let detail = if is_session {
        "use DELETE to end the session, PATCH to add candidates or restart ICE"
    } else {
        "use POST with an SDP offer"
    };
    Response::problem(405, "method not allowed", detail).with("allow", methods)
}
