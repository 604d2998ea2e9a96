//! What is wrong with a JSON file, in words for whoever wrote it: line, key, and what belongs
//! there. Values are not repeated: they may be secrets.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;

use crate::description_error::DescriptionError;
use crate::json_parts::{Parts, Step, blank, span_of};
use crate::nearest::nearest;
use crate::settled::settled;

/// Reads a JSON file as Galene does, which takes some that [`parse_json`] refuses. With it comes
/// what of it does not count, for the operator.
pub fn parse_file<T: DeserializeOwned>(
    file: &str,
    text: &[u8],
) -> Result<(T, Vec<String>), DescriptionError> {
    let (text, notes) = settled(text);
    parse_json(file, &text).map(|value| (value, notes))
}

/// Whether a file begins as files in UTF-16 do.
pub(crate) fn is_utf16(text: &[u8]) -> bool {
    text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff])
}

/// Reads JSON. A value of the wrong kind is named by its path, as in `users.ann.password`.
/// For types of which every key is optional; of others the path is not told.
pub fn parse_json<T: DeserializeOwned>(file: &str, text: &[u8]) -> Result<T, DescriptionError> {
    // RFC 8259 s8.1: whoever reads may ignore a byte order mark.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    serde_json::from_slice(text).map_err(|error| {
        let mut found = json_error(file, &error);
        if let Some(why) = foreign_character(text, &error) {
            found.message = format!("not JSON: {why}");
        }
        if found.key.is_none() && error.is_data() {
            let path = std::str::from_utf8(text).map(culprit::<T>).unwrap_or_default();
            if !path.is_empty() {
                found.message = format!("{path}: {}", found.message);
            }
        }
        found
    })
}

/// More mistakes than this in one file are told once these are mended.
const ERRORS_MAX: usize = 20;

/// Everything that is wrong with a JSON file, in the order in which it is found: what is wrong is
/// taken out, and the rest read again.
pub fn json_errors<T: DeserializeOwned>(file: &str, text: &[u8]) -> Vec<DescriptionError> {
    let mut text = settled(text).0.into_owned();
    let mut errors = Vec::new();
    while errors.len() < ERRORS_MAX {
        let Err(error) = parse_json::<T>(file, &text) else { break };
        let span = std::str::from_utf8(&text).ok().and_then(|text| {
            let is_syntax = serde_json::from_str::<Value>(text).is_err();
            if is_syntax { None } else { bad_pair::<T>(text, error.key.as_deref()) }
        });
        errors.push(error);
        let Some((start, end)) = span else { break };
        blank(&mut text, start, end);
    }
    errors
}

/// Where the key with the value that cannot be read stands, or the element of a list, with its
/// comma.
fn bad_pair<T: DeserializeOwned>(text: &str, key: Option<&str>) -> Option<(usize, usize)> {
    let (value, step, inner) = culprits::<T>(text);
    let Parts { parts, .. } = serde_json::from_str(inner).unwrap_or_default();
    let unknown = parts.into_iter().find(|(step, _)| match step {
        Step::Key(found) => Some(found.as_str()) == key,
        Step::Index(_) => false,
    });
    let (value, is_key) = match unknown {
        Some((_, value)) => (value.get(), true),
        None => (value?, matches!(step, Some(Step::Key(_)))),
    };
    span_of(text, value, is_key)
}

/// What word processors and web pages put in the place of what JSON wants.
fn foreign_character(text: &[u8], error: &serde_json::Error) -> Option<String> {
    if is_utf16(text) {
        return Some("the file is in UTF-16: save it as UTF-8".to_owned());
    }
    if error.classify() != Category::Syntax {
        return None;
    }
    let line = text.split(|byte| *byte == b'\n').nth(error.line().checked_sub(1)?)?;
    let line = std::str::from_utf8(line).ok()?;
    // The column counts bytes, and may be that of any byte of the character.
    let at = error.column().saturating_sub(1).min(line.len());
    let start = (0..=at).rev().find(|at| line.is_char_boundary(*at))?;
    let found = line.get(start..)?.chars().next()?;
    let column = line.get(..start)?.chars().count() + 1;
    let advice = match found {
        '\u{a0}' | '\u{2007}' | '\u{202f}' => "a no-break space: write an ordinary one",
        '\u{feff}' | '\u{200b}' | '\u{2060}' => "an invisible character: remove it",
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{ab}' | '\u{bb}' => "a curly quote: write \"",
        '\u{2018}' | '\u{2019}' | '\'' => "a quote of another kind: write \"",
        '\u{ff1a}' => "a wide colon: write :",
        '\u{ff0c}' => "a wide comma: write ,",
        _ => return None,
    };
    Some(format!("column {column} has {advice}"))
}

