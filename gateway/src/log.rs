//! Where log lines go, and which. Those of requests go by a way of their own (`access`, `background`).

mod access;
mod background;

use std::io;

use tracing_subscriber::EnvFilter;

pub use access::{Line, access, flush};

use access::AccessLog;
use background::Background;

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
    let filter = EnvFilter::new(format!("{},{QUIET}", settings.level));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false);
    // A second call (several servers in one test process) finds the log started.
    let _ = match settings.format {
        Format::Json => subscriber.json().flatten_event(true).with_current_span(false).try_init(),
        Format::Text => subscriber.try_init(),
    };
    let format = settings.format;
    let started = access::start(|| Background::start(io::stderr()).map(|background| AccessLog { format, background }));
    if let Err(cause) = started {
        tracing::error!(%cause, "no access log: its thread does not start");
    }
}

const QUIET: &str = "pingora=warn,pingora_core=warn,pingora_proxy=warn,pingora_load_balancing=warn,pingora_http=warn,\
                     pingora_pool=warn,pingora_runtime=warn,h2=warn,hyper=warn,hyper_util=warn,reqwest=warn,rustls=warn,\
                     rmcp=warn,redis=warn";
