//! Whole gateways on loopback: the true Pingora server, the true Entra client against the stand-in, real Redis.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail loudly and say what they skip")]

mod access;
mod cache;
mod canaries;
mod chaos;
mod clients;
mod connections;
mod doctor;
mod drain;
mod entra_life;
mod event_streams;
mod fault_proxy;
mod hostile;
mod hostile_store;
mod http2_upstreams;
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
mod smuggling;
mod start_check;
mod step_up;
mod streams;
mod support;
mod tls;
