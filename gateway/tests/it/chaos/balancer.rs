//! Any replica serves any step: three behind a balancer that chooses one by chance, at each connection anew.

use super::rig::{Rig, Signed, Wanted, upn};
use super::{Tally, seed, sized};
use crate::support::browser::{Browser, unkept_client};
use crate::support::journey::query;

const USERS: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_random_balancer_every_sign_in_and_every_call_works() {
    let Some(rig) = Rig::start(Wanted { users: USERS, ..Wanted::default() }).await else { return };
    let (sign_ins, calls) = (sized(20, 500), sized(200, 5_000));
    let before = rig.balancer.connections();
    let mut sessions = Vec::new();
    for number in 0..sign_ins {
        let user = number % USERS;
        // Each request, also of a browser, has a connection of its own, and so a replica of its own.
        let back = rig.client.authorize(&rig.front, &Browser::over(unkept_client()), &upn(user)).await;
        let (status, tokens) = rig.client.redeem(&rig.front, &query(&back, "code").unwrap()).await;
        assert_eq!(status, 200, "{tokens}");
        let (status, tokens) = rig.client.refresh(&rig.front, tokens["refresh_token"].as_str().unwrap()).await;
        assert_eq!(status, 200, "{tokens}");
        sessions.push(Signed::new(user, &tokens));
    }
    let http = unkept_client();
    let mut answers = Tally::default();
    for number in 0..calls {
        let signed = &sessions[number % sessions.len()];
        let request = http.post(rig.front.url("/mcp")).bearer_auth(&signed.access).body("{}");
        let answer = request.send().await.unwrap();
        answers.add(answer.status().as_u16());
        let answer: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(answer["oid"], signed.oid.as_str());
    }
    // Authorize, consent, Allow, the callback, the code, the refresh.
    let connections = rig.balancer.connections() - before;
    println!("MEASURED balancer sign_ins={sign_ins} calls=[{answers}] connections={connections} seed={}", seed());
    assert_eq!(answers.of(200), calls as u64, "{answers}");
    assert!(connections as usize >= 6 * sign_ins + calls, "each step chose anew");
    for replica in &rig.replicas {
        let metrics = http.get(replica.admin_url("/metrics")).send().await.unwrap().text().await.unwrap();
        let lookups = metrics.lines().filter(|line| line.starts_with("sallyport_session_lookups_total{"));
        let lookups: u64 = lookups.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
        assert!(lookups as usize > calls / 6, "each replica had a share: {lookups}");
    }
}
