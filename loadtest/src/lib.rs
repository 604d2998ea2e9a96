//! The parts of the load harness that tests can use too: a network that misbehaves on command, and
//! the congestion control over networks in virtual time.

pub mod netem;
pub mod simulation;
