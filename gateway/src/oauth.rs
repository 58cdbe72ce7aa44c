//! Sallyport as an authorization server: RFC 6749 as OAuth 2.1 reads it, with RFC 7009, 7591, 7636, 8414, 8707, 9207 and 9728.
//!
//! One door, [`AuthorizationServer::handle`]: a plain HTTP request in, a plain HTTP answer out, never an error. The rules of
//! our endpoints live here; sockets, Pingora and Redis do not.
//!
//! | path | file | what happens there |
//! | --- | --- | --- |
//! | `/.well-known/*` | `metadata` | documents, made once |
//! | `/register` | `register` | a registration is sealed into the client id; nothing is stored |
//! | `/authorize` | `authorize` | the request is proven, then sealed; nothing is stored |
//! | `/consent` | `consent` | the user says yes or no |
//! | | `sign_in` | after a yes: a [`records::PendingAuthorization`] is stored, the browser goes to Entra |
//! | `/oauth-callback` | `callback` | the same browser returns; Entra's code becomes a session, ours goes to the client |
//! | `/connections`, `/signed-out` | `connections` | what this browser remembers, and forgets |
//! | `/token` | `token`, `refresh` | the client redeems its code, once; later it goes on with its refresh token |
//! | `/revoke` | `revoke` | the client signs out: its session ends everywhere |
//!
//! Who a client is, `client` knows, and `client_authentication` how it proves that. Errors are values of one enum and
//! answered by one match, in `error`. Neighbours: `browser` for cookies and pages, `session` for what a code grants, the
//! crate `entra` for the second door.

mod answer;
mod audited;
mod authorize;
mod callback;
mod client;
mod client_authentication;
mod client_name;
mod connections;
mod consent;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod json;
mod limits;
mod metadata;
mod no_access;
mod parameters;
mod pkce;
mod prompt;
mod records;
mod redirect_uri;
mod refresh;
mod register;
mod resource;
mod revoke;
mod sign_in;
mod token;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};

pub use audited::Told;
pub use client::{
    CUSTOM_SCHEMES, ClientSecret, ClientSettings, DocumentHost, DocumentSettings, METADATA_HOSTS, Network,
    Preregistered, Resolver,
};
pub use limits::{LimitSettings, Limited};
pub use metadata::{Metadata, resource_metadata_url};
pub use no_access::AccessRefused;
pub use redirect_uri::{BadRedirectUri, RedirectUri};
pub use resource::{Resource, Resources};
pub use token::Granted;

use crate::audit::Audit;
use crate::browser::{Cookies, Pages, is_a_person};
use crate::clock::Clock;
use crate::public_url::PublicUrl;
use crate::sealed::Sealer;
use crate::session::Sessions;
use crate::source::SourceAddress;
use crate::store::{Store, Table};
use audited::Asked;
use client::Clients;
use error::Error;
use limits::Limits;
use records::{GrantedCode, PendingAuthorization};

/// The one scope there is: the use of a resource. Others that a client asks for are ignored (A27).
pub const SCOPE: &str = "mcp.access";

/// Where Entra sends browsers back to.
pub const CALLBACK: &str = "/oauth-callback";

#[derive(Clone, Debug)]
pub struct Settings {
    pub public_url: PublicUrl,
    pub resources: Resources,
    /// What people call this installation; large on every page.
    pub server_name: String,
    pub remember: Remember,
    pub clients: ClientSettings,
    pub limits: LimitSettings,
}

/// Whether a browser remembers that a user allowed a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Remember {
    /// If the user ticks the box.
    #[default]
    Ask,
    Never,
    Always,
}

/// What the authorization server works with.
pub struct Parts {
    pub sealer: Sealer,
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub sessions: Arc<Sessions>,
    pub entra: Arc<entra::Client>,
    pub audit: Audit,
}

pub struct AuthorizationServer {
    settings: Settings,
    metadata: Metadata,
    clients: Clients,
    limits: Limits,
    sealer: Sealer,
    clock: Clock,
    cookies: Cookies,
    pages: Pages,
    pending: Table<PendingAuthorization>,
    codes: Table<GrantedCode>,
    sessions: Arc<Sessions>,
    entra: Arc<entra::Client>,
    audit: Audit,
}

impl AuthorizationServer {
    /// # Errors
    /// When no HTTP client can be made for clients' metadata documents.
    pub fn new(settings: Settings, parts: Parts) -> Result<Self, reqwest::Error> {
        let Parts { sealer, store, clock, sessions, entra, audit } = parts;
        let secure = settings.public_url.as_str().starts_with("https:");
        Ok(Self {
            metadata: Metadata::new(&settings),
            clients: Clients::new(&settings.clients, &settings.public_url, sealer.clone(), clock.clone())?,
            limits: Limits::new(settings.limits),
            cookies: Cookies::new(sealer.clone(), clock.clone()),
            pages: Pages::new(settings.server_name.clone(), secure),
            pending: Table::new(store.clone(), sealer.clone(), clock.clone(), "authorization"),
            codes: Table::new(store, sealer.clone(), clock.clone(), "code"),
            settings,
            sealer,
            clock,
            sessions,
            entra,
            audit,
        })
    }

