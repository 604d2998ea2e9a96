//! The command line.

use std::time::Duration;

use dataplane::Codec;
use loadtest::netem::Impairment;

use crate::load::Load;
use crate::tunnel::Transport;

/// How to use it, printed by `--help`.
pub(crate) const USAGE: &str = "\
aula-loadtest: WebRTC load for Aula and Galene, with real clients

  aula-loadtest run --url https://HOST:8443/group/test/ [OPTION..]
  aula-loadtest class|webinar|meeting|storm --url URL [OPTION..]   named profiles
  aula-loadtest find-capacity --url URL --pid PID [OPTION..]
  aula-loadtest compare --a URL --pid-a PID --b URL --pid-b PID [--rounds N] [OPTION..]
  aula-loadtest floor                  the bare seal and send of this machine
  aula-loadtest netem [--seed N]       the congestion control in the cases of RFC 8867, in virtual time
  aula-loadtest ladder [--seed N]      what a viewer sees and hears behind six links, in virtual time
  aula-loadtest report A.json [B.json..] > report.html

  --publishers N     publishers (1)            --viewers N     viewers (100)
  --codec C          vp8|vp9|h264|av1 (vp8)    --simulcast     three encodings
  --svc              AV1 with three spatial layers, which VP9 always has
  --video BITRATE    700k, 2m, or 0 (700k)     --fps N         frames per second (30)
  --audio            opus beside the video     --duration S    seconds measured (30)
  --protocol P       native|whip|whip+native   --seed N        of frame sizes and --netem (1)
  --ramp N/s         joins per second (50)     --pid PID       account this server (repeatable)
  --user U           user name (load)          --password P    --token T
  --insecure         trust any certificate     --json FILE     write the result there too
  --max-loss SHARE   fail above it (0.01)      --max-p99 MS    find-capacity's limit (50)
  --verify N         check every Nth packet (16)
  --feedback         viewers send transport-wide feedback every 100 ms, as browsers do
  --transport T      udp|tcp|turn: viewers' media over UDP, ICE-TCP or the server's TURN (udp)
  --record           the first publisher has the group recorded; it needs the permission record
  --netem SPEC       impair the viewers' media: loss=2%,delay=40ms,jitter=10ms,reorder=1%,
                     duplicate=1%,rate=2m,queue=100ms,burst=1%/30%,rebind=5s
Exit status: 0 if every viewer was served within --max-loss; 1 otherwise; 2 for a wrong command line.
";

/// How clients speak to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Galene's native protocol.
    Native,
    /// WHIP for publishers and WHEP for viewers.
    Whip,
    /// WHIP for publishers, the native protocol for viewers: encoders and browsers.
    WhipToNative,
}

impl Protocol {
    /// Whether publishers use WHIP.
    pub(crate) fn publishes_by_whip(self) -> bool {
        self != Self::Native
    }

    /// Whether viewers use WHEP.
    pub(crate) fn views_by_whep(self) -> bool {
        self == Self::Whip
    }
}

/// Everything that can be said.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The first argument: `run`, `floor` and so on.
    pub command: String,
    /// Arguments that are no options.
    pub files: Vec<String>,
    pub url: String,
    /// `--a`, `--b` with their processes.
    pub pair: [(String, Vec<u32>); 2],
    pub rounds: usize,
    pub publishers: usize,
    pub viewers: usize,
    /// Whether publishers view each other too.
    pub is_meeting: bool,
    /// Whether viewers leave and come back all the time.
    pub churns: bool,
    pub load: Load,
    pub protocol: Protocol,
    pub feedback: bool,
    pub transport: Transport,
    pub records: bool,
    pub netem: Option<Impairment>,
    pub duration: Duration,
    /// `--ramp`, joins per second.
    pub ramp: f64,
    pub pids: Vec<u32>,
    pub user: String,
    pub password: Option<String>,
    pub token: Option<String>,
    pub is_insecure: bool,
    pub json: Option<String>,
    /// `--max-loss`, a share of 1.
    pub max_loss: f64,
    pub max_p99: Duration,
    /// One of so many packets has its tag checked.
    pub verify_every: u64,
}

