//! The ladder of links, in virtual time: what a viewer sees and hears behind links from good to barely
//! usable. Server, packets and SRTP are real, codecs are models (`media/`), the viewer receives as
//! browsers do.

mod pictures;
mod sound;
mod viewer;
mod world;

use std::fmt::Write as _;
use std::time::Duration;

use dataplane::Codec;
use loadtest::simulation::{RUNGS, Rung};

use self::pictures::Decoded;
use self::sound::Heard;
use self::world::World;
use crate::load::Load;

/// What goes through a link before it is judged, and for how long it is.
const SETTLE: Duration = Duration::from_secs(10);
const MEASURE: Duration = Duration::from_secs(60);
/// The best Encoding, or all spatial layers together.
const VIDEO_BPS: u64 = 2_000_000;
const FPS: u64 = 30;
/// One Encoding without layers, and what the link then falls to.
const FALLEN_BPS: u64 = 1_200_000;
const FALLS_KBPS: [u64; 3] = [800, 500, 300];
/// The same for three Encodings; of 100 kbit/s sound takes 60.
const LAYERED_FALLS_KBPS: [u64; 3] = [500, 200, 100];
/// For how long it is watched once the link is back.
const BACK: Duration = Duration::from_secs(30);
/// Pictures whose mean decides what is a freeze.
const FREEZE_WINDOW: usize = 30;
const FREEZE_US: u64 = 150_000;
/// Pictures whose delays decide for how long the next one is held back, and the most.
const HOLD_WINDOW: usize = 300;
const HOLD_MAX_US: i64 = 1_000_000;

/// What is published: the codec, and whether as simulcast.
pub(crate) const STREAMS: [(&str, Codec, bool); 3] = [
    ("VP8 simulcast", Codec::Vp8, true),
    ("VP9 SVC", Codec::Vp9, false),
    ("AV1 SVC", Codec::Av1, false),
];

/// What a viewer has had of a minute.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// Of pictures that could be decoded.
    pub goodput_kbps: u64,
    /// Pictures that could be decoded, per second.
    pub fps: f64,
    /// How often the picture stood still (webrtc-stats, `freezeCount`), for which share of the time,
    /// and for how long at most, in milliseconds.
    pub freezes: u64,
    pub frozen: f64,
    pub longest_ms: u64,
    /// For how long pictures are held back, in the mean and in milliseconds, so that they do not.
    pub held_ms: u64,
    /// Requests for a keyframe.
    pub keyframes: u64,
    /// The wait before the line that 95 of 100 packets did not exceed, in milliseconds.
    pub queue_p95_ms: u64,
    /// The share of packets that did not arrive.
    pub lost: f64,
    pub heard: Heard,
}

/// Sends one stream over one link.
pub(crate) fn run(
    (codec, simulcast): (Codec, bool),
    rung: &Rung,
    seed: u64,
) -> Result<Found, String> {
    let load =
        Load { codec, simulcast, is_svc: true, video_bps: VIDEO_BPS, fps: FPS, audio: true, seed };
    let mut world = World::new(load, rung.impairment())?;
    world.connect()?;
    let before = world.viewer.pictures.decoded.len();
    world.run_for(SETTLE)?;
    let since_us = world.now_us();
    (world.sent, world.queued_us) = ((0, 0), Vec::new());
    let keyframes = world.viewer.pictures.keyframe_asks;
    world.run_for(MEASURE)?;
    let pictures = &world.viewer.pictures;
    let mut found =
        Found::of(pictures.decoded.get(before..).unwrap_or(&[]), since_us, world.now_us());
    found.keyframes = pictures.keyframe_asks - keyframes;
    found.heard = world.viewer.sound.heard(since_us);
    world.queued_us.sort_unstable();
    let at = world.queued_us.len() * 95 / 100;
    found.queue_p95_ms = world.queued_us.get(at).map_or(0, |us| us / 1000);
    found.lost = world.sent.1 as f64 / world.sent.0.max(1) as f64;
    Ok(found)
}

/// A link that falls and comes back.
#[derive(Debug)]
struct Fallen {
    /// For how long no picture came at most after the fall, in milliseconds.
    paused_ms: u64,
    /// Decoded in the last ten seconds before it came back, in kbit/s.
    kbps: u64,
    /// Decoded in seconds five to ten after that, in kbit/s.
    back_kbps: u64,
    /// Until the first second of four fifths of the best, in milliseconds; none if that never came.
    again_ms: Option<u64>,
}

