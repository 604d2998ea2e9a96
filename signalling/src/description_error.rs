//! What is wrong with a group file, and where.

use std::fmt;

/// A group file that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescriptionError {
    /// The file, as the operator named it.
    pub file: String,
    /// From 1; 0 if the whole file is meant.
    pub line: usize,
    /// The unknown key, if that is what is wrong.
    pub key: Option<String>,
    /// What is wrong and how to put it right.
    pub message: String,
}

impl fmt::Display for DescriptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            line => write!(f, "{}:{line}: {}", self.file, self.message),
        }
    }
}

impl std::error::Error for DescriptionError {}
