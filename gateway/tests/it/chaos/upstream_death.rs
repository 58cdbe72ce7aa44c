//! R10: servers that die, freeze or drip while they stream. What their clients see, and what nobody else does.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::server_process::{Cut, ServerProcess};
use super::{eventually, sized};
use crate::support::browser::http_client;
use crate::support::gateway::{Gateway, Options};
use crate::support::journey::{ADELE, Client};

/// How soon a death must be visible.
const VISIBLE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
enum Death {
    Killed,
    Cut(Cut),
}

/// A session with a stream that ticks.
struct Listener {
    token: String,
    stream: Option<Ticking>,
}

/// Its events are read as they come, and its end.
struct Ticking {
    events: Arc<AtomicU64>,
    end: JoinHandle<End>,
}

struct End {
    at: Instant,
    /// It broke off rather than ended.
    cut: bool,
}

/// One gateway before two servers, in processes of their own.
struct Stand {
    gateway: Gateway,
    http: reqwest::Client,
    servers: [ServerProcess; 2],
    posts: AtomicUsize,
}

impl Stand {
    async fn start() -> Self {
        let servers = [ServerProcess::start().await, ServerProcess::start().await];
        let urls = servers.each_ref().map(|server| server.url().parse().unwrap());
        let gateway = Gateway::start_changed(&servers[0].url(), |settings, _| {
            settings.upstreams[0].pool.servers = urls.to_vec();
            settings.access_log = false;
        })
        .await;
        Self { gateway, http: http_client(), servers, posts: AtomicUsize::new(0) }
    }

    /// A target that no other call has.
    fn target(&self, what: &str) -> String {
        format!("/mcp?do={what}&id={}", self.posts.fetch_add(1, Ordering::Relaxed))
    }

    async fn post(&self, token: &str, target: &str) -> reqwest::Result<reqwest::Response> {
        let call = self.http.post(self.gateway.url(target)).bearer_auth(token).header("accept", "text/event-stream");
        call.body("{}").send().await
    }

    /// Which of the servers saw this, and has answered.
    async fn home(&self, target: &str) -> usize {
        let saw = |server: &ServerProcess| server.seen().iter().any(|seen| seen == target);
        eventually("its word that it was called", async || self.servers.iter().any(saw)).await;
        self.servers.iter().position(saw).unwrap()
    }

