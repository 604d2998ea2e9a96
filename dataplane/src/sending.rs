//! Sending one packet to one viewer: the viewer's header over the canonical one, the payload edited
//! where the Forwarder says so, sealed straight into the send batch.

use crate::canonical::{
    HEADER_BYTES_MAX, HopFields, PACKET_BYTES_MAX, PacketMeta, PerViewer, patch, translate_ids,
    write_blank_header,
};
use crate::codec::MediaKind;
use crate::descriptor::write_picture_id;
use crate::egress::Egress;
use crate::forward::{Join, Placement};
use crate::obu::write_joined;
use crate::outbox::Outbox;
use crate::red;
use crate::stats::{Counters, DropReason};
use crate::subscriber::{RETRANSMIT_BURST_BYTES, Subscriber};

/// The padding of one packet that carries nothing else (RFC 3550 s5.1: an octet counts it).
const PADDING_BYTES: usize = 255;

/// What it takes to send to viewers.
pub(crate) struct Sending<'a> {
    /// By slot; `None` where nobody is connected.
    pub egress: &'a mut [Option<Egress>],
    /// Where it goes.
    pub batch: Batch<'a>,
    /// Slots of viewers with packets that wait for their turn.
    pub pacing: &'a mut Vec<usize>,
}

/// The send batch, and when it is filled.
pub(crate) struct Batch<'a> {
    /// The batch.
    pub outbox: &'a mut Outbox,
    /// The shard's counters.
    pub counters: &'a mut Counters,
    /// Microseconds since our epoch.
    pub now_us: u64,
}

/// A packet in canonical form.
#[derive(Clone, Copy)]
pub(crate) struct Packet<'a> {
    /// Its properties.
    pub meta: &'a PacketMeta,
    /// The canonical header.
    pub header: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
    /// Padding octets to add behind it (RFC 3550 s5.1).
    pub padding: u8,
}

impl<'a> Packet<'a> {
    /// Splits canonical bytes at the header's length; `None` if they are shorter.
    pub(crate) fn split(meta: &'a PacketMeta, bytes: &'a [u8]) -> Option<Self> {
        let (header, payload) = bytes.split_at_checked(usize::from(meta.header_len))?;
        Some(Self { meta, header, payload, padding: 0 })
    }
}

fn hop(
    subscriber: &Subscriber,
    egress: &mut Egress,
    (ssrc, seq): (u32, u64),
    len: usize,
    batch: &mut Batch<'_>,
) -> HopFields {
    if !subscriber.is_numbered {
        return HopFields::default();
    }
    let hop = egress.stamp(len, batch.outbox.leave_us(batch.now_us, batch.counters));
    if subscriber.tells_by_ssrc {
        egress.numbers.note(ssrc, seq as u16, hop.twcc);
    }
    hop
}

/// Whether a viewer's path is a TCP connection that is behind: what would make it later is left out,
/// newest first, and the congestion controller is told.
fn is_late(egress: &mut Egress, batch: &mut Batch<'_>) -> bool {
    let Some(stream) = egress.path.stream else {
        return false;
    };
    let is_late = batch.outbox.is_late(stream);
    if is_late {
        egress.is_behind = true;
        batch.counters.drop(DropReason::StreamLate);
    }
    is_late
}

