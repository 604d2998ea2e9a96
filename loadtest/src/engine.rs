//! The media thread: all clients of the run, over one socket when the server is on this machine
//! (each client has a loopback address of its own), otherwise over one socket each.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver as Inbox, Sender, bounded};
use dataplane::Codec;
use dataplane::client::{Counters, Outbox, Path, Receiver, UdpWire, bind, generate_certificate};
use mio::{Events, Interest, Poll, Token, Waker};
use str0m::config::DtlsCert;
use tokio::sync::oneshot;

use crate::client::{Client, Role};
use crate::load::{Checks, Load};
use crate::peer::Peer;
use crate::publisher::Publisher;
use crate::totals::Totals;
use crate::viewer::Viewer;

/// Commands that wait; a run sends a handful per client.
const COMMANDS_MAX: usize = 65_536;
const WAKER: Token = Token(usize::MAX);
/// Between two transport-wide feedback packets of a viewer, about what libwebrtc sends.
const FEEDBACK_EVERY: Duration = Duration::from_millis(100);
/// The longest sleep.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// Batches read from one socket before the clients' own timers get their turn.
const BATCHES_PER_LOOP: usize = 16;

/// What the signalling side asks of the engine.
pub(crate) enum Command {
    /// A new publisher, the how-manieth of its run; answered with its id and offer.
    Publish(Load, usize, oneshot::Sender<Option<(usize, String)>>),
    /// A new viewer of so many publishers that makes the offer itself and began to join at this
    /// instant; answered with its id and offer.
    Subscribe(usize, Instant, oneshot::Sender<Option<(usize, String)>>),
    /// The server's answer to an offer.
    Answer(usize, String, oneshot::Sender<Result<(), String>>),
    /// A new viewer stream for an offer (of a viewer that began to join at this instant), or a
    /// renegotiation of a known one; answered with its id and answer.
    View(Option<usize>, String, Instant, oneshot::Sender<Result<(usize, String), String>>),
    /// The stream or publisher ends.
    Close(usize),
    /// Begin to count anew.
    Reset,
    /// What was counted so far.
    Totals(oneshot::Sender<Totals>),
    Stop,
}

/// The signalling side's end.
#[derive(Clone)]
pub(crate) struct EngineHandle {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

impl EngineHandle {
    pub(crate) fn send(&self, command: Command) {
        // The engine lives as long as the run; its queue holds several commands per client.
        if self.commands.send(command).is_ok() {
            let _ = self.waker.wake();
        }
    }

    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        self.send(command(sender));
        receiver.await.ok()
    }
}

/// Starts the media thread. `is_local`: the server is on this machine.
pub(crate) fn start(is_local: bool, checks: Checks) -> io::Result<EngineHandle> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let (sender, commands) = bounded(COMMANDS_MAX);
    let cert = generate_certificate().ok_or_else(|| io::Error::other("no DTLS certificate"))?;
    let shared = if is_local { Some(bind(0).map_err(|(_, error)| error)?) } else { None };
    std::thread::Builder::new().name("media".to_owned()).spawn(move || {
        let mut engine = match Engine::new(poll, commands, cert, shared, checks) {
            Ok(engine) => engine,
            Err(error) => {
                eprintln!("cannot start the media thread: {error}");
                return;
            }
        };
        engine.run();
    })?;
    Ok(EngineHandle { commands: sender, waker })
}

struct Engine {
    poll: Poll,
    commands: Inbox<Command>,
    cert: DtlsCert,
    checks: Checks,
    epoch: Instant,
    shared: Option<Shared>,
    own: HashMap<usize, mio::net::UdpSocket>,
    clients: Vec<Option<Client>>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    publishers: Vec<usize>,
    second_at: Instant,
    feedback_at: Instant,
    totals: Totals,
}

struct Shared {
    socket: mio::net::UdpSocket,
    port: u16,
    receiver: Receiver,
    outbox: Outbox,
    counters: Counters,
    by_address: HashMap<IpAddr, usize>,
}

