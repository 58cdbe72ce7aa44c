//! `GET /authorize`: nobody is sent anywhere but to the consent page or to an address that was registered.

use bytes::Bytes;
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use url::Url;

use super::fixture::{FIXTURE, REDIRECT_URIS};
use crate::fuzzing::{ISSUER, RESOURCE, SEALER};
use crate::oauth::records::AuthorizationRequest;
use crate::oauth::redirect_uri::RedirectUri;

/// A query; on a second line a `Cookie` header.
pub fn authorize(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (query, cookie) = (&input[..end], input.get(end + 1..));
    let Some(response) = asked(query, cookie) else { return };
    let outcome = outcome(&response);
    // Nobody else's word on what was agreed to counts (S4). What is there already would be there twice, which is refused.
    for more in ["&consent_shown=1", "&approved=true", "&scope2=x"] {
        let (name, _) = more[1..].split_once('=').expect("it has a value");
        if let Some(response) = asked(&[query, more.as_bytes()].concat(), None)
            && !form_urlencoded::parse(query).any(|(known, _)| known == name)
        {
            assert_eq!(self::outcome(&response), outcome, "with {more}");
        }
    }
}

/// `None` when no such request can come.
fn asked(query: &[u8], cookie: Option<&[u8]>) -> Option<Response<Bytes>> {
    let uri = Uri::try_from([b"/authorize?", query].concat()).ok()?;
    let mut request = Request::get(uri).body(Bytes::new()).expect("it is well-formed");
    if let Some(cookie) = cookie {
        request.headers_mut().insert(COOKIE, HeaderValue::from_bytes(cookie).ok()?);
    }
    Some(FIXTURE.handle(request))
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Consent(Box<AuthorizationRequest>),
    Back(String),
    Page(StatusCode),
}

fn outcome(response: &Response<Bytes>) -> Outcome {
    assert!(!response.headers().contains_key(SET_COOKIE), "nothing is kept before the person was asked");
    let Some(location) = response.headers().get(LOCATION) else {
        assert!([400, 403].contains(&response.status().as_u16()), "{}", response.status());
        return Outcome::Page(response.status());
    };
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let location = location.to_str().expect("a URL of ours is text");
    let Some(sealed) = location.strip_prefix(&format!("{ISSUER}/consent?request=")) else {
        return back(location);
    };
    let mut request = AuthorizationRequest::open(&SEALER, sealed).expect("it was sealed");
    assert_eq!(request.resource, RESOURCE);
    assert!(is_registered(request.return_to.redirect_uri.as_str()), "{}", request.return_to.redirect_uri.as_str());
    let state = request.return_to.state.as_deref().unwrap_or_default();
    assert!(state.len() <= 2048 && state.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
    // By chance.
    request.transaction = crate::browser::Transaction::OF_THE_BROWSER;
    Outcome::Consent(Box::new(request))
}

/// An error for the client, at an address of its own.
fn back(location: &str) -> Outcome {
    let at = location.find("error=").expect("only errors are told at once");
    assert!(is_registered(&location[..at - 1]), "{location}");
    let url = Url::parse(location).expect("it is a URL");
    assert_eq!(url.query_pairs().filter(|(name, value)| name == "iss" && value == ISSUER).count(), 1, "{location}");
    assert!(!url.query_pairs().any(|(name, _)| name == "code"), "{location}");
    Outcome::Back(location.to_owned())
}

fn is_registered(uri: &str) -> bool {
    let schemes = ["cursor".to_owned()];
    let registered = |text| RedirectUri::parse(text, &schemes).expect("it is a good one");
    REDIRECT_URIS.iter().any(|text| registered(text).accept(uri).is_some())
}
