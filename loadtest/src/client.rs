//! A simulated client on the media thread: its connection, and what it sends or checks.

use std::net::SocketAddr;
use std::time::Instant;

use dataplane::client::{
    Feedback, Opener, ReportBlock, SEAL_OVERHEAD_MAX_BYTES, Sealer, Writer, parse_rtcp,
};

use crate::load::Checks;
use crate::peer::{Peer, Transmit};
use crate::publisher::Publisher;
use crate::totals::Totals;
use crate::viewer::Viewer;

/// Streams that one receiver report tells about (RFC 3550 s6.4.2).
const REPORT_BLOCKS_MAX: usize = 31;
/// The largest compound RTCP packet, sealed.
const RTCP_BYTES_MAX: usize = 1200;
/// Viewers speak as this source, as libwebrtc's do that send nothing.
const VIEWER_SSRC: u32 = 1;
/// The largest packet that a publisher sends.
const PACKET_BYTES_MAX: usize = 1400;

/// See the module's documentation.
pub(crate) struct Client {
    /// Where it is reached.
    pub address: SocketAddr,
    pub peer: Peer,
    pub role: Role,
    /// Its keys, once connected.
    pub sealer: Option<Sealer>,
    opener: Option<Opener>,
    server: Option<SocketAddr>,
    armed: Option<Instant>,
    checks: Checks,
}

pub(crate) enum Role {
    Publisher(Publisher),
    Viewer(Viewer),
}

impl Client {
    /// A client that has not connected.
    pub(crate) fn new(address: SocketAddr, peer: Peer, role: Role, checks: Checks) -> Self {
        let (sealer, opener, server) = (None, None, None);
        Self { address, peer, role, sealer, opener, server, armed: None, checks }
    }

    /// A timer to set, if it has changed.
    pub(crate) fn take_timer(&mut self) -> Option<Instant> {
        if self.armed == Some(self.peer.timeout) {
            return None;
        }
        self.armed = Some(self.peer.timeout);
        self.armed
    }

    /// Lets time pass, if this timer is still the one that counts.
    pub(crate) fn handle_timeout(&mut self, at: Instant, now: Instant, transmit: Transmit<'_>) {
        if self.armed == Some(at) {
            self.armed = None;
            self.peer.handle_timeout(now, transmit);
            self.connect();
        }
    }

    /// Takes the server's answer to our offer.
    pub(crate) fn accept_answer(
        &mut self,
        sdp: &str,
        transmit: Transmit<'_>,
    ) -> Result<(), String> {
        if let Role::Publisher(publisher) = &mut self.role {
            // A refused codec is said better here than by the SDP parser.
            publisher.configure(sdp, |_, _| Some(0))?;
        }
        self.peer.accept_answer(sdp, transmit)?;
        let peer = &mut self.peer;
        match &mut self.role {
            Role::Publisher(publisher) => {
                publisher.configure(sdp, |section, rid| peer.ssrc(section, rid))
            }
            Role::Viewer(viewer) => {
                viewer.configure(sdp);
                Ok(())
            }
        }
    }

    /// Answers the server's offer to a viewer.
    pub(crate) fn accept_offer(
        &mut self,
        sdp: &str,
        transmit: Transmit<'_>,
    ) -> Result<String, String> {
        let answer = self.peer.accept_offer(sdp, transmit)?;
        if let Role::Viewer(viewer) = &mut self.role {
            viewer.configure(sdp);
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
    pub(crate) fn handle_datagram(
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
            [128..=191, ..] => {
                if let (Role::Viewer(viewer), Some(opener)) = (&mut self.role, &mut self.opener) {
                    viewer.receive(datagram, opener, &self.checks, at_us, totals);
                }
            }
            _ => {}
        }
    }

    fn handle_rtcp(&mut self, datagram: &mut [u8]) {
        let (Role::Publisher(publisher), Some(opener)) = (&mut self.role, &mut self.opener) else {
            return;
        };
        let Ok(len) = opener.open_rtcp(datagram) else {
            return;
        };
        parse_rtcp(&datagram[..len], |feedback| match feedback {
            Feedback::Pli { ssrc } | Feedback::Fir { ssrc } => publisher.want_keyframe(ssrc),
            Feedback::Remb { bitrate_bps } => publisher.bound(bitrate_bps),
            _ => {}
        });
    }

    /// Sends what is due.
    pub(crate) fn publish(&mut self, at_us: u64, totals: &mut Totals, transmit: Transmit<'_>) {
        let (Role::Publisher(publisher), Some(sealer), Some(server)) =
            (&mut self.role, &self.sealer, self.server)
        else {
            return;
        };
        publisher.poll(at_us, |roc, header, payload| {
            let mut packet = [0; PACKET_BYTES_MAX];
            packet[..header.len()].copy_from_slice(header);
            let len = sealer.seal_rtp(&mut packet, header.len(), payload, roc);
            totals.published += 1;
            transmit(server, &packet[..len]);
        });
    }

    /// A viewer's receiver report, as browsers send it about every second.
    pub(crate) fn report(&mut self, transmit: Transmit<'_>) {
        let (Role::Viewer(viewer), Some(sealer), Some(server)) =
            (&self.role, &mut self.sealer, self.server)
        else {
            return;
        };
        let mut blocks = [ReportBlock::default(); REPORT_BLOCKS_MAX];
        let count = viewer.report(&mut blocks);
        send_rtcp(sealer, server, transmit, |writer| {
            writer.receiver_report(VIEWER_SSRC, &blocks[..count]);
            writer.cname(VIEWER_SSRC, "load");
        });
    }

    /// A viewer's transport-wide feedback about what has come since the last one.
    pub(crate) fn feedback(&mut self, transmit: Transmit<'_>) {
        let (Role::Viewer(viewer), Some(sealer), Some(server)) =
            (&mut self.role, &mut self.sealer, self.server)
        else {
            return;
        };
        let mut body = [0; 1024];
        while let Some(len) = viewer.arrivals.write(&mut body) {
            send_rtcp(sealer, server, transmit, |writer| {
                writer.twcc(VIEWER_SSRC, VIEWER_SSRC, &body[..len]);
            });
        }
    }

    /// Counts from zero again.
    pub(crate) fn reset(&mut self) {
        if let Role::Viewer(viewer) = &mut self.role {
            viewer.reset();
        }
    }

    /// Adds which streams are there.
    pub(crate) fn count(&self, at_us: u64, totals: &mut Totals) {
        if let Role::Viewer(viewer) = &self.role {
            viewer.count(at_us, totals);
        }
    }

    /// Adds the packets that this client has counted.
    pub(crate) fn add_to(&self, totals: &mut Totals) {
        if let Role::Viewer(viewer) = &self.role {
            viewer.add_to(totals);
        }
    }
}

fn send_rtcp(
    sealer: &mut Sealer,
    server: SocketAddr,
    transmit: Transmit<'_>,
    write: impl FnOnce(&mut Writer<'_>),
) {
    let mut packet = [0; RTCP_BYTES_MAX];
    let mut writer = Writer::new(&mut packet[..RTCP_BYTES_MAX - SEAL_OVERHEAD_MAX_BYTES]);
    write(&mut writer);
    let len = writer.written();
    let len = sealer.seal_rtcp(&mut packet, len);
    transmit(server, &packet[..len]);
}
