//! `aulactl` against the real server: create, edit, invite, revoke, delete.

mod server;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use server::Server;

/// The program of this very source.
static AULACTL: LazyLock<PathBuf> = LazyLock::new(|| {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--quiet", "-p", "aulactl"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.expect("cargo runs").success());
    PathBuf::from(env!("CARGO_BIN_EXE_aula")).with_file_name("aulactl")
});

struct Admin {
    server: Server,
}

impl Admin {
    fn start() -> Self {
        Self::start_with(json!({}))
    }

    /// With these keys in the server's configuration besides.
    fn start_with(more: Value) -> Self {
        let root = json!({"password": "pw", "permissions": "admin"});
        let mut config = json!({"writableGroups": true, "users": {"root": root}});
        config
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        let server = Server::start_with(&["-insecure"], |scratch| {
            scratch.write("data/config.json", config.to_string());
        });
        let url = format!("http://127.0.0.1:{}", server.port);
        let config = json!({"server": url, "admin-username": "root", "admin-password": "pw"});
        server.scratch.write("ctl.json", config.to_string());
        Self { server }
    }

    fn run(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        self.hear(arguments, input).map(|(said, _)| said)
    }

    /// Standard output and standard error, of failures the latter.
    fn hear(&self, arguments: &[&str], input: &str) -> Result<(String, String), String> {
        let mut child = Command::new(&*AULACTL)
            .args(["-config", "ctl.json"])
            .args(arguments)
            .current_dir(&self.server.scratch.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("aulactl runs");
        // A command that reads nothing may be gone already.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("aulactl ends");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let warned = text(output.stderr);
        if output.status.success() { Ok((text(output.stdout), warned)) } else { Err(warned) }
    }

    fn good(&self, arguments: &[&str]) -> String {
        self.run(arguments, "").unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    fn bad(&self, arguments: &[&str], word: &str) {
        let error = self.run(arguments, "").expect_err(word);
        assert!(error.contains(word), "{arguments:?}: {error}");
    }

    async fn join(&self, credentials: Value) -> Value {
        // The one before may be a member still: the server learns that it has gone a little later.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        let mut client = self.server.greet(&id).await;
        let mut join = json!({"type": "join", "kind": "join", "group": "maths/algebra"});
        join.as_object_mut()
            .expect("an object")
            .extend(credentials.as_object().expect("an object").clone());
        client.say(join).await;
        client.hear().await
    }
}

#[tokio::test]
async fn create_edit_invite_revoke_delete() {
    let admin = Admin::start();
    let group = ["-group", "maths/algebra"];
    let with =
        |command: &'static str, more: &[&'static str]| [&[command][..], &group, more].concat();
    assert_eq!(admin.good(&["list-groups"]), "");
    let template = r#"{"displayName":"Algebra","codecs":["vp8","opus"]}"#;
    admin.run(&with("create-group", &["-json", "--unrestricted-tokens"]), template).unwrap();
    admin
        .bad(&with("create-group", &[]), "412 Precondition Failed: the group \"maths/algebra\" is");
    assert_eq!(admin.good(&["list-groups", "maths/*"]), "maths/algebra\n");
    assert_eq!(admin.good(&["list-groups", "x*"]), "");
    assert_eq!(admin.good(&["list-groups", "m*"]), "", "a star stops at a slash");
    admin.bad(&["list-groups", "["], "not a pattern");
    let change = r#"{"displayName":null,"max-clients":7}"#;
    admin.run(&with("update-group", &["-json"]), change).unwrap();
    let shown: Value = serde_json::from_str(&admin.good(&with("show-group", &[]))).unwrap();
    assert_eq!(
        shown,
        json!({"codecs": ["vp8", "opus"], "max-clients": 7, "unrestricted-tokens": true})
    );

    // People.
    admin.good(&with("create-user", &["-user", "ann", "-permissions", "op"]));
    admin.good(&with("create-user", &["-wildcard", "-permissions", "[\"message\"]"]));
    admin.good(&with("create-user", &["-user", ""]));
    admin.bad(&with("create-user", &["-user", "ann"]), "412");
    admin.bad(&with("update-user", &["-user", "bob", "-permissions", "op"]), "no user \"bob\"");
    let long = "ann          op\n";
    assert_eq!(admin.good(&with("list-users", &["-l", "a*"])), long, "as Galene's tool has it");
    admin.good(&with("set-password", &["-user", "ann", "-password", "pw1", "-cost", "4"]));
    let wildcard = ["-wildcard", "-type", "wildcard"];
    admin
        .bad(&with("set-password", &[&wildcard[..], &["-password", "x"]].concat()), "any password");
    admin.good(&with("set-password", &wildcard));
    let ann = json!({"username": "ann", "password": "pw1"});
    assert_eq!(admin.join(ann.clone()).await["kind"], "join");
    assert_eq!(admin.join(json!({"username": "zoe"})).await["permissions"], json!(["message"]));
    admin.good(&with("update-user", &["-user", "ann", "-permissions", "present"]));
    let joined = admin.join(ann.clone()).await;
    assert_eq!(joined["permissions"], json!(["present", "message", "token"]));
    admin.good(&with("delete-password", &["-user", "ann"]));
    assert_eq!(admin.join(ann).await["kind"], "fail");
    admin.good(&with("delete-user", &["-user", "ann"]));
    admin.bad(&with("delete-user", &["-user", "ann"]), "404");

    // Invitations.
    let made = admin.good(&with("create-token", &["-user", "bob", "-duration=2h"]));
    let token: &str = made.trim();
    let long = admin.good(&with("list-tokens", &["-l"]));
    assert!(long.starts_with(&format!("{token} bob                  mp   20")), "{long}");
    let for_anybody = admin.good(&with("create-token", &["-user", ""]));
    let joined = admin.join(json!({"token": for_anybody.trim(), "username": "zoe"})).await;
    assert_eq!(joined["username"], "zoe", "an empty name in a token is none");
    admin.good(&[&["delete-token"][..], &group, &["-token", for_anybody.trim()]].concat());
    let joined = admin.join(json!({"token": token})).await;
    assert_eq!((&joined["kind"], &joined["username"]), (&json!("join"), &json!("bob")));
    let about = |command: &'static str| [&[command][..], &group, &["-token", token]].concat();
    admin.good(&[&about("update-token")[..], &["-permissions", "op"]].concat());
    assert!(admin.good(&with("list-tokens", &["-l"])).contains(" cmopt "));
    admin.good(&about("revoke-token"));
    assert!(admin.good(&with("list-tokens", &["-l"])).contains("(expired)"));
    assert_eq!(admin.join(json!({"token": token})).await["value"], "not authorised");
    admin.good(&about("delete-token"));
    assert_eq!(admin.good(&with("list-tokens", &[])), "");

    // A token for the whole server, and what it can do.
    let admin_token =
        admin.good(&["create-token", "-group", "", "-permissions", "admin", "-include-subgroups"]);
    let admin_token = admin_token.trim().to_owned();
    let listed = admin.good(&["--admin-token", &admin_token, "list-groups"]);
    assert_eq!(listed, "maths/algebra\n");
    admin.bad(&["list-groups", "-admin-token", "wrong"], "401");
    admin.bad(&["list-groups", "-admin-password", "wrong"], "401");
    admin.good(&with("delete-group", &[]));
    admin.bad(&with("show-group", &[]), "404");
}

#[test]
fn regression_what_is_mistyped_is_told_by_name() {
    let admin = Admin::start();
    admin.good(&["create-group", "-group", "a"]);
    let ann = |command: &'static str| [command, "-group", "a", "-user", "ann", "-json"];
    for (input, words) in [
        (r#"{"permissions":"opp"}"#, "none of op, present"),
        (r#"{"permissions":[3]}"#, "a list of names"),
        (r#"{"permissions":{}}"#, "none of op, present"),
        (r#"{"password":"x"}"#, "set-password"),
        ("{\n\"permissions\"", "standard input:2: not JSON"),
        ("[]", "not a JSON object"),
    ] {
        let error = admin.run(&ann("create-user"), input).expect_err(input);
        assert!(error.contains(words) && error.lines().count() == 1, "{input}: {error}");
    }
    assert_eq!(admin.good(&["list-users", "-group", "a"]), "", "nothing has been made");
    for (command, input, words) in [
        ("create-user", r#"{"permisions":"op"}"#, "did you mean \"permissions\"?"),
        ("update-user", r#"{"colour":"red"}"#, "\"colour\" does nothing"),
        ("update-user", r#"{"permissions":["presnt"]}"#, "did you mean \"present\"? There are op"),
    ] {
        let (_, warned) = admin.hear(&ann(command), input).unwrap();
        assert!(warned.starts_with("aulactl: warning: ") && warned.contains(words), "{warned}");
    }
    let settings = r#"{"autolok":true,"max-client":3,"public":true}"#;
    let (_, warned) = admin.hear(&["update-group", "-group", "a", "-json"], settings).unwrap();
    assert!(warned.contains("\"autolock\"") && warned.contains("\"max-clients\""), "{warned}");
    let bad = admin.run(&["update-group", "-group", "a", "-json"], r#"{"max-clients":"x"}"#);
    let bad = bad.unwrap_err();
    assert!(
        bad.lines().last().unwrap().contains("400 Bad Request: max-clients: a whole number"),
        "{bad}"
    );
}

#[test]
fn regression_a_group_that_is_missing_is_told_as_such() {
    let admin = Admin::start();
    let advice = "create-group -group \"no where\"";
    let nowhere = ["-group", "no where"];
    for (command, more) in [
        ("create-user", &["-user", "ann"][..]),
        ("update-user", &["-user", "ann", "-permissions", "op"]),
        ("set-password", &["-user", "ann", "-password", "pw", "-cost", "4"]),
        ("list-users", &[]),
        ("create-token", &[]),
        ("delete-token", &["-token", "x"]),
    ] {
        admin.bad(&[&[command][..], &nowhere, more].concat(), advice);
    }
    admin.good(&["create-group", "-group", "no where", "-auto-subgroups"]);
    admin.bad(&["set-password", "-group", "no where", "-user", "x", "-password", "y"], "no user");
    // A group below needs no file, except to have users of its own.
    admin.bad(&["delete-token", "-group", "no where/b", "-token", "x"], "no such token");
    admin.bad(&["create-user", "-group", "no where/b", "-user", "x"], "create-group");
}

#[test]
fn regression_no_token_is_dead_and_its_link_is_where_the_group_is() {
    let link = |more: Value| {
        let admin = Admin::start_with(more);
        admin.good(&["create-group", "-group", "a b"]);
        let (token, said) = admin.hear(&["create-token", "-group", "a b"], "").unwrap();
        let link = said.trim().strip_prefix("aulactl: the link is ").expect(&said).to_owned();
        let link = link.strip_suffix(token.trim()).expect(&said).to_owned();
        (admin, link)
    };
    let (admin, direct) = link(json!({}));
    assert_eq!(direct, format!("http://127.0.0.1:{}/group/a%20b/?token=", admin.server.port));
    let tokens = admin.good(&["list-tokens", "-group", "a b"]);
    admin.bad(&["create-token", "-group", "a b", "-duration", "-1h"], "never be good");
    admin.bad(&["create-token", "-group", "a b", "-duration", "0"], "never be good");
    let update = ["update-token", "-group", "a b", "-token", tokens.trim(), "-duration", "-1s"];
    admin.bad(&update, "revoke-token");
    assert_eq!(admin.good(&["list-tokens", "-group", "a b"]), tokens);
    let (_, proxied) = link(json!({"proxyURL": "https://school.example/video"}));
    assert_eq!(proxied, "https://school.example/video/group/a%20b/?token=");
    let (_, canonical) = link(json!({"canonicalHost": "aula.example"}));
    assert_eq!(canonical, "https://aula.example/group/a%20b/?token=");
}

#[test]
fn the_first_setup_makes_an_administrator() {
    let server = Server::start();
    let home = server.scratch.0.join("home");
    let run = |arguments: &[&str]| {
        Command::new(&*AULACTL)
            .args(arguments)
            .env("XDG_CONFIG_HOME", &home)
            .current_dir(&server.scratch.0)
            .output()
            .expect("aulactl runs")
    };
    let url = format!("http://127.0.0.1:{}", server.port);
    let setup = [
        "initial-setup",
        "-config",
        "data/config.json",
        "-admin-username",
        "root",
        "-admin-password",
        "secret",
        "-server",
        &url,
    ];
    let done = run(&setup);
    assert!(done.status.success());
    assert!(String::from_utf8_lossy(&done.stdout).contains("needs -insecure"));
    assert!(!run(&setup).status.success(), "what is there stays");
    server::until("the server to have noticed", || {
        // It looks every two seconds, and after five refusals there would be none but refusals for a minute.
        std::thread::sleep(Duration::from_secs(1));
        run(&["list-groups"]).status.success()
    });
    assert_eq!(String::from_utf8_lossy(&run(&["list-groups"]).stdout), "test\n");

    // Galene's tool takes its own file before the command and the server's after it.
    let setup =
        "-config own/ctl.json -admin-username x -admin-token y initial-setup -config srv.json";
    assert!(run(&setup.split(' ').collect::<Vec<_>>()).status.success());
    let read = |name: &str| {
        let text = std::fs::read(server.scratch.0.join(name)).expect(name);
        serde_json::from_slice::<Value>(&text).expect(name)
    };
    assert_eq!(read("own/ctl.json"), json!({"admin-username": "x", "admin-token": "y"}));
    assert_eq!(read("srv.json"), json!({"writableGroups": true}));
    for (arguments, code) in [(&["list-groups", "-x"][..], 2), (&["create-group"], 1), (&[], 1)] {
        assert_eq!(run(arguments).status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn the_doctor_reaches_the_media_over_udp() {
    let server = Server::start_with(&["-insecure", "--shards", "2", "--fill", "1"], |scratch| {
        scratch.write("groups/test.json", server::OPEN);
    });
    let url = format!("http://127.0.0.1:{}", server.port);
    let output = Command::new(&*AULACTL)
        .args(["doctor", "-remote", "-server", &url, "-group", "test", "-shards", "2"])
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .output()
        .expect("aulactl runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("UDP to 127.0.0.1") && said.contains("8 of 8 transports of shards 0, 1"),
        "{said}"
    );
    assert!(said.contains("2 shards were seen"), "{said}");
    assert!(said.contains("the clocks agree"), "{said}");
    let nobody = Command::new(&*AULACTL)
        .args(["doctor", "-server", "http://127.0.0.1:1"])
        .output()
        .expect("aulactl runs");
    assert!(!nobody.status.success());
    let said = String::from_utf8_lossy(&nobody.stdout);
    assert!(said.contains("firewall") && said.contains("may open"), "{said}");
}

/// What the doctor says of a server, and whether it found nothing wrong.
fn doctor(server: &Server, scheme: &str, more: &[&str]) -> (bool, String) {
    let url = format!("{scheme}://127.0.0.1:{}", server.port);
    let output = Command::new(&*AULACTL)
        .args(["doctor", "-remote", "-server", &url, "-group", "test", "-probes", "1"])
        .args(more)
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .output()
        .expect("aulactl runs");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_doctor_tries_every_way_to_the_media() {
    let [turn, tcp] = [server::free_port(), server::free_port()];
    let arguments = ["-turn", &format!(":{turn}"), "--tcp-port", &tcp.to_string()];
    let open = |scratch: &server::Scratch| scratch.write("groups/test.json", server::OPEN);
    let server = Server::start_with(&arguments, open);
    let (is_well, said) = doctor(&server, "https", &["-insecure"]);
    assert!(is_well, "{said}");
    for line in [
        "ok    UDP to 127.0.0.1:".to_owned(),
        format!("ok    TCP to 127.0.0.1:{tcp}: "),
        format!("ok    TURN over UDP at 127.0.0.1:{turn}: "),
        format!("ok    TURN over TCP at 127.0.0.1:{turn}: "),
        format!("ok    TURN over TLS at 127.0.0.1:{turn}: "),
        format!("ok    TURN over TLS at 127.0.0.1:{}: ", server.port),
        "note  clients are told private addresses only (127.0.0.1)".to_owned(),
    ] {
        assert!(said.contains(&line), "{line}: {said}");
    }
    let server = Server::start_with(&["-insecure", "-turn", ""], open);
    let (is_well, said) = doctor(&server, "http", &[]);
    assert!(is_well, "{said}");
    assert!(said.contains("note  no media over TCP is offered: "), "{said}");
    assert!(said.contains("note  no TURN server is offered: "), "{said}");
}
