//! Ways to the server other than UDP: each stream's datagrams go over a connection of its own, as frames of
//! ICE-TCP or through the server's TURN. The clients believe that they speak UDP to a port on this machine.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use loadtest::netem::Detour;
use rustls::pki_types::ServerName;
use serde_json::Value;
use stun::Heard;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;

use crate::connect::{JOIN_TIMEOUT, Stream};

/// No message or frame is longer.
const MESSAGE_BYTES_MAX: usize = 4096;
/// The allocation, and what is permitted, is prolonged so often.
const REFRESH_EVERY: Duration = Duration::from_secs(120);

/// What media goes over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    Udp,
    /// ICE-TCP (RFC 6544).
    Tcp,
    /// TURN, over TLS if that is offered, else TCP.
    Turn,
}

/// A TURN server, as it is offered to one client.
#[derive(Clone, Debug)]
pub(crate) struct Relay {
    url: String,
    username: String,
    credential: String,
}

impl Relay {
    /// Those of a `joined` message of the native protocol.
    pub(crate) fn of_configuration(configuration: &Value) -> Vec<Self> {
        let servers = configuration["iceServers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let urls = |server: &Value| server["urls"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let each = servers.iter().flat_map(|server| {
            urls(server).into_iter().filter_map(move |url| {
                let (username, credential) =
                    (text(&server["username"])?, text(&server["credential"])?);
                Some(Self { url: text(&url)?, username, credential })
            })
        });
        each.collect()
    }

    /// Those of `Link` headers (RFC 9725 s4.6).
    pub(crate) fn of_links<'a>(links: impl Iterator<Item = &'a str>) -> Vec<Self> {
        let parse = |link: &str| {
            let (url, parameters) = link.split_once('>')?;
            let parameter = |name: &str| {
                let (_, rest) = parameters.split_once(&format!("{name}=\""))?;
                Some(rest.split_once('"')?.0.to_owned())
            };
            let (username, credential) = (parameter("username")?, parameter("credential")?);
            Some(Self { url: url.to_owned(), username, credential })
        };
        links.flat_map(|text| text.split('<').filter_map(parse).collect::<Vec<_>>()).collect()
    }

    /// Host and port, and whether over TLS; nothing if it is not reached over a connection.
    fn place(&self) -> Option<(&str, u16, bool)> {
        let (scheme, rest) = self.url.split_once(':')?;
        let is_secure = match scheme {
            "turns" => true,
            "turn" => false,
            _ => return None,
        };
        let (authority, _) = rest.split_once("?transport=tcp")?;
        let (host, port) = authority.rsplit_once(':')?;
        Some((host.trim_matches(['[', ']']), port.parse().ok()?, is_secure))
    }
}

/// The way of viewers' media.
#[derive(Clone)]
pub(crate) enum Way {
    Direct,
    Impaired(Arc<Detour>),
    Tunnel(Arc<Tunnels>),
}

impl Way {
    /// The server's description, with the way's own address in place of the server's.
    pub(crate) async fn redirect(&self, sdp: String, relays: &[Relay]) -> Result<String, String> {
        match self {
            Self::Direct => Ok(sdp),
            Self::Impaired(detour) => {
                detour.redirect(&sdp).map_err(|error| format!("the impaired path failed: {error}"))
            }
            Self::Tunnel(tunnels) => {
                let made = tokio::time::timeout(JOIN_TIMEOUT, tunnels.redirect(&sdp, relays)).await;
                made.unwrap_or_else(|_| Err("no answer".to_owned()))
                    .map_err(|error| format!("no connection for media: {error}"))
            }
        }
    }
}

/// All tunnels of a run.
pub(crate) struct Tunnels {
    transport: Transport,
    tls: Option<Arc<rustls::ClientConfig>>,
    /// Where those are that have been made, by the server's user fragment.
    made: Mutex<HashMap<String, SocketAddr>>,
}

impl Tunnels {
    pub(crate) fn new(transport: Transport, tls: Option<Arc<rustls::ClientConfig>>) -> Self {
        Self { transport, tls, made: Mutex::default() }
    }

