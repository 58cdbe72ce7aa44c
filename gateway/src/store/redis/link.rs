//! The one connection to Redis, made when it is needed and made anew when it is lost; to a cluster, one for each node.
//!
//! Multiplexed, and never a pool of plain ones: a reply that nobody waits for any more is thrown away instead of being
//! read as the answer to the next question, which would give one user what belongs to another (T31).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::cluster::{ClusterClient, ClusterClientBuilder};
use ::redis::cluster_async::ClusterConnection;
use ::redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use ::redis::{Client, Cmd, ConnectionAddr, ErrorKind, Pipeline, ProtocolVersion, PushInfo, PushKind};
use ::redis::{RedisError, RedisFuture, TlsMode, Value};
use tokio::sync::OnceCell;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{JoinHandle, JoinSet};

use super::patient::drive;
use super::settings::{RedisSettings, SettingsError};
use super::socket::connect;
use super::url::{Node, Place};

pub struct Link {
    finder: Finder,
    settings: RedisSettings,
    current: Mutex<Arc<Attempt>>,
}

/// One connection from the wish for it to its loss. Whoever wants it while it is made waits for the same one; it is made in
/// the runtime that serves, where its driver lives from then on.
#[derive(Default)]
pub struct Attempt {
    made: OnceCell<Result<Connection, RedisError>>,
    lost: Arc<AtomicBool>,
    /// When it was not made: until when all who ask are told so, and nobody tries again.
    failed_until: OnceLock<Instant>,
}

#[derive(Clone)]
pub enum Connection {
    Server { connection: MultiplexedConnection, _driver: Arc<Driver> },
    Cluster(ClusterConnection),
}

/// Ends with the last who could ask: Redis may not have answered everything by then.
pub struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum Finder {
    Server(Box<Client>),
    /// One client for each sentinel, so that one that hangs delays no other.
    Sentinels(Vec<Arc<tokio::sync::Mutex<SentinelClient>>>),
    /// With a client for each node that the settings name.
    Cluster {
        cluster: Box<ClusterClient>,
        nodes: Vec<Client>,
    },
}

impl Link {
    /// Connects to nothing yet.
    pub fn new(settings: RedisSettings) -> Result<Self, SettingsError> {
        let finder = match &*settings.url.place {
            Place::Server(node) => Finder::Server(Box::new(client(&settings, settings.address(node))?)),
            Place::Sentinels { sentinels, service } => {
                let clients = sentinels.iter().map(|sentinel| sentinel_client(&settings, sentinel, service));
                let clients = clients.map(|client| Ok(Arc::new(tokio::sync::Mutex::new(client?))));
                Finder::Sentinels(clients.collect::<Result<_, RedisError>>()?)
            }
            Place::Cluster(nodes) => {
                let clients = nodes.iter().map(|node| client(&settings, settings.address(node)));
                let each = clients.collect::<Result<_, RedisError>>()?;
                Finder::Cluster { cluster: Box::new(cluster_client(&settings, nodes)?), nodes: each }
            }
        };
        Ok(Self { finder, settings, current: Mutex::default() })
    }

