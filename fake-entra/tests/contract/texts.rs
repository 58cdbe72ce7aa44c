//! Numbers and words that people search for, on the token endpoint: each number scripted, each answer complete.

use fake_entra::{Fault, Match};
use serde_json::Value;

use crate::support::*;

/// Number, OAuth error, suberror, does a claims challenge come with it, words of its text.
type Row = (u32, &'static str, Option<&'static str>, bool, &'static str);

const ROWS: [Row; 44] = [
    (28000, "invalid_request", None, false, "more than one resource"),
    (28003, "invalid_grant", None, false, "input parameter scope cannot be empty"),
    (50013, "invalid_grant", None, false, "Assertion failed signature validation"),
    (50055, "invalid_grant", Some("user_password_expired"), false, "password is expired"),
    (50057, "invalid_grant", None, false, "account is disabled"),
    (50058, "login_required", None, false, "silent sign-in request was sent but no user is signed in"),
    (50076, "invalid_grant", Some("basic_action"), true, "you must use multi-factor authentication to access"),
    (50079, "invalid_grant", Some("basic_action"), true, "must enroll in multi-factor authentication"),
    (50105, "invalid_grant", None, false, "not assigned to a role"),
    (50173, "invalid_grant", Some("bad_token"), false, "expired due to it being revoked"),
    (50196, "invalid_grant", None, false, "client request loop"),
    (53000, "invalid_grant", Some("device_authentication_failed"), true, "not compliant"),
    (53003, "invalid_grant", Some("message_only"), false, "blocked by Conditional Access policies"),
    (54005, "invalid_grant", None, false, "Authorization code was already redeemed"),
    (65001, "invalid_grant", Some("consent_required"), false, "user or administrator has not consented"),
    (70008, "invalid_grant", None, false, "has expired"),
    (70011, "invalid_scope", None, false, "input parameter 'scope' is not valid"),
    (70021, "invalid_request", None, false, "No matching federated identity record found"),
    (70043, "invalid_grant", Some("token_expired"), false, "sign-in frequency checks"),
    (90055, "temporarily_unavailable", None, false, "too many requests"),
    (90061, "invalid_client", None, false, "external OIDC endpoint failed"),
    (240002, "invalid_grant", None, false, "id_token cannot be used"),
    (500131, "invalid_grant", None, false, "audience does not match the Client app presenting the assertion"),
    (500133, "invalid_grant", None, false, "not within its valid time range"),
    (501481, "invalid_grant", None, false, "Code_Verifier does not match the code_challenge"),
    (700016, "unauthorized_client", None, false, "was not found in the directory"),
    (700023, "invalid_client", None, false, "audience claim does not match Realm issuer"),
    (700024, "invalid_client", None, false, "Client assertion is not within its valid time range"),
    (700027, "invalid_client", None, false, "Client assertion failed signature validation"),
    (700082, "invalid_grant", Some("token_expired"), false, "expired due to inactivity"),
    (700084, "invalid_grant", Some("token_expired"), false, "single page app"),
    (700211, "invalid_client", None, false, "No matching federated identity record found"),
    (
        700213,
        "invalid_client",
        None,
        false,
        "No matching federated identity record found for presented assertion subject",
    ),
    (700222, "invalid_client", None, false, "may not be used for federated identity flows"),
    (700231, "invalid_client", None, false, "itself obtained by a federated identity credential"),
    (700236, "invalid_client", None, false, "policy of the tenant"),
    (901002, "invalid_request", None, false, "The 'resource' request parameter is not supported."),
    (1002012, "invalid_scope", None, false, "must have a scope value with /.default"),
    (7000114, "invalid_grant", None, false, "not allowed to make application on-behalf-of calls"),
    (7000215, "invalid_client", None, false, "Invalid client secret provided"),
    (7000218, "invalid_client", None, false, "'client_assertion' or 'client_secret'"),
    (7000222, "invalid_client", None, false, "client secret keys are expired"),
    (9002326, "invalid_request", None, false, "Cross-origin token redemption is permitted only for the 'Single-Page"),
    (9010010, "invalid_target", None, false, "doesn't match with the requested scopes"),
];

#[tokio::test]
async fn every_number_has_its_error_its_status_and_its_words() {
    let bench = bench().await;
    for (number, error, suberror, challenged, words) in ROWS {
        let matching = Match { grant: Some("refresh_token".into()), ..Match::default() };
        bench.entra.fault(Fault { matching, aadsts: Some(number), ..Fault::default() });
        let answer = bench.refresh("any", &[]).await;
        assert_eq!(answer.error(), (error.to_owned(), number));
        let body = answer.json();
        assert_eq!(body["suberror"].as_str(), suberror, "{number}");
        assert!(body["error_description"].as_str().unwrap().contains(words), "{body}");
        let claims = body["claims"].as_str().map(|text| serde_json::from_str::<Value>(text).unwrap());
        let essential = claims.map(|claims| claims["access_token"]["capolids"]["essential"].clone());
        assert_eq!(essential, challenged.then_some(Value::Bool(true)), "{number}");
    }
}

/// What a user or resource makes of a text, where no fault is scripted.
#[tokio::test]
async fn a_second_factor_names_what_it_is_for() {
    let bench = bench().await;
    let tokens = bench.tokens(ADELE).await;
    bench.order(&format!("/users/{ADELE}/require-mfa"), Value::Null).await;
    let refusal = bench.on_behalf_of(tokens["access_token"].as_str().unwrap(), &[]).await;
    assert_eq!(refusal.error().1, 50076);
    let text = refusal.json()["error_description"].as_str().unwrap().to_owned();
    assert!(text.contains("to access '00000003-0000-0000-c000-000000000000'."), "{text}");
}
