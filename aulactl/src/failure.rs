//! Why a command did not do what it should, in one line for whoever typed it.

use std::fmt;
use std::process::ExitCode;

/// The command has failed.
#[derive(Debug)]
pub(crate) struct Failure {
    reason: String,
    /// Its flags could not be read.
    is_flag: bool,
}

impl Failure {
    pub(crate) fn new(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string(), is_flag: false }
    }

    /// With a reason, and what it is about.
    pub(crate) fn about(what: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self::new(format!("{what}: {reason}"))
    }

    /// A flag that is not known, or whose value is of the wrong kind.
    pub(crate) fn flag(reason: impl fmt::Display) -> Self {
        Self { is_flag: true, ..Self::new(reason) }
    }

    /// 2 for flags, otherwise 1, as Galene's tool has it.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.is_flag { 2 } else { 1 })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.trim_end())
    }
}
