//! The peer engine of one Transport: SDP, ICE-lite and DTLS by str0m. This is the only file that
//! names `str0m::Rtc`. The engine never sees RTP or RTCP and has no SRTP keys (see `keys.rs`).
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
use str0m::format::{Codec as PeerCodec, FormatParams};
use str0m::media::{Direction, Frequency, MediaKind as PeerMediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{
    Extension as PeerExtension, ExtensionMap, ExtensionSerializer, ExtensionValues, Ssrc,
};
use str0m::{Candidate, Event, IceCreds, Input, Output, Rtc, RtcConfig, RtcError};

use crate::api::{Codec, MediaKind};
use crate::error::PeerError;
use crate::extension::Extension;
use crate::keys::{self, KeySlot};

/// Outputs of one mutation. A handshake flight has a dozen; more is a loop (str0m #1017).
const OUTPUTS_MAX: usize = 256;
/// The engine has nothing to report; its own reports would never get out anyway.
const REPORT_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// The engine panicked or span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault;

/// Where the engine's datagrams go: candidate address, remote address, bytes.
pub type Transmit<'a> = &'a mut dyn FnMut(SocketAddr, SocketAddr, &[u8]);

/// What a drain found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
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
pub struct PeerConfig<'a> {
    /// The process's DTLS certificate.
    pub cert: &'a DtlsCert,
    /// Our user name fragment and password.
    pub credentials: (String, String),
    /// Our candidates, best first.
    pub candidates: &'a [SocketAddr],
    /// The codecs that may be negotiated, with `a=fmtp` parameters where they are fixed.
    pub codecs: &'a [(Codec, Option<&'a str>)],
}

/// One m-section that we offer.
pub struct OfferedSection<'a> {
    /// Audio or video.
    pub kind: MediaKind,
    /// `a=msid` stream id.
    pub stream_id: &'a str,
    /// `a=msid` track id.
    pub track_id: &'a str,
}

/// See the module's documentation.
pub struct Peer {
    rtc: Rtc,
    keys: KeySlot,
    pending: Option<SdpPendingOffer>,
    /// Our credentials for the offer that is pending, if it restarts ICE.
    pending_credentials: Option<IceCreds>,
    credentials: IceCreds,
    /// Sending streams that were taken out of the engine, which has no use for them between two
    /// negotiations but keeps room for what it might have to send again.
    senders: Vec<(Mid, Ssrc, Option<Ssrc>)>,
    /// In offers we speak of sections by these.
    cname: String,
    is_faulty: bool,
}

/// A certificate for all Transports of the process.
pub fn generate_certificate() -> Option<DtlsCert> {
    keys::provider().dtls_provider.generate_certificate()
}

impl Peer {
    /// Builds the engine, ICE-lite and DTLS 1.2: as a 1.2 server it chooses AES-GCM even if the
    /// client lists AES_CM first, which halves the cost of every packet.
    pub fn new(config: &PeerConfig<'_>, now: Instant) -> Result<Self, PeerError> {
        let (ufrag, pass) = config.credentials.clone();
        let credentials = IceCreds { ufrag, pass };
        let build = || {
            let mut rtc_config = RtcConfig::new()
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
                .set_extension_map(extension_map())
                .clear_codecs();
            for (codec, fmtp) in config.codecs {
                add_codec(&mut rtc_config, *codec, *fmtp);
            }
            let mut rtc = rtc_config.build(now);
            for address in config.candidates {
                if let Ok(candidate) = Candidate::host(*address, Protocol::Udp) {
                    rtc.add_local_candidate(candidate);
                }
            }
            rtc
        };
        let (built, keys) = keys::with_slot(|| catch_unwind(AssertUnwindSafe(build)));
        Ok(Self {
            rtc: built.map_err(|_| PeerError::SdpUnusable)?,
            keys,
            pending: None,
            pending_credentials: None,
            credentials,
            senders: Vec::new(),
            cname: String::new(),
            is_faulty: false,
        })
    }

    /// Our current user name fragment and password.
    pub fn credentials(&self) -> (&str, &str) {
        (&self.credentials.ufrag, &self.credentials.pass)
    }

    /// The SRTP keys, once the handshake is done.
    pub fn keys(&self) -> &KeySlot {
        &self.keys
    }

    /// Whether an offer of ours waits for its answer.
    pub fn has_offer_outstanding(&self) -> bool {
        self.pending.is_some()
    }

