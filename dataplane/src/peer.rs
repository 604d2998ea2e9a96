//! The peer engine of one Transport: ICE-lite and DTLS by str0m. This is the only file that names
//! `str0m::Rtc`. The engine never sees RTP or RTCP and has no SRTP keys (see `keys.rs`), nor the
//! descriptions of peers: it is told of one section without media, and negotiation is ours
//! (`agree.rs`), so that nothing in an offer but ICE and DTLS depends on what the engine can read.
//!
//! str0m wants each mutation followed by a full drain; [`Peer::mutate`] is the only way in and
//! does both, with a budget against output loops and behind a barrier against panics: a fault ends
//! this Transport and no other.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::config::{DtlsCert, DtlsVersion};
use str0m::media::{Direction, MediaKind as EngineMediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceCreds, Input, Output, Rtc, RtcConfig, RtcError};

use crate::error::{CloseReason, PeerError};
use crate::fingerprint::{Fingerprints, sha_256};
use crate::keys::{self, KeyCell};
use crate::sdp::Link;
use crate::srtp::DtlsKeys;

/// Outputs of one mutation. A handshake flight has a dozen; more is a loop (str0m #1017).
const OUTPUTS_MAX: usize = 256;
/// The engine has nothing to report; its own reports would never get out anyway.
const REPORT_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// What the engine says of a failure is cut there: a log line is no place for more.
const FAILURE_CHARS_MAX: usize = 200;

/// The engine panicked or span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fault;

/// Why something that was asked of a Transport is not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// By what the peer has said: it is told, and the Transport goes on.
    Peer(PeerError),
    /// By the engine: the Transport has ended.
    Fault,
}

impl From<PeerError> for Refusal {
    fn from(error: PeerError) -> Self {
        Self::Peer(error)
    }
}

impl From<Fault> for Refusal {
    fn from(Fault: Fault) -> Self {
        Self::Fault
    }
}

/// Where the engine's datagrams go: candidate address, remote address, bytes.
pub(crate) type Transmit<'a> = &'a mut dyn FnMut(SocketAddr, SocketAddr, &[u8]);

/// What a drain found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drained {
    /// When to call [`Peer::handle_timeout`] next.
    pub timeout: Option<Instant>,
    /// DTLS is up.
    pub is_connected: bool,
    /// The peer closed DTLS (its close_notify came).
    pub is_closed: bool,
    /// The engine gave up.
    pub is_failed: bool,
    /// Datagrams of RTP or RTCP that the engine made and that were thrown away.
    pub engine_media: u32,
}

/// What a Peer is made from.
pub(crate) struct PeerConfig<'a> {
    /// The process's DTLS certificate.
    pub cert: &'a DtlsCert,
    /// Our user name fragment and password.
    pub credentials: (String, String),
    /// Our candidates, best first.
    pub candidates: &'a [SocketAddr],
    /// The id of the session in our descriptions.
    pub session: u64,
}

/// See the module's documentation.
pub(crate) struct Peer {
    rtc: Rtc,
    keys: KeyCell,
    /// The offer that waits for its answer, if there is one.
    pending: Option<Pending>,
    credentials: IceCreds,
    /// How often ICE has been restarted.
    restarts: u32,
    /// The peer's credentials, once known.
    remote: Option<(String, String)>,
    fingerprints: Fingerprints,
    /// Whether we begin the DTLS handshake, once decided.
    is_dtls_client: Option<bool>,
    /// The mid of the one section that the engine knows of.
    engine_mid: Option<String>,
    origin: (u64, u64),
    own_fingerprint: String,
    /// What the engine said when it gave up.
    failure: String,
    is_faulty: bool,
}

/// An offer of ours that waits for its answer.
struct Pending {
    /// What the engine waits for: nothing if only sections have changed.
    engine: Option<SdpPendingOffer>,
    /// Our credentials, if the offer restarts ICE.
    credentials: Option<IceCreds>,
}

/// A certificate for all Transports of the process.
pub fn generate_certificate() -> Option<DtlsCert> {
    keys::provider().dtls_provider.generate_certificate()
}

