//! `sallyport serve` and SIGHUP: what the file says, what the log, the metrics, the status page and the audit log say of it.

use std::fs;

use fake_entra::FakeEntra;

use super::rig::eventually;
use crate::program::{Folder, Running, configuration_at, run};
use crate::support::browser::http_client;
use crate::support::{free_port, install_crypto_provider};

struct Edge {
    folder: Folder,
    running: Running,
    port: u16,
    admin_port: u16,
    /// The configuration at the start.
    text: String,
    _entra: FakeEntra,
}

impl Edge {
    /// Ready, for it has looked at a stand-in for Entra.
    async fn start(name: &str) -> Self {
        install_crypto_provider();
        let entra = FakeEntra::start(fake_entra::Options::default()).await.unwrap();
        let folder = Folder::new(name);
        let (port, admin_port) = (free_port(), free_port());
        let (file, _) = configuration_at(&entra, &folder, port, admin_port);
        let audit = folder.path("audit.jsonl");
        let text =
            fs::read_to_string(&file).unwrap().replace("[keys]", &format!("[log]\naudit_file = \"{audit}\"\n[keys]"));
        folder.file("sallyport.toml", &text);
        let running =
            Running::of(std::process::Command::new(crate::program::PROGRAM).args(["serve", "--config", &file]));
        running.read_until("listening");
        running.read_until("listening");
        let edge = Self { folder, running, port, admin_port, text, _entra: entra };
        eventually(async || edge.admin("/readyz").await.0 == 200).await;
        edge
    }

    /// Gives the lines up to the one with `text`.
    fn reload(&self, configuration: &str, text: &str) -> Vec<String> {
        self.folder.file("sallyport.toml", configuration);
        self.running.signal("-HUP");
        self.running.read_until(text)
    }

