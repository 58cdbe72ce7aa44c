//! R16, its third part: a limit of memory, as a unit or a container has one, and more clients than `limits.connections` lets in.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::eventually;
use super::idle_streams::{Beats, calls, stream};
use super::process::{Program, Replica};
use super::rig::{Rig, Wanted};
use super::server_process::ServerProcess;
use super::sized;
use crate::support::browser::http_client;
use crate::support::memory_group::MemoryGroup;

const LIMIT_MIB: u64 = 200;
const SESSIONS: usize = 20;
/// Of the connections, for calls.
const SPARE: usize = 20;

/// As many streams as may be open, and as many clients again: they are sent away before memory ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_a_limit_of_memory_clients_are_refused_and_nothing_is_killed() {
    let connections = sized(1_000, 2_000);
    let Some(group) = MemoryGroup::new(LIMIT_MIB * 1024 * 1024) else {
        return println!("SKIPPED: no control group can be made here; as root it can");
    };
    let Some(rig) = Rig::start(Wanted { users: SESSIONS, ..Wanted::default() }).await else { return };
    let server = ServerProcess::start().await;
    let configuration = format!(
        "[limits]\nconnections = {connections}\nconnections_per_address = 1000000\nstreams_per_session = 10000\n\
         burst = 1000000\nrequests_per_second = 1000000\n"
    );
    let program = Program { ports: None, server: &server.url(), configuration: &configuration, shell: &group.enter() };
    let replica = Replica::start_with(&rig, program).await;
    let sessions = rig.sign_in_all(SESSIONS).await;
    let host = rig.front.public_url().strip_prefix("http://").unwrap().to_owned();
    let second = Duration::from_secs(1);
    // Their connections are kept, and used again below.
    calls(&rig, &replica, &sessions, second).await;

    let (beats, mut open) = (Arc::new(Beats::default()), Vec::new());
    for number in 0..connections - SPARE {
        open.push(stream(replica.port, &host, &sessions[number % SESSIONS].access, 60 * second, beats.clone()).await);
    }
    calls(&rig, &replica, &sessions, second).await;
    let (mut let_in, mut refused) = (Vec::new(), 0);
    for number in 0..connections {
        match one_more(replica.port, &host, &sessions[number % SESSIONS].access).await {
            Some(stream) => let_in.push(stream),
            None => refused += 1,
        }
    }
    assert!(refused >= connections - SPARE, "{refused} were refused");
    let health = http_client().get(replica.admin_url("/healthz")).send().await.unwrap();
    assert_eq!(health.status(), 200);
    let resident = replica.resident_kib();

    drop(let_in);
    for stream in open {
        stream.abort();
    }
    eventually("the end of all streams", async || replica.metric("sallyport_streams_open").await == 0).await;
    calls(&rig, &replica, &sessions, second).await;
    println!(
        "MEASURED R16: a limit of {LIMIT_MIB} MiB, {} streams, {refused} clients refused: {resident} KiB resident, {} processes killed",
        connections - SPARE,
        group.killed(),
    );
    assert!(group.is_used() && group.killed() == 0);
}

/// An event stream more, unless the connection is closed instead.
async fn one_more(port: u16, host: &str, token: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!(
        "GET /mcp?do=idle HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\naccept: text/event-stream\r\n\r\n"
    );
    // It may be closed already.
    let _ = stream.write_all(request.as_bytes()).await;
    let read = timeout(Duration::from_secs(5), stream.read(&mut [0; 512])).await.expect("an answer or an end");
    read.is_ok_and(|length| length > 0).then_some(stream)
}
