//! Black-box tests of shards against str0m peers on a virtual network (see `net.rs`).

mod attacks;
mod demand;
mod forwarding;
mod gathering;
mod layers;
mod lifecycle;
mod measuring;
mod negotiating;
mod net;
mod offer_cases;
mod offers;
mod packets;
mod paths;
mod probe;
mod redundant;
mod repeats;
mod seats;
mod strict;
mod tcp;
mod voices;
