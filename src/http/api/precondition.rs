//! `If-Match` and `If-None-Match` (RFC 9110 s13): nobody overwrites what it has not seen.

use hyper::header::{self, HeaderMap};
use hyper::{Method, Response, StatusCode};

use super::{Refused, header_text, put_etag, refuse};
use crate::http::body::empty;

/// The preconditions of one request.
#[derive(Clone, Debug)]
pub(super) struct Preconditions {
    matches: Option<String>,
    matches_none: Option<String>,
    is_read: bool,
}

impl Preconditions {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        Self {
            matches: header_text(headers, header::IF_MATCH),
            matches_none: header_text(headers, header::IF_NONE_MATCH),
            is_read: matches!(*method, Method::GET | Method::HEAD),
        }
    }

    /// Checks them against what is there; nothing if there is nothing. The error is the answer.
    pub(super) fn check(&self, etag: Option<&str>) -> Result<(), Refused> {
        let failed = || {
            let line = "somebody else has changed it in the meantime, or it exists already";
            Err(refuse(StatusCode::PRECONDITION_FAILED, line))
        };
        if self.matches.as_deref().is_some_and(|wanted| !lists(wanted, etag)) {
            return failed();
        }
        if self.matches_none.as_deref().is_some_and(|unwanted| lists(unwanted, etag)) {
            if !self.is_read {
                return failed();
            }
            let mut response = Response::new(empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            put_etag(response.headers_mut(), etag);
            return Err(response.into());
        }
        Ok(())
    }
}

/// Whether a list of ETags has this one; `*` is any. Strong comparison.
fn lists(header: &str, etag: Option<&str>) -> bool {
    let Some(etag) = etag else {
        return false;
    };
    header.split(',').map(str::trim).any(|listed| listed == "*" || listed == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination() {
        let check = |method: Method, name, value: &'static str, etag: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(name, header::HeaderValue::from_static(value));
            let checked = Preconditions::of(&method, &headers).check(etag);
            checked.map_or_else(|Refused(refused)| refused.status().as_u16(), |()| 200)
        };
        let (a, b) = (Some("\"a\""), Some("\"b\""));
        for (method, name, value, etag, status) in [
            (Method::PUT, header::IF_MATCH, "\"a\"", a, 200),
            (Method::PUT, header::IF_MATCH, "\"x\", \"a\"", a, 200),
            (Method::PUT, header::IF_MATCH, "\"a\"", b, 412),
            (Method::PUT, header::IF_MATCH, "W/\"a\"", a, 412),
            (Method::PUT, header::IF_MATCH, "*", a, 200),
            (Method::PUT, header::IF_MATCH, "*", None, 412),
            (Method::PUT, header::IF_NONE_MATCH, "*", a, 412),
            (Method::PUT, header::IF_NONE_MATCH, "*", None, 200),
            (Method::DELETE, header::IF_NONE_MATCH, "\"a\"", a, 412),
            (Method::GET, header::IF_NONE_MATCH, "\"a\"", a, 304),
            (Method::HEAD, header::IF_NONE_MATCH, "\"a\"", b, 200),
            (Method::GET, header::IF_MATCH, "\"a\"", b, 412),
        ] {
            assert_eq!(check(method, name, value, etag), status, "{value} {etag:?}");
        }
        let none = Preconditions::of(&Method::PUT, &HeaderMap::new());
        assert!(none.check(a).is_ok() && none.check(None).is_ok());
    }
}