/// Seals a packet for a viewer.
pub(crate) fn send(
    subscriber: &mut Subscriber,
    egress: &mut Egress,
    placement: &Placement,
    packet: Packet<'_>,
    batch: &mut Batch<'_>,
) {
    if subscriber.forwarder.kind() == MediaKind::Video && is_late(egress, batch) {
        return;
    }
    let Packet { meta, header, payload, padding } = packet;
    // Without RTX a retransmission must repeat the packet, and it would come without padding.
    let padding = if subscriber.rtx.is_some() { usize::from(padding) } else { 0 };
    let viewer = PerViewer {
        marker_pt: u8::from(placement.marker) << 7 | subscriber.pt,
        seq_no: placement.seq as u16,
        rtp_time: placement.rtp_time,
        ssrc: subscriber.ssrc,
        element: subscriber.element(placement.rtp_time),
        hop: hop(
            subscriber,
            egress,
            (subscriber.ssrc, placement.seq),
            header.len() + payload.len() + padding,
            batch,
        ),
        frame_delta: placement.frame_delta,
        active: placement.active,
    };
    let Batch { outbox, counters, .. } = batch;
    let out = outbox.room(counters);
    if !write_viewer_header(out, subscriber, packet, &viewer) {
        return;
    }
    let roc = (placement.seq >> 16) as u32;
    let is_edited = placement.picture_delta != 0
        || placement.tl0_delta != 0
        || placement.join != Join::default();
    let len = if padding == 0 && !is_edited {
        egress.sealer.seal_rtp(out, header.len(), payload, roc)
    } else {
        let mut edited = [0; PACKET_BYTES_MAX];
        let len = edit_payload(&mut edited, payload, placement, meta);
        let Some(edited) = len.and_then(|len| edited.get_mut(..len + padding)) else {
            return;
        };
        if let (Some(last), true) = (edited.last_mut(), padding > 0) {
            // RFC 3550 s5.1: the P bit, and the last octet counts the padding.
            out[0] |= 0x20;
            *last = padding as u8;
        }
        egress.sealer.seal_rtp(out, header.len(), edited, roc)
    };
    if let Some(repeats) = &mut subscriber.repeats
        && let Some(sealed) = out.get(..len)
    {
        repeats.keep(placement.seq as u16, viewer.hop.twcc, sealed);
    }
    outbox.commit(len, &egress.path);
    counters.rtp_out.of(subscriber.forwarder.kind()).count(len);
    subscriber.sent.0 = subscriber.sent.0.wrapping_add(1);
    subscriber.sent.1 = subscriber.sent.1.wrapping_add(payload.len() as u32);
    let earned = subscriber.retransmit_bytes + payload.len() as u32 / 4;
    subscriber.retransmit_bytes = earned.min(RETRANSMIT_BURST_BYTES);
}

/// RFC 2198: the packet with those before it, under the payload type of redundant audio.
pub(crate) fn send_red<'a>(
    subscriber: &mut Subscriber,
    egress: &mut Egress,
    placement: &Placement,
    packet: Packet<'_>,
    earlier: impl Iterator<Item = (u32, &'a [u8])> + Clone,
    batch: &mut Batch<'_>,
) {
    let mut payload = [0; PACKET_BYTES_MAX];
    let own = (packet.meta.rtp_time, packet.payload);
    let written = red::write(&mut payload, subscriber.pt, own, earlier);
    let (Some(len), Some(pt)) = (written, subscriber.red) else {
        return send(subscriber, egress, placement, packet, batch);
    };
    let packet = Packet { payload: &payload[..len], ..packet };
    let own_pt = std::mem::replace(&mut subscriber.pt, pt);
    send(subscriber, egress, placement, packet, batch);
    subscriber.pt = own_pt;
}

/// Sends a packet of sound once more, octet by octet. Its transport-wide number is that of then: the way of the
/// second one says nothing about the path.
pub(crate) fn send_again(
    subscriber: &Subscriber,
    seq_no: u16,
    egress: &mut Egress,
    batch: &mut Batch<'_>,
) -> Option<()> {
    let (twcc, sealed) = subscriber.repeats.as_ref()?.get(seq_no)?;
    if subscriber.is_numbered {
        egress.flow.history.forget(twcc);
    }
    let Batch { outbox, counters, .. } = batch;
    outbox.push(sealed, egress.path, counters);
    counters.rtp_out.of(subscriber.forwarder.kind()).count(sealed.len());
    Some(())
}

