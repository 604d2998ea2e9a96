//! One run: join, measure, account.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

use crate::engine::{self, Checks, Command, EngineHandle};
use crate::floor;
use crate::measure::{Outcome, ProcessUse};
use crate::options::Options;
use crate::signal::{self, Member};
use crate::target::{Target, tls_config};

/// TLS handshakes under way at once on the harness's side.
const JOINS_AT_ONCE: usize = 32;
/// After the last join, before the measurement.
const SETTLE: Duration = Duration::from_secs(2);
/// How long the viewers' media may take after the last join.
const UP_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a churning viewer leaves and comes back.
const CHURN_EVERY: Duration = Duration::from_secs(3);
/// How long the floor is measured.
const FLOOR_SECONDS: f64 = 1.5;

/// Runs the load once and returns the result; an error is a run that could not begin.
pub async fn run(options: &Options, url: &str, pids: &[u32]) -> Result<Outcome, String> {
    let target = Target::parse(url)?;
    let tls = if target.is_tls { Some(tls_config(options.is_insecure)?) } else { None };
    let idle = read_all(pids)?;
    let checks = Checks { verify_every: options.verify_every };
    let engine = engine::start(engine::is_local(target.address.ip()), checks)
        .map_err(|error| format!("cannot start: {error}"))?;
    let mut class = Class::new(options, target, tls, engine.clone());
    class.publish().await?;
    class.view().await;
    class.wait_for_media().await;
    tokio::time::sleep(SETTLE).await;
    engine.send(Command::Reset);
    let before = read_all(pids)?;
    let start = Instant::now();
    let churn = options.churns.then(|| class.churn(start + options.duration));
    class.watch(start, options.duration).await;
    if let Some(churn) = churn {
        churn.abort();
    }
    let after = read_all(pids);
    let seconds = start.elapsed().as_secs_f64();
    let totals = engine.ask(Command::Totals).await.unwrap_or_default();
    let mut outcome = class.outcome(seconds, totals).await;
    engine.send(Command::Stop);
    match after {
        Ok(after) if !pids.is_empty() => account(&mut outcome, &idle, &before, &after),
        Ok(_) => {}
        Err(error) => outcome.failures.push(format!("the server died during the run: {error}")),
    }
    drop(class);
    // Measured in the same run, when the load has ended.
    outcome.floor_us_per_packet = floor::measure(FLOOR_SECONDS).ok();
    outcome.floors = outcome.cpu_us_per_packet.zip(outcome.floor_us_per_packet).map(|(c, f)| c / f);
    Ok(outcome)
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
    members: JoinSet<()>,
    failures: Arc<Mutex<Vec<String>>>,
    joined: usize,
}

impl Class {
    fn new(
        options: &Options,
        target: Target,
        tls: Option<Arc<rustls::ClientConfig>>,
        engine: EngineHandle,
    ) -> Self {
        Self {
            options: options.clone(),
            target: Arc::new(target),
            tls,
            engine,
            members: JoinSet::new(),
            failures: Arc::default(),
            joined: 0,
        }
    }

    fn member(&self, number: usize) -> Member {
        let Options { user, password, token, .. } = &self.options;
        // With a password the account is given; without, names help to read a server's list.
        let username = if password.is_some() { user.clone() } else { format!("{user}-{number}") };
        Member { username, password: password.clone(), token: token.clone() }
    }

    async fn publish(&mut self) -> Result<(), String> {
        for number in 0..self.options.publishers {
            let member = self.member(number);
            let tls = self.tls.clone();
            let engine = self.engine.clone();
            let mut joined = signal::join(&self.target, tls, engine, number, member).await?;
            joined.publish(self.options.load).await?;
            let (failures, views) = (Arc::clone(&self.failures), self.options.is_meeting);
            self.members.spawn(async move {
                let why = joined.serve(views).await;
                failures.lock().await.push(format!("publisher {number}: {why}"));
            });
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
            let (target, tls, engine) =
                (Arc::clone(&self.target), self.tls.clone(), self.engine.clone());
            let failures = Arc::clone(&self.failures);
            self.members.spawn(async move {
                let joined = signal::join(&target, tls, engine, number, member).await;
                drop(permit);
                let why = match joined {
                    Ok(joined) => joined.serve(true).await,
                    Err(error) => error,
                };
                failures.lock().await.push(format!("viewer {viewer}: {why}"));
            });
            self.joined = viewer + 1;
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
            if totals.streams_up >= self.streams_wanted() {
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
        tokio::spawn(async move {
            let mut number = first;
            while Instant::now() < until {
                let mut visitors = JoinSet::new();
                for member in members.clone() {
                    number += 1;
                    let (target, tls, engine) = (Arc::clone(&target), tls.clone(), engine.clone());
                    let failures = Arc::clone(&failures);
                    visitors.spawn(async move {
                        match signal::join(&target, tls, engine, number, member).await {
                            Ok(joined) => {
                                // Gone without a word after a while, like a closed laptop.
                                let _ = tokio::time::timeout(CHURN_EVERY, joined.serve(true)).await;
                            }
                            Err(error) => failures.lock().await.push(format!("visitor: {error}")),
                        }
                    });
                }
                while visitors.join_next().await.is_some() {}
            }
        })
    }

    async fn watch(&self, start: Instant, duration: Duration) {
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
        }
        eprintln!();
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
        let sound = if load.audio { " and opus" } else { "" };
        let among = if self.options.is_meeting { " among themselves" } else { "" };
        let mut failures = self.failures.lock().await.clone();
        if totals.streams_up < self.streams_wanted() {
            failures.push(format!(
                "{} of {} streams never came up",
                self.streams_wanted() - totals.streams_up,
                self.streams_wanted()
            ));
        }
        if totals.verified == 0 {
            failures.push("no packet was verified".to_owned());
        }
        if totals.bad > 0 {
            failures.push(format!("{} packets were not authentic or not ours", totals.bad));
        }
        Outcome {
            title: format!(
                "{publishers} publishers{among} to {viewers} viewers, {kbps} kbit/s video{sound}, {}",
                self.target.url
            ),
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
            freezes: totals.freezes,
            latency_us_p50: totals.latency.quantile(0.5),
            latency_us_p99: totals.latency.quantile(0.99),
            latency_us_p999: totals.latency.quantile(0.999),
            latency_histogram: totals.latency.buckets(),
            failures,
            ..Outcome::default()
        }
    }
}

fn share(expected: u64, received: u64) -> f64 {
    if expected == 0 { 0.0 } else { expected.saturating_sub(received) as f64 / expected as f64 }
}

fn progress(line: &str) {
    eprint!("\r{line:<78}");
}
