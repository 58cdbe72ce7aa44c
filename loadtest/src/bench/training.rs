//! `loadtest train`: what a replica does all day, for the profile that a release is optimised by (`deploy/release/profile`).
//!
//! Each kind of load has a replica of its own, which then ends by itself: a program that counts where it goes writes that when it
//! ends, and not when it is killed. Sign-ins are not among it: the program that is shipped believes no stand-in for Entra.

use anyhow::{Context, ensure};
use tokio::time::timeout;

use super::sallyport::{Installation, Logs, Replica, WARM};
use super::stage::Stage;
use super::{Bench, handshakes, logs, streams};

impl Bench {
    /// # Errors
    /// When something does not come up or end, an answer is not the expected one, or the time is over.
    pub async fn train(self) -> anyhow::Result<()> {
        let limit = self.limit;
        timeout(limit, self.exercise()).await.with_context(|| format!("the training was ended after {limit:?}"))?
    }

    async fn exercise(self) -> anyhow::Result<()> {
        let (mut stage, sizes) = (Stage::open(&self)?, &self.sizes);
        let upstream = stage.upstream(None).await?;
        let (installation, _) = Installation::begin(&mut stage, &upstream, &self).await?;

        let mut contestants = installation.contestants(&mut stage, &upstream).await?;
        let logged = ("all logs", Logs::AccessAndAudit);
        contestants.push(logs::contestant(&mut stage, &installation, &upstream, sizes, logged).await?);
        for mut contestant in contestants {
            contestant.window(sizes.window).await?;
            contestant.end().await?;
        }

        let caller = handshakes::Caller::new(&stage, &installation, sizes)?;
        let replica = caller.replica(&mut stage, &installation, &upstream).await?;
        caller.window(&replica, sizes.window).await?;
        replica.program.stop().await?;

        let talking = stage.upstream(Some(streams::EVENT_EVERY_MS)).await?;
        let replica = installation.replica(&mut stage, talking.address, Replica::warm()).await?;
        let figures = streams::of(WARM, &installation, &replica, &replica, sizes).await?;
        ensure!(figures.void.is_empty(), "event streams: {}", figures.void.join("; "));
        replica.program.stop().await
    }
}
