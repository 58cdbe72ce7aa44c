//! The generator against targets that behave, stall, fail, and are too slow. Each on loopback, on a port of its own.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are tests too; the lint only knows functions marked as tests"
)]

mod attack;
mod bench;
mod interrupted;
mod loops;
mod options;
mod outputs;
mod program;
mod streams;
mod support;
