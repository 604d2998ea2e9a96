//! What members are told, as messages of the native protocol.

use serde_json::Value;

use crate::hub::{Event, Failure, Joined, JoinedKind, UserKind};
use crate::ids::{ClientId, StreamId};
use crate::message::Message;
use crate::name::Username;
use crate::wire::Outgoing;

/// The type of the message about who speaks; also what a handshake wants to get it.
pub(crate) const SPEAKERS: &str = "speakers";

/// The type of the message about how streams fare, and of the question; the same.
pub(crate) const NUMBERS: &str = "numbers";

/// The type of the message about who waits at the door; the same, and who wants it waits there itself.
pub(crate) const KNOCK: &str = "knock";

/// A message of this type.
pub(crate) fn out(kind: &str) -> Outgoing<'_> {
    Outgoing { kind_of_message: kind, ..Outgoing::default() }
}

/// A message that consists of its type.
pub(crate) fn bare(kind: &str) -> String {
    out(kind).to_json()
}

/// The JSON of an event, or nothing if this protocol does not speak of it. `own` is the
/// receiver's id; messages to several do not need it.
#[expect(clippy::too_many_lines, reason = "a table: the form of each message")]
pub fn encode(event: &Event, own: &str, rtc_configuration: &Value) -> Option<String> {
    let text = match event {
        Event::Joined(joined) => encode_joined(joined, rtc_configuration),
        Event::User { kind, id, username, permissions, data } => Outgoing {
            kind: kind_of(*kind),
            id: id.as_str(),
            username: Some(username.as_str()),
            permissions: permissions.as_slice(),
            data: Some(data),
            ..out("user")
        }
        .to_json(),
        Event::Knock { kind, id, username } => Outgoing {
            kind: kind_of(*kind),
            id: id.as_str(),
            username: Some(username.as_str()),
            ..out(KNOCK)
        }
        .to_json(),
        Event::History(message) => Outgoing {
            kind: &message.kind,
            id: &message.id,
            source: message.source.as_ref().map_or("", ClientId::as_str),
            username: message.username.as_ref().map(Username::as_str),
            time: &message.time,
            value: message.value.as_ref(),
            ..out("chathistory")
        }
        .to_json(),
        Event::Chat(message) => return encode_message("chat", message, ""),
        Event::UserMessage(message) => return encode_message("usermessage", message, ""),
        Event::Answer { stream, sdp, .. } => {
            Outgoing { id: stream.as_str(), sdp, ..out("answer") }.to_json()
        }
        Event::Offer { stream, label, replace, source, username, sdp } => Outgoing {
            id: stream.as_str(),
            label,
            replace: replace.as_ref().map_or("", StreamId::as_str),
            source: source.as_str(),
            username: Some(username.as_str()),
            sdp,
            ..out("offer")
        }
        .to_json(),
        Event::Paused { stream, is_paused } => {
            let kind = if *is_paused { "paused" } else { "resumed" };
            Outgoing { id: stream.as_str(), kind, ..out("stream") }.to_json()
        }
        Event::Path { stream, path } => {
            let value = Some(&path.to_value());
            Outgoing { id: stream.as_str(), kind: "path", value, ..out("stream") }.to_json()
        }
        Event::Silent { stream, is_silent } => {
            let kind = if *is_silent { "silent" } else { "heard" };
            Outgoing { id: stream.as_str(), kind, ..out("stream") }.to_json()
        }
        Event::Wanted { stream, rids } => {
            let rids = rids.iter().map(|rid| rid.as_str().into()).collect();
            let value = Some(&Value::Array(rids));
            Outgoing { id: stream.as_str(), kind: "wanted", value, ..out("stream") }.to_json()
        }
        Event::Numbers { value } => Outgoing { value: Some(value), ..out(NUMBERS) }.to_json(),
        Event::Speakers { streams } => {
            let streams = streams.iter().map(|stream| stream.as_str().into()).collect();
            Outgoing { value: Some(&Value::Array(streams)), ..out(SPEAKERS) }.to_json()
        }
        Event::Close { stream } => Outgoing { id: stream.as_str(), ..out("close") }.to_json(),
        Event::Abort { stream } => Outgoing { id: stream.as_str(), ..out("abort") }.to_json(),
        Event::Renegotiate { stream } => {
            Outgoing { id: stream.as_str(), ..out("renegotiate") }.to_json()
        }
        // Members of this protocol have streams, not views.
        Event::Viewing { .. }
        | Event::ViewOffer { .. }
        | Event::ViewRefused { .. }
        | Event::ViewClosed { .. } => return None,
        Event::Error { text, .. } => Outgoing {
            kind: "error",
            dest: own,
            privileged: true,
            value: Some(&Value::String(text.clone())),
            ..out("usermessage")
        }
        .to_json(),
        Event::Stopping { seconds } => {
            let plural = if *seconds == 1 { "" } else { "s" };
            let text = format!("The server stops in {seconds} second{plural}.");
            Outgoing {
                kind: "warning",
                error: "stopping",
                dest: own,
                privileged: true,
                value: Some(&Value::String(text)),
                ..out("usermessage")
            }
            .to_json()
        }
        Event::Warning { text } => Outgoing {
            kind: "warning",
            dest: own,
            privileged: true,
            value: Some(&Value::String(text.clone())),
            ..out("usermessage")
        }
        .to_json(),
        Event::Kicked { by, dest, message } => {
            let text = if message.is_empty() { "you have been kicked out" } else { message };
            Outgoing {
                kind: "kicked",
                id: by.as_ref().map_or("", |(id, _)| id.as_str()),
                username: by.as_ref().map(|(_, username)| username.as_str()),
                dest: dest.as_str(),
                privileged: true,
                value: Some(&Value::String(text.to_owned())),
                ..out("usermessage")
            }
            .to_json()
        }
    };
    Some(text)
}

