//! An installation of Sallyport: Redis, a key ring, sessions that really began, and replicas as they run in production.
//!
//! A replica takes no token of the stand-in for Entra: only `sallyport dev` does. So sessions begin at a `dev` with the same
//! public URL, ring and Redis, and replicas find them there, as those of any other replica. Where there must be more than can
//! be signed in while one waits, `bench-sessions` begins them: it is the gateway's own code.

pub mod redis;
mod replica;
mod steps;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::contestant::Contestant;
use super::program::Program;
use super::results::SignInFigures;
use super::stage::{Serving, Side, Stage, free_address};
use super::{Bench, Sizes};
use crate::forge::forged;
use crate::mix::Mix;
use crate::observe::{run_time, run_time_where};
use crate::progress::Progress;
use crate::sign_in::SignIns;
use crate::target::Target;
use crate::tokens::{self, Session, Writer};
use crate::work::{Expected, Work};

use replica::{Common, Tenant};
pub use replica::{Logs, Replica};
pub use steps::StepFigures;

pub struct Installation {
    /// What clients call it.
    pub target: Target,
    pub sessions: Vec<Session>,
    pub redis: Serving,
    _entra: Program,
    tenant: Tenant,
    ring: PathBuf,
    /// Who serves.
    program: PathBuf,
}

impl Installation {
    /// Starts it and signs everybody in.
    ///
    /// # Errors
    /// When something does not come up, or a sign-in fails.
    pub async fn begin(stage: &mut Stage, upstream: &Serving, bench: &Bench) -> anyhow::Result<(Self, SignInFigures)> {
        let sizes = &bench.sizes;
        let redis = redis::start(stage).await?;
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
        let program = bench.shipped.clone().unwrap_or_else(|| stage.program("sallyport"));
        Ok((Self { target, sessions, redis, _entra: entra, tenant, ring, program }, figures))
    }

    /// Of the first sessions.
    ///
    /// # Errors
    /// When there are none.
    pub fn calls(&self, sessions: usize, zipf: f64) -> anyhow::Result<Work> {
        self.calls_of(&self.sessions[..sessions.min(self.sessions.len())], zipf)
    }

    /// # Errors
    /// When there are none.
    pub fn calls_of(&self, sessions: &[Session], zipf: f64) -> anyhow::Result<Work> {
        by(Work::tools_list(&self.target, Expected::RESULT), sessions, zipf)
    }

    /// Likewise, but calls of a tool.
    ///
    /// # Errors
    /// When there are none.
    pub fn tool_calls(&self, sessions: usize) -> anyhow::Result<Work> {
        let sessions = &self.sessions[..sessions.min(self.sessions.len())];
        by(Work::tools_call(&self.target, Expected::RESULT), sessions, 0.0)
    }

    /// Sessions that nobody signed in for, of so many clients, or one of its own each. `expired`: their tokens have run out.
    ///
    /// # Errors
    /// When they cannot be made.
    pub async fn begin_more(
        &self,
        stage: &mut Stage,
        sessions: usize,
        clients: Option<usize>,
        expired: bool,
    ) -> anyhow::Result<Vec<Session>> {
        let file = stage.folder().join(format!("more-{}.jsonl", free_address()?.port()));
        let mut command = stage.command(Side::Load, &stage.program("bench-sessions"));
        command.args(["--public-url", &self.target.url().origin().ascii_serialization()]);
        command.args(["--tenant", &self.tenant.tenant_id]);
        command.args(["--redis", &format!("redis://{}", self.redis.address)]).arg("--keys").arg(&self.ring);
        command.args(["--sessions", &sessions.to_string()]).arg("--out").arg(&file);
        if let Some(clients) = clients {
            command.args(["--clients", &clients.to_string()]);
        }
        if expired {
            command.arg("--expired");
        }
        stage.start("bench-sessions", command)?.ends(MORE_SESSIONS).await?;
        tokens::read(&file)
    }

    /// Warm, with Redis at every request, and refusing what nobody sealed or what has run out.
    ///
    /// # Errors
    /// When a replica does not come up.
    pub async fn contestants(&self, stage: &mut Stage, upstream: &Serving) -> anyhow::Result<Vec<Contestant>> {
        let sessions = self.sessions.len().min(1000);
        let model = self.sessions.first().map(|session| session.access_token.as_str());
        let forgeries: Vec<_> = (0..sessions).map(|_| forged(model, &mut rand::rng())).collect();
        let mix = Mix::new(sessions, 0.0).context("there are forgeries")?;
        let refused = || Work::tools_list(&self.target, Expected::REFUSED);
        let forged = refused().by(forgeries.iter().map(String::as_str), mix)?;
        let expired = by(refused(), &self.begin_more(stage, sessions, None, true).await?, 0.0)?;
        let good = || self.calls(sessions, 0.0);
        let mut contestants = Vec::new();
        for (name, does, replica, work) in [
            (WARM, "full job, entry in process", Replica::warm(), good()?),
            ("Sallyport, Redis at every request", "full job, one GET each", Replica::default(), good()?),
            ("Sallyport, forged token", "401", Replica::warm(), forged),
            ("Sallyport, expired token", "401", Replica::warm(), expired),
        ] {
            contestants.push(self.contestant(stage, upstream, (name, does), replica, work).await?);
        }
        Ok(contestants)
    }

