//! Claims challenges in `WWW-Authenticate` (RFC 9110 section 11.6.1, entra.md section 8).
//!
//! Graph sends them, and Microsoft's servers pass them on. The header is a list of challenges in which commas separate both
//! challenges and their parameters, and there may be several headers, so it is read by its grammar and not searched.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};

use crate::ClaimsRequest;
use crate::claims_request::LARGEST;

impl ClaimsRequest {
    /// The first claims challenge among the values of an answer's `WWW-Authenticate` headers. What is malformed, given
    /// twice or too long is none.
    pub fn in_challenges<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let headers = headers.into_iter().take(MOST_HEADERS).filter(|header| header.len() <= LONGEST_HEADER);
        headers.filter_map(|header| std::str::from_utf8(header).ok()).flat_map(challenges).find_map(|challenge| {
            let asks = matches!(challenge.parameter("error")?, "insufficient_claims" | "invalid_token");
            let claims = challenge.parameter("claims").filter(|_| asks && challenge.is_bearer())?;
            Self::parse(std::str::from_utf8(&decoded(claims)?).ok()?)
        })
    }

    /// A challenge for it, as [`ClaimsRequest::in_challenges`] and Microsoft's libraries read it.
    pub fn to_challenge(&self) -> String {
        format!(r#"Bearer error="insufficient_claims", claims="{}""#, BASE64_STANDARD.encode(self.expose()))
    }
}

struct Challenge<'a> {
    scheme: &'a str,
    parameters: Vec<(&'a str, String)>,
}

impl Challenge<'_> {
    fn is_bearer(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("Bearer")
    }

    /// `None` when there are several, too: which of them counts is a matter of taste.
    fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let (Some((_, value)), None) = (found.next(), found.next()) else { return None };
        Some(value)
    }
}

/// All challenges of one header; from the first thing that is none of the grammar, nothing.
fn challenges(header: &str) -> Vec<Challenge<'_>> {
    let mut rest = header;
    let mut found: Vec<Challenge<'_>> = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return found;
        }
        let Some((word, after)) = token(rest) else { return found };
        if let Some((value, after)) = value(after) {
            // A parameter of the challenge before.
            let Some(challenge) = found.last_mut() else { return found };
            challenge.parameters.push((word, value));
            rest = after;
        } else {
            found.push(Challenge { scheme: word, parameters: Vec::new() });
            rest = without_token68(after);
        }
        if !(rest.is_empty() || rest.starts_with([' ', '\t', ','])) {
            // What was read last has no end that counts.
            found.pop();
            return found;
        }
    }
}

fn token(text: &str) -> Option<(&str, &str)> {
    let length = text.bytes().take_while(|byte| is_token(*byte)).count();
    (length > 0).then(|| text.split_at(length))
}

/// `= value`, with the spaces that are bad but allowed.
fn value(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start_matches([' ', '\t']).strip_prefix('=')?.trim_start_matches([' ', '\t']);
    match text.strip_prefix('"') {
        Some(text) => quoted(text),
        None => token(text).map(|(word, rest)| (word.to_owned(), rest)),
    }
}

/// The rest of a quoted string, unescaped; `None` when it does not end.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