/// One Encoding without layers, or `simulcast`, through a link that falls to `kbps` for 25 s.
fn fall(codec: Codec, simulcast: bool, kbps: u64, seed: u64) -> Result<Fallen, String> {
    let video_bps = FALLEN_BPS;
    let load = Load { codec, simulcast, is_svc: false, video_bps, fps: FPS, audio: true, seed };
    let link = |rate_bps| loadtest::netem::Impairment {
        rate_bps: Some(rate_bps),
        delay: Duration::from_millis(20),
        queue: Duration::from_millis(200),
        ..Default::default()
    };
    let mut world = World::new(load, link(20_000_000))?;
    world.connect()?;
    world.run_for(Duration::from_secs(10))?;
    let fallen_us = world.now_us();
    world.change(link(kbps * 1000));
    world.run_for(Duration::from_secs(25))?;
    let back_us = world.now_us();
    world.change(link(20_000_000));
    world.run_for(BACK)?;
    let pictures = &world.viewer.pictures;
    let kbps_between = |since_us: u64, until_us: u64| {
        let within = |picture: &&Decoded| (since_us..until_us).contains(&picture.at_us);
        let bytes: u64 =
            pictures.decoded.iter().filter(within).map(|picture| picture.bytes as u64).sum();
        bytes * 8000 / (until_us - since_us)
    };
    let times = pictures.decoded.iter().map(|picture| picture.at_us);
    let times: Vec<u64> = times.filter(|at| (fallen_us..back_us).contains(at)).collect();
    let longest_us = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(back_us);
    Ok(Fallen {
        paused_ms: longest_us / 1000,
        kbps: kbps_between(back_us - 10_000_000, back_us),
        back_kbps: kbps_between(back_us + 5_000_000, back_us + 10_000_000),
        again_ms: (0..BACK.as_millis() as u64 - 1000).step_by(100).find(|after_ms| {
            let since_us = back_us + after_ms * 1000;
            kbps_between(since_us, since_us + 1_000_000) * 1000 >= video_bps * 4 / 5
        }),
    })
}

impl Found {
    fn of(decoded: &[Decoded], since_us: u64, until_us: u64) -> Self {
        let seconds = (until_us - since_us).max(1) as f64 / 1e6;
        let mut found = Self::default();
        let (shown, held_us) = show(decoded);
        let (mut times, mut bytes, mut held, mut frozen_us) = (vec![since_us], 0, 0, 0);
        for ((picture, at_us), held_us) in decoded.iter().zip(shown).zip(held_us) {
            if (since_us..until_us).contains(&at_us) {
                bytes += picture.bytes;
                held += held_us;
                times.push(at_us);
            }
        }
        let pictures = times.len() - 1;
        found.goodput_kbps = (bytes as f64 * 8.0 / seconds / 1000.0) as u64;
        found.fps = pictures as f64 / seconds;
        found.held_ms = held / pictures.max(1) as u64 / 1000;
        times.push(until_us);
        let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (at, pause) in pauses.iter().enumerate() {
            let before = &pauses[at.saturating_sub(FREEZE_WINDOW)..at];
            let mean = before.iter().sum::<u64>() / before.len().max(1) as u64;
            found.longest_ms = found.longest_ms.max(pause / 1000);
            if *pause > (3 * mean).max(mean + FREEZE_US) {
                found.freezes += 1;
                frozen_us += pause - mean;
            }
        }
        found.frozen = frozen_us as f64 / 1e6 / seconds;
        found
    }
}

/// When pictures are shown: held back so long that 95 of 100 can be decoded in time, as browsers do;
/// and for how long each is. What can be decoded later is shown at once.
fn show(decoded: &[Decoded]) -> (Vec<u64>, Vec<u64>) {
    let taken_us = |picture: &Decoded| i64::from(picture.rtp_time) * 1000 / 90;
    let late = |picture: &Decoded| picture.at_us as i64 - taken_us(picture);
    let quickest = decoded.iter().map(late).min().unwrap_or(0);
    let mut shown: Vec<u64> = Vec::new();
    let mut held = Vec::new();
    for (at, picture) in decoded.iter().enumerate() {
        let before = decoded[at.saturating_sub(HOLD_WINDOW)..at].iter();
        let mut delays: Vec<i64> = before.map(|known| late(known) - quickest).collect();
        delays.sort_unstable();
        let hold = delays.get(delays.len() * 95 / 100).copied().unwrap_or(0).min(HOLD_MAX_US);
        let due_us = (taken_us(picture) + quickest + hold) as u64;
        let last_us = shown.last().copied().unwrap_or(0);
        shown.push(due_us.max(picture.at_us).max(last_us));
        held.push(hold as u64);
    }
    (shown, held)
}

