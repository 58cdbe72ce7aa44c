//! R12: the program restarts while its listening socket stays open in other hands, as systemd's socket units hold it. Nobody
//! is refused, nothing that was asked for is lost; who comes while no process runs waits for the next one.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{interval, sleep};

use super::sized;
use crate::program::{Folder, PROGRAM, Running, configuration};
use crate::support::journey::REDIRECT_URI;
use crate::support::{free_port, install_crypto_provider};

/// What a service manager does: holds the socket, and starts programs that inherit it.
struct Holder {
    socket: TcpListener,
    folder: Folder,
    port: u16,
}

impl Holder {
    fn new(name: &str) -> Self {
        install_crypto_provider();
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Self { port: socket.local_addr().unwrap().port(), socket, folder: Folder::new(name) }
    }

    /// A program that is to listen at `port`, given the socket by systemd's protocol: it is file 3, and the variables say so.
    fn launch(&self, port: u16, more: &str) -> Running {
        let admin_port = free_port();
        let file = configuration(&self.folder, port, admin_port);
        let text = std::fs::read_to_string(&file).unwrap();
        let file = self.folder.file(&format!("{admin_port}.toml"), &(text + more));
        let script = "exec 3<&0 0</dev/null; export LISTEN_PID=$$; exec \"$@\"";
        Running::of(
            Command::new("sh")
                .args(["-c", script, "sh", PROGRAM, "serve", "--config", &file])
                .env("LISTEN_FDS", "1")
                .env("LISTEN_FDNAMES", "sallyport.socket")
                .stdin(OwnedFd::from(self.socket.try_clone().unwrap())),
        )
    }

    /// One that takes part.
    fn start(&self, more: &str) -> Running {
        let running = self.launch(self.port, more);
        block_in_place(|| {
            running.read_until("a listening socket was passed");
            running.read_until("listening\"");
            running.read_until("listening\"");
        });
        running
    }
}

/// What became of the requests.
#[derive(Debug, Default)]
struct Counts {
    good: u64,
    /// So many of them over HTTP/2.
    over_http_2: u64,
    /// Nobody took the connection.
    refused: u64,
    failed: Vec<String>,
    longest: Duration,
}

/// Short requests at a steady pace, whether or not the ones before were answered; half of them over connections that are
/// kept, half over new ones.
struct Load {
    over: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Counts>,
}

impl Load {
    fn start(origin: String, trusted: Option<reqwest::Certificate>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(make(origin, trusted, over.clone()));
        Self { over, task }
    }

