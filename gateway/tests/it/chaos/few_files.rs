//! R16, its first part: a process that may open 300 files, limits that allow far more, and clients that take all they get.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::eventually;
use super::process::{Program, Replica};
use super::rig::{Rig, Wanted};
use super::server_process::ServerProcess;
use crate::support::browser::http_client;

const FILES: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_few_files_left_the_admin_listener_answers_and_redis_is_asked() {
    let Some(rig) = Rig::start(Wanted { users: 2, ..Wanted::default() }).await else { return };
    let server = ServerProcess::start().await;
    // A connection that is kept for later is used here; that idle ones make room is the other test's.
    let configuration = "[limits]\nconnections = 100000\nconnections_per_address = 100000\nshed_idle_at = 100\n";
    let program = Program { ports: None, server: &server.url(), configuration, shell: &format!("ulimit -n {FILES}") };
    let replica = Replica::start_with(&rig, program).await;
    let host = rig.front.public_url().strip_prefix("http://").unwrap().to_owned();
    let sessions = rig.sign_in_all(2).await;
    let mut early = TcpStream::connect(("127.0.0.1", replica.port)).await.unwrap();
    assert_eq!(call(&mut early, &host, &sessions[0].access).await, Some(200));
    let base = replica.files();

    let mut held = Vec::new();
    for _ in 0..2 * FILES {
        held.push(TcpStream::connect(("127.0.0.1", replica.port)).await.unwrap());
    }
    eventually("the end of the files", async || replica.metric("sallyport_limited_total{limit=\"files\"}").await > 0)
        .await;
    let most = replica.files();
    let health = http_client().get(replica.admin_url("/healthz")).send().await.unwrap();
    assert_eq!(health.status(), 200);
    let late = call(&mut early, &host, &sessions[1].access).await;
    assert_eq!(late, Some(200), "a session that this replica has never seen: Redis knows it");
    let mut refused = TcpStream::connect(("127.0.0.1", replica.port)).await.unwrap();
    assert_eq!(call(&mut refused, &host, &sessions[0].access).await, None, "one more");

    drop(held);
    let served = async || {
        let mut stream = TcpStream::connect(("127.0.0.1", replica.port)).await.unwrap();
        call(&mut stream, &host, &sessions[0].access).await == Some(200)
    };
    let took = eventually("room again", served).await;
    println!(
        "MEASURED R16: {FILES} files, {base} open at first, {most} with {} clients; room again after {took:?}",
        2 * FILES
    );
    assert!(most < FILES - 50, "{most} files are open");
}

/// More clients than files, each of which keeps its connection for later: all are served, for the longest idle make room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_make_room_for_new_clients() {
    let Some(rig) = Rig::start(Wanted { users: 1, ..Wanted::default() }).await else { return };
    let server = ServerProcess::start().await;
    let configuration = "[limits]\nconnections = 100000\nconnections_per_address = 100000\nburst = 1000000\n";
    let program = Program { ports: None, server: &server.url(), configuration, shell: &format!("ulimit -n {FILES}") };
    let replica = Replica::start_with(&rig, program).await;
    let host = rig.front.public_url().strip_prefix("http://").unwrap().to_owned();
    let token = &rig.sign_in_all(1).await[0].access;
    let (mut kept, mut most) = (Vec::new(), 0);
    for number in 0..2 * FILES {
        let mut stream = TcpStream::connect(("127.0.0.1", replica.port)).await.unwrap();
        assert_eq!(call(&mut stream, &host, token).await, Some(200), "client {number}");
        kept.push(stream);
        most = most.max(if number % 10 == 0 { replica.files() } else { 0 });
    }
    let shed = replica.metric("sallyport_limited_total{limit=\"idle\"}").await;
    let refused = replica.metric("sallyport_limited_total{limit=\"files\"}").await;
    let open = replica.metric("sallyport_connections").await;
    println!(
        "MEASURED R16: {} clients one after the other with {FILES} files: {open} connections are open, {shed} made room, \
         {refused} were refused; {most} files at most",
        2 * FILES
    );
    assert_eq!(refused, 0);
    let (last, first) = (kept.len() - 1, 0);
    assert_eq!(call(&mut kept[last], &host, token).await, Some(200), "who came last is still there");
    assert_eq!(call(&mut kept[first], &host, token).await, None, "who came first is not");
}

/// The status of the answer; `None` when the connection is closed instead.
async fn call(stream: &mut TcpStream, host: &str, token: &str) -> Option<u16> {
    let request =
        format!("POST /mcp HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\ncontent-length: 2\r\n\r\n{{}}");
    // It may be closed already.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"{}") {
        let read = timeout(Duration::from_secs(5), stream.read_buf(&mut answer)).await.expect("an answer or an end");
        if read.map_or(true, |length| length == 0) {
            break;
        }
    }
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}
