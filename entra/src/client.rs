//! One app registration speaking to its authority.

mod check;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use url::Url;
use uuid::Uuid;

use crate::aadsts::Code;
use crate::authority::Authority;
use crate::claims::{Expected, Of, Signed, check_access_token, check_id_token};
use crate::credential::{ClientCredential, CredentialError, Proof};
use crate::http::{self, Answer, Peer, Silence};
use crate::keys::Keys;
use crate::observe::{Nobody, Observed, Observer, Operation, Outcome};
use crate::throttle::Throttle;
use crate::token::{
    AccessToken, Failure, Redemption, Renewal, Renewed, SignIn, Success, failure, is_for_one_user, success,
};
use crate::{
    AccessTokenPolicy, AuthorizeRequest, ClaimsError, ClaimsRequest, Error, Memberships, Secret, User, VerifiedUser,
    authorize,
};
pub use check::SignInAnswer;

/// What a [`Client`] is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    pub authority: Authority,
    /// The app registration's client id.
    pub client_id: String,
    /// PEM; one more root of trust beside the system's.
    pub extra_ca_file: Option<PathBuf>,
    /// Say at every call that claims challenges are understood (`cp1`), which makes Entra issue tokens that live for a day
    /// and end at any moment (continuous access evaluation).
    pub cae: bool,
    /// Accept tokens that carry the emulator's `emu` mark: only ever true for a loopback authority.
    pub accept_emulator: bool,
}

/// Why a client could not be built. All are for an operator to mend.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    #[error("no TLS provider is installed in this process")]
    NoTlsProvider,
    #[error("extra_ca_file {path}: {cause}", path = path.display())]
    ExtraCa { path: PathBuf, cause: String },
    #[error("the HTTP client cannot be built: {0}")]
    Http(String),
    #[error("the identity endpoint must be an http or https URL, an origin for the metadata service")]
    IdentityEndpoint,
    #[error("emulator tokens can only be accepted from a loopback authority")]
    EmulatorNotLoopback,
}

/// A client of Entra. Build it once and share it behind an `Arc`: it owns the connection pool and the key cache.
pub struct Client {
    settings: Settings,
    credential: Arc<dyn ClientCredential>,
    http: reqwest::Client,
    keys: Arc<Keys>,
    throttle: Throttle,
    observer: Arc<dyn Observer>,
}

/// What a token endpoint is asked.
struct Call<'a> {
    operation: Operation,
    /// Of the tenant that it concerns.
    endpoint: Url,
    form: Form<'a>,
}

/// A form of the token endpoint, in the order it is sent.
type Form<'a> = Vec<(&'a str, &'a str)>;

impl Client {
    pub fn new(settings: Settings, credential: Arc<dyn ClientCredential>) -> Result<Self, SetUpError> {
        Self::observed(settings, credential, Arc::new(Nobody))
    }

