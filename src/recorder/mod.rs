//! The recorder: one thread that reads what the shards put on its tape and writes files, and one
//! that waits for the disk. It holds up nobody: what it is too slow for is dropped by the shards,
//! and files go on with the next keyframe.

mod backlog;
#[cfg(test)]
mod faults;
mod file;
mod keeper;
mod limits;
mod names;
mod place;
mod reel;
mod session;
mod storage;
mod timeline;
mod trouble;
mod watched;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use dataplane::{Lanes, PublicationId, Tape, Taped, TapedPacket};
use tokio::sync::Notify;

use file::Disk;
pub(crate) use limits::{Limits, Rules};
use session::{Session, Surroundings, Wish};
use timeline::Now;
pub(crate) use trouble::Kind as TroubleKind;
pub(crate) use watched::Watched;

/// How often the tape is looked at while something is recorded: far less than a lane holds.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long the end of the process waits for the last bytes.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// What the recorder is told. Groups are named by their paths.
pub(crate) enum Job {
    /// Where packets come from; once, before anything else.
    Tape(Box<(Tape, Lanes)>),
    Begin {
        group: String,
        by: String,
        is_webm: bool,
    },
    Stream(Stream),
    StreamEnded {
        group: String,
        media: u64,
    },
    Note {
        group: String,
        what: serde_json::Map<String, serde_json::Value>,
    },
    End {
        group: String,
    },
    /// Close everything, and say so.
    Finish(mpsc::SyncSender<()>),
}

/// A stream that is to be recorded.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) group: String,
    /// Its transport, as signalling names it.
    pub(crate) media: u64,
    pub(crate) client: String,
    pub(crate) username: String,
    pub(crate) id: String,
    pub(crate) label: String,
    /// Nothing of it from before this moment is to be recorded.
    pub(crate) is_from_now: bool,
    /// Its sections, and whether they are pictures.
    pub(crate) sections: Vec<(PublicationId, bool)>,
}

/// What the recorder has to tell those who may record.
#[derive(Debug)]
pub(crate) struct Notice {
    pub(crate) group: String,
    pub(crate) text: String,
    /// It has given up.
    pub(crate) is_over: bool,
}

/// What has been done since the start.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) bytes: AtomicU64,
    pub(crate) files: AtomicU64,
    pub(crate) fragments: AtomicU64,
    /// Packets left out because a disk was too slow.
    pub(crate) left_out: AtomicU64,
    /// Losses that no retransmission made good.
    pub(crate) gaps: AtomicU64,
    /// Recordings that ended because they could not go on.
    pub(crate) failures: AtomicU64,
    pub(crate) sessions: AtomicU64,
    /// Of them, those that cannot be written at present.
    pub(crate) interrupted: AtomicU64,
    /// In the order of [`TroubleKind::ALL`].
    pub(crate) interruptions: [AtomicU64; TroubleKind::ALL.len()],
    /// Files deleted because they were old.
    pub(crate) expired: AtomicU64,
    /// What all recordings have, and what is left on their disk, as last counted.
    pub(crate) stored_bytes: AtomicU64,
    pub(crate) free_bytes: AtomicU64,
    /// What each group has, as last counted.
    usage: limits::Usage,
}

/// What limits hold for a group, by its path. May wait for a disk.
pub(crate) type LimitsOf = Arc<dyn Fn(&str) -> Limits + Send + Sync>;

