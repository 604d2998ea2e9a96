//! WHIP (RFC 9725) as an adapter over the hub: a POST makes a member with one stream, a DELETE
//! ends it. HTTP comes in and goes out as plain values; origins are the server's business.

use crate::exchange::{Exchanges, Patch, SDP, Stage, offer_of};
use crate::fragment::{FRAGMENT, directions};
use crate::http::options;
pub use crate::http::{Request, Response};
use crate::hub::{Event, Hub, JoinedKind};
use crate::ids::{ConnId, Ticket};
use crate::permission::PRESENT;
use crate::relay::Relay;
use crate::time::Now;

const ENDPOINT_METHODS: &str = "OPTIONS, GET, HEAD, POST";
const SESSION_METHODS: &str = "OPTIONS, GET, HEAD, PATCH, DELETE";

/// All sessions.
#[derive(Debug)]
pub struct Endpoint {
    exchanges: Exchanges,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self { exchanges: Exchanges::new(".whip") }
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
        let exchange = self.exchanges.get_mut(conn)?;
        match event {
            Event::Joined(joined) if matches!(exchange.stage, Stage::Joining) => {
                if joined.kind != JoinedKind::Join {
                    return self.exchanges.not_joined(conn, joined, now, hub);
                }
                if !joined.permissions.has(PRESENT) {
                    let detail = "this user may not present in this group";
                    return self.exchanges.give_up(
                        conn,
                        Response::problem(403, "not allowed", detail),
                        now,
                        hub,
                    );
                }
                exchange.stage = Stage::Offering;
                let (stream, offer) = (exchange.stream.clone(), exchange.offer.clone());
                hub.publish(conn, stream, "", None, offer, now);
                None
            }
            Event::Answer { sdp, unused, .. } => {
                // RFC 9725 s4.4.3 wants all or nothing.
                if matches!(exchange.stage, Stage::Offering) && !unused.is_empty() {
                    let takes = hub.codecs(conn).join(", ");
                    let detail = format!("{}; this group takes {takes}", unused.join("; "));
                    let title = "unsupported media";
                    return self.exchanges.give_up(
                        conn,
                        Response::problem(422, title, &detail),
                        now,
                        hub,
                    );
                }
                self.exchanges.answered(conn, 201, sdp, hub)
            }
            // The words that explain an abort come with the error after it.
            Event::Error { text, cause } => {
                let stream = exchange.stream.clone();
                let takes = hub.codecs(conn).to_vec();
                let refused = self.exchanges.refused(conn, *cause, text, &takes)?;
                if !hub.has_media(conn, &stream) {
                    self.exchanges.end(conn, now, hub);
                }
                Some(refused)
            }
            Event::Abort { .. } => {
                if matches!(exchange.stage, Stage::Live) {
                    self.exchanges.end(conn, now, hub);
                }
                None
            }
            Event::Kicked { message, .. } => self.exchanges.give_up(
                conn,
                Response::problem(403, "kicked out", message),
                now,
                hub,
            ),
            _ => None,
        }
    }

    /// Gives up what the data plane does not answer.
    pub fn tick(&mut self, now: Now, hub: &mut Hub) -> Vec<(Ticket, Response)> {
        let late = self.exchanges.overdue(now);
        late.into_iter()
            .map(|(conn, ticket, is_restart)| {
                if !is_restart {
                    self.exchanges.end(conn, now, hub);
                }
                (ticket, overdue())
            })
            .collect()
    }
}

/// 503 for what was not answered in time.
pub(crate) fn overdue() -> Response {
    let response = Response::problem(503, "server busy", "no answer in time, try again");
    response.with("retry-after", "5")
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
