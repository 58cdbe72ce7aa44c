//! `/oauth-callback`: the browser comes back from Entra.
//!
//! The order is the protection. First the cookie: without the one that was set with the user's yes nothing is read,
//! nothing is consumed and nobody is called (T1). Then the stored record, once. Only then Entra's code, and only when that
//! has become a session does our own code exist.

use bytes::Bytes;
use http::{Request, Response};

use super::audited::Asked;
use super::error::{Error, Reason};
use super::parameters::Parameters;
use super::prompt::Prompt;
use super::records::{AuthorizationRequest, CODE_LIFETIME, Code, GrantedCode, PendingAuthorization};
use super::sign_in::SignIn;
use super::{AuthorizationServer, answer};
use crate::audit::{Context, Event, Field, Kind, Outcome, Subject};
use crate::browser::{ConsentState, CsrfToken, EntraState, Fault, Jar};
use crate::sealed::Id;
use crate::secret::SecretKey;
use crate::session::Grant;
use crate::store::StoreError;

/// Where the browser goes from here.
enum Next {
    /// To the client, with our code.
    Client(String),
    /// To Entra again, once.
    Entra(SignIn),
}

impl AuthorizationServer {
    pub(super) async fn callback(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let parameters = Parameters::parse(request.uri().query().unwrap_or_default().as_bytes());
        parameters.each_once().map_err(|cause| Error::page(Fault::MalformedRequest, cause))?;
        let state = self.state_of_this_browser(&parameters, &Jar::of(request.headers()))?;
        let pending = match self.pending.take(&state.id, &state.binder).await {
            Ok(Some(pending)) => pending,
            Ok(None) => return Err(Error::page(Fault::SignInOver, "completed before, or too late")),
            Err(cause @ StoreError::Unreadable { .. }) => return Err(Error::page(Fault::SignInOver, cause)),
            Err(cause) => return Err(Error::page(Fault::Unavailable, cause)),
        };
        let context = Context::of(request);
        let response = match self.complete(&parameters, &pending, &context).await {
            Ok(Next::Client(code)) => {
                answer::see_other(&pending.request.return_to.with_code(self.settings.public_url.as_str(), &code))
            }
            Ok(Next::Entra(SignIn { url, cookie })) => {
                return Ok(answer::with_cookies(answer::see_other(&url), [cookie]));
            }
            Err(error) => self.answer(error, &Asked::of(request).by(pending.request.client)),
        };
        // The transaction is over, however it ended.
        let over = [
            self.cookies.clear_for::<EntraState>(state.transaction),
            self.cookies.clear_for::<ConsentState>(state.transaction),
            self.cookies.clear_for::<CsrfToken>(state.transaction),
        ];
        Ok(answer::with_cookies(response, over))
    }

    /// The cookie of the sign-in that `state` names. Ids come out of sealed cookies: there is nothing to guess or to time.
    fn state_of_this_browser(&self, parameters: &Parameters<'_>, jar: &Jar) -> Result<EntraState, Error> {
        let id = parameters.one("state").ok().flatten().and_then(Id::from_text);
        id.and_then(|id| self.cookies.all::<EntraState>(jar).find(|cookie| cookie.id == id))
            .ok_or_else(|| Error::page(Fault::OtherBrowser, "no cookie of this browser belongs to the state"))
    }

    /// Entra's answer becomes a session, and the session a code for the client.
    async fn complete(
        &self,
        parameters: &Parameters<'_>,
        pending: &PendingAuthorization,
        context: &Context,
    ) -> Result<Next, Error> {
        let request = &pending.request;
        if self.clients.denied().refuses(request.client, &request.client_kind, &request.return_to.redirect_uri) {
            return Err(Error::page(Fault::DeniedClient, "denied since it asked"));
        }
        let value = |name| parameters.one(name).ok().flatten();
        if let Some(error) = value("error") {
            return Err(refused_by_entra(request, error, value("error_description").unwrap_or_default()));
        }
        let Some(code) = value("code") else {
            return Err(refuse(request, Reason::ServerError, "The sign-in gave no answer."));
        };
        let scope = self.entra_scope(&request.resource)?;
        let redemption = entra::Redemption {
            code: &entra::Secret::new(code.to_owned()),
            redirect_uri: &self.callback_url(),
            scope: &scope,
            code_verifier: &entra::Secret::new(pending.verifier.expose().to_owned()),
            nonce: &pending.nonce,
        };
        match self.entra.redeem(redemption, self.clock.now().into()).await {
            Ok(sign_in) => {
                self.check_access(request, &sign_in)?;
                self.signed_in(pending, &sign_in, &scope, context).await
            }
            Err(entra::Error::UserMustAct(refusal)) if may_bounce(pending) && refusal.can_be_answered() => {
                tracing::info!(%refusal, "Entra asks for more: the user goes there again, once");
                self.bounce(request.clone(), refusal.claims.as_ref()).await.map(Next::Entra)
            }
            Err(entra::Error::OtherTenant { tenant_id, object_id }) => {
                Err(self.other_tenant(request, &tenant_id, &object_id))
            }
            Err(error) => Err(failed_at_entra(request, &error)),
        }
    }

