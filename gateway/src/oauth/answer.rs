//! Answers in the shapes that OAuth needs.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
    SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::Value;

/// JSON that nobody may cache.
pub fn json(status: StatusCode, body: &Value) -> Response<Bytes> {
    json_text(status, Bytes::from(body.to_string()))
}

/// Likewise, of what is JSON already.
pub fn json_text(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    set(&mut response, CONTENT_TYPE, "application/json");
    set(&mut response, CACHE_CONTROL, "no-store");
    set(&mut response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

/// 303: the browser goes on with a GET, and a form's body stays behind (T23). The address it came from may hold a sealed
/// request, a code or a state, and is told to nobody (T24).
pub fn see_other(url: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let location = HeaderValue::try_from(url).expect("our URLs are visible ASCII: whatever is not is encoded");
    response.headers_mut().insert(LOCATION, location);
    set(&mut response, CACHE_CONTROL, "no-store");
    set(&mut response, REFERRER_POLICY, "no-referrer");
    response
}

pub fn with_cookies(mut response: Response<Bytes>, cookies: impl IntoIterator<Item = HeaderValue>) -> Response<Bytes> {
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// Any page may read this: it holds nothing that a cookie gave (C25).
pub fn for_any_origin(mut response: Response<Bytes>) -> Response<Bytes> {
    set(&mut response, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(&mut response, ACCESS_CONTROL_EXPOSE_HEADERS, "WWW-Authenticate, Retry-After");
    response
}

pub fn preflight(methods: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    set(&mut response, ACCESS_CONTROL_ALLOW_METHODS, methods);
    set(
        &mut response,
        ACCESS_CONTROL_ALLOW_HEADERS,
        "authorization, content-type, accept, mcp-protocol-version, mcp-session-id, last-event-id, mcp-method, mcp-name",
    );
    set(&mut response, ACCESS_CONTROL_MAX_AGE, "86400");
    response
}

/// Whether the body says that it is of this media type; parameters such as a character set do not matter.
pub fn is_of_type(headers: &HeaderMap, media_type: &str) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(media_type)
}

pub const FORM: &str = "application/x-www-form-urlencoded";
pub const JSON: &str = "application/json";

fn set(response: &mut Response<Bytes>, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}
