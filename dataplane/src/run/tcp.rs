//! TCP connections of one shard (ICE-TCP), and of relayed peers (TURN): read, written and ended; what
//! comes over them and what goes is the shard's business. Two halves: a [`Reader`] is the loop's, a
//! writer the wire's.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream as AcceptedTcp};
use std::os::unix::net::UnixStream as AcceptedUnix;
use std::rc::Rc;
use std::time::Instant;

use mio::net::{TcpStream, UnixStream};
use mio::{Events, Interest, Registry, Token};
use socket2::SockRef;

use crate::framing::{Backlog, Deframer};
use crate::outbox::{Outgoing, Wire};
use crate::path::{Over, Path, StreamId};
use crate::shard::Shard;

/// Connections of one shard; one more is closed.
pub(crate) const STREAMS_MAX: usize = 16_384;
/// What the kernel may hold without having sent it: the rest waits where it can still be dropped.
const UNSENT_BYTES_MAX: u32 = 16 * 1024;
/// Octets of one read.
const READ_BYTES: usize = 16 * 1024;
/// Reads of one connection in one turn of the loop.
const READS_PER_TURN: usize = 4;
/// Connections read from in one turn.
const READERS_PER_TURN: usize = 64;

/// A connection that has been accepted, with what came first.
pub(crate) struct NewStream {
    /// Not blocking.
    pub stream: Socket,
    /// All octets that were read so far.
    pub head: Vec<u8>,
}

/// What it is.
pub(crate) enum Socket {
    /// A connection of the peer's.
    Tcp(AcceptedTcp),
    /// One end of a pair; whoever has the other relays a peer.
    Relayed {
        /// Ours.
        stream: AcceptedUnix,
        /// The peer's relayed address.
        peer: SocketAddr,
        /// Ours that it talks to.
        local: IpAddr,
        /// What the peer reaches the relay over.
        over: Over,
    },
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn read(&self, octets: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&mut &*stream).read(octets),
            Self::Unix(stream) => (&mut &*stream).read(octets),
        }
    }

    fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&mut &*stream).write_vectored(parts),
            Self::Unix(stream) => (&mut &*stream).write_vectored(parts),
        }
    }
}

/// The reading half.
pub(crate) struct Reader {
    stream: Rc<Stream>,
    deframer: Deframer,
    /// The way that it is.
    pub path: Path,
    /// Whether it waits for its turn.
    is_ready: bool,
}

struct Writer {
    stream: Rc<Stream>,
    backlog: Backlog,
    is_writable: bool,
}

/// The writing halves.
pub(crate) type Writers = Rc<RefCell<Streams>>;

/// See [`Writers`].
#[derive(Default)]
pub(crate) struct Streams {
    writers: HashMap<StreamId, Writer>,
    /// Those with frames that no write was tried for.
    dirty: Vec<StreamId>,
    /// Those that have not read for so long that nothing more can wait for them.
    stuck: Vec<StreamId>,
    next: u32,
}

impl Streams {
    /// Takes a connection in. The tokens of its events begin at `first_token`.
    pub(crate) fn adopt(
        &mut self,
        new: Socket,
        registry: &Registry,
        first_token: usize,
    ) -> io::Result<(StreamId, Reader)> {
        if self.writers.len() >= STREAMS_MAX {
            return Err(io::Error::other("too many connections"));
        }
        let id = StreamId(self.next);
        self.next = self.next.wrapping_add(1);
        let token = Token(first_token + id.0 as usize);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let (stream, peer, local, over) = match new {
            Socket::Tcp(new) => {
                let (peer, local) =
                    (canonical(new.peer_addr()?), canonical(new.local_addr()?).ip());
                // Media does not wait to be joined with what comes later.
                new.set_nodelay(true)?;
                // Best effort: without it the kernel holds more that can no longer be dropped.
                let _ = SockRef::from(&new).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
                let mut stream = TcpStream::from_std(new);
                registry.register(&mut stream, token, interest)?;
                (Stream::Tcp(stream), peer, local, Over::Tcp)
            }
            Socket::Relayed { stream, peer, local, over } => {
                // The same, for the same reason.
                let _ = SockRef::from(&stream).set_send_buffer_size(UNSENT_BYTES_MAX as usize);
                let mut stream = UnixStream::from_std(stream);
                registry.register(&mut stream, token, interest)?;
                (Stream::Unix(stream), peer, local, over)
            }
        };
        let stream = Rc::new(stream);
        let path = Path { peer, local: Some(local), stream: Some(id), over };
        let reader = Reader {
            stream: Rc::clone(&stream),
            deframer: Deframer::default(),
            path,
            is_ready: true,
        };
        let backlog = Backlog::default();
        self.writers.insert(id, Writer { stream, backlog, is_writable: true });
        Ok((id, reader))
    }

