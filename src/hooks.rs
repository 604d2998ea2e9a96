//! Webhooks: what happens in groups, told to other programs over HTTP. Nobody in a group ever waits
//! for one: queues are bounded, each address has a worker of its own, and what an address does not
//! take after some attempts is lost, with a line in the log.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use signalling::{Happening, UnixMs, What};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

use crate::authenticator::unix_now;
use crate::config::ConfigFile;

/// What may be asked for.
pub(crate) const EVENTS: [&str; 6] = ["joined", "refused", "left", "kicked", "published", "ended"];
/// Happenings that wait for their address; more are lost.
const WAITING_MAX: usize = 1024;
/// An address that does not answer by then has not taken it.
const WITHIN: Duration = Duration::from_secs(10);
/// Waits before the next attempt; after the last one it is given up.
const RETRIES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
];
/// An answer is read that far, and not looked at.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Where systems keep the certificates they trust.
const ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// An address that wants to be told.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, default)]
pub(crate) struct Webhook {
    /// `https://` or `http://`.
    pub(crate) url: String,
    /// What its messages are signed with.
    pub(crate) secret: String,
    /// Which of [`EVENTS`]; nothing for all.
    pub(crate) events: Vec<String>,
}
signalling::only_objects!(Webhook);

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the secret.
        f.debug_struct("Webhook").field("url", &self.url).field("events", &self.events).finish()
    }
}

impl Webhook {
    /// What keeps it from working, for the operator.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if Target::parse(&self.url).is_none() {
            warnings.push(format!("webhook {:?} is no URL like https://example.org/x", self.url));
        }
        if self.secret.is_empty() {
            warnings.push(format!("webhook {:?} has no secret: nobody can trust it", self.url));
        }
        for event in self.events.iter().filter(|event| !EVENTS.contains(&event.as_str())) {
            let known = EVENTS.join(", ");
            warnings.push(format!("webhook {:?}: {event:?} is none of {known}", self.url));
        }
        warnings
    }

    fn wants(&self, event: &str) -> bool {
        self.events.is_empty() || self.events.iter().any(|wanted| wanted == event)
    }
}

