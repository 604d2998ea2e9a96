//! The route table, and what all routes share.

mod api;
mod body;
mod files;
mod group;
mod listen;
mod live;
mod monitor;
mod origin;
mod passes;
mod plain;
mod recordings;
mod upgrade;
mod webrtc;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};

use body::{Body, empty, full};
pub(crate) use files::Files;
pub(crate) use listen::{Listener, serve};
pub(crate) use monitor::monitor;
pub(crate) use passes::Passes;
use signalling::percent_decode;

use crate::authenticator::Authenticator;
use crate::config::{Config, ConfigFile, is_host};
use crate::control::Control;
use crate::counter::Counter;
use crate::forwarded;
use crate::ice_tcp::IceTcp;
use crate::memory::Memory;
use crate::metrics::Counters;
use crate::peer::Peer;
use crate::recorder::Recorder;
use crate::store::GroupStore;
use crate::tls::Certificates;

/// What every request may need.
pub(crate) struct Context {
    pub(crate) control: Control,
    pub(crate) config: Arc<ConfigFile>,
    pub(crate) files: Files,
    pub(crate) store: Arc<GroupStore>,
    pub(crate) authenticator: Authenticator,
    pub(crate) counters: Arc<Counters>,
    pub(crate) ice_tcp: Arc<IceTcp>,
    pub(crate) recorder: Recorder,
    /// What is watched of recordings.
    pub(crate) shows: crate::live::Shows,
    /// Passwords of those who watch.
    pub(crate) passes: Passes,
    /// Where TLS ends here.
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) memory: Memory,
    pub(crate) is_public_server: bool,
    pub(crate) is_draining: AtomicBool,
    /// Counts WebSockets, which a shutdown waits for.
    pub(crate) sockets: Counter,
}

/// A request with its path decoded.
struct Asked {
    request: Request<Incoming>,
    /// Decoded, with its leading slash.
    path: String,
    /// The same as it came.
    raw: String,
    /// With its question mark; empty if there is none.
    query: String,
    /// The Host header, or the authority of HTTP/2.
    host: String,
    config: Arc<Config>,
    peer: Peer,
}

/// Answers a request, whatever its path.
async fn route(
    request: Request<Incoming>,
    peer: Peer,
    context: Arc<Context>,
) -> Result<Response<Body>, Infallible> {
    let config = context.config.get();
    let base = config.base();
    // A token is a word and no address.
    let has_addresses = !request.uri().path().starts_with("/galene-api/");
    let mut response = answer(request, peer, config.clone(), &context).await;
    if has_addresses {
        below(response.headers_mut(), base);
    }
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    Ok(response)
}

