//! The cases of RFC 8867 in virtual time: what the congestion control makes of bottlenecks, without
//! sockets and clocks, so that every machine gets the same numbers.
//!
//! A [`Bottleneck`] is shared by [`Flow`]s of media, each with a [`Control`] of its own, and by
//! [`Tcp`] connections. [`cases`] has the cases, [`Judgement`] what a run is worth.

mod bottleneck;
mod case;
mod control;
mod flow;
mod judge;
mod network;
mod rung;
mod tcp;

pub use bottleneck::{Bottleneck, Packet};
pub use case::{Case, Part, cases, ladder};
pub use control::{Control, Ours, Probe};
pub use flow::Flow;
pub use judge::{Judgement, table};
pub use network::{Run, run};
pub use rung::{RUNGS, Rung};
pub use tcp::Tcp;
