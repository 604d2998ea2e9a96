//! Putting it together: start, what the operator is told, reload, and an orderly end.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use signalling::{Bearer, GroupFile, GroupName};
use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use crate::addresses;
use crate::authenticator::Authenticator;
use crate::bridge::{Bridge, MediaConfig, SHARDS_MAX, UdpPorts};
use crate::clock::unix_now;
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
use crate::store::GroupStore;
use crate::tls::Certificates;
use crate::tokens::TokenStore;
use crate::turn::Turn;
use crate::watch::{Changed, Changes, Watch};

/// How often files are looked at, in case that nobody told of a change.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);
/// A change is often followed by others: so long they are waited for.
const SETTLE_FOR: Duration = Duration::from_millis(50);
/// How often the groups directory is scanned for new public groups.
const SCAN_INTERVAL: Duration = Duration::from_secs(60);
/// How often tokens that ended long ago are dropped, in reloads.
const SWEEP_EVERY_RELOADS: u32 = 450;
/// How long a shutdown waits for clients to take their leave.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether anyone is still there.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How many group names the start-up message lists.
const NAMES_SHOWN_MAX: usize = 20;
/// The UDP port where there is no TCP port to follow.
const UDP_PORT_DEFAULT: u16 = 8443;
/// What everybody is told at the end.
const SHUTTING_DOWN: &str = "server is shutting down";

/// The web client.
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

