//! Programmes made of timelines as they are written, and what players are told of them.

use serde_json::{Value, json};

use super::cast::Kind;
use super::lines::Line;
use super::playlist;
use super::programme::{PART_US_MAX, Programme, Segment, TARGET_US};

const SECOND: u64 = 1_000_000;

/// A timeline that is written as the recorder does.
struct Writer {
    programme: Programme,
    us: u64,
    /// Names of files that are written to.
    open: Vec<&'static str>,
}

impl Writer {
    fn new(kind: Kind) -> Self {
        let mut writer = Self { programme: Programme::new(kind), us: 0, open: Vec::new() };
        writer.put(json!({ "event": "session", "unix_ms": 1_795_947_300_100u64 }));
        writer
    }

    fn put(&mut self, mut line: Value) {
        line["at_us"] = self.us.into();
        self.programme.take(serde_json::from_value::<Line>(line).expect("a line"));
    }

    /// A stream, which is called as its user is, with a file that is called like it.
    fn file(&mut self, name: &'static str, label: &str, codecs: &[&str]) {
        self.put(json!({ "event": "stream", "stream": name, "username": name, "label": label }));
        self.another_file(name, name, codecs);
    }

    fn another_file(&mut self, file: &'static str, stream: &str, codecs: &[&str]) {
        let tracks: Vec<Value> = codecs
            .iter()
            .map(|codec| {
                json!({ "codec": codec, "width": 640, "height": 480, "record": "0142c01fff" })
            })
            .collect();
        let name = format!("{file}.mp4");
        self.put(json!({ "event": "file", "file": name, "stream": stream, "tracks": tracks }));
        self.open.push(file);
    }

    fn close(&mut self, file: &str, stream: &str) {
        self.open.retain(|open| *open != file);
        self.put(json!({ "event": "stream-end", "stream": stream }));
    }

    /// So many halves of a second of all that is open; `is_key` says for each whether it is a keyframe.
    fn run(&mut self, halves: u64, is_key: impl Fn(u64, &str) -> bool, has_video: bool) {
        for at in 0..halves {
            let span = (self.us, self.us + SECOND / 2);
            self.us = span.1;
            for file in self.open.clone() {
                let mut line = json!({
                    "event": "fragment", "file": format!("{file}.mp4"), "offset": self.us,
                    "length": 1000, "has_key": has_video && is_key(at, file), "audio_us": span,
                });
                if has_video {
                    line["video_us"] = json!(span);
                }
                self.put(line);
            }
        }
    }

    /// What every programme must be, whatever has happened.
    fn check(&self) {
        let segments = self.programme.segments();
        let mut before: Option<&Segment> = None;
        for segment in segments {
            let (start_us, end_us) = segment.span();
            assert!(end_us - start_us <= TARGET_US, "{start_us} {end_us}");
            for pair in segment.parts.windows(2) {
                assert_eq!(pair[0].span.1, pair[1].span.0, "no time is left out");
                assert_eq!(pair[0].sound_span.1, pair[1].sound_span.0);
            }
            for part in &segment.parts {
                assert!(part.span.1 > part.span.0 && part.span.1 - part.span.0 <= PART_US_MAX);
            }
            if let Some(before) = before {
                assert_eq!(segment.number, before.number + 1);
                assert!(segment.breaks - before.breaks <= 1);
                let is_same = segment.breaks == before.breaks;
                assert!(!is_same || before.span().1 == start_us, "a jump is a break");
            }
            before = Some(segment);
        }
        let first = segments.front().and_then(|segment| segment.parts.first());
        assert!(first.is_none_or(|part| part.is_independent));
    }

    fn shown(&self) -> Vec<String> {
        let names = self.programme.segments().iter().map(|segment| {
            segment.film.as_ref().map_or_else(|| "nobody".to_owned(), |film| film.name.clone())
        });
        let mut names: Vec<String> = names.collect();
        names.dedup();
        names
    }
}

/// A keyframe every 4 s, as the recorder asks for.
fn every_4_s(at: u64, _: &str) -> bool {
    at.is_multiple_of(8)
}