/// What is wrong with a JSON file, for its operator: line, unknown key, and the nearest known one.
pub fn json_error(file: &str, error: &serde_json::Error) -> DescriptionError {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    let (key, message) = match unknown(text) {
        Some((key, message)) => (Some(key), message),
        None if error.classify() == Category::Data => (None, plain(text)),
        None if error.is_eof() => (None, "not JSON: it ends too early".to_owned()),
        None => (None, format!("not JSON: {text} in column {}", error.column())),
    };
    // The end of a file is before the line that its last newline begins.
    let is_at_end = error.is_eof() && error.column() == 0 && error.line() > 1;
    let line = error.line() - usize::from(is_at_end);
    DescriptionError { file: file.to_owned(), line, key, message }
}

/// The unknown word, and what to do about it.
fn unknown(text: &str) -> Option<(String, String)> {
    let (what, rest) = match text.strip_prefix("unknown field `") {
        Some(rest) => ("key", rest),
        None => ("permission", text.strip_prefix("unknown variant `")?),
    };
    // The word itself may have quotes of this kind, what follows it has not.
    let (key, known) = rest.rsplit_once("`, expected ").or_else(|| rest.rsplit_once("`, there"))?;
    let hint = nearest(key, known.split('`').skip(1).step_by(2))
        .map_or_else(|| "remove it".to_owned(), |near| format!("did you mean \"{near}\"?"));
    Some((key.to_owned(), format!("unknown {what} \"{key}\": {hint}")))
}

/// A value of the wrong kind in the words of JSON instead of those of the library.
fn plain(text: &str) -> String {
    if let Some(key) = text.strip_prefix("duplicate field `") {
        return format!("the key \"{}\" is there twice", key.trim_end_matches('`'));
    }
    let wrong = ["invalid type: ", "invalid value: "];
    let Some((found, expected)) = wrong
        .iter()
        .find_map(|start| text.strip_prefix(start))
        .and_then(|rest| rest.rsplit_once(", expected "))
    else {
        return text.to_owned();
    };
    let expected = match expected {
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative and not too large",
        "f32" | "f64" => "a number",
        "a string" => "text in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other => other,
    };
    let number = |found: &str| Some(format!("the number {}", found.split('`').nth(1)?));
    let found = match found.split(' ').next().unwrap_or_default() {
        "string" => "text".to_owned(),
        "sequence" => "a list".to_owned(),
        "map" => "an object".to_owned(),
        "boolean" => found.trim_start_matches("boolean ").trim_matches('`').to_owned(),
        "integer" | "floating" => number(found).unwrap_or_else(|| "a number".to_owned()),
        _ => found.to_owned(),
    };
    format!("{expected} is wanted here, not {found}")
}

/// Where the first value is for which the whole cannot be read; empty for the whole itself.
fn culprit<T: DeserializeOwned>(text: &str) -> String {
    let mut path = String::new();
    walk::<T>(text, |step, _| match step {
        Step::Key(key) if path.is_empty() => path.push_str(key),
        Step::Key(key) => path.push_str(&format!(".{key}")),
        Step::Index(index) => path.push_str(&format!("[{index}]")),
    });
    path
}

/// That value as it stands in the text, the last step to it, and what it is in if it is the whole.
fn culprits<T: DeserializeOwned>(text: &str) -> (Option<&str>, Option<Step>, &str) {
    let mut found = (None, None, text);
    walk::<T>(text, |step, inner| {
        let step = match step {
            Step::Key(key) => Step::Key(key.clone()),
            Step::Index(index) => Step::Index(*index),
        };
        found = (Some(inner), Some(step), inner);
    });
    found
}

/// Goes down to the first value for which the whole cannot be read.
fn walk<'a, T: DeserializeOwned>(text: &'a str, mut visit: impl FnMut(&Step, &'a str)) {
    // What is around the value under suspicion: what it is read with, without its siblings.
    let (mut before, mut after) = (String::new(), String::new());
    let mut at = text;
    loop {
        let is_bad =
            |text: &str| serde_json::from_str::<T>(&format!("{before}{text}{after}")).is_err();
        let Ok(Parts { empty, parts }) = serde_json::from_str(at) else {
            return;
        };
        if is_bad(empty) {
            return;
        }
        let Some((step, inner)) =
            parts.into_iter().find(|(step, inner)| is_bad(&step.around(inner.get())))
        else {
            return;
        };
        visit(&step, inner.get());
        let (opened, closed) = step.brackets();
        before.push_str(&opened);
        after.insert_str(0, closed);
        at = inner.get();
    }
}

