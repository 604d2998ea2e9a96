//! Whether something that failed may work another time.

/// Why something did not work, for programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cause {
    /// It will not work the same way again.
    #[default]
    Other,
    /// The server has too much to do; the same may work later.
    Busy,
    /// What was sent cannot be read.
    Malformed,
    /// None of the codecs that were offered may be used.
    Codecs,
}
