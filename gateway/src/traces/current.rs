//! The trace that a task works for.

use std::sync::Arc;
use std::time::Instant;

use super::trace::{Trace, What};

tokio::task_local! {
    static CURRENT: Arc<Trace>;
}

/// Does `work` for a trace, if there is one and it is kept. Of a future that is not small, hand over its box.
pub async fn within<F: Future + Unpin>(trace: Option<Arc<Trace>>, work: F) -> F::Output {
    match trace.filter(|trace| trace.sampled) {
        Some(trace) => CURRENT.scope(trace, work).await,
        None => work.await,
    }
}

/// Work that goes on when the request is over: below its span all the same.
pub fn following<F: Future>(name: &'static str, work: F) -> impl Future<Output = F::Output> {
    let trace = CURRENT.try_with(|trace| trace.follow()).ok();
    async move {
        let Some(trace) = trace else { return work.await };
        let output = CURRENT.scope(trace.clone(), work).await;
        trace.end_following(name);
        output
    }
}

/// A part of the work that has a span of its own.
pub async fn stage<F: Future>(what: What, work: F) -> F::Output {
    let begun = Instant::now();
    let output = work.await;
    note(begun, || what);
    output
}

/// Something ended now; of no interest to a task that works for no trace.
pub(super) fn note(begun: Instant, what: impl FnOnce() -> What) {
    // An error says that there is none.
    let _ = CURRENT.try_with(|trace| trace.note(begun, what()));
}
