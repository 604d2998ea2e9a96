//! WHIP sessions: every answer a client may get, and the member behind them.

mod world;

use std::time::Duration;

use serde_json::{Value, json};
use signalling::whip::{Request, Response};
use signalling::{MediaEvent, MediaKind, MediaRequest};
use world::{OPEN, World, group, kinds};

const OFFER: &str = "v=0\r\na=ice-ufrag:abcd\r\n";

fn post() -> Request {
    Request {
        method: "POST".into(),
        group: "test".into(),
        content_type: Some("application/sdp".into()),
        body: OFFER.into(),
        ..Request::default()
    }
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    let mut headers = response.headers.iter();
    headers.find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

/// The answer to a request that needs no data plane.
fn answer(world: &mut World, request: Request) -> Response {
    world.whip(request).expect("answered at once")
}

fn status(world: &mut World, request: Request) -> u16 {
    answer(world, request).status
}

/// A session, up to the 201.
fn live(world: &mut World, request: Request) -> Response {
    let waiting = world.whip(request);
    assert_eq!(waiting, None, "the answer waits for the data plane");
    let media = world.last_publish();
    world.event(MediaEvent::Answered { media, answer: "v=0 re".into(), publications: 2 });
    let ticket = *world.responses.keys().next().expect("answered");
    world.responses.remove(&ticket).expect("just found")
}

fn on(response: &Response, method: &str) -> Request {
    let location = header(response, "location").expect("a location");
    let session = location.strip_prefix("/group/test/.whip/").expect("an absolute path");
    Request {
        method: method.into(),
        group: "test".into(),
        session: Some(session.into()),
        ..Request::default()
    }
}

#[test]
fn a_session_is_a_member_with_one_stream_of_its_own_id() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let created = live(&mut world, post());
    assert_eq!(created.status, 201);
    assert_eq!(created.body, "v=0 re");
    assert_eq!(header(&created, "content-type"), Some("application/sdp"));
    assert!(header(&created, "etag").unwrap().starts_with('"'));
    assert_eq!(on(&created, "DELETE").session.unwrap().len(), 22);
    let said = world.take(ann);
    assert_eq!((kinds(&said), &said[0]["username"]), (vec!["user/add".into()], &json!("whip")));
    let id = said[0]["id"].as_str().unwrap().to_owned();
    assert!(!header(&created, "location").unwrap().contains(&id), "the id gives nothing away");
    let up = world.last_publish();
    world.arrives(up, 0, MediaKind::Audio);
    world.arrives(up, 1, MediaKind::Video);
    world.offered();
    let said = world.take(ann);
    assert_eq!((&said[0]["id"], said[0].get("label")), (&json!(id), None::<&Value>));
    // It neither receives nor chats.
    world.say(ann, json!({"type": "chat", "dest": id, "value": "x"}));
    assert_eq!(world.take(ann)[0]["value"], "this user doesn't chat");
    world.say(ann, json!({"type": "useraction", "kind": "unpresent", "dest": id}));
    assert_eq!(world.take(ann)[0]["value"], "this is not a real user");
    world.forget();
    assert_eq!(status(&mut world, on(&created, "DELETE")), 200);
    assert_eq!(kinds(&world.take(ann)), ["close", "user/delete"]);
    assert!(world.media.contains(&MediaRequest::Close { media: up }));
    assert_eq!(status(&mut world, on(&created, "DELETE")), 404);
}

#[test]
fn refusals_have_a_status_and_words() {
    let mut world = World::new(
        r#"{"users":{"ann":{"password":"a","permissions":"present"},
        "mute":{"password":"m","permissions":"message"}},
        "wildcard-user":{"password":"sesame","permissions":"present"}}"#,
    );
    world.files.insert("locked".into(), group(r#"{"autolock":true,"presenter":[{}]}"#));
    world.files.insert("bad".into(), group("{\"x\":1}"));
    let basic = |pair: &str| {
        // Test data only: "ann:a", "ann:b", "mute:m".
        let encoded = match pair {
            "ann:a" => "YW5uOmE=",
            "ann:b" => "YW5uOmI=",
            _ => "bXV0ZTpt",
        };
        Some(format!("Basic {encoded}"))
    };
    let with = |change: &dyn Fn(&mut Request)| {
        let mut request = post();
        change(&mut request);
        request
    };
    let cases: Vec<(Request, u16)> = vec![
        (with(&|request| request.content_type = None), 415),
        (with(&|request| request.content_type = Some("text/plain".into())), 415),
        (with(&|request| request.body = b"hello".to_vec()), 400),
        (with(&|request| request.body = vec![0xff]), 400),
        (with(&|request| request.body.clear()), 400),
        (with(&|_| {}), 401),
        (with(&|request| request.authorization = Some("Bearer wrong".into())), 401),
        (with(&|request| request.authorization = Some("Digest x".into())), 401),
        (with(&|request| request.authorization = basic("ann:b")), 401),
        (with(&|request| request.authorization = basic("mute:m")), 403),
        (with(&|request| request.group = "locked".into()), 403),
        (with(&|request| request.group = "nothing".into()), 404),
        (with(&|request| request.group = "a/.b".into()), 404),
        (with(&|request| request.group = "bad".into()), 500),
        (with(&|request| request.method = "PUT".into()), 405),
        (with(&|request| request.session = Some("guess".into())), 405),
        (Request { session: Some("guess".into()), method: "DELETE".into(), ..post() }, 404),
    ];
    for (request, expected) in cases {
        let shown = format!("{request:?}");
        let response = answer(&mut world, request);
        assert_eq!(response.status, expected, "{shown}");
        assert_eq!(header(&response, "content-type"), Some("application/problem+json"));
        let problem: Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!(problem["status"], expected);
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        assert_eq!(header(&response, "www-authenticate").is_some(), expected == 401, "{shown}");
        assert_eq!(header(&response, "allow").is_some(), expected == 405, "{shown}");
    }
    assert!(world.media.is_empty());
    for authorization in [basic("ann:a"), Some("Bearer sesame".into())] {
        let created =
            live(&mut world, with(&|request| request.authorization.clone_from(&authorization)));
        assert_eq!(created.status, 201);
    }
}

#[test]
fn media_types_are_compared_without_case_and_parameters() {
    for content_type in ["application/sdp", "Application/SDP", "application/sdp; charset=utf-8"] {
        let mut world = World::new(OPEN);
        let request = Request { content_type: Some(content_type.into()), ..post() };
        assert_eq!(live(&mut world, request).status, 201, "{content_type}");
    }
}

#[test]
fn a_bad_offer_is_422_and_leaves_nobody_behind() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    for (is_busy, expected) in [(false, 422), (true, 503)] {
        assert_eq!(world.whip(post()), None);
        let media = world.last_publish();
        world.event(MediaEvent::Refused { media, text: "no media".into(), is_busy });
        let ticket = *world.responses.keys().next().unwrap();
        let response = world.responses.remove(&ticket).unwrap();
        assert_eq!(response.status, expected);
        assert!(response.body.contains("no media"));
        assert_eq!(kinds(&world.take(ann)), ["user/add", "user/delete"]);
    }
}

