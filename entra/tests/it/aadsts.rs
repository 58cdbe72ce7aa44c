//! Every error of Entra's that is known, by its AADSTS number, at each operation, in the forms that an answer can take: who can
//! mend it, and that nothing of the answer's prose is shown (entra.md 5.5 to 5.7, GU-9, GU-13, MO-6).

use entra::{Error, KNOWN_CODES, Redemption, Secret};
use serde_json::{Value, json};

use crate::support::*;

/// What becomes of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    User,
    Refused,
    Later,
    SetUp,
}
use Fate::*;

/// The number, the status and the OAuth error that it comes with, its suberror, and its fate.
type Row = (u32, u16, &'static str, &'static str, Fate);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // 5.1: the request.
    (28000, 400, "invalid_request", "", SetUp),
    (28003, 400, "invalid_request", "", SetUp),
    (50011, 400, "invalid_request", "", SetUp),
    (70011, 400, "invalid_scope", "", SetUp),
    (90002, 400, "invalid_request", "", SetUp),
    (90009, 400, "invalid_request", "", SetUp),
    (90014, 400, "invalid_request", "", SetUp),
    (500011, 400, "invalid_resource", "", SetUp),
    (500207, 400, "invalid_request", "", SetUp),
    (650053, 400, "invalid_scope", "", SetUp),
    (650057, 400, "invalid_resource", "", SetUp),
    (700016, 400, "unauthorized_client", "", SetUp),
    (700022, 400, "invalid_request", "", SetUp),
    (901002, 400, "invalid_request", "", SetUp),
    (1002012, 400, "invalid_scope", "", SetUp),
    (9002326, 400, "invalid_request", "", SetUp),
    (9002327, 400, "invalid_request", "", SetUp),
    (9010010, 400, "invalid_target", "", SetUp),
    // 5.2 to 5.4: a code, a refresh token, an assertion of a user's.
    (50013, 400, "invalid_grant", "", Refused),
    (50173, 400, "invalid_grant", "bad_token", Refused),
    (54005, 400, "invalid_grant", "", Refused),
    (70000, 400, "invalid_grant", "", Refused),
    (70008, 400, "invalid_grant", "token_expired", Refused),
    (70043, 400, "invalid_grant", "token_expired", Refused),
    (240002, 400, "invalid_grant", "", Refused),
    (500131, 400, "invalid_grant", "", Refused),
    (500133, 400, "invalid_grant", "", Refused),
    (501481, 400, "invalid_grant", "", Refused),
    (700082, 400, "invalid_grant", "token_expired", Refused),
    (700084, 400, "invalid_grant", "token_expired", Refused),
    (7000114, 400, "invalid_grant", "", Refused),
    // 5.6, 5.7: the user or a policy.
    (50034, 400, "invalid_grant", "", Refused),
    (50053, 400, "invalid_grant", "", Refused),
    (50055, 400, "invalid_grant", "user_password_expired", User),
    (50057, 400, "invalid_grant", "", Refused),
    (50058, 400, "login_required", "", User),
    (50076, 400, "invalid_grant", "basic_action", User),
    (50079, 400, "invalid_grant", "additional_action", User),
    (50105, 400, "invalid_grant", "", Refused),
    (53000, 400, "invalid_grant", "message_only", Refused),
    (53001, 400, "invalid_grant", "message_only", Refused),
    (53003, 400, "invalid_grant", "message_only", Refused),
    (65001, 400, "invalid_grant", "consent_required", User),
    (65004, 400, "access_denied", "", Refused),
    // 5.5: how the client proves who it is.
    (70021, 400, "invalid_request", "", SetUp),
    (90061, 401, "invalid_client", "", SetUp),
    (700024, 401, "invalid_client", "", SetUp),
    (700027, 401, "invalid_client", "", SetUp),
    (700211, 401, "invalid_client", "", SetUp),
    (700212, 401, "invalid_client", "", SetUp),
    (700213, 401, "invalid_client", "", SetUp),
    (700214, 401, "invalid_client", "", SetUp),
    (700222, 401, "invalid_client", "", SetUp),
    (700226, 401, "invalid_client", "", SetUp),
    (700227, 401, "invalid_client", "", SetUp),
    (700229, 401, "invalid_client", "", SetUp),
    (700231, 401, "invalid_client", "", SetUp),
    (700236, 401, "invalid_client", "", SetUp),
    (1000502, 401, "invalid_client", "", SetUp),
    (7000112, 400, "unauthorized_client", "", SetUp),
    (7000214, 401, "invalid_client", "", SetUp),
    (7000215, 401, "invalid_client", "", SetUp),
    (7000218, 401, "invalid_client", "", SetUp),
    (7000222, 401, "invalid_client", "", SetUp),
    (7000274, 401, "invalid_client", "", SetUp),
    (7000277, 401, "invalid_client", "", SetUp),
    (7002121, 401, "invalid_client", "", SetUp),
    // Too much.
    (50196, 400, "invalid_grant", "", Later),
    (90055, 400, "invalid_grant", "", Later),
];

