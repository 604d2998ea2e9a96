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
use crate::engine::Load;

/// What goes through a link before it is judged, and for how long it is.
const SETTLE: Duration = Duration::from_secs(10);
const MEASURE: Duration = Duration::from_secs(60);
/// The best Encoding, or all spatial layers together.
const VIDEO_BPS: u64 = 2_000_000;
const FPS: u64 = 30;
/// Pictures whose mean decides what is a freeze.
const FREEZE_WINDOW: usize = 30;
const FREEZE_US: u64 = 150_000;

/// What is published: the codec, and whether as simulcast.
pub const STREAMS: [(&str, Codec, bool); 3] = [
    ("VP8 simulcast", Codec::Vp8, true),
    ("VP9 SVC", Codec::Vp9, false),
    ("AV1 SVC", Codec::Av1, false),
];

/// What a viewer has had of a minute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Of pictures that could be decoded.
    pub goodput_kbps: u64,
    /// Pictures per second.
    pub fps: f64,
    /// How often the picture stood still (webrtc-stats, `freezeCount`), for which share of the time,
    /// and for how long at most, in milliseconds.
    pub freezes: u64,
    pub frozen: f64,
    pub longest_ms: u64,
    /// Requests for a keyframe.
    pub keyframes: u64,
    /// The wait before the line that 95 of 100 packets did not exceed, in milliseconds.
    pub queue_p95_ms: u64,
    /// The share of packets that did not arrive.
    pub lost: f64,
    /// What was heard.
    pub heard: Heard,
}

/// Sends one stream over one link.
pub fn run((codec, simulcast): (Codec, bool), rung: &Rung, seed: u64) -> Result<Found, String> {
    let load =
        Load { codec, simulcast, is_svc: true, video_bps: VIDEO_BPS, fps: FPS, audio: true, seed };
    let mut world = World::new(load, rung.impairment())?;
    world.connect()?;
    world.run_for(SETTLE)?;
    let since_us = world.now_us();
    (world.sent, world.queued_us) = ((0, 0), Vec::new());
    let keyframes = world.viewer.pictures.keyframe_asks;
    world.run_for(MEASURE)?;
    let pictures = &world.viewer.pictures;
    let mut found = Found::of(&pictures.decoded, since_us, world.now_us());
    found.keyframes = pictures.keyframe_asks - keyframes;
    found.heard = world.viewer.sound.heard(since_us);
    world.queued_us.sort_unstable();
    let at = world.queued_us.len() * 95 / 100;
    found.queue_p95_ms = world.queued_us.get(at).map_or(0, |us| us / 1000);
    found.lost = world.sent.1 as f64 / world.sent.0.max(1) as f64;
    Ok(found)
}

impl Found {
    fn of(decoded: &[Decoded], since_us: u64, until_us: u64) -> Self {
        let seconds = (until_us - since_us).max(1) as f64 / 1e6;
        let mut found = Self::default();
        let (mut times, mut bytes, mut frozen_us) = (vec![since_us], 0, 0);
        for picture in decoded.iter().filter(|picture| picture.at_us >= since_us) {
            bytes += picture.bytes;
            times.push(picture.at_us);
        }
        found.goodput_kbps = (bytes as f64 * 8.0 / seconds / 1000.0) as u64;
        found.fps = (times.len() - 1) as f64 / seconds;
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

/// All of it as a table for people, in Markdown.
pub fn table(seed: u64) -> Result<String, String> {
    let mut text = "| link: rate, round trip, jitter, loss, burst | stream | goodput | pictures | freezes | \
        longest | keyframes | p95 of the queue | lost | concealed | gap p99 | held back |\n\
        |---|---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for rung in &RUNGS {
        for (name, codec, simulcast) in STREAMS {
            let found = run((codec, simulcast), rung, seed)?;
            let Found { goodput_kbps, fps, freezes, frozen, longest_ms, keyframes, .. } = found;
            let Heard { concealed, gap_p99_ms, delay_ms } = found.heard;
            let _ = writeln!(
                text,
                "| {rung} | {name} | {goodput_kbps} kbit/s | {fps:.1} /s | {freezes} ({:.1} %) | {longest_ms} ms | \
                 {keyframes} | {} ms | {:.1} % | {:.1} % | {gap_p99_ms} ms | {delay_ms} ms |",
                frozen * 100.0,
                found.queue_p95_ms,
                found.lost * 100.0,
                concealed * 100.0,
            );
        }
    }
    Ok(text)
}