impl Peer {
    /// Builds the engine, ICE-lite and DTLS 1.2: as a 1.2 server it chooses AES-GCM even if the
    /// client lists AES_CM first, which halves the cost of every packet.
    pub(crate) fn new(config: &PeerConfig<'_>, now: Instant) -> Result<Self, PeerError> {
        let (ufrag, pass) = config.credentials.clone();
        let credentials = IceCreds { ufrag, pass };
        let build = || {
            let rtc_config = RtcConfig::new()
                .set_crypto_provider(Arc::new(keys::provider().clone()))
                .set_dtls_cert(config.cert.clone())
                .set_dtls_version(DtlsVersion::Dtls12)
                .set_local_ice_credentials(credentials.clone())
                .set_ice_lite(true)
                .set_rtp_mode(true)
                .set_rtcp_report_interval_audio(REPORT_INTERVAL)
                .set_rtcp_report_interval_video(REPORT_INTERVAL)
                .set_stats_interval(None)
                // It never sends media, so it needs no room to keep any.
                .set_send_buffer_audio(1)
                .set_send_buffer_video(1)
                // Certificates may be named by other hashes than the one it knows: see
                // `fingerprint.rs`.
                .set_fingerprint_verification(false)
                .clear_codecs()
                .enable_opus(true, false);
            let mut rtc = rtc_config.build(now);
            for address in config.candidates {
                if let Ok(candidate) = Candidate::host(*address, Protocol::Udp) {
                    rtc.add_local_candidate(candidate);
                }
            }
            rtc
        };
        let (built, keys) = keys::with_cell(|| catch_unwind(AssertUnwindSafe(build)));
        Ok(Self {
            rtc: built.map_err(|_| PeerError::SdpUnusable)?,
            keys,
            pending: None,
            credentials,
            restarts: 0,
            remote: None,
            fingerprints: Fingerprints::default(),
            is_dtls_client: None,
            engine_mid: None,
            origin: (config.session, 0),
            own_fingerprint: sha_256(&config.cert.certificate),
            failure: String::new(),
            is_faulty: false,
        })
    }

    /// Our current user name fragment and password.
    pub(crate) fn credentials(&self) -> (&str, &str) {
        (&self.credentials.ufrag, &self.credentials.pass)
    }

    /// How often ICE has been restarted.
    pub(crate) fn restarts(&self) -> u32 {
        self.restarts
    }

    /// The peer's user name fragment and password, once known.
    pub(crate) fn remote_credentials(&self) -> Option<(&str, &str)> {
        self.remote.as_ref().map(|(ufrag, password)| (ufrag.as_str(), password.as_str()))
    }

    /// The SRTP keys, once the handshake is done; an error if the peer has shown another
    /// certificate than its description names.
    pub(crate) fn keys(&self) -> Option<Result<&DtlsKeys, CloseReason>> {
        let keys = self.keys.get()?;
        let certificate = self.keys.certificate();
        let is_named = certificate.is_some_and(|certificate| self.fingerprints.names(certificate));
        Some(if is_named { Ok(keys) } else { Err(CloseReason::WrongCertificate) })
    }

    /// What the engine said when it gave up; empty if it has not.
    pub(crate) fn failure(&self) -> &str {
        match self.keys.failure() {
            Some(failure) if self.failure.is_empty() => &failure.text,
            _ => &self.failure,
        }
    }

    /// Why it has ended, if not by a word of the peer.
    pub(crate) fn failure_reason(&self) -> CloseReason {
        match self.keys.failure() {
            Some(failure) if failure.is_of_certificate => CloseReason::CertificateUnusable,
            _ => CloseReason::DtlsFailed,
        }
    }

