use super::*;
use crate::message::error_code;

const OURS: &str = "192.0.2.1:8443";
const USER: &str = "2000:7";
const PASSWORD: &str = "made for them";

struct Bench {
    session: Session,
    unix_s: u64,
    now: Instant,
    standing: Standing,
    room: Room,
    serial: u8,
}

impl Bench {
    fn new() -> Self {
        let peers = [OURS, "[2001:db8::1]:8443"].map(|peer| peer.parse().unwrap()).to_vec();
        let nonce_key = hmac::Key::new(hmac::HMAC_SHA256, &[3; 32]);
        let rules = Arc::new(Rules { nonce_key, peers });
        let client = "198.51.100.9:4000".parse().unwrap();
        let session = Session::new(rules, client, 50_000);
        let (unix_s, now) = (1000, Instant::now());
        Self { session, unix_s, now, standing: Standing::Good, room: Room::Free, serial: 0 }
    }

    fn handle(&mut self, bytes: &[u8]) -> Option<Output> {
        let standing = self.standing;
        let grant = |username: &str| {
            (username != "nobody").then(|| Grant { password: PASSWORD.to_owned(), standing })
        };
        let room = self.room;
        self.session.handle(bytes, grant, || room, (self.unix_s, self.now))
    }

    fn begin(&mut self, method: u16) -> Draft {
        self.serial += 1;
        Draft::new(Class::Request, method, [self.serial; 12])
    }

    fn signed(&self, request: Draft, username: &str, password: &str) -> Vec<u8> {
        let nonce = self.session.nonce(self.unix_s);
        request
            .with(at::USERNAME, username.as_bytes())
            .with(at::REALM, REALM.as_bytes())
            .with(at::NONCE, nonce.as_bytes())
            .finish(Some(&key(username, REALM, password)))
    }

    /// The code of the answer; 0 if it went well.
    fn code(&mut self, bytes: &[u8]) -> u16 {
        let Some(Output::Reply(reply)) = self.handle(bytes) else { panic!("no answer") };
        error_code(&reply).unwrap_or(0)
    }

    fn ask(&mut self, request: Draft) -> u16 {
        let bytes = self.signed(request, USER, PASSWORD);
        self.code(&bytes)
    }

    fn allocate(&mut self) -> u16 {
        let request = self.begin(method::ALLOCATE).with(at::TRANSPORT, &UDP.to_be_bytes());
        self.ask(request)
    }

    fn permit(&mut self, peer: &str) -> u16 {
        let peer = peer.parse().unwrap();
        let request = self.begin(method::CREATE_PERMISSION).with_address(at::PEER_ADDRESS, peer);
        self.ask(request)
    }

    fn bind(&mut self, number: u16, peer: &str) -> u16 {
        let number = (u32::from(number) << 16).to_be_bytes();
        let request = self
            .begin(method::CHANNEL_BIND)
            .with(at::CHANNEL_NUMBER, &number)
            .with_address(at::PEER_ADDRESS, peer.parse().unwrap());
        self.ask(request)
    }

    fn send(&mut self, peer: &str) -> Option<Output> {
        let bytes = Draft::new(Class::Indication, method::SEND, [9; 12])
            .with_address(at::PEER_ADDRESS, peer.parse().unwrap())
            .with(at::DATA, b"hello")
            .finish(None);
        self.handle(&bytes)
    }
}

