//! From a yes to Entra's sign-in page.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderValue;

use super::error::Error;
use super::pkce::CodeVerifier;
use super::prompt::Prompt;
use super::records::{AuthorizationRequest, PendingAuthorization, SIGN_IN_LIFETIME};
use super::{AuthorizationServer, CALLBACK};
use crate::audit::{Context, Event, Field, Kind, Outcome};
use crate::browser::{EntraState, Fault};
use crate::secret::{SecretKey, random_bytes};

/// The next step of a browser whose user said yes.
pub struct SignIn {
    /// At Entra.
    pub url: String,
    /// Binds the sign-in to this browser. It is set with this very step and never before the user's yes (D-4).
    pub cookie: HeaderValue,
}

impl AuthorizationServer {
    pub(super) async fn begin_sign_in(
        &self,
        request: AuthorizationRequest,
        context: &Context,
    ) -> Result<SignIn, Error> {
        let begun = Event::new(Kind::SignInBegun, Outcome::Ok)
            .at(context)
            .client(*request.client.as_bytes())
            .text(Field::Resource, &request.resource);
        let sign_in = self.send_to_entra(request, None, false).await?;
        self.audit.record(begun);
        Ok(sign_in)
    }

    /// Once more, because Entra asked for more than the user had given; `claims` says for what, in Entra's own words. It is
    /// the same transaction in the same browser, with a new state, nonce and verifier.
    pub(super) async fn bounce(
        &self,
        request: AuthorizationRequest,
        claims: Option<&entra::ClaimsRequest>,
    ) -> Result<SignIn, Error> {
        self.send_to_entra(request, claims, true).await
    }

    /// Stores the authorization under a secret that only this browser's cookie holds.
    async fn send_to_entra(
        &self,
        request: AuthorizationRequest,
        claims: Option<&entra::ClaimsRequest>,
        bounced: bool,
    ) -> Result<SignIn, Error> {
        let scope = self.entra_scope(&request.resource)?;
        let state =
            EntraState { transaction: request.transaction, id: self.sealer.new_id(), binder: SecretKey::random() };
        let pending = PendingAuthorization {
            request,
            verifier: CodeVerifier::random(),
            nonce: BASE64_URL_SAFE_NO_PAD.encode(random_bytes::<32>()),
            bounced,
        };
        self.pending
            .put(&state.id, &state.binder, &pending, SIGN_IN_LIFETIME)
            .await
            .map_err(|cause| Error::page(Fault::Unavailable, cause))?;
        let url = self.entra.authorize_url(&entra::AuthorizeRequest {
            redirect_uri: &self.callback_url(),
            scope: &scope,
            state: &state.id.to_text(),
            nonce: &pending.nonce,
            code_challenge: &pending.verifier.challenge().to_text(),
            prompt: pending.request.prompt.and_then(Prompt::for_entra),
            login_hint: pending.request.login_hint.as_deref(),
            claims,
        });
        Ok(SignIn { url: url.into(), cookie: self.cookies.set_for(&state) })
    }

    /// What Entra is asked for: the upstream's own scope, an id_token, and a refresh token. The client's `resource` never goes
    /// there (GU-2).
    pub(super) fn entra_scope(&self, resource: &str) -> Result<String, Error> {
        match self.settings.resources.find(resource) {
            Some(resource) => Ok(format!("{} openid profile offline_access", resource.entra_scope())),
            None => Err(Error::page(Fault::ConsentExpired, "the resource is no longer configured")),
        }
    }

    pub(super) fn callback_url(&self) -> String {
        self.settings.public_url.join(CALLBACK)
    }
}
