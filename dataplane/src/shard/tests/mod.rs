//! Black-box tests of shards against str0m peers on a virtual network (see `net.rs`).

mod forwarding;
mod net;
