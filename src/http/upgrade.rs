//! The door of the WebSocket: RFC 6455 s4.2.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode, Version};
use signalling::Caller;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::body::{Body, empty};
use super::{Asked, Context, origin, reached, text};
use crate::redacted::Redacted;
use crate::ws;

/// As many WebSockets as this; more are told to come back.
const SOCKETS_MAX: usize = 20_000;

/// `/ws`
pub(super) fn websocket(mut asked: Asked, context: &Arc<Context>) -> Response<Body> {
    let headers = asked.request.headers();
    let is_old = asked.request.version() < Version::HTTP_11;
    let is_get = *asked.request.method() == Method::GET;
    let key = headers.get(header::SEC_WEBSOCKET_KEY).cloned();
    let (Some(key), true) = (key, is_get && is_websocket(headers)) else {
        return text(StatusCode::BAD_REQUEST, "This URL is a WebSocket\n");
    };
    // RFC 6455 s4.1. A connection of HTTP/1.0 cannot be handed over.
    if is_old {
        return text(
            StatusCode::UPGRADE_REQUIRED,
            "A WebSocket needs HTTP/1.1: a proxy in between must speak it (nginx: proxy_http_version 1.1)\n",
        );
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut response = text(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is needed\n");
        let version = HeaderValue::from_static("13");
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, version);
        return response;
    }
    if !origin::is_allowed(headers, &asked.host, &asked.config, context.is_public_server) {
        return text(
            StatusCode::FORBIDDEN,
            "Pages of this origin may not connect: add it to allowOrigin in config.json\n",
        );
    }
    if context.is_draining.load(Ordering::Relaxed) {
        return text(StatusCode::SERVICE_UNAVAILABLE, "The server is shutting down\n");
    }
    if context.sockets.count() >= SOCKETS_MAX {
        return text(StatusCode::SERVICE_UNAVAILABLE, "Server full, try again later\n");
    }
    let (control, address) = (context.control.clone(), asked.peer.address.clone());
    let reached = reached(&asked.host, &asked.peer);
    let address = address.map(|Redacted(address)| address);
    let host = Some(asked.host.clone());
    let counted = context.sockets.enter();
    let counters = context.counters.clone();
    let upgrade = hyper::upgrade::on(&mut asked.request);
    tokio::spawn(async move {
        let _counted = counted;
        if let Ok(upgraded) = upgrade.await {
            let caller = Caller { address, reached, host };
            ws::serve(upgraded, caller, control, &counters).await;
        }
    });
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn is_websocket(headers: &HeaderMap) -> bool {
    let has = |name, token: &str| {
        let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values
            .any(|value: &str| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(token)))
    };
    has(header::UPGRADE, "websocket") && has(header::CONNECTION, "upgrade")
}
