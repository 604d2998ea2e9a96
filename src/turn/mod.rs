//! A TURN server that ends here (RFC 8656), for networks that let nothing else through: over TCP and
//! TLS on the port of the page, and over UDP where the operator wants it. It relays to our own shards
//! and nowhere else (the crate `stun`), each as another path to a peer: over one end of a pair of sockets
//! travel the same frames as over ICE-TCP.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use dataplane::{Door, FRAME_BYTES_MAX, FirstFrame, Over, first_frame};
use stun::{Grant, Output, Room, Rules, Session, Standing, message_bytes};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf,
};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UdpSocket, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::clock::unix_s;
use crate::metrics::{Counters, StreamRefusal};
use crate::relay::Credentials;

/// An allocation must have been made by then.
const ALLOCATED_WITHIN: Duration = Duration::from_secs(10);
/// A client that takes nothing for so long is gone.
const WRITE_WITHIN: Duration = Duration::from_secs(20);
/// Allocations of one client, which has one for each RTCPeerConnection.
const OF_CLIENT_MAX: usize = 128;
/// Allocations of all clients together.
const ALLOCATIONS_MAX: u64 = 16_384;
/// Candidates of ours that one allocation talks to at once.
const LEGS_MAX: usize = 16;
/// Frames of all candidates that wait for one client; more wait at the shard, where pictures are dropped.
const FRAMES_MAX: usize = 8;
/// Datagrams of one client over UDP that wait for it to be served.
const DATAGRAMS_MAX: usize = 64;
/// A message of a client: a datagram, and what TURN has around it.
const MESSAGE_BYTES_MAX: usize = FRAME_BYTES_MAX + 128;
/// Virtual relayed ports, which tell allocations apart for who looks at candidates.
const PORTS: std::ops::Range<u16> = 49_152..65_535;

fn random<const LEN: usize>() -> [u8; LEN] {
    let mut bytes = [0; LEN];
    // aws-lc aborts rather than return weak randomness.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}

/// See the module's documentation.
pub(crate) struct Turn {
    door: Door,
    rules: Arc<Rules>,
    credentials: Credentials,
    counters: Arc<Counters>,
    /// How many allocations each client has.
    by_client: Mutex<HashMap<u64, usize>>,
    next_port: AtomicU16,
}

/// An allocation that counts.
struct Counted {
    turn: Arc<Turn>,
    client: u64,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.turn.counters.turn_allocations.fetch_sub(1, Ordering::Relaxed);
        let mut by_client = self.turn.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_client.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                by_client.remove(&self.client);
            }
        }
    }
}

impl Turn {
    /// `peers` are our own candidates, the only ones that it leads to.
    pub(crate) fn new(
        door: Door,
        peers: Vec<SocketAddr>,
        credentials: Credentials,
        counters: Arc<Counters>,
    ) -> Self {
        let nonce_key = hmac::Key::new(hmac::HMAC_SHA256, &random::<32>());
        Self {
            door,
            rules: Arc::new(Rules { nonce_key, peers }),
            credentials,
            counters,
            by_client: Mutex::default(),
            next_port: AtomicU16::new(0),
        }
    }

    fn session(&self, client: SocketAddr) -> Session {
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let port = self.next_port.fetch_add(1, Ordering::Relaxed);
        Session::new(self.rules.clone(), client, PORTS.start + port % (PORTS.end - PORTS.start))
    }

    fn count_in(self: &Arc<Self>, client: u64) -> Result<Counted, Room> {
        if self.counters.turn_allocations.load(Ordering::Relaxed) >= ALLOCATIONS_MAX {
            return Err(Room::ServerFull);
        }
        let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_client.entry(client).or_default();
        if *count >= OF_CLIENT_MAX {
            return Err(Room::UserFull);
        }
        *count += 1;
        self.counters.turn_allocations.fetch_add(1, Ordering::Relaxed);
        Ok(Counted { turn: self.clone(), client })
    }

