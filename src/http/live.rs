//! `/recordings/GROUP/SESSION/live.m3u8` and what its playlists name: watching a class while it is
//! recorded, by HTTP Live Streaming.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::header::{self, HeaderValue};
use hyper::{Method, Response, StatusCode};
use signalling::{GroupName, encode_path};

use super::body::{Body, full};
use super::webrtc::params;
use super::{Asked, Context, text};
use crate::live::{Ask, Found, Kind, Wanted};

/// How long a first playlist waits for a segment: its keyframe is asked for then, and the one after it
/// 4 s later.
const FIRST_WITHIN: Duration = Duration::from_secs(12);
/// How long a playlist waits for the part that was asked for: three segments.
const MORE_WITHIN: Duration = Duration::from_secs(18);
/// What is looked at although nothing has grown: a recording may have ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Segments stay what they are.
const SETTLED: &str = "private, max-age=3600";
const GROWING: &str = "no-cache";

/// Below the address of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Address {
    kind: Kind,
    wanted: Wanted,
}

impl Address {
    /// Reads what follows `GROUP/SESSION/`.
    pub(super) fn parse(rest: &str) -> Option<Self> {
        if let Some(folder) = rest.strip_suffix("/media.m3u8") {
            let wanted = Wanted::Media { number: None, part: None };
            return Some(Self { kind: kind_of(folder)?, wanted });
        }
        if let Some(name) = rest.strip_suffix(".m3u8") {
            return Some(Self { kind: kind_of(name)?, wanted: Wanted::Multivariant });
        }
        let (folder, file) = rest.rsplit_once('/')?;
        let wanted = if let Some(name) = file.strip_prefix("init-") {
            match name.strip_suffix(".mp4")? {
                "sound" => Wanted::Head(None),
                number => Wanted::Head(Some(number.parse().ok()?)),
            }
        } else {
            match file.strip_suffix(".m4s")?.split_once('.') {
                Some((number, part)) => Wanted::Part(number.parse().ok()?, part.parse().ok()?),
                None => Wanted::Segment(file.strip_suffix(".m4s")?.parse().ok()?),
            }
        };
        Some(Self { kind: kind_of(folder)?, wanted })
    }

    /// The last part of the playlists' folder, as addresses spell it.
    fn folder(&self) -> String {
        match &self.kind {
            Kind::Live => "live".to_owned(),
            Kind::Sound => "sound".to_owned(),
            Kind::Person(name) => {
                let name = name.rsplit('/').next().unwrap_or_default();
                // A colon would make a scheme of what is before it.
                format!("./{}", encode_path(name))
            }
        }
    }
}

fn kind_of(name: &str) -> Option<Kind> {
    match name {
        "live" => Some(Kind::Live),
        "sound" => Some(Kind::Sound),
        name => {
            let name = name.strip_prefix("people/").filter(|name| !name.is_empty())?;
            Some(Kind::Person(name.to_owned()))
        }
    }
}

/// Answers a request of somebody who may see the recording.
pub(super) async fn serve(
    asked: &Asked,
    context: &Arc<Context>,
    (group, session): (&GroupName, &str),
    timeline: PathBuf,
    address: Address,
) -> Response<Body> {
    let folder = address.folder();
    let Address { kind, mut wanted } = address;
    let params = params(&asked.query);
    if let Wanted::Media { number, part } = &mut wanted {
        let directive = |name: &str| {
            let found = params.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.parse::<u64>()).transpose()
        };
        match (directive("_HLS_msn"), directive("_HLS_part")) {
            // A part of nothing.
            (Ok(None), Ok(Some(_))) | (Err(_), _) | (_, Err(_)) => {
                return text(StatusCode::BAD_REQUEST, "_HLS_msn and _HLS_part are numbers\n");
            }
            (Ok(asked), Ok(of)) => {
                *number = asked;
                *part = of.and_then(|of| usize::try_from(of).ok());
            }
        }
    }
    let query = opening(&asked.query);
    let is_sound = kind == Kind::Sound;
    let within = match &wanted {
        Wanted::Media { number: Some(_), .. } => MORE_WITHIN,
        _ => FIRST_WITHIN,
    };
    let mut growth = context.recorder.watched().growth();
    let begun_at = Instant::now();
    loop {
        growth.mark_unchanged();
        let watched = context.recorder.watched();
        let is_running = watched.is_running(group.as_str(), session);
        let (of, kind, wanted) = (context.clone(), kind.clone(), wanted.clone());
        let (timeline, folder, query) = (timeline.clone(), folder.clone(), query.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let (timeline, folder, query) = (&*timeline, &*folder, &*query);
            of.shows.look(&Ask { timeline, kind, folder, wanted, query, is_running })
        });
        let found = match looked.await {
            Ok(Ok((found, needs))) => {
                watched.watch(group.as_str(), session, needs);
                found
            }
            Ok(Err(error)) => {
                tracing::warn!(group = group.as_str(), session, %error, "cannot show a recording");
                return text(
                    StatusCode::NOT_FOUND,
                    "The files of this recording are gone or damaged: see what else is in the folder\n",
                );
            }
            Err(_) => return text(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error\n"),
        };
        if !matches!(found, Found::NotYet) || begun_at.elapsed() >= within {
            return respond(asked.request.method(), found, is_sound);
        }
        // Whether it came or not, it is looked again.
        let _ = tokio::time::timeout(LOOK_EVERY, growth.changed()).await;
    }
}

