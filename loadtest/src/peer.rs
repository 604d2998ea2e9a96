//! One simulated client: ICE (full, controlling) and DTLS by str0m, everything else by the harness.
//! The only file that names `str0m::Rtc`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::client::{KeySlot, provider, with_slot};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::config::{DtlsCert, DtlsVersion};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Input, Output, Rtc, RtcConfig};

/// Outputs of one step at most.
const OUTPUTS_MAX: usize = 256;

/// See the module's documentation.
pub struct Peer {
    rtc: Rtc,
    /// Where the SRTP keys appear.
    pub keys: KeySlot,
    /// When to call [`Peer::handle_timeout`].
    pub timeout: Instant,
    pending: Option<SdpPendingOffer>,
    mids: Vec<Mid>,
}

/// A way for datagrams out.
pub type Transmit<'a> = &'a mut dyn FnMut(SocketAddr, &[u8]);

impl Peer {
    /// A client that will send and receive at `address`.
    pub fn new(address: SocketAddr, cert: &DtlsCert, now: Instant) -> Self {
        let build = || {
            let mut rtc = RtcConfig::new()
                .set_crypto_provider(Arc::new(provider().clone()))
                .set_dtls_cert(cert.clone())
                .set_dtls_version(DtlsVersion::Dtls12)
                .set_rtp_mode(true)
                .set_rtcp_report_interval_audio(Duration::from_secs(86_400))
                .set_rtcp_report_interval_video(Duration::from_secs(86_400))
                .build(now);
            if let Ok(candidate) = Candidate::host(address, Protocol::Udp) {
                rtc.add_local_candidate(candidate);
            }
            rtc
        };
        let (rtc, keys) = with_slot(build);
        Self { rtc, keys, timeout: now, pending: None, mids: Vec::new() }
    }

    /// An offer that sends audio and video, as wanted.
    pub fn offer(&mut self, audio: bool, video: bool) -> Option<String> {
        let mut changes = self.rtc.sdp_api();
        let wanted = [(MediaKind::Audio, audio, "audio"), (MediaKind::Video, video, "video")];
        for (kind, _, track) in wanted.into_iter().filter(|(_, wanted, _)| *wanted) {
            let (stream, track) = (Some("load".to_owned()), Some(track.to_owned()));
            self.mids.push(changes.add_media(kind, Direction::SendOnly, stream, track, None));
        }
        let (offer, pending) = changes.apply()?;
        self.pending = Some(pending);
        Some(offer.to_sdp_string())
    }

    /// The SSRCs of our media, audio first.
    pub fn ssrcs(&mut self) -> Vec<u32> {
        let mids = self.mids.clone();
        let mut api = self.rtc.direct_api();
        let streams = mids.iter().filter_map(|mid| Some(*api.stream_tx_by_mid(*mid, None)?.ssrc()));
        streams.collect()
    }

    /// Takes the answer to [`Peer::offer`].
    pub fn accept_answer(&mut self, answer: &str, transmit: Transmit<'_>) -> Result<(), String> {
        let pending = self.pending.take().ok_or("an answer without an offer")?;
        let answer = SdpAnswer::from_sdp_string(answer).map_err(|error| error.to_string())?;
        let accepted = self.rtc.sdp_api().accept_answer(pending, answer);
        accepted.map_err(|error| error.to_string())?;
        self.drain(transmit);
        Ok(())
    }

    /// Answers an offer of the server.
    pub fn accept_offer(&mut self, offer: &str, transmit: Transmit<'_>) -> Result<String, String> {
        let offer = SdpOffer::from_sdp_string(offer).map_err(|error| error.to_string())?;
        let answer = self.rtc.sdp_api().accept_offer(offer).map_err(|error| error.to_string())?;
        self.drain(transmit);
        Ok(answer.to_sdp_string())
    }

    /// Takes STUN or DTLS.
    pub fn handle_datagram(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        datagram: &[u8],
        now: Instant,
        transmit: Transmit<'_>,
    ) {
        if let Ok(receive) = Receive::new(Protocol::Udp, from, to, datagram) {
            // What it refuses is the server's fault and shows as a viewer that is not up.
            let _ = self.rtc.handle_input(Input::Receive(now, receive));
            self.drain(transmit);
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant, transmit: Transmit<'_>) {
        let _ = self.rtc.handle_input(Input::Timeout(now));
        self.drain(transmit);
    }

    /// Says goodbye.
    pub fn close(&mut self, transmit: Transmit<'_>) {
        let _ = self.rtc.close();
        self.drain(transmit);
    }

    fn drain(&mut self, transmit: Transmit<'_>) {
        for _ in 0..OUTPUTS_MAX {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.timeout = at;
                    return;
                }
                Ok(Output::Transmit(datagram)) => {
                    let first = datagram.contents.first().copied().unwrap_or(0);
                    if !(128..=191).contains(&first) {
                        transmit(datagram.destination, &datagram.contents);
                    }
                }
                Ok(Output::Event(_)) => {}
                Err(_) => {
                    self.timeout += Duration::from_secs(86_400);
                    return;
                }
            }
        }
    }
}
