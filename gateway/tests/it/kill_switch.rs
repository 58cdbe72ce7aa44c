//! The kill switch: an operator sees who is signed in and ends sessions, with the command and at the admin listener, and
//! each replica refuses them from its next request on.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HOST, ORIGIN};
use sallyport::clock::Clock;
use sallyport::sealed::KeyRing;
use serde_json::{Value, json};
use url::Url;

use crate::support::browser::http_client;
use crate::support::free_port;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, ALEX, Client};
use crate::support::redis_server::RedisServer;
use crate::support::upstream::Upstream;

/// Two replicas that share one Redis, and a configuration for the command that leads there.
struct Fixture {
    replicas: [Gateway; 2],
    clients: [Client; 2],
    config: Config,
    redis: RedisServer,
    upstream: Upstream,
}

/// A folder with a ring and a configuration, gone when dropped.
struct Config(PathBuf);

/// How an operator gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Command,
    Admin,
}

struct Signed {
    access: String,
    refresh: String,
    client: usize,
}

impl Config {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("sallyport-kill-{}-{}", std::process::id(), free_port()));
        std::fs::create_dir(&folder).unwrap();
        KeyRing::create(&folder.join("keys.json"), Clock::system().now()).unwrap();
        Self(folder)
    }

    fn write(&self, public_url: &str, tenant_id: &str, store: &str) {
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
            [[upstream]]
            name = "graph"
            path = "/mcp"
            servers = ["http://127.0.0.1:9"]
            "#
        );
        std::fs::write(self.0.join("token"), "a.b.c").unwrap();
        std::fs::write(self.0.join("sallyport.toml"), text).unwrap();
    }

    /// `sallyport sessions`, in a process of its own.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport"));
        command.arg("sessions").arg(arguments[0]).arg("--config").arg(self.0.join("sallyport.toml"));
        command.args(&arguments[1..]).output().unwrap()
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

impl Fixture {
    /// `None` without Redis.
    async fn start() -> Option<Self> {
        let redis = RedisServer::start()?;
        let upstream = Upstream::start().await;
        let config = Config::new();
        let ring = config.0.join("keys.json");
        let replicas = Gateway::replicas_with_ring(&upstream.url, &redis.url(), &Clock::system(), &ring).await;
        config.write(&replicas[0].public_url(), replicas[0].entra.tenant_id(), &redis.url());
        let clients = [Client::register(&replicas[0]).await, Client::register(&replicas[0]).await];
        Some(Self { replicas, clients, config, redis, upstream })
    }

    /// And both replicas have the session at hand.
    async fn sign_in(&self, user: &str, client: usize) -> Signed {
        let tokens = self.clients[client].tokens(&self.replicas[0], user).await;
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        let signed = Signed { access: text("access_token"), refresh: text("refresh_token"), client };
        assert!(self.is_served(&signed).await);
        signed
    }

    async fn is_served(&self, signed: &Signed) -> bool {
        let [here, there] = [0, 1].map(|replica| call(&self.replicas[replica], &signed.access));
        here.await.0 == 200 && there.await.0 == 200
    }

    /// Within a second of `since` at both replicas, and for good.
    async fn is_over(&self, signed: &Signed, since: Instant) {
        for replica in &self.replicas {
            loop {
                let (status, challenge) = call(replica, &signed.access).await;
                if status == 401 {
                    assert!(challenge.ends_with("error=\"invalid_token\""), "{challenge}");
                    break;
                }
                assert_eq!(status, 200);
                assert!(since.elapsed() < Duration::from_secs(1), "still served after {:?}", since.elapsed());
            }
        }
        for replica in &self.replicas {
            let (status, answer) = self.clients[signed.client].refresh(replica, &signed.refresh).await;
            assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")), "{answer}");
            assert_eq!(call(replica, &signed.access).await.0, 401);
        }
    }

