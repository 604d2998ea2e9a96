//! Pages, files and statuses over HTTP, and what crooked paths get.

mod server;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::Value;
use server::{OPEN, Server};

#[test]
fn the_group_page_and_its_headers() {
    let server = Server::start();
    let page = server.get("/group/test/");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'self'; ") && !policy.contains("unsafe-eval"));
    assert!(policy.ends_with("frame-ancestors 'self'"));
    let etag = page.header("etag").unwrap();
    let again =
        server.request(&format!("GET /group/test/ HTTP/1.1\r\nIf-None-Match: {etag}\r\n"), b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
    let head = server.request("HEAD /group/test/ HTTP/1.1\r\n", b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), page.header("content-length"));
    let part = server.request("GET /group/test/ HTTP/1.1\r\nRange: bytes=0-9\r\n", b"");
    assert_eq!((part.status, &part.body[..]), (206, &page.body[..10]));
}

/// What blurs backgrounds is an administrator's choice; pages may do more only where it is there.
#[test]
fn files_for_blurring_are_served_if_they_are_there() {
    let script = "blur/selfie_segmentation.js";
    let policy = |server: &Server| {
        let page = server.get("/");
        page.header("content-security-policy").expect("a policy").to_owned()
    };
    let server = Server::start();
    assert_eq!(server.get(&format!("/{script}")).status, 404);
    assert!(!policy(&server).contains("unsafe"));
    let server = Server::start_with(&["-insecure"], |scratch| {
        scratch.write(&format!("data/{script}"), "class SelfieSegmentation {}");
        scratch.write("data/blur/solution.wasm", "\0asm");
    });
    assert!(policy(&server).contains("script-src 'wasm-unsafe-eval' 'self'; "));
    let found = server.get(&format!("/{script}"));
    assert_eq!((found.status, &*found.text()), (200, "class SelfieSegmentation {}"));
    assert_eq!(found.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(found.header("cache-control"), Some("no-cache"));
    let wasm = server.get("/blur/solution.wasm");
    assert_eq!(wasm.header("content-type"), Some("application/wasm"));
    for path in ["/blur/%2e%2e/key.pem", "/blur/..%2fkey.pem", "/blur/", "/blur"] {
        assert!(server.get(path).status >= 300, "{path}");
    }
}

/// An upgrade changes the address of every module at once, so that two versions never meet.
#[test]
fn modules_are_at_an_address_of_their_version_and_stay_there_for_ever() {
    let server = Server::start();
    let page = server.get("/group/test/").text();
    let module = "type=\"module\" src=\"";
    let at = page.find(&format!("{module}/v/")).expect("the script has a version");
    let script = page[at + module.len()..].split('"').next().unwrap().to_owned();
    assert!(script.ends_with("/js/group.js"), "{script}");
    let module = server.get(&script);
    assert_eq!(module.status, 200);
    assert_eq!(module.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(server.get("/js/group.js").header("cache-control"), Some("no-cache"));
    let other = script.replace("/v/", "/v/0");
    assert_eq!(server.get(&other).status, 404, "another version is not this one");
    for address in page.split('"').filter(|word| word.starts_with("/v/")) {
        assert_eq!(server.get(address.split('#').next().unwrap()).status, 200, "{address}");
    }
}

/// Pages of any origin may load the client library, from an address with the version of its interface.
#[test]
fn the_client_library_is_there_for_all_origins() {
    let server = Server::start();
    let library = server.get("/client/1/protocol.js");
    assert_eq!(library.status, 200);
    assert_eq!(library.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(library.header("access-control-allow-origin"), Some("*"));
    assert_eq!(library.header("cache-control"), Some("no-cache"));
    let mut known = vec!["protocol.js".to_owned()];
    let mut at = 0;
    while let Some(part) = known.get(at).cloned() {
        at += 1;
        let answer = server.get(&format!("/client/1/{part}"));
        assert_eq!(answer.status, 200, "{part}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{part}");
        for line in answer.text().lines() {
            let import = line.split_once("from './").and_then(|(_, rest)| rest.split('\'').next());
            if let Some(import) = import.filter(|import| !known.iter().any(|part| part == import)) {
                known.push(import.to_owned());
            }
        }
    }
    assert!(known.len() > 6, "{known:?}");
    // The page's own modules, and other versions, are not part of it.
    for path in ["/client/1/group.js", "/client/2/protocol.js", "/client/1/", "/client/1/../x.js"] {
        let answer = server.get(path);
        assert_ne!(answer.status, 200, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
    assert_eq!(server.get("/js/protocol.js").header("access-control-allow-origin"), None);
}

#[test]
fn below_a_prefix_everything_is_below_it() {
    let server = Server::start_with(&["-insecure"], |scratch| {
        scratch.write("groups/test.json", OPEN);
        scratch.write(
            "data/config.json",
            r#"{"proxyURL":"https://front.example/aula/","frameAncestors":["https://moodle.example"]}"#,
        );
    });
    for (path, location) in [
        ("/group/test?token=t", "/aula/group/test/?token=t"),
        ("/aula/group/test?token=t", "/aula/group/test/?token=t"),
        ("//group/test/", "/aula/group/test/"),
        ("/js", "/aula/js/"),
        ("/group/test/.status.json", "/aula/group/test/.status"),
    ] {
        assert_eq!(server.get(path).header("location"), Some(location), "{path}");
    }
    for path in ["/", "/group/test/", "/group/test/publish", "/group/test/watch", "/nothing"] {
        let page = server.get(path);
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.ends_with("frame-ancestors 'self' https://moodle.example"), "{policy}");
        for part in page.text().split("=\"/").skip(1) {
            let address = part.split('"').next().unwrap();
            assert!(address.starts_with("aula/"), "{path}: {address}");
            let address = format!("/{}", address.split('#').next().unwrap());
            // With the prefix or without it, as the proxy has it.
            for address in [address.as_str(), address.strip_prefix("/aula").unwrap()] {
                assert_eq!(server.get(address).status, 200, "{path}: {address}");
            }
        }
    }
    let status: Value = serde_json::from_str(&server.get("/group/test/.status").text()).unwrap();
    assert_eq!(status["location"], "https://front.example/aula/group/test/");
    assert_eq!(status["endpoint"], "wss://front.example/aula/ws");
}

#[test]
fn the_port_of_https_shows_the_way_to_those_who_forget_the_s() {
    let server = Server::start_with(&[], |scratch| scratch.write("groups/test.json", OPEN));
    let host = format!("127.0.0.1:{}", server.port);
    let page = server.get("/group/test/?token=t");
    let there = format!("https://{host}/group/test/?token=t");
    assert_eq!((page.status, page.header("location")), (301, Some(there.as_str())));
    let post = server.request("POST /group/test/.whip HTTP/1.1\r\n", b"v=0");
    assert_eq!(post.status, 308);
    // Who speaks neither is sent away, and others are served.
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    stream.write_all(b"SSH-2.0-x\r\n\r\n").expect("said");
    let mut line = String::new();
    let _ = BufReader::new(stream).read_line(&mut line);
    assert!(line.is_empty() || line.contains("400"), "{line}");
    assert_eq!(server.get("/").status, 301);
}

#[test]
fn a_request_has_one_host() {
    let server = Server::start();
    for (head, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "200"),
        ("GET / HTTP/1.0\r\n\r\n", "200"),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
        stream.write_all(head.as_bytes()).expect("the head is written");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("an answer");
        assert_eq!(line.split(' ').nth(1), Some(status), "{head:?}: {line}");
    }
}

#[test]
fn the_check_of_the_landing_page_works() {
    let server = Server::start();
    let hop = server.request("HEAD /group/test/.status.json?x=1 HTTP/1.1\r\n", b"");
    assert_eq!((hop.status, hop.header("location")), (308, Some("/group/test/.status?x=1")));
    let status = server.request("HEAD /group/test/.status HTTP/1.1\r\n", b"");
    assert_eq!(status.status, 200);
    let none = server.request("HEAD /group/nothing/.status HTTP/1.1\r\n", b"");
    assert_eq!(none.status, 404);
}

#[test]
fn redirects_keep_the_query() {
    let server = Server::start_with(&["-insecure"], |scratch| {
        scratch.write("groups/test.json", OPEN);
        scratch.write("groups/a b.json", OPEN);
        scratch.write("groups/moved.json", r#"{"redirect":"https://elsewhere.example/x"}"#);
    });
    for (path, status, location) in [
        ("/group/test?token=t", 308, "/group/test/?token=t"),
        ("/group", 308, "/group/"),
        ("/group/a%20b", 308, "/group/a%20b/"),
        ("/group/moved/", 308, "https://elsewhere.example/x"),
        ("//group/test/?q", 307, "/group/test/?q"),
        ("/x/../group/test/", 307, "/group/test/"),
        ("/js", 308, "/js/"),
    ] {
        let response = server.get(path);
        assert_eq!(
            (response.status, response.header("location")),
            (status, Some(location)),
            "{path}"
        );
    }
}

#[test]
fn a_canonical_host_draws_pages_but_not_sockets() {
    let server = Server::start_with(&["-insecure"], |scratch| {
        scratch.write("groups/test.json", OPEN);
        scratch.write("data/config.json", r#"{"canonicalHost":"aula.example"}"#);
    });
    let page = server.get("/group/test/?token=t");
    assert_eq!(
        (page.status, page.header("location")),
        (301, Some("https://aula.example/group/test/?token=t"))
    );
    let post = server.request("POST /group/test/.whip HTTP/1.1\r\n", b"x");
    assert_eq!(post.status, 308);
    assert_eq!(server.get("/public-groups.json").status, 200);
    assert_eq!(server.get("/healthz").status, 200);
    let own = server.request("GET /group/test/ HTTP/1.0\r\nX: y\r\n", b"");
    assert_eq!(own.status, 301, "another host is not the canonical one");
}

#[test]
fn crooked_paths_find_nothing() {
    let server = Server::start_with(&["-insecure"], |scratch| {
        scratch.write("groups/test.json", OPEN);
        scratch.write("groups/.hidden.json", OPEN);
        scratch.write("secret.json", OPEN);
    });
    for path in [
        "/group/",
        "/group/.hidden/",
        "/group/..%2fsecret/",
        "/group/%2e%2e/secret/",
        "/group/a/..%2f..%2fsecret/",
        "/group/test%00/",
        "/group/a%5cb/",
        "/group/test/.foo",
        "/group/test/.status/",
        "/group/test//.status",
        "/group/%252e%252e%252fsecret/",
        "/..%2fCargo.toml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/.git/config",
        "/js/.hidden",
        "/js/..%2f..%2fsecret.json",
        "/galene-api/v0/.nothing/",
        "/group/test/extra%2f%2fslash/",
    ] {
        let response = server.get(path);
        let found = response.status;
        assert!(matches!(found, 404 | 307), "{path}: {found}");
        assert!(!response.text().contains("anonymous"), "{path}");
    }
    // Nobody learns without a password whether there are any.
    assert_eq!(server.get("/recordings/test/").status, 401);
    let long = format!("/group/{}/", "x".repeat(5000));
    assert_eq!(server.get(&long).status, 404);
    assert_eq!(server.get(&format!("/group/{}/", "y".repeat(300))).status, 404);
    assert_eq!(server.get("/%zz").status, 400);
}

#[test]
fn statuses_tell_what_anyone_may_know() {
    let server = Server::start_with(&["-insecure"], |scratch| {
        scratch.write("groups/test.json", OPEN);
        scratch.write("groups/open.json", r#"{"public":true,"displayName":"Open","op":[{}]}"#);
        scratch.write("groups/broken.json", "{\"public\":true,");
    });
    let status: Value = serde_json::from_slice(&server.get("/group/test/.status").body).unwrap();
    let base = format!("127.0.0.1:{}", server.port);
    assert_eq!(status["location"], format!("http://{base}/group/test/"));
    assert_eq!(status["endpoint"], format!("ws://{base}/ws"));
    assert_eq!(status.get("clientCount"), None);
    assert_eq!(server.get("/group/broken/.status").status, 500);
    server::until("the public group in the list", || {
        let response = server.get("/public-groups.json");
        let list: Value = serde_json::from_slice(&response.body).unwrap();
        list.as_array().unwrap().iter().any(|group| group["displayName"] == "Open")
    });
    let list = server.get("/public-groups.json");
    assert_eq!(list.header("cache-control"), Some("no-cache"));
    assert!(!list.text().contains("\"test\""));
}

#[test]
fn other_web_origins_are_shut_out_unless_invited() {
    let socket = |server: &Server, origin: &str| {
        let head = format!(
            "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nOrigin: {origin}\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        );
        server.request(&head.replace("Upgrade:", "X-Connection: upgrade\r\nUpgrade:"), b"").status
    };
    let status = |server: &Server, origin: &str| {
        let head = format!("GET /group/test/.status HTTP/1.1\r\nOrigin: {origin}\r\n");
        let response = server.request(&head, b"");
        assert_eq!((response.status, response.header("vary")), (200, Some("Origin")));
        response.header("access-control-allow-origin").map(str::to_owned)
    };
    let closed = Server::start_with(&["-insecure"], |scratch| {
        scratch.write("groups/test.json", OPEN);
        scratch.write("data/config.json", r#"{"allowOrigin":["https://friend.example"]}"#);
    });
    let own = format!("http://127.0.0.1:{}", closed.port);
    assert_eq!(status(&closed, &own).as_ref(), Some(&own));
    assert_eq!(
        status(&closed, "https://friend.example").as_deref(),
        Some("https://friend.example")
    );
    assert_eq!(status(&closed, "https://evil.example"), None);
    // Without "Connection: upgrade" it is no WebSocket at all, whoever asks.
    assert_eq!(socket(&closed, &own), 400);
    let open = Server::start_with(&["-insecure", "-public-server"], |scratch| {
        scratch.write("groups/test.json", OPEN);
    });
    assert_eq!(status(&open, "https://evil.example").as_deref(), Some("https://evil.example"));
    for (server, origin, expected) in
        [(&closed, "https://evil.example", 403), (&open, "https://evil.example", 101)]
    {
        assert_eq!(upgrade(server.port, origin), expected, "{origin}");
    }
}

/// The status of a WebSocket handshake.
fn upgrade(port: u16, origin: &str) -> u16 {
    use std::io::{Read as _, Write as _};
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_read_timeout(Some(server::LIMIT)).expect("a limit");
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Origin: {origin}\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("it is read");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer[9..]).parse().expect("a number")
}

#[test]
fn a_unix_socket_serves_as_well() {
    use std::io::{Read as _, Write as _};
    let scratch = server::Scratch::new();
    scratch.write("groups/test.json", OPEN);
    let path = scratch.0.join("http");
    let path_text = path.display().to_string();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_aula"))
        .current_dir(&scratch.0)
        .args(["-insecure", "-http", &path_text, "--udp-port", "0", "--shards", "1"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    server::until("the socket", || path.exists());
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let head = b"GET /group/test/.status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(head).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn another_web_client_can_be_served() {
    let server = Server::start_with(&["-insecure", "-static", "site"], |scratch| {
        scratch.write("groups/test.json", OPEN);
        scratch.write("site/galene.html", "<p>their page</p>");
        scratch.write("site/index.html", "<p>their landing page</p>");
        scratch.write("site/lib/x.mjs", "export {};");
        scratch.write("site/blur.wasm", "wasm");
        scratch.write("site/.secret", "hidden");
        scratch.write("outside.txt", "outside");
        std::os::unix::fs::symlink(scratch.0.join("outside.txt"), scratch.0.join("site/link.txt"))
            .unwrap();
    });
    assert_eq!(server.get("/group/test/").text(), "<p>their page</p>");
    assert_eq!(server.get("/").text(), "<p>their landing page</p>");
    let module = server.get("/lib/x.mjs");
    assert_eq!(module.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert!(module.header("last-modified").unwrap().ends_with("GMT"));
    assert_eq!(server.get("/blur.wasm").header("content-type"), Some("application/wasm"));
    for path in ["/.secret", "/link.txt", "/..%2foutside.txt", "/nothing"] {
        let response = server.get(path);
        assert_eq!(
            (response.status, response.text().as_str()),
            (404, "<p>Not found</p>"),
            "{path}"
        );
    }
    assert_eq!(server.get("/lib/").status, 403);
}
