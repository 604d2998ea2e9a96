//! The threads: each runs one shard over one socket with mio, pinned to one core. The only place
//! in this crate with sockets, threads and a clock.

mod steer;
mod tcp;
mod udp;

pub(crate) use steer::Steering;
pub(crate) use tcp::{NewStream, Socket};
pub(crate) use udp::overflows;
pub use udp::{Receiver, UdpWire, bind};

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use core_affinity::CoreId;
use crossbeam_channel::{Receiver as Inputs, Sender, TrySendError, bounded};
use mio::{Events, Interest, Poll, Token, Waker};
use str0m::config::DtlsCert;

use crate::api::{Command, Config, Event, Listening, UdpPorts};
use crate::error::StartError;
use crate::id::{SHARDS_MAX, ShardId};
use crate::lane::{self, Consumer, LANE_BYTES, PeerMessage, Producer};
use crate::path::Path;
use crate::shard::{Shard, ShardConfig};

use tcp::{Connections, NetworkWire, Writers};

/// Commands and messages that wait for one shard; when full the control plane is told so, and a
/// message between shards is tried again.
const INPUTS_MAX: usize = 8192;
/// Events that wait for the control plane; a shard keeps as many again when that is full, then
/// drops statistics, which are sums and come again.
const EVENTS_MAX: usize = 16_384;
/// Work per loop, so that neither commands nor a flood starve the rest: media goes first.
const INPUTS_PER_LOOP: usize = 32;
/// Commands among them: descriptions are parsed and made, which takes some 100 us each.
const COMMANDS_PER_LOOP: usize = 4;
const RECORDS_PER_LOOP: usize = 512;
const BATCHES_PER_LOOP: usize = 8;
/// Events of one look at what is ready; what is not seen is seen the next time.
const EVENTS_PER_POLL: usize = 256;
/// The longest sleep.
const SLEEP_MAX: Duration = Duration::from_millis(250);
/// NTP counts from 1900 (RFC 5905 s6).
const NTP_UNIX_OFFSET_S: u64 = 2_208_988_800;

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
/// TCP connections have those from here on.
const STREAMS: usize = 2;

/// What reaches a shard other than packets.
pub(crate) enum ShardInput {
    /// From the control plane.
    Command(Command),
    /// From another shard.
    Message(PeerMessage),
    /// A TCP connection whose first frame names this shard.
    Stream(Box<NewStream>),
    /// The recorder's lane.
    Recorder(Producer),
    /// How do all viewers fare?
    Survey(u64),
    /// Close everything and end.
    Stop,
}

/// The control plane's end of one running shard.
pub(crate) struct ShardEnd {
    /// Its input queue.
    pub inputs: Sender<ShardInput>,
    /// To be called after sending.
    pub waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl ShardEnd {
    /// Waits for the thread to end.
    pub(crate) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A shard that panicked has said so; there is nothing to clean up after it.
            let _ = thread.join();
        }
    }
}

/// All shards, running.
pub(crate) struct Running {
    /// By index.
    pub shards: Vec<ShardEnd>,
    /// From all of them.
    pub events: Inputs<Event>,
    /// Where they listen.
    pub listening: Listening,
    /// Which of them datagrams come to, if they share a port.
    pub steering: Option<Steering>,
    /// Time zero of all of them.
    pub epoch: Instant,
}

/// Binds, starts and pins.
pub(crate) fn start(
    config: &Config,
    notify: &Arc<dyn Fn() + Send + Sync>,
) -> Result<Running, StartError> {
    let count = config.shards;
    if count == 0 || count > SHARDS_MAX {
        return Err(StartError::ShardCount { shards: count });
    }
    if config.advertise.is_empty() {
        return Err(StartError::NoAddress);
    }
    let sockets = bind_all(config)?;
    let cert = crate::peer::generate_certificate().ok_or_else(|| {
        system("making the DTLS certificate")(io::Error::other("the crypto library refused"))
    })?;
    let (event_sender, events) = bounded(EVENTS_MAX);
    let ends = (0..count).map(|_| end());
    let (mut ends, intakes): (Vec<ShardEnd>, Vec<Intake>) =
        ends.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let epoch = Instant::now();
    let common = Common {
        config,
        cert: Arc::new(cert),
        epoch,
        ntp_epoch: ntp_now(),
        others: ends.iter().map(|end| (end.inputs.clone(), Arc::clone(&end.waker))).collect(),
        events: event_sender,
        notify,
    };
    let steering = match config.ports {
        UdpPorts::Shared(_) if count > 1 => {
            let socket = sockets[0].try_clone().map_err(system("copying a socket's descriptor"))?;
            Some(Steering::new(socket, seed().map_err(system("reading randomness"))?))
        }
        _ => None,
    };
    let listening = Listening {
        sockets: sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect(),
    };
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let parts = sockets.into_iter().zip(intakes).zip(lanes(count)).zip(&mut ends);
    for (index, (((socket, intake), lanes), end)) in parts.enumerate() {
        let setup = common.setup(index, (socket, intake), lanes)?;
        let core = (config.pin && count <= cores.len()).then(|| cores[index]);
        end.thread = Some(spawn(index, core, setup).map_err(system("starting a thread"))?);
    }
    Ok(Running { shards: ends, events, listening, steering, epoch })
}

