//! R2 and R3: Redis is slow, silent or gone. Who is known is served, who is not is told to come again at once, nobody is
//! told to sign in, and it is over when it is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::rig::{Rig, Signed, Wanted};
use super::{Tally, eventually, percentile, seed, sized};
use crate::support::chance::Chance;
use crate::support::fault_proxy::{Ending, Way};

/// What Redis may take (`store.response_timeout`), as nothing here configures it.
const BUDGET: Duration = Duration::from_millis(250);
/// What a new connection may take (`store.connect_timeout`): who finds the old one lost waits for it.
const CONNECT: Duration = Duration::from_secs(1);
/// For a machine that has other things to do.
const SLACK: Duration = Duration::from_millis(750);
const KNOWN: usize = 10;

struct Seen {
    answers: Tally,
    times: Vec<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    Slow(u64),
    Paused,
    Frozen,
    Killed,
    Reset,
    Blackhole,
}

impl Trouble {
    fn begin(self, rig: &mut Rig) {
        match self {
            Self::Slow(by) => rig.to_redis.to_server(Way { latency: Duration::from_millis(by), ..Way::default() }),
            Self::Paused => assert_eq!(rig.redis.tell(&format!("CLIENT PAUSE {} ALL", length().as_millis())), "+OK"),
            Self::Frozen => rig.redis.freeze(),
            Self::Killed => {
                // What it held is loaded when it comes back: this is an outage, not a loss.
                rig.redis.dump();
                rig.redis.stop();
            }
            Self::Reset => {
                rig.to_redis.refuse(true);
                rig.to_redis.cut(Ending::Reset);
            }
            Self::Blackhole => {
                rig.to_redis.to_server(Way { blackhole: true, ..Way::default() });
                rig.to_redis.to_client(Way { blackhole: true, ..Way::default() });
            }
        }
    }

    fn end(self, rig: &mut Rig) {
        match self {
            // Ends by itself.
            Self::Paused => {}
            Self::Frozen => rig.redis.thaw(),
            Self::Killed => rig.redis.start_again(),
            Self::Slow(_) | Self::Reset | Self::Blackhole => rig.to_redis.heal(),
        }
    }

