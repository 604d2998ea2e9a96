//! Takes the SRTP keys out of the DTLS handshake and keeps them from the peer engine.
//!
//! A GCM nonce must never be used twice under one key, and two senders under the same keys would
//! do just that. So the wrapper in this file hands the exported keying material to us and **not**
//! to the engine, which therefore cannot seal anything at all.
//!
//! The provider is not told which Transport asks for a DTLS instance, but the engine asks while it
//! is being built: a thread-local cell, set just before, tells.
//!
//! There are two libraries behind it. The engine's own is lean, and takes ECDSA certificates only;
//! OpenSSL takes any, and has whoever begins as the libraries of encoders do, and whose offer wants us to begin
//! (`dtls_openssl.rs`).

use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use str0m::config::{CryptoProvider, DtlsCert, DtlsVersion};
use str0m::crypto::CryptoError;
use str0m::crypto::dtls::{
    DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, ProtocolVersion, SrtpProfile,
};

use crate::dtls_openssl::{self, OpensslDtls};
use crate::srtp::{DtlsKeys, Profile};

thread_local! {
    static NEXT: RefCell<Option<KeyCell>> = const { RefCell::new(None) };
}

/// Where the keys of one Transport appear when its handshake is done, and its peer's certificate.
#[derive(Clone, Default)]
pub struct KeyCell(Arc<Handshake>);

#[derive(Default)]
struct Handshake {
    keys: OnceLock<DtlsKeys>,
    certificate: OnceLock<Vec<u8>>,
    failure: OnceLock<Failure>,
    /// Whether the peer may have a certificate of any kind and wants us to begin.
    takes_any: AtomicBool,
}

/// Why a handshake ended.
#[derive(Debug)]
pub struct Failure {
    /// What the library said.
    pub text: String,
    /// Whether it is about the peer's certificate.
    pub is_of_certificate: bool,
}

impl KeyCell {
    /// Why the handshake failed, if it has.
    pub fn failure(&self) -> Option<&Failure> {
        self.0.failure.get()
    }

    /// Should we begin the handshake, any certificate will do.
    pub fn take_any_certificate(&self) {
        self.0.takes_any.store(true, Ordering::Relaxed);
    }

    /// The keys, once there.
    pub fn get(&self) -> Option<&DtlsKeys> {
        self.0.keys.get()
    }

    /// The peer's certificate, once there.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.0.certificate.get().map(Vec::as_slice)
    }
}

impl fmt::Debug for KeyCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the keys.
        write!(f, "KeyCell({})", if self.get().is_some() { "set" } else { "empty" })
    }
}

/// Runs `build`, which must create exactly one DTLS instance on this thread, and returns its
/// result with the cell for that instance's keys.
pub fn with_cell<T>(build: impl FnOnce() -> T) -> (T, KeyCell) {
    let cell = KeyCell::default();
    NEXT.with(|next| *next.borrow_mut() = Some(cell.clone()));
    let built = build();
    NEXT.with(|next| *next.borrow_mut() = None);
    (built, cell)
}

/// The engine's crypto with our wrapper around its DTLS. One per process, kept for ever.
pub(crate) fn provider() -> &'static CryptoProvider {
    static PROVIDER: OnceLock<CryptoProvider> = OnceLock::new();
    PROVIDER.get_or_init(|| capturing(true))
}

/// The same with the engine's own library for everybody: clients that are like browsers.
pub fn lean_provider() -> &'static CryptoProvider {
    static PROVIDER: OnceLock<CryptoProvider> = OnceLock::new();
    PROVIDER.get_or_init(|| capturing(false))
}

fn capturing(has_other: bool) -> CryptoProvider {
    let base = str0m::crypto::from_feature_flags();
    let capturing = CapturingProvider { base: base.dtls_provider, has_other };
    CryptoProvider { dtls_provider: Box::leak(Box::new(capturing)), ..base }
}

#[derive(Debug)]
struct CapturingProvider {
    base: &'static dyn DtlsProvider,
    has_other: bool,
}

impl DtlsProvider for CapturingProvider {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        self.base.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let inner = Library::Engine(self.base.new_dtls(cert, now, version, mtu)?);
        let cell = NEXT.with(|next| next.borrow_mut().take()).unwrap_or_default();
        let other = self.has_other.then(|| (cert.clone(), mtu, now));
        Ok(Box::new(CapturingInstance { inner, other, cell, scratch: Vec::new() }))
    }
}

