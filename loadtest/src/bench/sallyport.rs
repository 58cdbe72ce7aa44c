//! An installation of Sallyport: Redis, a key ring, sessions that really began, and replicas as they run in production.
//!
//! A replica takes no token of the stand-in for Entra: only `sallyport dev` does. So sessions begin at a `dev` with the same
//! public URL, ring and Redis, and replicas find them there, as those of any other replica.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Sizes;
use super::contestant::Contestant;
use super::machine::has;
use super::program::Program;
use super::results::SignInFigures;
use super::stage::{Serving, Side, Stage, free_address};
use crate::forge::forged;
use crate::mix::Mix;
use crate::observe::{run_time, run_time_where};
use crate::progress::Progress;
use crate::sign_in::SignIns;
use crate::target::Target;
use crate::tokens::{self, Session, Writer};
use crate::work::{Expected, Work};

pub struct Installation {
    /// What clients call it.
    pub target: Target,
    pub sessions: Vec<Session>,
    redis: Serving,
    _entra: Program,
    tenant: Tenant,
    ring: PathBuf,
}

/// What `fake-entra` says of itself.
#[derive(Deserialize)]
struct Tenant {
    authority: String,
    tenant_id: String,
    gateway_client_id: String,
    gateway_identity: String,
    imds_url: String,
    scope: String,
}

/// What makes one replica another than the rest.
#[derive(Clone, Copy, Default)]
pub struct Replica<'a> {
    /// Entries at hand; 0: Redis is asked at every request.
    pub cached: usize,
    /// PEM files of a certificate and its key.
    pub tls: Option<(&'a str, &'a str)>,
}

impl Installation {
    /// Starts it and signs everybody in.
    ///
    /// # Errors
    /// When something does not come up, or a sign-in fails.
    pub async fn begin(stage: &mut Stage, upstream: &Serving, sizes: &Sizes) -> anyhow::Result<(Self, SignInFigures)> {
        let redis = redis(stage).await?;
        let (entra, tenant) = entra(stage).await?;
        let ring = stage.folder().join("keys.json");
        let public = free_address()?;
        let target: Target = format!("http://localhost:{}/mcp", public.port()).parse()?;

        let mut command = stage.command(Side::Proxy, &stage.program("sallyport"));
        command.args(["dev", "--json", "--port", &public.port().to_string()]);
        command.args(["--admin-port", &free_address()?.port().to_string()]);
        command.args(["--store", &format!("redis://{}", redis.address)]).arg("--keys").arg(&ring);
        command.args(["--upstream", &format!("http://{}/mcp", upstream.address)]);
        let dev = stage.serve("dev", command, public).await?;
        let file = stage.folder().join("sessions.jsonl");
        let figures = sign_in(&target, &dev, &redis, Writer::create(&file)?, sizes).await?;
        dev.program.stop().await?;
        let sessions = tokens::read(&file)?;
        ensure!(sessions.len() >= sizes.sessions, "only {} sessions began", sessions.len());
        Ok((Self { target, sessions, redis, _entra: entra, tenant, ring }, figures))
    }

    /// Whose calls are measured.
    ///
    /// # Errors
    /// When there are none.
    pub fn calls(&self, sessions: usize, zipf: f64) -> anyhow::Result<Work> {
        let sessions = &self.sessions[..sessions.min(self.sessions.len())];
        let mix = Mix::new(sessions.len(), zipf).context("there are sessions")?;
        Work::tools_list(&self.target, Expected::RESULT)
            .by(sessions.iter().map(|session| session.access_token.as_str()), mix)
    }

    /// Warm, with Redis at every request, and refusing what nobody sealed.
    ///
    /// # Errors
    /// When a replica does not come up.
    pub async fn contestants(&self, stage: &mut Stage, upstream: &Serving) -> anyhow::Result<Vec<Contestant>> {
        let warm = self.replica(stage, upstream.address, Replica { cached: 10_000, tls: None }).await?;
        let asking = self.replica(stage, upstream.address, Replica::default()).await?;
        let refusing = self.replica(stage, upstream.address, Replica { cached: 10_000, tls: None }).await?;
        let sessions = self.sessions.len().min(1000);
        let model = self.sessions.first().map(|session| session.access_token.as_str());
        let forgeries: Vec<_> = (0..sessions).map(|_| forged(model, &mut rand::rng())).collect();
        let mix = Mix::new(sessions, 0.0).context("there are forgeries")?;
        let refused =
            Work::tools_list(&self.target, Expected::REFUSED).by(forgeries.iter().map(String::as_str), mix)?;
        let at = |serving: &Serving| self.target.clone().served_at(serving.address);
        let contestants = [
            Contestant::new(WARM, "full job, entry in process", at(&warm)?, self.calls(sessions, 0.0)?, warm),
            Contestant::new(
                "Sallyport, Redis at every request",
                "full job, one GET each",
                at(&asking)?,
                self.calls(sessions, 0.0)?,
                asking,
            ),
            Contestant::new("Sallyport, forged token", "401", at(&refusing)?, refused, refusing),
        ];
        Ok(contestants.map(|contestant| contestant.with_redis(self.redis.address)).into())
    }

