//! `sallyport dev`: the stand-in for Entra, the sample MCP server and the edge in one process, on loopback.

use std::time::Duration;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use entra::credential::IdentityHost;
use entra::{Authority, Credential};
use fake_entra::FakeEntra;
use sallyport_mcp_server as mcp_server;
use tokio::runtime::Runtime;
use url::Url;

use super::FAILED;
use super::signal::Terminate;
use crate::access::UpstreamAccess;
use crate::clock::Clock;
use crate::log;
use crate::oauth::{CUSTOM_SCHEMES, ClientSettings, DocumentHost, DocumentSettings, METADATA_HOSTS, Network, Remember};
use crate::pool;
use crate::public_url::PublicUrl;
use crate::sealed::KeyRing;
use crate::server::{
    AdminSettings, ConnectionLimits, Inherited, Process, RingSource, Server, Settings, StreamSettings, UpstreamSettings,
};
use crate::source::TrustedProxies;
use crate::store::{RedisSettings, RedisUrl};
use crate::{drain, edge, oauth, session, store};

#[derive(Args)]
pub struct Dev {
    /// The port of the edge on localhost.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The port of /metrics, /healthz, /readyz and /sessions on 127.0.0.1.
    #[arg(long, default_value_t = 9464)]
    admin_port: u16,
    /// Keep the key ring in this file, made if it is not there: clients stay registered across restarts.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Keep records in this Redis, `redis://host:port`, as in production, instead of in memory.
    #[arg(long, value_name = "URL")]
    store: Option<RedisUrl>,
    /// Put the edge before an MCP server of your own, `http://localhost:3000/mcp`, and not before the sample. It gets tokens of
    /// the stand-in.
    #[arg(long, value_name = "URL", value_parser = upstream)]
    upstream: Option<Url>,
    /// Log lines as JSON, as `serve` writes them.
    #[arg(long)]
    json: bool,
}

/// What runs beside the edge. Dropped after it.
struct Neighbours {
    runtime: Runtime,
    entra: FakeEntra,
    upstream: Upstream,
}

enum Upstream {
    Sample(mcp_server::Running),
    Yours(Url),
}

impl Dev {
    pub fn run(&self) -> ExitCode {
        let format = if self.json { log::Format::Json } else { log::Format::Text };
        log::start(&log::Settings { format, level: tracing::Level::INFO });
        match self.start() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("sallyport dev: {error:#}");
                ExitCode::from(FAILED)
            }
        }
    }

    fn start(&self) -> anyhow::Result<()> {
        for port in [self.port, self.admin_port] {
            free_on(Ipv4Addr::LOCALHOST.into(), port).with_context(|| format!("port {port} is taken"))?;
        }
        let neighbours = Neighbours::start(self.upstream.clone())?;
        let settings = self.settings(&neighbours)?;
        let server = Server::build(settings, Clock::system(), Inherited::none(), Process::Own)?;
        eprint!("{}", self.welcome(&neighbours.entra));
        server.run(Terminate);
        if let Upstream::Sample(server) = neighbours.upstream {
            neighbours.runtime.block_on(server.stop());
        }
        Ok(())
    }

    fn settings(&self, neighbours: &Neighbours) -> anyhow::Result<Settings> {
        let entra = &neighbours.entra;
        let mut listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))];
        if free_on(Ipv6Addr::LOCALHOST.into(), self.port).is_ok() {
            // Some programs resolve `localhost` to ::1 and try nothing else.
            listen.push(SocketAddr::from((Ipv6Addr::LOCALHOST, self.port)));
        }
        Ok(Settings {
            public_url: PublicUrl::parse(&format!("http://localhost:{}", self.port))?,
            listen,
            tls: None,
            redirect: None,
            trusted_proxies: TrustedProxies::default(),
            proxy_protocol: false,
            oauth_limits: oauth::LimitSettings::UNBOUNDED,
            edge_limits: edge::LimitSettings::UNBOUNDED,
            bounds: edge::Bounds::default(),
            connections: ConnectionLimits { per_address: u32::MAX, ..ConnectionLimits::default() },
            admin: AdminSettings::at(SocketAddr::from((Ipv4Addr::LOCALHOST, self.admin_port))),
            entra: emulated(entra, entra.gateway_client_id())?,
            credential: Credential::ManagedIdentity {
                client_id: Some(entra.gateway_identity().to_owned()),
                host: IdentityHost::Metadata { endpoint: entra.imds_url() },
            },
            sign_in: None,
            store: match &self.store {
                Some(url) => store::Settings::Redis(RedisSettings::new(url.clone())),
                None => store::Settings::Memory,
            },
            ring: self.ring()?,
            upstreams: vec![UpstreamSettings {
                path: "/mcp".to_owned(),
                scope: entra.scope(),
                pool: neighbours.upstream.pool(),
                access: UpstreamAccess::default(),
            }],
            sessions: session::Settings::default(),
            streams: StreamSettings::default(),
            server_name: "Sallyport development server".to_owned(),
            remember: Remember::Ask,
            clients: clients(),
            // MCP Inspector's page.
            allowed_origins: vec!["http://localhost:6274".to_owned(), "http://127.0.0.1:6274".to_owned()],
            access_log: true,
            audit: None,
            traces: None,
            drain: drain::Settings { delay: Duration::ZERO, window: Duration::from_secs(10) },
        })
    }

    fn ring(&self) -> anyhow::Result<RingSource> {
        let Some(file) = &self.keys else { return Ok(RingSource::Fixed(Box::new(KeyRing::ephemeral()))) };
        if !file.exists() {
            KeyRing::create(file, Clock::system().now()).with_context(|| format!("cannot make {}", file.display()))?;
        }
        Ok(RingSource::File(file.clone()))
    }

    fn welcome(&self, entra: &FakeEntra) -> String {
        let (port, admin) = (self.port, self.admin_port);
        let users = entra
            .users()
            .iter()
            .map(|user| format!("{} ({})", user.upn, user.note))
            .collect::<Vec<_>>()
            .join("\n              ");
        format!(
            "
Sallyport for development: nobody's identity is proven here, and nothing here is for production.

  MCP URL     http://localhost:{port}/mcp        (legacy SSE: http://localhost:{port}/mcp/sse)
  Inspector   npx @modelcontextprotocol/inspector --server-url http://localhost:{port}/mcp --transport http
  Sign in as  {users}
  Status      http://127.0.0.1:{admin}/status   also /metrics /healthz /readyz /sessions

Stop with Ctrl-C.

"
        )
    }
}

