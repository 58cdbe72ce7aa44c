//! Who calls `/token` or `/revoke` (RFC 6749 section 2.3).
//!
//! A client with a secret shows it in the `Authorization` header or in the form, in one of the two. Our secrets, and the ids
//! that have one, are of characters that no encoder touches: the form-encoding that RFC 6749 asks for inside `Basic`, and
//! that half of all clients forget, makes no difference.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request};
use zeroize::Zeroizing;

use super::AuthorizationServer;
use super::client::{Asker, ClientRef, ClientSecret, NoClient};
use super::error::Error;
use super::parameters::Parameters;
use super::records::Code;

impl AuthorizationServer {
    /// The client that calls, proven if it has a secret. Every failure to prove looks alike.
    ///
    /// A client that publishes a document is fetched only if it brings something of ours: without that it gets nothing
    /// whatever its document says, and nobody can have URLs fetched here that they made up (T19).
    pub(super) async fn authenticate(
        &self,
        request: &Request<Bytes>,
        parameters: &Parameters<'_>,
    ) -> Result<ClientRef, Error> {
        let used_authorization_header = request.headers().contains_key(AUTHORIZATION);
        let invalid = |cause: &str| Error::InvalidClient { used_authorization_header, cause: cause.to_owned() };
        let basic = Basic::of(request.headers()).map_err(|Malformed| invalid("the Authorization header"))?;
        let named = parameters.one("client_id").ok().flatten();
        let client_id = match (&basic, named) {
            (Some(basic), Some(named)) if basic.client_id() != named => return Err(invalid("two client ids")),
            (Some(basic), _) => basic.client_id(),
            (None, Some(named)) => named,
            (None, None) if used_authorization_header => return Err(invalid("another scheme, and no client id")),
            (None, None) => return Err(Error::InvalidRequest("client_id is missing.")),
        };
        let client = ClientRef::of(client_id);
        let found = match self.clients.is_published(client_id) && !self.is_held(client, parameters) {
            true => self.clients.denied().check_document(client_id).map(|()| None),
            false => self.clients.find(client_id, Asker::Holder).await.map(|client| client.secret),
        };
        let secret: Option<ClientSecret> = found.map_err(|none| match none {
            NoClient::Unknown(cause) | NoClient::BadDocument(cause) => invalid(&cause),
            NoClient::Unavailable(cause) => Error::ClientUnavailable(cause),
            NoClient::Denied => Error::UnauthorizedClient,
        })?;
        let sent = parameters.one("client_secret").ok().flatten();
        let presented = match (basic.as_ref().and_then(Basic::secret), sent) {
            (Some(_), Some(_)) => return Err(invalid("a secret in two places")),
            (one, other) => one.or(other),
        };
        match (&secret, presented) {
            (None, None) => {}
            (Some(secret), Some(presented)) if secret.matches(presented) => {}
            (None, Some(_)) => return Err(invalid("a secret, of a client that has none")),
            (Some(_), _) => return Err(invalid("not the client's secret")),
        }
        match parameters.one("redirect_uri") {
            Ok(Some(uri)) if self.clients.denied().refuses_redirect_uri(uri) => Err(Error::UnauthorizedClient),
            _ => Ok(client),
        }
    }

    /// Whether a code or a refresh token in the form was sealed for just this client. A token to be revoked is none of
    /// them: that needs no document, and must not fail for the want of one.
    fn is_held(&self, client: ClientRef, parameters: &Parameters<'_>) -> bool {
        let sent = |name| parameters.one(name).ok().flatten();
        sent("code").is_some_and(|code| Code::open(&self.sealer, client, code).is_ok())
            || sent("refresh_token")
                .is_some_and(|token| self.sessions.open_refresh_token(*client.as_bytes(), token).is_ok())
    }
}

/// The user and password of HTTP's `Basic` scheme (RFC 7617).
struct Basic(Zeroizing<String>);

struct Malformed;

impl Basic {
    /// `None`: there is no such header, or it is of another scheme, which says nothing about a client.
    fn of(headers: &HeaderMap) -> Result<Option<Self>, Malformed> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (value, None) = (values.next(), values.next()) else { return Err(Malformed) };
        let Some(value) = value else { return Ok(None) };
        let text = value.to_str().map_err(|_| Malformed)?;
        let Some((scheme, credentials)) = text.split_once(' ') else { return Ok(None) };
        if !scheme.eq_ignore_ascii_case("basic") {
            return Ok(None);
        }
        let bytes = BASE64_STANDARD.decode(credentials.trim()).map_err(|_| Malformed)?;
        let text = String::from_utf8(bytes).map_err(|_| Malformed)?;
        if text.contains(':') { Ok(Some(Self(Zeroizing::new(text)))) } else { Err(Malformed) }
    }

    fn client_id(&self) -> &str {
        self.0.split_once(':').map_or("", |(client_id, _)| client_id)
    }

    /// A public client may send an empty one.
    fn secret(&self) -> Option<&str> {
        self.0.split_once(':').map(|(_, secret)| secret).filter(|secret| !secret.is_empty())
    }
}
