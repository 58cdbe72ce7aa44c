//! Sallyport: a secure edge for MCP servers behind Microsoft Entra ID.
//!
//! Data flows one way: request in, upstream out.
//!
//! ```text
//! client --> edge --> oauth ---> browser           our own endpoints, and what only a browser sees
//!             |         |-----> session            begins when Entra has signed the user in
//!             |         '-----> entra --> Entra ID
//!             |--> session --> store               a bearer token becomes an Admitted
//!             |         '-----> entra              Entra's tokens are renewed
//!             '--> pool -----> MCP server          only with an Admitted
//! ```
//!
//! Only `edge`, `pool`, `admin`, `drain` and `server` know that Pingora exists. `server` wires, `config` feeds it, `cli` runs it, `doctor`
//! looks from outside at what it is to work with. `audit` is told by all of them what happened. `core_dumps` keeps the memory of
//! `serve` to itself, `locked` the keys out of swap. `traces` tells a collector of requests, where one is configured. `sealed`, `store`,
//! `clock`, `secret`, `one_line`, `pem`, `trace_context` and `sync` lie below everything.

pub mod access;
mod admin;
pub mod audit;
pub mod browser;
pub mod cli;
pub mod clock;
pub mod config;
mod core_dumps;
pub mod doctor;
#[cfg(test)]
mod documented;
pub mod drain;
pub mod edge;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod json_text;
mod locked;
pub mod log;
pub mod metrics;
pub mod oauth;
mod one_line;
mod pem;
pub mod pool;
pub mod public_url;
pub mod rate;
pub mod readiness;
mod reloads;
pub mod sealed;
pub mod secret;
pub mod server;
mod service_manager;
pub mod session;
pub mod source;
pub mod store;
mod sync;
mod trace_context;
pub mod traces;