/// Those after which the credential is read anew; all others are asked about once.
const RELOADED: [u32; 6] = [700027, 700024, 7000214, 1000502, 7000274, 7000277];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Redeem,
    Refresh,
    OnBehalfOf,
}
use Operation::*;

/// The answer to one operation that Entra gives these answers, how often it was asked and the credential forgotten.
async fn outcome(operation: Operation, answers: [Answer; 2]) -> (Result<(), Error>, usize, u32) {
    let stage = Stage::start().await;
    stage.will(answers);
    let credential = Fixed::new("assertion");
    let client = stage.client_with(GATEWAY, credential.clone(), false);
    let secret = |text: &str| Secret::new(text.to_owned());
    let outcome = match operation {
        Redeem => {
            let (code, code_verifier) = (secret("code"), secret("verifier"));
            let redemption =
                Redemption { code: &code, redirect_uri: "r", scope: "s", code_verifier: &code_verifier, nonce: "n" };
            client.redeem(redemption, now()).await.map(|_| ())
        }
        Refresh => client.refresh(renewal(&secret("r"), "s")).await.map(|_| ()),
        OnBehalfOf => client.on_behalf_of(TENANT, &secret("t"), "s", None).await.map(|_| ()),
    };
    let forgotten = *credential.forgotten.lock().unwrap();
    (outcome, stage.calls("/token"), forgotten)
}

fn fate(error: &Error) -> Fate {
    match error {
        Error::UserMustAct(_) => User,
        Error::Refused(_) => Refused,
        Error::TryLater { .. } => Later,
        Error::SetUp(_) => SetUp,
        Error::Untrusted(_) | Error::OtherTenant { .. } => panic!("{error}"),
    }
}

/// As section 5.6 has it, with prose that no log may hold.
fn body((code, _, error, suberror, _): &Row) -> Value {
    let mut body = json!({
        "error": error,
        "error_description": format!("AADSTS{code}: canary adele@contoso.example Trace ID: 1 Correlation ID: 2"),
        "error_codes": [code],
        "correlation_id": "1b2c3d4e-0000-4000-8000-000000000001",
        "error_uri": "https://login.microsoftonline.com/error?code=canary",
    });
    if !suberror.is_empty() {
        body["suberror"] = json!(suberror);
    }
    body
}