    /// Forgets a connection; it is closed with its reader.
    pub(crate) fn end(&mut self, id: StreamId) {
        self.writers.remove(&id);
    }

    /// It takes octets again.
    pub(crate) fn set_writable(&mut self, id: StreamId) {
        if let Some(writer) = self.writers.get_mut(&id) {
            writer.is_writable = true;
            writer.write();
        }
    }

    fn push(&mut self, id: StreamId, datagram: &[u8], now_us: u64) -> bool {
        let Some(writer) = self.writers.get_mut(&id) else {
            return false;
        };
        let is_first = writer.backlog.is_empty();
        let is_taken = writer.backlog.push(datagram, now_us);
        if is_first && is_taken {
            self.dirty.push(id);
        }
        if !is_taken && !self.stuck.contains(&id) {
            self.stuck.push(id);
        }
        is_taken
    }

    fn write(&mut self) {
        while let Some(id) = self.dirty.pop() {
            if let Some(writer) = self.writers.get_mut(&id) {
                writer.write();
            }
        }
    }

    fn is_late(&self, id: StreamId, now_us: u64) -> bool {
        self.writers.get(&id).is_some_and(|writer| writer.backlog.is_late(now_us))
    }
}

impl Writer {
    fn write(&mut self) {
        while self.is_writable && !self.backlog.is_empty() {
            let (first, second) = self.backlog.next();
            match self.stream.write(&[IoSlice::new(first), IoSlice::new(second)]) {
                Ok(octets) if octets > 0 => self.backlog.advance(octets),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Full, or broken: then reading says so, too.
                Ok(_) | Err(_) => self.is_writable = false,
            }
        }
    }
}

/// What came of reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// There may be more.
    More,
    /// Nothing for now.
    Empty,
    /// The connection has ended, or makes no sense.
    Ended,
}

impl Reader {
    /// Takes the octets that were read before it was made.
    pub(crate) fn take(&mut self, octets: &[u8], each: impl FnMut(&mut [u8])) -> Progress {
        match self.deframer.take(octets, each) {
            Ok(()) => Progress::More,
            Err(_) => Progress::Ended,
        }
    }