    async fn admin(&self, path: &str) -> (u16, String) {
        let answer = http_client().get(format!("http://127.0.0.1:{}{path}", self.admin_port)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn has_metric(&self, line: &str) -> bool {
        self.admin("/metrics").await.1.lines().any(|found| found == line)
    }

    /// 404 where there is no upstream, 401 where there is one.
    async fn status_of(&self, path: &str) -> u16 {
        let url = format!("http://localhost:{}{path}", self.port);
        http_client().post(url).body("{}").send().await.unwrap().status().as_u16()
    }
}

const OTHER: &str = "\n[[upstream]]\nname = \"other\"\npath = \"/other\"\nservers = [\"http://127.0.0.1:9\"]\n";

#[tokio::test]
async fn sighup_takes_the_file_anew_and_a_bad_one_changes_nothing() {
    let edge = Edge::start("reload").await;
    assert_eq!((edge.status_of("/mcp").await, edge.status_of("/other").await), (401, 404));
    edge.reload(&format!("{}{OTHER}", edge.text), "configuration reloaded");
    assert_eq!(edge.status_of("/other").await, 401);

    let good = format!("{}{OTHER}", edge.text);
    let bad = [
        ("not TOML", format!("{good}\n[["), "not TOML"),
        ("an unknown key", good.replace("[admin]", "[admin]\nadress = \"127.0.0.1:1\""), "Did you mean address?"),
        ("a value that is none", good.replace("url = \"memory:\"", "url = \"nowhere\""), "store.url"),
        ("no upstream", good.split("[[upstream]]").next().unwrap().to_owned(), "upstream"),
        ("two at one path", good.replace("path = \"/other\"", "path = \"/mcp\""), "is the path of another upstream"),
        ("a file that is not there", good.replace("keys.json", "gone.json"), "keys.file"),
        (
            "a name that leads nowhere",
            good.replace("http://127.0.0.1:9\"]\n", "http://x.invalid:9\"]\n"),
            "cannot resolve",
        ),
    ];
    for (number, (what, text, words)) in bad.iter().enumerate() {
        let lines = edge.reload(text, "configuration not reloaded");
        let line = lines.last().unwrap();
        assert!(line.contains("\"level\":\"ERROR\"") && line.contains(words), "{what}: {line}");
        if *what != "a name that leads nowhere" {
            assert!(line.contains("sallyport.toml:"), "{what} has no place: {line}");
        }
        eventually(async || {
            edge.has_metric(&format!("sallyport_config_reloads_total{{result=\"failed\"}} {}", number + 1)).await
        })
        .await;
        assert!(edge.has_metric("sallyport_config_reload_success 0").await, "{what}");
        assert_eq!((edge.status_of("/mcp").await, edge.status_of("/other").await), (401, 401), "{what}");
        assert_eq!(edge.admin("/readyz").await.0, 200, "{what}");
        let (_, page) = edge.admin("/status").await;
        assert!(page.contains("Not taken anew at"), "{what}: {page}");
    }

    edge.reload(&edge.text, "configuration reloaded");
    assert_eq!((edge.status_of("/mcp").await, edge.status_of("/other").await), (401, 404));
    eventually(async || edge.has_metric("sallyport_config_reload_success 1").await).await;
    assert!(!edge.admin("/status").await.1.contains("Not taken anew at"));
    let Edge { folder, running, .. } = edge;
    assert_eq!(running.terminate().0, Some(0));
    let audit = fs::read_to_string(folder.path("audit.jsonl")).unwrap();
    let of = |kind: &str| audit.lines().filter(|line| line.contains(&format!("\"event\":\"{kind}\""))).count();
    assert_eq!((of("config-reloaded"), of("config-rejected")), (2, bad.len()));
    assert!(audit.contains("upstream[].path"), "{audit}");
}

/// Several mistakes: each has its line.
#[tokio::test]
async fn every_mistake_of_a_reload_has_a_line() {
    let edge = Edge::start("reload-mistakes").await;
    let text = edge.text.replace("[store]", "[drain]\ndelay = \"x\"\nwindow = \"y\"\n[store]");
    let lines = edge.reload(&text, "drain.window");
    assert!(lines.iter().any(|line| line.contains("drain.delay") && line.contains("sallyport.toml:")), "{lines:#?}");
    assert_eq!(edge.running.terminate().0, Some(0));
}

#[tokio::test]
async fn what_takes_effect_at_the_next_start_is_said_by_its_name() {
    let edge = Edge::start("reload-restart").await;
    let other = free_port();
    let moved = edge
        .text
        .replace(&format!("address = \"127.0.0.1:{}\"", edge.port), &format!("address = \"127.0.0.1:{other}\""));
    let moved =
        moved.replace("[store]", "[tokens]\naccess_lifetime = \"30m\"\n[consent]\nserver_name = \"Another\"\n[store]");
    let lines = edge.reload(&moved, "\"key\":\"tokens.access_lifetime\"");
    let said = lines.iter().find(|line| line.contains("configuration reloaded")).unwrap();
    assert!(said.contains("\"at_next_start\":\"listen.address, tokens.access_lifetime\""), "{said}");
    assert!(said.contains("\"changed\":\"consent.server_name\""), "{said}");
    for key in ["listen.address", "tokens.access_lifetime"] {
        assert!(lines.iter().any(|line| line.contains("\"WARN\"") && line.contains(key)), "{key}: {lines:#?}");
        let series = format!("sallyport_config_restart_needed{{key=\"{key}\"}} 1");
        eventually(async || edge.has_metric(&series).await).await;
    }
    let (_, page) = edge.admin("/status").await;
    assert!(page.contains("takes effect at the next start: listen.address, tokens.access_lifetime"), "{page}");
    assert_eq!(edge.status_of("/mcp").await, 401, "it listens where it did");

    // Taken back: nothing waits any more.
    edge.reload(&edge.text, "configuration reloaded");
    eventually(async || !edge.admin("/metrics").await.1.contains("sallyport_config_restart_needed{")).await;
    let Edge { folder, running, .. } = edge;
    assert_eq!(running.terminate().0, Some(0));
    let audit = fs::read_to_string(folder.path("audit.jsonl")).unwrap();
    assert!(audit.contains("\"at_next_start\":\"listen.address, tokens.access_lifetime\""), "{audit}");
}

#[tokio::test]
async fn the_level_of_the_log_and_the_access_lines_follow() {
    let edge = Edge::start("reload-level").await;
    edge.status_of("/mcp").await;
    edge.running.read_until("\"route\":\"mcp\"");
    edge.reload(&edge.text.replace("[log]", "[log]\nlevel = \"debug\""), "configuration reloaded");
    edge.status_of("/mcp").await;
    edge.running.read_until("\"level\":\"DEBUG\"");
    edge.running.read_until("\"route\":\"mcp\"");
    edge.reload(&edge.text.replace("[log]", "[log]\naccess = false"), "configuration reloaded");
    edge.status_of("/mcp").await;
    // The next reload's line comes after what that request would have written.
    let lines = edge.reload(&edge.text, "configuration reloaded");
    assert!(!lines.iter().any(|line| line.contains("\"route\":\"mcp\"") || line.contains("\"DEBUG\"")), "{lines:#?}");
    assert_eq!(edge.running.terminate().0, Some(0));
}

#[test]
fn a_key_says_when_it_takes_effect() {
    let explained = |key: &str| String::from_utf8(run(&["config", "explain", key]).stdout).unwrap();
    assert!(explained("upstream.servers").contains("takes effect at a reload (SIGHUP)"));
    assert!(explained("listen.address").contains("takes effect at the next start"));
}
