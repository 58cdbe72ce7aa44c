//! What says who signed in, made up by a machine. Compiled for tests and for `gateway/fuzz` alone (`docs/fuzzing.md`).

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::Value;

use crate::authority::Authority;
use crate::claims::{AccessTokenPolicy, Claims, Expected, Of, Signed, check_access_token, check_id_token};

/// The name of its corpus, and what is done with each input.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 1] = [("id_token", id_token)];

/// The only tokens that the key has signed; its private half is gone.
const SIGNED: &str = include_str!("fuzzing/signed.txt");

static KEY: LazyLock<DecodingKey> = LazyLock::new(|| {
    let modulus = URL_SAFE_NO_PAD.decode(include_str!("fuzzing/modulus.txt").trim_end()).expect("it is base64url");
    DecodingKey::from_rsa_raw_components(&modulus, &[1, 0, 1])
});

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new(BASE, TENANT).expect("it is one"));

/// With the first byte even, the rest is a token that comes from the net. Otherwise it is claims that a good key has signed.
pub fn id_token(input: &[u8]) {
    match input.split_first() {
        Some((way, rest)) if way % 2 == 0 => token(rest),
        Some((_, rest)) => claims(rest),
        None => {}
    }
}

/// Nothing is believed that was not signed, byte for byte.
fn token(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(signed) = Signed::parse(text) else { return };
    let parts: Vec<_> = text.split('.').collect();
    assert!(parts.len() == 3 && text.len() <= 16 * 1024);
    let header = URL_SAFE_NO_PAD.decode(parts[0]).expect("the header was read");
    let header = String::from_utf8(header).expect("the header was read");
    // Where the second reader minds what we skip, it has nothing to say.
    if let Ok(header) = serde_json::from_str::<Value>(&header) {
        assert_eq!((&header["alg"], &header["kid"]), (&"RS256".into(), &signed.kid.as_str().into()));
        assert!(header.get("crit").is_none_or(Value::is_null));
    }
    if signed.verify(&KEY).is_ok() {
        assert!(SIGNED.lines().any(|known| known == text), "{text} passes for signed");
    }
}

fn claims(text: &[u8]) {
    let read = || serde_json::from_slice::<Claims>(text).ok();
    // Where the second reader minds what we skip, it has nothing to say.
    let Ok(said) = serde_json::from_slice::<Value>(text) else { return };
    let expected = |of| Expected { authority: &AUTHORITY, client_id: CLIENT, of, accept_emulator: false };
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let sign_in = expected(Of::SignIn { nonce: NONCE, now });
    if let Some(Ok((user, _))) = read().map(|claims| check_id_token(claims, &sign_in)) {
        is_issued_for(&said, CLIENT, &format!("{BASE}/{}/v2.0", user.tenant_id));
        is_of_now(&said);
        assert_eq!((&said["nonce"], &said["oid"]), (&NONCE.into(), &user.object_id.into()));
    }
    let renewal = expected(Of::Renewal { tenant_id: TENANT, object_id: USER });
    if let Some(Ok((user, _))) = read().map(|claims| check_id_token(claims, &renewal)) {
        is_issued_for(&said, CLIENT, &format!("{BASE}/{TENANT}/v2.0"));
        assert!(user.tenant_id == TENANT && user.object_id.eq_ignore_ascii_case(USER));
    }
    access(&said, read(), now);
}

/// The same claims, brought to a resource server.
fn access(said: &Value, claims: Option<Claims>, now: SystemTime) {
    let policy = AccessTokenPolicy {
        audiences: vec![CLIENT.to_owned()],
        allowed_callers: vec![CALLER.to_owned()],
        required_scope: Some("access_as_user".to_owned()),
    };
    let Some(Ok(verified)) = claims.map(|claims| check_access_token(claims, &AUTHORITY, &policy, false, now)) else {
        return;
    };
    let (v1, v2) = (format!("https://sts.windows.net/{TENANT}/"), format!("{BASE}/{TENANT}/v2.0"));
    let (issuer, caller) = if said["iss"] == v1 { (v1, &said["appid"]) } else { (v2, &said["azp"]) };
    is_issued_for(said, CLIENT, &issuer);
    is_of_now(said);
    assert!(caller.as_str().is_some_and(|caller| caller.eq_ignore_ascii_case(CALLER)));
    assert!(said["scp"].as_str().expect("it was asked for").split(' ').any(|scope| scope == "access_as_user"));
    assert!(said.get("nonce").is_none_or(Value::is_null), "an id_token is no access token");
    assert!(said["sub"] != said["oid"] && said["idtyp"] != "app", "an application is no user");
    assert!(verified.expires_at + Duration::from_secs(120) > now);
}

fn is_issued_for(said: &Value, audience: &str, issuer: &str) {
    assert_eq!((&said["aud"], &said["iss"]), (&audience.into(), &issuer.into()));
    assert!(said.get("emu").is_none_or(Value::is_null), "from an emulator");
}

fn is_of_now(said: &Value) {
    let skew = 120;
    assert!(said["exp"].as_u64().expect("it was read") + skew > NOW);
    assert!(said["nbf"].as_u64().is_none_or(|nbf| nbf <= NOW + skew));
}

const BASE: &str = "https://login.microsoftonline.com";
const TENANT: &str = "8f0c1c5e-0c3d-4b8e-9f59-5a3f1a2b3c4d";
const CLIENT: &str = "11111111-1111-1111-1111-111111111111";
const CALLER: &str = "22222222-2222-2222-2222-222222222222";
const USER: &str = "0a1b2c3d-0000-4000-8000-000000000001";
const NONCE: &str = "n0nce";
const NOW: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// What was once found is in there, and must stay mended.
    #[test]
    fn the_corpus_holds() {
        for (name, target) in TARGETS {
            let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/fuzz/corpus/").to_owned() + name;
            let files: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
            assert!(!files.is_empty());
            files.into_iter().for_each(|file| target(&std::fs::read(file.unwrap().path()).unwrap()));
        }
    }

    #[test]
    fn the_signed_tokens_verify() {
        for text in SIGNED.lines() {
            assert!(Signed::parse(text).unwrap().verify(&KEY).is_ok());
        }
    }
}
