//! A simulated client on the media thread: its connection, and what it sends or checks.

use std::net::SocketAddr;
use std::time::Instant;

use dataplane::client::{
    Description, Feedback, Opener, ReplayWindow, ReportBlock, RtpHeader, SEAL_OVERHEAD_MAX_BYTES,
    Sealer, Writer, parse_rtcp,
};

use crate::engine::Checks;
use crate::media::{AUDIO_INTERVAL_US, Audio, Video, read_stamp};
use crate::peer::{Peer, Transmit};
use crate::totals::Totals;

/// A pause in video that people see.
const FREEZE_US: u64 = 500_000;
/// RTP streams of one viewer stream: audio, video, and their RTX.
const STREAMS_MAX: usize = 8;

/// See the module's documentation.
pub struct Client {
    /// Where it is reached.
    pub address: SocketAddr,
    /// ICE and DTLS.
    pub peer: Peer,
    /// What it does.
    pub role: Role,
    /// Its keys, once connected.
    pub sealer: Option<Sealer>,
    opener: Option<Opener>,
    server: Option<SocketAddr>,
    armed: Option<Instant>,
    checks: Checks,
}

/// Sends or receives.
pub enum Role {
    /// Sends.
    Publisher(Publisher),
    /// Receives one stream of the group.
    Viewer(Viewer),
}

/// A publisher's media.
pub struct Publisher {
    audio: Option<(Audio, Outgoing)>,
    video: Option<(Video, Outgoing)>,
}

#[derive(Debug, Default)]
struct Outgoing {
    ssrc: u32,
    pt: u8,
    seq: u64,
    next_at_us: u64,
}

impl Publisher {
    /// Media that begins at once when the connection is up.
    pub fn new(audio: Option<Audio>, video: Option<Video>, at_us: u64) -> Self {
        let outgoing = || Outgoing { next_at_us: at_us, ..Outgoing::default() };
        Self {
            audio: audio.map(|audio| (audio, outgoing())),
            video: video.map(|video| (video, outgoing())),
        }
    }

    /// When something is to be sent.
    pub fn next_at_us(&self) -> u64 {
        let audio = self.audio.as_ref().map(|(_, outgoing)| outgoing.next_at_us);
        let video = self.video.as_ref().map(|(_, outgoing)| outgoing.next_at_us);
        audio.into_iter().chain(video).min().unwrap_or(u64::MAX / 2)
    }
}

/// What a viewer has received of one stream.
pub struct Viewer {
    since_us: u64,
    first_at_us: Option<u64>,
    rtx_pts: Vec<u8>,
    streams: Vec<Incoming>,
}

struct Incoming {
    ssrc: u32,
    is_video: bool,
    base: u64,
    highest: u64,
    received: u64,
    duplicate: u64,
    window: ReplayWindow,
    last_at_us: u64,
    freezes: u64,
    packets: u64,
}

impl Viewer {
    /// A viewer that began to join at `since_us`.
    pub fn new(since_us: u64) -> Self {
        Self { since_us, first_at_us: None, rtx_pts: Vec::new(), streams: Vec::new() }
    }
}

impl Client {
    /// A client that has not connected.
    pub fn new(address: SocketAddr, peer: Peer, role: Role, checks: Checks) -> Self {
        let (sealer, opener, server) = (None, None, None);
        Self { address, peer, role, sealer, opener, server, armed: None, checks }
    }

    /// A timer to set, if it has changed.
    pub fn take_timer(&mut self) -> Option<Instant> {
        if self.armed == Some(self.peer.timeout) {
            return None;
        }
        self.armed = Some(self.peer.timeout);
        self.armed
    }

    /// Lets time pass, if this timer is still the one that counts.
    pub fn handle_timeout(&mut self, at: Instant, now: Instant, transmit: Transmit<'_>) {
        if self.armed == Some(at) {
            self.armed = None;
            self.peer.handle_timeout(now, transmit);
            self.connect();
        }
    }

    /// Takes the server's answer to a publisher.
    pub fn accept_answer(&mut self, sdp: &str, transmit: Transmit<'_>) -> Result<(), String> {
        self.peer.accept_answer(sdp, transmit)?;
        let Role::Publisher(publisher) = &mut self.role else {
            return Ok(());
        };
        let sections = Description::read(sdp).sections;
        let ours = self.peer.ssrcs();
        let parts = [
            publisher.audio.as_mut().map(|(_, outgoing)| outgoing),
            publisher.video.as_mut().map(|(_, outgoing)| outgoing),
        ];
        for (at, outgoing) in parts.into_iter().flatten().enumerate() {
            let section = sections.get(at).ok_or("the answer lacks an m-section")?;
            let format = section.formats.iter().find(|format| format.codec.is_some());
            let format = format.ok_or("the server refused a codec")?;
            (outgoing.pt, outgoing.ssrc) = (format.pt, *ours.get(at).ok_or("no SSRC")?);
        }
        Ok(())
    }