/// Runs until a signal ends it.
pub(crate) async fn run(flags: Flags) -> Result<(), FatalError> {
    // Whoever sees the start-up message may end the server in an orderly way.
    let mut terminate = signal(SignalKind::terminate()).map_err(FatalError::system)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(FatalError::system)?;
    let config = Arc::new(ConfigFile::open(&flags.data).map_err(FatalError::config)?);
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let files = open_files(&flags)?;
    check_groups_folder(&flags)?;
    let store = Arc::new(GroupStore::new(flags.groups.clone()));
    let found = store.scan();
    let local = addresses::local();
    let certificates = match flags.insecure {
        true => None,
        false => Some(Arc::new(Certificates::open(&flags.data, &local)?)),
    };
    let listener = Listener::bind(&flags.http).await.map_err(|error| {
        FatalError::system(format!("cannot listen on {}: {error}: change --http", flags.http))
    })?;
    let port = listener.port();
    let wake = Arc::new(Notify::new());
    let tcp_ports = tcp_ports(&flags, port);
    let mut streams = bind_streams(&flags).await?;
    let datagrams = match flags.turn {
        TurnAt::Port(_, port) => {
            let (tcp, udp) = bind_turn(port).await?;
            streams.push(tcp);
            Some(udp)
        }
        TurnAt::Auto | TurnAt::Off => None,
    };
    let media = MediaConfig { tcp_ports: tcp_ports.clone(), ..media_config(&flags, port, &local) };
    let advertise = media.advertise.clone();
    let bridge = Bridge::start(media, wake.clone())?;
    let (door, candidates) = (bridge.door(), bridge.candidates(&advertise));
    let monitor = bind_monitor(&flags).await?;
    announce(
        &flags,
        &bridge,
        (port, &tcp_ports),
        &local,
        &found
            .iter()
            .filter_map(|(name, read)| Some((name, read.as_ref().ok()?.listing.redirect.is_some())))
            .collect::<Vec<_>>(),
    );
    if let Some(doubt) = addresses::doubt(&local).filter(|_| flags.advertise.is_empty()) {
        tracing::warn!("{doubt}");
    }
    if let Some(refusal) = addresses::refused_by_browsers(&candidates) {
        tracing::warn!("{refusal}");
    }
    descriptors::raise();
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
        limits_of(&config, &store),
    )
    .map_err(FatalError::system)?;
    let (control, mut task) = Control::start(
        seed()?,
        bridge,
        wake,
        store.clone(),
        authenticator.clone(),
        journal,
        (recorder.clone(), notices),
    );
    let mut ice_servers = IceServers::new(&flags.data, flags.relay_only);
    if let Some(configuration) = ice_servers.refresh() {
        control.set_ice_servers(configuration).await;
    }
    control.set_http_rules(flags.strict_whip, flags.whep_retry).await;
    control.set_writable(config.get().writable_groups).await;
    control.refresh(public(&store)).await;
    let relay = relay::plan(&flags, port, &ice_servers, seed()?);
    let turn = relay.as_ref().map(|relay| {
        let credentials = Credentials::new(relay.key.clone(), control.clone());
        Arc::new(Turn::new(door.clone(), candidates, credentials, counters.clone()))
    });
    control.set_relay(relay).await;
    let ice_tcp = Arc::new(IceTcp::new(door, counters.clone(), turn.clone(), certificates.clone()));
    let context = Arc::new(Context {
        control: control.clone(),
        config: config.clone(),
        files,
        store: store.clone(),
        authenticator: authenticator.clone(),
        counters,
        ice_tcp: ice_tcp.clone(),
        recorder: recorder.clone(),
        shows: crate::live::Shows::default(),
        passes: http::Passes::new(seed()?),
        certificates: certificates.clone(),
        memory: Memory::new(flags.memory_mib),
        is_public_server: flags.public_server,
        is_draining: AtomicBool::new(false),
        sockets: Counter::new(),
    });
    let connections = Counter::new();
    let (close, closing) = watch::channel(false);
    for listener in streams {
        tokio::spawn(ice_tcp.clone().serve(listener, closing.clone()));
    }
    if let (Some(turn), Some(socket)) = (turn, datagrams) {
        tokio::spawn(turn.serve_datagrams(socket, closing.clone()));
    }
    let serving = tokio::spawn(http::serve(
        listener,
        certificates.clone(),
        context.clone(),
        connections.clone(),
        closing,
    ));
    if let Some(monitor) = monitor {
        tokio::spawn(http::monitor(monitor, context.clone()));
    }
    let (watch, changes) = Watch::new(&[&flags.groups, &flags.data]);
    let reload = Reload {
        control: control.clone(),
        store,
        config,
        certificates,
        ice_servers,
        authenticator,
        looked_at: Instant::now(),
        scanned_at: Instant::now(),
    };
    tokio::spawn(reload.run(watch, changes));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = &mut task => {
            // Without it the process is a shell: better that its supervisor starts a new one.
            return Err(FatalError::system("internal fault of the control plane, see the log"));
        }
    }
    tracing::info!("shutting down");
    context.start_draining();
    let drain = async {
        say_goodbye(&control, flags.drain_s).await;
        control.shut_down(SHUTTING_DOWN.to_owned()).await;
        context.sockets.drained().await;
        // Nobody is inside any more: stop accepting, and let responses finish.
        close.send_replace(true);
        connections.drained().await;
    };
    tokio::select! {
        done = tokio::time::timeout(Duration::from_secs(flags.drain_s.into()) + DRAIN_WITHIN, drain) => {
            if done.is_err() {
                tracing::warn!("some clients did not leave in time");
            }
        }
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    serving.abort();
    // It waits for the disk, and nobody else is left to wait for this thread.
    recorder.finish();
    if let Some(bridge) = control.stop().await {
        bridge.shut_down();
    }
    Ok(())
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

fn media_config(flags: &Flags, port: Option<u16>, local: &[IpAddr]) -> MediaConfig {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let ports = match flags.udp {
        Udp::AsHttp => UdpPorts::Shared(port.unwrap_or(UDP_PORT_DEFAULT)),
        Udp::Port(port) => UdpPorts::Shared(port),
        Udp::Range(first, last) => UdpPorts::PerShard { first, last },
    };
    let advertise =
        if flags.advertise.is_empty() { local.to_vec() } else { flags.advertise.clone() };
    let mut config = MediaConfig::new(ports, advertise);
    config.shards = flags.shards.unwrap_or_else(|| cores.min(SHARDS_MAX));
    config
}

fn seed() -> Result<[u8; 32], FatalError> {
    let mut seed = [0; 32];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut seed)
        .map_err(|_| FatalError::system("the system gives no random numbers"))?;
    Ok(seed)
}

