//! The authorization server whole, from request to answer: alone, and against the stand-in for Entra.

mod altered;
mod clients;
mod connections;
mod consent;
mod corpora;
mod discovery;
mod documented;
mod documents;
mod limits;
mod outage;
mod prompt;
#[path = "../../tests/it/support/publisher.rs"]
pub mod publisher;
mod refresh;
mod register;
mod revoke;
mod schedules;
mod sign_in;
mod support;
mod takeover;
mod token;
mod unproven;
