//! `grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer` with `requested_token_use=on_behalf_of`.

use serde_json::Value;

use super::{Issue, Request};
use crate::authorize::claims;
use crate::directory::App;
use crate::errors::EntraError;
use crate::jwt::Jwt;
use crate::tickets::Authorization;
use crate::tokens::Proof;

/// Exchanges a user's access token for this client into one for another resource.
///
/// # Errors
/// 50013, 500133, 240002, 7000114, 500131 about the assertion; then those of `Request::issue` (65001 with a claims
/// challenge, 50076).
pub(super) fn exchange(request: &Request, proof: Proof) -> Result<Value, EntraError> {
    let (world, form) = (request.world, &request.call.form);
    let client = request.app()?;
    match form.get("requested_token_use") {
        None => return Err(EntraError::missing("requested_token_use")),
        Some("on_behalf_of") => {}
        Some(_) => return Err(EntraError::new(90023).saying("Unsupported 'requested_token_use' value.")),
    }
    let assertion = form.get("assertion").ok_or_else(|| EntraError::missing("assertion"))?;
    world.journal.canary(assertion);
    let scope = form.get("scope").ok_or_else(|| EntraError::missing("scope"))?;

    let token = Jwt::parse(assertion).ok_or_else(|| {
        EntraError::new(50013).saying("Assertion failed signature validation. [Reason - The token is malformed.]")
    })?;
    if !token.signed_by(&world.keys) {
        return Err(
            EntraError::new(50013).saying("Assertion failed signature validation. [Reason - The key was not found.]")
        );
    }
    if !token.is_current(world.clock.now()) {
        return Err(EntraError::new(500133));
    }
    check_kind(client, &token)?;
    check_audience(client, &token)?;

    let requested: Vec<String> = scope.split_ascii_whitespace().map(Into::into).collect();
    let cae = claims(form)?.0;
    let authorization = Authorization {
        client_id: client.client_id.clone(),
        oid: token.text("oid").into(),
        sid: token.text("sid").into(),
        oidc: requested
            .into_iter()
            .filter(|word| ["openid", "profile", "email", "offline_access"].contains(&word.as_str()))
            .collect(),
        scope: scope.into(),
        cae,
    };
    let has = |scope: &str| authorization.oidc.iter().any(|word| word == scope);
    let issue = Issue {
        authorization: &authorization,
        scope,
        proof,
        nonce: None,
        id_token: has("openid"),
        refresh_token: has("offline_access"),
        client_info: form.get("client_info") == Some("1"),
        cae,
    };
    request.issue(&issue).map_err(|error| match error.code {
        // Consent missing in the middle of a chain comes with a challenge to hand on to the client.
        65001 => EntraError { claims: EntraError::new(50076).claims, ..error },
        _ => error,
    })
}

/// Users' access tokens only.
fn check_kind(client: &App, token: &Jwt) -> Result<(), EntraError> {
    let names_client = ["azp", "appid"].iter().any(|claim| !token.text(claim).is_empty());
    if !names_client {
        return Err(EntraError::new(240002));
    }
    if token.text("idtyp") == "app" {
        return Err(EntraError::new(7000114).saying(format!(
            "Application '{}'({}) is not allowed to make application on-behalf-of calls.",
            client.client_id, client.name
        )));
    }
    Ok(())
}

fn check_audience(client: &App, token: &Jwt) -> Result<(), EntraError> {
    let audiences = token.audiences();
    let mine = |audience: &&&str| {
        client.client_id.eq_ignore_ascii_case(audience) || client.identifier_uris.iter().any(|uri| uri == **audience)
    };
    match audiences.iter().find(mine) {
        Some(_) => Ok(()),
        None => Err(EntraError::new(500131).saying(format!(
            "Assertion audience does not match the Client app presenting the assertion. The audience in the assertion was '{}' \
             and the expected audience is '{}' or one of the Application Uris of this application with App ID '{}'({}). The \
             downstream client must request a token for the expected audience (the application that made the OBO request) and \
             this application should use that token as the assertion.",
            audiences.join(" "),
            client.identifier_uris.first().unwrap_or(&client.client_id),
            client.client_id,
            client.name
        ))),
    }
}
