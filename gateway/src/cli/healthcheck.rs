//! `sallyport healthcheck`: whether the edge on this machine lives, for containers without another program to ask with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::runtime;

use super::FAILED;
use crate::config::Config;
use crate::server::AdminSettings;

#[derive(Args)]
pub struct Healthcheck {
    /// The configuration, TOML. Only [admin] is read of it: a mistake elsewhere must not end an edge that serves.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Healthcheck {
    /// 0 when `/healthz` on the admin listener answers 200 within five seconds, else 1.
    pub fn run(&self) -> ExitCode {
        let admin = match Config::admin(&self.config) {
            Ok(admin) => admin,
            Err(mistakes) => return super::check::report(&mistakes),
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string());
        match runtime.and_then(|runtime| runtime.block_on(ask(admin))) {
            Ok(()) => ExitCode::SUCCESS,
            Err(words) => {
                eprintln!("sallyport healthcheck: {words}");
                ExitCode::from(FAILED)
            }
        }
    }
}

/// At the address, or where there is none at the socket: both are one listener's.
async fn ask(admin: AdminSettings) -> Result<(), String> {
    // Only ever plain HTTP on this machine: no roots of trust, of which a small container has none.
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE);
    let (client, authority, shown) = match (admin.address.map(near), admin.socket) {
        (Some(address), _) => (client, address.to_string(), address.to_string()),
        (None, Some(socket)) => (client.unix_socket(&*socket), "localhost".to_owned(), socket.display().to_string()),
        (None, None) => return Err("there is no admin listener".to_owned()),
    };
    let client = client.build().map_err(|error| error.to_string())?;
    let answer = client.get(format!("http://{authority}/healthz")).send().await;
    let answer = answer.map_err(|error| format!("{shown} gives no answer: {}", error.without_url()))?;
    match answer.status().as_u16() {
        200 => Ok(()),
        status => Err(format!("{shown} answers {status}")),
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