/// RFC 4588: its own SSRC and numbering, the original sequence number before the payload.
pub(crate) fn send_rtx(
    subscriber: &mut Subscriber,
    (ssrc, pt): (u32, u8),
    egress: &mut Egress,
    placement: &Placement,
    packet: Packet<'_>,
    batch: &mut Batch<'_>,
) {
    if is_late(egress, batch) {
        return;
    }
    let Packet { meta, header, payload, .. } = packet;
    let mut edited = [0; PACKET_BYTES_MAX + 2];
    let (osn, body) = edited.split_at_mut(2);
    osn.copy_from_slice(&(placement.seq as u16).to_be_bytes());
    let Some(len) = edit_payload(body, payload, placement, meta) else {
        return;
    };
    let seq = subscriber.rtx_next;
    subscriber.rtx_next += 1;
    let viewer = PerViewer {
        marker_pt: u8::from(placement.marker) << 7 | pt,
        seq_no: seq as u16,
        rtp_time: placement.rtp_time,
        ssrc,
        element: subscriber.mid,
        hop: hop(subscriber, egress, (ssrc, seq), header.len() + len + 2, batch),
        frame_delta: placement.frame_delta,
        active: placement.active,
    };
    let Batch { outbox, counters, .. } = batch;
    let out = outbox.room(counters);
    if !write_viewer_header(out, subscriber, packet, &viewer) {
        return;
    }
    let len = egress.sealer.seal_rtp(out, header.len(), &edited[..len + 2], (seq >> 16) as u32);
    outbox.commit(len, &egress.path);
    counters.rtp_out.of(subscriber.forwarder.kind()).count(len);
}

/// Sends padding and nothing else, on the RTX SSRC: a gap there is nobody's loss.
pub(crate) fn send_padding(
    subscriber: &mut Subscriber,
    (ssrc, pt): (u32, u8),
    egress: &mut Egress,
    batch: &mut Batch<'_>,
) {
    if is_late(egress, batch) {
        return;
    }
    let mut header = [0; HEADER_BYTES_MAX];
    let Some(meta) = write_blank_header(&mut header) else {
        return;
    };
    let header = &header[..usize::from(meta.header_len)];
    let seq = subscriber.rtx_next;
    subscriber.rtx_next += 1;
    let viewer = PerViewer {
        marker_pt: pt,
        seq_no: seq as u16,
        rtp_time: subscriber.forwarder.last_rtp_time(),
        ssrc,
        element: subscriber.mid,
        hop: hop(subscriber, egress, (ssrc, seq), header.len() + PADDING_BYTES, batch),
        frame_delta: 0,
        active: None,
    };
    let Batch { outbox, counters, .. } = batch;
    let out = outbox.room(counters);
    let packet = Packet { meta: &meta, header, payload: &[], padding: PADDING_BYTES as u8 };
    if !write_viewer_header(out, subscriber, packet, &viewer) {
        return;
    }
    out[0] |= 0x20;
    let mut padding = [0; PADDING_BYTES];
    padding[PADDING_BYTES - 1] = PADDING_BYTES as u8;
    let len = egress.sealer.seal_rtp(out, header.len(), &padding, (seq >> 16) as u32);
    outbox.commit(len, &egress.path);
    counters.probed_bytes += len as u64;
}

/// Copies the canonical header into `out` and makes it this viewer's.
#[inline(always)]
fn write_viewer_header(
    out: &mut [u8],
    subscriber: &Subscriber,
    packet: Packet<'_>,
    viewer: &PerViewer,
) -> bool {
    let Some(target) = out.get_mut(..packet.header.len()) else {
        return false;
    };
    target.copy_from_slice(packet.header);
    patch(target, packet.meta, viewer);
    if let Some(ids) = &subscriber.ids {
        translate_ids(target, packet.meta, ids);
    }
    true
}

/// Writes the payload into `out` as this viewer gets it, and returns its length. `None` if there is no room.
fn edit_payload(
    out: &mut [u8],
    payload: &[u8],
    placement: &Placement,
    meta: &PacketMeta,
) -> Option<usize> {
    if placement.join != Join::default()
        && let Some(len) = write_joined(out, payload, placement.join)
    {
        return Some(len);
    }
    let out = out.get_mut(..payload.len())?;
    out.copy_from_slice(payload);
    if let (Some(id), true) = (meta.frame.picture_id, placement.picture_delta != 0) {
        write_picture_id(out, id, id.value.wrapping_add(placement.picture_delta));
    }
    if let (Some((at, tl0)), true) = (meta.frame.tl0, placement.tl0_delta != 0)
        && let Some(byte) = out.get_mut(usize::from(at))
    {
        *byte = tl0.wrapping_add(placement.tl0_delta);
    }
    Some(payload.len())
}
