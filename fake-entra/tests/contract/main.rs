//! The stand-in's contract, over HTTP on loopback: every rule it claims to reproduce, with golden bodies.

// A test that cannot get what it needs should panic, helpers included.
#![allow(clippy::unwrap_used)]

mod access;
mod app_service;
mod authorize;
mod azure_identity;
mod certificates;
mod client_authentication;
mod code;
mod control;
mod discovery;
mod graph;
mod imds;
mod on_behalf_of;
mod program;
mod refresh;
mod seed;
mod support;
mod tenants;
mod texts;
mod tls;
