//! `/consent`: the user's own yes or no, for each client, before anybody is sent to Entra (D-1, T2).

use bytes::Bytes;
use http::{HeaderValue, Request, Response};

use super::audited::Told;
use super::client::Kind;
use super::error::{Error, Reason};
use super::parameters::Parameters;
use super::records::AuthorizationRequest;
use super::{AuthorizationServer, Remember, SCOPE, answer};
use crate::audit::{self, Context};
use crate::browser::{
    ApprovedClients, ConsentPage, ConsentState, CrossOrigin, CsrfToken, DeniedClients, Fault, Jar, Vouched, same_origin,
};
use crate::secret::SecretKey;

impl AuthorizationServer {
    /// GET: shows the page. Repeatable: a second rendering of the same request shares the first one's form token.
    pub(super) fn ask(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let parameters = Parameters::parse(request.uri().query().unwrap_or_default().as_bytes());
        let (sealed, asked) = self.asked(&parameters)?;
        let jar = Jar::of(request.headers());
        let transaction = asked.transaction;
        let csrf = self
            .cookies
            .get_for::<CsrfToken>(&jar, transaction)
            .unwrap_or_else(|| CsrfToken { transaction, token: SecretKey::random() });
        let denied = self.cookies.get::<DeniedClients>(&jar).unwrap_or_default();
        let redirect_uri = &asked.return_to.redirect_uri;
        let page = self.pages.consent(ConsentPage {
            client_name: &asked.client_name.to_string(),
            vouched: match &asked.client_kind {
                Kind::Registered => Vouched::Nobody,
                Kind::Preregistered => Vouched::Operator,
                Kind::MetadataDocument { host, .. } => Vouched::Publisher(host),
            },
            destination: redirect_uri.destination(),
            redirect_uri: redirect_uri.as_str(),
            loopback: redirect_uri.is_loopback(),
            resource: &asked.resource,
            scope: SCOPE,
            refused: denied.age(asked.client.as_bytes(), self.clock.now()),
            offer_to_remember: self.settings.remember == Remember::Ask && asked.may_be_remembered(),
            request: sealed,
            csrf: &csrf.to_text(),
        });
        let mut cookies = self.cookies.make_room(&jar, transaction);
        cookies.push(self.cookies.set_for(&ConsentState { transaction }));
        cookies.push(self.cookies.set_for(&csrf));
        Ok(answer::with_cookies(page, cookies))
    }

    /// POST: the decision. It counts only if it comes from our page, in the browser that was shown it.
    pub(super) async fn decide(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Error> {
        if !answer::is_of_type(request.headers(), answer::FORM) {
            return Err(Error::page(Fault::NotAForm, "the decision is not a form"));
        }
        same_origin(request.headers(), &self.settings.public_url).map_err(|cause| match cause {
            CrossOrigin::Origin => Error::page(Fault::ForeignOrigin, cause),
            CrossOrigin::FetchSite => Error::page(Fault::CrossSite, cause),
        })?;
        let form = Parameters::parse(request.body());
        form.each_once().map_err(|cause| Error::page(Fault::MalformedRequest, cause))?;
        let (_, asked) = self.asked(&form)?;
        let jar = Jar::of(request.headers());
        self.check_form(&form, &jar, &asked)?;
        match form.one("decision") {
            Ok(Some("allow")) => self.allow(asked, &form, &jar, &Context::of(request)).await,
            Ok(Some("deny")) => {
                self.note_consent(audit::Kind::ConsentDenied, &asked, &Context::of(request), None);
                Ok(self.deny(&asked, &jar))
            }
            _ => Err(Error::page(Fault::UnknownDecision, "neither allow nor deny")),
        }
    }

    /// The sealed request between `/authorize` and here; it is the proof that client and redirect URI were checked.
    fn asked<'a>(&self, parameters: &'a Parameters<'_>) -> Result<(&'a str, AuthorizationRequest), Error> {
        let sealed = match parameters.one("request") {
            Ok(Some(sealed)) => sealed,
            _ => return Err(Error::page(Fault::MalformedRequest, "no request, or several")),
        };
        let asked = AuthorizationRequest::open(&self.sealer, sealed)
            .map_err(|cause| Error::page(Fault::MalformedRequest, cause))?;
        if asked.has_expired(self.clock.now()) {
            return Err(Error::page(Fault::ConsentExpired, "the page was open for too long"));
        }
        match self.clients.denied().refuses(asked.client, &asked.client_kind, &asked.return_to.redirect_uri) {
            true => Err(Error::page(Fault::DeniedClient, "denied since it asked")),
            false => Ok((sealed, asked)),
        }
    }