    /// Takes one message of a client.
    async fn handle(
        self: &Arc<Self>,
        session: &mut Session,
        counted: &mut Option<Counted>,
        message: &[u8],
    ) -> Option<Output> {
        let output = match self.try_handle(session, counted, message, None) {
            Some(Output::Ask(username)) => {
                let is_here = self.credentials.is_here(&username).await;
                self.try_handle(session, counted, message, Some(is_here))
            }
            output => output,
        };
        if let Some(Output::Reply(reply)) = &output
            && let Some(code) = stun::error_code(reply)
        {
            self.counters.turn_refused(code);
        }
        output
    }

    fn try_handle(
        self: &Arc<Self>,
        session: &mut Session,
        counted: &mut Option<Counted>,
        message: &[u8],
        is_here: Option<bool>,
    ) -> Option<Output> {
        let client = Cell::new(None);
        let grant = |username: &str| {
            let known = self.credentials.look(username)?;
            client.set(Some(known.client));
            let standing = match is_here {
                _ if known.is_fresh => Standing::Good,
                Some(true) => Standing::Good,
                Some(false) => Standing::Ended,
                None => Standing::Unknown,
            };
            Some(Grant { password: known.password, standing })
        };
        let room = || match (&counted, client.get()) {
            (Some(_), _) => Room::Free,
            (None, Some(client)) => match self.count_in(client) {
                Ok(free) => {
                    *counted = Some(free);
                    Room::Free
                }
                Err(full) => full,
            },
            (None, None) => Room::ServerFull,
        };
        session.handle(message, grant, room, (unix_s(), Instant::now()))
    }

    /// Serves a connection, TLS or not, of which `head` has been read.
    /// `gate` is dropped as soon as it has an allocation.
    pub(crate) async fn serve_stream<S: AsyncRead + AsyncWrite + Send, G: Send>(
        self: Arc<Self>,
        stream: S,
        head: Vec<u8>,
        client: SocketAddr,
        over: Over,
        gate: G,
    ) {
        let (reader, writer) = tokio::io::split(stream);
        let session = self.session(client);
        let inbound = Inbound::Stream { reader, octets: head };
        Connection::new(self, session, Outbound::Stream(writer), over).run(inbound, gate).await;
    }

    /// Serves a UDP socket until `closing` turns true. Who has no allocation costs nothing but an answer.
    pub(crate) async fn serve_datagrams(
        self: Arc<Self>,
        socket: UdpSocket,
        mut closing: watch::Receiver<bool>,
    ) {
        let socket = Arc::new(socket);
        let known: Known = Arc::default();
        let mut datagram = [0; MESSAGE_BYTES_MAX];
        loop {
            let received = tokio::select! {
                received = socket.recv_from(&mut datagram) => received,
                _ = closing.wait_for(|closing| *closing) => return,
            };
            // An ICMP error of some client, or no memory for now.
            let Ok((len, from)) = received else {
                tokio::task::yield_now().await;
                continue;
            };
            let message = datagram.get(..len).unwrap_or_default();
            let sender = known.lock().unwrap_or_else(PoisonError::into_inner).get(&from).cloned();
            if let Some(sender) = sender {
                // One who sends faster than it can be taken loses some, as on any network.
                let _ = sender.try_send(message.to_vec());
                continue;
            }
            let (mut session, mut counted) = (self.session(from), None);
            let output = self.handle(&mut session, &mut counted, message).await;
            let Some(Output::Reply(reply)) = output else {
                continue;
            };
            // As any datagram, it may be lost.
            let _ = socket.send_to(&reply, from).await;
            if counted.is_none() {
                continue;
            }
            let (sender, receiver) = mpsc::channel(DATAGRAMS_MAX);
            known.lock().unwrap_or_else(PoisonError::into_inner).insert(from, sender);
            let outbound = Outbound::<tokio::io::Empty>::Datagrams(socket.clone(), from);
            let mut connection = Connection::new(self.clone(), session, outbound, Over::TurnUdp);
            connection.counted = counted;
            let known = known.clone();
            tokio::spawn(async move {
                connection.run(Inbound::<tokio::io::Empty>::Datagrams(receiver), ()).await;
                known.lock().unwrap_or_else(PoisonError::into_inner).remove(&from);
            });
        }
    }
}

