//! `/revoke`: a client signs out (RFC 7009).

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::json;

use super::error::Error;
use super::parameters::Parameters;
use super::token::required;
use super::{AuthorizationServer, answer};
use crate::audit::Context;

impl AuthorizationServer {
    /// Whatever the token is worth, the answer is the same: nobody learns from it whether there is such a session. The
    /// `token_type_hint` is not needed, for a token says what it is.
    pub(super) async fn revoke(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Error> {
        if !answer::is_of_type(request.headers(), answer::FORM) {
            return Err(Error::InvalidRequest("Send application/x-www-form-urlencoded."));
        }
        let form = Parameters::parse(request.body());
        form.each_once().map_err(|_| Error::InvalidRequest("A parameter is there more than once."))?;
        let client = self.authenticate(request, &form).await?;
        let token = required(&form, "token", "token is missing.")?;
        let resources = self.settings.resources.iter().map(|resource| resource.url());
        let context = Context::of(request);
        self.sessions.revoke(*client.as_bytes(), token, resources, &context).await.map_err(Error::Unavailable)?;
        Ok(answer::json(StatusCode::OK, &json!({})))
    }
}
