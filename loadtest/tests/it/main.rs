//! The generator against targets that behave, stall, fail, and are too slow. Each on loopback, on a port of its own.

mod loops;
mod program;
mod streams;
mod support;
