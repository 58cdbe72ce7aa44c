//! nginx as Debian has it: one worker, connections that stay on both sides, no buffering, no log.

use std::path::Path;

use anyhow::ensure;

use super::super::contestant::Contestant;
use super::super::machine::has;
use super::super::stage::{Serving, Side, Stage, free_address};

/// Passes everything on.
///
/// # Errors
/// When it is not installed, or does not come up.
pub async fn plain(stage: &mut Stage, upstream: &Serving) -> anyhow::Result<Contestant> {
    let serving = start(stage, upstream, "plain", "", "", "").await?;
    Contestant::tools_list(PLAIN, "proxy", serving)
}

/// With these directives at the top, in `http`, and in the one location.
async fn start(
    stage: &mut Stage,
    upstream: &Serving,
    name: &str,
    top: &str,
    http: &str,
    location: &str,
) -> anyhow::Result<Serving> {
    ensure!(has("nginx"), "nginx is not installed (.ci/install bench)");
    let (address, server, folder) = (free_address()?, upstream.address, stage.folder().display().to_string());
    let configuration = format!(
        r#"{top}
daemon off;
master_process off;
pid {folder}/nginx-{name}.pid;
error_log stderr error;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-{name}-body;
    proxy_temp_path {folder}/nginx-{name}-proxy;
    fastcgi_temp_path {folder}/nginx-{name}-fastcgi;
    uwsgi_temp_path {folder}/nginx-{name}-uwsgi;
    scgi_temp_path {folder}/nginx-{name}-scgi;
    {http}
    upstream mcp {{ server {server}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen {address};
        keepalive_requests 1000000000;
        location / {{
            {location}
            proxy_pass http://mcp;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_request_buffering off;
        }}
    }}
}}
"#
    );
    let file = stage.file(&format!("nginx-{name}.conf"), &configuration)?;
    let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].map(Path::new).into_iter().find(|path| path.is_file());
    let mut command = stage.command(Side::Proxy, program.unwrap_or(Path::new("nginx")));
    command.arg("-c").arg(file).args(["-e", "stderr"]);
    stage.serve(&format!("nginx-{name}"), command, address).await
}

pub const PLAIN: &str = "nginx";
