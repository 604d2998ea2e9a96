//! Users of a group and their passwords.

use std::sync::Arc;

use hyper::Method;
use serde_json::{Value, json as object};
use signalling::{GroupFile, GroupName, Who};

use super::groups::{change, document};
use super::precondition::Preconditions;
use super::{
    Answer, Asked, Context, Refused, StatusCode, blocking, internal, json, not_found, read_body,
    read_json, refuse, written,
};

/// The cost of new bcrypt hashes, as Galene's.
const BCRYPT_COST: u32 = 8;
/// bcrypt looks at no more.
const BCRYPT_BYTES_MAX: usize = 72;

/// The file that has the group's users: its own, or that of the ancestor that lets it be.
async fn users_file(
    name: &GroupName,
    context: &Arc<Context>,
) -> Result<Option<(signalling::Document, String)>, Refused> {
    let mut current = Some(name.clone());
    while let Some(name) = current {
        if let Some(found) = document(&name, context).await? {
            return Ok(Some(found));
        }
        current = name.parent();
    }
    Ok(None)
}

/// Whether the group has a file, or one above it that stands for it.
pub(super) async fn exists(name: &GroupName, context: &Arc<Context>) -> bool {
    let (store, name) = (context.store.clone(), name.clone());
    let file = blocking(move || Ok(store.load(&name))).await;
    file.is_ok_and(|file| !matches!(file, GroupFile::Missing))
}

/// `/.groups/G/.users/`
pub(super) async fn list(asked: Asked, name: GroupName, context: &Arc<Context>) -> Answer {
    if !exists(&name, context).await {
        return Err(not_found());
    }
    let (document, etag) = users_file(&name, context).await?.ok_or_else(not_found)?;
    let method = asked.request.method();
    Preconditions::of(method, asked.request.headers()).check(Some(&etag))?;
    let names = document.user_names().into_iter().map(Value::String).collect();
    Ok(json(&Value::Array(names), Some(&etag)))
}

/// `/.groups/G/.users/U`, `/.groups/G/.empty-user`, `/.groups/G/.wildcard-user`
pub(super) async fn user(
    asked: Asked,
    name: GroupName,
    who: Who,
    context: &Arc<Context>,
) -> Answer {
    let method = asked.request.method().clone();
    let preconditions = Preconditions::of(&method, asked.request.headers());
    if matches!(method, Method::GET | Method::HEAD) {
        if !exists(&name, context).await {
            return Err(not_found());
        }
        let (document, etag) = users_file(&name, context).await?.ok_or_else(not_found)?;
        let user = document.user(&who).ok_or_else(not_found)?;
        preconditions.check(Some(&etag))?;
        return Ok(json(&Value::Object(user), Some(&etag)));
    }
    let (found, etag) = document(&name, context).await?.ok_or_else(not_found)?;
    let is_there = found.user(&who).is_some();
    if method == Method::DELETE {
        if !is_there {
            return Err(not_found());
        }
        preconditions.check(Some(&etag))?;
        change(name, context, move |found| {
            let (mut document, etag) = found.ok_or_else(not_found)?;
            preconditions.check(Some(&etag))?;
            if !document.remove_user(&who) {
                return Err(not_found());
            }
            Ok((document, ()))
        })
        .await?;
        return Ok(written(false));
    }
    preconditions.check(is_there.then_some(etag.as_str()))?;
    let body = read_json(asked, "application/json").await?;
    let is_created = change(name, context, move |found| {
        let (mut document, etag) = found.ok_or_else(not_found)?;
        let is_there = document.user(&who).is_some();
        preconditions.check(is_there.then_some(etag.as_str()))?;
        document.set_user(&who, body)?;
        Ok((document, !is_there))
    })
    .await?;
    Ok(written(is_created))
}

/// `.password` below a user.
pub(super) async fn password(
    asked: Asked,
    name: GroupName,
    who: Who,
    context: &Arc<Context>,
) -> Answer {
    let (found, _) = document(&name, context).await?.ok_or_else(not_found)?;
    found.user(&who).ok_or_else(not_found)?;
    let password = match *asked.request.method() {
        Method::DELETE => None,
        Method::POST => Some(hashed(read_body(asked, "text/plain").await?).await?),
        _ => {
            let password = read_json(asked, "application/json").await?;
            if let Ok(signalling::Password::Broken(error)) =
                serde_json::from_value(password.clone())
            {
                return Err(refuse(StatusCode::BAD_REQUEST, &error.to_string()));
            }
            Some(password)
        }
    };
    change(name, context, move |found| {
        let (mut document, _) = found.ok_or_else(not_found)?;
        document.set_password(&who, password).map_err(Refused::from)?;
        Ok((document, ()))
    })
    .await?;
    Ok(written(false))
}

/// A new password as it is stored.
async fn hashed(body: Vec<u8>) -> Result<Value, Refused> {
    let bad = |line: &str| Err(refuse(StatusCode::BAD_REQUEST, line));
    let Ok(password) = String::from_utf8(body) else {
        return bad("the password is not UTF-8");
    };
    if password.len() > BCRYPT_BYTES_MAX || password.contains('\0') {
        return bad("the password is longer than 72 bytes or has a NUL");
    }
    let key = blocking(move || bcrypt::hash(password, BCRYPT_COST).map_err(|_| internal())).await?;
    Ok(object!({"type": "bcrypt", "key": key}))
}