impl Neighbours {
    fn start(yours: Option<Url>) -> anyhow::Result<Self> {
        let runtime = Runtime::new()?;
        let entra = runtime.block_on(FakeEntra::start(fake_entra::Options::default()))?;
        let upstream = match yours {
            Some(url) => Upstream::Yours(url),
            None => Upstream::Sample(runtime.block_on(sample(&entra))?),
        };
        Ok(Self { runtime, entra, upstream })
    }
}

impl Upstream {
    fn pool(&self) -> pool::Settings {
        match self {
            Self::Sample(server) => pool::Settings::single("sample", &format!("http://{}", server.address())),
            Self::Yours(url) => {
                pool::Settings { endpoint: url.path().to_owned(), ..pool::Settings::single("yours", url.as_str()) }
            }
        }
    }
}

async fn sample(entra: &FakeEntra) -> anyhow::Result<mcp_server::Running> {
    mcp_server::start(mcp_server::Settings {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        allowed_callers: vec![entra.gateway_client_id().to_owned()],
        hop_secret_file: None,
        graph_url: entra.graph_url().parse()?,
        graph_scopes: vec!["https://graph.microsoft.com/User.Read".to_owned()],
        authority: Authority::new(&entra.authority(), entra.tenant_id())?,
        client_id: entra.server_client_id().to_owned(),
        extra_ca_file: None,
        cae: false,
        accept_emulator: true,
        clock: mcp_server::clock::Clock::system(),
        credential: Credential::ManagedIdentity {
            client_id: Some(entra.server_identity().to_owned()),
            host: IdentityHost::Metadata { endpoint: entra.imds_url() },
        },
    })
    .await
}

/// As `serve` has them by default.
fn clients() -> ClientSettings {
    let hosts = METADATA_HOSTS.iter().map(|host| DocumentHost::parse(host).expect("a host is a host")).collect();
    ClientSettings {
        custom_schemes: CUSTOM_SCHEMES.map(str::to_owned).to_vec(),
        documents: Some(DocumentSettings { hosts, network: Network::default() }),
        ..ClientSettings::default()
    }
}

/// An Entra client that accepts the stand-in's tokens. Only this command makes one.
fn emulated(entra: &FakeEntra, client_id: &str) -> anyhow::Result<entra::Settings> {
    Ok(entra::Settings {
        authority: Authority::new(&entra.authority(), entra.tenant_id())?,
        client_id: client_id.to_owned(),
        extra_ca_file: None,
        cae: false,
        accept_emulator: true,
    })
}

/// Where everything else of this command is: on loopback, so without TLS.
fn upstream(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let plain =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if url.scheme() == "http" && loopback && plain {
        Ok(url)
    } else {
        Err("this is no http address on loopback, like http://localhost:3000/mcp".to_owned())
    }
}

fn free_on(address: std::net::IpAddr, port: u16) -> std::io::Result<()> {
    TcpListener::bind((address, port)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::upstream;

    #[test]
    fn a_server_of_your_own_is_on_loopback() {
        for good in ["http://localhost:3000/mcp", "http://127.0.0.1:3000/", "http://[::1]:3000/a/b"] {
            assert_eq!(upstream(good).unwrap().as_str(), good);
        }
        for bad in [
            "localhost:3000/mcp",
            "http://mcp.contoso.com/mcp",
            "http://10.0.0.1:3000/mcp",
            "http://localhost.contoso.com/mcp",
            "https://localhost:3000/mcp",
            "http://user@localhost:3000/mcp",
            "http://localhost:3000/mcp?a=b",
        ] {
            assert!(upstream(bad).is_err(), "{bad}");
        }
    }
}
