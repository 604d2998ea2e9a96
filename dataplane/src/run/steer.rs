//! Which of the shards' sockets a datagram comes to, where they share a port: only those of shards that
//! have something to do. By itself the kernel spreads datagrams over all of them, and each one that
//! comes to a shard whose it is not wakes two.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// Offsets from where the network header begins (socket filters of Linux count negative).
const NETWORK: u32 = libc::SKF_NET_OFF as u32;
/// The last four octets of the sender's address, and its port behind a header without options.
const V4: (u32, u32) = (NETWORK + 12, NETWORK + 20);
/// The same in IPv6.
const V6: (u32, u32) = (NETWORK + 20, NETWORK + 40);

/// A handle on the port that the shards share.
pub(crate) struct Steering {
    /// Any of the sockets: what decides belongs to all of them.
    socket: UdpSocket,
    /// Random, so that nobody outside knows which shard a port of theirs comes to.
    factor: u32,
    /// Shards that datagrams come to.
    used: usize,
}

impl Steering {
    /// Of a group of sockets of which this is one; the first shard gets all for now.
    pub(super) fn new(socket: UdpSocket, seed: u64) -> Self {
        // Odd: multiplied by that, no two numbers become one.
        let mut steering = Self { socket, factor: seed as u32 | 1, used: 0 };
        steering.use_first(1);
        steering
    }

    /// Datagrams shall come to the first `shards`. A kernel that cannot do that spreads them over all,
    /// and lanes bring them where they belong.
    pub(crate) fn use_first(&mut self, shards: usize) {
        if self.used != shards && attach(&self.socket, &program(shards as u32, self.factor)).is_ok()
        {
            self.used = shards;
        }
    }
}

fn step(code: u32, k: u32, (then, otherwise): (u8, u8)) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: then, jf: otherwise, k }
}

/// A socket filter whose result is the number of a socket: address and port of the sender, multiplied,
/// modulo `shards`.
fn program(shards: u32, factor: u32) -> Vec<libc::sock_filter> {
    use libc::{
        BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_B, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_MISC,
        BPF_MOD, BPF_MUL, BPF_RET, BPF_RSH, BPF_TAX, BPF_W, BPF_X,
    };
    const ON: (u8, u8) = (0, 0);
    if shards <= 1 {
        return vec![step(BPF_RET | BPF_K, 0, ON)];
    }
    let load = |size: u32, at: u32| step(BPF_LD | size | BPF_ABS, at, ON);
    let alu = |what: u32, k: u32| step(BPF_ALU | what | BPF_K, k, ON);
    let to_x = step(BPF_MISC | BPF_TAX, 0, ON);
    vec![
        load(BPF_B, NETWORK),
        alu(BPF_RSH, 4),
        step(BPF_JMP | BPF_JEQ | BPF_K, 4, (0, 4)),
        load(BPF_W, V4.0),
        to_x,
        load(BPF_H, V4.1),
        step(BPF_JMP | BPF_JEQ | BPF_K, 0, (3, 3)),
        load(BPF_W, V6.0),
        to_x,
        load(BPF_H, V6.1),
        alu(BPF_MUL, 0x9e37),
        step(BPF_ALU | BPF_ADD | BPF_X, 0, ON),
        alu(BPF_MUL, factor),
        alu(BPF_RSH, 16),
        alu(BPF_MOD, shards),
        step(BPF_RET | BPF_A, 0, ON),
    ]
}

fn attach(socket: &UdpSocket, program: &[libc::sock_filter]) -> io::Result<()> {
    let program =
        libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the option takes a `sock_fprog`, and its address and size are those of `program`; the
    // kernel reads `len` steps from `filter`, which is a slice of as many that outlives the call, and
    // writes nothing.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    const SENDERS: usize = 64;

    /// How many datagrams of [`SENDERS`] senders come to each socket.
    fn counts(sockets: &[UdpSocket], from: &str, to: &str) -> Vec<usize> {
        let port = sockets[0].local_addr().expect("bound").port();
        let senders: Vec<_> =
            (0..SENDERS).map(|_| UdpSocket::bind((from, 0)).expect("a sender")).collect();
        for sender in &senders {
            sender.send_to(b"here", (to, port)).expect("sent");
        }
        let mut counts = vec![0; sockets.len()];
        let deadline = Instant::now() + Duration::from_secs(60);
        while counts.iter().sum::<usize>() < SENDERS {
            assert!(Instant::now() < deadline, "{counts:?} of {SENDERS}");
            for (count, socket) in counts.iter_mut().zip(sockets) {
                *count += usize::from(socket.recv(&mut [0; 16]).is_ok());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        counts
    }

    #[test]
    fn datagrams_come_to_the_shards_in_use() {
        let first = super::super::bind(0).expect("a port");
        let port = first.local_addr().expect("bound").port();
        let mut sockets = vec![first];
        sockets.extend((0..2).map(|_| super::super::bind(port).expect("the same port")));
        let mut steering = Steering::new(sockets[0].try_clone().expect("a descriptor"), 12345);
        let mut ways = vec![("127.0.0.1", "127.0.0.1")];
        // Not every machine has it.
        ways.extend(UdpSocket::bind(("::1", 0)).is_ok().then_some(("::1", "::1")));
        for (from, to) in ways {
            for used in [1, 2, 3] {
                steering.use_first(used);
                let counts = counts(&sockets, from, to);
                let (those, others) = counts.split_at(used);
                assert!(those.iter().all(|count| *count > 0), "{counts:?}");
                assert!(others.iter().all(|count| *count == 0), "{counts:?}");
            }
        }
    }
}
