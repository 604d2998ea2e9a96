//! The extensions of WHEP: server-sent events (draft-ietf-wish-whep, events extension) and layer
//! selection. A session's event stream is an open HTTP response that is fed here.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::http::{Reply, Request, Response, is_media_type};
use crate::hub::Hub;
use crate::ids::{ConnId, Ticket};
use crate::stream::{Layers, MediaKind};
use crate::time::Now;
use crate::view::{EncodingState, SeatState, ViewRequest, ViewState};

/// The path of event streams below a session.
pub(crate) const EVENTS: &str = "events";
/// What may be listened to.
pub(crate) const NAMES: [&str; 7] =
    ["active", "inactive", "layers", NUMBERS, "path", "streams", "viewercount"];
const NUMBERS: &str = "numbers";
/// Between two events of that name, in ticks.
const NUMBERS_TICKS: u32 = 2;
/// Event streams of one session.
const STREAMS_MAX: usize = 8;
/// Names in one wish; there are seven that mean something.
const NAMES_MAX: usize = 32;
/// A comment goes out after this many ticks without an event, so that proxies keep the stream.
const QUIET_TICKS: u32 = 15;

/// One event stream of a session.
#[derive(Debug)]
struct Stream {
    id: String,
    names: Vec<String>,
    /// The response that is open.
    reader: Option<Ticket>,
    /// What was told last.
    told: Option<ViewState>,
    quiet_ticks: u32,
}

impl Stream {
    fn wants(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }
}

/// What belongs to one session.
#[derive(Debug, Default)]
struct Session {
    request: ViewRequest,
    /// When our offer went out, if the session waits for its answer.
    offered_at: Option<Duration>,
    streams: Vec<Stream>,
}

/// The event streams of all sessions, and what is still to be written to them.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    sessions: HashMap<ConnId, Session>,
    ticks: u32,
    chunks: VecDeque<(Ticket, Option<String>)>,
}

/// The body of a layer selection.
#[derive(Debug, Default, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", deny_unknown_fields)]
struct LayerChoice {
    media_id: Option<String>,
    rid: Option<String>,
    /// What earlier drafts call the rid.
    encoding_id: Option<String>,
    spatial_layer_id: Option<u8>,
    temporal_layer_id: Option<u8>,
    max_spatial_layer_id: Option<u8>,
    max_temporal_layer_id: Option<u8>,
    /// Named so that whoever sends them learns that they would have no effect.
    max_width: Option<Value>,
    max_height: Option<Value>,
}
crate::only_objects!(LayerChoice);

impl Streams {
    /// A session begins, with this wish.
    pub(crate) fn expect(&mut self, conn: ConnId, request: ViewRequest) {
        self.sessions.insert(conn, Session { request, ..Session::default() });
    }

    /// What a session wants to watch.
    pub(crate) fn take_request(&mut self, conn: ConnId) -> Option<ViewRequest> {
        self.sessions.get_mut(&conn).map(|session| std::mem::take(&mut session.request))
    }

