//! A whole gateway that serves one request after the other: a call of a tool, and a token that nobody has sealed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use sallyport::server::Settings;
use sallyport::{log, traces};

use super::callgrind::{self, Counted};
use super::support::gateway::Gateway;
use super::support::journey::{ADELE, Client};

const UPSTREAM: &str = "SALLYPORT_COUNTED_UPSTREAM";
const TELEMETRY: &str = "SALLYPORT_COUNTED_TELEMETRY";
const FILE: &str = "SALLYPORT_COUNTED_FILE";
/// Before anything is counted.
const WARM: u64 = 200;
/// So many counts, each of so many requests.
const ROUNDS: u64 = 5;
const TIMES: u64 = 100;

/// In the counted process: a gateway that says on its output where it is and what token it takes, until its input ends.
pub fn gateway() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let upstream = std::env::var(UPSTREAM).expect("it is told");
    let telemetry = std::env::var(TELEMETRY).unwrap_or_default();
    if telemetry.contains("access") {
        log::start(&log::Settings { format: log::Format::Json, level: tracing::Level::INFO });
    }
    let (gateway, token) = runtime.block_on(async {
        let gateway = Gateway::start_changed(&upstream, |settings, _| change(settings, &telemetry, &upstream)).await;
        let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
        (gateway, token)
    });
    println!("{} {token}", gateway.port);
    std::io::stdin().read_to_end(&mut Vec::new()).expect("its input ends");
}

/// Switches on what is named. Whatever has traces may as well be a collector.
fn change(settings: &mut Settings, telemetry: &str, upstream: &str) {
    if telemetry.contains("audit") {
        settings.audit = Some(std::env::var_os(FILE).expect("it is told").into());
    }
    let percent = [("traces", 100), ("a tenth", 10)].into_iter().find(|(word, _)| telemetry.contains(word));
    settings.traces = percent.map(|(_, sample_percent)| traces::Settings {
        endpoint: upstream.parse().expect("it is a URL"),
        sample_percent,
        continue_from: Vec::new(),
    });
}

/// The least of all rounds: the process has work by the clock too (the status page's history is 1,900,000 instructions every few
/// seconds), which falls into some rounds, and into more of them the slower the machine is.
pub fn count() -> [(&'static str, u64); 2] {
    rounds("").map(|(name, rounds)| (name, rounds.into_iter().min().expect("there are rounds")))
}

/// With what of `access`, `audit`, `traces` and `a tenth` of traces is in the words `telemetry`. The mean of all rounds: telemetry is
/// written and sent by the clock.
pub fn count_with(telemetry: &str) -> [(&'static str, u64); 2] {
    rounds(telemetry).map(|(name, rounds)| (name, rounds.iter().sum::<u64>() / ROUNDS))
}

fn rounds(telemetry: &str) -> [(&'static str, Vec<u64>); 2] {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let upstream = format!("http://{}", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        listener.incoming().for_each(|stream| drop(std::thread::spawn(|| answer(stream.expect("it is open")))))
    });
    let file = std::env::temp_dir().join(format!("sallyport-counted-{}.log", std::process::id()));
    let name = file.display().to_string();
    let mut counted = callgrind::start("gateway", &[(UPSTREAM, &upstream), (TELEMETRY, telemetry), (FILE, &name)]);
    let mut said = String::new();
    let output = counted.process().stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut said).expect("it says where it is");
    let (port, token) = said.trim().split_once(' ').expect("port and token");
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    let each = |token, status| each(&counted, Caller::new(port, token), status);
    let counts = [("a whole call", each(token, "200")), ("a forged token refused", each(&forged, "401"))];
    // There is one if events were written to it.
    let _ = std::fs::remove_file(file);
    counts
}

/// What a request took in each round.
fn each(counted: &Counted, mut caller: Caller, status: &str) -> Vec<u64> {
    caller.call(WARM, status);
    counted.begin();
    caller.call(20, status);
    let mut round = || {
        counted.restart();
        caller.call(TIMES, status);
        counted.take().total() / TIMES
    };
    (0..ROUNDS).map(|_| round()).collect()
}

/// A client with one connection.
struct Caller {
    stream: BufReader<TcpStream>,
    request: Vec<u8>,
}

impl Caller {
    fn new(port: &str, token: &str) -> Self {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{"text":"{}"}}}}}}"#,
            "y".repeat(100)
        );
        let request = format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost:{port}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nuser-agent: python-httpx/0.28.1\r\n\
             mcp-protocol-version: 2025-06-18\r\naccept-encoding: gzip, deflate\r\nauthorization: Bearer {token}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let stream = TcpStream::connect(format!("127.0.0.1:{port}")).expect("the gateway listens");
        stream.set_nodelay(true).expect("it is a socket");
        Self { stream: BufReader::new(stream), request: request.into_bytes() }
    }

    fn call(&mut self, times: u64, status: &str) {
        for _ in 0..times {
            self.stream.get_mut().write_all(&self.request).expect("the gateway reads");
            let first = read_message(&mut self.stream).expect("the gateway answers");
            assert!(first.starts_with(&format!("HTTP/1.1 {status}")), "{first}");
        }
    }
}

/// An MCP server that costs nothing.
fn answer(stream: TcpStream) {
    stream.set_nodelay(true).expect("it is a socket");
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"{}"}}]}}}}"#,
        "x".repeat(950)
    );
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\ndate: Tue, 24 Nov 2026 10:00:00 GMT\r\n\r\n{body}",
        body.len()
    );
    let mut stream = BufReader::new(stream);
    while read_message(&mut stream).is_some() {
        stream.get_mut().write_all(answer.as_bytes()).expect("the gateway reads");
    }
}

/// The first line of a message, which is read to its end; `None` when there is none.
fn read_message(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let (mut first, mut length) = (String::new(), 0);
    stream.read_line(&mut first).ok().filter(|bytes| *bytes > 0)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            stream.read_exact(&mut vec![0; length]).ok()?;
            return Some(first);
        }
    }
}
