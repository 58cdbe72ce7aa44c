//! New TLS 1.3 handshakes with a P-256 certificate, none of them resumed, each with one call; against bare Pingora by turns.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rand::rngs::SmallRng;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Sizes;
use super::sallyport::{Installation, Replica, WARM};
use super::stage::{BARE, Serving, Stage};
use super::statistics::Spread;
use crate::observe::run_time;
use crate::wire::message;
use crate::work::Work;

#[derive(Clone, Debug, Serialize)]
pub struct HandshakeFigures {
    pub name: &'static str,
    /// In all rounds.
    pub handshakes: u64,
    /// With the one call that each connection carries.
    pub cpu_us: Option<Spread>,
    pub to_bare: Option<Spread>,
}

/// # Errors
/// When something does not come up, or one handshake or call fails.
pub async fn measure(
    stage: &mut Stage,
    installation: &Installation,
    upstream: &Serving,
    sizes: &Sizes,
) -> anyhow::Result<Vec<HandshakeFigures>> {
    let caller = Caller::new(stage, installation, sizes)?;
    let more = ["--certificate".as_ref(), caller.certificate.as_path(), "--key".as_ref(), caller.key.as_path()];
    let proxies = [
        (BARE, stage.pass_through("bare-pingora", upstream.address, &more).await?),
        (WARM, caller.replica(stage, installation, upstream).await?),
    ];
    let mut windows = [Vec::new(), Vec::new()];
    let mut counts = [0, 0];
    for round in 0..=sizes.handshake_rounds {
        for (which, (name, proxy)) in proxies.iter().enumerate() {
            let before = run_time(proxy.program.pid())?;
            let count = caller.window(proxy, sizes.window).await.with_context(|| format!("TLS at {name}"))?;
            let cpu = run_time(proxy.program.pid())?.saturating_sub(before);
            // The first round fetches entries.
            if round > 0 {
                windows[which].push(cpu.as_secs_f64() * 1e6 / count as f64);
                counts[which] += count;
            }
        }
    }
    let ratios = windows[1].iter().zip(&windows[0]).map(|(own, bare)| own / bare);
    let to_bare = [None, Spread::of(ratios)];
    let figures = proxies.iter().zip(windows).zip(counts.into_iter().zip(to_bare));
    Ok(figures
        .map(|(((name, _), windows), (handshakes, to_bare))| HandshakeFigures {
            name,
            handshakes,
            cpu_us: Spread::of(windows),
            to_bare,
        })
        .collect())
}

/// Somebody who trusts a certificate of the run's own, and resumes nothing.
#[derive(Clone)]
pub struct Caller {
    certificate: PathBuf,
    key: PathBuf,
    connector: TlsConnector,
    work: Arc<Work>,
}

impl Caller {
    /// # Errors
    /// When the files of the certificate cannot be written.
    pub fn new(stage: &Stage, installation: &Installation, sizes: &Sizes) -> anyhow::Result<Self> {
        // P-256 and its signature are what rcgen makes unless told otherwise.
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self {
            certificate: stage.file("tls.crt", &made.cert.pem())?,
            key: stage.file("tls.key", &made.signing_key.serialize_pem())?,
            connector: TlsConnector::from(Arc::new(config)),
            work: Arc::new(installation.calls(sizes.sessions, 0.0)?),
        })
    }

    /// One with that certificate.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn replica(
        &self,
        stage: &mut Stage,
        installation: &Installation,
        upstream: &Serving,
    ) -> anyhow::Result<Serving> {
        let (certificate, key) = (self.certificate.to_string_lossy(), self.key.to_string_lossy());
        let replica = Replica { tls: Some((certificate.as_ref(), key.as_ref())), ..Replica::warm() };
        installation.replica(stage, upstream.address, replica).await
    }

    /// How many connections there were in so long.
    ///
    /// # Errors
    /// When one handshake or call fails.
    pub async fn window(&self, proxy: &Serving, lasts: Duration) -> anyhow::Result<u64> {
        let (address, end) = (proxy.address, Instant::now() + lasts);
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let caller = self.clone();
            callers.spawn(async move {
                let mut count = 0;
                let mut random: SmallRng = rand::make_rng();
                while Instant::now() < end {
                    timeout(PATIENCE, caller.call(address, &mut random)).await.context("no answer in time")??;
                    count += 1;
                }
                anyhow::Ok(count)
            });
        }
        let mut count = 0;
        while let Some(caller) = callers.join_next().await {
            count += caller??;
        }
        Ok(count)
    }

    async fn call(&self, address: std::net::SocketAddr, random: &mut SmallRng) -> anyhow::Result<()> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut stream = self.connector.connect(ServerName::try_from("localhost")?, stream).await?;
        ensure!(
            stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Full),
            "a handshake was not a whole one"
        );
        let mut request = Vec::new();
        self.work.write(random, &mut request);
        stream.write_all(&request).await?;
        let broken = |failure| anyhow::anyhow!("{failure}");
        let mut answer = Vec::with_capacity(4096);
        loop {
            let ended = stream.read_buf(&mut answer).await? == 0;
            if let Some(head) = message::answer_head(&answer).map_err(broken)?
                && head.framing.body(&answer[head.length..], ended).map_err(broken)?.is_some()
            {
                ensure!(head.status == 200, "an answer was {}", head.status);
                return Ok(());
            }
            ensure!(!ended, "an answer broke off");
        }
    }
}

const CALLERS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(10);
