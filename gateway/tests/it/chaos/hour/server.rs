//! MCP servers in processes of their own: they say whose token they were shown and what they were told, note each call that
//! they got, and tell who listens something now and then. This very program, started for the one test that is none.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::stream::unfold;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::support::free_port;

/// Says where to listen, and which of the servers it is. Without it the test below has nothing to do.
const PLACE: &str = "SALLYPORT_TEST_HOUR_SERVER";
const SEEN: &str = "seen ";

/// Killed, by its process id, when dropped.
pub struct McpServer {
    pub port: u16,
    /// What the process is told: its port, which of the servers it is, and the milliseconds between events.
    place: String,
    process: Child,
    seen: Arc<Mutex<Vec<String>>>,
}

impl McpServer {
    pub async fn start(number: usize, between_events: Duration) -> Self {
        let (port, seen) = (free_port(), Arc::default());
        let place = format!("{port} {number} {}", between_events.as_millis());
        let server = Self { port, process: launch(&place, &seen), place, seen };
        server.until_open().await;
        server
    }

    /// The calls that came since this was asked last.
    pub fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// At the same port, after [`McpServer::kill`].
    pub async fn start_again(&mut self) {
        self.process = launch(&self.place, &self.seen);
        self.until_open().await;
    }

    pub fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap().success());
    }

    async fn until_open(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(Instant::now() < deadline, "the server does not listen");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for McpServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(place: &str, seen: &Arc<Mutex<Vec<String>>>) -> Child {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "chaos::hour::server::serve", "--ignored", "--nocapture", "--test-threads", "1"])
        .env(PLACE, place)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (output, seen) = (process.stdout.take().unwrap(), seen.clone());
    // It ends with the process.
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(call) = line.strip_prefix(SEEN) {
                seen.lock().unwrap().push(call.to_owned());
            }
        }
    });
    process
}

/// The server itself.
#[test]
#[ignore = "it is no test: other tests start it as a server"]
fn serve() {
    let Ok(place) = std::env::var(PLACE) else { return println!("SKIPPED: there is nothing to serve") };
    let figures: Vec<u64> = place.split(' ').map(|figure| figure.parse().unwrap()).collect();
    let (port, server) =
        (figures[0] as u16, Server { number: figures[1] as usize, between: Duration::from_millis(figures[2]) });
    // The harness has begun a line.
    println!();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let router = Router::new().route("/mcp", post(answer).get(listen)).with_state(server);
        axum::serve(listener, router).await.unwrap();
    });
}

#[derive(Clone, Copy)]
struct Server {
    number: usize,
    between: Duration,
}

/// `oid` is whom Entra's token is about, `said` the body, `server` which server this is.
async fn answer(State(server): State<Server>, headers: HeaderMap, body: Bytes) -> axum::Json<Value> {
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut output = std::io::stdout().lock();
    // Whoever started it is gone when this fails.
    let _ = writeln!(output, "{SEEN}{}", said["id"].as_str().unwrap_or("?"));
    let _ = output.flush();
    axum::Json(json!({ "oid": owner(&headers), "said": said, "server": server.number }))
}

async fn listen(State(server): State<Server>, headers: HeaderMap) -> ([(&'static str, &'static str); 1], Body) {
    let event = format!("data: {}\n\n", json!({ "oid": owner(&headers), "server": server.number }));
    let events = unfold(true, move |first| {
        let event = event.clone();
        async move {
            if !first {
                sleep(server.between).await;
            }
            Some((Ok::<_, std::io::Error>(event), false))
        }
    });
    ([("content-type", "text/event-stream")], Body::from_stream(events))
}

fn owner(headers: &HeaderMap) -> Value {
    let claims = || {
        let bearer = headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?;
        let claims = BASE64_URL_SAFE_NO_PAD.decode(bearer.split('.').nth(1)?).ok()?;
        serde_json::from_slice::<Value>(&claims).ok()
    };
    claims().map_or(Value::Null, |claims| claims["oid"].clone())
}