    /// Our offer has gone out.
    pub(crate) fn offered(&mut self, conn: ConnId, at: Duration) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.offered_at = Some(at);
        }
    }

    /// Whether an offer of ours waits for its answer.
    pub(crate) fn is_offered(&self, conn: ConnId) -> bool {
        self.sessions.get(&conn).is_some_and(|session| session.offered_at.is_some())
    }

    /// Our offer has been answered.
    pub(crate) fn negotiated(&mut self, conn: ConnId) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.offered_at = None;
        }
    }

    /// Sessions whose offer has not been answered in time.
    pub(crate) fn expired(&self, now: Duration, seconds: u64) -> Vec<ConnId> {
        let limit = Duration::from_secs(seconds);
        let late = self
            .sessions
            .iter()
            .filter(|(_, session)| session.offered_at.is_some_and(|at| now > at + limit));
        late.map(|(conn, _)| *conn).collect()
    }

    /// A session is over.
    pub(crate) fn end(&mut self, conn: ConnId) {
        let session = self.sessions.remove(&conn).unwrap_or_default();
        let readers = session.streams.iter().filter_map(|stream| stream.reader);
        self.chunks.extend(readers.map(|ticket| (ticket, None)));
    }

    pub(crate) fn poll_chunk(&mut self) -> Option<(Ticket, Option<String>)> {
        self.chunks.pop_front()
    }

    pub(crate) fn reader_left(&mut self, ticket: Ticket) {
        let streams = self.sessions.values_mut().flat_map(|session| &mut session.streams);
        for stream in streams.filter(|stream| stream.reader == Some(ticket)) {
            stream.reader = None;
        }
    }

    /// A request below a session. `path` is that of its event streams.
    pub(crate) fn handle(
        &mut self,
        conn: ConnId,
        ticket: Ticket,
        request: &Request,
        path: &str,
        hub: &mut Hub,
    ) -> Reply {
        let (name, id) = request.below.split_once('/').unwrap_or((&request.below, ""));
        let problem =
            |status, title, detail: &str| Reply::Whole(Response::problem(status, title, detail));
        let Some(session) = self.sessions.get_mut(&conn) else {
            return problem(404, "no such session", "POST a new offer");
        };
        match (name, id, request.method.as_str()) {
            (EVENTS, "", "POST") => match names_of(request) {
                Ok(names) if session.streams.len() < STREAMS_MAX => {
                    let id = hub.entropy().short_id();
                    let (base, query) = path.split_once('?').unwrap_or((path, ""));
                    let mark = if query.is_empty() { "" } else { "?" };
                    let location = format!("{base}/{id}{mark}{query}");
                    let (reader, told) = (None, None);
                    session.streams.push(Stream { id, names, reader, told, quiet_ticks: 0 });
                    Reply::Whole(Response::new(201).with("location", location))
                }
                Ok(_) => problem(409, "too many streams", "DELETE one of the others first"),
                Err(detail) => problem(400, "no such events", &detail),
            },
            ("layer", "", "POST") => Reply::Whole(choose_layer(conn, request, hub)),
            ("layer", "", "DELETE") => Reply::Whole(choose_automatically(conn, hub)),
            (EVENTS, id, "GET") if !id.is_empty() => {
                let Some(stream) = session.streams.iter_mut().find(|stream| stream.id == id) else {
                    return problem(404, "no such event stream", "POST to make one");
                };
                if let Some(old) = stream.reader.replace(ticket) {
                    self.chunks.push_back((old, None));
                }
                // A new reader is told everything.
                stream.told = None;
                self.chunks.extend(
                    news(stream, hub.view_state(conn, &mut HashMap::new()))
                        .map(|c| (ticket, Some(c))),
                );
                let response = Response::new(200)
                    .with("content-type", "text/event-stream")
                    .with("cache-control", "no-store");
                Reply::Stream(response)
            }
            (EVENTS, id, "DELETE") if !id.is_empty() => {
                let Some(at) = session.streams.iter().position(|stream| stream.id == id) else {
                    return problem(404, "no such event stream", "it has been deleted");
                };
                let stream = session.streams.swap_remove(at);
                self.chunks.extend(stream.reader.map(|ticket| (ticket, None)));
                Reply::Whole(Response::new(200))
            }
            (EVENTS | "layer", _, _) => {
                let problem = Response::problem(405, "method not allowed", "see OPTIONS");
                Reply::Whole(problem.with("allow", "OPTIONS, GET, POST, DELETE"))
            }
            _ => problem(404, "not found", "sessions have /events and /layer"),
        }
    }

    /// Tells every reader how its session fares, if it asked for that.
    pub(crate) fn tell_numbers(&mut self, conn: ConnId, value: &Value) {
        let session = self.sessions.get_mut(&conn);
        for stream in session.into_iter().flat_map(|session| &mut session.streams) {
            if let Some(ticket) = stream.reader.filter(|_| stream.wants(NUMBERS)) {
                stream.quiet_ticks = 0;
                self.chunks.push_back((ticket, Some(event(NUMBERS, value))));
            }
        }
    }

    /// Tells every reader what has changed.
    pub(crate) fn tick(&mut self, now: Now, hub: &mut Hub) {
        let mut counts = HashMap::new();
        self.ticks = self.ticks.wrapping_add(1);
        for (conn, session) in &mut self.sessions {
            let mut readers = session.streams.iter().filter(|stream| stream.reader.is_some());
            if self.ticks.is_multiple_of(NUMBERS_TICKS) && readers.any(|s| s.wants(NUMBERS)) {
                hub.ask_numbers(*conn, now);
            }
            for stream in &mut session.streams {
                let Some(ticket) = stream.reader else { continue };
                stream.quiet_ticks += 1;
                let text = news(stream, hub.view_state(*conn, &mut counts));
                let text = text.or_else(|| {
                    (stream.quiet_ticks >= QUIET_TICKS).then(|| ": still here\n\n".to_owned())
                });
                if let Some(text) = text {
                    stream.quiet_ticks = 0;
                    self.chunks.push_back((ticket, Some(text)));
                }
            }
        }
    }
}

