//! Why a command did not do what it should, in one line for whoever typed it.

use std::fmt;

/// The command has failed.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// With a reason.
    pub(crate) fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }

    /// With a reason, and what it is about.
    pub(crate) fn about(what: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self(format!("{what}: {reason}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.trim_end())
    }
}