    /// Takes an offer and returns our answer, with all tracks in the MediaStream `msid` if we
    /// send any. `fresh` are the credentials to use should the offer restart ICE.
    pub fn accept_offer(
        &mut self,
        offer: &str,
        fresh: (String, String),
        msid: Option<&str>,
        now: Instant,
        transmit: Transmit<'_>,
    ) -> Result<(String, Drained), Result<PeerError, Fault>> {
        let offer = parse(|| SdpOffer::from_sdp_string(offer).ok())?;
        self.wake_senders();
        let (answered, drained) = self
            .mutate(now, transmit, |rtc| {
                rtc.sdp_api().accept_offer(offer).map(|answer| answer.to_sdp_string())
            })
            .map_err(Err)?;
        if let Ok(answer) = &answered {
            self.rest_senders(answer);
        }
        let mut answer = answered.map_err(|_| Ok(PeerError::SdpUnusable))?;
        let local = self.rtc.direct_api().local_ice_credentials();
        if local != self.credentials {
            // The engine has invented credentials for the restart; ours name the shard and slot.
            let (ufrag, pass) = fresh;
            answer = answer.replace(&local.ufrag, &ufrag).replace(&local.pass, &pass);
            self.credentials = IceCreds { ufrag, pass };
            self.rtc.direct_api().set_local_ice_credentials(self.credentials.clone());
        }
        Ok((finish_description(&answer, msid, msid), drained))
    }

