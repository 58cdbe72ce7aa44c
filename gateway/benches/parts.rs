//! The parts of the hot path, each ready to run again and again: what `hot_path` times and `instructions` counts.
//!
//! Time stands still, so that nothing kept at hand grows old while it is measured.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use entra::{Secret, SignIn, User};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use sallyport::access::{Access, ToolRules};
use sallyport::audit::Audit;
use sallyport::clock::{Clock, Timestamp};
use sallyport::edge::{Challenges, Routes, Upstream, kept_from_client, to_upstream};
use sallyport::metrics::Metrics;
use sallyport::oauth::Resource;
use sallyport::pool::{self, EndpointRewriter, Pool};
use sallyport::public_url::PublicUrl;
use sallyport::sealed::{Id, KeyRing, OpenError, Purpose, Sealer};
use sallyport::secret::SecretKey;
use sallyport::session::{self, Admitted, Denied, Grant, Sessions};
use sallyport::store::{MemoryStore, Store};

const ISSUER: &str = "https://mcp.example.com";
const TENANT: &str = "8f0c1c5e-0c3d-4b8e-9f59-5a3f1a2b3c4d";
pub const RESOURCE: &str = "https://mcp.example.com/mcp";
/// As long as Entra's tokens are.
const ENTRA_TOKEN: usize = 1868;

/// As an access token holds it.
type Plain = (Id, SecretKey, Timestamp, [u8; 32]);

pub struct Parts {
    sealer: Sealer,
    plain: Plain,
    token: String,
    routes: Routes,
    request: HeaderMap,
    answer: ResponseHeader,
    event: Bytes,
}

/// A session, and what its client shows.
pub struct SignedIn {
    sessions: Arc<Sessions>,
    authorization: HeaderValue,
    forged: HeaderValue,
}

impl Parts {
    pub fn new() -> Self {
        let sealer = Sealer::new(KeyRing::ephemeral(), ISSUER);
        let plain = (sealer.new_id(), SecretKey::random(), Timestamp::from_unix(2_000_000), [1; 32]);
        let token = sealer.seal(Purpose::AccessToken, &[RESOURCE.as_bytes()], &plain);
        let public_url = PublicUrl::parse(ISSUER).expect("it is a public URL");
        let upstream = |path: &str| Upstream {
            resource: Resource::new(&public_url, path, "api://server/access"),
            challenges: Challenges::new(&public_url, path),
            pool: Arc::new(Pool::new(pool::Settings::single(path, "http://127.0.0.1:9")).expect("it is a server")),
            tools: ToolRules::default(),
            counts: Metrics::default().upstream(path),
        };
        let mut answer = ResponseHeader::build(200, None).expect("200 is a status");
        for (name, value) in ANSWER {
            answer.append_header(*name, *value).expect("it is a header");
        }
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        Self {
            routes: Routes::new(["/files", "/tickets", "/mail", "/mcp"].map(upstream).into()),
            request: REQUEST.iter().map(header).collect(),
            answer,
            event: Bytes::from_static(b"event: endpoint\ndata: /message?sessionId=1d2a5d0e9d2f4b5c8b8f\n\n"),
            sealer,
            plain,
            token,
        }
    }

    pub fn open_token(&self) -> Result<Plain, OpenError> {
        self.sealer.open(Purpose::AccessToken, &[RESOURCE.as_bytes()], &self.token)
    }

    pub fn seal_token(&self) -> String {
        self.sealer.seal(Purpose::AccessToken, &[RESOURCE.as_bytes()], &self.plain)
    }

    /// The last of four.
    pub fn route(&self) -> bool {
        self.routes.find("/mcp").is_some()
    }

    pub fn request_header(&self) -> RequestHeader {
        let mut upstream =
            RequestHeader::build_no_case("POST", b"/mcp", Some(self.request.len() + 8)).expect("it is a path");
        for (name, value) in to_upstream(&self.request).expect("there is no Connection header") {
            upstream.append_header(name, value).expect("it was a header before");
        }
        upstream
    }

    pub fn answer_header(&self) -> usize {
        kept_from_client(&self.answer.headers).len()
    }

    pub fn event_endpoint(&self) -> Bytes {
        let ours = |_: &str| Some("/mcp/message?sessionId=sp1_ms_AQAAAAEo".to_owned());
        EndpointRewriter::default().feed(self.event.clone(), ours).expect("it is an endpoint event")
    }
}