/// Where happenings are handed in.
#[derive(Clone)]
pub(crate) struct Hooks {
    happenings: mpsc::Sender<(&'static str, String)>,
}

impl Hooks {
    /// Begins to tell whoever `config.json` names at the time.
    pub(crate) fn start(config: Arc<ConfigFile>) -> Self {
        let (happenings, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(distribute(config, waiting));
        Self { happenings }
    }

    /// Hands something in; it never waits.
    pub(crate) fn tell(&self, happening: &Happening) {
        let (event, body) = described(happening, unix_now());
        if self.happenings.try_send((event, body.to_string())).is_err() {
            tracing::warn!(event, "webhooks are behind: this is lost");
        }
    }
}

/// The name of what has happened, and its message.
fn described(happening: &Happening, now: UnixMs) -> (&'static str, Value) {
    let Happening { what, group, client, username } = happening;
    let (event, more) = match what {
        What::Joined { permissions } => ("joined", json!({ "permissions": permissions })),
        What::Refused { why } => ("refused", json!({ "why": why })),
        What::Left => ("left", json!({})),
        What::Kicked { by, message } => ("kicked", json!({ "by": by, "message": message })),
        What::Published { stream, label, has: (audio, video) } => (
            "published",
            json!({ "stream": stream, "label": label, "audio": audio, "video": video }),
        ),
        What::Ended { stream, label } => ("ended", json!({ "stream": stream, "label": label })),
    };
    let mut fields = Map::new();
    fields.insert("event".into(), event.into());
    fields.insert("time".into(), now.to_rfc3339().into());
    fields.insert("group".into(), group.as_str().into());
    fields.insert("client".into(), client.as_str().into());
    fields.insert("username".into(), username.as_str().into());
    if let Value::Object(more) = more {
        fields.extend(more);
    }
    (event, Value::Object(fields))
}

/// Gives each address its own queue.
async fn distribute(config: Arc<ConfigFile>, mut waiting: mpsc::Receiver<(&'static str, String)>) {
    let mut workers: HashMap<(String, String), mpsc::Sender<String>> = HashMap::new();
    while let Some((event, body)) = waiting.recv().await {
        let config = config.get();
        workers.retain(|(url, secret), _| {
            config.webhooks.iter().any(|hook| hook.url == *url && hook.secret == *secret)
        });
        for hook in config.webhooks.iter().filter(|hook| hook.wants(event)) {
            let Some(target) = Target::parse(&hook.url) else { continue };
            let key = (hook.url.clone(), hook.secret.clone());
            let worker = workers.entry(key).or_insert_with(|| {
                let (sender, bodies) = mpsc::channel(WAITING_MAX);
                tokio::spawn(serve(target, hook.secret.clone(), bodies));
                sender
            });
            if worker.try_send(body.clone()).is_err() {
                tracing::warn!(url = hook.url, event, "the webhook is too slow: this is lost");
            }
        }
    }
}

/// Tells one address, one message after the other.
async fn serve(target: Target, secret: String, mut bodies: mpsc::Receiver<String>) {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    while let Some(body) = bodies.recv().await {
        let mut pauses = RETRIES.into_iter();
        loop {
            let time = u64::try_from(unix_now().0 / 1000).unwrap_or_default();
            let signature = signature(&key, time, &body);
            let posted = tokio::time::timeout(WITHIN, target.post(&body, &signature)).await;
            let why = match posted {
                Ok(Ok(())) => break,
                Ok(Err(why)) => why,
                Err(_) => "no answer in time".to_owned(),
            };
            let Some(pause) = pauses.next() else {
                tracing::warn!(url = target.url, why, "the webhook does not take it: this is lost");
                break;
            };
            tracing::debug!(url = target.url, why, "the webhook does not take it: again soon");
            tokio::time::sleep(pause).await;
        }
    }
}

/// `t=UNIX,v1=HEX`: the HMAC-SHA-256 of the time, a dot and the body.
fn signature(key: &hmac::Key, time: u64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{time}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time},v1={hex}")
}

/// A URL in parts.
#[derive(Clone, Debug)]
struct Target {
    url: String,
    is_tls: bool,
    host: String,
    port: u16,
    path: String,
}

impl Target {
    fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let is_tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Some(Self { url: url.to_owned(), is_tls, host, port, path })
    }

    async fn post(&self, body: &str, signature: &str) -> Result<(), String> {
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| error.to_string())?;
        if !self.is_tls {
            return self.exchange(stream, body, signature).await;
        }
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let stream = connector()?.connect(name, stream).await.map_err(|error| error.to_string())?;
        self.exchange(stream, body, signature).await
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        body: &str,
        signature: &str,
    ) -> Result<(), String> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let host = match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.path.as_str())
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(header::USER_AGENT, concat!("aula/", env!("CARGO_PKG_VERSION")))
            .header("x-aula-signature", signature)
            .body(Full::new(Bytes::from(body.to_owned())))
            .map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        // So that the connection ends in an orderly way; what it says does not matter.
        let _ = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        if status.is_success() { Ok(()) } else { Err(format!("it answers {status}")) }
    }
}

/// Trusts what the system trusts. Made anew for each message: certificates change, and happenings
/// are few.
fn connector() -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    for file in ROOTS {
        let Ok(pem) = fs::read(file) else { continue };
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        break;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_signed_with_their_time() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            signature(&key, 1_700_000_000, "{}"),
            "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"
        );
    }

    #[test]
    fn what_cannot_work_is_told() {
        let hook = |url: &str, secret: &str, events: &[&str]| Webhook {
            url: url.to_owned(),
            secret: secret.to_owned(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
        };
        assert_eq!(hook("https://a.example/x", "s", &["joined"]).warnings(), [""; 0]);
        for (hook, words) in [
            (hook("a.example", "s", &[]), "is no URL"),
            (hook("ftp://a.example/", "s", &[]), "is no URL"),
            (hook("http://a.example/", "", &[]), "no secret"),
            (hook("http://a.example/", "s", &["join"]), "is none of joined"),
        ] {
            let warnings = hook.warnings();
            assert!(warnings.len() == 1 && warnings[0].contains(words), "{warnings:?}");
        }
        assert!(!format!("{:?}", hook("http://a/", "hidden", &[])).contains("hidden"));
    }
}
