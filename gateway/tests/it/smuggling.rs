//! Request smuggling: what an attacker writes is refused, or carried as it was understood. An upstream that reads as strictly as
//! can be sees what was authorised and nothing else, and nobody else's request meets what an attacker left behind.

mod http2;
mod paths;
mod recorder;
mod requests;
mod streams;

use std::time::Duration;

use fake_entra::Seed;
use futures_util::{StreamExt, stream};
use sallyport::pool::HttpVersion;
use sallyport::server::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::support::browser::http_client;
use super::support::gateway::{Gateway, Options};
use super::support::journey::{ADELE, ALEX, Client};
use http2::{End, Http2};
use recorder::Recorder;
use requests::{Case, HIDDEN, HONEST, Wanted};

/// Longer than a refusal lingers for what is still to come of a request.
const PATIENCE: Duration = Duration::from_secs(4);
const AT_ONCE: usize = 64;

struct Attack<'a> {
    gateway: &'a Gateway,
    /// The attacker's own.
    token: &'a str,
    http: reqwest::Client,
    victim: &'a str,
}

/// What a client saw of a case.
#[derive(Debug)]
struct Outcome {
    /// 0 when the connection is closed without an answer.
    status: u16,
    body: String,
    /// The connection was of use for another request.
    open: bool,
}

/// More is waited for.
const NOTHING: u16 = 1;

#[tokio::test]
async fn an_upstream_sees_what_was_authorised_and_nothing_else() {
    let recorder = Recorder::start().await;
    let gateway = Gateway::start(&recorder.url).await;
    requests_meet(&recorder, &gateway).await;
}