fn names_of(request: &Request) -> Result<Vec<String>, String> {
    let known = NAMES.join(", ");
    if !is_media_type(request.content_type.as_deref(), "application/json") {
        return Err(format!("send a JSON array of names: {known}"));
    }
    let names: Vec<String> = serde_json::from_slice(&request.body)
        .map_err(|_| format!("send a JSON array of names: {known}"))?;
    match names.iter().find(|name| !NAMES.contains(&name.as_str())) {
        Some(unknown) => Err(format!("there is no event {unknown:?}; there are {known}")),
        None if names.len() > NAMES_MAX => Err("too many names".to_owned()),
        None => Ok(names),
    }
}

fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// The events between what a stream was told and now.
fn news(stream: &mut Stream, state: Option<ViewState>) -> Option<String> {
    let state = state?;
    let told = stream.told.as_ref();
    let wants = |name: &str| stream.wants(name);
    let mut text = String::new();
    let mut put = |name: &str, data: &Value| text.push_str(&event(name, data));
    let is_active = |state: &ViewState| state.seats.iter().any(|seat| seat.is_active);
    if told.map(is_active) != Some(is_active(&state)) {
        let name = if is_active(&state) { "active" } else { "inactive" };
        if wants(name) {
            put(name, &json!({}));
        }
    }
    if wants("layers") && told.map(|told| &told.seats) != Some(&state.seats) {
        put("layers", &layers(&state));
    }
    let streams_now = streams(&state);
    if wants("streams") && told.map(streams).as_ref() != Some(&streams_now) {
        put("streams", &streams_now);
    }
    if let Some(path) = state.path
        && wants("path")
        && told.and_then(|told| told.path) != Some(path)
    {
        put("path", &path.to_value());
    }
    if wants("viewercount") && told.map(|told| told.viewers) != Some(state.viewers) {
        put("viewercount", &json!({ "viewercount": state.viewers }));
    }
    stream.told = Some(state);
    (!text.is_empty()).then_some(text)
}

/// By the index of the m-line, whose stream a seat carries: what a page writes beside the picture.
fn streams(state: &ViewState) -> Value {
    let by_line = state.seats.iter().filter_map(|seat| {
        let shown = seat.shows.as_ref()?;
        let of_it = json!({ "username": shown.username, "label": shown.label });
        Some((seat.m_line.to_string(), of_it))
    });
    Value::Object(by_line.collect())
}

/// By the index of the m-line, the Encodings of what a video seat shows.
fn layers(state: &ViewState) -> Value {
    let mut by_line = Map::new();
    for seat in &state.seats {
        if seat.kind != MediaKind::Video || !seat.is_active {
            continue;
        }
        let encodings = seat.encodings.iter().map(|state| {
            let mut encoding = Map::new();
            if !state.rid.is_empty() {
                encoding.insert("rid".into(), state.rid.as_str().into());
            }
            encoding.insert("bitrate".into(), state.bits_per_second.into());
            let (spatial, temporal) = state.layers_max;
            for (name, highest) in
                [("maxSpatialLayerId", spatial), ("maxTemporalLayerId", temporal)]
            {
                if highest > 0 {
                    encoding.insert(name.into(), highest.into());
                }
            }
            Value::Object(encoding)
        });
        by_line.insert(seat.m_line.to_string(), encodings.collect());
    }
    Value::Object(by_line)
}

