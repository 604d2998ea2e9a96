//! What of a JSON file counts, where Galene's reader takes more than JSON allows.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::de::IgnoredAny;

use crate::json_parts::{Parts, Step, blank, line_of, span_of};
use crate::surrogates::without_lone_surrogates;

/// Values that lie deeper are not looked into for keys that stand twice; none of ours do.
const DEPTH_MAX: usize = 16;

/// A file as it counts, with its lines, and what of it does not: bytes behind the end of the JSON,
/// and of keys that stand twice, in whatever case, all but the last. A text that is no JSON stays as
/// it is.
pub(crate) fn settled(text: &[u8]) -> (Cow<'_, [u8]>, Vec<String>) {
    let mut notes = Vec::new();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut text = without_lone_surrogates(text);
    let mut values = serde_json::Deserializer::from_slice(&text).into_iter::<IgnoredAny>();
    if !matches!(values.next(), Some(Ok(_))) {
        return (text, notes);
    }
    let end = values.byte_offset();
    let behind = text.get(end..).unwrap_or_default();
    if let Some(first) = behind.iter().position(|byte| !byte.is_ascii_whitespace()) {
        let line = line_of(&text, end.saturating_add(first));
        notes.push(format!("line {line}: what is behind the end of the JSON is ignored"));
        text.to_mut().truncate(end);
    }
    let mut twins = Vec::new();
    if let Ok(whole) = std::str::from_utf8(&text) {
        find_twins(whole, whole, (Keys::Settings, DEPTH_MAX), &mut twins);
    }
    for (key, start, end) in twins {
        let line = line_of(&text, start);
        notes.push(format!(
            "line {line}: the key {key:?} is there again further down, which counts"
        ));
        blank(text.to_mut(), start, end);
    }
    (text, notes)
}

/// What the keys of an object are.
#[derive(Clone, Copy)]
enum Keys {
    /// Ours, in any case.
    Settings,
    /// People's: Ann is not ann.
    Names,
    /// Those of somebody else's format, as far down as it goes.
    Foreign,
}

impl Keys {
    /// What the keys are of an object under `key`.
    fn below(self, key: &str) -> Self {
        let is = |name: &str| key.eq_ignore_ascii_case(name);
        match self {
            Self::Settings if is("users") => Self::Names,
            Self::Settings if is("authKeys") => Self::Foreign,
            Self::Settings | Self::Names => Self::Settings,
            Self::Foreign => Self::Foreign,
        }
    }
}

/// The keys in `text`, a part of `whole`, that stand there once more, and where in the whole they
/// and their values begin and end.
fn find_twins(
    whole: &str,
    text: &str,
    (keys, depth): (Keys, usize),
    found: &mut Vec<(String, usize, usize)>,
) {
    let Ok(Parts { parts, .. }) = serde_json::from_str(text) else {
        return;
    };
    let mut seen = BTreeSet::new();
    for (step, inner) in parts.iter().rev() {
        let below = match step {
            Step::Key(key) => {
                let meant = match keys {
                    Keys::Settings => key.to_ascii_lowercase(),
                    Keys::Names | Keys::Foreign => key.clone(),
                };
                if !seen.insert(meant) {
                    let span = span_of(whole, inner.get(), true);
                    found.extend(span.map(|(start, end)| (key.clone(), start, end)));
                    continue;
                }
                keys.below(key)
            }
            Step::Index(_) => keys,
        };
        if let Some(depth) = depth.checked_sub(1) {
            find_twins(whole, inner.get(), (below, depth), found);
        }
    }
}
