//! Whether a client can do its work: asked once, at the start.

use serde::Deserialize;

use super::{Call, Client, silent};
use crate::Error;
use crate::aadsts::Code;
use crate::http;
use crate::observe::{Observed, Operation, Outcome};

impl Client {
    /// Whether the client can do its work (GU-11): the authority is the one that is meant, its keys can be had, and Entra
    /// takes the proof of who we are. Meant for the start: an application that was registered a moment ago is refused for some
    /// minutes, and then no more.
    ///
    /// # Errors
    /// [`Error::TryLater`]: out of reach. [`Error::SetUp`]: what an operator, or a few minutes, must mend.
    pub async fn check(&self) -> Result<(), Error> {
        self.check_issuer().await?;
        self.keys.ready().await.map_err(|error| Error::TryLater { retry_after: None, cause: error.to_string() })?;
        let scope = format!("{}/.default", self.settings.client_id);
        let form = vec![("grant_type", "client_credentials"), ("scope", scope.as_str())];
        let endpoint = self.settings.authority.token_url();
        let call = Call { operation: Operation::ClientCredentials, endpoint, form };
        let proof = self.proof(&call.endpoint).await?;
        let _turn = self.throttle.turn().await?;
        let (_, token) = self.ask(&call, &proof).await.map_err(silent)?;
        match token {
            Err(failure) if failure.of_the_client || matches!(failure.error, Error::TryLater { .. }) => {
                if failure.wants_new_proof() {
                    self.credential.forget();
                }
                Err(failure.error)
            }
            // Whether it may have such a token does not matter: Entra has believed that it is us.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// An authority that calls itself otherwise would sign tokens that we refuse, each and every one.
    async fn check_issuer(&self) -> Result<(), Error> {
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
                true => Ok(()),
                false => Err(Error::SetUp(format!("the authority calls itself {issuer:?}"))),
            }
        });
        observed.end(checked.as_ref().map_or_else(Outcome::from, |()| Outcome::Ok), Code::None);
        checked
    }
}
