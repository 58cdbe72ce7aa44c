//! A request as every handler sees it: read once, bounded, its parameters parsed.

use axum::http::{HeaderMap, Method};
use uuid::Uuid;

/// What came in. The middleware in `observe` makes it; handlers take it as an extension.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub query: Params,
    pub form: Params,
    /// A scripted AADSTS error that /authorize must send to the redirect URI once that is proven.
    pub scripted: Option<u32>,
}

/// What became of a request, in words for the journal. A response carries it as an extension.
#[derive(Clone, Debug)]
pub(crate) struct Outcome(pub String);

/// Decoded parameters in the order they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Call {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn bearer(&self) -> Option<&str> {
        let value = self.header("authorization")?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    }

    /// The form's value, else the query's: /authorize may be called both ways.
    pub fn any(&self, name: &str) -> Option<&str> {
        self.form.get(name).or_else(|| self.query.get(name))
    }

    /// The caller's correlation id if it sent a GUID, else a new one.
    pub fn correlation(&self) -> String {
        let sent = self.header("client-request-id").or_else(|| self.any("client-request-id"));
        sent.and_then(|id| Uuid::parse_str(id).ok()).unwrap_or_else(Uuid::new_v4).to_string()
    }
}

impl Params {
    pub fn parse(encoded: &[u8]) -> Params {
        Params(form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// The first value of that name; an empty one counts as absent, as in RFC 6749 section 3.1.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The name of a parameter that came twice.
    pub fn duplicate(&self) -> Option<&str> {
        self.0
            .iter()
            .enumerate()
            .find(|(at, (key, _))| self.0[..*at].iter().any(|(seen, _)| seen == key))
            .map(|(_, (key, _))| key.as_str())
    }
}
