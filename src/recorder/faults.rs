//! Disks that fail, and what recordings make of them.

mod slow;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use dataplane::{Codec, PublicationId, ShardId, Taped, TapedPacket, TransportId};
use serde_json::Value;

use super::backlog::Backlog;
use super::file::Disk;
use super::limits::{Limits, Rules};
use super::session::{Session, Surroundings, Wish};
use super::storage::{Room, Storage, Stored, Syncing, System};
use super::timeline::Now;
use super::trouble::Trouble;
use super::{Stream, Tally};

/// What fails, by the system's numbers.
#[derive(Clone, Copy, Default)]
struct Faults {
    create: Option<i32>,
    /// Half of the bytes are written first.
    write: Option<i32>,
    truncate: Option<i32>,
    sync: Option<i32>,
    find: Option<i32>,
    room: Option<Room>,
}

/// The system's files, with faults.
#[derive(Clone, Default)]
struct Faulty(Arc<Mutex<Faults>>);

impl Faulty {
    fn set(&self, faults: Faults) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    fn check(&self, which: impl Fn(&Faults) -> Option<i32>) -> io::Result<()> {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        which(&faults).map_or(Ok(()), |number| Err(io::Error::from_raw_os_error(number)))
    }
}

impl Storage for Faulty {
    fn folder(&self, root: &Path, group: &str) -> io::Result<PathBuf> {
        System.folder(root, group)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Stored>> {
        self.check(|faults| faults.create)?;
        Ok(Box::new(FaultyFile { file: System.create(path)?, faults: self.clone() }))
    }

    fn find(&self, path: &Path) -> io::Result<()> {
        self.check(|faults| faults.find)?;
        System.find(path)
    }

    fn room(&self, folder: &Path) -> io::Result<Room> {
        let faulty = self.0.lock().unwrap_or_else(PoisonError::into_inner).room;
        faulty.map_or_else(|| System.room(folder), Ok)
    }
}

struct FaultyFile {
    file: Box<dyn Stored>,
    faults: Faulty,
}

impl Stored for FaultyFile {
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        let failed = self.faults.check(|faults| faults.write);
        let whole = if failed.is_ok() { bytes.len() } else { bytes.len() / 2 };
        self.file.write_at(&bytes[..whole], at)?;
        failed
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.faults.check(|faults| faults.truncate)?;
        self.file.truncate(length)
    }

    fn syncing(&self) -> io::Result<Syncing> {
        let (faults, syncing) = (self.faults.clone(), self.file.syncing()?);
        Ok(Box::new(move || {
            faults.check(|faults| faults.sync)?;
            syncing()
        }))
    }
}

/// A recording of one camera, or of some, in a folder of its own.
struct Bench {
    root: PathBuf,
    faults: Faulty,
    around: Surroundings,
    session: Session,
    disk: Disk,
    now: Now,
    packets: u64,
    said: Vec<String>,
    wants_keyframe: Vec<bool>,
    picture_bytes: usize,
    /// When keyframes were asked for, and of which camera.
    asked: Vec<(u64, usize)>,
    /// What comes while the recorder waits for the disk.
    backlog: Option<Backlog>,
}

const GROUP: &str = "maths/algebra";
/// A megabyte a second and camera would be much.
const PICTURE_BYTES: usize = 500;

fn scratch() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let serial = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("aula-recorder-{}-{serial}", std::process::id()))
}

fn publication(media: u64, m_line: u8) -> PublicationId {
    PublicationId { transport: TransportId::new(ShardId(0), media), m_line }
}

fn stream(media: u64) -> Stream {
    Stream {
        group: GROUP.to_owned(),
        media,
        client: format!("client{media}"),
        username: format!("ann{media}"),
        id: format!("stream{media}"),
        label: "camera".to_owned(),
        is_from_now: false,
        sections: vec![(publication(media, 0), false), (publication(media, 1), true)],
    }
}