fn kind_of(kind: UserKind) -> &'static str {
    match kind {
        UserKind::Add => "add",
        UserKind::Change => "change",
        UserKind::Delete => "delete",
    }
}

fn encode_joined(joined: &Joined, rtc_configuration: &Value) -> String {
    let value = joined.value.clone().map(Value::String);
    let is_member =
        matches!(joined.kind, JoinedKind::Join | JoinedKind::Leave | JoinedKind::Change);
    Outgoing {
        kind_of_message: "joined",
        kind: match joined.kind {
            JoinedKind::Join => "join",
            JoinedKind::Fail => "fail",
            JoinedKind::Redirect => "redirect",
            JoinedKind::Leave => "leave",
            JoinedKind::Change => "change",
            JoinedKind::Wait => "wait",
        },
        error: match joined.failure {
            Some(Failure::NeedUsername) => "need-username",
            Some(Failure::DuplicateUsername) => "duplicate-username",
            _ => "",
        },
        group: &joined.group,
        username: joined.username.as_ref().map(Username::as_str),
        permissions: joined.permissions.as_slice(),
        status: joined.status.as_ref(),
        data: Some(&joined.data),
        value: value.as_ref(),
        rtc_configuration: is_member.then_some(rtc_configuration),
        ..Outgoing::default()
    }
    .to_json()
}

/// A message of one member, or of the server.
pub(crate) fn encode_message(kind: &str, message: &Message, own: &str) -> Option<String> {
    let out = Outgoing {
        kind_of_message: kind,
        kind: &message.kind,
        error: message.error,
        id: &message.id,
        source: message.source.as_ref().map_or("", ClientId::as_str),
        username: message.username.as_ref().map(Username::as_str),
        dest: message.dest.as_ref().map_or(own, ClientId::as_str),
        privileged: message.is_privileged,
        noecho: message.is_noecho,
        time: &message.time,
        value: message.value.as_ref(),
        ..Outgoing::default()
    };
    Some(out.to_json())
}