impl Tally {
    fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// The way to the recorder.
#[derive(Clone)]
pub(crate) struct Recorder {
    jobs: mpsc::Sender<Job>,
    root: Arc<Path>,
    watched: Arc<Watched>,
}

impl Recorder {
    /// Starts the threads. `wake` is notified when there are notices.
    pub(crate) fn start(
        root: &Path,
        wake: Arc<Notify>,
        tally: Arc<Tally>,
        limits_of: LimitsOf,
    ) -> std::io::Result<(Self, mpsc::Receiver<Notice>)> {
        #[expect(
            clippy::disallowed_methods,
            reason = "nobody may wait for a disk, and no end of a recording be lost"
        )]
        let (jobs, inputs) = mpsc::channel();
        #[expect(
            clippy::disallowed_methods,
            reason = "a few for each recording, and the disk may not wait for people"
        )]
        let (told, notices) = mpsc::channel();
        let tell = move |notice: Notice| {
            // Nobody listens any more when the process ends.
            let _ = told.send(notice);
            wake.notify_one();
        };
        keeper::start(root, Arc::clone(&tally), Arc::clone(&limits_of))?;
        let watched = Arc::<Watched>::default();
        // More than one says no more than one does.
        #[expect(clippy::disallowed_methods, reason = "one for each time that something begins")]
        let (begun, has_begun) = mpsc::channel();
        let intake = backlog::Shared::default();
        let known = (Arc::clone(&watched), Arc::clone(&tally));
        intake.look_after(has_begun, known, tell.clone())?;
        let desk = Desk {
            watched: Arc::clone(&watched),
            root: root.to_owned(),
            limits_of,
            intake,
            begun,
            disk: Disk::start()?,
            tally,
            tape: None,
            sessions: HashMap::new(),
            by_publication: HashMap::new(),
            tell: Box::new(tell),
        };
        let _: JoinHandle<()> = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || desk.run(&inputs))?;
        Ok((Self { jobs, root: root.into(), watched }, notices))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What runs, and what is watched of it.
    pub(crate) fn watched(&self) -> &Arc<Watched> {
        &self.watched
    }

    /// Gives it something to do.
    pub(crate) fn order(&self, job: Job) {
        if self.jobs.send(job).is_err() {
            tracing::error!("the recorder has ended");
        }
    }

    /// Ends all recordings in good order; waits for that, but not for ever.
    pub(crate) fn finish(&self) {
        let (done, is_done) = mpsc::sync_channel(1);
        self.order(Job::Finish(done));
        if is_done.recv_timeout(FINISH_WITHIN).is_err() {
            tracing::warn!("the last recordings have no index: the disk was too slow");
        }
    }
}

/// What the thread works with.
struct Desk {
    watched: Arc<Watched>,
    root: PathBuf,
    limits_of: LimitsOf,
    intake: backlog::Shared,
    /// Tells who looks after it that there is something to look after.
    begun: mpsc::Sender<()>,
    disk: Disk,
    tally: Arc<Tally>,
    tape: Option<Tape>,
    sessions: HashMap<String, Session>,
    by_publication: HashMap<PublicationId, String>,
    tell: Box<dyn Fn(Notice) + Send>,
}

