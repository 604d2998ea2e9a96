//! Webhooks: what happens in groups, told to other programs over HTTP. Nobody in a group ever waits
//! for one: queues are bounded, each address has a worker of its own, and what an address does not
//! take after some attempts is lost, with a line in the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use serde_json::{Map, Value, json};
use signalling::{Happening, UnixMs, What};
use tokio::sync::mpsc;

use crate::clock::{unix_now, unix_s};
use crate::config::ConfigFile;
use crate::webhook::Target;

/// Happenings that wait for their address; more are lost.
const WAITING_MAX: usize = 1024;
/// An address that does not answer by then has not taken it.
const WITHIN: Duration = Duration::from_secs(10);
/// Waits before the next attempt; after the last one it is given up.
const RETRIES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
];
/// Where happenings are handed in.
#[derive(Clone)]
pub(crate) struct Hooks {
    happenings: mpsc::Sender<(&'static str, String)>,
}

impl Hooks {
    /// Begins to tell whoever `config.json` names at the time.
    pub(crate) fn start(config: Arc<ConfigFile>) -> Self {
        let (happenings, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(distribute(config, waiting));
        Self { happenings }
    }

    /// Hands something in; it never waits.
    pub(crate) fn tell(&self, happening: &Happening) {
        let (event, body) = described(happening, unix_now());
        if self.happenings.try_send((event, body.to_string())).is_err() {
            tracing::warn!(event, "webhooks are behind: this is lost");
        }
    }
}

/// The name of what has happened, and its message.
fn described(happening: &Happening, now: UnixMs) -> (&'static str, Value) {
    let Happening { what, group, client, username } = happening;
    let (event, more) = match what {
        What::Joined { permissions } => ("joined", json!({ "permissions": permissions })),
        What::Refused { why } => ("refused", json!({ "why": why })),
        What::Left => ("left", json!({})),
        What::Kicked { by, message } => ("kicked", json!({ "by": by, "message": message })),
        What::Published { stream, label, has: (audio, video) } => (
            "published",
            json!({ "stream": stream, "label": label, "audio": audio, "video": video }),
        ),
        What::Ended { stream, label } => ("ended", json!({ "stream": stream, "label": label })),
    };
    let mut fields = Map::new();
    fields.insert("event".into(), event.into());
    fields.insert("time".into(), now.to_rfc3339().into());
    fields.insert("group".into(), group.as_str().into());
    fields.insert("client".into(), client.as_str().into());
    fields.insert("username".into(), username.as_str().into());
    if let Value::Object(more) = more {
        fields.extend(more);
    }
    (event, Value::Object(fields))
}

/// Gives each address its own queue.
async fn distribute(config: Arc<ConfigFile>, mut waiting: mpsc::Receiver<(&'static str, String)>) {
    let mut workers: HashMap<(String, String), mpsc::Sender<String>> = HashMap::new();
    while let Some((event, body)) = waiting.recv().await {
        let config = config.get();
        workers.retain(|(url, secret), _| {
            config.webhooks.iter().any(|hook| hook.url == *url && hook.secret == *secret)
        });
        for hook in config.webhooks.iter().filter(|hook| hook.wants(event)) {
            let Some(target) = Target::parse(&hook.url) else { continue };
            let key = (hook.url.clone(), hook.secret.clone());
            let worker = workers.entry(key).or_insert_with(|| {
                let (sender, bodies) = mpsc::channel(WAITING_MAX);
                tokio::spawn(serve(target, hook.secret.clone(), bodies));
                sender
            });
            if worker.try_send(body.clone()).is_err() {
                tracing::warn!(url = hook.url, event, "the webhook is too slow: this is lost");
            }
        }
    }
}

/// Tells one address, one message after the other.
async fn serve(target: Target, secret: String, mut bodies: mpsc::Receiver<String>) {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    while let Some(body) = bodies.recv().await {
        let mut pauses = RETRIES.into_iter();
        loop {
            let signature = signature(&key, unix_s(), &body);
            let posted = tokio::time::timeout(WITHIN, target.post(&body, &signature)).await;
            let why = match posted {
                Ok(Ok(())) => break,
                Ok(Err(why)) => why,
                Err(_) => "no answer in time".to_owned(),
            };
            let Some(pause) = pauses.next() else {
                tracing::warn!(url = target.url, why, "the webhook does not take it: this is lost");
                break;
            };
            tracing::debug!(url = target.url, why, "the webhook does not take it: again soon");
            tokio::time::sleep(pause).await;
        }
    }
}

/// `t=UNIX,v1=HEX`: the HMAC-SHA-256 of the time, a dot and the body.
fn signature(key: &hmac::Key, time: u64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{time}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time},v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_signed_with_their_time() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            signature(&key, 1_700_000_000, "{}"),
            "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"
        );
    }
}