/// What the operator needs to know, on standard output. The groups come with whether they only lead
/// elsewhere.
fn announce(
    flags: &Flags,
    bridge: &Bridge,
    (port, tcp_ports): (Option<u16>, &[u16]),
    local: &[IpAddr],
    groups: &[(&GroupName, bool)],
) {
    let scheme = if flags.insecure { "http" } else { "https" };
    // A group of the folder itself before those in subfolders, and none that leads elsewhere.
    let here = groups.iter().filter(|(_, is_elsewhere)| !is_elsewhere).map(|(name, _)| name);
    let first = here
        .min_by_key(|name| name.as_str().contains('/'))
        .map_or(String::new(), |name| format!("group/{}/", signalling::encode_path(name.as_str())));
    let mut text = String::new();
    let list = |ports: Vec<u16>| ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let udp = list(bridge.ports());
    let tcp = list(
        port.into_iter()
            .chain(tcp_ports.iter().copied().filter(|tcp| Some(*tcp) != port))
            .collect(),
    );
    // Writing to a string cannot fail.
    let _ = match port {
        Some(port) => {
            let hosts = hosts_to_open(&flags.http, &flags.advertise, local);
            let _ = writeln!(text, "Open in a browser:");
            for host in hosts {
                let _ = writeln!(text, "  {scheme}://{host}:{port}/{first}");
            }
            writeln!(text, "Firewall: open TCP {tcp} and UDP {udp}")
        }
        None => {
            let tcp = if tcp.is_empty() { tcp } else { format!("TCP {tcp} and ") };
            writeln!(text, "Listening on {}\nFirewall: open {tcp}UDP {udp}", flags.http)
        }
    };
    let shown: Vec<&str> =
        groups.iter().take(NAMES_SHOWN_MAX).map(|(name, _)| name.as_str()).collect();
    let more = groups.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let _ = if shown.is_empty() {
        let (folder, file) = (&flags.groups, flags.groups.join("test.json"));
        writeln!(
            text,
            "Groups: none in {}: create one, such as {}",
            folder.display(),
            file.display()
        )
    } else {
        writeln!(text, "Groups: {}{more}", shown.join(", "))
    };
    let _ = writeln!(text, "Shards: {}", bridge.shards());
    // A closed standard output is no reason not to serve.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let _ = std::io::stdout().flush();
}

/// Where a browser finds us: the one host we listen on; else this machine and what we tell
/// clients of, or what the interfaces have.
fn hosts_to_open(http: &str, advertise: &[IpAddr], local: &[IpAddr]) -> Vec<String> {
    let host = http.rsplit_once(':').map_or("", |(host, _)| host);
    let bare: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    if !host.is_empty() && !bare.is_some_and(|ip| ip.is_unspecified()) {
        return vec![host.to_owned()];
    }
    let others = if advertise.is_empty() { local } else { advertise };
    let others = others.iter().filter(|ip| !ip.is_loopback()).map(|ip| match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    });
    std::iter::once("localhost".to_owned()).chain(others).collect()
}

fn public(store: &GroupStore) -> Vec<GroupName> {
    let listed = store.scan().into_iter().filter(|(_, description)| {
        description.as_ref().is_ok_and(|description| description.listing.is_public)
    });
    listed.map(|(name, _)| name).collect()
}

/// Looks for changed files.
struct Reload {
    control: Control,
    store: Arc<GroupStore>,
    config: Arc<ConfigFile>,
    certificates: Option<Arc<Certificates>>,
    ice_servers: IceServers,
    authenticator: Authenticator,
    /// When all groups were looked at.
    looked_at: Instant,
    /// When the whole folder was.
    scanned_at: Instant,
}

