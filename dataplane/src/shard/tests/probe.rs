//! What tests may see and do inside a shard.

use std::time::Instant;

use super::super::Shard;
use super::net::Net;
use crate::api::{ClientKey, LayerCap};
use crate::codec::MediaKind;
use crate::id::{PublicationId, TransportId};
use crate::rtcp::Writer;
use crate::srtp::{DtlsKeys, Sealer};
use crate::transport::{Role, Transport};

impl Shard {
    /// Whether nothing is left of any Transport.
    pub(super) fn is_empty(&self) -> bool {
        self.transports.is_empty() && self.routes.counts().0 == 0 && self.sources.is_empty()
    }

    /// How many Transports are alive.
    pub(super) fn transport_count(&self) -> usize {
        self.transports.count()
    }

    /// Addresses proven here, proven elsewhere, and claimed to be elsewhere.
    pub(super) fn address_counts(&self) -> (usize, usize, usize) {
        self.routes.counts()
    }

    /// What a client's path takes, in bits per second.
    pub(super) fn estimate_of(&self, key: ClientKey, now_us: u64) -> Option<u64> {
        self.clients.get(key)?.estimate_bps(&self.transports, now_us)
    }

    fn test_transport(&self, id: TransportId) -> &Transport {
        let slot = self.transports.slot_of(id).expect("the Transport is alive");
        self.transports.get(slot).expect("the Transport is alive")
    }

    pub(super) fn test_credentials(&self, id: TransportId) -> (String, String) {
        let (ufrag, password) = self.test_transport(id).peer.credentials();
        (ufrag.to_owned(), password.to_owned())
    }

    pub(super) fn test_remote_credentials(&self, id: TransportId) -> (String, String) {
        let known = self.test_transport(id).peer.remote_credentials();
        let (ufrag, password) = known.expect("described");
        (ufrag.to_owned(), password.to_owned())
    }

    /// The keys with which the remote peer sends.
    pub(super) fn test_peer_sealer(&self, id: TransportId) -> Sealer {
        let keys = self.test_transport(id).peer.keys().and_then(Result::ok).expect("connected");
        let theirs = DtlsKeys {
            profile: keys.profile,
            material: keys.material.clone(),
            is_client: !keys.is_client,
        };
        theirs.derive().expect("keys").0
    }

    pub(super) fn test_video_ssrc(&self, id: TransportId) -> u32 {
        let Role::Viewer(viewer) = &self.test_transport(id).role else { panic!("a viewer") };
        let line = viewer.lines.iter().find(|line| line.kind == MediaKind::Video);
        line.expect("a video section").ssrc.0
    }

    /// The bound that a publisher has been told.
    pub(super) fn told_bound(&self, publisher: TransportId) -> Option<u64> {
        let Role::Publisher(publisher) = &self.test_transport(publisher).role else {
            return None;
        };
        publisher.told.bound_bps()
    }

    pub(super) fn cap_of(
        &self,
        viewer: TransportId,
        publication: PublicationId,
    ) -> Option<LayerCap> {
        let Role::Viewer(viewer) = &self.test_transport(viewer).role else {
            return None;
        };
        let mut subscriptions = viewer.lines.iter().filter_map(|line| line.subscription.as_ref());
        let (_, at) = subscriptions.find(|(info, _)| info.id == publication)?;
        Some(self.sources.get(publication)?.subscribers.get(*at)?.as_ref()?.cap)
    }

    /// Ends a Transport's engine without a word from the peer.
    pub(super) fn inject_failure(&mut self, id: TransportId, now: Instant) {
        let slot = self.transports.slot_of(id).expect("the Transport is alive");
        let transport = self.transports.get_mut(slot).expect("the Transport is alive");
        transport.peer.inject_failure();
        self.step_peer(slot, None, now, |peer, transmit| peer.handle_timeout(now, transmit));
    }

    /// Makes a Transport's engine panic.
    pub(super) fn inject_fault(&mut self, id: TransportId, now: Instant) {
        let slot = self.transports.slot_of(id).expect("the Transport is alive");
        let transport = self.transports.get_mut(slot).expect("the Transport is alive");
        assert!(transport.peer.inject_fault(now).is_err());
        self.step_peer(slot, None, now, |peer, transmit| peer.handle_timeout(now, transmit));
    }
}

impl Net {
    /// The server's user name fragment and password for a peer.
    pub(super) fn credentials(&self, peer: usize) -> (String, String) {
        let id = self.peers[peer].id;
        self.shards[id.shard().index()].test_credentials(id)
    }

    /// The same that the peer has told the server.
    pub(super) fn remote_credentials(&self, peer: usize) -> (String, String) {
        let id = self.peers[peer].id;
        self.shards[id.shard().index()].test_remote_credentials(id)
    }

    pub(super) fn ufrag(&self, peer: usize) -> String {
        self.credentials(peer).0
    }

    /// A peer's own sending keys, to seal what its engine never would.
    pub(super) fn steal_keys(&self, peer: usize) -> Sealer {
        let id = self.peers[peer].id;
        self.shards[id.shard().index()].test_peer_sealer(id)
    }

    /// The same for RTCP, past all indices that the engine has used: a replay is refused.
    pub(super) fn rtcp_sealer(&self, peer: usize) -> Sealer {
        let mut sealer = self.steal_keys(peer);
        for _ in 0..10_000 {
            sealer.seal_rtcp(&mut [0; 100], 28);
        }
        sealer
    }

    /// Sends RTCP from where a peer is.
    pub(super) fn send_rtcp(
        &mut self,
        peer: usize,
        sealer: &mut Sealer,
        write: impl FnOnce(&mut Writer<'_>),
    ) {
        let mut buf = [0; 1000];
        let mut writer = Writer::new(&mut buf[..900]);
        write(&mut writer);
        let len = writer.written();
        let len = sealer.seal_rtcp(&mut buf, len);
        let address = self.peers[peer].address;
        self.reach_server(address, &buf[..len]);
    }
}
