//! Nothing: see `tests/lane.rs`.