    /// Another build, warm, and with Redis at every request.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn other_build(
        &self,
        stage: &mut Stage,
        upstream: &Serving,
        name: &str,
        program: &Path,
    ) -> anyhow::Result<Vec<Contestant>> {
        let mut contestants = Vec::new();
        for (name, replica) in
            [(name.to_owned(), Replica::warm()), (format!("{name}, Redis at every request"), Replica::default())]
        {
            let replica = Replica { program: Some(program), ..replica };
            let work = self.calls(self.sessions.len().min(1000), 0.0)?;
            let names = (name.as_str(), "full job, another build");
            contestants.push(self.contestant(stage, upstream, names, replica, work).await?);
        }
        Ok(contestants)
    }

    async fn contestant(
        &self,
        stage: &mut Stage,
        upstream: &Serving,
        (name, does): (&str, &'static str),
        replica: Replica<'_>,
        work: Work,
    ) -> anyhow::Result<Contestant> {
        let serving = self.replica(stage, upstream.address, replica).await?;
        let target = self.target.clone().served_at(serving.address)?;
        Ok(Contestant::new(name, does, target, work, serving).with_redis(self.redis.address))
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
        let common = Common {
            public: &self.target,
            redis: self.redis.address,
            ring: &self.ring,
            tenant: &self.tenant,
            audit: stage.folder().join(format!("audit-{}.log", address.port())),
        };
        let file = stage.file(&file, &replica.configuration(&common, address, admin, upstream))?;
        let program = replica.program.unwrap_or(&self.program);
        let mut command = stage.command(Side::Proxy, program);
        command.arg("serve").arg("--config").arg(file);
        let mut serving = stage.serve("sallyport", command, address).await?;
        let ready: Target = format!("http://{admin}/readyz").parse()?;
        serving.program.until(async || answers_ok(&ready).await.then_some(())).await.context("/readyz")?;
        Ok(serving)
    }
}

fn by(work: Work, sessions: &[Session], zipf: f64) -> anyhow::Result<Work> {
    let mix = Mix::new(sessions.len(), zipf).context("there are sessions")?;
    work.by(sessions.iter().map(|session| session.access_token.as_str()), mix)
}

async fn sign_in(
    target: &Target,
    dev: &Serving,
    redis: &Serving,
    writer: Writer,
    sizes: &Sizes,
) -> anyhow::Result<SignInFigures> {
    let settings = SignIns {
        sessions: sizes.sessions,
        parallel: 16,
        users: USERS.map(str::to_owned).to_vec(),
        limit: sizes.sign_in_limit,
        patience: Duration::from_secs(10),
    };
    // The stand-in for Entra has the runtime with tokio's own name for threads.
    let edge = || run_time_where(dev.program.pid(), |name| name != "tokio-rt-worker");
    let (edge_before, redis_before) = (edge()?, run_time(redis.program.pid())?);
    let commands_before = redis::commands(redis.address).await?;
    let signed_in = settings.run(target, writer, &Progress::on_terminal()).await?;
    ensure!(signed_in.failures.is_empty(), "sign-ins failed: {:?}", signed_in.failures);
    let (count, seconds) = (signed_in.whole.len(), signed_in.took.as_secs_f64());
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    let figures = SignInFigures {
        count,
        per_second: count as f64 / seconds,
        cpu_us_of_edge: each(edge()?.saturating_sub(edge_before)),
        cpu_us_of_redis: each(run_time(redis.program.pid())?.saturating_sub(redis_before)),
        redis_commands: (redis::commands(redis.address).await? - commands_before) as f64 / count as f64,
        steps: Vec::new(),
    };
    Ok(SignInFigures { steps: steps::measure(target, USERS[0], redis.address).await?, ..figures })
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

async fn answers_ok(target: &Target) -> bool {
    let mut request = http::Request::new(http_body_util::Full::default());
    *request.uri_mut() = target.path();
    request.headers_mut().insert(http::header::HOST, target.host().clone());
    let answer = crate::connection::Connection::new(target.address(), Duration::from_secs(5)).exchange(request).await;
    answer.is_ok_and(|answer| answer.status() == 200)
}

/// Whom the stand-in for Entra knows.
const USERS: [&str; 2] = ["adele@contoso.example", "alex@contoso.example"];
/// Of a hundred thousand sessions.
const MORE_SESSIONS: Duration = Duration::from_secs(300);
/// The way that a call usually takes.
pub const WARM: &str = "Sallyport, warm";
