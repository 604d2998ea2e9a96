//! The command line. Galene's syntax: one dash or two, `-flag value` or `-flag=value`; a switch
//! takes a value only after `=`.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;

use crate::fatal::FatalError;

/// Where the media's UDP ports are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Udp {
    /// The number of the HTTP port.
    AsHttp,
    /// This one, for all shards.
    Port(u16),
    /// One for each shard.
    Range(u16, u16),
}

/// Where the built-in TURN server is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TurnAt {
    /// There is no TURN server of ours.
    Off,
    /// On the port of HTTPS, unless `ice-servers.json` names another server.
    Auto,
    /// There, and on a port of its own, which clients know under this address, or as they know us.
    Port(Option<IpAddr>, u16),
}

/// The form of log lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogForm {
    Text,
    Json,
}

/// Supervisors do not wait longer.
const DRAIN_MAX_S: u32 = 3600;

/// What the command line says.
#[derive(Clone, Debug)]
pub(crate) struct Flags {
    pub(crate) http: String,
    pub(crate) statics: Option<PathBuf>,
    pub(crate) data: PathBuf,
    pub(crate) groups: PathBuf,
    pub(crate) recordings: PathBuf,
    pub(crate) insecure: bool,
    pub(crate) udp: Udp,
    /// More ports for media over TCP.
    pub(crate) tcp_ports: Vec<u16>,
    pub(crate) shards: Option<usize>,
    /// What a shard is given before the next one is used.
    pub(crate) fill: Option<u32>,
    pub(crate) advertise: Vec<IpAddr>,
    pub(crate) relay_only: bool,
    pub(crate) turn: TurnAt,
    pub(crate) public_server: bool,
    pub(crate) strict_whip: bool,
    pub(crate) whep_retry: bool,
    pub(crate) check_config: bool,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) memory_mib: Option<u64>,
    pub(crate) log: LogForm,
    pub(crate) redact_logs: bool,
    /// How long people may stay when the server is told to end, in seconds.
    pub(crate) drain_s: u32,
    /// The names of the flags that were given.
    given: Vec<&'static str>,
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Run(Box<Flags>),
    Help,
    Version,
}

/// A flag: its name, the value it wants (empty for a switch), and its meaning.
const FLAGS: [(&str, &str, &str); 29] = [
    ("http", "[HOST]:PORT|/PATH", "listen for HTTP on an address, or on a Unix socket (:8443)"),
    ("static", "DIR", "serve another web client (built in)"),
    ("data", "DIR", "config.json, cert.pem, key.pem (./data/)"),
    ("groups", "DIR", "group files (./groups/)"),
    ("recordings", "DIR", "recordings (./recordings/)"),
    ("insecure", "", "plain HTTP, behind a proxy that speaks TLS"),
    ("public-server", "", "pages of any web origin may use WebSocket, WHIP and status"),
    ("udp-port", "N", "the UDP port of all media (the number of the HTTP port)"),
    ("udp-range", "A-B", "one UDP port per shard instead"),
    ("tcp-port", "N", "another port for media over TCP; repeatable (that of HTTPS has it)"),
    ("shards", "1..16", "media threads (one per core)"),
    ("fill", "N", "people on one media thread before the next is used, with one UDP port (128)"),
    ("advertise", "IP", "an address to tell clients; repeatable (those of the interfaces)"),
    ("strict-whip", "", "refuse WHIP and WHEP PATCHes without If-Match, as RFC 9725 has it"),
    ("whep-retry", "", "answer WHEP with 409 while nobody publishes, instead of holding"),
    ("metrics", "IP:PORT", "serve /metrics, /healthz and /readyz there, without a password (off)"),
    ("memory", "MIB", "refuse newcomers near this much memory (the control group's limit)"),
    ("check-config", "", "read everything, report, and exit"),
    ("log", "text|json", "the form of log lines (text)"),
    ("redact-logs", "", "no names of people in the log, ids only"),
    ("drain", "SECONDS", "at SIGTERM, let people finish for so long (10)"),
    ("mdns", "", "accepted for Galene's sake, without effect"),
    ("relay-only", "", "tell clients to use TURN servers only"),
    (
        "turn",
        "ADDR|auto",
        "TURN: on the port of HTTPS (auto), also on [IP]:PORT, or nowhere (empty)",
    ),
    ("cpuprofile", "FILE", "accepted for Galene's sake, without effect"),
    ("memprofile", "FILE", "accepted for Galene's sake, without effect"),
    ("mutexprofile", "FILE", "accepted for Galene's sake, without effect"),
    ("help", "", "print this, and exit"),
    ("version", "", "print the version, and exit"),
];

