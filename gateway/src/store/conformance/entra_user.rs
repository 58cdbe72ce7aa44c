//! Signing in by Entra's tokens: to a real redis-server with an ACL user who has no password, with tokens of the stand-in for
//! Entra that live for seconds. The test is what Azure is to its Redis: it knows which tokens are good.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use entra::credential::WorkloadIdentity;
use entra::{AccessToken, ApplicationTokens, Authority};
use fake_entra::directory::Policies;
use fake_entra::{FakeEntra, Fault, Match, Options, Seed};
use sha2::{Digest, Sha256};

use super::forms::rig::{Cluster, Folder, admin, tell, text, wait_until};
use super::forms::{cause, say};
use super::*;
use crate::store::{AZURE_REDIS, EntraUser};

const USER: &str = "0b0e6a5e-3f8c-4b7f-9d0b-0a8f5b1c2d3e";

/// A Redis, as one server or several, that knows the user by Entra's tokens.
struct Azure {
    connections: Mutex<Vec<::redis::Connection>>,
    /// The digests of the tokens that were good until now.
    good: Mutex<Vec<String>>,
    asked: AtomicUsize,
}

impl Azure {
    fn of(connections: Vec<::redis::Connection>) -> Arc<Self> {
        let azure = Self { connections: Mutex::new(connections), good: Mutex::default(), asked: AtomicUsize::new(0) };
        let users = include_str!("../../../../deploy/redis/users.acl");
        let user =
            users.lines().find_map(|line| line.strip_prefix("user sallyport on #SHA-256-OF-THE-PASSWORD-IN-HEX "));
        azure.tell_all(&format!("ACL SETUSER {USER} on {}", user.unwrap()));
        Arc::new(azure)
    }

    fn tell_all(&self, command: &str) -> Vec<::redis::Value> {
        self.connections.lock().unwrap().iter_mut().map(|connection| tell(connection, command)).collect()
    }

    /// From here on this token is the only good one.
    fn learns(&self, token: &AccessToken) {
        let digest: String = Sha256::digest(token.token.expose()).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut good = self.good.lock().unwrap();
        let before: String = good.drain(..).map(|digest| format!(" !{digest}")).collect();
        self.tell_all(&format!("ACL SETUSER {USER} #{digest}{before}"));
        good.push(digest);
    }

    /// Of one statistic, the sum of all servers.
    fn statistic(&self, section: &str, name: &str) -> usize {
        let numbers = self.tell_all(&format!("INFO {section}")).into_iter().map(|info| {
            let info = text(info);
            let line = info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0").to_owned();
            let digits: String = line.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<usize>().unwrap()
        });
        numbers.sum()
    }

    fn sign_ins(&self) -> usize {
        self.statistic("commandstats", "cmdstat_auth:calls=")
    }

    fn connections(&self) -> usize {
        self.statistic("stats", "total_connections_received:")
    }
}

/// Entra, the gateway's registration there, and the user whose tokens it gives.
struct Tenant {
    entra: FakeEntra,
    user: EntraUser,
    tokens: Arc<ApplicationTokens>,
    _folder: Folder,
}

impl Tenant {
    /// Whose tokens live for so many seconds.
    async fn with_tokens_of(seconds: i64) -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let policies = Policies { expires_in: Some(seconds), ..Policies::default() };
        let seed = Seed { policies, ..Seed::default() };
        let entra = FakeEntra::start(Options { seed, ..Options::default() }).await.unwrap();
        let folder = Folder::new();
        let assertion = entra.mint_service_account_token("system:serviceaccount:sallyport:sallyport");
        let file = folder.write("token", &assertion);
        let settings = entra::Settings {
            authority: Authority::new(&entra.authority(), entra.tenant_id()).unwrap(),
            client_id: entra.gateway_client_id().to_owned(),
            extra_ca_file: None,
            cae: false,
            accept_emulator: true,
        };
        let client = entra::Client::new(settings, Arc::new(WorkloadIdentity::new(file.into()))).unwrap();
        let tokens = ApplicationTokens::of_registration(Arc::new(client), AZURE_REDIS);
        Self { entra, user: EntraUser::new(USER.to_owned()), tokens: Arc::new(tokens), _folder: folder }
    }

    fn store(&self, settings: RedisSettings) -> Arc<RedisStore> {
        let settings = RedisSettings { password: None, entra_user: Some(self.user.clone()), ..settings };
        Arc::new(RedisStore::new(settings).unwrap())
    }

    /// Keeps the user signed in, each token known to Redis before it is used.
    fn sign_in_to(&self, azure: &Arc<Azure>) -> tokio::task::AbortHandle {
        let (user, tokens, azure) = (self.user.clone(), self.tokens.clone(), azure.clone());
        let renewing = tokio::spawn(async move {
            let fetch = async || {
                azure.asked.fetch_add(1, Ordering::SeqCst);
                let token = tokens.token().await?;
                azure.learns(&token);
                Ok(token)
            };
            user.stay_signed_in(fetch).await
        });
        renewing.abort_handle()
    }

    /// So many token calls fail.
    fn is_out_for(&self, calls: u32) {
        let matching = Match { grant: Some("client_credentials".to_owned()), ..Match::default() };
        self.entra.fault(Fault { matching, times: calls, status: Some(503), ..Fault::default() });
    }
}