impl Options {
    /// Reads the command line.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let command = arguments.next().ok_or("a command is missing; try --help")?;
        let mut options = Self::new(command)?;
        while let Some(argument) = arguments.next() {
            let Some(name) = argument.strip_prefix("--") else {
                options.files.push(argument);
                continue;
            };
            let (name, inline) = match name.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (name.to_owned(), None),
            };
            let mut value = || {
                let given = inline.clone().or_else(|| arguments.next());
                given.ok_or_else(|| format!("--{name} wants a value"))
            };
            options.set(&name, &mut value)?;
        }
        options.check()?;
        Ok(options)
    }

    /// Refuses options that contradict each other.
    fn check(&self) -> Result<(), String> {
        let is_meeting_by_whip = self.protocol.publishes_by_whip() && self.is_meeting;
        if is_meeting_by_whip {
            return Err("--protocol whip: in a meeting everybody sends and receives, which WHIP \
                        cannot; use run, class or webinar"
                .to_owned());
        }
        if self.records && self.protocol.publishes_by_whip() {
            return Err("--record: WHIP cannot say so; use --protocol native".to_owned());
        }
        if self.netem.is_some() && self.transport != Transport::Udp {
            return Err(
                "--netem: impairs datagrams, so not with --transport tcp or turn".to_owned()
            );
        }
        if self.load.simulcast && self.load.codec == Codec::Vp9 {
            return Err(
                "--simulcast: VP9 has its layers in one stream; choose another codec".to_owned()
            );
        }
        Ok(())
    }

    fn new(command: String) -> Result<Self, String> {
        let (publishers, viewers, audio) = match command.as_str() {
            "class" => (1, 200, true),
            "webinar" => (5, 100, true),
            "meeting" => (30, 0, true),
            "storm" => (1, 200, true),
            "run" | "find-capacity" | "compare" | "floor" | "netem" | "ladder" | "report" => {
                (1, 100, false)
            }
            "--help" | "-h" | "help" => return Err(USAGE.to_owned()),
            _ => return Err(format!("unknown command {command}; try --help")),
        };
        Ok(Self {
            is_meeting: command == "meeting",
            churns: command == "storm",
            command,
            files: Vec::new(),
            url: String::new(),
            pair: Default::default(),
            rounds: 5,
            publishers,
            viewers,
            load: Load {
                codec: Codec::Vp8,
                simulcast: false,
                is_svc: false,
                video_bps: 700_000,
                fps: 30,
                audio,
                seed: 1,
            },
            protocol: Protocol::Native,
            feedback: false,
            transport: Transport::Udp,
            records: false,
            netem: None,
            duration: Duration::from_secs(30),
            ramp: 50.0,
            pids: Vec::new(),
            user: "load".to_owned(),
            password: None,
            token: None,
            is_insecure: false,
            json: None,
            max_loss: 0.01,
            max_p99: Duration::from_millis(50),
            verify_every: 16,
        })
    }

    fn set(
        &mut self,
        name: &str,
        value: &mut dyn FnMut() -> Result<String, String>,
    ) -> Result<(), String> {
        let mut text = || value();
        match name {
            "url" => self.url = text()?,
            "a" => self.pair[0].0 = text()?,
            "b" => self.pair[1].0 = text()?,
            "pid-a" => self.pair[0].1.push(number(name, &text()?)?),
            "pid-b" => self.pair[1].1.push(number(name, &text()?)?),
            "rounds" => self.rounds = number(name, &text()?)?,
            "publishers" => self.publishers = number(name, &text()?)?,
            "viewers" => self.viewers = number(name, &text()?)?,
            "video" => self.load.video_bps = bitrate(&text()?)?,
            "fps" => self.load.fps = number::<u64>(name, &text()?)?.clamp(1, 240),
            "audio" => self.load.audio = true,
            "codec" => self.load.codec = codec(&text()?)?,
            "feedback" => self.feedback = true,
            "record" => self.records = true,
            "simulcast" => self.load.simulcast = true,
            "svc" => self.load.is_svc = true,
            "seed" => self.load.seed = number(name, &text()?)?,
            "protocol" => {
                self.protocol = match text()?.as_str() {
                    "native" => Protocol::Native,
                    "whip" => Protocol::Whip,
                    "whip+native" => Protocol::WhipToNative,
                    other => {
                        return Err(format!(
                            "--protocol {other}: want native, whip or whip+native"
                        ));
                    }
                };
            }
            "transport" => {
                self.transport = match text()?.as_str() {
                    "udp" => Transport::Udp,
                    "tcp" => Transport::Tcp,
                    "turn" => Transport::Turn,
                    other => return Err(format!("--transport {other}: want udp, tcp or turn")),
                };
            }
            "netem" => {
                let given = text()?;
                let parsed = given.parse();
                self.netem = Some(parsed.map_err(|error| format!("--netem {given}: {error}"))?);
            }
            "duration" => self.duration = seconds(name, &text()?)?,
            "ramp" => {
                let given = text()?;
                self.ramp = number::<f64>(name, given.trim_end_matches("/s"))?.clamp(0.1, 10_000.0);
            }
            "pid" => self.pids.push(number(name, &text()?)?),
            "user" => self.user = text()?,
            "password" => self.password = Some(text()?),
            "token" => self.token = Some(text()?),
            "insecure" => self.is_insecure = true,
            "json" => self.json = Some(text()?),
            "max-loss" => self.max_loss = number(name, &text()?)?,
            "max-p99" => {
                let given = text()?;
                let ms: u64 = number(name, given.trim_end_matches("ms"))?;
                self.max_p99 = Duration::from_millis(ms);
            }
            "verify" => self.verify_every = number::<u64>(name, &text()?)?.max(1),
            "help" => return Err(USAGE.to_owned()),
            _ => return Err(format!("unknown option --{name}; try --help")),
        }
        Ok(())
    }
}

