//! The page of metrics: its form, its promises, and that its numbers follow real media.

mod exposition;
mod rtc;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use exposition::{Page, name_is_good};
use rtc::Peer;
use serde_json::{Value, json};
use server::{OPEN, Server, until};
use str0m::media::Direction;

const CONFIG: &str = r#"{"users":{"root":{"password":"pw","permissions":"admin"}}}"#;

fn start(more: &[&str]) -> Server {
    let arguments = ["-insecure", "--metrics", "127.0.0.1:0"];
    let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
    Server::start_with(&arguments, |scratch| {
        scratch.write("groups/test.json", OPEN);
        scratch.write("data/config.json", CONFIG);
    })
}

fn page(server: &Server) -> Page {
    let port = server.metrics_port.expect("it says where");
    let response = server::request(port, "GET /metrics HTTP/1.1\r\n", b"");
    assert_eq!(response.status, 200);
    let kind = response.header("content-type");
    assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"));
    Page::parse(&response.text()).unwrap_or_else(|error| panic!("{error}\n{}", response.text()))
}

fn stats(server: &Server) -> Value {
    let head = "GET /galene-api/v0/.stats HTTP/1.1\r\nAuthorization: Basic cm9vdDpwdw==\r\n";
    let response = server.request(head, b"");
    assert_eq!(response.status, 200);
    serde_json::from_slice(&response.body).expect("JSON")
}

fn post(server: &Server, path: &str, offer: &str) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nContent-Type: application/sdp\r\n");
    let created = server.request(&head, offer.as_bytes());
    assert_eq!(created.status, 201, "{}", created.text());
    created.text()
}

#[test]
fn the_page_is_well_formed_and_has_every_documented_metric() {
    // With two shards there are lanes.
    let page = page(&start(&["--shards", "2"]));
    let documented: BTreeMap<&str, &str> = include_str!("../docs/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter_map(|(name, rest)| Some((name, rest.split_once(" | ")?.0)))
        .filter(|(name, _)| name.starts_with("aula_") || name.starts_with("process_"))
        .collect();
    let there: BTreeMap<&str, &str> =
        page.families.iter().map(|(name, family)| (name.as_str(), family.kind.as_str())).collect();
    assert_eq!(there, documented);
    for name in page.families.keys() {
        // TLS ends elsewhere here, so there is no certificate.
        let is_empty = page.families[name].samples.is_empty();
        assert_eq!(is_empty, name == "aula_certificate_expiry_timestamp_seconds", "{name}");
    }
}

#[test]
fn labels_have_few_values_and_none_of_them_comes_from_a_client() {
    let server = start(&[]);
    let page = page(&server);
    let allowed = [
        "version",
        "commit",
        "state",
        "kind",
        "codec",
        "direction",
        "reason",
        "result",
        "lane",
        "shard",
        "code",
        "le",
        "up_to",
    ];
    for (name, family) in &page.families {
        assert!(family.samples.len() <= 64, "{name}");
        for sample in &family.samples {
            for label in sample.labels.keys() {
                assert!(allowed.contains(&label.as_str()), "{name}: {label}");
                let of_shards = name.starts_with("aula_shard_");
                assert!(label != "shard" || of_shards, "{name}");
            }
        }
    }
    let build = &page.families["aula_build_info"].samples[0].labels;
    assert_eq!(build["version"], env!("CARGO_PKG_VERSION"));
    assert!(!build["commit"].is_empty());
}

#[test]
fn the_end_of_the_certificate_is_told() {
    let server = Server::start_with(&["--metrics", "127.0.0.1:0"], |_| {});
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let ends = page(&server).value("aula_certificate_expiry_timestamp_seconds", &[]);
    assert!(ends > now, "{ends}: it was made a moment ago");
}

/// The names of metrics in a text: words that begin as ours do.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| {
        (word.starts_with("aula_") || word.starts_with("process_")) && name_is_good(word)
    });
    ours.map(str::to_owned).collect()
}

#[test]
fn the_dashboard_and_the_alerts_use_only_metrics_that_exist() {
    let page = page(&start(&["--shards", "2"]));
    let mut known: BTreeSet<String> = page.families.keys().cloned().collect();
    for (name, family) in &page.families {
        if family.kind == "histogram" {
            known.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
        }
    }
    let dashboard: Value = serde_json::from_str(include_str!("../packaging/grafana.json")).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            expressions.push(target["expr"].as_str().unwrap().to_owned());
        }
    }
    assert!(expressions.len() > 20);
    let alerts = include_str!("../packaging/prometheus-alerts.yml");
    let rules: Vec<&str> = alerts.lines().filter(|line| line.contains("expr:")).collect();
    assert!(rules.len() >= 8);
    expressions.extend(rules.iter().map(|rule| (*rule).to_owned()));
    for expression in expressions {
        for name in names_in(&expression) {
            assert!(known.contains(&name), "{name} in {expression}");
        }
    }
}

