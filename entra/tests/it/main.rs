//! The client against a responder that can lie, and against the stand-in for Entra.

// clippy.toml allows it in tests, but sees no test in the functions that tests share.
#![allow(clippy::unwrap_used)]

mod aadsts;
mod access_tokens;
mod application;
mod certificate;
mod credentials;
mod id_tokens;
mod key_cache;
mod stand_in;
mod start_check;
mod support;
mod tenants;
mod token_calls;
