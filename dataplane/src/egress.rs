//! Where a viewer's packets go, under which keys, and what has left when. One per Transport, by
//! slot.

use std::net::{IpAddr, SocketAddr};

use crate::canonical::HopFields;
use crate::congestion::{Cluster, Flow};
use crate::srtp::Sealer;

/// What IP and UDP add to a datagram: without options, IPv4 less 20 octets.
pub const DATAGRAM_OVERHEAD_BYTES: usize = 28;
/// What sealing adds to a packet, mostly.
const TAG_BYTES: usize = 16;

/// See the module's documentation.
pub struct Egress {
    /// The viewer's address, once nominated.
    pub to: SocketAddr,
    /// Our address towards it.
    pub from: Option<IpAddr>,
    /// Our keys.
    pub sealer: Sealer,
    /// What left when, and what became of it.
    pub flow: Flow,
    /// The probe that packets belong to, and the octets that it has had so far.
    probe: Option<(Cluster, u64)>,
}

impl Egress {
    /// A connected Transport's.
    pub fn new(to: SocketAddr, from: Option<IpAddr>, sealer: Sealer) -> Self {
        Self { to, from, sealer, flow: Flow::default(), probe: None }
    }

    /// What a packet of `len` octets that leaves now carries of this hop. It counts from here on.
    pub fn stamp(&mut self, len: usize, now_us: u64) -> HopFields {
        let bytes = len + TAG_BYTES + DATAGRAM_OVERHEAD_BYTES;
        let probe = match &mut self.probe {
            Some((cluster, sent)) if now_us < cluster.until_us => {
                *sent += bytes as u64;
                cluster.id
            }
            _ => 0,
        };
        let twcc = self.flow.history.record(now_us, bytes, probe);
        HopFields { abs_send_time: abs_send_time(now_us), twcc }
    }

    /// What is sent from now on belongs to a probe.
    pub fn set_probe(&mut self, cluster: Cluster) {
        self.probe = Some((cluster, 0));
    }

    /// The octets that a probe has had.
    pub fn probe_bytes(&self, cluster: Cluster) -> u64 {
        self.probe.filter(|(known, _)| *known == cluster).map_or(0, |(_, sent)| sent)
    }
}

/// 6.18 fixed point seconds.
fn abs_send_time(at_us: u64) -> u32 {
    ((at_us << 18) / 1_000_000) as u32 & 0xff_ffff
}
