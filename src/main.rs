//! Aula: a videoconference server for large classes.

// It reads what others have written: what is not there must not end the process.
#![warn(clippy::indexing_slicing)]

mod addresses;
mod authenticator;
mod backoff;
mod bridge;
mod check;
mod clock;
mod config;
mod control;
mod counter;
mod descriptors;
mod durable;
mod fatal;
mod flags;
mod forwarded;
mod guesses;
mod hooks;
mod http;
mod ice;
mod ice_tcp;
mod journal;
mod live;
mod memory;
mod metrics;
mod outbox;
mod peer;
mod recorder;
mod redacted;
mod relay;
mod reload;
mod reread;
mod server;
mod store;
mod telemetry;
mod tls;
mod tokens;
mod turn;
mod watch;
mod webhook;
mod welcome;
mod ws;

use std::io::Write as _;
use std::process::ExitCode;

use fatal::FatalError;
use flags::{Flags, Order};

/// The control plane needs little; the shards have the cores.
const CONTROL_THREADS: usize = 2;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is gone the exit code still speaks.
            for line in error.to_string().lines() {
                let _ = writeln!(std::io::stderr(), "aula: {line}");
            }
            ExitCode::from(error.code)
        }
    }
}

fn run() -> Result<(), FatalError> {
    let flags = match Flags::parse(std::env::args().skip(1))? {
        Order::Run(flags) => *flags,
        Order::Help => return say(&flags::help()),
        Order::Version => return say(concat!("aula ", env!("CARGO_PKG_VERSION"), "\n")),
    };
    if flags.check_config {
        return say(&check::check(&flags)?);
    }
    telemetry::start(flags.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|error| FatalError::system(format!("cannot start threads: {error}")))?;
    let ended = runtime.block_on(server::run(flags));
    // What is still blocked on a file or a password has no say in when the process ends.
    runtime.shutdown_background();
    ended
}

fn say(text: &str) -> Result<(), FatalError> {
    std::io::stdout().write_all(text.as_bytes()).map_err(FatalError::system)
}
