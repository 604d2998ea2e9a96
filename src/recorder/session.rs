//! One recording of one group: its streams, and the timeline beside their files.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use dataplane::{PublicationId, Tape, TapedPacket};
use serde_json::{Map, Value, json};

use super::file::{Disk, Growing};
use super::reel::Reel;
use super::{Stream, Tally, names};

/// What everything that belongs to a session's streams needs.
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) is_webm: bool,
    /// Time zero of the timeline, on the shards' clock.
    pub(super) start_us: u64,
    pub(super) timeline: Timeline,
    pub(super) tally: Arc<Tally>,
}

/// The timeline: one JSON object a line, only ever appended to.
pub(super) struct Timeline {
    file: Growing,
    start_us: u64,
    /// Written with the next look, all at once.
    waiting: Vec<u8>,
}

impl Timeline {
    /// Adds a line; `now_us` is on the shards' clock.
    pub(super) fn put(&mut self, now_us: u64, mut what: Map<String, Value>) {
        what.insert("at_us".to_owned(), now_us.saturating_sub(self.start_us).into());
        self.waiting.extend_from_slice(Value::Object(what).to_string().as_bytes());
        self.waiting.push(b'\n');
    }

    /// The same for the literal of an object.
    pub(super) fn put_json(&mut self, now_us: u64, what: Value) {
        if let Value::Object(what) = what {
            self.put(now_us, what);
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.file.append(&waiting)
    }
}

/// See the module's documentation.
pub(super) struct Session {
    place: Place,
    /// By the transport that publishes.
    reels: HashMap<u64, Reel>,
    by_publication: HashMap<PublicationId, u64>,
    /// Publications whose shard was too busy to take them up.
    unattached: Vec<PublicationId>,
    checked_at: Instant,
}

/// How often it is looked whether the folder is still there.
const CHECK_EVERY: std::time::Duration = std::time::Duration::from_secs(2);

impl Session {
    pub(super) fn begin(
        root: &Path,
        group: &str,
        (by, is_webm): (&str, bool),
        tape: &Tape,
        tally: Arc<Tally>,
    ) -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(root)?;
        let folder = root.join(group);
        builder.create(&folder)?;
        // A link that an administrator has put there may lead about, but not out.
        let (root, folder) = (root.canonicalize()?, folder.canonicalize()?);
        if !folder.starts_with(&root) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let start_us = tape.now_us();
        let wall = tape.wall_at(start_us);
        let file = Growing::create(&folder, &names::stamp(wall), "timeline.jsonl")?;
        let mut timeline = Timeline { file, start_us, waiting: Vec::new() };
        let unix_ms = wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        timeline.put_json(
            start_us,
            json!({
                "event": "session", "version": 1, "group": group, "by": by, "unix_ms": unix_ms,
            }),
        );
        timeline.write()?;
        let place = Place { folder, is_webm, start_us, timeline, tally };
        Ok(Self {
            place,
            reels: HashMap::new(),
            by_publication: HashMap::new(),
            unattached: Vec::new(),
            checked_at: Instant::now(),
        })
    }

    pub(super) fn publications(&self) -> Vec<PublicationId> {
        self.by_publication.keys().copied().collect()
    }

    pub(super) fn attach(&mut self, tape: &Tape, publication: PublicationId) {
        if tape.attach(publication).is_err() {
            self.unattached.push(publication);
        }
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
                self.place.timeline.put_json(
                    now_us,
                    json!({
                        "event": "stream", "stream": stream.id, "client": stream.client,
                        "username": stream.username, "label": stream.label,
                    }),
                );
                self.reels.insert(media, Reel::new(stream, now_us));
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
    pub(super) fn work(&mut self, tape: &Tape, disk: &Disk) -> io::Result<Vec<String>> {
        let now_us = tape.now_us();
        for publication in std::mem::take(&mut self.unattached) {
            self.attach(tape, publication);
        }
        let mut notices = Vec::new();
        let mut over = Vec::new();
        for (media, reel) in &mut self.reels {
            reel.work(now_us, &mut self.place, disk)?;
            notices.extend(reel.notice.take());
            if let Some((publication, encoding)) = reel.wanted_keyframe(now_us) {
                let _ = tape.want_keyframe(publication, encoding);
            }
            if reel.is_over {
                reel.close(now_us, &mut self.place, disk)?;
                over.push(*media);
            }
        }
        for media in over {
            self.reels.remove(&media);
        }
        self.place.timeline.write()?;
        self.place.timeline.file.sync(disk);
        if self.checked_at.elapsed() >= CHECK_EVERY {
            self.checked_at = Instant::now();
            // Who writes to a file that nobody finds any more should not believe that it is safe.
            std::fs::metadata(self.place.folder.join(self.place.timeline.file.name()))?;
        }
        Ok(notices)
    }

    /// Ends it, as well as the disk allows.
    pub(super) fn end(mut self, now_us: u64, disk: &Disk) {
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
    }
}
