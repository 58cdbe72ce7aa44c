//! The hop from the gateway (MO-9): who does not know its secret is refused, also with a valid token. A user has such a token
//! as soon as any allowed app gave it out; with it alone the server could be called past the gateway, and so past its rules,
//! limits and logs.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use entra::Secret;
use http::{HeaderMap, HeaderName, StatusCode, header};
use subtle::{Choice, ConstantTimeEq as _};

/// What the gateway sends the secret in.
const HEADER: HeaderName = HeaderName::from_static("x-hop-secret");

/// The secrets that count: one, or two while one takes the other's place.
#[derive(Debug)]
pub(crate) struct HopSecrets(Vec<Secret>);

impl HopSecrets {
    /// Reads a file with a secret on its only line, or two.
    ///
    /// # Errors
    /// When it cannot be read, or what it holds is no secret worth the name.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let what = || format!("hop_secret_file {}", file.display());
        let mut text = String::new();
        // What is longer has a line that is too long, or one too many.
        let file = std::fs::File::open(file).with_context(what)?;
        file.take(LONGEST_FILE).read_to_string(&mut text).with_context(what)?;
        Self::parse(Secret::new(text)).with_context(what)
    }

    fn parse(text: Secret) -> anyhow::Result<Self> {
        let secrets: Vec<_> = text.expose().lines().map(|line| Secret::new(line.to_owned())).collect();
        let is_good = |secret: &Secret| {
            let length = secret.expose().len();
            (SHORTEST..=LONGEST).contains(&length) && secret.expose().bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !(1..=2).contains(&secrets.len()) || !secrets.iter().all(is_good) {
            bail!(
                "must hold one line, or two, each a secret of {SHORTEST} to {LONGEST} visible characters without spaces"
            );
        }
        Ok(Self(secrets))
    }

    /// Compared in constant time, both always. Two headers are none.
    fn are_known_to(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(HEADER).iter();
        let (Some(only), None) = (values.next(), values.next()) else { return false };
        let none = Choice::from(0);
        self.0.iter().fold(none, |known, secret| known | secret.expose().as_bytes().ct_eq(only.as_bytes())).into()
    }
}

/// Shuts every way into `router` but `/healthz`, which tells nothing.
pub(crate) fn behind(router: Router, secrets: HopSecrets) -> Router {
    router.layer(middleware::from_fn_with_state(Arc::new(secrets), check))
}

async fn check(State(secrets): State<Arc<HopSecrets>>, mut request: Request, next: Next) -> Response {
    if request.uri().path() == "/healthz" || secrets.are_known_to(request.headers()) {
        request.headers_mut().remove(HEADER);
        return next.run(request).await;
    }
    tracing::warn!("refused: not from the gateway");
    let json = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::FORBIDDEN, json, r#"{"error":"forbidden"}"#).into_response()
}

/// Characters of a secret.
const SHORTEST: usize = 32;
const LONGEST: usize = 512;
/// Bytes.
const LONGEST_FILE: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "one-0123456789-0123456789-0123456789";
    const OTHER: &str = "other-0123456789-0123456789-0123456789";

    fn secrets(text: &str) -> anyhow::Result<HopSecrets> {
        HopSecrets::parse(Secret::new(text.to_owned()))
    }

    #[test]
    fn one_secret_or_two() {
        for good in [ONE.to_owned(), format!("{ONE}\n"), format!("{ONE}\r\n{OTHER}\r\n")] {
            assert!(secrets(&good).is_ok(), "{good}");
        }
        for bad in [
            String::new(),
            "\n".to_owned(),
            "short".to_owned(),
            format!("{ONE}\n\n"),
            format!("{ONE}\nshort"),
            format!("{ONE} {OTHER}"),
            format!("{ONE}\n{OTHER}\n{ONE}x"),
            "x".repeat(513),
        ] {
            let error = secrets(&bad).unwrap_err().to_string();
            assert!(
                error.starts_with("must hold one line") && !error.contains("short") && !error.contains(ONE),
                "{error}"
            );
        }
    }

    #[test]
    fn whoever_sends_one_of_them_once_knows_it() {
        let secrets = secrets(&format!("{ONE}\n{OTHER}")).unwrap();
        let known = |values: &[&str]| {
            let headers = values.iter().map(|value| (HEADER, value.parse().unwrap()));
            secrets.are_known_to(&headers.fold(HeaderMap::new(), |mut all, (name, value)| {
                all.append(name, value);
                all
            }))
        };
        assert!(known(&[ONE]) && known(&[OTHER]));
        for values in [&[][..], &[""], &[&ONE[1..]], &[&format!("{ONE}x")], &[ONE, ONE], &[&format!("{ONE}, {OTHER}")]]
        {
            assert!(!known(values), "{values:?}");
        }
        assert!(!format!("{secrets:?}").contains("0123"));
    }
}
