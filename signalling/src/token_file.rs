//! The file of kept tokens, `data/var/tokens.jsonl`: JSON objects one behind the other, one on each line as
//! servers write them, however editors and tools have set them since.

use serde::de::IgnoredAny;

use crate::description_error::DescriptionError;
use crate::json_error::{json_error, parse_file};
use crate::surrogates::without_lone_surrogates;
use crate::token::Token;

/// A token of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptToken {
    /// The line on which it begins, from 1.
    pub line: usize,
    /// It may lack a secret, and then opens nothing.
    pub token: Token,
    /// What in it is likely a mistake, for its operator.
    pub notes: Vec<String>,
}

/// Reads all tokens of the file, in its order. What cannot be one is an error, with its line.
pub fn parse_tokens(file: &str, text: &[u8]) -> Result<Vec<KeptToken>, DescriptionError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = String::from_utf8_lossy(text);
    let text = without_lone_surrogates(text.as_bytes());
    let mut values = serde_json::Deserializer::from_slice(&text).into_iter::<IgnoredAny>();
    let mut tokens = Vec::new();
    let (mut line, mut end) = (1usize, 0);
    while let Some(value) = values.next() {
        value.map_err(|error| json_error(file, &error))?;
        let part = text.get(end..values.byte_offset()).unwrap_or_default();
        end = values.byte_offset();
        let lines = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
        let value = part.trim_ascii_start();
        let before = lines(part).saturating_sub(lines(value));
        line = line.saturating_add(before);
        let (token, ignored) = parse_file::<Option<Token>>(file, value).map_err(|error| {
            DescriptionError { line: error.line.saturating_add(line).saturating_sub(1), ..error }
        })?;
        if let Some(token) = token {
            let mut notes = Token::notes(&String::from_utf8_lossy(value));
            // Their lines are those of the value.
            notes.extend(ignored.iter().map(|note| match note.split_once(": ") {
                Some((_, what)) => what.to_owned(),
                None => note.clone(),
            }));
            tokens.push(KeptToken { line, token, notes });
        }
        line = line.saturating_add(lines(value));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<(usize, String)> {
        let tokens = parse_tokens("t", text).unwrap_or_else(|error| panic!("{error}"));
        tokens.into_iter().map(|kept| (kept.line, kept.token.token)).collect()
    }

    #[test]
    fn values_count_however_they_are_set() {
        let one = |line: usize, secret: &str| (line, secret.to_owned());
        for (text, found) in [
            (&b"{\"token\":\"a\"}\n{\"token\":\"b\"}\n"[..], vec![one(1, "a"), one(2, "b")]),
            (
                b"{\n  \"token\": \"a\"\n}\n\n{\n  \"token\": \"b\"\n}",
                vec![one(1, "a"), one(5, "b")],
            ),
            (
                b"{\"token\":\"a\"}{\"token\":\"b\"} {\"token\":\"c\"}",
                vec![one(1, "a"), one(1, "b"), one(1, "c")],
            ),
            (b"{\"token\":\"a\"}\r{\"token\":\"b\"}\r\n", vec![one(1, "a"), one(1, "b")]),
            (b"\xef\xbb\xbf\n{\"token\":\"a\",\"issuedBy\":\"\\ud83d\"}", vec![one(2, "a")]),
            (b"{\"token\":\"a\",\"issuedBy\":\"Andr\xe9\"}", vec![one(1, "a")]),
            (b"{\"token\":\"x\",\"token\":\"a\",\"Token\":\"b\"}", vec![one(1, "b")]),
            (b"{\"token\":\"a\",\"permissions\":[\"present\",null]}", vec![one(1, "a")]),
            (
                b"null\n{}\n{\"group\":\"g\"}\n{\"token\":null}\n",
                vec![one(2, ""), one(3, ""), one(4, "")],
            ),
            (b"\n \n", vec![]),
        ] {
            assert_eq!(read(text), found, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn mistakes_are_told_with_their_lines() {
        for (text, line) in [
            ("{\"token\":\"a\"}\n{\n\"token\": 3}", 3),
            ("{\"token\":\"a\"}\n\n[]", 3),
            ("{\"token\":\"a\"}\n{\"token\":", 2),
            ("{\"token\":\"a\"}\nnonsense", 2),
        ] {
            let error = parse_tokens("t", text.as_bytes()).map(|_| ()).map_err(|error| error.line);
            assert_eq!(error, Err(line), "{text}");
        }
        let noted = parse_tokens("t", b"\n{\"token\":\"a\",\"colour\":1}").map(|found| {
            found.into_iter().map(|kept| (kept.line, kept.notes.len())).collect::<Vec<_>>()
        });
        assert_eq!(noted, Ok(vec![(2, 2)]), "an unknown key, and no end");
    }
}
