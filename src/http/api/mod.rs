//! The administration API, `/galene-api/v0/`, as Galene's `galenectl` speaks it. Every request is
//! judged in one order: preflight, web origin, credentials, method, existence, preconditions, body.

mod caller;
mod groups;
mod live;
mod precondition;
mod route;
mod tokens;
mod users;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::Value;
use signalling::EditError;

use super::body::{self, Body, Unread, empty, full};

use super::{Asked, Context};
use crate::store::Unedited;
use crate::tokens::Unusable;
use route::Route;

/// The description of this API.
const OPENAPI: &str = include_str!("openapi.json");
/// The largest body of a request.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The answer, or why there is none.
type Answer = Result<Response<Body>, Refused>;

/// Answers one request below `/galene-api`.
pub(super) async fn serve(asked: Asked, context: &Arc<Context>) -> Response<Body> {
    context.counters.api_requests.fetch_add(1, Ordering::Relaxed);
    let origin = asked.request.headers().get(header::ORIGIN).cloned();
    let is_foreign = is_foreign(&asked);
    let allowed = origin.filter(|origin| is_allowed(origin, &asked));
    let below = asked.path.strip_prefix("/galene-api").unwrap_or_default();
    let route = below.strip_prefix("/v0").and_then(route::parse);
    let mut response = match route {
        None => plain(StatusCode::NOT_FOUND, "404 page not found"),
        Some(route) if *asked.request.method() == Method::OPTIONS => preflight(&route),
        Some(_) if is_foreign && !is_read(asked.request.method()) => {
            plain(StatusCode::FORBIDDEN, "pages of this origin may not change anything")
        }
        Some(Route::Description) => openapi(asked.request.method()),
        Some(route) => {
            dispatch(asked, route, context).await.unwrap_or_else(|Refused(response)| *response)
        }
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static("ETag, Location, WWW-Authenticate, Retry-After");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    response
}

async fn dispatch(asked: Asked, route: Route, context: &Arc<Context>) -> Answer {
    caller::authorise(&asked, &route, context).await?;
    let method = asked.request.method();
    if !route.methods().contains(&method.as_str()) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
        response.headers_mut().insert(header::ALLOW, methods_of(&route));
        return Err(response.into());
    }
    if !is_read(method) && route.is_group_file() && !asked.config.writable_groups {
        return Err(refuse(StatusCode::UNAUTHORIZED, "not authorised"));
    }
    let is_head = *method == Method::HEAD;
    let answered = match route {
        Route::Description => Ok(openapi(method)),
        Route::Stats => stats(context).await,
        Route::Groups => groups::list(context).await,
        Route::Group(name) => groups::group(asked, name, context).await,
        Route::Keys(name) => groups::keys(asked, name, context).await,
        Route::Users(name) => users::list(asked, name, context).await,
        Route::User(name, who) => users::user(asked, name, who, context).await,
        Route::Password(name, who) => users::password(asked, name, who, context).await,
        Route::Tokens(scope) => tokens::all(asked, scope, context).await,
        Route::Token(scope, secret) => tokens::one(asked, scope, secret, context).await,
        Route::Members(name) => live::members(name, context).await,
        Route::Member(name, client) => live::member(asked, name, client, context).await,
        Route::Stream(name, client, stream) => live::stream(name, client, stream, context).await,
        Route::Mute(name, client) => live::mute(name, client, context).await,
        Route::Say(name, client) => live::say(asked, name, client, context).await,
        Route::Lock(name) => live::lock(asked, name, context).await,
    };
    if !is_head {
        return answered;
    }
    let response = answered.unwrap_or_else(|Refused(response)| *response);
    Ok(response.map(|_| empty()))
}

async fn stats(context: &Context) -> Answer {
    let stats = context.control.stats().await.ok_or_else(internal)?;
    Ok(json(&stats, None))
}

fn openapi(method: &Method) -> Response<Body> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("OPTIONS, HEAD, GET"));
        return response;
    }
    let body = if *method == Method::HEAD { empty() } else { full(OPENAPI) };
    let mut response = Response::new(body);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether a page asks that has no leave to. Browsers send forms to any server without asking it
/// first, with the credentials that they remember, so such a request must not change anything.
fn is_foreign(asked: &Asked) -> bool {
    let headers = asked.request.headers();
    match headers.get(header::ORIGIN) {
        Some(origin) => !is_allowed(origin, asked),
        None => {
            let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
            site.is_some_and(|site| matches!(site, "cross-site" | "same-site"))
        }
    }
}

/// Galene's rule for `allowAdminOrigin`: our own host, or one of the list.
fn is_allowed(origin: &HeaderValue, asked: &Asked) -> bool {
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    super::origin::is_known(origin, &asked.host, &asked.config, &asked.config.allow_admin_origin)
}

