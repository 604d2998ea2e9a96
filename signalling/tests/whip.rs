//! WHIP sessions: every answer a client may get, and the member behind them.

mod world;

use std::time::Duration;

use serde_json::{Value, json};
use signalling::whip::{Request, Response};
use signalling::{Cause, MediaEvent, MediaKind, MediaRequest};
use world::http::{header, on, post, taken};
use world::{OPEN, World, group, kinds};

const OFFER: &str = "v=0\r\na=ice-ufrag:abcd\r\na=ice-pwd:aPasswordOfTheFirstTime\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\n";

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
    world.event(MediaEvent::Answered {
        media,
        answer: "v=0 re".into(),
        publications: 2,
        unused: Vec::new(),
    });
    taken(world)
}

#[test]
fn a_session_is_a_member_with_one_stream_of_its_own_id() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let created = live(&mut world, post(OFFER));
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
        let mut request = post(OFFER);
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
        (Request { session: Some("guess".into()), method: "DELETE".into(), ..post(OFFER) }, 404),
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
fn bodies_may_begin_with_marks_and_blank_lines_and_a_bearer_may_be_empty() {
    let title = [b"v=0\r\ns=caf\xe9\r\n".as_slice(), &OFFER.as_bytes()[5..]].concat();
    for body in
        [format!("\u{feff}{OFFER}").into_bytes(), format!("\r\n{OFFER}").into_bytes(), title]
    {
        let mut world = World::new(OPEN);
        let authorization = Some("Bearer ".to_owned());
        let created = live(&mut world, Request { body, authorization, ..post(OFFER) });
        assert_eq!(created.status, 201);
    }
}

#[test]
fn media_types_are_compared_without_case_and_parameters() {
    for content_type in ["application/sdp", "Application/SDP", "application/sdp; charset=utf-8"] {
        let mut world = World::new(OPEN);
        let request = Request { content_type: Some(content_type.into()), ..post(OFFER) };
        assert_eq!(live(&mut world, request).status, 201, "{content_type}");
    }
}

#[test]
fn a_bad_offer_is_422_and_leaves_nobody_behind() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    for (cause, expected) in [(Cause::Other, 422), (Cause::Busy, 503), (Cause::Malformed, 400)] {
        assert_eq!(world.whip(post(OFFER)), None);
        let media = world.last_publish();
        world.event(MediaEvent::Refused { media, text: "no media".into(), cause });
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
    assert_eq!(world.whip(post(OFFER)), None);
    world.advance(Duration::from_secs(17));
    let response = world.responses.values().next().unwrap();
    assert_eq!(response.status, 503);
    assert!(kinds(&world.take(ann)).contains(&"user/delete".to_owned()));
}

