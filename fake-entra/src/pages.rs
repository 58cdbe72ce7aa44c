//! The pages people see. Plain HTML without script (except the self-submitting one that `form_post` is), labelled,
//! usable by keyboard; templates lie in `templates/`.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::directory::User;
use crate::errors::Report;

/// Where a page's form posts to.
pub(crate) struct Step<'a> {
    pub tenant: &'a str,
    pub flow: &'a str,
}

#[derive(Template)]
#[template(path = "users.html")]
struct Users<'a> {
    tenant: &'a str,
    flow: &'a str,
    client: &'a str,
    users: &'a [User],
    complaint: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "second_factor.html")]
struct SecondFactor<'a> {
    tenant: &'a str,
    flow: &'a str,
    user: &'a User,
}

#[derive(Template)]
#[template(path = "consent.html")]
struct Consent<'a> {
    tenant: &'a str,
    flow: &'a str,
    user: &'a User,
    client: &'a str,
    scopes: &'a [String],
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    message: &'a str,
    report: &'a Report,
}

#[derive(Template)]
#[template(path = "signed_out.html")]
struct SignedOut;

#[derive(Template)]
#[template(path = "form_post.html")]
struct FormPost<'a> {
    action: &'a str,
    parameters: &'a [(&'static str, String)],
}

pub(crate) fn users(step: &Step, client: &str, users: &[User], complaint: Option<&str>) -> Response {
    let status = if complaint.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    show(status, &Users { tenant: step.tenant, flow: step.flow, client, users, complaint })
}

pub(crate) fn second_factor(step: &Step, user: &User) -> Response {
    show(StatusCode::OK, &SecondFactor { tenant: step.tenant, flow: step.flow, user })
}

pub(crate) fn consent(step: &Step, user: &User, client: &str, scopes: &[String]) -> Response {
    show(StatusCode::OK, &Consent { tenant: step.tenant, flow: step.flow, user, client, scopes })
}

pub(crate) fn error(status: StatusCode, message: &str, report: &Report) -> Response {
    show(status, &ErrorPage { message, report })
}

pub(crate) fn signed_out() -> Response {
    show(StatusCode::OK, &SignedOut)
}

/// OAuth 2.0 Form Post Response Mode: the one page with a script; its button works without.
pub(crate) fn form_post(action: &str, parameters: &[(&'static str, String)]) -> Response {
    show(StatusCode::OK, &FormPost { action, parameters })
}

fn show(status: StatusCode, page: &impl Template) -> Response {
    let Ok(html) = page.render() else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "a page could not be rendered").into_response();
    };
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"));
    // No `form-action`: browsers apply it to the redirects that follow a post, which here lead to the client.
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; \
             script-src 'sha256-ePniVEkSivX/c7XWBGafqh8tSpiRrKiqYeqbG7N1TOE='",
        ),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}
