//! R11: three replicas, real processes, are restarted one after the other while short calls and event streams go on, behind a
//! balancer that asks for readiness as a cluster does. Nobody is refused, no call fails, every stream ends cleanly and is
//! opened again elsewhere. One of the three has one processor.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::post;
use futures_util::stream::unfold;
use reqwest::header::{ACCEPT, HOST};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::process::{ONE_PROCESSOR, Program, Replica};
use super::rig::{Rig, Signed, Wanted};
use super::{eventually, seed, sized};
use crate::support::browser::http_client;
use crate::support::fault_proxy::FaultProxy;
use crate::support::free_port;

const USERS: usize = 10;
/// How often the balancer asks each replica whether it is ready.
const PROBE: Duration = Duration::from_millis(100);
/// A stream on which nothing comes for so long is dead, and nobody has said so.
const SILENCE: Duration = Duration::from_secs(8);
/// For a machine that has other things to do.
const SLACK: Duration = Duration::from_millis(500);
const SECOND: Duration = Duration::from_secs(1);

/// Where clients go, and as whom.
#[derive(Clone)]
struct Way {
    url: String,
    host: String,
    sessions: Arc<Vec<Signed>>,
    over: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Calls {
    good: u64,
    failed: Vec<String>,
    longest: Duration,
}

/// What the streams say of themselves.
#[derive(Default)]
struct Streams {
    open: AtomicUsize,
    opened: AtomicUsize,
    /// When each came to a clean end that told when to come again.
    ended: Mutex<Vec<Instant>>,
    /// All others.
    broken: Mutex<Vec<String>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_restart_one_after_the_other_and_nobody_notices() {
    let Some(rig) = Rig::start(Wanted { users: USERS, ..Wanted::default() }).await else { return };
    let (rounds, rate, count) = (sized(3, 10), sized(60, 300), sized(60, 500));
    let (delay, window) = (Duration::from_secs(sized(1, 2) as u64), Duration::from_secs(sized(2, 5) as u64));
    let upstream = upstream().await;
    let settings = format!(
        "[limits]\nconnections_per_address = 100000\nstreams_per_session = 10000\nrequests_per_second = 100000\n\
         burst = 100000\n[log]\naccess = false\n[drain]\ndelay = '{}s'\nwindow = '{}s'\n",
        delay.as_secs(),
        window.as_secs()
    );
    let ports: Vec<[u16; 2]> = (0..3).map(|_| [free_port(), free_port()]).collect();
    let program = |number| Program {
        ports: Some(ports[number]),
        server: &upstream,
        configuration: &settings,
        shell: if number == 0 { ONE_PROCESSOR } else { "" },
    };
    let mut replicas = Vec::new();
    for number in 0..ports.len() {
        replicas.push(Replica::start_with(&rig, program(number)).await);
    }
    let balancer = Arc::new(FaultProxy::balancing(0, &[], seed()));
    let over = Arc::new(AtomicBool::new(false));
    let urls = replicas.iter().map(|replica| (replica.port, replica.readiness_url())).collect();
    let probes = tokio::spawn(probe(urls, balancer.clone(), over.clone()));
    eventually("all are ready", async || balancer.targets().len() == 3).await;

    let way = Way {
        url: format!("http://127.0.0.1:{}/mcp", balancer.port()),
        host: format!("localhost:{}", rig.front.port),
        sessions: Arc::new(rig.sign_in_all(USERS).await),
        over: over.clone(),
    };
    let streams = Arc::new(Streams::default());
    let listeners: Vec<_> =
        (0..count).map(|number| tokio::spawn(listen(way.clone(), number, streams.clone()))).collect();
    eventually("all streams are open", async || streams.open.load(Ordering::SeqCst) == count).await;
    let calls = tokio::spawn(call(way.clone(), rate));

    let (mut slowest, mut most_after_last) = (Duration::ZERO, Duration::ZERO);
    for round in 0..rounds {
        for (number, replica) in replicas.iter_mut().enumerate() {
            let told = Instant::now();
            let (code, exited) = replica.terminate(delay + window + Duration::from_secs(10)).await;
            assert_eq!(code, Some(0));
            let took = exited - told;
            let ended = streams.ended.lock().unwrap().clone();
            let last = ended.into_iter().filter(|at| (told..=exited).contains(at)).max();
            // With nobody there it still waits for those whose connection came last.
            let gone = last.unwrap_or(told).max(told + delay + SECOND.min(delay));
            slowest = slowest.max(took);
            most_after_last = most_after_last.max(exited.saturating_duration_since(gone));
            assert!(took <= delay + window + 2 * SECOND, "round {round}, replica {number}: {took:?}");
            *replica = Replica::start_with(&rig, program(number)).await;
            eventually("it is ready again", async || balancer.targets().len() == 3).await;
        }
    }
    eventually("all streams are back", async || streams.open.load(Ordering::SeqCst) == count).await;
    over.store(true, Ordering::SeqCst);
    let calls = calls.await.unwrap();
    for listener in listeners {
        listener.await.unwrap();
    }
    probes.await.unwrap();
    let ended = streams.ended.lock().unwrap().len();
    let broken = streams.broken.lock().unwrap().clone();
    println!(
        "MEASURED R11 restarts={} calls_per_second={rate} streams={count} ok={} failed={} refused={} longest={:.0?} \
         streams_ended_cleanly={ended} opened={} broken={} slowest_exit={slowest:.2?} (delay {delay:?} + window \
         {window:?}) after_the_last_stream={most_after_last:.2?} seed={}",
        rounds * 3,
        calls.good,
        calls.failed.len(),
        balancer.untaken(),
        calls.longest,
        streams.opened.load(Ordering::SeqCst),
        broken.len(),
        seed()
    );
    assert_eq!((calls.failed.as_slice(), broken.as_slice()), ([].as_slice(), [].as_slice()));
    assert_eq!(balancer.untaken(), 0, "a replica refused a connection while the balancer took it for ready");
    assert!(calls.good > 100 && ended >= count, "{calls:?}, {ended} ends of streams");
    assert!(most_after_last <= SECOND + SLACK, "{most_after_last:?} after the last stream");
}

/// Sets the balancer's targets to those that say that they are ready.
async fn probe(replicas: Vec<(u16, String)>, balancer: Arc<FaultProxy>, over: Arc<AtomicBool>) {
    let http = http_client();
    let mut ticks = interval(PROBE);
    while !over.load(Ordering::SeqCst) {
        ticks.tick().await;
        let mut ready = Vec::new();
        for (port, url) in &replicas {
            let answer = http.get(url).timeout(SECOND).send().await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                ready.push(*port);
            }
        }
        balancer.set_targets(&ready);
    }
}

/// Short calls at a steady rate, whether or not those before were answered; half of them over connections that are kept.
async fn call(way: Way, rate: usize) -> Calls {
    // Whatever a client would try again by itself is a failure here.
    let client = || reqwest::Client::builder().no_proxy().retry(reqwest::retry::never()).timeout(10 * SECOND);
    let clients = [client().build().unwrap(), client().pool_max_idle_per_host(0).build().unwrap()];
    let mut ticks = interval(SECOND / rate as u32);
    let (mut under_way, mut calls) = (JoinSet::new(), Calls::default());
    let mut number = 0;
    while !way.over.load(Ordering::SeqCst) {
        ticks.tick().await;
        let (client, way) = (clients[number % 2].clone(), way.clone());
        under_way.spawn(async move {
            let (begun, said) = (Instant::now(), format!("{{\"number\":{number}}}"));
            let signed = &way.sessions[number % way.sessions.len()];
            let request = client.post(&way.url).header(HOST, &way.host).bearer_auth(&signed.access).body(said.clone());
            let ended = async {
                let answer = request.send().await?;
                let status = answer.status().as_u16();
                Ok::<_, reqwest::Error>((status, answer.text().await?))
            };
            (ended.await, said, begun.elapsed())
        });
        number += 1;
        while let Some(ended) = under_way.try_join_next() {
            calls.add(ended.unwrap());
        }
    }
    for ended in under_way.join_all().await {
        calls.add(ended);
    }
    calls
}

impl Calls {
    fn add(&mut self, (ended, said, took): (Result<(u16, String), reqwest::Error>, String, Duration)) {
        self.longest = self.longest.max(took);
        match ended {
            Ok((200, echo)) if echo == said => self.good += 1,
            Ok(other) => self.failed.push(format!("{other:?}")),
            Err(error) => self.failed.push(format!("{error:?}")),
        }
    }
}

/// One client that listens, and comes again when it is told to.
async fn listen(way: Way, number: usize, streams: Arc<Streams>) {
    // Unlike other clients of these tests: a stream may last as long as it likes.
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let signed = &way.sessions[number % way.sessions.len()];
    while !way.over.load(Ordering::SeqCst) {
        let request = http.get(&way.url).header(HOST, &way.host).bearer_auth(&signed.access);
        let said = match request.header(ACCEPT, "text/event-stream").send().await {
            Ok(answer) if answer.status() == 200 => read(answer, &way, &streams).await,
            Ok(answer) => Err(format!("not opened: {}", answer.status())),
            Err(error) => Err(format!("not opened: {error:?}")),
        };
        let pause = match said {
            Ok(None) => return,
            Ok(Some(pause)) => {
                streams.ended.lock().unwrap().push(Instant::now());
                pause
            }
            Err(cause) => {
                streams.broken.lock().unwrap().push(cause);
                SECOND
            }
        };
        sleep(pause).await;
    }
}

/// To the end, which tells when to come again; nothing when the test is over first.
async fn read(mut answer: reqwest::Response, way: &Way, streams: &Streams) -> Result<Option<Duration>, String> {
    streams.opened.fetch_add(1, Ordering::SeqCst);
    let _open = Open::count(&streams.open);
    let mut last = Bytes::new();
    while !way.over.load(Ordering::SeqCst) {
        match timeout(SILENCE, answer.chunk()).await {
            Err(_) => return Err("nothing came, and no end".to_owned()),
            Ok(Err(error)) => return Err(format!("cut: {error:?}")),
            Ok(Ok(Some(piece))) => last = piece,
            Ok(Ok(None)) => {
                let text = String::from_utf8_lossy(&last).into_owned();
                let hint = text.rsplit_once("retry: ").and_then(|(_, hint)| hint.trim().parse().ok());
                return hint.map(|hint| Some(Duration::from_millis(hint))).ok_or(format!("ended with {text:?}"));
            }
        }
    }
    Ok(None)
}

struct Open<'a>(&'a AtomicUsize);

impl<'a> Open<'a> {
    fn count(open: &'a AtomicUsize) -> Self {
        open.fetch_add(1, Ordering::SeqCst);
        Self(open)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Says back what it is told, and to who listens something every second. Gives its URL; it ends with the test's runtime.
async fn upstream() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let events = async || {
        let events = unfold(0_u64, async |number| {
            if number > 0 {
                sleep(SECOND).await;
            }
            Some((Ok::<_, std::io::Error>(format!("data: {number}\n\n")), number + 1))
        });
        ([("content-type", "text/event-stream")], Body::from_stream(events))
    };
    let echo = async |body: Bytes| ([("content-type", "application/json")], body);
    let router = Router::new().route("/mcp", post(echo).get(events));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}
