//! Recordings on a disk of one megabyte that fills up, and on one that may not be written to: the
//! class goes on, operators are told, and it records again when it can.

mod rtc;
mod server;

use std::process::Command;

use rtc::{Peer, Running};
use serde_json::{Value, json};
use server::{Client, Server, until};
use str0m::media::Direction;

const GROUP: &str = r#"{"allow-recording":true,"users":{"ann":{"password":"pw","permissions":"op"}},
    "wildcard-user":{"password":{"type":"wildcard"},"permissions":"present"}}"#;
const CONFIG: &str = r#"{"recordings":{"keepFreeBytes":0}}"#;

fn start(size: &str) -> Option<Server> {
    let arguments = ["-insecure", "--metrics", "127.0.0.1:0"];
    let server = Server::start_mounted(size, &arguments, |scratch| {
        scratch.write("groups/test.json", GROUP);
        scratch.write("data/config.json", CONFIG);
    });
    if server.is_none() {
        eprintln!("skipped: this user may not mount anything");
    }
    server
}

async fn teacher(server: &Server) -> Client {
    let mut ann = server.greet("ann").await;
    let join = json!({"type": "join", "kind": "join", "group": "test", "username": "ann",
        "password": "pw"});
    ann.say(join).await;
    ann.hear_until(|said| said["type"] == "user" && said["id"] == "ann").await;
    ann
}

async fn record(ann: &mut Client) {
    ann.say(json!({"type": "groupaction", "kind": "record", "source": "ann", "username": "ann"}))
        .await;
}

/// What operators are told next about the recording.
async fn told(ann: &mut Client) -> String {
    let heard =
        ann.hear_until(|said| said["type"] == "usermessage" && said["error"] == "recording").await;
    let text = heard.last().and_then(|said: &Value| said["value"].as_str().map(str::to_owned));
    text.expect("a sentence")
}

fn whip(server: &Server) -> Running {
    let mut peer = Peer::new();
    let offer = peer.offer(Direction::SendOnly);
    let head = "POST /group/test/.whip HTTP/1.1\r\nContent-Type: application/sdp\r\n";
    peer.accept_answer(&server.request(head, offer.as_bytes()).text());
    peer.run(true)
}

fn whep(server: &Server) -> Running {
    let mut peer = Peer::new();
    let offer = peer.offer(Direction::RecvOnly);
    let head = "POST /group/test/.whep HTTP/1.1\r\nContent-Type: application/sdp\r\n";
    peer.accept_answer(&server.request(head, offer.as_bytes()).text());
    peer.run(false)
}

fn metric(server: &Server, name: &str) -> f64 {
    let port = server.metrics_port.expect("it says where");
    let page = server::request(port, "GET /metrics HTTP/1.1\r\n", b"").text();
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.and_then(|value| value.parse().ok()).expect("a number")
}

/// Bytes of media in the folder.
fn recorded(server: &Server) -> u64 {
    let entries = std::fs::read_dir(server.recordings().join("test")).into_iter().flatten();
    let films =
        entries.flatten().filter(|entry| !entry.file_name().to_string_lossy().ends_with(".jsonl"));
    films.map(|entry| entry.metadata().map_or(0, |metadata| metadata.len())).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn regression_row_39_a_full_disk_interrupts_the_recording_and_not_the_class() {
    let Some(server) = start("1m") else {
        return;
    };
    let mut ann = teacher(&server).await;
    let publisher = whip(&server);
    let viewer = whep(&server);
    record(&mut ann).await;
    until("something to be recorded", || recorded(&server) > 10_000);
    let filler = server.recordings().join("filler");
    // Up to the last byte: the write that does not fit is the one that tells.
    assert!(std::fs::write(&filler, vec![0; 2 << 20]).is_err());
    let said = told(&mut ann).await;
    assert!(said.contains("interrupted") && said.contains("disk is full"), "{said}");
    assert_eq!(metric(&server, "aula_recordings_interrupted"), 1.0);
    let seen = viewer.received();
    until("the class to go on", || viewer.received() > seen + 100);
    let before = recorded(&server);
    std::fs::remove_file(filler).expect("ours");
    let said = told(&mut ann).await;
    assert!(said.contains("goes on again"), "{said}");
    assert_eq!(metric(&server, "aula_recordings_interrupted"), 0.0);
    until("more to be recorded", || recorded(&server) > before);
    drop((publisher, viewer));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_may_not_be_written_to_refuses_a_recording_and_nothing_else() {
    let Some(server) = start("1m") else {
        return;
    };
    let remount = |how: &str| {
        let pid = server.child.id().to_string();
        let folder = server.scratch.0.join("recordings");
        let status = Command::new("nsenter")
            .args(["-t", &pid, "-U", "-m", "--preserve-credentials", "mount", "-o", how])
            .arg(folder)
            .status();
        assert!(status.is_ok_and(|status| status.success()), "{how}");
    };
    let mut ann = teacher(&server).await;
    remount("remount,ro");
    record(&mut ann).await;
    let said = told(&mut ann).await;
    assert!(said.contains("may not write to the folder of recordings"), "{said}");
    ann.hear_until(|said| said["type"] == "user" && said["kind"] == "delete").await;
    remount("remount,rw");
    let publisher = whip(&server);
    record(&mut ann).await;
    until("something to be recorded", || recorded(&server) > 1000);
    drop(publisher);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_inodes_refuses_a_recording_and_says_that_it_is_those() {
    let Some(server) = start("1m,nr_inodes=32") else {
        return;
    };
    let mut files = 0;
    let folder = server.recordings();
    while std::fs::write(folder.join(format!("filler{files}")), b"").is_ok() {
        files += 1;
        assert!(files < 32);
    }
    let mut ann = teacher(&server).await;
    record(&mut ann).await;
    let said = told(&mut ann).await;
    assert!(said.contains("can hold no more files"), "{said}");
    ann.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_deleted_in_mid_lecture_is_made_again() {
    let server = Server::start_with(&["-insecure"], |scratch| {
        scratch.write("groups/test.json", GROUP);
        scratch.write("data/config.json", CONFIG);
    });
    let mut ann = teacher(&server).await;
    let publisher = whip(&server);
    record(&mut ann).await;
    until("something to be recorded", || recorded(&server) > 1000);
    std::fs::remove_dir_all(server.scratch.0.join("recordings")).expect("ours");
    let said = told(&mut ann).await;
    assert!(said.contains("has been removed"), "{said}");
    let said = told(&mut ann).await;
    assert!(said.contains("goes on again"), "{said}");
    until("more to be recorded", || recorded(&server) > 1000);
    drop(publisher);
}
