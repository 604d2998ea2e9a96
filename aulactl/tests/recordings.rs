//! What has been recorded is listed, exported by a program in ffmpeg's place, and deleted.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const SESSION: &str = "2026-11-29T10:15:00.100";

/// A folder with a session of two, one of whom begins twice, that goes away with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    fn new(test: &str, end: &str) -> Self {
        let path = std::env::temp_dir().join(format!("aulactl-{test}-{}", std::process::id()));
        fs::create_dir_all(path.join("maths/algebra")).expect("a folder");
        let folder = Self(path);
        let mut lines = vec![
            r#"{"event":"session","unix_ms":1795947300100,"at_us":0}"#.to_owned(),
            r#"{"event":"stream","stream":"s1","username":"ann","label":"camera"}"#.to_owned(),
            r#"{"event":"stream","stream":"s2","username":"bob","label":"screenshare"}"#.to_owned(),
        ];
        for (file, stream, start_s, end_s) in
            [("a1.mp4", "s1", 1, 10), ("a2.mp4", "s1", 20, 30), ("b.webm", "s2", 5, 30)]
        {
            lines.push(format!(
                r#"{{"event":"file","file":"{file}","stream":"{stream}","at_us":{start_s}000000,
                "tracks":[{{"kind":"video","width":640,"height":480}},{{"kind":"audio"}}]}}"#
            ));
            lines.push(format!(r#"{{"event":"fragment","file":"{file}","end_us":{end_s}000000}}"#));
            folder.write(file, "media");
        }
        lines.push(end.to_owned());
        let lines: Vec<String> = lines.iter().map(|line| line.replace('\n', "")).collect();
        folder.write(&format!("{SESSION}.timeline.jsonl"), &lines.join("\n"));
        folder
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join("maths/algebra").join(name), text).expect("written");
    }

    /// A program that says how it was called in the file that it is to make.
    fn fake_ffmpeg(&self) -> String {
        let path = self.0.join("fake-ffmpeg");
        let script = "#!/bin/sh\n[ \"$1\" = -version ] && exit 0\nfor last; do :; done\n\
                      echo \"$@\" >\"$last\"\n";
        fs::write(&path, script).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn run(&self, arguments: &[&str]) -> (bool, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_aulactl"))
            .arg("recordings")
            .args(arguments)
            .arg("-recordings")
            .arg(&self.0)
            .current_dir(&self.0)
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }
}

const NAMED: [&str; 4] = ["-group", "maths/algebra", "-session", SESSION];

fn with<'a>(what: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[what], &NAMED[..], more].concat()
}

#[test]
fn sessions_are_listed_with_who_was_there() {
    let folder = Folder::new("list", r#"{"event":"end","at_us":3725000000}"#);
    let (is_good, said, _) = folder.run(&["list"]);
    assert!(is_good);
    let parts: Vec<&str> = said.trim_end().split('\t').collect();
    assert_eq!(parts[..2], ["maths/algebra", SESSION]);
    assert_eq!(parts[3..], ["1:02:05", "1 MiB", "ann, bob"]);
    assert_eq!(folder.run(&["list", "-group", "art"]).1, "");
    // Half a line, as a crash leaves it, and no end.
    let folder = Folder::new("half", r#"{"event":"fragm"#);
    assert!(folder.run(&["list"]).1.ends_with("(no end)\n"));
}

#[test]
fn there_is_a_file_for_each_person_and_one_of_all_sound() {
    let folder = Folder::new("export", r#"{"event":"end","at_us":31000000}"#);
    let ffmpeg = folder.fake_ffmpeg();
    let (is_good, said, error) = folder.run(&with("export", &["-ffmpeg", &ffmpeg]));
    assert!(is_good, "{error}");
    assert_eq!(said.lines().count(), 3);
    let made = |name: &str| fs::read_to_string(folder.0.join(SESSION).join(name)).expect(name);
    let copied = made("bob-screenshare.mkv");
    assert!(copied.contains("-c copy -output_ts_offset 5.000000"), "{copied}");
    let joined = made("ann.mkv");
    assert!(joined.contains("a1.mp4") && joined.contains("a2.mp4"), "{joined}");
    assert!(joined.contains("concat=n=2:v=1:a=0") && joined.contains("adelay=20000"), "{joined}");
    let mixed = made("all-sound.m4a");
    assert!(mixed.contains("amix=inputs=3"), "{mixed}");
    // Nothing is written over.
    assert!(folder.run(&with("export", &["-ffmpeg", &ffmpeg])).1.contains("ann-2.mkv"));
}

#[test]
fn what_is_missing_is_said_in_a_line() {
    let folder = Folder::new("missing", r#"{"event":"end"}"#);
    for (arguments, words) in [
        (with("export", &["-ffmpeg", "no-such-ffmpeg"]), "apt install ffmpeg"),
        (vec!["export", "-group", "maths/algebra", "-session", "2020"], "2020.timeline.jsonl"),
        (vec!["export", "-group", "../x", "-session", SESSION], "-group"),
        (vec!["delete", "-group", "maths/algebra", "-session", "../x"], "-session"),
        (vec!["bananas"], "list, export or delete"),
    ] {
        let (is_good, _, error) = folder.run(&arguments);
        assert!(!is_good && error.contains(words), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let false_ffmpeg = folder.0.join("false");
    fs::write(
        &false_ffmpeg,
        "#!/bin/sh\n[ \"$1\" = -version ] || { echo no codec >&2; exit 1; }\n",
    )
    .expect("written");
    fs::set_permissions(&false_ffmpeg, fs::Permissions::from_mode(0o755)).expect("ours");
    let path = false_ffmpeg.to_str().expect("UTF-8");
    let (is_good, _, error) = folder.run(&with("export", &["-ffmpeg", path]));
    assert!(!is_good && error.contains("ffmpeg says: no codec"), "{error}");
}

#[test]
fn a_session_is_deleted_with_its_files_and_nothing_else() {
    let folder = Folder::new("delete", r#"{"event":"end"}"#);
    folder.write("other.mp4", "media");
    let (is_good, said, error) = folder.run(&with("delete", &[]));
    assert!(is_good, "{error}");
    assert_eq!(said.lines().count(), 4);
    let left = fs::read_dir(folder.0.join("maths/algebra")).expect("there").count();
    assert_eq!(left, 1);
    // One that has no end and is young may grow.
    let folder = Folder::new("growing", "");
    let (is_good, _, error) = folder.run(&with("delete", &[]));
    assert!(!is_good && error.contains("-force"), "{error}");
    assert!(folder.run(&with("delete", &["-force"])).0);
    // What a timeline names elsewhere is not deleted.
    let folder = Folder::new("evil", r#"{"event":"file","file":"../../evil"}"#);
    fs::write(folder.0.join("evil"), "").expect("written");
    assert!(!folder.run(&with("delete", &["-force"])).0);
    assert!(folder.0.join("evil").exists());
}