impl Engine {
    fn new(
        poll: Poll,
        commands: Inbox<Command>,
        cert: DtlsCert,
        shared: Option<UdpSocket>,
        checks: Checks,
    ) -> io::Result<Self> {
        let shared = match shared {
            Some(socket) => {
                let wire = Box::new(UdpWire::new(socket.try_clone()?, Instant::now()));
                let port = socket.local_addr()?.port();
                let mut socket = mio::net::UdpSocket::from_std(socket);
                poll.registry().register(&mut socket, Token(usize::MAX - 1), Interest::READABLE)?;
                Some(Shared {
                    socket,
                    port,
                    receiver: Receiver::new(),
                    outbox: Outbox::new(wire),
                    counters: Counters::new(),
                    by_address: HashMap::new(),
                })
            }
            None => None,
        };
        let epoch = Instant::now();
        Ok(Self {
            poll,
            commands,
            cert,
            checks,
            epoch,
            shared,
            own: HashMap::new(),
            clients: Vec::new(),
            timers: BinaryHeap::new(),
            publishers: Vec::new(),
            second_at: epoch,
            feedback_at: epoch,
            totals: Totals::default(),
        })
    }

    fn run(&mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let now = Instant::now();
            let wait = self.next_timeout().saturating_duration_since(now).min(SLEEP_MAX);
            let _ = self.poll.poll(&mut events, Some(wait));
            let now = Instant::now();
            self.read_shared(now);
            for event in &events {
                self.read_own(event.token().0, now);
            }
            if !self.take_commands(now) {
                return;
            }
            self.run_timers(now);
            self.publish(now);
            if now >= self.second_at {
                self.second_at = now + Duration::from_secs(1);
                self.each_second();
            }
            if self.checks.feedback && now >= self.feedback_at {
                self.feedback_at = now + FEEDBACK_EVERY;
                for id in 0..self.clients.len() {
                    self.with_client(id, |client, _, transmit| client.feedback(transmit));
                }
            }
            if let Some(shared) = &mut self.shared {
                shared.outbox.flush(&mut shared.counters);
            }
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_micros() as u64 + 1
    }

    fn next_timeout(&self) -> Instant {
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        let publish = self.publishers.iter().filter_map(|id| {
            let client = self.clients.get(*id)?.as_ref()?;
            let Role::Publisher(publisher) = &client.role else {
                return None;
            };
            client.sealer.as_ref()?;
            Some(self.epoch + Duration::from_micros(publisher.next_at_us()))
        });
        publish.chain(timer).chain([self.second_at]).min().unwrap_or(self.second_at)
    }

    fn read_shared(&mut self, now: Instant) {
        let at_us = self.micros(now);
        let Some(shared) = &mut self.shared else {
            return;
        };
        let Shared { socket, receiver, outbox, counters, by_address, .. } = shared;
        let (clients, timers, totals) = (&mut self.clients, &mut self.timers, &mut self.totals);
        for _ in 0..BATCHES_PER_LOOP {
            let fallback = IpAddr::from([127, 0, 0, 1]);
            let read =
                receiver.receive(socket.as_raw_fd(), fallback, |from, local, _, datagram| {
                    let Some(id) = by_address.get(&local).copied() else {
                        return;
                    };
                    let Some(Some(client)) = clients.get_mut(id) else {
                        return;
                    };
                    let local = client.address.ip();
                    let mut transmit = |to: SocketAddr, datagram: &[u8]| {
                        outbox.push(datagram, Path::udp(to, Some(local)), counters);
                    };
                    client.handle_datagram(from, datagram, now, at_us, totals, &mut transmit);
                    timers.extend(client.take_timer().map(|at| Reverse((at, id))));
                });
            if read.is_err() {
                return;
            }
        }
        // There may be more: come back at once.
        self.timers.push(Reverse((now, usize::MAX)));
    }

