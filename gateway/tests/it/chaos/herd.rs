//! R7: however many calls meet a token that is due, Entra is asked once for each session.

use std::time::Instant;

use fake_entra::Fault;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::iter;

use super::rig::{Rig, Wanted};
use super::{Tally, eventually, sized};

const CALLS: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_calls_at_three_replicas_when_a_token_is_due_are_one_renewal() {
    let Some(rig) = Rig::start(Wanted { still: true, ..Wanted::default() }).await else { return };
    // Less than a day in all: so long the identity's token is good, and its holder knows the machine's time only.
    for round in 0..sized(1, 20) {
        let signed = rig.sign_in(0).await;
        rig.warm(std::slice::from_ref(&signed)).await;
        rig.pass(3600 - 100);
        // Long enough for all of them to meet the token that is due.
        rig.fault_on_renewal(Fault { delay_ms: 2000, ..Fault::default() });
        let (before, started) = (rig.renewals(), Instant::now());
        let answers = join_all((0..CALLS).map(|number| rig.call(number % 3, &signed))).await;
        let (answers, took): (Tally, _) = (answers.into_iter().collect(), started.elapsed());
        assert_eq!(answers.of(200), CALLS as u64, "{answers}");
        // Past the life of the old token, each replica serves with the new one, and none has asked again.
        eventually("the renewal", async || rig.renewals() == before + 1).await;
        tokio::time::sleep(std::time::Duration::from_millis(2200)).await;
        rig.pass(60);
        rig.warm(std::slice::from_ref(&signed)).await;
        let renewals = rig.renewals() - before;
        println!("MEASURED R7 round={round} calls={CALLS} answers=[{answers}] entra_calls={renewals} took={took:.1?}");
        assert_eq!(renewals, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_refreshes_of_one_token_at_three_replicas_are_one_renewal_and_one_successor() {
    let Some(rig) = Rig::start(Wanted { still: true, ..Wanted::default() }).await else { return };
    let signed = rig.sign_in(0).await;
    rig.pass(2 * 3600);
    rig.fault_on_renewal(Fault { delay_ms: 300, ..Fault::default() });
    let (mut first, mut rounds, started) = (Tally::default(), 0, Instant::now());
    // Who is told to come again does so. Bounded: a slow machine needs some rounds.
    let successors: std::collections::BTreeSet<String> = loop {
        rounds += 1;
        assert!(rounds <= 20, "{first}");
        let answers = join_all((0..CALLS).map(|number| rig.refresh(number % 3, &signed.refresh))).await;
        let tally: Tally = answers.iter().map(|(status, _)| *status).collect();
        assert!(tally.only(&[200, 503]), "{tally}");
        if rounds == 1 {
            first = tally.clone();
        }
        if tally.of(503) == 0 {
            break answers.iter().map(|(_, tokens)| tokens["refresh_token"].as_str().unwrap().to_owned()).collect();
        }
    };
    let (renewals, took) = (rig.renewals(), started.elapsed());
    println!(
        "MEASURED R7-refresh refreshes={CALLS} first=[{first}] rounds={rounds} entra_calls={renewals} took={took:.1?}"
    );
    assert_eq!((renewals, successors.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_sessions_that_are_due_at_once_are_one_renewal_each_and_nobody_waits() {
    let users = sized(60, 200);
    let Some(rig) = Rig::start(Wanted { users, still: true, ..Wanted::default() }).await else { return };
    let signed = rig.sign_in_all(users).await;
    rig.warm(&signed).await;
    // So late that each of them is due, whatever its share of chance; so early that the old token serves on.
    rig.pass(3600 - 100);
    let (before, started) = (rig.renewals(), Instant::now());
    let calls = signed.iter().flat_map(|signed| (0..3).map(|replica| rig.call(replica, signed)));
    let answers: Tally =
        iter(calls.collect::<Vec<_>>()).buffer_unordered(100).collect::<Vec<_>>().await.into_iter().collect();
    let took = started.elapsed();
    assert_eq!(answers.of(200), 3 * users as u64, "{answers}");
    // Renewals have few places at a time; a session that found none is due again at its next call.
    let all_renewed = async || {
        for signed in &signed {
            assert_eq!(rig.call(0, signed).await, 200);
        }
        rig.renewals() - before >= users as u64
    };
    let until = eventually("all are renewed", all_renewed).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let renewals = rig.renewals() - before;
    println!(
        "MEASURED R7-sessions sessions={users} answers=[{answers}] entra_calls={renewals} took={took:.1?} all_renewed={until:.1?}"
    );
    assert_eq!(renewals, users as u64);
}
