//! The URL that sends a browser to Entra's sign-in page (RFC 6749 section 4.1.1, GU-1).

use url::Url;

use crate::authority::Authority;
use crate::{ClaimsRequest, Secret};

/// One sign-in. There is deliberately no `resource`: Entra gives it a meaning of its own and refuses ours (GU-2).
#[derive(Clone, Debug)]
pub struct AuthorizeRequest<'a> {
    pub redirect_uri: &'a str,
    /// Space-separated, of one resource, plus OIDC scopes. `openid` is needed for an id_token.
    pub scope: &'a str,
    pub state: &'a str,
    pub nonce: &'a str,
    /// S256 (RFC 7636) of the verifier that [`crate::Redemption`] will carry.
    pub code_challenge: &'a str,
    pub prompt: Option<&'a str>,
    pub login_hint: Option<&'a str>,
    /// A claims challenge, Entra's own ([`crate::Refusal::claims`]) or a resource's, so that the user can answer it.
    pub claims: Option<&'a ClaimsRequest>,
}

/// With `cae` the client says that it understands claims challenges.
pub(crate) fn url(authority: &Authority, client_id: &str, cae: bool, request: &AuthorizeRequest<'_>) -> Url {
    let claims = ClaimsRequest::on_the_wire(request.claims, cae);
    let mut url = authority.authorize_url();
    let mut query = url.query_pairs_mut();
    query
        .append_pair("client_id", client_id)
        .append_pair("response_type", "code")
        .append_pair("redirect_uri", request.redirect_uri)
        .append_pair("response_mode", "query")
        .append_pair("scope", request.scope)
        .append_pair("state", request.state)
        .append_pair("nonce", request.nonce)
        .append_pair("code_challenge", request.code_challenge)
        .append_pair("code_challenge_method", "S256");
    let claims = claims.as_ref().map(Secret::expose);
    for (name, value) in [("prompt", request.prompt), ("login_hint", request.login_hint), ("claims", claims)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    drop(query);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        let authority =
            Authority::new("https://login.microsoftonline.com", "8f0c1c5e-0c3d-4b8e-9f59-5a3f1a2b3c4d").unwrap();
        let mut request = AuthorizeRequest {
            redirect_uri: "https://mcp.example.com/oauth-callback",
            scope: "api://m/access_as_user openid a&resource=b",
            state: "st#te",
            nonce: "nonce",
            code_challenge: "challenge",
            prompt: None,
            login_hint: None,
            claims: None,
        };
        let expected = "https://login.microsoftonline.com/8f0c1c5e-0c3d-4b8e-9f59-5a3f1a2b3c4d/oauth2/v2.0/authorize\
            ?client_id=client&response_type=code&redirect_uri=https%3A%2F%2Fmcp.example.com%2Foauth-callback\
            &response_mode=query&scope=api%3A%2F%2Fm%2Faccess_as_user+openid+a%26resource%3Db&state=st%23te&nonce=nonce\
            &code_challenge=challenge&code_challenge_method=S256";
        assert_eq!(url(&authority, "client", false, &request).as_str(), expected);

        request.prompt = Some("select_account");
        request.login_hint = Some("a+b@contoso.example");
        let claims = ClaimsRequest::parse(r#"{"id_token":{"a":1}}"#).unwrap();
        request.claims = Some(&claims);
        let expected = format!("{expected}&prompt=select_account&login_hint=a%2Bb%40contoso.example");
        let claims = "&claims=%7B%22id_token%22%3A%7B%22a%22%3A1%7D%7D";
        assert_eq!(url(&authority, "client", false, &request).as_str(), format!("{expected}{claims}"));
        request.claims = None;
        let claims = "&claims=%7B%22access_token%22%3A%7B%22xms_cc%22%3A%7B%22values%22%3A%5B%22cp1%22%5D%7D%7D%7D";
        assert_eq!(url(&authority, "client", true, &request).as_str(), format!("{expected}{claims}"));
    }
}
