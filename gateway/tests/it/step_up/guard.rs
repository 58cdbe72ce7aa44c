//! An upstream that refuses what a test tells it to.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub struct Guard {
    pub url: String,
    state: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    rule: Mutex<Rule>,
    executed: Mutex<Vec<Bytes>>,
    bearers: Mutex<Vec<String>>,
}

#[derive(Clone, Default)]
struct Rule {
    all: bool,
    refused: BTreeSet<String>,
    challenge: HeaderMap,
    /// Refuses before the body has come.
    early: bool,
}

impl Guard {
    pub async fn start() -> Self {
        let state = Arc::new(Shared::default());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(any(answer)).with_state(state.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, state, task }
    }

    /// Refuses the tokens seen so far, and no new one.
    pub fn refuse_known(&self, challenges: &[&str]) {
        let refused = self.state.bearers.lock().unwrap().iter().cloned().collect();
        self.set(Rule { refused, challenge: headers(challenges), ..Rule::default() });
    }

    pub fn refuse_known_early(&self) {
        self.refuse_known(&[]);
        self.state.rule.lock().unwrap().early = true;
    }

    pub fn refuse_all(&self, challenges: &[&str]) {
        self.set(Rule { all: true, challenge: headers(challenges), ..Rule::default() });
    }

    /// The bodies of the requests that were not refused.
    pub fn executed(&self) -> Vec<Bytes> {
        self.state.executed.lock().unwrap().clone()
    }

    /// The tokens of all requests.
    pub fn bearers(&self) -> Vec<String> {
        self.state.bearers.lock().unwrap().clone()
    }

    fn set(&self, rule: Rule) {
        *self.state.rule.lock().unwrap() = rule;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(state): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bearer = parts.headers[AUTHORIZATION].to_str().unwrap().to_owned();
    state.bearers.lock().unwrap().push(bearer.clone());
    let rule = state.rule.lock().unwrap().clone();
    let refused = rule.all || rule.refused.contains(&bearer);
    if refused && rule.early {
        return (StatusCode::UNAUTHORIZED, rule.challenge, "inner words").into_response();
    }
    let body = axum::body::to_bytes(body, 8 * 1024 * 1024).await.unwrap();
    if refused {
        return (StatusCode::UNAUTHORIZED, rule.challenge, "inner words").into_response();
    }
    state.executed.lock().unwrap().push(body.clone());
    ([("content-type", "application/json")], body).into_response()
}

fn headers(challenges: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let inner = "Bearer authorization_uri=\"https://inner.example\"";
    for challenge in challenges.iter().chain([&inner]) {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(challenge).unwrap());
    }
    headers.insert(HeaderName::from_static("x-inner"), HeaderValue::from_static("inner"));
    headers
}