/// The text of `--help`.
pub(crate) fn help() -> String {
    let mut text = String::from("Usage: aula [flags]\n\n");
    for (name, value, meaning) in FLAGS {
        let flag = format!("--{name} {value}");
        text.push_str(&format!("  {flag:<22} {meaning}\n"));
    }
    text
}

impl Flags {
    fn defaults() -> Self {
        Self {
            http: ":8443".to_owned(),
            statics: None,
            data: PathBuf::from("./data/"),
            groups: PathBuf::from("./groups/"),
            recordings: PathBuf::from("./recordings/"),
            insecure: false,
            udp: Udp::AsHttp,
            tcp_ports: Vec::new(),
            shards: None,
            fill: None,
            advertise: Vec::new(),
            relay_only: false,
            turn: TurnAt::Auto,
            public_server: false,
            strict_whip: false,
            whep_retry: false,
            check_config: false,
            metrics: None,
            memory_mib: None,
            log: LogForm::Text,
            redact_logs: false,
            drain_s: 10,
            given: Vec::new(),
        }
    }

    /// Whether the command line has the flag.
    pub(crate) fn names(&self, flag: &str) -> bool {
        self.given.contains(&flag)
    }

    /// Reads the arguments after the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Order, FatalError> {
        let mut flags = Self::defaults();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let flag =
                argument.strip_prefix('-').map(|rest| rest.strip_prefix('-').unwrap_or(rest));
            let Some(flag) = flag.filter(|flag| !flag.is_empty()) else {
                return Err(FatalError::config(format!(
                    "unexpected argument {argument:?}: flags start with a dash, see --help"
                )));
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            let name = if name == "h" { "help" } else { name };
            let Some((known, wants, _)) = FLAGS.iter().find(|(known, _, _)| *known == name) else {
                let near = signalling::nearest(name, FLAGS.iter().map(|(known, _, _)| *known));
                let hint = near.map(|near| format!("did you mean --{near}? ")).unwrap_or_default();
                return Err(FatalError::config(format!("unknown flag --{name}: {hint}See --help")));
            };
            flags.given.push(known);
            if wants.is_empty() {
                let is_on = switch(name, value.as_deref())?;
                match name {
                    "insecure" => flags.insecure = is_on,
                    "relay-only" => flags.relay_only = is_on,
                    "public-server" => flags.public_server = is_on,
                    "strict-whip" => flags.strict_whip = is_on,
                    "whep-retry" => flags.whep_retry = is_on,
                    "check-config" => flags.check_config = is_on,
                    "redact-logs" => flags.redact_logs = is_on,
                    "help" if is_on => return Ok(Order::Help),
                    "version" if is_on => return Ok(Order::Version),
                    _ => {}
                }
                continue;
            }
            let Some(value) = value.or_else(|| arguments.next()) else {
                return Err(FatalError::config(format!("flag --{name} needs a value: {wants}")));
            };
            flags.set(name, wants, value)?;
        }
        Ok(Order::Run(Box::new(flags)))
    }

    fn set(&mut self, name: &str, wants: &str, value: String) -> Result<(), FatalError> {
        let bad = || {
            FatalError::config(format!(
                "flag --{name} cannot be {value:?}: {}",
                must_be(name, wants)
            ))
        };
        match name {
            "http" => {
                if !is_listen_address(&value) {
                    return Err(bad());
                }
                self.http = value;
            }
            "static" => self.statics = Some(PathBuf::from(value)),
            "data" => self.data = PathBuf::from(value),
            "groups" => self.groups = PathBuf::from(value),
            "recordings" => self.recordings = PathBuf::from(value),
            "udp-port" => self.udp = Udp::Port(value.parse().map_err(|_| bad())?),
            "udp-range" => self.udp = udp_range(&value).ok_or_else(bad)?,
            "tcp-port" => {
                let port = value.parse().ok().filter(|port| *port > 0);
                self.tcp_ports.push(port.ok_or_else(bad)?);
            }
            "shards" => {
                let shards = value.parse().ok().filter(|shards| (1..=16).contains(shards));
                self.shards = Some(shards.ok_or_else(bad)?);
            }
            "fill" => {
                let fill = value.parse().ok().filter(|fill| *fill > 0);
                self.fill = Some(fill.ok_or_else(bad)?);
            }
            "turn" => self.turn = turn_at(&value).ok_or_else(bad)?,
            "advertise" => self.advertise.push(value.parse().map_err(|_| bad())?),
            "metrics" => self.metrics = Some(value.parse().map_err(|_| bad())?),
            "memory" => self.memory_mib = Some(value.parse().map_err(|_| bad())?),
            "drain" => {
                let seconds = value.parse().ok().filter(|seconds| *seconds <= DRAIN_MAX_S);
                self.drain_s = seconds.ok_or_else(bad)?;
            }
            "log" => {
                self.log = match value.as_str() {
                    "text" => LogForm::Text,
                    "json" => LogForm::Json,
                    _ => return Err(bad()),
                };
            }
            _ => {}
        }
        Ok(())
    }
}

