//! One run: join, measure, account.

use std::sync::Arc;
use std::time::{Duration, Instant};

use loadtest::netem::Detour;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinSet;

use crate::descriptors;
use crate::engine::{self, Command, EngineHandle};
use crate::floor;
use crate::load::Checks;
use crate::measure::{Outcome, ProcessUse};
use crate::options::{Options, Protocol};
use crate::signal::{self, Member};
use crate::target::{Target, tls_config};
use crate::tunnel::{Transport, Tunnels, Way};
use crate::whip::{self, Session};

/// TLS handshakes under way at once on the harness's side.
const JOINS_AT_ONCE: usize = 32;
/// After the last join, before the measurement.
const SETTLE: Duration = Duration::from_secs(2);
/// How long the viewers' media may take after the last join.
const UP_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a churning viewer leaves and comes back.
const CHURN_EVERY: Duration = Duration::from_secs(3);
/// How long the sessions' DELETE requests may take altogether.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the floor is measured.
const FLOOR_SECONDS: f64 = 1.5;

/// Runs the load once and returns the result; an error is a run that could not begin.
pub(crate) async fn run(options: &Options, url: &str, pids: &[u32]) -> Result<Outcome, String> {
    let target = Target::parse(url)?;
    let tls = if target.is_tls { Some(tls_config(options.is_insecure)?) } else { None };
    let is_local = engine::is_local(target.address.ip());
    descriptors::ensure(descriptors_needed(options, is_local))?;
    let idle = read_all(pids)?;
    let checks = Checks {
        verify_every: options.verify_every,
        freeze_us: freeze_us(options.load.fps),
        feedback: options.feedback,
    };
    let engine =
        engine::start(is_local, checks).map_err(|error| format!("cannot start: {error}"))?;
    let mut class = Class::new(options, target, tls, engine.clone());
    class.publish().await?;
    class.view().await;
    class.wait_for_media().await;
    tokio::time::sleep(SETTLE).await;
    engine.send(Command::Reset);
    let before = read_all(pids).unwrap_or_else(|_| idle.clone());
    let start = Instant::now();
    let churn = options.churns.then(|| class.churn(start + options.duration));
    let after = class.watch(start, pids).await;
    if let Some(churn) = churn {
        churn.abort();
    }
    let seconds = start.elapsed().as_secs_f64();
    let totals = engine.ask(Command::Totals).await.unwrap_or_default();
    let mut outcome = class.outcome(seconds, totals).await;
    class.end().await;
    engine.send(Command::Stop);
    if let Some(after) = after {
        account(&mut outcome, &idle, &before, &after);
    }
    // Measured in the same run, when the load has ended.
    outcome.floor_us_per_packet = floor::measure(FLOOR_SECONDS).ok();
    outcome.floors = outcome.cpu_us_per_packet.zip(outcome.floor_us_per_packet).map(|(c, f)| c / f);
    Ok(outcome)
}

/// Descriptors that the clients of a run hold at once.
fn descriptors_needed(options: &Options, is_local: bool) -> usize {
    let Options { publishers, viewers, .. } = *options;
    let clients = publishers + viewers + if options.churns { viewers / 10 + 1 } else { 0 };
    let connections = match options.protocol {
        Protocol::Native | Protocol::WhipToNative => clients,
        Protocol::Whip => JOINS_AT_ONCE,
    };
    let streams = publishers * clients.max(publishers);
    let sockets = if is_local { 0 } else { streams };
    // A port on this machine, and a connection.
    let tunnels = if options.transport == Transport::Udp { 0 } else { 2 * streams };
    connections + sockets + tunnels + if options.netem.is_some() { streams } else { 0 }
}

/// As W3C webrtc-stats counts freezes: three frame intervals, or 150 ms more than one.
fn freeze_us(fps: u64) -> u64 {
    let interval_us = 1_000_000 / fps.max(1);
    (3 * interval_us).max(interval_us + 150_000)
}

fn read_all(pids: &[u32]) -> Result<Vec<ProcessUse>, String> {
    pids.iter().map(|pid| ProcessUse::read(*pid)).collect()
}