    /// Likewise, with somebody who is told of every request.
    pub fn observed(
        settings: Settings,
        credential: Arc<dyn ClientCredential>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, SetUpError> {
        if settings.accept_emulator && !settings.authority.is_loopback() {
            return Err(SetUpError::EmulatorNotLoopback);
        }
        let extra_ca_file = settings.extra_ca_file.as_deref();
        let peer = match settings.authority.is_loopback() {
            true if extra_ca_file.is_none() => Peer::Near { plain: settings.authority.token_url().scheme() == "http" },
            _ => Peer::Entra { extra_ca_file },
        };
        let http = http::client(&peer)?;
        let keys = Keys::new(http.clone(), settings.authority.clone(), observer.clone());
        Ok(Self { settings, credential, http, keys, throttle: Throttle::new(), observer })
    }

    /// Where to send the browser (GU-1).
    pub fn authorize_url(&self, request: &AuthorizeRequest<'_>) -> Url {
        authorize::url(&self.settings.authority, &self.settings.client_id, self.settings.cae, request)
    }

    /// Redeems a code with one token call, and believes the answer only if its id_token verifies. The call is never
    /// repeated once it may have been sent: a code is single use, and a second try could end the user's sign-in.
    pub async fn redeem(&self, redemption: Redemption<'_>, now: SystemTime) -> Result<SignIn, Error> {
        let form = vec![
            ("grant_type", "authorization_code"),
            ("code", redemption.code.expose()),
            ("redirect_uri", redemption.redirect_uri),
            ("scope", redemption.scope),
            ("code_verifier", redemption.code_verifier.expose()),
        ];
        let call =
            Call { operation: Operation::AuthorizationCode, endpoint: self.settings.authority.redemption_url(), form };
        let proof = self.proof(&call.endpoint).await?;
        let _turn = self.throttle.turn().await?;
        let asked = match self.ask(&call, &proof).await {
            Err(Silence { sent: false, cause }) => {
                tracing::info!(cause, "no connection to the token endpoint; once more");
                self.ask(&call, &proof).await
            }
            asked => asked,
        };
        let (answer, token) = asked.map_err(silent)?;
        if let Some(seconds) = answer.clock_ahead(now) {
            tracing::warn!(
                seconds,
                "Entra's clock is ahead of this machine's, or behind it: tokens will be refused beyond 120 s"
            );
        }
        let token = token.map_err(|failure| {
            if failure.wants_new_proof() {
                self.credential.forget();
            }
            failure.error
        })?;
        let id_token = token.id_token.ok_or(Error::Untrusted(ClaimsError::Malformed))?;
        let (user, memberships) = self.read_id_token(&id_token, Of::SignIn { nonce: redemption.nonce, now }).await?;
        // The shared endpoint lets every organisation's users sign in, and their tokens are as genuine as ours.
        if !self.settings.authority.allows(&user.tenant_id) {
            return Err(Error::OtherTenant { tenant_id: user.tenant_id, object_id: user.object_id });
        }
        let (access_token, refresh_token) = (token.access_token, token.refresh_token);
        Ok(SignIn { user, memberships, access_token, refresh_token })
    }

    /// Renews a user's tokens, at the user's own tenant (RFC 6749 section 6, entra.md 5.3). Repeated like
    /// [`Client::on_behalf_of`]: Entra does not revoke the token that was used, so a second try harms nobody. What the user is
    /// may have changed; the id_token of the answer says so, and must be about this very user.
    pub async fn refresh(&self, renewal: Renewal<'_>) -> Result<Renewed, Error> {
        let Renewal { tenant_id, object_id, .. } = renewal;
        let claims = ClaimsRequest::on_the_wire(renewal.claims, self.settings.cae);
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", renewal.refresh_token.expose()),
            ("scope", renewal.scope),
        ];
        form.extend(claims.as_ref().map(|claims| ("claims", claims.expose())));
        let endpoint = self
            .settings
            .authority
            .token_url_of(tenant_id)
            .ok_or_else(|| Error::OtherTenant { tenant_id: tenant_id.to_owned(), object_id: object_id.to_owned() })?;
        let answer = self.persist(&Call { operation: Operation::RefreshToken, endpoint, form }).await?;
        let memberships = match &answer.id_token {
            Some(token) => Some(self.read_id_token(token, Of::Renewal { tenant_id, object_id }).await?.1),
            None => None,
        };
        Ok(Renewed { access_token: answer.access_token, refresh_token: answer.refresh_token, memberships })
    }

