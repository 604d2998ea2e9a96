//! Who may use the API: administrators of the server, of the group, and for a password whoever
//! knows it. All refusals look the same and take the same time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use signalling::{Authorization, Description, GroupFile, GroupName, Password, Verdict, Who};

use super::{Asked, Context, Refused, Route, blocking, header_text, plain};
use crate::authenticator::Stored;
use crate::backoff::Claim;
use crate::clock::unix_now;
use crate::metrics::AuthFailure;

const ADMIN: &str = "admin";
/// Guesses at administrators of the server count apart from those at groups. No group has this
/// name.
const REALM: &str = "";

/// Lets the caller in, or answers for it.
pub(super) async fn authorise(
    asked: &Asked,
    route: &Route,
    context: &Arc<Context>,
) -> Result<(), Refused> {
    let started = Instant::now();
    let header = header_text(asked.request.headers(), header::AUTHORIZATION);
    let Some(header) = header else {
        // No guess, no penalty: browsers ask like this to learn what is wanted.
        return Err(refusal());
    };
    let shown = Authorization::parse(&header);
    let why = match &shown {
        None => AuthFailure::Malformed,
        Some(Authorization::Bearer(_)) => AuthFailure::Token,
        Some(Authorization::Basic { .. }) => AuthFailure::Password,
    };
    let verdict = match shown {
        None => Verdict::Wrong,
        Some(Authorization::Bearer(token)) => bearer(token, route, context).await,
        Some(Authorization::Basic { username, password }) => {
            let verdict = basic(asked, route, &username, password, context).await?;
            if matches!(verdict, Verdict::Wrong | Verdict::Broken(_)) {
                context.authenticator.guessed(address(asked), &username);
            }
            verdict
        }
    };
    match verdict {
        Verdict::Right | Verdict::Granted(_) => Ok(()),
        Verdict::Busy => {
            let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "server busy, try again");
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            Err(response.into())
        }
        Verdict::Wrong | Verdict::Broken(_) => {
            context.authenticator.penalty(started, why).await;
            Err(refusal())
        }
    }
}

/// Too many guesses (RFC 6585 s4).
fn too_many(shut_for: Duration) -> Refused {
    let mut response = plain(
        StatusCode::TOO_MANY_REQUESTS,
        "too many wrong passwords for this name from this address: wait a minute",
    );
    response.headers_mut().insert(header::RETRY_AFTER, (shut_for.as_secs() + 1).into());
    response.into()
}

fn address(asked: &Asked) -> Option<&str> {
    asked.peer.address.as_ref().map(|address| address.0.as_str())
}

fn refusal() -> Refused {
    let mut response = plain(StatusCode::UNAUTHORIZED, "not authorised");
    let challenge = HeaderValue::from_static("basic realm=\"/galene-api/\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response.into()
}

async fn description(name: &GroupName, context: &Arc<Context>) -> Option<Arc<Description>> {
    let (store, name) = (context.store.clone(), name.clone());
    match blocking(move || Ok(store.load(&name))).await {
        Ok(GroupFile::Found(description)) => Some(description),
        Ok(GroupFile::Missing | GroupFile::Broken(_)) | Err(_) => None,
    }
}

async fn bearer(token: String, route: &Route, context: &Arc<Context>) -> Verdict {
    let (tokens, secret) = (context.authenticator.tokens().clone(), token.clone());
    let is_global = blocking(move || Ok(tokens.is_global_admin(&secret, unix_now()))).await;
    if is_global.is_ok_and(|is_global| is_global) {
        return Verdict::Right;
    }
    let Some(name) = route.group() else {
        return Verdict::Wrong;
    };
    let Some(description) = description(name, context).await else {
        return Verdict::Wrong;
    };
    let keys = description.auth_keys.clone();
    let grant = context.authenticator.token(token, name.clone(), name.clone(), keys).await;
    let is_admin =
        grant.is_some_and(|grant| grant.permissions.iter().any(|permission| permission == ADMIN));
    if is_admin { Verdict::Right } else { Verdict::Wrong }
}

async fn basic(
    asked: &Asked,
    route: &Route,
    username: &str,
    given: String,
    context: &Arc<Context>,
) -> Result<Verdict, Refused> {
    let address = address(asked);
    let may_try = |claims: &[Claim<'_>]| match context.authenticator.shut_for(claims) {
        Some(shut_for) => {
            context.counters.auth_failed(AuthFailure::Throttled);
            Err(too_many(shut_for))
        }
        None => Ok(()),
    };
    // Whoever is nobody costs the same time as somebody with a wrong password.
    let admins = || asked.config.users.values().filter_map(|user| user.password.as_ref());
    let decoy = admins().find(|password| password.is_slow()).cloned().unwrap_or(Password::Never);
    let admin = asked.config.users.get(username);
    let admin = admin.filter(|user| user.permissions.expand(Default::default()).has(ADMIN));
    let admin = admin.and_then(|user| user.password.clone()).filter(is_secret);
    let of_server = Claim { realm: REALM, username, is_wildcard: false, address };
    let Some(name) = route.group() else {
        may_try(&[of_server])?;
        let stored = admin.map_or(Stored::Decoy(decoy), Stored::Own);
        return Ok(context.authenticator.password(of_server, vec![stored], given).await);
    };
    let description = description(name, context).await;
    let is_wildcard = !asked.config.users.contains_key(username)
        && description.as_ref().is_some_and(|description| description.is_wildcard(username));
    let group_decoy = description.as_ref().map_or(Password::Never, |found| found.decoy());
    // Groups that live off one file have the same users.
    let realm = description.as_ref().map_or_else(|| name.clone(), |found| found.realm(name));
    let own = description.and_then(|description| own_password(&description, username, route));
    let of_group = Claim { realm: realm.as_str(), username, is_wildcard, address };
    // Who is known in the group is not therefore known as an administrator of the server.
    may_try(&[if admin.is_some() { of_server } else { of_group }])?;
    Ok(match (own, admin) {
        // The administrator of the server and a user of the group may have one name. They are two
        // accounts: a right password of the one must not forgive guesses at the other.
        (Some(own), Some(admin)) => {
            let found = vec![Stored::Own(own)];
            match context.authenticator.password(of_group, found, given.clone()).await {
                Verdict::Wrong | Verdict::Broken(_) => {
                    let found = vec![Stored::Own(admin)];
                    context.authenticator.password(of_server, found, given).await
                }
                verdict => verdict,
            }
        }
        (None, Some(admin)) => {
            let found = vec![Stored::Own(admin), Stored::Decoy(group_decoy)];
            context.authenticator.password(of_server, found, given).await
        }
        (own, None) => {
            let own = own.map_or(Stored::Decoy(group_decoy), Stored::Own);
            let found = vec![Stored::Decoy(decoy), own];
            context.authenticator.password(of_group, found, given).await
        }
    })
}

/// Only a right password makes an administrator; an open door is for group members.
fn is_secret(password: &Password) -> bool {
    !matches!(password, Password::Wildcard)
}

/// The password in the group that would let this user do this.
fn own_password(description: &Description, username: &str, route: &Route) -> Option<Password> {
    let user = description.user(username)?;
    let is_admin = description.permissions(user).has(ADMIN);
    // Whoever knows a named user's password may change it.
    let is_own = matches!(route, Route::Password(_, Who::Named(named))
        if named == username && description.is_named(username));
    if !is_admin && !is_own {
        return None;
    }
    user.password.clone().filter(is_secret)
}
