//! `loadtest attack`: abuse cases, from outside.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use url::Url;

use super::bounds;
use super::output::Tables;
use crate::attack::{self, is_loopback};

/// Attacks an MCP server that has authorization, and grades it. It registers some hundreds of clients there, signs people in and sends
/// what no client would. Ends with 1 if an attack worked.
#[derive(Args)]
pub struct Attack {
    /// The MCP URL; everything else is discovered.
    #[arg(long, value_name = "URL")]
    target: Url,
    /// The target is yours, or its owner agreed. Not needed on loopback.
    #[arg(long)]
    yes: bool,
    /// An origin besides the target's that may be spoken to: that of its authorization server, of its identity provider.
    /// Can be repeated. For a target on loopback, all of loopback may.
    #[arg(long, value_name = "URL")]
    also: Vec<Url>,
    /// The button of the consent page that says yes. Can be repeated; the first that is there.
    #[arg(long, value_name = "NAME=VALUE", default_values_t = ["decision=allow".to_owned(), "action=approve".to_owned()])]
    allow: Vec<String>,
    /// The button that says no.
    #[arg(long, value_name = "NAME=VALUE", default_values_t = ["decision=deny".to_owned(), "action=deny".to_owned()])]
    deny: Vec<String>,
    /// The button that signs somebody in at the identity provider, such as user=adele@contoso.example at the stand-in for
    /// Entra. Twice, for two people. Without, whatever needs a token is not tried.
    #[arg(long, value_name = "NAME=VALUE")]
    login: Vec<String>,
    /// Only this case. Can be repeated.
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// For one answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = bounds::seconds())]
    patience: u64,
    /// End after so many seconds; what is left is not tried.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = bounds::seconds())]
    limit: u64,
    #[command(flatten)]
    tables: Tables,
}

impl Attack {
    /// Whether no attack worked.
    ///
    /// # Errors
    /// When it may not begin, the target says nothing of itself, or a file cannot be written.
    pub async fn run(self) -> anyhow::Result<bool> {
        if !self.yes && !is_loopback(&self.target) {
            bail!(
                "this attacks {}: say --yes if it is yours, or its owner agreed",
                self.target.origin().ascii_serialization()
            );
        }
        eprintln!("attacking {}: registers clients, signs in, sends bad requests", self.target);
        let attack = attack::Attack {
            target: self.target,
            allowed: self.also,
            allow: self.allow,
            deny: self.deny,
            logins: self.login,
            patience: Duration::from_secs(self.patience),
            limit: Duration::from_secs(self.limit),
            only: self.only,
        };
        let report = attack.run().await?;
        self.tables.write(&report)?;
        Ok(report.failures().next().is_none())
    }
}
