//! DTLS 1.2 by OpenSSL, for peers whose certificate may be of any kind: the engine's own library
//! takes ECDSA only, but embedded encoders and GStreamer bring RSA.
//!
//! Datagrams are kept apart: one that comes in is one read, each write of the library is one that goes
//! out. OpenSSL looks at the system's clock for its retransmissions and has to be asked whether one is
//! due, so it is asked every [`ASK_EVERY`] during the handshake. Afterwards only its close and a
//! repeated last flight matter: we have no use for what else may come.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::srtp::SrtpProfileId;
use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslMethod, SslOptions, SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::X509;
use str0m::config::DtlsCert;
use str0m::crypto::dtls::{
    DtlsImplError, DtlsInstance, DtlsOutput, KeyingMaterial, ProtocolVersion, SrtpProfile,
};

/// Between two questions whether a flight has to be repeated.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// When there is nothing to wait for.
const LONG: Duration = Duration::from_secs(3600);
/// The largest record; our own are cut to the MTU.
const RECORD_BYTES_MAX: usize = 2048;
/// As the engine's own library has it if nobody says otherwise.
const MTU: usize = 1150;
/// ECDHE with AES, and no key exchange without forward secrecy. The key is ours, so ECDSA signs it
/// when we are the server; a server may have either kind.
const CIPHERS: &str = "ECDHE+AESGCM:ECDHE+AES";
/// Best first: the server chooses, and GCM halves the cost of every packet.
const PROFILES: &str = "SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80";
/// RFC 5764 s4.2.
const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";
/// The extension of RFC 7366, which OpenSSL, GnuTLS and Mbed TLS offer, and no browser does.
const ENCRYPT_THEN_MAC: u16 = 22;

thread_local! {
    /// What all associations under one certificate share; a process has one certificate, tests several.
    static CONTEXT: RefCell<Option<(Vec<u8>, SslContext)>> = const { RefCell::new(None) };
}

/// Whether this is the first ClientHello of a library whose users have certificates of any kind.
/// What a client will show it does not say, so this is the earliest that can be known, and it must
/// be known before we answer.
pub(crate) fn is_wanted(record: &[u8]) -> bool {
    extensions(record).is_some_and(|mut rest| {
        while let Some(([a, b, c, d], body)) = rest.split_first_chunk() {
            if u16::from_be_bytes([*a, *b]) == ENCRYPT_THEN_MAC {
                return true;
            }
            let Some(next) = body.get(usize::from(u16::from_be_bytes([*c, *d]))..) else {
                return false;
            };
            rest = next;
        }
        false
    })
}

/// The extensions of a ClientHello (RFC 6347 s4.2.1, s4.3), as far as they are in its first record.
fn extensions(record: &[u8]) -> Option<&[u8]> {
    let is_hello = record.first() == Some(&22) && record.get(13) == Some(&1);
    // Record header 13, handshake header 12, version 2, random 32.
    let mut rest = record.get(59..).filter(|_| is_hello)?;
    for is_wide in [false, false, true, false] {
        // Session id, cookie, cipher suites, compression methods.
        let (len, body) = match rest {
            [high, low, body @ ..] if is_wide => (u16::from_be_bytes([*high, *low]).into(), body),
            [len, body @ ..] if !is_wide => (usize::from(*len), body),
            _ => return None,
        };
        rest = body.get(len..)?;
    }
    rest.get(2..)
}

/// One association. See the module's documentation.
pub(crate) struct OpensslDtls {
    stream: SslStream<Datagrams>,
    is_active: bool,
    now: Instant,
    /// What has happened and is to be told, in order.
    events: VecDeque<Happened>,
    is_connected: bool,
    is_closed: bool,
    /// What the library said when it gave up.
    pub failure: String,
}

#[derive(Debug)]
enum Happened {
    Certificate(Vec<u8>),
    Keys(Vec<u8>, SrtpProfile),
    Connected,
    Closed,
}

impl fmt::Debug for OpensslDtls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpensslDtls")
    }
}

