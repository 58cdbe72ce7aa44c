//! R14: very many event streams in which nothing happens. What each costs, whether each hears that it lives, and whether
//! calls notice them. Gateway, server and clients are processes of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::iter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, sleep, timeout};

use super::process::{Program, Replica};
use super::rig::{Rig, Signed, Wanted};
use super::server_process::ServerProcess;
use super::{percentile, sized};

pub const SESSIONS: usize = 20;
/// Calls in a second, whatever becomes of them.
const RATE: u64 = 50;
/// A heartbeat may be so late on a machine that has other things to do.
const LATE: Duration = Duration::from_secs(1);
/// Of each stream, in the long form, which is for a release build; another's needs a little more.
const AT_MOST_KIB: usize = 64;
const AT_MOST_KIB_SHORT: usize = 72;

/// What all streams saw together.
#[derive(Default)]
pub struct Beats {
    pub all: AtomicU64,
    pub late: AtomicU64,
    /// Streams that ended.
    pub ended: AtomicUsize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_streams_are_small_hear_that_they_live_and_nobody_notices_them() {
    let (streams, keep_alive, window, alone) = (sized(1_000, 9_500), seconds(2, 15), seconds(8, 180), seconds(6, 60));
    let Some(rig) = Rig::start(Wanted { users: SESSIONS, ..Wanted::default() }).await else { return };
    let server = ServerProcess::start().await;
    let configuration = format!(
        "[limits]\nconnections_per_address = 1000000\nstreams_per_session = 10000\nburst = 1000000\nrequests_per_second = 1000000\n\
         [streams]\nkeep_alive = \"{}s\"\n",
        keep_alive.as_secs()
    );
    let program = Program { ports: None, server: &server.url(), configuration: &configuration, shell: "" };
    let replica = Replica::start_with(&rig, program).await;
    let sessions = rig.sign_in_all(SESSIONS).await;
    // Once for all that is done once.
    calls(&rig, &replica, &sessions, Duration::from_secs(2)).await;

    let mut empty = calls(&rig, &replica, &sessions, alone).await;
    let before = replica.resident_kib();
    let (beats, begun) = (Arc::new(Beats::default()), Instant::now());
    let host = rig.front.public_url().strip_prefix("http://").unwrap().to_owned();
    let open: Vec<_> = iter((0..streams).map(|number| {
        let token = &sessions[number % SESSIONS].access;
        stream(replica.port, &host, token, keep_alive, beats.clone())
    }))
    .buffer_unordered(64)
    .collect()
    .await;
    let opened = begun.elapsed();
    assert_eq!(replica.metric("sallyport_streams_open").await, streams as u64);
    let counted = beats.all.load(Ordering::Relaxed);
    let mut full = calls(&rig, &replica, &sessions, window).await;
    let counted = beats.all.load(Ordering::Relaxed) - counted;
    let each = (replica.resident_kib() - before) as f64 / streams as f64;
    let (late, ended) = (beats.late.load(Ordering::Relaxed), beats.ended.load(Ordering::Relaxed));
    for stream in open {
        stream.abort();
    }
    super::eventually("the end of all streams", async || replica.metric("sallyport_streams_open").await == 0).await;
    let after = replica.resident_kib();
    empty.append(&mut calls(&rig, &replica, &sessions, alone).await);

    let due = (window.as_secs() / keep_alive.as_secs()) * streams as u64;
    let (p99_empty, p99_full) = (percentile(&mut empty, 99), percentile(&mut full, 99));
    println!(
        "MEASURED R14: {streams} streams opened in {opened:?}; {each:.1} KiB each ({before} KiB before, {after} KiB after them); \
         {counted} heartbeats in {window:?} of {due} due, {late} late, {ended} streams ended; \
         calls p50 {:?} and p99 {p99_empty:?} without, {:?} and {p99_full:?} with them",
        percentile(&mut empty, 50),
        percentile(&mut full, 50),
    );
    assert_eq!((late, ended), (0, 0));
    // The first and the last of each may fall outside.
    assert!(counted >= due - streams as u64, "{counted} of {due}");
    assert!(each <= sized(AT_MOST_KIB_SHORT, AT_MOST_KIB) as f64, "{each} KiB for each stream");
    // Where other builds take the processors, a few milliseconds are chance.
    assert!(p99_full <= 2 * p99_empty + Duration::from_millis(20), "{p99_full:?}, and {p99_empty:?} without streams");
}

pub fn seconds(short: usize, long: usize) -> Duration {
    Duration::from_secs(sized(short, long) as u64)
}

/// Opens one stream and listens to it until aborted.
pub async fn stream(port: u16, host: &str, token: &str, keep_alive: Duration, beats: Arc<Beats>) -> JoinHandle<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!(
        "GET /mcp?do=idle HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\naccept: text/event-stream\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut header = Vec::with_capacity(1024);
    while !header.ends_with(b"\r\n\r\n") {
        let read = timeout(Duration::from_secs(20), stream.read_buf(&mut header)).await.expect("an answer").unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&header));
    }
    assert!(header.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&header));
    tokio::spawn(async move {
        let mut last = Instant::now();
        let mut read = [0; 64];
        while stream.read(&mut read).await.is_ok_and(|length| length > 0) {
            beats.all.fetch_add(1, Ordering::Relaxed);
            if last.elapsed() > keep_alive + LATE {
                beats.late.fetch_add(1, Ordering::Relaxed);
            }
            last = Instant::now();
        }
        beats.ended.fetch_add(1, Ordering::Relaxed);
    })
}

/// Calls at a steady rate: how long each took from when it was due. All are answered.
pub async fn calls(rig: &Rig, replica: &Replica, sessions: &[Signed], time: Duration) -> Vec<Duration> {
    let (mut made, mut beat) = (JoinSet::new(), interval(Duration::from_secs(1) / RATE as u32));
    for number in 0..time.as_secs() * RATE {
        let due = beat.tick().await;
        let signed = &sessions[number as usize % sessions.len()];
        let url = format!("http://127.0.0.1:{}/mcp?id={number}", replica.port);
        let host = rig.front.public_url().strip_prefix("http://").unwrap().to_owned();
        let call = rig.http.post(url).header("host", host).bearer_auth(&signed.access).body("{}");
        made.spawn(async move {
            let answer = call.send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.bytes().await.unwrap();
            due.elapsed()
        });
    }
    sleep(Duration::from_millis(10)).await;
    made.join_all().await
}
