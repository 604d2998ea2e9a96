//! Why the server cannot start, for the operator: a line for each reason that names the place and
//! the fix.

use std::fmt;

/// BSD sysexits: a flag or a file is wrong.
pub(crate) const EXIT_CONFIG: u8 = 78;
/// The system refused something, such as a port.
pub(crate) const EXIT_SYSTEM: u8 = 1;

/// The server cannot start.
#[derive(Debug)]
pub(crate) struct FatalError {
    /// The process's exit code.
    pub(crate) code: u8,
    lines: Vec<String>,
}

impl FatalError {
    /// A flag or a file is wrong.
    pub(crate) fn config(message: impl fmt::Display) -> Self {
        Self::config_lines(vec![message.to_string()])
    }

    /// Several are, a line each.
    pub(crate) fn config_lines(lines: Vec<String>) -> Self {
        Self { code: EXIT_CONFIG, lines }
    }

    /// The system has refused what the server cannot do without.
    pub(crate) fn system(message: impl fmt::Display) -> Self {
        Self { code: EXIT_SYSTEM, lines: vec![message.to_string()] }
    }
}

impl fmt::Display for FatalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A line for each, whatever a path or a parser put into it.
        let lines = self.lines.iter().map(|line| line.replace(['\n', '\r'], " "));
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for FatalError {}