#[cfg(test)]
mod tests {
    use crate::parse_description;

    #[test]
    fn every_mistake_of_a_file_is_told_with_its_line() {
        let text = "{\n \"pubic\": true,\n \"max-clients\": \"x\",\n \"users\": {\n  \
            \"ann\": {\"passwort\": \"x\", \"permissions\": \"op\"},\n  \
            \"b\\\"ob\": {\"permissions\": \"presnt\"}\n },\n \"expires\": \"soon\",\n \
            \"codecs\": [\"vp8\", 3, 4]\n}";
        let errors = crate::description_errors("g.json", text.as_bytes());
        let told: Vec<(usize, &str)> =
            errors.iter().map(|error| (error.line, error.message.as_str())).collect();
        let wanted = [
            (2, "\"pubic\""),
            (3, "max-clients"),
            (5, "\"passwort\""),
            (6, "\"presnt\""),
            (8, "expires"),
            (9, "codecs[1]"),
            (9, "codecs[1]"),
        ];
        assert_eq!(told.len(), wanted.len(), "{told:#?}");
        for (found, (line, words)) in told.iter().zip(wanted) {
            assert!(found.0 == line && found.1.contains(words), "{found:?}");
        }
        assert_eq!(crate::description_errors("g.json", b"{}").len(), 0);
        assert_eq!(crate::description_errors("g.json", b"{\"public\": tru}").len(), 1);
        assert_eq!(crate::description_errors("g.json", b"[]").len(), 1);
    }