    /// The newest attempt, and a new one when that is lost.
    pub fn current(&self) -> Arc<Attempt> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let over = match current.failed_until.get() {
            Some(until) => Instant::now() >= *until,
            None => current.lost.load(Ordering::Relaxed),
        };
        if over {
            *current = Arc::default();
        }
        current.clone()
    }

    /// # Errors
    /// What this attempt failed with.
    pub async fn connection(&self, attempt: &Attempt) -> Result<Connection, RedisError> {
        let made = attempt.made.get_or_init(|| self.finder.connect(&self.settings, attempt.lost.clone())).await.clone();
        if made.is_err() {
            attempt.failed_until.get_or_init(|| Instant::now() + BETWEEN_ATTEMPTS);
        }
        made
    }

    /// Gives up a connection that failed with this, unless another one would fail alike. To a cluster it is kept: that one
    /// looks after its nodes itself, and most of them are well.
    pub fn failed(&self, attempt: &Attempt, error: &RedisError) {
        let moved = matches!(error.code(), Some("READONLY" | "MASTERDOWN"));
        // A frozen primary keeps its connections while the sentinels choose another.
        let elsewhere = matches!(self.finder, Finder::Sentinels(_)) && error.is_timeout();
        if moved || elsewhere || error.is_unrecoverable_error() {
            self.give_up(attempt);
        }
    }

    pub fn give_up(&self, attempt: &Attempt) {
        if !self.is_cluster() {
            attempt.lost.store(true, Ordering::Relaxed);
        }
    }

    /// A server to hear announcements from. What is said at one node of a cluster all of them hear, so with each attempt
    /// another one is as good; replicas hear what their primary does, so one that was demoted goes on being good.
    async fn listening_post(&self, attempt: usize) -> Result<Client, RedisError> {
        match &self.finder {
            Finder::Server(client) => Ok((**client).clone()),
            Finder::Sentinels(sentinels) => primary(sentinels, &self.settings).await,
            Finder::Cluster { nodes, .. } => {
                let node = nodes.get(attempt % nodes.len().max(1)).cloned();
                node.ok_or((ErrorKind::ClusterConnectionNotFound, "the cluster has no nodes").into())
            }
        }
    }

    /// A connection to hear announcements by: what Redis says of itself goes to `heard`, as does that it is over. An answer
    /// is waited for with `patience`.
    pub async fn listening(
        &self,
        attempt: usize,
        patience: Duration,
        heard: UnboundedSender<PushInfo>,
    ) -> Result<MultiplexedConnection, RedisError> {
        self.settings.ready().await?;
        let post = self.listening_post(attempt).await?;
        // If it cannot be signed in again, its end is heard like any other.
        let config = self.settings.connection(Arc::default());
        let config = config.set_response_timeout(Some(patience)).set_push_sender(heard);
        post.get_multiplexed_async_connection_with_config(&config).await
    }

    /// The servers themselves, by where they are: the one, the primary of the moment, or each that the settings name.
    pub async fn nodes(&self) -> Vec<(String, Result<Client, RedisError>)> {
        let named = |client: &Client| (client.get_connection_info().addr().to_string(), Ok(client.clone()));
        match &self.finder {
            Finder::Server(client) => vec![named(client)],
            Finder::Sentinels(sentinels) => match self.within(primary(sentinels, &self.settings)).await {
                Ok(client) => vec![named(&client)],
                Err(error) => vec![("sentinels".to_owned(), Err(error))],
            },
            Finder::Cluster { nodes, .. } => nodes.iter().map(named).collect(),
        }
    }

    /// A connection of its own, an answer on which is waited for with `patience`.
    pub async fn connection_for_looking(
        &self,
        client: &Client,
        patience: Duration,
    ) -> Result<MultiplexedConnection, RedisError> {
        self.settings.ready().await?;
        let config = self.settings.connection(Arc::default()).set_response_timeout(Some(patience));
        // What Redis says by itself, once subscribed, is not asked for.
        let config = config.set_push_sender(|_: PushInfo| Ok::<_, std::convert::Infallible>(()));
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    pub fn signs_in_by_token(&self) -> bool {
        self.settings.entra_user.is_some()
    }

    /// The future's outcome, if it comes within the time for connecting.
    pub async fn within<T>(&self, future: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
        within(self.settings.connect_timeout, future).await
    }

    pub fn is_cluster(&self) -> bool {
        matches!(self.finder, Finder::Cluster { .. })
    }
}

impl Finder {
    async fn connect(&self, settings: &RedisSettings, lost: Arc<AtomicBool>) -> Result<Connection, RedisError> {
        settings.ready().await?;
        match self {
            Finder::Server(client) => server(client, settings, lost).await,
            Finder::Sentinels(sentinels) => {
                let found = async { server(&primary(sentinels, settings).await?, settings, lost).await };
                within(settings.connect_timeout, found).await
            }
            // Twice, for a node that does not answer must not keep us from those that do.
            Finder::Cluster { cluster, .. } => {
                let connecting = within(settings.connect_timeout * 2, cluster.get_async_connection());
                connecting.await.map(Connection::Cluster)
            }
        }
    }
}

