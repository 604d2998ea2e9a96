//! One recording of one group: its streams, and the timeline beside their files. When nothing can
//! be written it waits until that works again; the class does not notice.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dataplane::{PublicationId, TapedPacket};
use serde_json::{Map, Value, json};

use super::file::{Disk, Synced};
use super::limits::Limits;
use super::place::Place;
use super::reel::Reel;
use super::storage::Storage;
use super::timeline::{Now, Timeline};
use super::trouble::Trouble;
use super::watched::Watched;
use super::{Stream, Tally};

/// How often it is looked whether the files are still there, and whether there is room for more.
const CHECK_EVERY_US: u64 = 2_000_000;
/// After so long it is tried again; then after twice as long, up to the second.
const RETRY_AFTER_US: u64 = 5_000_000;
const RETRY_AFTER_US_MAX: u64 = 60_000_000;
/// What a recording needs of its surroundings.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) root: PathBuf,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) tally: Arc<Tally>,
    pub(super) limits: Limits,
    pub(super) watched: Arc<Watched>,
}

/// What a recording wants of the shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    Attach(PublicationId),
    Keyframe(PublicationId, u8),
}

/// What keeps a recording from being written.
struct Interruption {
    retry_at_us: u64,
    /// For the next time, if this one does not help.
    retry_after_us: u64,
    is_held: bool,
    /// When it was gone on, and whether the disk has kept what was written since.
    resumed_at_us: u64,
    is_safe: bool,
    /// What operators have been told.
    text: String,
}

/// See the module's documentation.
pub(super) struct Session {
    around: Surroundings,
    by: String,
    start: Now,
    place: Place,
    /// By the transport that publishes.
    reels: HashMap<u64, Reel>,
    by_publication: HashMap<PublicationId, u64>,
    wishes: Vec<Wish>,
    checked_at_us: u64,
    /// There until a fragment has been written again.
    interruption: Option<Interruption>,
    notices: Vec<String>,
}

impl Session {
    pub(super) fn begin(
        group: &str,
        (by, is_webm): (&str, bool),
        around: Surroundings,
        now: Now,
    ) -> Result<Self, Trouble> {
        let storage = Arc::clone(&around.storage);
        let tally = Arc::clone(&around.tally);
        let begun = storage.folder(&around.root, group).map_err(Trouble::from).and_then(|folder| {
            around.limits.check(tally.usage.of(group), storage.room(&folder)?)?;
            let mut timeline = Timeline::create(&*storage, (&folder, group), now, by)?;
            timeline.write()?;
            Ok((folder, timeline))
        });
        let (folder, timeline) =
            begun.map_err(|trouble| trouble.or_inodes(storage.room(&around.root)))?;
        around.watched.begun(group, timeline.session());
        let place = Place {
            storage,
            folder,
            group: group.to_owned(),
            is_webm,
            start_us: now.us,
            wall: now.wall,
            timeline,
            tally,
            has_written: false,
        };
        Ok(Self {
            around,
            by: by.to_owned(),
            start: now,
            place,
            reels: HashMap::new(),
            by_publication: HashMap::new(),
            wishes: Vec::new(),
            checked_at_us: now.us,
            interruption: None,
            notices: Vec::new(),
        })
    }

    pub(super) fn publications(&self) -> Vec<PublicationId> {
        self.by_publication.keys().copied().collect()
    }

