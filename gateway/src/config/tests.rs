//! What a configuration becomes. The document is the example that users get.

mod credentials;
mod mutations;

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use entra::Credential;

use super::example::with_every_key as everything;
use super::*;
use crate::access::{Membership, Requirement};
use crate::clock::Timestamp;
use crate::oauth::Remember;
use crate::sealed::KeyRing;
use crate::server::AdminSettings;
use crate::{log, store};

/// A folder with every file that the example names. One for all tests: none writes to it afterwards.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("sallyport-config-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let (certificate, key) = certified();
    std::fs::write(folder.join("tls.crt"), certificate).unwrap();
    std::fs::write(folder.join("tls.key"), key).unwrap();
    std::fs::write(folder.join("other.key"), certified().1).unwrap();
    std::fs::write(folder.join("servers-ca.pem"), self_signed()).unwrap();
    let (certificate, key) = certified();
    std::fs::write(folder.join("edge.crt"), certificate).unwrap();
    std::fs::write(folder.join("edge.key"), key).unwrap();
    for file in ["proxy-ca.pem", "federated-token", "entra.pem", "entra-key.pem", "entra-secret"] {
        std::fs::write(folder.join(file), "content").unwrap();
    }
    std::fs::write(folder.join("redis-ca.pem"), self_signed()).unwrap();
    std::fs::write(folder.join("sentinel-password"), "canary-of-the-sentinels\n").unwrap();
    std::fs::write(folder.join("redis-password"), "canary-of-redis\n").unwrap();
    std::fs::write(folder.join("function-key"), "canary-of-functions\r\n").unwrap();
    std::fs::write(folder.join("assistant-secret"), "canary-of-the-assistant-0123456789\n").unwrap();
    std::fs::write(folder.join("empty"), "\n").unwrap();
    std::fs::write(folder.join("two-lines"), "one\ntwo\n").unwrap();
    std::fs::write(folder.join("binary"), b"\xff\xfe").unwrap();
    std::fs::write(folder.join("long"), "x".repeat(100_000)).unwrap();
    std::fs::write(folder.join("umlaut"), "schl\u{fc}ssel").unwrap();
    KeyRing::create(&folder.join("keys.json"), Timestamp::from_unix(0)).unwrap();
    folder
});

fn self_signed() -> String {
    certified().0
}

/// A certificate and its key, in PEM.
fn certified() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["mcp.example.com".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn parse(text: &str) -> Result<Config, Mistakes> {
    parse_with(text, &[])
}

fn parse_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Config::parse("edge.toml", text, &FOLDER, &environment)
}