fn system(doing: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { doing, source }
}

/// What a thread is woken by, and its queue.
struct Intake {
    poll: Poll,
    inputs: Inputs<ShardInput>,
}

/// The control plane's end of a shard that has no thread yet, and the thread's.
fn end() -> Result<(ShardEnd, Intake), StartError> {
    let poll = Poll::new().map_err(system("creating a poll"))?;
    let waker = Waker::new(poll.registry(), WAKER).map_err(system("creating a waker"))?;
    let (sender, inputs) = bounded(INPUTS_MAX);
    let end = ShardEnd { inputs: sender, waker: Arc::new(waker), thread: None };
    Ok((end, Intake { poll, inputs }))
}

/// What all threads have alike.
struct Common<'a> {
    config: &'a Config,
    cert: Arc<DtlsCert>,
    epoch: Instant,
    ntp_epoch: u64,
    others: Vec<(Sender<ShardInput>, Arc<Waker>)>,
    events: Sender<Event>,
    notify: &'a Arc<dyn Fn() + Send + Sync>,
}

impl Common<'_> {
    /// What one thread is made of.
    fn setup(
        &self,
        index: usize,
        (socket, intake): (std::net::UdpSocket, Intake),
        (lanes_out, lanes_in): (Vec<Option<Producer>>, Vec<Consumer>),
    ) -> Result<Setup, StartError> {
        let port = socket.local_addr().map_err(system("reading a socket's address"))?.port();
        let advertised = self.config.advertise.iter();
        let config = ShardConfig {
            id: ShardId(index as u8),
            shards: self.config.shards,
            candidates: advertised.map(|ip| SocketAddr::new(*ip, port)).collect(),
            tcp_candidates: tcp_candidates(self.config),
            cert: Arc::<DtlsCert>::clone(&self.cert),
            epoch: self.epoch,
            ntp_epoch: self.ntp_epoch,
            seed: seed().map_err(system("reading randomness"))?,
            connect_for_max: self.config.connect_for_max,
            consent_for_max: self.config.consent_for_max,
            gather_for: GATHER_FOR,
        };
        Ok(Setup {
            config,
            poll: intake.poll,
            // Here and not in the thread, so that a start that lacks descriptors fails as a whole.
            sending: socket.try_clone().map_err(system("copying a socket's descriptor"))?,
            socket,
            inputs: intake.inputs,
            lanes_out,
            lanes_in,
            others: self.others.clone(),
            events: self.events.clone(),
            notify: Arc::clone(self.notify),
        })
    }
}

fn spawn(index: usize, core: Option<CoreId>, setup: Setup) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
        if let Some(core) = core {
            // Not allowed to? Then it runs where the scheduler puts it.
            let _ = core_affinity::set_for_current(core);
        }
        // One Transport's fault is caught where it happens. A panic out here leaves state
        // that nobody vouches for: better to start anew than to go on with it.
        if catch_unwind(AssertUnwindSafe(|| Loop::new(setup).run())).is_err() {
            std::process::abort();
        }
    })
}

fn tcp_candidates(config: &Config) -> Vec<SocketAddr> {
    let at = |port: u16| config.advertise.iter().map(move |ip| SocketAddr::new(*ip, port));
    config.tcp_ports.iter().copied().flat_map(at).collect()
}

fn bind_all(config: &Config) -> Result<Vec<std::net::UdpSocket>, StartError> {
    let open = |port| bind(port).map_err(|(addr, source)| StartError::Bind { addr, source });
    match config.ports {
        UdpPorts::Shared(port) => {
            let first = open(port)?;
            // Port 0 is chosen once, by the first.
            let port = first.local_addr().map_or(port, |address| address.port());
            let mut sockets = vec![first];
            for _ in 1..config.shards {
                sockets.push(open(port)?);
            }
            Ok(sockets)
        }
        UdpPorts::PerShard { first, last } => {
            let ports = usize::from(last.saturating_sub(first)) + 1;
            if first == 0 || last < first || ports < config.shards {
                return Err(StartError::PortRange { ports, shards: config.shards });
            }
            (first..=last).take(config.shards).map(open).collect()
        }
    }
}