/// What a flag's value has to be, with its range where it has one.
fn must_be(name: &str, wants: &str) -> String {
    let range = match name {
        "udp-port" => "a port, 1 to 65535, or 0 for any that is free",
        "tcp-port" => "a port, 1 to 65535",
        "udp-range" => "A-B, the first and the last port, 1 to 65535, or one port for all",
        "memory" => "a number of MiB",
        "turn" => "auto, :PORT, IP:PORT, or empty for none",
        "http" => "[HOST]:PORT, with an IPv6 address in brackets, or the path of a Unix socket",
        _ => wants,
    };
    format!("it must be {range}")
}

/// A Unix socket's path, or `HOST:PORT` with an optional host.
fn is_listen_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return text.starts_with('/');
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bracketed {
        // With a scope or without.
        Some(_) => text.parse::<SocketAddrV6>().is_ok(),
        None => !host.contains([':', '[', ']', '/']),
    };
    text.starts_with('/') || (is_host && port.parse::<u16>().is_ok())
}

/// As in Galene: empty, `auto`, `:PORT` or `IP:PORT`.
fn turn_at(text: &str) -> Option<TurnAt> {
    match text {
        "" => Some(TurnAt::Off),
        "auto" => Some(TurnAt::Auto),
        _ => {
            let address = match text.strip_prefix(':') {
                Some(port) => (None, port.parse().ok()?),
                None => {
                    let address: SocketAddr = text.parse().ok()?;
                    (Some(address.ip()), address.port())
                }
            };
            (address.1 > 0).then_some(TurnAt::Port(address.0, address.1))
        }
    }
}

fn switch(name: &str, value: Option<&str>) -> Result<bool, FatalError> {
    match value {
        None | Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
        Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
        Some(value) => Err(FatalError::config(format!(
            "flag --{name} cannot be {value:?}: it must be true or false"
        ))),
    }
}

