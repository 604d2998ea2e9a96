//! Tokens that the server keeps. They share one ETag, that of the whole file.

use std::sync::Arc;

use hyper::Method;
use hyper::header::{self, HeaderValue};
use serde_json::Value;
use signalling::{Entropy, GroupFile, Token};

use super::precondition::Preconditions;
use super::route::Scope;
use super::{
    Answer, Asked, Context, Refused, StatusCode, blocking, internal, json, not_found, read_json,
    refuse, written,
};
use crate::tokens::insert;

/// A longer secret would not fit into a URL.
const SECRET_BYTES_MAX: usize = 1024;

/// The group must be there, with a file or without.
async fn require(scope: &Scope, context: &Arc<Context>) -> Result<(), Refused> {
    let Scope::Group(name) = scope else {
        return Ok(());
    };
    let (store, name) = (context.store.clone(), name.clone());
    match blocking(move || Ok(store.load(&name))).await? {
        GroupFile::Missing => Err(not_found()),
        GroupFile::Found(_) | GroupFile::Broken(_) => Ok(()),
    }
}

/// `.tokens/`
pub(super) async fn all(asked: Asked, scope: Scope, context: &Arc<Context>) -> Answer {
    require(&scope, context).await?;
    let store = context.authenticator.tokens().clone();
    if *asked.request.method() != Method::POST {
        let group = scope.as_str().to_owned();
        let (own, etag) = blocking(move || Ok(store.of_group(&group)?)).await?;
        let secrets = own.into_iter().map(|token| Value::String(token.token)).collect();
        return Ok(json(&Value::Array(secrets), Some(&etag)));
    }
    let mut token = read_token(asked, &scope).await?;
    token.token = secret()?;
    let location = HeaderValue::from_str(&token.token).map_err(|_| internal())?;
    blocking(move || Ok(store.change(|tokens, _| insert(tokens, token))?)).await?;
    let mut response = written(true);
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// `.tokens/T`
pub(super) async fn one(
    asked: Asked,
    scope: Scope,
    secret: String,
    context: &Arc<Context>,
) -> Answer {
    require(&scope, context).await?;
    let store = context.authenticator.tokens().clone();
    let method = asked.request.method().clone();
    let preconditions = Preconditions::of(&method, asked.request.headers());
    let reader = store.clone();
    let (tokens, etag) = blocking(move || Ok(reader.read_good()?)).await?;
    let found = tokens.get(&secret);
    let own = found.filter(|token| token.group == scope.as_str());
    if method == Method::PUT {
        if found.is_some() && own.is_none() {
            return Err(refuse(StatusCode::CONFLICT, "the token is another group's"));
        }
        if secret.is_empty() || secret.len() > SECRET_BYTES_MAX {
            return Err(refuse(StatusCode::BAD_REQUEST, "the token is longer than 1024 bytes"));
        }
        preconditions.check(own.map(|_| etag.as_str()))?;
        let mut token = read_token(asked, &scope).await?;
        token.token.clone_from(&secret);
        return put(store, token, preconditions).await;
    }
    let Some(own) = own else {
        return Err(not_found());
    };
    preconditions.check(Some(&etag))?;
    if method == Method::DELETE {
        blocking(move || {
            store.change(|tokens, etag| {
                preconditions.check(Some(etag))?;
                tokens.remove(&secret).map(|_| ()).ok_or_else(not_found)
            })
        })
        .await?;
        return Ok(written(false));
    }
    let mut described = serde_json::to_value(own).map_err(|_| internal())?;
    if let Value::Object(fields) = &mut described {
        // The URL has both.
        fields.remove("token");
        fields.remove("group");
    }
    Ok(json(&described, Some(&etag)))
}

async fn put(
    store: Arc<crate::tokens::TokenStore>,
    token: Token,
    preconditions: Preconditions,
) -> Answer {
    let is_created = blocking(move || {
        store.change(|tokens, etag| {
            let before = tokens.get(&token.token);
            if before.is_some_and(|before| before.group != token.group) {
                return Err(refuse(StatusCode::CONFLICT, "the token is another group's"));
            }
            let is_created = before.is_none();
            preconditions.check((!is_created).then_some(etag))?;
            insert(tokens, token)?;
            Ok(is_created)
        })
    })
    .await?;
    Ok(written(is_created))
}

async fn read_token(asked: Asked, scope: &Scope) -> Result<Token, Refused> {
    let body = read_json(asked, "application/json").await?;
    let bad = |line: &str| Err(refuse(StatusCode::BAD_REQUEST, line));
    for key in ["token", "group"] {
        if body.get(key).is_some_and(|value| !value.is_null() && value != "") {
            return bad("overspecified token");
        }
    }
    let Value::Object(mut fields) = body else {
        return bad("the body is not a JSON object");
    };
    fields.remove("token");
    fields.remove("group");
    match serde_json::from_value::<Token>(Value::Object(fields)) {
        Ok(token) => Ok(Token { group: scope.as_str().to_owned(), ..token }),
        Err(error) => bad(&format!("not a token: {error}")),
    }
}

/// A secret for a new token.
fn secret() -> Result<String, Refused> {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| internal())?;
    Ok(Token::generate(&mut Entropy::new(seed)))
}