/// How long packets for many viewers are gathered: what is due to one of them in this leaves together.
const GATHER_FOR: Duration = Duration::from_millis(5);

/// One lane for every ordered pair. Gives by shard those that lead away, by index, and those that lead to
/// it.
fn lanes(count: usize) -> impl Iterator<Item = (Vec<Option<Producer>>, Vec<Consumer>)> {
    let mut producers: Vec<Vec<Option<Producer>>> = (0..count).map(|_| Vec::new()).collect();
    let mut consumers: Vec<Vec<Consumer>> = (0..count).map(|_| Vec::new()).collect();
    for (from, row) in producers.iter_mut().enumerate() {
        for (to, column) in consumers.iter_mut().enumerate() {
            row.push((from != to).then(|| {
                let (producer, consumer) = lane::lane(LANE_BYTES);
                column.push(consumer);
                producer
            }));
        }
    }
    producers.into_iter().zip(consumers)
}

fn ntp_now() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000;
    (unix.as_secs() + NTP_UNIX_OFFSET_S) << 32 | fraction
}

fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("no entropy"))?;
    Ok(u64::from_ne_bytes(bytes))
}

struct Setup {
    config: ShardConfig,
    poll: Poll,
    socket: std::net::UdpSocket,
    /// The same socket.
    sending: std::net::UdpSocket,
    inputs: Inputs<ShardInput>,
    lanes_out: Vec<Option<Producer>>,
    lanes_in: Vec<Consumer>,
    others: Vec<(Sender<ShardInput>, Arc<Waker>)>,
    events: Sender<Event>,
    notify: Arc<dyn Fn() + Send + Sync>,
}

struct Loop {
    shard: Shard,
    poll: Poll,
    socket: mio::net::UdpSocket,
    receiver: Receiver,
    streams: Connections,
    local_fallback: IpAddr,
    inputs: Inputs<ShardInput>,
    lanes_in: Vec<Consumer>,
    others: Vec<(Sender<ShardInput>, Arc<Waker>)>,
    unsent: VecDeque<(ShardId, PeerMessage)>,
    events: Sender<Event>,
    waiting: VecDeque<Event>,
    notify: Arc<dyn Fn() + Send + Sync>,
    /// What the kernel said last of how much it has dropped, and the sum.
    overflows: (u32, u64),
}

impl Loop {
    fn new(setup: Setup) -> Self {
        let Setup { config, poll, socket, sending, inputs, lanes_out, lanes_in, others, .. } =
            setup;
        let local_fallback =
            config.candidates.first().map_or_else(|| [0; 4].into(), SocketAddr::ip);
        let writers = Writers::default();
        let udp = UdpWire::new(sending, config.epoch);
        let wire = Box::new(NetworkWire { udp, streams: Rc::clone(&writers) });
        let shard = Shard::new(config, lanes_out, wire, Instant::now());
        Self {
            shard,
            poll,
            socket: mio::net::UdpSocket::from_std(socket),
            receiver: Receiver::new(),
            streams: Connections::new(writers),
            local_fallback,
            inputs,
            lanes_in,
            others,
            unsent: VecDeque::new(),
            events: setup.events,
            waiting: VecDeque::new(),
            notify: setup.notify,
            overflows: (0, 0),
        }
    }

    fn run(&mut self) {
        let registered =
            self.poll.registry().register(&mut self.socket, SOCKET, Interest::READABLE);
        if registered.is_err() {
            return;
        }
        let mut polled = Events::with_capacity(EVENTS_PER_POLL);
        let mut has_more = false;
        let mut is_readable = true;
        let mut woke_at = Instant::now();
        loop {
            let now = Instant::now();
            self.shard.count_turn(now.saturating_duration_since(woke_at));
            let wait = self.shard.poll_timeout().saturating_duration_since(now).min(SLEEP_MAX);
            let wait = if has_more { Duration::ZERO } else { wait };
            // Interrupted or not: what is there is read below.
            let _ = self.poll.poll(&mut polled, Some(wait));
            is_readable |= polled.iter().any(|event| event.token() == SOCKET);
            let now = Instant::now();
            woke_at = now;
            has_more = false;
            self.streams.note(&polled, STREAMS);
            if is_readable {
                is_readable = self.read_socket(now);
                has_more |= is_readable;
            }
            has_more |= self.streams.read(&mut self.shard, now);
            has_more |= self.read_lanes(now);
            match self.read_inputs(now) {
                Some(more) => has_more |= more,
                None => return,
            }
            if now >= self.shard.poll_timeout() {
                self.shard.handle_timeout(now);
            }
            self.deliver(now);
            // Media has left; now those who want to join.
            if self.shard.run_handshakes(now) {
                has_more = true;
            }
            has_more |= self.shard.run_survey(now);
            self.deliver(now);
        }
    }