    async fn redirect(&self, sdp: &str, relays: &[Relay]) -> Result<String, String> {
        let ufrag = sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:"));
        let ufrag = ufrag.ok_or("a description without credentials")?.to_owned();
        let known = self.made.lock().unwrap_or_else(PoisonError::into_inner).get(&ufrag).copied();
        let at = match known {
            Some(at) => at,
            None => {
                let at = self.make(sdp, relays).await?;
                self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(ufrag, at);
                at
            }
        };
        let others = sdp.lines().map(|line| match line.strip_prefix("a=candidate:") {
            // One is enough; a description may have it in several sections.
            Some(_) => String::new(),
            None if line.starts_with("a=ice-pwd:") => {
                format!(
                    "{line}\r\na=candidate:1 1 udp 2130706431 {} {} typ host\r\n",
                    at.ip(),
                    at.port()
                )
            }
            None => format!("{line}\r\n"),
        });
        Ok(others.collect())
    }

    async fn make(&self, sdp: &str, relays: &[Relay]) -> Result<SocketAddr, String> {
        let text = |error: io::Error| error.to_string();
        let local = UdpSocket::bind("127.0.0.1:0").await.map_err(text)?;
        let at = local.local_addr().map_err(text)?;
        let wanted = if self.transport == Transport::Tcp { "tcp" } else { "udp" };
        let candidates = candidates(sdp, wanted);
        let candidate = candidates.first().copied();
        let candidate =
            candidate.ok_or_else(|| format!("no candidate over {wanted} is offered"))?;
        if self.transport == Transport::Tcp {
            let stream = TcpStream::connect(candidate).await.map_err(text)?;
            stream.set_nodelay(true).map_err(text)?;
            tokio::spawn(run(local, Box::new(stream), Framing::Frames));
            return Ok(at);
        }
        let places = relays.iter().filter_map(|relay| Some((relay, relay.place()?)));
        let (relay, (host, port, is_secure)) = places
            .max_by_key(|(_, (_, _, is_secure))| *is_secure)
            .ok_or("no TURN over TCP is offered")?;
        let stream = TcpStream::connect((host, port)).await.map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        let mut stream: Box<dyn Stream> = match (is_secure, &self.tls) {
            (false, _) => Box::new(stream),
            (true, None) => return Err("TURN over TLS from a server without".to_owned()),
            (true, Some(tls)) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|_| "no name")?;
                Box::new(TlsConnector::from(tls.clone()).connect(name, stream).await.map_err(text)?)
            }
        };
        let mut client = stun::Client::new(&relay.username, &relay.credential);
        let allocate = client.allocate();
        ask(&mut stream, &mut client, allocate).await?;
        let bind = client.bind(candidate);
        ask(&mut stream, &mut client, bind).await?;
        tokio::spawn(run(local, stream, Framing::Turn(client, candidate)));
        Ok(at)
    }
}

/// Addresses of one transport in a description.
fn candidates(sdp: &str, transport: &str) -> Vec<SocketAddr> {
    let lines = sdp.lines().filter_map(|line| line.strip_prefix("a=candidate:"));
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, _, found, _, ip, port, ..] = fields[..] else {
            return None;
        };
        let at = SocketAddr::new(ip.parse().ok()?, port.parse().ok()?);
        found.eq_ignore_ascii_case(transport).then_some(at)
    };
    lines.filter_map(parse).collect()
}

/// A request that must be granted before there is media.
async fn ask(
    stream: &mut Box<dyn Stream>,
    client: &mut stun::Client,
    request: Vec<u8>,
) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    stream.write_all(&request).await.map_err(text)?;
    stream.flush().await.map_err(text)?;
    let mut octets = Vec::new();
    loop {
        while let Some(len) = whole(&octets).map_err(text)? {
            let message: Vec<u8> = octets.drain(..len).collect();
            match client.handle(&message) {
                Heard::Say(more) => {
                    stream.write_all(&more).await.map_err(text)?;
                    stream.flush().await.map_err(text)?;
                }
                Heard::Allocated(_) | Heard::Granted => return Ok(()),
                Heard::Refused(code) => return Err(format!("TURN refuses it, code {code}")),
                Heard::Data(..) | Heard::Nothing => {}
            }
        }
        if stream.read_buf(&mut octets).await.map_err(text)? == 0 {
            return Err("TURN has hung up".to_owned());
        }
    }
}

