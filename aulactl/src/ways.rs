//! The ways to the media beside UDP, tried as a browser would: ICE-TCP, and every TURN server that is offered.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::time::{Duration, Instant};

use hyper::header;
use signalling::{is_public, is_taken_by_browsers};
use stun::Heard;

use crate::Done;
use crate::answer::Answer;
use crate::client::Client;
use crate::probe::{Question, Target};
use crate::report::Report;

/// A server that is there answers by then.
const WITHIN: Duration = Duration::from_secs(5);
/// How often a datagram is sent, with an equal share of the time between.
const ATTEMPTS: u32 = 5;
/// No message is longer.
const MESSAGE_BYTES_MAX: usize = 4096;

/// A TURN server that the server offers to clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TurnServer {
    is_secure: bool,
    is_udp: bool,
    host: String,
    port: u16,
    username: String,
    credential: String,
}

impl TurnServer {
    /// Those of an answer's `Link` headers, as WHIP has them (RFC 9725 s4.6).
    pub(crate) fn offered(answer: &Answer) -> Vec<Self> {
        let links = answer.headers.get_all(header::LINK).iter();
        let texts = links.filter_map(|link| link.to_str().ok());
        texts.flat_map(|text| text.split('<').filter_map(Self::parse)).collect()
    }

    /// `turn:HOST:PORT?transport=T>; rel="ice-server"; username="U"; credential="C"`.
    fn parse(link: &str) -> Option<Self> {
        let (url, parameters) = link.split_once('>')?;
        let (scheme, rest) = url.split_once(':')?;
        let is_secure = match scheme {
            "turn" => false,
            "turns" => true,
            _ => return None,
        };
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            // RFC 7065 s3.1.
            _ => (authority, if is_secure { 5349 } else { 3478 }),
        };
        let parameter = |name: &str| {
            let (_, rest) = parameters.split_once(&format!("{name}=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        Some(Self {
            is_secure,
            is_udp: !is_secure && query != "transport=tcp",
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            username: parameter("username")?,
            credential: parameter("credential")?,
        })
    }

    fn way(&self) -> &'static str {
        match (self.is_secure, self.is_udp) {
            (true, _) => "TLS",
            (false, true) => "UDP",
            (false, false) => "TCP",
        }
    }
}

/// What a client is told of addresses that it cannot use.
pub(crate) fn addresses(
    targets: &[(String, Target)],
    client: &Client,
    report: &mut Report,
) -> Done {
    let all: BTreeSet<SocketAddr> = targets
        .iter()
        .flat_map(|(_, target)| target.udp.iter().chain(&target.tcp).copied())
        .collect();
    let Some(first) = all.first() else {
        return Ok(());
    };
    if !all.iter().any(|address| is_taken_by_browsers(*address)) {
        report.bad(format!(
            "Chromium takes no media from {first}: of private addresses it wants ports from 1024 on. Set \
             --udp-port 8443 and --tcp-port 8443, or name a public address with --advertise"
        ))?;
    }
    if all.iter().any(|address| is_public(address.ip())) {
        return Ok(());
    }
    let ips: BTreeSet<String> = all.iter().map(|address| address.ip().to_string()).collect();
    let ips = Vec::from_iter(ips).join(", ");
    let found = (client.url.host.as_str(), client.url.port).to_socket_addrs();
    let web = found.into_iter().flatten().find(|address| is_public(address.ip()));
    match web {
        Some(web) => report.bad(format!(
            "clients are told private addresses only ({ips}), though the server is at {}: who comes from \
             outside gets media by TURN at best; name the public address with --advertise",
            web.ip()
        )),
        None => report.note(format!(
            "clients are told private addresses only ({ips}): for people outside name the public one \
             with --advertise"
        )),
    }
}

/// Why an advertised address may be silent for somebody at the server's own place; nothing if it cannot be.
pub(crate) fn hairpin(ip: IpAddr, is_remote: bool) -> Option<&'static str> {
    let is_own = UdpSocket::bind((ip, 0)).is_ok();
    (!is_remote && !is_own && is_public(ip)).then_some(
        " If this machine is behind the same NAT, its router may not send back what comes from inside \
         (hairpin): then people there get media by TURN, and -remote from outside shows the rest.",
    )
}

/// Media over TCP, on the ports that are offered.
pub(crate) fn tcp(ufrag: &str, target: &Target, report: &mut Report) -> Done {
    if target.tcp.is_empty() {
        return report.note(
            "no media over TCP is offered: whose network blocks UDP needs TURN (the server's flags -http \
             and --tcp-port; behind a proxy only the latter)",
        );
    }
    let tried: Vec<_> =
        target.tcp.iter().map(|address| (address, over_tcp(*address, target, ufrag))).collect();
    let is_reached = tried.iter().any(|(_, result)| result.is_ok());
    for (address, result) in tried {
        match result {
            Ok(took) => report.good(format!("TCP to {address}: {} ms", took.as_millis()))?,
            Err(_) if is_reached => {
                report.note(format!("TCP to {address} does not get through; another address does"))?;
            }
            Err(error) => report.bad(format!(
                "no media over TCP from {address} ({error}): does the firewall let TCP {} through? A proxy \
                 in between that speaks TLS itself does not: then give the server a --tcp-port",
                address.port()
            ))?,
        }
    }
    Ok(())
}

