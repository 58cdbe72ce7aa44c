//! An authorization server without a network: whatever would call Entra fails.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::{Request, Response};

use crate::access::Access;
use crate::audit::Audit;
use crate::clock::{Clock, Timestamp};
use crate::fuzzing::{ISSUER, SEALER};
use crate::oauth::{
    AuthorizationServer, ClientSecret, ClientSettings, LimitSettings, Parts, Preregistered, RedirectUri, Remember,
    Resource, Resources, Settings,
};
use crate::public_url::PublicUrl;
use crate::session::{self, Sessions};
use crate::store::MemoryStore;

pub struct Fixture {
    pub server: AuthorizationServer,
    pub sessions: Arc<Sessions>,
    runtime: tokio::runtime::Runtime,
}

pub static FIXTURE: LazyLock<Fixture> = LazyLock::new(Fixture::new);

/// Of the client `public`, and of `confidential`, whose secret is [`SECRET`].
pub const REDIRECT_URIS: [&str; 3] =
    ["https://client.example/cb?tenant=a%20b", "http://127.0.0.1:33418/cb", "cursor://anysphere.cursor-mcp/cb"];
pub const SECRET: &str = "a-secret-that-everybody-knows-0123456789";

impl Fixture {
    fn new() -> Self {
        // An error says that somebody else of this process was first.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let settings = settings();
        let clock = Clock::manual(Timestamp::from_unix(1_000_000));
        let store = Arc::new(MemoryStore::new(clock.clone()));
        let entra = Arc::new(entra_client());
        let audit = Audit::to_log(SEALER.clone(), clock.clone());
        let sessions = Arc::new(Sessions::new(
            session::Settings::default(),
            store.clone(),
            SEALER.clone(),
            clock.clone(),
            entra.clone(),
            Access::default(),
            audit.clone(),
        ));
        let parts = Parts { sealer: SEALER.clone(), store, clock, sessions: sessions.clone(), entra, audit };
        let server = AuthorizationServer::new(settings, parts).expect("nothing is needed for it");
        Self { server, sessions, runtime }
    }

    pub fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.wait(self.server.handle(request))
    }

    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

fn settings() -> Settings {
    let public_url = PublicUrl::parse(ISSUER).expect("it is one");
    let custom_schemes = vec!["cursor".to_owned()];
    let redirect_uris = REDIRECT_URIS.map(|uri| RedirectUri::parse(uri, &custom_schemes).expect("it is a good one"));
    let client = |id: &str, secret| Preregistered {
        client_id: id.to_owned(),
        name: id.to_owned(),
        redirect_uris: redirect_uris.to_vec(),
        secret,
    };
    let preregistered = vec![client("public", None), client("confidential", Some(ClientSecret::of(SECRET)))];
    Settings {
        resources: Resources::new(&public_url, vec![Resource::new(&public_url, "/mcp", "api://m/access_as_user")]),
        public_url,
        server_name: "Contoso tools".to_owned(),
        remember: Remember::Ask,
        limits: LimitSettings::UNBOUNDED,
        clients: ClientSettings { custom_schemes, preregistered, ..ClientSettings::default() },
    }
}

fn entra_client() -> entra::Client {
    let nowhere = "http://127.0.0.1:9".to_owned();
    let settings = entra::Settings {
        authority: entra::Authority::new(&nowhere, "8f0c1c5e-0c3d-4b8e-9f59-5a3f1a2b3c4d").expect("it is one"),
        client_id: "g".to_owned(),
        extra_ca_file: None,
        cae: false,
        accept_emulator: false,
    };
    let host = entra::credential::IdentityHost::Metadata { endpoint: nowhere };
    let now = Arc::new(|| Timestamp::from_unix(1_000_000).into());
    let credential = entra::credential::ManagedIdentity::new(entra::Cloud::Public, None, &host, now);
    entra::Client::new(settings, Arc::new(credential.expect("it is well-formed"))).expect("it is well-formed")
}