impl OpensslDtls {
    /// A fresh one under our certificate; the larger of the two roles' packets fit into `mtu`.
    pub(crate) fn new(
        cert: &DtlsCert,
        mtu: Option<usize>,
        now: Instant,
    ) -> Result<Self, ErrorStack> {
        let context = context(cert)?;
        let mut ssl = Ssl::new(&context)?;
        ssl.set_mtu(mtu.unwrap_or(MTU) as u32)?;
        Ok(Self {
            stream: SslStream::new(ssl, Datagrams::default())?,
            is_active: false,
            now,
            events: VecDeque::new(),
            is_connected: false,
            is_closed: false,
            failure: String::new(),
        })
    }

    /// Lets the library do what it can.
    fn advance(&mut self) -> Result<(), DtlsImplError> {
        if !self.is_connected {
            let done = if self.is_active { self.stream.connect() } else { self.stream.accept() };
            if let Err(error) = done {
                return self.judge(&error);
            }
            self.export().map_err(|error| self.fail(&error))?;
        }
        let mut unused = [0; RECORD_BYTES_MAX];
        loop {
            if let Err(error) = self.stream.ssl_read(&mut unused) {
                return self.judge(&error);
            }
        }
    }

    fn judge(&mut self, error: &openssl::ssl::Error) -> Result<(), DtlsImplError> {
        match error.code() {
            ErrorCode::WANT_READ | ErrorCode::WANT_WRITE => Ok(()),
            ErrorCode::ZERO_RETURN => {
                if !self.is_closed {
                    self.is_closed = true;
                    self.events.push_back(Happened::Closed);
                }
                Ok(())
            }
            _ => Err(self.fail(error)),
        }
    }

    fn fail(&mut self, error: &dyn fmt::Display) -> DtlsImplError {
        self.failure = error.to_string();
        DtlsImplError::ConnectionClosed
    }

    /// The handshake is done.
    fn export(&mut self) -> Result<(), ErrorStack> {
        self.is_connected = true;
        let ssl = self.stream.ssl();
        if let Some(certificate) = ssl.peer_certificate() {
            self.events.push_back(Happened::Certificate(certificate.to_der()?));
        }
        let profile = match ssl.selected_srtp_profile().map(|profile| profile.id()) {
            Some(SrtpProfileId::SRTP_AEAD_AES_128_GCM) => Some(SrtpProfile::AEAD_AES_128_GCM),
            Some(SrtpProfileId::SRTP_AEAD_AES_256_GCM) => Some(SrtpProfile::AEAD_AES_256_GCM),
            Some(SrtpProfileId::SRTP_AES128_CM_SHA1_80) => Some(SrtpProfile::AES128_CM_SHA1_80),
            // Without keys the Transport never connects and times out.
            _ => None,
        };
        if let Some(profile) = profile {
            let mut keys = vec![0; profile.keying_material_len()];
            ssl.export_keying_material(&mut keys, EXPORTER_LABEL, None)?;
            self.events.push_back(Happened::Keys(keys, profile));
        }
        self.events.push_back(Happened::Connected);
        Ok(())
    }
}

impl DtlsInstance for OpensslDtls {
    fn set_active(&mut self, is_active: bool) {
        self.is_active = is_active;
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        // The engine begins with an empty one.
        if !packet.is_empty() {
            self.stream.get_mut().incoming = Some(packet.to_vec());
        }
        self.advance()
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        if let Some(packet) = self.stream.get_mut().outgoing.pop_front() {
            return match fill(buf, &packet) {
                Some(packet) => DtlsOutput::Packet(packet),
                None => DtlsOutput::BufferTooSmall { needed: packet.len() },
            };
        }
        match self.events.pop_front() {
            Some(Happened::Certificate(bytes)) => match fill(buf, &bytes) {
                Some(bytes) => DtlsOutput::PeerCert(bytes),
                None => DtlsOutput::BufferTooSmall { needed: bytes.len() },
            },
            Some(Happened::Keys(keys, profile)) => {
                DtlsOutput::KeyingMaterial(KeyingMaterial::new(&keys), profile)
            }
            Some(Happened::Connected) => DtlsOutput::Connected,
            Some(Happened::Closed) => DtlsOutput::CloseNotify,
            None => {
                let wait = if self.is_connected { LONG } else { ASK_EVERY };
                DtlsOutput::Timeout(self.now + wait)
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.now = now;
        // A server has nothing to say before it is asked.
        if self.is_connected { Ok(()) } else { self.advance() }
    }

    fn send_application_data(&mut self, _: &[u8]) -> Result<(), DtlsImplError> {
        // We have none.
        Ok(())
    }

    fn is_active(&self) -> bool {
        self.is_active
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.is_connected.then_some(ProtocolVersion::DTLS1_2)
    }

    fn is_closing(&self) -> bool {
        self.is_closed
    }

    fn is_closed(&self) -> bool {
        self.is_closed && self.stream.get_ref().outgoing.is_empty()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        if self.is_connected {
            // What cannot be said need not be said: the peer may be gone.
            let _ = self.stream.shutdown();
        }
        self.is_closed = true;
        Ok(())
    }
}

/// The beginning of `buf` with `bytes` in it, if there is room.
fn fill<'a>(buf: &'a mut [u8], bytes: &[u8]) -> Option<&'a [u8]> {
    let place = buf.get_mut(..bytes.len())?;
    place.copy_from_slice(bytes);
    Some(place)
}

