//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep) from the client's side: a POST of an offer makes
//! a session, a DELETE ends it.

use std::sync::Arc;
use std::time::Instant;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, LINK, LOCATION};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::connect::{self, JOIN_TIMEOUT};
use crate::engine::{Command, EngineHandle};
use crate::load::Load;
use crate::signal::Member;
use crate::target::Target;
use crate::tunnel::{Relay, Way};

const SDP: &str = "application/sdp";
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// How to reach the server.
#[derive(Clone)]
pub(crate) struct Server {
    pub target: Arc<Target>,
    /// TLS, if the URL says so.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// A session; it ends with [`Session::end`], or for the server when media ends.
pub(crate) struct Session {
    server: Server,
    engine: EngineHandle,
    client: usize,
    /// The path of the session URL.
    location: String,
    authorization: Option<String>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.engine.send(Command::Close(self.client));
    }
}

/// Publishes; `number` counts the publishers.
pub(crate) async fn publish(
    server: Server,
    engine: EngineHandle,
    member: &Member,
    load: Load,
    number: usize,
) -> Result<Session, String> {
    let made = engine.ask(|reply| Command::Publish(load, number, reply)).await.flatten();
    start(server, engine, member, made, ".whip", Way::Direct).await
}

/// Views so many publishers.
pub(crate) async fn view(
    server: Server,
    engine: EngineHandle,
    member: &Member,
    publishers: usize,
    way: Way,
) -> Result<Session, String> {
    let since = Instant::now();
    let made = engine.ask(|reply| Command::Subscribe(publishers, since, reply)).await.flatten();
    start(server, engine, member, made, ".whep", way).await
}

async fn start(
    server: Server,
    engine: EngineHandle,
    member: &Member,
    made: Option<(usize, String)>,
    endpoint: &str,
    way: Way,
) -> Result<Session, String> {
    let (client, offer) = made.ok_or("cannot make an offer; are there descriptors left?")?;
    let authorization = authorization(member);
    let path = format!("/group/{}/{endpoint}", server.target.group);
    // From here on the engine's client ends with the session, whatever happens.
    let mut session = Session { server, engine, client, location: String::new(), authorization };
    let attempt = session.post(&path, offer);
    let (location, answer, relays) = match tokio::time::timeout(JOIN_TIMEOUT, attempt).await {
        Ok(answered) => answered?,
        Err(_) => return Err(format!("no answer within {} s", JOIN_TIMEOUT.as_secs())),
    };
    session.location = location;
    let answer = way.redirect(answer, &relays).await?;
    let taken = session.engine.ask(|reply| Command::Answer(client, answer, reply)).await;
    taken.unwrap_or_else(|| Err("the engine has ended".to_owned()))?;
    Ok(session)
}

impl Session {
    /// Returns the session's path, the answer, and the TURN servers that come with it.
    async fn post(
        &self,
        path: &str,
        offer: String,
    ) -> Result<(String, String, Vec<Relay>), String> {
        let response = self.ask(Method::POST, path, offer).await?;
        let (parts, body) = response.into_parts();
        if parts.status != StatusCode::CREATED {
            let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            return Err(refusal(path, parts.status, kind.unwrap_or_default(), &body));
        }
        let location = parts.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or("the server answered without a Location")?;
        let links = parts.headers.get_all(LINK).iter().filter_map(|link| link.to_str().ok());
        let (location, answer) = (path_of(path, location), String::from_utf8_lossy(&body));
        Ok((location, answer.into_owned(), Relay::of_links(links)))
    }