impl Reload {
    /// Forever.
    async fn run(mut self, mut watch: Watch, changes: Arc<Changes>) {
        for round in 1u32.. {
            let is_told = tokio::select! {
                () = changes.notified() => true,
                () = tokio::time::sleep(RELOAD_INTERVAL) => false,
            };
            if is_told {
                tokio::time::sleep(SETTLE_FOR).await;
            }
            let changed = is_told.then(|| changes.take());
            let looked = tokio::task::spawn_blocking(move || {
                watch.look();
                let found = self.look(round, changed);
                (self, watch, found)
            });
            // It only ends early by a panic, which is logged; nothing is reloaded after that.
            let Ok((kept, kept_watch, found)) = looked.await else {
                return;
            };
            (self, watch) = (kept, kept_watch);
            if let Some(configuration) = found.ice_servers {
                self.control.set_ice_servers(configuration).await;
            }
            self.control.set_writable(self.config.get().writable_groups).await;
            match found.changed {
                Some(changed) => self.control.refresh_these(changed, found.public).await,
                None => self.control.refresh(found.public).await,
            }
            self.revoke().await;
        }
    }

    /// Ends what tokens that have been taken back let in.
    async fn revoke(&self) {
        let bearers = self.control.bearers().await;
        if bearers.is_empty() {
            return;
        }
        let tokens = self.authenticator.tokens().clone();
        let gone = tokio::task::spawn_blocking(move || {
            let is_gone = |bearer: &Bearer| {
                let Bearer { group, realm, secret, .. } = bearer;
                tokens.grant(secret, group, realm, unix_now()).is_none()
            };
            bearers.into_iter().filter(is_gone).map(|bearer| bearer.conn).collect::<Vec<_>>()
        });
        // A panic is logged; the next round tries again.
        let gone = gone.await.unwrap_or_default();
        if !gone.is_empty() {
            self.control.revoke(gone).await;
        }
    }

    /// Looks at what has changed, if that is known, and otherwise at everything. Blocking.
    fn look(&mut self, round: u32, changed: Option<Changed>) -> Found {
        self.config.refresh();
        if let Some(certificates) = &self.certificates {
            certificates.refresh();
        }
        // Whoever damages the file is to hear of it at once.
        self.authenticator.tokens().refresh();
        if round.is_multiple_of(SWEEP_EVERY_RELOADS) {
            self.authenticator.tokens().sweep(unix_now());
        }
        let named = match &changed {
            Some(Changed::Paths(paths)) => self.store.changed(paths),
            Some(Changed::All) | None => None,
        };
        // Nobody is told of some changes, so that everything is looked at now and then, also
        // while there are others all the time.
        let must_scan = changed.is_some() && named.is_none();
        let public = match &named {
            _ if must_scan || self.scanned_at.elapsed() >= SCAN_INTERVAL => {
                self.scanned_at = Instant::now();
                public(&self.store)
            }
            Some(named) => {
                named.iter().filter(|name| self.store.is_public(name)).cloned().collect()
            }
            None => Vec::new(),
        };
        let groups = named.filter(|_| self.looked_at.elapsed() < RELOAD_INTERVAL);
        if groups.is_none() {
            self.looked_at = Instant::now();
        }
        Found { changed: groups, public, ice_servers: self.ice_servers.refresh() }
    }
}

/// What a look has found.
struct Found {
    /// The groups whose files have changed; nothing if that is not known.
    changed: Option<BTreeSet<GroupName>>,
    /// Public groups that may be new.
    public: Vec<GroupName>,
    /// If they have changed.
    ice_servers: Option<serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_message_names_hosts_that_lead_here() {
        let local: Vec<IpAddr> =
            ["127.0.0.1", "192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap()).to_vec();
        let all = ["localhost", "192.0.2.1", "[2001:db8::1]"];
        for any in [":8443", "0.0.0.0:8443", "[::]:8443"] {
            assert_eq!(hosts_to_open(any, &[], &local), all, "{any}");
        }
        assert_eq!(hosts_to_open("127.0.0.1:0", &[], &local), ["127.0.0.1"]);
        assert_eq!(hosts_to_open("aula.example:443", &[], &local), ["aula.example"]);
        assert_eq!(hosts_to_open("[2001:db8::1]:443", &[], &local), ["[2001:db8::1]"]);
        let advertised = ["203.0.113.9".parse().unwrap()];
        assert_eq!(hosts_to_open(":8443", &advertised, &local), ["localhost", "203.0.113.9"]);
    }
}
