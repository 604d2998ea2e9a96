//! The administration API over the wire: every endpoint, its conditions, and who may.

mod server;

use serde_json::{Value, json};
use server::{Response, Server, until};

const CONFIG: &str = r#"{"writableGroups":true,"allowAdminOrigin":["https://admin.example"],
    "users":{"root":{"password":"pw","permissions":"admin"},
             "nobody":{"password":"pw","permissions":"op"}}}"#;
/// `root:pw`
const ROOT: &str = "Basic cm9vdDpwdw==";

struct Api {
    server: Server,
}

impl Api {
    fn start() -> Self {
        let server = Server::start_with(&["-insecure"], |scratch| {
            scratch.write("data/config.json", CONFIG);
            scratch.write("groups/test.json", server::OPEN);
        });
        Self { server }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut head = format!("{method} /galene-api/v0{path} HTTP/1.1\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.server.request(&head, body.as_bytes())
    }

    fn get(&self, path: &str) -> Response {
        self.ask("GET", path, &[("Authorization", ROOT)], "")
    }

    fn json(&self, path: &str) -> Value {
        let response = self.get(path);
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        serde_json::from_slice(&response.body).expect("JSON")
    }

    fn put(&self, path: &str, more: &[(&str, &str)], body: &Value) -> u16 {
        let mut headers = vec![("Authorization", ROOT), ("Content-Type", "application/json")];
        headers.extend(more);
        self.ask("PUT", path, &headers, &body.to_string()).status
    }

    fn delete(&self, path: &str, more: &[(&str, &str)]) -> u16 {
        let mut headers = vec![("Authorization", ROOT)];
        headers.extend(more);
        self.ask("DELETE", path, &headers, "").status
    }
}

#[test]
fn groups_are_made_read_changed_and_deleted() {
    let api = Api::start();
    assert_eq!(api.json("/.groups/"), json!(["test"]));
    let new = "/.groups/a/b";
    assert_eq!(api.get(new).status, 404);
    assert_eq!(api.put(new, &[("If-Match", "*")], &json!({})), 412);
    let body = json!({"displayName": "B", "max-clients": 5, "future": 1});
    assert_eq!(api.put(new, &[("If-None-Match", "*")], &body), 201);
    assert_eq!(api.put(new, &[("If-None-Match", "*")], &body), 412);
    let got = api.get(new);
    assert_eq!(
        serde_json::from_slice::<Value>(&got.body).unwrap(),
        json!({"displayName": "B", "max-clients": 5})
    );
    let etag = got.header("etag").unwrap().to_owned();
    let again = api.ask("GET", new, &[("Authorization", ROOT), ("If-None-Match", &etag)], "");
    assert_eq!((again.status, again.body.len()), (304, 0));
    let head = api.ask("HEAD", new, &[("Authorization", ROOT)], "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("etag"), Some(etag.as_str()));
    // The page exists at once.
    assert_eq!(api.server.get("/group/a/b/").status, 200);
    // Two editors: the second has not seen what the first wrote.
    assert_eq!(api.put(new, &[("If-Match", &etag)], &json!({"displayName": "C"})), 204);
    assert_eq!(api.put(new, &[("If-Match", &etag)], &json!({"displayName": "D"})), 412);
    assert_eq!(api.json(new), json!({"displayName": "C"}));
    for (body, word) in [
        (json!({"users": {}}), "users"),
        (json!({"max-clients": "many"}), "max-clients: a whole number"),
        (json!([]), "object"),
    ] {
        let headers = [("Authorization", ROOT), ("Content-Type", "application/json; x=y")];
        let refused = api.ask("PUT", new, &headers, &body.to_string());
        assert_eq!(refused.status, 400, "{body}");
        assert!(refused.text().contains(word), "{}", refused.text());
    }
    let headers = [("Authorization", ROOT), ("Content-Type", "application/json")];
    assert_eq!(api.ask("PUT", new, &headers, "{\"x\":").status, 400);
    assert_eq!(api.ask("PUT", new, &headers, &"x".repeat(1024 * 1024 + 1)).status, 413);
    let wrong = api.ask("PUT", new, &[("Authorization", ROOT), ("Content-Type", "a/b")], "{}");
    assert_eq!((wrong.status, wrong.header("accept")), (415, Some("application/json")));
    assert_eq!(api.ask("POST", new, &headers, "{}").status, 405);
    assert_eq!(api.delete(new, &[("If-Match", &etag)]), 412);
    assert_eq!(api.delete(new, &[]), 204);
    assert_eq!(api.delete(new, &[]), 404);
    assert_eq!(api.json("/.groups"), json!(["test"]));
}

#[test]
fn users_and_passwords() {
    let api = Api::start();
    api.server.scratch.write("groups/test.json", "{\"public\":true}");
    let ann = "/.groups/test/.users/ann";
    assert_eq!(api.json("/.groups/test/.users/"), json!([]));
    assert_eq!(api.get(ann).status, 404);
    assert_eq!(api.put("/.groups/none/.users/ann", &[], &json!({})), 404);
    let present = json!({"permissions": "present"});
    assert_eq!(api.put(ann, &[("If-None-Match", "*")], &present), 201);
    assert_eq!(api.put(ann, &[("If-None-Match", "*")], &present), 412);
    let etag = api.get(ann).header("etag").unwrap().to_owned();
    assert_eq!(api.json(ann), json!({"permissions": "present"}));
    assert_eq!(api.put(ann, &[], &json!({"permissions": "opp"})), 400);
    assert_eq!(api.put(ann, &[], &json!({"password": "x"})), 400);
    assert_eq!(api.put(ann, &[("If-Match", &etag)], &json!({"permissions": ["message"]})), 204);
    assert_eq!(api.put(ann, &[("If-Match", &etag)], &json!({})), 412);
    for other in ["/.groups/test/.wildcard-user", "/.groups/test/.empty-user"] {
        assert_eq!(api.put(other, &[], &json!({"permissions": "observe"})), 201);
        assert_eq!(api.put(&format!("{other}/.password"), &[], &json!({"type": "wildcard"})), 204);
        assert_eq!(api.json(other), json!({"permissions": "observe"}));
        assert_eq!(api.delete(other, &[]), 204);
        assert_eq!(api.delete(other, &[]), 404);
    }
    // Her password: set by the administrator, then by herself.
    let password = format!("{ann}/.password");
    assert_eq!(api.put(&password, &[], &json!("first")), 204);
    assert_eq!(api.put(&password, &[], &json!({"type": "rot13"})), 400);
    let own = |basic: &str, new: &str| {
        let headers = [("Authorization", basic), ("Content-Type", "text/plain")];
        api.ask("POST", &password, &headers, new).status
    };
    let (ann_first, ann_second) = ("Basic YW5uOmZpcnN0", "Basic YW5uOnNlY29uZA==");
    assert_eq!(own(ann_second, "x"), 401);
    // Somebody else with the same password is somebody else: bob:first.
    assert_eq!(own("Basic Ym9iOmZpcnN0", "x"), 401);
    assert_eq!(own(ann_first, &"x".repeat(73)), 400);
    assert_eq!(own(ann_first, "second"), 204);
    assert_eq!(own(ann_first, "third"), 401);
    assert_eq!(own(ann_second, "third"), 204);
    // She may change nothing else.
    let headers = [("Authorization", "Basic YW5uOnRoaXJk")];
    assert_eq!(api.ask("GET", ann, &headers, "").status, 401);
    let file = std::fs::read_to_string(api.server.scratch.0.join("groups/test.json")).unwrap();
    assert!(file.contains("\"bcrypt\"") && file.contains("\"public\": true"), "{file}");
    assert_eq!(api.delete(&password, &[]), 204);
    assert_eq!(api.delete(ann, &[]), 204);
    assert_eq!(api.delete(&password, &[]), 404);
}

/// One ETag for a group's file with all its users, and one for all tokens: whoever edits one after
/// the other has to read again.
#[test]
fn etags_are_those_of_whole_files() {
    let api = Api::start();
    let etag = |path: &str| api.get(path).header("etag").map(str::to_owned);
    for user in ["ann", "bob"] {
        assert_eq!(api.put(&format!("/.groups/test/.users/{user}"), &[], &json!({})), 201);
    }
    let group = etag("/.groups/test");
    assert!(group.is_some());
    for path in ["/.groups/test/.users/", "/.groups/test/.users/ann", "/.groups/test/.users/bob"] {
        assert_eq!(etag(path), group, "{path}");
    }
    assert_eq!(etag("/.groups/test/.tokens/"), None, "no file, no ETag");
    let token = json!({"permissions": [], "expires": "2999-01-01T00:00:00Z"});
    for path in ["/.groups/test/.tokens/a", "/.groups/.tokens/b"] {
        assert_eq!(api.put(path, &[], &token), 201);
    }
    let tokens = etag("/.groups/test/.tokens/a");
    assert!(tokens.is_some());
    assert_eq!(etag("/.groups/.tokens/b"), tokens);
    assert_eq!(api.delete("/.groups/.tokens/b", &[]), 204);
    assert_ne!(etag("/.groups/test/.tokens/a"), tokens);
}

#[test]
fn keys_are_written_and_never_read() {
    let api = Api::start();
    let keys = "/.groups/test/.keys";
    let put = |body: &str| {
        let headers = [("Authorization", ROOT), ("Content-Type", "application/jwk-set+json")];
        api.ask("PUT", keys, &headers, body).status
    };
    let key = r#"{"kty":"oct","alg":"HS256","k":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"}"#;
    assert_eq!(put(&format!("{{\"keys\":[{key}]}}")), 204);
    assert_eq!(put("{\"keys\":[{\"kty\":\"oct\"}]}"), 400);
    for body in ["[]", "3", r#"{"kyes":[]}"#, r#"{"keys":3}"#, key] {
        assert_eq!(put(body), 400, "{body}");
    }
    assert_eq!(api.get(keys).status, 405);
    assert!(!api.get("/.groups/test").text().contains("BwcH"));
    let file = || std::fs::read_to_string(api.server.scratch.0.join("groups/test.json")).unwrap();
    assert!(file().contains("BwcH"));
    assert_eq!(api.delete(keys, &[]), 204);
    assert!(!file().contains("authKeys"));
    for nothing in ["{}", "null", r#"{"keys":null}"#] {
        assert_eq!(put(&format!("{{\"Keys\":[{key}]}}")), 204);
        assert!(file().contains("BwcH"));
        assert_eq!(put(nothing), 204, "{nothing}");
        assert!(!file().contains("authKeys"));
    }
    let cut = r#"{"displayName":"\ud83d","allow-subgroups":true}"#;
    let headers = [("Authorization", ROOT), ("Content-Type", "application/json")];
    assert_eq!(api.ask("PUT", "/.groups/test", &headers, cut).status, 204);
    let settings = api.json("/.groups/test");
    assert_eq!(settings, json!({"displayName": "\u{fffd}", "auto-subgroups": true}));
}

#[test]
fn tokens_of_groups_and_of_the_server() {
    let api = Api::start();
    let post = |path: &str, body: &Value| {
        let headers = [("Authorization", ROOT), ("Content-Type", "application/json")];
        api.ask("POST", path, &headers, &body.to_string())
    };
    let body = json!({"permissions": ["present", "message"], "expires": "2999-01-01T00:00:00Z"});
    let made = post("/.groups/test/.tokens/", &body);
    assert_eq!(made.status, 201);
    let secret = made.header("location").unwrap().to_owned();
    assert!(!secret.contains('/'), "the bare token, not a URL: {secret}");
    assert_eq!(api.json("/.groups/test/.tokens/"), json!([secret]));
    let one = format!("/.groups/test/.tokens/{secret}");
    let got = api.get(&one);
    assert_eq!(serde_json::from_slice::<Value>(&got.body).unwrap(), body);
    let etag = got.header("etag").unwrap().to_owned();
    for over in [json!({"token": "x"}), json!({"group": "test"})] {
        assert_eq!(post("/.groups/test/.tokens/", &over).status, 400);
    }
    assert_eq!(post("/.groups/test/.tokens/", &json!({"expires": "soon"})).status, 400);
    assert_eq!(post("/.groups/none/.tokens/", &body).status, 404);
    let shorter = json!({"permissions": ["message"], "expires": "2998-01-01T00:00:00Z"});
    assert_eq!(api.put(&one, &[("If-Match", &etag)], &shorter), 204);
    assert_eq!(api.put(&one, &[("If-Match", &etag)], &shorter), 412);
    // One of another group, and one that is not there yet.
    assert_eq!(api.put(&format!("/.groups/.tokens/{secret}"), &[], &body), 409);
    assert_eq!(api.get(&format!("/.groups/.tokens/{secret}")).status, 404);
    assert_eq!(api.put("/.groups/test/.tokens/mine", &[("If-None-Match", "*")], &body), 201);
    assert_eq!(api.delete("/.groups/test/.tokens/mine", &[]), 204);
    assert_eq!(api.delete("/.groups/test/.tokens/mine", &[]), 404);
    // A token that administers the server.
    let admin = json!({"permissions": ["admin"], "includeSubgroups": true,
        "expires": "2999-01-01T00:00:00Z"});
    let made = post("/.groups/.tokens/", &admin);
    let bearer = format!("Bearer {}", made.header("location").unwrap());
    let with = |path: &str| api.ask("GET", path, &[("Authorization", &bearer)], "").status;
    assert_eq!(with("/.stats"), 200);
    assert_eq!(with("/.groups/test"), 200);
    assert_eq!(with("/.groups/none"), 404);
    let group_bearer = format!("Bearer {secret}");
    let refused = api.ask("GET", "/.groups/test", &[("Authorization", &group_bearer)], "");
    assert_eq!(refused.status, 401, "it does not give admin");
}

#[test]
fn only_administrators_come_in_and_refusals_are_all_alike() {
    let api = Api::start();
    api.server.scratch.write(
        "groups/own.json",
        r#"{"users":{"chief":{"password":"pw","permissions":"admin"},
            "open":{"password":{"type":"wildcard"},"permissions":"admin"},
            "op":{"password":"pw","permissions":"op"}}}"#,
    );
    let ask = |path: &str, basic: &str| api.ask("GET", path, &[("Authorization", basic)], "");
    // chief:pw, open:pw, op:pw, root:no, nobody:pw, ghost:pw
    let chief = "Basic Y2hpZWY6cHc=";
    assert_eq!(ask("/.groups/own", chief).status, 200);
    let mut refusals = Vec::new();
    for (path, authorization) in [
        ("/.groups/test", chief),
        ("/.stats", chief),
        ("/.groups/", chief),
        ("/.groups/own", "Basic b3Blbjpwdw=="),
        ("/.groups/own", "Basic b3A6cHc="),
        ("/.groups/own", "Basic cm9vdDpubw=="),
        ("/.groups/own", "Basic bm9ib2R5OnB3"),
        ("/.groups/nothing", "Basic Z2hvc3Q6cHc="),
        ("/.groups/own", "Bearer wrong"),
        ("/.groups/own", "Bearer e30.e30.e30"),
        ("/.groups/own", "Digest x"),
        ("/.groups/own", "Basic !"),
    ] {
        let refused = ask(path, authorization);
        assert_eq!(refused.status, 401, "{path} {authorization}");
        assert_eq!(refused.header("www-authenticate"), Some("basic realm=\"/galene-api/\""));
        refusals.push(refused.body);
    }
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "all say the same");
    assert_eq!(api.ask("GET", "/.stats", &[], "").status, 401);
    // Even what does not exist is not told to strangers.
    assert_eq!(api.ask("GET", "/.groups/nothing", &[], "").status, 401);
    for missing in ["", "/", "/.foo", "/.groups/test/.foo"] {
        assert_eq!(api.get(missing).status, 404, "{missing}");
    }
    assert_eq!(api.server.get("/galene-api").status, 308);
    assert_eq!(api.server.get("/galene-api/v1/.stats").status, 404);
}

