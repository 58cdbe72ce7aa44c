//! The programs of Debian's package `prometheus`, run on loopback.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{busy, metrics_in, project, queries_of_board, rules, scrape};
use crate::support::browser::http_client;
use crate::support::free_port;

/// Whether the program is there; if not, says aloud that this test is skipped.
///
/// # Panics
/// When it is missing although `SALLYPORT_REQUIRE_PROMETHEUS` or `CI` is set.
fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        let required = ["SALLYPORT_REQUIRE_PROMETHEUS", "CI"].iter().any(|name| std::env::var_os(name).is_some());
        assert!(!required, "{program} is not installed, and this run requires it");
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        // Past the test harness, which hides what a test that passes says.
        let line = format!(
            "\nSKIPPED {test}: {program} is not installed (SALLYPORT_REQUIRE_PROMETHEUS=1 makes this a failure)\n"
        );
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    found
}

fn promtool(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(project().join("deploy/prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn assert_well(output: &Output) {
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
}

/// A Prometheus of the test's own, with a folder of its own. Ended by its process id when dropped.
struct Prometheus {
    process: Child,
    port: u16,
    folder: PathBuf,
}

impl Prometheus {
    async fn start(target: u16, rules: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sallyport-prometheus-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        let configuration = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [{rules:?}]\n\
             scrape_configs:\n- job_name: sallyport\n  static_configs: [{{ targets: [\"127.0.0.1:{target}\"] }}]\n"
        );
        std::fs::write(folder.join("prometheus.yml"), configuration).unwrap();
        let port = free_port();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut prometheus = Self { process, port, folder };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !prometheus.is_ready().await {
            let ended = prometheus.process.try_wait().unwrap();
            let log = std::fs::read_to_string(prometheus.folder.join("log")).unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "Prometheus does not start: {log}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        prometheus
    }

    async fn is_ready(&self) -> bool {
        let url = format!("http://127.0.0.1:{}/-/ready", self.port);
        http_client().get(url).send().await.is_ok_and(|answer| answer.status() == 200)
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let url = format!("http://127.0.0.1:{}/api/v1/{path}", self.port);
        let answer: Value = http_client()
            .get(url::Url::parse_with_params(&url, parameters).unwrap())
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(answer["status"], "success", "{parameters:?}: {answer}");
        answer["data"].clone()
    }

    /// The value of a query that gives one; `None` while it gives nothing.
    async fn value(&self, query: &str) -> Option<f64> {
        let data = self.ask("query", &[("query", query)]).await;
        data["result"][0]["value"][1].as_str().map(|value| value.parse().unwrap())
    }

    async fn until(&self, query: &str, wanted: f64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let value = self.value(query).await;
            if value == Some(wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "{query}: {value:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself; what counts is that it is gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn promtool_finds_nothing_wrong_with_a_live_scrape() {
    if !is_installed("promtool") {
        return;
    }
    let (_upstream, gateway) = busy().await;
    let output = promtool(&["check", "metrics"], &scrape(&gateway).await);
    assert_well(&output);
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let bad =
        promtool(&["check", "metrics"], "# HELP a_milliseconds A.\n# TYPE a_milliseconds counter\na_milliseconds 1\n");
    assert!(!bad.status.success(), "it does look");
}

#[test]
fn promtool_finds_the_rules_in_order_and_their_tests_pass() {
    if !is_installed("promtool") {
        return;
    }
    assert_well(&promtool(&["check", "rules", "--lint=all", "--lint-fatal", "sallyport.rules.yml"], ""));
    assert_well(&promtool(&["check", "config", "prometheus.example.yml"], ""));
    assert_well(&promtool(&["test", "rules", "sallyport.test.yml"], ""));
}

#[tokio::test]
async fn a_real_prometheus_scrapes_the_edge_evaluates_every_rule_and_answers_the_board() {
    if !is_installed("prometheus") {
        return;
    }
    let (_upstream, gateway) = busy().await;
    let rules_file = project().join("deploy/prometheus/sallyport.rules.yml");
    let prometheus = Prometheus::start(gateway.admin_port, &rules_file).await;
    prometheus.until(r#"up{job="sallyport"}"#, 1.0).await;
    prometheus.until("sallyport_token_admitted_total", 3.0).await;
    prometheus.until(r#"sallyport_token_rejected_total{reason="malformed"}"#, 1.0).await;
    prometheus.until(r#"sallyport_oauth_requests_total{endpoint="callback",result="ok"}"#, 1.0).await;
    prometheus.until(r#"sallyport_upstream_servers{upstream="mcp",state="ready"}"#, 1.0).await;
    prometheus.until("sallyport_ready", 1.0).await;
    // What a scrape costs: the series of one replica.
    let series = prometheus.value(r#"scrape_samples_scraped{job="sallyport"}"#).await.unwrap();
    assert!((400.0..2000.0).contains(&series), "{series} series");

    for metric in metrics_in(&rules()).into_iter().chain(metrics_in(&queries_of_board().join("\n"))) {
        assert!(prometheus.value(&format!("count({metric})")).await.is_some(), "{metric} is nowhere");
    }
    for query in queries_of_board() {
        prometheus.ask("query", &[("query", &query)]).await;
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    let groups = loop {
        let data = prometheus.ask("rules", &[]).await;
        let groups = data["groups"].as_array().unwrap().clone();
        let all = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
        if all.clone().count() > 0 && all.clone().all(|rule| rule["health"] != "unknown") {
            break groups;
        }
        assert!(Instant::now() < deadline, "not every rule was evaluated");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let all: Vec<_> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert!(all.len() > 50, "{} rules", all.len());
    for rule in all {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert_ne!(rule["state"], "firing", "nothing is wrong, and this fires: {rule}");
    }
}
