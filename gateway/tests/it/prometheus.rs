//! What operators are given to see by: a real Prometheus scrapes an edge and evaluates the rules and the board, promtool looks at
//! both, and metrics, alerts, board and runbooks are compared with one another.

mod documents;
mod programs;
mod reasons;
mod states;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::browser::{Browser, http_client};
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client, query};
use crate::support::upstream::Upstream;

/// An edge at which somebody signed in, called, renewed, and was refused.
async fn busy() -> (Upstream, Gateway) {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let back = client.authorize(&gateway, &Browser::new(), ADELE).await;
    let (status, tokens) = client.redeem(&gateway, &query(&back, "code").unwrap()).await;
    assert_eq!(status, 200, "{tokens}");
    for _ in 0..3 {
        assert_eq!(call(&gateway, tokens["access_token"].as_str().unwrap()).await, 200);
    }
    assert_eq!(call(&gateway, "nobody's").await, 401);
    assert_eq!(client.refresh(&gateway, tokens["refresh_token"].as_str().unwrap()).await.0, 200);
    (upstream, gateway)
}

async fn call(gateway: &Gateway, token: &str) -> u16 {
    let answer = gateway.post("/mcp").bearer_auth(token).body("{}").send().await.unwrap();
    answer.status().as_u16()
}

async fn scrape(gateway: &Gateway) -> String {
    http_client().get(gateway.admin_url("/metrics")).send().await.unwrap().text().await.unwrap()
}

/// The project's own folder.
fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(project().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Without comments.
fn rules() -> String {
    let text = read("deploy/prometheus/sallyport.rules.yml");
    text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n")
}

fn board() -> Value {
    serde_json::from_str(&read("deploy/grafana/sallyport.json")).unwrap()
}

/// Every query of the board, with its variables filled in.
fn queries_of_board() -> Vec<String> {
    fn gather(value: &Value, queries: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                queries.extend(members.get("expr").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|value| gather(value, queries));
            }
            Value::Array(values) => values.iter().for_each(|value| gather(value, queries)),
            _ => {}
        }
    }
    let mut queries = Vec::new();
    gather(&board(), &mut queries);
    assert!(queries.len() > 30, "{} queries", queries.len());
    queries.iter().map(|query| query.replace("$__rate_interval", "1m").replace("$instance", ".*")).collect()
}

/// The names of metrics in a text: ours, and those of the process. Names of recording rules have colons and are none.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let words = text.split(|letter| !is_part(letter));
    let ours = words.filter(|word| word.starts_with("sallyport_") || word.starts_with("process_"));
    ours.filter(|word| !word.contains(':')).map(str::to_owned).collect()
}
