//! A userspace UDP relay that impairs what passes: loss (even or in bursts), delay, jitter,
//! reordering, duplication, a rate with a bounded queue, and a NAT that changes its mind.
//!
//! [`Link`] is the impairment itself, without clocks and sockets: it takes datagrams and the time
//! and says which come out when. The same seed makes the same losses. [`Relay`] puts two links
//! between real sockets; [`Detour`] leads the media of a session through relays.

mod detour;
mod impairment;
mod link;
mod relay;

pub use detour::Detour;
pub use impairment::{Bursts, Impairment, SpecError};
pub use link::{Link, LinkStats};
pub use relay::Relay;
