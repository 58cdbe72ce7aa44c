//! The authorization server whole, from request to answer: alone, and against the stand-in for Entra.

mod consent;
mod discovery;
mod outage;
mod refresh;
mod register;
mod revoke;
mod sign_in;
mod support;
mod takeover;
mod token;
mod unproven;