#[test]
fn a_session_belongs_to_who_made_it() {
    let mut world = World::new(r#"{"presenter":[{"password":"sesame"}]}"#);
    let request = Request { authorization: Some("Bearer sesame".into()), ..post(OFFER) };
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

const FIRST: &str = "a=ice-ufrag:abcd\r\na=ice-pwd:aPasswordOfTheFirstTime\r\n\
    m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 UDP 1 192.0.2.1 9 typ host\r\n";
const SECOND: &str = "a=ice-ufrag:efgh\r\na=ice-pwd:aPasswordOfTheSecondTime\r\n";
const ANSWER: &str = "v=0\r\na=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
    a=ice-ufrag:serv\r\na=ice-pwd:theServersNewPassword1\r\na=rtcp-mux\r\n\
    a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\na=end-of-candidates\r\n";

fn patch(created: &Response, body: &str, if_match: Option<&str>) -> Request {
    Request {
        content_type: Some("application/trickle-ice-sdpfrag".into()),
        body: body.into(),
        if_match: if_match.map(str::to_owned),
        ..on(created, "PATCH")
    }
}

#[test]
fn candidates_trickle() {
    let mut world = World::new(OPEN);
    let created = live(&mut world, post(OFFER));
    world.forget();
    assert_eq!(status(&mut world, patch(&created, FIRST, None)), 204);
    assert!(matches!(&world.media[..], [MediaRequest::AddCandidate { candidate, .. }]
        if candidate == "candidate:1 1 UDP 1 192.0.2.1 9 typ host"));
    let list = format!("\"stale\", {}", header(&created, "etag").unwrap());
    for (body, if_match, expected) in [
        ("", None, 400),
        ("hello", None, 400),
        ("a=ice-ufrag:efgh\r\n", None, 400),
        (FIRST, Some("\"stale\""), 412),
        (FIRST, Some("*"), 204),
        (FIRST, header(&created, "etag"), 204),
        (FIRST, Some(list.as_str()), 204),
        // Without credentials it is about what there is.
        ("m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=end-of-candidates\r\n", None, 204),
        // Some clients send what their browser gives them.
        (r#"{"candidate":"candidate:1 1 UDP 1 192.0.2.1 9 typ host","sdpMid":"0"}"#, None, 204),
    ] {
        let answered = answer(&mut world, patch(&created, body, if_match));
        assert_eq!(answered.status, expected, "{body:?} {if_match:?}");
        assert_eq!(header(&answered, "etag"), None, "RFC 9725 s4.3.2: no ETag for a trickle");
    }
    assert_eq!(status(&mut world, on(&created, "PATCH")), 415);
    assert_eq!(status(&mut world, on(&created, "POST")), 405);
}

#[test]
fn who_trickles_under_our_credentials_restarts_nothing() {
    let mut world = World::new(OPEN);
    assert_eq!(world.whip(post(OFFER)), None);
    let media = world.last_publish();
    let (answer, unused) = (ANSWER.to_owned(), Vec::new());
    world.event(MediaEvent::Answered { media, answer, publications: 1, unused });
    let created = taken(&mut world);
    let etag = header(&created, "etag").unwrap();
    world.forget();
    let ours = "a=ice-ufrag:serv\r\na=ice-pwd:aPasswordOfTheServerHere\r\n\
        m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 UDP 1 192.0.2.1 9 typ host\r\n";
    for (if_match, expected) in [(Some(etag), 204), (None, 204), (Some("\"stale\""), 412)] {
        let answered = self::answer(&mut world, patch(&created, ours, if_match));
        assert_eq!(answered.status, expected, "{if_match:?}");
        assert_eq!(header(&answered, "etag"), None);
    }
    assert!(world.media.iter().all(|it| matches!(it, MediaRequest::AddCandidate { .. })));
    assert_eq!(world.media.len(), 2);
    // The client's own still count.
    assert_eq!(status(&mut world, patch(&created, FIRST, Some(etag))), 204);
}

/// Answers the restart that waits with the data plane.
fn restarted(world: &mut World) -> Response {
    let media = world.last_publish();
    world.event(MediaEvent::Answered {
        media,
        answer: ANSWER.into(),
        publications: 1,
        unused: Vec::new(),
    });
    let ticket = *world.responses.keys().next().expect("answered");
    world.responses.remove(&ticket).expect("just found")
}

#[test]
fn a_restart_gives_new_credentials_and_a_new_etag_and_may_be_repeated() {
    let mut world = World::new(OPEN);
    let created = live(&mut world, post(OFFER));
    let etag = header(&created, "etag").unwrap();
    world.forget();
    assert_eq!(world.whip(patch(&created, SECOND, Some("*"))), None, "waits for the data plane");
    assert!(matches!(&world.media[..], [MediaRequest::Publish { offer, .. }]
        if offer.contains("a=ice-ufrag:efgh\r\n") && !offer.contains("abcd")));
    // While it is under way: its own candidates, another restart.
    assert_eq!(status(&mut world, patch(&created, SECOND, None)), 204);
    let third = SECOND.replace("efgh", "ijkl");
    assert_eq!(status(&mut world, patch(&created, &third, Some("*"))), 503);
    let answered = restarted(&mut world);
    assert_eq!(answered.status, 200);
    assert_eq!(header(&answered, "content-type"), Some("application/trickle-ice-sdpfrag"));
    let fresh = header(&answered, "etag").unwrap();
    assert_ne!(fresh, etag);
    for line in ["a=ice-lite", "a=ice-ufrag:serv", "a=mid:0", "a=candidate:1 ", "a=end-of-candid"] {
        assert!(answered.body.contains(line), "{line} in {}", answered.body);
    }
    // The answer was lost: the same restart again gives the same answer.
    assert_eq!(answer(&mut world, patch(&created, SECOND, Some("\"*\""))), answered);
    // What was under way before is stale, whatever its ETag says.
    assert_eq!(status(&mut world, patch(&created, FIRST, Some("*"))), 412);
    assert_eq!(status(&mut world, patch(&created, SECOND, Some(etag))), 412);
    assert_eq!(status(&mut world, patch(&created, SECOND, Some(fresh))), 204);
    // A third, asked for with the current ETag.
    assert_eq!(status(&mut world, patch(&created, &third, Some(etag))), 412);
    assert_eq!(world.whip(patch(&created, &third, Some(fresh))), None);
    assert_eq!(restarted(&mut world).status, 200);
}

#[test]
fn a_restart_that_fails_leaves_the_session_as_it_was() {
    let mut world = World::new(OPEN);
    let created = live(&mut world, post(OFFER));
    assert_eq!(world.whip(patch(&created, SECOND, Some("*"))), None);
    let media = world.last_publish();
    world.event(MediaEvent::Refused { media, text: "no".into(), cause: Cause::Other });
    let ticket = *world.responses.keys().next().unwrap();
    assert_eq!(world.responses.remove(&ticket).unwrap().status, 422);
    assert_eq!(status(&mut world, patch(&created, FIRST, header(&created, "etag"))), 204);
    // One that the data plane never answers, too.
    assert_eq!(world.whip(patch(&created, SECOND, Some("*"))), None);
    world.advance(Duration::from_secs(17));
    let ticket = *world.responses.keys().next().unwrap();
    assert_eq!(world.responses.remove(&ticket).unwrap().status, 503);
    assert_eq!(status(&mut world, on(&created, "DELETE")), 200);
}

#[test]
fn a_strict_server_wants_if_match() {
    let mut world = World::new(OPEN);
    world.board.set_http_rules(true, false);
    let created = live(&mut world, post(OFFER));
    assert_eq!(status(&mut world, patch(&created, FIRST, None)), 428);
    assert_eq!(status(&mut world, patch(&created, SECOND, None)), 428);
    assert_eq!(status(&mut world, patch(&created, FIRST, header(&created, "etag"))), 204);
}

#[test]
fn avalanches_are_slowed_down() {
    let mut world = World::new(OPEN);
    let created = live(&mut world, post(OFFER));
    let patched = (0..100).map(|_| status(&mut world, patch(&created, FIRST, None)));
    assert_eq!(patched.filter(|status| *status == 429).count(), 36);
    let bad = || Request { group: "nothing".into(), ..post(OFFER) };
    let posted: Vec<u16> = (0..300).map(|_| status(&mut world, bad())).collect();
    assert_eq!(posted.iter().filter(|status| **status == 429).count(), 45);
    let elsewhere = Request { address: Some("192.0.2.7:1".into()), ..bad() };
    assert_eq!(status(&mut world, elsewhere), 404);
    world.advance(Duration::from_secs(2));
    assert_eq!(status(&mut world, bad()), 404);
}

#[test]
fn what_cannot_be_published_whole_is_refused_whole() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let offer = format!("{OFFER}m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=sendonly\r\n");
    assert_eq!(world.whip(Request { body: offer.clone().into(), ..post(OFFER) }), None);
    let media = world.last_publish();
    let partly = format!("{ANSWER}m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n");
    world.event(MediaEvent::Answered {
        media,
        answer: partly,
        publications: 1,
        unused: vec!["m-section 2 (video): none of its codecs is allowed here".into()],
    });
    let ticket = *world.responses.keys().next().unwrap();
    let response = world.responses.remove(&ticket).unwrap();
    assert_eq!(response.status, 422);
    assert!(response.body.contains("vp8"), "it names what the group takes: {}", response.body);
    assert!(response.body.contains("m-section 2 (video)"), "and the section: {}", response.body);
    assert_eq!(kinds(&world.take(ann)), ["user/add", "user/delete"]);
    let receives = offer.replace("a=sendonly", "a=recvonly");
    assert_eq!(status(&mut world, Request { body: receives.into(), ..post(OFFER) }), 422);
}

#[test]
fn ice_servers_are_links_except_on_preflights() {
    let mut world = World::new(OPEN);
    world.board.set_rtc_configuration(json!({"iceServers": [{"urls": ["stun:s.example"]}]}));
    let created = live(&mut world, post(OFFER));
    assert_eq!(header(&created, "link"), Some("<stun:s.example>; rel=\"ice-server\""));
    let options = |is_preflight| Request {
        method: "OPTIONS".into(),
        group: "test".into(),
        is_preflight,
        ..Request::default()
    };
    assert!(header(&answer(&mut world, options(false)), "link").is_some());
    assert!(header(&answer(&mut world, options(true)), "link").is_none());
}

#[test]
fn a_token_in_the_url_stays_in_the_session_url() {
    let mut world = World::new(r#"{"presenter":[{"password":"sesame"}]}"#);
    let request = Request {
        authorization: Some("Bearer sesame".into()),
        query: "?token=sesame".into(),
        params: vec![("token".into(), "sesame".into())],
        ..post(OFFER)
    };
    let created = live(&mut world, request);
    assert!(header(&created, "location").unwrap().ends_with("?token=sesame"));
}

#[test]
fn preflights_need_no_credentials() {
    let mut world = World::new(r#"{"presenter":[{"password":"sesame"}]}"#);
    for session in [None, Some("guess".to_owned())] {
        let request = Request { method: "OPTIONS".into(), session, ..Request::default() };
        let response = answer(&mut world, request);
        assert_eq!(response.status, 200);
        let names = header(&response, "access-control-allow-headers").unwrap();
        assert!(names.contains("Authorization") && names.ends_with(", *"), "{names}");
        assert!(header(&response, "access-control-allow-methods").is_some());
    }
}

#[test]
fn a_kick_or_a_lost_connection_ends_the_session() {
    for is_kick in [true, false] {
        let mut world = World::new(OPEN);
        let ann = world.member("ann", "ann");
        let created = live(&mut world, post(OFFER));
        let id = world.take(ann)[0]["id"].as_str().unwrap().to_owned();
        if is_kick {
            world.say(ann, json!({"type": "useraction", "kind": "kick", "dest": id}));
        } else {
            let media = world.last_publish();
            world.event(MediaEvent::Closed {
                media,
                text: "vanished".into(),
                detail: String::new(),
                is_by_peer: false,
            });
        }
        assert!(kinds(&world.take(ann)).contains(&"user/delete".to_owned()));
        assert_eq!(status(&mut world, on(&created, "DELETE")), 404);
    }
}