    #[test]
    fn what_editors_slip_in_is_named_or_skipped() {
        assert!(parse_description("g.json", b"\xef\xbb\xbf{\"public\":true}").is_ok());
        for (text, words) in [
            ("{\n\u{a0}\"public\":true}", "g.json:2: not JSON: column 1 has a no-break space"),
            ("{\u{201c}public\u{201d}:true}", "column 2 has a curly quote: write \""),
            ("{\"public\":\u{a0}true}", "column 11 has a no-break space"),
            ("{\"displayName\":\"\u{e4}\",'public':true}", "column 20 has a quote of another kind"),
            ("{\"public\"\u{ff1a}true}", "a wide colon"),
        ] {
            let error = parse_description("g.json", text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
        let wide: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let wide = [&[0xff, 0xfe], &wide[..]].concat();
        let error = parse_description("g.json", &wide).unwrap_err().to_string();
        assert!(error.contains("UTF-16"), "{error}");
        let latin = b"{\"public\":true,\n\"displayName\":\"Gr\xfc\xdfe\"}";
        let (description, notes) = parse_description("g.json", latin).unwrap();
        assert_eq!(description.listing.display_name, "Gr\u{fffd}\u{fffd}e");
        assert!(
            description.listing.is_public && notes[0].starts_with("line 2: not UTF-8"),
            "{notes:?}"
        );
        let inside = "{\"displayName\":\"\u{201c}a\u{a0}b\u{201d}\"}";
        assert!(parse_description("g.json", inside.as_bytes()).is_ok());
    }

    #[test]
    fn regression_values_of_the_wrong_kind_name_their_key_in_words_of_json() {
        let whole = "a whole number is wanted here, not";
        for (text, message) in [
            (r#"{"max-clients":"x"}"#, format!("max-clients: {whole} text")),
            (r#"{"max-clients":1.5}"#, format!("max-clients: {whole} the number 1.5")),
            (r#"{"max-clients":[3]}"#, format!("max-clients: {whole} a list")),
            (r#"{"max-clients":{}}"#, format!("max-clients: {whole} an object")),
            (r#"{"max-clients":true}"#, format!("max-clients: {whole} true")),
            (
                r#"{"public":"yes","comment":""}"#,
                "public: true or false is wanted here, not text".to_owned(),
            ),
            (
                r#"{"comment":"","displayName":7}"#,
                "displayName: text in quotes is wanted here, not the number 7".to_owned(),
            ),
            (
                r#"{"codecs":["vp8",8]}"#,
                "codecs[1]: text in quotes is wanted here, not the number 8".to_owned(),
            ),
            (r#"{"codecs":"vp8"}"#, "codecs: a list is wanted here, not text".to_owned()),
            (r#"{"users":["ann"]}"#, "users: an object is wanted here, not a list".to_owned()),
            (
                r#"{"users":{"bob":{},"ann":"secret"}}"#,
                "users.ann: an object is wanted here, not text".to_owned(),
            ),
            (
                r#"{"users":{"ann":{"password":3}}}"#,
                "users.ann.password: text, or an object with a type, is wanted here, \
                 not the number 3"
                    .to_owned(),
            ),
            (
                r#"{"wildcard-user":{"permissions":["op",3]}}"#,
                "wildcard-user.permissions[1]: text in quotes is wanted here, not the number 3"
                    .to_owned(),
            ),
            (r#"{"op":[{"username":1}]}"#, {
                "op[0].username: text in quotes is wanted here, not the number 1".to_owned()
            }),
            ("[]", "an object is wanted here, not a list".to_owned()),
            (r#"{"expires":"secret"}"#, {
                "expires: not a date like 2026-01-31T08:00:00Z".to_owned()
            }),
        ] {
            let error = parse_description("g.json", text.as_bytes()).expect_err(text);
            assert_eq!((error.message, error.line, error.key), (message, 1, None), "{text}");
        }
    }

    #[test]
    fn the_first_of_several_is_named() {
        let text =
            "{\"users\":{\"zoe\":{},\n\"ann\":{\"password\":3}},\n\"public\":3,\"autolock\":3}";
        let error = parse_description("g.json", text.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("g.json:2: users.ann.password: "), "{error}");
        let text = "{\"public\":3,\n\"autolock\":3}";
        let error = parse_description("g.json", text.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("g.json:1: public: "), "{error}");
    }

    #[test]
    fn regression_what_is_no_json_says_so_and_where() {
        for (text, line, words) in [
            ("{\n\"public\": tru }", 2, "in column"),
            ("", 1, "ends too early"),
            ("{\"op\":[\n", 1, "ends too early"),
        ] {
            let error = parse_description("g.json", text.as_bytes()).expect_err(text);
            assert_eq!(error.line, line, "{text}");
            assert!(error.message.starts_with("not JSON: "), "{error}");
            assert!(error.message.contains(words), "{error}");
        }
    }

    #[test]
    fn regression_what_does_not_count_is_told_and_closes_no_group() {
        let text = "{\n\"public\":false,\n\"users\":{\"ann\":null,\n\"ann\":{\"password\":\"a\",\n\
            \"password\":\"b\"}},\n\"codecs\":[\"vp9\",null],\"public\":true,\n\
            \"op\":[null],\"comment\":\"\\ud83d\"}\n\n} \"";
        let (description, notes) = parse_description("g.json", text.as_bytes()).unwrap();
        assert!(description.listing.is_public && description.wildcard_user.is_none());
        assert_eq!(description.codecs, ["vp9"]);
        let password = description.user("ann").and_then(|ann| ann.password.clone());
        assert_eq!(password.unwrap().verify("b"), Ok(true));
        let again = "is there again further down, which counts";
        assert_eq!(
            notes,
            [
                "line 9: what is behind the end of the JSON is ignored".to_owned(),
                format!("line 4: the key \"password\" {again}"),
                format!("line 3: the key \"ann\" {again}"),
                format!("line 2: the key \"public\" {again}"),
                "op[0] is null: it is skipped".to_owned(),
            ]
        );
        // Who takes a right back by null behind it shall have done so.
        let nulls =
            br#"{"wildcard-user":{"permissions":"op"},"op":[{}],"Wildcard-User":null,"op":null}"#;
        let (description, notes) = parse_description("g.json", nulls).unwrap();
        assert!(description.wildcard_user.is_none() && description.users.is_empty());
        assert_eq!(notes.len(), 2, "{notes:?}");
        let text = br#"{"Public":false,"users":{"Ann":{"Permissions":"op"},
            "ann":{"permissions":"op","PERMISSIONS":"present"}},"public":true}"#;
        let (description, notes) = parse_description("g.json", text).unwrap();
        assert!(description.listing.is_public && description.is_named("Ann"));
        let ann = description.user("ann").unwrap();
        assert!(!description.permissions(ann).has("op"), "{ann:?}");
        assert_eq!(
            notes,
            [
                format!("line 2: the key \"permissions\" {again}"),
                format!("line 1: the key \"Public\" {again}"),
            ]
        );
        let errors = crate::description_errors(
            "g.json",
            b"{\"public\":1,\n\"public\":true,\n\"pubic\":1} x",
        );
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].line == 3 && errors[0].message.contains("pubic"), "{errors:?}");
        let deep = format!("{{\"comment\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse_description("g.json", deep.as_bytes()).is_err());
    }

    #[test]
    fn unknown_words_are_whole_whatever_is_in_them() {
        let error = parse_description("g.json", br#"{"a`, at line 3":1}"#).unwrap_err();
        assert_eq!(error.key.as_deref(), Some("a`, at line 3"), "{error}");
        assert_eq!(error.line, 1);
    }
}