/// Writes and reads from several sides until it is told to stop: how often, and what failed.
struct Load {
    stop: Arc<AtomicBool>,
    sides: Vec<tokio::task::JoinHandle<(usize, Vec<String>)>>,
}

impl Load {
    fn on(store: &Arc<RedisStore>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let side = |number: usize| {
            let (store, stop) = (store.clone(), stop.clone());
            tokio::spawn(async move {
                let (name, mut asked, mut failed) = (format!("sallyport:test:{number}"), 0, Vec::new());
                while !stop.load(Ordering::SeqCst) {
                    asked += 2;
                    failed.extend(store.put(&name, &VALUE, MINUTE).await.err().map(|error| error.to_string()));
                    match store.get(&name).await {
                        Ok(Some(value)) => assert_eq!(value, VALUE),
                        Ok(None) => failed.push("it is gone".to_owned()),
                        Err(error) => failed.push(error.to_string()),
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                (asked, failed)
            })
        };
        let sides = (0..8).map(side).collect();
        Self { stop, sides }
    }

    /// How often Redis was asked, and never in vain.
    async fn ends_well(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let mut asked = 0;
        for side in self.sides {
            let (of_this, failed) = side.await.unwrap();
            assert!(failed.is_empty(), "{} of {of_this} failed, such as: {}", failed.len(), failed[0]);
            asked += of_this;
        }
        asked
    }
}

/// As the user whom a server has if it is told of no other.
fn root(server: &RedisServer) -> ::redis::Connection {
    ::redis::Client::open(server.url()).unwrap().get_connection().unwrap()
}

async fn soon(what: &str, limit: Duration, mut is: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is().await {
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn renewals_under_load_fail_no_command_and_cut_no_connection() {
    let Some(server) = RedisServer::start() else { return };
    let azure = Azure::of(vec![root(&server)]);
    let tenant = Tenant::with_tokens_of(4).await;
    let store = tenant.store(RedisSettings::new(server.url().parse().unwrap()));
    let _renewing = tenant.sign_in_to(&azure);
    keeps_every_promise(store.clone()).await;
    let mut listener = store.listen(TOPIC);
    assert_eq!(heard(&mut listener).await, Announcement::Listening);

    let load = Load::on(&store);
    let (tokens, sign_ins) = (azure.asked.load(Ordering::SeqCst), azure.sign_ins());
    let connections = azure.connections();
    soon("five renewals", 30 * SECOND, async || azure.asked.load(Ordering::SeqCst) >= tokens + 5).await;
    // The one that listens too.
    soon("sign-ins", SECOND, async || azure.sign_ins() >= sign_ins + 10).await;
    assert_eq!(azure.connections(), connections, "the same connections all the while");
    store.announce(TOPIC, b"still there").await.unwrap();
    assert_eq!(heard(&mut listener).await, Announcement::Said(b"still there".to_vec()), "nothing was lost in between");
    let asked = load.ends_well().await;
    let (renewals, again) = (azure.asked.load(Ordering::SeqCst) - tokens, azure.sign_ins() - sign_ins);
    say(&format!("tokens of 4 s: {renewals} renewals, {again} sign-ins again, 0 of {asked} commands failed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_cluster_each_node_is_signed_in_to_again() {
    let Some(cluster) = Cluster::start(false) else { return };
    let azure = Azure::of(cluster.nodes.iter().map(admin).collect());
    let tenant = Tenant::with_tokens_of(4).await;
    let settings = cluster.settings();
    let url = settings.url.as_str().replace("sallyport@", "").parse().unwrap();
    let store = tenant.store(RedisSettings { url, ..settings });
    let _renewing = tenant.sign_in_to(&azure);
    keeps_every_promise(store.clone()).await;
    let load = Load::on(&store);
    let (tokens, sign_ins) = (azure.asked.load(Ordering::SeqCst), azure.sign_ins());
    soon("three renewals", 20 * SECOND, async || azure.asked.load(Ordering::SeqCst) >= tokens + 3).await;
    soon("sign-ins", SECOND, async || azure.sign_ins() >= sign_ins + 9).await;
    let asked = load.ends_well().await;
    let again = azure.sign_ins() - sign_ins;
    say(&format!("cluster, tokens of 4 s: {again} sign-ins again, 0 of {asked} commands failed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_entra_is_out_the_last_token_serves_to_its_end_and_afterwards_all_is_well() {
    let Some(mut server) = RedisServer::start() else { return };
    let azure = Azure::of(vec![root(&server)]);
    let tenant = Tenant::with_tokens_of(8).await;
    let store = tenant.store(RedisSettings::new(server.url().parse().unwrap()));
    let renewing = tenant.sign_in_to(&azure);
    store.put(NAME, &VALUE, MINUTE).await.unwrap();
    // Each attempt is two calls. The first is due after 6 s at the earliest; out for one, it is well again before the end.
    tenant.is_out_for(2);
    let load = Load::on(&store);
    soon("a token in spite of that", 12 * SECOND, async || azure.asked.load(Ordering::SeqCst) >= 3).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    load.ends_well().await;

    // Longer than a token lives.
    tenant.is_out_for(1000);
    let ended = async || tenant.store(RedisSettings::new(server.url().parse().unwrap())).get(NAME).await.is_err();
    soon("the token's end", 15 * SECOND, ended).await;
    store.get(NAME).await.expect("a connection that is signed in goes on for as long as Redis lets it");
    server.stop();
    server.start_again();
    soon("the connection's loss", SECOND, async || store.get(NAME).await.is_err()).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let refused = cause(store.get(NAME).await);
    assert!(refused.contains("no token of Entra's"), "{refused}");
    renewing.abort();
    tenant.entra.reset();
    let azure = Azure::of(vec![root(&server)]);
    let _renewing = tenant.sign_in_to(&azure);
    soon("a token", 5 * SECOND, async || store.put(NAME, &VALUE, MINUTE).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_start_without_entra_is_an_outage_of_redis_until_there_is_a_token() {
    let Some(server) = RedisServer::start() else { return };
    let azure = Azure::of(vec![root(&server)]);
    let tenant = Tenant::with_tokens_of(3600).await;
    tenant.is_out_for(4);
    let store = tenant.store(RedisSettings::new(server.url().parse().unwrap()));
    let mut listener = store.listen(TOPIC);
    let asked = Instant::now();
    assert!(cause(store.get(NAME).await).contains("no token of Entra's"), "nobody renews yet");
    assert!(asked.elapsed() < Duration::from_millis(1500));
    let _renewing = tenant.sign_in_to(&azure);
    soon("a token", 8 * SECOND, async || store.put(NAME, &VALUE, MINUTE).await.is_ok()).await;
    assert_eq!(azure.asked.load(Ordering::SeqCst), 3, "two attempts in vain, of two calls each");
    assert_eq!(heard(&mut listener).await, Announcement::Listening);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_that_redis_does_not_take_is_said_to_be_that() {
    let Some(server) = RedisServer::start() else { return };
    let azure = Azure::of(vec![root(&server)]);
    let tenant = Tenant::with_tokens_of(3600).await;
    let wrong = EntraUser::new("11111111-1111-1111-1111-111111111111".to_owned());
    let (renewed, tokens) = (wrong.clone(), tenant.tokens.clone());
    tokio::spawn(async move { renewed.stay_signed_in(|| tokens.token()).await });
    let settings = RedisSettings { entra_user: Some(wrong), ..RedisSettings::new(server.url().parse().unwrap()) };
    let refused = cause(RedisStore::new(settings).unwrap().get(NAME).await);
    assert!(refused.contains("refuses Entra's token") && refused.contains("store.entra_user"), "{refused}");
    assert_eq!(azure.asked.load(Ordering::SeqCst), 0);
    let canaries = tenant.entra.canaries();
    assert!(!canaries.is_empty() && canaries.iter().all(|canary| !refused.contains(canary.as_str())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_connection_that_cannot_be_signed_in_again_is_replaced_before_the_token_ends() {
    let Some(server) = RedisServer::start() else { return };
    let azure = Azure::of(vec![root(&server)]);
    let tenant = Tenant::with_tokens_of(8).await;
    let store = tenant.store(RedisSettings::new(server.url().parse().unwrap()));
    // From the second on Redis hears of the tokens too late.
    let late: Arc<Mutex<Option<AccessToken>>> = Arc::default();
    let (user, tokens, known, held) = (tenant.user.clone(), tenant.tokens.clone(), azure.clone(), late.clone());
    tokio::spawn(async move {
        let fetch = async || {
            let token = tokens.token().await?;
            match known.asked.fetch_add(1, Ordering::SeqCst) {
                0 => known.learns(&token),
                _ => *held.lock().unwrap() = Some(token.clone()),
            }
            Ok(token)
        };
        user.stay_signed_in(fetch).await
    });
    store.put(NAME, &VALUE, MINUTE).await.unwrap();
    let connections = azure.connections();
    let errors = async || text(azure.tell_all("INFO errorstats").remove(0)).contains("errorstat_WRONGPASS");
    soon("a refusal", 10 * SECOND, errors).await;
    azure.learns(late.lock().unwrap().as_ref().unwrap());
    for _ in 0..20 {
        store.put(NAME, &VALUE, MINUTE).await.expect("nobody notices");
    }
    assert_eq!(azure.connections(), connections + 1, "a new one took its place");
    wait_until("the old one is closed", || {
        // Ours and the new one.
        text(azure.tell_all("CLIENT LIST TYPE normal").remove(0)).lines().count() == 2
    });
}