/// Clients over UDP that have an allocation.
type Known = Arc<Mutex<HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>>>;

enum Inbound<S> {
    Stream { reader: ReadHalf<S>, octets: Vec<u8> },
    Datagrams(mpsc::Receiver<Vec<u8>>),
}

impl<S: AsyncRead> Inbound<S> {
    /// The next whole message; nothing at the end, or if what comes is none. Nothing is lost if it is
    /// given up while it waits.
    async fn next(&mut self, counters: &Counters) -> Option<Vec<u8>> {
        match self {
            Self::Datagrams(receiver) => receiver.recv().await,
            Self::Stream { reader, octets } => loop {
                let Some(whole) = message_bytes(octets, MESSAGE_BYTES_MAX) else {
                    counters.stream_refused(StreamRefusal::Foreign);
                    return None;
                };
                if let Some(len) = whole {
                    let rest = octets.split_off(len.min(octets.len()));
                    return Some(std::mem::replace(octets, rest));
                }
                if reader.read_buf(octets).await.ok()? == 0 {
                    return None;
                }
            },
        }
    }
}

enum Outbound<S> {
    Stream(WriteHalf<S>),
    Datagrams(Arc<UdpSocket>, SocketAddr),
}

impl<S: AsyncWrite> Outbound<S> {
    fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    async fn send(&mut self, message: &[u8]) -> Option<()> {
        match self {
            Self::Stream(writer) => writer.write_all(message).await.ok(),
            Self::Datagrams(socket, to) => {
                // As any datagram, it may be lost.
                let _ = socket.send_to(message, *to).await;
                Some(())
            }
        }
    }

    async fn flush(&mut self) -> Option<()> {
        match self {
            Self::Stream(writer) => writer.flush().await.ok(),
            Self::Datagrams(..) => Some(()),
        }
    }
}

/// One client, over whatever it has come.
struct Connection<S> {
    turn: Arc<Turn>,
    session: Session,
    outbound: Outbound<S>,
    over: Over,
    counted: Option<Counted>,
    /// The ways to our candidates.
    legs: HashMap<SocketAddr, OwnedWriteHalf>,
    readers: JoinSet<()>,
    frames: (mpsc::Sender<Frame>, mpsc::Receiver<Frame>),
}

/// What a candidate has for the client; nothing: its way has ended.
type Frame = (SocketAddr, Option<Vec<u8>>);

impl<S: AsyncRead + AsyncWrite> Connection<S> {
    fn new(turn: Arc<Turn>, session: Session, outbound: Outbound<S>, over: Over) -> Self {
        Self {
            turn,
            session,
            outbound,
            over,
            counted: None,
            legs: HashMap::new(),
            readers: JoinSet::new(),
            frames: mpsc::channel(FRAMES_MAX),
        }
    }

    async fn run<G>(mut self, mut inbound: Inbound<S>, gate: G) {
        let begun_at = Instant::now();
        let mut gate = Some(gate);
        loop {
            if self.counted.is_some() {
                gate = None;
            }
            let until = self.session.expires_at().unwrap_or(begun_at + ALLOCATED_WITHIN);
            let step = tokio::select! {
                message = inbound.next(&self.turn.counters) => message.map(Step::Message),
                frame = self.frames.1.recv() => frame.map(Step::Frame),
                () = tokio::time::sleep_until(until.into()) => {
                    if self.session.expires_at().is_none() {
                        self.turn.counters.stream_refused(StreamRefusal::Late);
                    }
                    None
                }
            };
            let done = match step {
                Some(Step::Message(message)) => self.take(&message).await,
                Some(Step::Frame(frame)) => {
                    let sending = self.send_frames(frame);
                    tokio::time::timeout(WRITE_WITHIN, sending).await.ok().flatten()
                }
                None => break,
            };
            if done.is_none() {
                break;
            }
            // It has let go of it.
            if self.counted.is_some() && self.session.expires_at().is_none() {
                break;
            }
        }
        drop(gate);
    }

