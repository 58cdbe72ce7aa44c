//! `/authorize`: proves a request, then seals it and asks the user. Writes nothing, and may be repeated at will (Q17).

use bytes::Bytes;
use http::{Request, Response};

use super::client::{Asker, Client, Kind, NoClient};
use super::error::{Error, Reason};
use super::parameters::Parameters;
use super::pkce::CodeChallenge;
use super::prompt::{NotAlone, Prompt};
use super::records::AuthorizationRequest;
use super::redirect_uri::ReturnAddress;
use super::{AuthorizationServer, Remember, answer};
use crate::audit::{self, Context};
use crate::browser::{ApprovedClients, Fault, Jar, Transaction};
use crate::source::SourceAddress;

const STATE_AT_MOST: usize = 2048;
const LOGIN_HINT_AT_MOST: usize = 256;

impl AuthorizationServer {
    pub(super) async fn authorize(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let parameters = Parameters::parse(request.uri().query().unwrap_or_default().as_bytes());
        let request_to_ask = self.authorization_request(&parameters, SourceAddress::of(request)).await?;
        let jar = Jar::of(request.headers());
        if self.is_approved(&request_to_ask, &jar) {
            let (transaction, context) = (request_to_ask.transaction, Context::of(request));
            self.note_consent(audit::Kind::ConsentRemembered, &request_to_ask, &context, None);
            let sign_in = self.begin_sign_in(request_to_ask, &context).await?;
            let cookies = self.cookies.make_room(&jar, transaction).into_iter().chain([sign_in.cookie]);
            return Ok(answer::with_cookies(answer::see_other(&sign_in.url), cookies));
        }
        if request_to_ask.prompt == Some(Prompt::None) {
            let words = "The user must be asked, and prompt=none forbids it.";
            let (kind, to) = (&request_to_ask.client_kind, request_to_ask.return_to);
            return Err(self.refusal(kind, to, Reason::ConsentRequired, words));
        }
        let sealed = request_to_ask.seal(&self.sealer);
        Ok(answer::see_other(&self.settings.public_url.join(&format!("/consent?request={sealed}"))))
    }

    /// First the client and its redirect URI: until both are proven, no answer may be a redirect (T7, T8). Then the rest.
    async fn authorization_request(
        &self,
        parameters: &Parameters<'_>,
        source: SourceAddress,
    ) -> Result<AuthorizationRequest, Error> {
        let (client, mut return_to) = self.proven(parameters, source).await?;
        // An error carries the state back only if there is one that can be carried.
        let state = usable_state(parameters);
        return_to.state = state.clone().unwrap_or_default();
        let refuse = |reason, description| Err(self.refusal(&client.kind, return_to.clone(), reason, description));

        let resource = match parameters.one("resource").map(|parameter| match parameter {
            None => Some(self.settings.resources.default()),
            Some(resource) => self.settings.resources.find(resource),
        }) {
            Ok(Some(resource)) => resource.url().to_owned(),
            _ => return refuse(Reason::InvalidTarget, "The resource is not one of this server's."),
        };
        if parameters.each_once().is_err() {
            return refuse(Reason::InvalidRequest, "A parameter is there more than once.");
        }
        if state.is_none() {
            return refuse(Reason::InvalidRequest, "state must be printable ASCII, at most 2048 characters.");
        }
        let value = |name| parameters.one(name).ok().flatten();
        match value("response_type") {
            Some("code") => {}
            None => return refuse(Reason::InvalidRequest, "response_type is missing."),
            Some(_) => return refuse(Reason::UnsupportedResponseType, "Use response_type=code."),
        }
        // A missing method would mean `plain` (RFC 7636 section 4.3), which protects nothing.
        if value("code_challenge_method") != Some("S256") {
            return refuse(Reason::InvalidRequest, "Use code_challenge_method=S256.");
        }
        let Some(challenge) = value("code_challenge").and_then(CodeChallenge::parse) else {
            return refuse(Reason::InvalidRequest, "code_challenge must be 43 characters of base64url.");
        };
        let prompt = match value("prompt").map(Prompt::parse).transpose() {
            Ok(prompt) => prompt.flatten(),
            Err(NotAlone) => return refuse(Reason::InvalidRequest, "prompt=none must stand alone."),
        };
        // A hint would answer the very question that `select_account` asks for.
        let login_hint = value("login_hint")
            .filter(|hint| hint.len() <= LOGIN_HINT_AT_MOST && is_printable(hint))
            .filter(|_| prompt != Some(Prompt::SelectAccount));
        Ok(AuthorizationRequest {
            client: client.reference,
            client_kind: client.kind,
            client_name: client.name,
            return_to: return_to.clone(),
            challenge,
            resource,
            prompt,
            login_hint: login_hint.map(str::to_owned),
            transaction: Transaction::random(),
            issued: self.clock.now(),
        })
    }

