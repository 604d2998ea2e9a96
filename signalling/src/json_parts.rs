//! A JSON text in its parts, as they are written: where each stands, and how one is taken out.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// The line in which a byte stands, from 1.
pub(crate) fn line_of(text: &[u8], at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1)
}

/// Takes a part out of a text in such a way that line numbers stay.
pub(crate) fn blank(text: &mut [u8], start: usize, end: usize) {
    for byte in text.get_mut(start..end).into_iter().flatten().filter(|b| **b != b'\n') {
        *byte = b' ';
    }
}

/// Where a value of `text` stands, with its key if it has one and its comma.
pub(crate) fn span_of(text: &str, value: &str, is_key: bool) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut start = (value.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let mut end = start.checked_add(value.len())?;
    let space = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_whitespace);
    if is_key {
        // Back over the colon and the quote behind the key to the one before it.
        start = text.get(..start)?.rfind(':')?;
        let mut quote = text.get(..start)?.rfind('"')?;
        loop {
            quote = text.get(..quote)?.rfind('"')?;
            let slashes = bytes.get(..quote)?.iter().rev().take_while(|b| **b == b'\\').count();
            if slashes % 2 == 0 {
                break;
            }
        }
        start = quote;
    }
    while space(end) {
        end += 1;
    }
    if bytes.get(end) == Some(&b',') {
        return Some((start, end + 1));
    }
    let before = text.get(..start)?.trim_end();
    Some((if before.ends_with(',') { before.len() - 1 } else { start }, end))
}

/// One step into a value.
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    pub(crate) fn brackets(&self) -> (String, &'static str) {
        match self {
            Self::Key(key) => (format!("{{{}:", Value::from(key.as_str())), "}"),
            Self::Index(_) => ("[".to_owned(), "]"),
        }
    }

    /// The value that has `inner` only.
    pub(crate) fn around(&self, inner: &str) -> String {
        let (open, close) = self.brackets();
        format!("{open}{inner}{close}")
    }
}

/// The parts of an object or a list as they are written and in that order, which a [`Value`]
/// forgets.
#[derive(Default)]
pub(crate) struct Parts<'a> {
    /// The same without any.
    pub(crate) empty: &'static str,
    pub(crate) parts: Vec<(Step, &'a RawValue)>,
}

impl<'de> Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfAny;
        impl<'de> Visitor<'de> for OfAny {
            type Value = Parts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or a list")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parts<'de>, A::Error> {
                let mut parts = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    parts.push((Step::Key(key), value));
                }
                Ok(Parts { empty: "{}", parts })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Parts<'de>, A::Error> {
                let mut parts = Vec::new();
                while let Some(value) = seq.next_element::<&RawValue>()? {
                    parts.push((Step::Index(parts.len()), value));
                }
                Ok(Parts { empty: "[]", parts })
            }
        }
        deserializer.deserialize_any(OfAny)
    }
}