fn begin(
    faults: &Faulty,
    limits: Limits,
) -> (PathBuf, Surroundings, Now, Result<Session, Trouble>) {
    let root = scratch();
    let around = Surroundings {
        root: root.clone(),
        storage: Arc::new(faults.clone()),
        tally: Arc::new(Tally::default()),
        limits,
        watched: Arc::default(),
    };
    let now = Now { us: 1_000_000, wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 31) };
    let session = Session::begin(GROUP, ("ann", false), around.clone(), now);
    (root, around, now, session)
}

fn no_limits() -> Limits {
    let rules = Rules { keep_free_bytes: Some(0), ..Rules::default() };
    Limits::of(&rules, (None, None))
}

impl Bench {
    fn new(cameras: u64) -> Self {
        Self::limited(cameras, no_limits())
    }

    fn limited(cameras: u64, limits: Limits) -> Self {
        let faults = Faulty::default();
        let (root, around, now, session) = begin(&faults, limits);
        let mut session = session.expect("the folder can be written to");
        for media in 0..cameras {
            session.stream(stream(media), now.us);
        }
        let disk = Disk::start().expect("a thread");
        let (packets, said) = (0, Vec::new());
        let wants_keyframe = vec![true; cameras as usize];
        let picture_bytes = PICTURE_BYTES;
        let (asked, backlog) = (Vec::new(), None);
        Self {
            root,
            faults,
            around,
            session,
            disk,
            now,
            packets,
            said,
            wants_keyframe,
            picture_bytes,
            asked,
            backlog,
        }
    }

    /// All cameras send for so long: a keyframe when one is asked for, other pictures otherwise.
    fn run_s(&mut self, seconds: u64) {
        for _ in 0..seconds * 50 {
            self.send();
            self.work();
        }
    }

    /// The same for 20 ms, without a look at it.
    fn send(&mut self) {
        let mut sets = vec![0x78, 0, 14];
        sets.extend([0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x50, 0x1e, 0xd0, 0x0f, 0x08]);
        sets.extend([0x84, 0x6a, 0, 4, 0x68, 0xce, 0x3c, 0x80]);
        let mut picture = vec![7; self.picture_bytes];
        self.now.us += 20_000;
        self.now.wall += Duration::from_millis(20);
        self.packets += 1;
        let n = self.packets;
        for media in 0..self.wants_keyframe.len() {
            let is_key = std::mem::take(&mut self.wants_keyframe[media]);
            let media = media as u64;
            // 20 ms of Opus.
            self.packet((media, 0), Codec::Opus, (n, 960 * n as u32), &[0x78, 1, 2]);
            picture[0] = if is_key { 0x65 } else { 0x41 };
            let (video, rtp_time) = ((media, 1), 1800 * n as u32);
            // Numbers have no gaps.
            let first: &[u8] = if is_key { &sets } else { &[] };
            self.packet(video, Codec::H264, (2 * n - 1, rtp_time), first);
            self.packet(video, Codec::H264, (2 * n, rtp_time), &picture);
        }
    }

    fn packet(
        &mut self,
        (media, m_line): (u64, u8),
        codec: Codec,
        (seq, rtp_time): (u64, u32),
        payload: &[u8],
    ) {
        let packet = TapedPacket {
            publication: publication(media, m_line),
            encoding: 0,
            codec,
            seq,
            rtp_time,
            at_us: self.now.us,
            // Each packet of sound is whole, and of pictures the last.
            marker: m_line == 0 || seq.is_multiple_of(2),
            payload,
        };
        match &mut self.backlog {
            Some(backlog) => backlog.push(Taped::Packet(packet)),
            None => self.session.packet(&packet),
        }
    }

    fn work(&mut self) {
        for synced in self.disk.settled() {
            self.session.synced(synced, self.now);
        }
        self.said.extend(self.session.work(self.now, &self.disk));
        for wish in self.session.wishes() {
            if let Wish::Keyframe(publication, _) = wish {
                let media = publication.transport.as_u64() as usize;
                self.wants_keyframe[media] = true;
                self.asked.push((self.now.us, media));
            }
        }
    }

    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    fn folder(&self) -> PathBuf {
        self.root.join(GROUP)
    }