    /// Our certificate's fingerprint, as `a=fingerprint` has it.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.own_fingerprint
    }

    /// The id and the version of the next description.
    pub(crate) fn next_origin(&mut self) -> (u64, u64) {
        self.origin.1 += 1;
        self.origin
    }

    /// The value of `a=setup` in our descriptions.
    pub(crate) fn setup(&self) -> &'static str {
        match self.is_dtls_client {
            // RFC 8829 s5.2.2: also in later offers.
            None => "actpass",
            Some(true) => "active",
            Some(false) => "passive",
        }
    }

    /// Whether an offer of ours waits for its answer.
    pub(crate) fn has_offer_outstanding(&self) -> bool {
        self.pending.is_some()
    }

    /// Takes the ICE and DTLS part of an offer; what we answer is in [`Self::credentials`] and
    /// [`Self::setup`] then. `fresh` are the credentials to use should the offer restart ICE.
    pub(crate) fn accept_offer(
        &mut self,
        link: &Link,
        fresh: (String, String),
        now: Instant,
        transmit: Transmit<'_>,
    ) -> Result<Drained, Refusal> {
        let (remote, is_client) = self.read_link(link)?;
        if is_client {
            // Encoders alone insist on being the server, and what it will show us nobody says beforehand.
            self.keys.take_any_certificate();
        }
        let mid = self.engine_mid.clone().unwrap_or_else(|| "0".to_owned());
        let text = engine_description(&mid, &remote, is_client);
        let offer = parse(|| SdpOffer::from_sdp_string(&text).ok())?;
        let (answered, drained) =
            self.mutate(now, transmit, |rtc| rtc.sdp_api().accept_offer(offer).map(|_| ()))?;
        answered.map_err(|_| PeerError::SdpUnusable)?;
        self.engine_mid = Some(mid);
        self.adopt_link(link, remote, is_client);
        if self.rtc.direct_api().local_ice_credentials() != self.credentials {
            // The engine has invented credentials for the restart; ours name the shard and slot.
            let (ufrag, pass) = fresh;
            self.credentials = IceCreds { ufrag, pass };
            self.restarts += 1;
            self.rtc.direct_api().set_local_ice_credentials(self.credentials.clone());
        }
        Ok(drained)
    }

    /// Begins an offer, which restarts ICE if `fresh` credentials are given. Returns the
    /// credentials to put into it.
    pub(crate) fn offer(
        &mut self,
        fresh: Option<(String, String)>,
        now: Instant,
        transmit: Transmit<'_>,
    ) -> Result<(String, String), Fault> {
        // An offer that got no usable answer has left the engine as it was.
        let is_first = self.is_dtls_client.is_none();
        let is_restart = fresh.is_some() && !is_first;
        let mut engine = None;
        if is_first || is_restart {
            let (made, _) = self.mutate(now, transmit, |rtc| {
                let mut changes = rtc.sdp_api();
                let mid = is_first.then(|| {
                    let kind = EngineMediaKind::Audio;
                    changes.add_media(kind, Direction::Inactive, None, None, None).to_string()
                });
                if is_restart {
                    changes.ice_restart(true);
                }
                Some((changes.apply()?.1, mid))
            })?;
            let (pending, mid) = made.ok_or(Fault)?;
            engine = Some(pending);
            self.engine_mid = mid.or_else(|| self.engine_mid.take());
        }
        let fresh = fresh.map(|(ufrag, pass)| IceCreds { ufrag, pass });
        let IceCreds { ufrag, pass } = fresh.as_ref().unwrap_or(&self.credentials).clone();
        if let (true, Some(fresh)) = (is_first, &fresh) {
            self.credentials = fresh.clone();
            self.rtc.direct_api().set_local_ice_credentials(fresh.clone());
        }
        self.pending = Some(Pending { engine, credentials: fresh.filter(|_| is_restart) });
        Ok((ufrag, pass))
    }

    /// The peer has answered that it wants nothing: the exchange is over, and nothing has changed.
    pub(crate) fn drop_offer(&mut self) {
        self.pending = None;
    }

    /// Takes the ICE and DTLS part of the answer to the last offer. A refused answer ends the
    /// exchange.
    pub(crate) fn accept_answer(
        &mut self,
        link: &Link,
        now: Instant,
        transmit: Transmit<'_>,
    ) -> Result<Drained, Refusal> {
        let Some(Pending { engine, credentials }) = self.pending.take() else {
            return Err(PeerError::NoOfferOutstanding.into());
        };
        let (remote, is_client) = self.read_link(link)?;
        let Some(engine) = engine else {
            return Ok(Drained::default());
        };
        let mid = self.engine_mid.clone().unwrap_or_default();
        let text = engine_description(&mid, &remote, is_client);
        let answer = parse(|| SdpAnswer::from_sdp_string(&text).ok())?;
        let (accepted, drained) =
            self.mutate(now, transmit, |rtc| rtc.sdp_api().accept_answer(engine, answer))?;
        accepted.map_err(|_| PeerError::SdpUnusable)?;
        self.adopt_link(link, remote, is_client);
        if let Some(fresh) = credentials {
            self.credentials = fresh;
            self.restarts += 1;
            self.rtc.direct_api().set_local_ice_credentials(self.credentials.clone());
        }
        Ok(drained)
    }

    /// What a description says of ICE and DTLS, as far as it is new: the remote credentials, and
    /// whether we begin the handshake.
    fn read_link(&self, link: &Link) -> Result<((String, String), bool), PeerError> {
        let (Some(ufrag), Some(pwd)) = (&link.ufrag, &link.pwd) else {
            return Err(PeerError::NoCredentials);
        };
        if !link.has_mux {
            return Err(PeerError::NoRtcpMux);
        }
        self.fingerprints.check(&link.fingerprints)?;
        let is_client = match link.setup.as_deref() {
            Some("holdconn") => return Err(PeerError::SetupUnusable),
            Some("passive") => true,
            // RFC 5763 s5: who says nothing is active.
            Some("active") | None => false,
            Some(_) => self.is_dtls_client.unwrap_or(false),
        };
        if self.is_dtls_client.is_some_and(|before| before != is_client) {
            return Err(PeerError::SetupUnusable);
        }
        Ok(((ufrag.clone(), pwd.clone()), is_client))
    }

    fn adopt_link(&mut self, link: &Link, remote: (String, String), is_client: bool) {
        self.remote = Some(remote);
        self.is_dtls_client = Some(is_client);
        self.fingerprints.adopt(&link.fingerprints);
    }

    /// Takes an authenticated STUN message or a DTLS record from a validated address.
    /// `destination` must be one of our candidates: the engine drops what is not.
    pub(crate) fn handle_datagram(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        datagram: &[u8],
        now: Instant,
        transmit: Transmit<'_>,
    ) -> Result<Drained, Fault> {
        let Ok(receive) = Receive::new(Protocol::Udp, source, destination, datagram) else {
            return Ok(Drained { timeout: Some(now), ..Drained::default() });
        };
        // What came is taken in by the first input, and answered by the second.
        let (handled, first) =
            self.mutate(now, &mut *transmit, |rtc| rtc.handle_input(Input::Receive(now, receive)))?;
        let (looked, mut drained) =
            self.mutate(now, transmit, |rtc| rtc.handle_input(Input::Timeout(now)))?;
        drained.is_closed |= first.is_closed;
        drained.is_failed |= handled.is_err() || looked.is_err() || first.is_failed;
        drained.is_connected |= first.is_connected;
        drained.engine_media += first.engine_media;
        Ok(drained)
    }

    /// Lets time pass.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        transmit: Transmit<'_>,
    ) -> Result<Drained, Fault> {
        let (handled, mut drained) =
            self.mutate(now, transmit, |rtc| rtc.handle_input(Input::Timeout(now)))?;
        drained.is_failed |= handled.is_err();
        Ok(drained)
    }

    /// Says goodbye (DTLS close_notify).
    pub(crate) fn close(&mut self, now: Instant, transmit: Transmit<'_>) {
        // Whatever comes of it, the Transport ends.
        let _ = self.mutate(now, transmit, |rtc| rtc.close());
    }

    /// One mutation, one drain.
    fn mutate<T>(
        &mut self,
        now: Instant,
        transmit: Transmit<'_>,
        change: impl FnOnce(&mut Rtc) -> T,
    ) -> Result<(T, Drained), Fault> {
        if self.is_faulty {
            return Err(Fault);
        }
        let rtc = &mut self.rtc;
        let step = AssertUnwindSafe(|| {
            let value = change(rtc);
            let mut said = String::new();
            let mut drained = drain(
                || rtc.poll_output().inspect_err(|error| said = error.to_string()),
                now,
                transmit,
            )?;
            drained.is_failed |= !rtc.is_alive();
            Ok((value, drained, said))
        });
        let done = catch_unwind(step).unwrap_or(Err(Fault)).map(|(value, drained, said)| {
            if !said.is_empty() {
                self.failure = said.chars().take(FAILURE_CHARS_MAX).collect();
            }
            (value, drained)
        });
        // A Rtc that has panicked may be in any state: nothing touches it again.
        self.is_faulty = done.is_err();
        done
    }

    /// Ends the engine without a word from the peer.
    #[cfg(test)]
    pub(crate) fn inject_failure(&mut self) {
        self.rtc.disconnect();
    }

    /// Makes the next step panic or spin, as str0m has done before (#983, #1017).
    #[cfg(test)]
    pub(crate) fn inject_fault(&mut self, now: Instant) -> Result<(), Fault> {
        self.mutate(now, &mut |_, _, _| {}, |_| panic!("injected")).map(|((), _)| ())
    }
}