/// Puts a prefix, which a proxy in front of us takes off, before our own addresses.
fn below(headers: &mut HeaderMap, base: &str) {
    if base.is_empty() {
        return;
    }
    let own = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let own = own.filter(|path| path.starts_with('/') && !path.starts_with("//"));
    if let Some(location) =
        own.and_then(|path| HeaderValue::from_str(&format!("{base}{path}")).ok())
    {
        headers.insert(header::LOCATION, location);
    }
    let links: Vec<HeaderValue> = headers.get_all(header::LINK).iter().cloned().collect();
    headers.remove(header::LINK);
    for link in links {
        let own = link.to_str().ok().and_then(|text| text.strip_prefix("</"));
        let prefixed = own.and_then(|rest| HeaderValue::from_str(&format!("<{base}/{rest}")).ok());
        headers.append(header::LINK, prefixed.unwrap_or(link));
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: Peer,
    config: Arc<Config>,
    context: &Arc<Context>,
) -> Response<Body> {
    let host = match host_of(&request) {
        Ok(host) => host,
        Err(why) => return text(StatusCode::BAD_REQUEST, why),
    };
    let raw = request.uri().path();
    // A proxy that does not take its prefix off is as good.
    let raw = raw.strip_prefix(config.base()).filter(|rest| rest.starts_with('/')).unwrap_or(raw);
    let raw = raw.to_owned();
    let raw = raw.as_str();
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Some(clean) = cleaned(raw) {
        return redirect(StatusCode::TEMPORARY_REDIRECT, &format!("{clean}{query}"));
    }
    let Some(path) = percent_decode(raw) else {
        return text(StatusCode::BAD_REQUEST, "Bad path\n");
    };
    let raw = raw.to_owned();
    let peer = forwarded::behind(peer, request.headers(), &config.trusted_proxies);
    let asked = Asked { request, path, raw, query, host, config, peer };
    if is_newcomer(&asked) && context.memory.is_full() {
        let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "Server full, try again later\n");
        let soon = HeaderValue::from_static("30");
        response.headers_mut().insert(header::RETRY_AFTER, soon);
        return response;
    }
    match asked.path.as_str() {
        "/healthz" => return plain_status(StatusCode::OK),
        "/readyz" => return plain_status(context.readiness()),
        "/ws" => return upgrade::websocket(asked, context),
        "/public-groups.json" => return group::public_groups(&asked, context).await,
        "/galene-api" => {
            return redirect(
                StatusCode::PERMANENT_REDIRECT,
                &format!("/galene-api/{}", asked.query),
            );
        }
        path if path.starts_with("/galene-api/") => return api::serve(asked, context).await,
        _ => {}
    }
    if let Some(redirect) = canonical_redirect(&asked) {
        return redirect;
    }
    match asked.path.as_str() {
        "/group" => redirect(StatusCode::PERMANENT_REDIRECT, &format!("/group/{}", asked.query)),
        path if path.starts_with("/group/") => group::serve(asked, context).await,
        path if path == "/recordings" || path.starts_with("/recordings/") => {
            recordings::serve(asked, context).await
        }
        _ => {
            let path = asked.path.trim_start_matches('/');
            let headers = asked.request.headers();
            let base = asked.config.base();
            let part = library_part(path);
            let path = part.as_deref().unwrap_or(path);
            let mut response = if is_confined(path) {
                let (method, query) = (asked.request.method(), asked.query.as_str());
                context.files.serve(method, path, (query, base), headers).await
            } else {
                context.files.not_found(base).await
            };
            page_headers(response.headers_mut(), &asked, context, "");
            if part.is_some() && response.status() != StatusCode::NOT_FOUND {
                let all = HeaderValue::from_static("*");
                response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, all);
            }
            response
        }
    }
}

/// Where the client library is for pages of any origin; the number is that of its interface.
const LIBRARY: &str = "client/1/";
/// The modules that it consists of, which know nothing of our page.
const LIBRARY_PARTS: [&str; 11] = [
    "extensions.js",
    "heir.js",
    "listener.js",
    "member.js",
    "orphans.js",
    "protocol.js",
    "random.js",
    "relays.js",
    "socket.js",
    "stream.js",
    "usermessage.js",
];

/// The file of a part of the client library, if `path` names one.
fn library_part(path: &str) -> Option<String> {
    let part = path.strip_prefix(LIBRARY)?;
    LIBRARY_PARTS.contains(&part).then(|| format!("js/{part}"))
}

/// Whether the request would bring somebody in: a WebSocket, or a publisher or viewer over HTTP.
fn is_newcomer(asked: &Asked) -> bool {
    let path = asked.path.as_str();
    path == "/ws" || (path.starts_with("/group/") && *asked.request.method() == Method::POST)
}

/// A decoded path that names nothing outside and nothing hidden.
fn is_confined(path: &str) -> bool {
    !path.contains(['\0', '\\']) && !path.split('/').any(|part| part.starts_with('.'))
}