    fn read_own(&mut self, id: usize, now: Instant) {
        let at_us = self.micros(now);
        let Some(socket) = self.own.get(&id) else {
            return;
        };
        let Some(Some(client)) = self.clients.get_mut(id) else {
            return;
        };
        let mut datagram = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut datagram) {
            let mut transmit = |to: SocketAddr, datagram: &[u8]| {
                let _ = socket.send_to(datagram, to);
            };
            let datagram = &mut datagram[..len];
            client.handle_datagram(from, datagram, now, at_us, &mut self.totals, &mut transmit);
            self.timers.extend(client.take_timer().map(|at| Reverse((at, id))));
        }
    }

    /// Runs one step of a client with a way out for its datagrams.
    fn with_client<T>(
        &mut self,
        id: usize,
        step: impl FnOnce(&mut Client, &mut Totals, crate::peer::Transmit<'_>) -> T,
    ) -> Option<T> {
        let client = self.clients.get_mut(id)?.as_mut()?;
        let own = self.own.get(&id);
        let mut shared = self.shared.as_mut();
        let local = client.address.ip();
        let mut transmit = |to: SocketAddr, datagram: &[u8]| match (own, &mut shared) {
            (Some(socket), _) => {
                let _ = socket.send_to(datagram, to);
            }
            (None, Some(shared)) => {
                let path = Path::udp(to, Some(local));
                shared.outbox.push(datagram, path, &mut shared.counters);
            }
            (None, None) => {}
        };
        let result = step(client, &mut self.totals, &mut transmit);
        self.timers.extend(client.take_timer().map(|at| Reverse((at, id))));
        Some(result)
    }

    /// Returns whether to go on.
    fn take_commands(&mut self, now: Instant) -> bool {
        // A few at a time: handshakes must not hold up the media.
        for _ in 0..8 {
            let Ok(command) = self.commands.try_recv() else {
                return true;
            };
            match command {
                Command::Publish(load, number, reply) => {
                    let _ = reply.send(self.add_publisher(load, number, now));
                }
                Command::Subscribe(publishers, since, reply) => {
                    let _ = reply.send(self.subscribe(publishers, since, now));
                }
                Command::Answer(id, sdp, reply) => {
                    let done = self.with_client(id, |client, _, transmit| {
                        client.accept_answer(&sdp, transmit)
                    });
                    let _ =
                        reply.send(done.unwrap_or_else(|| Err("the stream has ended".to_owned())));
                }
                Command::View(known, sdp, since, reply) => {
                    let _ = reply.send(self.view(known, &sdp, since, now));
                }
                Command::Close(id) => self.close(id),
                Command::Reset => {
                    // Joins are counted for the whole run.
                    let join_ms = std::mem::take(&mut self.totals.join_ms);
                    self.totals = Totals { join_ms, ..Totals::default() };
                    self.clients.iter_mut().flatten().for_each(Client::reset);
                }
                Command::Totals(reply) => {
                    let mut totals = self.totals.clone();
                    let at_us = self.micros(now);
                    for client in self.clients.iter().flatten() {
                        client.add_to(&mut totals);
                        client.count(at_us, &mut totals);
                    }
                    let _ = reply.send(totals);
                }
                Command::Stop => {
                    (0..self.clients.len()).for_each(|id| self.close(id));
                    return false;
                }
            }
        }
        self.timers.push(Reverse((now, usize::MAX)));
        true
    }

    fn add_client(&mut self, role: Role, video: Option<Codec>, now: Instant) -> io::Result<usize> {
        let id = self.clients.len();
        let address = match &mut self.shared {
            Some(shared) => {
                // 127.16.0.1 and on: a million clients before anything wraps.
                let number = id as u32 + 1;
                let [_, a, b, c] = (0x0010_0000 + number).to_be_bytes();
                let ip = IpAddr::from([127, a, b, c]);
                shared.by_address.insert(ip, id);
                SocketAddr::new(ip, shared.port)
            }
            None => {
                let socket = UdpSocket::bind(("0.0.0.0", 0))?;
                socket.set_nonblocking(true)?;
                let address = outside_address(socket.local_addr()?.port())?;
                let mut socket = mio::net::UdpSocket::from_std(socket);
                self.poll.registry().register(&mut socket, Token(id), Interest::READABLE)?;
                self.own.insert(id, socket);
                address
            }
        };
        let peer = Peer::new(address, &self.cert, video, now);
        self.clients.push(Some(Client::new(address, peer, role, self.checks)));
        Ok(id)
    }

    fn add_publisher(
        &mut self,
        load: Load,
        number: usize,
        now: Instant,
    ) -> Option<(usize, String)> {
        let publisher = Publisher::new(load, number, self.micros(now));
        let id = self.add_client(Role::Publisher(publisher), Some(load.codec), now).ok()?;
        self.publishers.push(id);
        let offer = self.with_client(id, |client, _, _| client.peer.offer(&load))??;
        Some((id, offer))
    }

    fn subscribe(
        &mut self,
        publishers: usize,
        since: Instant,
        now: Instant,
    ) -> Option<(usize, String)> {
        let viewer = Viewer::new(self.micros(since), publishers);
        let id = self.add_client(Role::Viewer(viewer), None, now).ok()?;
        let offer =
            self.with_client(id, |client, _, _| client.peer.offer_to_receive(publishers))??;
        Some((id, offer))
    }

    fn view(
        &mut self,
        known: Option<usize>,
        sdp: &str,
        since: Instant,
        now: Instant,
    ) -> Result<(usize, String), String> {
        let id = match known {
            Some(id) => id,
            None => {
                let since_us = self.micros(since);
                let viewer = Role::Viewer(Viewer::new(since_us, 1));
                self.add_client(viewer, None, now).map_err(|error| {
                    format!("cannot open a socket: {error}; raise the limit with ulimit -n")
                })?
            }
        };
        let answer = self.with_client(id, |client, _, transmit| client.accept_offer(sdp, transmit));
        answer.unwrap_or_else(|| Err("the stream has ended".to_owned())).map(|sdp| (id, sdp))
    }

    fn close(&mut self, id: usize) {
        self.with_client(id, |client, totals, transmit| {
            client.add_to(totals);
            client.peer.close(transmit);
        });
        if let Some(client) = self.clients.get_mut(id).and_then(Option::take)
            && let Some(shared) = &mut self.shared
        {
            shared.by_address.remove(&client.address.ip());
        }
        if let Some(mut socket) = self.own.remove(&id) {
            let _ = self.poll.registry().deregister(&mut socket);
        }
        self.publishers.retain(|known| *known != id);
    }

    fn run_timers(&mut self, now: Instant) {
        while let Some(Reverse((at, id))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            self.with_client(id, |client, _, transmit| client.handle_timeout(at, now, transmit));
        }
    }

    fn publish(&mut self, now: Instant) {
        let at_us = self.micros(now);
        for at in 0..self.publishers.len() {
            let id = self.publishers[at];
            self.with_client(id, |client, totals, transmit| {
                client.publish(at_us, totals, transmit);
            });
        }
    }

    fn each_second(&mut self) {
        for id in 0..self.clients.len() {
            self.with_client(id, |client, _, transmit| client.report(transmit));
        }
    }
}

/// The address from which this machine reaches others.
fn outside_address(port: u16) -> io::Result<SocketAddr> {
    let probe = UdpSocket::bind(("0.0.0.0", 0))?;
    // No datagram is sent: connecting only asks for the route.
    probe.connect(("192.0.2.1", 9))?;
    Ok(SocketAddr::new(probe.local_addr()?.ip(), port))
}

/// Whether an address is one of this machine's.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}
