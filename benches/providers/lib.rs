//! Nothing: see `benches/providers.rs`.
