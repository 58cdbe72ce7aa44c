//! Sessions for `loadtest bench`: begun by the gateway's own code in the Redis and under the key ring of an installation, for
//! users that signed in nowhere. A sign-in takes two thousandths of a second of this machine, and a sweep wants 100,000.
//!
//! What is in the store and in the tokens is what a sign-in leaves there; only Entra's token is made up, as long as a real one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use async_trait::async_trait;
use clap::Parser;
use entra::credential::Proof;
use entra::{Authority, ClientCredential, CredentialError, Memberships, Secret, SignIn, Url, User};
use futures_util::StreamExt;
use futures_util::stream::iter;
use loadtest::tokens::{Session, Writer};
use sallyport::access::Access;
use sallyport::audit::Audit;
use sallyport::clock::{Clock, Timestamp};
use sallyport::public_url::PublicUrl;
use sallyport::sealed::{KeyRing, Sealer};
use sallyport::session::{Grant, Sessions, Settings};
use sallyport::store::{RedisSettings, RedisStore, RedisUrl};
use sha2::{Digest, Sha256};

/// Begins sessions, and writes their tokens into a file as `loadtest sign-in` does.
#[derive(Parser)]
struct Arguments {
    /// Of the installation, without a path.
    #[arg(long, value_name = "URL")]
    public_url: String,
    /// Whose users they are: a gateway admits none of a tenant that it does not know.
    #[arg(long, value_name = "GUID")]
    tenant: String,
    /// What the tokens are for.
    #[arg(long, default_value = "/mcp")]
    path: String,
    #[arg(long, value_name = "URL")]
    redis: RedisUrl,
    /// The key ring, which exists.
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// A new file for the sessions.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    sessions: u32,
    /// How many clients they belong to, by turns.
    #[arg(long, default_value_t = u32::MAX, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
    /// They began so long ago that their access tokens have run out.
    #[arg(long)]
    expired: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let public_url = PublicUrl::parse(&arguments.public_url)?;
    let now = Clock::system().now();
    let begun = if arguments.expired { Timestamp::from_unix(now.unix() - LONG_AGO) } else { now };
    let (sessions, mut out) = (sessions(&arguments, &public_url, begun)?, Writer::create(&arguments.out)?);
    let resource = public_url.join(&arguments.path);
    let all = iter(0..arguments.sessions).map(|number| {
        let user = user(&arguments.tenant, number);
        begin(&sessions, &resource, user, number % arguments.clients)
    });
    let mut all = all.buffer_unordered(AT_ONCE);
    while let Some(token) = all.next().await {
        let (access_token, lives) = token?;
        out.add(&Session { access_token, expires_at: begun.after(lives).unix() })?;
    }
    Ok(())
}

fn sessions(arguments: &Arguments, public_url: &PublicUrl, begun: Timestamp) -> anyhow::Result<Sessions> {
    let ring = KeyRing::load(&arguments.keys).context("the key ring")?;
    let (sealer, clock) = (Sealer::new(ring, public_url.as_str()), Clock::manual(begun));
    let store = RedisStore::new(RedisSettings::new(arguments.redis.clone()))?;
    let audit = Audit::to_log(sealer.clone(), clock.clone());
    Ok(Sessions::new(
        Settings::default(),
        Arc::new(store),
        sealer,
        clock,
        Arc::new(nobody(&arguments.tenant)?),
        Access::default(),
        audit,
    ))
}

/// Its access token, and for how long that is good.
async fn begin(sessions: &Sessions, resource: &str, user: User, client: u32) -> anyhow::Result<(String, Duration)> {
    let grant = Grant { client: Sha256::digest(client.to_be_bytes()).into(), resource: resource.to_owned() };
    let begun = sessions.begin(&sign_in(user), SCOPE, &grant, "loadtest").await?;
    let issued = sessions.issue(&begun, &grant);
    ensure!(!issued.expires_in.is_zero(), "the session is over already");
    Ok((issued.access_token, issued.expires_in))
}

fn user(tenant: &str, number: u32) -> User {
    User {
        tenant_id: tenant.to_owned(),
        object_id: format!("00000000-0000-4000-8000-{number:012}"),
        name: None,
        username: None,
    }
}

fn sign_in(user: User) -> SignIn {
    SignIn {
        user,
        memberships: Memberships::default(),
        access_token: entra::AccessToken {
            token: Secret::new("e".repeat(ENTRA_TOKEN)),
            // It is not renewed while others are measured.
            expires_in: Duration::from_secs(5000),
            scope: SCOPE.to_owned(),
        },
        refresh_token: Some(Secret::new("r".repeat(ENTRA_TOKEN))),
    }
}

/// An Entra that nobody asks: a session begins with what Entra gave.
fn nobody(tenant: &str) -> anyhow::Result<entra::Client> {
    struct NoCredential;

    #[async_trait]
    impl ClientCredential for NoCredential {
        async fn proof(&self, _: &Url) -> Result<Proof, CredentialError> {
            Err(CredentialError::Unavailable("there is none".to_owned()))
        }

        fn forget(&self) {}
    }

    let provider = rustls::crypto::aws_lc_rs::default_provider().install_default();
    provider.map_err(|_| anyhow::anyhow!("there is a TLS provider already"))?;
    let settings = entra::Settings {
        authority: Authority::new("http://127.0.0.1:9", tenant)?,
        client_id: "bench".to_owned(),
        extra_ca_file: None,
        cae: false,
        accept_emulator: false,
    };
    Ok(entra::Client::new(settings, Arc::new(NoCredential))?)
}

const SCOPE: &str = "api://bench/access offline_access";
/// Characters.
const ENTRA_TOKEN: usize = 1868;
/// Seconds.
const LONG_AGO: u64 = 3 * 3600;
/// Enough for Redis to be asked without a pause.
const AT_ONCE: usize = 64;
