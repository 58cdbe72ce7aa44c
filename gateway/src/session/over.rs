//! The end of a session, or of what its user may use, as whatever is open for it learns of it.

use std::time::Duration;

use tokio::time::sleep;

use super::Sessions;
use super::admitted::{Admitted, Denied};
use super::cache::STALE;
use super::lookup::Tier;
use crate::secret::random_fraction;
use crate::store::StoreError;

impl Sessions {
    /// Waits until the session is over: at once when it is ended here or a replica announces its end, to the second when it
    /// runs out, and within a minute when an announcement was missed. A store that is out does not end it before it would
    /// stop serving calls. So it is when a renewal says that the user has lost what the rules want for the resource. Gives what a
    /// request would be told now.
    pub async fn over(&self, admitted: &Admitted, resource: &str) -> Denied {
        tokio::select! {
            biased;
            () = admitted.watch().ended() => Denied::Revoked,
            denied = self.not_confirmed(admitted, resource, CONFIRM) => denied,
        }
    }

    /// Asks, `every` so often, whether the session is still there: a refresh moves its end, and what was announced may not
    /// have been heard.
    pub(super) async fn not_confirmed(&self, admitted: &Admitted, resource: &str, every: Duration) -> Denied {
        let (mut ends, mut confirmed) = (admitted.ends, admitted.confirmed);
        // Streams that began together do not ask together.
        let mut pause = every.mul_f64(random_fraction());
        loop {
            let left = ends.remaining(self.clock.now());
            if left.is_zero() {
                return Denied::Ended;
            }
            sleep(pause.min(left)).await;
            pause = every;
            // Boxed: a stream waits here for hours, and looks up for moments.
            match Box::pin(self.look_up(&admitted.handle, admitted.session())).await {
                // No older than what may serve calls.
                Ok((_, Tier::Stale)) => {}
                Err(Denied::Store(StoreError::Unavailable(_)))
                    if !confirmed.after(STALE).has_passed(self.clock.now()) => {}
                Ok((entry, Tier::Cache | Tier::Store)) => {
                    if let Err(cause) = self.access_now.load().admits(&entry.membership, resource) {
                        return Denied::NoAccess { cause, whose: admitted.whose() };
                    }
                    (ends, confirmed) = (entry.session_ends, entry.confirmed);
                }
                Err(denied) => return denied,
            }
        }
    }
}

/// How often the store may be asked about a session that nothing but its streams is at; what calls of it found counts too.
const CONFIRM: Duration = Duration::from_secs(30);
