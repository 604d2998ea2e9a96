//! Which web origins may use this server, and the headers that tell them.

use std::net::{IpAddr, Ipv6Addr};

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::config::Config;

/// An origin: scheme, host and port (RFC 6454 s4), in one spelling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// Reads `https://name`, `http://[::1]:8080` and the like; what follows is ignored.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        Self::of(&scheme.to_ascii_lowercase(), authority)
    }

    /// The origin of what a `Host` header names, if it was asked for by this scheme.
    pub(crate) fn of(scheme: &str, authority: &str) -> Option<Self> {
        let (host, port) = host_and_port(authority)?;
        let default = match scheme {
            "http" | "ws" => 80,
            "https" | "wss" => 443,
            _ => 0,
        };
        Some(Self { scheme: scheme.to_owned(), host, port: port.unwrap_or(default) })
    }
}

/// A host in one spelling, and the port if there is one.
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let authority = authority.trim();
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            (
                format!("[{address}]"),
                rest.strip_prefix(':').or_else(|| (!rest.is_empty()).then_some("x")),
            )
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host.to_ascii_lowercase(), Some(port)),
            None => (authority.to_ascii_lowercase(), None),
        },
    };
    let host = host.trim_end_matches('.').to_owned();
    let port = match port {
        None | Some("") => None,
        Some(port) => Some(port.parse().ok()?),
    };
    (!host.is_empty()).then_some((host, port))
}

/// The address that a `Host` header names, if it is one.
pub(crate) fn host_address(host: &str) -> Option<IpAddr> {
    let (host, _) = host_and_port(host)?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether two hosts, as `Host` headers and `canonicalHost` spell them, are one over HTTPS.
pub(crate) fn is_same_host(one: &str, other: &str) -> bool {
    let of = |host| Origin::of("https", host);
    of(one).is_some_and(|one| of(other).as_ref() == Some(&one))
}

/// Whether an origin is our own, as the client or `config.json` names us, or one of `listed`. The
/// client's scheme counts, not ours: TLS may end in front of us.
pub(crate) fn is_known(origin: &str, host: &str, config: &Config, listed: &[String]) -> bool {
    let is_spelt = |known: &String| known.trim().eq_ignore_ascii_case(origin);
    let Some(origin) = Origin::parse(origin) else {
        return listed.iter().any(is_spelt);
    };
    let (scheme, proxy, _) = config.proxy();
    let (scheme, canonical) = (scheme.unwrap_or("https"), config.canonical_host.as_str());
    let own = [(origin.scheme.as_str(), Some(host)), (scheme, proxy), ("https", Some(canonical))];
    let mut own = own.into_iter().filter_map(|(scheme, host)| Origin::of(scheme, host?));
    own.any(|own| own == origin)
        || listed.iter().any(|it| Origin::parse(it).as_ref() == Some(&origin))
}

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
    is_public || is_known(origin, host, config, &config.allow_origin)
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
            "Location, Link, ETag, Allow, Access-Control-Allow-Methods, Accept-Post, Accept-Patch, \
             Retry-After, WWW-Authenticate",
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

    #[test]
    fn an_origin_is_scheme_host_and_port_in_any_spelling() {
        let config = Config::default();
        for (origin, host, is_own) in [
            ("https://name", "name:443", true),
            ("https://name:443", "name", true),
            ("http://name", "name:80", true),
            ("http://name", "name:443", false),
            ("https://name", "name:8443", false),
            ("https://NAME", "name.", true),
            ("https://[2001:DB8::1]", "[2001:db8:0:0:0:0:0:1]:443", true),
            ("https://[2001:db8::1]:8443", "[2001:db8::1]:8443", true),
            ("https://[2001:db8::2]", "[2001:db8::1]", false),
            ("https://192.0.2.1", "192.0.2.1", true),
            ("https://name.evil.example", "name", false),
            ("https://name@evil.example", "name", false),
            ("https://name:x", "name", false),
            ("https://", "", false),
            ("null", "null", false),
            ("", "", false),
        ] {
            assert_eq!(is_known(origin, host, &config, &[]), is_own, "{origin} {host}");
        }
        let listed = ["HTTPS://Friend.example:443/".to_owned(), "null".to_owned()];
        assert!(is_known("https://friend.example", "name", &config, &listed));
        assert!(!is_known("http://friend.example", "name", &config, &listed));
        assert!(is_known("null", "name", &config, &listed));
    }

    #[test]
    fn what_config_json_calls_us_is_our_own_origin() {
        let file = br#"{"canonicalHost":"Aula.example","proxyURL":"https://front.example/aula"}"#;
        let config = crate::config::parse("config.json", file).unwrap();
        // nginx may send its own name, or none of the port.
        for origin in ["https://aula.example", "https://front.example", "https://back"] {
            assert!(is_known(origin, "back:443", &config, &[]), "{origin}");
        }
        assert!(!is_known("http://front.example", "back", &config, &[]));
        assert!(is_same_host("aula.EXAMPLE:443", &config.canonical_host));
        assert!(!is_same_host("aula.example:8443", &config.canonical_host));
        assert_eq!(host_address("[2001:db8::1]:8443"), "2001:db8::1".parse().ok());
        assert_eq!(host_address("192.0.2.1:8443"), "192.0.2.1".parse().ok());
        assert_eq!(host_address("name"), None);
    }
}