/// Of other schemes, such as Negotiate. A word with a value behind it is a parameter and stays.
fn without_token68(text: &str) -> &str {
    let Some(candidate) = text.strip_prefix(' ') else { return text };
    let candidate = candidate.trim_start_matches(' ');
    let length = candidate.bytes().take_while(|byte| is_token(*byte) || *byte == b'/').count();
    let (word, after) = candidate.split_at(length);
    let after = after.trim_start_matches('=');
    let ends = after.trim_start_matches([' ', '\t']);
    if !word.is_empty() && (ends.is_empty() || ends.starts_with(',')) { after } else { text }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Base64 of either alphabet, with or without its padding.
fn decoded(text: &str) -> Option<Vec<u8>> {
    if text.len() > LARGEST {
        return None;
    }
    let text = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    BASE64_STANDARD_NO_PAD.decode(text).ok()
}

const MOST_HEADERS: usize = 16;
/// Bytes.
const LONGEST_HEADER: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    /// Both alphabets differ in its encoding, which has padding.
    const CLAIMS: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"ÿþ¿¾>>>???"}}}"#;

    fn found(headers: &[&str]) -> Option<String> {
        let headers = headers.iter().map(|header| header.as_bytes());
        ClaimsRequest::in_challenges(headers).map(|request| request.expose().to_owned())
    }

    fn standard() -> String {
        BASE64_STANDARD.encode(CLAIMS)
    }

    #[test]
    fn graphs_own_challenge() {
        let claims =
            r#"{"access_token":{"nbf":{"essential":true,"value":"1726077595"},"xms_caeerror":{"value":"10012"}}}"#;
        let header = format!(
            "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", \
             client_id=\"00000003-0000-0000-c000-000000000000\", error=\"insufficient_claims\", claims=\"{}\"",
            BASE64_STANDARD.encode(claims)
        );
        assert_eq!(found(&[&header]).as_deref(), Some(claims));
    }

    #[test]
    fn every_form_of_the_header_and_of_base64() {
        let (standard, url_safe) = (standard(), BASE64_URL_SAFE.encode(CLAIMS));
        assert!(standard.contains(['+', '/']) && standard.ends_with('=') && standard != url_safe);
        let bare = BASE64_URL_SAFE_NO_PAD.encode(CLAIMS);
        for header in [
            format!(r#"Bearer error="insufficient_claims", claims="{standard}""#),
            format!(r#"Bearer claims="{url_safe}",error="insufficient_claims""#),
            format!("bearer error=insufficient_claims ,\tclaims = {bare}"),
            format!(r#"BEARER error="invalid_token", claims="{}""#, standard.trim_end_matches('=')),
            format!(
                r#"Negotiate dGVzdA==, Bearer realm="a, Bearer error=\"x\"", error="invalid_token", claims="{bare}""#
            ),
            format!(r#"Basic realm="x", Negotiate, , Bearer error="insufficient_claims", claims="{bare}", Digest a=b"#),
            format!(r#"Bearer ERROR="insufficient_claims", Claims="{bare}""#),
            format!(r#"Bearer error="insufficient\_claims", claims="{bare}""#),
        ] {
            assert_eq!(found(&[&header]).as_deref(), Some(CLAIMS), "{header}");
            assert_eq!(found(&["Basic realm=\"x\"", "nonsense \"", "\u{e4}", &header]).as_deref(), Some(CLAIMS));
        }
    }

    #[test]
    fn what_is_no_claims_challenge() {
        let good = standard();
        for header in [
            String::new(),
            "Bearer".to_owned(),
            format!(r#"Bearer error="insufficient_scope", claims="{good}""#),
            format!(r#"Bearer claims="{good}""#),
            r#"Bearer error="insufficient_claims""#.to_owned(),
            format!(r#"Basic error="insufficient_claims", claims="{good}""#),
            format!(r#"error="insufficient_claims", claims="{good}""#),
            // Of two challenges each has one half.
            format!(r#"Bearer error="insufficient_claims", Bearer claims="{good}""#),
            format!(r#"Bearer error="insufficient_claims", claims="{good}", claims="{good}""#),
            format!(r#"Bearer error="insufficient_claims", claims="{good}"#),
            format!(r#"Bearer error="insufficient_claims", claims="{good}"x"#),
            format!(r#"Bearer x="error=\"insufficient_claims\", claims=\"{good}\"""#),
            r#"Bearer error="insufficient_claims", claims="%%%""#.to_owned(),
            format!(r#"Bearer error="insufficient_claims", claims="{}""#, BASE64_STANDARD.encode("no JSON")),
            format!(r#"Bearer error="insufficient_claims", claims="{}""#, BASE64_STANDARD.encode([0xff, 0xfe])),
            format!(r#"Bearer error="insufficient_claims", claims="{}""#, BASE64_STANDARD.encode(r#"{"a":1}"#)),
            format!(r#"Bearer error="insufficient_claims", claims="{}""#, "e".repeat(100_000)),
            format!(r#"Bearer error="insufficient_claims", claims="{}""#, "e".repeat(9_000)),
        ] {
            assert_eq!(found(&[&header]), None, "{}", &header[..header.len().min(200)]);
        }
        let many = vec!["Basic"; 100];
        let good = format!(r#"Bearer error="insufficient_claims", claims="{good}""#);
        assert_eq!(found(&[many.as_slice(), &[good.as_str()]].concat()), None, "nobody sends so many");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in "\\PC{0,200}", others in prop::collection::vec("[ -~]{0,40}", 0..4)) {
            let claims = serde_json::json!({"access_token": {"a": {"value": value}}}).to_string();
            let request = ClaimsRequest::parse(&claims).unwrap();
            let challenge = request.to_challenge();
            let mut headers: Vec<&str> = others.iter().map(String::as_str).collect();
            headers.push(&challenge);
            prop_assert_eq!(found(&headers), Some(claims));
        }

        #[test]
        fn nothing_panics_and_what_is_found_is_small(header in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(ClaimsRequest::in_challenges([header.as_slice()]).is_none());
        }

        #[test]
        fn words_of_the_grammar_in_any_order(words in prop::collection::vec(
            prop_oneof!["Bearer", "error", "claims", "insufficient_claims", "=", ",", " ", "\"", "\\\\", "e30", "[ -~]"], 0..40))
        {
            // `e30` is an empty object: there is never anything to find.
            prop_assert_eq!(found(&[&words.concat()]), None);
        }
    }
}
