//! R14, its second part: more idle event streams than one process may have files, over two gateways. Each client has a connection of
//! its own; the server is reached over HTTP/2, a hundred streams on a connection, for with one of its own each stream would take
//! two of a gateway's files. Clients are processes of their own too, one for each gateway.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::iter;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Method, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::idle_streams::{Beats, SESSIONS, calls, seconds, stream};
use super::process::{Program, Replica};
use super::rig::{Rig, Signed, Wanted};
use super::{eventually, percentile, sized};

/// Tells the started program what to do: port, host, streams, seconds between comments, and tokens. Without it the test that it is
/// started for has nothing to do.
const CLIENT: &str = "SALLYPORT_TEST_IDLE_STREAMS";
const OPEN: &str = "open";
const TALLY: &str = "tally ";
/// Of each stream, here without a connection to its server.
const AT_MOST_KIB: u64 = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_hold_more_idle_streams_than_one_process_has_files() {
    let (each, keep_alive, window) = (sized(200, 10_000), seconds(2, 15), seconds(6, 180));
    let Some(rig) = Rig::start(Wanted { users: SESSIONS, ..Wanted::default() }).await else { return };
    let server = Http2Server::start().await;
    // In the place of a third of the files: a stream takes one here, not two.
    let configuration = format!(
        "http = \"2\"\n[limits]\nconnections = 15000\nexchanges = 15000\nconnections_per_address = 1000000\n\
         streams_per_session = 10000\nburst = 1000000\nrequests_per_second = 1000000\n\
         [streams]\nkeep_alive = \"{}s\"\n",
        keep_alive.as_secs()
    );
    let program = || Program { ports: None, server: &server.url, configuration: &configuration, shell: "" };
    let replicas = [Replica::start_with(&rig, program()).await, Replica::start_with(&rig, program()).await];
    let sessions = rig.sign_in_all(SESSIONS).await;
    let host = rig.front.public_url().strip_prefix("http://").unwrap().to_owned();
    for replica in &replicas {
        calls(&rig, replica, &sessions, Duration::from_secs(2)).await;
    }

    let before = replicas.each_ref().map(Replica::resident_kib);
    let begun = Instant::now();
    let clients = replicas.each_ref().map(|replica| Clients::start(replica.port, &host, each, keep_alive, &sessions));
    let clients = clients.map(|mut clients| tokio::task::spawn_blocking(move || (clients.until(OPEN), clients).1));
    let [one, other] = clients;
    let clients = [one.await.unwrap(), other.await.unwrap()];
    let opened = begun.elapsed();
    let mut full = Vec::new();
    for replica in &replicas {
        assert_eq!(replica.metric("sallyport_streams_open").await, each as u64);
    }
    let files = replicas.each_ref().map(Replica::files);
    let (first, second) =
        tokio::join!(calls(&rig, &replicas[0], &sessions, window), calls(&rig, &replicas[1], &sessions, window));
    full.extend(first.into_iter().chain(second));
    let mut kib = replicas.each_ref().map(Replica::resident_kib);
    kib.iter_mut().zip(before).for_each(|(kib, before)| *kib = (*kib - before) / each as u64);
    for replica in &replicas {
        assert_eq!(replica.metric("sallyport_streams_open").await, each as u64, "none has ended");
    }
    let tallies = clients.map(Clients::end);
    for replica in &replicas {
        eventually("the end of all streams", async || replica.metric("sallyport_streams_open").await == 0).await;
    }

    let due = (window.as_secs() / keep_alive.as_secs()) * each as u64;
    println!(
        "MEASURED R14: 2 × {each} streams opened in {opened:?}, {kib:?} KiB each, {files:?} files open; heartbeats, late ones and \
         ends {tallies:?} of at least {due} due; calls meanwhile p50 {:?}, p99 {:?}",
        percentile(&mut full, 50),
        percentile(&mut full, 99),
    );
    for (tally, kib) in tallies.into_iter().zip(kib) {
        assert_eq!(tally[1..], [0, 0], "late, ended");
        // The last of each may fall outside.
        assert!(tally[0] >= due - each as u64, "{} of {due}", tally[0]);
        // A debug build, and few streams, need more.
        assert!(kib <= AT_MOST_KIB || each < 1_000, "{kib} KiB for each stream");
    }
}

