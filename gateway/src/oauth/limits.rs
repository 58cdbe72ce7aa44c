//! How often one address may use our endpoints. They cost cryptography, calls to Entra, and people's attention.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::Route;
use crate::rate::{Rate, Rates};
use crate::source::SourceAddress;

/// For each address.
#[derive(Clone, Copy, Debug)]
pub struct LimitSettings {
    pub registrations: Rate,
    /// Of `/authorize` and the consent page.
    pub authorizations: Rate,
    /// Of `/token` and `/revoke`.
    pub token_requests: Rate,
}

/// Among the extensions of an answer that turns somebody away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Which limit was met: a label for the metric.
    pub limit: &'static str,
    /// After how long one more is not too many.
    pub wait: Duration,
}

pub struct Limits {
    registrations: Arc<Rates<SourceAddress>>,
    authorizations: Arc<Rates<SourceAddress>>,
    token_requests: Arc<Rates<SourceAddress>>,
}

impl LimitSettings {
    pub const UNBOUNDED: Self =
        Self { registrations: Rate::UNBOUNDED, authorizations: Rate::UNBOUNDED, token_requests: Rate::UNBOUNDED };
}

impl Limits {
    pub fn new(settings: LimitSettings) -> Self {
        Self {
            registrations: Arc::new(Rates::new(settings.registrations)),
            authorizations: Arc::new(Rates::new(settings.authorizations)),
            token_requests: Arc::new(Rates::new(settings.token_requests)),
        }
    }

    /// Goes on with what those `before` have counted, but for rates that are others.
    pub fn after(self, before: &Self) -> Self {
        Self {
            registrations: Rates::after(self.registrations, &before.registrations),
            authorizations: Rates::after(self.authorizations, &before.authorizations),
            token_requests: Rates::after(self.token_requests, &before.token_requests),
        }
    }

    /// # Errors
    /// When the source has asked too often.
    pub(super) fn count(&self, route: Route, method: &Method, source: SourceAddress) -> Result<(), Limited> {
        let (limit, rates) = match (route, method) {
            (Route::Register, &Method::POST) => ("registrations", &self.registrations),
            (Route::Authorize | Route::Consent, &Method::GET | &Method::POST) => {
                ("authorizations", &self.authorizations)
            }
            (Route::Token | Route::Revoke, &Method::POST) => ("token_requests", &self.token_requests),
            _ => return Ok(()),
        };
        rates.count(&source).map_err(|wait| Limited { limit, wait })
    }
}
