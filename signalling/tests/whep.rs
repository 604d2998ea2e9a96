//! WHEP sessions: every answer a player may get, what its seats are made to carry, and events.

mod world;

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use signalling::whip::{Request, Response};
use signalling::{
    Cause, Held, Layers, MediaEvent, MediaId, MediaKind, MediaRequest, PathStage, PathState,
    PublicationKey, Rate, SentRate,
};
use world::http::{header, on, post, taken};
use world::{OPEN, World, kinds};

const OFFER: &str = "v=0\r\na=ice-ufrag:abcd\r\na=ice-pwd:aPasswordOfTheFirstTime\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=recvonly\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=recvonly\r\n";
const ANSWER: &str = "v=0\r\na=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
    a=ice-ufrag:serv\r\na=ice-pwd:theServersNewPassword1\r\na=rtcp-mux\r\na=sendonly\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=sendonly\r\n";

fn viewed(world: &mut World, answer: Option<&str>) {
    let media = world.last_view();
    let seats = vec![("0".to_owned(), MediaKind::Audio), ("1".to_owned(), MediaKind::Video)];
    world.event(MediaEvent::Viewed { media, answer: answer.map(str::to_owned), seats });
}

fn live(world: &mut World, request: Request) -> Response {
    assert_eq!(world.whep(request), None, "the answer waits for the data plane");
    viewed(world, Some(ANSWER));
    taken(world)
}

fn status(world: &mut World, request: Request) -> u16 {
    world.whep(request).expect("answered at once").status
}

/// What the last Watch asked for, as transport and section.
fn watched(world: &World) -> Vec<(MediaId, u8)> {
    let last = world.media.iter().rev().find_map(|request| match request {
        MediaRequest::Watch { wants, .. } => Some(wants.clone()),
        _ => None,
    });
    let wants = last.expect("a Watch has gone out").into_iter();
    wants.map(|want| (want.publication.media, want.publication.m_line)).collect()
}

#[test]
fn a_player_sees_who_publishes_and_who_comes_later() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let camera = world.live(ann, "one");
    let created = live(&mut world, post(OFFER));
    assert_eq!(created.status, 201);
    assert!(created.body.contains("a=rtcp-mux\r\na=rtcp-mux-only\r\n"), "{}", created.body);
    assert!(header(&created, "etag").unwrap().starts_with('"'));
    assert_eq!(watched(&world), [(camera, 0), (camera, 1)]);
    // A shared screen goes before cameras, whoever was first.
    let bob = world.member("bob", "bob");
    let screen = world.publish(bob, "two", json!({"label": "screenshare"}));
    world.arrives(screen, 0, MediaKind::Audio);
    world.arrives(screen, 1, MediaKind::Video);
    assert_eq!(watched(&world), [(screen, 0), (screen, 1), (camera, 0), (camera, 1)]);
    world.say(bob, json!({"type": "close", "id": "two"}));
    assert_eq!(watched(&world), [(camera, 0), (camera, 1)]);
    world.disconnect(ann);
    assert_eq!(watched(&world), []);
    assert_eq!(status(&mut world, on(&created, "DELETE")), 200);
    let view = world.last_view();
    assert!(world.media.contains(&MediaRequest::Close { media: view }));
    assert_eq!(status(&mut world, on(&created, "DELETE")), 404);
}

/// A player with room for one shows who speaks, if nobody shares a screen.
#[test]
fn whoever_spoke_last_comes_first() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let ups = [world.live(ann, "one"), world.live(ann, "two")];
    live(&mut world, post(OFFER));
    let speak = |world: &mut World, media, is_speaking| {
        let publication = PublicationKey { media, m_line: 0 };
        world.event(MediaEvent::Voice { publication, loudness: 90, is_speaking });
    };
    assert_eq!(watched(&world)[0], (ups[0], 0));
    speak(&mut world, ups[1], true);
    assert_eq!(watched(&world)[0], (ups[1], 0));
    speak(&mut world, ups[1], false);
    assert_eq!(watched(&world)[0], (ups[1], 0), "until somebody else speaks");
    speak(&mut world, ups[0], true);
    assert_eq!(watched(&world)[0], (ups[0], 0));
    let screen = world.publish(ann, "three", json!({"label": "screenshare"}));
    world.arrives(screen, 0, MediaKind::Audio);
    world.arrives(screen, 1, MediaKind::Video);
    assert_eq!(watched(&world)[0], (screen, 0));
}