/// The listeners of one gateway, in a process of their own. Killed, by its process id, when dropped.
struct Clients {
    process: Child,
    /// It counts until this is closed.
    commands: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Clients {
    fn start(port: u16, host: &str, streams: usize, keep_alive: Duration, sessions: &[Signed]) -> Self {
        let tokens: Vec<_> = sessions.iter().map(|signed| signed.access.as_str()).collect();
        let wanted = format!("{port} {host} {streams} {} {}", keep_alive.as_secs(), tokens.join(","));
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "chaos::many_idle_streams::listen", "--ignored", "--nocapture", "--test-threads", "1"])
            .env(CLIENT, wanted)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (commands, output) = (process.stdin.take(), process.stdout.take().unwrap());
        Self { process, commands, output: BufReader::new(output).lines() }
    }

    /// Waits for a line that begins so, and gives the rest of it.
    fn until(&mut self, begin: &str) -> String {
        for line in self.output.by_ref() {
            if let Some(rest) = line.unwrap().strip_prefix(begin) {
                return rest.to_owned();
            }
        }
        panic!("the clients ended before {begin:?}")
    }

    /// How many heartbeats came, how many of them late, and how many streams ended.
    fn end(mut self) -> [u64; 3] {
        self.commands.take();
        let counts: Vec<_> = self.until(TALLY).split(' ').map(|count| count.parse().unwrap()).collect();
        counts.try_into().unwrap()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The clients themselves.
#[test]
#[ignore = "it is no test: another test starts it as its clients"]
fn listen() {
    let Ok(wanted) = std::env::var(CLIENT) else { return println!("SKIPPED: there is nobody to listen to") };
    let words: Vec<_> = wanted.split(' ').collect();
    let [port, host, streams, keep_alive, tokens] = words[..] else { panic!("{CLIENT} is of another form") };
    let (port, streams): (u16, usize) = (port.parse().unwrap(), streams.parse().unwrap());
    let keep_alive = Duration::from_secs(keep_alive.parse().unwrap());
    let tokens: Vec<_> = tokens.split(',').collect();
    // The harness has begun a line.
    println!();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let beats = Arc::new(Beats::default());
        let open: Vec<_> = iter(
            (0..streams).map(|number| stream(port, host, tokens[number % tokens.len()], keep_alive, beats.clone())),
        )
        .buffer_unordered(64)
        .collect()
        .await;
        println!("{OPEN}");
        tokio::task::spawn_blocking(|| std::io::stdin().lines().for_each(drop)).await.unwrap();
        let ended = beats.ended.load(Ordering::Relaxed);
        println!("{TALLY}{} {} {ended}", beats.all.load(Ordering::Relaxed), beats.late.load(Ordering::Relaxed));
        open.iter().for_each(JoinHandle::abort);
    });
}

/// An MCP server over HTTP/2 without TLS: calls are answered, and streams stay open for ever, and silent.
struct Http2Server {
    url: String,
    task: JoinHandle<()>,
}

impl Http2Server {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(connection(stream));
            }
        });
        Self { url, task }
    }
}

impl Drop for Http2Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond));
    }
}

/// Whoever is gone is told no more: errors end the answer.
async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let is_call = request.method() == Method::POST;
    let kind = if is_call { "application/json" } else { "text/event-stream" };
    let header = Response::builder().header("content-type", kind).body(()).unwrap();
    let Ok(mut sender) = respond.send_response(header, false) else { return };
    if is_call {
        let _ = sender.send_data(Bytes::from_static(b"{}"), true);
    } else {
        let _ = std::future::poll_fn(|context| sender.poll_reset(context)).await;
    }
}
