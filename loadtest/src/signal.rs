//! Galene's native protocol (version 2) from the client's side, as much of it as a load needs. Runs
//! against Aula and against Galene alike.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::connect::{self, JOIN_TIMEOUT, Stream};
use crate::engine::{Command, EngineHandle};
use crate::load::Load;
use crate::target::Target;
use crate::tunnel::{Relay, Way};

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub username: String,
    /// The password, if any.
    pub password: Option<String>,
    /// A token, in place of a password.
    pub token: Option<String>,
}

/// A joined client; it lives until dropped or stopped.
pub(crate) struct Joined {
    socket: WebSocketStream<Box<dyn Stream>>,
    engine: EngineHandle,
    since: Instant,
    id: String,
    username: String,
    /// TURN servers that were offered.
    relays: Vec<Relay>,
    /// The engine's number of each stream that is viewed, by stream id.
    streams: HashMap<String, usize>,
}

impl Drop for Joined {
    fn drop(&mut self) {
        for client in self.streams.values() {
            self.engine.send(Command::Close(*client));
        }
    }
}

/// Connects, shakes hands and joins.
pub(crate) async fn join(
    target: &Target,
    tls: Option<Arc<rustls::ClientConfig>>,
    engine: EngineHandle,
    number: usize,
    member: Member,
) -> Result<Joined, String> {
    let attempt = connect(target, tls, engine, number, member);
    match tokio::time::timeout(JOIN_TIMEOUT, attempt).await {
        Ok(joined) => joined,
        Err(_) => Err(format!("no answer within {} s", JOIN_TIMEOUT.as_secs())),
    }
}

async fn connect(
    target: &Target,
    tls: Option<Arc<rustls::ClientConfig>>,
    engine: EngineHandle,
    number: usize,
    member: Member,
) -> Result<Joined, String> {
    let since = Instant::now();
    let stream = connect::connect(target, tls).await?;
    let url = target.websocket_url();
    let (socket, _) = tokio_tungstenite::client_async(url.as_str(), stream)
        .await
        .map_err(|error| format!("WebSocket {url}: {error}"))?;
    let id = format!("{number:032x}");
    let mut joined = Joined {
        socket,
        engine,
        since,
        id: id.clone(),
        username: member.username.clone(),
        relays: Vec::new(),
        streams: HashMap::new(),
    };
    joined.send(json!({"type": "handshake", "version": ["2"], "id": id})).await?;
    let mut join = json!({
        "type": "join", "kind": "join", "group": target.group, "username": member.username,
    });
    if let Some(password) = member.password {
        join["password"] = password.into();
    }
    if let Some(token) = member.token {
        join["token"] = token.into();
    }
    joined.send(join).await?;
    loop {
        let message = joined.receive().await?;
        if message["type"] == "joined" {
            return match message["kind"].as_str() {
                Some("join") => {
                    joined.relays = Relay::of_configuration(&message["rtcConfiguration"]);
                    Ok(joined)
                }
                _ => Err(refusal(&message)),
            };
        }
    }
}

/// The server's words for a refused join, with what to do about it.
fn refusal(message: &Value) -> String {
    let said = message["value"].as_str().unwrap_or("no reason given");
    // Galene has an error code for it from some version on, and these words before.
    let is_denied = message["error"] == "not-authorised" || said.contains("authori");
    let hint = if is_denied { "; check --user and --password, or --token" } else { "" };
    format!("the server refused: {said}{hint}")
}

impl Joined {
    async fn send(&mut self, message: Value) -> Result<(), String> {
        let sent = self.socket.send(Message::text(message.to_string())).await;
        sent.map_err(|error| format!("the connection broke: {error}"))
    }

