//! Why the server cannot start, for the operator: one line that names the place and the fix.

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
    message: String,
}

impl FatalError {
    /// A flag or a file is wrong.
    pub(crate) fn config(message: impl fmt::Display) -> Self {
        Self { code: EXIT_CONFIG, message: message.to_string() }
    }

    /// The system refused.
    pub(crate) fn system(message: impl fmt::Display) -> Self {
        Self { code: EXIT_SYSTEM, message: message.to_string() }
    }
}

impl fmt::Display for FatalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line, whatever a path or a parser put into it.
        f.write_str(&self.message.replace(['\n', '\r'], " "))
    }
}

impl std::error::Error for FatalError {}