    /// Opens a stream; gives also which server it is at. A connection that waited may turn out to be dead: a `POST` is then
    /// not sent again by the gateway, but by whoever made it.
    async fn tick(&self, token: &str) -> (Ticking, usize) {
        for _ in 0..5 {
            let target = self.target("events");
            let mut answer = self.post(token, &target).await.unwrap();
            if answer.status() == 502 {
                continue;
            }
            assert_eq!(answer.status(), 200);
            let events = Arc::new(AtomicU64::new(0));
            let count = events.clone();
            let end = tokio::spawn(async move {
                loop {
                    match answer.chunk().await {
                        Ok(Some(_)) => count.fetch_add(1, Ordering::Relaxed),
                        Ok(None) => return End { at: Instant::now(), cut: false },
                        Err(_) => return End { at: Instant::now(), cut: true },
                    };
                }
            });
            return (Ticking { events, end }, self.home(&target).await);
        }
        panic!("no stream");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_is_seen_to_die_by_its_clients_alone_and_no_call_is_made_twice() {
    let mut stand = Stand::start().await;
    let client = Client::register(&stand.gateway).await;
    // Where a sign-in goes is by chance: until each server has two.
    let (mut listeners, mut at) = (Vec::new(), [0; 2]);
    while at[0] < 2 || at[1] < 2 {
        assert!(listeners.len() < 40, "all sign-ins are at one server");
        let token = client.token(&stand.gateway, ADELE).await;
        let (stream, home) = stand.tick(&token).await;
        at[home] += 1;
        listeners.push((Listener { token, stream: Some(stream) }, home));
    }

    let deaths = sized(50, 1_000);
    let (mut cuts, mut slowest, mut unanswered) = (0, Duration::ZERO, 0);
    for number in 0..deaths {
        let victim = number % 2;
        let death = match number / 2 % 4 {
            0 => Death::Cut(Cut::Reset),
            1 => Death::Cut(Cut::HalfClose),
            _ => Death::Killed,
        };
        for (listener, home) in &mut listeners {
            if listener.stream.is_none() {
                let (stream, now) = stand.tick(&listener.token).await;
                assert_eq!(now, *home, "a sign-in stays with its server");
                listener.stream = Some(stream);
            }
        }
        // A call that the server has, and has not answered.
        let (caller, _) = listeners.iter().find(|(_, home)| *home == victim).unwrap();
        let target = stand.target("silence");
        let http = stand.http.post(stand.gateway.url(&target)).bearer_auth(&caller.token).body("{}");
        let call = tokio::spawn(async move { (http.send().await.unwrap().status().as_u16(), Instant::now()) });
        stand.servers[victim].until_seen(&target).await;
        let ticks: Vec<_> = listeners.iter().map(|(listener, _)| listener.events()).collect();

        let begun = Instant::now();
        match death {
            Death::Killed => stand.servers[victim].kill(),
            Death::Cut(cut) => stand.servers[victim].cut(cut),
        }
        let (status, answered) = timeout(VISIBLE, call).await.expect("an answer").unwrap();
        assert_eq!(status, 502, "{death:?}");
        slowest = slowest.max(answered - begun);
        unanswered += 1;
        for (listener, home) in &mut listeners {
            if *home == victim {
                let stream = listener.stream.take().unwrap();
                let end =
                    timeout(VISIBLE, stream.end).await.unwrap_or_else(|_| panic!("{death:?} is not seen")).unwrap();
                assert!(end.cut, "{death:?} looks like a clean end");
                slowest = slowest.max(end.at - begun);
                cuts += 1;
            }
        }
        assert!(slowest < VISIBLE, "{death:?} after {slowest:?}");
        if let Death::Killed = death {
            stand.servers[victim].start_again().await;
        }
        sleep(Duration::from_millis(60)).await;
        for ((listener, home), before) in listeners.iter().zip(ticks) {
            if *home != victim {
                assert!(!listener.stream.as_ref().unwrap().end.is_finished(), "{death:?} at the other server cut it");
                assert!(listener.events() > before, "{death:?} at the other server stopped it");
            }
        }
    }

    let seen: Vec<_> = stand.servers.iter().flat_map(ServerProcess::seen).collect();
    let distinct: HashSet<_> = seen.iter().collect();
    println!(
        "MEASURED R10: {deaths} deaths, {cuts} streams cut and {unanswered} calls answered 502, the slowest seen after {slowest:?}; \
         {} calls made, {} seen by servers, {} of them twice; 0 other streams cut",
        stand.posts.load(Ordering::Relaxed),
        seen.len(),
        seen.len() - distinct.len(),
    );
    assert_eq!(seen.len(), distinct.len(), "a call was made twice");
    for stream in listeners.into_iter().filter_map(|(listener, _)| listener.stream) {
        // The gateway would wait for its streams.
        stream.end.abort();
    }
}

impl Listener {
    fn events(&self) -> u64 {
        self.stream.as_ref().unwrap().events.load(Ordering::Relaxed)
    }
}

/// Nobody can tell a frozen server from one that has nothing to say: its streams live on comments until `idle_timeout`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_freezes_is_silent_and_one_that_drips_is_slow_until_the_limit_of_silence() {
    const IDLE: Duration = Duration::from_secs(6);
    let (frozen, lively) = (ServerProcess::start().await, ServerProcess::start().await);
    let mut options = Options::simple(&frozen.url());
    options.upstreams.push(("/other", lively.url()));
    options.streams.keep_alive = Duration::from_secs(1);
    options.streams.idle_timeout = IDLE;
    let gateway = Gateway::start_with(options).await;
    let client = Client::register(&gateway).await;
    let token = client.token(&gateway, ADELE).await;
    let elsewhere = Client { id: client.id.clone(), resource: gateway.url("/other") };
    let other = elsewhere.token(&gateway, ADELE).await;
    let open = async |target: &str, token: &str| {
        let call = http_client().post(gateway.url(target)).bearer_auth(token).header("accept", "text/event-stream");
        let answer = timeout(Duration::from_secs(5), call.body("{}").send()).await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        answer
    };
    let mut stream = open("/mcp?do=events&id=1", &token).await;
    let dripping = tokio::spawn(read_on(open("/other?do=drip", &other).await, Duration::from_secs(16)));
    let ticking = tokio::spawn(read_on(open("/other?do=events&id=2", &other).await, Duration::from_secs(16)));

    // Frozen for less than the limit: comments, then the very next event.
    let mut text = String::new();
    let read = async |stream: &mut reqwest::Response, time| read_for(stream, time).await.0;
    text += &read(&mut stream, Duration::from_millis(300)).await;
    frozen.freeze();
    // What was on its way already.
    text += &read(&mut stream, Duration::from_millis(200)).await;
    let silence = read(&mut stream, Duration::from_millis(3_300)).await;
    assert!((2..=4).contains(&silence.matches(": keep-alive\n\n").count()), "{silence:?}");
    text += &silence;
    frozen.thaw();
    text += &read(&mut stream, Duration::from_millis(500)).await;
    let events: Vec<u64> = text.lines().filter_map(|line| line.strip_prefix("data: ")?.parse().ok()).collect();
    assert!(events.len() > 10 && events.iter().copied().eq(0..events.len() as u64), "none is lost: {events:?}");

    // For longer: the stream ends, cleanly, and a call without an answer is 504.
    frozen.freeze();
    let begun = Instant::now();
    let call = http_client().post(gateway.url("/mcp?id=3")).bearer_auth(&token).body("{}").send();
    let (silence, answer) = tokio::join!(read_for(&mut stream, 2 * IDLE), call);
    let (silence, ended) = silence;
    let answer = answer.unwrap();
    assert!(ended && silence.contains(": keep-alive"), "{silence:?}");
    assert_eq!(answer.status(), 504);
    assert!((5..=9).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    frozen.thaw();

    // A byte a second is slow, and is passed on as it comes; a comment would be part of the event.
    let (drip, ended) = dripping.await.unwrap();
    let parts: Vec<_> = drip.split(": keep-alive\n\n").collect();
    let (last, whole) = parts.split_last().unwrap();
    assert!(whole.iter().all(|part| part.is_empty() || part.ends_with("\n\n")) && !ended, "{drip:?}");
    assert!(parts.concat().starts_with("data: 0\n\ndata") && last.starts_with("data"), "{drip:?}");
    let (ticks, ended) = ticking.await.unwrap();
    assert!(!ended && ticks.matches("data:").count() > 200, "the other server's stream went on");
    println!(
        "MEASURED R10: frozen for 3.5 s: no event of {} lost; for longer: ended after {IDLE:?} of silence",
        events.len()
    );
}

async fn read_on(mut stream: reqwest::Response, time: Duration) -> (String, bool) {
    read_for(&mut stream, time).await
}

/// What comes in this time, and whether it came to its end.
async fn read_for(stream: &mut reqwest::Response, time: Duration) -> (String, bool) {
    let deadline = tokio::time::Instant::now() + time;
    let mut text = String::new();
    while let Ok(chunk) = tokio::time::timeout_at(deadline, stream.chunk()).await {
        match chunk.unwrap() {
            Some(chunk) => text += std::str::from_utf8(&chunk).unwrap(),
            None => return (text, true),
        }
    }
    (text, false)
}