#[test]
fn segments_begin_with_keyframes_and_parts_are_a_second() {
    let mut writer = Writer::new(Kind::Live);
    writer.file("ann", "camera", &["h264", "opus"]);
    writer.run(21, every_4_s, true);
    writer.check();
    let spans: Vec<(u64, u64)> =
        writer.programme.segments().iter().map(|segment| segment.span()).collect();
    assert_eq!(spans, [(0, 4 * SECOND), (4 * SECOND, 8 * SECOND), (8 * SECOND, 10 * SECOND)]);
    let text = playlist::media(&writer.programme, "?token=t");
    for line in [
        "#EXT-X-TARGETDURATION:6",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-MAP:URI=\"init-0.mp4?token=t\"",
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-29T10:15:04.100Z",
        "#EXT-X-PART:DURATION=1.00000,URI=\"1.0.m4s?token=t\",INDEPENDENT=YES",
        "#EXT-X-PART:DURATION=1.00000,URI=\"2.1.m4s?token=t\"",
        "#EXTINF:4.00000,",
        "1.m4s?token=t",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(!text.contains("\n2.m4s") && !text.contains("ENDLIST"), "it is not whole: {text}");
    assert!(playlist::has(&writer.programme, 2, Some(1)));
    assert!(!playlist::has(&writer.programme, 2, Some(2)));
    assert!(!playlist::has(&writer.programme, 2, None));
    assert!(playlist::has(&writer.programme, 1, None));
    let text = playlist::multivariant(&writer.programme, "live", "?token=t");
    assert!(
        text.contains("CODECS=\"avc1.42c01f,Opus\",RESOLUTION=640x480\nlive/media.m3u8?token=t")
    );
    writer.put(json!({ "event": "end" }));
    let text = playlist::media(&writer.programme, "");
    assert!(text.ends_with("\n2.m4s\n#EXT-X-ENDLIST\n"), "{text}");
}

#[test]
fn what_was_recorded_while_nobody_watched_is_left_out() {
    let mut writer = Writer::new(Kind::Live);
    writer.file("ann", "camera", &["vp9", "opus"]);
    writer.run(200, |at, _| at == 0, true);
    assert!(!writer.programme.is_playable(), "the only keyframe is long ago");
    assert_eq!(writer.programme.needs(), ["ann", "ann"]);
    let at_us = writer.us;
    writer.run(12, every_4_s, true);
    writer.check();
    assert!(writer.programme.is_playable());
    let first = writer.programme.segments().front().expect("a segment");
    assert_eq!(first.span().0, at_us);
    assert!(first.number > 10, "numbers only grow");
    // An encoder that gives one every 10 s only is shown all the same.
    writer.run(200, |at, _| at.is_multiple_of(20), true);
    writer.check();
    assert!(writer.programme.is_playable());
    assert!(writer.programme.segments().len() > 10);
}

#[test]
fn old_segments_leave_the_window() {
    let mut writer = Writer::new(Kind::Live);
    writer.file("ann", "camera", &["vp9", "opus"]);
    writer.run(2400, every_4_s, true);
    writer.check();
    let segments = writer.programme.segments();
    assert!((70..80).contains(&segments.len()), "{} segments", segments.len());
    let text = playlist::media(&writer.programme, "");
    assert!(text.contains(&format!("#EXT-X-MEDIA-SEQUENCE:{}\n", segments[0].number)));
}

#[test]
fn a_shared_screen_takes_over_with_its_first_keyframe_and_gives_back() {
    let mut writer = Writer::new(Kind::Live);
    writer.file("ann", "camera", &["vp9", "opus"]);
    writer.run(9, every_4_s, true);
    writer.file("screen", "screenshare", &["vp9"]);
    writer.run(7, |at, file| file == "screen" && at == 3, true);
    writer.run(9, every_4_s, true);
    writer.close("screen", "screen");
    writer.run(9, |at, _| at == 2, true);
    writer.put(json!({ "event": "end" }));
    writer.check();
    assert_eq!(writer.shown(), ["ann.mp4", "screen.mp4", "ann.mp4"]);
    let text = playlist::media(&writer.programme, "");
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 2, "{text}");
    // It has no sound of its own.
    let segments = writer.programme.segments();
    let screen = segments.iter().find(|s| s.film.as_ref().is_some_and(|f| f.name == "screen.mp4"));
    let sounds = &screen.expect("it is shown").parts[0].sounds;
    assert!(!sounds.is_empty() && sounds.iter().all(|piece| piece.film.name == "ann.mp4"));
}

#[test]
fn who_speaks_is_seen_and_heard() {
    let mut writer = Writer::new(Kind::Live);
    writer.file("ann", "camera", &["vp9", "opus"]);
    writer.file("bob", "camera", &["vp9", "opus"]);
    writer.run(8, every_4_s, true);
    // Whoever is heard is still among them.
    writer.put(json!({ "event": "speakers", "streams": ["bob", "ann"] }));
    writer.run(8, every_4_s, true);
    assert_eq!(writer.shown(), ["ann.mp4"]);
    writer.put(json!({ "event": "speakers", "streams": ["bob"] }));
    writer.run(16, every_4_s, true);
    writer.put(json!({ "event": "speakers", "streams": [] }));
    writer.put(json!({ "event": "speakers", "streams": ["nobody"] }));
    writer.run(16, every_4_s, true);
    writer.put(json!({ "event": "end" }));
    writer.check();
    assert_eq!(writer.shown(), ["ann.mp4", "bob.mp4"]);
    let last = writer.programme.segments().back().expect("a segment");
    assert!(last.parts.iter().all(|part| part.sounds[0].film.name == "bob.mp4"));
}