async fn server(client: &Client, settings: &RedisSettings, lost: Arc<AtomicBool>) -> Result<Connection, RedisError> {
    let config = settings.connection(lost.clone());
    let notice = move |info: PushInfo| {
        if info.kind == PushKind::Disconnection {
            lost.store(true, Ordering::Relaxed);
        }
        Ok::<_, std::convert::Infallible>(())
    };
    let config = config.set_push_sender(notice);
    let info = client.get_connection_info();
    let connecting = async {
        let socket = connect(info.addr(), settings).await?;
        MultiplexedConnection::new_with_config(info.redis_settings(), socket, config).await
    };
    let (connection, driver) = within(settings.connect_timeout, connecting).await?;
    Ok(Connection::Server { connection, _driver: Arc::new(Driver(tokio::spawn(drive(driver)))) })
}

/// Asks all sentinels at once, and believes the first whose primary says itself that it is one.
async fn primary(
    sentinels: &[Arc<tokio::sync::Mutex<SentinelClient>>],
    settings: &RedisSettings,
) -> Result<Client, RedisError> {
    let mut asking: JoinSet<Result<Client, RedisError>> = JoinSet::new();
    for sentinel in sentinels {
        let sentinel = sentinel.clone();
        asking.spawn(async move { sentinel.lock().await.async_get_client().await });
    }
    let mut failure = RedisError::from((ErrorKind::MasterNameNotFoundBySentinel, "no sentinel was asked"));
    while let Some(answer) = asking.join_next().await {
        match answer {
            Ok(Ok(found)) => {
                let info = found.get_connection_info().clone();
                return Client::open(info.set_redis_settings(settings.sign_in()).set_tcp_settings(settings.tcp()));
            }
            Ok(Err(error)) => failure = error,
            Err(_) => return Err((ErrorKind::Client, "asking a sentinel panicked").into()),
        }
    }
    Err(failure)
}

async fn within<T>(limit: Duration, future: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    let late = |_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
    tokio::time::timeout(limit, future).await.unwrap_or_else(late)
}

fn client(settings: &RedisSettings, address: ConnectionAddr) -> Result<Client, RedisError> {
    let info = settings.server(address)?;
    if settings.url.tls { Client::build_with_tls(info, settings.certificates()) } else { Client::open(info) }
}

fn sentinel_client(settings: &RedisSettings, sentinel: &Node, service: &str) -> Result<SentinelClient, RedisError> {
    let address = settings.address(sentinel);
    let mut builder = SentinelClientBuilder::new([address], service, SentinelServerType::Master)?
        .set_client_to_redis_protocol(ProtocolVersion::RESP3)
        .set_client_to_redis_tcp_settings(settings.tcp())
        .set_client_to_sentinel_tcp_settings(settings.tcp());
    if settings.url.tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(settings.certificates())
            .set_client_to_sentinel_certificates(settings.certificates());
    }
    if let Some(user) = &settings.url.user {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = &settings.password {
        builder = builder.set_client_to_redis_password(password.as_str());
    }
    if let Some(password) = &settings.sentinel_password {
        builder = builder.set_client_to_sentinel_password(password.as_str());
    }
    builder.build()
}

fn cluster_client(settings: &RedisSettings, nodes: &[Node]) -> Result<ClusterClient, RedisError> {
    let nodes = nodes.iter().map(|node| settings.server(settings.address(node)));
    let mut builder = ClusterClientBuilder::new(nodes.collect::<Result<Vec<_>, _>>()?)
        // It would repeat what it does not know to have failed, such as the redemption of a code.
        .retries(0)
        .connection_timeout(settings.connect_timeout)
        .response_timeout(settings.response_timeout)
        .tcp_settings(settings.tcp());
    if settings.url.tls {
        builder = builder.certs(settings.certificates());
    }
    if let Some(user) = &settings.entra_user {
        builder = builder.set_credentials_provider(user.for_cluster());
    }
    builder.build()
}

/// While Redis refuses connections, or the sentinels know no primary: often enough to notice soon that this is over, seldom
/// enough not to be one more trouble.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Connection::Server { connection, .. } => connection.req_packed_command(command),
            Connection::Cluster(cluster) => cluster.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Connection::Server { connection, .. } => connection.req_packed_commands(commands, offset, count),
            Connection::Cluster(cluster) => cluster.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Connection::Server { connection, .. } => connection.get_db(),
            Connection::Cluster(cluster) => cluster.get_db(),
        }
    }
}
