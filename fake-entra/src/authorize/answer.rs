//! The way back to the client: code or error at the redirect URI, in the response mode asked for.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use url::Url;

use crate::call::{Call, Outcome};
use crate::errors::EntraError;
use crate::pages;
use crate::world::World;

/// A proven redirect URI, how to answer there, and the client's state.
#[derive(Clone, Debug)]
pub(crate) struct ReturnAddress {
    pub uri: String,
    pub mode: ResponseMode,
    pub state: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ResponseMode {
    Query,
    Fragment,
    FormPost,
}

impl ResponseMode {
    /// Unknown names mean the default of the code flow.
    pub fn named(name: Option<&str>) -> ResponseMode {
        match name {
            Some("fragment") => ResponseMode::Fragment,
            Some("form_post") => ResponseMode::FormPost,
            _ => ResponseMode::Query,
        }
    }
}

impl ReturnAddress {
    /// Sends `parameters` and the state. There is no `iss` (RFC 9207): Entra sends none.
    pub fn answer(&self, mut parameters: Vec<(&'static str, String)>, outcome: Outcome) -> Response {
        if let Some(state) = &self.state {
            parameters.push(("state", without_html(state)));
        }
        let mut response = match self.mode {
            ResponseMode::FormPost => pages::form_post(&self.uri, &parameters),
            ResponseMode::Query | ResponseMode::Fragment => self.redirect(&parameters),
        };
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"));
        response.extensions_mut().insert(outcome);
        response
    }

    pub fn refuse(&self, world: &World, call: &Call, error: &EntraError) -> Response {
        let report = error.report(world, &call.correlation());
        let mut parameters = vec![
            ("error", error.error.to_owned()),
            ("error_description", report.description),
            ("error_uri", format!("{}/error?code={}", world.base, error.code)),
        ];
        if let Some(subcode) = error.subcode {
            parameters.push(("error_subcode", subcode.into()));
        }
        self.answer(parameters, error.outcome())
    }

    fn redirect(&self, parameters: &[(&str, String)]) -> Response {
        let Ok(mut location) = Url::parse(&self.uri) else {
            return (StatusCode::INTERNAL_SERVER_ERROR, "the registered redirect URI is not a URL").into_response();
        };
        if self.mode == ResponseMode::Fragment {
            let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
            location.set_fragment(Some(&encoded));
        } else {
            location.query_pairs_mut().extend_pairs(parameters);
        }
        (StatusCode::FOUND, [(header::LOCATION, location.to_string())]).into_response()
    }
}

/// Entra strips markup from the state it returns.
fn without_html(state: &str) -> String {
    let mut kept = String::with_capacity(state.len());
    let mut rest = state;
    while let Some((before, tag)) = rest.split_once('<') {
        kept.push_str(before);
        match tag.split_once('>') {
            Some((_, after)) => rest = after,
            None => {
                kept.push('<');
                rest = tag;
            }
        }
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_loses_markup_only() {
        assert_eq!(without_html("a-b_c.d~e%2F+/="), "a-b_c.d~e%2F+/=");
        assert_eq!(without_html("a<b>c</b>d"), "acd");
        assert_eq!(without_html("1 < 2"), "1 < 2");
    }
}
