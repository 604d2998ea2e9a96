//! A viewer that receives as a browser does: NACK, RTX, redundant sound, transport-wide feedback,
//! receiver reports.

use std::net::SocketAddr;
use std::time::Instant;

use dataplane::client::{
    ArrivalLog, Description, Extension, ExtensionMap, Feedback, Opener, ReportBlock, RtpHeader,
    SEAL_OVERHEAD_MAX_BYTES, Sealer, Writer, parse_descriptor, parse_rtcp,
};
use dataplane::{Codec, MediaKind};

use super::pictures::{Part, Pictures};
use super::sound::Sound;
use crate::peer::Peer;

/// It speaks as this source, as libwebrtc's do that send nothing.
const SSRC: u32 = 1;
/// Between two looks at what is missing.
const ASK_US: u64 = 20_000;
/// Between two receiver reports.
const REPORT_US: u64 = 1_000_000;
const RTCP_BYTES_MAX: usize = 1200;
/// Numbers asked for in one packet.
const NACKS_MAX: usize = 60;

/// What a payload type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Picture(Codec),
    Again,
    Sound,
    RedundantSound,
}

/// What receiver reports are made of (RFC 3550 s6.4.1, A.3, A.8).
#[derive(Debug, Default)]
struct Reception {
    ssrc: u32,
    base: u64,
    highest: u64,
    received: u64,
    reported: (u64, u64),
    transit: i64,
    jitter: f64,
    sender_report: Option<(u32, u64)>,
}

/// See the module's documentation.
pub(super) struct Viewer {
    pub address: SocketAddr,
    pub peer: Peer,
    server: SocketAddr,
    sealer: Option<Sealer>,
    opener: Option<Opener>,
    formats: [Option<Kind>; 128],
    ids: ExtensionMap,
    arrivals: ArrivalLog,
    fed_us: u64,
    ask_us: u64,
    report_us: u64,
    sources: [Reception; 2],
    pub pictures: Pictures,
    pub sound: Sound,
}

impl Viewer {
    /// One that has not connected.
    pub(super) fn new(address: SocketAddr, server: SocketAddr, peer: Peer) -> Self {
        Self {
            address,
            peer,
            server,
            sealer: None,
            opener: None,
            formats: [None; 128],
            ids: ExtensionMap::default(),
            arrivals: ArrivalLog::default(),
            fed_us: 0,
            ask_us: 0,
            report_us: 0,
            sources: [Reception::default(), Reception::default()],
            pictures: Pictures::default(),
            sound: Sound::default(),
        }
    }