    async fn list(&self, by: By, selector: Option<(&str, &str)>) -> Vec<Value> {
        let list: Value = match by {
            By::Command => {
                let flag = selector.map(|(name, value)| (format!("--{name}"), value));
                let mut arguments = vec!["list", "--json"];
                if let Some((flag, value)) = &flag {
                    arguments.extend([flag.as_str(), value]);
                }
                let output = self.config.run(&arguments);
                assert_eq!(output.status.code(), Some(0), "{}", said(&output));
                serde_json::from_slice(&output.stdout).unwrap()
            }
            By::Admin => {
                let url = Url::parse_with_params(&self.replicas[1].admin_url("/sessions"), selector).unwrap();
                let answer = http_client().get(url).send().await.unwrap();
                assert_eq!(
                    (answer.status().as_u16(), answer.headers()["cache-control"].to_str().unwrap()),
                    (200, "no-store")
                );
                answer.json().await.unwrap()
            }
        };
        assert_eq!((&list["more"], &list["unknown"]), (&json!(false), &json!(0)), "{list}");
        // Neither a token nor anything that one is made of.
        for canary in ["sp1_", "eyJ", "secret"] {
            assert!(!list.to_string().contains(canary), "{list}");
        }
        list["sessions"].as_array().unwrap().clone()
    }

    /// How many were ended.
    async fn revoke(&self, by: By, name: &str, value: &str) -> u64 {
        let answer: Value = match by {
            By::Command => {
                let flag = format!("--{name}");
                let arguments: &[&str] = match name {
                    "all" => &["revoke", "--json", "--all", "--yes"],
                    _ => &["revoke", "--json", &flag, value],
                };
                let output = self.config.run(arguments);
                let log = said(&output);
                assert_eq!(output.status.code(), Some(0), "{log}");
                assert!(
                    log.contains("\"event\":\"sessions-revoked\"")
                        && log.contains("\"by\":\"cli\"")
                        && log.contains(&format!("\"selector\":\"{name}\"")),
                    "{log}"
                );
                assert!(name == "all" || !log.contains(value), "{log}");
                serde_json::from_slice(&output.stdout).unwrap()
            }
            By::Admin => {
                let body = if name == "all" { json!({ "all": true }) } else { json!({ name: value }) };
                let answer = self.post(&body).await;
                assert_eq!(answer.status(), 200);
                answer.json().await.unwrap()
            }
        };
        assert_eq!(answer["complete"], true, "{answer}");
        answer["ended"].as_u64().unwrap()
    }

    async fn post(&self, body: &Value) -> reqwest::Response {
        http_client().post(self.replicas[1].admin_url("/sessions/revoke")).json(body).send().await.unwrap()
    }
}

