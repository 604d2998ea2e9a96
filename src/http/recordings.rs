//! `/recordings/GROUP/`: what has been recorded, for those who may record: a listing, downloads, and
//! the way to delete. The addresses are Galene's. `/recordings/GROUP/SESSION/` replays a session, and
//! below it players find what they show of it meanwhile.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::header::{self, HeaderValue};
use hyper::{Method, Response, StatusCode};
use signalling::{
    Authorization, CredentialCheck, Description, GroupFile, GroupName, Proof, Verdict, encode_path,
};

use super::body::{self, Body, full};
use super::webrtc::params;
use super::{Asked, Context, files, live, origin, page_headers, redirect, text};
use crate::durable::is_absent;
use crate::metrics::AuthFailure;

/// The permission that opens all of this.
const RECORD: &str = "record";
/// The largest form that asks for a deletion.
const FORM_BYTES_MAX: usize = 4096;
/// What is younger than this may still grow.
const SETTLED_AFTER: Duration = Duration::from_secs(60);
const SETTLED: &str = "private, max-age=1800";
const GROWING: &str = "no-cache";
/// More files of one group are not listed.
const LISTED_MAX: usize = 20_000;

/// What an address is about.
enum What {
    Folder(GroupName),
    /// One file of them.
    File(GroupName, String),
    /// A session, which is named as its timeline is.
    Session(GroupName),
    /// A session as players show it while it is recorded.
    Live(GroupName, String, live::Address),
    /// The same of the session that is recorded.
    Latest(GroupName, String),
}

/// What names of timelines end with.
const TIMELINE: &str = ".timeline.jsonl";
/// The page that replays.
const REPLAY_PAGE: &str = "replay.html";

pub(super) async fn serve(asked: Asked, context: &Arc<Context>) -> Response<Body> {
    let (headers, host) = (asked.request.headers().clone(), asked.host.clone());
    let config = asked.config.clone();
    let mut response = answer(asked, context).await;
    // Pages of other origins that may use this server may embed what is shown.
    let is_public = context.is_public_server;
    origin::annotate(response.headers_mut(), &headers, &host, &config, is_public);
    response
}

async fn answer(asked: Asked, context: &Arc<Context>) -> Response<Body> {
    let rest = asked.path.strip_prefix("/recordings").unwrap_or_default();
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let Some((what, is_tidy)) = find(context.recorder.root(), rest) else {
        return not_found();
    };
    let (What::Folder(group)
    | What::File(group, _)
    | What::Session(group)
    | What::Live(group, ..)
    | What::Latest(group, _)) = &what;
    if !is_tidy {
        let to = format!("/recordings/{}/{}", encode_path(group.as_str()), asked.query);
        return redirect(StatusCode::PERMANENT_REDIRECT, &to);
    }
    if *asked.request.method() == Method::OPTIONS {
        return preflight();
    }
    if let Err(refusal) = authorise(&asked, group, context).await {
        return *refusal;
    }
    let method = asked.request.method().clone();
    let folder = context.recorder.root().join(group.as_str());
    match (what, method) {
        (What::Folder(group), Method::GET | Method::HEAD) => {
            list(&asked, &group, folder, context).await
        }
        (What::Folder(group), Method::POST) => delete(asked, &group, folder).await,
        (What::File(_, name), method @ (Method::GET | Method::HEAD)) => {
            let headers = asked.request.headers();
            let is_settled = move |age: Option<Duration>| match age {
                Some(age) if age > SETTLED_AFTER => SETTLED,
                _ => GROWING,
            };
            let found = files::download(&method, (&folder, &name), headers, is_settled).await;
            found.unwrap_or_else(not_found)
        }
        (What::Session(_), method @ (Method::GET | Method::HEAD)) => {
            let (headers, page) = (asked.request.headers(), (REPLAY_PAGE, asked.config.base()));
            let mut response = context.files.page(&method, page, headers).await;
            page_headers(response.headers_mut(), &asked, context, "");
            response
        }
        (What::Live(group, session, address), Method::GET | Method::HEAD) => {
            let timeline = folder.join(format!("{session}{TIMELINE}"));
            live::serve(&asked, context, (&group, &session), timeline, address).await
        }
        (What::Latest(group, name), Method::GET | Method::HEAD) => {
            let Some(session) = context.recorder.watched().session(group.as_str()) else {
                return text(
                    StatusCode::NOT_FOUND,
                    "Nothing is recorded in this group at present: press Record first\n",
                );
            };
            let (group, session) = (encode_path(group.as_str()), encode_path(&session));
            let to = format!("/recordings/{group}/{session}/{name}{}", asked.query);
            redirect(StatusCode::TEMPORARY_REDIRECT, &to)
        }
        (what, _) => {
            let allowed = match what {
                What::Folder(_) => "OPTIONS, HEAD, GET, POST",
                _ => "OPTIONS, HEAD, GET",
            };
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
            response
        }
    }
}