    /// Exchanges a user's token for one with `scope`, of one resource (RFC 7523 with Entra's `on_behalf_of`, entra.md 5.4).
    /// Entra is asked at the user's own tenant. `claims` answers a challenge. Nothing is kept; [`crate::Exchange`] keeps. One retry when Entra was out of reach or failing, and one with a new
    /// assertion when the old one was refused for its age.
    pub async fn on_behalf_of(
        &self,
        tenant_id: &str,
        user_token: &Secret,
        scope: &str,
        claims: Option<&ClaimsRequest>,
    ) -> Result<AccessToken, Error> {
        let claims = ClaimsRequest::on_the_wire(claims, self.settings.cae);
        let mut form = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("requested_token_use", "on_behalf_of"),
            ("assertion", user_token.expose()),
            ("scope", scope),
        ];
        form.extend(claims.as_ref().map(|claims| ("claims", claims.expose())));
        let endpoint = self.settings.authority.token_url_of(tenant_id);
        // Whoever verified the token has asked the same: this is for those who did not.
        let endpoint = endpoint.ok_or_else(|| Error::SetUp("a token of a tenant that is not allowed".to_owned()))?;
        let call = Call { operation: Operation::OnBehalfOf, endpoint, form };
        self.persist(&call).await.map(|answer| answer.access_token)
    }

    /// A token for the app registration itself, of no user (RFC 6749 section 4.4). `scope` is `{resource}/.default`. Repeated
    /// like [`Client::on_behalf_of`].
    pub(crate) async fn on_its_own_behalf(&self, scope: &str) -> Result<AccessToken, Error> {
        let form = vec![("grant_type", "client_credentials"), ("scope", scope)];
        let endpoint = self.settings.authority.token_url();
        let call = Call { operation: Operation::ClientCredentials, endpoint, form };
        self.persist(&call).await.map(|answer| answer.access_token)
    }

    /// Checks an access token that arrived at a resource server: signature, tenant, issuer, audience, time, kind, scope,
    /// caller, in that order (entra.md section 7). [`ClaimsError::KeysUnavailable`] alone is no fault of the token's.
    pub async fn verify_access_token(
        &self,
        token: &str,
        policy: &AccessTokenPolicy,
        now: SystemTime,
    ) -> Result<VerifiedUser, ClaimsError> {
        let claims = self.keys.verify(&Signed::parse(token)?).await?;
        check_access_token(claims, &self.settings.authority, policy, self.settings.accept_emulator, now)
    }

    /// Whether users of this tenant are let in.
    pub fn allows(&self, tenant_id: &str) -> bool {
        self.settings.authority.allows(tenant_id)
    }

    /// Since the signing keys in use were fetched; `None` before the first time.
    pub fn keys_age(&self) -> Option<Duration> {
        self.keys.age()
    }

    /// Since the kept proof was fetched or signed; `None` when there is none, or the kind of credential keeps none.
    pub fn credential_age(&self) -> Option<Duration> {
        self.credential.age()
    }

    async fn read_id_token(&self, token: &Secret, of: Of<'_>) -> Result<(User, Memberships), Error> {
        let expected = Expected {
            authority: &self.settings.authority,
            client_id: &self.settings.client_id,
            of,
            accept_emulator: self.settings.accept_emulator,
        };
        let checked = async {
            let claims = self.keys.verify(&Signed::parse(token.expose())?).await?;
            check_id_token(claims, &expected)
        };
        checked.await.map_err(|error| match error {
            ClaimsError::KeysUnavailable(_) => Error::TryLater { retry_after: None, cause: error.to_string() },
            error => Error::Untrusted(error),
        })
    }

    /// A call that may be repeated, with one retry where that may help.
    async fn persist(&self, call: &Call<'_>) -> Result<Success, Error> {
        let grant = call.operation.name();
        match self.try_once(call).await {
            Err(Again::SameProof(error)) => {
                tracing::info!(grant, %error, "a token call failed; once more");
                self.try_once(call).await
            }
            Err(Again::NewProof(error)) => {
                tracing::info!(grant, %error, "credential refused; once more with a new one");
                self.credential.forget();
                self.try_once(call).await
            }
            first => first,
        }
        .map_err(Again::into_error)
    }

    async fn try_once(&self, call: &Call<'_>) -> Result<Success, Again> {
        let proof = self.proof(&call.endpoint).await.map_err(Again::Never)?;
        let _turn = self.throttle.turn().await.map_err(Again::Never)?;
        let asked = self.ask(call, &proof).await;
        let (answer, token) = asked.map_err(|silence| Again::SameProof(silent(silence)))?;
        token.map_err(|failure| match failure.wants_new_proof() {
            true => Again::NewProof(failure.error),
            // With a Retry-After Entra has said when; asking at once would only add to its load.
            false if answer.status.is_server_error() && answer.retry_after.is_none() => Again::SameProof(failure.error),
            false => Again::Never(failure.error),
        })
    }

    /// One request of the token endpoint, whoever may repeat it.
    async fn ask(&self, call: &Call<'_>, proof: &Proof) -> Result<(Answer, Result<Success, Failure>), Silence> {
        let observed = Observed::begin(&self.observer, call.operation);
        let answer = match self.post(call, proof).await {
            Ok(answer) => answer,
            Err(silence) => {
                observed.end(Outcome::TryLater, Code::None);
                return Err(silence);
            }
        };
        self.note(&answer, call.operation.name());
        let token = match answer.status.as_u16() {
            200 => success(&answer).map_err(Failure::from),
            _ => Err(failure(&answer)),
        };
        match &token {
            Ok(_) => observed.end(Outcome::Ok, Code::None),
            Err(failure) => observed.end(Outcome::from(&failure.error), failure.code()),
        }
        Ok((answer, token))
    }

    async fn proof(&self, endpoint: &Url) -> Result<Proof, Error> {
        self.credential.proof(endpoint).await.map_err(CredentialError::into)
    }

    async fn post(&self, call: &Call<'_>, proof: &Proof) -> Result<Answer, Silence> {
        let request = self
            .http
            .post(call.endpoint.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .header("client-request-id", Uuid::new_v4().to_string())
            .header("return-client-request-id", "true")
            .body(self.body(&call.form, proof));
        http::send(request).await
    }

    fn body(&self, form: &Form<'_>, proof: &Proof) -> String {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.append_pair("client_id", &self.settings.client_id);
        match proof {
            Proof::Assertion(assertion) => body
                .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                .append_pair("client_assertion", assertion.expose()),
            Proof::Secret(secret) => body.append_pair("client_secret", secret.expose()),
        };
        body.extend_pairs(form).finish()
    }

    fn note(&self, answer: &Answer, grant: &str) {
        tracing::debug!(
            grant,
            status = answer.status.as_u16(),
            request_id = answer.request_id,
            "token endpoint answered"
        );
        let is_for_all = matches!(answer.status.as_u16(), 429 | 503) && !is_for_one_user(answer);
        if let Some(wait) = answer.retry_after.filter(|_| is_for_all) {
            tracing::warn!(grant, wait_s = wait.as_secs(), "Entra says to wait: nothing is asked of it until then");
            self.throttle.hold(wait);
        }
    }
}

/// A failed call, and whether it may be tried again.
enum Again {
    SameProof(Error),
    NewProof(Error),
    Never(Error),
}

impl Again {
    fn into_error(self) -> Error {
        match self {
            Self::SameProof(error) | Self::NewProof(error) | Self::Never(error) => error,
        }
    }
}

fn silent(silence: Silence) -> Error {
    Error::TryLater { retry_after: None, cause: silence.cause }
}