fn account(
    outcome: &mut Outcome,
    idle: &[ProcessUse],
    before: &[ProcessUse],
    after: &[ProcessUse],
) {
    let cpu: f64 = after.iter().zip(before).map(|(a, b)| a.cpu_since(b).as_secs_f64()).sum();
    let rss: u64 = after.iter().map(|used| used.rss_bytes).sum();
    let rss_idle: u64 = idle.iter().map(|used| used.rss_bytes).sum();
    outcome.server_cpu_s = Some(cpu);
    let part = |of: fn(&ProcessUse) -> Duration| {
        after.iter().zip(before).map(|(a, b)| of(a).saturating_sub(of(b)).as_secs_f64()).sum()
    };
    outcome.server_user_s = Some(part(|used| used.user));
    outcome.server_system_s = Some(part(|used| used.system));
    outcome.server_rss_bytes = Some(rss);
    if outcome.packets_received > 0 {
        let per_packet = cpu * 1e6 / outcome.packets_received as f64;
        outcome.cpu_us_per_packet = Some(per_packet);
        let per_flow = outcome.packets_received as f64 / outcome.seconds / outcome.flows as f64;
        outcome.flows_per_core = Some(1e6 / per_packet / per_flow);
    }
    if outcome.streams_up > 0 {
        let grown = rss.saturating_sub(rss_idle) as f64;
        outcome.rss_bytes_per_viewer = Some(grown / outcome.streams_up as f64);
    }
}

struct Class {
    options: Options,
    target: Arc<Target>,
    tls: Option<Arc<rustls::ClientConfig>>,
    engine: EngineHandle,
    detour: Option<Arc<Detour>>,
    way: Way,
    members: JoinSet<()>,
    failures: Arc<Mutex<Vec<String>>>,
    ending: watch::Sender<bool>,
}

impl Class {
    fn new(
        options: &Options,
        target: Target,
        tls: Option<Arc<rustls::ClientConfig>>,
        engine: EngineHandle,
    ) -> Self {
        let detour = options.netem.map(|netem| Arc::new(Detour::new(netem, options.load.seed)));
        let way = match (&detour, options.transport) {
            (Some(detour), _) => Way::Impaired(Arc::clone(detour)),
            (None, Transport::Udp) => Way::Direct,
            (None, other) => Way::Tunnel(Arc::new(Tunnels::new(other, tls.clone()))),
        };
        Self {
            options: options.clone(),
            target: Arc::new(target),
            tls,
            engine,
            detour: detour.clone(),
            way,
            members: JoinSet::new(),
            failures: Arc::default(),
            ending: watch::Sender::new(false),
        }
    }

    fn member(&self, number: usize) -> Member {
        let Options { user, password, token, .. } = &self.options;
        // With a password the account is given; without, names help to read a server's list.
        let username = if password.is_some() { user.clone() } else { format!("{user}-{number}") };
        Member { username, password: password.clone(), token: token.clone() }
    }

    fn server(&self) -> whip::Server {
        whip::Server { target: Arc::clone(&self.target), tls: self.tls.clone() }
    }

    async fn publish(&mut self) -> Result<(), String> {
        for number in 0..self.options.publishers {
            let member = self.member(number);
            let engine = self.engine.clone();
            let load = self.options.load;
            let failures = Arc::clone(&self.failures);
            if self.options.protocol.publishes_by_whip() {
                let session = whip::publish(self.server(), engine, &member, load, number).await?;
                self.members.spawn(hold(session, self.ending.subscribe(), failures));
            } else {
                let tls = self.tls.clone();
                let mut joined = signal::join(&self.target, tls, engine, number, member).await?;
                joined.publish(load, number).await?;
                if self.options.records && number == 0 {
                    joined.record().await?;
                }
                let views = self.options.is_meeting;
                let way = self.way.clone();
                self.members.spawn(async move {
                    let why = joined.serve(views, way).await;
                    failures.lock().await.push(format!("publisher {number}: {why}"));
                });
            }
            progress(&format!("publishers {}/{}", number + 1, self.options.publishers));
        }
        Ok(())
    }