/// Parses a description behind a barrier of its own: a panic in the parser is the description's
/// fault and no reason to give up the Transport.
fn parse<T>(parser: impl FnOnce() -> Option<T>) -> Result<T, PeerError> {
    let parsed = catch_unwind(AssertUnwindSafe(parser)).ok().flatten();
    parsed.ok_or(PeerError::SdpSyntax { line: 0 })
}

fn drain(
    mut poll: impl FnMut() -> Result<Output, RtcError>,
    now: Instant,
    transmit: Transmit<'_>,
) -> Result<Drained, Fault> {
    let mut drained = Drained::default();
    for _ in 0..OUTPUTS_MAX {
        match poll() {
            Ok(Output::Timeout(at)) => {
                // A timeout that is due now is taken at the next tick, not in a loop.
                drained.timeout = Some(at.max(now + Duration::from_millis(1)));
                return Ok(drained);
            }
            Ok(Output::Transmit(datagram)) => {
                // The second guard against engine RTP and RTCP (RFC 7983: 128..=191). It has no
                // keys, so it cannot even make one; see the test that proves it.
                let first = datagram.contents.first().copied().unwrap_or(0);
                if (128..=191).contains(&first) {
                    drained.engine_media += 1;
                } else {
                    transmit(datagram.source, datagram.destination, &datagram.contents);
                }
            }
            Ok(Output::Event(Event::Connected)) => drained.is_connected = true,
            Ok(Output::Event(Event::Closed)) => drained.is_closed = true,
            Ok(Output::Event(_)) => {}
            Err(_) => {
                drained.is_failed = true;
                return Ok(drained);
            }
        }
    }
    Err(Fault)
}

/// A peer as the engine sees it: one section that carries nothing, with the peer's ICE and DTLS.
/// The fingerprint is a filler, because certificates are checked elsewhere.
fn engine_description(mid: &str, remote: &(String, String), is_client: bool) -> String {
    let (ufrag, pwd) = remote;
    let setup = if is_client { "passive" } else { "active" };
    let filler = ["00"; 32].join(":");
    format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mid}\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\n\
         a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=fingerprint:sha-256 {filler}\r\n\
         a=setup:{setup}\r\na=inactive\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row 45: an engine that never comes to its timeout.
    #[test]
    fn an_endless_loop_of_outputs_is_a_fault_after_the_budget() {
        let mut polls = 0;
        let spin = || {
            polls += 1;
            Ok(Output::Event(Event::Connected))
        };
        assert_eq!(drain(spin, Instant::now(), &mut |_, _, _| {}), Err(Fault));
        assert_eq!(polls, OUTPUTS_MAX);
    }
}
