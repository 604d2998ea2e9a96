//! Connecting, moving, restarting, vanishing.

use std::time::Duration;

use str0m::media::MediaKind as PeerKind;

use super::forwarding::{CODECS, live_publisher, video_numbers};
use super::net::{Net, Rtp};
use crate::api::{Command, Event, LayerCap};
use crate::error::{CloseReason, PeerError};

fn refusals(net: &Net) -> Vec<PeerError> {
    net.events
        .iter()
        .filter_map(|event| match event {
            Event::Refused { error, .. } => Some(error.clone()),
            _ => None,
        })
        .collect()
}

/// Row 9.
#[test]
fn a_peer_that_vanishes_is_noticed_told_and_forgotten() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.connect(viewer);
    net.peers[viewer].loss_up = 100;
    let id = net.peers[viewer].id;
    let vanished = net.now;
    net.run_until("the silence is told", |net| {
        net.events
            .iter()
            .any(|e| matches!(e, Event::Disconnected { transport } if *transport == id))
    });
    net.run_until("it is closed", |net| {
        net.events.iter().any(|e| {
            matches!(e, Event::Closed { transport, reason: CloseReason::ConsentExpired } if *transport == id)
        })
    });
    let took = (net.now - vanished).as_secs();
    assert!((25..=35).contains(&took), "{took} s");
    let id = net.peers[publisher].id;
    net.command(Command::Close { transport: id });
    assert!(net.shards[0].is_empty());
}

#[test]
fn a_peer_that_never_connects_is_closed() {
    let mut net = Net::new(1);
    let publisher = net.publisher(0, CODECS, &[]);
    net.peers[publisher].loss_up = 100;
    net.peers[publisher].loss_down = 100;
    net.advance(Duration::from_secs(62));
    let (late, failed) = (CloseReason::ConnectTimeout, CloseReason::DtlsClosed);
    assert!(net.events.iter().any(|event| {
        matches!(event, Event::Closed { reason, .. } if [late, failed].contains(reason))
    }));
    assert!(net.shards[0].is_empty());
}

/// Row 10: the same peer from another port, as after a NAT rebinding.
#[test]
fn media_follows_a_rebinding_and_nobody_new_appears() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.connect(viewer);
    net.nat = Some((viewer, 6000));
    let transports = net.shards[0].transport_count();
    let mut seq = 2;
    let mut arrived = |net: &mut Net| {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, true));
        seq += 1;
        net.advance(Duration::from_millis(100));
        net.peers[viewer].packets.len()
    };
    let before = arrived(&mut net);
    for _ in 0..80 {
        arrived(&mut net);
    }
    assert!(arrived(&mut net) > before + 30);
    assert_eq!(net.shards[0].transport_count(), transports);
}

/// Row 11, the server's half: an ICE restart keeps media flowing and changes the credentials.
#[test]
fn an_ice_restart_by_either_side_keeps_the_transport() {
    let mut net = Net::new(2);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(1, &publications, LayerCap::High);
    net.connect(viewer);
    let before = net.ufrag(viewer);
    net.subscribe(viewer, &publications, LayerCap::High, true);
    net.advance(Duration::from_secs(2));
    let after = net.ufrag(viewer);
    assert_ne!(before, after);
    let (shard, _) = crate::ufrag::decode(&after).expect("ours");
    assert_eq!(shard.0, 1, "the new fragment still names the shard");
    let ours = net.ufrag(publisher);
    net.republish_with_restart(publisher, CODECS);
    net.advance(Duration::from_secs(2));
    assert_ne!(net.ufrag(publisher), ours);
    for seq in 2..20 {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, seq == 2));
        net.advance(Duration::from_millis(50));
    }
    let numbers = video_numbers(&net.peers[viewer].packets);
    assert!(
        (2..20).all(|number| numbers.contains(&number)),
        "{numbers:?}"
    );
    assert_eq!(refusals(&net), []);
}

/// Row 45: the machine stalls for 200 ms; what was sent meanwhile arrives, and nothing is closed.
#[test]
fn a_stall_of_the_shard_is_made_up_for() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.connect(viewer);
    for seq in 2..10 {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, seq == 2));
        net.advance(Duration::from_millis(20));
    }
    net.now += Duration::from_millis(200);
    for seq in 10..20 {
        net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, false));
    }
    net.advance(Duration::from_millis(500));
    let numbers = video_numbers(&net.peers[viewer].packets);
    assert!(
        (2..20).all(|number| numbers.contains(&number)),
        "{numbers:?}"
    );
    assert!(
        !net.events
            .iter()
            .any(|event| matches!(event, Event::Closed { .. }))
    );
}

/// Row 25, the data plane's half.
#[test]
fn answers_without_offers_and_offers_upon_offers_are_refused_and_harmless() {
    let mut net = Net::new(1);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let viewer = net.viewer(0, &publications, LayerCap::High);
    net.connect(viewer);
    let transport = net.peers[viewer].id;
    let answer = "v=0\r\n".to_owned();
    net.command(Command::AcceptAnswer {
        transport,
        answer: answer.clone(),
    });
    net.settle();
    assert_eq!(refusals(&net), [PeerError::NoOfferOutstanding]);
    // Two offers without an answer between them; then garbage for an answer.
    net.is_mute = true;
    net.subscribe(viewer, &publications[..1], LayerCap::High, false);
    net.subscribe(viewer, &publications, LayerCap::High, false);
    net.settle();
    assert_eq!(refusals(&net).last(), Some(&PeerError::OfferOutstanding));
    net.command(Command::AcceptAnswer { transport, answer });
    net.settle();
    assert!(matches!(
        refusals(&net).last(),
        Some(PeerError::SdpSyntax { .. } | PeerError::SdpUnusable)
    ));
    net.is_mute = false;
    // A viewer cannot publish, a publisher cannot view.
    let id = net.peers[publisher].id;
    net.command(Command::Subscribe {
        transport: id,
        msid: "x".to_owned(),
        subscriptions: Vec::new(),
        ice_restart: false,
    });
    net.settle();
    assert_eq!(refusals(&net).last(), Some(&PeerError::SdpUnusable));
    net.command(Command::Close {
        transport: crate::id::TransportId::new(crate::id::ShardId(0), 12345),
    });
    net.publish(publisher, PeerKind::Video, Rtp::vp8(2, true));
    net.advance(Duration::from_millis(100));
}