async fn call(gateway: &Gateway, token: &str) -> (u16, String) {
    let answer = gateway.post("/mcp").bearer_auth(token).body("{}").send().await.unwrap();
    let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    (answer.status().as_u16(), challenge.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_selector_ends_what_it_means_at_every_replica_and_nothing_else() {
    for by in [By::Command, By::Admin] {
        let Some(fixture) = Fixture::start().await else { return };
        assert!(fixture.list(by, None).await.is_empty());
        let alex = fixture.sign_in(ALEX, 1).await;
        let adele = fixture.sign_in(ADELE, 0).await;

        let listed = fixture.list(by, Some(("user", ADELE))).await;
        let [session] = listed.as_slice() else { panic!("{listed:#?}") };
        assert_eq!(session["user"]["login"], ADELE);
        assert_eq!(session["user"]["tenant_id"], fixture.replicas[0].entra.tenant_id());
        assert_eq!(session["client"]["name"], "Test client");
        assert_eq!(session["resource"], fixture.clients[0].resource);
        assert_eq!(session["created"], session["last_used"]);
        let text = |pointer: &str| session.pointer(pointer).unwrap().as_str().unwrap();
        let identity = format!("{}/{}", text("/user/tenant_id"), text("/user/object_id"));
        assert_eq!(fixture.list(by, None).await.len(), 2);

        for (name, value) in [
            ("session", &text("/session")[..8]),
            ("session", text("/session")),
            ("user", ADELE),
            ("user", text("/user/object_id")),
            ("user", &identity),
            ("client", &fixture.clients[0].id),
            ("client", &text("/client/id")[..16]),
        ] {
            let (signed, value) = match name {
                // Ids are of one sign-in.
                "session" => {
                    let signed = fixture.sign_in(ADELE, 0).await;
                    let newest = fixture.list(by, Some(("user", ADELE))).await;
                    let id = newest.iter().map(|session| session["session"].as_str().unwrap());
                    let id = id.max_by_key(|id| *id != text("/session")).unwrap();
                    (signed, id[..value.len()].to_owned())
                }
                _ => (fixture.sign_in(ADELE, 0).await, value.to_owned()),
            };
            let meant = fixture.list(by, Some((name, &value))).await.len() as u64;
            assert!(if name == "session" { meant == 1 } else { meant >= 1 }, "{name} {value}: {meant}");
            assert_eq!(fixture.revoke(by, name, &value).await, meant, "{name} {value}");
            fixture.is_over(&signed, Instant::now()).await;
            assert!(fixture.is_served(&alex).await, "another's goes on: {by:?} {name} {value}");
            assert!(fixture.list(by, Some((name, &value))).await.is_empty());
            assert_eq!(fixture.revoke(by, name, &value).await, 0, "again");
        }
        fixture.is_over(&adele, Instant::now()).await;

        let more = fixture.sign_in(ADELE, 1).await;
        assert_eq!(fixture.revoke(by, "all", "").await, 2);
        let since = Instant::now();
        fixture.is_over(&alex, since).await;
        fixture.is_over(&more, since).await;
        assert!(fixture.list(by, None).await.is_empty());
        let left = fixture.redis.tell("DBSIZE");
        let again = fixture.sign_in(ALEX, 1).await;
        assert!(fixture.is_served(&again).await, "who signs in anew is served: {left}");
    }
}

/// An open event stream at a replica, after its first event.
async fn stream(fixture: &Fixture, replica: &Gateway, signed: &Signed) -> reqwest::Response {
    let request = replica.get("/mcp").bearer_auth(&signed.access).header(ACCEPT, "text/event-stream");
    let mut stream = request.send().await.unwrap();
    fixture.upstream.send("data: 1\n\n").await;
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "data: 1\n\n");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn streams_that_are_open_end_with_their_session_at_every_replica_and_no_others_do() {
    for by in [By::Command, By::Admin] {
        let Some(fixture) = Fixture::start().await else { return };
        let (adele, alex) = (fixture.sign_in(ADELE, 0).await, fixture.sign_in(ALEX, 1).await);
        let [here, there] = &fixture.replicas;
        let ended = [stream(&fixture, here, &adele).await, stream(&fixture, there, &adele).await];
        let mut going_on = stream(&fixture, there, &alex).await;
        assert_eq!(fixture.revoke(by, "user", ADELE).await, 1);
        for mut stream in ended {
            let end = tokio::time::timeout(Duration::from_secs(1), stream.chunk()).await;
            assert_eq!(end.expect("it ends within a second").unwrap(), None, "{by:?}");
        }
        fixture.upstream.send("data: 2\n\n").await;
        assert_eq!(going_on.chunk().await.unwrap().unwrap(), "data: 2\n\n", "{by:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_command_says_what_it_did_and_what_it_needs() {
    let Some(mut fixture) = Fixture::start().await else { return };
    let empty = fixture.config.run(&["list"]);
    assert_eq!((empty.status.code(), out(&empty).as_str()), (Some(0), "Nobody is signed in.\n"));
    let signed = fixture.sign_in(ADELE, 0).await;
    let table = out(&fixture.config.run(&["list"]));
    let lines: Vec<_> = table.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("session"), "{table}");
    assert!(lines[1].contains(ADELE) && lines[1].contains("Test client (") && lines[1].contains("  /mcp  "), "{table}");

    for (arguments, words) in [
        (&["revoke"][..], "required"),
        (&["revoke", "--user", ADELE, "--all"], "cannot be used with"),
        (&["revoke", "--user", ADELE, "--yes"], "cannot be used with"),
        (&["list", "--user", ADELE, "--client", "x"], "cannot be used with"),
        (&["revoke", "--session", "1234567"], "at least 8 hexadecimal digits"),
        (&["revoke", "--user", "contoso/adele"], "an object id, a tenant id and an object id"),
        (&["revoke", "--all"], "this would end 1 session"),
    ] {
        let output = fixture.config.run(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(words) && output.stdout.is_empty(), "{arguments:?}: {}", said(&output));
    }
    assert!(fixture.is_served(&signed).await, "none of these ends anything");

    let none = fixture.config.run(&["revoke", "--user", ALEX]);
    assert_eq!((none.status.code(), out(&none).contains("nothing was ended")), (Some(0), true));
    let one = fixture.config.run(&["revoke", "--user", ADELE]);
    assert_eq!((one.status.code(), out(&one).as_str()), (Some(0), "1 session ended.\n"));

    fixture.redis.stop();
    for arguments in [&["list"][..], &["revoke", "--user", ADELE], &["revoke", "--all", "--yes"]] {
        let output = fixture.config.run(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("the store is unavailable: Redis refuses the connection"), "{}", said(&output));
    }
    let answer = http_client().get(fixture.replicas[0].admin_url("/sessions")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "2"));
    let answer = fixture.post(&json!({ "all": true })).await;
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (503, true));
    assert_eq!(answer.json::<Value>().await.unwrap()["complete"], false);

    fixture.config.write(&fixture.replicas[0].public_url(), fixture.replicas[0].entra.tenant_id(), "memory:");
    let output = fixture.config.run(&["list"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("ask its admin listener"), "{}", said(&output));
    std::fs::write(fixture.config.0.join("sallyport.toml"), "nonsense = 1").unwrap();
    assert_eq!(fixture.config.run(&["revoke", "--all", "--yes"]).status.code(), Some(78));
}

/// In memory, where only the admin listener gets: and no page makes a browser use it.
#[tokio::test]
async fn the_admin_listener_takes_orders_from_no_page() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let token = client.token(&gateway, ADELE).await;
    let (list, revoke) = (gateway.admin_url("/sessions"), gateway.admin_url("/sessions/revoke"));
    let get = || http_client().get(&list);
    let post = || http_client().post(&revoke).header(CONTENT_TYPE, "application/json").body("{\"all\":true}");
    let body = |body: &'static str| http_client().post(&revoke).header(CONTENT_TYPE, "application/json").body(body);

    for (request, status) in [
        (get().header(HOST, "evil.example"), 421),
        (post().header(HOST, "evil.example:9464"), 421),
        (get().header(ORIGIN, "https://evil.example"), 403),
        (post().header(ORIGIN, "https://evil.example"), 403),
        (post().header(ORIGIN, "null"), 403),
        (get().header("sec-fetch-site", "cross-site"), 403),
        (post().header("sec-fetch-site", "same-site"), 403),
        (http_client().post(&revoke).body("{\"all\":true}"), 415),
        (http_client().post(&revoke).header(CONTENT_TYPE, "text/plain").body("{\"all\":true}"), 415),
        (http_client().post(&revoke).form(&[("all", "true")]), 415),
        (http_client().request(Method::GET, &revoke), 405),
        (http_client().request(Method::POST, &list), 405),
        (http_client().request(Method::DELETE, &list), 405),
        (http_client().request(Method::OPTIONS, &revoke), 405),
        (body(""), 400),
        (body("[]"), 400),
        (body("{}"), 400),
        (body("{\"all\":false}"), 400),
        (body("{\"all\":true,\"all\":true}"), 400),
        (body("{\"all\":true,\"user\":\"adele\"}"), 400),
        (body("{\"all\":true,\"really\":1}"), 400),
        (body("{\"user\":\"\"}"), 400),
        (body("{\"user\":\"a/b\"}"), 400),
        (body("{\"session\":\"../1\"}"), 400),
        (http_client().post(&revoke).header(CONTENT_TYPE, "application/json").body("x".repeat(17 * 1024)), 400),
        (http_client().get(format!("{list}?user=a&user=b")), 400),
        (http_client().get(format!("{list}?users=a")), 400),
    ] {
        let asked = format!("{request:?}");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{asked}");
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
        assert_eq!(answer.headers().contains_key("allow"), status == 405);
        assert!(answer.json::<Value>().await.unwrap()["error"].is_string(), "{asked}");
    }
    assert_eq!(call(&gateway, &token).await.0, 200, "none of these ends anything");

    let typed = get().header("sec-fetch-site", "none").header(HOST, format!("localhost:{}", gateway.admin_port));
    let listed: Value = typed.send().await.unwrap().json().await.unwrap();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1, "{listed}");
    let answer: Value = post().send().await.unwrap().json().await.unwrap();
    assert_eq!(answer, json!({ "ended": 1, "unknown": 0, "complete": true }));
    assert_eq!(call(&gateway, &token).await.0, 401, "at once where it was asked for");
}