#[test]
fn without_writable_groups_nothing_is_written() {
    let api = Api::start();
    api.server.scratch.write("data/config.json", CONFIG.replace("true", "false"));
    until("the new configuration", || api.put("/.groups/test", &[], &json!({})) == 401);
    assert_eq!(api.put("/.groups/x", &[], &json!({})), 401);
    assert_eq!(api.delete("/.groups/test", &[]), 401);
    assert_eq!(api.get("/.groups/test").status, 200);
    assert!(!api.server.scratch.0.join("groups/x.json").exists());
}

#[test]
fn pages_of_other_origins_need_leave() {
    let api = Api::start();
    let ask = |method: &str, origin: &str| {
        api.ask(method, "/.groups/test", &[("Authorization", ROOT), ("Origin", origin)], "")
    };
    let allowed = ask("GET", "https://Admin.example");
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://Admin.example"));
    assert!(allowed.header("access-control-expose-headers").unwrap().contains("ETag"));
    let other = ask("GET", "https://evil.example");
    assert_eq!((other.status, other.header("access-control-allow-origin")), (200, None));
    assert_eq!(other.header("vary"), Some("Origin"));
    let preflight = api.ask("OPTIONS", "/.groups/test", &[("Origin", "https://admin.example")], "");
    assert_eq!(preflight.status, 200, "without credentials");
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        Some("OPTIONS, HEAD, GET, PUT, DELETE")
    );
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("If-Match"));
}