impl SignedIn {
    /// With up to `cached` sessions kept in the process; 0 asks the store each time.
    pub async fn new(cached: usize, store: impl FnOnce(&Clock) -> Arc<dyn Store>) -> Self {
        let sessions = sessions(cached, store);
        let grant = Grant { client: [1; 32], resource: RESOURCE.to_owned() };
        let begun = sessions.begin(&sign_in(), "scope", &grant, "Client").await.expect("the store is there");
        let token = sessions.issue(&begun, &grant).access_token;
        // The last character but one: bits of the last may be beyond the text.
        let at = token.len() - 2;
        let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        let forged = format!("{}{other}{}", &token[..at], &token[at + 1..]);
        Self { sessions, authorization: authorization(&token), forged: authorization(&forged) }
    }

    /// Without a store of its own to wait for.
    pub async fn in_memory(cached: usize) -> Self {
        Self::new(cached, |clock| Arc::new(MemoryStore::new(clock.clone()))).await
    }

    pub async fn admit(&self) -> Result<Admitted, Denied> {
        self.sessions.admit(Some(&self.authorization), RESOURCE).await
    }

    /// Nothing is waited for where the session is at hand.
    pub fn admit_now(&self) -> Admitted {
        self.admit().now_or_never().expect("it is at hand").expect("it is good")
    }

    pub fn refuse_forged(&self) -> Denied {
        let admitted = self.sessions.admit(Some(&self.forged), RESOURCE);
        admitted.now_or_never().expect("no store is asked").expect_err("it was altered")
    }
}

/// Sessions with a key ring of their own, and no Entra.
pub fn sessions(cached: usize, store: impl FnOnce(&Clock) -> Arc<dyn Store>) -> Arc<Sessions> {
    let clock = Clock::manual(Clock::system().now());
    let settings = session::Settings { cached, ..session::Settings::default() };
    let sealer = Sealer::new(KeyRing::ephemeral(), ISSUER);
    let audit = Audit::to_log(sealer.clone(), clock.clone());
    Arc::new(Sessions::new(
        settings,
        store(&clock),
        sealer,
        clock.clone(),
        Arc::new(nobody()),
        Access::default(),
        audit,
    ))
}

pub fn authorization(token: &str) -> HeaderValue {
    format!("Bearer {token}").parse().expect("a token is visible ASCII")
}

fn sign_in() -> SignIn {
    SignIn {
        user: User { tenant_id: TENANT.into(), object_id: "o".into(), name: None, username: None },
        memberships: entra::Memberships::default(),
        access_token: entra::AccessToken {
            token: Secret::new("x".repeat(ENTRA_TOKEN)),
            expires_in: Duration::from_secs(3600),
            scope: String::new(),
        },
        refresh_token: None,
    }
}

/// An Entra that nobody asks.
fn nobody() -> entra::Client {
    struct NoCredential;

    #[async_trait::async_trait]
    impl entra::ClientCredential for NoCredential {
        async fn proof(&self, _endpoint: &entra::Url) -> Result<entra::credential::Proof, entra::CredentialError> {
            Err(entra::CredentialError::Unavailable("none here".into()))
        }

        fn forget(&self) {}
    }

    // An error says that it was installed before.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let settings = entra::Settings {
        authority: entra::Authority::new("http://127.0.0.1:9", TENANT).expect("it is an authority"),
        client_id: "g".into(),
        extra_ca_file: None,
        cae: false,
        accept_emulator: false,
    };
    entra::Client::new(settings, Arc::new(NoCredential)).expect("it can be built")
}

/// What an MCP client sends, but for its token.
const REQUEST: &[(&str, &str)] = &[
    ("host", "mcp.example.com"),
    ("content-type", "application/json"),
    ("accept", "application/json, text/event-stream"),
    ("user-agent", "python-httpx/0.28.1"),
    ("mcp-protocol-version", "2025-06-18"),
    ("accept-encoding", "gzip, deflate"),
    ("authorization", "Bearer sp1_at_AQAAAAEo"),
    ("content-length", "200"),
];

/// What an MCP server answers.
const ANSWER: &[(&str, &str)] = &[
    ("Content-Type", "application/json"),
    ("Content-Length", "1029"),
    ("Date", "Tue, 24 Nov 2026 10:00:00 GMT"),
    ("Server", "uvicorn"),
    ("Mcp-Protocol-Version", "2025-06-18"),
];
