//! `loadtest sign-in`: sessions for other runs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};

use super::bounds;
use super::watch::Watch;
use crate::progress::Progress;
use crate::report::{Figures, Report, Settings};
use crate::sign_in::SignIns;
use crate::target::Target;
use crate::tokens::Writer;

/// Every session is a whole sign-in: registration, consent, the stand-in's pages, callback, token. Sessions that began are
/// in the file even if the run is void.
#[derive(Args)]
pub struct SignIn {
    /// The MCP URL.
    #[arg(long, value_name = "URL")]
    url: Target,
    /// How many sessions.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    sessions: u32,
    /// A new file for them, which its owner alone can read; without a session there is none.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How many sign-ins at once.
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u16).range(1..))]
    parallel: u16,
    /// Whom the stand-in knows; they take turns. Can be repeated.
    #[arg(long = "user", value_name = "UPN", default_values_t = ["adele@contoso.example".to_owned(), "alex@contoso.example".to_owned()])]
    users: Vec<String>,
    /// End after so many seconds, whatever is left.
    #[arg(long, default_value_t = 600, value_parser = bounds::seconds())]
    limit: u64,
    #[command(flatten)]
    watch: Watch,
}

impl SignIn {
    /// # Errors
    /// When the run cannot begin, the file cannot be written, or the target cannot be observed.
    pub async fn run(self) -> anyhow::Result<Report> {
        let writer = Writer::create(&self.out)?;
        let mut settings = Settings::default();
        settings.add("url", self.url.to_string());
        settings.add("sessions", self.sessions);
        settings.add("parallel", self.parallel);
        settings.add("users", self.users.as_slice());
        settings.add("limit", self.limit);
        let sign_ins = SignIns {
            sessions: self.sessions as usize,
            parallel: self.parallel.into(),
            users: self.users,
            limit: Duration::from_secs(self.limit),
            patience: Duration::from_secs(10),
        };
        let progress = Progress::of_run("sign-ins", Some(self.sessions.into()));
        let observation = self.watch.begin().await?;
        let signed_in = sign_ins.run(&self.url, writer, &progress).await?;
        let mut void: Vec<_> = progress.ended().into_iter().collect();
        void.extend(signed_in.voids().iter().map(ToString::to_string));
        let cost = observation.end(&mut void).await;
        let run = format!("Sign-ins: {} sessions, {} at once", self.sessions, self.parallel);
        Ok(Report::new(run, settings, void, Figures::of_sign_ins(&signed_in), cost))
    }
}
