//! Putting it together: start, and an orderly end.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use signalling::{GroupFile, GroupName};
use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::addresses;
use crate::authenticator::Authenticator;
use crate::bridge::{Bridge, MediaConfig, SHARDS_MAX, UdpPorts};
use crate::config::ConfigFile;
use crate::control::Control;
use crate::counter::Counter;
use crate::descriptors;
use crate::fatal::FatalError;
use crate::flags::{Flags, TurnAt, Udp};
use crate::hooks::Hooks;
use crate::http::{self, Context, Files, Listener};
use crate::ice::IceServers;
use crate::ice_tcp::IceTcp;
use crate::journal::Journal;
use crate::memory::Memory;
use crate::metrics::Counters;
use crate::recorder::{Limits, LimitsOf, Recorder};
use crate::relay::{self, Credentials};
use crate::reload::{self, Reload};
use crate::store::GroupStore;
use crate::tls::Certificates;
use crate::tokens::TokenStore;
use crate::turn::Turn;
use crate::watch::Watch;
use crate::welcome;

/// How long a shutdown waits for clients to take their leave.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether anyone is still there.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The UDP port where there is no TCP port to follow.
const UDP_PORT_DEFAULT: u16 = 8443;
/// What everybody is told at the end.
const SHUTTING_DOWN: &str = "server is shutting down";

/// The web client: the built-in one, or that of `--static`.
pub(crate) fn open_files(flags: &Flags) -> Result<Files, FatalError> {
    Files::open(flags.statics.as_deref(), &flags.data).map_err(|error| {
        let folder = flags.statics.as_deref().unwrap_or_else(|| Path::new(""));
        FatalError::config(format!(
            "flag --static: {}: {error}: name a directory with galene.html in it",
            folder.display()
        ))
    })
}

/// What is there must be a folder.
pub(crate) fn check_groups_folder(flags: &Flags) -> Result<(), FatalError> {
    if flags.groups.exists() && !flags.groups.is_dir() {
        return Err(FatalError::config(format!(
            "flag --groups: {} is not a directory: name one with group files in it",
            flags.groups.display()
        )));
    }
    Ok(())
}

/// What is there before anything runs: files, and the addresses of this machine.
struct Setup {
    config: Arc<ConfigFile>,
    files: Files,
    store: Arc<GroupStore>,
    local: Vec<IpAddr>,
    /// Where TLS ends here.
    certificates: Option<Arc<Certificates>>,
}

impl Setup {
    /// What keeps the server from working is an error now, and not when somebody comes.
    fn open(flags: &Flags) -> Result<Self, FatalError> {
        let config = Arc::new(ConfigFile::open(&flags.data).map_err(FatalError::config)?);
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let files = open_files(flags)?;
        check_groups_folder(flags)?;
        let store = Arc::new(GroupStore::new(flags.groups.clone()));
        let local = addresses::local();
        let certificates = match flags.insecure {
            true => None,
            false => Some(Arc::new(Certificates::open(&flags.data, &local)?)),
        };
        Ok(Self { config, files, store, local, certificates })
    }
}

/// The parts that answer to members, whichever way they come.
struct Parts {
    control: Control,
    authenticator: Authenticator,
    recorder: Recorder,
    counters: Arc<Counters>,
}

impl Parts {
    /// Starts them, with the task that must not end before the server does.
    fn start(
        flags: &Flags,
        setup: &Setup,
        bridge: Bridge,
        wake: Arc<Notify>,
    ) -> Result<(Self, JoinHandle<()>), FatalError> {
        let Setup { config, store, .. } = setup;
        let counters = Arc::<Counters>::default();
        let tokens = Arc::new(TokenStore::new(&flags.data));
        // The log tells if they cannot be read.
        tokens.refresh();
        let authenticator = Authenticator::new(tokens, config.clone(), counters.clone());
        let journal = Journal::new(flags.redact_logs, Hooks::start(config.clone()));
        let (recorder, notices) = Recorder::start(
            &flags.recordings,
            wake.clone(),
            counters.recording.clone(),
            limits_of(config, store),
        )
        .map_err(FatalError::system)?;
        let (control, task) = Control::start(
            seed()?,
            bridge,
            wake,
            store.clone(),
            authenticator.clone(),
            journal,
            (recorder.clone(), notices),
        );
        Ok((Self { control, authenticator, recorder, counters }, task))
    }

