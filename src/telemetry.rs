//! Structured logs on standard error.

use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::flags::LogForm;

/// Starts logging. `AULA_LOG=debug` shows more, with addresses and names; `trace` most.
pub(crate) fn start(form: LogForm) {
    let level = match std::env::var("AULA_LOG").as_deref() {
        Ok("trace") => tracing::Level::TRACE,
        Ok("debug") => tracing::Level::DEBUG,
        Ok("warn") => tracing::Level::WARN,
        Ok("error") => tracing::Level::ERROR,
        _ => tracing::Level::INFO,
    };
    // The engine tells ICE passwords and addresses at the levels that are for its authors.
    let ours = tracing_subscriber::filter::filter_fn(|metadata| {
        *metadata.level() <= tracing::Level::WARN || is_ours(metadata.target())
    });
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let level = tracing_subscriber::filter::LevelFilter::from_level(level);
    let registry = tracing_subscriber::registry().with(level);
    match form {
        LogForm::Text => registry.with(layer.with_target(false).with_filter(ours)).init(),
        LogForm::Json => registry.with(layer.json().with_filter(ours)).init(),
    }
}

/// Whether a line is from this server's own code.
fn is_ours(target: &str) -> bool {
    let root = target.split("::").next().unwrap_or_default();
    matches!(root, "aula" | "audit" | "signalling" | "dataplane")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_chatter_stays_out() {
        assert!(is_ours("aula::journal") && is_ours("audit") && is_ours("aula"));
        for target in ["str0m::ice", "is::agent", "dimpl", "rustls::conn", "hyper", "aulas"] {
            assert!(!is_ours(target), "{target}");
        }
    }
}