/// An encoder that crashed and is back: its dead stream lives on until its consent ends.
#[test]
fn streams_that_bring_something_come_first() {
    let mut world = World::new(OPEN);
    let dead = world.member("ann", "ann");
    let old = world.live(dead, "one");
    live(&mut world, post(OFFER));
    let back = world.member("ann2", "ann");
    let new = world.live(back, "two");
    let report = |world: &mut World, media, bits_per_second| {
        let rate = Rate { m_line: 1, bits_per_second, ..Rate::default() };
        world.event(MediaEvent::Received { media, rates: vec![rate] });
    };
    report(&mut world, old, 1000);
    report(&mut world, new, 1000);
    assert_eq!(watched(&world), [(old, 0), (old, 1), (new, 0), (new, 1)]);
    report(&mut world, old, 0);
    assert_eq!(watched(&world)[0], (old, 0), "one second may be a pause");
    report(&mut world, old, 0);
    assert_eq!(watched(&world), [(new, 0), (new, 1), (old, 0), (old, 1)]);
    report(&mut world, old, 1000);
    assert_eq!(watched(&world)[0], (old, 0));
}

#[test]
fn layers_are_told_by_the_index_of_the_m_section() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let camera = world.live(ann, "one");
    let answer = ANSWER.replace("m=audio 9", "m=audio 0");
    assert_eq!(world.whep(post(OFFER)), None);
    let media = world.last_view();
    let seats = vec![("1".to_owned(), MediaKind::Video)];
    world.event(MediaEvent::Viewed { media, answer: Some(answer), seats });
    let created = taken(&mut world);
    let seats = vec![Some(PublicationKey { media: camera, m_line: 1 })];
    world.event(MediaEvent::Watching { media, seats });
    let made = world.whep(json_post(&created, "events", "[\"layers\"]")).expect("answered at once");
    let id = header(&made, "location").unwrap().rsplit('/').next().unwrap().to_owned();
    let mut stream = on(&created, "GET");
    stream.below = format!("events/{id}");
    world.whep(stream);
    let told: String = world.chunks.iter().filter_map(|(_, chunk)| chunk.clone()).collect();
    assert!(told.contains("{\"1\":[{\"bitrate\":0}]}"), "{told}");
    for (body, status) in [
        ("{\"encodingId\":\"nothing\"}", 400),
        ("{\"rid\":\"a\",\"encodingId\":\"b\"}", 400),
        ("{\"maxWidth\":320}", 422),
        ("{\"colour\":\"red\"}", 400),
    ] {
        let response = world.whep(json_post(&created, "layer", body)).expect("answered at once");
        assert_eq!(response.status, status, "{body}");
    }
    let mut reset = on(&created, "DELETE");
    reset.below = "layer".into();
    assert_eq!(status(&mut world, reset), 200);
}

#[test]
fn a_player_may_ask_for_one_stream_or_one_user() {
    for (name, value, which) in [("stream", "two", 1), ("user", "ann", 0)] {
        let mut world = World::new(OPEN);
        let ann = world.member("ann", "ann");
        let bob = world.member("bob", "bob");
        let ups = [world.live(ann, "one"), world.live(bob, "two")];
        let params = vec![(name.to_owned(), value.to_owned())];
        live(&mut world, Request { params, ..post(OFFER) });
        assert_eq!(watched(&world), [(ups[which], 0), (ups[which], 1)], "{name}");
    }
}

#[test]
fn a_publication_that_changes_its_codec_is_watched_anew() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let up = world.live(ann, "one");
    live(&mut world, post(OFFER));
    world.forget();
    world.arrives(up, 1, MediaKind::Video);
    assert_eq!(watched(&world), [(up, 0), (up, 1)]);
}

