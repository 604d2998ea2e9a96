//! `aula-loadtest`: real WebRTC clients, light enough that thousands run beside the server, and the
//! numbers that come of it. See `options.rs` for what it takes.

mod client;
mod connect;
mod descriptors;
mod engine;
mod floor;
mod ladder;
mod load;
mod measure;
mod media;
mod options;
mod peer;
mod publisher;
mod report;
mod run;
mod signal;
mod target;
mod totals;
mod tunnel;
mod viewer;
mod whip;

use std::process::ExitCode;

use loadtest::simulation;
use measure::Outcome;
use options::{Options, USAGE};

/// The command line was wrong.
const EXIT_USAGE: u8 = 2;
/// `find-capacity` begins here and doubles.
const CAPACITY_FIRST: usize = 50;
/// It ends here at the latest.
const CAPACITY_MAX: usize = 20_000;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(text) if text == USAGE => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("aula-loadtest: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(&options)),
        Err(error) => Err(format!("cannot start: {error}")),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\naula-loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(options: &Options) -> Result<bool, String> {
    match options.command.as_str() {
        "floor" => {
            for _ in 0..5 {
                println!("{:.3} us of CPU per sealed and sent packet", floor::measure(2.0)?);
            }
            Ok(true)
        }
        "netem" => {
            print!("{}", simulate(options.load.seed));
            Ok(true)
        }
        "ladder" => {
            print!("{}", ladder::table(options.load.seed)?);
            Ok(true)
        }
        "report" => report_files(&options.files),
        "find-capacity" => find_capacity(options).await,
        "compare" => compare(options).await,
        _ => {
            let outcome = run::run(options, &options.url, &options.pids).await?;
            print!("{}", report::table(&outcome));
            write_json(options, &outcome)?;
            Ok(is_good(options, &outcome))
        }
    }
}

fn simulate(seed: u64) -> String {
    let rows = simulation::cases().into_iter().map(|case| {
        let run = simulation::run(&case, seed, &|| Box::<simulation::Ours>::default());
        (case.name.to_owned(), simulation::Judgement::of(&case, &run))
    });
    simulation::table(&rows.collect::<Vec<_>>())
}

fn is_good(options: &Options, outcome: &Outcome) -> bool {
    outcome.failures.is_empty() && outcome.loss <= options.max_loss
}

fn write_json(options: &Options, outcome: &impl serde::Serialize) -> Result<(), String> {
    let Some(path) = &options.json else {
        return Ok(());
    };
    let text = serde_json::to_string_pretty(outcome).map_err(|error| error.to_string())?;
    std::fs::write(path, text).map_err(|error| format!("cannot write {path}: {error}"))
}

fn report_files(files: &[String]) -> Result<bool, String> {
    let mut results = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("cannot read {file}: {error}"))?;
        let outcome: Outcome = serde_json::from_str(&text)
            .map_err(|error| format!("{file} is no result of this program: {error}"))?;
        results.push((file.trim_end_matches(".json").to_owned(), outcome));
    }
    if results.is_empty() {
        return Err("report wants the JSON files of earlier runs".to_owned());
    }
    print!("{}", report::page(&results));
    Ok(true)
}

/// Doubles the viewers until a limit is passed, and says which one it was.
async fn find_capacity(options: &Options) -> Result<bool, String> {
    let mut viewers = CAPACITY_FIRST;
    let mut best: Option<Outcome> = None;
    while viewers <= CAPACITY_MAX {
        let step = Options { viewers, ..options.clone() };
        let outcome = run::run(&step, &step.url, &step.pids).await?;
        print!("{}", report::table(&outcome));
        let p99_us = outcome.latency_us_p99.unwrap_or(u64::MAX);
        let limit = if !outcome.failures.is_empty() {
            Some(outcome.failures[0].clone())
        } else if outcome.loss > options.max_loss {
            Some(format!("loss of {:.3} %", outcome.loss * 100.0))
        } else if u128::from(p99_us) > options.max_p99.as_micros() {
            Some(format!("p99 latency of {:.1} ms", p99_us as f64 / 1000.0))
        } else {
            None
        };
        if let Some(limit) = limit {
            println!("limit at {viewers} viewers: {limit}");
            break;
        }
        best = Some(outcome);
        viewers *= 2;
    }
    let best = best.ok_or("not even the first step was within the limits")?;
    println!("served within the limits: {} viewers", best.viewers_up);
    write_json(options, &best)?;
    Ok(true)
}

/// The same load on two servers in turn, and the ratio of their costs with its spread.
async fn compare(options: &Options) -> Result<bool, String> {
    let mut costs: [Vec<f64>; 2] = Default::default();
    let mut all = Vec::new();
    let mut is_good_all = true;
    for round in 0..options.rounds.max(1) {
        for ((url, pids), costs) in options.pair.iter().zip(&mut costs) {
            if url.is_empty() || pids.is_empty() {
                return Err("compare wants --a URL --pid-a PID --b URL --pid-b PID".to_owned());
            }
            let outcome = match run::run(options, url, pids).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    // What was measured before is not lost.
                    write_json(options, &all)?;
                    return Err(format!("round {}: {error}", round + 1));
                }
            };
            println!("round {}", round + 1);
            print!("{}", report::table(&outcome));
            is_good_all &= is_good(options, &outcome);
            costs.extend(outcome.cpu_us_per_packet);
            all.push(outcome);
        }
    }
    let mut ratios: Vec<f64> = costs[0].iter().zip(&costs[1]).map(|(a, b)| a / b).collect();
    ratios.sort_by(f64::total_cmp);
    if let (Some(least), Some(most)) = (ratios.first(), ratios.last()) {
        let median = ratios[ratios.len() / 2];
        println!("CPU per packet, A as a multiple of B: {median:.3} ({least:.3} to {most:.3})");
    }
    write_json(options, &all)?;
    Ok(is_good_all)
}
