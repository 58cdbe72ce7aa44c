//! The pages: rendered, and answered with everything that keeps a browser safe.
//!
//! No script, nothing from elsewhere, no framing (T5, T6). Templates escape by default; the only raw text is our own
//! style sheet, whose hash the policy names.

mod connect;
mod connections;

use std::sync::LazyLock;
use std::time::Duration;

use askama::Template;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use sha2::{Digest, Sha256};

use super::fault::{Fault, Reference};

/// When to try again, told with every answer of 503.
pub const RETRY_AFTER_SECONDS: &str = "2";

const STYLE: &str = include_str!("../../templates/style.css");
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// `form-action 'self'` holds although a form leads to Entra: the form's answer is a page that goes on by itself, not a
/// redirect, which Chromium would refuse.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    HeaderValue::try_from(format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ))
    .expect("a policy is visible ASCII")
});

/// Renders pages for one installation.
pub struct Pages {
    server_name: String,
    /// Served over https, so that a browser may be told to insist on it.
    secure: bool,
}

/// What the consent page says.
pub struct ConsentPage<'a> {
    pub client_name: &'a str,
    pub vouched: Vouched<'a>,
    /// Where the answer goes, for a person: host, or scheme of another program.
    pub destination: &'a str,
    pub redirect_uri: &'a str,
    /// The answer goes to a program on this very computer, whichever listens there (T20).
    pub loopback: bool,
    pub resource: &'a str,
    pub scope: &'a str,
    /// The user refused the same client this long ago.
    pub refused: Option<Duration>,
    /// Whether the page has a box "do not ask again".
    pub offer_to_remember: bool,
    pub request: &'a str,
    pub csrf: &'a str,
}

/// What the page says that stands between us and an address that nobody vouches for.
pub struct LeavePage<'a> {
    /// Where the person may go on to.
    pub url: &'a str,
    /// Its host.
    pub destination: &'a str,
    pub error: &'a str,
    pub description: &'a str,
}

/// Who stands behind a client's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouched<'a> {
    Nobody,
    /// Whoever runs this installation has registered it.
    Operator,
    /// The site at this host, which publishes what the client is.
    Publisher(&'a str),
}

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentTemplate<'a> {
    style: &'static str,
    server_name: &'a str,
    page: ConsentPage<'a>,
    refused: Option<String>,
}

#[derive(Template)]
#[template(path = "continue.html")]
struct ContinueTemplate<'a> {
    style: &'static str,
    server_name: &'a str,
    url: &'a str,
    title: &'static str,
    text: &'static str,
}

#[derive(Template)]
#[template(path = "leave.html")]
struct LeaveTemplate<'a> {
    style: &'static str,
    server_name: &'a str,
    page: LeavePage<'a>,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorTemplate<'a> {
    style: &'static str,
    server_name: &'a str,
    fault: Fault,
    reference: Reference,
}

#[derive(Template)]
#[template(path = "no_access.html")]
struct NoAccessTemplate<'a> {
    style: &'static str,
    server_name: &'a str,
    fault: Fault,
    reference: Reference,
    url: &'a str,
}

impl Pages {
    pub fn new(server_name: String, secure: bool) -> Self {
        Self { server_name, secure }
    }

    /// Asks the user for a yes or a no.
    pub fn consent(&self, page: ConsentPage<'_>) -> Response<Bytes> {
        let refused = page.refused.map(in_words);
        let template = ConsentTemplate { style: STYLE, server_name: &self.server_name, page, refused };
        let mut response = self.html(StatusCode::OK, &template);
        // Under `no-referrer` a browser posts this page's form with `Origin: null` (Fetch standard, "append a request
        // `Origin` header"). Our own origin is the only one that learns the address.
        response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        response
    }

    /// Goes on to the sign-in by itself, or by a visible link.
    pub fn to_sign_in(&self, url: &str) -> Response<Bytes> {
        self.onwards(url, "Continue to sign in", "You are being taken to the sign-in page of your organisation.")
    }

    /// Goes back to the client after a refusal.
    pub fn refused(&self, url: &str) -> Response<Bytes> {
        self.onwards(url, "Access denied", "Nothing was allowed. You are being taken back to the application.")
    }

    /// A client asked for what there is not. Where it would be told so is shown, and nobody is taken there.
    pub fn leave(&self, page: LeavePage<'_>) -> Response<Bytes> {
        self.html(StatusCode::BAD_REQUEST, &LeaveTemplate { style: STYLE, server_name: &self.server_name, page })
    }

    pub fn error(&self, fault: Fault, reference: Reference) -> Response<Bytes> {
        let template = ErrorTemplate { style: STYLE, server_name: &self.server_name, fault, reference };
        let mut response = self.html(fault.status(), &template);
        if fault.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }

    /// Says so to the person, and then to the client at `url`: by a visible link, or by itself when there was time to read.
    pub fn no_access(&self, fault: Fault, reference: Reference, url: &str) -> Response<Bytes> {
        let (style, server_name) = (STYLE, self.server_name.as_str());
        self.html(fault.status(), &NoAccessTemplate { style, server_name, fault, reference, url })
    }

    fn onwards(&self, url: &str, title: &'static str, text: &'static str) -> Response<Bytes> {
        self.html(StatusCode::OK, &ContinueTemplate { style: STYLE, server_name: &self.server_name, url, title, text })
    }

    fn html(&self, status: StatusCode, template: &impl Template) -> Response<Bytes> {
        let html = template.render().expect("writing to memory does not fail");
        let mut response = Response::new(Bytes::from(html));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        for (name, value) in [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CACHE_CONTROL, "no-store"),
            (X_FRAME_OPTIONS, "DENY"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
        if self.secure {
            headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        }
        response
    }
}

fn in_words(duration: Duration) -> String {
    match duration.as_secs() / 60 {
        0 => "less than a minute".to_owned(),
        1 => "1 minute".to_owned(),
        minutes => format!("{minutes} minutes"),
    }
}

#[cfg(test)]
mod tests;
