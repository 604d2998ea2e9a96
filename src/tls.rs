//! The server's certificate: from files, or made at the first start; read again when the files
//! change.

use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use signalling::UnixMs;
use tokio_rustls::TlsAcceptor;

use crate::fatal::FatalError;

type Stamp = (Option<SystemTime>, Option<SystemTime>);

struct Current {
    stamp: Stamp,
    usable: Usable,
}

/// A certificate with its key, ready for connections, and when it ends.
struct Usable {
    config: Arc<ServerConfig>,
    not_after: Option<UnixMs>,
}

/// What TLS connections are accepted with.
pub(crate) struct Certificates {
    cert: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

impl Certificates {
    /// Reads `cert.pem` and `key.pem` of `data`; makes them if there is no certificate.
    pub(crate) fn open(data: &Path, addresses: &[IpAddr]) -> Result<Self, FatalError> {
        let (cert, key) = (data.join("cert.pem"), data.join("key.pem"));
        let mut stamp = stamp(&cert, &key);
        let usable = if stamp.0.is_some() {
            read(&cert, &key).map_err(|message| {
                FatalError::config(format!(
                    "{message}: replace it, or remove {} and {} to have them made",
                    cert.display(),
                    key.display()
                ))
            })?
        } else {
            let made = make(addresses).map_err(FatalError::system)?;
            match keep(data, &cert, &key, &made) {
                Ok(()) => {
                    stamp = self::stamp(&cert, &key);
                    tracing::warn!(
                        file = %cert.display(),
                        "made a self-signed certificate: browsers will warn"
                    );
                }
                Err(error) => tracing::warn!(
                    "made a self-signed certificate, for this run only: cannot write {}: {error}",
                    cert.display()
                ),
            }
            configure(made.cert.as_bytes(), made.key.as_bytes()).map_err(FatalError::system)?
        };
        Ok(Self { cert, key, current: Mutex::new(Current { stamp, usable }) })
    }

    /// For one connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current().usable.config.clone())
    }

    /// When the certificate ends, if that can be told.
    pub(crate) fn not_after(&self) -> Option<UnixMs> {
        self.current().usable.not_after
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether the files have changed. Files that cannot be used leave the old ones in
    /// force.
    pub(crate) fn refresh(&self) {
        let stamp = stamp(&self.cert, &self.key);
        let mut current = self.current();
        if current.stamp == stamp || stamp.0.is_none() {
            return;
        }
        current.stamp = stamp;
        match read(&self.cert, &self.key) {
            Ok(usable) => {
                tracing::info!(file = %self.cert.display(), "certificate read again");
                current.usable = usable;
            }
            Err(message) => tracing::error!("{message}; the old certificate stays"),
        }
    }
}

fn stamp(cert: &Path, key: &Path) -> Stamp {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    (modified(cert), modified(key))
}

fn read(cert: &Path, key: &Path) -> Result<Usable, String> {
    let text = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    configure(&text(cert)?, &text(key)?)
        .map_err(|error| format!("{} and {}: {error}", cert.display(), key.display()))
}

fn configure(cert: &[u8], key: &[u8]) -> Result<Usable, String> {
    let certs: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(cert)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("not a PEM certificate ({error})"))?;
    if certs.is_empty() {
        return Err("no certificate in it".to_owned());
    }
    let not_after = certs.first().and_then(|cert| signalling::not_after(cert));
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("not a PEM private key ({error})"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(certs, key)
        .map_err(|error| format!("certificate and key do not fit ({error})"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Usable { config: Arc::new(config), not_after })
}

struct Made {
    cert: String,
    key: String,
}

fn make(addresses: &[IpAddr]) -> Result<Made, String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(addresses.iter().map(IpAddr::to_string));
    names.sort();
    names.dedup();
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| error.to_string())?;
    Ok(Made { cert: made.cert.pem(), key: made.signing_key.serialize_pem() })
}

/// The key first and for the owner alone: a certificate is only ever there together with its key.
fn keep(data: &Path, cert: &Path, key: &Path, made: &Made) -> io::Result<()> {
    fs::create_dir_all(data)?;
    let write = |path: &Path, text: &str, mode: u32| {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(mode);
        options.open(path)?.write_all(text.as_bytes())
    };
    write(key, &made.key, 0o600)?;
    write(cert, &made.cert, 0o644)
}