fn over_tcp(address: SocketAddr, target: &Target, ufrag: &str) -> io::Result<Duration> {
    let begun_at = Instant::now();
    let question = Question::new(target, ufrag)?;
    let mut stream = TcpStream::connect_timeout(&address, WITHIN)?;
    stream.set_read_timeout(Some(WITHIN))?;
    // RFC 4571.
    let mut framed = (question.request.len() as u16).to_be_bytes().to_vec();
    framed.extend(&question.request);
    stream.write_all(&framed)?;
    loop {
        let mut len = [0; 2];
        stream.read_exact(&mut len)?;
        let mut frame = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut frame)?;
        if question.is_answered_by(&frame) {
            return Ok(begun_at.elapsed());
        }
    }
}

/// Why there is no media through a TURN server.
enum Fault {
    /// Nobody can be reached there.
    Unreachable(io::Error),
    /// It does not allocate.
    Refused(u16),
    /// It does, and lets nothing of our candidate's through.
    Barren(u16),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Unreachable(error)
    }
}

/// TURN, as it is offered.
pub(crate) fn turn(
    servers: &[TurnServer],
    (ufrag, target): (&str, &Target),
    client: &Client,
    report: &mut Report,
) -> Done {
    if servers.is_empty() {
        return report.note(
            "no TURN server is offered: whose network lets nothing but TLS through gets no media (the \
             server's flag -turn; behind a proxy it needs a port of its own)",
        );
    }
    for server in servers {
        let TurnServer { host, port, .. } = server;
        let name = format!("TURN over {} at {host}:{port}", server.way());
        match through(server, target, ufrag, client) {
            Ok(took) => report.good(format!("{name}: {} ms", took.as_millis()))?,
            Err(Fault::Unreachable(error)) if server.is_secure => report.bad(format!(
                "{name} cannot be used ({error}): does the firewall let TCP {port} through, and is the \
                 certificate one for this name that browsers trust? They say nothing when it is not"
            ))?,
            Err(Fault::Unreachable(error)) => report.bad(format!(
                "{name} does not answer ({error}): does the firewall let {} {port} through to it?",
                server.way()
            ))?,
            Err(Fault::Refused(401)) => report.bad(format!(
                "{name} does not take the credentials that are given out: is the secret in \
                 ice-servers.json the server's, and are the clocks of both right?"
            ))?,
            Err(Fault::Refused(code)) => {
                report.bad(format!("{name} refuses to help (code {code}): its own log may say why"))?;
            }
            Err(Fault::Barren(code)) => report.bad(format!(
                "{name} is there, but media does not come through it (code {code}): it must be let to \
                 send to {}, and be answered",
                Vec::from_iter(target.udp.iter().map(ToString::to_string)).join(", ")
            ))?,
        }
    }
    Ok(())
}

fn through(
    server: &TurnServer,
    target: &Target,
    ufrag: &str,
    client: &Client,
) -> Result<Duration, Fault> {
    let begun_at = Instant::now();
    let mut talk = Talk::open(server, client)?;
    let allocate = talk.client.allocate();
    let relayed = match talk.ask(&allocate)? {
        Heard::Allocated(relayed) => relayed,
        Heard::Refused(code) => return Err(Fault::Refused(code)),
        _ => return Err(Fault::Refused(0)),
    };
    let question = Question::new(target, ufrag)?;
    let mut refusal = 0;
    for peer in target.udp.iter().filter(|peer| peer.is_ipv4() == relayed.is_ipv4()) {
        let bind = talk.client.bind(*peer);
        if let Heard::Refused(code) = talk.ask(&bind)? {
            refusal = code;
            continue;
        }
        let Some(check) = talk.client.wrap(*peer, &question.request, !server.is_udp) else {
            continue;
        };
        let is_answer =
            |heard: &Heard| matches!(heard, Heard::Data(_, data) if question.is_answered_by(data));
        if talk.exchange(&check, is_answer).is_ok() {
            // It would end by itself.
            let end = talk.client.refresh(0);
            let _ = talk.wire.put(&end);
            return Ok(begun_at.elapsed());
        }
    }
    Err(Fault::Barren(refusal))
}

enum Wire {
    Datagrams(UdpSocket),
    /// With what has come of the next message.
    Stream(Box<dyn Duplex>, Vec<u8>),
}

