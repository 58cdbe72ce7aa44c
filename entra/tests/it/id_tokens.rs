//! Redeeming a code, and the id_tokens that must not sign anybody in (GU-6).

use entra::{ClaimsError, Error, Redemption, Secret};
use serde_json::{Value, json};

use crate::support::*;

fn good(stage: &Stage) -> Value {
    json!({
        "aud": GATEWAY, "iss": stage.authority().issuer_v2(), "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 3600,
        "name": "Adele Vance", "oid": "aaaaaaaa-0000-4000-8000-00000000000a", "nonce": "the nonce",
        "preferred_username": "adele@contoso.example", "sub": "pairwise", "tid": TENANT, "ver": "2.0",
    })
}

async fn sign_in(stage: &Stage, id_token: Option<String>) -> Result<entra::SignIn, Error> {
    let mut body = json!({"token_type": "Bearer", "scope": "api://m/access_as_user", "expires_in": 4182,
        "access_token": "canary-access", "refresh_token": "canary-refresh"});
    if let Some(id_token) = id_token {
        body["id_token"] = id_token.into();
    }
    stage.will([answer(200, body)]);
    let (code, verifier) = (Secret::new("canary-code".into()), Secret::new("canary-verifier".into()));
    let redemption = Redemption {
        code: &code,
        redirect_uri: "https://mcp.example.com/oauth-callback",
        scope: "api://m/access_as_user openid",
        code_verifier: &verifier,
        nonce: "the nonce",
    };
    stage.client(GATEWAY).redeem(redemption, now()).await
}

#[tokio::test]
async fn a_good_sign_in_and_what_was_sent() {
    let stage = Stage::start().await;
    let sign_in = sign_in(&stage, Some(signed(&good(&stage)))).await.unwrap();
    assert_eq!(sign_in.user.object_id, "aaaaaaaa-0000-4000-8000-00000000000a");
    assert_eq!(sign_in.user.name.as_deref(), Some("Adele Vance"));
    assert_eq!(sign_in.access_token.token.expose(), "canary-access");
    assert_eq!(sign_in.access_token.expires_in.as_secs(), 4182);
    assert_eq!(sign_in.access_token.scope, "api://m/access_as_user");
    assert!(!format!("{sign_in:?}").contains("canary"));

    assert_eq!(stage.calls("/token"), 1);
    assert!(stage.last_call().path.ends_with("/keys"));
    let call = stage.last_call();
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", &*format!("/{TENANT}/oauth2/v2.0/token")));
    let mut sent: Vec<_> = call.form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    sent.sort_unstable();
    assert_eq!(
        sent,
        [
            ("client_assertion", "assertion"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_id", GATEWAY),
            ("code", "canary-code"),
            ("code_verifier", "canary-verifier"),
            ("grant_type", "authorization_code"),
            ("redirect_uri", "https://mcp.example.com/oauth-callback"),
            ("scope", "api://m/access_as_user openid"),
        ]
    );
    for unwanted in ["origin", "cookie", "referer", "authorization"] {
        assert!(!call.headers.contains_key(unwanted), "{unwanted}");
    }
    assert_eq!(call.headers["return-client-request-id"], "true");
}

#[tokio::test]
async fn bad_id_tokens() {
    let stage = Stage::start().await;
    let claims = good(&stage);
    let other = "99999999-0000-4000-8000-000000000009";
    let header = json!({"typ": "JWT", "alg": "RS256", "kid": "K9"});
    let changed = |changes| Some(signed(&but(&claims, changes)));
    use ClaimsError::*;
    for (what, id_token, expected) in [
        ("none", None, Malformed),
        ("unsigned", Some(unsigned(&claims)), Algorithm),
        ("hmac with the public key", Some(hmac_with_the_public_key(&claims)), Algorithm),
        ("unknown kid", Some(sign(&header, &claims, 0)), UnknownKey),
        ("another key", Some(sign(&json!({"alg": "RS256", "kid": "K1"}), &claims, 1)), Signature),
        ("another audience", changed(json!({"aud": SERVER})), Audience),
        ("audience array", changed(json!({"aud": [GATEWAY]})), Shape),
        ("another issuer", changed(json!({"iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0")})), Issuer),
        ("the v1 issuer", changed(json!({"iss": stage.authority().issuer_v1()})), Issuer),
        ("a trailing slash", changed(json!({"iss": stage.authority().issuer_v2() + "/"})), Issuer),
        ("another tenant", changed(json!({"tid": other})), Issuer),
        ("no tenant", changed(json!({"tid": null})), Shape),
        ("another nonce", changed(json!({"nonce": "the nonce "})), Nonce),
        ("no nonce", changed(json!({"nonce": null})), Nonce),
        ("expired", changed(json!({"exp": NOW_S - 121})), Expired),
        ("no expiry", changed(json!({"exp": null})), Shape),
        ("not valid yet", changed(json!({"nbf": NOW_S + 121})), NotYetValid),
        ("no object id", changed(json!({"oid": null})), Shape),
        ("an emulator's", changed(json!({"emu": true})), Emulator),
    ] {
        let error = sign_in(&stage, id_token).await.expect_err(what);
        assert!(matches!(&error, Error::Untrusted(found) if *found == expected), "{what}: {error:?}");
        assert!(!format!("{error:?} {error}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn without_keys_the_user_is_told_to_try_later() {
    let stage = Stage::start().await;
    stage.publish(Value::Null);
    let error = sign_in(&stage, Some(signed(&good(&stage)))).await.unwrap_err();
    assert!(matches!(error, Error::TryLater { .. }), "{error}");
}