async fn each_row(operation: Operation) {
    for row in ROWS {
        let (code, status, _, _, expected) = *row;
        let name = format!("AADSTS{code} at {operation:?}");
        let whole = body(row);
        let again = || answer(status, whole.clone());
        let (outcome, asked, forgotten) = outcome(operation, [again(), again()]).await;
        let error = outcome.expect_err(&name);
        assert_eq!(fate(&error), expected, "{name}: {error}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(&code.to_string()), "{name}: the log has the number: {shown}");
        assert!(!shown.contains("canary") && !shown.contains("adele"), "{name}: and no prose: {shown}");
        let reloaded = RELOADED.contains(&code);
        // A code is never sent twice; the rest only with another proof.
        assert_eq!(asked, if reloaded && operation != Redeem { 2 } else { 1 }, "{name}");
        assert_eq!(forgotten, u32::from(reloaded), "{name}");

        // With the number in the prose alone, where older answers have it.
        let mut older = whole.clone();
        older.as_object_mut().unwrap().remove("error_codes");
        let older = || answer(status, older.clone());
        let (outcome, ..) = self::outcome(operation, [older(), older()]).await;
        assert_eq!(fate(&outcome.expect_err(&name)), expected, "{name}, older");
    }
}

#[tokio::test]
async fn at_a_redemption() {
    each_row(Redeem).await;
}

#[tokio::test]
async fn at_a_refresh() {
    each_row(Refresh).await;
}

#[tokio::test]
async fn on_behalf_of_a_user() {
    each_row(OnBehalfOf).await;
}

#[test]
fn every_known_number_has_a_row() {
    let rows: Vec<_> = ROWS.iter().map(|row| row.0).collect();
    for code in KNOWN_CODES {
        assert_eq!(rows.iter().filter(|row| *row == code).count(), 1, "AADSTS{code}");
    }
    assert_eq!(rows.len(), KNOWN_CODES.len(), "a row without a known number");
    for code in RELOADED {
        assert!(rows.contains(&code), "AADSTS{code}");
    }
}

/// Claims ride along with any refusal: the user must act, unless Entra says that acting is of no use.
#[tokio::test]
async fn claims_that_come_along() {
    for operation in [Redeem, Refresh, OnBehalfOf] {
        for (row, expected) in [
            ((50076, 400, "invalid_grant", "", Refused), User),
            ((50079, 400, "interaction_required", "", User), User),
            ((53003, 400, "invalid_grant", "message_only", Refused), Refused),
            ((7000218, 401, "invalid_client", "", SetUp), SetUp),
        ] {
            let mut whole = body(&row);
            whole["claims"] = json!(r#"{"access_token":{"capolids":{"essential":true,"values":["canary"]}}}"#);
            let (outcome, ..) = outcome(operation, [answer(row.1, whole.clone()), answer(row.1, whole)]).await;
            let error = outcome.unwrap_err();
            assert_eq!(fate(&error), expected, "AADSTS{} at {operation:?}: {error}", row.0);
            assert!(!format!("{error} {error:?}").contains("canary"), "AADSTS{} at {operation:?}", row.0);
            if let Error::UserMustAct(refusal) = error {
                assert!(refusal.claims.unwrap().expose().contains("canary"));
            }
        }
    }
}

/// What is not Entra's word, or not all of it, ends nobody's session, whatever stands in it.
#[tokio::test]
async fn bodies_that_are_no_answer() {
    let whole = body(&(700082, 400, "invalid_grant", "token_expired", Refused)).to_string();
    let html = format!("<html><body>{whole}</body></html>");
    let good = json!({"token_type": "Bearer", "access_token": "canary", "expires_in": 3600}).to_string();
    for operation in [Redeem, Refresh, OnBehalfOf] {
        for (name, script) in [
            ("a truncated error", answer(400, &whole[..whole.len() / 2])),
            ("a truncated token", answer(200, &good[..good.len() - 1])),
            ("an empty error", answer(400, "")),
            ("an empty token", answer(200, "")),
            ("a page", answer(400, html.clone())),
            ("a page for a token", answer(200, html.clone())),
            ("an outage's page", answer(503, html.clone())),
            ("an error in an outage", answer(500, whole.clone())),
            ("an array", answer(400, format!("[{whole}]"))),
            ("a redirect", redirect("https://attacker.example/", &whole)),
            ("a redirect that keeps the method", Answer { status: 307, ..redirect("/elsewhere/token", &whole) }),
            ("an error with 200", answer(200, whole.clone())),
            ("far too much", answer(400, format!("{whole}{}", " ".repeat(300 * 1024)))),
        ] {
            let (outcome, asked, _) = outcome(operation, [script.clone(), script]).await;
            let error = outcome.expect_err(name);
            assert_eq!(fate(&error), Later, "{name} at {operation:?}: {error}");
            assert!(!format!("{error} {error:?}").contains("canary"), "{name}: {error}");
            assert!(asked <= 2, "{name} at {operation:?}: no redirect is followed");
        }
    }
}

/// The content type is not looked at: proxies change it, and nothing depends on it.
#[tokio::test]
async fn wrong_content_types() {
    let row = (700082, 400, "invalid_grant", "token_expired", Refused);
    for kind in ["text/html", "text/plain; charset=utf-8", "application/octet-stream", "nonsense"] {
        for operation in [Redeem, Refresh, OnBehalfOf] {
            let script = Answer { headers: vec![("content-type", kind.to_owned())], ..answer(400, body(&row)) };
            let (outcome, ..) = outcome(operation, [script.clone(), script]).await;
            assert_eq!(fate(&outcome.unwrap_err()), Refused, "{kind} at {operation:?}");
        }
    }
}

fn redirect(to: &str, body: &str) -> Answer {
    Answer { headers: vec![("location", to.to_owned())], ..answer(302, body) }
}