/// What a page of another origin may send along.
fn preflight() -> Response<Body> {
    let mut response = Response::new(super::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("OPTIONS, HEAD, GET");
    headers.insert(header::ALLOW, methods.clone());
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    let allowed = HeaderValue::from_static("Authorization, Range");
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    response
}

fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// What the decoded path names, and whether it is spelt as it should be.
fn find(root: &Path, path: &str) -> Option<(What, bool)> {
    if path.contains(['\0', '\\']) {
        return None;
    }
    if let Some(folder) = path.strip_suffix('/') {
        if let Some((group, session)) = folder.rsplit_once('/')
            && is_plain(session)
            && let Ok(group) = GroupName::parse(group)
            && root.join(group.as_str()).join(format!("{session}{TIMELINE}")).is_file()
        {
            return Some((What::Session(group), true));
        }
        return Some((What::Folder(GroupName::parse(folder).ok()?), true));
    }
    if let Ok(group) = GroupName::parse(path)
        && root.join(group.as_str()).is_dir()
    {
        return Some((What::Folder(group), false));
    }
    if let Some(live) = find_live(root, path) {
        return Some((live, true));
    }
    let (folder, name) = path.rsplit_once('/')?;
    is_plain(name).then_some(())?;
    if let "live.m3u8" | "sound.m3u8" = name {
        return Some((What::Latest(GroupName::parse(folder).ok()?, name.to_owned()), true));
    }
    Some((What::File(GroupName::parse(folder).ok()?, name.to_owned()), true))
}

/// What is below a session.
fn find_live(root: &Path, path: &str) -> Option<What> {
    // Names of users may have slashes, too.
    path.match_indices('/').find_map(|(at, _)| {
        let (folder, rest) = (path.get(..at)?, path.get(at + 1..)?);
        let (group, session) = folder.rsplit_once('/')?;
        let group = GroupName::parse(group).ok().filter(|_| is_plain(session))?;
        let address = live::Address::parse(rest)?;
        let timeline = root.join(group.as_str()).join(format!("{session}{TIMELINE}"));
        timeline.is_file().then(|| What::Live(group, session.to_owned(), address))
    })
}

/// A name of a file in its folder, and of no hidden one.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

/// Lets in who may record in this group.
async fn authorise(
    asked: &Asked,
    group: &GroupName,
    context: &Arc<Context>,
) -> Result<(), Box<Response<Body>>> {
    let started = Instant::now();
    let shown = asked.request.headers().get(header::AUTHORIZATION);
    let shown = shown.and_then(|value| value.to_str().ok());
    let shown = match (shown, token_of(&asked.query)) {
        (Some(shown), _) => Authorization::parse(shown),
        (None, Some(token)) => Some(Authorization::Bearer(token)),
        // No guess, no penalty: browsers ask like this to learn what is wanted.
        (None, None) => return Err(refusal(group)),
    };
    let (store, name) = (context.store.clone(), group.clone());
    let file = tokio::task::spawn_blocking(move || store.load(&name)).await;
    let (Ok(GroupFile::Found(description)), Some(shown)) = (file, shown) else {
        context.authenticator.penalty(started, AuthFailure::Malformed).await;
        return Err(refusal(group));
    };
    let check = check_of(&shown, group, &description, asked);
    let pass = match &shown {
        Authorization::Basic { username, password } => {
            Some(context.passes.pass([group.as_str(), username, password]))
        }
        Authorization::Bearer(_) => None,
    };
    let may_by_name = match &shown {
        Authorization::Basic { username, .. } => {
            let user = description.user(username);
            user.is_some_and(|user| description.permissions(user).has(RECORD))
        }
        Authorization::Bearer(_) => false,
    };
    if may_by_name && pass.is_some_and(|pass| context.passes.is_known(&pass)) {
        return Ok(());
    }
    let is_let_in = match context.authenticator.check(check).await {
        Verdict::Right => {
            pass.into_iter().for_each(|pass| context.passes.remember(pass));
            may_by_name
        }
        Verdict::Granted(grant) => grant.permissions.iter().any(|permission| permission == RECORD),
        Verdict::Busy => {
            let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "Server busy, try again\n");
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            return Err(Box::new(response));
        }
        // The penalty has passed.
        Verdict::Wrong | Verdict::Broken(_) => false,
    };
    if is_let_in { Ok(()) } else { Err(refusal(group)) }
}

