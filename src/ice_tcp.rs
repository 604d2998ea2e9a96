//! Media over TCP (ICE-TCP, RFC 6544) on its way in, and TURN over TCP and TLS beside it: a connection whose
//! first frame is a check of one of our peers goes to the shard that it names, once. Everything has a
//! deadline and a limit.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dataplane::{Door, FRAME_BYTES_MAX, FirstFrame, Over, ShardId, first_frame};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::descriptors::ACCEPT_PAUSE;
use crate::metrics::{Counters, StreamRefusal};
use crate::tls::{Certificates, TLS_HANDSHAKE};
use crate::turn::Turn;

/// The first frame must be there by then.
const FIRST_FRAME_WITHIN: Duration = Duration::from_secs(10);
/// Connections whose first frame is awaited: more than a class that joins at once.
const HALF_OPEN_MAX: usize = 4096;
/// The same of one address: a school behind one address joins at once, too.
const HALF_OPEN_PER_ADDRESS_MAX: usize = 256;
/// A STUN message in a frame begins with the high octet of a length that TLS records (22) and HTTP
/// (a letter) do not have.
const FIRST_OCTET_MAX: u8 = (FRAME_BYTES_MAX >> 8) as u8;

/// What the kernel may hold of one connection with media without having sent it.
const UNSENT_BYTES_MAX: u32 = 16 * 1024;

/// Media follows on this connection. What the kernel holds unsent cannot be dropped any more when it gets
/// old; failing that, it holds more.
pub(crate) fn carry_media(stream: &impl AsFd) {
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
    // Small messages must not wait for each other; failing that, they do.
    let _ = socket.set_tcp_nodelay(true);
}

/// Whether a connection that begins with this octet is for us.
pub(crate) fn begins_with(octet: u8) -> bool {
    octet <= FIRST_OCTET_MAX
}

/// See the module's documentation.
pub(crate) struct IceTcp {
    door: Door,
    counters: Arc<Counters>,
    half_open: Mutex<HalfOpen>,
    /// Who has the connections that begin as TURN does.
    turn: Option<Arc<Turn>>,
    /// What those are accepted with that begin with TLS, on ports that have nothing else.
    certificates: Option<Arc<Certificates>>,
}

#[derive(Default)]
struct HalfOpen {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl IceTcp {
    /// A way in to the shards behind `door`; connections that begin as TURN does, inside TLS or not, are
    /// for `turn`.
    pub(crate) fn new(
        door: Door,
        counters: Arc<Counters>,
        turn: Option<Arc<Turn>>,
        certificates: Option<Arc<Certificates>>,
    ) -> Self {
        Self { door, counters, half_open: Mutex::default(), turn, certificates }
    }

    /// Serves TURN inside TLS, of which `head` has been read.
    pub(crate) async fn take_secure(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send,
        head: Vec<u8>,
        from: SocketAddr,
    ) {
        match (&self.turn, self.enter(from.ip().to_canonical())) {
            (Some(turn), Ok(place)) => {
                turn.clone().serve_stream(stream, head, from, Over::TurnTls, place).await;
            }
            (None, _) => self.counters.stream_refused(StreamRefusal::Foreign),
            (_, Err(why)) => self.counters.stream_refused(why),
        }
    }

    /// Serves a connection of which nothing was read yet.
    pub(crate) async fn take(&self, stream: TcpStream, from: SocketAddr) {
        if let Err(why) = self.try_take(stream, from).await {
            self.counters.stream_refused(why);
        }
    }

    async fn try_take(&self, mut stream: TcpStream, from: SocketAddr) -> Result<(), StreamRefusal> {
        let place = self.enter(from.ip().to_canonical())?;
        let mut head = Vec::with_capacity(512);
        let reading = read_first(&mut stream, &mut head);
        let within = tokio::time::timeout(FIRST_FRAME_WITHIN, reading).await;
        let shard = match within.map_err(|_| StreamRefusal::Late)? {
            First::For(shard) => shard,
            First::Turn => {
                let turn = self.turn.clone().ok_or(StreamRefusal::Foreign)?;
                carry_media(&stream);
                turn.serve_stream(stream, head, from, Over::TurnTcp, place).await;
                return Ok(());
            }
            First::Foreign => return Err(StreamRefusal::Foreign),
        };
        let stream = stream.into_std().map_err(|_| StreamRefusal::Foreign)?;
        self.door.adopt(shard, stream, head).map_err(|_| StreamRefusal::Busy)
    }

    /// Serves a connection to a port without HTTP: TURN inside TLS, or else what [`Self::take`] takes.
    async fn take_either(&self, stream: TcpStream, from: SocketAddr) {
        let (Some(turn), Some(certificates)) = (&self.turn, &self.certificates) else {
            return self.take(stream, from).await;
        };
        let place = match self.enter(from.ip().to_canonical()) {
            Ok(place) => place,
            Err(why) => return self.counters.stream_refused(why),
        };
        let until = tokio::time::Instant::now() + FIRST_FRAME_WITHIN;
        let mut first = [0];
        let peeked = tokio::time::timeout_at(until, stream.peek(&mut first)).await;
        match peeked {
            Err(_) => return self.counters.stream_refused(StreamRefusal::Late),
            Ok(Ok(1..)) if first[0] == TLS_HANDSHAKE => {}
            Ok(_) => {
                drop(place);
                return self.take(stream, from).await;
            }
        }
        carry_media(&stream);
        let handshake = certificates.acceptor().accept(stream);
        match tokio::time::timeout_at(until, handshake).await {
            Ok(Ok(stream)) => {
                turn.clone().serve_stream(stream, Vec::new(), from, Over::TurnTls, place).await;
            }
            Ok(Err(_)) => self.counters.stream_refused(StreamRefusal::Foreign),
            Err(_) => self.counters.stream_refused(StreamRefusal::Late),
        }
    }

