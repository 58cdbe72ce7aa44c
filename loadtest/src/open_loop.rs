//! An open loop: requests are due at a fixed rate, whatever the target does.
//!
//! Coordinated omission: who waits for an answer before sending again sends nothing while the target stalls, and so hardly
//! sees the stall. Here each latency counts from when its request was *due*, also if every connection was waiting then.
//!
//! A thread of its own keeps the time: the timers of the runtime count milliseconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::answers::{Answers, Gathered};
use crate::progress::Progress;
use crate::target::Target;
use crate::wire::Wire;
use crate::work::Work;

/// The settings of an open loop.
#[derive(Clone, Copy, Debug)]
pub struct OpenLoop {
    /// Requests in a second; more than zero.
    pub rate: f64,
    /// For how long requests are due.
    pub lasts: Duration,
    /// How many requests can be under way at once.
    pub connections: usize,
    /// For one answer, and at the end for all that are still under way.
    pub patience: Duration,
}

/// What an open loop gathered.
pub struct Offered {
    pub gathered: Gathered,
    /// How many requests were due.
    pub due: u64,
}

/// When which request is due. Tickets are numbered from 0 on.
struct Plan {
    begun: Instant,
    interval: f64,
    due: u64,
    /// Permits are requests that are due and not taken up yet.
    waiting: Semaphore,
    next: AtomicU64,
    over: AtomicBool,
}

impl OpenLoop {
    /// Ends at the latest when it has lasted, and its patience is over. What is then under way is not counted as sent
    /// and answered, which the verdict sees.
    pub async fn run(self, target: &Target, work: &Arc<Work>, progress: &Progress) -> Offered {
        let wires = (0..self.connections).map(|_| Wire::new(target.address(), self.patience)).collect();
        self.run_on(wires, work, progress).await.0
    }

    /// Likewise on these connections, which are given back but for those whose answer did not come.
    pub async fn run_on(self, wires: Vec<Wire>, work: &Arc<Work>, progress: &Progress) -> (Offered, Vec<Wire>) {
        let due = (self.rate * self.lasts.as_secs_f64()).round().max(1.0) as u64;
        let begun = Instant::now();
        let plan = Arc::new(Plan {
            begun,
            interval: 1.0 / self.rate,
            due,
            waiting: Semaphore::new(0),
            next: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let answers = Arc::new(Answers::new(begun));
        let mut senders = JoinSet::new();
        for connection in wires {
            senders.spawn(send(plan.clone(), connection, work.clone(), answers.clone()));
        }
        let keeper = thread::spawn({
            let (plan, connections) = (plan.clone(), self.connections);
            move || plan.keep_time(connections)
        });
        let mut given_back = Vec::with_capacity(self.connections);
        let all = async {
            while let Some(sender) = senders.join_next().await {
                given_back.extend(sender);
            }
        };
        // Whether this ended in time can be seen from what was sent and answered.
        let _ = timeout(self.lasts + self.patience, progress.during(self.lasts, || answers.good(), all)).await;
        senders.shutdown().await;
        plan.over.store(true, Ordering::Relaxed);
        let _ = tokio::task::spawn_blocking(|| keeper.join()).await;
        let answers = Arc::into_inner(answers).expect("whoever sent has ended");
        (Offered { gathered: answers.finish(), due }, given_back)
    }
}

impl Plan {
    fn due_at(&self, ticket: u64) -> Instant {
        self.begun + Duration::from_secs_f64(ticket as f64 * self.interval)
    }

    /// Gives every request out when it is due; at the end one ticket more to each sender, which ends it.
    fn keep_time(&self, senders: usize) {
        let mut given = 0;
        while given < self.due && !self.over.load(Ordering::Relaxed) {
            let passed = self.begun.elapsed().as_secs_f64();
            let due = ((passed / self.interval) as u64 + 1).min(self.due);
            if due > given {
                self.waiting.add_permits((due - given) as usize);
                given = due;
            }
            let left = self.due_at(given).saturating_duration_since(Instant::now());
            thread::sleep(left.min(LOOK_UP));
        }
        self.waiting.add_permits(senders);
    }
}

async fn send(plan: Arc<Plan>, mut connection: Wire, work: Arc<Work>, answers: Arc<Answers>) -> Wire {
    let mut random: SmallRng = rand::make_rng();
    let mut request = Vec::new();
    loop {
        let free = Instant::now();
        let Ok(permit) = plan.waiting.acquire().await else { return connection };
        permit.forget();
        let ticket = plan.next.fetch_add(1, Ordering::Relaxed);
        if ticket >= plan.due {
            return connection;
        }
        let due = plan.due_at(ticket);
        let now = Instant::now();
        answers.sent(now, now.saturating_duration_since(due.max(free)));
        work.write(&mut random, &mut request);
        let answer = connection.exchange(&request).await;
        answers.answered(due, answer.and_then(|answer| work.judge(&answer)));
    }
}

/// How often the time keeper looks whether the run was given up.
const LOOK_UP: Duration = Duration::from_millis(50);