fn check_of(
    shown: &Authorization,
    group: &GroupName,
    description: &Description,
    asked: &Asked,
) -> CredentialCheck {
    let (username, proof) = match shown {
        Authorization::Bearer(token) => {
            let keys = description.auth_keys.clone();
            (String::new(), Proof::Token { token: token.clone(), keys, otherwise: None })
        }
        Authorization::Basic { username, password } => {
            let stored = description.user(username).and_then(|user| user.password.clone());
            (username.clone(), Proof::password(description, stored, password.clone()))
        }
    };
    let address = asked.peer.address.as_ref().map(|address| address.0.clone());
    CredentialCheck::new(group, description, username, address, proof)
}

fn refusal(group: &GroupName) -> Box<Response<Body>> {
    let mut response = text(StatusCode::UNAUTHORIZED, "Not authorised\n");
    let realm = encode_path(group.as_str());
    if let Ok(value) = HeaderValue::from_str(&format!("basic realm=\"recordings/{realm}\"")) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    Box::new(response)
}

fn token_of(query: &str) -> Option<String> {
    value_of(&params(query), "token").filter(|token| !token.is_empty())
}

fn value_of(params: &[(String, String)], wanted: &str) -> Option<String> {
    params.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
}

struct Listed {
    name: String,
    bytes: u64,
}

