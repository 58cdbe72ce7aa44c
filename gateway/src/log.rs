//! Where log lines go, and which. What looks like a secret is taken out on the way (`last_net`). docs/logs.md has the fields.

mod last_net;

use std::io;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::trouble;

pub use last_net::{redactions, without_secrets};

use last_net::Net;

#[derive(Clone, Debug)]
pub struct Settings {
    pub format: Format,
    pub level: tracing::Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Text,
}

/// Starts logging to standard error. Pingora is held to warnings: at `debug` it would log the header that carries Entra's
/// token.
///
/// Only the first call has an effect: a process has one log.
pub fn start(settings: &Settings) {
    let filter = EnvFilter::new(format!("{},{ALWAYS},{QUIET}", settings.level));
    let lines = tracing_subscriber::fmt::layer().with_writer(Net(io::stderr)).with_ansi(false);
    let lines = match settings.format {
        Format::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
        Format::Text => lines.boxed(),
    };
    // A second call (several servers in one test process) finds the log started.
    let _ = tracing_subscriber::registry().with(filter).with(trouble::Keep).with(lines).try_init();
}

/// Lines that are asked for by keys of their own, or that must not be lost for a level.
const ALWAYS: &str = "access=info,audit=info";

const QUIET: &str = "pingora=warn,pingora_core=warn,pingora_proxy=warn,pingora_load_balancing=warn,pingora_http=warn,\
                     pingora_pool=warn,pingora_runtime=warn,h2=warn,hyper=warn,hyper_util=warn,reqwest=warn,rustls=warn,\
                     rmcp=warn,redis=warn";
