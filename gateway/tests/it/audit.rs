//! The audit log of whole gateways: what is noted of every kind of event, and that nobody changes it unseen.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use fake_entra::Seed;
use reqwest::RequestBuilder;
use sallyport::access::{Party, Requirement, ToolRule, ToolRules, Who};
use sallyport::audit::{Field, Kind};
use sallyport::clock::Clock;
use sallyport::sealed::{KeyId, KeyRing, Successor};
use sallyport::server::{RingSource, Settings};
use sallyport::store;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::browser::{Browser, http_client};
use crate::support::free_port;
use crate::support::gateway::{Gateway, Options};
use crate::support::journey::{ADELE, ALEX, Client, query};
use crate::support::redis_server::RedisServer;
use crate::support::upstream::Upstream;

/// A folder with a ring, a log, and a configuration for the command that leads to both. Gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("sallyport-audited-{}-{}", std::process::id(), free_port()));
        fs::create_dir(&folder).unwrap();
        KeyRing::create(&folder.join("keys.json"), Clock::system().now()).unwrap();
        let folder = Self(folder);
        folder.configure("audit_file = \"audit.log\"");
        folder
    }

    fn configure(&self, log: &str) {
        self.configure_at("http://localhost:9", "11111111-1111-1111-1111-111111111111", "memory:", log);
    }

    fn configure_at(&self, public_url: &str, tenant_id: &str, store: &str, log: &str) {
        let text = format!(
            r#"
            public_url = "{public_url}"
            [listen]
            address = "127.0.0.1:9"
            [entra]
            tenant_id = "{tenant_id}"
            client_id = "22222222-2222-2222-2222-222222222222"
            scope = "api://33333333-3333-3333-3333-333333333333/access_as_user"
            [entra.credential]
            kind = "workload-identity"
            token_file = "token"
            [store]
            url = "{store}"
            [keys]
            file = "keys.json"
            [log]
            {log}
            [[upstream]]
            name = "graph"
            path = "/mcp"
            servers = ["http://127.0.0.1:9"]
            "#
        );
        fs::write(self.0.join("token"), "a.b.c").unwrap();
        fs::write(self.0.join("sallyport.toml"), text).unwrap();
    }

    fn ring(&self) -> PathBuf {
        self.0.join("keys.json")
    }

    fn log(&self) -> PathBuf {
        self.0.join("audit.log")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.log()).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    /// The first line of this event after the last one that was asked for; at most ten seconds are waited.
    async fn next(&self, seen: &mut usize, event: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let lines = self.lines();
            if let Some(at) = lines.iter().skip(*seen).position(|line| line["event"] == event) {
                *seen += at + 1;
                return lines[*seen - 1].clone();
            }
            assert!(Instant::now() < deadline, "no {event} after {:#?}", &lines[*seen..]);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// `sallyport audit`, in a process of its own.
    fn audit(&self, command: &str, arguments: &[&str]) -> (Option<i32>, String) {
        self.run("audit", command, arguments)
    }

    fn run(&self, area: &str, command: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let mut program = Command::new(env!("CARGO_BIN_EXE_sallyport"));
        program.arg(area).arg(command).arg("--config").arg(self.0.join("sallyport.toml"));
        let Output { status, stdout, stderr } = program.args(arguments).output().unwrap();
        (status.code(), String::from_utf8(if stderr.is_empty() { stdout } else { stderr }).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A gateway that writes the folder's log: nobody may call `debug`, and Alex may not sign in.
async fn start(folder: &Folder, upstream: &Upstream, change: impl FnOnce(&mut Settings)) -> Gateway {
    let mut seed = Seed::default();
    let gateway = seed.gateway.clone();
    let adele = seed.users.iter_mut().find(|user| user.upn == ADELE).unwrap();
    adele.roles.insert(gateway, vec!["Edge.User".to_owned()]);
    let options = Options {
        upstreams: vec![("/mcp", upstream.url.clone()), ("/open", upstream.url.clone())],
        ..Options::simple(&upstream.url)
    };
    Gateway::start_seeded(options, seed, |settings| {
        settings.ring = RingSource::File(folder.ring());
        settings.audit = Some(folder.log());
        settings.sign_in = Some(Requirement::any_of([Party::Role("Edge.User".to_owned())]));
        let rule = ToolRule { tools: vec!["debug".parse().unwrap()], who: Who::Nobody };
        settings.upstreams[0].access.tools = ToolRules::new(vec![rule]);
        change(settings);
    })
    .await
}

fn post(gateway: &Gateway, token: &str, body: &Value) -> RequestBuilder {
    http_client().post(gateway.url("/mcp")).bearer_auth(token).json(body)
}

fn call(tool: &str) -> Value {
    let arguments = json!({ "secret": "canary-of-an-argument" });
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

/// The first digits of SHA-256, as lines and lists have them.
fn digest(text: &str) -> String {
    Sha256::digest(text)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn assert_has(line: &Value, expected: &Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&line[name], value, "{name} of {line:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_event_has_its_line_and_nothing_secret_is_in_any() {
    let (folder, upstream) = (Folder::new(), Upstream::start().await);
    let gateway = start(&folder, &upstream, |_| {}).await;
    let (mut seen, mut canaries) = (0, Vec::new());
    let opened = folder.next(&mut seen, "log-opened").await;
    assert_has(&opened, &json!({"seq": 1, "outcome": "ok", "version": env!("CARGO_PKG_VERSION")}));
    assert_has(&folder.next(&mut seen, "ring-loaded").await, &json!({"active_key": 1, "opening_keys": 1}));

    // A client comes, and its user says no, then yes, to be remembered.
    let client = Client::register(&gateway).await;
    let id = digest(&client.id);
    let registered = folder.next(&mut seen, "client-registered").await;
    assert_has(&registered, &json!({"client": id, "name": "Test client", "method": "none", "address": "127.0.0.1"}));
    let browser = Browser::new();
    client.consent(&gateway, &browser, "deny").await;
    assert_has(&folder.next(&mut seen, "consent-denied").await, &json!({"client": id, "outcome": "refused"}));
    let back = client.authorize(&gateway, &browser, ADELE).await;
    let allowed = folder.next(&mut seen, "consent-allowed").await;
    assert_has(&allowed, &json!({"client": id, "resource": client.resource, "remembered": false}));
    let begun = folder.next(&mut seen, "sign-in-begun").await;
    assert_has(&begun, &json!({"client": id, "request_id": allowed["request_id"]}));
    let done = folder.next(&mut seen, "sign-in-done").await;
    assert_has(&done, &json!({"client": id, "outcome": "ok", "name": "Test client"}));
    let (who, session) = (done["who"].as_str().unwrap().to_owned(), done["session"].clone());
    assert!(who.len() == 32 && who.bytes().all(|byte| byte.is_ascii_hexdigit()), "{who}");
    let code = query(&back, "code").unwrap();
    let (_, tokens) = client.redeem(&gateway, &code).await;
    let token = tokens["access_token"].as_str().unwrap().to_owned();
    let refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
    let whose = json!({"who": who, "client": id, "session": session});

    // Calls: known from the body, from a header, or not at all; and one that is not allowed.
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let traced =
        post(&gateway, &token, &call("get_user")).header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    assert_eq!(traced.send().await.unwrap().status(), 200);
    let called = folder.next(&mut seen, "tool-call").await;
    assert_has(&called, &whose);
    assert_has(&called, &json!({"tool": "get_user", "method": "tools/call", "named_by": "body", "upstream": "mcp"}));
    assert_has(&called, &json!({"status": 200, "outcome": "ok", "trace_id": trace}));
    post(&gateway, &token, &call("debug")).send().await.unwrap();
    let refused = folder.next(&mut seen, "access-refused").await;
    assert_has(&refused, &whose);
    assert_has(&refused, &json!({"tool": "debug", "reason": "tool", "outcome": "refused"}));
    post(&gateway, &token, &json!([])).send().await.unwrap();
    assert_has(&folder.next(&mut seen, "access-refused").await, &json!({"reason": "unclear_body"}));

    // The session of a server that is another user's, or nobody's.
    let foreign = post(&gateway, &token, &call("get_user")).header("mcp-session-id", "sp1_ms_AAAA");
    assert_eq!(foreign.send().await.unwrap().status(), 404);
    assert_has(&folder.next(&mut seen, "mcp-session-refused").await, &whose);

    // What strangers try.
    http_client().post(gateway.url("/mcp")).bearer_auth("sp1_at_AAAA").send().await.unwrap();
    let rejected = folder.next(&mut seen, "token-rejected").await;
    assert_has(&rejected, &json!({"reason": "malformed", "upstream": "mcp", "address": "127.0.0.1"}));
    let body = json!({ "redirect_uris": ["http://evil.example/callback"] });
    http_client().post(gateway.url("/register")).json(&body).send().await.unwrap();
    assert_has(&folder.next(&mut seen, "client-refused").await, &json!({"reason": "invalid_redirect_uri"}));
    assert_eq!(client.redeem_with(&gateway, &code, &[("client_id", "sp1_cl_nobody")]).await.0, 401);
    assert_has(&folder.next(&mut seen, "client-refused").await, &json!({"reason": "invalid_client"}));
    assert_eq!(client.redeem(&gateway, "sp1_ac_AAAA").await.0, 400);
    assert_has(&folder.next(&mut seen, "grant-refused").await, &json!({"reason": "invalid_grant", "client": id}));
    let page = browser.get(&gateway.url("/authorize?client_id=x&redirect_uri=https://evil.example/")).await;
    let refused = folder.next(&mut seen, "sign-in-refused").await;
    let code_of_page = refused["code"].as_str().unwrap();
    assert!(
        page.body.contains(code_of_page) && page.body.contains(refused["reference"].as_str().unwrap()),
        "{refused}"
    );

    // Alex, whom the rules do not let in.
    let callback = client.callback(&gateway, &Browser::new(), ALEX).await;
    Browser::new().get(&callback).await;
    assert_has(&folder.next(&mut seen, "sign-in-refused").await, &json!({"reason": "SP-1301", "code": "SP-1301"}));
    let alex = Browser::new();
    let callback = client.callback(&gateway, &alex, ALEX).await;
    alex.get(&callback).await;
    let refused = folder.next(&mut seen, "sign-in-refused").await;
    assert_has(&refused, &json!({"reason": "SP-1303", "code": "SP-1303", "client": id}));
    assert_ne!(refused["who"].as_str().unwrap(), who, "it is known who tried");

    // What a browser remembers, and forgets.
    let interstitial = remember(&client, &gateway, &browser).await;
    assert_eq!(folder.next(&mut seen, "consent-allowed").await["remembered"], true);
    canaries.push(interstitial);
    assert_eq!(browser.get(&client.authorize_url(&gateway)).await.status, 303);
    assert_has(&folder.next(&mut seen, "consent-remembered").await, &json!({"client": id}));
    let connections = browser.get(&gateway.url("/connections")).await;
    let csrf = connections.hidden("csrf");
    browser.submit(&gateway.url("/connections"), &[("csrf", &csrf), ("forget", "all")]).await;
    folder.next(&mut seen, "consent-forgotten").await;

    // Ends: by reuse of a refresh token, of a code, by the client, by an operator.
    let (_, next) = client.refresh(&gateway, &refresh).await;
    client.refresh(&gateway, next["refresh_token"].as_str().unwrap()).await;
    assert_eq!(client.refresh(&gateway, &refresh).await.0, 400);
    let ended = folder.next(&mut seen, "session-ended").await;
    assert_has(&ended, &whose);
    assert_eq!(ended["reason"], "refresh_token_reused");
    let back = client.authorize(&gateway, &Browser::new(), ADELE).await;
    let code = query(&back, "code").unwrap();
    client.redeem(&gateway, &code).await;
    client.redeem(&gateway, &code).await;
    assert_has(&folder.next(&mut seen, "session-ended").await, &json!({"reason": "code_reused", "who": who}));
    let other = client.token(&gateway, ADELE).await;
    let form = [("token", other.as_str()), ("client_id", &client.id)];
    http_client().post(gateway.url("/revoke")).form(&form).send().await.unwrap();
    assert_has(&folder.next(&mut seen, "session-ended").await, &json!({"reason": "signed_out", "who": who}));
    let third = client.token(&gateway, ADELE).await;
    let revoked = http_client().post(gateway.admin_url("/sessions/revoke")).json(&json!({"client": client.id}));
    assert_eq!(revoked.send().await.unwrap().status(), 200);
    let line = folder.next(&mut seen, "sessions-revoked").await;
    assert_has(&line, &json!({"by": "admin", "selector": "client", "ended": 1, "unknown": 0, "client": id}));

    // Operators, and the keys.
    for (path, event) in [("/servers/drain", "server-drained"), ("/servers/undrain", "server-undrained")] {
        let body = json!({"upstream": "mcp", "server": upstream.url});
        assert_eq!(http_client().post(gateway.admin_url(path)).json(&body).send().await.unwrap().status(), 200);
        assert_has(&folder.next(&mut seen, event).await, &json!({"by": "admin", "upstream": "mcp"}));
    }
    let now = Clock::system().now();
    let good = fs::read(folder.ring()).unwrap();
    fs::write(folder.ring(), "{").unwrap();
    assert_eq!(folder.next(&mut seen, "ring-rejected").await["outcome"], "refused");
    fs::write(folder.ring(), good).unwrap();
    folder.next(&mut seen, "ring-loaded").await;
    KeyRing::rotate(&folder.ring(), now, Duration::ZERO).unwrap();
    KeyRing::rotate(&folder.ring(), now, Duration::ZERO).unwrap();
    assert_has(&folder.next(&mut seen, "key-rotated").await, &json!({"active_key": 2, "ring_key": 1}));
    KeyRing::revoke(&folder.ring(), KeyId::new(1), Successor::Next, now).unwrap();
    assert_has(&folder.next(&mut seen, "key-revoked").await, &json!({"active_key": 2, "ring_key": 1, "key": 2}));

    // All there are were seen, but for fields that only losses and reloads bring.
    let (lines, text) = (folder.lines(), folder.text());
    let events: BTreeSet<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    // A reload of the configuration is one of a process: `reload::program` has its lines.
    let of_a_reload = [Kind::ConfigReloaded, Kind::ConfigRejected];
    let here = Kind::ALL.into_iter().filter(|kind| !of_a_reload.contains(kind));
    assert_eq!(events, here.map(Kind::word).collect());
    let fields: BTreeSet<_> =
        lines.iter().flat_map(|line| line.as_object().unwrap().keys().map(String::as_str)).collect();
    let rare = [Field::LeftOut, Field::Missing, Field::Changed, Field::AtNextStart].map(Field::word);
    let all: BTreeSet<_> = Field::ALL.iter().map(|field| field.word()).filter(|word| !rare.contains(word)).collect();
    assert_eq!(fields, all);
    // The first key is erased; what it proved is proven by the lines after it.
    let (code, said) = folder.audit("verify", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with(&format!("ok: {} lines, number 1 of ", lines.len())), "{said}");

    canaries.extend(gateway.entra.canaries());
    canaries.extend([token, refresh, other, third, "canary-of-an-argument".into(), ADELE.into(), client.id.clone()]);
    for canary in canaries {
        assert!(!text.contains(&canary), "the log holds {canary}");
    }
    assert!(!text.contains("sp1_") && !text.contains("eyJ") && !text.contains("[redacted]"));
    assert_eq!(gateway.metric("sallyport_audit_dropped_total").await, 0.0);
    assert_eq!(gateway.metric("sallyport_audit_sequence").await, lines.len() as f64);
}

/// Allows with the box ticked, and gives what the page then leads to.
async fn remember(client: &Client, gateway: &Gateway, browser: &Browser) -> String {
    let redirect = browser.get(&client.authorize_url(gateway)).await;
    let page = browser.get(&redirect.next()).await;
    let (request, csrf) = (page.hidden("request"), page.hidden("csrf"));
    let form = [("request", &*request), ("csrf", &csrf), ("decision", "allow"), ("remember", "yes")];
    browser.submit(&page.action(), &form).await.next()
}

#[tokio::test]
async fn without_rules_a_call_is_known_as_far_as_its_headers_say() {
    let (folder, upstream) = (Folder::new(), Upstream::start().await);
    let gateway = start(&folder, &upstream, |settings| settings.upstreams[0].access.tools = ToolRules::default()).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let mut seen = 0;
    let modern = |method: &str, name: &str| {
        post(&gateway, &token, &call("get_user")).header("mcp-method", method).header("mcp-name", name)
    };
    modern("tools/call", "get_user").send().await.unwrap();
    let known = folder.next(&mut seen, "tool-call").await;
    assert_has(&known, &json!({"tool": "get_user", "named_by": "header", "method": "tools/call"}));
    modern("tools/call", "=?base64?Z3LDtsOfZQ==?=").send().await.unwrap();
    assert_eq!(folder.next(&mut seen, "tool-call").await["tool"], "größe");
    // Known to be no call: there is no line. Then one of which nothing is known.
    modern("tools/list", "").send().await.unwrap();
    post(&gateway, &token, &call("get_user")).send().await.unwrap();
    let unknown = folder.next(&mut seen, "tool-call").await;
    assert_eq!((&unknown["tool"], &unknown["method"], &unknown["status"]), (&Value::Null, &Value::Null, &json!(200)));
    let calls = folder.lines().iter().filter(|line| line["event"] == "tool-call").count();
    assert_eq!(calls, 3);
}

#[tokio::test]
async fn the_command_finds_what_was_changed_and_whom_lines_mean() {
    let (folder, upstream) = (Folder::new(), Upstream::start().await);
    let gateway = start(&folder, &upstream, |_| {}).await;
    Client::register(&gateway).await.token(&gateway, ADELE).await;
    let (tenant, adele) = (gateway.entra.tenant_id().to_owned(), Seed::default().users);
    let adele = &adele.iter().find(|user| user.upn == ADELE).unwrap().oid;
    let done = folder.next(&mut 0, "sign-in-done").await;
    let (code, said) = folder.audit("who", &[&format!("{tenant}/{adele}")]);
    let expected = format!("{}  (key 1, tenant {tenant})\n", done["who"].as_str().unwrap());
    assert_eq!((code, said), (Some(0), expected));
    assert_eq!(folder.audit("who", &[ADELE]).0, Some(64), "a name may pass from one to another");
    drop(gateway);

    let text = folder.text();
    let lines: Vec<&str> = text.lines().collect();
    let (code, said) = folder.audit("verify", &[]);
    assert!(code == Some(0) && said.starts_with("ok: "), "{said}");
    let file = folder.0.join("changed.log");
    let path = file.to_str().unwrap();
    let broken = |lines: &[&str], at: usize, words: &str| {
        fs::write(&file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        let (code, said) = folder.audit("verify", &["--file", path]);
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.starts_with(&format!("sallyport audit: {path}:{at}: the line ")) && said.contains(words),
            "{said}"
        );
    };
    let mut edited = lines.clone();
    let other = lines[2].replace("\"outcome\":\"ok\"", "\"outcome\":\"refused\"");
    edited[2] = &other;
    broken(&edited, 3, "was changed");
    broken(&[&lines[..2], &lines[3..]].concat(), 3, "1 lines between are gone");
    broken(&[&lines[..3], &lines[2..]].concat(), 4, "once more");
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    broken(&swapped, 2, "gone");
    broken(&[&lines[..2], &["{}"], &lines[2..]].concat(), 3, "no line of this log");
    fs::write(&file, &text[..text.len() / 2]).unwrap();
    let (code, said) = folder.audit("verify", &["--file", path]);
    assert!(code == Some(1) && said.contains("is not whole"), "{said}");
    assert_eq!(folder.audit("verify", &["--file", "/nonexistent"]).0, Some(1));
    folder.configure("format = \"json\"");
    assert_eq!(folder.audit("verify", &[]).0, Some(64), "no file is named");
    folder.configure("audit_file = \"no/such/folder\"");
    let (code, said) = folder.audit("verify", &[]);
    assert!(code == Some(78) && said.contains("log.audit_file"), "{said}");
}

#[tokio::test]
async fn the_log_goes_on_after_a_restart_and_in_a_new_file_when_it_is_renamed() {
    let (folder, upstream) = (Folder::new(), Upstream::start().await);
    drop(start(&folder, &upstream, |_| {}).await);
    let gateway = start(&folder, &upstream, |_| {}).await;
    let before = folder.0.join("audit.log.1");
    fs::rename(folder.log(), &before).unwrap();
    Client::register(&gateway).await;
    drop(gateway);
    let (code, said) =
        folder.audit("verify", &["--file", before.to_str().unwrap(), "--file", folder.log().to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("ok: 5 lines, number 1 of "), "{said}");
    let (code, said) = folder.audit("verify", &[]);
    assert!(code == Some(0) && said.contains("what was before number 5 was not shown"), "{said}");
}

#[tokio::test]
async fn an_operators_command_writes_to_the_log_of_the_gateway_that_runs() {
    let Some(redis) = RedisServer::start() else { return };
    let (folder, upstream) = (Folder::new(), Upstream::start().await);
    let in_redis = |settings: &mut Settings| {
        settings.store = store::Settings::Redis(store::RedisSettings::new(redis.url().parse().unwrap()));
    };
    let gateway = start(&folder, &upstream, in_redis).await;
    let (url, tenant) = (gateway.public_url(), gateway.entra.tenant_id());
    folder.configure_at(&url, tenant, &redis.url(), "audit_file = \"audit.log\"");
    let client = Client::register(&gateway).await;
    client.token(&gateway, ADELE).await;
    let mut seen = 0;
    let done = folder.next(&mut seen, "sign-in-done").await;
    let users = Seed::default().users;
    let adele = &users.iter().find(|user| user.upn == ADELE).unwrap().oid;
    let (code, said) = folder.run("sessions", "revoke", &["--user", adele]);
    assert_eq!((code, said.as_str()), (Some(0), "1 session ended.\n"));
    let revoked = folder.next(&mut seen, "sessions-revoked").await;
    assert_has(&revoked, &json!({"by": "cli", "selector": "user", "ended": 1, "who": done["who"]}));
    client.token(&gateway, ADELE).await;
    let next = folder.next(&mut seen, "consent-allowed").await;
    assert_eq!(next["seq"].as_u64(), revoked["seq"].as_u64().map(|number| number + 1));
    drop(gateway);
    let (code, said) = folder.audit("verify", &[]);
    assert!(code == Some(0) && said.starts_with("ok: "), "{said}");
    // Where there is no file the command makes none, which would not be the gateway's: its line is in its own log.
    fs::remove_file(folder.log()).unwrap();
    let (code, said) = folder.run("sessions", "revoke", &["--user", adele]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("not in the audit log") && said.contains("\"event\":\"sessions-revoked\""), "{said}");
    assert!(!folder.log().exists());
}

#[tokio::test]
async fn a_full_disk_blocks_nobody_and_is_counted() {
    let (folder, upstream) = (Folder::new(), Upstream::start().await);
    let full = |settings: &mut Settings| settings.audit = Some("/dev/full".into());
    let gateway = start(&folder, &upstream, full).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(post(&gateway, &token, &call("get_user")).send().await.unwrap().status(), 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let deadline = Instant::now() + Duration::from_secs(10);
    while gateway.metric("sallyport_audit_dropped_total").await < 56.0 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(gateway.metric("sallyport_audit_sequence").await, 0.0);
    drop(gateway);
}

#[test]
fn the_documentation_has_every_event_and_every_field() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/logs.md")).unwrap();
    let events: Vec<_> = Kind::ALL.iter().map(|kind| kind.word()).collect();
    let fields: Vec<_> = Field::ALL.iter().map(|field| field.word()).collect();
    assert_eq!(table(&text, "### Events"), events);
    assert_eq!(table(&text, "### Fields of the audit log"), fields);
}

/// The names in the first column of the table under a heading.
pub fn table(text: &str, heading: &str) -> Vec<String> {
    let (_, after) = text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let rows = after.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')).skip(2);
    rows.flat_map(|row| row.split('|').nth(1).unwrap().split(',').map(|name| name.trim().trim_matches('`').to_owned()))
        .collect()
}