/// All of it as a table for people, in Markdown.
pub(crate) fn table(seed: u64) -> Result<String, String> {
    let mut text =
        "| link: rate, round trip, jitter, loss, burst | stream | goodput | pictures | freezes | \
        longest | held back | keyframes | p95 of the queue | lost | sound concealed | gap p99 | \
        held back |\n\
        |---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for rung in &RUNGS {
        for (name, codec, simulcast) in STREAMS {
            let found = run((codec, simulcast), rung, seed)?;
            let Found {
                goodput_kbps, fps, freezes, frozen, longest_ms, held_ms, keyframes, ..
            } = found;
            let Heard { concealed, gap_p99_ms, delay_ms } = found.heard;
            let _ = writeln!(
                text,
                "| {rung} | {name} | {goodput_kbps} kbit/s | {fps:.1} /s | {freezes} ({:.1} %) | {longest_ms} ms | \
                 {held_ms} ms | {keyframes} | {} ms | {:.1} % | {:.1} % | {gap_p99_ms} ms | {delay_ms} ms |",
                frozen * 100.0,
                found.queue_p95_ms,
                found.lost * 100.0,
                concealed * 100.0,
            );
        }
    }
    text.push_str(
        "\n| 1.2 Mbit/s, 20 Mbit/s fall for 25 s to | longest pause | goodput in the last \
        10 s | 5 s after the link is back | all of it again after |\n|---|---|---|---|---|\n",
    );
    let single = FALLS_KBPS.map(|kbps| ("one Encoding", Codec::H264, false, kbps));
    let layered = LAYERED_FALLS_KBPS.map(|kbps| ("simulcast", Codec::Vp8, true, kbps));
    for (name, codec, simulcast, kbps) in single.into_iter().chain(layered) {
        let found = fall(codec, simulcast, kbps, seed)?;
        let Fallen { paused_ms, kbps: goodput_kbps, back_kbps, .. } = found;
        let again = found.again_ms.map_or_else(|| "never".to_owned(), |ms| format!("{ms} ms"));
        let _ = writeln!(
            text,
            "| {name}, {kbps} kbit/s | {paused_ms} ms | {goodput_kbps} kbit/s | {back_kbps} kbit/s | {again} |"
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a viewer is owed on each rung: kbit/s of pictures, pictures a second, and the share
    /// of the time that may be frozen. All three streams, two seeds.
    const OWED: [(u64, f64, f64); 6] = [
        (1_350, 29.0, 0.02),
        (1_350, 29.0, 0.03),
        (500, 28.0, 0.06),
        (300, 27.0, 0.12),
        (80, 15.0, 0.35),
        (30, 4.0, 0.70),
    ];

    #[test]
    fn a_viewer_gets_what_a_link_gives() {
        let mut bad = Vec::new();
        for (rung, (goodput_kbps, fps, frozen)) in RUNGS.iter().zip(OWED) {
            for (name, codec, simulcast) in STREAMS {
                for seed in [1, 2] {
                    let found = run((codec, simulcast), rung, seed).expect("the run");
                    let is_good = found.goodput_kbps >= goodput_kbps
                        && found.fps >= fps
                        && found.frozen <= frozen
                        && found.queue_p95_ms <= 250;
                    if !is_good {
                        bad.push(format!("{rung}, {name}, seed {seed}: {found:?}"));
                    }
                }
            }
        }
        assert!(bad.is_empty(), "{bad:#?}");
    }

    /// For how long no picture may come in milliseconds, what must come at least before the link is
    /// back, and after: in kbit/s. Sound takes 60 of it.
    const OWED_AFTER_A_FALL: [(u64, u64, u64); 3] =
        [(800, 400, 1000), (2000, 250, 1000), (8000, 10, 250)];

    #[test]
    fn one_encoding_is_lowered_for_a_link_that_falls() {
        let mut bad = Vec::new();
        for seed in 1..=4 {
            let owed = FALLS_KBPS.into_iter().zip(OWED_AFTER_A_FALL);
            for (kbps, (paused_ms, least_kbps, back_kbps)) in owed {
                let found = fall(Codec::H264, false, kbps, seed).expect("the run");
                let is_good = found.paused_ms <= paused_ms
                    && found.kbps >= least_kbps
                    && found.back_kbps >= back_kbps;
                if !is_good {
                    bad.push(format!("{kbps} kbit/s, seed {seed}: {found:?}"));
                }
            }
        }
        assert!(bad.is_empty(), "{bad:#?}");
    }

    /// What must come at least before the link is back, in kbit/s, and how soon all of it again, in
    /// milliseconds: of 500 kbit/s the middle Encoding, of 100 nothing but sound.
    const OWED_IN_LAYERS: [(u64, u64); 3] = [(200, 10_000), (50, 12_000), (0, 12_000)];

    #[test]
    fn a_smaller_encoding_goes_on_and_all_of_it_comes_back_when_the_link_does() {
        let mut bad = Vec::new();
        for seed in 1..=4 {
            for (kbps, (least_kbps, again_ms)) in LAYERED_FALLS_KBPS.into_iter().zip(OWED_IN_LAYERS)
            {
                let found = fall(Codec::Vp8, true, kbps, seed).expect("the run");
                let is_good =
                    found.kbps >= least_kbps && found.again_ms.is_some_and(|ms| ms <= again_ms);
                if !is_good {
                    bad.push(format!("{kbps} kbit/s, seed {seed}: {found:?}"));
                }
            }
        }
        assert!(bad.is_empty(), "{bad:#?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        for (_, codec, simulcast) in STREAMS {
            let once = run((codec, simulcast), &RUNGS[4], 3);
            assert_eq!(once, run((codec, simulcast), &RUNGS[4], 3));
            assert_ne!(once, run((codec, simulcast), &RUNGS[4], 4));
        }
    }
}
