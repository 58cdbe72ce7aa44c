//! `/status` of the admin listener: how this replica is, for people, and buttons that end sessions.
//!
//! No script; the page loads itself anew. It shows what the log and the metrics say, so no secret. A button works only from the page
//! itself: it brings a token that no other page can read, and its `Origin` is the address that was asked.

mod history;

use std::sync::Arc;

use askama::Template;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use pingora::protocols::http::ServerSession;
use prometheus::proto::MetricFamily;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::answer;
use super::request::{Refusal, check_get, context, read_form, refused, set};
use crate::clock::{Clock, Timestamp};
use crate::drain::Drain;
use crate::log::trouble::{self, Trouble};
use crate::metrics::Metrics;
use crate::pool::{Pool, Pools, ServerState};
use crate::readiness::Readiness;
use crate::reloads::{Last, Reloads};
use crate::secret::random_bytes;
use crate::session::{Listed, NotRevoked, Selector, Sessions};
pub use history::{History, Sampler};

pub const PAGE: &str = "/status";
pub const REVOKE: &str = "/status/revoke";

/// What the page tells of.
pub struct StatusAdmin {
    pub public_url: String,
    pub clock: Clock,
    pub started: Timestamp,
    pub metrics: Arc<Metrics>,
    pub drain: Drain,
    pub readiness: Readiness,
    pub history: History,
    pub pools: Pools,
    pub reloads: Reloads,
    pub sessions: Arc<Sessions>,
    pub token: FormToken,
}

/// What a form of this process's page brings.
pub struct FormToken(String);

#[derive(Template)]
#[template(path = "status.html")]
struct Page<'a> {
    style: &'static str,
    version: &'static str,
    public_url: &'a str,
    state: String,
    well: bool,
    now: String,
    started: String,
    /// Of the configuration.
    reload: Last,
    charts: Vec<Drawn>,
    servers: Vec<(String, ServerState)>,
    figures: Vec<Figure>,
    troubles: Vec<Trouble>,
    /// `None` when the store does not answer.
    sessions: Option<Vec<Row>>,
    more: bool,
    token: &'a str,
}

struct Drawn {
    title: &'static str,
    points: String,
    newest: String,
}

/// Series of one name, those that are not zero.
struct Figure {
    title: &'static str,
    values: Vec<(String, String)>,
}

struct Row {
    id: String,
    user: String,
    client: String,
    resource: String,
    created: String,
    last_used: String,
}

impl StatusAdmin {
    /// Answers a request for [`PAGE`] or [`REVOKE`].
    pub async fn answer(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let answered = match session.req_header().uri.path() {
            REVOKE => self.revoke(session).await,
            _ => match check_get(session) {
                Ok(()) => Ok(self.page().await),
                Err(refusal) => Err(refusal),
            },
        };
        answered.unwrap_or_else(|refusal| refused(session, &refusal))
    }

    async fn revoke(&self, session: &mut ServerSession) -> Result<Response<Vec<u8>>, Refusal> {
        let body = read_form(session).await?;
        let value = |name: &str| form_urlencoded::parse(&body).find(|(key, _)| key == name).map(|(_, value)| value);
        if !value("token").is_some_and(|token| self.token.is(&token)) {
            return Err(Refusal::NotOurForm);
        }
        let selector = Selector::session(&value("session").unwrap_or_default());
        let selector = selector.map_err(|bad| Refusal::Wrong(bad.to_string()))?;
        let revoked = self.sessions.revoke_selected(&selector, "status page", &context(session)).await;
        match revoked.failure {
            None => Ok(back()),
            Some(NotRevoked::Ambiguous(_)) => Err(Refusal::Unknown("that is more than one session")),
            Some(NotRevoked::Store(cause)) => {
                tracing::error!(%cause, "a session was not ended");
                Err(Refusal::Away)
            }
        }
    }

