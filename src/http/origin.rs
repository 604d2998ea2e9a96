//! Which web origins may use this server, and the headers that tell them.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::config::Config;

/// Whether a page of this request's origin may use WebSocket, WHIP and status. A request without
/// an origin comes from no page.
pub(crate) fn is_allowed(
    headers: &HeaderMap,
    host: &str,
    config: &Config,
    is_public: bool,
) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    if is_public {
        return true;
    }
    let of_host = origin.split_once("://").map(|(_, host)| host);
    of_host.is_some_and(|of_host| of_host.eq_ignore_ascii_case(host))
        || config.allow_origin.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
}

/// Adds what cross-origin pages need to read a response. Without a right to it they get none.
pub(crate) fn annotate(
    response: &mut HeaderMap,
    request: &HeaderMap,
    host: &str,
    config: &Config,
    is_public: bool,
) {
    response.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = request.get(header::ORIGIN) else {
        return;
    };
    if !is_allowed(request, host, config, is_public) {
        return;
    }
    response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    response.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "Location, Link, ETag, Accept-Post, Accept-Patch, Retry-After, WWW-Authenticate",
        ),
    );
    if request.contains_key("access-control-request-private-network") {
        response.insert(
            HeaderName::from_static("access-control-allow-private-network"),
            HeaderValue::from_static("true"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        let file = br#"{"allowOrigin":["https://Friend.example"]}"#;
        let config = crate::config::parse("config.json", file).unwrap();
        let allowed = |origin: Option<&'static str>, is_public| {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            is_allowed(&headers, "aula.example:8443", &config, is_public)
        };
        assert!(allowed(None, false));
        assert!(allowed(Some("https://aula.example:8443"), false));
        assert!(allowed(Some("http://AULA.example:8443"), false));
        assert!(allowed(Some("https://friend.example"), false));
        assert!(!allowed(Some("https://aula.example"), false));
        assert!(!allowed(Some("https://evil.example"), false));
        assert!(!allowed(Some("null"), false));
        assert!(allowed(Some("https://evil.example"), true));
    }
}