#[test]
fn a_camera_that_is_turned_off_leaves_its_last_keyframe() {
    let mut writer = Writer::new(Kind::Live);
    writer.file("ann", "camera", &["vp9", "opus"]);
    writer.run(9, every_4_s, true);
    writer.run(40, every_4_s, false);
    let held = |writer: &Writer| {
        let parts = writer.programme.segments().iter().flat_map(|segment| &segment.parts);
        parts.filter(|part| part.is_held).count()
    };
    assert!(held(&writer) > 15, "{}", held(&writer));
    let before = held(&writer);
    // What follows cannot be shown on top of it until there is another keyframe.
    writer.run(2, |_, _| false, true);
    writer.run(9, every_4_s, true);
    writer.put(json!({ "event": "end" }));
    writer.check();
    assert!(held(&writer) <= before + 2);
    assert_eq!(writer.shown(), ["ann.mp4"]);
    let last = writer.programme.segments().back().and_then(|segment| segment.parts.last());
    assert!(last.is_some_and(|part| !part.is_held));
}

#[test]
fn nobody_without_a_picture_is_shown_and_vp8_is_said() {
    let mut writer = Writer::new(Kind::Live);
    writer.file("ann", "camera", &["vp8", "opus"]);
    writer.run(40, every_4_s, true);
    assert!(writer.programme.segments().is_empty() && writer.programme.has_vp8);
    let mut writer = Writer::new(Kind::Sound);
    writer.file("ann", "camera", &["vp8", "opus"]);
    writer.run(40, every_4_s, true);
    writer.check();
    assert_eq!(writer.programme.segments().len(), 5);
    let text = playlist::media(&writer.programme, "");
    assert!(text.contains("init-sound.mp4"), "{text}");
    assert!(playlist::multivariant(&writer.programme, "sound", "").contains("CODECS=\"Opus\"\n"));
}

#[test]
fn one_person_is_shown_whoever_speaks() {
    let mut writer = Writer::new(Kind::Person("bob".to_owned()));
    writer.file("ann", "camera", &["vp9", "opus"]);
    writer.file("bob", "camera", &["vp9", "opus"]);
    writer.put(json!({ "event": "speakers", "streams": ["ann"] }));
    writer.run(20, every_4_s, true);
    writer.another_file("bob2", "bob", &["h264", "opus"]);
    writer.open.retain(|file| *file != "bob");
    writer.run(20, every_4_s, true);
    writer.check();
    assert_eq!(writer.shown(), ["bob.mp4", "bob2.mp4"]);
    let sounds = writer.programme.segments().iter().flat_map(|segment| &segment.parts);
    assert!(sounds.flat_map(|part| &part.sounds).all(|piece| piece.film.name != "ann.mp4"));
}

#[test]
fn any_timeline_makes_a_programme() {
    let mut state = 3u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    for kind in [Kind::Live, Kind::Sound, Kind::Person("a".to_owned())] {
        for _ in 0..200 {
            let mut writer = Writer::new(kind.clone());
            for _ in 0..300 {
                let name = ["a", "b", "c"][random(3) as usize];
                let mut span = || {
                    if random(50) == 0 {
                        return (u64::MAX - 1, u64::MAX);
                    }
                    let start_us = random(20 * SECOND);
                    (start_us, start_us.wrapping_add(random(SECOND)))
                };
                let (video, audio) = (span(), span());
                let line = match random(10) {
                    0 => json!({ "event": "stream", "stream": name, "username": name }),
                    1 => json!({ "event": "stream-end", "stream": name }),
                    2 => json!({ "event": "speakers", "streams": [name] }),
                    3 => json!({ "event": "file", "file": format!("{name}.mp4"), "stream": name,
                        "tracks": [{ "codec": "vp9", "record": "00" }, { "codec": "opus", "record": "00" }] }),
                    _ => json!({ "event": "fragment", "file": format!("{name}.mp4"), "offset": 0,
                        "length": 1, "has_key": random(3) == 0, "video_us": video, "audio_us": audio }),
                };
                writer.us += random(SECOND);
                writer.put(line);
                let _ = playlist::media(&writer.programme, "");
                let _ = playlist::multivariant(&writer.programme, "x", "");
            }
        }
    }
    for line in ["", "{}", "[]", "{\"event\":\"file\"}", "{\"event\":7}", "\u{0}"] {
        assert!(serde_json::from_slice::<Line>(line.as_bytes()).is_err(), "{line}");
    }
}
