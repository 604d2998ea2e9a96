//! The impairment relay between real sockets on loopback.

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use loadtest::netem::Relay;

/// Generous: the machine that runs tests may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    socket
}

fn receive(socket: &UdpSocket) -> Option<(Vec<u8>, SocketAddr)> {
    let mut buffer = [0; 2048];
    let (len, from) = socket.recv_from(&mut buffer).ok()?;
    Some((buffer[..len].to_vec(), from))
}

/// Sends numbered datagrams until `done` says so; returns what the server saw.
fn send_until(
    client: &UdpSocket,
    relay: &Relay,
    server: &UdpSocket,
    mut done: impl FnMut(&[(Vec<u8>, SocketAddr)]) -> bool,
) -> Vec<(Vec<u8>, SocketAddr)> {
    let start = Instant::now();
    let mut seen = Vec::new();
    for number in 0u32.. {
        client.send_to(&number.to_be_bytes(), relay.address()).expect("sent");
        seen.extend(receive(server));
        if done(&seen) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{} datagrams came through", seen.len());
    }
    seen
}

#[test]
fn datagrams_pass_both_ways_and_clients_keep_apart() {
    let server = socket();
    let address = server.local_addr().expect("an address");
    let relay = Relay::start(address, "delay=5ms".parse().expect("good"), 1).expect("starts");
    let clients = [socket(), socket()];
    let mut ports = HashSet::new();
    for (number, client) in (0u8..).zip(&clients) {
        let seen = send_until(client, &relay, &server, |seen| !seen.is_empty());
        let (_, from) = seen[0];
        assert!(ports.insert(from), "each client has an address of its own");
        server.send_to(&[number], from).expect("sent");
        let start = Instant::now();
        let (answer, via) = loop {
            match receive(client) {
                Some(answer) => break answer,
                None => assert!(start.elapsed() < PATIENCE, "no answer"),
            }
        };
        assert_eq!((answer, via), (vec![number], relay.address()));
    }
}

#[test]
fn a_rebinding_nat_changes_the_address_and_loss_loses() {
    let server = socket();
    let address = server.local_addr().expect("an address");
    let spec = "loss=30%,rebind=50ms".parse().expect("good");
    let relay = Relay::start(address, spec, 1).expect("starts");
    let client = socket();
    let seen = send_until(&client, &relay, &server, |seen| {
        let ports: HashSet<SocketAddr> = seen.iter().map(|(_, from)| *from).collect();
        ports.len() >= 3 && seen.len() >= 20
    });
    let (taken, lost) = relay.taken_and_lost();
    assert!(relay.rebound() >= 2 && lost > 0 && taken > lost, "{taken} {lost} {}", seen.len());
}
