//! `/connections` and `/signed-out`: a person sees what their browser remembers, and makes it forget.
//!
//! All of it is in the browser's own cookies: there is nothing to look up, and nobody else's to be seen.

use bytes::Bytes;
use http::{HeaderValue, Request, Response};

use super::error::Error;
use super::parameters::Parameters;
use super::{AuthorizationServer, answer};
use crate::audit::{Context, Event, Kind, Outcome};
use crate::browser::{ApprovedClients, CsrfToken, DeniedClients, Fault, Jar, Transaction, same_origin};
use crate::secret::SecretKey;

pub const CONNECTIONS: &str = "/connections";
pub const SIGNED_OUT: &str = "/signed-out";

impl AuthorizationServer {
    pub(super) fn connections(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let jar = Jar::of(request.headers());
        let transaction = Transaction::OF_THE_BROWSER;
        let csrf = self
            .cookies
            .get_for::<CsrfToken>(&jar, transaction)
            .unwrap_or_else(|| CsrfToken { transaction, token: SecretKey::random() });
        let approved = self.cookies.get::<ApprovedClients>(&jar).unwrap_or_default();
        let denied = self.cookies.get::<DeniedClients>(&jar).unwrap_or_default();
        let page = self.pages.connections(&approved, &denied, &csrf, self.clock.now());
        let mut cookies = self.cookies.make_room(&jar, transaction);
        cookies.push(self.cookies.set_for(&csrf));
        answer::with_cookies(page, cookies)
    }

    /// Forgetting is no danger, but it is the user's to decide: a form of our page, as at `/consent` (T4).
    pub(super) fn forget(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let refused = |cause: &dyn std::fmt::Display| Error::page(Fault::NotForgotten, cause);
        if !answer::is_of_type(request.headers(), answer::FORM) {
            return Err(Error::page(Fault::NotAForm, "what to forget is not a form"));
        }
        same_origin(request.headers(), &self.settings.public_url).map_err(|cause| refused(&cause))?;
        let form = Parameters::parse(request.body());
        form.each_once().map_err(|cause| refused(&cause))?;
        let jar = Jar::of(request.headers());
        let token = self.cookies.get_for::<CsrfToken>(&jar, Transaction::OF_THE_BROWSER);
        let sent = form.one("csrf").ok().flatten().unwrap_or_default();
        if !token.is_some_and(|token| token.matches(sent)) {
            return Err(refused(&"the form's token is not the cookie's"));
        }
        let (path, cookies) = match form.one("forget").ok().flatten() {
            Some("all") => (SIGNED_OUT, self.cookies.clear_all(&jar)),
            Some(id) => (CONNECTIONS, self.without(id, &jar)),
            None => return Err(refused(&"nothing to forget")),
        };
        self.audit.record(Event::new(Kind::ConsentForgotten, Outcome::Ok).at(&Context::of(request)));
        Ok(answer::with_cookies(answer::see_other(&self.settings.public_url.join(path)), cookies))
    }

    fn without(&self, id: &str, jar: &Jar) -> Vec<HeaderValue> {
        let approved = self.cookies.get::<ApprovedClients>(jar).map(|mut approved| {
            approved.forget(id);
            self.cookies.set(&approved)
        });
        let denied = self.cookies.get::<DeniedClients>(jar).map(|mut denied| {
            denied.forget(id);
            self.cookies.set(&denied)
        });
        approved.into_iter().chain(denied).collect()
    }

    pub(super) fn signed_out(&self) -> Response<Bytes> {
        self.pages.signed_out()
    }
}