/// Leaves the choice of all layers to the server again.
fn choose_automatically(conn: ConnId, hub: &mut Hub) -> Response {
    let Some(state) = hub.view_state(conn, &mut HashMap::new()) else {
        return Response::problem(409, "not yet", "the session is not negotiated");
    };
    for seat in state.seats.iter().filter(|seat| seat.kind == MediaKind::Video) {
        hub.choose_layers(conn, &seat.mid, None);
    }
    Response::new(200)
}

/// The highest layer among those that a seat's Encodings have, or the chosen one has.
fn highest_of(seat: &SeatState, encoding: Option<u8>, layer: impl Fn(&EncodingState) -> u8) -> u8 {
    let states = (0..).zip(&seat.encodings);
    let chosen = states.filter(|(at, _)| encoding.is_none_or(|encoding| encoding == *at));
    chosen.map(|(_, state)| layer(state)).max().unwrap_or(0)
}

/// A choice without effect is told, not taken.
fn no_such_layers(name: &str, highest: u8) -> Response {
    let detail = if highest == 0 {
        format!(
            "the stream that this section carries has no {name} layers that your offer can take: \
             choose by rid, or offer the dependency descriptor for layers of AV1"
        )
    } else {
        format!("{name} layers of this stream are 0 to {highest}")
    };
    Response::problem(409, "no such layer", &detail)
}

fn choose_layer(conn: ConnId, request: &Request, hub: &mut Hub) -> Response {
    let bad = |detail: &str| Response::problem(400, "no such layer", detail);
    if !is_media_type(request.content_type.as_deref(), "application/json") {
        return Response::problem(415, "not JSON", "send a JSON object")
            .with("accept-post", "application/json");
    }
    let choice = match serde_json::from_slice::<LayerChoice>(&request.body) {
        Ok(choice) => choice,
        Err(error) => {
            let what = "send a JSON object with mediaId, rid, spatialLayerId, temporalLayerId";
            return bad(&format!("{what}: {error}"));
        }
    };
    if choice.max_width.is_some() || choice.max_height.is_some() {
        let detail = "the server does not look into pictures: choose by rid or spatialLayerId";
        return Response::problem(422, "no layers by size", detail);
    }
    let rid = match (&choice.rid, &choice.encoding_id) {
        (Some(rid), Some(other)) if rid != other => {
            return bad("rid and encodingId are two names of one thing");
        }
        (rid, encoding_id) => rid.as_ref().or(encoding_id.as_ref()),
    };
    let Some(state) = hub.view_state(conn, &mut HashMap::new()) else {
        return Response::problem(409, "not yet", "the session is not negotiated");
    };
    let video = |mid: &Option<String>| {
        let mut seats = state.seats.iter().filter(|seat| seat.kind == MediaKind::Video);
        seats.find(|seat| mid.as_ref().is_none_or(|mid| *mid == seat.mid))
    };
    let Some(seat) = video(&choice.media_id) else {
        return bad("mediaId must be the mid of a video section of the session");
    };
    let encoding = match rid {
        Some(rid) => match seat.encodings.iter().position(|known| known.rid == *rid) {
            Some(at) => u8::try_from(at).ok(),
            None => return bad("the stream has no layer with this rid"),
        },
        None => None,
    };
    let spatial = choice.spatial_layer_id.or(choice.max_spatial_layer_id);
    let temporal = choice.temporal_layer_id.or(choice.max_temporal_layer_id);
    for (name, wanted, highest) in [
        ("spatial", spatial, highest_of(seat, encoding, |state| state.layers_max.0)),
        ("temporal", temporal, highest_of(seat, encoding, |state| state.layers_max.1)),
    ] {
        if wanted.is_some_and(|wanted| wanted > highest) || wanted == Some(0) && highest == 0 {
            return no_such_layers(name, highest);
        }
    }
    let is_automatic = encoding.is_none() && spatial.is_none() && temporal.is_none();
    let layers = (!is_automatic).then(|| Layers {
        encoding,
        spatial_max: spatial.unwrap_or(u8::MAX),
        temporal_max: temporal.unwrap_or(u8::MAX),
    });
    let mid = seat.mid.clone();
    if hub.choose_layers(conn, &mid, layers) {
        Response::new(200)
    } else {
        bad("mediaId must be the mid of a video section of the session")
    }
}