    /// Takes a message of the client; nothing if that was the last one.
    async fn take(&mut self, message: &[u8]) -> Option<()> {
        let output = self.turn.handle(&mut self.session, &mut self.counted, message).await;
        match output {
            Some(Output::Reply(reply)) => {
                let sending = async {
                    self.outbound.send(&reply).await?;
                    self.outbound.flush().await
                };
                tokio::time::timeout(WRITE_WITHIN, sending).await.ok().flatten()
            }
            Some(Output::Forward(peer, datagram)) => {
                self.forward(peer, &datagram).await;
                Some(())
            }
            Some(Output::Ask(_)) | None => Some(()),
        }
    }

    /// A first datagram to a candidate opens the way to the shard that it names.
    async fn forward(&mut self, peer: SocketAddr, datagram: &[u8]) {
        let Ok(len) = u16::try_from(datagram.len()) else {
            return;
        };
        if datagram.len() > FRAME_BYTES_MAX {
            return;
        }
        let mut framed = len.to_be_bytes().to_vec();
        framed.extend(datagram);
        if let Some(leg) = self.legs.get_mut(&peer) {
            if leg.write_all(&framed).await.is_err() {
                self.legs.remove(&peer);
            }
            return;
        }
        let FirstFrame::For(shard) = first_frame(&framed) else {
            self.turn.counters.stream_refused(StreamRefusal::Foreign);
            return;
        };
        let (Some(relayed), true) = (self.session.relayed(), self.legs.len() < LEGS_MAX) else {
            return;
        };
        // Without descriptors or a shard that has time the check is lost, and comes again.
        let Ok((ours, theirs)) = pair() else {
            return;
        };
        let door = &self.turn.door;
        if door.adopt_relayed(shard, theirs, (relayed, peer), self.over, framed).is_err() {
            self.turn.counters.stream_refused(StreamRefusal::Busy);
            return;
        }
        let (reader, writer) = ours.into_split();
        self.legs.insert(peer, writer);
        self.readers.spawn(read_frames(reader, peer, self.frames.0.clone()));
    }

    /// Sends what one candidate has, and what others have meanwhile.
    async fn send_frames(&mut self, first: Frame) -> Option<()> {
        let mut next = Some(first);
        while let Some((peer, frame)) = next {
            match frame {
                Some(frame) => {
                    let is_stream = self.outbound.is_stream();
                    let now = Instant::now();
                    if let Some(message) = self.session.wrap(peer, &frame, is_stream, now) {
                        self.outbound.send(&message).await?;
                    }
                }
                None => {
                    self.legs.remove(&peer);
                }
            }
            next = self.frames.1.try_recv().ok();
        }
        self.outbound.flush().await
    }
}

enum Step {
    Message(Vec<u8>),
    Frame(Frame),
}

fn pair() -> std::io::Result<(UnixStream, StdUnixStream)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs))
}

async fn read_frames(mut reader: OwnedReadHalf, peer: SocketAddr, frames: mpsc::Sender<Frame>) {
    while let Ok(len) = reader.read_u16().await {
        let mut frame = vec![0; len.into()];
        if reader.read_exact(&mut frame).await.is_err()
            || frames.send((peer, Some(frame))).await.is_err()
        {
            break;
        }
    }
    // If nobody hears it, nobody needs to.
    let _ = frames.send((peer, None)).await;
}