    /// Reads frames.
    pub(crate) fn read(&mut self, mut each: impl FnMut(&mut [u8])) -> Progress {
        let mut octets = [0; READ_BYTES];
        for _ in 0..READS_PER_TURN {
            match self.stream.read(&mut octets) {
                Ok(0) => return Progress::Ended,
                Ok(len) => {
                    if self.deframer.take(&octets[..len], &mut each).is_err() {
                        return Progress::Ended;
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Progress::Empty,
                    io::ErrorKind::Interrupted => {}
                    _ => return Progress::Ended,
                },
            }
        }
        Progress::More
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// All connections of a loop: those who read, and who has something to read.
pub(crate) struct Connections {
    readers: HashMap<StreamId, Reader>,
    writers: Writers,
    /// In the order in which they had something.
    ready: VecDeque<StreamId>,
}

impl Connections {
    /// None yet.
    pub(crate) fn new(writers: Writers) -> Self {
        Self { readers: HashMap::new(), writers, ready: VecDeque::new() }
    }

    /// Notes which of them are ready; their tokens begin at `first_token`.
    pub(crate) fn note(&mut self, polled: &Events, first_token: usize) {
        for event in polled.iter().filter(|event| event.token().0 >= first_token) {
            let id = StreamId((event.token().0 - first_token) as u32);
            if event.is_writable() {
                self.writers.borrow_mut().set_writable(id);
            }
            let is_readable = event.is_readable() || event.is_read_closed() || event.is_error();
            if is_readable
                && let Some(reader) = self.readers.get_mut(&id)
                && !std::mem::replace(&mut reader.is_ready, true)
            {
                self.ready.push_back(id);
            }
        }
    }

    /// Reads from those that are ready, each its share; returns whether there is more.
    pub(crate) fn read(&mut self, shard: &mut Shard, now: Instant) -> bool {
        for _ in 0..self.ready.len().min(READERS_PER_TURN) {
            let Some(id) = self.ready.pop_front() else {
                break;
            };
            let Some(reader) = self.readers.get_mut(&id) else {
                continue;
            };
            let path = reader.path;
            match reader.read(|frame| shard.handle_frame(path, frame, now)) {
                Progress::More => self.ready.push_back(id),
                Progress::Empty => reader.is_ready = false,
                Progress::Ended => self.end(id, shard, now),
            }
        }
        !self.ready.is_empty()
    }

    /// Takes a connection in, if its first frame is an authentic check.
    pub(crate) fn adopt(
        &mut self,
        new: NewStream,
        registry: &Registry,
        first_token: usize,
        shard: &mut Shard,
        now: Instant,
    ) {
        let adopted = self.writers.borrow_mut().adopt(new.stream, registry, first_token);
        // It has ended already, or there are too many: dropping it closes it.
        let Ok((id, mut reader)) = adopted else {
            return;
        };
        shard.count_stream(true);
        let path = reader.path;
        let taken = reader.take(&new.head, |frame| shard.handle_frame(path, frame, now));
        self.readers.insert(id, reader);
        if taken == Progress::Ended || !shard.has_stream(id) {
            self.end(id, shard, now);
            return;
        }
        // What came before it was registered makes no event.
        self.ready.push_back(id);
    }

    fn end(&mut self, id: StreamId, shard: &mut Shard, now: Instant) {
        shard.handle_stream_end(id, now);
        self.close(id, shard);
    }

    fn close(&mut self, id: StreamId, shard: &mut Shard) {
        self.writers.borrow_mut().end(id);
        if self.readers.remove(&id).is_some() {
            shard.count_stream(false);
        }
    }

    /// Closes those that the shard has no use for any more, and those that do not read.
    pub(crate) fn end_these(&mut self, shard: &mut Shard, now: Instant) {
        let stuck = std::mem::take(&mut self.writers.borrow_mut().stuck);
        for id in stuck {
            self.end(id, shard, now);
        }
        while let Some(id) = shard.pop_ended_stream() {
            self.close(id, shard);
        }
    }
}

/// UDP and TCP as one.
pub(crate) struct NetworkWire<U> {
    /// Datagrams.
    pub udp: U,
    /// Connections.
    pub streams: Writers,
}

impl<U: Wire> Wire for NetworkWire<U> {
    fn send(&mut self, slab: &[u8], batch: &[Outgoing]) -> usize {
        self.udp.send(slab, batch)
    }

    fn send_framed(&mut self, slab: &[u8], batch: &[Outgoing]) -> usize {
        let now_us = self.udp.now_us();
        let mut streams = self.streams.borrow_mut();
        let taken = batch.iter().filter(|out| {
            let datagram = &slab[out.start..out.start + out.len];
            out.path.stream.is_some_and(|id| streams.push(id, datagram, now_us))
        });
        let taken = taken.count();
        streams.write();
        taken
    }

    fn is_late(&mut self, stream: StreamId) -> bool {
        let now_us = self.udp.now_us();
        self.streams.borrow().is_late(stream, now_us)
    }

    fn now_us(&mut self) -> u64 {
        self.udp.now_us()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use mio::Poll;

    use super::*;
    use crate::framing::Deframer;

    struct NoUdp(u64);

    impl Wire for NoUdp {
        fn send(&mut self, _: &[u8], batch: &[Outgoing]) -> usize {
            batch.len()
        }

        fn now_us(&mut self) -> u64 {
            self.0
        }
    }

    /// A peer that does not read for a while gets every frame that was taken, whole and in order.
    #[test]
    fn frames_survive_a_connection_that_takes_them_in_parts() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("binds");
        let mut far = std::net::TcpStream::connect(listener.local_addr().expect("bound"));
        let far = far.as_mut().expect("connects");
        let (near, _) = listener.accept().expect("accepts");
        near.set_nonblocking(true).expect("an option");
        let poll = Poll::new().expect("a poll");
        let writers = Writers::default();
        let adopted = writers.borrow_mut().adopt(Socket::Tcp(near), poll.registry(), 2);
        let (id, reader) = adopted.expect("there is room");
        let mut wire = NetworkWire { udp: NoUdp(1), streams: Rc::clone(&writers) };
        let slab: Vec<u8> = (0..=255).cycle().take(1200).collect();
        let (mut taken, mut was_late) = (Vec::new(), false);
        for round in 0..20_000usize {
            wire.udp.0 += 1_000;
            let len = 1 + round % 1200;
            let out = Outgoing { path: reader.path, start: 0, len };
            if wire.send_framed(&slab, &[out]) == 1 {
                taken.push(len);
            }
            was_late |= wire.is_late(id);
        }
        assert!(was_late, "nobody reads");
        assert!(taken.len() < 20_000, "the backlog has a limit");
        assert_eq!(writers.borrow().stuck, [id]);
        let (mut deframer, mut got, mut octets) = (Deframer::default(), Vec::new(), [0; 999]);
        while got.len() < taken.len() {
            let len = far.read(&mut octets).expect("more comes");
            assert!(len > 0, "it is open");
            deframer.take(&octets[..len], |frame| got.push(frame.len())).expect("frames");
            writers.borrow_mut().set_writable(id);
        }
        assert_eq!(got, taken);
        assert!(!wire.is_late(id));
    }
}