#[test]
fn refusals_have_a_status() {
    let mut world = World::new(r#"{"presenter":[{"password":"sesame"}],"max-clients":0}"#);
    let with = |change: &dyn Fn(&mut Request)| {
        let mut request = post(OFFER);
        change(&mut request);
        request
    };
    for (request, expected) in [
        (with(&|request| request.content_type = Some("text/plain".into())), 415),
        (with(&|request| request.body = b"hello".to_vec()), 400),
        (with(&|request| request.body = OFFER.replace("recvonly", "sendonly").into()), 422),
        (with(&|request| request.body = OFFER.replace("recvonly", "inactive").into()), 422),
        (with(&|_| {}), 401),
        (with(&|request| request.group = "nothing".into()), 404),
        (with(&|request| request.method = "PUT".into()), 405),
        (Request { session: Some("guess".into()), method: "DELETE".into(), ..post(OFFER) }, 404),
        (Request { session: Some("guess".into()), below: "events".into(), ..post(OFFER) }, 404),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(status(&mut world, request), expected, "{shown}");
    }
    assert!(world.media.is_empty());
}

#[test]
fn the_endpoint_says_what_it_is() {
    let mut world = World::new(OPEN);
    for method in ["GET", "HEAD"] {
        let request = Request { method: method.into(), group: "test".into(), ..Request::default() };
        let found = world.whep(request).unwrap();
        assert_eq!((found.status, header(&found, "content-type")), (200, Some("application/sdp")));
        assert!(found.body.is_empty());
    }
}

#[test]
fn an_empty_group_may_be_refused_until_somebody_publishes() {
    let mut world = World::new(OPEN);
    world.board.set_http_rules(false, true);
    let ann = world.member("ann", "ann");
    let refused = world.whep(post(OFFER)).unwrap();
    assert_eq!((refused.status, header(&refused, "retry-after")), (409, Some("5")));
    assert_eq!(kinds(&world.take(ann)), ["user/add", "user/delete"]);
    world.live(ann, "one");
    assert_eq!(live(&mut world, post(OFFER)).status, 201);
}

#[test]
fn without_an_offer_the_player_gets_one_and_answers_it() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let up = world.live(ann, "one");
    let empty = || Request { content_type: None, body: Vec::new(), ..post(OFFER) };
    assert_eq!(world.whep(empty()), None);
    let media = world.last_view();
    assert!(matches!(world.media.last(), Some(MediaRequest::View { offer: Err((1, 1)), .. })));
    world.event(MediaEvent::Offered { media, offer: "v=0 ours".into() });
    let offered = taken(&mut world);
    assert_eq!((offered.status, offered.body.as_str()), (406, "v=0 ours"));
    assert_eq!(header(&offered, "content-type"), Some("application/sdp"));
    let answer = |body: &str| Request {
        content_type: Some("application/sdp".into()),
        body: body.into(),
        ..on(&offered, "PATCH")
    };
    assert_eq!(status(&mut world, answer("hello")), 400);
    assert_eq!(status(&mut world, answer("v=0\r\nm=audio 9 X 1\r\na=sendonly\r\n")), 422);
    assert_eq!(
        world.whep(answer(
            "v=0\r\na=ice-ufrag:play\r\na=ice-pwd:aPasswordOfThePlayer12\r\nm=audio 9 X 1\r\n\
         a=recvonly\r\n"
        )),
        None
    );
    assert!(matches!(world.media.last(), Some(MediaRequest::AcceptAnswer { .. })));
    viewed(&mut world, None);
    assert_eq!(taken(&mut world).status, 204);
    assert_eq!(watched(&world), [(up, 0), (up, 1)]);
    assert_eq!(status(&mut world, answer("v=0\r\n")), 409);
    // It trickles like any other.
    let fragment = |ufrag: &str| Request {
        content_type: Some("application/trickle-ice-sdpfrag".into()),
        body: format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:aPasswordOfThePlayer12\r\n").into(),
        ..on(&offered, "PATCH")
    };
    assert_eq!(status(&mut world, fragment("play")), 204);
    assert_eq!(status(&mut world, fragment("more")), 422, "our offer cannot be repeated");
    // Another player does not answer in time.
    assert_eq!(world.whep(empty()), None);
    let media = world.last_view();
    world.event(MediaEvent::Offered { media, offer: "v=0 ours".into() });
    let late = taken(&mut world);
    world.advance(Duration::from_secs(33));
    let request = Request { content_type: Some("application/sdp".into()), ..on(&late, "PATCH") };
    assert_eq!(status(&mut world, request), 404);
}