    /// A code for the client, unless an upstream wants more of this user (entra.md section 8): then to Entra again, once.
    async fn signed_in(
        &self,
        pending: &PendingAuthorization,
        sign_in: &entra::SignIn,
        scope: &str,
        context: &Context,
    ) -> Result<Next, Error> {
        let request = &pending.request;
        let unavailable = |cause: StoreError| {
            tracing::error!(%cause, "a sign-in could not be kept");
            refuse(request, Reason::TemporarilyUnavailable, "A part of this service does not answer. Try again.")
        };
        let grant = Grant { client: *request.client.as_bytes(), resource: request.resource.clone() };
        match self.sessions.step_up(&grant, &sign_in.user).await.map_err(unavailable)? {
            Some(claims) if may_bounce(pending) => {
                tracing::info!("an upstream asks for more: the user goes to Entra again, once");
                // Who it is, is known by now. Entra takes no hint beside a choice of accounts.
                let login_hint = sign_in.user.username.clone();
                let request = AuthorizationRequest { prompt: None, login_hint, ..request.clone() };
                return self.bounce(request, Some(&claims)).await.map(Next::Entra);
            }
            Some(_) if request.prompt == Some(Prompt::None) => {
                return Err(refuse(request, Reason::InteractionRequired, "The user must be asked."));
            }
            Some(_) => self.sessions.stepped_up(&grant, &sign_in.user).await.map_err(unavailable)?,
            None => {}
        }
        self.grant(request, &grant, sign_in, scope, context).await.map(Next::Client).map_err(unavailable)
    }

    /// The code is minted here and nowhere earlier (S5).
    pub(super) async fn grant(
        &self,
        request: &AuthorizationRequest,
        grant: &Grant,
        sign_in: &entra::SignIn,
        scope: &str,
        context: &Context,
    ) -> Result<String, StoreError> {
        let session = self.sessions.begin(sign_in, scope, grant, &request.client_name.to_string()).await?;
        let epitaph = self
            .sessions
            .index(&session)
            .ok_or_else(|| StoreError::Unavailable("the session's key has left the ring".into()))?;
        let code = Code { id: self.sealer.new_id(), secret: SecretKey::random(), resource: request.resource.clone() };
        let guard = request.binding().guard();
        let granted = GrantedCode { session };
        self.codes.put_guarded(&code.id, &code.secret, &granted, &guard, &epitaph.0, CODE_LIFETIME).await?;
        self.audit.record(
            Event::new(Kind::SignInDone, Outcome::Ok)
                .at(context)
                .who(Subject::of(&sign_in.user.tenant_id, &sign_in.user.object_id))
                .client(grant.client)
                .session(epitaph)
                .text(Field::Resource, &grant.resource)
                .text(Field::Name, &request.client_name.to_string()),
        );
        Ok(code.seal(&self.sealer, request.client))
    }
}

/// At most once, or a policy that no sign-in satisfies would loop; and never for a client that wants nobody to be asked.
fn may_bounce(pending: &PendingAuthorization) -> bool {
    !pending.bounced && pending.request.prompt != Some(Prompt::None)
}

fn refuse(request: &AuthorizationRequest, reason: Reason, description: &'static str) -> Error {
    Error::client(request.return_to.clone(), reason, description)
}

/// Entra answered with an error. Its prose names tenants and users: of it, only the number of the error is logged.
fn refused_by_entra(request: &AuthorizationRequest, error: &str, description: &str) -> Error {
    let silent = request.prompt == Some(Prompt::None);
    let (reason, text) = match error {
        "login_required" if silent => (Reason::LoginRequired, "The user must sign in."),
        "consent_required" if silent => (Reason::ConsentRequired, "The user must be asked."),
        "interaction_required" if silent => (Reason::InteractionRequired, "The user must be asked."),
        "access_denied" => (Reason::AccessDenied, "The user or an administrator refused."),
        "temporarily_unavailable" => (Reason::TemporarilyUnavailable, "The sign-in service is busy. Try again."),
        "server_error" => (Reason::ServerError, "The sign-in service failed. Try again."),
        _ => (Reason::ServerError, "The sign-in could not be completed."),
    };
    let number = aadsts(description).unwrap_or_default();
    match reason {
        Reason::AccessDenied | Reason::LoginRequired | Reason::ConsentRequired | Reason::InteractionRequired => {
            tracing::info!(number, "Entra said no");
        }
        _ => {
            let fix = number.parse().ok().and_then(entra::advice);
            tracing::error!(number, fix, "Entra answered the sign-in with an error");
        }
    }
    refuse(request, reason, text)
}

/// The one match from a failed redemption to what the client learns.
fn failed_at_entra(request: &AuthorizationRequest, error: &entra::Error) -> Error {
    tracing::warn!(%error, fix = error.number().and_then(entra::advice), "Entra's code was not redeemed");
    match error {
        entra::Error::UserMustAct(_) if request.prompt == Some(Prompt::None) => {
            refuse(request, Reason::InteractionRequired, "The user must be asked.")
        }
        entra::Error::UserMustAct(_) => refuse(
            request,
            Reason::AccessDenied,
            "The sign-in service asks for more from the user. Sign in again, or ask an administrator.",
        ),
        entra::Error::Refused(refusal) if refusal.suberror.as_deref() == Some("message_only") => {
            refuse(request, Reason::AccessDenied, "A policy of the organisation does not allow this sign-in.")
        }
        entra::Error::TryLater { .. } => {
            refuse(request, Reason::TemporarilyUnavailable, "The sign-in service is busy. Try again.")
        }
        entra::Error::Refused(_)
        | entra::Error::SetUp(_)
        | entra::Error::Untrusted(_)
        | entra::Error::OtherTenant { .. } => {
            refuse(request, Reason::ServerError, "The sign-in could not be completed.")
        }
    }
}

/// The digits after the first `AADSTS`.
fn aadsts(description: &str) -> Option<&str> {
    let (_, rest) = description.split_once("AADSTS")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    (1..=8).contains(&digits).then(|| &rest[..digits])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_number_of_an_error_is_taken() {
        assert_eq!(aadsts("AADSTS65004: Adele declined. Trace ID: x"), Some("65004"));
        for text in ["", "AADSTS", "AADSTS: 1", "aadsts65004", "AADSTS123456789012"] {
            assert_eq!(aadsts(text), None, "{text}");
        }
    }
}
