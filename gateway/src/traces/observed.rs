//! What is asked of the store and of Entra, noted for the trace of whoever asks, and told to the one who counts. Only where traces
//! are made do these two stand between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use entra::{Code, Outcome};

use super::current;
use super::trace::What;
use crate::store;

pub struct StoreNoted {
    pub inside: Arc<dyn store::Observer>,
    /// And no memory of this process.
    pub is_redis: bool,
}

pub struct EntraNoted {
    pub inside: Arc<dyn entra::Observer>,
}

impl store::Observer for StoreNoted {
    fn ended(&self, operation: store::Operation, well: bool, took: Duration) {
        let Self { inside, is_redis } = self;
        let what = || What::Store { operation: operation.name(), is_redis: *is_redis, is_ok: well };
        current::note(before(took), what);
        inside.ended(operation, well, took);
    }
}

impl entra::Observer for EntraNoted {
    fn begun(&self, operation: entra::Operation) {
        self.inside.begun(operation);
    }

    fn ended(&self, operation: entra::Operation, outcome: Outcome, code: Code, took: Duration) {
        current::note(before(took), || What::Entra {
            operation: operation.name(),
            outcome: outcome.name(),
            is_ok: outcome == Outcome::Ok,
            code: match code {
                Code::Known(number) => Some(number),
                Code::None | Code::Other => None,
            },
        });
        self.inside.ended(operation, outcome, code, took);
    }
}

fn before(took: Duration) -> Instant {
    let now = Instant::now();
    now.checked_sub(took).unwrap_or(now)
}