    /// Returns whether there may be more.
    fn read_socket(&mut self, now: Instant) -> bool {
        for _ in 0..BATCHES_PER_LOOP {
            let shard = &mut self.shard;
            let read = self.receiver.receive(
                self.socket.as_raw_fd(),
                self.local_fallback,
                |from, local, age, datagram| {
                    let arrived_at = now.checked_sub(age).unwrap_or(now);
                    let path = Path::udp(from, Some(local));
                    shard.handle_datagram(path, datagram, arrived_at, now);
                },
            );
            match read {
                // Edge-triggered polling needs the WouldBlock to be seen once.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // An ICMP error of some peer; the next call goes on.
                Err(_) => {}
            }
        }
        true
    }

    fn read_lanes(&mut self, now: Instant) -> bool {
        let mut has_more = false;
        for lane in &mut self.lanes_in {
            let shard = &mut self.shard;
            let taken = lane.drain(RECORDS_PER_LOOP, |record| shard.handle_record(record, now));
            has_more |= taken == RECORDS_PER_LOOP;
        }
        has_more
    }

    /// `None`: stop.
    fn read_inputs(&mut self, now: Instant) -> Option<bool> {
        let mut commands = 0;
        for _ in 0..INPUTS_PER_LOOP {
            if commands == COMMANDS_PER_LOOP {
                return Some(true);
            }
            match self.inputs.try_recv() {
                Ok(ShardInput::Command(command)) => {
                    commands += 1;
                    self.shard.handle_command(command, now);
                }
                Ok(ShardInput::Message(message)) => self.shard.handle_message(message),
                Ok(ShardInput::Stream(new)) => {
                    let registry = self.poll.registry();
                    self.streams.adopt(*new, registry, STREAMS, &mut self.shard, now);
                }
                Ok(ShardInput::Recorder(lane)) => self.shard.adopt_recorder(lane),
                Ok(ShardInput::Survey(survey)) => self.shard.begin_survey(survey),
                Ok(ShardInput::Stop) => {
                    self.shard.close_all(now);
                    self.deliver(now);
                    return None;
                }
                Err(_) => return Some(false),
            }
        }
        Some(true)
    }

    /// Takes the step's results out: datagrams, lane wake-ups, messages, events.
    fn deliver(&mut self, now: Instant) {
        let others = &self.others;
        self.shard.flush(|shard| {
            if let Some((_, waker)) = others.get(shard.index()) {
                // It wakes within `SLEEP_MAX` in any case.
                let _ = waker.wake();
            }
        });
        self.streams.end_these(&mut self.shard, now);
        self.unsent.extend(self.shard.messages.drain(..));
        while let Some((shard, message)) = self.unsent.pop_front() {
            let Some((inputs, waker)) = self.others.get(shard.index()) else {
                continue;
            };
            match inputs.try_send(ShardInput::Message(message)) {
                Ok(()) => {
                    let _ = waker.wake();
                }
                Err(TrySendError::Full(ShardInput::Message(message))) => {
                    self.unsent.push_front((shard, message));
                    break;
                }
                Err(_) => {}
            }
        }
        if !self.shard.events.is_empty() || !self.waiting.is_empty() {
            self.send_events();
        }
    }

    fn send_events(&mut self) {
        for mut event in self.shard.events.drain(..) {
            if let Event::Stats { counters, .. } = &mut event {
                let (seen, sum) = &mut self.overflows;
                let known = overflows(self.socket.as_raw_fd()).unwrap_or(*seen);
                *sum += u64::from(known.wrapping_sub(std::mem::replace(seen, known)));
                counters.socket_overflows = *sum;
            }
            let is_repeated = matches!(
                event,
                Event::Stats { .. }
                    | Event::Received { .. }
                    | Event::Surveyed { .. }
                    | Event::Numbers { .. }
            );
            if is_repeated && self.waiting.len() >= EVENTS_MAX {
                continue;
            }
            self.waiting.push_back(event);
        }
        let mut has_sent = false;
        while let Some(event) = self.waiting.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => has_sent = true,
                Err(TrySendError::Full(event)) => {
                    self.waiting.push_front(event);
                    break;
                }
                Err(TrySendError::Disconnected(_)) => break,
            }
        }
        if has_sent {
            (self.notify)();
        }
    }
}