    /// Names of files with this ending, sorted.
    fn files(&self, extension: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder()).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(extension)).collect();
        names.sort();
        names
    }

    /// The lines of the latest timeline: each is whole.
    fn timeline(&self) -> Vec<Value> {
        // Of one name the latest has the highest number.
        let name = self.files(".jsonl").into_iter().max_by_key(|name| (name.len(), name.clone()));
        let name = name.expect("a timeline");
        let text = std::fs::read_to_string(self.folder().join(name)).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("a whole line")).collect()
    }

    /// Whether all of a file is whole boxes, fragment after fragment.
    fn assert_plays(&self, name: &str) {
        let bytes = std::fs::read(self.folder().join(name)).expect("a file");
        let (mut at, mut names) = (0, Vec::new());
        while at < bytes.len() {
            let head = bytes.get(at..at + 8).unwrap_or_else(|| panic!("half a box in {name}"));
            let length = u32::from_be_bytes(head[..4].try_into().expect("four octets")) as usize;
            names.push(String::from_utf8_lossy(&head[4..]).into_owned());
            at += length;
        }
        assert_eq!(at, bytes.len(), "half a fragment in {name}");
        assert_eq!(names[..2], ["ftyp", "moov"]);
        assert!(names[2..].chunks(2).all(|pair| pair == ["moof", "mdat"] || pair == ["mfra"]));
    }

    fn events(&self) -> Vec<String> {
        let lines = self.timeline();
        lines.iter().map(|line| line["event"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn end(self) {
        self.session.end(self.now.us, &self.disk);
        assert_eq!(self.around.tally.interrupted.load(Ordering::Relaxed), 0);
        std::fs::remove_dir_all(&self.root).expect("ours");
    }
}

/// Runs for up to `seconds` until `is_so`.
fn until(bench: &mut Bench, seconds: u64, is_so: impl Fn(&Bench) -> bool) {
    for _ in 0..seconds {
        if is_so(bench) {
            return;
        }
        bench.run_s(1);
    }
    panic!("not after {seconds} s; said {:?}", bench.said);
}

fn is_back(bench: &Bench) -> bool {
    bench.said.iter().any(|text| text == "The recording goes on again.")
}

#[test]
fn whatever_fails_files_so_far_play_and_it_goes_on_when_that_works_again() {
    let full = Some(libc::ENOSPC);
    let cases = [
        (Faults { write: full, ..Faults::default() }, "disk is full", "full"),
        (Faults { write: Some(libc::EDQUOT), ..Faults::default() }, "disk is full", "full"),
        (Faults { write: Some(libc::EIO), ..Faults::default() }, "disk has failed", "failed"),
        (Faults { write: Some(libc::EROFS), ..Faults::default() }, "may not write", "not_writable"),
        (Faults { write: Some(libc::EMFILE), ..Faults::default() }, "cannot write", "other"),
        (Faults { find: Some(libc::ENOENT), ..Faults::default() }, "been removed", "gone"),
        (Faults { sync: Some(libc::EIO), ..Faults::default() }, "disk has failed", "failed"),
        (
            Faults {
                write: full,
                room: Some(Room { bytes: 9 << 20, has_inodes: false }),
                ..Faults::default()
            },
            "can hold no more files",
            "full",
        ),
    ];
    for (faults, words, kind) in cases {
        let mut bench = Bench::new(2);
        bench.run_s(5);
        assert_eq!(bench.said(), [""; 0]);
        let before = bench.files(".mp4");
        assert_eq!(before.len(), 2, "one for each camera");
        bench.faults.set(faults);
        until(&mut bench, 10, |bench| !bench.said.is_empty());
        bench.run_s(200);
        let said = bench.said();
        assert_eq!(said.len(), 1, "once, however often it is tried: {said:?}");
        assert!(said[0].contains(words), "{said:?}");
        let tally = Arc::clone(&bench.around.tally);
        assert_eq!(tally.interrupted.load(Ordering::Relaxed), 1);
        let at = super::TroubleKind::ALL.iter().position(|(_, name)| *name == kind);
        assert!(tally.interruptions[at.expect("a kind")].load(Ordering::Relaxed) >= 1, "{kind}");
        bench.faults.set(Faults::default());
        until(&mut bench, 100, is_back);
        bench.run_s(5);
        assert_eq!(bench.said().len(), 1);
        assert_eq!(tally.interrupted.load(Ordering::Relaxed), 0);
        let after = bench.files(".mp4");
        assert!(after.len() >= 4, "each goes on in a file of its own: {after:?}");
        after.iter().for_each(|name| bench.assert_plays(name));
        let events = bench.events();
        let place = |name: &str| events.iter().position(|event| event == name);
        assert!(place("interrupted").expect("told") < place("resumed").expect("told"));
        assert_eq!(events.last().map(String::as_str), Some("fragment"));
        bench.end();
    }
}

#[test]
fn a_disk_that_does_not_even_shorten_what_is_half_written_harms_no_other_file() {
    let mut bench = Bench::new(1);
    bench.run_s(5);
    let full = Some(libc::ENOSPC);
    bench.faults.set(Faults { write: full, truncate: full, ..Faults::default() });
    bench.run_s(10);
    bench.faults.set(Faults::default());
    until(&mut bench, 100, is_back);
    bench.run_s(5);
    let files = bench.files(".mp4");
    bench.assert_plays(files.last().expect("another"));
    // The timeline was half written, too: what was in the way has been written over.
    assert!(bench.events().contains(&"resumed".to_owned()));
    bench.end();
}

#[test]
fn a_folder_that_was_deleted_is_made_again() {
    let mut bench = Bench::new(1);
    bench.run_s(5);
    std::fs::remove_dir_all(&bench.root).unwrap();
    until(&mut bench, 10, |bench| !bench.said.is_empty());
    assert!(bench.said()[0].contains("has been removed"));
    until(&mut bench, 100, is_back);
    bench.run_s(3);
    let events = bench.events();
    assert_eq!(events[..2], ["session", "stream"], "the new timeline stands for itself");
    assert!(
        ["interrupted", "resumed", "file", "fragment"]
            .iter()
            .all(|name| { events.iter().any(|event| event == name) })
    );
    bench.assert_plays(&bench.files(".mp4")[0]);
    bench.end();
}

#[test]
fn a_file_that_was_deleted_is_followed_by_another_without_a_word() {
    let mut bench = Bench::new(2);
    bench.run_s(5);
    let files = bench.files(".mp4");
    std::fs::remove_file(bench.folder().join(&files[0])).unwrap();
    bench.run_s(12);
    assert_eq!(bench.said(), [""; 0]);
    let left = bench.files(".mp4");
    assert_eq!(left.len(), 2);
    assert!(left.contains(&files[1]) && !left.contains(&files[0]));
    assert!(bench.events().contains(&"file-deleted".to_owned()));
    bench.end();
}

#[test]
fn a_recording_that_cannot_begin_says_why() {
    let say = |faults: Faults, limits: Limits| {
        let faulty = Faulty::default();
        faulty.set(faults);
        let (root, .., session) = begin(&faulty, limits);
        let _ = std::fs::remove_dir_all(root);
        session.err().map(|trouble| trouble.to_string())
    };
    let read_only = Faults { create: Some(libc::EROFS), ..Faults::default() };
    let text = say(read_only, no_limits()).expect("refused");
    assert!(text.contains("may not write to the folder"), "{text}");
    let room = Some(Room { bytes: 5, has_inodes: true });
    let little = Faults { room, ..Faults::default() };
    let text = say(little, Limits { free_bytes_min: 6, ..no_limits() }).expect("refused");
    assert!(text.contains("too little room"), "{text}");
    assert_eq!(say(little, Limits { free_bytes_min: 5, ..no_limits() }), None);
    let text = say(Faults::default(), Limits { group_bytes_max: Some(0), ..no_limits() });
    assert!(text.expect("refused").contains("delete some"));
}

#[test]
fn a_group_that_has_as_much_as_it_may_goes_on_when_something_was_deleted() {
    let limits = Limits { group_bytes_max: Some(20_000), ..no_limits() };
    let mut bench = Bench::limited(1, limits);
    until(&mut bench, 10, |bench| !bench.said.is_empty());
    assert!(bench.said()[0].contains("as many bytes"));
    let written = bench.around.tally.bytes.load(Ordering::Relaxed);
    assert!(written < 200_000, "it is looked at every other second");
    bench.run_s(100);
    assert_eq!(bench.around.tally.bytes.load(Ordering::Relaxed), written);
    // As the next count finds it.
    bench.around.tally.usage.set(Default::default());
    until(&mut bench, 100, is_back);
    bench.end();
}

#[test]
fn clocks_that_jump_move_names_and_nothing_else() {
    let mut bench = Bench::new(1);
    bench.run_s(3);
    let start = bench.now.wall;
    for jump_s in [-3600i64, 86_400 * 400, -86_400 * 30_000, 7200] {
        let jump = Duration::from_secs(jump_s.unsigned_abs());
        let wall = bench.now.wall;
        bench.now.wall = if jump_s < 0 {
            wall.checked_sub(jump).unwrap_or(SystemTime::UNIX_EPOCH)
        } else {
            wall + jump
        };
        // Every file begins anew.
        bench.faults.set(Faults { write: Some(libc::EIO), ..Faults::default() });
        bench.run_s(3);
        bench.faults.set(Faults::default());
        until(&mut bench, 100, is_back);
        bench.said.clear();
        bench.run_s(3);
    }
    // The same name as before.
    bench.now.wall = start;
    bench.run_s(3);
    let lines = bench.timeline();
    assert!(lines.iter().filter(|line| line["event"] == "file").count() >= 5);
    let fragments = lines.iter().filter(|line| line["event"] == "fragment");
    let spans: Vec<(u64, u64)> = fragments
        .map(|line| (line["start_us"].as_u64().unwrap(), line["end_us"].as_u64().unwrap()))
        .collect();
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0 + 40_000), "{spans:?}");
    assert!(spans.last().unwrap().1 < 600_000_000, "time in the recording is not the wall's");
    bench.files(".mp4").iter().for_each(|name| bench.assert_plays(name));
    bench.end();
}

