//! Media from an address that nobody has shown. After a NAT has given a peer another port, its media comes from
//! there long before its next check, which browsers send every 2.5 s. If it is authentic we ask there at once,
//! as after a check; and as after a check it is the answer that proves the path.

use std::time::{Duration, Instant};

use super::Shard;
use super::routes::Home;
use crate::demux::{Class, classify};
use crate::outbox::DATAGRAM_BYTES_MAX;
use crate::path::{Check, Path};
use crate::rtp::RtpHeader;
use crate::stats::DropReason;

/// Who is heard at the old address just now has not moved. A viewer that gets nothing any more says one more
/// time what it had got, within 50 to 250 ms, and then little: that once must be enough.
const SILENT: Duration = Duration::from_millis(20);
/// Between two datagrams that are looked at: anybody may send such.
const LOOK_EVERY_US: u64 = 1_000;
/// Transports that may be a datagram's; a class behind one NAT has many, which take turns.
const TRIES_MAX: usize = 8;

impl Shard {
    /// Drops a datagram of nobody's; but it may say where a peer is now.
    pub(super) fn handle_stray(&mut self, path: Path, at_us: u64, datagram: &[u8], now: Instant) {
        self.count(DropReason::UnverifiedSource);
        let class = classify(datagram);
        if !matches!(class, Class::Rtp | Class::Rtcp)
            || self.time.now_us < self.routes.strays.next_at_us
        {
            return;
        }
        self.routes.strays.next_at_us = self.time.now_us + LOOK_EVERY_US;
        for slot in self.silent_at(path, now) {
            if self.opens(slot, class, datagram) {
                self.follow(slot, path, now);
                return;
            }
        }
        if !self.routes.strays.is_from_lane {
            for shard in self.routes.shards_at(path.peer.ip()) {
                let counters = &mut self.statistics.counters;
                self.lanes.pass_on(shard, (path, at_us), datagram, counters);
            }
        }
    }

    /// Transports of this shard whose peer has the same IP and is not heard of any more.
    fn silent_at(&mut self, path: Path, now: Instant) -> Vec<usize> {
        let count = self.transports.slots();
        let first = self.routes.strays.turn;
        let is_meant = |slot: &usize| {
            self.transports.get(*slot).is_some_and(|transport| {
                let paths = &transport.paths;
                let is_there =
                    |current: Path| current.stream.is_none() && current.peer.ip() == path.peer.ip();
                let is_silent = |at: Instant| now.saturating_duration_since(at) >= SILENT;
                paths.current().is_some_and(is_there) && paths.heard_at().is_some_and(is_silent)
            })
        };
        let all = (0..count).map(|at| (first + at) % count);
        let found: Vec<usize> = all.filter(is_meant).take(TRIES_MAX).collect();
        self.routes.strays.turn = found.last().map_or(0, |last| last + 1);
        found
    }

    /// Whether a datagram is authentic for a Transport, and was not heard before.
    fn opens(&mut self, slot: usize, class: Class, datagram: &[u8]) -> bool {
        let mut copy = [0; DATAGRAM_BYTES_MAX];
        let Some(copy) = copy.get_mut(..datagram.len()) else {
            return false;
        };
        copy.copy_from_slice(datagram);
        let transport = self.transports.get_mut(slot);
        let Some(opener) = transport.and_then(|transport| transport.opener.as_mut()) else {
            return false;
        };
        match class {
            Class::Rtp => RtpHeader::parse(copy)
                .is_some_and(|header| opener.open_rtp(copy, header.header_len).is_some()),
            _ => opener.open_rtcp(copy).is_ok(),
        }
    }

    /// The peer may be at this address: it takes the place of the one in use as soon as it is proven.
    fn follow(&mut self, slot: usize, path: Path, now: Instant) {
        if self.routes.is_full() {
            return self.count(DropReason::AddressLimit);
        }
        let Some(transport) = self.transports.get_mut(slot) else {
            return;
        };
        let Some((priority, generation)) = transport.paths.standing() else {
            return;
        };
        let check = Check { priority, nominates: true, generation };
        let (at, evicted) = transport.paths.check(path, check, now);
        if let Some(evicted) = evicted {
            self.routes.forget(evicted, slot, &mut self.messages);
        }
        self.routes.find_home(path, Home { slot, path: at }, &mut self.messages);
        self.choose_path(slot, now);
    }
}
