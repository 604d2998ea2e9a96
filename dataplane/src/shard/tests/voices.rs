//! Who speaks is told, and what is withheld of quiet people leaves no trace in what viewers get.

use std::time::Duration;

use str0m::media::MediaKind as PeerKind;
use str0m::rtp::RtpPacket;

use super::forwarding::{CODECS, live_publisher};
use super::net::{Net, Rtp};
use crate::api::{Command, Event, LayerCap};
use crate::codec::MediaKind;
use crate::voice::VoiceReport;

/// Sends sound of one level for so many packets.
fn speak(net: &mut Net, publisher: usize, seq: &mut u64, level: i8, packets: u32) {
    for _ in 0..packets {
        *seq += 1;
        let mut rtp = Rtp::opus(*seq);
        rtp.ext.audio_level = Some(level);
        rtp.ext.voice_activity = Some(false);
        net.publish(publisher, PeerKind::Audio, rtp);
        net.advance(Duration::from_millis(20));
    }
}

fn told(net: &Net) -> Vec<VoiceReport> {
    let reports = net.events.iter().filter_map(|event| match event {
        Event::Voice { report, .. } => Some(*report),
        _ => None,
    });
    reports.collect()
}

#[test]
fn speech_is_told_and_ends_when_nothing_comes_any_more() {
    let mut net = Net::new(1);
    let publisher = net.publisher(0, CODECS, &[]);
    net.connect(publisher);
    let mut seq = 0;
    speak(&mut net, publisher, &mut seq, -127, 50);
    assert_eq!(told(&net), [VoiceReport { loudness: 0, is_speaking: false }]);
    speak(&mut net, publisher, &mut seq, -20, 50);
    assert!(told(&net).last().is_some_and(|report| report.is_speaking), "{:?}", told(&net));
    net.run_until("silence is told", |net| !told(net).last().is_some_and(|r| r.is_speaking));
}

#[test]
fn sound_without_levels_is_never_told_of() {
    let mut net = Net::new(1);
    let (publisher, _) = live_publisher(&mut net, 0);
    for seq in 2..100 {
        net.publish(publisher, PeerKind::Audio, Rtp::opus(seq));
        net.advance(Duration::from_millis(20));
    }
    assert_eq!(told(&net), []);
}

fn sound(packets: &[RtpPacket]) -> Vec<&RtpPacket> {
    packets.iter().filter(|packet| packet.payload.starts_with(b"opus")).collect()
}

/// RFC 3550 s5.1: numbers go up by one for each packet sent; RFC 3551 s4.1: a talkspurt begins with
/// the marker bit.
fn quiet_people_are_withheld(viewer_shard: u8) {
    let mut net = Net::new(2);
    let (publisher, publications) = live_publisher(&mut net, 0);
    let audio = publications.iter().find(|p| p.kind == MediaKind::Audio).expect("sound").id;
    let viewer = net.viewer(viewer_shard, &publications, LayerCap::High);
    net.connect(viewer);
    let mut seq = 1;
    speak(&mut net, publisher, &mut seq, -20, 50);
    let before = sound(&net.peers[viewer].packets).len();
    assert!(before >= 49, "{before}");
    net.command(Command::SetHeard { publication: audio, is_heard: false });
    speak(&mut net, publisher, &mut seq, -60, 150);
    assert_eq!(sound(&net.peers[viewer].packets).len(), before);
    net.command(Command::SetHeard { publication: audio, is_heard: true });
    speak(&mut net, publisher, &mut seq, -20, 50);
    let packets = sound(&net.peers[viewer].packets);
    assert_eq!(packets.len(), before + 50);
    for (at, pair) in packets.windows(2).enumerate() {
        assert_eq!(*pair[1].seq_no, *pair[0].seq_no + 1);
        let passed = pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp);
        let is_first = at + 1 == before;
        assert_eq!(passed, if is_first { 151 * 960 } else { 960 });
        assert_eq!(pair[1].header.marker, is_first);
    }
}

#[test]
fn withheld_sound_leaves_no_gap_for_viewers_on_the_same_shard() {
    quiet_people_are_withheld(0);
}

#[test]
fn withheld_sound_leaves_no_gap_for_viewers_on_another_shard() {
    quiet_people_are_withheld(1);
}

/// Where not all fits, the picture of who speaks is the last one that goes.
#[test]
fn who_speaks_is_seen_before_the_others() {
    for shards in [1, 2] {
        let mut net = Net::new(shards);
        let (quiet, quiet_streams) = live_publisher(&mut net, 0);
        let (speaker, speaker_streams) = live_publisher(&mut net, 0);
        let picture = |streams: &[crate::api::PublicationInfo]| {
            streams.iter().find(|p| p.kind == MediaKind::Video).expect("pictures").clone()
        };
        let pictures = [picture(&quiet_streams), picture(&speaker_streams)];
        let viewer = net.viewer(shards as u8 - 1, &pictures, LayerCap::High);
        net.connect(viewer);
        let mut seq = 1_u64;
        let mut go_on = |net: &mut Net, ticks: u32| {
            for _ in 0..ticks {
                seq += 1;
                for publisher in [quiet, speaker] {
                    let is_keyframe = seq.is_multiple_of(25);
                    net.publish(publisher, PeerKind::Video, Rtp::vp8(seq, is_keyframe));
                }
                let mut rtp = Rtp::opus(seq);
                rtp.ext.audio_level = Some(-20);
                rtp.ext.voice_activity = Some(true);
                net.publish(speaker, PeerKind::Audio, rtp);
                net.advance(Duration::from_millis(20));
            }
        };
        let first_held = |net: &Net| {
            net.events.iter().find_map(|event| match event {
                Event::Paused { publication, is_paused: true, .. } => Some(*publication),
                _ => None,
            })
        };
        go_on(&mut net, 100);
        assert_eq!(first_held(&net), None, "all fits");
        net.peers[viewer].loss_down = 50;
        for _ in 0..60 {
            go_on(&mut net, 50);
            if first_held(&net).is_some() {
                break;
            }
        }
        assert_eq!(first_held(&net), Some(pictures[0].id), "on {shards} shards");
    }
}
