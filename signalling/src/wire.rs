//! Galene's native protocol, version 2: the JSON messages. Incoming: `null` is absent, unknown
//! keys are ignored, a wrong type is an error. Outgoing: zero values are left out.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::object::null_as_default;
use crate::surrogates::without_lone_surrogates;

/// The only protocol version there is.
pub const VERSION: &str = "2";

/// An ICE candidate as browsers write it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(remote = "Self", default, rename_all = "camelCase")]
pub struct Candidate {
    /// The value of the `candidate` attribute.
    #[serde(deserialize_with = "null_as_default")]
    pub candidate: String,
    /// The m-section it belongs to; all are bundled here.
    pub sdp_mid: Option<String>,
    /// The same, by index.
    pub sdp_m_line_index: Option<i64>,
    /// The generation it belongs to.
    pub username_fragment: Option<String>,
}

/// A message from a client.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", default)]
#[allow(missing_docs)]
pub struct Incoming {
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind_of_message: String,
    #[serde(deserialize_with = "null_as_default")]
    pub kind: String,
    #[serde(deserialize_with = "null_as_default")]
    pub id: String,
    #[serde(deserialize_with = "null_as_default")]
    pub replace: String,
    #[serde(deserialize_with = "null_as_default")]
    pub source: String,
    #[serde(deserialize_with = "null_as_default")]
    pub dest: String,
    /// Absent and empty are different things.
    pub username: Option<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub password: String,
    #[serde(deserialize_with = "null_as_default")]
    pub token: String,
    #[serde(deserialize_with = "null_as_default")]
    pub group: String,
    #[serde(deserialize_with = "null_as_default")]
    pub sdp: String,
    #[serde(deserialize_with = "null_as_default")]
    pub label: String,
    #[serde(deserialize_with = "null_as_default")]
    pub version: Vec<String>,
    /// Of a handshake: what else it wants to be told.
    #[serde(deserialize_with = "null_as_default")]
    pub wants: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub noecho: bool,
    pub data: Option<Map<String, Value>>,
    pub value: Option<Value>,
    pub request: Option<Value>,
    pub candidate: Option<Candidate>,
}
crate::only_objects!(Incoming; Candidate);

impl Incoming {
    /// Reads one message. What follows the first JSON value is ignored, of a key that stands twice
    /// the last counts, and half of a character is U+FFFD. Nesting beyond serde_json's limit of 128
    /// is an error, not a stack overflow.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let text = without_lone_surrogates(text.as_bytes());
        let reader = || serde_json::Deserializer::from_slice(&text);
        let message = <Self as Deserialize>::deserialize(&mut reader()).or_else(|error| {
            if !error.is_data() {
                return Err(error);
            }
            // Derived readers refuse a key that stands twice; a `Value` has the last one.
            Value::deserialize(&mut reader()).and_then(serde_json::from_value)
        });
        // The byte order mark of a file that a description was read from.
        let unmarked = |sdp: &str| sdp.strip_prefix('\u{feff}').map(str::to_owned);
        message.map(|message: Self| match unmarked(&message.sdp) {
            Some(sdp) => Self { sdp, ..message },
            None => message,
        })
    }
}

/// A message to a client.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Outgoing<'a> {
    #[serde(rename = "type")]
    pub kind_of_message: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub version: &'a [&'a str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub wants: &'a [&'a str],
    #[serde(skip_serializing_if = "str::is_empty")]
    pub kind: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub error: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub replace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub source: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub dest: &'a str,
    /// Sent even if empty, when set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    pub privileged: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub permissions: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    pub group: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "is_empty_map")]
    pub data: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "is_false")]
    pub noecho: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<&'a Value>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub sdp: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub label: &'a str,
    #[serde(rename = "rtcConfiguration", skip_serializing_if = "Option::is_none")]
    pub rtc_configuration: Option<&'a Value>,
}

impl Outgoing<'_> {
    /// As JSON, without what is empty.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings, booleans and JSON values always serialise")
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_empty_map(map: &Option<&Map<String, Value>>) -> bool {
    map.is_none_or(Map::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_absent_but_an_empty_username_is_not() {
        let message = Incoming::parse(
            r#"{"type":"join","kind":null,"replace":null,"dest":null,"username":"","value":null,"x":[]}"#,
        )
        .unwrap();
        assert_eq!(message.kind_of_message, "join");
        assert_eq!(message.username.as_deref(), Some(""));
        assert!(message.value.is_none() && message.replace.is_empty());
        assert_eq!(Incoming::parse(r#"{"username":null}"#).unwrap().username, None);
        assert_eq!(Incoming::parse("{}").unwrap().username, None);
        assert_eq!(Incoming::parse("{\"sdp\":\"\u{feff}v=0\"}").unwrap().sdp, "v=0");
    }

    #[test]
    fn bytes_after_the_first_value_are_ignored() {
        assert_eq!(
            Incoming::parse("{\"type\":\"ping\"} {garbage").unwrap().kind_of_message,
            "ping"
        );
    }

    #[test]
    fn regression_half_a_character_or_a_key_twice_ends_no_connection() {
        let message = Incoming::parse(r#"{"type":"chat","value":["\ud83d","\\ud83d"]}"#).unwrap();
        assert_eq!(message.value, Some(serde_json::json!(["\u{fffd}", "\\ud83d"])));
        let message = Incoming::parse(
            r#"{"type":"ping","candidate":{"candidate":"a","candidate":"b"},"type":"chat"} {"#,
        );
        let message = message.unwrap();
        assert_eq!(message.kind_of_message, "chat");
        assert_eq!(message.candidate.unwrap().candidate, "b");
    }

    #[test]
    fn wrong_types_and_bombs_are_errors() {
        let deep =
            format!(r#"{{"type":"chat","value":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let ignored = format!(r#"{{"type":"chat","zzz":{}"#, "{\"a\":".repeat(100_000));
        for text in [
            "",
            "null",
            "3",
            "\"x\"",
            "{\"type\":3}",
            "{\"version\":\"2\"}",
            "{\"noecho\":\"yes\"}",
            "{\"data\":[]}",
            "{\"candidate\":\"x\"}",
            "{\"value\":1e309}",
            "{",
            &deep,
            &ignored,
        ] {
            assert!(Incoming::parse(text).is_err(), "{:.60}", text);
        }
        assert!(Incoming::parse(r#"{"value":123456789012345678901234567890}"#).is_ok());
    }

    #[test]
    fn zero_values_are_left_out() {
        let empty = Map::new();
        let message = Outgoing {
            kind_of_message: "user",
            kind: "delete",
            username: Some(""),
            data: Some(&empty),
            ..Outgoing::default()
        };
        assert_eq!(message.to_json(), r#"{"type":"user","kind":"delete","username":""}"#);
    }
}
