//! The `/group/` tree: the pages, the status, and the way to WHIP and WHEP.

use std::sync::Arc;

use hyper::header::{self, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::Value;
use signalling::{Protocol, StatusReply, StatusView, encode_path, unauthenticated_status};

use super::body::{Body, empty, full};
use super::webrtc;
use super::{Asked, Context, origin, page_headers, redirect, text};

/// Pages beside a group's own: the last part of the path, and the file.
const PAGES: [(&str, &str); 2] = [("/publish", "publish.html"), ("/watch", "watch.html")];

/// `/group/NAME/` and all below it.
pub(super) async fn serve(asked: Asked, context: &Arc<Context>) -> Response<Body> {
    let below = asked.path.strip_prefix("/group").unwrap_or_default();
    let (folder, kind, rest) = match below.find("/.") {
        None => (below, "", ""),
        Some(at) => {
            let (folder, dotted) = below.split_at(at);
            let dotted = dotted.strip_prefix('/').unwrap_or_default();
            let (kind, rest) = dotted.split_at(dotted.find('/').unwrap_or(dotted.len()));
            (folder, kind, rest)
        }
    };
    let name = folder.trim_matches('/').to_owned();
    let is_tidy =
        folder == format!("/{name}") || (kind.is_empty() && folder == format!("/{name}/"));
    if name.is_empty() || !is_tidy {
        return missing_page(&asked, context).await;
    }
    match (kind, rest) {
        ("", _) if !is_get(&asked) => webrtc::serve(asked, context, name, None, "").await,
        ("", _) => page(&asked, context, &name).await,
        (".status", "") => status(&asked, context, name).await,
        (".status.json", "") => {
            let to = format!("/group/{}/.status{}", encode_path(&name), asked.query);
            let mut response = redirect(StatusCode::PERMANENT_REDIRECT, &to);
            annotate(&mut response, &asked, context);
            response
        }
        (".whip" | ".whep", rest) => {
            let protocol = if kind == ".whip" { Protocol::Whip } else { Protocol::Whep };
            let rest = rest.trim_start_matches('/').to_owned();
            webrtc::serve(asked, context, name, Some(protocol), &rest).await
        }
        _ => missing_page(&asked, context).await,
    }
}

async fn missing_page(asked: &Asked, context: &Context) -> Response<Body> {
    let mut response = context.files.not_found(asked.config.base()).await;
    page_headers(response.headers_mut(), asked, context, "");
    response
}

/// On the page's own URL other methods are WHIP's and WHEP's.
fn is_get(asked: &Asked) -> bool {
    matches!(*asked.request.method(), Method::GET | Method::HEAD)
}

async fn page(asked: &Asked, context: &Context, name: &str) -> Response<Body> {
    // With a slash behind it, it is a group of that name.
    let beside = PAGES.iter().find_map(|(end, file)| Some((name.strip_suffix(end)?, *file)));
    let (name, file) = match beside {
        Some((parent, file)) if !asked.path.ends_with('/') => (parent, file),
        _ => (name, "galene.html"),
    };
    let view = match context.control.status(name.to_owned()).await {
        Some(StatusReply::Found(view)) => view,
        Some(StatusReply::Missing) => return missing_page(asked, context).await,
        Some(StatusReply::Broken) | None => {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error\n");
        }
    };
    if file == "galene.html" && !asked.path.ends_with('/') {
        let to = format!("/group/{}/{}", encode_path(name), asked.query);
        return redirect(StatusCode::PERMANENT_REDIRECT, &to);
    }
    if let Some(url) = &view.listing.redirect {
        return redirect(StatusCode::PERMANENT_REDIRECT, url);
    }
    let headers = asked.request.headers();
    let (method, base) = (asked.request.method(), asked.config.base());
    let mut response = context.files.page(method, (file, base), headers).await;
    page_headers(response.headers_mut(), asked, context, &view.listing.auth_server);
    response
}

async fn status(asked: &Asked, context: &Context, name: String) -> Response<Body> {
    let mut response = if *asked.request.method() == Method::OPTIONS {
        preflight()
    } else {
        match context.control.status(name).await {
            Some(StatusReply::Found(view)) => json(&Value::Object(described(asked, &view))),
            Some(StatusReply::Missing) => missing_page(asked, context).await,
            Some(StatusReply::Broken) | None => {
                text(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error\n")
            }
        }
    };
    annotate(&mut response, asked, context);
    response
}

/// `/public-groups.json`
pub(super) async fn public_groups(asked: &Asked, context: &Context) -> Response<Body> {
    let Some(views) = context.control.public_groups().await else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error\n");
    };
    let groups = views.iter().map(|view| Value::Object(described(asked, view))).collect();
    let mut response = json(&Value::Array(groups));
    annotate(&mut response, asked, context);
    response
}

fn described(asked: &Asked, view: &StatusView) -> serde_json::Map<String, Value> {
    let (location, endpoint) = urls(asked, view.name.as_str());
    unauthenticated_status(view, &location, &endpoint)
}

/// The group's page and the WebSocket, as clients reach them. A proxy's URL overrides scheme, host
/// and path, each if it has it.
fn urls(asked: &Asked, name: &str) -> (String, String) {
    let own_scheme = if asked.peer.is_tls { "https" } else { "http" };
    let (scheme, host, base) = asked.config.proxy();
    let scheme = scheme.unwrap_or(own_scheme);
    let host = host.unwrap_or(&asked.host);
    let ws_scheme = if scheme == "http" { "ws" } else { "wss" };
    let base = base.trim_end_matches('/');
    (
        format!("{scheme}://{host}{base}/group/{}/", encode_path(name)),
        format!("{ws_scheme}://{host}{base}/ws"),
    )
}

fn json(value: &Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn preflight() -> Response<Body> {
    let mut response = Response::new(empty());
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("OPTIONS, GET, HEAD");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    let names = HeaderValue::from_static("Authorization, Content-Type");
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    response
}

fn annotate(response: &mut Response<Body>, asked: &Asked, context: &Context) {
    let is_public = context.is_public_server;
    let headers = asked.request.headers();
    origin::annotate(response.headers_mut(), headers, &asked.host, &asked.config, is_public);
}
