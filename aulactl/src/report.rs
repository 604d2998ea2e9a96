//! What the doctor has found, told as it is found.

use crate::{Done, say};

#[derive(Default)]
pub(crate) struct Report {
    /// How much of it is bad.
    pub(crate) faults: usize,
}

impl Report {
    pub(crate) fn good(&self, line: impl std::fmt::Display) -> Done {
        say(&format!("ok    {line}\n"))
    }

    pub(crate) fn note(&self, line: impl std::fmt::Display) -> Done {
        say(&format!("note  {line}\n"))
    }

    pub(crate) fn bad(&mut self, line: impl std::fmt::Display) -> Done {
        self.faults += 1;
        say(&format!("BAD   {line}\n"))
    }
}