#[test]
fn an_offer_that_nobody_answers_is_given_up() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    assert_eq!(world.whip(post()), None);
    world.advance(Duration::from_secs(17));
    let response = world.responses.values().next().unwrap();
    assert_eq!(response.status, 503);
    assert!(kinds(&world.take(ann)).contains(&"user/delete".to_owned()));
}

#[test]
fn a_session_belongs_to_who_made_it() {
    let mut world = World::new(r#"{"presenter":[{"password":"sesame"}]}"#);
    let request = Request { authorization: Some("Bearer sesame".into()), ..post() };
    let created = live(&mut world, request);
    assert_eq!(status(&mut world, on(&created, "DELETE")), 401);
    let other = Request { authorization: Some("Bearer other".into()), ..on(&created, "DELETE") };
    assert_eq!(status(&mut world, other), 403);
    let elsewhere = Request { group: "other".into(), ..on(&created, "DELETE") };
    assert_eq!(status(&mut world, elsewhere), 404);
    // If-Match is no matter of DELETE.
    let own = Request {
        authorization: Some("Bearer sesame".into()),
        if_match: Some("\"stale\"".into()),
        ..on(&created, "DELETE")
    };
    assert_eq!(status(&mut world, own), 200);
}

#[test]
fn candidates_trickle_and_restarts_are_declined() {
    let mut world = World::new(OPEN);
    let created = live(&mut world, post());
    let patch = |body: &str| Request {
        content_type: Some("application/trickle-ice-sdpfrag".into()),
        body: body.into(),
        ..on(&created, "PATCH")
    };
    world.forget();
    let fragment = "a=ice-ufrag:abcd\r\na=ice-pwd:x\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
        a=candidate:1 1 UDP 1 192.0.2.1 9 typ host\r\n";
    assert_eq!(status(&mut world, patch(fragment)), 204);
    assert!(matches!(&world.media[..], [MediaRequest::AddCandidate { candidate, .. }]
        if candidate == "candidate:1 1 UDP 1 192.0.2.1 9 typ host"));
    assert_eq!(status(&mut world, patch("a=ice-ufrag:efgh\r\n")), 422);
    assert_eq!(status(&mut world, patch("")), 400);
    let stale = Request { if_match: Some("\"stale\"".into()), ..patch(fragment) };
    assert_eq!(status(&mut world, stale), 412);
    let etag = header(&created, "etag").map(str::to_owned);
    assert_eq!(status(&mut world, Request { if_match: etag, ..patch(fragment) }), 204);
    assert_eq!(status(&mut world, on(&created, "PATCH")), 415);
    assert_eq!(status(&mut world, on(&created, "POST")), 405);
}

#[test]
fn preflights_need_no_credentials() {
    let mut world = World::new(r#"{"presenter":[{"password":"sesame"}]}"#);
    for session in [None, Some("guess".to_owned())] {
        let request = Request { method: "OPTIONS".into(), session, ..Request::default() };
        let response = answer(&mut world, request);
        assert_eq!(response.status, 200);
        assert!(
            header(&response, "access-control-allow-headers").unwrap().contains("Authorization")
        );
        assert!(header(&response, "access-control-allow-methods").is_some());
    }
}

#[test]
fn a_kick_or_a_lost_connection_ends_the_session() {
    for is_kick in [true, false] {
        let mut world = World::new(OPEN);
        let ann = world.member("ann", "ann");
        let created = live(&mut world, post());
        let id = world.take(ann)[0]["id"].as_str().unwrap().to_owned();
        if is_kick {
            world.say(ann, json!({"type": "useraction", "kind": "kick", "dest": id}));
        } else {
            let media = world.last_publish();
            world.event(MediaEvent::Closed { media, text: "vanished".into() });
        }
        assert!(kinds(&world.take(ann)).contains(&"user/delete".to_owned()));
        assert_eq!(status(&mut world, on(&created, "DELETE")), 404);
    }
}