#[test]
fn ice_restarts_by_patch() {
    let mut world = World::new(OPEN);
    let created = live(&mut world, post(OFFER));
    let patch = |body: &str, if_match: &str| Request {
        content_type: Some("application/trickle-ice-sdpfrag".into()),
        body: body.into(),
        if_match: Some(if_match.into()),
        ..on(&created, "PATCH")
    };
    let second = "a=ice-ufrag:efgh\r\na=ice-pwd:aPasswordOfTheSecondTime\r\n";
    assert_eq!(world.whep(patch(second, "*")), None);
    assert!(matches!(world.media.last(), Some(MediaRequest::View { offer: Ok(offer), .. })
        if offer.contains("efgh")));
    viewed(&mut world, Some(ANSWER));
    let restarted = taken(&mut world);
    assert_eq!(restarted.status, 200);
    assert!(restarted.body.contains("a=ice-ufrag:serv"));
    // One that is refused changes nothing.
    assert_eq!(world.whep(patch(&second.replace("efgh", "ijkl"), "*")), None);
    let media = world.last_view();
    let text = "no".to_owned();
    world.event(MediaEvent::Refused { media, text, cause: Cause::Malformed });
    assert_eq!(taken(&mut world).status, 400);
    assert_eq!(status(&mut world, on(&created, "DELETE")), 200);
}

