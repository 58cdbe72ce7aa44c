//! R16, its second part: the disk is full that takes the log and the audit log.

use std::fs;
use std::time::Duration;

use super::process::{Program, Replica};
use super::rig::{Rig, Wanted};
use super::server_process::ServerProcess;
use super::slow_clients::call;
use super::{Tally, eventually};
use crate::support::browser::http_client;
use crate::support::fault_proxy::Ending;

const CALLS: usize = 100;

/// A line of the log that nobody takes must not cost the request that it is about. When there is room again the audit log says how
/// many of its lines are missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_full_disk_calls_are_answered_and_what_was_lost_is_counted() {
    let Some(rig) = Rig::start(Wanted { users: 2, ..Wanted::default() }).await else { return };
    let server = ServerProcess::start().await;
    let shell = "ln -s /dev/full \"${1%/*}/audit.log\"; exec 2>/dev/full";
    let configuration = "[log]\naudit_file = \"audit.log\"\n";
    let replica = Replica::start_with(&rig, Program { ports: None, server: &server.url(), configuration, shell }).await;
    let host = rig.front.public_url().strip_prefix("http://").unwrap().to_owned();
    let [signed, left] = &rig.sign_in_all(2).await[..] else { panic!("two of them") };
    assert_eq!(call(&http_client(), &replica, &host, left).await.0, 200);
    let mut answers = Tally::default();
    for number in 0..CALLS {
        // Each loss of Redis, and each return, is told.
        if number % 20 == 10 {
            rig.to_redis.cut(Ending::Reset);
        }
        answers.add(call(&http_client(), &replica, &host, signed).await.0);
    }
    // What listens to Redis has had to say that it lost it, and listens again.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let form = [("token", left.refresh.as_str()), ("client_id", &rig.client.id)];
    assert_eq!(rig.post(0, "/revoke").form(&form).send().await.unwrap().status(), 200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(call(&http_client(), &replica, &host, left).await.0, 401);
    assert_eq!(replica.metric("sallyport_token_rejected_total{reason=\"revoked\"}").await, 1, "it was heard");
    let health = http_client().get(replica.admin_url("/healthz")).send().await.unwrap();
    assert_eq!(health.status(), 200);
    let failed = replica.metric("sallyport_log_failed_writes_total").await;
    let dropped = async || replica.metric("sallyport_audit_dropped_total").await;
    eventually("lost lines", async || dropped().await >= CALLS as u64).await;

    let audit = replica.file("audit.log");
    fs::remove_file(&audit).unwrap();
    fs::write(&audit, "").unwrap();
    let told = async || {
        call(&http_client(), &replica, &host, signed).await;
        fs::read_to_string(&audit).unwrap().contains("\"missing\":")
    };
    let took = eventually("a line that says what is missing", told).await;
    println!(
        "MEASURED R16: a full disk: {answers}, {failed} writes to the log failed, {} audit lines lost; told {took:?} after there was \
         room again",
        dropped().await
    );
    assert!(failed > 0, "the log was written somewhere");
    assert!(answers.only(&[200, 503]) && answers.of(200) >= CALLS as u64 - 5, "{answers}");
}