    /// What it wants of the shards; what cannot be had is to be given back by [`Self::wish`].
    pub(super) fn wishes(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.wishes)
    }

    pub(super) fn wish(&mut self, wish: Wish) {
        self.wishes.push(wish);
    }

    /// A stream is there, or has changed.
    pub(super) fn stream(&mut self, stream: Stream, now_us: u64) {
        for (publication, _) in &stream.sections {
            self.by_publication.insert(*publication, stream.media);
        }
        let media = stream.media;
        match self.reels.get_mut(&media) {
            Some(reel) => reel.update(stream),
            None => {
                self.place.timeline.put_json(now_us, described(&stream));
                let from_us = if stream.is_from_now { now_us } else { self.start.us };
                self.reels.insert(media, Reel::new(stream, now_us, from_us));
            }
        }
    }

    /// A stream is over; returns what was recorded of it.
    pub(super) fn end_stream(&mut self, media: u64, now_us: u64) -> Vec<PublicationId> {
        if let Some(reel) = self.reels.get_mut(&media) {
            reel.is_over = true;
            let id = reel.stream.id.clone();
            self.place.timeline.put_json(now_us, json!({ "event": "stream-end", "stream": id }));
        }
        let of_it = self.by_publication.iter().filter(|(_, of)| **of == media);
        let publications: Vec<PublicationId> = of_it.map(|(publication, _)| *publication).collect();
        publications.iter().for_each(|publication| {
            self.by_publication.remove(publication);
        });
        publications
    }

    pub(super) fn note(&mut self, what: Map<String, Value>, now_us: u64) {
        self.place.timeline.put(now_us, what);
    }

    pub(super) fn packet(&mut self, packet: &TapedPacket<'_>) {
        if self.is_held() {
            return;
        }
        let media = self.by_publication.get(&packet.publication);
        if let Some(reel) = media.and_then(|media| self.reels.get_mut(media)) {
            reel.packet(packet);
        }
    }

    pub(super) fn clock(&mut self, publication: PublicationId, encoding: u8, clock: (u32, u64)) {
        let media = self.by_publication.get(&publication);
        if let Some(reel) = media.and_then(|media| self.reels.get_mut(media)) {
            reel.clock(publication, encoding, clock, &mut self.place);
        }
    }

    /// Writes what is due. Returns what operators should know.
    pub(super) fn work(&mut self, now: Now, disk: &Disk) -> Vec<String> {
        self.place.wall = now.wall;
        if let Some(interruption) = self.interruption.as_ref().filter(|held| held.is_held) {
            if now.us < interruption.retry_at_us {
                return std::mem::take(&mut self.notices);
            }
            if let Err(trouble) = self.resume(now) {
                self.interrupt(trouble, now);
                return std::mem::take(&mut self.notices);
            }
        }
        match self.write(now, disk) {
            Err(trouble) => self.interrupt(trouble, now),
            Ok(()) => {
                let has_written = self.place.has_written || self.reels.is_empty();
                if has_written && self.interruption.take_if(|last| last.is_safe).is_some() {
                    self.around.tally.interrupted.fetch_sub(1, Ordering::Relaxed);
                    self.notices.push("The recording goes on again.".to_owned());
                }
            }
        }
        std::mem::take(&mut self.notices)
    }

    /// The disk has answered.
    pub(super) fn synced(&mut self, synced: Synced, now: Now) {
        match synced.result {
            Err(error) => self.interrupt(error.into(), now),
            Ok(()) => {
                if let Some(interruption) = &mut self.interruption {
                    interruption.is_safe |= synced.at_us >= interruption.resumed_at_us;
                }
            }
        }
    }

    fn write(&mut self, now: Now, disk: &Disk) -> Result<(), Trouble> {
        let mut over = Vec::new();
        let watched = self.around.watched.streams(&self.place.group);
        for (media, reel) in &mut self.reels {
            reel.work(now.us, &mut self.place, disk)?;
            self.notices.extend(reel.notice.take());
            if let Some((publication, encoding)) =
                reel.wanted_keyframe(now.us, watched.contains(&reel.stream.id))
            {
                self.wishes.push(Wish::Keyframe(publication, encoding));
            }
            if reel.is_over {
                reel.close(now.us, &mut self.place, disk)?;
                over.push(*media);
            }
        }
        for media in over {
            self.reels.remove(&media);
        }
        self.place.timeline.write()?;
        self.place.timeline.sync(now.us, disk);
        if now.us.saturating_sub(self.checked_at_us) >= CHECK_EVERY_US {
            self.checked_at_us = now.us;
            self.check(now)?;
        }
        Ok(())
    }

    /// Who writes to a file that nobody finds any more should not believe that it is safe.
    fn check(&mut self, now: Now) -> Result<(), Trouble> {
        self.place.find(self.place.timeline.file_name())?;
        for reel in self.reels.values_mut() {
            reel.check(now.us, &mut self.place);
        }
        let room = self.place.storage.room(&self.place.folder)?;
        let used = self.around.tally.usage.of(&self.place.group);
        self.around.limits.check(used, room)
    }

    /// Whether nothing is written until it is tried again.
    fn is_held(&self) -> bool {
        self.interruption.as_ref().is_some_and(|interruption| interruption.is_held)
    }

    /// Nothing can be written: what is open is left as it is, and plays.
    fn interrupt(&mut self, trouble: Trouble, now: Now) {
        let trouble = trouble.or_inodes(self.place.storage.room(&self.place.folder));
        let text = trouble.to_string();
        let before = self.interruption.take();
        let group = &self.place.group;
        if before.as_ref().is_none_or(|before| before.text != text) {
            tracing::error!(group, %trouble, "the recording is interrupted");
            self.notices.push(format!(
                "The recording is interrupted: {text}. What was written until then is kept. \
                 It goes on by itself as soon as it can."
            ));
        }
        if before.is_none() {
            self.around.tally.interrupted.fetch_add(1, Ordering::Relaxed);
        }
        #[expect(clippy::indexing_slicing, reason = "there is one counter for each kind")]
        self.around.tally.interruptions[trouble.kind() as usize].fetch_add(1, Ordering::Relaxed);
        let retry_after_us = before.map_or(RETRY_AFTER_US, |before| before.retry_after_us);
        self.interruption = Some(Interruption {
            retry_at_us: now.us + retry_after_us,
            retry_after_us: (retry_after_us * 2).min(RETRY_AFTER_US_MAX),
            is_held: true,
            resumed_at_us: u64::MAX,
            is_safe: false,
            text: text.clone(),
        });
        for reel in self.reels.values_mut() {
            reel.interrupt(now.us);
        }
        // It waits: what is written to a file that is gone is lost.
        self.place.timeline.put_json(now.us, json!({ "event": "interrupted", "reason": text }));
    }

    /// Tries to go on, in new files.
    fn resume(&mut self, now: Now) -> Result<(), Trouble> {
        let (storage, group) = (Arc::clone(&self.place.storage), self.place.group.clone());
        let folder = storage.folder(&self.around.root, &group)?;
        self.place.folder.clone_from(&folder);
        let used = self.around.tally.usage.of(&group);
        self.around.limits.check(used, storage.room(&folder)?)?;
        match self.place.find(self.place.timeline.file_name()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut timeline =
                    Timeline::create(&*storage, (&folder, &group), self.start, &self.by)?;
                for reel in self.reels.values() {
                    timeline.put_json(now.us, described(&reel.stream));
                }
                timeline.take_waiting(&mut self.place.timeline);
                self.around.watched.begun(&group, timeline.session());
                self.place.timeline = timeline;
            }
            Err(error) => return Err(error.into()),
        }
        self.place.timeline.put_json(now.us, json!({ "event": "resumed" }));
        self.place.timeline.write()?;
        self.place.has_written = false;
        if let Some(interruption) = &mut self.interruption {
            (interruption.is_held, interruption.resumed_at_us) = (false, now.us);
        }
        Ok(())
    }

    /// Ends it, as well as the disk allows.
    pub(super) fn end(mut self, now_us: u64, disk: &Disk) {
        if self.interruption.is_some() {
            self.around.tally.interrupted.fetch_sub(1, Ordering::Relaxed);
        }
        for reel in self.reels.values_mut() {
            let closed = reel
                .work(now_us, &mut self.place, disk)
                .and_then(|()| reel.close(now_us, &mut self.place, disk));
            if let Err(error) = closed {
                tracing::warn!(%error, "a recording has no index");
            }
        }
        self.place.timeline.put_json(now_us, json!({ "event": "end" }));
        if let Err(error) = self.place.timeline.write() {
            tracing::warn!(%error, "a timeline lacks its end");
        }
        self.around.watched.ended(&self.place.group);
    }
}

fn described(stream: &Stream) -> Value {
    json!({
        "event": "stream", "stream": stream.id, "client": stream.client,
        "username": stream.username, "label": stream.label,
    })
}