/// What addresses in playlists end with: the token as it came, if there is one.
fn opening(query: &str) -> String {
    let mut pairs = query.trim_start_matches('?').split('&');
    let token = pairs.find(|pair| pair.starts_with("token="));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%+=:/".contains(&byte);
    token.filter(|token| token.bytes().all(is_plain)).map_or_else(String::new, |t| format!("?{t}"))
}

fn respond(method: &Method, found: Found, is_sound: bool) -> Response<Body> {
    let (media_type, cached, bytes) = match found {
        Found::Playlist(text) => ("application/vnd.apple.mpegurl", GROWING, text.into_bytes()),
        Found::Media(bytes) => ("video/mp4", SETTLED, bytes),
        Found::NotYet if is_sound => {
            return later("Nobody is heard yet: try again when somebody speaks\n");
        }
        Found::NotYet => {
            return later("There is no picture yet: try again when there is, or take sound.m3u8\n");
        }
        Found::Busy => return later("Too much is watched at once: try again in a minute\n"),
        Found::OnlyVp8 => {
            return text(
                StatusCode::CONFLICT,
                "The pictures are VP8, which HLS does not know: write \"codecs\": [\"h264\", \"opus\"] \
                 into the group's file and record again. sound.m3u8 has the sound.\n",
            );
        }
        Found::TooFar => {
            return text(
                StatusCode::BAD_REQUEST,
                "That is too far ahead: ask for what comes next\n",
            );
        }
        Found::Gone => {
            return text(
                StatusCode::NOT_FOUND,
                "There is no such thing in this recording: begin with live.m3u8\n",
            );
        }
    };
    let length = bytes.len();
    let mut response =
        Response::new(full(if *method == Method::HEAD { Vec::new() } else { bytes }));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cached));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

fn later(body: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, body);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_goes_on_and_nothing_else() {
        assert_eq!(opening("?_HLS_msn=3&token=a.b-c%2B&x=1"), "?token=a.b-c%2B");
        for query in ["", "?", "?tokens=1", "?token=a\"b", "?token=a\nb"] {
            assert_eq!(opening(query), "", "{query:?}");
        }
    }

    #[test]
    fn addresses_say_what_is_wanted() {
        let person = |name: &str| Kind::Person(name.to_owned());
        for (rest, kind, wanted) in [
            ("live.m3u8", Kind::Live, Wanted::Multivariant),
            ("sound.m3u8", Kind::Sound, Wanted::Multivariant),
            ("people/ann.m3u8", person("ann"), Wanted::Multivariant),
            ("people/a/b.c.m3u8", person("a/b.c"), Wanted::Multivariant),
            ("live/media.m3u8", Kind::Live, Wanted::Media { number: None, part: None }),
            ("people/a/b/media.m3u8", person("a/b"), Wanted::Media { number: None, part: None }),
            ("live/init-3.mp4", Kind::Live, Wanted::Head(Some(3))),
            ("sound/init-sound.mp4", Kind::Sound, Wanted::Head(None)),
            ("live/17.m4s", Kind::Live, Wanted::Segment(17)),
            ("people/ann/17.2.m4s", person("ann"), Wanted::Part(17, 2)),
        ] {
            assert_eq!(Address::parse(rest), Some(Address { kind, wanted }), "{rest}");
        }
        for rest in [
            "",
            "x.m3u8",
            "people/.m3u8",
            "live/x.m4s",
            "live/1.x.m4s",
            "live/init-x.mp4",
            "live/-1.m4s",
            "other/1.m4s",
            "live/1.mp4",
            "live/99999999999999999999.m4s",
        ] {
            assert_eq!(Address::parse(rest), None, "{rest}");
        }
    }
}
