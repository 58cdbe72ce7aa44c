//! The `claims` parameter (OpenID Connect Core section 5.5): what a token must say for a resource to accept it.
//!
//! A resource's challenge, and some of Entra's own errors, bring such a request; who sends it along with the next token
//! call, or the next sign-in, gets a token that fits (entra.md section 8). What it asks for is Entra's business. How large
//! it is and where it may reach is ours: it comes from a server, and ends in the URL of a user's browser.

use serde_json::{Map, Value, json};

use crate::Secret;

/// A request for claims of the access token or the id_token, and for nothing else.
#[derive(Clone, Debug)]
pub struct ClaimsRequest(Secret);

impl ClaimsRequest {
    /// Reads a JSON object of at most 8 KiB. Other members than `access_token` and `id_token` are dropped, and so is the
    /// declaration of what the client can handle: that is the client's own to make. `None` when nothing is left.
    pub fn parse(json: &str) -> Option<Self> {
        if json.len() > LARGEST {
            return None;
        }
        let mut asked: Map<String, Value> = serde_json::from_str(json).ok()?;
        let mut kept = Map::new();
        for token in ["access_token", "id_token"] {
            let Some(Value::Object(mut claims)) = asked.remove(token) else { continue };
            claims.remove(CAPABILITIES);
            if !claims.is_empty() {
                kept.insert(token.to_owned(), Value::Object(claims));
            }
        }
        // Escapes may grow when they are written anew.
        let text = Some(Value::Object(kept).to_string()).filter(|text| text != "{}" && text.len() <= LARGEST)?;
        Some(Self(Secret::new(text)))
    }

    /// The JSON text. It may name policies and users: keep it out of logs.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What a call carries: the request, and with `cae` the word that claims challenges are understood (`cp1`), which makes
    /// Entra issue tokens that live for a day and may be challenged at any moment.
    pub(crate) fn on_the_wire(request: Option<&Self>, cae: bool) -> Option<Secret> {
        if !cae {
            return request.map(|request| request.0.clone());
        }
        let asked = request.and_then(|request| serde_json::from_str(request.expose()).ok());
        let mut asked: Map<String, Value> = asked.unwrap_or_default();
        let claims = asked.entry("access_token").or_insert_with(|| json!({}));
        claims[CAPABILITIES] = json!({"values": ["cp1"]});
        Some(Secret::new(Value::Object(asked).to_string()))
    }
}

const CAPABILITIES: &str = "xms_cc";
/// Bytes.
pub(crate) const LARGEST: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Option<String> {
        ClaimsRequest::parse(json).map(|request| request.expose().to_owned())
    }

    #[test]
    fn two_members_are_kept_and_no_other() {
        let policy = r#"{"access_token":{"capolids":{"essential":true,"values":["a"]}}}"#;
        assert_eq!(parsed(policy).as_deref(), Some(policy));
        let more = r#"{"userinfo":{"x":1},"access_token":{"nbf":{"value":"1"}},"id_token":{"acr":null},"redirect_uri":"https://evil.example"}"#;
        let kept = r#"{"access_token":{"nbf":{"value":"1"}},"id_token":{"acr":null}}"#;
        assert_eq!(parsed(more).as_deref(), Some(kept));
        for nothing in
            ["", "{", "[]", "1", "null", r#""access_token""#, "{}", r#"{"access_token":1}"#, r#"{"access_token":{}}"#]
        {
            assert_eq!(parsed(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_is_long_or_deep_is_refused() {
        let long = |length: usize| format!(r#"{{"access_token":{{"a":"{}"}}}}"#, "a".repeat(length));
        assert!(parsed(&long(8_000)).is_some() && parsed(&long(8_192)).is_none());
        let deep = format!(r#"{{"access_token":{{"a":{}1{}}}}}"#, "[".repeat(2_000), "]".repeat(2_000));
        assert_eq!(parsed(&deep), None);
    }

    #[test]
    fn only_the_client_says_what_it_can_handle() {
        let foreign = r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#;
        assert_eq!(parsed(foreign), None);
        let request = ClaimsRequest::parse(r#"{"access_token":{"nbf":1,"xms_cc":{"values":["cp9"]}}}"#).unwrap();
        let wire = |request: Option<&ClaimsRequest>, cae| {
            ClaimsRequest::on_the_wire(request, cae).map(|text| text.expose().to_owned())
        };
        assert_eq!(wire(None, false), None);
        assert_eq!(wire(Some(&request), false).as_deref(), Some(r#"{"access_token":{"nbf":1}}"#));
        assert_eq!(wire(None, true).as_deref(), Some(foreign));
        let both = r#"{"access_token":{"nbf":1,"xms_cc":{"values":["cp1"]}}}"#;
        assert_eq!(wire(Some(&request), true).as_deref(), Some(both));
        let id_token = ClaimsRequest::parse(r#"{"id_token":{"acr":1}}"#).unwrap();
        let both = r#"{"access_token":{"xms_cc":{"values":["cp1"]}},"id_token":{"acr":1}}"#;
        assert_eq!(wire(Some(&id_token), true).as_deref(), Some(both));
    }
}