    fn enter(&self, from: IpAddr) -> Result<Place<'_>, StreamRefusal> {
        let mut half_open = self.half_open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = half_open.by_address.get(&from).copied().unwrap_or(0);
        if half_open.total >= HALF_OPEN_MAX || of_address >= HALF_OPEN_PER_ADDRESS_MAX {
            return Err(StreamRefusal::TooMany);
        }
        half_open.total += 1;
        half_open.by_address.insert(from, of_address + 1);
        Ok(Place { ice_tcp: self, from })
    }

    /// Serves a port that has nothing else, until `closing` turns true.
    pub(crate) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        mut closing: watch::Receiver<bool>,
    ) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = closing.wait_for(|closing| *closing) => return,
            };
            match accepted {
                Ok((stream, from)) => {
                    let ice_tcp = self.clone();
                    tokio::spawn(async move { ice_tcp.take_either(stream, from).await });
                }
                // It passes, or the log of the HTTP port says so.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

/// One of the connections that may be half open.
struct Place<'a> {
    ice_tcp: &'a IceTcp,
    from: IpAddr,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut half_open = self.ice_tcp.half_open.lock().unwrap_or_else(PoisonError::into_inner);
        half_open.total -= 1;
        if let Some(of_address) = half_open.by_address.get_mut(&self.from) {
            *of_address -= 1;
            if *of_address == 0 {
                half_open.by_address.remove(&self.from);
            }
        }
    }
}

enum First {
    /// The first frame names this shard.
    For(ShardId),
    /// It is no frame, but a message of TURN.
    Turn,
    /// It is not for us.
    Foreign,
}

/// Reads until it is clear what a connection is.
async fn read_first(stream: &mut TcpStream, head: &mut Vec<u8>) -> First {
    loop {
        if head.first_chunk().is_some_and(|octets| stun::begins_turn(*octets)) {
            return First::Turn;
        }
        match first_frame(head) {
            FirstFrame::For(shard) => return First::For(shard),
            FirstFrame::Foreign => return First::Foreign,
            FirstFrame::Incomplete => {}
        }
        // The frame is refused before it could grow beyond its limit.
        match stream.read_buf(head).await {
            Ok(octets) if octets > 0 => {}
            _ => return First::Foreign,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream as Client;

    use dataplane::{Config, DataPlane, UdpPorts};

    use super::*;

    struct Bench {
        ice_tcp: Arc<IceTcp>,
        counters: Arc<Counters>,
        address: SocketAddr,
        _dataplane: DataPlane,
        _close: watch::Sender<bool>,
    }

    impl Bench {
        async fn start() -> Self {
            let loopback = [127, 0, 0, 1].into();
            let config = Config::new(UdpPorts::Shared(0), vec![loopback]);
            let dataplane = DataPlane::start(config, Arc::new(|| {})).unwrap();
            let counters = Arc::<Counters>::default();
            let ice_tcp = Arc::new(IceTcp::new(dataplane.door(), counters.clone(), None, None));
            let listener = TcpListener::bind((loopback, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let (close, closing) = watch::channel(false);
            tokio::spawn(ice_tcp.clone().serve(listener, closing));
            Self { ice_tcp, counters, address, _dataplane: dataplane, _close: close }
        }

        fn connect(&self, bytes: &[u8]) -> Client {
            let mut client = Client::connect(self.address).unwrap();
            client.write_all(bytes).unwrap();
            client
        }

        fn half_open(&self) -> usize {
            self.ice_tcp.half_open.lock().unwrap().total
        }

        async fn refused(&self, why: StreamRefusal, times: u64) {
            while self.counters.stream_refusals_of(why) < times {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_address_may_have_some_half_open_and_the_rest_is_refused() {
        let bench = Bench::start().await;
        let mut clients: Vec<Client> =
            (0..HALF_OPEN_PER_ADDRESS_MAX).map(|_| bench.connect(&[0])).collect();
        while bench.half_open() < HALF_OPEN_PER_ADDRESS_MAX {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut late = bench.connect(&[0, 100]);
        bench.refused(StreamRefusal::TooMany, 1).await;
        assert_eq!(late.read(&mut [0; 9]).unwrap_or(0), 0, "it is closed");
        // Who goes makes room for others.
        clients.truncate(10);
        while bench.half_open() > 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(bench.ice_tcp.half_open.lock().unwrap().by_address.len(), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_names_no_transport_is_closed_here_or_by_the_shard() {
        let bench = Bench::start().await;
        let mut foreign = bench.connect(&[0, 3, 1, 2, 3]);
        assert_eq!(foreign.read(&mut [0; 9]).unwrap_or(0), 0);
        bench.refused(StreamRefusal::Foreign, 1).await;
        // A check for a slot of shard 0 that does not exist, with an integrity of zeros.
        let username = b"a000000aaaaaaaaaaaa:x\0\0\0";
        let mut body = vec![0, 6, 0, 21];
        body.extend(username);
        body.extend([0, 8, 0, 20]);
        body.extend([0; 20]);
        let mut check = vec![0, 1, 0, body.len() as u8, 0x21, 0x12, 0xa4, 0x42];
        check.extend([7; 12]);
        check.extend(body);
        let mut framed = vec![0, check.len() as u8];
        framed.extend(check);
        let mut named = bench.connect(&framed);
        assert_eq!(named.read(&mut [0; 9]).unwrap_or(0), 0, "the shard closes it");
        assert_eq!(bench.counters.stream_refusals_of(StreamRefusal::Foreign), 1);
        // The shard may close it before we have counted it out.
        while bench.half_open() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
