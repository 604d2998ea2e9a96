//! WHIP (RFC 9725) as an adapter over the hub: a POST makes a member with one stream, a DELETE
//! ends it. HTTP comes in and goes out as plain values; origins are the server's business.

use std::collections::HashMap;
use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::authorization::credentials;
pub use crate::http::{Request, Response};
use crate::http::{attribute, challenge, digest, is_media_type, options};
use crate::hub::{Event, Failure, Hub, JoinRequest, Joined, JoinedKind, Traits};
use crate::ids::{ConnId, StreamId, Ticket};
use crate::name::encode_path;
use crate::time::Now;

/// As many sessions as this; more are told to come back.
const SESSIONS_MAX: usize = 4096;
/// An offer that has not been answered by then is given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const ENDPOINT_METHODS: &str = "OPTIONS, GET, HEAD, POST";
const SESSION_METHODS: &str = "OPTIONS, GET, HEAD, PATCH, DELETE";

#[derive(Debug)]
enum Stage {
    /// The join is being decided.
    Joining { ticket: Ticket, offer: String, since: Duration },
    /// The offer is with the data plane.
    Offering { ticket: Ticket, since: Duration },
    /// The session URL is out.
    Live,
}

#[derive(Debug)]
struct Session {
    group: String,
    /// The last part of the session URL.
    secret: String,
    etag: String,
    stream: StreamId,
    /// What the POST was authorised with; later requests need the same.
    authorization: Option<[u8; 32]>,
    /// The ICE username fragment of the offer.
    ufrag: String,
    is_from_page: bool,
    stage: Stage,
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Endpoint {
    sessions: HashMap<ConnId, Session>,
    by_secret: HashMap<String, ConnId>,
}

impl Endpoint {
    /// Answers at once, or later by [`Self::event`] or [`Self::tick`].
    pub fn handle(
        &mut self,
        ticket: Ticket,
        request: Request,
        now: Now,
        hub: &mut Hub,
    ) -> Option<Response> {
        match (&request.session, request.method.as_str()) {
            (None, "POST") => match self.post(ticket, request, now, hub) {
                Ok(()) => None,
                Err(problem) => Some(*problem),
            },
            (Some(secret), "DELETE" | "PATCH") => {
                let Some(conn) = self.by_secret.get(secret).copied() else {
                    let detail = "the session has ended or never was: POST a new offer";
                    return Some(Response::problem(404, "no such session", detail));
                };
                Some(self.on_session(conn, &request, now, hub).unwrap_or_else(|problem| *problem))
            }
            (None, "OPTIONS") => Some(options(ENDPOINT_METHODS).with("accept-post", SDP)),
            (Some(_), "OPTIONS") => Some(options(SESSION_METHODS).with("accept-patch", FRAGMENT)),
            (_, "GET" | "HEAD") => Some(Response::new(204)),
            (session, _) => {
                let is_session = session.is_some();
                let methods = if is_session { SESSION_METHODS } else { ENDPOINT_METHODS };
                let detail = if is_session {
                    "use DELETE to end the session, PATCH to add candidates"
                } else {
                    "use POST with an SDP offer"
                };
                let problem = Response::problem(405, "method not allowed", detail);
                Some(problem.with("allow", methods))
            }
        }
    }

    fn post(
        &mut self,
        ticket: Ticket,
        request: Request,
        now: Now,
        hub: &mut Hub,
    ) -> Result<(), Box<Response>> {
        let problem = |status, title, detail| Box::new(Response::problem(status, title, detail));
        if !is_media_type(request.content_type.as_deref(), SDP) {
            let wrong = Response::problem(
                415,
                "not an offer",
                "send an SDP offer with content-type application/sdp",
            );
            return Err(Box::new(wrong.with("accept-post", SDP)));
        }
        let offer = String::from_utf8(request.body).unwrap_or_default();
        if !offer.starts_with("v=") {
            return Err(problem(400, "not SDP", "the body must be an SDP offer (RFC 8866)"));
        }
        let Some(credentials) = credentials(request.authorization.as_deref()) else {
            return Err(Box::new(challenge(request.is_from_page)));
        };
        if self.sessions.len() >= SESSIONS_MAX {
            let busy = Response::problem(503, "server full", "try again later");
            return Err(Box::new(busy.with("retry-after", "30")));
        }
        let client = hub.entropy().hex_id();
        let Ok(stream) = StreamId::parse(&client) else {
            return Err(problem(500, "internal server error", "try again"));
        };
        let conn = hub.connect(Traits { receives: false, chats: false, address: request.address });
        let session = Session {
            group: request.group.clone(),
            secret: hub.entropy().long_id(),
            etag: format!("\"{}\"", hub.entropy().short_id()),
            stream,
            authorization: request.authorization.as_deref().map(digest),
            ufrag: attribute(&offer, "ice-ufrag").unwrap_or_default().to_owned(),
            is_from_page: request.is_from_page,
            stage: Stage::Joining { ticket, offer, since: now.mono },
        };
        self.by_secret.insert(session.secret.clone(), conn);
        self.sessions.insert(conn, session);
        let data = serde_json::Map::new();
        hub.join(conn, JoinRequest { client, group: request.group, credentials, data });
        Ok(())
    }