/// `P` is one port for all; `A-B` is one port for each shard. As in Galene, 0 < A <= B.
fn udp_range(text: &str) -> Option<Udp> {
    let Some((first, last)) = text.split_once('-') else {
        return text.parse().ok().filter(|port| *port > 0).map(Udp::Port);
    };
    let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
    (first > 0 && first <= last).then_some(Udp::Range(first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Flags, String> {
        match Flags::parse(arguments.iter().map(|text| (*text).to_owned())) {
            Ok(Order::Run(flags)) => Ok(*flags),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn one_dash_or_two_with_or_without_equals() {
        for arguments in
            [&["-http", ":80"][..], &["--http", ":80"], &["-http=:80"], &["--http=:80"]]
        {
            assert_eq!(parse(arguments).unwrap().http, ":80");
        }
        for address in ["[::1]:80", "[fe80::1%2]:80", "localhost:80", "/run/aula.sock"] {
            assert_eq!(parse(&["-http", address]).unwrap().http, address);
        }
        assert!(parse(&["-insecure"]).unwrap().insecure);
        assert!(!parse(&["-insecure=false"]).unwrap().insecure);
        assert!(parse(&["-public-server", "-insecure=true"]).unwrap().public_server);
    }

    #[test]
    fn galenes_flags_are_all_known() {
        let flags = parse(&[
            "-http",
            ":1",
            "-static",
            "s",
            "-data",
            "d",
            "-groups",
            "g",
            "-recordings",
            "r",
            "-insecure",
            "-udp-range",
            "5-6",
            "-mdns",
            "-relay-only=true",
            "-turn",
            "auto",
            "-cpuprofile",
            "a",
            "-memprofile=b",
            "-mutexprofile",
            "c",
        ])
        .unwrap();
        assert_eq!(flags.udp, Udp::Range(5, 6));
        assert_eq!(flags.statics, Some(PathBuf::from("s")));
    }

    #[test]
    fn turn_is_where_galenes_would_be() {
        assert_eq!(parse(&[]).unwrap().turn, TurnAt::Auto);
        for (value, at) in [
            ("", TurnAt::Off),
            ("auto", TurnAt::Auto),
            (":1194", TurnAt::Port(None, 1194)),
            ("192.0.2.1:1194", TurnAt::Port(Some([192, 0, 2, 1].into()), 1194)),
            ("[::1]:3478", TurnAt::Port(Some("::1".parse().unwrap()), 3478)),
        ] {
            assert_eq!(parse(&["-turn", value]).unwrap().turn, at);
        }
    }

    #[test]
    fn addresses_accumulate() {
        let flags = parse(&["--advertise", "192.0.2.1", "--advertise=2001:db8::1"]).unwrap();
        assert_eq!(flags.advertise.len(), 2);
    }

    #[test]
    fn mistakes_name_the_flag_and_the_fix() {
        for (arguments, word) in [
            (&["-udp-range", "9-1"][..], "udp-range"),
            (&["-udp-range=0"], "udp-range"),
            (&["--shards", "0"], "shards"),
            (&["--shards", "17"], "1..16"),
            (&["--fill", "0"], "fill"),
            (&["--shard", "2"], "did you mean --shards"),
            (&["--advertise", "example.org"], "advertise"),
            (&["--log", "xml"], "text|json"),
            (&["--metrics", "localhost"], "metrics"),
            (&["-http"], "needs a value"),
            (&["-http", ":99999"], "http"),
            (&["-http", "localhost"], "http"),
            (&["-http", ":1:1"], "in brackets"),
            (&["-http", "::1:1"], "in brackets"),
            (&["-http", "[::1:1"], "in brackets"),
            (&["-udp-port", "65536"], "1 to 65535"),
            (&["--tcp-port", "0"], "1 to 65535"),
            (&["-udp-range", "10-x"], "1 to 65535"),
            (&["-insecure=maybe"], "true or false"),
            (&["-turn", "1194"], ":PORT"),
            (&["-turn", ":0"], ":PORT"),
            (&["-turn", "turn.example:1"], "IP:PORT"),
            (&["--bananas"], "--help"),
            (&["bananas"], "--help"),
            (&["-"], "--help"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert!(error.contains(word) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn every_flag_is_in_the_help() {
        let help = help();
        assert!(FLAGS.iter().all(|(name, _, _)| help.contains(&format!("--{name}"))));
    }
}