fn codec(text: &str) -> Result<Codec, String> {
    let video = [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];
    let found = Codec::from_name(text).filter(|codec| video.contains(codec));
    found.ok_or_else(|| format!("--codec {text}: want vp8, vp9, h264 or av1"))
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("--{name} {text}: not a number"))
}

fn seconds(name: &str, text: &str) -> Result<Duration, String> {
    let seconds: f64 = number(name, text.trim_end_matches('s'))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("--{name} {text}: not a duration"))
}

fn bitrate(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.to_ascii_lowercase().strip_suffix(['k', 'm']) {
        Some(digits) if text.ends_with(['k', 'K']) => (digits.to_owned(), 1000.0),
        Some(digits) => (digits.to_owned(), 1_000_000.0),
        None => (text.to_owned(), 1.0),
    };
    let value: f64 = number("video", &digits)?;
    if !(0.0..=100_000_000.0).contains(&(value * factor)) {
        return Err(format!("--video {text}: between 0 and 100m"));
    }
    Ok((value * factor) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_full_command_line_is_understood() {
        let options = parse(
            "run --url https://h/group/g/ --viewers 500 --video 1.5m --audio --duration 30s \
             --ramp 100/s --pid 7 --pid=8 --insecure --max-loss 0.02",
        )
        .expect("a good command line");
        assert_eq!((options.viewers, options.load.video_bps), (500, 1_500_000));
        assert_eq!((options.pids, options.ramp), (vec![7, 8], 100.0));
        assert!(options.load.audio && options.is_insecure);
        assert_eq!(options.duration, Duration::from_secs(30));
        let options = parse(
            "run --codec AV1 --simulcast --protocol whip --seed 9 --netem loss=2%,delay=40ms",
        )
        .expect("a good command line");
        assert_eq!((options.load.codec, options.load.simulcast), (Codec::Av1, true));
        assert_eq!((options.protocol, options.load.seed), (Protocol::Whip, 9));
        assert!(options.netem.is_some());
    }

    #[test]
    fn mistakes_are_named() {
        let error = parse("run --record --protocol whip").expect_err("not by WHIP");
        assert!(error.contains("--protocol native"), "{error}");
        for (line, said) in [
            ("", "missing"),
            ("fly", "unknown command fly"),
            ("run --viewers many", "--viewers many: not a number"),
            ("run --speed 9", "unknown option --speed"),
            ("run --url", "--url wants a value"),
            ("run --video 900m", "between"),
            ("run --codec opus", "want vp8, vp9, h264 or av1"),
            ("run --codec vp9 --simulcast", "layers in one stream"),
            ("run --protocol rtmp", "want native, whip or whip+native"),
            ("run --netem loss=200%", "--netem loss=200%:"),
            ("meeting --protocol whip", "cannot"),
            ("run --transport quic", "want udp, tcp or turn"),
            ("run --transport tcp --netem loss=2%", "impairs datagrams"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