    /// A replica as in production: `serve`, metrics and access log on, one worker on the core of the measured.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn replica(
        &self,
        stage: &mut Stage,
        upstream: SocketAddr,
        replica: Replica<'_>,
    ) -> anyhow::Result<Serving> {
        let (address, admin) = (free_address()?, free_address()?);
        let file = format!("sallyport-{}.toml", address.port());
        let file = stage.file(&file, &self.configuration(address, admin, upstream, replica))?;
        let mut command = stage.command(Side::Proxy, &stage.program("sallyport"));
        command.arg("serve").arg("--config").arg(file);
        let mut serving = stage.serve("sallyport", command, address).await?;
        let ready: Target = format!("http://{admin}/readyz").parse()?;
        serving.program.until(async || answers_ok(&ready).await.then_some(())).await.context("/readyz")?;
        Ok(serving)
    }

    fn configuration(&self, address: SocketAddr, admin: SocketAddr, upstream: SocketAddr, replica: Replica) -> String {
        let Tenant { authority, tenant_id, gateway_client_id, gateway_identity, imds_url, scope } = &self.tenant;
        let public_url = self.target.url().origin().ascii_serialization();
        let (redis, ring, cached) = (self.redis.address, self.ring.display(), replica.cached);
        let tls = replica.tls.map_or_else(String::new, |(certificate, key)| {
            format!("tls = {{ certificate = \"{certificate}\", key = \"{key}\" }}\n")
        });
        // Limits that the load would meet are raised: a refusal voids a window.
        format!(
            r#"public_url = "{public_url}"
[listen]
address = "{address}"
{tls}[admin]
address = "{admin}"
[entra]
authority = "{authority}"
tenant_id = "{tenant_id}"
client_id = "{gateway_client_id}"
scope = "{scope}"
[entra.credential]
kind = "managed-identity"
client_id = "{gateway_identity}"
endpoint = "{imds_url}"
[store]
url = "redis://{redis}"
[keys]
file = "{ring}"
[[upstream]]
name = "bench"
path = "/mcp"
servers = ["http://{upstream}"]
[tokens]
session_cache = {cached}
[limits]
refusals_per_minute = 1000000
requests_per_second = 1000000
burst = 1000000
streams_per_session = 10000
connections_per_address = 1000000
[drain]
delay = "0s"
window = "1s"
"#
        )
    }
}

async fn sign_in(
    target: &Target,
    dev: &Serving,
    redis: &Serving,
    writer: Writer,
    sizes: &Sizes,
) -> anyhow::Result<SignInFigures> {
    let settings = SignIns {
        sessions: sizes.many_sessions.max(sizes.sessions),
        parallel: 16,
        users: ["adele@contoso.example", "alex@contoso.example"].map(str::to_owned).to_vec(),
        limit: sizes.sign_in_limit,
        patience: Duration::from_secs(10),
    };
    // The stand-in for Entra has the runtime with tokio's own name for threads.
    let edge = || run_time_where(dev.program.pid(), |name| name != "tokio-rt-worker");
    let (edge_before, redis_before) = (edge()?, run_time(redis.program.pid())?);
    let commands_before = redis_commands(redis.address).await?;
    let signed_in = settings.run(target, writer, &Progress::on_terminal()).await?;
    ensure!(signed_in.failures.is_empty(), "sign-ins failed: {:?}", signed_in.failures);
    let (count, seconds) = (signed_in.whole.len(), signed_in.took.as_secs_f64());
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    Ok(SignInFigures {
        count,
        per_second: count as f64 / seconds,
        cpu_us_of_edge: each(edge()?.saturating_sub(edge_before)),
        cpu_us_of_redis: each(run_time(redis.program.pid())?.saturating_sub(redis_before)),
        redis_commands: (redis_commands(redis.address).await? - commands_before) as f64 / count as f64,
    })
}

async fn redis(stage: &mut Stage) -> anyhow::Result<Serving> {
    ensure!(has("redis-server"), "redis-server is not installed");
    let address = free_address()?;
    let mut command = stage.command(Side::Load, &PathBuf::from("redis-server"));
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", "", "--appendonly", "no"]);
    command.args(["--maxmemory-policy", "noeviction"]);
    stage.serve("redis", command, address).await
}

async fn entra(stage: &mut Stage) -> anyhow::Result<(Program, Tenant)> {
    let command = stage.command(Side::Load, &stage.program("fake-entra"));
    let mut program = stage.start("fake-entra", command)?;
    let log = program.log().to_owned();
    let tenant = async || {
        let text = fs::read_to_string(&log).ok()?;
        text.lines().find_map(|line| serde_json::from_str(line).ok())
    };
    let tenant = program.until(tenant).await?;
    Ok((program, tenant))
}

/// How many commands Redis has processed.
///
/// # Errors
/// When it does not say so.
pub async fn redis_commands(redis: SocketAddr) -> anyhow::Result<u64> {
    let mut stream = BufReader::new(TcpStream::connect(redis).await?);
    stream.get_mut().write_all(b"INFO stats\r\n").await?;
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut line = String::new();
    while Instant::now() < deadline && stream.read_line(&mut line).await? > 0 {
        if let Some(count) = line.trim_end().strip_prefix("total_commands_processed:") {
            return Ok(count.parse()?);
        }
        line.clear();
    }
    anyhow::bail!("Redis does not say what it did")
}

async fn answers_ok(target: &Target) -> bool {
    let mut request = http::Request::new(http_body_util::Full::default());
    *request.uri_mut() = target.path();
    request.headers_mut().insert(http::header::HOST, target.host().clone());
    let answer = crate::connection::Connection::new(target.address(), Duration::from_secs(5)).exchange(request).await;
    answer.is_ok_and(|answer| answer.status() == 200)
}

/// The way that a call usually takes.
pub const WARM: &str = "Sallyport, warm";