fn whole(octets: &[u8]) -> io::Result<Option<usize>> {
    stun::message_bytes(octets, MESSAGE_BYTES_MAX).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

enum Framing {
    /// RFC 4571.
    Frames,
    /// Data of a channel to a candidate.
    Turn(stun::Client, SocketAddr),
}

impl Framing {
    fn wrap(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Frames => {
                let mut framed = (datagram.len() as u16).to_be_bytes().to_vec();
                framed.extend(datagram);
                Some(framed)
            }
            Self::Turn(client, peer) => client.wrap(*peer, datagram, true),
        }
    }

    /// The next datagram of the server's, if it is whole, and how many octets it took.
    fn next(&mut self, octets: &[u8]) -> io::Result<Option<(usize, Option<Vec<u8>>)>> {
        match self {
            Self::Frames => {
                let Some((head, rest)) = octets.split_first_chunk() else {
                    return Ok(None);
                };
                let len = usize::from(u16::from_be_bytes(*head));
                Ok(rest.get(..len).map(|datagram| (2 + len, Some(datagram.to_vec()))))
            }
            Self::Turn(client, _) => {
                let Some(len) = whole(octets)? else {
                    return Ok(None);
                };
                let datagram = match client.handle(&octets[..len]) {
                    Heard::Data(_, data) => Some(data),
                    _ => None,
                };
                Ok(Some((len, datagram)))
            }
        }
    }
}

/// Carries datagrams to and fro until either end is gone.
async fn run(local: UdpSocket, stream: Box<dyn Stream>, mut framing: Framing) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (mut client, mut datagram) = (None, [0; MESSAGE_BYTES_MAX]);
    let mut octets = Vec::with_capacity(64 * 1024);
    let mut refresh = tokio::time::interval(REFRESH_EVERY);
    loop {
        let message = tokio::select! {
            received = local.recv_from(&mut datagram) => {
                // An error is of a client that is gone.
                let Ok((len, from)) = received else { continue };
                client = Some(from);
                framing.wrap(&datagram[..len])
            }
            read = reader.read_buf(&mut octets) => {
                if !matches!(read, Ok(1..)) {
                    return;
                }
                let mut taken = 0;
                while let Ok(Some((len, datagram))) = framing.next(&octets[taken..]) {
                    taken += len;
                    if let (Some(datagram), Some(client)) = (datagram, client) {
                        // As any datagram, it may be lost.
                        let _ = local.send_to(&datagram, client).await;
                    }
                }
                octets.drain(..taken);
                None
            }
            _ = refresh.tick() => match &mut framing {
                Framing::Frames => None,
                Framing::Turn(client, peer) => {
                    let peer = *peer;
                    Some([client.refresh(600), client.bind(peer)].concat())
                }
            },
        };
        let Some(message) = message else {
            continue;
        };
        if writer.write_all(&message).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn relays_are_found_and_tls_is_told_apart() {
        let configuration = json!({"iceServers": [
            {"urls": ["stun:h:1"]},
            {"urls": ["turns:h:443?transport=tcp", "turn:h:5?transport=udp"],
             "username": "u", "credential": "c"},
        ]});
        let relays = Relay::of_configuration(&configuration);
        let places: Vec<_> = relays.iter().map(Relay::place).collect();
        assert_eq!(places, [Some(("h", 443, true)), None]);
        let link =
            "<turn:[::1]:3478?transport=tcp>; rel=\"ice-server\"; username=\"u\"; credential=\"c\"";
        let relays = Relay::of_links([link, "<stun:h>; rel=\"ice-server\""].into_iter());
        assert_eq!(relays.len(), 1);
        assert_eq!(relays[0].place(), Some(("::1", 3478, false)));
    }

    #[test]
    fn frames_come_whole() {
        let mut framing = Framing::Frames;
        let framed = framing.wrap(b"hello").unwrap();
        assert_eq!(framing.next(&framed[..4]).unwrap(), None);
        assert_eq!(framing.next(&framed).unwrap(), Some((7, Some(b"hello".to_vec()))));
    }
}
