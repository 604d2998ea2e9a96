//! Groups and their keys.

use std::sync::Arc;

use hyper::Method;
use serde_json::Value;
use signalling::{Document, GroupName};

use super::precondition::Preconditions;
use super::{
    Answer, Asked, Context, Refused, StatusCode, blocking, json, not_found, read_json, refuse,
    written,
};

const KEY_SET: &str = "application/jwk-set+json";

/// `/.groups/`
pub(super) async fn list(context: &Arc<Context>) -> Answer {
    let store = context.store.clone();
    let names = blocking(move || Ok(store.names())).await?;
    let names = names.iter().map(|name| Value::String(name.as_str().to_owned())).collect();
    Ok(json(&Value::Array(names), None))
}

/// The group's own file with its ETag.
pub(super) async fn document(
    name: &GroupName,
    context: &Arc<Context>,
) -> Result<Option<(Document, String)>, Refused> {
    let (store, name) = (context.store.clone(), name.clone());
    blocking(move || store.document(&name).map_err(Refused::from)).await
}

/// `/.groups/G`
pub(super) async fn group(asked: Asked, name: GroupName, context: &Arc<Context>) -> Answer {
    let method = asked.request.method().clone();
    let preconditions = Preconditions::of(&method, asked.request.headers());
    if method == Method::DELETE {
        return delete(name, preconditions, context).await;
    }
    let found = document(&name, context).await?;
    let etag = found.as_ref().map(|(_, etag)| etag.as_str());
    if method != Method::PUT {
        let Some((document, etag)) = &found else {
            return Err(not_found());
        };
        preconditions.check(Some(etag))?;
        return Ok(json(&Value::Object(document.settings()), Some(etag)));
    }
    preconditions.check(etag)?;
    let body = read_json(asked, "application/json").await?;
    let is_created = change(name, context, move |found| {
        preconditions.check(found.as_ref().map(|(_, etag)| etag.as_str()))?;
        let is_created = found.is_none();
        let mut document = found.map(|(document, _)| document).unwrap_or_default();
        document.set_settings(body)?;
        Ok((document, is_created))
    })
    .await?;
    Ok(written(is_created))
}

/// A file that cannot be used can be deleted like any other.
async fn delete(name: GroupName, preconditions: Preconditions, context: &Arc<Context>) -> Answer {
    let (store, file) = (context.store.clone(), name.clone());
    let tokens = context.authenticator.tokens().clone();
    blocking(move || {
        store.delete(&file, |etag| match etag {
            Some(etag) => preconditions.check(Some(etag)),
            None => Err(not_found()),
        })?;
        // Last year's invitations must not open next year's group of the same name.
        tokens.forget_group(&file);
        Ok(())
    })
    .await?;
    context.control.reload(name).await;
    Ok(written(false))
}

/// `/.groups/G/.keys`
pub(super) async fn keys(asked: Asked, name: GroupName, context: &Arc<Context>) -> Answer {
    if document(&name, context).await?.is_none() {
        return Err(not_found());
    }
    let keys = if *asked.request.method() == Method::DELETE {
        None
    } else {
        let line = "the body must be {\"keys\": [...]}, a JWK set (RFC 7517 s5)";
        keys_of(read_json(asked, KEY_SET).await?)
            .ok_or_else(|| refuse(StatusCode::BAD_REQUEST, line))?
    };
    change(name, context, move |found| {
        let Some((mut document, _)) = found else {
            return Err(not_found());
        };
        match keys {
            Some(keys) => document.set_keys(keys)?,
            None => document.remove_keys(),
        }
        Ok((document, ()))
    })
    .await?;
    Ok(written(false))
}

/// The keys of a JWK set; with a set that has none, or no set, goes what is there, as in Galene.
/// Nothing for what looks like a mistake.
fn keys_of(body: Value) -> Option<Option<Vec<Value>>> {
    let fields = match body {
        Value::Null => return Some(None),
        Value::Object(fields) if fields.is_empty() => return Some(None),
        Value::Object(fields) => fields,
        _ => return None,
    };
    match fields.into_iter().find(|(key, _)| key.eq_ignore_ascii_case("keys"))?.1 {
        Value::Null => Some(None),
        Value::Array(keys) => Some(Some(keys)),
        _ => None,
    }
}

/// Changes the group's file; those inside hear of it at once.
pub(super) async fn change<T: Send + 'static>(
    name: GroupName,
    context: &Arc<Context>,
    edit: impl FnOnce(Option<(Document, String)>) -> Result<(Document, T), Refused> + Send + 'static,
) -> Result<T, Refused> {
    let (store, file) = (context.store.clone(), name.clone());
    let done = blocking(move || store.change(&file, edit)).await?;
    context.control.reload(name).await;
    Ok(done)
}
