//! One HTTP/1.1 request at a time to the administration API.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{self, HeaderName};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde_json::Value;
use signalling::base64;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::answer::{Answer, Asked};
use crate::config::Config;
use crate::failure::Failure;

/// A server that does not answer by then is given up.
const WITHIN: Duration = Duration::from_secs(60);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Where systems keep the certificates they trust.
const ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A server of Aula or Galene, as its administration API is reached.
pub(crate) struct Client {
    runtime: tokio::runtime::Runtime,
    pub(crate) url: Url,
    authorization: Option<String>,
    /// Whether any certificate will do.
    pub(crate) is_insecure: bool,
}

/// The server's URL, in parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Url {
    pub(crate) is_tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Without a slash at the end.
    base: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let bad = || Failure::about(text, "not a URL like https://aula.example.org:8443");
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let is_tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(bad()),
        };
        let (authority, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let colon = authority
            .rfind(':')
            .filter(|at| !authority.get(*at..).is_some_and(|rest| rest.contains(']')));
        let (host, port) = match colon {
            Some(at) => {
                let port = authority.get(at + 1..).unwrap_or_default();
                (authority.get(..at).unwrap_or_default(), port.parse().map_err(|_| bad())?)
            }
            None => (authority, if is_tls { 443 } else { 80 }),
        };
        let host = host.trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(bad());
        }
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { is_tls, host: host.to_owned(), port, base })
    }

    fn authority(&self) -> String {
        let port = self.port;
        match self.host.contains(':') {
            true => format!("[{}]:{port}", self.host),
            false => format!("{}:{port}", self.host),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.base)
    }
}

impl Client {
    /// Does not connect yet.
    pub(crate) fn new(config: &Config) -> Result<Self, Failure> {
        let authorization = if !config.admin_token.is_empty() {
            Some(format!("Bearer {}", config.admin_token))
        } else if !config.admin_username.is_empty() {
            let pair = format!("{}:{}", config.admin_username, config.admin_password);
            Some(format!("Basic {}", base64::encode(pair.as_bytes())))
        } else {
            None
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::new)?;
        Ok(Self {
            runtime,
            url: Url::parse(&config.server)?,
            authorization,
            is_insecure: config.is_insecure,
        })
    }

    /// One request to the API; a status of 300 or more is a failure.
    pub(crate) fn api(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Option<(&str, String)>,
    ) -> Result<Answer, Failure> {
        let url = format!("/galene-api/v0/.groups/{path}");
        let own = self.authorization.as_deref().map(|value| (header::AUTHORIZATION, value));
        let all: Vec<_> = headers.iter().cloned().chain(own).collect();
        let answer = self.request(method.clone(), &url, &all, body)?;
        if answer.status.as_u16() < 300 {
            return Ok(answer);
        }
        let group = path.split_once("/.").map(|(group, _)| group).filter(|group| {
            answer.status == StatusCode::NOT_FOUND && self.lacks(group, &method, path)
        });
        Err(answer.refusal(&Asked {
            missing_group: group,
            method: &method,
            path,
            is_anonymous: self.authorization.is_none(),
            condition: headers.first().map(|(name, _)| name),
        }))
    }

    /// Whether the group is what was not found. To be read, and for tokens, a group below another
    /// needs no file; users are written to a file of its own.
    fn lacks(&self, group: &str, method: &Method, path: &str) -> bool {
        let needs_file = !matches!(*method, Method::GET | Method::HEAD);
        let below = if needs_file && !path.contains("/.tokens/") { "" } else { "/.users/" };
        let own = self.authorization.as_deref().map(|value| (header::AUTHORIZATION, value));
        let url = format!("/galene-api/v0/.groups/{group}{below}");
        let answer = self.request(Method::GET, &url, own.as_slice(), None);
        answer.is_ok_and(|answer| answer.status == StatusCode::NOT_FOUND)
    }