    async fn stop(self) -> Counts {
        self.over.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

async fn make(origin: String, trusted: Option<reqwest::Certificate>, over: Arc<AtomicBool>) -> Counts {
    let client = || {
        let client = reqwest::Client::builder().no_proxy();
        client.tls_certs_only(trusted.clone()).timeout(Duration::from_secs(30))
    };
    // Whatever a client would try again by itself is a failure here.
    let http1 = || client().http1_only().retry(reqwest::retry::never());
    let clients = [
        http1().build().unwrap(),
        http1().pool_max_idle_per_host(0).build().unwrap(),
        // HTTP/2 where there is TLS. What GOAWAY says was not processed any client sends again (RFC 9113, 8.7), and by default
        // nothing else.
        client().build().unwrap(),
        client().pool_max_idle_per_host(0).build().unwrap(),
    ];
    let mut ticks = interval(Duration::from_millis(10));
    let mut under_way = JoinSet::new();
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        ticks.tick().await;
        let (client, origin) = (clients[number % clients.len()].clone(), origin.clone());
        let posts = number / clients.len() % 2 == 0;
        number += 1;
        under_way.spawn(async move {
            let begun = Instant::now();
            let (request, expected) = match posts {
                true => {
                    let body = json!({ "redirect_uris": [REDIRECT_URI] });
                    (client.post(format!("{origin}/register")).json(&body), 201)
                }
                false => (client.get(format!("{origin}/.well-known/oauth-authorization-server")), 200),
            };
            let ended = async {
                let answer = request.send().await?;
                let (status, version) = (answer.status().as_u16(), answer.version());
                answer.bytes().await.map(|_| (status, version))
            };
            (ended.await, expected, begun.elapsed())
        });
    }
    let mut counts = Counts::default();
    for (ended, expected, took) in under_way.join_all().await {
        counts.longest = counts.longest.max(took);
        match ended {
            Ok((status, version)) if status == expected => {
                counts.good += 1;
                counts.over_http_2 += u64::from(version == reqwest::Version::HTTP_2);
            }
            Ok((status, _)) => counts.failed.push(status.to_string()),
            Err(error) if error.is_connect() => counts.refused += 1,
            Err(error) => counts.failed.push(format!("{error:?}")),
        }
    }
    counts
}

const SETTINGS: &str = r#"
    [limits]
    connections_per_address = 100000
    registrations_per_minute = 1000000
    [log]
    access = false
"#;

fn report(name: &str, restarts: usize, counts: &Counts) {
    println!(
        "MEASURED R12 {name} restarts={restarts} ok={} refused={} failed={} longest_wait={:.2?}",
        counts.good,
        counts.refused,
        counts.failed.len(),
        counts.longest
    );
    assert_eq!((counts.refused, counts.failed.as_slice()), (0, [].as_slice()));
    assert!(counts.good > 100 * restarts as u64, "there was a load: {counts:?}");
}

/// What `systemctl restart` does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_socket_held_a_stop_and_a_start_refuse_nobody() {
    let holder = Holder::new("restart-held");
    let settings = format!("{SETTINGS}\n[drain]\ndelay = '0s'\nwindow = '5s'\n");
    let restarts = sized(3, 10);
    let mut running = holder.start(&settings);
    let load = Load::start(format!("http://localhost:{}", holder.port), None);
    for _ in 0..restarts {
        sleep(Duration::from_secs(1)).await;
        let (code, _) = block_in_place(|| running.terminate());
        assert_eq!(code, Some(0));
        // Nobody is there.
        sleep(Duration::from_millis(300)).await;
        running = holder.start(&settings);
    }
    sleep(Duration::from_secs(1)).await;
    let counts = load.stop().await;
    report("stop and start", restarts, &counts);
    assert!(counts.longest > Duration::from_millis(300), "somebody came while nobody was there: {counts:?}");
    assert_eq!(block_in_place(|| running.terminate()).0, Some(0));
}

/// Two services that share a socket unit: the next one is started, and then the one before is stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_socket_held_the_next_process_serves_while_the_last_one_drains() {
    let holder = Holder::new("restart-overlapping");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = holder.folder.file("tls.crt", &made.cert.pem());
    let key = holder.folder.file("tls.key", &made.signing_key.serialize_pem());
    let tls = format!("\n[listen.tls]\ncertificate = '{certificate}'\nkey = '{key}'\n");
    let settings = format!("{SETTINGS}{tls}\n[drain]\ndelay = '1s'\nwindow = '5s'\n");
    let restarts = sized(3, 10);
    let mut running = holder.start(&settings);
    let trusted = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let load = Load::start(format!("https://localhost:{}", holder.port), Some(trusted));
    for _ in 0..restarts {
        sleep(Duration::from_millis(500)).await;
        let next = holder.start(&settings);
        let (code, _) = block_in_place(|| running.terminate());
        assert_eq!(code, Some(0));
        running = next;
    }
    sleep(Duration::from_millis(500)).await;
    let counts = load.stop().await;
    report("overlapping, TLS, HTTP/1.1 and HTTP/2", restarts, &counts);
    assert!(counts.over_http_2 > counts.good / 3, "{counts:?}");
    assert_eq!(block_in_place(|| running.terminate()).0, Some(0));
}

/// A queue that nobody serves would hold clients for ever, so it is no way to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_at_an_address_that_is_not_configured_is_a_mistake() {
    let holder = Holder::new("restart-mistaken");
    let running = holder.launch(free_port(), "");
    let line = block_in_place(|| running.read_until("cannot start")).pop().unwrap();
    assert!(line.contains(&format!("127.0.0.1:{}", holder.port)), "{line}");
    assert_eq!(block_in_place(|| running.wait()), Some(1));
}
