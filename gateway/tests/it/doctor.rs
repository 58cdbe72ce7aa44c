//! `sallyport doctor` at a whole installation: first as it should be, then each thing that can be wrong, with what it says to do.

mod site;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use fake_entra::{Fault, Match};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::program::{Folder, PROGRAM};
use crate::support::browser::http_client;
use crate::support::free_port;
use crate::support::redis_server::RedisServer;
use crate::support::tls_server::{Authority, TlsServer};
use site::{SERVICE_ACCOUNT, Said, Site, answering, least_user};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_an_installation_as_it_should_be_nothing_is_wrong() {
    let Some(redis) = RedisServer::start_with(&["--appendonly", "yes"]) else { return };
    let site = Site::new("well").await;
    least_user(&redis, &site);
    let port = redis.url().rsplit(':').next().unwrap().to_owned();
    let _replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]).unwrap();
    assert_eq!(redis.tell("CONFIG SET min-replicas-to-write 1"), "+OK");
    let started = Instant::now();
    while !redis.tell("INFO replication").contains("min_slaves_good_slaves:1") {
        assert!(started.elapsed() < Duration::from_secs(30), "{}", redis.tell("INFO replication"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let running = site.serve().await;
    let before = redis.tell("DBSIZE");
    let said = site.ask().await;
    assert_eq!(said.code, 0, "{}", said.text);
    // What this machine lets a process use is not ours to say.
    let warned: Vec<_> = said.of_level("warn").into_iter().filter(|check| !check.starts_with("limits.")).collect();
    assert!(warned.is_empty(), "{}", said.text);
    for check in [
        "keys.permissions",
        "keys.age",
        "public_url.dns",
        "public_url.reachable",
        "public_url.metadata",
        "clock.public_url",
        "entra.authority",
        "clock.entra",
        "entra.keys",
        "entra.credential",
        "entra.exchange",
        "entra.redirect_uri",
        "entra.scope",
        "store.tls",
        "store.version",
        "store.acl",
        "store.round_trip",
        "store.eviction",
        "store.persistence",
        "store.replicas",
        "upstream.initialize",
        "upstream.discover",
    ] {
        assert!(said.findings.iter().any(|finding| finding["check"] == check), "{check}: {}", said.text);
    }
    let (assertion, _) = said.words("entra.credential");
    let compared =
        format!("issuer {} · subject {SERVICE_ACCOUNT} · audience api://AzureAD", site.entra.cluster_issuer());
    assert!(assertion.starts_with(&compared), "{assertion}");
    assert_eq!(redis.tell("DBSIZE"), before, "nothing is written");
    assert!(!said.text.contains("canary"), "{}", said.text);

    // As text, with the same lines.
    let mut command = Command::new(PROGRAM);
    command.args(["doctor", "--config", &site.file]);
    let output = spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("ok    public_url.metadata    all "), "{text}");
    assert!(text.lines().last().unwrap().ends_with(" 0 fail"), "{text}");
    assert_eq!(running.terminate().0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_first_start_it_says_so_and_looks_at_all_else() {
    let site = Site::new("unstarted").await;
    let said = site.ask().await;
    assert_eq!(said.code, 0, "{}", said.text);
    let (says, fix) = said.words("public_url.reachable");
    assert!(says.starts_with("not running") && fix.contains("start it by sallyport serve"), "{says} {fix}");
    assert!(said.of_level("warn").contains(&"store"), "memory: {}", said.text);
    said.words("upstream.discover");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_entra_refuses_is_named_with_what_mends_it() {
    let site = Site::new("entra").await;

    let token = site.folder.path("federated-token");
    let good = fs::read_to_string(&token).unwrap();
    fs::write(&token, site.entra.mint_service_account_token("system:serviceaccount:other:account")).unwrap();
    let said = site.ask().await;
    let (says, fix) = said.only_failure("entra.exchange");
    assert!(says.contains("AADSTS700213"), "{says}");
    assert!(fix.contains("add a federated credential") && fix.contains("issuer, subject and audience"), "{fix}");
    assert!(said.words("entra.credential").0.contains("subject system:serviceaccount:other:account"));

    fs::write(&token, "not.a.token").unwrap();
    site.ask().await.only_failure("entra.credential");
    fs::write(&token, &good).unwrap();

    let in_credentials = |aadsts| Fault {
        matching: Match { grant: Some("client_credentials".into()), ..Match::default() },
        aadsts: Some(aadsts),
        times: 1,
        ..Fault::default()
    };
    site.entra.fault(in_credentials(7000222));
    let said = site.ask().await;
    assert!(said.only_failure("entra.exchange").1.contains("has expired"), "{}", said.text);

    site.entra.fault(Fault { aadsts: Some(50011), ..Fault::on("/authorize") });
    let said = site.ask().await;
    let (says, fix) = said.only_failure("entra.redirect_uri");
    assert!(says.contains(&format!("http://localhost:{}/oauth-callback", site.port)), "{says}");
    assert!(fix.contains("platform Web"), "{fix}");

    let scope = site.entra.scope();
    site.change(&scope, &scope.replace("access_as_user", "no_such_scope"));
    let said = site.ask().await;
    let (says, fix) = said.only_failure("entra.scope");
    assert!(says.contains("no_such_scope") && fix.contains("Expose an API"), "{says} {fix}");
    site.change("no_such_scope", "access_as_user");

    site.change(site.entra.tenant_id(), "99999999-0000-4000-8000-000000000009");
    let said = site.ask().await;
    assert!(said.only_failure("entra.authority").1.contains("entra.tenant_id"), "{}", said.text);
    site.change("99999999-0000-4000-8000-000000000009", site.entra.tenant_id());

    site.change(&site.entra.authority(), "http://127.0.0.1:9");
    let said = site.ask().await;
    assert!(
        said.only_failure("entra.authority").1.contains("let this machine reach http://127.0.0.1:9"),
        "{}",
        said.text
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_a_warning_and_a_wrong_one_a_failure() {
    let site = Site::new("secret").await;
    let secret = site.folder.file("secret", "canary-of-entra");
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o644)).unwrap();
    site.change("kind = \"workload-identity\"", "kind = \"client-secret\"");
    site.change("token_file", "secret_file");
    site.change("federated-token", "secret");
    let said = site.ask().await;
    let (says, fix) = said.only_failure("entra.exchange");
    assert!(says.contains("AADSTS7000215") && fix.contains("not its id"), "{says} {fix}");
    assert!(said.words("entra.credential").1.contains("workload-identity"));
    assert!(said.words("entra.credential_file").1.starts_with("chmod 600"), "{}", said.text);
    assert!(!said.text.contains("canary"), "{}", said.text);
}

/// Only `Date` is wrong, as where the machine's own clock is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_wrong_is_a_failure() {
    let site = Site::new("clock").await;
    let document = http_client()
        .get(format!("{}/{}/v2.0/.well-known/openid-configuration", site.entra.authority(), site.entra.tenant_id()))
        .send()
        .await
        .unwrap();
    let body: Value = document.json().await.unwrap();
    let headers = [("date".to_owned(), "Sat, 01 Jan 2000 00:00:00 GMT".to_owned())].into_iter().collect();
    site.entra.fault(Fault { body: Some(body), status: Some(200), headers, ..Fault::on("openid-configuration") });
    let said = site.ask().await;
    let (says, fix) = said.only_failure("clock.entra");
    assert!(says.contains("days ahead of Entra's") && fix.contains("timesyncd"), "{says} {fix}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_ring_that_everybody_may_read_is_a_failure() {
    let site = Site::new("ring").await;
    let ring = site.folder.path("keys.json");
    fs::set_permissions(&ring, PermissionsExt::from_mode(0o644)).unwrap();
    let said = site.ask().await;
    let (_, fix) = said.only_failure("keys.permissions");
    assert!(fix.starts_with(&format!("chmod 600 {ring}")), "{fix}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_lacks_is_named() {
    let Some(mut redis) = RedisServer::start_with(&["--maxmemory", "100mb"]) else { return };
    let site = Site::new("redis").await;
    least_user(&redis, &site);

    assert_eq!(redis.tell("CONFIG SET maxmemory-policy allkeys-lru"), "+OK");
    let said = site.ask().await;
    let (says, fix) = said.only_failure("store.eviction");
    assert!(says.contains("allkeys-lru") && fix.contains("maxmemory-policy noeviction"), "{says} {fix}");
    assert!(said.words("store.persistence").1.contains("appendonly yes"));
    assert!(said.words("store.replicas").1.contains("add a replica"));
    assert_eq!(redis.tell("CONFIG SET maxmemory-policy noeviction"), "+OK");

    for right in ["get", "set", "zadd", "evalsha", "script|load", "publish"] {
        assert_eq!(redis.tell(&format!("ACL SETUSER sallyport -{right}")), "+OK");
        let said = site.ask().await;
        let (says, fix) = said.only_failure("store.acl");
        assert!(says.ends_with(&format!("may not {right}")) && fix.contains(&format!("+{right}")), "{says} {fix}");
        assert_eq!(redis.tell(&format!("ACL SETUSER sallyport +{right}")), "+OK");
    }
    assert_eq!(redis.tell("ACL SETUSER sallyport resetchannels"), "+OK");
    let said = site.ask().await;
    assert!(said.only_failure("store.acl").0.contains("the channel"), "{}", said.text);
    assert_eq!(redis.tell("ACL SETUSER sallyport &sallyport:revoked -info"), "+OK");
    let said = site.ask().await;
    assert_eq!(said.code, 0, "{}", said.text);
    assert!(said.words("store.info").1.contains("+info"), "{}", said.text);
    assert_eq!(redis.tell("ACL SETUSER sallyport +info ~* +flushdb"), "+OK");
    let said = site.ask().await;
    assert_eq!(said.code, 0, "{}", said.text);
    let (says, fix) = said.words("store.acl");
    assert!(says.contains("outside sallyport:*, remove everything") && fix.contains("users.acl"), "{says} {fix}");

    site.folder.file("redis-password", "canary-of-another");
    let said = site.ask().await;
    assert!(said.only_failure("store.connection").0.contains("user name or the password"), "{}", said.text);
    redis.stop();
    let said = site.ask().await;
    assert!(said.only_failure("store.connection").1.contains("start Redis"), "{}", said.text);
    assert!(!said.text.contains("canary"), "{}", said.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_an_upstream_can_be_wrong_is_told_apart() {
    let site = Site::new("upstream").await;
    let text = fs::read_to_string(&site.file).unwrap();
    let servers = text.lines().find(|line| line.contains("servers = ")).unwrap().trim().to_owned();
    let with = |url: &str| fs::write(&site.file, text.replace(&servers, &format!("servers = [\"{url}\"]"))).unwrap();

    with(&format!("http://127.0.0.1:{}", free_port()));
    let said = site.ask().await;
    assert!(said.only_failure("upstream.initialize").1.contains("start the server"), "{}", said.text);

    let (server, url) = answering(|| async { axum::http::StatusCode::NOT_FOUND }).await;
    with(&url);
    let said = site.ask().await;
    assert!(said.only_failure("upstream.initialize").1.contains("endpoint"), "{}", said.text);
    server.abort();

    let (server, url) = answering(|| async { (axum::http::StatusCode::OK, "<html>hello</html>") }).await;
    with(&url);
    let said = site.ask().await;
    assert!(said.only_failure("upstream.initialize").0.contains("no answer of MCP"), "{}", said.text);
    server.abort();

    // Whoever reaches it is served; and a server that knows no server/discover is of the earlier era.
    let (server, url) = answering(|body: String| async move {
        match body.contains("initialize") {
            true => (axum::http::StatusCode::OK, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#),
            false => (axum::http::StatusCode::BAD_REQUEST, "unknown"),
        }
    })
    .await;
    with(&url);
    let said = site.ask().await;
    assert_eq!(said.code, 0, "{}", said.text);
    assert!(said.words("upstream.initialize").1.contains("verify Entra's token"), "{}", said.text);
    assert!(said.words("upstream.discover").0.contains("before 2026-07-28"), "{}", said.text);
    server.abort();

    with("http://no-such-host.invalid:8000");
    let said = site.ask().await;
    assert!(said.only_failure("upstream.dns").0.contains("no-such-host.invalid"), "{}", said.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_url_that_leads_elsewhere_is_told_from_another_configuration() {
    let site = Site::new("stranger").await;
    // Another configuration at the same place.
    let running = site.serve().await;
    let text = fs::read_to_string(&site.file).unwrap();
    fs::write(&site.file, text.clone() + "\n[clients]\nregistration = false\n[consent]\nserver_name = \"Renamed\"\n")
        .unwrap();
    let said = site.ask().await;
    let (says, fix) = said.only_failure("public_url.metadata");
    assert!(says.contains("registration_endpoint") && fix.contains("restart every replica"), "{says} {fix}");
    assert_eq!(running.terminate().0, Some(0));

    // A stranger, while the edge listens elsewhere.
    let (server, url) = answering(|| async { ([("server", "nginx")], "hello") }).await;
    let public = format!("http://127.0.0.1:{}", url.rsplit(':').next().unwrap());
    fs::write(&site.file, text.replace(&format!("http://localhost:{}", site.port), &public)).unwrap();
    let running = site.serve().await;
    let said = site.ask().await;
    assert!(said.of_level("fail").contains(&"public_url.reachable"), "{}", said.text);
    let (says, fix) = said.words("public_url.reachable");
    assert!(says.contains("something else answers") && says.contains("by nginx"), "{says}");
    assert!(fix.contains(&format!("127.0.0.1:{}", site.port)), "{fix}");
    server.abort();

    // Nothing there.
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    fs::write(&site.file, text.replace(&format!("http://localhost:{}", site.port), &nowhere)).unwrap();
    let said = site.ask().await;
    assert!(said.words("public_url.reachable").1.contains("the edge listens at"), "{}", said.text);
    assert_eq!(running.terminate().0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_is_judged_as_a_client_does() {
    let site = Site::new("tls").await;
    let authority = Authority::new();
    let roots = site.folder.file("roots.pem", &authority.pem());
    let trusting = [("SSL_CERT_FILE", roots.as_str())];
    let (certificate, key) = authority.certify();
    let files = [site.folder.file("tls.crt", &certificate), site.folder.file("tls.key", &key)];
    let tls = format!("tls = {{ certificate = \"{}\", key = \"{}\" }}\n[admin]", files[0], files[1]);
    site.change("[admin]", &tls);
    site.change(&format!("http://localhost:{}", site.port), &format!("https://localhost:{}", site.port));
    let running = site.serve().await;
    // The stand-in knows only the callback over http, of any port.
    let of_the_url = |said: &Said| -> Vec<String> {
        said.of_level("fail").into_iter().filter(|check| !check.starts_with("entra.")).map(str::to_owned).collect()
    };

    let said = site.ask_with(&trusting).await;
    assert!(of_the_url(&said).is_empty(), "{}", said.text);
    assert!(said.words("public_url.tls").0.contains("a certificate for localhost"), "{}", said.text);
    said.words("public_url.metadata");

    let said = site.ask().await;
    assert_eq!(of_the_url(&said), ["public_url.tls"], "{}", said.text);
    assert!(said.words("public_url.tls").1.contains("intermediate certificates"), "{}", said.text);
    assert_eq!(running.terminate().0, Some(0));

    for (parameters, words, fix) in [
        (expired(), "ended at 2001-01-01T00:00:00Z", "renew it"),
        (
            CertificateParams::new(["other.example".to_owned()]).unwrap(),
            "for other.example",
            "use one that has localhost",
        ),
    ] {
        let key = KeyPair::generate().unwrap();
        fs::write(&files[0], authority.sign(&parameters, &key)).unwrap();
        fs::write(&files[1], key.serialize_pem()).unwrap();
        let running = site.serve().await;
        let said = site.ask_with(&trusting).await;
        assert_eq!(of_the_url(&said), ["public_url.tls"], "{}", said.text);
        let found = said.words("public_url.tls");
        assert!(found.0.contains(words) && found.1.contains(fix), "{found:?}");
        assert_eq!(running.terminate().0, Some(0));
    }

    // Somebody else's TLS, who wants certificates of clients.
    let other = TlsServer::start(&authority, &authority);
    site.change(&format!("https://localhost:{}", site.port), &format!("https://localhost:{}", other.port));
    let said = site.ask_with(&trusting).await;
    assert!(said.words("public_url.tls").0.contains("not the one in listen.tls"), "{}", said.text);
}

fn expired() -> CertificateParams {
    let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.not_before = date_time_ymd(2000, 1, 1);
    parameters.not_after = date_time_ymd(2001, 1, 1);
    parameters
}

#[tokio::test]
async fn a_bad_configuration_is_78_as_everywhere() {
    let folder = Folder::new("doctor-bad");
    let file = folder.file("sallyport.toml", "public_url = 1\n");
    let output = Command::new(PROGRAM).args(["doctor", "--config", &file]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("public_url: must be a string"));
}
