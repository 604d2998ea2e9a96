//! The server's certificate: from files, or made at the first start; read again when the files
//! change.

use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerConfig;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, InconsistentKeys};
use signalling::UnixMs;
use tokio_rustls::TlsAcceptor;

use crate::fatal::FatalError;
use crate::reread::{self, Look, Reread};

/// A TLS record begins with the type of a handshake (RFC 8446 s5.1).
pub(crate) const TLS_HANDSHAKE: u8 = 22;
/// A larger file is no certificate.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

struct Current {
    cert: Reread,
    key: Reread,
    usable: Usable,
}

/// A certificate with its key, ready for connections, and when it ends.
struct Usable {
    config: Arc<ServerConfig>,
    not_after: Option<UnixMs>,
}

/// What TLS connections are accepted with.
pub(crate) struct Certificates {
    current: Mutex<Current>,
}

impl Certificates {
    /// Reads `cert.pem` and `key.pem` of `data`; makes them if there is no certificate.
    pub(crate) fn open(data: &Path, addresses: &[IpAddr]) -> Result<Self, FatalError> {
        let (cert, key) = (data.join("cert.pem"), data.join("key.pem"));
        let usable = if cert.exists() {
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
                Ok(()) => tracing::warn!(
                    file = %cert.display(),
                    "made a self-signed certificate: browsers will warn"
                ),
                Err(error) => tracing::warn!(
                    "made a self-signed certificate, for this run only: cannot write {}: {error}",
                    cert.display()
                ),
            }
            configure(made.cert.as_bytes(), made.key.as_bytes()).map_err(FatalError::system)?
        };
        let [mut cert, mut key] = [cert, key].map(|path| Reread::new(path, PEM_BYTES_MAX));
        // What has just been read is not news. Should it have changed since, it is read once more
        // at the next change.
        let _ = (cert.look(), key.look());
        Ok(Self { current: Mutex::new(Current { cert, key, usable }) })
    }

    /// Accepts a connection with the certificate of this moment.
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
        let mut current = self.current();
        let looks = [current.cert.look(), current.key.look()];
        for look in &looks {
            match look {
                Look::Failed(message) => {
                    return tracing::error!("{message}; the old certificate stays");
                }
                // Somebody is exchanging them.
                Look::Contents(None) => return,
                Look::Same | Look::Contents(Some(_)) => {}
            }
        }
        if looks.iter().all(|look| matches!(look, Look::Same)) {
            return;
        }
        let (cert, key) = (current.cert.path().to_owned(), current.key.path().to_owned());
        match read(&cert, &key) {
            Ok(usable) => {
                tracing::info!(file = %cert.display(), "certificate read again");
                current.usable = usable;
            }
            Err(message) => tracing::error!("{message}; the old certificate stays"),
        }
    }
}

fn read(cert: &Path, key: &Path) -> Result<Usable, String> {
    let text = |path: &Path| match reread::read(path, PEM_BYTES_MAX) {
        Ok(Some((_, text))) => Ok(text),
        Ok(None) => Err(format!("{}: no such file", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    };
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
    let signer = provider.key_provider.load_private_key(key).map_err(|error| {
        format!("the private key cannot be used, of RSA one under 2048 bits, say ({error})")
    })?;
    let certified = CertifiedKey::new(certs, signer);
    match certified.keys_match() {
        // Not every certificate can be looked into: `openssl x509 -req` makes one of version 1, which
        // browsers take. They also tell if it is of another key.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(error))) => {
            tracing::warn!("the certificate is unusual, so its key was not compared: {error}");
        }
        Err(error) => {
            return Err(format!("certificate and key cannot be used together ({error})"));
        }
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"stun.turn".to_vec()];
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Image layers and `cp -p` give every file one time.
    #[test]
    fn a_certificate_is_new_if_its_link_leads_elsewhere_whatever_the_times() {
        let data = std::env::temp_dir().join(format!("aula-tls-{}", std::process::id()));
        fs::create_dir_all(&data).unwrap();
        let mut modified = None;
        for folder in ["old", "new"] {
            let made = make(&[]).unwrap();
            let folder = data.join(folder);
            fs::create_dir_all(&folder).unwrap();
            for (name, text) in [("cert.pem", made.cert), ("key.pem", made.key)] {
                fs::write(folder.join(name), text).unwrap();
                let file = fs::File::options().write(true).open(folder.join(name)).unwrap();
                let at = *modified.get_or_insert_with(std::time::SystemTime::now);
                file.set_modified(at).unwrap();
            }
        }
        let link = |to: &str| {
            let _ = fs::remove_file(data.join("live"));
            symlink(data.join(to), data.join("live")).unwrap();
        };
        link("old");
        for name in ["cert.pem", "key.pem"] {
            symlink(data.join("live").join(name), data.join(name)).unwrap();
        }
        let certificates = Certificates::open(&data, &[]).unwrap_or_else(|error| panic!("{error}"));
        let before = certificates.current().usable.config.clone();
        certificates.refresh();
        assert!(Arc::ptr_eq(&before, &certificates.current().usable.config), "nothing is new");
        link("new");
        certificates.refresh();
        assert!(!Arc::ptr_eq(&before, &certificates.current().usable.config));
        fs::remove_dir_all(data).unwrap();
    }

    /// `openssl x509 -req -signkey`, the recipe that is copied most (OpenSSL 3.0).
    #[test]
    fn a_certificate_of_version_1_is_served() {
        const CERT: &str = "-----BEGIN CERTIFICATE-----\n\
            MIIBJTCBywIUIxO4Si5KN/W7KF5Njy9XeUGqBgYwCgYIKoZIzj0EAwIwFDESMBAG\n\
            A1UEAwwJbG9jYWxob3N0MCAXDTI2MTIwMTEyNDUzNVoYDzIxMjYxMTA3MTI0NTM1\n\
            WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC\n\
            AARMarJ7m+FnT3uZoGHQKV0is79OxkK6oG17wEOZB2pRpQ0n+0GmHspfklLE/HWp\n\
            //4RVjGfzMv3xYitZeknW/nbMAoGCCqGSM49BAMCA0kAMEYCIQCD+JvbJyFRCYkw\n\
            I0m9YdRc+YMrWlD2zaXc3pKwPGs41AIhAPvnDfABO3/A2XmzCxp/q7ENmKCbFcz3\n\
            1Q3saVg+II9Q\n\
            -----END CERTIFICATE-----";
        const KEY: &str = "-----BEGIN EC PRIVATE KEY-----\n\
            MHcCAQEEIG3Be2af60GIh6e45NxvRQneNVzN/3bfHoISWXRqmQepoAoGCCqGSM49\n\
            AwEHoUQDQgAETGqye5vhZ097maBh0CldIrO/TsZCuqBte8BDmQdqUaUNJ/tBph7K\n\
            X5JSxPx1qf/+EVYxn8zL98WIrWXpJ1v52w==\n\
            -----END EC PRIVATE KEY-----";
        let usable = configure(CERT.as_bytes(), KEY.as_bytes()).map(|_| ());
        assert_eq!(usable, Ok(()));
        let [one, other] = [make(&[]).unwrap(), make(&[]).unwrap()];
        let mixed = configure(one.cert.as_bytes(), other.key.as_bytes()).map(|_| ());
        assert!(mixed.is_err_and(|error| error.contains("cannot be used together")));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(configure(broken.as_bytes(), KEY.as_bytes()).is_err());
    }
}
