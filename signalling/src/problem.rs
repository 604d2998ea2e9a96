//! Error bodies of HTTP adapters (RFC 9457), in words that say what to do.

use serde::Serialize;

/// The media type of [`problem_json`].
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// What went wrong and what to do about it, for people and programs.
pub fn problem_json(status: u16, title: &str, detail: &str) -> String {
    #[derive(Serialize)]
    struct Problem<'a> {
        title: &'a str,
        status: u16,
        detail: &'a str,
    }
    serde_json::to_string(&Problem { title, status, detail }).unwrap_or_default()
}
