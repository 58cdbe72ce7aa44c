//! Sign-ins, many at once: each is a client of its own, registered, allowed and signed in at the stand-in for Entra, as
//! real clients are. Their sessions go into a file for other runs to use while they live.

mod browser;
mod client;
pub(crate) mod page;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::answers::{Latencies, latencies, record};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::target::Target;
use crate::tokens::Writer;
use crate::verdict::Void;
use browser::Connections;
use client::Endpoints;

pub use client::{Course, Part, Step};

/// The settings of a run of sign-ins.
#[derive(Clone, Debug)]
pub struct SignIns {
    /// How many sessions.
    pub sessions: usize,
    /// How many sign-ins at once.
    pub parallel: usize,
    /// Whom Entra knows; they take turns.
    pub users: Vec<String>,
    /// The end, whether all are done or not.
    pub limit: Duration,
    /// For each answer.
    pub patience: Duration,
}

/// What happened.
pub struct SignedIn {
    pub whole: Latencies,
    /// In the order of [`Step::ALL`].
    pub steps: Vec<Latencies>,
    pub failures: BTreeMap<Failure, u64>,
    pub took: Duration,
    wanted: usize,
}

struct Shared {
    seen: SignedIn,
    writer: Writer,
}

impl SignIns {
    /// # Errors
    /// When the edge says nothing of its endpoints, or the file cannot be written. Sign-ins that fail are in the result.
    pub async fn run(self, resource: &Target, writer: Writer, progress: &Progress) -> anyhow::Result<SignedIn> {
        let mut connections = Connections::new(self.patience);
        let endpoints = Endpoints::discover(&mut connections, resource).await;
        let endpoints = endpoints.map_err(|failure| anyhow::anyhow!("the metadata of the edge: {failure}"))?;
        let begun = Instant::now();
        let shared = Arc::new(Mutex::new(Shared { seen: SignedIn::new(self.sessions), writer }));
        let next = Arc::new(AtomicUsize::new(0));
        let wishes = Arc::new(self);
        let mut people = JoinSet::new();
        for _ in 0..wishes.parallel {
            people.spawn(sign_in_again(endpoints.clone(), wishes.clone(), next.clone(), shared.clone()));
        }
        let all = async {
            while let Some(person) = people.join_next().await {
                person??;
            }
            anyhow::Ok(())
        };
        let done = timeout(wishes.limit, progress.during(wishes.limit, || lock(&shared).seen.whole.len(), all)).await;
        people.shutdown().await;
        // Whether the time sufficed, or somebody ended it, can be seen from how many there are.
        done.unwrap_or_default().unwrap_or(Ok(()))?;
        let shared = Arc::into_inner(shared).expect("all who signed in have ended");
        let mut seen = shared.into_inner().unwrap_or_else(PoisonError::into_inner).seen;
        seen.took = begun.elapsed();
        Ok(seen)
    }
}

/// So many sign-ins with nobody else beside them; the sessions are forgotten.
///
/// # Errors
/// When the edge says nothing of its endpoints, or a sign-in fails.
pub async fn one_by_one(
    resource: &Target,
    user: &str,
    count: usize,
    patience: Duration,
) -> anyhow::Result<Vec<Course>> {
    let failed = |failure: Failure| anyhow::anyhow!("a sign-in failed: {failure}");
    let mut connections = Connections::new(patience);
    let endpoints = Endpoints::discover(&mut connections, resource).await.map_err(failed)?;
    let mut courses = Vec::with_capacity(count);
    for _ in 0..count {
        courses.push(endpoints.sign_in(&mut connections, user).await.map_err(failed)?.1);
    }
    Ok(courses)
}

async fn sign_in_again(
    endpoints: Endpoints,
    wishes: Arc<SignIns>,
    next: Arc<AtomicUsize>,
    shared: Arc<Mutex<Shared>>,
) -> anyhow::Result<()> {
    let mut connections = Connections::new(wishes.patience);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= wishes.sessions {
            return Ok(());
        }
        let user = &wishes.users[number % wishes.users.len()];
        let result = endpoints.sign_in(&mut connections, user).await;
        let mut shared = lock(&shared);
        match result {
            Ok((session, course)) => {
                shared.writer.add(&session)?;
                shared.seen.take(&course);
            }
            Err(failure) => *shared.seen.failures.entry(failure).or_default() += 1,
        }
    }
}

impl SignedIn {
    fn new(wanted: usize) -> Self {
        let steps = Step::ALL.iter().map(|_| latencies()).collect();
        Self { whole: latencies(), steps, failures: BTreeMap::new(), took: Duration::ZERO, wanted }
    }

    fn take(&mut self, course: &Course) {
        record(&mut self.whole, course.parts().map(|part| part.took).sum());
        for (times, step) in self.steps.iter_mut().zip(Step::ALL) {
            record(times, course.took(step));
        }
    }

    /// Why these figures say nothing.
    pub fn voids(&self) -> Vec<Void> {
        let mut voids: Vec<_> =
            self.failures.iter().map(|(&failure, &count)| Void::Failed { failure, count }).collect();
        let ended = self.whole.len() + self.failures.values().sum::<u64>();
        if ended < self.wanted as u64 {
            voids.push(Void::Unfinished { count: self.wanted as u64 - ended });
        }
        voids
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
