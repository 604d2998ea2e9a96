//! The fan-out of one packet, with no network and no peers, for the benches: exactly the code that
//! runs in a shard, fed with fixed keys.

use crate::api::LayerCap;
use crate::canonical::{Element, HEADER_BYTES_MAX, PacketMeta, write_header};
use crate::choose::Target;
use crate::codec::Codec;
use crate::descriptor::{self, FrameInfo};
use crate::egress::Egress;
use crate::extension::{Extension, ExtensionMap};
use crate::forward::{Forwarder, Parked};
use crate::id::{PublicationId, ShardId, TransportId};
use crate::outbox::{Outbox, Outgoing, Wire};
use crate::path::Path;
use crate::rtp::RtpHeader;
use crate::sending::{Batch, Packet, Sending};
use crate::source::{Origin, Source};
use crate::srtp::{DtlsKeys, Profile, Sealer};
use crate::stats::Counters;
use crate::subscriber::{Negotiated, Subscriber};

struct Nowhere;

impl Wire for Nowhere {
    fn send(&mut self, slab: &[u8], batch: &[Outgoing]) -> usize {
        std::hint::black_box(slab);
        batch.len()
    }

    fn now_us(&mut self) -> u64 {
        0
    }
}

/// One video Publication with viewers.
pub struct Fanout {
    source: Source,
    egress: Vec<Option<Egress>>,
    pacing: Vec<usize>,
    outbox: Outbox,
    counters: Counters,
    header: Vec<u8>,
    payload: Vec<u8>,
    meta: PacketMeta,
}

fn sealer(seed: u8, is_256: bool) -> Sealer {
    let profile = if is_256 { Profile::AeadAes256Gcm } else { Profile::AeadAes128Gcm };
    let material =
        (0..profile.material_bytes()).map(|i| (i as u8).wrapping_mul(7) ^ seed).collect();
    let keys = DtlsKeys { profile, material, is_client: false };
    #[expect(clippy::expect_used, reason = "the material was made as long as the profile asks")]
    let (sealer, _) = keys.derive().expect("keys of the right length");
    sealer
}

impl Fanout {
    /// A Publication with `viewers` Subscriptions, fed with packets of `payload_bytes`, sealed
    /// with AES-256-GCM (what our handshake prefers) or AES-128-GCM.
    pub fn new(viewers: usize, payload_bytes: usize, is_256: bool) -> Self {
        let mut source = Source::new(Origin::Publisher(0), Codec::Vp8, 1);
        let transport = TransportId::new(ShardId(0), 1);
        let publication = PublicationId { transport, m_line: 0 };
        let mut egress = Vec::new();
        for viewer in 0..viewers {
            let to = ([10, 0, (viewer >> 8) as u8, viewer as u8], 5000).into();
            let sealer = sealer(viewer as u8, is_256);
            egress.push(Some(Egress::new(Path::udp(to, None), sealer)));
            let forwarder =
                Forwarder::new(Codec::Vp8, 90_000, Target::all(0), Parked::fresh(100, 0));
            let ssrc = viewer as u32 + 1;
            let negotiated = Negotiated {
                ssrc,
                pt: 96,
                rtx: Some((ssrc | 1 << 31, 97)),
                red: None,
                mid: Element::mid("abc"),
                ids: None,
                has_feedback: true,
                tells_by_ssrc: false,
                has_dependencies: true,
                has_playout_delay: true,
            };
            source.add(Subscriber::new(
                publication,
                viewer,
                forwarder,
                (LayerCap::High, 0),
                negotiated,
                0,
            ));
        }
        let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 1];
        packet.extend([0x31, 0, 1, 0]);
        let mut payload = vec![0x90, 0x80, 0x80, 1, 0];
        payload.resize(payload_bytes.max(5), 9);
        packet.extend(&payload);
        let mut extensions = ExtensionMap::default();
        extensions.insert(3, Extension::Twcc.uri());
        let mut out = [0; HEADER_BYTES_MAX];
        let written = RtpHeader::parse(&packet)
            .and_then(|header| write_header(&header, &packet, &extensions, None, &mut out));
        let (header_len, is_two_byte) = written.map_or((0, false), |w| (w.len, w.is_two_byte));
        let mut frame = descriptor::parse(Codec::Vp8, &payload);
        frame.is_keyframe = true;
        let meta = PacketMeta {
            seq: 1,
            is_two_byte,
            header_len: header_len as u16,
            frame,
            ..PacketMeta::default()
        };
        Self {
            source,
            egress,
            pacing: Vec::new(),
            outbox: Outbox::new(Box::new(Nowhere)),
            counters: Counters::new(),
            header: out[..header_len].to_vec(),
            payload,
            meta,
        }
    }

    /// Stores the next packet and decides, rewrites and seals it for every viewer. Returns how
    /// many copies have been made since the start.
    pub fn forward(&mut self) -> u64 {
        self.meta.seq += 1;
        self.meta.rtp_time = self.meta.rtp_time.wrapping_add(3000);
        self.meta.at_us += 33_333;
        let (meta, header, payload) = (&self.meta, &self.header, &self.payload);
        let packet = Packet { meta, header, payload, padding: 0 };
        let mut sending = Sending {
            egress: &mut self.egress,
            batch: Batch {
                outbox: &mut self.outbox,
                counters: &mut self.counters,
                now_us: self.meta.at_us,
            },
            pacing: &mut self.pacing,
        };
        let _ = self.source.keep(0, packet);
        self.source.fan_out(&mut sending);
        // Only the first one had to be a keyframe.
        self.meta.frame = FrameInfo { is_keyframe: false, ..self.meta.frame };
        self.counters.rtp_out.video.packets
    }
}

/// The bare seal of the same library, over as many keys: what no forwarding can be cheaper than.
pub struct BareSeal {
    sealers: Vec<Sealer>,
    slab: Vec<u8>,
    header_len: usize,
    payload: Vec<u8>,
    roc: u32,
}

impl BareSeal {
    /// Keys for `viewers`, packets like those of [`Fanout`].
    pub fn new(viewers: usize, payload_bytes: usize, is_256: bool) -> Self {
        let sealers = (0..viewers).map(|viewer| sealer(viewer as u8, is_256)).collect();
        let mut slab = vec![0; 1600];
        slab[0] = 0x80;
        Self { sealers, slab, header_len: 28, payload: vec![9; payload_bytes], roc: 0 }
    }

    /// Seals one packet under every key. Returns the bytes of the last one.
    pub fn seal(&mut self) -> usize {
        self.roc += 1;
        let mut len = 0;
        for sealer in &self.sealers {
            len = sealer.seal_rtp(&mut self.slab, self.header_len, &self.payload, self.roc);
        }
        len
    }
}

/// One packet sealed by our code, under one key: [`Sealer`] beside the bare library.
pub struct Seal {
    sealer: Sealer,
    out: Vec<u8>,
    payload: Vec<u8>,
    roc: u32,
}

impl Seal {
    /// A packet with a header of 28 octets.
    pub fn new(payload_bytes: usize, is_256: bool) -> Self {
        let mut out = vec![0; 1600];
        out[0] = 0x80;
        Self { sealer: sealer(1, is_256), out, payload: vec![9; payload_bytes], roc: 0 }
    }

    /// Seals it under the next rollover counter. Returns the packet's length.
    pub fn seal(&mut self) -> usize {
        self.roc += 1;
        self.sealer.seal_rtp(&mut self.out, 28, &self.payload, self.roc)
    }
}