#[test]
fn nothing_from_before_the_button_was_pressed_is_recorded() {
    let mut bench = Bench::new(1);
    // What the shard has had since the last keyframe.
    bench.now.us = 400_000;
    (0..30).for_each(|_| bench.send());
    bench.run_s(3);
    let at = |bench: &Bench, stream: &str| {
        let lines = bench.timeline();
        let file = lines.iter().find(|line| line["event"] == "file" && line["stream"] == stream);
        file.and_then(|line| line["at_us"].as_u64()).expect("a file")
    };
    assert!(at(&bench, "stream0") < 100_000, "at once, with a keyframe that was asked for");
    let lines = bench.timeline();
    let end_us = lines.iter().filter_map(|line| line["end_us"].as_u64()).max();
    assert!(end_us.is_some_and(|us| us <= 3_020_000), "{end_us:?}: nothing has moved");
    // Who has just agreed is recorded from then on.
    let mut late = stream(1);
    late.is_from_now = true;
    bench.session.stream(late, bench.now.us);
    bench.wants_keyframe.push(true);
    let agreed_us = bench.now.us;
    bench.now.us -= 500_000;
    (0..25).for_each(|_| bench.send());
    bench.run_s(3);
    assert!(at(&bench, "stream1") + 1_000_000 >= agreed_us);
    bench.end();
}

#[test]
fn a_hundred_publishers_are_recorded_at_once() {
    let mut bench = Bench::new(100);
    bench.run_s(4);
    let files = bench.files(".mp4");
    assert_eq!(files.len(), 100);
    files.iter().for_each(|name| bench.assert_plays(name));
    // They begin in one millisecond, and each has a name of its own.
    assert_eq!(bench.timeline().iter().filter(|line| line["event"] == "file").count(), 100);
    bench.end();
}
