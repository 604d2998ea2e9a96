//! Structured logs on standard error.

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
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    match form {
        LogForm::Text => builder.with_target(false).init(),
        LogForm::Json => builder.json().init(),
    }
}
