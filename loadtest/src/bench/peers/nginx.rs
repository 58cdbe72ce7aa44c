//! nginx as Debian has it: one worker, connections that stay on both sides, no buffering, no log. With Lua it does the cached
//! job of a gateway: it opens a sealed token, compares its time, finds the session in shared memory, and puts its token in.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;

use super::super::contestant::Contestant;
use super::super::machine::has;
use super::super::sallyport::redis;
use super::super::stage::{Serving, Side, Stage, free_address};
use crate::clock::wall;
use crate::mix::Mix;
use crate::target::Target;
use crate::work::{Expected, Work};

/// Passes everything on.
///
/// # Errors
/// When it is not installed, or does not come up.
pub async fn plain(stage: &mut Stage, upstream: &Serving) -> anyhow::Result<Contestant> {
    let serving = start(stage, upstream, Extra { name: "plain", ..Extra::default() }).await?;
    Contestant::tools_list(PLAIN, "proxy", serving)
}

/// Opens tokens of its own, and finds all of these sessions at hand.
///
/// # Errors
/// When it is not installed, or does not come up.
pub async fn with_lua(stage: &mut Stage, upstream: &Serving, sessions: usize) -> anyhow::Result<Contestant> {
    let sealed = Sealed::new(sessions)?;
    let lines = sealed.tokens.iter().map(|(id, _)| format!("{} {}\n", hex(id), bearer()));
    let known = stage.file("lua-sessions", &lines.collect::<String>())?;
    let find = format!("lua.at_hand('{}')", known.display());
    sealed.admitted_by(stage, upstream, LUA, &find, "full job, entry in shared memory").await
}

/// Likewise, and asks Redis for the session each time.
///
/// # Errors
/// When it is not installed, or does not come up.
pub async fn with_lua_and_redis(
    stage: &mut Stage,
    upstream: &Serving,
    redis: &Serving,
    sessions: usize,
) -> anyhow::Result<Contestant> {
    let sealed = Sealed::new(sessions)?;
    let records = sealed.tokens.iter().map(|(id, _)| ([b"lua:", &id[..]].concat(), bearer().into_bytes()));
    redis::put(redis.address, records).await?;
    let find = format!("lua.in_redis({})", redis.address.port());
    let contestant = sealed.admitted_by(stage, upstream, LUA_REDIS, &find, "full job, one GET each").await?;
    Ok(contestant.with_redis(redis.address))
}

/// A key, and tokens sealed with it.
struct Sealed {
    key: [u8; 32],
    /// By the ids of their sessions.
    tokens: Vec<([u8; 32], String)>,
}

impl Sealed {
    fn new(sessions: usize) -> anyhow::Result<Self> {
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        Ok(Self { key, tokens: seal(&key, sessions)? })
    }

    /// `find` is what Lua finds a session by.
    async fn admitted_by(
        self,
        stage: &mut Stage,
        upstream: &Serving,
        name: &'static str,
        find: &str,
        does: &'static str,
    ) -> anyhow::Result<Contestant> {
        let module = "/usr/lib/nginx/modules/ngx_http_lua_module.so";
        ensure!(Path::new(module).is_file(), "nginx has no Lua (.ci/install bench)");
        let script = stage.file("admit.lua", include_str!("admit.lua"))?;
        let http = format!(
            "lua_shared_dict sessions 64m;\n    init_by_lua_block {{ local lua = dofile('{}'); admit = lua.admit('{}', {find}) }}",
            script.display(),
            hex(&self.key),
        );
        let top = format!("load_module /usr/lib/nginx/modules/ndk_http_module.so;\nload_module {module};");
        let extra = Extra {
            name: if name == LUA { "lua" } else { "lua-redis" },
            top: &top,
            http: &http,
            location: "access_by_lua_block { admit() }",
        };
        let serving = start(stage, upstream, extra).await?;
        let target: Target = format!("http://{}/mcp", serving.address).parse()?;
        let mix = Mix::new(self.tokens.len(), 0.0).context("there are sessions")?;
        let tokens = self.tokens.iter().map(|(_, token)| token.as_str());
        let work = Work::tools_list(&target, Expected::RESULT).by(tokens, mix)?;
        Ok(Contestant::new(name, does, target, work, serving))
    }
}

/// 12 bytes of nonce, 64 of id, expiry and nothing, 16 of tag.
fn seal(key: &[u8; 32], sessions: usize) -> anyhow::Result<Vec<([u8; 32], String)>> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?);
    let expires = (wall() + Duration::from_secs(3600)).as_secs();
    let token = |_| {
        let (mut nonce, mut id, mut plain) = ([0; 12], [0; 32], vec![0; 64]);
        rand::rng().fill_bytes(&mut nonce);
        rand::rng().fill_bytes(&mut id);
        plain[..32].copy_from_slice(&id);
        plain[32..40].copy_from_slice(&expires.to_be_bytes());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut plain)?;
        Ok((id, URL_SAFE_NO_PAD.encode([&nonce[..], &plain].concat())))
    };
    (0..sessions).map(token).collect()
}

/// What goes upstream for a session, as long as Entra's tokens are.
fn bearer() -> String {
    format!("Bearer {}", "e".repeat(ENTRA_TOKEN))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Directives beside those that all have.
#[derive(Clone, Copy, Default)]
struct Extra<'a> {
    name: &'a str,
    top: &'a str,
    http: &'a str,
    location: &'a str,
}

async fn start(stage: &mut Stage, upstream: &Serving, extra: Extra<'_>) -> anyhow::Result<Serving> {
    ensure!(has("nginx"), "nginx is not installed (.ci/install bench)");
    let Extra { name, top, http, location } = extra;
    let (address, server, folder) = (free_address()?, upstream.address, stage.folder().display().to_string());
    let configuration = format!(
        r#"{top}
daemon off;
master_process off;
pid {folder}/nginx-{name}.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
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
pub const LUA: &str = "nginx + Lua";
pub const LUA_REDIS: &str = "nginx + Lua, Redis at every request";
/// Characters.
const ENTRA_TOKEN: usize = 1868;
