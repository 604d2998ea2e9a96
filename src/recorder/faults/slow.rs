//! A disk that cannot follow.

use dataplane::Taped;

use super::super::backlog::{Backlog, PICTURES_BYTES_MAX};
use super::Bench;

#[test]
fn a_slow_disk_costs_whole_groups_of_pictures_and_no_sound() {
    let mut bench = Bench::new(3);
    bench.picture_bytes = 20_000;
    bench.run_s(5);
    // The recorder waits for the disk for a minute.
    bench.backlog = Some(Backlog::default());
    let us = bench.now.us;
    (0..3000).for_each(|_| bench.send());
    let mut backlog = bench.backlog.take().expect("it is there");
    assert!(backlog.left_out > 3000, "{}", backlog.left_out);
    assert!(backlog.notice(bench.now.us).is_some_and(|text| text.contains("disk is slow")));
    assert_eq!(backlog.notice(bench.now.us + 1_000_000), None, "once a minute");
    let mut bytes = 0;
    loop {
        let kept = backlog.take();
        if kept.is_empty() {
            break;
        }
        for kept in &kept {
            if let Taped::Packet(packet) = kept.taped() {
                bytes += packet.payload.len();
                bench.session.packet(&packet);
            }
        }
    }
    assert!((PICTURES_BYTES_MAX / 2..PICTURES_BYTES_MAX + (1 << 20)).contains(&bytes), "{bytes}");
    bench.run_s(12);
    let lines = bench.timeline();
    for media in 0..3 {
        let file = lines
            .iter()
            .find(|line| line["stream"] == format!("stream{media}") && line["event"] == "file");
        let file = &file.expect("a file")["file"];
        let of_it =
            || lines.iter().filter(|line| line["event"] == "fragment" && line["file"] == *file);
        let spans = |kind: &str| {
            let spans = of_it().filter_map(|line| serde_json::from_value(line[kind].clone()).ok());
            spans.collect::<Vec<(u64, u64)>>()
        };
        let holes = |kind: &str| {
            let spans = spans(kind);
            spans.windows(2).filter(|pair| pair[1].0 > pair[0].1 + 100_000).count()
        };
        assert_eq!((holes("video_us"), holes("audio_us")), (1, 0), "of camera {media}");
        // What comes behind the hole begins with a keyframe.
        let after = of_it().find(|line| {
            let start_us = line["video_us"][0].as_u64().unwrap_or_default();
            start_us > us + 30_000_000
        });
        assert!(after.is_some_and(|line| line["has_key"] == true), "{after:?}");
        let asked: Vec<u64> =
            bench.asked.iter().filter(|(_, of)| *of == media).map(|(us, _)| *us).collect();
        assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= 4_000_000), "{asked:?}");
    }
    bench.files(".mp4").iter().for_each(|name| bench.assert_plays(name));
    bench.end();
}