    /// Answers the server's offer; redundant sound is taken where it is offered, as Chromium does.
    pub(super) fn answer(&mut self, offer: &str, out: &mut Vec<Vec<u8>>) -> Result<String, String> {
        let answer =
            self.peer.accept_offer(offer, &mut |_, datagram| out.push(datagram.to_vec()))?;
        for section in Description::read(offer).sections {
            if section.kind == Some(MediaKind::Video) || self.ids == ExtensionMap::default() {
                self.ids = section.extensions;
            }
            for format in &section.formats {
                self.formats[usize::from(format.pt & 127)] = match format.codec {
                    _ if format.is_rtx => Some(Kind::Again),
                    Some(codec) if codec.kind() == MediaKind::Video => Some(Kind::Picture(codec)),
                    Some(_) => Some(Kind::Sound),
                    None => None,
                };
            }
        }
        let red =
            offer.lines().find_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(" red/"));
        let Some((pt, _)) = red else {
            return Ok(answer);
        };
        let number = pt.parse::<u8>().map_err(|error| error.to_string())?;
        self.formats[usize::from(number & 127)] = Some(Kind::RedundantSound);
        Ok(with_format(&answer, offer, pt))
    }

    /// When [`Self::pass`] wants to be called.
    pub(super) fn next_at_us(&self, epoch: Instant) -> u64 {
        let peer = self.peer.timeout.saturating_duration_since(epoch);
        let peer_us = peer.as_nanos().div_ceil(1000) as u64;
        if self.sealer.is_some() { peer_us.min(self.ask_us) } else { peer_us }
    }

    pub(super) fn pass(&mut self, now: Instant, now_us: u64, out: &mut Vec<Vec<u8>>) {
        if self.peer.timeout <= now {
            self.peer.handle_timeout(now, &mut |_, datagram| out.push(datagram.to_vec()));
            self.connect();
        }
        if now_us < self.ask_us || self.sealer.is_none() {
            return;
        }
        self.ask_us = now_us + ASK_US;
        self.ask(now_us, out);
        let passed_us = now_us.saturating_sub(self.fed_us);
        if passed_us >= self.arrivals.interval_us(passed_us) {
            self.fed_us = now_us;
            let mut body = [0; 1024];
            while let Some(len) = self.arrivals.write(&mut body) {
                self.send(out, |writer| writer.twcc(SSRC, SSRC, &body[..len]));
            }
        }
        if now_us >= self.report_us {
            self.report_us = now_us + REPORT_US;
            let known = self.sources.iter_mut().filter(|source| source.ssrc != 0);
            let blocks: Vec<ReportBlock> = known.map(|source| source.block(now_us)).collect();
            self.send(out, |writer| {
                writer.receiver_report(SSRC, &blocks);
                writer.cname(SSRC, "ladder");
            });
        }
    }

    fn ask(&mut self, now_us: u64, out: &mut Vec<Vec<u8>>) {
        let (numbers, wants_keyframe) = self.pictures.ask(now_us);
        let ssrc = self.sources[1].ssrc;
        for numbers in numbers.chunks(NACKS_MAX) {
            let items: Vec<(u16, u16)> = numbers.iter().map(|number| (*number, 0)).collect();
            self.send(out, |writer| writer.nack(SSRC, ssrc, &items));
        }
        if wants_keyframe {
            self.send(out, |writer| writer.pli(SSRC, ssrc));
        }
    }

    fn send(&mut self, out: &mut Vec<Vec<u8>>, write: impl FnOnce(&mut Writer<'_>)) {
        let Some(sealer) = &mut self.sealer else {
            return;
        };
        let mut packet = [0; RTCP_BYTES_MAX];
        let mut writer = Writer::new(&mut packet[..RTCP_BYTES_MAX - SEAL_OVERHEAD_MAX_BYTES]);
        write(&mut writer);
        let len = writer.written();
        let len = sealer.seal_rtcp(&mut packet, len);
        out.push(packet[..len].to_vec());
    }

    fn connect(&mut self) {
        if self.sealer.is_none()
            && let Some((sealer, opener)) = self.peer.keys.get().and_then(|keys| keys.derive())
        {
            (self.sealer, self.opener) = (Some(sealer), Some(opener));
        }
    }

    /// Takes a datagram of the server.
    pub(super) fn receive(
        &mut self,
        datagram: &mut [u8],
        now: Instant,
        now_us: u64,
        out: &mut Vec<Vec<u8>>,
    ) {
        match datagram {
            [0..=63, ..] => {
                let mut transmit = |_: SocketAddr, sent: &[u8]| out.push(sent.to_vec());
                let (from, to) = (self.server, self.address);
                self.peer.handle_datagram(from, to, datagram, now, &mut transmit);
                self.connect();
            }
            [128..=191, 192..=223, ..] => self.take_rtcp(datagram, now_us),
            _ => {
                self.take_rtp(datagram, now_us);
            }
        }
    }

    fn take_rtcp(&mut self, datagram: &mut [u8], now_us: u64) {
        let Some(Ok(len)) = self.opener.as_mut().map(|opener| opener.open_rtcp(datagram)) else {
            return;
        };
        let sources = &mut self.sources;
        parse_rtcp(&datagram[..len], |feedback| {
            if let Feedback::SenderReport { ssrc, ntp_time, .. } = feedback
                && let Some(source) = sources.iter_mut().find(|source| source.ssrc == ssrc)
            {
                source.sender_report = Some(((ntp_time >> 16) as u32, now_us));
            }
        });
    }

    fn take_rtp(&mut self, datagram: &mut [u8], now_us: u64) -> Option<()> {
        let header = RtpHeader::parse(datagram)?;
        let bytes = datagram.len();
        let (len, _) = self.opener.as_mut()?.open_rtp(datagram, header.header_len)?;
        let packet = &datagram[..len];
        if let Some(id) = self.ids.id_of(Extension::Twcc)
            && let Some([high, low]) = header.element(packet, id)
        {
            self.arrivals.record(u16::from_be_bytes([*high, *low]), now_us, bytes);
        }
        let (start, end) = header.payload(packet)?;
        let payload = packet.get(start..end).filter(|payload| !payload.is_empty())?;
        match self.formats[usize::from(header.pt & 127)]? {
            kind @ (Kind::Sound | Kind::RedundantSound) => {
                self.sources[0].take(&header, 48, now_us);
                self.sound.take(header.rtp_time, payload, kind == Kind::RedundantSound, now_us);
            }
            Kind::Picture(codec) => {
                self.sources[1].take(&header, 90, now_us);
                self.take_picture(&header, (header.seq_no, codec), payload, now_us);
            }
            Kind::Again => {
                // RFC 4588 s4: the number that it had at first, then the payload.
                let (number, payload) = payload.split_first_chunk::<2>()?;
                let codec = self.formats.iter().find_map(|kind| match kind {
                    Some(Kind::Picture(codec)) => Some(*codec),
                    _ => None,
                })?;
                let seq_no = u16::from_be_bytes(*number);
                self.take_picture(&header, (seq_no, codec), payload, now_us);
            }
        }
        Some(())
    }

    fn take_picture(
        &mut self,
        header: &RtpHeader,
        (seq_no, codec): (u16, Codec),
        payload: &[u8],
        now_us: u64,
    ) {
        let part = Part {
            rtp_time: header.rtp_time,
            marker: header.marker,
            is_keyframe: parse_descriptor(codec, payload).is_keyframe,
            bytes: payload.len(),
        };
        self.pictures.take(self.pictures.extend(seq_no), part, now_us);
    }
}

