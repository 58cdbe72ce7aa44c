//! What commands of operators use of an installation, without a server.

use std::sync::Arc;

use super::{BuildError, RingSource, Settings, ring};
use crate::audit::{self, Audit};
use crate::clock::Clock;
use crate::public_url::PublicUrl;
use crate::sealed::{KeyRingError, Sealer};
use crate::session::Roster;
use crate::store::{self, RedisStore};

/// What operators see of sessions, without a server, and where it is noted what they do; `None` when sessions are in a server's
/// memory and nowhere else.
///
/// # Errors
/// When the ring or the store cannot be used as the settings say.
pub fn roster(settings: Settings, clock: Clock) -> Result<Option<(Roster, Audit)>, BuildError> {
    let store::Settings::Redis(redis) = settings.store else { return Ok(None) };
    let sealer = sealer(settings.ring, &settings.public_url)?;
    // An end to sessions must not fail for a log: what cannot be written there is written to the other one.
    let beside = |path| match audit::open_beside(path, sealer.clone(), clock.clone()) {
        Ok(audit) => Some(audit),
        Err(cause) => {
            tracing::warn!(%cause, "not in the audit log");
            None
        }
    };
    let audit = settings.audit.as_deref().and_then(beside);
    let audit = audit.unwrap_or_else(|| Audit::to_log(sealer.clone(), clock.clone()));
    Ok(Some((Roster::new(Arc::new(RedisStore::new(redis)?), sealer, clock), audit)))
}

/// What opens what a server of these settings has sealed, for a command.
///
/// # Errors
/// When the ring cannot be used as the settings say.
pub fn sealer(ring: RingSource, public_url: &PublicUrl) -> Result<Sealer, KeyRingError> {
    // Nobody reads what is counted, and the process is gone before the ring changes.
    ring::open(ring, public_url.as_str(), &Arc::default()).map(|(sealer, _)| sealer)
}
