//! Whole gateways on loopback: the true Pingora server, the true Entra client against the stand-in, real Redis.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail loudly and say what they skip")]

use mimalloc::MiMalloc;

/// The program's own, for some tests are the program in a process of its own, and measure it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

mod access;
mod access_log;
mod audit;
mod bounds;
mod cache;
mod canaries;
mod chaos;
mod clients;
mod connections;
mod counterexamples;
mod docs;
mod doctor;
mod drain;
mod entra_life;
mod event_streams;
mod fault_proxy;
mod hostile;
mod hostile_store;
mod http2_floods;
mod http2_upstreams;
mod idle;
mod keys;
mod kill_switch;
mod limits;
mod memory;
mod outage;
mod pools;
mod program;
mod prometheus;
mod refresh;
mod relay;
mod reload;
mod scaling;
mod secretless;
mod sign_in;
mod smuggling;
mod start_check;
mod status;
mod step_up;
mod streams;
mod support;
mod tenants;
mod threat_model;
mod tls;
mod traces;
