//! What the logs cost: one replica that writes the access log and the audit log, beside one that writes neither. Each call is one
//! of a tool, of which the audit log has a line.

use super::Sizes;
use super::comparison::{Comparison, compare};
use super::contestant::Contestant;
use super::sallyport::{Installation, Logs, Replica};
use super::stage::{Serving, Stage};

/// # Errors
/// When a replica does not come up or is gone.
pub async fn measure(
    stage: &mut Stage,
    installation: &Installation,
    upstream: &Serving,
    sizes: &Sizes,
) -> anyhow::Result<Comparison> {
    let mut contestants = Vec::new();
    for (name, logs) in
        [("no log", Logs::None), ("access log", Logs::Access), ("access log and audit log", Logs::AccessAndAudit)]
    {
        contestants.push(contestant(stage, installation, upstream, sizes, (name, logs)).await?);
    }
    compare("logs", &mut contestants, sizes).await
}

/// A replica that writes so much of it.
///
/// # Errors
/// When it does not come up.
pub async fn contestant(
    stage: &mut Stage,
    installation: &Installation,
    upstream: &Serving,
    sizes: &Sizes,
    (name, logs): (&str, Logs),
) -> anyhow::Result<Contestant> {
    let replica = Replica { logs, ..Replica::warm() };
    let serving = installation.replica(stage, upstream.address, replica).await?;
    let target = installation.target.clone().served_at(serving.address)?;
    Ok(Contestant::new(name, "", target, installation.tool_calls(sizes.sessions)?, serving))
}