    fn check_form(&self, form: &Parameters<'_>, jar: &Jar, asked: &AuthorizationRequest) -> Result<(), Error> {
        let sent = form.one("csrf").ok().flatten().unwrap_or_default();
        let ours = self.cookies.get_for::<CsrfToken>(jar, asked.transaction);
        if !ours.is_some_and(|token| token.matches(sent)) {
            return Err(Error::page(Fault::WrongFormToken, "the form's token is not the cookie's"));
        }
        match self.cookies.get_for::<ConsentState>(jar, asked.transaction) {
            Some(_) => Ok(()),
            None => Err(Error::page(Fault::ConsentNotShown, "no consent state for this transaction")),
        }
    }

    /// A page that goes on by itself and no redirect: Chromium holds a form's redirects to `form-action`, all the way.
    async fn allow(
        &self,
        asked: AuthorizationRequest,
        form: &Parameters<'_>,
        jar: &Jar,
        context: &Context,
    ) -> Result<Response<Bytes>, Error> {
        let mut cookies = self.answered(&asked);
        let remember = match self.settings.remember {
            Remember::Ask => matches!(form.one("remember"), Ok(Some("yes"))),
            Remember::Always => true,
            Remember::Never => false,
        };
        let remember = remember && asked.may_be_remembered();
        self.note_consent(audit::Kind::ConsentAllowed, &asked, context, Some(remember));
        if remember {
            let mut approved = self.cookies.get::<ApprovedClients>(jar).unwrap_or_default();
            approved.add(asked.approval(), asked.label(), self.clock.now());
            cookies.push(self.cookies.set(&approved));
        }
        if let Some(mut denied) = self.cookies.get::<DeniedClients>(jar) {
            denied.remove(asked.client.as_bytes());
            cookies.push(self.cookies.set(&denied));
        }
        let sign_in = self.begin_sign_in(asked, context).await?;
        cookies.push(sign_in.cookie);
        Ok(answer::with_cookies(self.pages.to_sign_in(&sign_in.url), cookies))
    }

    /// The client is told: it would wait for ever otherwise (N25).
    fn deny(&self, asked: &AuthorizationRequest, jar: &Jar) -> Response<Bytes> {
        let now = self.clock.now();
        let mut cookies = self.answered(asked);
        let mut denied = self.cookies.get::<DeniedClients>(jar).unwrap_or_default();
        denied.add(*asked.client.as_bytes(), asked.label(), now);
        cookies.push(self.cookies.set(&denied));
        if let Some(mut approved) = self.cookies.get::<ApprovedClients>(jar) {
            approved.remove(&asked.approval());
            cookies.push(self.cookies.set(&approved));
        }
        let issuer = self.settings.public_url.as_str();
        let url = asked.return_to.with_error(issuer, Reason::AccessDenied.as_str(), "The user refused.");
        let mut response = answer::with_cookies(self.pages.refused(&url), cookies);
        response.extensions_mut().insert(Told { code: None, reason: "denied_by_user" });
        response
    }

    /// The page was answered: its cookies go.
    fn answered(&self, asked: &AuthorizationRequest) -> Vec<HeaderValue> {
        vec![
            self.cookies.clear_for::<ConsentState>(asked.transaction),
            self.cookies.clear_for::<CsrfToken>(asked.transaction),
        ]
    }
}
