//! Probes of clients' paths: what might be of use is tried with packets that viewers can do without.

use std::time::{Duration, Instant};

use super::clients::Client;
use super::transports::Transports;
use super::{Shard, sending};
use crate::api::ClientKey;
use crate::codec::MediaKind;
use crate::congestion::{Cluster, PROBE_PERCENT};
use crate::id::PublicationId;

/// Between two packets of a probe, at least.
const PROBE_STEP: Duration = Duration::from_millis(5);
/// Packets of a probe in one step.
const PROBE_PACKETS_MAX: usize = 64;

/// Probes that nobody needs wait while so many run on the shard.
const BRISK_AT_ONCE_MAX: usize = 16;

impl Shard {
    /// Begins a probe of a client's path if more would be of use.
    pub(super) fn begin_probe(&mut self, key: ClientKey, now: Instant) {
        let now_us = self.time.micros(now);
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if client.hold.is_settling(now_us) {
            return;
        }
        let Some(mut wanted_bps) = client.wanted_bps else {
            self.begin_brisk_probe(key, now);
            return;
        };
        // Whose pictures are paused has nothing to wait for; others wait for a path that is another one.
        if client.hold.is_on(now_us) && !client.is_starved {
            wanted_bps = wanted_bps.max(client.hold.ends_at_bps() * PROBE_PERCENT / 100);
        }
        let Some(cluster) = client.controller.begin_probe(wanted_bps, client.is_starved, now_us)
        else {
            return;
        };
        self.run_probe(key, cluster, now);
    }

    /// Begins one for the sake of quick pictures, if it is time for that and not for many others.
    fn begin_brisk_probe(&mut self, key: ClientKey, now: Instant) {
        let now_us = self.time.micros(now);
        if self.clients.probing.len() >= BRISK_AT_ONCE_MAX {
            return;
        }
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        // A connection over TCP tells by being late, and that would count.
        if client.egresses(&self.transports).any(|egress| egress.path.stream.is_some()) {
            return;
        }
        if let Some(wish_bps) = client.brisk_wish(now_us)
            && let Some(cluster) = client.controller.begin_spare_probe(wish_bps, now_us)
        {
            self.run_probe(key, cluster, now);
        }
    }

    fn run_probe(&mut self, key: ClientKey, cluster: Cluster, now: Instant) {
        let now_us = self.time.micros(now);
        let Some(client) = self.clients.get(key) else {
            return;
        };
        for slot in &client.slots {
            if let Some(egress) = self.transports.egress_mut(*slot) {
                egress.set_probe(cluster, now_us);
            }
        }
        self.clients.probing.push(key);
        self.clients.probe_at = Some(now);
    }

    /// Fills the probes that run with what their viewers can do without.
    pub(super) fn run_probes(&mut self, now: Instant) {
        if self.clients.probe_at.is_none_or(|at| at > now) {
            return;
        }
        let now_us = self.time.micros(now);
        let mut probing = std::mem::take(&mut self.clients.probing);
        probing.retain(|key| self.fill_probe(*key, now_us));
        self.clients.probe_at = (!probing.is_empty()).then(|| now + PROBE_STEP);
        self.clients.probing = probing;
    }

    /// Goes on with the probe of a client's path; says whether one runs.
    fn fill_probe(&mut self, key: ClientKey, now_us: u64) -> bool {
        let Self { clients, transports, sources, pacing, outbox, statistics, .. } = self;
        let Some(client) = clients.get(key) else {
            return false;
        };
        let Some(cluster) = client.controller.probe(now_us) else {
            for slot in &client.slots {
                if let Some(egress) = transports.egress_mut(*slot) {
                    egress.end_probe(now_us);
                }
            }
            return false;
        };
        // Pictures fill it, too.
        if client.egresses(transports).any(|egress| !egress.paced.is_empty()) {
            return true;
        }
        // What is due by the end of this step.
        let passed_us = now_us - cluster.since_us + PROBE_STEP.as_micros() as u64;
        let due_bytes = cluster.rate_bps * passed_us / 8_000_000;
        let carriers = client.pictures(transports);
        for step in 0..PROBE_PACKETS_MAX {
            if client.probe_bytes(transports, cluster) >= due_bytes || carriers.is_empty() {
                break;
            }
            let (publication, at) = carriers[step % carriers.len()];
            let Some(source) = sources.get_mut(publication) else {
                break;
            };
            let counters = &mut statistics.counters;
            let mut sending = sending(transports, pacing, outbox, counters, now_us);
            source.send_probe(at, cluster.is_small, &mut sending);
        }
        true
    }
}

impl Client {
    /// See [`Brisk::wish`].
    fn brisk_wish(&mut self, now_us: u64) -> Option<u64> {
        let estimate_bps = self.controller.estimate_bps(None, now_us)?;
        let calm_since_us = self.controller.calm_since_us()?;
        self.brisk.wish((self.media_bps, estimate_bps), calm_since_us, now_us)
    }

    /// The octets that a probe of its path has had.
    fn probe_bytes(&self, transports: &Transports, cluster: Cluster) -> u64 {
        self.egresses(transports).map(|egress| egress.probe_bytes(cluster)).sum()
    }

    /// The pictures that it gets: each by its Publication and the Subscriber's index there.
    fn pictures(&self, transports: &Transports) -> Vec<(PublicationId, usize)> {
        let viewers = self.slots.iter().filter_map(|slot| transports.viewer(*slot));
        let lines = viewers.flat_map(|viewer| &viewer.lines);
        let pictures = lines.filter(|line| line.kind == MediaKind::Video);
        pictures
            .filter_map(|line| line.subscription.as_ref().map(|(info, at)| (info.id, *at)))
            .collect()
    }
}
