//! One simulated client: ICE (full, controlling) and DTLS by str0m, everything else by the harness.
//! The only file that names `str0m::Rtc`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::Codec;
use dataplane::client::{Extension, KeyCell, provider, with_cell};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::config::{DtlsCert, DtlsVersion};
use str0m::media::{Direction, MediaKind, Mid, Rid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension as PeerExtension, ExtensionSerializer, ExtensionValues};
use str0m::{Candidate, Input, Output, Rtc, RtcConfig};

use crate::load::Load;
use crate::publisher::SIMULCAST;

/// Outputs of one step at most.
const OUTPUTS_MAX: usize = 256;

/// See the module's documentation.
pub(crate) struct Peer {
    rtc: Rtc,
    /// Where the SRTP keys appear.
    pub keys: KeyCell,
    /// When to call [`Peer::handle_timeout`].
    pub timeout: Instant,
    pending: Option<SdpPendingOffer>,
    mids: Vec<Mid>,
}

/// A way for datagrams out.
pub(crate) type Transmit<'a> = &'a mut dyn FnMut(SocketAddr, &[u8]);

impl Peer {
    /// A client that will send and receive at `address`; a publisher knows its own video codec
    /// only, a viewer all.
    pub(crate) fn new(
        address: SocketAddr,
        cert: &DtlsCert,
        video: Option<Codec>,
        now: Instant,
    ) -> Self {
        let dependency = Extension::DependencyDescriptor;
        let build = || {
            let mut config = RtcConfig::new()
                .set_crypto_provider(Arc::new(provider().clone()))
                .set_dtls_cert(cert.clone())
                .set_dtls_version(DtlsVersion::Dtls12)
                .set_rtp_mode(true)
                .set_extension(
                    dependency.id(),
                    PeerExtension::with_serializer(dependency.uri(), NegotiatedOnly),
                )
                .set_rtcp_report_interval_audio(Duration::from_secs(86_400))
                .set_rtcp_report_interval_video(Duration::from_secs(86_400));
            let is_wanted = |codec| video.is_none_or(|video| video == codec);
            config = config
                .enable_vp8(is_wanted(Codec::Vp8))
                .enable_vp9(is_wanted(Codec::Vp9))
                .enable_h264(is_wanted(Codec::H264))
                .enable_av1(is_wanted(Codec::Av1));
            let mut rtc = config.build(now);
            if let Ok(candidate) = Candidate::host(address, Protocol::Udp) {
                rtc.add_local_candidate(candidate);
            }
            rtc
        };
        let (rtc, keys) = with_cell(build);
        Self { rtc, keys, timeout: now, pending: None, mids: Vec::new() }
    }

    /// An offer that sends what the load wants, audio first.
    pub(crate) fn offer(&mut self, load: &Load) -> Option<String> {
        let simulcast = load.simulcast.then(|| Simulcast {
            send: SIMULCAST.iter().map(|(rid, _)| SimulcastLayer::new(rid)).collect(),
            recv: Vec::new(),
        });
        let audio = load.audio.then_some((MediaKind::Audio, "audio", None));
        let video = (load.video_bps > 0).then_some((MediaKind::Video, "video", simulcast));
        let mut changes = self.rtc.sdp_api();
        for (kind, track, simulcast) in audio.into_iter().chain(video) {
            let (stream, track) = (Some("load".to_owned()), Some(track.to_owned()));
            let mid = changes.add_media(kind, Direction::SendOnly, stream, track, simulcast);
            self.mids.push(mid);
        }
        let (offer, pending) = changes.apply()?;
        self.pending = Some(pending);
        Some(offer.to_sdp_string())
    }

    /// An offer that receives audio and video of so many publishers; of one, should there be none
    /// yet: then the viewers only stay connected.
    pub(crate) fn offer_to_receive(&mut self, publishers: usize) -> Option<String> {
        let mut changes = self.rtc.sdp_api();
        for _ in 0..publishers.max(1) {
            for kind in [MediaKind::Audio, MediaKind::Video] {
                self.mids.push(changes.add_media(kind, Direction::RecvOnly, None, None, None));
            }
        }
        let (offer, pending) = changes.apply()?;
        self.pending = Some(pending);
        Some(offer.to_sdp_string())
    }

    /// Our SSRC for an m-section of [`Peer::offer`], and a rid in simulcast.
    pub(crate) fn ssrc(&mut self, section: usize, rid: &str) -> Option<u32> {
        let mid = *self.mids.get(section)?;
        let rid = (!rid.is_empty()).then(|| Rid::from(rid));
        Some(*self.rtc.direct_api().stream_tx_by_mid(mid, rid)?.ssrc())
    }

    /// Takes the answer to [`Peer::offer`].
    pub(crate) fn accept_answer(
        &mut self,
        answer: &str,
        transmit: Transmit<'_>,
    ) -> Result<(), String> {
        let pending = self.pending.take().ok_or("an answer without an offer")?;
        let answer = SdpAnswer::from_sdp_string(answer).map_err(|error| error.to_string())?;
        let accepted = self.rtc.sdp_api().accept_answer(pending, answer);
        accepted.map_err(|error| error.to_string())?;
        self.drain(transmit);
        Ok(())
    }

    /// Answers an offer of the server.
    pub(crate) fn accept_offer(
        &mut self,
        offer: &str,
        transmit: Transmit<'_>,
    ) -> Result<String, String> {
        let offer = SdpOffer::from_sdp_string(offer).map_err(|error| error.to_string())?;
        let answer = self.rtc.sdp_api().accept_offer(offer).map_err(|error| error.to_string())?;
        self.drain(transmit);
        Ok(answer.to_sdp_string())
    }

    /// Takes STUN or DTLS.
    pub(crate) fn handle_datagram(
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

    pub(crate) fn handle_timeout(&mut self, now: Instant, transmit: Transmit<'_>) {
        let _ = self.rtc.handle_input(Input::Timeout(now));
        self.drain(transmit);
    }

    pub(crate) fn close(&mut self, transmit: Transmit<'_>) {
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

/// An extension that the engine negotiates and never reads or writes: it sees no packets.
#[derive(Debug)]
struct NegotiatedOnly;

impl ExtensionSerializer for NegotiatedOnly {
    fn write_to(&self, _buf: &mut [u8], _values: &ExtensionValues) -> usize {
        0
    }

    fn parse_value(&self, _buf: &[u8], _values: &mut ExtensionValues) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }

    fn is_video(&self) -> bool {
        true
    }
}
