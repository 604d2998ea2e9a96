//! Sound that a viewer asks for again (there is no RTX for it).

use std::time::Duration;

use str0m::media::MediaKind as PeerKind;

use super::forwarding::{audio_numbers, live_publisher};
use super::net::{Net, Rtp};
use crate::api::LayerCap;
use crate::stats::DropReason;

#[test]
fn lost_sound_comes_again_for_who_has_asked_before() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.connect(viewer);
    let speak = |net: &mut Net, seq, is_lost| {
        net.peers[viewer].loss_down = if is_lost { 100 } else { 0 };
        net.publish(publisher, PeerKind::Audio, Rtp::opus(seq));
        net.advance(Duration::from_millis(20));
        net.peers[viewer].loss_down = 0;
    };
    (2..10).for_each(|seq| speak(&mut net, seq, false));
    let heard =
        net.peers[viewer].packets.iter().rfind(|packet| packet.payload.starts_with(b"opus"));
    let last = heard.expect("sound");
    let (ssrc, newest) = (*last.header.ssrc, *last.seq_no as u16);
    let mut sealer = net.rtcp_sealer(viewer);
    for (seq, is_repeated) in [(10, false), (12, true), (14, true)] {
        speak(&mut net, seq, true);
        speak(&mut net, seq + 1, false);
        let refused = net.dropped(DropReason::NackRefused);
        let number = newest.wrapping_add(seq as u16 - 9);
        net.send_rtcp(viewer, &mut sealer, |writer| writer.nack(1, ssrc, &[(number, 0)]));
        net.advance(Duration::from_millis(100));
        let heard = audio_numbers(&net.peers[viewer].packets);
        assert_eq!(heard.contains(&(seq as u32)), is_repeated, "{seq} in {heard:?}");
        assert_eq!(net.dropped(DropReason::NackRefused) - refused, u64::from(!is_repeated));
        if is_repeated {
            assert_eq!(heard.last(), Some(&(seq as u32)));
            let again = net.peers[viewer].packets.last().expect("sound");
            assert_eq!((*again.header.ssrc, *again.seq_no as u16), (ssrc, number));
        }
    }
    // What was never sent, and what is too old.
    let refused = net.dropped(DropReason::NackRefused);
    net.send_rtcp(viewer, &mut sealer, |writer| {
        writer.nack(1, ssrc, &[(newest.wrapping_add(500), 0), (newest.wrapping_sub(500), 0)]);
    });
    assert_eq!(net.dropped(DropReason::NackRefused), refused + 2);
}
