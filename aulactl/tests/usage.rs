//! What needs no server: help, mistakes, hashing, and looking at folders.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("aulactl-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory for the test");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("inside")).expect("a directory for the file");
        std::fs::write(path, text).expect("the file is written");
    }

    fn import(&self) -> (Option<i32>, String) {
        let (groups, data) = (self.0.join("groups"), self.0.join("data"));
        let output = run(&[
            "import",
            "-groups",
            groups.to_str().expect("a path that is text"),
            "-data",
            data.to_str().expect("a path that is text"),
        ]);
        (output.status.code(), text(&output.stdout))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// At a terminal at which `typed` has been typed.
fn run_at_terminal(arguments: &[&str], typed: &str) -> Output {
    let (mut master, mut terminal) = (0, 0);
    let nothing = std::ptr::null_mut();
    // SAFETY: both places are valid; the other arguments may be null.
    let opened = unsafe {
        libc::openpty(&mut master, &mut terminal, nothing, nothing.cast(), nothing.cast())
    };
    assert_eq!(opened, 0);
    // SAFETY: both are open, and nobody else's.
    let (mut master, terminal) =
        unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(terminal)) };
    master.write_all(typed.as_bytes()).expect("the terminal takes it");
    let mut command = Command::new(env!("CARGO_BIN_EXE_aulactl"));
    command.args(arguments).stdin(Stdio::from(terminal));
    command.env("XDG_CONFIG_HOME", "/nonexistent").output().expect("it runs")
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aulactl"));
    command.args(arguments).stdin(Stdio::null());
    // No configuration of whoever runs the tests.
    command.env("XDG_CONFIG_HOME", "/nonexistent").output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All of Galene's `galenectl`, and ours.
const COMMANDS: [&str; 23] = [
    "initial-setup",
    "hash-password",
    "set-password",
    "delete-password",
    "list-groups",
    "show-group",
    "create-group",
    "update-group",
    "delete-group",
    "list-users",
    "create-user",
    "update-user",
    "delete-user",
    "list-tokens",
    "create-token",
    "update-token",
    "revoke-token",
    "delete-token",
    "doctor",
    "import",
    "list-recordings",
    "export-recording",
    "delete-recording",
];

#[test]
fn every_command_has_help() {
    let help = run(&["help"]);
    assert!(help.status.success());
    for command in COMMANDS {
        assert!(text(&help.stdout).contains(command), "{command}");
        for words in [&["help", command][..], &[command, "-help"], &[command, "--help"]] {
            let help = run(words);
            assert!(help.status.success() && text(&help.stdout).contains(command), "{words:?}");
        }
    }
}