#[test]
fn regression_a_broken_file_can_be_deleted() {
    let api = Api::start();
    let (path, file) = ("/.groups/bad", api.server.scratch.0.join("groups/bad.json"));
    api.server.scratch.write("groups/bad.json", "{\"max-clients\":");
    assert_eq!(api.get(path).status, 500);
    assert_eq!(api.put(path, &[], &json!({})), 500);
    // Whoever has seen another state of it does not want this one deleted.
    assert_eq!(api.delete(path, &[("If-Match", "\"seen\"")]), 412);
    assert!(file.exists());
    assert_eq!(api.delete(path, &[("If-Match", "*")]), 204);
    assert!(!file.exists());
    assert_eq!(api.delete(path, &[]), 404);
    assert_eq!(api.put(path, &[], &json!({})), 201);
}

#[test]
fn regression_a_name_that_no_file_can_have_is_the_callers_mistake() {
    let api = Api::start();
    let long = format!("/.groups/{}", "0".repeat(300));
    let headers = [("Authorization", ROOT), ("Content-Type", "application/json")];
    let refused = api.ask("PUT", &long, &headers, "{}");
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("use a shorter one"), "{}", refused.text());
    assert_eq!((api.get(&long).status, api.delete(&long, &[])), (404, 404));
    // A name of many parts may be long.
    let deep = format!("/.groups/{}", vec!["0".repeat(99); 9].join("/"));
    assert_eq!(api.put(&deep, &[], &json!({})), 201);
    // One part is a file already, or the file a folder.
    api.server.scratch.write("groups/notes", "not a folder");
    assert_eq!(api.put("/.groups/notes/a", &[], &json!({})), 400);
    assert_eq!(api.put("/.groups/b.json/a", &[], &json!({})), 201);
    assert_eq!(api.put("/.groups/b", &[], &json!({})), 400);
    assert_eq!(api.put("/.groups/c", &[], &json!({})), 201);
}

