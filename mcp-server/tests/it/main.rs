//! The sample server as the gateway meets it: real HTTP, the stand-in for Entra and Graph behind it.

// clippy.toml allows it in tests, but sees no test in the functions that tests share.
#![allow(clippy::unwrap_used)]

mod door;
mod hop;
mod legacy_sse;
mod program;
mod step_up;
mod streamable;
mod support;
mod tool;