    /// Makes an offer that adds `add`, sets directions of existing sections by mid, and restarts
    /// ICE if `fresh` credentials are given. Returns the offer and the mids of `add`; `None` if
    /// there is nothing to negotiate.
    pub fn offer(
        &mut self,
        add: &[OfferedSection<'_>],
        directions: &[(&str, bool)],
        fresh: Option<(String, String)>,
        now: Instant,
        transmit: Transmit<'_>,
    ) -> Result<Option<(String, Vec<String>)>, Fault> {
        if let Some(section) = add.first() {
            section.stream_id.clone_into(&mut self.cname);
        }
        self.wake_senders();
        let (made, _) = self.mutate(now, transmit, |rtc| {
            let mut changes = rtc.sdp_api();
            for (mid, sends) in directions {
                let direction = if *sends { Direction::SendOnly } else { Direction::Inactive };
                changes.set_direction(Mid::from(*mid), direction);
            }
            let mids: Vec<String> = add
                .iter()
                .map(|section| {
                    let kind = match section.kind {
                        MediaKind::Audio => PeerMediaKind::Audio,
                        MediaKind::Video => PeerMediaKind::Video,
                    };
                    let (stream, track) = (section.stream_id.into(), section.track_id.into());
                    changes
                        .add_media(kind, Direction::SendOnly, Some(stream), Some(track), None)
                        .to_string()
                })
                .collect();
            let invented = fresh.is_some().then(|| changes.ice_restart(true));
            let (offer, pending) = changes.apply()?;
            Some((offer.to_sdp_string(), pending, mids, invented))
        })?;
        let Some((mut offer, pending, mids, invented)) = made else {
            return Ok(None);
        };
        if let (Some(invented), Some((ufrag, pass))) = (invented, fresh) {
            offer = offer.replace(&invented.ufrag, &ufrag).replace(&invented.pass, &pass);
            self.pending_credentials = Some(IceCreds { ufrag, pass });
        }
        self.pending = Some(pending);
        Ok(Some((finish_description(&offer, Some(&self.cname), None), mids)))
    }

    /// Takes the answer to the last offer.
    pub fn accept_answer(
        &mut self,
        answer: &str,
        now: Instant,
        transmit: Transmit<'_>,
    ) -> Result<Drained, Result<PeerError, Fault>> {
        if self.pending.is_none() {
            return Err(Ok(PeerError::NoOfferOutstanding));
        }
        let text = answer;
        let answer = parse(|| SdpAnswer::from_sdp_string(text).ok())?;
        // A refused answer ends the exchange: str0m takes the pending offer by value.
        let Some(pending) = self.pending.take() else {
            return Err(Ok(PeerError::NoOfferOutstanding));
        };
        let (accepted, drained) = self
            .mutate(now, transmit, |rtc| rtc.sdp_api().accept_answer(pending, answer))
            .map_err(Err)?;
        accepted.map_err(|_| Ok(PeerError::SdpUnusable))?;
        self.rest_senders(text);
        if let Some(fresh) = self.pending_credentials.take() {
            self.credentials = fresh;
            self.rtc.direct_api().set_local_ice_credentials(self.credentials.clone());
        }
        Ok(drained)
    }

    /// Takes an authenticated STUN message or a DTLS record from a validated address.
    /// `destination` must be one of our candidates: the engine drops what is not.
    pub fn handle_datagram(
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
    pub fn handle_timeout(
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
    pub fn close(&mut self, now: Instant, transmit: Transmit<'_>) {
        // Whatever comes of it, the Transport ends.
        let _ = self.mutate(now, transmit, |rtc| rtc.close());
    }

    /// Puts sending streams back for a negotiation, which names their SSRCs.
    fn wake_senders(&mut self) {
        let senders = std::mem::take(&mut self.senders);
        self.guarded(|rtc| {
            for (mid, ssrc, rtx) in senders {
                // The engine panics if the section is gone.
                if rtc.media(mid).is_some() {
                    rtc.direct_api().declare_stream_tx(ssrc, rtx, mid, None);
                }
            }
        });
    }

    /// Takes the sending streams of a description's sections out of the engine.
    fn rest_senders(&mut self, description: &str) {
        let mids = description.lines().filter_map(|line| line.strip_prefix("a=mid:"));
        let mids: Vec<Mid> = mids.map(|mid| Mid::from(mid.trim_end())).collect();
        let mut senders = Vec::new();
        self.guarded(|rtc| {
            for mid in mids {
                let mut api = rtc.direct_api();
                let Some(stream) = api.stream_tx_by_mid(mid, None) else { continue };
                let (ssrc, rtx) = (stream.ssrc(), stream.rtx());
                api.remove_stream_tx(ssrc);
                senders.push((mid, ssrc, rtx));
            }
        });
        self.senders.append(&mut senders);
    }

    /// A change that has no outputs, behind the same barrier against panics.
    fn guarded(&mut self, change: impl FnOnce(&mut Rtc)) {
        let rtc = &mut self.rtc;
        self.is_faulty |= catch_unwind(AssertUnwindSafe(|| change(rtc))).is_err();
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
            let mut drained = drain(|| rtc.poll_output(), now, transmit)?;
            drained.is_failed |= !rtc.is_alive();
            Ok((value, drained))
        });
        let done = catch_unwind(step).unwrap_or(Err(Fault));
        // A Rtc that has panicked may be in any state: nothing touches it again.
        self.is_faulty = done.is_err();
        done
    }

    /// Ends the engine without a word from the peer.
    #[cfg(test)]
    pub fn inject_failure(&mut self) {
        self.rtc.disconnect();
    }

    /// Makes the next step panic or spin, as str0m has done before (#983, #1017).
    #[cfg(test)]
    pub fn inject_fault(&mut self, now: Instant) -> Result<(), Fault> {
        self.mutate(now, &mut |_, _, _| {}, |_| panic!("injected")).map(|((), _)| ())
    }
}

/// Parses a description behind a barrier of its own: a panic in the parser is the description's
/// fault and no reason to give up the Transport.
fn parse<T>(parser: impl FnOnce() -> Option<T>) -> Result<T, Result<PeerError, Fault>> {
    let parsed = catch_unwind(AssertUnwindSafe(parser)).ok().flatten();
    parsed.ok_or(Ok(PeerError::SdpSyntax { line: 0 }))
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

/// What the engine's description lacks: the end of our candidates, since there is no server
/// trickle, one CNAME for all that belongs together (RFC 8834 s4.9), and one MediaStream.
fn finish_description(sdp: &str, cname: Option<&str>, msid: Option<&str>) -> String {
    let mut out = String::with_capacity(sdp.len() + 256);
    let mut lines = sdp.lines().peekable();
    while let Some(line) = lines.next() {
        match (cname, line.split_once(" cname:")) {
            (Some(cname), Some((ssrc, _))) if ssrc.starts_with("a=ssrc:") => {
                out.push_str(ssrc);
                out.push_str(" cname:");
                out.push_str(cname);
            }
            _ => match msid.and_then(|msid| with_msid(line, msid)) {
                Some(line) => out.push_str(&line),
                None => out.push_str(line),
            },
        }
        out.push_str("\r\n");
        let ends_candidates = line.starts_with("a=candidate:")
            && lines.peek().is_none_or(|next| !next.starts_with("a=candidate:"));
        if ends_candidates {
            out.push_str("a=end-of-candidates\r\n");
        }
    }
    out
}

/// A line that names a MediaStream (RFC 8830) with another stream's name.
fn with_msid(line: &str, msid: &str) -> Option<String> {
    let at = match line.strip_prefix("a=msid:") {
        Some(_) => "a=msid:".len(),
        None if line.starts_with("a=ssrc:") => line.find(" msid:")? + " msid:".len(),
        None => {
            let line = line.strip_prefix("a=msid-semantic:")?;
            return line.contains("WMS").then(|| format!("a=msid-semantic: WMS {msid}"));
        }
    };
    let (head, ids) = line.split_at(at);
    let (_, track) = ids.split_once(' ')?;
    Some(format!("{head}{msid} {track}"))
}

fn extension_map() -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    for extension in Extension::ALL {
        map.set(
            extension.id(),
            match extension {
                Extension::AudioLevel => PeerExtension::AudioLevel,
                Extension::AbsSendTime => PeerExtension::AbsoluteSendTime,
                Extension::Twcc => PeerExtension::TransportSequenceNumber,
                Extension::Mid => PeerExtension::RtpMid,
                Extension::VideoOrientation => PeerExtension::VideoOrientation,
                Extension::PlayoutDelay => PeerExtension::PlayoutDelay,
                Extension::AbsCaptureTime => PeerExtension::AbsoluteCaptureTime,
                Extension::DependencyDescriptor => {
                    PeerExtension::with_serializer(extension.uri(), NegotiatedOnly)
                }
                Extension::Rid => PeerExtension::RtpStreamId,
                Extension::RepairedRid => PeerExtension::RepairedRtpStreamId,
            },
        );
    }
    map
}

/// An extension that the engine negotiates and never reads or writes, as it sees no packets.
#[derive(Debug)]
struct NegotiatedOnly;

impl ExtensionSerializer for NegotiatedOnly {
    fn write_to(&self, _buf: &mut [u8], _values: &ExtensionValues) -> usize {
        0
    }