    /// Sends one request; an error says in words why there is no answer to use.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Option<(&str, String)>,
    ) -> Result<Answer, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url.base))
            .header(header::HOST, self.url.authority());
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let (media_type, body) = body.unzip();
        if let Some(media_type) = media_type {
            request = request.header(header::CONTENT_TYPE, media_type);
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let request = request.body(body).map_err(Failure::new)?;
        let server = self.url.authority();
        let answered = self
            .runtime
            .block_on(async { tokio::time::timeout(WITHIN, self.exchange(request)).await });
        match answered {
            Ok(answered) => answered.map_err(|failure| Failure::about(server, failure)),
            Err(_) => Err(Failure::about(server, "no answer within a minute")),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let stream = TcpStream::connect((self.url.host.as_str(), self.url.port))
            .await
            .map_err(Failure::new)?;
        if !self.url.is_tls {
            return talk(TokioIo::new(stream), request).await.map_err(|failure| {
                Failure::about(failure, "does the server want https:// in -server?")
            });
        }
        let connector = TlsConnector::from(Arc::new(tls(self.is_insecure)?));
        let name = ServerName::try_from(self.url.host.clone()).map_err(Failure::new)?;
        let stream = connector.connect(name, stream).await.map_err(|error| {
            Failure::about(
                error,
                "a self-signed certificate needs -insecure, a server without TLS http://",
            )
        })?;
        talk(TokioIo::new(stream), request).await
    }

    /// The certificates that the server shows, whatever they are worth, and whether they are
    /// trusted here.
    pub(crate) fn certificates(
        &self,
    ) -> Result<(Vec<CertificateDer<'static>>, Option<String>), Failure> {
        let connect = async |is_insecure: bool| {
            let stream = TcpStream::connect((self.url.host.as_str(), self.url.port)).await?;
            let config =
                tls(is_insecure).map_err(|failure| std::io::Error::other(failure.to_string()))?;
            let name =
                ServerName::try_from(self.url.host.clone()).map_err(std::io::Error::other)?;
            TlsConnector::from(Arc::new(config)).connect(name, stream).await
        };
        self.runtime.block_on(async {
            let stream = tokio::time::timeout(WITHIN, connect(true)).await;
            let stream = stream.map_err(|_| Failure::new("no answer"))?.map_err(Failure::new)?;
            let shown = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
            let trusted = tokio::time::timeout(WITHIN, connect(false)).await;
            let error = trusted.map_err(|_| Failure::new("no answer"))?.err();
            Ok((shown, error.map(|error| error.to_string())))
        })
    }

    /// TLS to `host` over a connection, with the certificates that are trusted here.
    pub(crate) fn secure(
        &self,
        host: &str,
        mut stream: std::net::TcpStream,
    ) -> std::io::Result<impl std::io::Read + std::io::Write + use<>> {
        let config =
            tls(self.is_insecure).map_err(|error| std::io::Error::other(error.to_string()))?;
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        let mut session =
            rustls::ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(rustls::StreamOwned::new(session, stream))
    }

    /// Reads JSON with its ETag.
    pub(crate) fn get(&self, path: &str) -> Result<(Value, Option<String>), Failure> {
        let answer = self.api(Method::GET, path, &[], None)?;
        let etag = answer.headers.get(header::ETAG).and_then(|etag| etag.to_str().ok());
        let value = serde_json::from_slice(&answer.body)
            .map_err(|error| Failure::about("the server's answer", error))?;
        Ok((value, etag.map(str::to_owned)))
    }

    /// Writes JSON.
    pub(crate) fn put(
        &self,
        path: &str,
        condition: Option<(HeaderName, &str)>,
        value: &Value,
    ) -> Result<(), Failure> {
        let headers: Vec<_> = condition.into_iter().collect();
        let body = Some(("application/json", value.to_string()));
        self.api(Method::PUT, path, &headers, body).map(|_| ())
    }

    /// Makes what must not exist yet.
    pub(crate) fn create(&self, path: &str, value: &Value) -> Result<(), Failure> {
        self.put(path, Some((header::IF_NONE_MATCH, "*")), value)
    }

    /// Changes what is there; nobody else's change is lost.
    pub(crate) fn update(
        &self,
        path: &str,
        change: impl FnOnce(&mut Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (mut value, etag) = self.get(path)?;
        let etag = etag.ok_or_else(|| Failure::new("the server gave no ETag"))?;
        change(&mut value)?;
        self.put(path, Some((header::IF_MATCH, &etag)), &value)
    }

    pub(crate) fn delete(&self, path: &str) -> Result<(), Failure> {
        self.api(Method::DELETE, path, &[], None).map(|_| ())
    }

    /// A list of names.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<String>, Failure> {
        let (value, _) = self.get(path)?;
        // A Galene without groups says null.
        let names: Option<Vec<String>> = serde_json::from_value(value)
            .map_err(|error| Failure::about("the server's answer", error))?;
        Ok(names.unwrap_or_default())
    }
}

async fn talk<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, Failure>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(stream).await.map_err(Failure::new)?;
    // It ends with the answer, or with an error that the answer shows as well.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(Failure::new)?;
    let (parts, body) = response.into_parts();
    let body = http_body_util::Limited::new(body, ANSWER_BYTES_MAX);
    let body = body.collect().await.map_err(Failure::new)?.to_bytes();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

fn tls(is_insecure: bool) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Failure::new)?;
    if is_insecure {
        let verifier = Arc::new(AnyCertificate);
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        return Ok(builder.with_no_client_auth());
    }
    let own = std::env::var("SSL_CERT_FILE").ok();
    let file = own.or_else(|| {
        ROOTS
            .iter()
            .find(|path| fs::exists(path).unwrap_or_default())
            .map(|path| (*path).to_owned())
    });
    let Some(file) = file else {
        return Err(Failure::new("no trusted certificates found: set SSL_CERT_FILE, or -insecure"));
    };
    let pem = fs::read(&file).map_err(|error| Failure::about(&file, error))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// For `-insecure`: encryption without knowing to whom.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_in_parts() {
        let url = |is_tls, host: &str, port, base: &str| {
            Some(Url { is_tls, host: host.to_owned(), port, base: base.to_owned() })
        };
        for (text, expected) in [
            ("https://a.example", url(true, "a.example", 443, "")),
            ("http://localhost:80/base/", url(false, "localhost", 80, "/base")),
            ("https://[::1]:8443", url(true, "::1", 8443, "")),
            ("https://[::1]/", url(true, "::1", 443, "")),
            ("ftp://x", None),
            ("localhost:8443", None),
            ("https://", None),
            ("https://x:y", None),
        ] {
            assert_eq!(Url::parse(text).ok(), expected, "{text}");
        }
    }
}
