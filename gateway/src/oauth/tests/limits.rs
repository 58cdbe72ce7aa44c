//! What becomes of whoever asks too often.

use std::num::NonZeroU32;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{Request, Response};

use super::support::*;
use crate::oauth::{LimitSettings, Limited};
use crate::rate::Rate;
use crate::source::SourceAddress;

const BUSY: &str = "192.0.2.1";
const QUIET: &str = "192.0.2.2";

fn three_a_minute() -> LimitSettings {
    let three = Rate::per_minute(NonZeroU32::new(3).unwrap());
    LimitSettings { registrations: three, authorizations: three, token_requests: three }
}

async fn ask(fixture: &Fixture, address: &str, path: &str, form: Option<String>) -> Response<Bytes> {
    let request = match &form {
        Some(_) => Request::post(path).header(CONTENT_TYPE, "application/x-www-form-urlencoded"),
        None => Request::get(path),
    };
    let mut request = request.body(Bytes::from(form.unwrap_or_default())).unwrap();
    request.extensions_mut().insert(SourceAddress::new(address.parse().unwrap()));
    fixture.server.handle(request).await
}

fn limited(response: &Response<Bytes>) -> &'static str {
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()[RETRY_AFTER], "20", "one more each twenty seconds");
    response.extensions().get::<Limited>().unwrap().limit
}

#[tokio::test]
async fn programs_are_told_when_to_come_again() {
    let fixture = alone_with(|settings| settings.limits = three_a_minute());
    for (path, name) in [("/register", "registrations"), ("/token", "token_requests")] {
        for _ in 0..3 {
            let response = ask(&fixture, BUSY, path, Some(String::new())).await;
            assert_eq!(response.status(), 400, "{path}");
        }
        let response = ask(&fixture, BUSY, path, Some(String::new())).await;
        assert_eq!(limited(&response), name);
        assert_eq!(json(&response)["error"], "slow_down");
        assert_eq!(response.headers()["access-control-allow-origin"], "*", "a page that is a client must see why");
        assert_eq!(ask(&fixture, QUIET, path, Some(String::new())).await.status(), 400, "each address for itself");
    }
    assert_eq!(
        limited(&ask(&fixture, BUSY, "/revoke", Some(String::new())).await),
        "token_requests",
        "one count for both"
    );
    for _ in 0..10 {
        let path = "/.well-known/oauth-authorization-server";
        assert_eq!(ask(&fixture, BUSY, path, None).await.status(), 200, "what costs nothing is not counted");
    }
}

#[tokio::test]
async fn people_are_told_on_a_page() {
    let fixture = alone_with(|settings| settings.limits = three_a_minute());
    let client = fixture.register("Client", REDIRECT_URI).await;
    let path = authorize_path(&client, &[]);
    for _ in 0..3 {
        assert_eq!(ask(&fixture, BUSY, &path, None).await.status(), 303);
    }
    let response = ask(&fixture, BUSY, &path, None).await;
    assert_eq!((limited(&response), fault(&response)), ("authorizations", "1902"));
    assert_eq!(limited(&ask(&fixture, BUSY, "/consent?request=x", None).await), "authorizations");
    assert_eq!(ask(&fixture, QUIET, &path, None).await.status(), 303);
}

#[tokio::test]
async fn whoever_is_turned_away_has_lost_nothing() {
    let fixture = with_entra_and(|settings| settings.limits = three_a_minute()).await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let code = fixture.sign_in(&mut Browser::default(), &client).await;
    let redemption = form(&[
        ("grant_type", "authorization_code"),
        ("client_id", &client.id),
        ("code", &code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ]);
    for _ in 0..3 {
        assert_eq!(ask(&fixture, BUSY, "/token", Some(String::new())).await.status(), 400);
    }
    assert_eq!(limited(&ask(&fixture, BUSY, "/token", Some(redemption.clone())).await), "token_requests");
    assert_eq!(ask(&fixture, QUIET, "/token", Some(redemption)).await.status(), 200);
}