    /// Goes on with what the one `before` has counted and fetched, as far as its settings are the same.
    pub fn after(self, before: &Self) -> Self {
        Self { limits: self.limits.after(&before.limits), clients: self.clients.after(&before.clients), ..self }
    }

    /// What logs call a path that is answered here. Exact and undecoded, except that all of `/.well-known/` is ours: what is
    /// not there must be a 404 that discovery understands (A6).
    pub fn endpoint(&self, path: &str) -> Option<&'static str> {
        Route::find(path).map(Route::path)
    }

    /// The page for somebody who opens a resource in a browser; `None` for a program, which gets the challenge.
    pub fn how_to_connect(&self, headers: &HeaderMap, resource: &Resource) -> Option<Response<Bytes>> {
        is_a_person(headers).then(|| self.pages.connect(resource.url()))
    }

    /// Answers a request whose body the edge has read and bounded.
    pub async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        let Some(route) = Route::find(request.uri().path()) else {
            return self.answer(Error::NotFound, &Asked::of(&request));
        };
        let begun = Instant::now();
        let result = match self.limits.count(route, request.method(), SourceAddress::of(&request)) {
            Ok(()) => self.serve(route, &request).await,
            Err(limited) => Err(Error::TooMany { limited, in_a_browser: route.is_for_browsers() }),
        };
        let mut response = result.unwrap_or_else(|error| self.answer(error, &Asked::of(&request)));
        let result = response.extensions().get::<Told>().map_or("ok", |told| told.reason);
        response.extensions_mut().insert(Served { endpoint: route.name(), result, took: begun.elapsed() });
        match route.is_for_browsers() {
            true => response,
            false => answer::for_any_origin(response),
        }
    }

    async fn serve(&self, route: Route, request: &Request<Bytes>) -> Result<Response<Bytes>, Error> {
        match (route, request.method()) {
            (Route::WellKnown, &Method::GET | &Method::HEAD) => self.metadata.answer(request),
            (Route::Register, &Method::POST) => self.register(request),
            (Route::Authorize, &Method::GET) => self.authorize(request).await,
            (Route::Consent, &Method::GET) => self.ask(request),
            (Route::Consent, &Method::POST) => self.decide(request).await,
            (Route::Connections, &Method::GET) => Ok(self.connections(request)),
            (Route::Connections, &Method::POST) => self.forget(request),
            (Route::SignedOut, &Method::GET) => Ok(self.signed_out()),
            (Route::Callback, &Method::GET) => self.callback(request).await,
            (Route::Token, &Method::POST) => self.token(request).await,
            (Route::Revoke, &Method::POST) => self.revoke(request).await,
            (route, &Method::OPTIONS) if !route.is_for_browsers() => Ok(answer::preflight(route.methods())),
            (route, _) => Err(Error::MethodNotAllowed(route.methods())),
        }
    }
}

/// Rides on every answer of an endpoint, for whoever counts.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    /// A label for metrics, as the next one.
    pub endpoint: &'static str,
    /// `ok`, or why not.
    pub result: &'static str,
    pub took: Duration,
}

#[derive(Clone, Copy)]
enum Route {
    WellKnown,
    Register,
    Authorize,
    Consent,
    Callback,
    Connections,
    SignedOut,
    Token,
    Revoke,
}

impl Route {
    fn find(path: &str) -> Option<Self> {
        Some(match path {
            "/register" => Route::Register,
            "/authorize" => Route::Authorize,
            "/consent" => Route::Consent,
            CALLBACK => Route::Callback,
            connections::CONNECTIONS => Route::Connections,
            connections::SIGNED_OUT => Route::SignedOut,
            "/token" => Route::Token,
            "/revoke" => Route::Revoke,
            _ if path.starts_with("/.well-known/") => Route::WellKnown,
            _ => return None,
        })
    }

    /// A label for metrics.
    fn name(self) -> &'static str {
        match self {
            Route::WellKnown => "metadata",
            Route::Register => "register",
            Route::Authorize => "authorize",
            Route::Consent => "consent",
            Route::Callback => "callback",
            Route::Connections => "connections",
            Route::SignedOut => "signed_out",
            Route::Token => "token",
            Route::Revoke => "revoke",
        }
    }

    /// As the table above has it.
    fn path(self) -> &'static str {
        match self {
            Route::WellKnown => "/.well-known/*",
            Route::Register => "/register",
            Route::Authorize => "/authorize",
            Route::Consent => "/consent",
            Route::Callback => CALLBACK,
            Route::Connections => connections::CONNECTIONS,
            Route::SignedOut => connections::SIGNED_OUT,
            Route::Token => "/token",
            Route::Revoke => "/revoke",
        }
    }

    /// Pages carry cookies: no other origin may read them, so they have no CORS at all (C25).
    fn is_for_browsers(self) -> bool {
        match self {
            Route::Authorize | Route::Consent | Route::Callback | Route::Connections | Route::SignedOut => true,
            Route::WellKnown | Route::Register | Route::Token | Route::Revoke => false,
        }
    }

    fn methods(self) -> &'static str {
        match self {
            Route::WellKnown => "GET, HEAD, OPTIONS",
            Route::Register | Route::Token | Route::Revoke => "POST, OPTIONS",
            Route::Authorize | Route::Callback | Route::SignedOut => "GET",
            Route::Consent | Route::Connections => "GET, POST",
        }
    }
}

#[cfg(test)]
mod tests;
