//! A closed loop: each caller sends its next request when the last one is answered. It finds how much a target can do; how
//! a service feels at a given rate it does not tell, since nobody calls while the target stalls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::answers::{Answers, Gathered};
use crate::progress::Progress;
use crate::target::Target;
use crate::wire::Wire;
use crate::work::Work;

/// The settings of a closed loop.
#[derive(Clone, Copy, Debug)]
pub struct ClosedLoop {
    pub callers: usize,
    /// How many requests in all, if that many are sent in time.
    pub requests: u64,
    pub lasts: Duration,
    /// For one answer, and at the end for all that are still under way.
    pub patience: Duration,
}

impl ClosedLoop {
    /// Ends at the latest when it has lasted, and its patience is over.
    pub async fn run(self, target: &Target, work: &Arc<Work>, progress: &Progress) -> Gathered {
        let wires = (0..self.callers).map(|_| Wire::new(target.address(), self.patience)).collect();
        self.run_on(wires, work, progress).await.0
    }

    /// One caller on each of these connections, which are given back but for those whose answer did not come.
    pub async fn run_on(self, wires: Vec<Wire>, work: &Arc<Work>, progress: &Progress) -> (Gathered, Vec<Wire>) {
        let begun = Instant::now();
        let answers = Arc::new(Answers::new(begun));
        let left = Arc::new(AtomicU64::new(self.requests));
        let mut callers = JoinSet::new();
        for connection in wires {
            callers.spawn(call(connection, work.clone(), answers.clone(), left.clone(), begun + self.lasts));
        }
        let mut given_back = Vec::with_capacity(self.callers);
        let all = async {
            while let Some(caller) = callers.join_next().await {
                given_back.extend(caller);
            }
        };
        // Whether this ended in time can be seen from what was sent and answered.
        let _ = timeout(self.lasts + self.patience, progress.during(self.lasts, || answers.good(), all)).await;
        callers.shutdown().await;
        (Arc::into_inner(answers).expect("whoever called has ended").finish(), given_back)
    }
}

async fn call(
    mut connection: Wire,
    work: Arc<Work>,
    answers: Arc<Answers>,
    left: Arc<AtomicU64>,
    end: Instant,
) -> Wire {
    let mut random: SmallRng = rand::make_rng();
    let mut request = Vec::new();
    while Instant::now() < end && take(&left) {
        let sent = Instant::now();
        answers.sent(sent, Duration::ZERO);
        work.write(&mut random, &mut request);
        let answer = connection.exchange(&request).await;
        answers.answered(sent, answer.and_then(|answer| work.judge(&answer)));
    }
    connection
}

fn take(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}
