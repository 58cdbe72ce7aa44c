//! The door: nothing behind it runs without a verified user.
//!
//! It takes the Entra token that the edge put into `Authorization`, checks it (MO-2), and hands the request on with a
//! [`Caller`] in its extensions and without the header, so that no later layer can log or forward it. The transports
//! carry the extensions of each request to the tool that it calls; a tool never looks for a token anywhere else.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use entra::{AccessTokenPolicy, ClaimsError, Client, Secret, VerifiedUser};
use http::{HeaderMap, StatusCode, header};

use crate::clock::Clock;

/// Whom this request speaks for, and the token that proves it.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Proof>);

#[derive(Debug)]
struct Proof {
    user: VerifiedUser,
    token: Secret,
}

/// Verifies access tokens by one policy.
pub struct Door {
    client: Arc<Client>,
    policy: AccessTokenPolicy,
    clock: Clock,
}

impl Caller {
    pub fn user(&self) -> &VerifiedUser {
        &self.0.user
    }

    pub fn token(&self) -> &Secret {
        &self.0.token
    }

    /// Tenant and object id: the identity, whatever token proves it.
    pub fn identity(&self) -> Identity {
        Identity(self.user().user.tenant_id.clone(), self.user().user.object_id.clone())
    }
}

/// One user of one tenant. Names change; these two never do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity(String, String);

impl Door {
    pub fn new(client: Arc<Client>, policy: AccessTokenPolicy, clock: Clock) -> Self {
        Self { client, policy, clock }
    }

    async fn admit(&self, headers: &HeaderMap) -> Result<Caller, Refused> {
        let token = bearer(headers).ok_or(Refused::NoToken)?;
        let user = self.client.verify_access_token(token, &self.policy, self.clock.now()).await;
        let user = user.map_err(|error| match error {
            ClaimsError::KeysUnavailable(_) => Refused::Later(error),
            _ => Refused::BadToken(error),
        })?;
        Ok(Caller(Arc::new(Proof { user, token: Secret::new(token.to_owned()) })))
    }
}

/// Every request to an MCP path passes here.
pub(crate) async fn guard(State(door): State<Arc<Door>>, mut request: Request, next: Next) -> Response {
    match door.admit(request.headers()).await {
        Ok(caller) => {
            request.headers_mut().remove(header::AUTHORIZATION);
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    }
}

enum Refused {
    NoToken,
    BadToken(ClaimsError),
    Later(ClaimsError),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::NoToken => tracing::info!("refused: no bearer token"),
            Self::BadToken(error) => tracing::info!(%error, "refused: bad token"),
            Self::Later(error) => {
                // Not the token's fault: a 401 would make the user sign in again for nothing.
                tracing::warn!(%error, "refused for now");
                let headers = [(header::RETRY_AFTER, "5"), (header::CONTENT_TYPE, "application/json")];
                let body = r#"{"error":"temporarily_unavailable"}"#;
                return (StatusCode::SERVICE_UNAVAILABLE, headers, body).into_response();
            }
        }
        // One answer for all, so that a forger learns nothing from it (RFC 6750 section 3).
        let headers =
            [(header::WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#), (header::CONTENT_TYPE, "application/json")];
        (StatusCode::UNAUTHORIZED, headers, r#"{"error":"invalid_token"}"#).into_response()
    }
}

/// The one bearer token of a request. Two `Authorization` headers are none: which of them counts is a matter of taste,
/// and a proxy in front may have another.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty()).then_some(token)
}