/// What keeps a page's scripts to themselves, and other pages' frames away. Background blur needs
/// more than other scripts, see there.
fn page_headers(headers: &mut HeaderMap, asked: &Asked, context: &Context, auth_server: &str) {
    let space = if auth_server.is_empty() { "" } else { " " };
    let more = context.files.script_sources();
    let mut ancestors = String::from("'self'");
    // What would end the directive is none.
    let is_source = |ancestor: &&String| {
        ancestor.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';' && byte != b',')
    };
    for ancestor in asked.config.frame_ancestors.iter().filter(is_source) {
        ancestors.push(' ');
        ancestors.push_str(ancestor);
    }
    let policy = format!(
        "connect-src {auth_server}{space}ws: wss: 'self'; img-src 'self'; media-src blob: 'self'; \
         script-src {more}'self'; default-src 'self'; frame-ancestors {ancestors}"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// To the canonical host, if this is not it. Other methods than GET must stay what they are.
fn canonical_redirect(asked: &Asked) -> Option<Response<Body>> {
    let canonical = &asked.config.canonical_host;
    if canonical.is_empty() || origin::is_same_host(canonical, &asked.host) {
        return None;
    }
    let is_get = matches!(*asked.request.method(), Method::GET | Method::HEAD);
    let status =
        if is_get { StatusCode::MOVED_PERMANENTLY } else { StatusCode::PERMANENT_REDIRECT };
    let (base, path) = (asked.config.base(), &asked.raw);
    Some(redirect(status, &format!("https://{canonical}{base}{path}{}", asked.query)))
}

/// The Host header, which may be empty (RFC 9112 s3.2), or the authority of HTTP/2; or what is wrong with it.
fn host_of(request: &Request<Incoming>) -> Result<String, &'static str> {
    let given = request.headers().get_all(header::HOST);
    let hosts = given.iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Err("A request has one Host header\n");
    }
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let host = match given.iter().next() {
        Some(host) => host.to_str().ok(),
        None => Some(authority.unwrap_or_default()),
    };
    // It goes into addresses that we give out.
    let host = host.filter(|host| host.is_empty() || is_host(host));
    host.map(str::to_owned).ok_or("The Host header is no host\n")
}

/// Our address that a client has reached, as it spells it or as its connection has it.
fn reached(host: &str, peer: &Peer) -> Option<IpAddr> {
    origin::host_address(host).or(peer.local)
}

/// The path without `//`, `/./` and `/../`, if it has any.
fn cleaned(path: &str) -> Option<String> {
    let is_crooked = |part: &str| part.is_empty() || part == "." || part == "..";
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let (last, inner) = parts.split_last()?;
    if !inner.iter().copied().any(is_crooked) && *last != "." && *last != ".." {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for part in inner.iter().chain([last]) {
        match *part {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    let slash = if is_crooked(last) && !kept.is_empty() { "/" } else { "" };
    Some(format!("/{}{slash}", kept.join("/")))
}

fn redirect(status: StatusCode, location: &str) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    match HeaderValue::from_str(location) {
        Ok(location) => {
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error\n"),
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

fn plain_status(status: StatusCode) -> Response<Body> {
    let is_ok = status == StatusCode::OK;
    let mut response = text(status, if is_ok { "ok\n" } else { "draining or full\n" });
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crooked_paths_are_cleaned() {
        for (path, clean) in [
            ("/", None),
            ("/a/b", None),
            ("/a/b/", None),
            ("/a..b/.c", None),
            ("//", Some("/")),
            ("//evil.example/x", Some("/evil.example/x")),
            ("/a//b", Some("/a/b")),
            ("/a/./b/", Some("/a/b/")),
            ("/a/../b", Some("/b")),
            ("/../../etc/passwd", Some("/etc/passwd")),
            ("/a/..", Some("/")),
            ("/a/b/.", Some("/a/b/")),
        ] {
            assert_eq!(cleaned(path).as_deref(), clean, "{path}");
        }
    }

    #[test]
    fn decoding_happens_once() {
        assert_eq!(percent_decode("/a%20b").as_deref(), Some("/a b"));
        assert_eq!(percent_decode("/%252e").as_deref(), Some("/%2e"));
        for bad in ["/%", "/%2", "/%zz", "/%ff"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn hidden_and_climbing_files_are_out_of_reach() {
        for path in ["../x", "a/../b", ".git/config", "a/.b", "a\\b", "a\0"] {
            assert!(!is_confined(path), "{path:?}");
        }
        assert!(is_confined("js/aula.js") && is_confined(""));
    }
}