#[test]
fn regression_a_form_on_another_page_changes_no_password() {
    let api = Api::start();
    let path = "/.groups/test/.users/ann/.password";
    assert_eq!(api.put("/.groups/test/.users/ann", &[], &json!({"permissions": "present"})), 201);
    let own = format!("http://127.0.0.1:{}", api.server.port);
    let post = |more: &[(&str, &str)]| {
        let mut headers = vec![("Authorization", ROOT), ("Content-Type", "text/plain")];
        headers.extend(more);
        api.ask("POST", path, &headers, "x=y\r\n").status
    };
    let file = || std::fs::read(api.server.scratch.0.join("groups/test.json")).unwrap();
    let before = file();
    for refused in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        assert_eq!(post(&[refused]), 403, "{refused:?}");
        assert_eq!(api.delete("/.groups/test", &[refused]), 403, "{refused:?}");
    }
    assert_eq!(file(), before, "nothing is written");
    for allowed in [
        vec![("Origin", "https://admin.example"), ("Sec-Fetch-Site", "cross-site")],
        vec![("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin")],
        vec![],
    ] {
        assert_eq!(post(&allowed), 204, "{allowed:?}");
    }
}

/// Last year's invitations must not open next year's group.
#[test]
fn a_deleted_groups_tokens_go_with_it() {
    let api = Api::start();
    let description = json!({"displayName": "Year"});
    assert_eq!(api.put("/.groups/year", &[("If-None-Match", "*")], &description), 201);
    let headers = [("Authorization", ROOT), ("Content-Type", "application/json")];
    let token = r#"{"permissions":["present"],"expires":"2099-01-01T00:00:00Z"}"#;
    assert_eq!(api.ask("POST", "/.groups/year/.tokens/", &headers, token).status, 201);
    assert_eq!(api.json("/.groups/year/.tokens/").as_array().map(Vec::len), Some(1));
    assert_eq!(api.delete("/.groups/year", &[]), 204);
    assert_eq!(api.put("/.groups/year", &[("If-None-Match", "*")], &description), 201);
    assert_eq!(api.json("/.groups/year/.tokens/"), json!([]));
}

