//! What requests are sent, as arguments.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, StatusCode};

use crate::clock::wall;
use crate::header_file;
use crate::mix::Mix;
use crate::target::Target;
use crate::tokens::{self, Session};
use crate::work::{Expected, Work};

#[derive(Args)]
pub struct What {
    /// Where requests go.
    #[arg(long, value_name = "URL")]
    pub url: Target,
    /// Sessions, as `loadtest sign-in` wrote them; without it requests have no token.
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    #[command(flatten)]
    pub who: Who,
    /// Headers, one `name: value` a line, in place of those of tools/list.
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,
    /// A body to post, in place of tools/list. It then matters only that the status is as expected.
    #[arg(long, value_name = "FILE", conflicts_with = "get")]
    body: Option<PathBuf>,
    /// GET, without a body.
    #[arg(long)]
    get: bool,
    /// The status that a good answer has.
    #[arg(long, value_name = "STATUS", default_value = "200")]
    expect: StatusCode,
}

/// Which of the sessions call how often.
#[derive(Args)]
pub struct Who {
    /// Use the first so many of them only.
    #[arg(long, value_name = "N")]
    pub sessions: Option<usize>,
    /// How uneven they are: the k-th calls as often as 1/k^S says; 0 is even.
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pub zipf: f64,
}

impl What {
    /// `lasts`: sessions that end before are not used.
    ///
    /// # Errors
    /// When a file is not as it must be, or no session is left.
    pub fn work(&self, lasts: Duration) -> anyhow::Result<Work> {
        let body = match &self.body {
            Some(path) => Some(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?),
            None => None,
        };
        let ours = body.is_none() && !self.get;
        let text = (ours && self.expect == StatusCode::OK).then_some(Expected::RESULT.text).flatten();
        let expected = Expected { status: self.expect, text };
        let headers = self.headers.as_deref().map(header_file::read).transpose()?;
        let work = match (ours, headers) {
            (true, None) => Work::tools_list(&self.url, expected),
            (true, Some(headers)) => Work::new(&self.url, headers, Some(Work::tools_list_body()), expected),
            (false, headers) => {
                Work::new(&self.url, headers.unwrap_or_else(HeaderMap::new), body.map(Bytes::from), expected)
            }
        };
        match &self.tokens {
            Some(path) => self.who.send(work, live(tokens::read(path)?, lasts)?),
            None => Ok(work),
        }
    }
}

impl Who {
    /// # Errors
    /// When there are too few sessions.
    pub fn send(&self, work: Work, mut sessions: Vec<Session>) -> anyhow::Result<Work> {
        if let Some(wanted) = self.sessions {
            ensure!(sessions.len() >= wanted, "{wanted} sessions were asked for, and there are {}", sessions.len());
            sessions.truncate(wanted);
        }
        let mix = Mix::new(sessions.len(), self.zipf).context("there is no session, or --zipf is less than 0")?;
        work.by(sessions.iter().map(|session| session.access_token.as_str()), mix)
    }
}

/// Sessions that live for so long.
///
/// # Errors
/// When there is none.
pub fn live(sessions: Vec<Session>, lasts: Duration) -> anyhow::Result<Vec<Session>> {
    let live = tokens::live(sessions, wall(), lasts);
    if live.is_empty() {
        bail!("none of the sessions lives as long as this run: sign in anew");
    }
    Ok(live)
}
