//! The part of the load harness that tests can use too: a network that misbehaves on command.

pub mod netem;
