//! `sallyport healthcheck`: whether the edge on this machine lives, for containers without another program to ask with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::runtime;

use super::FAILED;
use crate::config::Config;

#[derive(Args)]
pub struct Healthcheck {
    /// The configuration, TOML. Only admin.address is read of it: a mistake elsewhere must not end an edge that serves.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Healthcheck {
    /// 0 when `/healthz` on the admin listener answers 200 within five seconds, else 1.
    pub fn run(&self) -> ExitCode {
        let address = match Config::admin_address(&self.config) {
            Ok(address) => address,
            Err(mistakes) => return super::check::report(&mistakes),
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string());
        match runtime.and_then(|runtime| runtime.block_on(ask(near(address)))) {
            Ok(()) => ExitCode::SUCCESS,
            Err(words) => {
                eprintln!("sallyport healthcheck: {words}");
                ExitCode::from(FAILED)
            }
        }
    }
}

async fn ask(address: SocketAddr) -> Result<(), String> {
    // Only ever plain HTTP on this machine: no roots of trust, of which a small container has none.
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).build();
    let client = client.map_err(|error| error.to_string())?;
    let answer = client.get(format!("http://{address}/healthz")).send().await;
    let answer = answer.map_err(|error| format!("{address} gives no answer: {}", error.without_url()))?;
    match answer.status().as_u16() {
        200 => Ok(()),
        status => Err(format!("{address} answers {status}")),
    }
}

/// Who listens everywhere listens here.
fn near(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

const PATIENCE: Duration = Duration::from_secs(5);
