//! What has come off the tape while the recorder waits for a disk. When that takes too long, pictures
//! are left out, whole groups of them: each stream goes on with a keyframe. Sound stays.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use dataplane::{Codec, Lanes, Taped, TapedPacket};

use super::watched::Watched;
use super::{Notice, Tally};

/// With more, pictures are left out: half a minute of three cameras, for all groups together.
pub(super) const PICTURES_BYTES_MAX: usize = 32 << 20;
/// They come again once it is less.
const AGAIN_BYTES: usize = 4 << 20;
/// With more nothing is kept: an hour of sound of ten.
const BYTES_MAX: usize = 160 << 20;
/// What a packet costs beside its payload.
const PACKET_BYTES: usize = 96;
/// How often the lanes are looked at while the recorder does not.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What waits for so long has a slow disk.
const SLOW_US: u64 = 3_000_000;
/// How often operators hear of it.
const SLOW_EVERY_US: u64 = 60_000_000;
/// What is taken off each lane at once.
const TAPED_MAX: usize = 2048;

/// Something off the tape, with what it carries.
pub(super) struct Kept {
    taped: Taped<'static>,
    payload: Vec<u8>,
}

impl Kept {
    /// As it came.
    pub(super) fn taped(&self) -> Taped<'_> {
        match self.taped {
            Taped::Packet(packet) => {
                Taped::Packet(TapedPacket { payload: &self.payload, ..packet })
            }
            Taped::Clock { publication, encoding, rtp_time, at_us } => {
                Taped::Clock { publication, encoding, rtp_time, at_us }
            }
        }
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Backlog {
    kept: VecDeque<Kept>,
    bytes: usize,
    is_without_pictures: bool,
    /// Packets that were left out.
    pub(super) left_out: u64,
    told_us: Option<u64>,
}

impl Backlog {
    pub(super) fn push(&mut self, taped: Taped<'_>) {
        let (is_picture, payload) = match taped {
            Taped::Packet(TapedPacket { codec, payload, .. }) => (!is_sound(codec), payload),
            Taped::Clock { .. } => (false, &[][..]),
        };
        self.is_without_pictures |= self.bytes >= PICTURES_BYTES_MAX;
        // All of them, and not only until the next packet fits: of what lacks packets nothing can be
        // shown before the next keyframe.
        if (is_picture && self.is_without_pictures) || self.bytes >= BYTES_MAX {
            self.left_out += 1;
            return;
        }
        self.bytes += payload.len() + PACKET_BYTES;
        let payload = payload.to_vec();
        let taped = match taped {
            Taped::Packet(packet) => Taped::Packet(TapedPacket { payload: &[], ..packet }),
            Taped::Clock { publication, encoding, rtp_time, at_us } => {
                Taped::Clock { publication, encoding, rtp_time, at_us }
            }
        };
        self.kept.push_back(Kept { taped, payload });
    }

    /// The first ones, as many as are taken at once.
    pub(super) fn take(&mut self) -> VecDeque<Kept> {
        let rest = self.kept.split_off(self.kept.len().min(TAPED_MAX));
        let first = std::mem::replace(&mut self.kept, rest);
        self.bytes -= first.iter().map(|kept| kept.payload.len() + PACKET_BYTES).sum::<usize>();
        if self.bytes <= AGAIN_BYTES {
            self.is_without_pictures = false;
        }
        first
    }

    /// What operators should know, if it is time to tell them.
    pub(super) fn notice(&mut self, now_us: u64) -> Option<&'static str> {
        let oldest_us = self.kept.front().map(|kept| match kept.taped {
            Taped::Packet(TapedPacket { at_us, .. }) | Taped::Clock { at_us, .. } => at_us,
        });
        let is_slow = oldest_us.is_some_and(|us| us + SLOW_US <= now_us);
        let is_news = self.told_us.is_none_or(|us| us + SLOW_EVERY_US <= now_us);
        if !(is_slow || self.is_without_pictures) || !is_news {
            return None;
        }
        self.told_us = Some(now_us);
        Some(
            "The server's disk is slow: the recording keeps the sound, and leaves pictures out where it \
             cannot follow.",
        )
    }
}

fn is_sound(codec: Codec) -> bool {
    matches!(codec, Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma)
}

/// The lanes and what has come off them, between the recorder and the thread that looks after them
/// while the recorder waits.
#[derive(Default)]
pub(super) struct Intake {
    lanes: Option<Lanes>,
    backlog: Backlog,
}

/// The same for both threads.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Intake>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Intake> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, lanes: Lanes) {
        self.lock().lanes = Some(lanes);
    }

    /// What waits; empty when nothing does.
    pub(super) fn take(&self) -> VecDeque<Kept> {
        let mut intake = self.lock();
        intake.read();
        intake.backlog.take()
    }

    /// Starts the thread. It looks while something is recorded, after each word that something is.
    pub(super) fn look_after(
        &self,
        begun: mpsc::Receiver<()>,
        (watched, tally): (Arc<Watched>, Arc<Tally>),
        tell: impl Fn(Notice) + Send + 'static,
    ) -> std::io::Result<()> {
        let shared = self.clone();
        let run = move || {
            while begun.recv().is_ok() {
                while watched.is_any() {
                    std::thread::sleep(LOOK_EVERY);
                    let mut intake = shared.lock();
                    intake.read();
                    Tally::add(&tally.left_out, std::mem::take(&mut intake.backlog.left_out));
                    let now_us = intake.lanes.as_ref().map_or(0, Lanes::now_us);
                    let Some(text) = intake.backlog.notice(now_us) else {
                        continue;
                    };
                    drop(intake);
                    tracing::warn!("the disk is slow");
                    for group in watched.groups() {
                        tell(Notice { group, text: text.to_owned(), is_over: false });
                    }
                }
            }
        };
        std::thread::Builder::new().name("recorder-tape".to_owned()).spawn(run).map(drop)
    }
}

impl Intake {
    fn read(&mut self) {
        let Self { lanes: Some(lanes), backlog } = self else {
            return;
        };
        while lanes.drain(TAPED_MAX, |taped| backlog.push(taped)) >= TAPED_MAX {}
    }
}