    /// Redis answers within its budget all the same.
    fn is_bearable(self) -> bool {
        matches!(self, Self::Slow(by) if Duration::from_millis(by) < BUDGET)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_slow_who_is_known_is_served() {
    run(&[Trouble::Slow(100), Trouble::Slow(300), Trouble::Slow(1000), Trouble::Paused]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_gone_who_is_known_is_served() {
    run(&[Trouble::Frozen, Trouble::Killed, Trouble::Reset, Trouble::Blackhole]).await;
}

/// A replica that hears again takes nothing at hand for good until it was looked up once more: an end may have been missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_second_outage_only_who_was_called_since_the_first_is_known() {
    let Some(rig) = Rig::start(Wanted { users: 2, still: true, ..Wanted::default() }).await else { return };
    let sessions = rig.sign_in_all(2).await;
    rig.warm(&sessions).await;
    let heard = rig.to_redis.connections();
    rig.to_redis.cut(Ending::Reset);
    eventually("the connections are lost", async || rig.to_redis.connections() > heard).await;
    rig.until_heard().await;
    rig.warm(&sessions[..1]).await;
    rig.redis.freeze();
    let called: Tally =
        [rig.call(0, &sessions[0]).await, rig.call(1, &sessions[0]).await, rig.call(2, &sessions[0]).await]
            .into_iter()
            .collect();
    let uncalled: Tally =
        [rig.call(0, &sessions[1]).await, rig.call(1, &sessions[1]).await, rig.call(2, &sessions[1]).await]
            .into_iter()
            .collect();
    rig.redis.thaw();
    println!("MEASURED store twice: called_between=[{called}] not_called=[{uncalled}]");
    assert_eq!((called.of(200), uncalled.of(503)), (3, 3), "{called}, {uncalled}");
    eventually("both are served", async || rig.call(0, &sessions[1]).await == 200).await;
}

fn length() -> Duration {
    Duration::from_secs(sized(2, 20) as u64)
}

async fn run(troubles: &[Trouble]) {
    let wanted = Wanted { users: KNOWN + 1, still: true, ..Wanted::default() };
    let Some(mut rig) = Rig::start(wanted).await else { return };
    let known = rig.sign_in_all(KNOWN).await;
    for trouble in troubles {
        let stranger = rig.sign_in(KNOWN).await;
        // Confirmed lately, so that it is the outage that is outlived and not one before it.
        rig.pass(31);
        rig.warm(&known).await;
        trouble.begin(&mut rig);
        let (known_seen, stranger_seen) = during(&rig, &known, &stranger).await;
        trouble.end(&mut rig);
        let healed = Instant::now();
        for replica in 0..3 {
            eventually("the stranger is served", async || rig.call(replica, &stranger).await == 200).await;
        }
        report(*trouble, known_seen, stranger_seen, healed.elapsed());
        rig.until_heard().await;
    }
}

/// Half of the time with sessions that were confirmed within 30 seconds, half of it with ones that were not.
async fn during(rig: &Rig, known: &[Signed], stranger: &Signed) -> (Seen, Seen) {
    let over = Arc::new(AtomicBool::new(false));
    let end = async {
        tokio::time::sleep(length() / 2).await;
        rig.pass(31);
        tokio::time::sleep(length() / 2).await;
        over.store(true, Ordering::Relaxed);
    };
    let callers = futures_util::future::join_all((0..8).map(|task| call_until(rig, known, task, 5, &over)));
    let strangers = call_until(rig, std::slice::from_ref(stranger), 9, 50, &over);
    let (callers, stranger, ()) = tokio::join!(callers, strangers, end);
    let mut seen = Seen { answers: Tally::default(), times: Vec::new() };
    for caller in callers {
        seen.answers.join(caller.answers);
        seen.times.extend(caller.times);
    }
    (seen, stranger)
}

async fn call_until(rig: &Rig, sessions: &[Signed], task: u64, pause: u64, over: &AtomicBool) -> Seen {
    let mut chance = Chance::new(seed() ^ task);
    let mut seen = Seen { answers: Tally::default(), times: Vec::new() };
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        seen.answers.add(rig.call(chance.below(3) as usize, chance.one_of(sessions)).await);
        seen.times.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    seen
}

fn report(trouble: Trouble, mut known: Seen, mut stranger: Seen, recovery: Duration) {
    let (p99, p90) = (percentile(&mut known.times, 99), percentile(&mut stranger.times, 90));
    let slowest = percentile(&mut known.times, 100).max(percentile(&mut stranger.times, 100));
    println!(
        "MEASURED store {trouble:?} for {:?}: known=[{}] p99={p99:.0?} unknown=[{}] p90={p90:.0?} slowest={slowest:.0?} \
         recovery={recovery:.1?} seed={}",
        length(),
        known.answers,
        stranger.answers,
        seed()
    );
    assert!(known.answers.of(200) * 1000 >= known.answers.all() * 999, "{trouble:?} {}", known.answers);
    assert!(known.answers.only(&[200, 503]), "{trouble:?} {}", known.answers);
    let refusals: &[u16] = if trouble.is_bearable() { &[200, 503] } else { &[503] };
    assert!(stranger.answers.only(refusals), "{trouble:?} {}", stranger.answers);
    assert!(p99 <= BUDGET + SLACK && p90 <= BUDGET + SLACK, "{trouble:?} {p99:?} {p90:?}");
    assert!(slowest <= CONNECT + BUDGET + SLACK, "{trouble:?} {slowest:?}");
    assert!(recovery <= Duration::from_secs(2) + SLACK, "{trouble:?} {recovery:?}");
}
