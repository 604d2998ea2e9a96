//! Publishing with real offers over both doors: the WebSocket and WHIP.

mod server;

use serde_json::{Value, json};
use server::{OPEN, Response, Server};

/// An offer as an encoder makes it: audio and video to send, no candidates.
fn offer() -> String {
    let common = "c=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghijklmn\r\n\
        a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
        a=setup:actpass\r\na=rtcp-mux\r\na=sendonly\r\na=msid:s t\r\n";
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{common}a=mid:0\r\na=rtpmap:111 opus/48000/2\r\n\
        a=ssrc:1 cname:c\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\n{common}a=mid:1\r\na=rtpmap:96 VP8/90000\r\n\
        a=rtcp-fb:96 nack pli\r\na=ssrc:2 cname:c\r\n"
    )
}

fn post(server: &Server, path: &str, extra: &str) -> Response {
    let head = format!("POST {path} HTTP/1.1\r\nContent-Type: application/sdp\r\n{extra}");
    server.request(&head, offer().as_bytes())
}

#[tokio::test]
async fn a_browser_publishes_over_the_websocket() {
    let server = Server::start();
    let mut ann = server.join("ann").await;
    ann.say(json!({"type": "offer", "id": "s1", "label": "camera", "sdp": offer()})).await;
    let answer = ann.hear().await;
    assert_eq!((&answer["type"], &answer["id"]), (&json!("answer"), &json!("s1")));
    let sdp = answer["sdp"].as_str().unwrap();
    assert!(sdp.contains("a=candidate:") && sdp.contains("127.0.0.1"), "{sdp}");
    ann.say(json!({"type": "ice", "id": "s1", "candidate": {"candidate": "nonsense"}})).await;
    ann.say(json!({"type": "offer", "id": "s2", "label": "camera", "sdp": "nonsense"})).await;
    assert_eq!(ann.hear().await, json!({"type": "abort", "id": "s2"}));
    assert_eq!(ann.hear().await["kind"], "error");
    ann.say(json!({"type": "close", "id": "s1"})).await;
    ann.ping().await;
}

#[tokio::test]
async fn an_encoder_publishes_over_whip_on_both_urls() {
    let server = Server::start();
    let mut ann = server.join("ann").await;
    for path in ["/group/test/.whip", "/group/test/", "/group/test"] {
        let created = post(&server, path, "");
        assert_eq!(created.status, 201, "{}", created.text());
        assert_eq!(created.header("content-type"), Some("application/sdp"));
        assert!(created.header("etag").is_some());
        assert!(created.text().contains("a=candidate:"));
        let location = created.header("location").unwrap().to_owned();
        assert!(location.starts_with("/group/test/.whip/"), "{location}");
        let heard =
            ann.hear_until(|said| said["kind"] == "add" && said["username"] == "whip").await;
        let id = heard.last().unwrap()["id"].clone();
        let gone = server.request(&format!("DELETE {location} HTTP/1.1\r\n"), b"");
        assert_eq!(gone.status, 200);
        ann.hear_until(|said| said["kind"] == "delete" && said["id"] == id).await;
        let again = server.request(&format!("DELETE {location} HTTP/1.1\r\n"), b"");
        assert_eq!(again.status, 404);
    }
}

#[test]
fn whip_on_the_wire_says_what_to_do() {
    let server = Server::start_with(&["-insecure"], |scratch| {
        scratch.write(
            "groups/test.json",
            r#"{"users":{"whip":{"password":"sesame",
            "permissions":"present"},"mute":{"password":"m","permissions":"message"}}}"#,
        );
        scratch.write("groups/open.json", OPEN);
    });
    let denied = post(&server, "/group/test/.whip", "");
    assert_eq!(denied.status, 401);
    assert_eq!(denied.header("www-authenticate"), Some("Bearer"));
    assert!(denied.head.contains("Basic realm"), "{}", denied.head);
    let from_page = post(&server, "/group/test/.whip", "Origin: https://x.example\r\n");
    assert!(!from_page.head.contains("Basic realm"), "no pop-up in a page");
    let mute = post(&server, "/group/test/.whip", "Authorization: Basic bXV0ZTpt\r\n");
    assert_eq!(mute.status, 403);
    assert_eq!(mute.header("content-type"), Some("application/problem+json"));
    let problem: Value = serde_json::from_slice(&mute.body).unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("present"));
    assert_eq!(post(&server, "/group/nothing/.whip", "").status, 404);
    let by_token = post(&server, "/group/test/.whip?token=sesame", "");
    assert_eq!(by_token.status, 201);
    let created = post(&server, "/group/test/.whip", "Authorization: Bearer sesame\r\n");
    assert_eq!(created.status, 201);
    let location = created.header("location").unwrap();
    let delete =
        |extra: &str| server.request(&format!("DELETE {location} HTTP/1.1\r\n{extra}"), b"").status;
    assert_eq!(delete(""), 401);
    assert_eq!(delete("Authorization: Bearer other\r\n"), 403);
    assert_eq!(delete("Authorization: Bearer sesame\r\nIf-Match: \"stale\"\r\n"), 200);
    let plain = server.request("POST /group/open/ HTTP/1.1\r\nContent-Type: text/plain\r\n", b"x");
    assert_eq!((plain.status, plain.header("accept-post")), (415, Some("application/sdp")));
    let put = server.request("PUT /group/open/.whip HTTP/1.1\r\n", b"");
    assert_eq!((put.status, put.header("allow")), (405, Some("OPTIONS, GET, HEAD, POST")));
    assert_eq!(server.get("/group/open/.whip").status, 204);
}

#[test]
fn preflights_of_invited_origins_are_answered_without_credentials() {
    let server = Server::start_with(&["-insecure", "--public-server"], |scratch| {
        scratch.write("groups/test.json", r#"{"presenter":[{"password":"sesame"}]}"#);
    });
    for path in ["/group/test/", "/group/test/.whip", "/group/test/.whip/whatever"] {
        let preflight = server.request(
            &format!(
                "OPTIONS {path} HTTP/1.1\r\nOrigin: https://x.example\r\n\
                Access-Control-Request-Method: POST\r\n"
            ),
            b"",
        );
        assert_eq!(preflight.status, 200, "{path}");
        assert_eq!(preflight.header("access-control-allow-origin"), Some("https://x.example"));
        let headers = preflight.header("access-control-allow-headers").unwrap();
        assert!(headers.contains("Authorization") && headers.contains("If-Match"));
        let exposed = preflight.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("Location") && exposed.contains("ETag"));
    }
}
