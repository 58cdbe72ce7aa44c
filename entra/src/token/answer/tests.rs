use reqwest::StatusCode;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;

fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        retry_after: None,
        request_id: None,
        date: None,
        location: None,
        body: Zeroizing::new(body.as_bytes().to_vec()),
    }
}

fn refused(body: Value) -> Error {
    failure(&answer(400, &body.to_string())).error
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::UserMustAct(_) => "user",
        Error::Refused(_) => "refused",
        Error::TryLater { .. } => "later",
        Error::SetUp(_) => "set-up",
        Error::Untrusted(_) | Error::OtherTenant { .. } => "untrusted",
    }
}

#[test]
fn lifetime_is_read_as_number_or_string() {
    for (expires_in, seconds) in [(json!(4182), 4182), (json!("86399"), 86399), (json!(u64::MAX), LONGEST_LIFE)] {
        let body = json!({"token_type": "bearer", "access_token": "a", "expires_in": expires_in, "new": {}});
        let good = success(&answer(200, &body.to_string())).map(|good| good.access_token.expires_in);
        assert_eq!(good.unwrap(), Duration::from_secs(seconds));
    }
}

#[test]
fn a_200_without_a_bearer_token_and_its_lifetime_is_trouble() {
    let good = json!({"token_type": "Bearer", "access_token": "canary", "expires_in": 1, "scope": "s"});
    assert!(success(&answer(200, &good.to_string())).is_ok());
    for (member, value) in [
        ("token_type", json!("mac")),
        ("token_type", Value::Null),
        ("access_token", json!("")),
        ("access_token", Value::Null),
        ("access_token", json!(7)),
        ("expires_in", json!("soon")),
        ("expires_in", json!(-1)),
        ("expires_in", Value::Null),
    ] {
        let mut body = good.clone();
        body[member] = value;
        let error = success(&answer(200, &body.to_string())).err().expect(member);
        assert_eq!(kind(&error), "later", "{body}");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
    for body in ["", "<html>", "[]", "{\"access_token\":\"canary"] {
        let error = success(&answer(200, body)).err().expect(body);
        assert!(kind(&error) == "later" && !error.to_string().contains("canary"), "{error}");
    }
}

#[test]
fn errors_go_to_who_can_mend_them() {
    let grant = |more: Value| {
        let mut body = json!({"error": "invalid_grant"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (expected, body) in [
        ("user", grant(json!({"suberror": "basic_action"}))),
        ("user", grant(json!({"suberror": "additional_action"}))),
        ("user", grant(json!({"suberror": "consent_required"}))),
        ("user", grant(json!({"suberror": "user_password_expired"}))),
        ("user", grant(json!({"claims": "{\"access_token\":{\"a\":1}}"}))),
        ("user", json!({"error": "interaction_required"})),
        ("user", json!({"error": "login_required"})),
        ("refused", grant(json!({}))),
        ("refused", grant(json!({"suberror": "message_only", "claims": "{}"}))),
        ("refused", grant(json!({"suberror": "bad_token"}))),
        ("refused", json!({"error": "access_denied"})),
        ("later", json!({"error": "something_new"})),
        ("later", grant(json!({"error_codes": [50196]}))),
        ("later", json!({"error": "temporarily_unavailable"})),
        ("later", json!({"error": "server_error"})),
        ("later", json!({"error": "free text\nforged line"})),
        ("later", json!({"no": "error"})),
        ("set-up", json!({"error": "invalid_client", "claims": "{}"})),
        ("set-up", json!({"error": "invalid_scope"})),
        ("set-up", json!({"error": "invalid_target"})),
        ("set-up", json!({"error": "unauthorized_client"})),
    ] {
        let error = refused(body.clone());
        assert_eq!(kind(&error), expected, "{body} -> {error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn status_decides_before_the_body() {
    let body = r#"{"error":"invalid_grant"}"#;
    for (status, expected) in
        [(302, "later"), (429, "later"), (500, "later"), (503, "later"), (400, "refused"), (401, "refused")]
    {
        assert_eq!(kind(&failure(&answer(status, body)).error), expected, "{status}");
    }
    for status in [302, 400, 404, 502] {
        assert_eq!(kind(&failure(&answer(status, "<html>down</html>")).error), "later", "{status}");
    }
    let mut throttled = answer(429, "");
    throttled.retry_after = Some(Duration::from_secs(7));
    assert!(
        matches!(failure(&throttled).error, Error::TryLater { retry_after: Some(after), .. } if after.as_secs() == 7)
    );
}

#[test]
fn the_log_gets_numbers_and_ids_but_no_prose_and_no_claims() {
    let id = "1b2c3d4e-0000-4000-8000-000000000001";
    let error = refused(json!({
        "error": "invalid_grant", "suberror": "basic_action", "error_codes": [50076, 50079], "correlation_id": id,
        "error_description": "AADSTS50076: adele@contoso.example must ...", "claims": "{\"access_token\":{\"canary\":1}}",
    }));
    let Error::UserMustAct(refusal) = &error else { panic!("{error}") };
    assert_eq!(refusal.claims.as_ref().unwrap().expose(), "{\"access_token\":{\"canary\":1}}");
    let shown = format!("{error} {error:?}");
    for wanted in ["invalid_grant", "basic_action", "50076", "50079", id] {
        assert!(shown.contains(wanted), "{shown}");
    }
    for unwanted in ["canary", "adele"] {
        assert!(!shown.contains(unwanted), "{shown}");
    }
    let described = refused(json!({"error": "invalid_client", "error_description": "AADSTS700024: Client assertion"}));
    assert!(described.to_string().contains("AADSTS700024"), "{described}");
}
