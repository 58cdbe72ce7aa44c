//! Whether a client can do its work: asked in one go at the start of a replica, and step by step for whoever looks for what is
//! wrong. Nothing here changes anything at Entra, and no user is signed in.

use std::time::SystemTime;

use serde::Deserialize;
use url::Url;

use super::{Call, Client, silent};
use crate::aadsts::Code;
use crate::http;
use crate::observe::{Observed, Operation, Outcome};
use crate::token::{Failure, first_code};
use crate::{AuthorizeRequest, Error};

/// What Entra's sign-in page makes of a request, without anybody who would sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInAnswer {
    /// The redirect URI and the scope are known: all that is missing is a user.
    Known,
    /// The number of what Entra does not like.
    Refused(u32),
    /// Neither can be told; how it answered.
    Unclear(String),
}

impl Client {
    /// Whether the client can do its work (GU-11): the authority is the one that is meant, its keys can be had, and Entra
    /// takes the proof of who we are. Meant for the start: an application that was registered a moment ago is refused for some
    /// minutes, and then no more.
    ///
    /// # Errors
    /// [`Error::TryLater`]: out of reach. [`Error::SetUp`]: what an operator, or a few minutes, must mend.
    pub async fn check(&self) -> Result<(), Error> {
        self.check_authority().await?;
        self.check_keys().await?;
        self.check_proof().await
    }

    /// That the authority calls itself what it should: one that does not would sign tokens that we refuse, each and every one.
    /// What its clock says, if it says so.
    ///
    /// # Errors
    /// As for [`Client::check`].
    pub async fn check_authority(&self) -> Result<Option<SystemTime>, Error> {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
        }
        let observed = Observed::begin(&self.observer, Operation::Discovery);
        let sent = http::send(self.http.get(self.settings.authority.discovery_url())).await.map_err(silent);
        let checked = sent.and_then(|answer| {
            let status = answer.status.as_u16();
            let later = |cause| Error::TryLater { retry_after: answer.retry_after, cause };
            match status {
                200 => {}
                400 | 404 => {
                    return Err(Error::SetUp(format!("the authority does not know the tenant: status {status}")));
                }
                _ => return Err(later(format!("discovery: status {status}"))),
            }
            let document: Document =
                serde_json::from_slice(&answer.body).map_err(|_| later("discovery: no document".to_owned()))?;
            let issuer: String = document.issuer.chars().take(200).collect();
            match issuer == self.settings.authority.issuer_v2() {
                true => Ok(answer.date),
                false => Err(Error::SetUp(format!("the authority calls itself {issuer:?}"))),
            }
        });
        observed.end(checked.as_ref().map_or_else(Outcome::from, |_| Outcome::Ok), Code::None);
        checked
    }

    /// That there are keys to verify with.
    ///
    /// # Errors
    /// [`Error::TryLater`].
    pub async fn check_keys(&self) -> Result<(), Error> {
        self.keys.ready().await.map_err(|error| Error::TryLater { retry_after: None, cause: error.to_string() })
    }

    /// That Entra believes who we are. Whether we may have a token does not matter.
    ///
    /// # Errors
    /// As for [`Client::check`].
    pub async fn check_proof(&self) -> Result<(), Error> {
        let failure = self.token_for_ourselves(&self.settings.client_id).await?;
        match failure {
            Some(failure) if failure.of_the_client || matches!(failure.error, Error::TryLater { .. }) => {
                if failure.wants_new_proof() {
                    self.credential.forget();
                }
                Err(failure.error)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// That the tenant knows what a scope is of: `api://<id>/access_as_user` is of `api://<id>`. Whether that exposes the scope
    /// is for [`Client::check_sign_in`] to find out.
    ///
    /// # Errors
    /// [`Error::SetUp`] when it does not; else as for [`Client::check`].
    pub async fn check_resource(&self, scope: &str) -> Result<(), Error> {
        let resource = scope.rsplit_once('/').map_or(scope, |(resource, _)| resource);
        let failure = self.token_for_ourselves(resource).await?;
        match failure.map(|failure| (failure.code(), failure)) {
            Some((Code::Known(UNKNOWN_RESOURCE | WRONG_RESOURCE), failure)) => Err(failure.error),
            Some((_, failure)) if failure.of_the_client || matches!(failure.error, Error::TryLater { .. }) => {
                Err(failure.error)
            }
            // It is known; that an application may not have a token of its own for it is as it should be.
            Some(_) | None => Ok(()),
        }
    }

    /// Asks the sign-in page for an answer without any page (`prompt=none`), as a browser would in which nobody is signed in.
    /// Entra looks at the redirect URI first and at the scope next, and says that nobody is signed in if it likes both.
    ///
    /// # Errors
    /// [`Error::TryLater`]: out of reach.
    pub async fn check_sign_in(&self, request: &AuthorizeRequest<'_>) -> Result<SignInAnswer, Error> {
        let request = AuthorizeRequest { prompt: Some("none"), ..request.clone() };
        let sent = http::send(self.http.get(self.authorize_url(&request))).await;
        let answer = sent.map_err(silent)?;
        let status = answer.status.as_u16();
        let parameters = answer.location.as_deref().and_then(|location| back_at(location, request.redirect_uri));
        let Some(parameters) = parameters else {
            let page = String::from_utf8_lossy(&answer.body);
            return Ok(match first_code(&page) {
                Some(code) => SignInAnswer::Refused(code),
                None => SignInAnswer::Unclear(format!("status {status} and neither an error nor a way back")),
            });
        };
        let of =
            |name: &str| parameters.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let number = of("error_description").as_deref().and_then(first_code);
        Ok(match (of("error").as_deref(), number) {
            (Some("login_required" | "interaction_required" | "consent_required"), _) | (None, _) => {
                SignInAnswer::Known
            }
            (Some(_), Some(code)) => SignInAnswer::Refused(code),
            (Some(_), None) => SignInAnswer::Unclear("an error without a number".to_owned()),
        })
    }

    /// The answer to a request for a token of no user, for `resource`: how it was refused, if it was.
    async fn token_for_ourselves(&self, resource: &str) -> Result<Option<Failure>, Error> {
        let scope = format!("{resource}/.default");
        let form = vec![("grant_type", "client_credentials"), ("scope", scope.as_str())];
        let endpoint = self.settings.authority.token_url();
        let call = Call { operation: Operation::ClientCredentials, endpoint, form };
        let proof = self.proof(&call.endpoint).await?;
        let _turn = self.throttle.turn().await?;
        let (_, token) = self.ask(&call, &proof).await.map_err(silent)?;
        Ok(token.err())
    }
}

/// Where a browser would go, if that is back to us. What else a page may lead to is none of ours.
fn back_at(location: &str, redirect_uri: &str) -> Option<Url> {
    let url = Url::parse(location).ok()?;
    let there = &url[..url::Position::AfterPath];
    (there == redirect_uri).then_some(url)
}

/// There is no such resource in the tenant.
const UNKNOWN_RESOURCE: u32 = 500_011;
/// What was asked for is no resource at all.
const WRONG_RESOURCE: u32 = 901_002;
