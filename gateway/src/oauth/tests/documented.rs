//! docs/errors.md and docs/endpoints.md, beside what is answered.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, RETRY_AFTER};

use super::support::{alone, fault, json};
use crate::browser::Fault;
use crate::documented::{is_generated, names, rows, table};
use crate::oauth::Route;
use crate::oauth::audited::Asked;
use crate::oauth::error::{Error, Ungranted};
use crate::oauth::limits::Limited;
use crate::oauth::metadata::Metadata;
use crate::store::StoreError;

const ROUTES: [Route; 9] = [
    Route::WellKnown,
    Route::Register,
    Route::Authorize,
    Route::Consent,
    Route::Callback,
    Route::Connections,
    Route::SignedOut,
    Route::Token,
    Route::Revoke,
];

/// Stands for a sentence that says what is wrong.
const WHICH: &str = "(what is wrong)";

#[test]
fn the_reference_has_every_error_for_programs() {
    let fixture = alone();
    let asked = Asked::of(&Request::new(Bytes::new()));
    let limited = Limited { limit: "registrations", wait: Duration::ZERO };
    let errors = [
        (Error::NotFound, "all"),
        (Error::MethodNotAllowed("GET"), "all"),
        (Error::InvalidRequest(WHICH), "`/token`, `/revoke`"),
        (Error::InvalidClient { used_authorization_header: false, cause: String::new() }, "`/token`, `/revoke`"),
        (Error::UnauthorizedClient, "`/token`, `/revoke`"),
        (Error::InvalidGrant(Ungranted::Foreign), "`/token`"),
        (Error::InvalidTarget, "`/token`"),
        (Error::UnsupportedGrantType, "`/token`"),
        (Error::InvalidRedirectUri(WHICH), "`/register`"),
        (Error::InvalidClientMetadata(WHICH), "`/register`"),
        (Error::RegistrationClosed, "`/register`"),
        (Error::Unavailable(StoreError::Unavailable("x".into())), "`/token`, `/revoke`"),
        (Error::Later { retry_after: None }, "`/token`"),
        (Error::ClientUnavailable(String::new()), "`/token`"),
        (Error::TooMany { limited, in_a_browser: false }, "`/register`, `/token`, `/revoke`"),
    ];
    let told = errors.map(|(error, of)| {
        let reason = error.reason();
        let answer = fixture.server.answer(error, &asked);
        let body = json(&answer);
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        let again = if answer.headers().contains_key(RETRY_AFTER) { "yes" } else { "" };
        let status = answer.status().as_u16().to_string();
        let error = format!("`{}`", text("error"));
        vec![format!("`{reason}`"), status, error, text("error_description"), of.to_owned(), again.to_owned()]
    });
    let head = ["`reason` in the logs", "status", "`error`", "says", "of", "`Retry-After`"];
    is_generated("errors.md", "oauth", &table(&head, told));
}

fn request(path: &str, accept: &str) -> Request<Bytes> {
    Request::get(path).header(ACCEPT, accept).body(Bytes::new()).unwrap()
}

#[test]
fn a_program_gets_the_words_of_each_page_as_json() {
    let fixture = alone();
    for fault in Fault::ALL {
        let asked = Asked::of(&request("/authorize", "application/json"));
        let answer = fixture.server.answer(Error::page(fault, "a cause"), &asked);
        let body = json(&answer);
        assert_eq!((answer.status(), &body["code"]), (fault.status(), &fault.code().into()));
        let described = format!("{}. {}", fault.title(), fault.advice());
        assert_eq!(body["error_description"], described);
        assert_eq!(body["reference"].as_str().unwrap().len(), 8);
        assert!(!body.to_string().contains("a cause"));
        assert_eq!(answer.headers().contains_key(RETRY_AFTER), fault.status() == 503, "{fault:?}");
    }
}

#[tokio::test]
async fn who_asks_for_json_gets_it_and_a_browser_a_page() {
    let fixture = alone();
    let answered = async |accept: &str| fixture.server.handle(request("/authorize?client_id=x", accept)).await;
    let as_json = answered("application/json").await;
    assert_eq!((as_json.status().as_u16(), json(&as_json)["code"].as_str()), (400, Some("SP-1003")));
    for accept in ["*/*", "text/html,application/xhtml+xml,*/*;q=0.8"] {
        assert_eq!(fault(&answered(accept).await), "1003");
    }
}

#[test]
fn every_endpoint_is_documented_with_its_methods() {
    let documented: Vec<_> = rows("endpoints.md", "## Sign-in and tokens")
        .iter()
        .map(|cells| (names(&cells[0]).concat(), cells[1].clone()))
        .collect();
    let served = ROUTES.map(|route| (route.path().to_owned(), route.methods().to_owned()));
    assert_eq!(documented, served);
    for route in ROUTES {
        let path = route.path().replace('*', "x");
        assert_eq!(Route::find(&path).map(Route::path), Some(route.path()));
    }
}

#[test]
fn every_document_of_discovery_is_documented() {
    let fixture = alone();
    let mut served: Vec<_> =
        Metadata::new(&fixture.server.settings).documents().map(|(path, _)| path.to_owned()).collect();
    served.retain(|path| !path.contains("/other"));
    served.sort();
    let mut documented: Vec<_> =
        rows("endpoints.md", "### Discovery").iter().flat_map(|cells| names(&cells[0])).collect();
    documented.sort();
    assert_eq!(documented, served);
}