    fn on_session(
        &mut self,
        conn: ConnId,
        request: &Request,
        now: Now,
        hub: &mut Hub,
    ) -> Result<Response, Box<Response>> {
        let problem =
            |status, title, detail| Err(Box::new(Response::problem(status, title, detail)));
        let session = match self.sessions.get(&conn) {
            Some(session) if session.group == request.group => session,
            _ => return problem(404, "no such session", "POST a new offer"),
        };
        match (&session.authorization, request.authorization.as_deref().map(digest)) {
            (None, _) => {}
            (Some(_), None) => return Err(Box::new(challenge(request.is_from_page))),
            (Some(own), Some(given)) if bool::from(own.ct_eq(&given)) => {}
            (Some(_), Some(_)) => {
                return problem(403, "not yours", "use the credentials of the POST");
            }
        }
        if request.method == "DELETE" {
            self.end(conn, now, hub);
            return Ok(Response::new(200));
        }
        if !is_media_type(request.content_type.as_deref(), FRAGMENT) {
            let wrong = Response::problem(415, "not a fragment", "send an SDP fragment (RFC 8840)");
            return Err(Box::new(wrong.with("accept-patch", FRAGMENT)));
        }
        let fragment = std::str::from_utf8(&request.body).unwrap_or_default();
        let Some(ufrag) = attribute(fragment, "ice-ufrag") else {
            return problem(400, "not a fragment", "the fragment must have an a=ice-ufrag line");
        };
        if ufrag != session.ufrag {
            return problem(422, "no ICE restart", "DELETE this session and POST a new offer");
        }
        let is_stale = |etag: &str| etag != "*" && etag != "\"*\"" && etag != session.etag;
        if request.if_match.as_deref().is_some_and(is_stale) {
            return problem(412, "stale ETag", "use the ETag of the last answer");
        }
        for line in fragment.lines() {
            if let Some(candidate) = line.trim_end().strip_prefix("a=candidate:") {
                hub.candidate(conn, &session.stream, format!("candidate:{candidate}"));
            }
        }
        Ok(Response::new(204))
    }

    /// Something has happened to a member of ours.
    pub fn event(
        &mut self,
        conn: ConnId,
        event: &Event,
        now: Now,
        hub: &mut Hub,
    ) -> Option<(Ticket, Response)> {
        let session = self.sessions.get_mut(&conn)?;
        match event {
            Event::Joined(joined) => {
                let Stage::Joining { ticket, offer, .. } = &mut session.stage else {
                    return None;
                };
                let (ticket, offer) = (*ticket, std::mem::take(offer));
                if joined.kind == JoinedKind::Join {
                    if joined.permissions.has(crate::permission::PRESENT) {
                        session.stage = Stage::Offering { ticket, since: now.mono };
                        let stream = session.stream.clone();
                        hub.publish(conn, stream, "", None, offer, now);
                        return None;
                    }
                    self.end(conn, now, hub);
                    let detail = "this user may not present in this group";
                    return Some((ticket, Response::problem(403, "not allowed", detail)));
                }
                let response = refusal(joined, session.is_from_page);
                self.end(conn, now, hub);
                Some((ticket, response))
            }
            Event::Answer { sdp, .. } => {
                let Stage::Offering { ticket, .. } = session.stage else {
                    return None;
                };
                session.stage = Stage::Live;
                let path = encode_path(&session.group);
                let location = format!("/group/{path}/.whip/{}", session.secret);
                let mut response = Response::new(201)
                    .with("location", location)
                    .with("etag", session.etag.clone())
                    .with("content-type", SDP)
                    .with("accept-patch", FRAGMENT);
                response.body.clone_from(sdp);
                Some((ticket, response))
            }
            // The words that explain an abort come with the error after it.
            Event::Error { text, is_busy } => {
                let Stage::Offering { ticket, .. } = session.stage else {
                    return None;
                };
                let response = if *is_busy {
                    Response::problem(503, "server busy", text).with("retry-after", "5")
                } else {
                    Response::problem(422, "the offer cannot be used", text)
                };
                self.end(conn, now, hub);
                Some((ticket, response))
            }
            Event::Abort { .. } => {
                if matches!(session.stage, Stage::Live) {
                    self.end(conn, now, hub);
                }
                None
            }
            Event::Kicked { message, .. } => {
                let waiting = match session.stage {
                    Stage::Joining { ticket, .. } | Stage::Offering { ticket, .. } => Some(ticket),
                    Stage::Live => None,
                };
                self.end(conn, now, hub);
                Some((waiting?, Response::problem(403, "kicked out", message)))
            }
            _ => None,
        }
    }

    /// Gives up offers that nobody answers.
    pub fn tick(&mut self, now: Now, hub: &mut Hub) -> Vec<(Ticket, Response)> {
        let late: Vec<(ConnId, Ticket)> = self
            .sessions
            .iter()
            .filter_map(|(conn, session)| match session.stage {
                Stage::Joining { ticket, since, .. } | Stage::Offering { ticket, since } => {
                    (now.mono > since + ANSWER_WITHIN).then_some((*conn, ticket))
                }
                Stage::Live => None,
            })
            .collect();
        let mut responses = Vec::new();
        for (conn, ticket) in late {
            self.end(conn, now, hub);
            let response = Response::problem(503, "server busy", "no answer in time, try again");
            responses.push((ticket, response.with("retry-after", "5")));
        }
        responses
    }

    fn end(&mut self, conn: ConnId, now: Now, hub: &mut Hub) {
        if let Some(session) = self.sessions.remove(&conn) {
            self.by_secret.remove(&session.secret);
        }
        hub.disconnect(conn, now);
    }
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
        Some(Failure::Closed | Failure::Full) => Response::problem(403, "not open", detail),
        Some(Failure::Busy) => {
            Response::problem(503, "server busy", detail).with("retry-after", "5")
        }
        Some(Failure::Internal) | None => Response::problem(500, "internal server error", detail),
    }
}
