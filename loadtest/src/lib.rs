//! `loadtest`: how much an edge costs, and how it feels at a given rate.
//!
//! A run is some *work* (prepared requests, and what their answers must be) offered to a *target* by one of two *loops*,
//! gathered in *answers*, judged by a *verdict*, and told by a *report*. A run that failed anywhere has no latencies.
//!
//! | module | owns |
//! | --- | --- |
//! | [`target`] | whom load may be put on: loopback |
//! | [`wire`] | one persistent connection of HTTP/1.1, for prepared requests; what both loops send by |
//! | [`connection`] | another, for what is no hot path: sign-ins and streams |
//! | [`work`], [`mix`], [`tokens`], [`forge`], [`header_file`] | requests, and whose turn it is to send one |
//! | [`open_loop`], [`closed_loop`] | when requests are sent |
//! | [`streams`] | event streams held open |
//! | [`sign_in`] | the whole sign-in of an MCP client, at the stand-in for Entra |
//! | [`answers`], [`failure`] | what came back |
//! | [`observe`] | what it cost the target: `/metrics` and `/proc` |
//! | [`verdict`], [`report`] | what the run amounts to |
//! | [`attack`] | what no client would do, tried against any MCP server that has authorization |
//! | [`bench`] | everything started at once, and measured by turns |
//! | [`upstream`] | a stand-in for an MCP server that costs next to nothing |
//! | `awake` | an end that never sleeps, so that nobody pays for waking it |
//! | [`progress`], [`clock`], [`cli`] | the terminal, the time, the commands |

pub mod answers;
pub mod attack;
mod awake;
pub mod bench;
pub mod cli;
pub mod clock;
pub mod closed_loop;
pub mod connection;
pub mod failure;
pub mod forge;
pub mod header_file;
pub mod mix;
pub mod observe;
pub mod open_loop;
pub mod progress;
pub mod report;
pub mod sign_in;
pub mod streams;
pub mod target;
pub mod tokens;
pub mod upstream;
pub mod verdict;
pub mod wire;
pub mod work;
