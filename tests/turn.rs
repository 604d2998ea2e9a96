//! The TURN server and the port of media over TCP against who means ill: everything is refused, counted and
//! bounded, and others notice nothing.

mod server;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use server::{LIMIT, OPEN, Server, free_port, until};
use socket2::{Domain, Socket, Type};
use stun::{Client, Heard, attribute, method};

/// Half-open connections to try, if the system lets so many files be open.
const HALF_OPEN: usize = 10_000;
/// How many of those the server keeps at most, and of one address (README, limits).
const HALF_OPEN_MAX: usize = 4096;
const HALF_OPEN_PER_ADDRESS_MAX: usize = 256;
/// Allocations of one client (README, limits).
const OF_CLIENT_MAX: usize = 128;
const MESSAGE_BYTES_MAX: usize = 4096;

const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
    a=ice-pwd:0123456789abcdefghijklmn\r\na=fingerprint:sha-256 \
    00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
    a=setup:actpass\r\na=rtcp-mux\r\na=mid:0\r\na=sendonly\r\na=msid:s t\r\na=rtpmap:111 opus/48000/2\r\n";

/// A server with a port for TURN.
struct Bench {
    server: Server,
    turn: SocketAddr,
    /// Our candidate, the only peer.
    candidate: SocketAddr,
    credentials: (String, String),
}

impl Bench {
    fn start() -> Self {
        let port = free_port();
        let arguments = ["-insecure", "--metrics", "127.0.0.1:0", "-turn", &format!(":{port}")];
        let server =
            Server::start_with(&arguments, |scratch| scratch.write("groups/test.json", OPEN));
        let turn = SocketAddr::from(([127, 0, 0, 1], port));
        let (candidate, credentials) = admitted(&server);
        Self { server, turn, candidate, credentials }
    }

    fn client(&self) -> Client {
        Client::new(&self.credentials.0, &self.credentials.1)
    }

    fn connect(&self) -> Turn<TcpStream> {
        Turn::over(TcpStream::connect(self.turn).expect("it listens"), self.client())
    }

    fn datagrams(&self) -> Turn<UdpSocket> {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(self.turn).expect("an address");
        Turn::over(socket, self.client())
    }

    /// The sum over a metric's labels that contain `what`.
    fn count(&self, metric: &str, what: &str) -> u64 {
        let port = self.server.metrics_port.expect("it says where");
        let page = server::request(port, "GET /metrics HTTP/1.1\r\n", b"").text();
        let of_it = page.lines().filter(|line| line.starts_with(metric) && line.contains(what));
        of_it.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
    }
}

