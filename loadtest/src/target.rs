//! The server and group under test.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Where Debian and its kin keep the system's certificates.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub url: String,
    pub is_tls: bool,
    /// The host for SNI and `Host`.
    pub host: String,
    pub port: u16,
    pub group: String,
    /// The host's first address.
    pub address: SocketAddr,
}

impl Target {
    /// Parses `https://HOST[:PORT]/group/NAME/` and looks the host up.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let wrong = || format!("--url {url}: want https://HOST[:PORT]/group/NAME/");
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let is_tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(wrong()),
        };
        let (authority, path) = rest.split_once('/').ok_or_else(wrong)?;
        let group = path.strip_prefix("group/").ok_or_else(wrong)?.trim_end_matches('/');
        if group.is_empty() {
            return Err(wrong());
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (authority, if is_tls { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let mut addresses: Vec<SocketAddr> = (host.as_str(), port)
            .to_socket_addrs()
            .map_err(|error| format!("cannot look up {host}: {error}"))?
            .collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        let address = *addresses.first().ok_or_else(|| format!("{host} has no address"))?;
        let (url, group) = (url.to_owned(), group.to_owned());
        Ok(Self { url, is_tls, host, port, group, address })
    }

    /// Where the native protocol is spoken.
    pub(crate) fn websocket_url(&self) -> String {
        let scheme = if self.is_tls { "wss" } else { "ws" };
        format!("{scheme}://{}:{}/ws", self.host, self.port)
    }
}

/// The TLS configuration: system certificates, or none checked with `--insecure`.
pub(crate) fn tls_config(is_insecure: bool) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    if is_insecure {
        let verifier = Arc::new(AnyCertificate(provider));
        let config = builder.dangerous().with_custom_certificate_verifier(verifier);
        return Ok(Arc::new(config.with_no_client_auth()));
    }
    let mut roots = RootCertStore::empty();
    if let Ok(found) = CertificateDer::pem_file_iter(SYSTEM_ROOTS) {
        for certificate in found.flatten() {
            // One that cannot be used does not spoil the others.
            let _ = roots.add(certificate);
        }
    }
    if roots.is_empty() {
        return Err(format!(
            "no certificates in {SYSTEM_ROOTS}; install ca-certificates or use --insecure"
        ));
    }
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// Trusts everybody: for self-signed servers under test.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_or_refused_with_an_example() {
        let target = Target::parse("https://127.0.0.1:8443/group/a/b/").expect("a good URL");
        assert_eq!((target.group.as_str(), target.port, target.is_tls), ("a/b", 8443, true));
        assert_eq!(target.websocket_url(), "wss://127.0.0.1:8443/ws");
        for url in [
            "",
            "127.0.0.1",
            "ftp://x/group/a/",
            "http://127.0.0.1/group/",
            "http://127.0.0.1:x/group/a/",
        ] {
            assert!(
                Target::parse(url).is_err_and(|error| error.contains("want https://")),
                "{url}"
            );
        }
    }
}
