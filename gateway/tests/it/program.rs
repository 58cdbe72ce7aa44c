//! The program itself: exit codes, readiness, memory, what its log holds, and SIGTERM.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fake_entra::{FakeEntra, Fault};
use sha2::{Digest, Sha256};

use crate::support::browser::{Browser, Page, http_client};
use crate::support::journey::{ADELE, REDIRECT_URI, VERIFIER, query, sign_in_at_entra};
use crate::support::redis_server::RedisServer;
use crate::support::{free_port, install_crypto_provider};

mod admin_socket;
mod commands;
mod dev_mark;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_sallyport");

pub fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

/// A folder of its own for each test, removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sallyport-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A started program whose log lines are read as they come. Killed by its own id when dropped.
pub struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        Self::of(Command::new(PROGRAM).args(arguments))
    }

    pub fn of(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Lines up to and with the one that holds `text`.
    pub fn read_until(&self, text: &str) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.contains(text)) {
            let left = deadline.saturating_duration_since(Instant::now());
            lines.push(
                self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no line with {text:?} after {lines:#?}")),
            );
        }
        lines
    }

    fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// The exit code of a program that ends by itself.
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// SIGTERM; gives the exit code and the lines that were still unread.
    pub fn terminate(mut self) -> (Option<i32>, Vec<String>) {
        self.signal("-TERM");
        let code = self.child.wait().unwrap().code();
        (code, self.lines.iter().collect())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A configuration that needs nothing but itself.
pub fn configuration(folder: &Folder, port: u16, admin_port: u16) -> String {
    let ring = folder.path("keys.json");
    if !Path::new(&ring).exists() {
        assert!(run(&["keys", "new", "--file", &ring]).status.success());
    }
    let token = folder.file("federated-token", "a.b.c");
    folder.file(
        "sallyport.toml",
        &format!(
            r#"
            public_url = "http://localhost:{port}"
            [listen]
            address = "127.0.0.1:{port}"
            [admin]
            address = "127.0.0.1:{admin_port}"
            [entra]
            tenant_id = "11111111-1111-1111-1111-111111111111"
            client_id = "22222222-2222-2222-2222-222222222222"
            scope = "api://33333333-3333-3333-3333-333333333333/access_as_user"
            [entra.credential]
            kind = "workload-identity"
            token_file = "{token}"
            [store]
            url = "memory:"
            [keys]
            file = "{ring}"
            [[upstream]]
            name = "graph"
            path = "/mcp"
            servers = ["http://127.0.0.1:9"]
            "#
        ),
    )
}

/// Likewise, at this stand-in for Entra, with a workload's token that it takes, which comes too.
pub fn configuration_at(entra: &FakeEntra, folder: &Folder, port: u16, admin_port: u16) -> (String, String) {
    let file = configuration(folder, port, admin_port);
    let assertion = entra.mint_service_account_token("system:serviceaccount:sallyport:sallyport");
    folder.file("federated-token", &assertion);
    let text = fs::read_to_string(&file).unwrap();
    let text = text
        .replace("[entra]", &format!("[entra]\nauthority = \"{}\"", entra.authority()))
        .replace("11111111-1111-1111-1111-111111111111", entra.tenant_id())
        .replace("22222222-2222-2222-2222-222222222222", entra.gateway_client_id());
    (folder.file("sallyport.toml", &text), assertion)
}

#[test]
fn bad_usage_is_64_and_help_is_0() {
    assert_eq!(run(&["serve"]).status.code(), Some(64));
    assert_eq!(run(&["no-such-command"]).status.code(), Some(64));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}

#[test]
fn a_broken_configuration_is_78_with_every_mistake_and_its_line() {
    let folder = Folder::new("broken");
    let file = folder.file("sallyport.toml", "public_url = 'ftp://x'\npublicurl = 1\n[listen]\naddress = 'nowhere'\n");
    for command in ["check", "serve"] {
        let output = run(&[command, "--config", &file]);
        assert_eq!(output.status.code(), Some(78));
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        for mistake in [
            "sallyport.toml:1: public_url",
            "sallyport.toml:2: publicurl",
            "sallyport.toml:4: listen.address",
            "entra.tenant_id",
        ] {
            assert!(said.contains(mistake), "{command} does not say {mistake}:\n{said}");
        }
    }
    assert_eq!(run(&["check", "--config", &folder.path("absent.toml")]).status.code(), Some(78));
}

#[test]
fn a_key_ring_is_made_once() {
    let folder = Folder::new("keys");
    let ring = folder.path("keys.json");
    assert_eq!(run(&["keys", "new", "--file", &ring]).status.code(), Some(0));
    let before = fs::read_to_string(&ring).unwrap();
    assert_eq!(run(&["keys", "new", "--file", &ring]).status.code(), Some(1));
    assert_eq!(fs::read_to_string(&ring).unwrap(), before);
}

#[tokio::test]
async fn serve_is_ready_within_a_second_small_and_stops_at_sigterm() {
    let folder = Folder::new("serve");
    let (port, admin_port) = (free_port(), free_port());
    install_crypto_provider();
    let entra = FakeEntra::start(fake_entra::Options::default()).await.unwrap();
    let (file, _) = configuration_at(&entra, &folder, port, admin_port);
    assert_eq!(run(&["check", "--config", &file]).status.code(), Some(0));
    let started = Instant::now();
    let running = Running::start(&["serve", "--config", &file]);
    let url = format!("http://127.0.0.1:{admin_port}/readyz");
    while !http_client().get(&url).send().await.is_ok_and(|answer| answer.status() == 200) {
        assert!(started.elapsed() < Duration::from_secs(20), "never ready");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ready = started.elapsed();
    println!("ready after {ready:?}");
    assert!(ready < Duration::from_secs(1), "ready after {ready:?}");
    let resident = running.resident_kib();
    println!("{resident} KiB resident, idle");
    assert!(resident < 40 * 1024, "{resident} KiB");
    let limits = fs::read_to_string(format!("/proc/{}/limits", running.child.id())).unwrap();
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"], "a crash would write tokens to a disk");
    let (code, _) = running.terminate();
    assert_eq!(code, Some(0));
}

#[test]
fn the_service_manager_is_told_when_it_serves_and_when_it_stops() {
    let folder = Folder::new("notify");
    let file = configuration(&folder, free_port(), free_port());
    let socket = UnixDatagram::bind(folder.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let told = || {
        let mut message = [0; 128];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let told_of = |what: &str| (0..50).map(|_| told()).find(|message| message.starts_with(what)).expect(what);
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--config", &file]).env("NOTIFY_SOCKET", folder.path("notify"));
    let running = Running::of(command.env("WATCHDOG_USEC", "400000"));
    assert_eq!(told_of("READY"), "READY=1\n");
    let started = Instant::now();
    for _ in 0..5 {
        let sign = told_of("WATCHDOG");
        assert_eq!(sign, "WATCHDOG=1\nSTATUS=serving, with 0 requests and streams under way\n");
    }
    // Four pauses of half the watchdog's time, and no more often.
    assert!(started.elapsed() > Duration::from_millis(700), "{:?}", started.elapsed());
    running.signal("-TERM");
    assert_eq!(told_of("STOPPING"), "STOPPING=1\n");
    let sign = told_of("WATCHDOG=1\nSTATUS=leaving");
    assert_eq!(sign, "WATCHDOG=1\nSTATUS=leaving, with 0 requests and streams under way\n");
    running.signal("-TERM");
    assert_eq!(running.wait(), Some(0));
}

/// With SIGHUP the file need not have changed, so nothing but the signal can be the cause; then a change without a signal.
#[tokio::test]
async fn serve_takes_the_key_ring_anew_at_sighup_and_when_it_changes() {
    let folder = Folder::new("ring");
    let (port, admin_port) = (free_port(), free_port());
    let file = configuration(&folder, port, admin_port);
    let running = Running::start(&["serve", "--config", &file]);
    running.read_until("listening");
    running.read_until("listening");
    running.signal("-HUP");
    running.read_until("key ring reloaded");

    let ring = folder.path("keys.json");
    assert!(run(&["keys", "rotate", "--file", &ring]).status.success());
    let line = running.read_until("key ring reloaded").pop().unwrap();
    assert!(line.contains("\"active\":1") && line.contains("\"opening\":2"), "{line}");

    // Read by others: said, and taken. Written by others: neither.
    fs::set_permissions(&ring, PermissionsExt::from_mode(0o644)).unwrap();
    running.read_until("everybody on this machine may read the key ring");
    running.read_until("key ring reloaded");
    fs::set_permissions(&ring, PermissionsExt::from_mode(0o666)).unwrap();
    let line = running.read_until("key ring not reloaded").pop().unwrap();
    assert!(line.contains("\"level\":\"ERROR\"") && line.contains("chmod it to 600"), "{line}");
    running.signal("-HUP");
    running.read_until("key ring not reloaded");
    let answer = http_client().get(format!("http://127.0.0.1:{admin_port}/healthz")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let (code, rest) = running.terminate();
    assert_eq!(code, Some(0));
    let key = fs::read_to_string(&ring).unwrap();
    let key =
        key.lines().find_map(|line| line.trim().strip_prefix("\"key\": \"")).unwrap().trim_end_matches('"').to_owned();
    assert!(!rest.join("\n").contains(&key));
}

/// The log of a whole sign-in and a call, under the settings that people use, holds no token, code, state or query.
#[tokio::test]
async fn dev_signs_in_and_its_log_holds_no_secret() {
    let (port, admin_port) = (free_port(), free_port());
    let running =
        Running::start(&["dev", "--json", "--port", &port.to_string(), "--admin-port", &admin_port.to_string()]);
    let mut log = running.read_until(&format!("\"address\":\"127.0.0.1:{port}\""));
    let url = |path: &str| format!("http://localhost:{port}{path}");

    let client = registered(&url("/register")).await;
    let browser = Browser::new();
    let page = allowed(&browser, &url("/authorize"), &client).await;
    let callback = sign_in_at_entra(&browser, &page.next(), ADELE).await;
    let back = url::Url::parse(&browser.get(&callback).await.next()).unwrap();
    let code = query(&back, "code").unwrap();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", REDIRECT_URI),
        ("client_id", &client),
        ("code_verifier", VERIFIER),
    ];
    let answer: serde_json::Value =
        http_client().post(url("/token")).form(&form).send().await.unwrap().json().await.unwrap();
    let token = answer["access_token"].as_str().unwrap();
    let answer = http_client().get(url("/mcp")).bearer_auth(token).send().await.unwrap();
    assert!(answer.status().as_u16() < 500, "{}", answer.status());

    let (code_of_exit, rest) = running.terminate();
    assert_eq!(code_of_exit, Some(0));
    log.extend(rest);
    let log = log.join("\n");
    assert!(log.contains("\"route\":\"mcp\""), "the call was logged:\n{log}");
    for canary in ["eyJ", "sp1_at_", "sp1_ac_", "sp1_cl_", "state-canary", VERIFIER, "code=", "Bearer "] {
        assert!(!log.contains(canary), "the log holds {canary}:\n{log}");
    }
}

async fn registered(url: &str) -> String {
    let body = serde_json::json!({ "redirect_uris": [REDIRECT_URI] });
    let client: serde_json::Value = http_client().post(url).json(&body).send().await.unwrap().json().await.unwrap();
    client["client_id"].as_str().unwrap().to_owned()
}

/// What follows when a user has allowed the client.
async fn allowed(browser: &Browser, authorize: &str, client: &str) -> Page {
    let challenge = challenge();
    let parameters = [
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", REDIRECT_URI),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("state", "state-canary"),
    ];
    let authorize = url::Url::parse_with_params(authorize, parameters).unwrap();
    let page = browser.get(&browser.get(authorize.as_str()).await.next()).await;
    let (request, csrf) = (page.hidden("request"), page.hidden("csrf"));
    browser.submit(&page.action(), &[("request", &request), ("csrf", &csrf), ("decision", "allow")]).await
}

/// By the configuration file alone: a workload's token, Entra that is out at first, and the wrong object id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_signs_in_to_redis_by_entras_token_and_its_log_says_what_is_wrong_and_no_token() {
    let Some(redis) = RedisServer::start() else { return };
    install_crypto_provider();
    let entra = FakeEntra::start(fake_entra::Options::default()).await.unwrap();
    let folder = Folder::new("serve-redis");
    let (port, admin_port) = (free_port(), free_port());
    let user = "99999999-9999-4999-8999-999999999999";
    let (file, assertion) = configuration_at(&entra, &folder, port, admin_port);
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace("url = \"memory:\"", &format!("url = \"{}\"\nentra_user = \"{user}\"", redis.url()))
        + "\n[log]\nlevel = \"trace\"\n";
    folder.file("sallyport.toml", &text);
    let matching = fake_entra::Match { grant: Some("client_credentials".to_owned()), ..Default::default() };
    entra.fault(Fault { matching, times: 4, status: Some(503), ..Fault::default() });

    let running = Running::start(&["serve", "--config", &file]);
    let mut log = running.read_until("no token of Entra's to sign in to Redis with");
    let ready = async || http_client().get(format!("http://127.0.0.1:{admin_port}/readyz")).send().await;
    while !ready().await.is_ok_and(|answer| answer.status() == 200) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let url = |path: &str| format!("http://localhost:{port}{path}");
    let client = registered(&url("/register")).await;
    let page = allowed(&Browser::new(), &url("/authorize"), &client).await;
    assert_eq!(page.status, 503, "an outage of the store, and no more: {}", page.body);
    log.extend(running.read_until("the token for Redis is another principal's than store.entra_user"));
    let page = allowed(&Browser::new(), &url("/authorize"), &client).await;
    assert_eq!(page.status, 503, "Redis knows no such user: {}", page.body);
    log.extend(running.read_until("Redis refuses Entra's token"));
    // Its access is given now, as in Azure's portal.
    for token in entra.canaries() {
        let digest: String = Sha256::digest(&token).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(redis.tell(&format!("ACL SETUSER {user} on #{digest} ~* &* +@all")), "+OK");
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    let page = allowed(&Browser::new(), &url("/authorize"), &client).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(redis.tell("CLIENT LIST").contains(&format!("user={user}")));
    let (code, rest) = running.terminate();
    assert_eq!(code, Some(0));
    log.extend(rest);
    let log = log.join("\n");
    for canary in entra.canaries() {
        assert!(!log.contains(&canary) && !log.contains(canary.rsplit('.').next().unwrap()), "the log holds {canary}");
    }
    assert!(!log.contains(&assertion));
}

fn challenge() -> String {
    use base64::Engine;
    use sha2::Digest;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(VERIFIER))
}