    async fn proven(
        &self,
        parameters: &Parameters<'_>,
        source: SourceAddress,
    ) -> Result<(Client, ReturnAddress), Error> {
        let required = |name| match parameters.one(name) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(Error::page(Fault::MalformedRequest, format_args!("{name} is missing"))),
            Err(repeated) => Err(Error::page(Fault::MalformedRequest, format_args!("{name}: {repeated}"))),
        };
        let (client_id, redirect_uri) = (required("client_id")?, required("redirect_uri")?);
        let client = self.clients.find(client_id, Asker::Stranger(source)).await.map_err(|none| match none {
            NoClient::Unknown(_) => Error::page(Fault::UnknownClient, none),
            NoClient::Denied => Error::page(Fault::DeniedClient, none),
            NoClient::BadDocument(_) => Error::page(Fault::BadClientDocument, none),
            NoClient::Unavailable(_) => Error::page(Fault::NoClientDocument, none),
        })?;
        if self.clients.denied().refuses_redirect_uri(redirect_uri) {
            return Err(Error::page(Fault::DeniedClient, "the redirect URI leads to a denied host"));
        }
        let redirect_uri = client
            .accept(redirect_uri)
            // On loopback the port is the client's to choose, but not ours.
            .and_then(|uri| uri.elsewhere(&self.settings.public_url).ok())
            .ok_or_else(|| Error::page(Fault::UnregisteredRedirect, "no registered redirect URI matches"))?;
        Ok((client, ReturnAddress { redirect_uri, state: None }))
    }

    /// To be told to the client, by a redirect only if the address is one to trust: the operator or a listed publisher vouches
    /// for it, or it is on this computer. Anybody may register any other address, and a link to us that goes on there by
    /// itself would lend it our name (RFC 9700 section 4.11.2). Once a person has decided about a client this is over.
    fn refusal(&self, kind: &Kind, to: ReturnAddress, reason: Reason, description: &'static str) -> Error {
        match to.redirect_uri.is_local() || self.clients.vouches_for(kind) {
            true => Error::client(to, reason, description),
            false => Error::unvouched_client(to, reason, description),
        }
    }

    /// Whether this browser's user allowed just this before, wanted that to be remembered, and need not be asked anew.
    fn is_approved(&self, request: &AuthorizationRequest, jar: &Jar) -> bool {
        self.settings.remember != Remember::Never
            && request.may_be_remembered()
            && request.prompt != Some(Prompt::Consent)
            && self
                .cookies
                .get::<ApprovedClients>(jar)
                .is_some_and(|approved| approved.contains(&request.approval(), self.clock.now()))
    }
}

/// `Some(None)`: the client sent no state. `None`: it sent one that cannot be given back.
fn usable_state(parameters: &Parameters<'_>) -> Option<Option<String>> {
    match parameters.one("state").ok()? {
        Some(state) if state.len() <= STATE_AT_MOST && is_printable(state) => Some(Some(state.to_owned())),
        Some(_) => None,
        None => Some(None),
    }
}

/// VSCHAR of RFC 6749 appendix A.
fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
}