/// Publishes over WHIP; gives the candidate and the credentials that came with the answer.
fn admitted(server: &Server) -> (SocketAddr, (String, String)) {
    let head = "POST /group/test/.whip HTTP/1.1\r\nContent-Type: application/sdp\r\n";
    let created = server.request(head, OFFER.as_bytes());
    assert_eq!(created.status, 201, "{}", created.text());
    let links: Vec<&str> =
        created.head.lines().filter(|line| line.contains("ice-server")).collect();
    let part = |name: &str| {
        let (_, rest) = links.first()?.split_once(&format!("{name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let answer = created.text();
    let candidate = answer.lines().find_map(|line| {
        let fields: Vec<&str> = line.strip_prefix("a=candidate:")?.split(' ').collect();
        let is_udp = fields[2].eq_ignore_ascii_case("udp");
        is_udp.then(|| {
            SocketAddr::new(
                fields[4].parse().expect("a number"),
                fields[5].parse().expect("a number"),
            )
        })
    });
    let credentials = part("username").zip(part("credential"));
    (candidate.expect("a candidate"), credentials.expect("credentials"))
}

trait Wire {
    fn put(&mut self, message: &[u8]);
    /// The next message; nothing at the end.
    fn get(&mut self) -> Option<Vec<u8>>;
}

impl Wire for TcpStream {
    fn put(&mut self, message: &[u8]) {
        // The other end may have closed.
        let _ = self.write_all(message);
    }

    fn get(&mut self) -> Option<Vec<u8>> {
        self.set_read_timeout(Some(LIMIT)).expect("a limit");
        let mut octets = Vec::new();
        loop {
            let whole = stun::message_bytes(&octets, MESSAGE_BYTES_MAX).expect("a message");
            if whole.is_some() {
                return Some(octets);
            }
            let mut octet = [0];
            match self.read(&mut octet) {
                Ok(1..) => octets.extend(octet),
                Ok(0) => return None,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("neither an answer nor the end: {error}"),
            }
        }
    }
}

impl Wire for UdpSocket {
    fn put(&mut self, message: &[u8]) {
        self.send(message).expect("it is sent");
    }

    fn get(&mut self) -> Option<Vec<u8>> {
        self.set_read_timeout(Some(LIMIT)).expect("a limit");
        let mut octets = [0; MESSAGE_BYTES_MAX];
        let len = self.recv(&mut octets).expect("an answer");
        Some(octets[..len].to_vec())
    }
}

/// A client of TURN over one of both.
struct Turn<W> {
    wire: W,
    client: Client,
}

impl<W: Wire> Turn<W> {
    fn over(wire: W, client: Client) -> Self {
        Self { wire, client }
    }

    /// What comes of a request, challenges answered.
    fn ask(&mut self, request: &[u8]) -> Heard {
        self.wire.put(request);
        loop {
            let answer = self.wire.get().expect("an answer");
            match self.client.handle(&answer) {
                Heard::Say(more) => self.wire.put(&more),
                heard => return heard,
            }
        }
    }

    fn allocate(&mut self) -> Heard {
        let request = self.client.allocate();
        self.ask(&request)
    }

    fn allocated(mut self) -> Self {
        let heard = self.allocate();
        assert!(matches!(heard, Heard::Allocated(_)), "{heard:?}");
        self
    }

    fn permit(&mut self, peer: SocketAddr) -> Heard {
        let request = self.client.permit(peer);
        self.ask(&request)
    }

    fn bind(&mut self, peer: SocketAddr) -> Heard {
        let request = self.client.bind(peer);
        self.ask(&request)
    }

    /// Whether the allocation is still there.
    fn is_served(&mut self) -> bool {
        let request = self.client.refresh(600);
        self.ask(&request) == Heard::Granted
    }
}

#[test]
fn nothing_but_our_candidates_is_reached() {
    let bench = Bench::start();
    let decoys: Vec<UdpSocket> = ["127.0.0.1:0", "127.0.0.2:0"]
        .into_iter()
        .map(|address| UdpSocket::bind(address).expect("a socket"))
        .collect();
    let mut turn = bench.connect().allocated();
    let refused = bench.count("aula_turn_refused_total", "403");
    let mut times = 0;
    let peers = [
        "127.0.0.2:80",
        "0.0.0.0:80",
        "10.0.0.1:8443",
        "192.168.1.1:53",
        "169.254.169.254:80",
        "100.64.0.1:1",
        "224.0.0.1:5353",
        "255.255.255.255:9",
        "8.8.8.8:53",
    ];
    for peer in peers {
        let peer = peer.parse().unwrap();
        assert_eq!(turn.permit(peer), Heard::Refused(403), "{peer}");
        assert_eq!(turn.bind(peer), Heard::Refused(403), "{peer}");
        times += 2;
    }
    for peer in ["[::1]:80", "[::ffff:127.0.0.1]:80", "[::ffff:10.0.0.1]:80", "[fe80::1]:80"] {
        let peer = peer.parse().unwrap();
        assert_eq!(turn.permit(peer), Heard::Refused(443), "{peer}");
        assert_eq!(turn.bind(peer), Heard::Refused(443), "{peer}");
    }
    // Ports of the candidate's address that are not the candidate: its own, those of HTTP, metrics and decoys.
    let metrics = bench.server.metrics_port.expect("it says where");
    let decoy = decoys[0].local_addr().unwrap().port();
    for port in [bench.turn.port(), bench.server.port, metrics, decoy, 22] {
        // With UDP and TCP on one port the candidate is at that of HTTP.
        if port != bench.candidate.port() {
            let peer = SocketAddr::new(bench.candidate.ip(), port);
            assert_eq!(turn.bind(peer), Heard::Refused(403), "{peer}");
            times += 1;
        }
    }
    // What is sent to them all the same, with a permission for the address and without.
    assert_eq!(turn.permit(bench.candidate), Heard::Granted);
    for decoy in &decoys {
        let send = stun::Draft::new(stun::Class::Indication, method::SEND, [9; 12])
            .with_address(attribute::PEER_ADDRESS, decoy.local_addr().unwrap())
            .with(attribute::DATA, b"hello")
            .finish(None);
        turn.wire.put(&send);
    }
    assert!(turn.is_served());
    for decoy in decoys {
        decoy.set_nonblocking(true).unwrap();
        let heard = decoy.recv(&mut [0; 9]).map_err(|error| error.kind());
        assert_eq!(heard, Err(ErrorKind::WouldBlock), "something was relayed");
    }
    assert_eq!(bench.count("aula_turn_refused_total", "403"), refused + times);
}

#[test]
fn credentials_are_neither_guessed_nor_bent_nor_heard_elsewhere() {
    let bench = Bench::start();
    let (username, password) = &bench.credentials;
    let (expires_s, client) = username.split_once(':').expect("when and who");
    let later = format!("{}:{client}", expires_s.parse::<u64>().unwrap() + 3600);
    let other = format!("{expires_s}:{}", client.parse::<u64>().unwrap() + 1);
    for (username, password) in [
        (username.as_str(), "guessed"),
        (username, ""),
        (&later, password),
        (&other, password),
        ("root", "pw"),
        ("", ""),
        ("99999999999999999999999:1", password),
        (&"x".repeat(500), password),
    ] {
        let mut turn = bench.connect();
        turn.client = Client::new(username, password);
        assert_eq!(turn.allocate(), Heard::Refused(401), "{username}");
    }
    // What somebody has said, from another port: the nonce was not given to that one.
    let mut honest = bench.datagrams().allocated();
    let heard_on_the_way = honest.client.allocate();
    let mut thief = bench.datagrams();
    thief.wire.put(&heard_on_the_way);
    let answer = thief.wire.get().expect("an answer");
    assert_eq!(stun::error_code(&answer), Some(438));
    // And the same user from there is somebody with an allocation of its own, who cannot end that of others.
    let end = thief.client.refresh(0);
    thief.wire.put(&end);
    assert_ne!(stun::error_code(&thief.wire.get().expect("an answer")), None);
    assert!(honest.is_served());
    assert!(bench.count("aula_turn_refused_total", "401") >= 8);
    assert!(bench.count("aula_turn_refused_total", "438") >= 1);
}

#[test]
fn one_client_has_some_allocations_and_no_more_and_another_is_not_kept_out() {
    let bench = Bench::start();
    let mut held: Vec<_> = (0..OF_CLIENT_MAX).map(|_| bench.datagrams().allocated()).collect();
    for _ in 0..20 {
        assert_eq!(bench.datagrams().allocate(), Heard::Refused(486));
        assert_eq!(bench.connect().allocate(), Heard::Refused(486));
    }
    assert_eq!(bench.count("aula_turn_allocations", ""), OF_CLIENT_MAX as u64);
    assert_eq!(bench.count("aula_turn_refused_total", "486"), 40);
    let (_, (username, password)) = admitted(&bench.server);
    let mut other = bench.connect();
    other.client = Client::new(&username, &password);
    let mut other = other.allocated();
    // Who gives one up has room again; the rest goes with its connection, or in time.
    let end = held[0].client.refresh(0);
    assert_eq!(held[0].ask(&end), Heard::Granted);
    until("the allocation to go", || {
        bench.count("aula_turn_allocations", "") <= OF_CLIENT_MAX as u64
    });
    assert!(matches!(bench.datagrams().allocate(), Heard::Allocated(_)));
    assert!(other.is_served());
}

#[test]
fn frames_that_are_none_end_their_own_connection() {
    let bench = Bench::start();
    let mut bystander = bench.connect().allocated();
    let foreign = || bench.count("aula_tcp_refused_total", "foreign");
    let before = foreign();
    let frames: [&[u8]; 6] = [
        b"\0\0",
        b"\xff\xff",
        b"\0\x14\xff",
        b"\x01\0\x01\0\0\0\0\0",
        // A message of 65,535 octets, as TURN says it: after the first two octets it is clear what it is.
        b"\0\x01\xff\xff",
        b"\0\x03\xff\xfc\x21\x12\xa4\x42",
    ];
    for frame in frames {
        let mut stream = TcpStream::connect(bench.turn).expect("it listens");
        stream.write_all(frame).expect("it is taken");
        // It waits for what is announced, as long as that may be a message.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        assert_eq!(stream.get(), None, "{frame:?}");
    }
    assert!(foreign() >= before + 5, "{}", foreign());
    // The same behind an allocation.
    for frame in [&b"\x40\0\xff\xff"[..], b"\0\x16\xff\xfc", b"\x80\0\0\0"] {
        let mut turn = bench.connect().allocated();
        turn.wire.put(frame);
        assert_eq!(turn.wire.get(), None, "{frame:?}");
    }
    until("their allocations to go", || bench.count("aula_turn_allocations", "") == 1);
    // Empty ones are none's loss: to a channel, to none, and a datagram without anything in it.
    let mut turn = bench.connect().allocated();
    assert_eq!(turn.bind(bench.candidate), Heard::Granted);
    turn.wire.put(b"\x40\0\0\0");
    turn.wire.put(b"\x4f\xff\0\0");
    let garbage = turn.client.wrap(bench.candidate, &[0xff; 2000], true).expect("a channel");
    turn.wire.put(&garbage);
    assert!(turn.is_served());
    assert!(bystander.is_served());
}

/// So many files may be open.
fn raise_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a valid place for one structure.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// From an address of the loopback network.
fn connect_from(from: Ipv4Addr, to: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.bind(&SocketAddr::new(IpAddr::V4(from), 0).into()).ok()?;
    socket.connect(&to.into()).ok()?;
    Some(socket.into())
}

/// Between two signs of life of a member, in connections of others: who is silent is given up.
const PINGED_EVERY: usize = 200;
/// What has not been opened by then need not be.
const OPENING_FOR_MAX: Duration = Duration::from_secs(90);

#[tokio::test]
async fn thousands_of_half_open_connections_are_bounded_and_end_and_nobody_notices() {
    // The server has as many files, and what is left is for everybody else.
    let count = HALF_OPEN.min(raise_limit().saturating_sub(1000));
    let bench = Bench::start();
    let mut member = bench.server.join("ann").await;
    let mut bystander = bench.connect().allocated();
    let mut over_udp = bench.datagrams().allocated();
    let begun_at = Instant::now();
    let mut streams = Vec::with_capacity(count);
    // One address alone, and then forty more. A busy machine takes its time over them.
    for at in 0..count {
        if at.is_multiple_of(PINGED_EVERY) {
            member.ping().await;
        }
        if begun_at.elapsed() > OPENING_FOR_MAX {
            break;
        }
        let address = Ipv4Addr::new(127, 1, 0, 1 + (at / HALF_OPEN_PER_ADDRESS_MAX) as u8);
        let Some(mut stream) = connect_from(address, bench.turn) else {
            continue;
        };
        // The first octet of a frame; another one each second would change nothing.
        let _ = stream.write_all(&[0]);
        streams.push(stream);
    }
    let refused = |why: &str| bench.count("aula_tcp_refused_total", why) as usize;
    until("all of them to be seen", || {
        let ended = refused("too_many") + refused("late");
        ended >= streams.len().saturating_sub(HALF_OPEN_MAX)
    });
    println!(
        "{} connections after {:?}: {} refused, {} late",
        streams.len(),
        begun_at.elapsed(),
        refused("too_many"),
        refused("late")
    );
    member.ping().await;
    assert!(bystander.is_served());
    assert!(over_udp.is_served());
    assert!(matches!(bench.datagrams().allocate(), Heard::Allocated(_)), "a newcomer over UDP");
    until("all of them to end", || refused("too_many") + refused("late") >= streams.len());
    // Then there is room again for everybody.
    assert!(matches!(bench.connect().allocate(), Heard::Allocated(_)));
    assert!(bystander.is_served());
    member.ping().await;
}

/// A request that comes an octet a second is no request in time, and one before an allocation neither.
#[test]
fn an_octet_a_second_is_too_slow() {
    let bench = Bench::start();
    let mut bystander = bench.connect().allocated();
    let late = bench.count("aula_tcp_refused_total", "late");
    let mut frame = TcpStream::connect(bench.turn).expect("it listens");
    let mut request = TcpStream::connect(bench.turn).expect("it listens");
    // A frame that would be a check, and a request for an allocation.
    let octets = [&b"\0\x64\0\x01"[..], &[0; 96]].concat();
    let allocate = Client::new("", "").allocate();
    let mut at = 0;
    until("both to be closed", || {
        let _ = frame.write_all(&octets[at..=at]);
        let _ = request.write_all(&allocate[at..=at]);
        // It must not be whole before its time is up.
        at = (at + 1).min(20);
        std::thread::sleep(Duration::from_secs(1));
        bench.count("aula_tcp_refused_total", "late") >= late + 2
    });
    assert_eq!(frame.get(), None);
    assert_eq!(request.get(), None);
    assert!(bystander.is_served());
}

#[test]
fn on_the_port_of_turn_the_first_octet_tells_tls() {
    let port = free_port();
    let server = Server::start_with(&["-turn", &format!(":{port}")], |scratch| {
        scratch.write("groups/test.json", OPEN);
    });
    let session = |greeting: &[u8]| {
        let mut child = std::process::Command::new("openssl")
            .args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{port}")])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("openssl runs");
        child.stdin.as_mut().expect("piped").write_all(greeting).expect("it is taken");
        let mut answer = vec![0; 20];
        let read = child.stdout.as_mut().expect("piped").read_exact(&mut answer);
        let _ = child.kill();
        let _ = child.wait();
        read.ok().map(|()| answer)
    };
    let binding = stun::Draft::new(stun::Class::Request, method::BINDING, [5; 12]).finish(None);
    let answer = session(&binding).expect("an answer inside TLS");
    assert_eq!(answer[..2], [1, 1], "{answer:?}");
    assert_eq!(session(b"GET / HTTP/1.1\r\n\r\n"), None, "no HTTP here");
    let mut plain = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    plain.put(&binding);
    assert_eq!(plain.get().expect("an answer")[..2], [1, 1]);
    drop(server);
}
