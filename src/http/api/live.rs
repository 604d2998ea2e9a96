//! `.clients`, `.lock` and `.message`: what goes on in a group right now.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::Value;
use signalling::{GroupName, NotDone, Operation};

use super::users::exists;
use super::{
    Answer, Asked, Context, Refused, internal, json, not_found, read_json, refuse, written,
};

/// `.clients/`
pub(super) async fn members(name: GroupName, context: &Arc<Context>) -> Answer {
    let listed = context.control.members(name.clone()).await.ok_or_else(internal)?;
    match listed {
        Some(listed) => Ok(json(&listed, None)),
        // A group that nobody has entered since the server began has no members.
        None if exists(&name, context).await => Ok(json(&Value::Array(Vec::new()), None)),
        None => Err(not_found()),
    }
}

/// `.clients/ID`
pub(super) async fn member(
    asked: Asked,
    name: GroupName,
    client: String,
    context: &Arc<Context>,
) -> Answer {
    if *asked.request.method() == Method::DELETE {
        let message = param(&asked, "message");
        return operate(name, Operation::Kick { client, message }, context).await;
    }
    let listed = context.control.members(name).await.ok_or_else(internal)?;
    let found = listed.as_ref().and_then(Value::as_array).and_then(|members| {
        members.iter().find(|member| member["id"].as_str() == Some(client.as_str()))
    });
    found.map(|member| json(member, None)).ok_or_else(not_found)
}

/// `.mute`, of one or of all.
pub(super) async fn mute(
    name: GroupName,
    client: Option<String>,
    context: &Arc<Context>,
) -> Answer {
    operate(name, Operation::Mute { client }, context).await
}

/// `.message`, to one or to all.
pub(super) async fn say(
    asked: Asked,
    name: GroupName,
    client: Option<String>,
    context: &Arc<Context>,
) -> Answer {
    let body = read_json(asked, "application/json").await?;
    let message = body.get("message").and_then(Value::as_str).unwrap_or_default();
    if message.trim().is_empty() {
        return Err(refuse(StatusCode::BAD_REQUEST, "the body must be {\"message\": \"text\"}"));
    }
    let message = message.to_owned();
    operate(name, Operation::Say { client, message }, context).await
}

/// `.lock`
pub(super) async fn lock(asked: Asked, name: GroupName, context: &Arc<Context>) -> Answer {
    let operation = match *asked.request.method() {
        Method::DELETE => Operation::Unlock,
        _ => Operation::Lock { message: param(&asked, "message") },
    };
    operate(name, operation, context).await
}

/// `.clients/ID/.streams/STREAM`
pub(super) async fn stream(
    name: GroupName,
    client: String,
    stream: String,
    context: &Arc<Context>,
) -> Answer {
    operate(name, Operation::CloseStream { client, stream }, context).await
}

async fn operate(name: GroupName, operation: Operation, context: &Arc<Context>) -> Answer {
    let done = context.control.operate(name, operation).await.ok_or_else(internal)?;
    done.map(|()| written(false)).map_err(refusal)
}

fn refusal(why: NotDone) -> Refused {
    match why {
        NotDone::NoGroup => refuse(StatusCode::NOT_FOUND, "nobody is in this group"),
        NotDone::NoMember => refuse(StatusCode::NOT_FOUND, "the group has no such member"),
        NotDone::NoStream => refuse(StatusCode::NOT_FOUND, "the member has no such stream"),
        NotDone::TooLong => refuse(StatusCode::BAD_REQUEST, "the message is longer than 4 KiB"),
    }
}

/// A parameter of the query, decoded; empty if there is none.
fn param(asked: &Asked, name: &str) -> String {
    let pairs = asked.query.trim_start_matches('?').split('&');
    let mut values = pairs.filter_map(|pair| pair.split_once('=')).filter(|(key, _)| *key == name);
    let value = values.next().map(|(_, value)| value.replace('+', " "));
    value.and_then(|value| signalling::percent_decode(&value)).unwrap_or_default()
}