#[test]
fn a_client_reaches_our_candidates_and_hears_from_them() {
    let mut bench = Bench::new();
    assert_eq!(bench.allocate(), 0);
    assert_eq!(bench.session.relayed(), Some("192.0.2.1:50000".parse().unwrap()));
    assert_eq!(bench.send(OURS), None, "without permission");
    assert_eq!(bench.permit("192.0.2.1:1"), 0, "permissions are by address");
    let ours: SocketAddr = OURS.parse().unwrap();
    assert_eq!(bench.send(OURS), Some(Output::Forward(ours, b"hello".to_vec())));
    let wrapped = bench.session.wrap(ours, b"answer", true, bench.now).unwrap();
    let data = Message::parse(&wrapped).unwrap();
    assert_eq!((data.method, data.get(at::DATA)), (method::DATA, Some(&b"answer"[..])));
    assert_eq!(bench.bind(0x4001, OURS), 0);
    let wrapped = bench.session.wrap(ours, b"answer", true, bench.now).unwrap();
    assert_eq!(wrapped, b"\x40\x01\x00\x06answer\0\0");
    let wrapped = bench.session.wrap(ours, b"answer", false, bench.now).unwrap();
    assert_eq!(wrapped, b"\x40\x01\x00\x06answer");
    let data = bench.handle(b"\x40\x01\x00\x03abc\0");
    assert_eq!(data, Some(Output::Forward(ours, b"abc".to_vec())));
    assert_eq!(bench.handle(b"\x40\x02\x00\x03abc\0"), None, "another channel");
    assert_eq!(bench.handle(b"\x40\x01\x00\x09abc\0"), None, "more than there is");
    // Permissions end, channels later, and the allocation unless it is refreshed.
    bench.now += PERMISSION_FOR;
    assert_eq!(bench.send(OURS), None);
    let request = bench.begin(method::REFRESH);
    assert_eq!(bench.ask(request), 0);
    bench.now += CHANNEL_FOR - PERMISSION_FOR;
    assert_eq!(bench.handle(b"\x40\x01\x00\x03abc\0"), None);
    assert!(bench.session.is_allocated(bench.now));
    bench.now += Duration::from_secs(LIFETIME_S.into());
    assert!(!bench.session.is_allocated(bench.now));
    assert_eq!(bench.permit(OURS), 437);
    assert_eq!(bench.allocate(), 0, "and then again");
    let request = bench.begin(method::REFRESH).with(at::LIFETIME, &[0; 4]);
    assert_eq!(bench.ask(request), 0);
    assert!(!bench.session.is_allocated(bench.now));
}

#[test]
fn nothing_but_our_candidates_is_reached() {
    let mut bench = Bench::new();
    assert_eq!(bench.allocate(), 0);
    for peer in [
        "127.0.0.1:8443",
        "127.9.9.9:80",
        "0.0.0.0:8443",
        "10.0.0.1:8443",
        "192.168.1.1:53",
        "169.254.169.254:80",
        "100.64.0.1:1",
        "224.0.0.1:5353",
        "255.255.255.255:9",
        "198.51.100.9:4000",
        "192.0.2.2:8443",
    ] {
        assert_eq!(bench.permit(peer), 403, "{peer}");
        assert_eq!(bench.bind(0x4000, peer), 403, "{peer}");
        assert_eq!(bench.send(peer), None, "{peer}");
    }
    for peer in ["[::1]:8443", "[::ffff:127.0.0.1]:8443", "[::ffff:192.0.2.1]:8443", "[fe80::1]:1"]
    {
        assert_eq!(bench.permit(peer), 443, "{peer}: the relayed address is of the other family");
        assert_eq!(bench.bind(0x4000, peer), 443, "{peer}");
        assert_eq!(bench.send(peer), None, "{peer}");
    }
    // Other ports of the right address, among them that of HTTPS and the relayed ones.
    assert_eq!(bench.permit(OURS), 0);
    for port in [0, 22, 443, 50_000, 65_535] {
        let peer = format!("192.0.2.1:{port}");
        assert_eq!(bench.bind(0x4000, &peer), 403, "{peer}");
        assert_eq!(bench.send(&peer), None, "{peer}");
    }
    // One that may be reached and one that may not: neither is permitted.
    let mut bench = Bench::new();
    assert_eq!(bench.allocate(), 0);
    let both = bench
        .begin(method::CREATE_PERMISSION)
        .with_address(at::PEER_ADDRESS, OURS.parse().unwrap())
        .with_address(at::PEER_ADDRESS, "10.0.0.1:1".parse().unwrap());
    assert_eq!(bench.ask(both), 403);
    assert_eq!(bench.send(OURS), None);
    // The same for the other family, where mapped addresses are.
    let mut bench = Bench::new();
    let request = bench.begin(method::ALLOCATE).with(at::TRANSPORT, &UDP.to_be_bytes());
    assert_eq!(bench.ask(request.with(at::FAMILY, &[2, 0, 0, 0])), 0);
    for peer in ["[::1]:8443", "[::ffff:127.0.0.1]:8443", "[::ffff:192.0.2.1]:8443", "[fe80::1]:1"]
    {
        assert_eq!(bench.permit(peer), 403, "{peer}");
        assert_eq!(bench.bind(0x4000, peer), 403, "{peer}");
    }
    assert_eq!(bench.bind(0x4000, "[2001:db8::1]:8443"), 0);
}

