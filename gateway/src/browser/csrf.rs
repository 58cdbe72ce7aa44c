//! Whether a form came from our own page (T4). Three independent checks; each alone would do in a current browser.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::{ORIGIN, REFERER};
use http::{HeaderMap, HeaderName};
use subtle::ConstantTimeEq;
use url::Url;

use super::CsrfToken;
use crate::public_url::PublicUrl;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a form is not believed to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrossOrigin {
    #[error("neither Origin nor Referer is ours")]
    Origin,
    #[error("Sec-Fetch-Site says that it came from another site")]
    FetchSite,
}

/// `Origin` must be ours, whole and alone; without it `Referer` must be of our origin. `null` is somebody else's.
/// Fetch-Metadata, where a browser sends it, must not contradict.
pub fn same_origin(headers: &HeaderMap, public_url: &PublicUrl) -> Result<(), CrossOrigin> {
    let ours = match (single(headers, &ORIGIN), single(headers, &REFERER)) {
        (Header::Value(origin), _) => origin == public_url.as_str(),
        (Header::Absent, Header::Value(referer)) => {
            Url::parse(referer).is_ok_and(|url| url.origin().ascii_serialization() == public_url.as_str())
        }
        _ => false,
    };
    if !ours {
        return Err(CrossOrigin::Origin);
    }
    match single(headers, &SEC_FETCH_SITE) {
        Header::Absent | Header::Value("same-origin" | "none") => Ok(()),
        _ => Err(CrossOrigin::FetchSite),
    }
}

impl CsrfToken {
    pub fn to_text(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.token.expose())
    }

    /// Compares with what the form brought, in constant time.
    pub fn matches(&self, text: &str) -> bool {
        self.to_text().as_bytes().ct_eq(text.as_bytes()).into()
    }
}

enum Header<'a> {
    Absent,
    Value(&'a str),
    /// Several, or not text.
    Unclear,
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Header<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Header::Absent,
        (Some(value), None) => value.to_str().map_or(Header::Unclear, Header::Value),
        _ => Header::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::browser::Transaction;
    use crate::secret::SecretKey;

    fn check(pairs: &[(&str, &str)]) -> Result<(), CrossOrigin> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        same_origin(&headers, &PublicUrl::parse("https://mcp.example.com").unwrap())
    }

    #[test]
    fn our_own_form_passes() {
        let ours = ("origin", "https://mcp.example.com");
        for headers in [
            &[ours][..],
            &[ours, ("sec-fetch-site", "same-origin")],
            &[ours, ("sec-fetch-site", "none")],
            &[("referer", "https://mcp.example.com/consent?request=x")],
        ] {
            assert_eq!(check(headers), Ok(()), "{headers:?}");
        }
    }

    #[test]
    fn any_other_origin_is_refused() {
        for headers in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "http://mcp.example.com")],
            &[("origin", "https://mcp.example.com:8443")],
            &[("origin", "https://mcp.example.com.evil.example")],
            &[("origin", "https://evil.example")],
            &[("origin", "null"), ("referer", "https://mcp.example.com/consent")],
            &[("origin", "https://mcp.example.com"), ("origin", "https://evil.example")],
            &[("referer", "https://evil.example/?https://mcp.example.com/")],
            &[("referer", "https://mcp.example.com@evil.example/")],
            &[("referer", "about:blank")],
        ] {
            assert_eq!(check(headers), Err(CrossOrigin::Origin), "{headers:?}");
        }
    }

    #[test]
    fn fetch_metadata_must_not_contradict() {
        for site in ["cross-site", "same-site", "", "other"] {
            let headers = [("origin", "https://mcp.example.com"), ("sec-fetch-site", site)];
            assert_eq!(check(&headers), Err(CrossOrigin::FetchSite), "{site}");
        }
    }

    #[test]
    fn a_token_matches_itself_only() {
        let token = CsrfToken { transaction: Transaction::random(), token: SecretKey::random() };
        assert!(token.matches(&token.to_text()));
        for other in ["", &token.to_text()[1..], &format!("{}A", token.to_text()), &"A".repeat(43)] {
            assert!(!token.matches(other));
        }
    }
}
