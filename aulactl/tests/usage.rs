//! What needs no server: help, mistakes, hashing, and looking at folders.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aulactl"));
    command.args(arguments).stdin(std::process::Stdio::null());
    // No configuration of whoever runs the tests.
    command.env("XDG_CONFIG_HOME", "/nonexistent").output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All of Galene's `galenectl`, and ours.
const COMMANDS: [&str; 20] = [
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
    let root = std::env::temp_dir().join(format!("aulactl-import-{}", std::process::id()));
    std::fs::create_dir_all(root.join("groups/sub")).unwrap();
    std::fs::create_dir_all(root.join("data/var")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(root.join(name), text).unwrap();
    write("groups/old.json", r#"{"op":[{}],"allow-anonymous":true,"allow-recording":true}"#);
    write("groups/sub/new.json", r#"{"users":{"a":{"password":{"type":"x"}}}}"#);
    write("data/config.json", r#"{"writableGroups":true}"#);
    write("data/var/tokens.jsonl", "{\"token\":\"t\",\"group\":\"old\",\"permissions\":[]}\n");
    let import = || {
        let (groups, data) = (root.join("groups"), root.join("data"));
        run(&["import", "-groups", groups.to_str().unwrap(), "-data", data.to_str().unwrap()])
    };
    let good = import();
    let said = text(&good.stdout);
    assert!(good.status.success(), "{said}");
    for word in
        ["2 groups", "allow-recording", "allow-anonymous", "cannot log in", "TURN", "expires"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
    write("groups/bad.json", "{\n\"publik\":true}");
    write("data/config.json", r#"{"writable":true}"#);
    write("data/var/tokens.jsonl", "nonsense");
    let bad = import();
    let said = text(&bad.stdout);
    assert_eq!(bad.status.code(), Some(1));
    for word in ["bad.json:2", "did you mean \"public\"", "writable", "tokens.jsonl:1"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    std::fs::remove_dir_all(root).unwrap();
}
