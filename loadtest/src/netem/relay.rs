//! The relay: clients on one side, one server on the other, a link in each direction per client.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::{Impairment, Link, LinkStats};

/// Clients of one relay; datagrams of further ones are dropped. Each takes a socket.
const CLIENTS_MAX: usize = 1024;
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// The longest sleep, after which the relay looks whether it is to stop.
const SLEEP_MAX: Duration = Duration::from_millis(50);
const LISTENER: Token = Token(0);

/// See the module's documentation. It runs on a thread of its own until it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_stopping: AtomicBool,
    /// Sums of [`LinkStats`] of all clients, to the server and back.
    taken: AtomicU64,
    lost: AtomicU64,
    rebound: AtomicU64,
}

impl Relay {
    /// Starts a relay to `server` on a port that the system chooses. `impairment` holds in both
    /// directions. Errors are those of sockets and threads.
    pub fn start(server: SocketAddr, impairment: Impairment, seed: u64) -> io::Result<Self> {
        let listener = UdpSocket::bind((local_address(server.ip())?, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let state = Arc::clone(&shared);
        let mut worker = Worker::new(listener, server, impairment, seed, state)?;
        let run = move || worker.run();
        let thread = std::thread::Builder::new().name("netem".to_owned()).spawn(run)?;
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where clients send to instead of to the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Datagrams that came in, and of those the ones that were lost on purpose.
    pub fn taken_and_lost(&self) -> (u64, u64) {
        (self.shared.taken.load(Ordering::Relaxed), self.shared.lost.load(Ordering::Relaxed))
    }

    /// How often a client got a new address.
    pub fn rebound(&self) -> u64 {
        self.shared.rebound.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread shows by itself.
            let _ = thread.join();
        }
    }
}

/// The address from which this machine reaches `peer`.
fn local_address(peer: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let probe = UdpSocket::bind((any, 0))?;
    // No datagram is sent: connecting only asks for the route.
    probe.connect((peer, 9))?;
    Ok(probe.local_addr()?.ip())
}

struct Worker {
    poll: Poll,
    listener: mio::net::UdpSocket,
    server: SocketAddr,
    impairment: Impairment,
    seed: u64,
    shared: Arc<Shared>,
    epoch: Instant,
    clients: Vec<Client>,
    by_address: HashMap<SocketAddr, usize>,
}

struct Client {
    address: SocketAddr,
    /// What the server sees as this client.
    socket: mio::net::UdpSocket,
    to_server: Link<Vec<u8>>,
    to_client: Link<Vec<u8>>,
    bound_at_us: u64,
}

impl Worker {
    fn new(
        listener: UdpSocket,
        server: SocketAddr,
        impairment: Impairment,
        seed: u64,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let mut listener = mio::net::UdpSocket::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            server,
            impairment,
            seed,
            shared,
            epoch: Instant::now(),
            clients: Vec::new(),
            by_address: HashMap::new(),
        })
    }

    fn run(&mut self) {
        let mut events = Events::with_capacity(256);
        while !self.shared.is_stopping.load(Ordering::Relaxed) {
            let wait = self.wait(self.now_us());
            if self.poll.poll(&mut events, Some(wait)).is_err() {
                continue;
            }
            let now_us = self.now_us();
            for event in &events {
                match event.token() {
                    LISTENER => self.read_clients(now_us),
                    Token(number) => self.read_server(number - 1, now_us),
                }
            }
            self.deliver(now_us);
            self.rebind(now_us);
            self.publish_stats();
        }
    }

    fn now_us(&self) -> u64 {
        self.epoch.elapsed().as_micros() as u64
    }

    fn wait(&self, now_us: u64) -> Duration {
        let links = self.clients.iter();
        let due = links.flat_map(|c| [c.to_server.next_at_us(), c.to_client.next_at_us()]);
        let next = due.flatten().min().map(|at_us| at_us.saturating_sub(now_us));
        next.map_or(SLEEP_MAX, |wait| Duration::from_micros(wait).min(SLEEP_MAX))
    }

    fn read_clients(&mut self, now_us: u64) {
        let mut datagram = [0; DATAGRAM_BYTES_MAX];
        while let Ok((len, from)) = self.listener.recv_from(&mut datagram) {
            let at = match self.by_address.get(&from) {
                Some(at) => *at,
                None => match self.add_client(from, now_us) {
                    Some(at) => at,
                    None => continue,
                },
            };
            self.clients[at].to_server.push(datagram[..len].to_vec(), len, now_us);
        }
    }

    fn add_client(&mut self, address: SocketAddr, now_us: u64) -> Option<usize> {
        let at = self.clients.len();
        if at >= CLIENTS_MAX {
            return None;
        }
        let socket = self.bind(at).ok()?;
        let seed = self.seed.wrapping_mul(0x1_0001).wrapping_add(2 * at as u64);
        self.clients.push(Client {
            address,
            socket,
            to_server: Link::new(self.impairment, seed),
            to_client: Link::new(self.impairment, seed + 1),
            bound_at_us: now_us,
        });
        self.by_address.insert(address, at);
        Some(at)
    }

    fn bind(&self, at: usize) -> io::Result<mio::net::UdpSocket> {
        let socket = UdpSocket::bind((self.listener.local_addr()?.ip(), 0))?;
        socket.set_nonblocking(true)?;
        let mut socket = mio::net::UdpSocket::from_std(socket);
        self.poll.registry().register(&mut socket, Token(at + 1), Interest::READABLE)?;
        Ok(socket)
    }

    fn read_server(&mut self, at: usize, now_us: u64) {
        let server = self.server;
        let Some(client) = self.clients.get_mut(at) else {
            return;
        };
        let mut datagram = [0; DATAGRAM_BYTES_MAX];
        while let Ok((len, from)) = client.socket.recv_from(&mut datagram) {
            if from == server {
                client.to_client.push(datagram[..len].to_vec(), len, now_us);
            }
        }
    }

    fn deliver(&mut self, now_us: u64) {
        for client in &mut self.clients {
            // What a socket does not take is lost, as on any network.
            while let Some(datagram) = client.to_server.pop(now_us) {
                let _ = client.socket.send_to(&datagram, self.server);
            }
            while let Some(datagram) = client.to_client.pop(now_us) {
                let _ = self.listener.send_to(&datagram, client.address);
            }
        }
    }

    /// A NAT that forgot its binding: the client's datagrams come from another port from now on,
    /// and what the server sends to the old one goes nowhere.
    fn rebind(&mut self, now_us: u64) {
        let Some(every) = self.impairment.rebind else {
            return;
        };
        for at in 0..self.clients.len() {
            let age_us = now_us.saturating_sub(self.clients[at].bound_at_us);
            if u128::from(age_us) < every.as_micros() {
                continue;
            }
            let Ok(socket) = self.bind(at) else {
                continue;
            };
            let mut old = std::mem::replace(&mut self.clients[at].socket, socket);
            let _ = self.poll.registry().deregister(&mut old);
            self.clients[at].bound_at_us = now_us;
            self.shared.rebound.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn publish_stats(&self) {
        let links = self.clients.iter().flat_map(|c| [c.to_server.stats(), c.to_client.stats()]);
        let sum = links.fold((0, 0), |(taken, lost), stats: LinkStats| {
            (taken + stats.taken, lost + stats.lost + stats.overflowed)
        });
        self.shared.taken.store(sum.0, Ordering::Relaxed);
        self.shared.lost.store(sum.1, Ordering::Relaxed);
    }
}