/// Two accounts of one name: each password opens its own door.
#[test]
fn a_group_may_have_an_administrator_of_the_servers_administrators_name() {
    let api = Api::start();
    api.server
        .scratch
        .write("groups/own.json", r#"{"users":{"root":{"password":"gp","permissions":"admin"}}}"#);
    // root:gp
    let namesake = "Basic cm9vdDpncA==";
    let ask =
        |path: &str, basic: &str| api.ask("GET", path, &[("Authorization", basic)], "").status;
    assert_eq!(ask("/.stats", ROOT), 200);
    for _ in 0..3 {
        assert_eq!(ask("/.groups/own", namesake), 200);
        assert_eq!(ask("/.stats", namesake), 401);
        assert_eq!(ask("/.groups/test", namesake), 401);
    }
    assert_eq!(ask("/.groups/own", ROOT), 200);
    assert_eq!(ask("/.stats", ROOT), 200);
}

#[tokio::test]
async fn stats_show_groups_and_streams_and_no_names() {
    let api = Api::start();
    let mut ann = api.server.join("ann").await;
    let stats = api.json("/.stats");
    assert_eq!(stats, json!([{"name": "test", "clients": [{"id": "ann"}]}]));
    // What administrators write is in force for those inside at once.
    assert_eq!(api.put("/.groups/test", &[], &json!({"displayName": "New"})), 204);
    let heard = ann.hear_until(|said| said["kind"] == "change").await;
    let status = &heard.last().unwrap()["status"];
    assert_eq!(
        (&status["displayName"], &status["canChangePassword"]),
        (&json!("New"), &json!(true))
    );
}

#[test]
fn the_description_is_served_to_all() {
    let api = Api::start();
    let response = api.ask("GET", "/openapi.json", &[], "");
    let description: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!((response.status, &description["openapi"]), (200, &json!("3.1.0")));
    // Every path of it leads somewhere.
    for path in description["paths"].as_object().unwrap().keys() {
        let path = path.strip_prefix("/galene-api/v0").expect("below the prefix");
        let path = path.replace("{group}", "test").replace("{user}", "ann").replace("{token}", "t");
        assert_eq!(api.ask("OPTIONS", &path, &[], "").status, 200, "{path}");
    }
}

#[test]
fn metrics_have_a_listener_of_their_own() {
    let server = Server::start_with(&["-insecure", "--metrics", "127.0.0.1:0"], |scratch| {
        scratch.write("groups/test.json", server::OPEN);
    });
    let port = server.metrics_port.expect("it says where");
    let page = server::request(port, "GET /metrics HTTP/1.1\r\n", b"");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("aula_groups ") && page.text().contains("aula_build_info{"));
    assert_eq!(server::request(port, "GET /readyz HTTP/1.1\r\n", b"").status, 200);
    assert_eq!(server::request(port, "GET /group/test/ HTTP/1.1\r\n", b"").status, 404);
    assert_eq!(server.get("/metrics").status, 404, "not where everybody comes");
}