/// The answer with one more payload type of sound, which means what it means in the offer.
fn with_format(answer: &str, offer: &str, pt: &str) -> String {
    let is_about = |line: &&str| {
        let value = line.strip_prefix("a=rtpmap:").or_else(|| line.strip_prefix("a=fmtp:"));
        value.is_some_and(|value| value.split(' ').next() == Some(pt))
    };
    let meaning: String =
        offer.lines().filter(is_about).map(|line| format!("{line}\r\n")).collect();
    let mut text = String::new();
    let mut is_audio = false;
    for line in answer.lines() {
        if line.starts_with("m=") {
            is_audio = line.starts_with("m=audio");
        }
        text.push_str(line);
        if is_audio && line.starts_with("m=") {
            text.push_str(&format!(" {pt}"));
        }
        text.push_str("\r\n");
        if is_audio && line.starts_with("a=mid:") {
            text.push_str(&meaning);
        }
    }
    text
}

impl Reception {
    fn take(&mut self, header: &RtpHeader, ticks_per_ms: i64, now_us: u64) {
        if self.ssrc != header.ssrc {
            let first = 1 << 16 | u64::from(header.seq_no);
            let (base, highest, reported) = (first, first - 1, (first - 1, 0));
            *self = Self { ssrc: header.ssrc, base, highest, reported, ..Self::default() };
        }
        let ahead = header.seq_no.wrapping_sub(self.highest as u16) as i16;
        self.highest = self.highest.max(self.highest.saturating_add_signed(i64::from(ahead)));
        self.received += 1;
        let transit = now_us as i64 * ticks_per_ms / 1000 - i64::from(header.rtp_time);
        let change = (transit - self.transit).abs() as f64;
        if self.received > 1 {
            self.jitter += (change - self.jitter) / 16.0;
        }
        self.transit = transit;
    }

    fn block(&mut self, now_us: u64) -> ReportBlock {
        let (highest, received) = self.reported;
        let expected = self.highest - highest;
        let lost = expected.saturating_sub(self.received - received);
        self.reported = (self.highest, self.received);
        let (last_sr, delay_since_sr) = self
            .sender_report
            .map_or((0, 0), |(ntp, at_us)| (ntp, ((now_us - at_us) * 65_536 / 1_000_000) as u32));
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: (lost * 256).checked_div(expected).unwrap_or(0).min(255) as u8,
            packets_lost: ((self.highest + 1 - self.base) as i64 - self.received as i64) as i32,
            highest_seq: self.highest as u32,
            jitter: self.jitter as u32,
            last_sr,
            delay_since_sr,
        }
    }
}