/// What the library reads and writes.
#[derive(Debug, Default)]
struct Datagrams {
    incoming: Option<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
}

impl Read for Datagrams {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let datagram = self.incoming.take().ok_or(io::ErrorKind::WouldBlock)?;
        // What is longer than any record is cut, as a socket would.
        let len = datagram.len().min(buf.len());
        buf[..len].copy_from_slice(&datagram[..len]);
        Ok(len)
    }
}

impl Write for Datagrams {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.outgoing.push_back(datagram.to_vec());
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn context(cert: &DtlsCert) -> Result<SslContext, ErrorStack> {
    CONTEXT.with_borrow_mut(|kept| match kept {
        Some((certificate, context)) if *certificate == cert.certificate => Ok(context.clone()),
        _ => {
            let made = make_context(cert)?;
            *kept = Some((cert.certificate.clone(), made.clone()));
            Ok(made)
        }
    })
}

fn make_context(cert: &DtlsCert) -> Result<SslContext, ErrorStack> {
    let mut builder = SslContext::builder(SslMethod::dtls())?;
    builder.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
    builder.set_cipher_list(CIPHERS)?;
    builder.set_tlsext_use_srtp(PROFILES)?;
    // Whose certificate it is the description tells, by its fingerprint: see `fingerprint.rs`. That
    // the peer has its key is checked here.
    let verify = SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT;
    builder.set_verify_callback(verify, |_, _| true);
    builder.set_certificate(X509::from_der(&cert.certificate)?.as_ref())?;
    builder.set_private_key(PKey::private_key_from_der(&cert.private_key)?.as_ref())?;
    builder.set_options(
        SslOptions::NO_QUERY_MTU | SslOptions::NO_RENEGOTIATION | SslOptions::NO_TICKET,
    );
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use openssl::asn1::Asn1Time;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::rsa::Rsa;

    use super::*;
    use crate::fingerprint::sha_256;
    use crate::keys::{self, KeyCell};

    fn certificate(is_rsa: bool) -> DtlsCert {
        let key = if is_rsa {
            PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
        } else {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
            PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
        };
        let mut builder = X509::builder().unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(9).unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        let certificate = builder.build().to_der().unwrap();
        DtlsCert { certificate, private_key: key.private_key_to_der().unwrap() }
    }

    /// Runs our side, as its Transport would, against `peer`; the peer's keys, if it is connected.
    struct Run {
        ours: Box<dyn DtlsInstance>,
        cell: KeyCell,
        peer: Box<dyn DtlsInstance>,
        now: Instant,
    }

    impl Run {
        fn new(mut peer: Box<dyn DtlsInstance>, is_client: bool) -> Self {
            let now = Instant::now();
            let cert = crate::peer::generate_certificate().unwrap();
            let version = str0m::config::DtlsVersion::Dtls12;
            let build = || keys::provider().dtls_provider.new_dtls(&cert, now, version, None);
            let (ours, cell) = keys::with_cell(build);
            let mut ours = ours.unwrap();
            cell.take_any_certificate();
            ours.set_active(is_client);
            peer.set_active(!is_client);
            Self { ours, cell, peer, now }
        }

        /// Returns what the peer has learnt: our certificate and its keys.
        fn meet(&mut self, is_lost: impl Fn(usize) -> bool) -> Option<(Vec<u8>, Vec<u8>)> {
            let (mut certificate, mut keys, mut sent) = (None, None, 0);
            for _ in 0..40 {
                let _ = self.ours.handle_timeout(self.now);
                let _ = self.peer.handle_timeout(self.now);
                let mut buf = vec![0; RECORD_BYTES_MAX];
                loop {
                    let mut is_idle = true;
                    while let DtlsOutput::Packet(packet) = self.ours.poll_output(&mut buf) {
                        is_idle = false;
                        sent += 1;
                        if !is_lost(sent) {
                            let _ = self.peer.handle_packet(packet);
                        }
                    }
                    loop {
                        match self.peer.poll_output(&mut buf) {
                            DtlsOutput::Packet(packet) => {
                                is_idle = false;
                                let _ = self.ours.handle_packet(packet);
                            }
                            DtlsOutput::PeerCert(bytes) => certificate = Some(bytes.to_vec()),
                            DtlsOutput::KeyingMaterial(bytes, _) => keys = Some(bytes.to_vec()),
                            DtlsOutput::Timeout(_) => break,
                            _ => {}
                        }
                    }
                    if is_idle {
                        break;
                    }
                }
                if self.cell.get().is_some() && keys.is_some() {
                    return certificate.zip(keys);
                }
                self.now += ASK_EVERY;
                // OpenSSL repeats by the system's clock.
                std::thread::sleep(Duration::from_millis(50));
            }
            None
        }
    }

    fn openssl_peer(cert: &DtlsCert) -> Box<dyn DtlsInstance> {
        Box::new(OpensslDtls::new(cert, None, Instant::now()).unwrap())
    }

    #[test]
    fn a_client_with_any_certificate_gets_the_same_keys_and_so_does_a_server() {
        for (is_rsa, is_client) in [(true, false), (false, false), (false, true), (true, true)] {
            let theirs = certificate(is_rsa);
            let mut run = Run::new(openssl_peer(&theirs), is_client);
            let (_, keys) = run.meet(|_| false).expect("they connect");
            assert_eq!(run.cell.get().unwrap().material, keys);
            assert_eq!(run.cell.get().unwrap().is_client, is_client);
            assert_eq!(sha_256(run.cell.certificate().unwrap()), sha_256(&theirs.certificate));
        }
    }

    #[test]
    fn a_lost_flight_is_repeated() {
        let mut run = Run::new(openssl_peer(&certificate(true)), false);
        assert!(run.meet(|sent| sent == 1).is_some());
    }

    #[test]
    fn a_peer_without_a_certificate_is_refused_and_said_so() {
        let mut builder = SslContext::builder(SslMethod::dtls()).unwrap();
        builder.set_tlsext_use_srtp(PROFILES).unwrap();
        let ssl = Ssl::new(&builder.build()).unwrap();
        let mut bare = OpensslDtls::new(&certificate(true), None, Instant::now()).unwrap();
        bare.stream = SslStream::new(ssl, Datagrams::default()).unwrap();
        let mut run = Run::new(Box::new(bare), false);
        assert!(run.meet(|_| false).is_none());
        assert!(run.cell.get().is_none(), "no keys");
        let failure = run.cell.failure().expect("a reason");
        assert!(failure.text.contains("did not return a certificate"), "{}", failure.text);
    }

    #[test]
    fn browsers_keep_the_lean_library() {
        // What our own engine sends as a client is like theirs.
        let now = Instant::now();
        let cert = crate::peer::generate_certificate().unwrap();
        let base = str0m::crypto::from_feature_flags().dtls_provider;
        let version = str0m::config::DtlsVersion::Dtls12;
        let mut lean = base.new_dtls(&cert, now, version, None).unwrap();
        lean.set_active(true);
        lean.handle_timeout(now).unwrap();
        let _ = lean.handle_packet(&[]);
        let mut buf = vec![0; RECORD_BYTES_MAX];
        let DtlsOutput::Packet(hello) = lean.poll_output(&mut buf) else { panic!("no hello") };
        assert!(extensions(hello).is_some_and(|rest| rest.len() > 8), "it is one");
        assert!(!is_wanted(hello));
        let mut other = openssl_peer(&certificate(false));
        other.set_active(true);
        other.handle_timeout(now).unwrap();
        let DtlsOutput::Packet(hello) = other.poll_output(&mut buf) else { panic!("no hello") };
        assert!(is_wanted(hello));
        let hello = hello.to_vec();
        for cut in 0..hello.len() {
            // Whatever it is, it is no panic.
            let _ = is_wanted(&hello[..cut]);
        }
    }
}