    /// Answers the server's offer to a viewer.
    pub fn accept_offer(&mut self, sdp: &str, transmit: Transmit<'_>) -> Result<String, String> {
        let answer = self.peer.accept_offer(sdp, transmit)?;
        if let Role::Viewer(viewer) = &mut self.role {
            let sections = Description::read(sdp).sections;
            let rtx = sections.iter().flat_map(|s| &s.formats).filter(|f| f.is_rtx);
            viewer.rtx_pts = rtx.map(|format| format.pt).collect();
        }
        Ok(answer)
    }

    fn connect(&mut self) {
        if self.sealer.is_none()
            && let Some((sealer, opener)) = self.peer.keys.get().and_then(|keys| keys.derive())
        {
            (self.sealer, self.opener) = (Some(sealer), Some(opener));
        }
    }

    /// Takes a datagram of the server.
    pub fn handle_datagram(
        &mut self,
        from: SocketAddr,
        datagram: &mut [u8],
        now: Instant,
        at_us: u64,
        totals: &mut Totals,
        transmit: Transmit<'_>,
    ) {
        match datagram {
            [0..=63, ..] => {
                self.server = Some(from);
                self.peer.handle_datagram(from, self.address, datagram, now, transmit);
                self.connect();
            }
            [128..=191, 192..=223, ..] => self.handle_rtcp(datagram),
            [128..=191, ..] => self.handle_rtp(datagram, at_us, totals),
            _ => {}
        }
    }

    fn handle_rtcp(&mut self, datagram: &mut [u8]) {
        let Role::Publisher(Publisher { video: Some((video, _)), .. }) = &mut self.role else {
            return;
        };
        let Some(opener) = &mut self.opener else {
            return;
        };
        let Ok(len) = opener.open_rtcp(datagram) else {
            return;
        };
        parse_rtcp(&datagram[..len], |feedback| {
            if matches!(feedback, Feedback::Pli { .. } | Feedback::Fir { .. }) {
                video.keyframe_wanted = true;
            }
        });
    }

    fn handle_rtp(&mut self, datagram: &mut [u8], at_us: u64, totals: &mut Totals) {
        let (Role::Viewer(viewer), Some(opener)) = (&mut self.role, &mut self.opener) else {
            return;
        };
        let Some(header) = RtpHeader::parse(datagram) else {
            totals.bad += 1;
            return;
        };
        if viewer.rtx_pts.contains(&header.pt) {
            return;
        }
        let stream = match viewer.streams.iter().position(|s| s.ssrc == header.ssrc) {
            Some(at) => &mut viewer.streams[at],
            None if viewer.streams.len() < STREAMS_MAX => {
                viewer.streams.push(Incoming::new(&header, at_us));
                let last = viewer.streams.len() - 1;
                &mut viewer.streams[last]
            }
            None => return,
        };
        if viewer.first_at_us.is_none() {
            viewer.first_at_us = Some(at_us);
            totals.join_ms.push(at_us.saturating_sub(viewer.since_us) / 1000);
        }
        stream.receive(header.seq_no, at_us);
        if !stream.packets.is_multiple_of(self.checks.verify_every) {
            return;
        }
        // Every so many packets the tag is checked and the payload read.
        totals.verified += 1;
        let opened = opener.open_rtp(datagram, header.header_len);
        let stamp = opened.and_then(|(len, _)| read_stamp(datagram.get(header.header_len..len)?));
        match stamp {
            Some(sent_us) => totals.latency.add(at_us.saturating_sub(sent_us)),
            // A duplicate is refused by the replay window, which is no fault of the packet.
            None if stream.duplicate > 0 => {}
            None => totals.bad += 1,
        }
    }

