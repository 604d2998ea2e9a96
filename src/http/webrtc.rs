//! WHIP and WHEP over HTTP: requests become plain values, answers become responses, and event
//! streams stay open.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use signalling::{Protocol, percent_decode, whip, would_receive};

use super::body::{self, Body, ChannelBody, Unread, full};
use super::{Asked, Context, origin, reached};
use crate::redacted::Redacted;

/// The largest SDP, whole or fragment (docs/threats.md, row 24).
const SDP_BYTES_MAX: usize = 256 * 1024;

/// A request to an endpoint or, with something in `rest`, to a session of its. Without a protocol
/// the URL is the group's own: then `?protocol=`, the header `X-Protocol` or the offer decides.
pub(super) async fn serve(
    asked: Asked,
    context: &Context,
    group: String,
    protocol: Option<Protocol>,
    rest: &str,
) -> Response<Body> {
    let Asked { request, host, config, peer, query, .. } = asked;
    let (parts, incoming) = request.into_parts();
    let get = |name: HeaderName| {
        let value = parts.headers.get(name).and_then(|value| value.to_str().ok());
        // Pages write `token ? 'Bearer ' + token : ''`, and mean that there is none.
        value.filter(|value| !value.trim().is_empty()).map(str::to_owned)
    };
    let (rest, query) = within(rest, query);
    let (session, below) = rest.split_once('/').unwrap_or((rest, ""));
    let mut open = None;
    let problem = |status, title, detail| whip::Response::problem(status, title, detail);
    let answer = match body::read(incoming, SDP_BYTES_MAX).await {
        Err(Unread::TooLarge) => problem(413, "too large", "an SDP has at most 256 KiB"),
        Err(Unread::TooSlow) => problem(408, "too slow", "send the body faster"),
        Err(Unread::Broken) => problem(400, "no body", "send the whole body"),
        Ok(_) if is_packed(&parts.headers) => {
            problem(415, "packed", "send the body as it is, without Content-Encoding")
        }
        Ok(bytes) => {
            let params = params(&query);
            let named = get(HeaderName::from_static("x-protocol"));
            let protocol = protocol.unwrap_or_else(|| chosen(&params, named.as_deref(), &bytes));
            let authorization = get(header::AUTHORIZATION).or_else(|| {
                // Where headers cannot be set, `?token=T` stands for a bearer.
                let token = params.iter().find(|(name, _)| name == "token");
                token.map(|(_, token)| format!("Bearer {token}"))
            });
            let request = whip::Request {
                method: parts.method.as_str().to_owned(),
                group,
                session: (!session.is_empty()).then(|| session.to_owned()),
                below: below.trim_end_matches('/').to_owned(),
                query,
                params,
                content_type: get(header::CONTENT_TYPE),
                authorization,
                if_match: get(header::IF_MATCH),
                is_preflight: parts.method == Method::OPTIONS
                    && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD),
                is_from_page: parts.headers.contains_key(header::ORIGIN),
                reached: reached(&host, &peer),
                host: Some(host.clone()),
                address: peer.address.map(|Redacted(address)| address),
                body: bytes.to_vec(),
            };
            match context.control.webrtc(protocol, request).await {
                Some((answer, chunks)) => {
                    open = chunks;
                    answer
                }
                None => problem(503, "shutting down", "the server is shutting down"),
            }
        }
    };
    let body = match open {
        Some(chunks) => ChannelBody::body(chunks),
        None => full(answer.body),
    };
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
    }
    let is_public = context.is_public_server;
    origin::annotate(response.headers_mut(), &parts.headers, &host, &config, is_public);
    response
}

/// Whether the body needs unpacking (RFC 9110 s8.4).
fn is_packed(headers: &HeaderMap) -> bool {
    let coding = headers.get(header::CONTENT_ENCODING).and_then(|coding| coding.to_str().ok());
    coding.is_some_and(|coding| !matches!(coding.trim(), "" | "identity"))
}

/// The path and the query of a session whose URL, which has a query, a client took for a path: then its
/// question mark came encoded.
fn within(rest: &str, query: String) -> (&str, String) {
    match rest.split_once('?') {
        Some((rest, own)) if query.is_empty() => (rest, format!("?{own}")),
        Some((rest, _)) => (rest, query),
        None => (rest, query),
    }
}

/// The parameters of a query or a form, decoded; those that cannot be are left out.
pub(super) fn params(query: &str) -> Vec<(String, String)> {
    let pairs = query.trim_start_matches('?').split('&').filter(|pair| !pair.is_empty());
    pairs
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((percent_decode(name)?, percent_decode(value)?))
        })
        .collect()
}

/// What a request to the group's own URL means.
fn chosen(params: &[(String, String)], named: Option<&str>, body: &[u8]) -> Protocol {
    let param = params.iter().find(|(name, _)| name == "protocol");
    let name = param.map(|(_, name)| name.as_str()).or(named);
    match name {
        Some(name) if name.eq_ignore_ascii_case("whep") => Protocol::Whep,
        Some(name) if name.eq_ignore_ascii_case("whip") => Protocol::Whip,
        _ if would_receive(&String::from_utf8_lossy(body)) => Protocol::Whep,
        _ => Protocol::Whip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let pairs = params("?a=b&token=x%20y&c&bad=%zz&=");
        let pairs: Vec<(&str, &str)> =
            pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "b"), ("token", "x y"), ("c", ""), ("", "")]);
        assert!(params("").is_empty());
    }

    #[test]
    fn a_session_url_taken_for_a_path_is_understood() {
        let of = |rest, query: &str| within(rest, query.to_owned());
        assert_eq!(of("secret", "?token=x"), ("secret", "?token=x".to_owned()));
        assert_eq!(of("secret?token=x", ""), ("secret", "?token=x".to_owned()));
        assert_eq!(of("secret?token=x", "?token=x"), ("secret", "?token=x".to_owned()));
        assert_eq!(of("secret/layer?token=x", ""), ("secret/layer", "?token=x".to_owned()));
    }

    #[test]
    fn the_group_url_serves_both_protocols() {
        let of = |query: &str, named, body: &str| chosen(&params(query), named, body.as_bytes());
        let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111";
        let of_audio = |lines: &str| of("", None, &format!("v=0\r\n{lines}"));
        assert_eq!(of_audio(&format!("{audio}\r\na=sendonly\r\n")), Protocol::Whip);
        assert_eq!(of_audio(&format!("{audio}\r\na=recvonly\r\n")), Protocol::Whep);
        assert_eq!(of_audio(&format!("a=recvonly\n{audio}")), Protocol::Whep);
        let off =
            format!("m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=recvonly\r\n{audio}\r\na=sendonly\r\n");
        assert_eq!(of_audio(&off), Protocol::Whip);
        assert_eq!(of("?protocol=whep", None, ""), Protocol::Whep);
        assert_eq!(
            of("?protocol=WHIP", Some("whep"), "m=audio 9 X 1\na=recvonly\n"),
            Protocol::Whip
        );
        assert_eq!(of("", Some("whep"), ""), Protocol::Whep);
    }
}