enum Library {
    Engine(Box<dyn DtlsInstance>),
    Openssl(Box<OpensslDtls>),
}

impl Deref for Library {
    type Target = dyn DtlsInstance;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Engine(dtls) => dtls.as_ref(),
            Self::Openssl(dtls) => dtls.as_ref(),
        }
    }
}

impl DerefMut for Library {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Self::Engine(dtls) => dtls.as_mut(),
            Self::Openssl(dtls) => dtls.as_mut(),
        }
    }
}

struct CapturingInstance {
    inner: Library,
    /// What the other library needs, until it is clear which one it will be.
    other: Option<(DtlsCert, Option<usize>, Instant)>,
    cell: KeyCell,
    scratch: Vec<u8>,
}

impl fmt::Debug for CapturingInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CapturingInstance")
    }
}

impl CapturingInstance {
    /// Leaves the association to OpenSSL.
    fn change_library(&mut self, is_active: bool) {
        let Some((cert, mtu, now)) = self.other.take() else {
            return;
        };
        // It fails without memory only; then it stays as it is.
        if let Ok(mut dtls) = OpensslDtls::new(&cert, mtu, now) {
            dtls.set_active(is_active);
            self.inner = Library::Openssl(Box::new(dtls));
        }
    }

    fn note(&self, error: &DtlsImplError) {
        let text = match &self.inner {
            Library::Engine(_) => error.to_string(),
            Library::Openssl(dtls) => dtls.failure.clone(),
        };
        let is_of_certificate = matches!(error, DtlsImplError::CertificateError(_));
        let _ = self.cell.0.failure.set(Failure { text, is_of_certificate });
    }

    fn capture(cell: &KeyCell, material: &[u8], profile: SrtpProfile, is_client: bool) {
        let profile = match profile {
            SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
            SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
            SrtpProfile::AES128_CM_SHA1_80 => Profile::Aes128CmSha1_80,
            // Without keys the Transport never connects and times out.
            _ => return,
        };
        // A second export would be of the same association; the first one stays.
        let _ = cell.0.keys.set(DtlsKeys { profile, material: material.to_vec(), is_client });
    }
}

impl DtlsInstance for CapturingInstance {
    fn set_active(&mut self, active: bool) {
        if active && self.cell.0.takes_any.load(Ordering::Relaxed) {
            self.change_library(true);
        }
        if active {
            self.other = None;
        }
        self.inner.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        if self.other.is_some() {
            if dtls_openssl::is_wanted(packet) {
                self.change_library(false);
            }
            self.other = None;
        }
        self.inner.handle_packet(packet).inspect_err(|error| self.note(error))
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        let is_client = self.inner.is_active();
        self.scratch.resize(buf.len(), 0);
        loop {
            let mut copy = |bytes: &[u8]| {
                buf[..bytes.len()].copy_from_slice(bytes);
                bytes.len()
            };
            // Handshakes are rare: copying every record is the price for polling again after the
            // keys, which would otherwise be borrowed for too long.
            match self.inner.poll_output(&mut self.scratch) {
                DtlsOutput::KeyingMaterial(material, profile) => {
                    Self::capture(&self.cell, &material, profile, is_client);
                }
                DtlsOutput::Packet(bytes) => {
                    let len = copy(bytes);
                    return DtlsOutput::Packet(&buf[..len]);
                }
                DtlsOutput::PeerCert(bytes) => {
                    let _ = self.cell.0.certificate.set(bytes.to_vec());
                    let len = copy(bytes);
                    return DtlsOutput::PeerCert(&buf[..len]);
                }
                DtlsOutput::ApplicationData(bytes) => {
                    let len = copy(bytes);
                    return DtlsOutput::ApplicationData(&buf[..len]);
                }
                DtlsOutput::BufferTooSmall { needed } => {
                    return DtlsOutput::BufferTooSmall { needed };
                }
                DtlsOutput::Timeout(at) => return DtlsOutput::Timeout(at),
                DtlsOutput::Connected => return DtlsOutput::Connected,
                DtlsOutput::CloseNotify => return DtlsOutput::CloseNotify,
                other => {
                    debug_assert!(false, "unknown DTLS output {other:?}");
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        if let Some((_, _, at)) = &mut self.other {
            *at = now;
        }
        self.inner.handle_timeout(now).inspect_err(|error| self.note(error))
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.inner.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.inner.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.inner.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.inner.close()
    }
}
