//! A pass-through on Pingora: what a request costs before anybody has asked who sent it. It has Sallyport's version of
//! Pingora, features and profile, and as many workers (one for each core it may use). It reads no token, writes no log and
//! counts nothing.
//!
//! Two programs are made of it: `bare-pingora` with the allocator of the system, `bare-pingora-mimalloc` with mimalloc.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::available_parallelism;

use async_trait::async_trait;
use clap::Parser;
use pingora::http::ResponseHeader;
use pingora::listeners::tls::TlsSettings;
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// Passes everything on to one server, and asks nobody for anything.
#[derive(Parser)]
struct Arguments {
    /// Where to listen, on loopback.
    #[arg(long)]
    listen: SocketAddr,
    /// The server.
    #[arg(long)]
    upstream: SocketAddr,
    /// PEM: then it speaks TLS.
    #[arg(long, requires = "key")]
    certificate: Option<PathBuf>,
    #[arg(long, requires = "certificate")]
    key: Option<PathBuf>,
    /// Answer 401 to everybody instead, without a look at who it is.
    #[arg(long)]
    refuse: bool,
}

struct PassThrough {
    upstream: SocketAddr,
    refuses: bool,
}

#[async_trait]
impl ProxyHttp for PassThrough {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, _: &mut ()) -> pingora::Result<bool> {
        if self.refuses {
            // What is left unread costs the connection.
            session.drain_request_body().await?;
            let mut header = ResponseHeader::build(401, None)?;
            header.insert_header("WWW-Authenticate", "Bearer")?;
            header.insert_header("Content-Length", 0)?;
            session.write_response_header(Box::new(header), true).await?;
        }
        Ok(self.refuses)
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

/// Connections to the server that may wait for the next request, as with Sallyport.
const WAITING: usize = 4096;

/// Serves until it is ended.
///
/// # Errors
/// When it was asked to listen beyond loopback, or the certificate cannot be used.
pub fn run() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    anyhow::ensure!(arguments.listen.ip().is_loopback(), "it asks nobody who they are: loopback only");
    // Before Pingora installs ring: handshakes are cheaper by it, and Sallyport has it too.
    let provider = rustls::crypto::aws_lc_rs::default_provider().install_default();
    provider.map_err(|_| anyhow::anyhow!("there is a TLS provider already"))?;
    let threads = available_parallelism().map_or(1, usize::from);
    let configuration = ServerConf { threads, upstream_keepalive_pool_size: WAITING, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, configuration);
    server.bootstrap();
    let proxy = PassThrough { upstream: arguments.upstream, refuses: arguments.refuse };
    let mut service = http_proxy_service(&server.configuration, proxy);
    match (&arguments.certificate, &arguments.key) {
        (Some(certificate), Some(key)) => {
            let path = |file: &PathBuf| file.to_string_lossy().into_owned();
            let settings = TlsSettings::intermediate(&path(certificate), &path(key))?;
            service.add_tls_with_settings(&arguments.listen.to_string(), None, settings);
        }
        _ => service.add_tcp(&arguments.listen.to_string()),
    }
    server.add_service(service);
    server.run_forever()
}