    /// Tells the control plane what flags and files say, before anybody comes.
    async fn configure(&self, flags: &Flags, setup: &Setup) -> IceServers {
        let mut ice_servers = IceServers::new(&flags.data, flags.relay_only);
        if let Some(configuration) = ice_servers.refresh() {
            self.control.set_ice_servers(configuration).await;
        }
        self.control.set_http_rules(flags.strict_whip, flags.whep_retry).await;
        self.control.set_writable(setup.config.get().writable_groups).await;
        self.control.refresh(reload::public(&setup.store)).await;
        ice_servers
    }

    /// Gathers what requests need.
    fn context(
        &self,
        flags: &Flags,
        setup: Setup,
        ice_tcp: Arc<IceTcp>,
    ) -> Result<Context, FatalError> {
        Ok(Context {
            control: self.control.clone(),
            config: setup.config,
            files: setup.files,
            store: setup.store,
            authenticator: self.authenticator.clone(),
            counters: self.counters.clone(),
            ice_tcp,
            recorder: self.recorder.clone(),
            shows: crate::live::Shows::default(),
            passes: http::Passes::new(seed()?),
            certificates: setup.certificates,
            memory: Memory::new(flags.memory_mib),
            is_public_server: flags.public_server,
            is_draining: AtomicBool::new(false),
            sockets: Counter::new(),
        })
    }
}

