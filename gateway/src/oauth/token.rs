//! `/token`: a client redeems its code, once (RFC 6749 section 4.1.3). Its other grant is in `refresh`.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde::Serialize;
use zeroize::{Zeroize, Zeroizing};

use super::audited::Asked;
use super::client::ClientRef;
use super::error::{Error, Ungranted};
use super::parameters::Parameters;
use super::pkce::CodeVerifier;
use super::records::{Binding, Code};
use super::{AuthorizationServer, SCOPE, answer};
use crate::audit::Context;
use crate::sealed::Index;
use crate::session::{Ending, Grant, IssuedTokens};
use crate::store::{Redeemed, StoreError};

/// Rides on the answer to a code or a refresh token, for whoever counts.
#[derive(Clone, Copy, Debug)]
pub struct Granted {
    /// A label for metrics, as the next one.
    pub grant: &'static str,
    pub result: &'static str,
}

impl AuthorizationServer {
    pub(super) async fn token(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Error> {
        if !answer::is_of_type(request.headers(), answer::FORM) {
            return Err(Error::InvalidRequest("Send application/x-www-form-urlencoded."));
        }
        let form = Parameters::parse(request.body());
        form.each_once().map_err(|_| Error::InvalidRequest("A parameter is there more than once."))?;
        let client = self.authenticate(request, &form).await?;
        let context = Context::of(request);
        let (grant, issued) = match required(&form, "grant_type", "grant_type is missing.")? {
            "authorization_code" => ("authorization_code", self.redeem(client, &form, &context).await),
            "refresh_token" => ("refresh_token", self.refresh(client, &form, &context).await),
            _ => return Err(Error::UnsupportedGrantType),
        };
        let result = issued.as_ref().map_or_else(Error::grant_reason, |_| "ok");
        let mut response = issued.map_or_else(|error| self.answer(error, &Asked::of(request).by(client)), tokens);
        response.extensions_mut().insert(Granted { grant, result });
        Ok(response)
    }

    /// What is presented must be what was authorized, all of it at once; a wrong guess costs nothing (T11), a second use
    /// ends what the first one gave (T10).
    async fn redeem(&self, client: ClientRef, form: &Parameters<'_>, context: &Context) -> Result<IssuedTokens, Error> {
        let code = required(form, "code", "code is missing.")?;
        let redirect_uri = required(form, "redirect_uri", "redirect_uri is missing.")?;
        let verifier = required(form, "code_verifier", "code_verifier is missing.")?;
        let verifier = CodeVerifier::parse(verifier)
            .ok_or(Error::InvalidRequest("code_verifier must be 43 to 128 unreserved characters."))?;
        let code = Code::open(&self.sealer, client, code).map_err(|_| Error::InvalidGrant(Ungranted::Foreign))?;
        self.check_resource(form, &code.resource)?;
        let binding = Binding { client, redirect_uri, challenge: verifier.challenge(), resource: &code.resource };
        match self.codes.redeem(&code.id, &code.secret, &binding.guard()).await {
            Ok(Redeemed::Value(granted)) => {
                let grant = Grant { client: *client.as_bytes(), resource: code.resource };
                Ok(self.sessions.issue(&granted.session, &grant))
            }
            Ok(Redeemed::Mismatch) => Err(Error::InvalidGrant(Ungranted::Mismatch)),
            Ok(Redeemed::Missing) => Err(Error::InvalidGrant(Ungranted::Expired)),
            Ok(Redeemed::Spent(session)) => {
                self.sessions.end(Index(session), Ending::CodeReused, context).await.map_err(Error::Unavailable)?;
                Err(Error::InvalidGrant(Ungranted::Redeemed))
            }
            Err(cause @ StoreError::Unreadable { .. }) => {
                tracing::error!(%cause, "a stored code was altered");
                Err(Error::InvalidGrant(Ungranted::Unreadable))
            }
            Err(cause) => Err(Error::Unavailable(cause)),
        }
    }

    /// RFC 8707 section 2.2. Absent means what was authorized: older clients send it once or never.
    pub(super) fn check_resource(&self, form: &Parameters<'_>, bound: &str) -> Result<(), Error> {
        match form.one("resource").ok().flatten().map(|resource| self.settings.resources.find(resource)) {
            None => Ok(()),
            Some(Some(resource)) if resource.url() == bound => Ok(()),
            Some(_) => Err(Error::InvalidTarget),
        }
    }
}

/// RFC 6749 section 5.1. Every copy of ours is wiped: they outlive the session otherwise, for as long as nobody needs the memory.
fn tokens(mut issued: IssuedTokens) -> Response<Bytes> {
    #[derive(Serialize)]
    struct Body<'a> {
        access_token: &'a str,
        expires_in: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        refresh_token: Option<&'a str>,
        scope: &'a str,
        token_type: &'a str,
    }
    let body = Body {
        access_token: &issued.access_token,
        expires_in: issued.expires_in.as_secs(),
        refresh_token: issued.refresh_token.as_deref(),
        scope: SCOPE,
        token_type: "Bearer",
    };
    let room = body.access_token.len() + body.refresh_token.map_or(0, str::len) + AROUND_TOKENS;
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    serde_json::to_writer(&mut *text, &body).expect("texts and a number are JSON");
    issued.access_token.zeroize();
    issued.refresh_token.zeroize();
    answer::json_text(StatusCode::OK, Bytes::from_owner(text))
}

pub(super) fn required<'a>(form: &'a Parameters<'_>, name: &str, description: &'static str) -> Result<&'a str, Error> {
    form.one(name).ok().flatten().ok_or(Error::InvalidRequest(description))
}

/// What an answer has beside its tokens, in bytes, and more.
const AROUND_TOKENS: usize = 256;