trait Duplex: Read + Write {}
impl<T: Read + Write> Duplex for T {}

impl Wire {
    fn put(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => socket.send(message).map(|_| ()),
            Self::Stream(stream, _) => {
                stream.write_all(message)?;
                stream.flush()
            }
        }
    }

    fn get(&mut self) -> io::Result<Vec<u8>> {
        let mut more = [0; MESSAGE_BYTES_MAX];
        match self {
            Self::Datagrams(socket) => {
                let len = socket.recv(&mut more)?;
                Ok(more.get(..len).unwrap_or_default().to_vec())
            }
            Self::Stream(stream, octets) => loop {
                let whole = stun::message_bytes(octets, MESSAGE_BYTES_MAX);
                if let Some(len) = whole.ok_or(ErrorKind::InvalidData)? {
                    let rest = octets.split_off(len);
                    return Ok(std::mem::replace(octets, rest));
                }
                match stream.read(&mut more)? {
                    0 => return Err(ErrorKind::UnexpectedEof.into()),
                    len => octets.extend(more.get(..len).unwrap_or_default()),
                }
            },
        }
    }
}

/// A conversation with a TURN server.
struct Talk {
    wire: Wire,
    client: stun::Client,
}

impl Talk {
    fn open(server: &TurnServer, client: &Client) -> io::Result<Self> {
        let address = (server.host.as_str(), server.port).to_socket_addrs()?.next();
        let address = address.ok_or(ErrorKind::NotFound)?;
        let wire = if server.is_udp {
            let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect(address)?;
            socket.set_read_timeout(Some(WITHIN / ATTEMPTS))?;
            Wire::Datagrams(socket)
        } else {
            let stream = TcpStream::connect_timeout(&address, WITHIN)?;
            stream.set_read_timeout(Some(WITHIN))?;
            let stream: Box<dyn Duplex> = match server.is_secure {
                true => Box::new(client.secure(&server.host, stream)?),
                false => Box::new(stream),
            };
            Wire::Stream(stream, Vec::new())
        };
        let client = stun::Client::new(&server.username, &server.credential);
        Ok(Self { wire, client })
    }

    /// What comes of a request, challenges answered.
    fn ask(&mut self, request: &[u8]) -> io::Result<Heard> {
        let is_said = |heard: &Heard| !matches!(heard, Heard::Nothing | Heard::Data(..));
        let mut request = request.to_vec();
        loop {
            match self.exchange(&request, is_said)? {
                Heard::Say(more) => request = more,
                heard => return Ok(heard),
            }
        }
    }

    /// Says something until it hears what it waits for: over UDP it may take more than once.
    fn exchange(&mut self, message: &[u8], is_it: impl Fn(&Heard) -> bool) -> io::Result<Heard> {
        let until = Instant::now() + WITHIN;
        self.wire.put(message)?;
        while Instant::now() < until {
            match self.wire.get() {
                Ok(heard) => {
                    let heard = self.client.handle(&heard);
                    if is_it(&heard) {
                        return Ok(heard);
                    }
                }
                // A port that is closed says so at once, and may be open soon.
                Err(_) if matches!(self.wire, Wire::Datagrams(_)) => {
                    std::thread::sleep(WITHIN / ATTEMPTS / 10);
                    // The next call says whether it helped.
                    let _ = self.wire.put(message);
                }
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::TimedOut.into())
    }
}

#[cfg(test)]
mod tests {
    use hyper::{HeaderMap, StatusCode};

    use super::*;

    #[test]
    fn links_name_turn_servers() {
        let mut headers = HeaderMap::new();
        let link =
            |url: &str| format!("<{url}>; rel=\"ice-server\"; username=\"5:1\"; credential=\"pw\"");
        headers.append(header::LINK, "<stun:h:1>; rel=\"ice-server\"".parse().unwrap());
        let two = [link("turns:h:443?transport=tcp"), link("turn:[2001:db8::1]:5?transport=tcp")];
        headers.append(header::LINK, two.join(", ").parse().unwrap());
        headers.append(header::LINK, link("turn:h?transport=udp").parse().unwrap());
        headers.append(header::LINK, link("turn:h:x").parse().unwrap());
        headers.append(header::LINK, "</session/events>; rel=\"more\"".parse().unwrap());
        let answer = Answer { status: StatusCode::CREATED, headers, body: Vec::new().into() };
        let found = TurnServer::offered(&answer);
        let shown: Vec<_> =
            found.iter().map(|server| (server.way(), server.host.as_str(), server.port)).collect();
        assert_eq!(shown, [("TLS", "h", 443), ("TCP", "2001:db8::1", 5), ("UDP", "h", 3478)]);
        assert_eq!((found[0].username.as_str(), found[0].credential.as_str()), ("5:1", "pw"));
    }
}