    fn parse_value(&self, _buf: &[u8], _values: &mut ExtensionValues) -> bool {
        false
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }
}

/// Payload types as Galene uses them towards viewers (compat 8.2), with RTX beside.
fn add_codec(config: &mut RtcConfig, codec: Codec, fmtp: Option<&str>) {
    let config = config.codec_config();
    let mut add = |pt: u8, rtx: Option<u8>, codec, hz, channels, fmtp: &str| {
        let rtx = rtx.map(Into::into);
        config.add_config(pt.into(), rtx, codec, hz, channels, FormatParams::parse_line(fmtp));
    };
    let video = Frequency::NINETY_KHZ;
    match (codec, fmtp) {
        (Codec::Vp8, _) => add(96, Some(97), PeerCodec::Vp8, video, None, ""),
        (Codec::Vp9, Some(fmtp)) => add(98, Some(99), PeerCodec::Vp9, video, None, fmtp),
        (Codec::Vp9, None) => {
            add(98, Some(99), PeerCodec::Vp9, video, None, "profile-id=0");
            add(100, Some(101), PeerCodec::Vp9, video, None, "profile-id=2");
        }
        (Codec::Av1, _) => add(35, Some(36), PeerCodec::Av1, video, None, ""),
        (Codec::H264, Some(fmtp)) => add(108, Some(109), PeerCodec::H264, video, None, fmtp),
        (Codec::H264, None) => {
            for (pt, profile) in
                [(108, "42e01f"), (102, "42001f"), (123, "4d001f"), (114, "64001f")]
            {
                let fmtp = format!(
                    "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}"
                );
                add(pt, Some(pt + 1), PeerCodec::H264, video, None, &fmtp);
            }
        }
        (Codec::Opus, fmtp) => {
            let fmtp = fmtp.unwrap_or("minptime=10;useinbandfec=1");
            add(111, None, PeerCodec::Opus, Frequency::FORTY_EIGHT_KHZ, Some(2), fmtp);
        }
        (Codec::G722, _) => config.enable_g722(true, false),
        (Codec::Pcmu, _) => config.enable_pcmu(true, false),
        (Codec::Pcma, _) => config.enable_pcma(true, false),
    }
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

    #[test]
    fn candidates_end_and_the_cname_is_shared() {
        let sdp = "v=0\r\nm=audio 9 X 1\r\na=candidate:1 a\r\na=candidate:2 b\r\na=mid:0\r\n\
                   a=ssrc:7 cname:x\r\na=ssrc:7 msid:s t\r\n";
        let finished = finish_description(sdp, Some("all"), None);
        assert!(finished.contains("a=candidate:2 b\r\na=end-of-candidates\r\na=mid:0\r\n"));
        assert_eq!(finished.matches("end-of-candidates").count(), 1);
        assert!(finished.contains("a=ssrc:7 cname:all\r\na=ssrc:7 msid:s t\r\n"));
        let finished = finish_description(sdp, None, Some("one"));
        assert!(finished.contains("a=ssrc:7 cname:x\r\na=ssrc:7 msid:one t\r\n"));
    }
}