fn methods_of(route: &Route) -> HeaderValue {
    let methods = format!("OPTIONS, {}", route.methods().join(", "));
    HeaderValue::from_str(&methods).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

fn preflight(route: &Route) -> Response<Body> {
    let mut response = Response::new(empty());
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods_of(route));
    headers.insert(header::ALLOW, methods_of(route));
    let names = "Authorization, Content-Type, If-Match, If-None-Match";
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(names));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    response
}

/// Runs what blocks on files.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(internal()))
}

/// Reads a body of one media type.
async fn read_body(asked: Asked, media_type: &'static str) -> Result<Vec<u8>, Refused> {
    let given = asked.request.headers().get(header::CONTENT_TYPE);
    let given = given.and_then(|given| given.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    if !given.eq_ignore_ascii_case(media_type) {
        let mut response = plain(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            &format!("the Content-Type must be {media_type}"),
        );
        response.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(media_type));
        return Err(response.into());
    }
    match body::read(asked.request.into_body(), BODY_BYTES_MAX).await {
        Ok(body) => Ok(body.to_vec()),
        Err(Unread::TooLarge) => {
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 1 MiB"))
        }
        Err(Unread::TooSlow) => {
            Err(refuse(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"))
        }
        Err(Unread::Broken) => Err(refuse(StatusCode::BAD_REQUEST, "the body cannot be read")),
    }
}

/// Reads a JSON body.
async fn read_json(asked: Asked, media_type: &'static str) -> Result<Value, Refused> {
    let body = read_body(asked, media_type).await?;
    serde_json::from_slice(&signalling::without_lone_surrogates(&body))
        .map_err(|error| refuse(StatusCode::BAD_REQUEST, &format!("the body is not JSON: {error}")))
}

fn json(value: &Value, etag: Option<&str>) -> Response<Body> {
    let mut response = Response::new(full(format!("{value}\n")));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    put_etag(headers, etag);
    response
}

fn put_etag(headers: &mut HeaderMap, etag: Option<&str>) {
    if let Some(Ok(etag)) = etag.filter(|etag| !etag.is_empty()).map(HeaderValue::from_str) {
        headers.insert(header::ETAG, etag);
    }
}

/// What a write ends with.
fn written(is_created: bool) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = if is_created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    response
}

fn plain(status: StatusCode, line: &str) -> Response<Body> {
    let mut response = Response::new(full(format!("{line}\n")));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

fn refuse(status: StatusCode, line: &str) -> Refused {
    plain(status, line).into()
}

fn not_found() -> Refused {
    refuse(StatusCode::NOT_FOUND, "not found")
}

fn internal() -> Refused {
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
}

/// A request that ends early, with its answer.
struct Refused(Box<Response<Body>>);

impl From<Response<Body>> for Refused {
    fn from(response: Response<Body>) -> Self {
        Self(Box::new(response))
    }
}

impl From<Unedited> for Refused {
    fn from(error: Unedited) -> Self {
        match error {
            Unedited::Broken(error) => {
                let what = format!("the group file cannot be used: {error}");
                refuse(StatusCode::INTERNAL_SERVER_ERROR, &what)
            }
            Unedited::TooLarge => refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the group's file would become larger than 1 MiB",
            ),
            Unedited::System(error) if is_of_the_name(error.kind()) => {
                let what = format!(
                    "no group file can have this name ({error}): use a shorter one, or one that is \
                     not a folder's or another file's"
                );
                refuse(StatusCode::BAD_REQUEST, &what)
            }
            Unedited::System(error) => {
                tracing::error!("group file: {error}");
                internal()
            }
        }
    }
}

/// Whether a file could not be written because of how it would be called.
fn is_of_the_name(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::InvalidFilename | ErrorKind::NotADirectory | ErrorKind::IsADirectory)
}

impl From<EditError> for Refused {
    fn from(error: EditError) -> Self {
        let status = match error {
            EditError::NoSuchUser => StatusCode::NOT_FOUND,
            _ => StatusCode::BAD_REQUEST,
        };
        refuse(status, &error.to_string())
    }
}

impl From<Unusable> for Refused {
    fn from(error: Unusable) -> Self {
        let status = match error {
            Unusable::TooLarge => StatusCode::BAD_REQUEST,
            Unusable::Full | Unusable::GroupFull => StatusCode::INSUFFICIENT_STORAGE,
            Unusable::Broken | Unusable::System => StatusCode::INTERNAL_SERVER_ERROR,
        };
        refuse(status, &error.to_string())
    }
}

/// A header's value, if it is text; several lines are one list (RFC 9110 s5.3).
fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values: Vec<&str> =
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    let values: Vec<&str> = values.into_iter().filter(|value| !value.trim().is_empty()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}
