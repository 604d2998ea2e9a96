//! The floor: what a bare loop of seal and batched send costs on this machine, in the units of the
//! results, so that they mean something on another machine.

use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use dataplane::client::{BATCH_MAX, Counters, DtlsKeys, Outbox, Path, Profile, UdpWire, bind};

use crate::measure::ProcessUse;

/// Distinct destinations, as many sinks as a small class.
const PEERS: usize = 64;
const PAYLOAD_BYTES: usize = 1150;

/// Seals and sends packets of video size for about `seconds` and returns microseconds of CPU per
/// packet (user and system time of this process, which does nothing else meanwhile).
pub(crate) fn measure(seconds: f64) -> Result<f64, String> {
    let describe = |error: std::io::Error| format!("the floor cannot be measured: {error}");
    // Sinks that nobody reads: once full, the kernel drops at the receiving socket, after all the
    // work that a sender pays for.
    let sinks: Vec<UdpSocket> = (0..PEERS)
        .map(|_| UdpSocket::bind(("127.0.0.1", 0)))
        .collect::<Result<_, _>>()
        .map_err(describe)?;
    let peers: Vec<SocketAddr> =
        sinks.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>().map_err(describe)?;
    let socket = bind(0).map_err(|(_, error)| describe(error))?;
    let mut outbox = Outbox::new(Box::new(UdpWire::new(socket, Instant::now())));
    let mut counters = Counters::new();
    let profile = Profile::AeadAes256Gcm;
    let material = vec![7; profile.material_bytes()];
    let keys = DtlsKeys { profile, material, is_client: false };
    let (sealer, _) = keys.derive().ok_or("no keys")?;
    let payload = [9u8; PAYLOAD_BYTES];
    let before = ProcessUse::read(std::process::id())?;
    let (start, mut packets) = (Instant::now(), 0u64);
    while start.elapsed().as_secs_f64() < seconds {
        for peer in peers.iter().cycle().take(16 * BATCH_MAX) {
            let out = outbox.room(&mut counters);
            out[..12].fill(0);
            out[0] = 0x80;
            out[2..4].copy_from_slice(&(packets as u16).to_be_bytes());
            let len = sealer.seal_rtp(out, 12, &payload, (packets >> 16) as u32);
            outbox.commit(len, &Path::udp(*peer, None));
            packets += 1;
        }
    }
    outbox.flush(&mut counters);
    let used = ProcessUse::read(std::process::id())?.cpu_since(&before);
    Ok(used.as_secs_f64() * 1e6 / packets as f64)
}
