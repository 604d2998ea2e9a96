//! What the server answered, and in words what a refusal means.

use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, StatusCode};
use serde_json::Value;
use signalling::percent_decode;

use crate::failure::Failure;

/// An answer of the server.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A request to the API that was refused.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    /// Below `.groups/`.
    pub(crate) path: &'a str,
    /// Whether credentials went with it.
    pub(crate) is_anonymous: bool,
    /// What must not, or must, have been so.
    pub(crate) condition: Option<&'a HeaderName>,
    /// The group itself is not there.
    pub(crate) missing_group: Option<&'a str>,
}

impl Answer {
    /// A header's value, if it is text.
    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The status and what the body says about it: its first line, or the parts of RFC 9457.
    pub(crate) fn said(&self) -> String {
        let problem = self.header(header::CONTENT_TYPE).unwrap_or_default();
        let problem = problem.starts_with("application/problem+json");
        let document = problem.then(|| serde_json::from_slice::<Value>(&self.body).ok()).flatten();
        let part = |key: &str| {
            let text = document.as_ref()?.get(key)?.as_str()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        let said = match (part("title"), part("detail")) {
            (Some(title), Some(detail)) => format!("{title}: {detail}"),
            (Some(text), None) | (None, Some(text)) => text,
            (None, None) => {
                let body = String::from_utf8_lossy(&self.body);
                body.lines().next().unwrap_or_default().trim().to_owned()
            }
        };
        // Servers like to repeat the status in the body.
        let reason = self.status.canonical_reason().unwrap_or_default();
        match said.is_empty() || said.eq_ignore_ascii_case(reason) {
            true => self.status.to_string(),
            false => format!("{}: {said}", self.status),
        }
    }

    /// Why a request to the API failed, and what to do.
    pub(crate) fn refusal(&self, asked: &Asked<'_>) -> Failure {
        let what = named(asked.path);
        let advice = match self.status.as_u16() {
            401 if asked.is_anonymous => {
                "give -admin-username and -admin-password, or -admin-token".to_owned()
            }
            401 if matches!(*asked.method, Method::GET | Method::HEAD) => {
                "are name and password right, and may this user administer it?".to_owned()
            }
            401 => "are name and password right, and does the server's config.json have \
                    \"writableGroups\": true?"
                .to_owned(),
            404 => match asked.missing_group {
                Some(group) => {
                    let group = percent_decode(group).unwrap_or_else(|| group.to_owned());
                    format!(
                        "there is no group {group:?}, no file has that name: \
                         aulactl create-group -group {group:?} makes it"
                    )
                }
                None => format!("there is no {what}"),
            },
            412 if asked.condition == Some(&header::IF_NONE_MATCH) => {
                format!("the {what} is there already: update or delete it")
            }
            412 => format!("somebody else has changed the {what} meanwhile: run this again"),
            429 => match self.header(header::RETRY_AFTER) {
                Some(seconds) => format!("try again in {seconds} s"),
                None => "try again later".to_owned(),
            },
            500..=599 if self.said().contains("log") => return Failure::about(what, self.said()),
            500..=599 => "the server's log may say why".to_owned(),
            _ => return Failure::about(what, self.said()),
        };
        match self.status.as_u16() {
            // The advice says it all.
            404 | 412 => Failure::about(self.status, advice),
            _ => Failure::about(self.said(), advice),
        }
    }
}

/// What a path below `.groups/` stands for.
fn named(path: &str) -> String {
    let decoded = percent_decode(path).unwrap_or_else(|| path.to_owned());
    let (group, below) = match decoded.split_once("/.").or_else(|| decoded.split_once('.')) {
        // The lists of the server itself begin with a dot.
        Some((group, below)) if group.is_empty() || decoded.contains("/.") => (group, below),
        _ => (decoded.as_str(), ""),
    };
    let of_group = match group {
        "" => " of the server".to_owned(),
        group => format!(" of the group {group:?}"),
    };
    let (kind, name) = below.split_once('/').unwrap_or((below, ""));
    match (kind, name.trim_end_matches("/.password")) {
        ("", _) if group.is_empty() => "list of groups".to_owned(),
        ("", _) => format!("group {group:?}"),
        ("users" | "tokens", "") => format!("list of {kind}{of_group}"),
        ("users", name) => format!("user {name:?}{of_group}"),
        ("tokens", _) => format!("such token{of_group}"),
        ("empty-user", _) => format!("anonymous user{of_group}"),
        ("wildcard-user", _) => format!("wildcard user{of_group}"),
        (kind, _) => format!("{kind}{of_group}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, media_type: &'static str, body: &'static str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, media_type.parse().unwrap());
        headers.insert(header::RETRY_AFTER, 7.into());
        Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() }
    }

    #[test]
    fn paths_have_names() {
        for (path, name) in [
            ("", "list of groups"),
            ("a%2Fb", "group \"a/b\""),
            ("a/b.c", "group \"a/b.c\""),
            ("g/.users/", "list of users of the group \"g\""),
            ("g/.users/ann%20b", "user \"ann b\" of the group \"g\""),
            ("g/.users/ann/.password", "user \"ann\" of the group \"g\""),
            ("g/.wildcard-user/.password", "wildcard user of the group \"g\""),
            ("g/.empty-user", "anonymous user of the group \"g\""),
            ("g/.tokens/xyz", "such token of the group \"g\""),
            (".tokens/xyz", "such token of the server"),
            ("g/.keys", "keys of the group \"g\""),
        ] {
            assert_eq!(named(path), name, "{path}");
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let asked = |method, condition| Asked {
            method,
            path: "g/.users/ann",
            is_anonymous: false,
            condition,
            missing_group: None,
        };
        let put = asked(&Method::PUT, Some(&header::IF_NONE_MATCH));
        for (asked, status, words) in [
            (&asked(&Method::GET, None), 404, &["404", "no user \"ann\" of the group \"g\""][..]),
            (
                &Asked { missing_group: Some("a%20b"), ..put },
                404,
                &["404", "no group \"a b\"", "create-group -group \"a b\""],
            ),
            (&put, 412, &["412", "there already"]),
            (&asked(&Method::PUT, Some(&header::IF_MATCH)), 412, &["412", "run this again"]),
            (&asked(&Method::GET, None), 401, &["401", "administer it?"]),
            (&put, 401, &["401", "writableGroups"]),
            (&Asked { is_anonymous: true, ..put }, 401, &["401", "-admin-username"]),
            (&asked(&Method::PUT, None), 429, &["429", "in 7 s"]),
            (&asked(&Method::PUT, None), 500, &["500", "log"]),
            (&asked(&Method::PUT, None), 400, &["400", "user \"ann\"", "no"]),
        ] {
            let said = answer(status, "text/plain", "no\n").refusal(asked).to_string();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }

    #[test]
    fn problems_are_said_in_words() {
        let problem = r#"{"title":"group full","status":403,"detail":"wait","more":1}"#;
        let said = answer(403, "application/problem+json", problem).said();
        assert_eq!(said, "403 Forbidden: group full: wait");
        assert_eq!(answer(404, "text/plain", "Not Found\n").said(), "404 Not Found");
        assert_eq!(answer(502, "text/html", "").said(), "502 Bad Gateway");
    }
}
