//! R8: Entra is out in every way it can be, while tokens are due: who has one that is good is served, nobody is told to
//! sign in, and Entra is left in peace.

use std::time::{Duration, Instant};

use fake_entra::Fault;
use futures_util::future::join_all;

use super::rig::{Rig, Signed, Wanted};
use super::{Tally, eventually, percentile};
use crate::support::browser::http_client;

/// Seconds of the gateways' time that an outage lasts, from 280 seconds before the token's end.
const LASTS: u64 = 200;
const STEP: u64 = 5;

fn kinds() -> Vec<(&'static str, Fault)> {
    let fault = || Fault { times: 10_000, ..Fault::default() };
    vec![
        ("429", Fault { status: Some(429), retry_after: Some("30".into()), ..fault() }),
        ("503", Fault { status: Some(503), ..fault() }),
        ("a page with 503", Fault { status: Some(503), html: true, ..fault() }),
        ("a page with 200", Fault { status: Some(200), html: true, ..fault() }),
        ("no answer", Fault { delay_ms: 60_000, drop_connection: true, ..fault() }),
        ("closed", Fault { drop_connection: true, ..fault() }),
        ("slow by 5 s", Fault { delay_ms: 5000, ..fault() }),
        ("half an answer", Fault { truncate_body: true, ..fault() }),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_entra_is_out_in_any_way_good_tokens_serve_and_it_is_asked_seldom() {
    let users = kinds().len();
    // One kind after another would add up to minutes.
    let Some(rig) = Rig::start(Wanted { users: users + 1, still: true, ..Wanted::default() }).await else { return };
    for (number, (name, fault)) in kinds().into_iter().enumerate() {
        let signed = rig.sign_in(number + 1).await;
        rig.warm(std::slice::from_ref(&signed)).await;
        rig.pass(3600 - 280);
        rig.fault_on_renewal(fault);
        let (before, mut answers, mut times) = (rig.renewals(), Tally::default(), Vec::new());
        for _ in 0..LASTS / STEP {
            rig.pass(STEP);
            for (status, took) in calls(&rig, &signed).await {
                answers.add(status);
                times.push(took);
            }
        }
        let asked = rig.renewals() - before;
        let slowest = percentile(&mut times, 100);
        clear_faults(&rig).await;
        println!("MEASURED R8 {name}: answers=[{answers}] slowest={slowest:.0?} entra_calls={asked} in {LASTS} s of its time");
        assert_eq!(answers.of(200), answers.all(), "{name}: {answers}");
        // Attempts at most a minute or so apart by the end, each a call and its retry, by one replica at a time.
        assert!((1..=10).contains(&asked), "{name}: {asked}");
        assert!(slowest < Duration::from_secs(2), "{name}: nobody waits for it: {slowest:?}");
        // Well again before the token has ended: it is renewed, and outlives its end.
        rig.pass(70);
        let at_hand = rig.renewals();
        let renewed = async || {
            assert_eq!(rig.call(0, &signed).await, 200, "{name}");
            rig.renewals() > at_hand
        };
        eventually(&format!("{name}: the renewal after it"), renewed).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        rig.pass(60);
        let (status, tokens) = rig.refresh(1, &signed.refresh).await;
        assert_eq!(status, 200, "{name}: {tokens}");
    }
}

/// Twelve at once, spread over the replicas.
async fn calls(rig: &Rig, signed: &Signed) -> Vec<(u16, Duration)> {
    let call = async |number: usize| {
        let begun = Instant::now();
        (rig.call(number % 3, signed).await, begun.elapsed())
    };
    join_all((0..12).map(call)).await
}

async fn clear_faults(rig: &Rig) {
    let (url, token) = (format!("{}/_emu/faults", rig.entra().control_url()), rig.entra().control_token());
    let answer = http_client().delete(url).bearer_auth(token).send().await.unwrap();
    assert!(answer.status().is_success());
}
