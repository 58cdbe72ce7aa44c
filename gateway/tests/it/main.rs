//! Whole gateways on loopback: the true Pingora server, the true Entra client against the stand-in, real Redis.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail loudly and say what they skip")]

mod cache;
mod canaries;
mod clients;
mod connections;
mod event_streams;
mod hostile;
mod keys;
mod kill_switch;
mod limits;
mod outage;
mod pools;
mod program;
mod refresh;
mod relay;
mod secretless;
mod sign_in;
mod streams;
mod support;
mod tls;