fn listed(folder: &Path) -> io::Result<Vec<Listed>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)?.take(LISTED_MAX) {
        let entry = entry?;
        // What has no name in Unicode is none of ours.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
            && is_plain(&name)
        {
            found.push(Listed { name, bytes: metadata.len() });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

async fn list(
    asked: &Asked,
    group: &GroupName,
    folder: PathBuf,
    context: &Arc<Context>,
) -> Response<Body> {
    let found = tokio::task::spawn_blocking(move || listed(&folder)).await;
    let found = match found {
        Ok(Ok(found)) => found,
        // Nothing has been recorded.
        Ok(Err(error)) if is_absent(&error) => Vec::new(),
        _ => return text(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error\n"),
    };
    let title = format!("Recordings of {}", escaped(group.as_str()));
    // In English only: without the class the style would wait for a translation.
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\" class=\"is-translated\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <link rel=\"stylesheet\" href=\"{}/aula.css\"></head><body><main class=\"listing\"><h1>{title}</h1>\n",
        asked.config.base()
    );
    if found.is_empty() {
        html.push_str("<p>Nothing has been recorded.</p>");
    } else {
        html.push_str("<table>\n");
    }
    let is_empty = found.is_empty();
    for Listed { name, bytes } in found {
        let token = escaped(&asked.query);
        let replay = name.strip_suffix(TIMELINE).map_or_else(String::new, |session| {
            let running = context.recorder.watched().is_running(group.as_str(), session);
            let session = encode_path(session);
            let live = match running {
                true => format!(" <a href=\"./{session}/live.m3u8{token}\">Live</a>"),
                false => String::new(),
            };
            format!("<a href=\"./{session}/{token}\">Replay</a>{live}")
        });
        // Writing to a string cannot fail.
        let _ = writeln!(
            html,
            "<tr><td><a href=\"./{}{token}\">{}</a></td><td>{replay}</td><td>{} KiB</td><td>\
             <form action=\"./{token}\" method=\"post\"><button type=\"submit\" name=\"q\" \
             value=\"delete\">Delete</button><input type=\"hidden\" name=\"filename\" \
             value=\"{}\"></form></td></tr>",
            encode_path(&name),
            escaped(&name),
            bytes.div_ceil(1024),
            escaped(&name),
        );
    }
    html.push_str(if is_empty {
        "</main></body></html>\n"
    } else {
        "</table></main></body></html>\n"
    });
    let mut response = Response::new(full(html));
    let headers = response.headers_mut();
    let media_type = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(GROWING));
    page_headers(headers, asked, context, "");
    // Without it browsers do not say where a form comes from, and its deletion would be refused.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
    out
}

async fn delete(asked: Asked, group: &GroupName, folder: PathBuf) -> Response<Body> {
    // Browsers send the password with forms of any page.
    let headers = asked.request.headers();
    if !origin::is_allowed(headers, &asked.host, &asked.config, false) {
        return text(StatusCode::FORBIDDEN, "This form is not ours\n");
    }
    let to = format!("/recordings/{}/{}", encode_path(group.as_str()), asked.query);
    let bad = || text(StatusCode::BAD_REQUEST, "Bad request\n");
    let Ok(form) = body::read(asked.request.into_body(), FORM_BYTES_MAX).await else {
        return bad();
    };
    let fields = params(&String::from_utf8_lossy(&form).replace('+', " "));
    let name = value_of(&fields, "filename").filter(|name| is_plain(name));
    let (Some("delete"), Some(name)) = (value_of(&fields, "q").as_deref(), name) else {
        return bad();
    };
    let path = folder.join(&name);
    match tokio::task::spawn_blocking(move || std::fs::remove_file(path)).await {
        Ok(Ok(())) => {
            tracing::info!(target: "audit", group = group.as_str(), name, "recording deleted");
            redirect(StatusCode::SEE_OTHER, &to)
        }
        Ok(Err(error)) if is_absent(&error) => not_found(),
        _ => text(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_files_of_groups_only() {
        let root = Path::new("/nowhere");
        let found = |path: &str| {
            find(root, path).map(|(what, is_tidy)| match what {
                What::Folder(group) => format!("{} {is_tidy}", group.as_str()),
                What::File(group, name) => format!("{} {name} {is_tidy}", group.as_str()),
                What::Session(group) => format!("a session of {}", group.as_str()),
                What::Live(group, ..) => format!("players of {}", group.as_str()),
                What::Latest(group, name) => format!("the latest {name} of {}", group.as_str()),
            })
        };
        assert_eq!(found("a/").as_deref(), Some("a true"));
        assert_eq!(found("a/b/").as_deref(), Some("a/b true"));
        assert_eq!(found("a/b/x.webm").as_deref(), Some("a/b x.webm true"));
        assert_eq!(found("a/b/live.m3u8").as_deref(), Some("the latest live.m3u8 of a/b"));
        for path in ["", "/", "a", "../", "a/../b/", "a/.hidden", ".a/x", "a/x\0", "a\\b/x", "/a/x"]
        {
            assert_eq!(found(path), None, "{path:?}");
        }
    }

    #[test]
    fn a_timeline_makes_a_session() {
        let root = std::env::temp_dir().join(format!("aula-sessions-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/2026.timeline.jsonl"), "").unwrap();
        let is_session = |path: &str| matches!(find(&root, path), Some((What::Session(_), true)));
        assert!(is_session("a/b/2026/"));
        let is_live = |path: &str| {
            matches!(find(&root, path), Some((What::Live(group, session, _), true))
                if group.as_str() == "a/b" && session == "2026")
        };
        for path in ["live.m3u8", "live/media.m3u8", "people/ann/3.m4s", "people/x/2026/live.m3u8"]
        {
            assert!(is_live(&format!("a/b/2026/{path}")), "{path}");
        }
        for path in ["a/b/2027/live.m3u8", "a/b/2026/other.m3u8", "a/2026/live.m3u8"] {
            assert!(!is_live(path), "{path}");
        }
        for path in ["a/b/", "a/b/2027/", "a/b/2026", "a/2026/", "a/b/../b/2026/", "a/b/.2026/"] {
            assert!(!is_session(path), "{path}");
        }
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn tokens_are_found_in_the_query() {
        assert_eq!(token_of("?token=a%2Fb"), Some("a/b".to_owned()));
        assert_eq!(token_of("?x=1&token=t"), Some("t".to_owned()));
        for query in ["", "?", "?token=", "?tokens=1"] {
            assert_eq!(token_of(query), None);
        }
    }
}
