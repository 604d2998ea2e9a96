//! Passwords that were right a moment ago. Players ask once a second with the same password; to hash
//! it each time would cost more than all that they get.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};

/// How long: a password that was changed still opens for so long.
const VALID_FOR: Duration = Duration::from_secs(15);
/// More are not remembered.
const PASSES_MAX: usize = 1024;

/// What stands for a password of a user in a group; nobody can tell it from it without our secret.
type Pass = [u8; 32];

/// See the module's documentation.
pub(crate) struct Passes {
    secret: [u8; 32],
    known: Mutex<HashMap<Pass, Instant>>,
}

impl Passes {
    /// Remembers nobody so far. `secret` must be random: passwords are kept as what it makes of them.
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self { secret, known: Mutex::default() }
    }

    /// What stands for it.
    pub(super) fn pass(&self, parts: [&str; 3]) -> Pass {
        let mut context = Context::new(&SHA256);
        context.update(&self.secret);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut pass = Pass::default();
        pass.copy_from_slice(context.finish().as_ref());
        pass
    }

    /// A password was right: for a while it need not be hashed again.
    pub(super) fn remember(&self, pass: Pass) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, until| *until > Instant::now());
        if known.len() < PASSES_MAX {
            known.insert(pass, Instant::now() + VALID_FOR);
        }
    }

    /// Whether it was right a moment ago.
    pub(super) fn is_known(&self, pass: &Pass) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(pass).is_some_and(|until| *until > Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_what_was_right_is_known() {
        let passes = Passes::new([7; 32]);
        let pass = passes.pass(["maths", "ann", "secret"]);
        assert!(!passes.is_known(&pass));
        passes.remember(pass);
        assert!(passes.is_known(&passes.pass(["maths", "ann", "secret"])));
        for other in
            [["maths", "ann", "secre"], ["maths", "anns", "ecret"], ["art", "ann", "secret"]]
        {
            assert!(!passes.is_known(&passes.pass(other)), "{other:?}");
        }
        assert_ne!(pass, Passes::new([8; 32]).pass(["maths", "ann", "secret"]));
    }
}