#[tokio::test]
async fn one_that_speaks_http_2_sees_the_same() {
    let recorder = Recorder::start_http2().await;
    let gateway = Gateway::start_changed(&recorder.url, |settings, _| speaking_http2(settings)).await;
    requests_meet(&recorder, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_over_http_2_becomes_one_request_or_none() {
    let recorder = Recorder::start().await;
    let gateway = Gateway::start_with(Options { tls: true, ..Options::simple(&recorder.url) }).await;
    messages_meet(&recorder, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_http_2_to_http_2_too() {
    let recorder = Recorder::start_http2().await;
    let options = Options { tls: true, ..Options::simple(&recorder.url) };
    let gateway = Gateway::start_seeded(options, Seed::default(), speaking_http2).await;
    messages_meet(&recorder, &gateway).await;
}

fn speaking_http2(settings: &mut Settings) {
    settings.upstreams[0].pool.http = HttpVersion::Http2;
}

/// The corpus over HTTP/1.1.
async fn requests_meet(recorder: &Recorder, gateway: &Gateway) {
    let client = Client::register(gateway).await;
    let (token, victim) = (client.token(gateway, ADELE).await, client.token(gateway, ALEX).await);
    let attack = Attack { gateway, token: &token, http: http_client(), victim: &victim };
    let cases = requests::cases();
    assert!(cases.len() >= 150, "{}", cases.len());
    let outcomes: Vec<_> = stream::iter(cases.iter().enumerate())
        .map(|(number, case)| attack.run(number, case))
        .buffered(AT_ONCE)
        .collect()
        .await;

    let seen = recorder.seen();
    let mut faults = recorder.doubts();
    let mut carried = 0;
    for (number, (case, outcome)) in cases.iter().zip(outcomes).enumerate() {
        let upstream: Vec<_> = seen.iter().filter(|seen| seen.case == number.to_string()).collect();
        let upstream: Vec<_> =
            upstream.iter().map(|seen| (seen.method.as_str(), seen.target.as_str(), seen.body.as_str())).collect();
        let as_wanted = match case.wanted {
            Wanted::Refused => upstream.is_empty() && [0, 400, 413].contains(&outcome.status) && !outcome.open,
            Wanted::Waiting => upstream.is_empty() && outcome.status == NOTHING,
            Wanted::Answered(status) => upstream.is_empty() && outcome.status == status,
            Wanted::Carried(method, body) | Wanted::Last(method, body) => {
                let echoed = if method == "HEAD" { "" } else { body };
                upstream == [(method, "/mcp", body)]
                    && outcome.open == matches!(case.wanted, Wanted::Carried(..))
                    && (outcome.status, outcome.body.as_str()) == (200, echoed)
            }
        };
        carried += upstream.len();
        if !as_wanted {
            let raw = String::from_utf8_lossy(&case.raw);
            faults.push(format!("{number} {raw:?} wanted {:?}: {outcome:?}, upstream {upstream:?}", case.wanted));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    // Beside those of the cases there are the victim's, and the attacker's honest ones afterwards.
    let (theirs, others): (Vec<_>, Vec<_>) = seen.iter().partition(|seen| seen.case.starts_with("victim"));
    assert_eq!(theirs.len(), cases.len());
    let strange: Vec<_> =
        others.iter().filter(|seen| seen.case.parse::<usize>().is_err() && !seen.case.starts_with("after")).collect();
    assert!(strange.is_empty() && carried > 20, "{strange:?}");
    let one = &theirs[0].authorization;
    assert!(theirs.iter().all(|seen| seen.authorization == *one && seen.method == "POST"));
    assert!(others.iter().all(|seen| seen.authorization != *one), "each with Entra's token for who asked");
}

/// And over HTTP/2.
async fn messages_meet(recorder: &Recorder, gateway: &Gateway) {
    let client = Client::register(gateway).await;
    let (token, victim) = (client.token(gateway, ADELE).await, client.token(gateway, ALEX).await);
    let attack = Attack { gateway, token: &token, http: http_client(), victim: &victim };
    let authority = format!("localhost:{}", gateway.port);
    let bearer = format!("Bearer {token}");
    let honest = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", &authority),
        (":path", "/mcp"),
        ("authorization", &bearer),
    ];
    let honest = honest.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let http2 = std::sync::Arc::new(Http2::new(gateway));
    let mut faults = Vec::new();
    for (number, (mut message, wanted)) in streams::cases(&honest, &authority).into_iter().enumerate() {
        let case = number.to_string();
        // Behind the pseudo-headers, and before what the case adds.
        let place = message.fields.iter().position(|(name, _)| name == "authorization").unwrap();
        message.fields.insert(place, ("x-case".to_owned(), case.clone()));
        let (sending, sent) = (http2.clone(), message.clone());
        let end = tokio::task::spawn_blocking(move || sending.send(&sent)).await.unwrap();
        attack.victim_is_served(number).await;
        let seen: Vec<_> = recorder.seen().into_iter().filter(|seen| seen.case == case).collect();
        let as_wanted = match wanted {
            streams::Wanted::Kept => seen.is_empty() && end != End::Answered(200) && end != End::Answered(500),
            streams::Wanted::Cut => seen.len() <= 1 && end == End::Reset,
            streams::Wanted::Carried => {
                let all: Vec<_> = seen.iter().map(|seen| (&*seen.method, &*seen.target, &*seen.body)).collect();
                all == [("POST", "/mcp", "{}")] && end == End::Answered(200)
            }
        };
        if !as_wanted {
            message.fields.retain(|(name, _)| name != "authorization");
            faults.push(format!("wanted {wanted:?}: {end:?}, upstream {seen:?}: {message:?}"));
        }
    }
    faults.extend(recorder.doubts());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    let strange: Vec<_> = recorder
        .seen()
        .into_iter()
        .filter(|seen| seen.case.parse::<usize>().is_err() && !seen.case.starts_with("victim"))
        .collect();
    assert!(strange.is_empty(), "{strange:?}");
}

impl Attack<'_> {
    /// The case, then what another user gets who comes after it.
    async fn run(&self, number: usize, case: &Case) -> Outcome {
        let mut stream = TcpStream::connect(("127.0.0.1", self.gateway.port)).await.unwrap();
        stream.write_all(&self.written(number, &case.raw)).await.unwrap();
        let Ok((status, body)) = timeout(PATIENCE, answer(&mut stream, case.raw.starts_with(b"HEAD "))).await else {
            drop(stream);
            self.victim_is_served(number).await;
            return Outcome { status: NOTHING, body: String::new(), open: false };
        };
        let after = self.honest(&format!("after {number}"), "after");
        let again = async {
            stream.write_all(after.as_bytes()).await.ok()?;
            let (status, body) = answer(&mut stream, false).await;
            (status != 0).then_some((status, body))
        };
        let open = match timeout(PATIENCE, again).await.expect("an answer or an end") {
            None => false,
            Some(again) => {
                assert_eq!(again, (200, "after".to_owned()), "case {number}: the answer to another request");
                true
            }
        };
        self.victim_is_served(number).await;
        Outcome { status, body, open }
    }

    /// On a connection that was used before, where there is one.
    async fn victim_is_served(&self, number: usize) {
        let own = format!("victim {number}");
        let request = self.http.post(self.gateway.url("/mcp")).bearer_auth(self.victim).header("x-case", &own);
        let answer = request.body(own.clone()).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (200, own));
    }

    /// With the attacker's token, which is a good one.
    fn honest(&self, case: &str, body: &str) -> String {
        format!("POST /mcp HTTP/1.1\r\n{}content-length: {}\r\n\r\n{body}", self.lines(case), body.len())
    }

    fn lines(&self, case: &str) -> String {
        let host = format!("localhost:{}", self.gateway.port);
        format!("host: {host}\r\nauthorization: Bearer {}\r\nx-case: {case}\r\n", self.token)
    }

    fn written(&self, number: usize, raw: &[u8]) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(raw) else { return raw.to_vec() };
        let hidden = self.honest(&format!("hidden {number}"), "x");
        let text = text.replace(HIDDEN, &hidden).replace(HONEST, &self.lines(&number.to_string()));
        text.replace("PORT", &self.gateway.port.to_string()).into_bytes()
    }
}

/// The final answer's status and body; 0 when the connection ends before it. An answer to `HEAD` has a length and no body.
async fn answer(stream: &mut TcpStream, to_head: bool) -> (u16, String) {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let status: u16 = head[9..12].parse().unwrap();
            if status == 100 {
                read.drain(..head.len() + 4);
                continue;
            }
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let length: usize = if to_head || status == 204 { 0 } else { length.unwrap_or(0) };
            if body.len() >= length {
                assert!(body.len() == length, "something behind an answer: {text}");
                return (status, body.to_owned());
            }
        }
        if !stream.read_buf(&mut read).await.is_ok_and(|length| length > 0) {
            assert!(read.is_empty(), "an answer breaks off: {text}");
            return (0, String::new());
        }
    }
}