    /// Ends the session at the server too.
    pub(crate) async fn end(self) -> Result<(), String> {
        let response = self.ask(Method::DELETE, &self.location, String::new()).await?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(format!("DELETE {}: {}", self.location, response.status()))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Response<Bytes>, String> {
        let Server { target, tls } = &self.server;
        let stream = connect::connect(target, tls.clone()).await?;
        let broke = |error: hyper::Error| format!("{path}: the connection broke: {error}");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
        let mut request = Request::builder()
            .method(&method)
            .uri(path)
            .header(HOST, format!("{}:{}", target.host, target.port));
        if method == Method::POST {
            request = request.header(CONTENT_TYPE, SDP);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| format!("{path} cannot be asked for: {error}"))?;
        let answered = async {
            let response = sender.send_request(request).await.map_err(broke)?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| format!("{path}: {error}"))?.to_bytes();
            Ok(Response::from_parts(parts, body))
        };
        // The connection does the work while we wait for the answer.
        tokio::pin!(answered);
        tokio::select! {
            done = &mut answered => done,
            ended = connection => match ended {
                // It may end as soon as the answer is here.
                Ok(()) => answered.await,
                Err(error) => Err(broke(error)),
            },
        }
    }
}

/// What the server said (RFC 9457's detail, or plain text), and what to do about it.
fn refusal(path: &str, status: StatusCode, kind: &str, body: &[u8]) -> String {
    let said = if kind.starts_with("application/problem+json") {
        let problem: Value = serde_json::from_slice(body).unwrap_or_default();
        problem["detail"]
            .as_str()
            .or_else(|| problem["title"].as_str())
            .unwrap_or_default()
            .to_owned()
    } else if kind.starts_with("text/plain") {
        String::from_utf8_lossy(body).into_owned()
    } else {
        String::new()
    };
    let said: String = said.chars().filter(|c| !c.is_control()).take(300).collect();
    let hint = match status.as_u16() {
        401 | 403 => "; check --user and --password, or --token",
        404 | 405 => "; does the server have this group, and this protocol?",
        _ => "",
    };
    format!("POST {path}: {status} {said}{hint}")
}

/// Basic with a password, a bearer with a token, otherwise nothing.
fn authorization(member: &Member) -> Option<String> {
    match (&member.password, &member.token) {
        (_, Some(token)) => Some(format!("Bearer {token}")),
        (Some(password), None) => {
            Some(format!("Basic {}", base64(format!("{}:{password}", member.username).as_bytes())))
        }
        (None, None) => None,
    }
}

/// RFC 4648 s4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |all, byte| all << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// The path of a Location (RFC 3986 s4.2), which may be a URL, an absolute or a relative path.
fn path_of(endpoint: &str, location: &str) -> String {
    if let Some((_, rest)) = location.split_once("://") {
        return rest.find('/').map_or_else(|| "/".to_owned(), |at| rest[at..].to_owned());
    }
    if location.starts_with('/') {
        return location.to_owned();
    }
    let folder = endpoint.rfind('/').map_or("/", |at| &endpoint[..=at]);
    format!("{folder}{location}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_of_every_form_lead_to_the_session() {
        for (location, path) in [
            ("/group/a/.whip/x", "/group/a/.whip/x"),
            ("https://h:8443/s/1?k=v", "/s/1?k=v"),
            ("https://h", "/"),
            ("whip/x", "/group/a/whip/x"),
        ] {
            assert_eq!(path_of("/group/a/.whip", location), path);
        }
    }

    #[test]
    fn credentials_become_the_header_that_fits() {
        let member = |password: Option<&str>, token: Option<&str>| Member {
            username: "Aladdin".to_owned(),
            password: password.map(str::to_owned),
            token: token.map(str::to_owned),
        };
        // RFC 7617 s2.
        let basic = authorization(&member(Some("open sesame"), None));
        assert_eq!(basic.as_deref(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert_eq!(authorization(&member(None, Some("t"))).as_deref(), Some("Bearer t"));
        assert_eq!(authorization(&member(None, None)), None);
    }

    #[test]
    fn a_refusal_tells_what_the_server_said_and_what_to_do() {
        let problem = br#"{"title":"no","detail":"a password is needed"}"#;
        let text = refusal("/p", StatusCode::UNAUTHORIZED, "application/problem+json", problem);
        assert!(text.contains("a password is needed; check --user"), "{text}");
        let page = refusal("/p", StatusCode::NOT_FOUND, "text/html", b"<html>");
        assert!(!page.contains("<html>") && page.contains("this group"), "{page}");
    }

    #[test]
    fn base64_pads_as_rfc_4648_says() {
        for (plain, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
