//! The shard's UDP socket: SO_REUSEPORT, dual stack, batches in and out. Each datagram's local
//! address is read and written with it (IPV6_PKTINFO), so that on a machine with several addresses
//! a peer hears from the one it spoke to. This file holds the system calls and nothing else.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::outbox::{BATCH_MAX, Outgoing, Wire};
#[cfg(test)]
use crate::path::Path;

/// Datagrams per recvmmsg.
pub(crate) const RECEIVE_BATCH: usize = 32;
/// Larger ones are cut by the kernel and fail to authenticate.
const RECEIVE_BYTES: usize = 2048;
/// What we ask for; the kernel may give less (net.core.rmem_max).
const BUFFER_BYTES: usize = 4 << 20;
/// Room for control messages with an `in6_pktinfo` (40 octets with its header) and a `timespec` or
/// a segment size (32 and 24).
const CONTROL_BYTES: usize = 96;
/// A datagram that waited longer in the receive buffer than this comes from a clock that was set.
const AGE_MAX: Duration = Duration::from_secs(1);

/// Binds a socket that shares its port with those of the other shards.
pub fn bind(port: u16) -> Result<UdpSocket, (SocketAddr, io::Error)> {
    let any6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match open(any6) {
        Ok(socket) => Ok(socket),
        // A machine without IPv6.
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            let any4 = SocketAddr::from(([0, 0, 0, 0], port));
            open(any4).map_err(|error| (any4, error))
        }
        Err(error) => Err((any6, error)),
    }
}

fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Best effort: a small buffer costs packets under load, not function.
    let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(BUFFER_BYTES);
    let (level, name) = if address.is_ipv6() {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    };
    set_flag(&socket, level, name)?;
    // Best effort: without it arrivals have the time at which we look.
    let _ = set_flag(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn set_flag(socket: &Socket, level: libc::c_int, name: libc::c_int) -> io::Result<()> {
    set_option(socket.as_raw_fd(), level, name, 1)
}

/// Sets an option of an open socket that takes an integer.
pub(crate) fn set_option(
    socket: RawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the option takes a `c_int`, and its address and size are those of `value`, which
    // outlives the call; the kernel checks the descriptor.
    let result = unsafe {
        libc::setsockopt(
            socket,
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

/// Reads batches.
pub struct Receiver {
    data: Box<[[u8; RECEIVE_BYTES]; RECEIVE_BATCH]>,
    names: Box<[libc::sockaddr_storage; RECEIVE_BATCH]>,
    controls: Box<[Control; RECEIVE_BATCH]>,
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

impl Receiver {
    /// Buffers for one batch.
    pub fn new() -> Self {
        Self {
            data: Box::new([[0; RECEIVE_BYTES]; RECEIVE_BATCH]),
            // SAFETY: all bit patterns, zeros too, are valid for a `sockaddr_storage`.
            names: Box::new([unsafe { mem::zeroed() }; RECEIVE_BATCH]),
            controls: Box::new([Control([0; CONTROL_BYTES]); RECEIVE_BATCH]),
        }
    }

    /// Reads up to a batch and calls `each` with sender, local address, for how long the datagram
    /// has waited in the kernel, and bytes. Returns how many there were; an error is `WouldBlock`
    /// or one that the socket has for a while.
    pub fn receive(
        &mut self,
        socket: RawFd,
        local_fallback: IpAddr,
        mut each: impl FnMut(SocketAddr, IpAddr, Duration, &mut [u8]),
    ) -> io::Result<usize> {
        // SAFETY: zeros are a valid `iovec` and `mmsghdr`: null pointers with length zero.
        let (mut vectors, mut headers): (
            [libc::iovec; RECEIVE_BATCH],
            [libc::mmsghdr; RECEIVE_BATCH],
        ) = unsafe { (mem::zeroed(), mem::zeroed()) };
        for i in 0..RECEIVE_BATCH {
            vectors[i].iov_base = self.data[i].as_mut_ptr().cast();
            vectors[i].iov_len = RECEIVE_BYTES;
            let header = &mut headers[i].msg_hdr;
            header.msg_name = (&raw mut self.names[i]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut vectors[i];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[i].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES;
        }
        // SAFETY: each header points to a name, one vector and a control buffer of the sizes
        // given; all of them live in `self` or on this stack until after the call.
        let received = unsafe {
            libc::recvmmsg(
                socket,
                headers.as_mut_ptr(),
                RECEIVE_BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        let now = realtime();
        let filled = headers.iter().zip(&self.names[..]).zip(&mut self.data[..]);
        for ((header, name), data) in filled.take(received) {
            let len = (header.msg_len as usize).min(RECEIVE_BYTES);
            let Some(from) = read_address(name) else {
                continue;
            };
            let told = read_control(&header.msg_hdr);
            let local = told.local.unwrap_or(local_fallback);
            let age = told.arrived.and_then(|at| now.checked_sub(at)).filter(|age| *age < AGE_MAX);
            each(from, local, age.unwrap_or_default(), &mut data[..len]);
        }
        Ok(received)
    }
}

/// The clock of the kernel's receive timestamps (`CLOCK_REALTIME`).
fn realtime() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// What the kernel tells beside a datagram.
#[derive(Default)]
struct Told {
    /// The address it was sent to.
    local: Option<IpAddr>,
    /// When it arrived, on the clock of [`realtime`].
    arrived: Option<Duration>,
}

fn read_control(header: &libc::msghdr) -> Told {
    let mut told = Told::default();
    // SAFETY: the kernel has filled the control buffer that `header` points to and set its
    // length; the CMSG functions stay within it. Data is copied out with `read_unaligned`, after
    // level and type have told what it is.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(found) = message.as_ref() {
            if found.cmsg_level == libc::IPPROTO_IPV6 && found.cmsg_type == libc::IPV6_PKTINFO {
                let info: libc::in6_pktinfo =
                    std::ptr::read_unaligned(libc::CMSG_DATA(message).cast());
                told.local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical());
            }
            if found.cmsg_level == libc::IPPROTO_IP && found.cmsg_type == libc::IP_PKTINFO {
                let info: libc::in_pktinfo =
                    std::ptr::read_unaligned(libc::CMSG_DATA(message).cast());
                told.local = Some(IpAddr::from(info.ipi_addr.s_addr.to_ne_bytes()));
            }
            if found.cmsg_level == libc::SOL_SOCKET && found.cmsg_type == libc::SCM_TIMESTAMPNS {
                let at: libc::timespec = std::ptr::read_unaligned(libc::CMSG_DATA(message).cast());
                told.arrived = u64::try_from(at.tv_sec)
                    .ok()
                    .map(|seconds| Duration::new(seconds, at.tv_nsec.clamp(0, 999_999_999) as u32));
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    told
}

fn read_address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET6 => {
            // SAFETY: the family says that the storage, which is larger and at least as aligned,
            // holds a `sockaddr_in6`.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr).to_canonical();
            Some(SocketAddr::new(ip, u16::from_be(name.sin6_port)))
        }
        libc::AF_INET => {
            // SAFETY: as above, for `sockaddr_in`.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            let ip = IpAddr::from(name.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::new(ip, u16::from_be(name.sin_port)))
        }
        _ => None,
    }
}

/// Segments of one GSO send; the kernel takes 64, more than a frame has.
const SEGMENTS_MAX: usize = 32;
/// Bytes of one GSO send: what one UDP datagram could carry.
const RUN_BYTES_MAX: usize = 60_000;

/// Sends batches. Consecutive datagrams of equal size to one peer leave as one GSO send
/// (UDP_SEGMENT), which costs the stack about as much as a single one.
pub struct UdpWire {
    socket: UdpSocket,
    epoch: Instant,
    is_v6: bool,
    /// Whether the kernel takes GSO sends; off after the first that it refuses.
    has_gso: bool,
    names: Box<[libc::sockaddr_storage; BATCH_MAX]>,
    controls: Box<[Control; BATCH_MAX]>,
    vectors: Box<[libc::iovec; BATCH_MAX]>,
    headers: Box<[libc::mmsghdr; BATCH_MAX]>,
    /// Datagrams in each prepared message.
    segments: [usize; BATCH_MAX],
}

impl UdpWire {
    /// A sender on a socket made by [`bind`]; its clock counts from `epoch`.
    pub fn new(socket: UdpSocket, epoch: Instant) -> Self {
        let is_v6 = socket.local_addr().is_ok_and(|address| address.is_ipv6());
        // SAFETY: zeros are valid for all four types: no address, null pointers, no length.
        let (name, vector, header) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        Self {
            socket,
            epoch,
            is_v6,
            has_gso: true,
            names: Box::new([name; BATCH_MAX]),
            controls: Box::new([Control([0; CONTROL_BYTES]); BATCH_MAX]),
            vectors: Box::new([vector; BATCH_MAX]),
            headers: Box::new([header; BATCH_MAX]),
            segments: [0; BATCH_MAX],
        }
    }

    /// Makes messages of the batch and returns how many.
    fn prepare(&mut self, slab: &[u8], batch: &[Outgoing]) -> usize {
        let mut rest = &batch[..batch.len().min(BATCH_MAX)];
        let mut count = 0;
        while let Some(first) = rest.first() {
            let run = if self.has_gso { run_length(rest) } else { 1 };
            let (packets, others) = rest.split_at(run);
            let end = packets.last().map_or(first.start, |last| last.start + last.len);
            let bytes = &slab[first.start..end];
            // The kernel only reads through this pointer, whatever its type says.
            self.vectors[count].iov_base = bytes.as_ptr().cast_mut().cast();
            self.vectors[count].iov_len = bytes.len();
            let name_len = write_address(&mut self.names[count], first.path.peer, self.is_v6);
            let control = &mut self.controls[count];
            let mut control_len =
                first.path.local.map_or(0, |from| write_local(control, from, self.is_v6));
            if run > 1 {
                control_len = write_segment_size(control, control_len, first.len as u16);
            }
            let header = &mut self.headers[count].msg_hdr;
            header.msg_name = (&raw mut self.names[count]).cast();
            header.msg_namelen = name_len;
            header.msg_iov = &raw mut self.vectors[count];
            header.msg_iovlen = 1;
            header.msg_control = if control_len > 0 {
                self.controls[count].0.as_mut_ptr().cast()
            } else {
                std::ptr::null_mut()
            };
            header.msg_controllen = control_len;
            self.segments[count] = run;
            count += 1;
            rest = others;
        }
        count
    }
}

/// How many datagrams from the first on can be one GSO send: same peer, next to each other in the
/// slab, equally long but for a shorter last one.
fn run_length(batch: &[Outgoing]) -> usize {
    let Some(first) = batch.first() else { return 0 };
    let mut run = 1;
    for pair in batch.windows(2).take(SEGMENTS_MAX - 1) {
        let (before, next) = (&pair[0], &pair[1]);
        let goes_on = next.path == first.path
            && next.start == before.start + before.len
            && before.len == first.len
            && next.len <= first.len
            && next.start + next.len - first.start <= RUN_BYTES_MAX;
        if !goes_on {
            break;
        }
        run += 1;
    }
    run
}

impl Wire for UdpWire {
    fn send(&mut self, slab: &[u8], batch: &[Outgoing]) -> usize {
        let count = self.prepare(slab, batch);
        let (mut at, mut taken) = (0, 0);
        while at < count {
            // SAFETY: headers `at..count` were prepared above from `slab`, which is borrowed for
            // the whole call, and from arrays that `self` owns.
            let sent = unsafe {
                libc::sendmmsg(
                    self.socket.as_raw_fd(),
                    self.headers[at..].as_mut_ptr(),
                    (count - at) as libc::c_uint,
                    libc::MSG_DONTWAIT,
                )
            };
            match usize::try_from(sent) {
                Ok(sent) if sent > 0 => {
                    taken += self.segments[at..at + sent].iter().sum::<usize>();
                    at += sent;
                }
                _ => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    // The queue is full: what is left is late already.
                    error if error.kind() == io::ErrorKind::WouldBlock => break,
                    // A run that cannot go as one (the path's MTU is smaller, or the device has no
                    // checksum offload: EIO, for which there will be no GSO any more) goes packet
                    // by packet.
                    error if self.segments[at] > 1 => {
                        let start: usize = self.segments[..at].iter().sum();
                        let (run, rest) = batch[start..].split_at(self.segments[at]);
                        self.has_gso = false;
                        taken += self.send(slab, run);
                        self.has_gso = error.raw_os_error() != Some(libc::EIO);
                        return taken + self.send(slab, rest);
                    }
                    // This one cannot go (no route, refused, too big): the others can.
                    _ => at += 1,
                },
            }
        }
        taken
    }

    fn now_us(&mut self) -> u64 {
        self.epoch.elapsed().as_micros() as u64 + 1
    }
}

/// How many datagrams the kernel has dropped at a socket since it was made, modulo 2^32: no room in
/// the receive buffer, or a wrong checksum. Linux 4.12 and newer tell.
pub(crate) fn overflows(socket: RawFd) -> Option<u32> {
    let mut words = [0u32; libc::SK_MEMINFO_DROPS as usize + 1];
    let mut len = size_of_val(&words) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, the size of `words`, and its length to `len`.
    let result = unsafe {
        libc::getsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            words.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    (result == 0 && len as usize == size_of_val(&words)).then_some(words[words.len() - 1])
}

/// Appends the control message that says how to cut a GSO send; returns the new length.
fn write_segment_size(control: &mut Control, at: usize, bytes: u16) -> usize {
    let head = size_of::<libc::cmsghdr>();
    let header = libc::cmsghdr {
        cmsg_len: head + size_of::<u16>(),
        cmsg_level: libc::SOL_UDP,
        cmsg_type: libc::UDP_SEGMENT,
    };
    // SAFETY: `at` is 0 or the aligned length of the first control message (40 bytes at most), so
    // header and value (18 bytes) fit into the 96 and start at a multiple of 8.
    unsafe { std::ptr::write(control.0.as_mut_ptr().add(at).cast(), header) };
    control.0[at + head..at + head + 2].copy_from_slice(&bytes.to_ne_bytes());
    at + (head + size_of::<u16>()).next_multiple_of(size_of::<usize>())
}

fn write_address(
    name: &mut libc::sockaddr_storage,
    address: SocketAddr,
    is_v6: bool,
) -> libc::socklen_t {
    if is_v6 {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let v6 = SocketAddrV6::new(ip, address.port(), 0, 0);
        // SAFETY: the storage is larger than a `sockaddr_in6` and at least as aligned.
        let target = unsafe { &mut *(&raw mut *name).cast::<libc::sockaddr_in6>() };
        target.sin6_family = libc::AF_INET6 as libc::sa_family_t;
        target.sin6_port = v6.port().to_be();
        target.sin6_addr.s6_addr = v6.ip().octets();
        size_of::<libc::sockaddr_in6>() as libc::socklen_t
    } else {
        let IpAddr::V4(ip) = address.ip() else {
            return 0;
        };
        // SAFETY: as above, for `sockaddr_in`.
        let target = unsafe { &mut *(&raw mut *name).cast::<libc::sockaddr_in>() };
        target.sin_family = libc::AF_INET as libc::sa_family_t;
        target.sin_port = address.port().to_be();
        target.sin_addr.s_addr = u32::from_ne_bytes(ip.octets());
        size_of::<libc::sockaddr_in>() as libc::socklen_t
    }
}

/// Writes the control message that sets a datagram's source address; returns its length.
fn write_local(control: &mut Control, from: IpAddr, is_v6: bool) -> usize {
    let head = size_of::<libc::cmsghdr>();
    let mut write = |level: libc::c_int, kind: libc::c_int, data: &[u8]| {
        let header =
            libc::cmsghdr { cmsg_len: head + data.len(), cmsg_level: level, cmsg_type: kind };
        // SAFETY: `Control` is aligned to 8 as `cmsghdr` wants and longer than header and data
        // (16 and at most 20 bytes on the platforms with these calls).
        unsafe { std::ptr::write(control.0.as_mut_ptr().cast(), header) };
        control.0[head..head + data.len()].copy_from_slice(data);
        (head + data.len()).next_multiple_of(size_of::<usize>())
    };
    match (from, is_v6) {
        (ip, true) => {
            let ip = match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            // in6_pktinfo: the address, then an interface index of 0 for "any".
            let mut info = [0; 20];
            info[..16].copy_from_slice(&ip.octets());
            write(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info)
        }
        (IpAddr::V4(ip), false) => {
            // in_pktinfo: interface index, the address to send from, one that is ignored.
            let mut info = [0; 12];
            info[4..8].copy_from_slice(&ip.octets());
            write(libc::IPPROTO_IP, libc::IP_PKTINFO, &info)
        }
        (IpAddr::V6(_), false) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive_all(socket: &UdpSocket, want: usize) -> Vec<(SocketAddr, IpAddr, Vec<u8>)> {
        let mut receiver = Receiver::new();
        let mut got = Vec::new();
        let any = IpAddr::from([0, 0, 0, 0]);
        while got.len() < want {
            let taken = receiver.receive(socket.as_raw_fd(), any, |from, local, age, data| {
                assert!(age < AGE_MAX);
                got.push((from, local, data.to_vec()));
            });
            if taken.is_err() {
                std::thread::yield_now();
            }
        }
        got
    }

    #[test]
    fn batches_arrive_with_both_addresses_over_ipv4_on_a_dual_stack_socket() {
        let (a, b) = (bind(0).expect("binds"), bind(0).expect("binds"));
        let port = |socket: &UdpSocket| socket.local_addr().expect("bound").port();
        let peer = ([127, 0, 0, 1], port(&b)).into();
        let slab: Vec<u8> = (0..100).collect();
        // From an address of ours that the kernel would not choose by itself.
        let path = Path::udp(peer, Some(IpAddr::from([127, 0, 0, 2])));
        let batch: Vec<Outgoing> =
            (0..10).map(|i| Outgoing { path, start: i * 10, len: 10 }).collect();
        let a_port = port(&a);
        assert_eq!(UdpWire::new(a, Instant::now()).send(&slab, &batch), 10);
        let got = receive_all(&b, 10);
        for (i, (sender, local, data)) in got.into_iter().enumerate() {
            assert_eq!(sender, ([127, 0, 0, 2], a_port).into());
            assert_eq!(local, IpAddr::from([127, 0, 0, 1]));
            assert_eq!(data, slab[i * 10..i * 10 + 10]);
        }
    }

    /// Each datagram has the time at which it came, not that at which the batch was read.
    #[test]
    fn datagrams_of_one_batch_have_ages_of_their_own() {
        let apart = Duration::from_millis(30);
        let (a, b) = (bind(0).expect("binds"), bind(0).expect("binds"));
        let to: SocketAddr = ([127, 0, 0, 1], b.local_addr().expect("bound").port()).into();
        let mut receiver = Receiver::new();
        // The kernel switches its stamps on a moment after the first socket has asked for them, and
        // what is read very late is not believed.
        let has_ages = (0..100).any(|_| {
            a.send_to(&[1], to).expect("sends");
            std::thread::sleep(apart);
            a.send_to(&[2], to).expect("sends");
            let mut ages = Vec::new();
            while ages.len() < 2 {
                let _ = receiver.receive(b.as_raw_fd(), [0; 4].into(), |_, _, age, _| {
                    ages.push(age);
                });
            }
            ages[0] >= ages[1] + apart
        });
        assert!(has_ages);
    }

    /// Equal packets to one peer are one run, and arrive as what they were.
    #[test]
    fn runs_are_cut_where_peers_or_sizes_change_and_arrive_whole() {
        let (a, b, c) = (bind(0).expect("binds"), bind(0).expect("binds"), bind(0).expect("binds"));
        let to = |socket: &UdpSocket| -> SocketAddr {
            ([127, 0, 0, 1], socket.local_addr().expect("bound").port()).into()
        };
        let sizes = [(to(&b), 100), (to(&b), 100), (to(&b), 60), (to(&b), 100), (to(&c), 100)];
        let slab: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let mut start = 0;
        let batch: Vec<Outgoing> = sizes
            .into_iter()
            .map(|(to, len)| {
                let path = Path::udp(to, Some(IpAddr::from([127, 0, 0, 1])));
                let out = Outgoing { path, start, len };
                start += len;
                out
            })
            .collect();
        assert_eq!(run_length(&batch), 3);
        assert_eq!(run_length(&batch[3..]), 1);
        assert_eq!(UdpWire::new(a, Instant::now()).send(&slab, &batch), 5);
        let got: Vec<Vec<u8>> = receive_all(&b, 4).into_iter().map(|(_, _, data)| data).collect();
        let expected: Vec<Vec<u8>> =
            batch[..4].iter().map(|out| slab[out.start..out.start + out.len].to_vec()).collect();
        assert_eq!(got, expected);
        assert_eq!(receive_all(&c, 1).len(), 1);
    }

    #[test]
    fn one_datagram_that_cannot_go_does_not_hold_the_others() {
        let (a, b) = (bind(0).expect("binds"), bind(0).expect("binds"));
        let peer = ([127, 0, 0, 1], b.local_addr().expect("bound").port()).into();
        let slab = [7; 30];
        let good = Outgoing { path: Path::udp(peer, None), start: 0, len: 10 };
        let nowhere = Path::udp(([0, 0, 0, 0], 0).into(), None);
        let batch = [good, Outgoing { path: nowhere, ..good }, good];
        assert_eq!(UdpWire::new(a, Instant::now()).send(&slab, &batch), 2);
        assert_eq!(receive_all(&b, 2).len(), 2);
    }

    #[test]
    fn what_the_kernel_drops_is_told() {
        let a = UdpSocket::bind(("127.0.0.1", 0)).expect("binds");
        let b = bind(0).expect("binds");
        let to: SocketAddr = ([127, 0, 0, 1], b.local_addr().expect("bound").port()).into();
        assert_eq!(overflows(b.as_raw_fd()), Some(0));
        // Nobody reads: the buffer is full at some time.
        for _ in 0..1_000_000 {
            if overflows(b.as_raw_fd()) != Some(0) {
                break;
            }
            let _ = a.send_to(&[0; 1400], to);
        }
        assert!(overflows(b.as_raw_fd()).is_some_and(|count| count > 0));
        assert_eq!(overflows(-1), None);
    }
}
