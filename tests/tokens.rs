//! Tokens over the wire: invitations that the server keeps on disk, and signed ones.

mod server;

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use server::{Client, Server};
use signalling::base64::encode_url;

const FILE: &str = r#"{"auto-subgroups":true,
    "users":{"op":{"password":"pw","permissions":"op"}},
    "authKeys":[{"kty":"oct","alg":"HS256","k":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"}]}"#;

fn start() -> Server {
    Server::start_with(&["-insecure"], |scratch| scratch.write("groups/test.json", FILE))
}

async fn join(server: &Server, id: &str, group: &str, more: Value) -> (Client, Value) {
    let mut client = server.greet(id).await;
    let mut join = json!({"type": "join", "kind": "join", "group": group});
    join.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    client.say(join).await;
    let answer = client.hear().await;
    (client, answer)
}

async fn ask(op: &mut Client, kind: &str, value: Value) -> Value {
    op.say(json!({"type": "groupaction", "kind": kind, "value": value})).await;
    let heard =
        op.hear_until(|said| said["kind"].as_str().is_some_and(|kind| kind.starts_with("token")));
    heard.await.pop().expect("an answer")
}

#[tokio::test]
async fn an_invitation_outlives_the_server() {
    let mut server = start();
    let (mut op, joined) =
        join(&server, "op", "test", json!({"username": "op", "password": "pw"})).await;
    assert_eq!(joined["kind"], "join");
    let wanted = json!({"group": "test", "expires": 3_600_000, "permissions": ["message"]});
    let made = ask(&mut op, "maketoken", wanted).await;
    let token = made["value"]["token"].as_str().unwrap().to_owned();
    let (_, need) = join(&server, "x", "test", json!({"token": token})).await;
    assert_eq!(need["error"], "need-username");
    let (_, taken) = join(&server, "y", "test", json!({"token": token, "username": "op"})).await;
    assert_eq!(taken["error"], "duplicate-username");
    let scratch = server.kill();
    let file = std::fs::read_to_string(scratch.0.join("data/var/tokens.jsonl")).unwrap();
    assert!(file.contains(&token) && file.ends_with('\n'));
    server = Server::start_in(scratch, &["-insecure"]);
    let (_, zoe) = join(&server, "z", "test", json!({"token": token, "username": "zoe"})).await;
    assert_eq!((&zoe["kind"], &zoe["permissions"]), (&json!("join"), &json!(["message"])));
    // It is for this group, not for those below.
    let (_, below) = join(&server, "b", "test/a", json!({"token": token, "username": "zoe"})).await;
    assert_eq!(below["value"], "not authorised");
    let wanted = json!({"group": "test", "expires": 3_600_000, "permissions": ["message"],
        "includeAutoSubgroups": true});
    let (mut op, _) =
        join(&server, "o2", "test", json!({"username": "op", "password": "pw"})).await;
    let rooms = ask(&mut op, "maketoken", wanted).await["value"]["token"].clone();
    server.scratch.write("groups/test/own.json", r#"{"users":{}}"#);
    let (_, room) = join(&server, "c", "test/a", json!({"token": rooms, "username": "zed"})).await;
    assert_eq!((&room["kind"], &room["permissions"]), (&json!("join"), &json!(["message"])));
    let (_, own) = join(&server, "d", "test/own", json!({"token": rooms, "username": "zed"})).await;
    assert_eq!(own["value"], "not authorised", "another file decides there");
    let file = std::fs::read_to_string(server.scratch.0.join("data/var/tokens.jsonl")).unwrap();
    // Edited on disk, it counts at once; broken on disk, the old ones stay.
    server.scratch.write("data/var/tokens.jsonl", file.replace("[\"message\"]", "[\"present\"]"));
    let (_, edited) = join(&server, "e", "test", json!({"token": token, "username": "eve"})).await;
    assert_eq!(edited["permissions"], json!(["present"]));
    server.scratch.write("data/var/tokens.jsonl", "nonsense\n");
    let (mut op, _) = join(&server, "o", "test", json!({"username": "op", "password": "pw"})).await;
    let failed = ask(&mut op, "maketoken", json!({"group": "test", "expires": 1000})).await;
    assert_eq!(failed["error"], "error");
    let (_, still) = join(&server, "s", "test", json!({"token": token, "username": "sue"})).await;
    assert_eq!(still["kind"], "join");
    assert!(server.log().contains("tokens.jsonl:1"));
    assert!(!server.log().contains(&token), "no secret in the log");
    // Revoked.
    server.scratch.write("data/var/tokens.jsonl", &file);
    let revoked = ask(&mut op, "edittoken", json!({"token": token, "expires": -1000})).await;
    assert_eq!(revoked["value"]["token"], token);
    let (_, over) = join(&server, "r", "test", json!({"token": token, "username": "rob"})).await;
    assert_eq!(over["value"], "not authorised");
}

fn signed(claims: &Value) -> String {
    let header = encode_url(json!({"alg": "HS256", "typ": "JWT"}).to_string().as_bytes());
    let signed = format!("{header}.{}", encode_url(claims.to_string().as_bytes()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    format!("{signed}.{}", encode_url(hmac::sign(&key, signed.as_bytes()).as_ref()))
}

#[tokio::test]
async fn a_signed_token_opens_its_group_and_those_below_if_it_says_so() {
    let server = start();
    let claims = |more: Value| {
        let mut claims = json!({"sub": "ann", "permissions": ["present"], "exp": 4_000_000_000u64,
            "aud": "https://anywhere.example/group/test/"});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"token": signed(&claims)})
    };
    let (_, ann) = join(&server, "1", "test", claims(json!({}))).await;
    assert_eq!((&ann["kind"], &ann["username"]), (&json!("join"), &json!("ann")));
    let (_, below) = join(&server, "2", "test/sub", claims(json!({}))).await;
    assert_eq!(below["value"], "not authorised");
    let deep = claims(json!({"include-subgroups": true}));
    let (_, below) = join(&server, "3", "test/sub", deep).await;
    assert_eq!(below["kind"], "join");
    let (_, old) = join(&server, "4", "test", claims(json!({"exp": 1_000_000_000}))).await;
    assert_eq!(old["value"], "not authorised");
    // The host counts once there is a canonical one.
    server.scratch.write("data/config.json", r#"{"canonicalHost":"aula.example"}"#);
    server::until("the new host", || server.get("/").status == 301);
    let (_, elsewhere) = join(&server, "5", "test", claims(json!({}))).await;
    assert_eq!(elsewhere["value"], "not authorised");
    let here = claims(json!({"aud": ["https://aula.example/group/test/"]}));
    assert_eq!(join(&server, "6", "test", here).await.1["kind"], "join");
}

#[tokio::test]
async fn guessing_gets_slow_and_others_do_not_notice() {
    let server = start();
    for guess in 0..5 {
        let credentials = json!({"username": "op", "password": guess.to_string()});
        let (_, wrong) = join(&server, &format!("g{guess}"), "test", credentials).await;
        assert_eq!(wrong["value"], "not authorised");
    }
    // The right password is taken still, and who waits for nothing is not held up.
    let (_, right) = join(&server, "op", "test", json!({"username": "op", "password": "pw"})).await;
    assert_eq!(right["kind"], "join");
}

/// One audio section, as an encoder would offer it.
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\n\
    a=ice-ufrag:abcdefgh\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n\
    a=fingerprint:sha-256 AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:\
    AB:AB:AB:AB:AB:AB:AB:AB\r\na=setup:actpass\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
    a=msid:x x\r\n";

#[tokio::test]
async fn an_encoder_goes_with_its_token() {
    let server = start();
    let line = json!({"token": "cam", "group": "test", "username": "camera",
        "permissions": ["present"], "expires": "2999-01-01T00:00:00Z"});
    server.scratch.write("data/var/tokens.jsonl", format!("{line}\n"));
    let (mut op, _) =
        join(&server, "op", "test", json!({"username": "op", "password": "pw"})).await;
    let post = |bearer: &str| {
        let head = format!(
            "POST /group/test/.whip HTTP/1.1\r\nContent-Type: application/sdp\r\n\
             Authorization: Bearer {bearer}\r\n"
        );
        server.request(&head, OFFER.as_bytes())
    };
    assert_eq!(post("wrong").status, 401);
    assert_eq!(post("cam").status, 201);
    let is_camera = |said: &Value| said["type"] == "user" && said["username"] == "camera";
    op.hear_until(is_camera).await;
    // Somebody edits the file.
    std::fs::remove_file(server.scratch.0.join("data/var/tokens.jsonl")).unwrap();
    let heard = op.hear_until(|said| is_camera(said) && said["kind"] == "delete").await;
    assert_eq!(heard.last().unwrap()["kind"], "delete");
    assert_eq!(post("cam").status, 401);
}
