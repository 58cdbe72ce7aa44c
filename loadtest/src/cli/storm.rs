//! `loadtest storm`: what tokens cost that are no good.

use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::calls::Rate;
use super::watch::Watch;
use super::who::Who;
use crate::forge::forged;
use crate::mix::Mix;
use crate::report::{Report, Settings};
use crate::target::Target;
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
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    rate: Rate,
    #[command(flatten)]
    watch: Watch,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Kind {
    /// Good ones of --tokens: what to compare with.
    Valid,
    /// Sealed by nobody: the first of --tokens with a change, or without that file random ones.
    Forged,
    /// Those of --tokens that have run out.
    Expired,
}

impl Storm {
    /// # Errors
    /// When there are no such tokens, or the target cannot be observed.
    pub async fn run(self) -> anyhow::Result<Report> {
        let mut settings = Settings::default();
        let work = self.work(&mut settings)?;
        let kind = format!("Storm of {} tokens", self.kind.name());
        self.rate.run(&kind, &self.url, work, settings, self.watch).await
    }

    fn work(&self, settings: &mut Settings) -> anyhow::Result<Work> {
        let expected = if self.kind == Kind::Valid { Expected::RESULT } else { Expected::REFUSED };
        settings.add("url", self.url.to_string());
        settings.add("kind", self.kind.name());
        settings.add("expect", expected.status.as_u16());
        let work = Work::tools_list(&self.url, expected);
        match self.kind {
            Kind::Valid => {
                self.who.ensure_tokens()?;
                self.who.send_live(work, self.rate.lasts() + Duration::from_secs(30), settings)
            }
            Kind::Expired => self.who.send_expired(work, settings),
            Kind::Forged => {
                let model = self.who.model()?;
                settings.add("forged-from", if model.is_some() { "a token" } else { "nothing" });
                let forgeries: Vec<_> = (0..FORGERIES).map(|_| forged(model.as_deref(), &mut rand::rng())).collect();
                let mix = Mix::new(FORGERIES, 0.0).context("there are forgeries")?;
                work.by(forgeries.iter().map(String::as_str), mix)
            }
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Forged => "forged",
            Self::Expired => "expired",
        }
    }
}

/// More than an edge would remember refusing.
const FORGERIES: usize = 20_000;