#[test]
fn credentials_are_asked_for_and_end() {
    let mut bench = Bench::new();
    let bare = bench.begin(method::ALLOCATE).finish(None);
    assert_eq!(bench.code(&bare), 401);
    let request = bench.begin(method::ALLOCATE).with(at::TRANSPORT, &UDP.to_be_bytes());
    let bytes = bench.signed(request, USER, "guessed");
    assert_eq!(bench.code(&bytes), 401);
    let request = bench.begin(method::ALLOCATE).with(at::TRANSPORT, &UDP.to_be_bytes());
    let bytes = bench.signed(request, "nobody", PASSWORD);
    assert_eq!(bench.code(&bytes), 401);
    let keyed = bench.begin(method::ALLOCATE).finish(Some(&key(USER, REALM, PASSWORD)));
    assert_eq!(bench.code(&keyed), 400, "without a name");
    // Heard on the way and said again: elsewhere, or later.
    let request = bench.begin(method::ALLOCATE).with(at::TRANSPORT, &UDP.to_be_bytes());
    let heard = bench.signed(request, USER, PASSWORD);
    let mut thief = Bench::new();
    thief.session.client.set_port(4001);
    assert_eq!(thief.code(&heard), 438);
    bench.unix_s += NONCE_FOR_S + 1;
    assert_eq!(bench.code(&heard), 438);
    bench.unix_s -= 2 * NONCE_FOR_S;
    assert_eq!(bench.code(&heard), 438, "from the future");
    bench.unix_s += NONCE_FOR_S + 1;
    bench.standing = Standing::Ended;
    assert_eq!(bench.allocate(), 403);
    bench.standing = Standing::Unknown;
    let request = bench.begin(method::ALLOCATE).with(at::TRANSPORT, &UDP.to_be_bytes());
    let bytes = bench.signed(request, USER, PASSWORD);
    assert_eq!(bench.handle(&bytes), Some(Output::Ask(USER.to_owned())));
    assert!(!bench.session.is_allocated(bench.now));
    bench.standing = Standing::Good;
    assert_eq!(bench.allocate(), 0);
    let refresh = bench.begin(method::REFRESH);
    let bytes = bench.signed(refresh, "2000:8", PASSWORD);
    assert_eq!(bench.code(&bytes), 441, "another user's");
}

#[test]
fn odd_requests_have_their_codes() {
    let mut bench = Bench::new();
    for room in [(Room::UserFull, 486), (Room::ServerFull, 508)] {
        bench.room = room.0;
        assert_eq!(bench.allocate(), room.1);
    }
    bench.room = Room::Free;
    let request = bench.begin(method::ALLOCATE);
    assert_eq!(bench.ask(request), 400);
    let request = bench.begin(method::ALLOCATE).with(at::TRANSPORT, &[6, 0, 0, 0]);
    assert_eq!(bench.ask(request), 442);
    let allocate =
        |bench: &mut Bench| bench.begin(method::ALLOCATE).with(at::TRANSPORT, &UDP.to_be_bytes());
    let request = allocate(&mut bench).with(at::FAMILY, &[9, 0, 0, 0]);
    assert_eq!(bench.ask(request), 440);
    let request = allocate(&mut bench).with(at::EVEN_PORT, &[0x80]);
    assert_eq!(bench.ask(request), 508);
    let request = allocate(&mut bench).with(0x7fff, &[1]);
    assert_eq!(bench.ask(request), 420);
    for method in [method::REFRESH, method::CREATE_PERMISSION, method::CHANNEL_BIND, 0xf] {
        let expected = if method == 0xf { 400 } else { 437 };
        let request = bench.begin(method);
        assert_eq!(bench.ask(request), expected, "{method}");
    }
    let request = allocate(&mut bench);
    let bytes = bench.signed(request, USER, PASSWORD);
    assert_eq!(bench.code(&bytes), 0);
    assert_eq!(bench.code(&bytes), 0, "repeated, as over UDP");
    assert_eq!(bench.allocate(), 437);
    assert_eq!(bench.bind(0x3fff, OURS), 400);
    assert_eq!(bench.bind(0x5000, OURS), 400);
    assert_eq!(bench.bind(0x4000, OURS), 0);
    assert_eq!(bench.bind(0x4000, OURS), 0, "again");
    assert_eq!(bench.bind(0x4001, OURS), 400, "one peer, one channel");
    let request = bench.begin(method::CREATE_PERMISSION);
    assert_eq!(bench.ask(request), 400);
    let binding = bench.begin(method::BINDING).finish(None);
    assert_eq!(bench.code(&binding), 0);
    for bytes in [&b""[..], b"\x00", b"\x40", b"\x40\x00\x00", b"GET / HTTP/1.1"] {
        assert_eq!(bench.handle(bytes), None, "{bytes:?}");
    }
}