    async fn view(&mut self) {
        let limit = Arc::new(Semaphore::new(JOINS_AT_ONCE));
        let interval = Duration::from_secs_f64(1.0 / self.options.ramp);
        let mut due = Instant::now();
        for viewer in 0..self.options.viewers {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&limit).acquire_owned().await else {
                return;
            };
            tokio::time::sleep_until(due.into()).await;
            due = (due + interval).max(Instant::now() - interval);
            let number = self.options.publishers + viewer;
            let member = self.member(number);
            let (server, engine, way) = (self.server(), self.engine.clone(), self.way.clone());
            let (failures, ending) = (Arc::clone(&self.failures), self.ending.subscribe());
            let (protocol, publishers) = (self.options.protocol, self.options.publishers);
            self.members.spawn(async move {
                let why = if protocol.views_by_whep() {
                    let begun = whip::view(server, engine, &member, publishers, way).await;
                    drop(permit);
                    match begun {
                        Ok(session) => return hold(session, ending, failures).await,
                        Err(error) => error,
                    }
                } else {
                    let whip::Server { target, tls } = server;
                    let joined = signal::join(&target, tls, engine, number, member).await;
                    drop(permit);
                    match joined {
                        Ok(joined) => joined.serve(true, way).await,
                        Err(error) => error,
                    }
                };
                failures.lock().await.push(format!("viewer {viewer}: {why}"));
            });
            if viewer % 10 == 9 {
                progress(&format!("viewers joining {}/{}", viewer + 1, self.options.viewers));
            }
        }
    }

    fn streams_wanted(&self) -> usize {
        let publishers = self.options.publishers;
        let among = if self.options.is_meeting { publishers * (publishers - 1) } else { 0 };
        publishers * self.options.viewers + among
    }

    async fn wait_for_media(&self) {
        let deadline = Instant::now() + UP_TIMEOUT;
        while Instant::now() < deadline {
            let totals = self.engine.ask(Command::Totals).await.unwrap_or_default();
            progress(&format!("streams up {}/{}", totals.streams_up, self.streams_wanted()));
            // Who has failed will not come.
            let failed = self.failures.lock().await.len() * self.options.publishers.max(1);
            if totals.streams_up + failed >= self.streams_wanted() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// A tenth of the viewers' worth of members that come and go until the end.
    fn churn(&self, until: Instant) -> tokio::task::JoinHandle<()> {
        let (target, tls, engine) =
            (Arc::clone(&self.target), self.tls.clone(), self.engine.clone());
        let count = (self.options.viewers / 10).max(1);
        let first = self.options.publishers + self.options.viewers;
        let members: Vec<Member> = (0..count).map(|at| self.member(first + at)).collect();
        let failures = Arc::clone(&self.failures);
        let (protocol, publishers) = (self.options.protocol, self.options.publishers);
        // What is impaired is the path of those who stay.
        let way = match &self.way {
            Way::Impaired(_) => Way::Direct,
            other => other.clone(),
        };
        tokio::spawn(async move {
            let mut number = first;
            while Instant::now() < until {
                let mut visitors = JoinSet::new();
                for member in members.clone() {
                    number += 1;
                    let (target, tls, engine) = (Arc::clone(&target), tls.clone(), engine.clone());
                    let (failures, way) = (Arc::clone(&failures), way.clone());
                    visitors.spawn(async move {
                        // Gone without a word after a while, like a closed laptop.
                        let done = if protocol.views_by_whep() {
                            let server = whip::Server { target, tls };
                            match whip::view(server, engine, &member, publishers, way).await {
                                Ok(_session) => {
                                    tokio::time::sleep(CHURN_EVERY).await;
                                    Ok(())
                                }
                                Err(error) => Err(error),
                            }
                        } else {
                            match signal::join(&target, tls, engine, number, member).await {
                                Ok(joined) => {
                                    let stay = joined.serve(true, way);
                                    let _ = tokio::time::timeout(CHURN_EVERY, stay).await;
                                    Ok(())
                                }
                                Err(error) => Err(error),
                            }
                        };
                        if let Err(error) = done {
                            failures.lock().await.push(format!("visitor: {error}"));
                        }
                    });
                }
                while visitors.join_next().await.is_some() {}
            }
        })
    }

    /// Waits until the duration is over, the server is gone, or nobody is left. Returns the last
    /// reading of the server's processes; `None` if none were given.
    async fn watch(&self, start: Instant, pids: &[u32]) -> Option<Vec<ProcessUse>> {
        let duration = self.options.duration;
        let mut last = read_all(pids).ok().filter(|used| !used.is_empty());
        while start.elapsed() < duration {
            let left = duration.saturating_sub(start.elapsed());
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
            let totals = self.engine.ask(Command::Totals).await.unwrap_or_default();
            let rate = totals.received as f64 / start.elapsed().as_secs_f64();
            let p99 = totals.latency.quantile(0.99).unwrap_or(0) as f64 / 1000.0;
            progress(&format!(
                "{:3.0} s  {:7.0} packets/s  loss {:.3} %  p99 {p99:.1} ms",
                start.elapsed().as_secs_f64(),
                rate,
                share(totals.expected, totals.received) * 100.0,
            ));
            match read_all(pids) {
                Ok(used) if !used.is_empty() => last = Some(used),
                Ok(_) => {}
                Err(error) => {
                    let died = format!(
                        "the server died after {:.0} s; the results end there ({error})",
                        start.elapsed().as_secs_f64()
                    );
                    self.failures.lock().await.insert(0, died);
                    break;
                }
            }
            let failed = self.failures.lock().await.len();
            if failed > 0 && totals.streams_up == 0 {
                break; // Nobody is served any more.
            }
        }
        eprintln!();
        last
    }

    /// Ends what must be ended in so many words.
    async fn end(mut self) {
        // Nobody may be listening.
        let _ = self.ending.send(true);
        if self.options.protocol.publishes_by_whip() {
            let all = async { while self.members.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(END_TIMEOUT, all).await;
        }
    }

    /// What did not go as it should.
    async fn complaints(&self, totals: &crate::totals::Totals) -> Vec<String> {
        let mut failures = self.failures.lock().await.clone();
        if totals.streams_up < self.streams_wanted() {
            failures.push(format!(
                "{} of {} streams are not up",
                self.streams_wanted() - totals.streams_up,
                self.streams_wanted()
            ));
        }
        if totals.silent > 0 {
            failures.push(format!("{} of {} flows have stopped", totals.silent, totals.flows));
        }
        if totals.breaks > 0 {
            failures.push(format!("picture ids broke {} times", totals.breaks));
        }
        if totals.verified == 0 {
            failures.push("no packet was verified".to_owned());
        }
        if totals.bad > 0 {
            failures.push(format!("{} packets were not authentic or not ours", totals.bad));
        }
        failures
    }

    async fn outcome(&self, seconds: f64, totals: crate::totals::Totals) -> Outcome {
        let Options { publishers, viewers, load, .. } = self.options;
        let mut join_ms = totals.join_ms.clone();
        join_ms.sort_unstable();
        let join = |share: f64| {
            let at = ((join_ms.len() as f64 * share) as usize).min(join_ms.len().wrapping_sub(1));
            join_ms.get(at).copied()
        };
        let kbps = load.video_bps / 1000;
        let codec = load.codec.name();
        let codec = if load.simulcast { format!("{codec} simulcast") } else { codec.to_owned() };
        let by = match self.options.protocol {
            Protocol::Native => "",
            Protocol::Whip => " over WHIP and WHEP",
            Protocol::WhipToNative => " over WHIP",
        };
        let feedback = if self.options.feedback { ", with feedback" } else { "" };
        let impaired = match &self.detour {
            Some(detour) => {
                let (taken, lost) = detour.taken_and_lost();
                format!(", impaired ({lost} of {taken} datagrams lost on purpose)")
            }
            None => String::new(),
        };
        let sound = if load.audio { " and opus" } else { "" };
        let among = if self.options.is_meeting { " among themselves" } else { "" };
        let failures = self.complaints(&totals).await;
        Outcome {
            title: format!(
                "{publishers} publishers{among} to {viewers} viewers, {kbps} kbit/s {codec}{sound}\
                 {by}{feedback}{impaired}, {}",
                self.target.url
            ),
            verify_every: self.options.verify_every,
            seed: load.seed,
            seconds,
            viewers_wanted: if self.options.is_meeting { publishers } else { viewers },
            viewers_up: if self.options.is_meeting {
                totals.streams_up / publishers.saturating_sub(1).max(1)
            } else {
                (totals.streams_up / publishers.max(1)).min(viewers)
            },
            streams_wanted: self.streams_wanted(),
            streams_up: totals.streams_up,
            flows: totals.flows,
            join_ms_p50: join(0.5),
            join_ms_p99: join(0.99),
            packets_published: totals.published,
            packets_expected: totals.expected,
            packets_received: totals.received,
            packets_duplicate: totals.duplicate,
            packets_verified: totals.verified,
            packets_bad: totals.bad,
            loss: share(totals.expected, totals.received),
            frames: totals.frames,
            freezes: totals.freezes,
            picture_id_breaks: totals.breaks,
            latency_us_p50: totals.latency.quantile(0.5),
            latency_us_p99: totals.latency.quantile(0.99),
            latency_us_p999: totals.latency.quantile(0.999),
            latency_histogram: totals.latency.buckets(),
            failures,
            ..Outcome::default()
        }
    }
}

/// Keeps a session until the run ends.
async fn hold(
    session: Session,
    mut ending: watch::Receiver<bool>,
    failures: Arc<Mutex<Vec<String>>>,
) {
    // An error means that the run is gone, which is an end too.
    let _ = ending.wait_for(|is_ending| *is_ending).await;
    if let Err(error) = session.end().await {
        failures.lock().await.push(error);
    }
}

fn share(expected: u64, received: u64) -> f64 {
    if expected == 0 { 0.0 } else { expected.saturating_sub(received) as f64 / expected as f64 }
}

fn progress(line: &str) {
    eprint!("\r{line:<78}");
}