    async fn receive(&mut self) -> Result<Value, String> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text)
                        .map_err(|error| format!("the server sent no JSON: {error}"))?;
                    if message["type"] == "ping" {
                        self.send(json!({"type": "pong"})).await?;
                        continue;
                    }
                    return Ok(message);
                }
                Some(Ok(Message::Close(frame))) => {
                    let reason = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                    return Err(format!("the server closed the connection: {reason}"));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(format!("the connection broke: {error}")),
                None => return Err("the server closed the connection".to_owned()),
            }
        }
    }

    /// Publishes a stream and returns its number at the engine. `number` counts the publishers.
    pub(crate) async fn publish(&mut self, load: Load, number: usize) -> Result<usize, String> {
        let made = self.engine.ask(|reply| Command::Publish(load, number, reply)).await.flatten();
        let (client, sdp) = made.ok_or("cannot make an offer")?;
        let stream = format!("{}{client:08x}", &self.id[8..]);
        self.send(json!({
            "type": "offer", "source": self.id, "username": self.username, "kind": "",
            "id": stream, "replace": null, "label": "camera", "sdp": sdp,
        }))
        .await?;
        loop {
            let message = self.receive().await?;
            match message["type"].as_str() {
                Some("answer") if message["id"] == stream.as_str() => {
                    let sdp = message["sdp"].as_str().unwrap_or_default().to_owned();
                    let taken = self.engine.ask(|reply| Command::Answer(client, sdp, reply)).await;
                    return taken
                        .unwrap_or_else(|| Err("the engine has ended".to_owned()))
                        .map(|()| client);
                }
                Some("abort") if message["id"] == stream.as_str() => {
                    return Err(format!(
                        "the server refused the stream; may this user present, and has the group \
                         {} among its \"codecs\"?",
                        load.codec.name()
                    ));
                }
                Some("usermessage") if message["kind"] == "error" => {
                    return Err(format!("the server said: {}", message["value"]));
                }
                _ => {}
            }
        }
    }

    /// Has the group recorded, and waits until it is.
    pub(crate) async fn record(&mut self) -> Result<(), String> {
        self.send(json!({
            "type": "groupaction", "kind": "record", "source": self.id, "username": self.username,
        }))
        .await?;
        loop {
            let message = self.receive().await?;
            match message["type"].as_str() {
                Some("user") if message["username"] == "RECORDING" => return Ok(()),
                Some("usermessage") => {
                    let said = message["value"].as_str().unwrap_or("no reason given");
                    return Err(format!(
                        "the server does not record: {said}; has the group \"allow-recording\", and \
                         the user the permission record?"
                    ));
                }
                _ => {}
            }
        }
    }

    /// Asks for every stream of the group; then serves the connection until it breaks or `self`
    /// is dropped. Media comes by `way`. Returns why it ended.
    pub(crate) async fn serve(mut self, views: bool, way: Way) -> String {
        if views {
            let request = json!({"type": "request", "request": {"": ["audio", "video"]}});
            if let Err(error) = self.send(request).await {
                return error;
            }
        }
        loop {
            let message = match self.receive().await {
                Ok(message) => message,
                Err(error) => return error,
            };
            let id = message["id"].as_str().unwrap_or_default().to_owned();
            match message["type"].as_str() {
                Some("offer") => {
                    let known = self.streams.get(&id).copied();
                    let sdp = message["sdp"].as_str().unwrap_or_default().to_owned();
                    let sdp = match way.redirect(sdp, &self.relays).await {
                        Ok(sdp) => sdp,
                        Err(error) => return error,
                    };
                    let since = self.since;
                    let answered =
                        self.engine.ask(|reply| Command::View(known, sdp, since, reply)).await;
                    let reply = match answered {
                        Some(Ok((client, sdp))) => {
                            self.streams.insert(id.clone(), client);
                            json!({"type": "answer", "id": id, "sdp": sdp})
                        }
                        Some(Err(error)) => {
                            eprintln!("\ncannot answer an offer: {error}");
                            json!({"type": "abort", "id": id})
                        }
                        None => return "the engine has ended".to_owned(),
                    };
                    if let Err(error) = self.send(reply).await {
                        return error;
                    }
                }
                Some("close") => {
                    if let Some(client) = self.streams.remove(&id) {
                        self.engine.send(Command::Close(client));
                    }
                }
                _ => {}
            }
        }
    }
}