fn parsed(text: &str, environment: &[(&str, &str)]) -> Config {
    parse_with(text, environment).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

const TOKEN_FILE: (&str, &str) = ("AZURE_FEDERATED_TOKEN_FILE", "federated-token");

#[test]
fn the_example_is_valid_as_it_stands() {
    let config = parsed(EXAMPLE, &[TOKEN_FILE]);
    assert_eq!(config.server.public_url.as_str(), "https://mcp.example.com");
    assert_eq!(config.server.admin, AdminSettings::at("127.0.0.1:9464".parse().unwrap()));
    assert_eq!(config.server.sessions.access_lifetime, Duration::from_secs(3600));
    assert_eq!(config.server.sessions.cached, 10_000);
    assert_eq!(config.server.server_name, "mcp.example.com");
    assert_eq!(config.server.remember, Remember::Ask);
    assert_eq!(config.server.clients.custom_schemes, ["cursor", "vscode"]);
    assert!(config.server.clients.registration && config.server.access_log);
    assert!(config.server.allowed_origins.is_empty());
    assert_eq!((config.log.format, config.log.level), (log::Format::Json, tracing::Level::INFO));
    let Credential::WorkloadIdentity { token_file } = &config.server.credential else { panic!("another kind") };
    assert_eq!(*token_file, FOLDER.join("federated-token"));
    let upstream = &config.server.upstreams[0];
    assert_eq!((upstream.path.as_str(), upstream.pool.name.as_str()), ("/mcp", "graph"));
    assert_eq!(upstream.scope, "api://33333333-3333-3333-3333-333333333333/access_as_user");
    assert_eq!((upstream.pool.endpoint.as_str(), upstream.pool.sse_endpoint.as_str()), ("/mcp", "/sse"));
    assert!(upstream.pool.health.is_none() && upstream.pool.headers.is_empty());
}

#[test]
fn the_example_is_valid_with_every_key() {
    let config = parsed(&everything(), &[]);
    let pool = &config.server.upstreams[0].pool;
    assert_eq!(pool.health.as_ref().unwrap().interval, Duration::from_secs(5));
    assert_eq!(pool.headers[0].1, "canary-of-functions");
    assert!(pool.headers[0].1.is_sensitive());
    assert_eq!(pool.servers[1].as_str(), "https://10.0.0.6:8443/");
    assert_eq!(config.server.tls.unwrap().key, FOLDER.join("tls.key"));
    assert_eq!(config.server.entra.extra_ca_file, Some(FOLDER.join("proxy-ca.pem")));
    assert_eq!(config.server.entra.authority.allowed_tenants().len(), 2);
    let store::Settings::Redis(redis) = &config.server.store else { panic!("another store") };
    assert_eq!(redis.password.as_ref().unwrap().as_str(), "canary-of-redis");
    assert!(redis.ca.as_ref().unwrap().starts_with(b"-----BEGIN CERTIFICATE"));
    assert_eq!((redis.connect_timeout, redis.response_timeout), (Duration::from_secs(1), Duration::from_millis(250)));
    assert_eq!((redis.breaker.failures, redis.breaker.pause), (5, Duration::from_secs(1)));
    assert_eq!(config.server.allowed_origins, ["https://inspector.example.com"]);
    assert_eq!(config.server.server_name, "Example MCP");
    assert_eq!(config.server.audit, Some(FOLDER.join("audit.log")));
    assert_eq!(config.server.clients.denied, ["bad.example"]);
    let client = &config.server.clients.preregistered[0];
    assert_eq!((client.client_id.as_str(), client.name.as_str()), ("contoso-assistant", "Contoso Assistant"));
    assert_eq!(client.redirect_uris[0].as_str(), "https://assistant.contoso.example/callback");
    assert!(client.secret.as_ref().unwrap().matches("canary-of-the-assistant-0123456789"));
}

#[test]
fn rules_let_in_whom_they_name() {
    let config = parsed(EXAMPLE, &[TOKEN_FILE]);
    assert!(config.server.sign_in.is_none() && config.server.upstreams[0].access.allow.is_none());
    assert!(config.server.upstreams[0].access.tools.is_empty());
    let config = parsed(&everything(), &[("SALLYPORT_ACCESS__ROLES", "Edge.User, Edge.Admin")]);
    let access = &config.server.upstreams[0].access;
    let names = |requirement: &Requirement| format!("{:?}", requirement.parties().collect::<Vec<_>>());
    assert_eq!(
        names(config.server.sign_in.as_ref().unwrap()),
        r#"[Role("Edge.Admin"), Role("Edge.User"), Group("55555555-5555-5555-5555-555555555555")]"#
    );
    let allow = names(access.allow.as_ref().unwrap());
    assert_eq!(allow, r#"[Role("Graph.User"), Group("66666666-6666-6666-6666-666666666666")]"#);
    for (tool, allowed) in [("delete_user", false), ("purge_x", false), ("debug_x", false), ("delete_users", true)] {
        assert_eq!(access.tools.allow(&Membership::default(), tool), allowed, "{tool}");
    }
}

#[test]
fn an_empty_rule_is_a_mistake_wherever_it_is_from() {
    for (variable, key) in [("SALLYPORT_ACCESS__ROLES", "access.roles"), ("SALLYPORT_ACCESS__GROUPS", "access.groups")]
    {
        let mistakes = parse_with(EXAMPLE, &[TOKEN_FILE, (variable, "")]).err().unwrap().to_string();
        assert_eq!(mistakes, format!("environment {variable}: {key}: is empty: leave it out, or say who may\n"));
    }
    let many: Vec<_> = (0..98).map(|number| format!("\"R{number}\"")).collect();
    for (roles, fits) in [(&many[..95], true), (&many[..96], false)] {
        let text = everything().replace("roles = [\"Edge.User\"]", &format!("roles = [{}]", roles.join(",")));
        let mistakes = parse(&text).err().map(|mistakes| mistakes.to_string());
        assert_eq!(mistakes.is_none(), fits, "{mistakes:?}");
        assert!(mistakes.is_none_or(|words| words.contains("access: and the upstreams name more than 100")));
    }
}

#[test]
fn the_examples_defaults_are_the_defaults() {
    let without = parsed(EXAMPLE, &[TOKEN_FILE]).effective.to_string();
    let with = parsed(&everything(), &[TOKEN_FILE]).effective.to_string();
    let examples = [
        "admin.socket",
        "listen.redirect_address",
        "listen.trusted_proxies",
        "limits.connections ",
        "limits.exchanges ",
        "limits.files_reserved ",
        "entra.allowed_tenants",
        "entra.extra_ca_file",
        "entra.credential.token_file",
        "store.ca_file",
        "upstream[0].health",
        "upstream[0].headers",
        "upstream[0].tls",
        "upstream[0].allow",
        "upstream[0].tool_rule",
        "access.",
        "consent.server_name",
        "cors.",
        "clients.denied",
        "clients.preregistered",
        "log.audit_file",
        "telemetry.otlp_endpoint",
        "telemetry.continue_from",
    ];
    for line in with.lines().filter(|line| !examples.iter().any(|key| line.starts_with(key))) {
        assert!(
            without.lines().any(|other| other == line || other == format!("{line}  # default")),
            "{line}\n{without}"
        );
    }
}

#[test]
fn the_example_names_every_key() {
    let effective = parsed(&everything(), &[]).effective.to_string();
    // A key that has its default although everything is switched on is missing from the example.
    assert!(!effective.contains("# default"), "{effective}");
}

#[test]
fn the_environment_wins() {
    let config = parsed(
        EXAMPLE,
        &[
            ("SALLYPORT_PUBLIC_URL", "http://localhost:8080"),
            ("SALLYPORT_LISTEN__ADDRESS", "127.0.0.1:8080"),
            ("SALLYPORT_ENTRA__CREDENTIAL__KIND", "managed-identity"),
            ("SALLYPORT_STORE__URL", "redis://127.0.0.1:6379"),
            ("SALLYPORT_CLIENTS__CUSTOM_SCHEMES", "cursor, windsurf"),
            ("SALLYPORT_CORS__ALLOWED_ORIGINS", ""),
            ("SALLYPORT_TOKENS__SESSION_CACHE", "0"),
            ("SALLYPORT_LOG__ACCESS", "false"),
            ("SALLYPORT_LOG__FORMAT", "text"),
        ],
    );
    assert_eq!(config.server.public_url.as_str(), "http://localhost:8080");
    assert_eq!(config.server.listen[0].to_string(), "127.0.0.1:8080");
    assert!(matches!(config.server.credential, Credential::ManagedIdentity { client_id: None, .. }));
    assert_eq!(config.server.clients.custom_schemes, ["cursor", "windsurf"]);
    assert_eq!(config.server.sessions.cached, 0);
    assert!(!config.server.access_log);
    assert_eq!(config.log.format, log::Format::Text);
    let effective = config.effective.to_string();
    assert!(effective.contains("listen.address = \"127.0.0.1:8080\"  # SALLYPORT_LISTEN__ADDRESS\n"), "{effective}");
}

/// Found by fuzzing.
#[test]
fn the_name_of_a_variable_does_not_steer_a_terminal() {
    let mistakes = parse_with(EXAMPLE, &[TOKEN_FILE, ("SALLYPORT_LOG__\u{1b}[2J\nedge.toml:1", "1")]).err().unwrap();
    assert_eq!(mistakes.to_string(), "environment SALLYPORT_LOG__\\u{1b}[2J\\nedge.toml:1: no key has this name\n");
}

#[test]
fn a_whole_section_can_come_from_the_environment() {
    let text = EXAMPLE.replace("tls = {", "#tls = {");
    assert!(parsed(&text, &[TOKEN_FILE]).server.tls.is_none());
    let half = [TOKEN_FILE, ("SALLYPORT_LISTEN__TLS__CERTIFICATE", "tls.crt")];
    let mistakes = parse_with(&text, &half).err().unwrap().to_string();
    assert!(mistakes.contains("listen.tls.key: is missing"), "{mistakes}");
    let both = [&half[..], &[("SALLYPORT_LISTEN__TLS__KEY", "tls.key")]].concat();
    assert!(parsed(&text, &both).server.tls.is_some());
}

#[test]
fn nobodys_word_on_clients_counts_but_that_of_trusted_proxies() {
    let text = EXAMPLE.replace("#proxy_protocol = false", "proxy_protocol = true");
    let mistakes = parse_with(&text, &[TOKEN_FILE]).err().unwrap().to_string();
    assert!(mistakes.contains("listen.proxy_protocol: needs listen.trusted_proxies"), "{mistakes}");
    let text = text.replace("#trusted_proxies", "trusted_proxies");
    assert!(parsed(&text, &[TOKEN_FILE]).server.proxy_protocol);
}

#[test]
fn mistakes_in_the_environment_name_the_variable() {
    let wrong = [
        ("SALLYPORT_LISTEN__ADDRESS", "8443"),
        ("SALLYPORT_LOG__ACCESS", "yes"),
        ("SALLYPORT_LOG__LEVLE", "info"),
        ("SALLYPORT_UPSTREAM__PATH", "/other"),
        ("SALLYPORT_CLIENTS__CUSTOM_SCHEMES", "cursor,javascript"),
        // Kubernetes sets these beside a service named `sallyport`.
        ("SALLYPORT_PORT", "tcp://10.0.0.1:443"),
        ("SALLYPORT_SERVICE_HOST", "10.0.0.1"),
    ];
    let mistakes = parse_with(&everything(), &wrong).err().unwrap().to_string();
    let expected = [
        "environment SALLYPORT_CLIENTS__CUSTOM_SCHEMES: clients.custom_schemes[1]: must not be a scheme",
        "environment SALLYPORT_LISTEN__ADDRESS: listen.address: must be an IP address and a port",
        "environment SALLYPORT_LOG__ACCESS: log.access: must be true or false",
        "environment SALLYPORT_LOG__LEVLE: no key has this name. Did you mean SALLYPORT_LOG__LEVEL?",
        "environment SALLYPORT_UPSTREAM__PATH: no key has this name",
    ];
    assert_eq!(mistakes.lines().count(), expected.len(), "{mistakes}");
    for (line, expected) in mistakes.lines().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
}

#[test]
fn redis_is_one_server_a_service_or_a_cluster() {
    for (url, sentinels) in [
        ("rediss+sentinel://sallyport@one,two:26380/mymaster/1", true),
        ("rediss+cluster://sallyport@one,two:6380", false),
    ] {
        let text = everything().replace("rediss://sallyport@redis.internal:6380/0", url);
        let extra = ("SALLYPORT_STORE__SENTINEL_PASSWORD_FILE", "sentinel-password");
        let variables: &[_] = if sentinels { &[extra] } else { &[] };
        let config = parsed(&text, variables);
        let store::Settings::Redis(redis) = &config.server.store else { panic!("another store") };
        assert_eq!((redis.url.as_str(), redis.url.has_sentinels()), (url, sentinels));
        let password = redis.sentinel_password.as_ref().map(|password| password.as_str());
        assert_eq!(password, sentinels.then_some("canary-of-the-sentinels"));
        assert!(!format!("{redis:?}").contains("canary"));
    }
    for (url, keys) in [
        ("memory:", vec!["store.password_file", "store.ca_file"]),
        ("redis://sallyport@redis.internal", vec!["store.ca_file"]),
    ] {
        let text = everything().replace("rediss://sallyport@redis.internal:6380/0", url);
        let mistakes = parse(&text).err().unwrap();
        let found: Vec<_> = mistakes.found.iter().map(|mistake| mistake.key.as_str()).collect();
        assert_eq!(found, keys, "{url}");
        assert!(mistakes.found.iter().all(|mistake| mistake.words.starts_with("has no use")), "{mistakes}");
    }
}

#[test]
fn an_entra_user_takes_the_place_of_user_and_password() {
    let user = ("SALLYPORT_STORE__ENTRA_USER", "55555555-5555-5555-5555-55555555555A");
    let with_url = |url: &str| {
        let text = everything().replace("rediss://sallyport@redis.internal:6380/0", url);
        text.replace("\npassword_file", "\n#password_file").replace("\nca_file", "\n#ca_file")
    };
    let near = ["redis://127.0.0.1", "redis://localhost:7000", "redis://[::1]", "redis+cluster://127.0.0.1:1,[::1]:2"];
    for url in [&["rediss://redis.internal:10000", "rediss+cluster://one,two:6380"][..], &near].concat() {
        let config = parsed(&with_url(url), &[user]);
        let store::Settings::Redis(redis) = &config.server.store else { panic!("another store") };
        let object_id = redis.entra_user.as_ref().unwrap().object_id();
        assert_eq!(object_id, "55555555-5555-5555-5555-55555555555a", "{url}");
        assert!(redis.password.is_none());
    }
    for (text, words) in [
        (with_url("memory:"), "no use with memory:"),
        (with_url("rediss+sentinel://one,two/mymaster"), "no use with sentinels"),
        (with_url("rediss://sallyport@redis.internal"), "no use with a user in store.url"),
        (with_url("redis://redis.internal"), "needs TLS"),
        (with_url("redis+cluster://127.0.0.1,redis.internal"), "needs TLS"),
        (with_url("rediss://redis.internal").replace("\n#password_file", "\npassword_file"), "beside password_file"),
    ] {
        let mistakes = parse_with(&text, &[user]).err().unwrap_or_else(|| panic!("accepted: {words}"));
        let [mistake] = &mistakes.found[..] else { panic!("{mistakes}") };
        assert_eq!(mistake.key, "store.entra_user");
        assert!(mistake.words.contains(words), "{mistakes}");
    }
}

#[test]
fn nothing_shows_a_secret() {
    let config = parsed(&everything(), &[]);
    let effective = config.effective.to_string();
    assert!(effective.contains("store.password_file = \"redis-password\""), "{effective}");
    assert!(effective.contains("upstream[0].headers.x-functions-key.file = \"function-key\""), "{effective}");
    let store::Settings::Redis(redis) = &config.server.store else { panic!("another store") };
    let clients = format!("{:?}", config.server.clients);
    for shown in [effective, clients, format!("{redis:?}"), format!("{:?}", config.server.upstreams[0].pool.headers)] {
        assert!(!shown.contains("canary"), "{shown}");
    }
    // A secret in the wrong place is not quoted either.
    let text = everything().replace("rediss://sallyport@", "rediss://sallyport:canary@");
    let mistakes = parse(&text).err().unwrap().to_string();
    assert!(mistakes.contains("store.url") && !mistakes.contains("canary"), "{mistakes}");
    let text = everything().replace("22222222-2222-2222-2222-222222222222", "canary");
    let mistakes = parse(&text).err().unwrap().to_string();
    assert!(mistakes.contains("entra.client_id") && !mistakes.contains("canary"), "{mistakes}");
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake() {
    let mistakes = Config::load(&FOLDER.join("absent.toml")).err().unwrap().to_string();
    assert!(mistakes.contains("absent.toml: cannot be read: No such file"), "{mistakes}");
    assert!(Config::load(&FOLDER.join("binary")).err().unwrap().to_string().contains("cannot be read"));
}