    /// Sends what is due.
    pub fn publish(&mut self, at_us: u64, totals: &mut Totals, transmit: Transmit<'_>) {
        let (Role::Publisher(publisher), Some(sealer), Some(server)) =
            (&mut self.role, &self.sealer, self.server)
        else {
            return;
        };
        let mut send = |outgoing: &mut Outgoing, rtp_time: u32, marker: bool, payload: &[u8]| {
            let mut packet = [0; 1400];
            packet[0] = 0x80;
            packet[1] = u8::from(marker) << 7 | outgoing.pt;
            packet[2..4].copy_from_slice(&(outgoing.seq as u16).to_be_bytes());
            packet[4..8].copy_from_slice(&rtp_time.to_be_bytes());
            packet[8..12].copy_from_slice(&outgoing.ssrc.to_be_bytes());
            let len = sealer.seal_rtp(&mut packet, 12, payload, (outgoing.seq >> 16) as u32);
            outgoing.seq += 1;
            totals.published += 1;
            transmit(server, &packet[..len]);
        };
        if let Some((audio, outgoing)) = &mut publisher.audio
            && at_us >= outgoing.next_at_us
        {
            outgoing.next_at_us = next(outgoing.next_at_us, AUDIO_INTERVAL_US, at_us);
            let (rtp_time, payload) = audio.next_packet(at_us);
            send(outgoing, rtp_time, false, &payload);
        }
        if let Some((video, outgoing)) = &mut publisher.video
            && at_us >= outgoing.next_at_us
        {
            outgoing.next_at_us = next(outgoing.next_at_us, video.interval_us(), at_us);
            video.next_frame(at_us, |rtp_time, marker, payload| {
                send(outgoing, rtp_time, marker, payload);
            });
        }
    }

    /// A viewer's receiver report, as browsers send it about every second.
    pub fn report(&mut self, _at_us: u64, transmit: Transmit<'_>) {
        let (Role::Viewer(viewer), Some(sealer), Some(server)) =
            (&mut self.role, &mut self.sealer, self.server)
        else {
            return;
        };
        let mut blocks = [ReportBlock::default(); STREAMS_MAX];
        for (stream, block) in viewer.streams.iter().zip(&mut blocks) {
            *block = ReportBlock {
                ssrc: stream.ssrc,
                highest_seq: stream.highest as u32,
                ..ReportBlock::default()
            };
        }
        let mut packet = [0; 512];
        let mut writer = Writer::new(&mut packet[..512 - SEAL_OVERHEAD_MAX_BYTES]);
        writer.receiver_report(1, &blocks[..viewer.streams.len()]);
        writer.cname(1, "load");
        let len = writer.written();
        let len = sealer.seal_rtcp(&mut packet, len);
        transmit(server, &packet[..len]);
    }

    /// Counts from zero again.
    pub fn reset(&mut self) {
        if let Role::Viewer(viewer) = &mut self.role {
            for stream in &mut viewer.streams {
                (stream.base, stream.received) = (stream.highest + 1, 0);
                (stream.duplicate, stream.freezes) = (0, 0);
            }
        }
    }

    /// Adds what this client has counted.
    pub fn add_to(&self, totals: &mut Totals) {
        let Role::Viewer(viewer) = &self.role else {
            return;
        };
        totals.streams += 1;
        totals.streams_up += usize::from(viewer.first_at_us.is_some());
        totals.flows += viewer.streams.len();
        for stream in &viewer.streams {
            totals.expected += (stream.highest + 1).saturating_sub(stream.base);
            totals.received += stream.received;
            totals.duplicate += stream.duplicate;
            totals.freezes += stream.freezes;
        }
    }
}

/// The next due time: even steps, but after a stall no burst to make up for it.
fn next(due_us: u64, interval_us: u64, now_us: u64) -> u64 {
    let next = due_us + interval_us;
    if next + 10 * interval_us < now_us { now_us + interval_us } else { next }
}

impl Incoming {
    fn new(header: &RtpHeader, at_us: u64) -> Self {
        // One cycle up, so that what was reordered at the start stays positive.
        let first = 1 << 16 | u64::from(header.seq_no);
        Self {
            ssrc: header.ssrc,
            is_video: header.pt != 111,
            base: first,
            highest: first - 1,
            received: 0,
            duplicate: 0,
            window: ReplayWindow::default(),
            last_at_us: at_us,
            freezes: 0,
            packets: 0,
        }
    }

    fn receive(&mut self, seq_no: u16, at_us: u64) {
        self.packets += 1;
        let ahead = seq_no.wrapping_sub(self.highest as u16) as i16;
        let seq = self.highest.saturating_add_signed(i64::from(ahead));
        if !self.window.is_new(seq) {
            self.duplicate += 1;
            return;
        }
        self.window.record(seq);
        self.highest = self.highest.max(seq);
        // What comes late from before a reset counts for neither side.
        if seq >= self.base {
            self.received += 1;
        }
        if self.is_video && at_us.saturating_sub(self.last_at_us) > FREEZE_US {
            self.freezes += 1;
        }
        self.last_at_us = at_us;
    }
}
