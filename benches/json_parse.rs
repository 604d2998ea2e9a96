//! What does reading a message of the native protocol cost?
//!
//! A chat message, a request for streams, and an offer with a browser's SDP of about 6 KB. On the
//! control plane, so nothing of it is on a packet's path. Expected: under 1 us for small messages.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;
use signalling::wire::Incoming;

fn json_parse(criterion: &mut Criterion) {
    let id = "0123456789abcdef0123456789abcdef";
    let line = "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\na=fmtp:97 apt=96\r\n";
    let messages = [
        (
            "chat",
            json!({"type": "chat", "kind": "", "source": id, "username": "ada", "dest": "",
                   "value": "good morning, everybody"}),
        ),
        ("request", json!({"type": "request", "request": {"": ["audio", "video"]}})),
        (
            "offer",
            json!({"type": "offer", "id": id, "source": id, "username": "ada", "replace": null,
                   "label": "camera", "sdp": line.repeat(6000 / line.len())}),
        ),
    ];
    let mut group = criterion.benchmark_group("json_parse");
    for (name, message) in messages {
        let text = message.to_string();
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| Incoming::parse(&text)));
    }
    group.finish();
}

criterion_group!(benches, json_parse);
criterion_main!(benches);
