//! A WebRTC peer that is not ours (str0m) on a real socket, driven by a thread of its own.
#![allow(dead_code)]

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// Between two packets of each kind.
const INTERVAL: Duration = Duration::from_millis(20);

/// A peer that has not exchanged descriptions yet.
pub(crate) struct Peer {
    rtc: Rtc,
    socket: UdpSocket,
    mids: Vec<Mid>,
    pending: Option<SdpPendingOffer>,
}

/// A peer at work, until it is dropped.
pub(crate) struct Running {
    received: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let mut rtc = RtcConfig::new()
            .set_crypto_provider(Arc::new(str0m::crypto::from_feature_flags()))
            .set_rtp_mode(true)
            .build(Instant::now());
        let address = socket.local_addr().expect("bound");
        rtc.add_local_candidate(Candidate::host(address, Protocol::Udp).expect("a candidate"));
        Self { rtc, socket, mids: Vec::new(), pending: None }
    }

    /// Offers one audio and one video section.
    pub(crate) fn offer(&mut self, direction: Direction) -> String {
        let mut changes = self.rtc.sdp_api();
        for kind in [MediaKind::Audio, MediaKind::Video] {
            let (stream, track) = (Some("stream".to_owned()), Some(format!("{kind:?}")));
            self.mids.push(changes.add_media(kind, direction, stream, track, None));
        }
        let (offer, pending) = changes.apply().expect("an offer");
        self.pending = Some(pending);
        offer.to_sdp_string()
    }

    pub(crate) fn accept_answer(&mut self, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).expect("the answer parses");
        let pending = self.pending.take().expect("an offer is out");
        self.rtc.sdp_api().accept_answer(pending, answer).expect("the answer fits");
    }

    /// Takes an offer and gives the answer.
    pub(crate) fn accept_offer(&mut self, offer: &str) -> String {
        let offer = SdpOffer::from_sdp_string(offer).expect("the offer parses");
        self.rtc.sdp_api().accept_offer(offer).expect("the offer fits").to_sdp_string()
    }

    /// Connects and receives; `sends` says whether it sends opus and VP8, too.
    pub(crate) fn run(mut self, sends: bool) -> Running {
        let received = Arc::<AtomicU64>::default();
        let is_over = Arc::<AtomicBool>::default();
        let (count, over) = (received.clone(), is_over.clone());
        let work = move || {
            let mut seq = 0;
            let mut send_at = Instant::now();
            let mut is_connected = false;
            while !over.load(Ordering::Relaxed) && self.rtc.is_alive() {
                let timeout = self.drain(&count, &mut is_connected);
                if sends && is_connected && send_at <= Instant::now() {
                    send_at = Instant::now() + INTERVAL;
                    seq += 1;
                    self.send(seq);
                    continue;
                }
                self.wait(timeout.min(Instant::now() + INTERVAL));
            }
        };
        let thread = std::thread::spawn(work);
        Running { received, is_over, thread: Some(thread) }
    }

    fn drain(&mut self, received: &AtomicU64, is_connected: &mut bool) -> Instant {
        loop {
            match self.rtc.poll_output().expect("the peer is well") {
                Output::Timeout(at) => return at,
                Output::Transmit(transmit) => {
                    // What is lost on the way is sent again.
                    let _ = self.socket.send_to(&transmit.contents, transmit.destination);
                }
                Output::Event(Event::Connected) => *is_connected = true,
                Output::Event(Event::RtpPacket(_)) => {
                    received.fetch_add(1, Ordering::Relaxed);
                }
                Output::Event(_) => {}
            }
        }
    }

    fn wait(&mut self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(left)).expect("a limit");
        let mut buffer = [0; 2000];
        let input = match self.socket.recv_from(&mut buffer) {
            Ok((len, from)) => {
                let to = self.socket.local_addr().expect("bound");
                Receive::new(Protocol::Udp, from, to, &buffer[..len]).ok()
            }
            Err(_) => None,
        };
        let now = Instant::now();
        let input = input.map_or(Input::Timeout(now), |receive| Input::Receive(now, receive));
        self.rtc.handle_input(input).expect("the peer is well");
    }

    fn send(&mut self, seq: u64) {
        for (at, codec, hz) in [(0, Codec::Opus, 48_000), (1, Codec::Vp8, 90_000)] {
            let params = self.rtc.codec_config().params();
            let found = params.iter().find(|params| params.spec().codec == codec);
            let pt = found.expect("a negotiated codec").pt();
            let payload = match codec {
                Codec::Opus => vec![9; 80],
                // RFC 7741: a frame of its own; every 50th is a keyframe.
                _ => [&[0x10, u8::from(seq % 50 != 1)][..], &[9; 1000]].concat(),
            };
            let time = seq as u32 * hz / 50;
            let mut api = self.rtc.direct_api();
            let stream = api.stream_tx_by_mid(self.mids[at], None).expect("a stream");
            stream.write_rtp(
                RtpWrite::new(pt, seq.into(), time, Instant::now(), payload)
                    .marker(codec == Codec::Vp8)
                    .nackable(true),
            );
        }
    }
}

impl Running {
    /// RTP packets so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A peer that has panicked fails the test, unless that is failing already.
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the peer has ended early");
        }
    }
}