#[test]
fn logins_and_closed_websockets_are_counted() {
    let server = start(&[]);
    let before = page(&server);
    let bad = "GET /galene-api/v0/.stats HTTP/1.1\r\nAuthorization: Basic cm9vdDpubw==\r\n";
    assert_eq!(server.request(bad, b"").status, 401);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut client = server.greet("ann").await;
        client.socket.close(None).await.expect("still open");
        client.closed().await;
    });
    let increase = |name: &str, labels: &[(&str, &str)]| {
        page(&server).value(name, labels) - before.value(name, labels)
    };
    until("the refused login counts", || {
        increase("aula_auth_failures_total", &[("reason", "password")]) == 1.0
    });
    until("the WebSocket that has ended counts", || {
        increase("aula_ws_closed_total", &[("code", "none")]) == 1.0
    });
    assert_eq!(increase("aula_api_requests_total", &[]), 1.0);
}

/// A publisher over WHIP, a viewer over the native protocol and one over WHEP, with real media.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one story")]
async fn numbers_follow_real_media_and_statistics_show_it() {
    let server = start(&[]);
    let mut publisher = Peer::new();
    let offer = publisher.offer(Direction::SendOnly);
    publisher.accept_answer(&post(&server, "/group/test/.whip", &offer));
    let publisher = publisher.run(true);
    let mut native = server.join("native").await;
    native.say(json!({"type": "request", "request": {"": ["audio", "video"]}})).await;
    let heard = native.hear_until(|said| said["type"] == "offer").await;
    let offer = heard.last().expect("an offer");
    let mut viewer = Peer::new();
    let sdp = viewer.accept_offer(offer["sdp"].as_str().expect("a description"));
    native.say(json!({"type": "answer", "id": offer["id"], "sdp": sdp})).await;
    let viewer = viewer.run(false);
    let mut player = Peer::new();
    let offer = player.offer(Direction::RecvOnly);
    player.accept_answer(&post(&server, "/group/test/.whep", &offer));
    let player = player.run(false);
    until("media reaches both", || viewer.received() > 50 && player.received() > 50);

    let first = page(&server);
    until("the gauges say what there is", || {
        let page = page(&server);
        page.value("aula_transports", &[("state", "connected")]) == 3.0
            && page.value("aula_publications", &[("kind", "video"), ("codec", "vp8")]) == 1.0
            && page.value("aula_publications", &[("kind", "audio"), ("codec", "opus")]) == 1.0
            && page.value("aula_subscriptions", &[("kind", "audio")]) == 2.0
            && page.value("aula_subscriptions", &[("kind", "video")]) == 2.0
            && page.value("aula_streams", &[("direction", "in")]) == 1.0
    });
    until("the counters grow", || {
        let now = page(&server);
        let grown = |name: &str, labels: &[(&str, &str)]| {
            now.value(name, labels) > first.value(name, labels)
        };
        ["in", "out"].iter().all(|direction| {
            ["audio", "video"].iter().all(|kind| {
                let labels = [("direction", *direction), ("kind", *kind)];
                grown("aula_rtp_packets_total", &labels) && grown("aula_rtp_bytes_total", &labels)
            }) && grown("aula_udp_bytes_total", &[("direction", direction)])
        }) && grown("aula_forward_seconds_count", &[])
            && grown("aula_forward_seconds_sum", &[])
            && grown("aula_shard_loop_seconds_count", &[])
            && grown("process_cpu_seconds_total", &[])
    });
    let now = page(&server);
    assert_eq!(now.value("aula_join_seconds_count", &[]), 3.0);
    assert!(now.value("aula_join_seconds_sum", &[]) > 0.0);
    assert!(now.value("aula_shard_busy_ratio", &[("shard", "0")]) <= 1.0);
    for name in ["aula_transport_panics_total", "aula_dtls_failures_total"] {
        assert_eq!(now.value(name, &[]), 0.0, "{name}");
    }

    // 50 packets per second of 80 and 1,002 octets; a machine that stalls sends fewer.
    let is_whole = |track: &Value| {
        let layers = ["sid", "maxSid", "tid", "maxTid"];
        layers.iter().all(|key| track[key] == 0)
            && track["bitrate"].as_u64().is_some_and(|bitrate| bitrate > 0)
            && track["loss"].as_f64().is_some_and(|loss| (0.0..=1.0).contains(&loss))
            && track["rtt"].as_f64().is_some_and(|rtt| rtt > 0.0)
    };
    until("both viewers have tracks with rates and round trips", || {
        let stats = stats(&server);
        let clients = stats[0]["clients"].as_array().cloned().unwrap_or_default();
        let downs = clients.iter().filter_map(|client| client["down"].as_array());
        let tracks: Vec<Value> = downs
            .flatten()
            .filter_map(|stream| stream["tracks"].as_array())
            .flatten()
            .cloned()
            .collect();
        tracks.len() == 4 && tracks.iter().all(is_whole)
    });
    let up = stats(&server)[0]["clients"]
        .as_array()
        .and_then(|clients| clients.iter().find_map(|client| client.get("up")).cloned());
    assert_eq!(up.expect("the publisher")[0]["tracks"].as_array().map(Vec::len), Some(2));
    drop((publisher, viewer, player));
}