    async fn page(&self) -> Response<Vec<u8>> {
        let (families, now) = (self.metrics.families(), self.clock.now());
        let (state, well) = match self.readiness.obstacle() {
            _ if self.drain.is_draining() => ("draining: it answers no readiness probe and will end".to_owned(), false),
            Some(cause) => (format!("not ready: {cause}"), false),
            None => ("serving".to_owned(), true),
        };
        let listed = self.sessions.roster().list(&Selector::All, LOOKED_AT).await;
        let more = listed.as_ref().is_ok_and(|list| list.more || list.sessions.len() > SESSIONS);
        let page = Page {
            style: STYLE,
            version: env!("CARGO_PKG_VERSION"),
            public_url: &self.public_url,
            state,
            well,
            now: now.to_text(),
            started: self.started.to_text(),
            reload: self.reloads.last(),
            charts: (0..history::CHARTS.len()).map(|index| drawn(&self.history, index)).collect(),
            servers: self.servers(),
            figures: FIGURES.iter().filter_map(|(title, family)| figure(&families, title, family)).collect(),
            troubles: trouble::last(),
            sessions: listed.ok().map(|list| list.sessions.iter().rev().take(SESSIONS).map(row).collect()),
            more,
            token: &self.token.0,
        };
        let html = page.render().expect("a template of ours renders");
        let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", html.into_bytes());
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy());
        set(&mut response, CACHE_CONTROL, "no-store");
        set(&mut response, REFERRER_POLICY, "same-origin");
        set(&mut response, X_CONTENT_TYPE_OPTIONS, "nosniff");
        response
    }

    fn servers(&self) -> Vec<(String, ServerState)> {
        let of = |pool: &Arc<Pool>| {
            let name = pool.settings().name.clone();
            pool.servers().into_iter().map(move |server| (name.clone(), server)).collect::<Vec<_>>()
        };
        self.pools.all().iter().flat_map(of).collect()
    }
}

impl FormToken {
    pub fn random() -> Self {
        Self(BASE64_STANDARD.encode(random_bytes::<32>()))
    }

    fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

fn drawn(history: &History, index: usize) -> Drawn {
    let values = history.values(index);
    let newest = values.last().map_or_else(String::new, |value| format!("{value:.1}"));
    Drawn { title: history::CHARTS[index].title, points: history::points(&values, WIDTH, HEIGHT), newest }
}

fn figure(families: &[MetricFamily], title: &'static str, name: &str) -> Option<Figure> {
    let family = families.iter().find(|family| family.name() == name)?;
    let values = family.get_metric().iter().filter_map(|metric| {
        let value = metric.get_counter().get_value() + metric.get_gauge().get_value();
        let labels: Vec<_> =
            metric.get_label().iter().map(|label| label.value()).filter(|value| *value != "none").collect();
        (value != 0.0).then(|| (labels.join(" "), format!("{value:.0}")))
    });
    let values: Vec<_> = values.collect();
    (!values.is_empty()).then_some(Figure { title, values })
}

fn row(listed: &Listed) -> Row {
    let listing = listed.listing.as_ref();
    let user = listing.map(|listing| &listing.user);
    Row {
        id: listed.id(),
        user: user.map_or_else(String::new, |user| user.login.as_ref().unwrap_or(&user.object_id).clone()),
        client: listing.map_or_else(String::new, |listing| listing.client.name.clone()),
        resource: listing.map_or_else(String::new, |listing| listing.resource.clone()),
        created: listing.map_or_else(String::new, |listing| listing.created.to_text()),
        last_used: listing.map_or_else(String::new, |listing| listing.last_used.to_text()),
    }
}

fn back() -> Response<Vec<u8>> {
    let mut response = answer(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", b"ended\n".to_vec());
    set(&mut response, LOCATION, PAGE);
    response
}

fn policy() -> HeaderValue {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let text = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::try_from(text).expect("a policy is visible ASCII")
}

const STYLE: &str = include_str!("../../templates/status.css");
/// The newest. More are for `sallyport sessions list`.
const SESSIONS: usize = 50;
/// So many are looked at for the newest, in no order: the page asks every ten seconds, and Redis for each.
const LOOKED_AT: usize = 1000;
/// Of a chart, in the template too.
const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 40.0;

/// What is counted since the start, or is so now.
const FIGURES: [(&str, &str); 10] = [
    ("Sessions looked up, by where they were found", "sallyport_session_lookups_total"),
    ("Requests refused, by reason", "sallyport_token_rejected_total"),
    ("Limits that were met", "sallyport_limited_total"),
    ("Refused by a rule on who may use what", "sallyport_access_refused_total"),
    ("Requests that an upstream failed, by cause", "sallyport_upstream_failures_total"),
    ("Requests to Entra, by kind and outcome", "sallyport_entra_requests_total"),
    ("Seconds since Entra's keys were read", "sallyport_entra_keys_age_seconds"),
    ("Seconds since the credential was read", "sallyport_entra_credential_age_seconds"),
    ("Keys of the ring, by state", "sallyport_keyring_keys"),
    ("Values sealed, by key", "sallyport_seals_total"),
];