/// The signals that end the server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, FatalError> {
        let terminate = signal(SignalKind::terminate()).map_err(FatalError::system)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(FatalError::system)?;
        Ok(Self { terminate, interrupt })
    }

    /// Waits for one of them.
    async fn come(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Runs until a signal ends it.
pub(crate) async fn run(flags: Flags) -> Result<(), FatalError> {
    // Whoever sees the start-up message may end the server in an orderly way.
    let mut signals = Signals::listen()?;
    let setup = Setup::open(&flags)?;
    let ports = Ports::bind(&flags).await?;
    let wake = Arc::new(Notify::new());
    let media = media_config(&flags, &ports, &setup.local);
    let advertise = media.advertise.clone();
    let bridge = Bridge::start(media, wake.clone())?;
    let (door, candidates) = (bridge.door(), bridge.candidates(&advertise));
    let monitor = bind_monitor(&flags).await?;
    greet(&flags, &setup, &ports, &bridge);
    warn_of_addresses(&flags, &setup.local, &candidates);
    descriptors::raise();
    let (parts, mut task) = Parts::start(&flags, &setup, bridge, wake)?;
    let ice_servers = parts.configure(&flags, &setup).await;
    let relay = relay::plan(&flags, ports.listener.port(), &ice_servers, seed()?);
    let turn = relay.as_ref().map(|relay| {
        let credentials = Credentials::new(relay.key.clone(), parts.control.clone());
        Arc::new(Turn::new(door.clone(), candidates, credentials, parts.counters.clone()))
    });
    parts.control.set_relay(relay).await;
    let (counters, certificates) = (parts.counters.clone(), setup.certificates.clone());
    let ice_tcp = Arc::new(IceTcp::new(door, counters, turn.clone(), certificates));
    let reload = Reload::new(
        parts.control.clone(),
        setup.store.clone(),
        setup.config.clone(),
        setup.certificates.clone(),
        ice_servers,
        parts.authenticator.clone(),
    );
    let context = Arc::new(parts.context(&flags, setup, ice_tcp)?);
    if let Some(monitor) = monitor {
        tokio::spawn(http::monitor(monitor, context.clone()));
    }
    let serving = Serving::start(ports, turn, context.clone());
    let (watch, changes) = Watch::new(&[&flags.groups, &flags.data]);
    tokio::spawn(reload.run(watch, changes));
    tokio::select! {
        () = signals.come() => {}
        _ = &mut task => {
            // Without it the process is a shell: better that its supervisor starts a new one.
            return Err(FatalError::system("internal fault of the control plane, see the log"));
        }
    }
    tracing::info!("shutting down");
    context.start_draining();
    tokio::select! {
        () = drain(&context, &serving, flags.drain_s) => {}
        // Whoever asks a second time does not want to wait.
        () = signals.come() => {}
    }
    serving.listening.abort();
    // It waits for the disk, and nobody else is left to wait for this thread.
    parts.recorder.finish();
    if let Some(bridge) = parts.control.stop().await {
        bridge.shut_down();
    }
    Ok(())
}

/// Lets everybody leave, within bounds.
async fn drain(context: &Context, serving: &Serving, drain_s: u32) {
    let leave = async {
        say_goodbye(&context.control, drain_s).await;
        context.control.shut_down(SHUTTING_DOWN.to_owned()).await;
        context.sockets.drained().await;
        // Nobody is inside any more: stop accepting, and let responses finish.
        serving.close.send_replace(true);
        serving.connections.drained().await;
    };
    let within = Duration::from_secs(drain_s.into()) + DRAIN_WITHIN;
    if tokio::time::timeout(within, leave).await.is_err() {
        tracing::warn!("some clients did not leave in time");
    }
}

/// What listens while the server runs.
struct Serving {
    listening: JoinHandle<()>,
    /// Ends it once true.
    close: watch::Sender<bool>,
    connections: Counter,
}

impl Serving {
    /// Serves all ports that members use.
    fn start(ports: Ports, turn: Option<Arc<Turn>>, context: Arc<Context>) -> Self {
        let connections = Counter::new();
        let (close, closing) = watch::channel(false);
        for listener in ports.streams {
            tokio::spawn(context.ice_tcp.clone().serve(listener, closing.clone()));
        }
        if let (Some(turn), Some(socket)) = (turn, ports.datagrams) {
            tokio::spawn(turn.serve_datagrams(socket, closing.clone()));
        }
        let certificates = context.certificates.clone();
        let counted = connections.clone();
        let listening =
            tokio::spawn(http::serve(ports.listener, certificates, context, counted, closing));
        Self { listening, close, connections }
    }
}

/// Tells the operator where to go from here.
fn greet(flags: &Flags, setup: &Setup, ports: &Ports, bridge: &Bridge) {
    let found = setup.store.scan();
    let usable = found.iter().filter_map(|(name, read)| {
        let leads_elsewhere = read.as_ref().ok()?.listing.redirect.is_some();
        Some((name, leads_elsewhere))
    });
    let groups: Vec<(&GroupName, bool)> = usable.collect();
    let tcp = (ports.listener.port(), &*ports.tcp);
    welcome::announce(flags, bridge, tcp, &setup.local, &groups);
}

/// Doubts that anybody but this machine can reach what clients are told.
fn warn_of_addresses(flags: &Flags, local: &[IpAddr], candidates: &[SocketAddr]) {
    if let Some(doubt) = addresses::doubt(local).filter(|_| flags.advertise.is_empty()) {
        tracing::warn!("{doubt}");
    }
    if let Some(refusal) = addresses::refused_by_browsers(candidates) {
        tracing::warn!("{refusal}");
    }
}

/// What limits the recordings of a group, as its file and the configuration say at the time.
fn limits_of(config: &Arc<ConfigFile>, store: &Arc<GroupStore>) -> LimitsOf {
    let (config, store) = (config.clone(), store.clone());
    Arc::new(move |group| {
        let file = GroupName::parse(group).map(|name| store.load(&name));
        let own = match file {
            Ok(GroupFile::Found(description)) => {
                let rules = &description.recording;
                (rules.keep_days.map(|days| days.0), rules.bytes_max)
            }
            _ => (None, None),
        };
        Limits::of(&config.get().recordings, own)
    })
}

/// Lets people finish their sentence, for as long as anyone is there.
async fn say_goodbye(control: &Control, seconds: u32) {
    control.announce_end(SHUTTING_DOWN.to_owned(), seconds).await;
    let until = Instant::now() + Duration::from_secs(seconds.into());
    while Instant::now() < until {
        let is_empty = control.census().await.is_none_or(|(census, _)| census.clients == 0);
        if is_empty {
            return;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The operator's own listener, if it is wanted.
async fn bind_monitor(flags: &Flags) -> Result<Option<TcpListener>, FatalError> {
    let Some(address) = flags.metrics else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await.map_err(|error| {
        FatalError::system(format!("cannot listen on {address}: {error}: change --metrics"))
    })?;
    // Whoever asked for any port wants to know which.
    let bound = listener.local_addr().map_err(FatalError::system)?;
    let _ = writeln!(std::io::stdout(), "Metrics: http://{bound}/metrics");
    Ok(Some(listener))
}

/// The ports that members use.
struct Ports {
    listener: Listener,
    /// TCP for media and TURN, without HTTP.
    streams: Vec<TcpListener>,
    datagrams: Option<UdpSocket>,
    /// Where media may come over TCP, with that of `listener`.
    tcp: Vec<u16>,
}

impl Ports {
    async fn bind(flags: &Flags) -> Result<Self, FatalError> {
        let listener = Listener::bind(&flags.http).await.map_err(|error| {
            FatalError::system(format!("cannot listen on {}: {error}: change --http", flags.http))
        })?;
        let tcp = tcp_ports(flags, listener.port());
        let mut streams = bind_streams(flags).await?;
        let datagrams = match flags.turn {
            TurnAt::Port(_, port) => {
                let (tcp, udp) = bind_turn(port).await?;
                streams.push(tcp);
                Some(udp)
            }
            TurnAt::Auto | TurnAt::Off => None,
        };
        Ok(Self { listener, streams, datagrams, tcp })
    }
}

/// Where media may come over TCP: the port of HTTPS, if others than this machine reach it, and those of
/// the flag. Behind a proxy only the latter: the proxy understands nothing of it.
fn tcp_ports(flags: &Flags, port: Option<u16>) -> Vec<u16> {
    let host = flags.http.rsplit_once(':').map_or("", |(host, _)| host);
    let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let is_local = host == "localhost" || ip.is_some_and(|ip| ip.is_loopback());
    let own = port.filter(|_| !flags.insecure && !is_local);
    own.into_iter().chain(flags.tcp_ports.iter().copied()).collect()
}

/// The ports of the flag.
async fn bind_streams(flags: &Flags) -> Result<Vec<TcpListener>, FatalError> {
    let mut bound = Vec::new();
    for port in &flags.tcp_ports {
        let bind = Listener::bind(&format!(":{port}")).await;
        match bind {
            Ok(Listener::Tcp(listener)) => bound.push(listener),
            Ok(Listener::Unix(..)) => {}
            Err(error) => {
                let text = format!("cannot listen on TCP {port}: {error}: change --tcp-port");
                return Err(FatalError::system(text));
            }
        }
    }
    Ok(bound)
}

/// The port of TURN alone, over TCP and UDP.
async fn bind_turn(port: u16) -> Result<(TcpListener, UdpSocket), FatalError> {
    let cannot = |what: &str, error: std::io::Error| {
        FatalError::system(format!("cannot listen on {what} {port}: {error}: change -turn"))
    };
    let tcp = match Listener::bind(&format!(":{port}")).await {
        Ok(Listener::Tcp(listener)) => listener,
        Ok(Listener::Unix(..)) => return Err(FatalError::system("-turn is no Unix socket")),
        Err(error) => return Err(cannot("TCP", error)),
    };
    let udp = match UdpSocket::bind(("::", port)).await {
        Ok(socket) => Ok(socket),
        Err(_) => UdpSocket::bind(("0.0.0.0", port)).await,
    };
    Ok((tcp, udp.map_err(|error| cannot("UDP", error))?))
}

fn media_config(flags: &Flags, bound: &Ports, local: &[IpAddr]) -> MediaConfig {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let ports = match flags.udp {
        Udp::AsHttp => UdpPorts::Shared(bound.listener.port().unwrap_or(UDP_PORT_DEFAULT)),
        Udp::Port(port) => UdpPorts::Shared(port),
        Udp::Range(first, last) => UdpPorts::PerShard { first, last },
    };
    let advertise =
        if flags.advertise.is_empty() { local.to_vec() } else { flags.advertise.clone() };
    let defaults = MediaConfig::new(ports, advertise);
    MediaConfig {
        shards: flags.shards.unwrap_or_else(|| cores.min(SHARDS_MAX)),
        fill: flags.fill.unwrap_or(defaults.fill),
        tcp_ports: bound.tcp.clone(),
        ..defaults
    }
}

fn seed() -> Result<[u8; 32], FatalError> {
    let mut seed = [0; 32];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut seed)
        .map_err(|_| FatalError::system("the system gives no random numbers"))?;
    Ok(seed)
}
