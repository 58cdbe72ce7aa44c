//! The access log, as the program writes it.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fake_entra::FakeEntra;
use serde_json::{Value, json};

use crate::audit::table;
use crate::program::{Folder, Running, configuration};
use crate::support::browser::{Browser, http_client};
use crate::support::gateway::{Gateway, wait_until_open};
use crate::support::journey::{ADELE, Client};
use crate::support::upstream::Upstream;
use crate::support::{free_port, install_crypto_provider};

/// `sallyport dev`, in a process of its own, before this upstream.
async fn start(upstream: &Upstream) -> (Gateway, Running) {
    install_crypto_provider();
    let (port, admin_port) = (free_port(), free_port());
    let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport"));
    command.args(["dev", "--json", "--port", &port.to_string(), "--admin-port", &admin_port.to_string()]);
    let running = Running::of(command.args(["--upstream", &format!("{}/mcp", upstream.url)]));
    wait_until_open(port).await;
    wait_until_open(admin_port).await;
    // The program has a stand-in of its own, and this one nothing to do.
    let unused = FakeEntra::start(fake_entra::Options::default()).await.unwrap();
    let gateway = Gateway::elsewhere(Arc::new(unused), port, admin_port);
    gateway.wait_until_ready(Duration::from_secs(20)).await;
    (gateway, running)
}

#[tokio::test]
async fn every_request_has_one_line_with_the_documented_fields() {
    let upstream = Upstream::start().await;
    let (gateway, running) = start(&upstream).await;
    let client = Client::register(&gateway).await;
    let token = client.token(&gateway, ADELE).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let call = http_client()
        .post(gateway.url("/mcp?canary=canary-of-a-query"))
        .bearer_auth(&token)
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
        .json(&json!({"params": {"arguments": "canary-of-an-argument"}}));
    assert_eq!(call.send().await.unwrap().status(), 200);
    let request_id = upstream.seen()[0].headers["x-request-id"].to_str().unwrap().to_owned();
    http_client().get(gateway.url("/nowhere/canary-of-a-path")).send().await.unwrap();
    http_client().post(gateway.url("/mcp")).bearer_auth("sp1_at_AAAA").send().await.unwrap();
    Browser::new().get(&gateway.url("/oauth-callback?state=x&code=canary-of-a-code")).await;
    // A client that goes away while it is answered.
    let half = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost:{}\r\nauthorization: Bearer {token}\r\ncontent-length: 9\r\n\r\n",
        gateway.port
    );
    std::io::Write::write_all(&mut std::net::TcpStream::connect(("127.0.0.1", gateway.port)).unwrap(), half.as_bytes())
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (code, lines) = running.terminate();
    assert_eq!(code, Some(0));
    let text = lines.join("\n");
    // Beside them is what it says to people at the start.
    let lines = lines.iter().filter(|line| line.starts_with('{'));
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let access: Vec<&Value> = lines.iter().filter(|line| line["target"] == "access").collect();

    let called = access.iter().find(|line| line["request_id"] == *request_id).unwrap();
    for (name, value) in [
        ("level", json!("INFO")),
        ("trace_id", json!(trace)),
        ("client", json!("127.0.0.1")),
        ("protocol", json!("HTTP/1.1")),
        ("method", json!("POST")),
        ("route", json!("mcp")),
        ("path", json!("/mcp")),
        ("status", json!(200)),
        ("server", json!(upstream.url.trim_start_matches("http://"))),
    ] {
        assert_eq!(called[name], value, "{name} of {called:#}");
    }
    for stage in ["admit_us", "connect_us", "answer_us", "duration_ms", "bytes"] {
        assert!(called[stage].is_u64(), "{stage} of {called:#}");
    }
    let reason =
        |route: &str, reason: &str| access.iter().any(|line| line["route"] == route && line["reason"] == reason);
    assert!(reason("none", "unknown_path") && reason("mcp", "malformed"), "{text}");
    let page = access.iter().find(|line| line["code"].is_string()).unwrap();
    assert_eq!(
        (&page["code"], &page["path"], &page["reason"]),
        (&json!("SP-1301"), &json!("/oauth-callback"), &json!("SP-1301"))
    );

    let text_of_docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/logs.md")).unwrap();
    let documented: BTreeSet<_> = table(&text_of_docs, "### Fields of the access log").into_iter().collect();
    let emitted: BTreeSet<_> = access.iter().flat_map(|line| line.as_object().unwrap().keys().cloned()).collect();
    assert_eq!(emitted, documented);
    // No file is set: events are in the log, but for the calls of tools.
    let audit: Vec<&Value> = lines.iter().filter(|line| line["target"] == "audit").collect();
    let event = |name: &str| audit.iter().any(|line| line["event"] == name);
    assert!(event("client-registered") && event("sign-in-done") && event("token-rejected"), "{text}");
    assert!(!event("tool-call"));
    for canary in ["canary-of", &token, "eyJ", "[redacted]"] {
        assert!(!text.contains(canary), "{canary} in {text}");
    }
}

#[tokio::test]
async fn people_get_lines_of_text_whatever_the_level() {
    let folder = Folder::new("access-text");
    let (port, admin_port) = (free_port(), free_port());
    let file = configuration(&folder, port, admin_port);
    let text = fs::read_to_string(&file).unwrap() + "\n[log]\nformat = \"text\"\nlevel = \"error\"\n";
    let file = folder.file("sallyport.toml", &text);
    let running = Running::of(Command::new(env!("CARGO_BIN_EXE_sallyport")).args(["serve", "--config", &file]));
    wait_until_open(port).await;
    http_client().get(format!("http://localhost:{port}/nowhere")).send().await.unwrap();
    let (_, lines) = running.terminate();
    let line = lines.iter().find(|line| line.contains("status=404")).unwrap_or_else(|| panic!("{lines:#?}"));
    for part in [" INFO access: ", "method=\"GET\"", "reason=\"unknown_path\"", "client=\"127.0.0.1\""] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(lines.iter().any(|line| line.contains("audit: event=\"ring-loaded\"")), "{lines:#?}");
}