#[test]
fn a_session_ends_with_its_transport_and_by_kick() {
    for is_kick in [true, false] {
        let mut world = World::new(OPEN);
        let ann = world.member("ann", "ann");
        let created = live(&mut world, post(OFFER));
        let id = world.take(ann)[0]["id"].as_str().unwrap().to_owned();
        if is_kick {
            world.say(ann, json!({"type": "useraction", "kind": "kick", "dest": id}));
        } else {
            let media = world.last_view();
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

fn json_post(created: &Response, below: &str, body: &str) -> Request {
    Request {
        content_type: Some("application/json".into()),
        below: below.into(),
        body: body.into(),
        ..on(created, "POST")
    }
}

fn events(world: &mut World) -> String {
    let chunks = std::mem::take(&mut world.chunks);
    chunks.into_iter().filter_map(|(_, chunk)| chunk).collect()
}

#[test]
fn events_tell_what_changes() {
    let mut world = World::new(OPEN);
    let created = live(&mut world, post(OFFER));
    let link = created
        .headers
        .iter()
        .find(|(name, value)| *name == "link" && value.contains("server-sent-events"));
    assert!(
        link.unwrap()
            .1
            .contains("; events=\"active,inactive,layers,numbers,path,streams,viewercount\"")
    );
    for bad in ["x", "{}", "[\"nothing\"]"] {
        assert_eq!(status(&mut world, json_post(&created, "events", bad)), 400, "{bad}");
    }
    let wish = "[\"active\",\"inactive\",\"layers\",\"path\",\"streams\",\"viewercount\"]";
    let made = world.whep(json_post(&created, "events", wish)).unwrap();
    assert_eq!(made.status, 201);
    let location = header(&made, "location").unwrap();
    let id = location.rsplit('/').next().unwrap().to_owned();
    let below = format!("events/{id}");
    let get = || Request { below: below.clone(), ..on(&created, "GET") };
    let open = world.whep(get()).unwrap();
    assert_eq!(header(&open, "content-type"), Some("text/event-stream"));
    let text = events(&mut world);
    assert!(text.contains("event: inactive\ndata: {}\n\n"), "{text}");
    assert!(text.contains("data: {\"viewercount\":1}\n\n"), "{text}");
    let ann = world.member("ann", "ann");
    let up = world.live(ann, "one");
    let view = world.last_view();
    let audio = Some(PublicationKey { media: up, m_line: 0 });
    let video = Some(PublicationKey { media: up, m_line: 1 });
    world.event(MediaEvent::Watching { media: view, seats: vec![audio, video] });
    let rate = Rate { m_line: 1, bits_per_second: 700_000, ..Rate::default() };
    world.event(MediaEvent::Received { media: up, rates: vec![rate] });
    world.advance(Duration::from_secs(2));
    let text = events(&mut world);
    assert!(text.contains("event: active\n"), "{text}");
    assert!(text.contains("data: {\"1\":[{\"bitrate\":700000}]}\n\n"), "{text}");
    assert!(text.contains("data: {\"viewercount\":2}\n\n"), "{text}");
    let of_ann = "{\"label\":\"camera\",\"username\":\"ann\"}";
    let told = format!("event: streams\ndata: {{\"0\":{of_ann},\"1\":{of_ann}}}\n\n");
    assert!(text.contains(&told), "{text}");
    let path = PathState { stage: PathStage::Flowing, over: Some(signalling::Over::Tcp) };
    world.event(MediaEvent::Path { media: view, path });
    world.advance(Duration::from_secs(2));
    let told = "event: path\ndata: {\"over\":\"tcp\",\"state\":\"flowing\"}\n\n";
    assert_eq!(events(&mut world), told);
    world.advance(Duration::from_secs(2));
    assert_eq!(events(&mut world), "", "nothing has changed");
    world.advance(Duration::from_secs(20));
    assert!(events(&mut world).starts_with(": "), "a sign of life");
    assert_eq!(status(&mut world, Request { below: below.clone(), ..on(&created, "DELETE") }), 200);
    assert_eq!(world.chunks.last().map(|(_, chunk)| chunk.clone()), Some(None), "the body ends");
    assert_eq!(status(&mut world, get()), 404);
}

#[test]
fn a_player_that_wishes_is_told_how_its_seats_fare() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let up = world.live(ann, "one");
    let created = live(&mut world, post(OFFER));
    let view = world.last_view();
    let video = PublicationKey { media: up, m_line: 1 };
    world.event(MediaEvent::Watching { media: view, seats: vec![None, Some(video)] });
    let asked = |world: &World| {
        let is_asked = |request: &&MediaRequest| matches!(request, MediaRequest::Number { .. });
        world.media.iter().filter(is_asked).count()
    };
    for wish in ["[\"path\"]", "[\"numbers\"]"] {
        let made = world.whep(json_post(&created, "events", wish)).unwrap();
        let id = header(&made, "location").unwrap().rsplit('/').next().unwrap().to_owned();
        world.advance(Duration::from_secs(4));
        assert_eq!(asked(&world), 0, "nobody listens to {wish}");
        world.whep(Request { below: format!("events/{id}"), ..on(&created, "GET") });
    }
    world.advance(Duration::from_secs(10));
    assert!((4..=5).contains(&asked(&world)), "{}", asked(&world));
    events(&mut world);
    let rate = SentRate {
        publication: video,
        kind: MediaKind::Video,
        codec: "vp8",
        encoding: None,
        aim: None,
        held: Some(Held::Path),
        still: (1, 2500),
        keyframes_asked: 0,
        spatial: (0, 0),
        temporal: (0, 0),
        bits_per_second: 0,
        estimate_bits_per_second: Some(90_000),
        loss_256: 0,
        rtt_us: 0,
        jitter_us: 0,
    };
    // Of what a seat carried before it has nothing to say.
    let old = SentRate { publication: PublicationKey { media: up, m_line: 0 }, ..rate };
    let sent = HashMap::from([(view, vec![old, rate])]);
    world.event(MediaEvent::Numbers { media: view, sent });
    let text = events(&mut world);
    let data = text.strip_prefix("event: numbers\ndata: ").expect("one event, to one reader");
    let told: serde_json::Value = serde_json::from_str(data.trim()).unwrap();
    assert_eq!(told.as_object().unwrap().keys().collect::<Vec<_>>(), ["1"]);
    assert_eq!((&told["1"]["held"], &told["1"]["frozen"]), (&json!("path"), &json!(2.5)));
}

#[test]
fn layers_are_chosen_and_given_back() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let up = world.publish(ann, "one", json!({}));
    world.arrives(up, 0, MediaKind::Audio);
    let video = PublicationKey { media: up, m_line: 1 };
    let rids = vec!["h".to_owned(), "l".to_owned()];
    world.event(MediaEvent::Published { publication: video, kind: MediaKind::Video, rids });
    let created = live(&mut world, post(OFFER));
    let view = world.last_view();
    world.event(MediaEvent::Watching { media: view, seats: vec![None, Some(video)] });
    let layers_of = |world: &World| match world.media.last() {
        Some(MediaRequest::SetCap { want, .. }) => want.layers,
        other => panic!("no SetCap but {other:?}"),
    };
    assert_eq!(status(&mut world, json_post(&created, "layer", "{\"rid\":\"l\"}")), 200);
    let chosen = Layers { encoding: Some(1), spatial_max: 255, temporal_max: 255 };
    assert_eq!(layers_of(&world), Some(chosen));
    let body = "{\"mediaId\":\"1\",\"maxTemporalLayerId\":1}";
    let report = |world: &mut World, layers_max| {
        let rate = Rate { m_line: 1, layers_max, ..Rate::default() };
        world.event(MediaEvent::Received { media: up, rates: vec![rate] });
    };
    assert_eq!(status(&mut world, json_post(&created, "layer", body)), 409, "it has none");
    report(&mut world, (0, 2));
    assert_eq!(status(&mut world, json_post(&created, "layer", body)), 200);
    for (body, layers_max, expected) in [
        ("{\"maxSpatialLayerId\":0}", (0, 2), 409),
        ("{\"spatialLayerId\":1}", (1, 2), 200),
        ("{\"spatialLayerId\":2}", (1, 2), 409),
        ("{\"rid\":\"l\",\"temporalLayerId\":1}", (0, 2), 409),
        ("{\"rid\":\"h\",\"temporalLayerId\":1}", (0, 2), 200),
    ] {
        report(&mut world, layers_max);
        let found = status(&mut world, json_post(&created, "layer", body));
        assert_eq!(found, expected, "{body} of {layers_max:?}");
    }
    assert_eq!(layers_of(&world).map(|layers| layers.temporal_max), Some(1));
    // The choice holds when who publishes changes, and for what comes next in the same seat.
    let bob = world.member("bob", "bob");
    world.live(bob, "two");
    let kept = world.media.iter().rev().find_map(|request| match request {
        MediaRequest::Watch { wants, .. } => Some(wants.clone()),
        _ => None,
    });
    let kept = kept.expect("a Watch").into_iter().find(|want| want.publication == video);
    assert_eq!(kept.and_then(|want| want.layers).map(|layers| layers.temporal_max), Some(1));
    world.event(MediaEvent::Watching { media: view, seats: vec![None, Some(video)] });
    assert_eq!(layers_of(&world).map(|layers| layers.temporal_max), Some(1));
    assert_eq!(status(&mut world, json_post(&created, "layer", "{}")), 200);
    assert_eq!(layers_of(&world), None);
    world.advance(Duration::from_secs(10));
    let asked = (0..100).map(|_| status(&mut world, json_post(&created, "layer", "{}")));
    assert_eq!(asked.filter(|status| *status == 429).count(), 36, "not too often");
    world.advance(Duration::from_secs(10));
    for bad in ["x", "{\"rid\":\"q\"}", "{\"mediaId\":\"0\"}", "{\"mediaId\":\"9\"}"] {
        assert_eq!(status(&mut world, json_post(&created, "layer", bad)), 400, "{bad}");
    }
}
