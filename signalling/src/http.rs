//! HTTP requests and responses as plain values, shared by the adapters that speak HTTP.

use std::net::IpAddr;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::problem::{PROBLEM_JSON, problem_json};

/// An HTTP request to an endpoint or a session.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// As it came: methods are case-sensitive, and these are in upper case.
    pub method: String,
    /// The name of the group as its URL has it, decoded.
    pub group: String,
    /// The first segment behind `.whip/` or `.whep/`; nothing for the endpoint.
    pub session: Option<String>,
    /// What follows that, without the slash; empty for the session itself.
    pub below: String,
    /// The query with its question mark, as it came; empty if there is none.
    pub query: String,
    /// The query's parameters, decoded.
    pub params: Vec<(String, String)>,
    /// With parameters, if there are any.
    pub content_type: Option<String>,
    /// The scheme and the credentials, not yet taken apart.
    pub authorization: Option<String>,
    /// The ETag that a PATCH is for.
    pub if_match: Option<String>,
    /// The request is a CORS preflight: it gets no `Link` headers (RFC 9725 s4.6).
    pub is_preflight: bool,
    /// The request comes from a web page: no Basic challenge, it would pop up a dialogue.
    pub is_from_page: bool,
    /// The client's address, for `identify`.
    pub address: Option<String>,
    /// Our address that the request has reached.
    pub reached: Option<IpAddr>,
    /// How the client calls us, as in its `Host` header.
    pub host: Option<String>,
    /// At most 256 KiB.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a query parameter.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        let mut params = self.params.iter();
        params.find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered, without what every response of the server has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Response {
    /// The status code (RFC 9110 s15).
    pub status: u16,
    /// Without those that are the server's business.
    pub headers: Vec<(&'static str, String)>,
    /// Empty if there is none.
    pub body: String,
}

impl Response {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// An error that says what to do.
    pub fn problem(status: u16, title: &str, detail: &str) -> Self {
        let mut response = Self::new(status).with("content-type", PROBLEM_JSON);
        response.body = problem_json(status, title, detail);
        response
    }
}

/// What the server does with a response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Sends it, and that is all.
    Whole(Response),
    /// Sends it and keeps its body open: more follows.
    Stream(Response),
}

/// 401, with what the client may try.
pub(crate) fn challenge(is_from_page: bool) -> Response {
    let detail = "give the group's user and password (Basic), or a bearer token";
    let response = Response::problem(401, "not authorised", detail);
    let response = response.with("www-authenticate", "Bearer");
    if is_from_page { response } else { response.with("www-authenticate", "Basic realm=\"group\"") }
}

/// The answer to OPTIONS, preflight or not; it needs no credentials. Headers of any name may come, as
/// pages' clients send those of their own servers; which pages may ask is the origin's matter. The
/// wildcard does not mean `Authorization` (Fetch s3.3.3), and old browsers do not know it.
pub(crate) fn options(methods: &str) -> Response {
    Response::new(200)
        .with("allow", methods)
        .with("access-control-allow-methods", methods)
        .with(
            "access-control-allow-headers",
            "Authorization, Content-Type, If-Match, If-None-Match, Link, X-Protocol, *",
        )
        .with("access-control-max-age", "3600")
}

/// The `Link` headers (RFC 9725 s4.6) for the `iceServers` of an RTCConfiguration.
pub(crate) fn ice_links(configuration: &Value) -> Vec<String> {
    let servers = configuration["iceServers"].as_array().map_or(&[][..], Vec::as_slice);
    servers.iter().flat_map(server_links).collect()
}

/// Those of one server.
pub(crate) fn server_links(server: &Value) -> Vec<String> {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let urls = match &server["urls"] {
        Value::String(url) => vec![url.as_str()],
        Value::Array(urls) => urls.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let named = match (server["username"].as_str(), server["credential"].as_str()) {
        (Some(username), Some(credential)) => {
            let (username, credential) = (quoted(username), quoted(credential));
            format!("; username={username}; credential={credential}; credential-type=\"password\"")
        }
        _ => String::new(),
    };
    let urls = urls.into_iter().filter(|url| !url.contains(['<', '>', '\r', '\n']));
    urls.map(|url| format!("<{url}>; rel=\"ice-server\"{named}")).collect()
}

/// Whether a Content-Type is `wanted`, whatever its case and parameters.
pub(crate) fn is_media_type(header: Option<&str>, wanted: &str) -> bool {
    let value = header.and_then(|header| header.split(';').next());
    value.is_some_and(|value| value.trim().eq_ignore_ascii_case(wanted))
}

/// For comparing secrets in constant time, whatever their length.
pub(crate) fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ice_servers_become_link_headers() {
        let configuration = serde_json::json!({"iceServers": [
            {"urls": ["stun:s.example:3478"]},
            {"urls": "turn:t.example?transport=udp", "username": "a\"b", "credential": "c"},
        ]});
        assert_eq!(
            ice_links(&configuration),
            [
                "<stun:s.example:3478>; rel=\"ice-server\"",
                "<turn:t.example?transport=udp>; rel=\"ice-server\"; username=\"a\\\"b\"; \
                 credential=\"c\"; credential-type=\"password\"",
            ]
        );
        assert!(ice_links(&serde_json::json!({})).is_empty());
    }
}
