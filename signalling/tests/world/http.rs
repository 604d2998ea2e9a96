//! What WHIP and WHEP clients do alike.

use signalling::whip::{Request, Response};

use super::World;

/// An offer to the group `test`.
pub(crate) fn post(offer: &str) -> Request {
    Request {
        method: "POST".into(),
        group: "test".into(),
        content_type: Some("application/sdp".into()),
        body: offer.into(),
        ..Request::default()
    }
}

/// A header of a response.
pub(crate) fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    let mut headers = response.headers.iter();
    headers.find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

/// A request to the session that was created.
pub(crate) fn on(created: &Response, method: &str) -> Request {
    let location = header(created, "location").expect("a location");
    let (endpoint, session) = location.rsplit_once('/').expect("an absolute path");
    assert!(matches!(endpoint, "/group/test/.whip" | "/group/test/.whep"), "{location}");
    Request {
        method: method.into(),
        group: "test".into(),
        session: Some(session.into()),
        ..Request::default()
    }
}

/// The response that has come last.
pub(crate) fn taken(world: &mut World) -> Response {
    let ticket = *world.responses.keys().next().expect("answered");
    world.responses.remove(&ticket).expect("just found")
}
