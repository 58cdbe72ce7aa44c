//! Where log lines go, and which. Those of requests go by a way of their own (`access`, `background`). What looks like a secret is
//! taken out on the way (`last_net`). docs/logs.md has the fields.

mod access;
mod background;
mod last_net;
pub mod trouble;

use std::io;
use std::sync::OnceLock;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

pub use access::{Line, access, flush};
pub use last_net::{failed_writes, redactions, without_secrets};

use access::AccessLog;
use background::Background;
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
    let (filter, handle) = reload::Layer::new(filter(settings.level));
    // What cannot be written is counted. To tell it to standard error, by a macro that panics there, would cost requests.
    let lines =
        tracing_subscriber::fmt::layer().with_writer(Net(io::stderr)).with_ansi(false).log_internal_errors(false);
    let lines = match settings.format {
        Format::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
        Format::Text => lines.boxed(),
    };
    // A second call (several servers in one test process) finds the log started.
    if tracing_subscriber::registry().with(filter).with(trouble::Keep).with(lines).try_init().is_ok() {
        // The log was not started before, so neither was this kept.
        let _ = LEVEL.set(handle);
    }
    let format = settings.format;
    let to = Net(io::stderr).make_writer();
    let started = access::start(|| Background::start(to).map(|background| AccessLog { format, background }));
    if let Err(cause) = started {
        tracing::error!(%cause, "no access log: its thread does not start");
    }
}

/// From now on lines of this level and above, where the log was started.
pub fn set_level(level: tracing::Level) {
    if let Some(handle) = LEVEL.get()
        && let Err(cause) = handle.reload(filter(level))
    {
        tracing::error!(%cause, "the level of the log stays as it was");
    }
}

fn filter(level: tracing::Level) -> EnvFilter {
    EnvFilter::new(format!("{level},{ALWAYS},{QUIET}"))
}

static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Lines that must not be lost for a level.
const ALWAYS: &str = "audit=info";

const QUIET: &str = "pingora=warn,pingora_core=warn,pingora_proxy=warn,pingora_load_balancing=warn,pingora_http=warn,\
                     pingora_pool=warn,pingora_runtime=warn,h2=warn,hyper=warn,hyper_util=warn,reqwest=warn,rustls=warn,\
                     rmcp=warn,redis=warn";
