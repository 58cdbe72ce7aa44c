//! Whose tokens are sent, as arguments.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, value_parser};

use crate::clock::wall;
use crate::mix::Mix;
use crate::report::Settings;
use crate::tokens::{self, Session};
use crate::work::Work;

/// Which sessions call, and how often.
#[derive(Args)]
pub struct Who {
    /// Sessions, as `loadtest sign-in` wrote them; without it requests have no token.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Use the first so many of them only.
    #[arg(long, value_name = "N", requires = "tokens", value_parser = value_parser!(u32).range(1..))]
    sessions: Option<u32>,
    /// How uneven they are, from 0 to 10: the k-th calls as often as 1/k^S says; 0 is even [default: 1].
    #[arg(long, value_name = "S", requires = "tokens", value_parser = zipf, allow_negative_numbers = true)]
    zipf: Option<f64>,
}

impl Who {
    /// Sends by sessions that live for so long; without a file, the work as it is.
    ///
    /// # Errors
    /// When the file is not as it must be, or has too few.
    pub fn send_live(&self, work: Work, lasts: Duration, settings: &mut Settings) -> anyhow::Result<Work> {
        let Some(all) = self.read()? else { return Ok(work) };
        let (count, live) = (all.len(), tokens::live(all, wall(), lasts));
        ensure!(!live.is_empty(), "none of {count} sessions lives as long as this run: sign in anew");
        if live.len() < count {
            eprintln!("loadtest: {} of {count} sessions live as long as this run; no other is used", live.len());
        }
        self.send(work, live, count, settings)
    }

    /// Sends by sessions whose token has run out.
    ///
    /// # Errors
    /// As [`Self::send_live`], and without a file.
    pub fn send_expired(&self, work: Work, settings: &mut Settings) -> anyhow::Result<Work> {
        let all = self.read()?.context("--tokens is needed for expired tokens")?;
        let (count, expired) = (all.len(), tokens::expired(all, wall()));
        ensure!(!expired.is_empty(), "none of {count} tokens has run out yet");
        if expired.len() < count {
            eprintln!("loadtest: {} of {count} tokens have run out; no other is used", expired.len());
        }
        self.send(work, expired, count, settings)
    }

    /// A token to forge others by, if there is a file.
    ///
    /// # Errors
    /// When the file is not as it must be, or sessions are to be chosen, of which only one is looked at.
    pub fn model(&self) -> anyhow::Result<Option<String>> {
        let chosen = self.sessions.is_some() || self.zipf.is_some();
        ensure!(!chosen, "--sessions and --zipf choose among sessions, and forged tokens have none");
        let first = |all: Vec<Session>| all.into_iter().next().map(|session| session.access_token);
        Ok(self.read()?.and_then(first))
    }

    /// # Errors
    /// When there is no file to take good tokens from.
    pub fn ensure_tokens(&self) -> anyhow::Result<()> {
        ensure!(self.tokens.is_some(), "--tokens is needed for valid tokens");
        Ok(())
    }

    fn read(&self) -> anyhow::Result<Option<Vec<Session>>> {
        let Some(path) = &self.tokens else { return Ok(None) };
        let sessions = tokens::read(path)?;
        ensure!(!sessions.is_empty(), "{} holds no session", path.display());
        Ok(Some(sessions))
    }

    /// `count`: how many the file has, with those that are of no use to this run.
    fn send(
        &self,
        work: Work,
        mut sessions: Vec<Session>,
        count: usize,
        settings: &mut Settings,
    ) -> anyhow::Result<Work> {
        let usable = sessions.len();
        if let Some(wanted) = self.sessions {
            let wanted = wanted as usize;
            ensure!(usable >= wanted, "{wanted} sessions were asked for, and {usable} of {count} are of use");
            sessions.truncate(wanted);
        }
        let zipf = self.zipf.unwrap_or(1.0);
        settings.add("sessions", sessions.len());
        settings.add("sessions-in-file", count);
        settings.add("zipf", zipf);
        let mix = Mix::new(sessions.len(), zipf).context("there are sessions, and the exponent was looked at")?;
        work.by(sessions.iter().map(|session| session.access_token.as_str()), mix)
    }
}

fn zipf(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|exponent| (0.0..=10.0).contains(exponent)).ok_or("a number from 0 to 10")
}
