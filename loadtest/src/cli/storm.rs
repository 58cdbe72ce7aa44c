//! `loadtest storm`: what tokens cost that are no good.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::calls::Rate;
use super::watch::Watch;
use super::work::{Who, live};
use crate::clock::wall;
use crate::forge::forged;
use crate::mix::Mix;
use crate::report::Report;
use crate::target::Target;
use crate::tokens;
use crate::work::{Expected, Work};

/// The call is tools/list; good tokens must get its result, others 401. An edge with its limits on answers 429 after a while,
/// which voids the run: raise `limits.refusals_per_minute` where this is measured.
#[derive(Args)]
pub struct Storm {
    /// The MCP URL.
    #[arg(long, value_name = "URL")]
    url: Target,
    #[arg(long, value_enum)]
    kind: Kind,
    /// Sessions, as `loadtest sign-in` wrote them. Needed but for forged tokens, which are then made from one.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    rate: Rate,
    #[command(flatten)]
    watch: Watch,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Kind {
    /// Good ones: what to compare with.
    Valid,
    /// Sealed by nobody.
    Forged,
    /// Those of the file that have run out.
    Expired,
}

impl Storm {
    /// # Errors
    /// When there are no such tokens, or the target cannot be observed.
    pub async fn run(self) -> anyhow::Result<Report> {
        let work = self.work()?;
        let kind = format!("{:?}", self.kind).to_lowercase();
        let run = format!("Storm of {kind} tokens: {}", self.rate.described());
        self.rate.run(run, &self.url, work, &self.watch).await
    }

    fn work(&self) -> anyhow::Result<Work> {
        let expected = if self.kind == Kind::Valid { Expected::RESULT } else { Expected::REFUSED };
        let work = Work::tools_list(&self.url, expected);
        let sessions = self.tokens.as_deref().map(tokens::read).transpose()?;
        match (self.kind, sessions) {
            (Kind::Forged, sessions) => {
                let model = sessions.iter().flatten().next().map(|session| session.access_token.as_str());
                let forgeries: Vec<_> = (0..FORGERIES).map(|_| forged(model, &mut rand::rng())).collect();
                let mix = Mix::new(FORGERIES, 0.0).context("there are forgeries")?;
                work.by(forgeries.iter().map(String::as_str), mix)
            }
            (_, None) => bail!("--tokens is needed for these tokens"),
            (Kind::Valid, Some(sessions)) => {
                let margin = self.rate.lasts() + Duration::from_secs(30);
                self.who.send(work, live(sessions, margin)?)
            }
            (Kind::Expired, Some(sessions)) => {
                let expired = tokens::expired(sessions, wall());
                if expired.is_empty() {
                    bail!("no token of that file has expired yet");
                }
                self.who.send(work, expired)
            }
        }
    }
}

/// More than an edge would remember refusing.
const FORGERIES: usize = 20_000;
