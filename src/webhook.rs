//! One webhook: what `config.json` says of it, and how a message gets there.

use std::fs;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What may be asked for.
pub(crate) const EVENTS: [&str; 6] = ["joined", "refused", "left", "kicked", "published", "ended"];
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
    /// An address of `https:` or `http:`.
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

    /// Whether it wants to hear of this.
    pub(crate) fn wants(&self, event: &str) -> bool {
        self.events.is_empty() || self.events.iter().any(|wanted| wanted == event)
    }
}

/// A URL in parts.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) url: String,
    is_tls: bool,
    host: String,
    port: u16,
    path: String,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Option<Self> {
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

    /// Hands one message over, and reports why that failed.
    pub(crate) async fn post(&self, body: &str, signature: &str) -> Result<(), String> {
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