#[test]
fn mistakes_are_one_line_with_the_exit_codes_of_galenes_tool() {
    for (code, arguments, word) in [
        (1, &[][..], "help"),
        (1, &["bananas"], "unknown command"),
        (2, &["-bananas", "list-groups"], "-bananas"),
        (2, &["list-groups", "-group", "x"], "-group"),
        (1, &["show-group"], "-group"),
        (1, &["show-group", "-group", "../x"], "-group"),
        (1, &["show-group", "-group", "x", "y"], "unexpected word"),
        (1, &["create-user", "-group", "x"], "-user"),
        (1, &["create-user", "-group", "x", "-user", "a", "-permissions", "boss"], "boss"),
        (2, &["create-token", "-group", "x", "-duration", "long"], "-duration"),
        (1, &["list-groups", "-server", "nowhere"], "URL"),
        (1, &["list-groups", "-server", "http://127.0.0.1:1"], "127.0.0.1:1"),
        (1, &["list-groups", "-config", "/nonexistent"], "/nonexistent"),
        (1, &["hash-password"], "no password"),
    ] {
        let output = run(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(error.contains(word) && error.lines().count() == 1, "{arguments:?}: {error}");
    }
}

#[test]
fn folders_of_galene_are_looked_at_and_left_alone() {
    let scratch = Scratch::new("import");
    scratch
        .write("groups/old.json", r#"{"op":[{}],"allow-anonymous":true,"allow-recording":true}"#);
    scratch.write("groups/sub/new.json", r#"{"users":{"a":{"password":{"type":"x"}}}}"#);
    let config =
        r#"{"writableGroups":true,"proxyURL":null,"users":{"bob":null},"allowOrigin":null}}"#;
    scratch.write("data/config.json", config);
    let token = "{\"token\":\"t\",\"group\":\"old\",\"permissions\":[]}\n";
    scratch.write("data/var/tokens.jsonl", token);
    let (code, said) = scratch.import();
    assert_eq!(code, Some(0), "{said}");
    for word in ["2 groups", "allow-anonymous", "cannot log in", "TURN", "expires", "is ignored"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    scratch.write("groups/bad.json", "{\n\"publik\":true}");
    scratch.write("data/config.json", r#"{"writable":true}"#);
    scratch.write("data/var/tokens.jsonl", "nonsense");
    let (code, said) = scratch.import();
    assert_eq!(code, Some(1));
    for word in ["bad.json:2", "did you mean \"public\"", "writable", "tokens.jsonl:1"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn regression_what_opens_a_server_to_all_is_told_when_it_is_taken_over() {
    let scratch = Scratch::new("open");
    scratch.write("groups/old.json", r#"{"op":[{}],"presenter":[{"username":"bob"}]}"#);
    scratch.write("groups/ann.json", r#"{"op":[{"username":"ann"}],"auto-subgroups":true}"#);
    scratch.write(
        "groups/clear.json",
        r#"{"users":{"eve":{"password":"pw","permissions":"op"},"zoe":{"password":"pw"}}}"#,
    );
    scratch.write("data/config.json", r#"{"users":{"root":{"password":"pw"}}}"#);
    let expires = r#""expires":"2100-01-01T00:00:00Z""#;
    let token = |group: &str| format!("{{\"token\":\"t\",\"group\":\"{group}\",{expires}}}\n");
    let groups = ["", "old", "old/below", "ann/below", "gone"];
    let typo = format!("{{\"token\":\"u\",\"group\":\"old\",\"permission\":[],{expires}}}");
    scratch.write("data/var/tokens.jsonl", &(groups.map(token).concat() + &typo));
    scratch.write("data/ice-servers.json", r#"[{"urls":["http://x"]},{"credentialType":"x"}]"#);
    let (code, said) = scratch.import();
    assert_eq!(code, Some(0), "{said}");
    let has = |start: &str, words: &[&str]| {
        said.lines().any(|line| line.starts_with(start) && words.iter().all(|w| line.contains(w)))
    };
    for words in [
        &["old.json", "anybody may be operator, under any name"][..],
        &["ann.json", "anybody may be operator as \"ann\""],
        &["clear.json", "2 passwords in plain text, of \"eve\", \"zoe\"", "hash-password"],
        &["config.json", "1 password in plain text, of \"root\""],
        &["tokens.jsonl:3", "no group \"old/below\""],
        &["tokens.jsonl:5", "no group \"gone\""],
        &["ice-servers.json: entry 1: the URL \"http://x\" is skipped"],
        &["ice-servers.json: entry 2: it is skipped", "credentialType"],
        &["tokens.jsonl:6", "did you mean \"permissions\"?"],
    ] {
        assert!(has("note ", words), "{words:?}: {said}");
    }
    for at in [1, 2, 4] {
        assert!(!has("note ", &[&format!("tokens.jsonl:{at}:")]), "{at}: {said}");
    }
    assert!(!said.contains("bob"), "to present without a password is nothing rare: {said}");
    scratch.write("data/config.json", "{\n\"writableGroups\":\"yes\"}");
    scratch.write("data/ice-servers.json", "[");
    let (_, said) = scratch.import();
    for words in ["config.json:2: writableGroups: true or false", "ice-servers.json:1: not JSON"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn regression_passwords_are_typed_twice_at_a_terminal() {
    let hash = ["hash-password", "-type", "pbkdf2", "-iterations", "4096"];
    let same = run_at_terminal(&hash, "secret\nsecret\n");
    let asked = text(&same.stderr);
    assert!(same.status.success(), "{asked}");
    assert!(asked.contains("Password: ") && asked.contains("Password, again: "), "{asked}");
    assert!(text(&same.stdout).contains("pbkdf2"));
    let different = run_at_terminal(&hash, "secret\nsecrte\n");
    assert_eq!(different.status.code(), Some(1));
    assert!(text(&different.stderr).contains("differ"), "{}", text(&different.stderr));
}

#[test]
fn regression_the_first_setup_makes_the_folders_or_nothing() {
    let scratch = Scratch::new("setup");
    let path = |name: &str| scratch.0.join(name).to_str().expect("UTF-8").to_owned();
    let (own, server) = (path("home/ctl.json"), path("new/data/config.json"));
    let setup = |own: &str, more: &[&str]| {
        let before = ["-config", own, "initial-setup", "-config", &server];
        run(&[&before, more].concat())
    };
    let root = ["-admin-username", "root", "-admin-password", "pw"];
    for (arguments, words) in [
        (&root[..2], "give -admin-password"),
        (&["-admin-username", "a:b", "-admin-password", "pw"], "colon"),
        (&["-admin-username", "root", "-admin-password", ""], "-admin-password must not be empty"),
    ] {
        let refused = setup(&own, arguments);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(words), "{}", text(&refused.stderr));
    }
    scratch.write("file", "");
    let refused = setup(&path("file/ctl.json"), &root);
    assert!(!refused.status.success() && !scratch.0.join("new/data/config.json").exists());
    let done = setup(&own, &root);
    assert!(done.status.success(), "{}", text(&done.stderr));
    for (name, mode) in [("new/data", 0o700), ("new/data/config.json", 0o600), ("home", 0o700)] {
        let metadata = std::fs::metadata(scratch.0.join(name)).expect(name);
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{name}");
    }
    assert!(text(&setup(&own, &root).stderr).contains("there already"));
}