impl Desk {
    fn run(mut self, inputs: &mpsc::Receiver<Job>) {
        let mut looked_at = Instant::now();
        loop {
            let job = if self.sessions.is_empty() {
                match inputs.recv() {
                    Ok(job) => Some(job),
                    Err(mpsc::RecvError) => return,
                }
            } else {
                let wait = LOOK_EVERY.saturating_sub(looked_at.elapsed());
                match inputs.recv_timeout(wait) {
                    Ok(job) => Some(job),
                    Err(mpsc::RecvTimeoutError::Timeout) => None,
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                }
            };
            if let Some(job) = job {
                self.take(job);
            }
            if looked_at.elapsed() >= LOOK_EVERY {
                self.look();
                looked_at = Instant::now();
            }
        }
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Tape(tape) => {
                let (tape, lanes) = *tape;
                self.tape = Some(tape);
                self.intake.set(lanes);
            }
            Job::Begin { group, by, is_webm } => self.begin(group, &by, is_webm),
            Job::Stream(stream) => {
                let Some(tape) = &self.tape else {
                    return;
                };
                if let Some(session) = self.sessions.get_mut(&stream.group) {
                    for (publication, _) in &stream.sections {
                        let group = stream.group.clone();
                        if self.by_publication.insert(*publication, group).is_none() {
                            session.wish(Wish::Attach(*publication));
                        }
                    }
                    session.stream(stream, tape.now_us());
                    grant(session, tape);
                }
            }
            Job::StreamEnded { group, media } => {
                self.look();
                if let (Some(session), Some(tape)) = (self.sessions.get_mut(&group), &self.tape) {
                    for publication in session.end_stream(media, tape.now_us()) {
                        let _ = tape.detach(publication);
                        self.by_publication.remove(&publication);
                    }
                }
            }
            Job::Note { group, what } => {
                if let (Some(session), Some(tape)) = (self.sessions.get_mut(&group), &self.tape) {
                    session.note(what, tape.now_us());
                }
            }
            Job::End { group } => {
                self.look();
                self.end(&group);
            }
            Job::Finish(done) => {
                self.look();
                let groups: Vec<String> = self.sessions.keys().cloned().collect();
                groups.iter().for_each(|group| self.end(group));
                let _ = done.send(());
            }
        }
    }

    fn begin(&mut self, group: String, by: &str, is_webm: bool) {
        let Some(tape) = &self.tape else {
            let text = "The server is too busy to record: try again.".to_owned();
            return (self.tell)(Notice { group, text, is_over: true });
        };
        let around = Surroundings {
            root: self.root.clone(),
            storage: Arc::new(storage::System),
            tally: Arc::clone(&self.tally),
            limits: (self.limits_of)(&group),
            watched: Arc::clone(&self.watched),
        };
        match Session::begin(&group, (by, is_webm), around, now(tape)) {
            Ok(session) => {
                tracing::info!(group, by, "recording");
                Tally::add(&self.tally.sessions, 1);
                self.sessions.insert(group, session);
                // Without it there is no tape to look after.
                let _ = self.begun.send(());
            }
            Err(trouble) => {
                tracing::error!(group, ?trouble, "cannot record");
                Tally::add(&self.tally.failures, 1);
                let text = format!("Cannot record: {trouble}.");
                (self.tell)(Notice { group, text, is_over: true });
            }
        }
    }

    fn end(&mut self, group: &str) {
        let Some(session) = self.sessions.remove(group) else {
            return;
        };
        self.tally.sessions.fetch_sub(1, Ordering::Relaxed);
        if let Some(tape) = &self.tape {
            for publication in session.publications() {
                let _ = tape.detach(publication);
                self.by_publication.remove(&publication);
            }
            session.end(tape.now_us(), &self.disk);
        }
        tracing::info!(group, "recording ended");
    }

    /// Reads the tape, and lets every recording write what is due.
    fn look(&mut self) {
        let Some(tape) = &self.tape else {
            return;
        };
        loop {
            let kept = self.intake.take();
            if kept.is_empty() {
                break;
            }
            for kept in &kept {
                let taped = kept.taped();
                let (Taped::Packet(TapedPacket { publication, .. })
                | Taped::Clock { publication, .. }) = taped;
                let group = self.by_publication.get(&publication);
                let Some(session) = group.and_then(|group| self.sessions.get_mut(group)) else {
                    continue;
                };
                match taped {
                    Taped::Packet(packet) => session.packet(&packet),
                    Taped::Clock { publication, encoding, rtp_time, at_us } => {
                        session.clock(publication, encoding, (rtp_time, at_us));
                    }
                }
            }
        }
        while let Some(synced) = self.disk.answer() {
            if let Some(session) = self.sessions.get_mut(&synced.group) {
                session.synced(synced, now(tape));
            }
        }
        let before = self.tally.fragments.load(Ordering::Relaxed);
        for (group, session) in &mut self.sessions {
            for text in session.work(now(tape), &self.disk) {
                (self.tell)(Notice { group: group.clone(), text, is_over: false });
            }
            grant(session, tape);
        }
        if self.tally.fragments.load(Ordering::Relaxed) != before {
            self.watched.grown();
        }
    }
}

fn now(tape: &Tape) -> Now {
    Now { us: tape.now_us(), wall: SystemTime::now() }
}

/// Passes on what a recording wants of the shards; who is too busy is asked again.
fn grant(session: &mut Session, tape: &Tape) {
    for wish in session.wishes() {
        match wish {
            Wish::Attach(publication) => {
                if tape.attach(publication).is_err() {
                    session.wish(wish);
                }
            }
            // It is asked for again anyway, for as long as it is needed.
            Wish::Keyframe(publication, encoding) => {
                let _ = tape.want_keyframe(publication, encoding);
            }
        }
    }
}
