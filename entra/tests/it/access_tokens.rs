//! Access tokens at a resource server: one good one of each version, and everything that must not pass (entra.md 7).

use entra::{AccessTokenPolicy, ClaimsError};
use serde_json::{Value, json};

use crate::support::*;

fn policy() -> AccessTokenPolicy {
    AccessTokenPolicy {
        audiences: vec![SERVER.into(), format!("api://{SERVER}")],
        allowed_callers: vec![GATEWAY.to_uppercase()],
        required_scope: Some("access_as_user".into()),
    }
}

fn v2(stage: &Stage) -> Value {
    json!({
        "aud": SERVER, "iss": stage.authority().issuer_v2(), "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 4000,
        "azp": GATEWAY, "azpacr": "2", "name": "Adele Vance", "oid": "aaaaaaaa-0000-4000-8000-00000000000a",
        "preferred_username": "adele@contoso.example", "scp": "openid access_as_user", "sub": "pairwise", "tid": TENANT,
        "ver": "2.0",
    })
}

fn v1(stage: &Stage) -> Value {
    let v1 = json!({"iss": stage.authority().issuer_v1(), "aud": format!("api://{SERVER}"), "azp": null,
        "appid": GATEWAY, "preferred_username": null, "upn": "adele@contoso.example", "ver": "1.0"});
    but(&v2(stage), v1)
}

#[tokio::test]
async fn both_versions_pass() {
    let stage = Stage::start().await;
    let client = stage.client(SERVER);
    for claims in [v2(&stage), v1(&stage)] {
        let user = client.verify_access_token(&signed(&claims), &policy(), now()).await.unwrap();
        assert_eq!(user.user.tenant_id, TENANT);
        assert_eq!(user.user.object_id, "aaaaaaaa-0000-4000-8000-00000000000a");
        assert_eq!(user.user.username.as_deref(), Some("adele@contoso.example"));
        assert_eq!(user.caller, GATEWAY);
        assert_eq!(user.expires_at, now() + std::time::Duration::from_secs(4000));
    }
    assert_eq!(stage.calls("/keys"), 1);
}

/// GU-17: real tokens grow with the groups of their user.
#[tokio::test]
async fn a_token_of_six_kilobytes_passes_and_one_beyond_sixteen_does_not() {
    let stage = Stage::start().await;
    let client = stage.client(SERVER);
    for (groups, good) in [(110, true), (400, false)] {
        let groups: Vec<_> = (0..groups).map(|number| format!("99999999-0000-4000-8000-{number:012}")).collect();
        let token = signed(&but(&v2(&stage), json!({ "groups": groups })));
        assert!(if good { (6000..8000).contains(&token.len()) } else { token.len() > 16 * 1024 }, "{}", token.len());
        let outcome = client.verify_access_token(&token, &policy(), now()).await;
        assert_eq!(outcome.err(), (!good).then_some(ClaimsError::Malformed));
    }
}

#[tokio::test]
async fn bad_claims() {
    let stage = Stage::start().await;
    let client = stage.client(SERVER);
    let other = "99999999-0000-4000-8000-000000000009";
    let v2_issuer = stage.authority().issuer_v2();
    use ClaimsError::*;
    for (changes, expected) in [
        (json!({"aud": GATEWAY}), Audience),
        (json!({"aud": format!("api://{SERVER}/")}), Audience),
        (json!({"aud": "00000003-0000-0000-c000-000000000000"}), Audience),
        (json!({"aud": [SERVER]}), Shape),
        (json!({"aud": [SERVER, GATEWAY]}), Shape),
        (json!({"aud": null}), Shape),
        (json!({"iss": format!("{v2_issuer}/")}), Issuer),
        (json!({"iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0")}), Issuer),
        (json!({"iss": v2_issuer.replace(TENANT, other)}), Issuer),
        (json!({"iss": null}), Shape),
        (json!({"tid": other}), Tenant),
        (json!({"tid": other, "iss": v2_issuer.replace(TENANT, other)}), Tenant),
        (json!({"tid": TENANT.to_uppercase()}), Tenant),
        (json!({"tid": null}), Shape),
        (json!({"exp": NOW_S - 120}), Expired),
        (json!({"exp": 0}), Expired),
        (json!({"exp": (NOW_S + 4000).to_string()}), Shape),
        (json!({"exp": u64::MAX}), Shape),
        (json!({"exp": null}), Shape),
        (json!({"nbf": NOW_S + 121}), NotYetValid),
        (json!({"idtyp": "app"}), NotAUserToken),
        (json!({"idtyp": "app", "scp": null, "roles": ["access_as_user"]}), NotAUserToken),
        (json!({"sub": "aaaaaaaa-0000-4000-8000-00000000000a"}), NotAUserToken),
        (json!({"scp": null}), NotAUserToken),
        (json!({"scp": null, "roles": ["access_as_user"]}), NotAUserToken),
        (json!({"nonce": "n"}), NotAUserToken),
        (json!({"scp": "access_as_users"}), Scope),
        (json!({"scp": ""}), Scope),
        (json!({"scp": ["access_as_user"]}), Shape),
        (json!({"azp": other}), Caller),
        (json!({"azp": SERVER}), Caller),
        (json!({"azp": null}), NotAUserToken),
        // The other version's claim does not count.
        (json!({"azp": null, "appid": GATEWAY}), NotAUserToken),
        (json!({"oid": null}), Shape),
        (json!({"emu": true}), Emulator),
        (json!({"emu": false}), Emulator),
    ] {
        let token = signed(&but(&v2(&stage), changes.clone()));
        assert_eq!(client.verify_access_token(&token, &policy(), now()).await, Err(expected), "{changes}");
    }
    // An id_token where gateway and server are one registration: same audience, same keys, same issuer.
    let id_token = signed(&but(&v2(&stage), json!({"azp": null, "scp": null, "nonce": "n"})));
    let lax = AccessTokenPolicy { required_scope: None, ..policy() };
    assert_eq!(client.verify_access_token(&id_token, &lax, now()).await, Err(NotAUserToken));
    let nobody = AccessTokenPolicy { allowed_callers: vec![], ..policy() };
    assert_eq!(client.verify_access_token(&signed(&v2(&stage)), &nobody, now()).await, Err(Caller));
}

#[tokio::test]
async fn bad_signatures_and_forms() {
    let stage = Stage::start().await;
    let client = stage.client(SERVER);
    let claims = v2(&stage);
    let header = |changes: Value| but(&json!({"typ": "JWT", "alg": "RS256", "kid": "K1"}), changes);
    let good = signed(&claims);
    let parts: Vec<_> = good.split('.').collect();
    let other_payload = signed(&but(&claims, json!({"oid": "b"})));
    let long = signed(&but(&claims, json!({"groups": "g".repeat(16 * 1024)})));
    use ClaimsError::*;
    for (what, token, expected) in [
        ("empty", String::new(), Malformed),
        ("one part", "a".into(), Malformed),
        ("four parts", format!("{good}.x"), Malformed),
        ("five parts", "a.b.c.d.e".into(), Malformed),
        ("padded", format!("{}=.{}.{}", parts[0], parts[1], parts[2]), Malformed),
        ("too long", long, Malformed),
        ("unsigned", unsigned(&claims), Algorithm),
        ("hmac with the public key", hmac_with_the_public_key(&claims), Algorithm),
        ("RS256 under another name", sign(&header(json!({"alg": "rs256"})), &claims, 0), Algorithm),
        ("PS256", sign(&header(json!({"alg": "PS256"})), &claims, 0), Algorithm),
        ("no alg", sign(&header(json!({"alg": null})), &claims, 0), Malformed),
        ("no kid", sign(&header(json!({"kid": null})), &claims, 0), Malformed),
        ("crit", sign(&header(json!({"crit": ["b64"], "b64": false})), &claims, 0), Malformed),
        ("another typ", sign(&header(json!({"typ": "dpop+jwt"})), &claims, 0), Malformed),
        ("unknown kid", sign(&header(json!({"kid": "K9"})), &claims, 0), UnknownKey),
        ("own key in jwk", sign(&header(json!({"kid": "K9", "jwk": jwk("K9", 2, "x")})), &claims, 2), UnknownKey),
        ("another key", sign(&header(json!({})), &claims, 1), Signature),
        ("no signature", format!("{}.{}.", parts[0], parts[1]), Signature),
        (
            "another's signature",
            format!("{}.{}.{}", parts[0], parts[1], other_payload.split('.').next_back().unwrap()),
            Signature,
        ),
        (
            "another's payload",
            format!("{}.{}.{}", parts[0], other_payload.split('.').nth(1).unwrap(), parts[2]),
            Signature,
        ),
    ] {
        let outcome = client.verify_access_token(&token, &policy(), now()).await;
        assert_eq!(outcome, Err(expected), "{what}");
    }
    assert!(client.verify_access_token(&good, &policy(), now()).await.is_ok());
}

#[tokio::test]
async fn clocks_may_differ_by_two_minutes() {
    let stage = Stage::start().await;
    let client = stage.client(SERVER);
    for changes in [json!({"exp": NOW_S - 119}), json!({"nbf": NOW_S + 120}), json!({"nbf": null})] {
        let token = signed(&but(&v2(&stage), changes));
        assert!(client.verify_access_token(&token, &policy(), now()).await.is_ok());
    }
}

#[tokio::test]
async fn the_emulator_only_on_request() {
    let stage = Stage::start().await;
    let token = signed(&but(&v2(&stage), json!({"emu": true})));
    let strict = stage.client(SERVER);
    assert_eq!(strict.verify_access_token(&token, &policy(), now()).await, Err(ClaimsError::Emulator));
    let development = stage.client_with(SERVER, Fixed::new("assertion"), true);
    assert!(development.verify_access_token(&token, &policy(), now()).await.is_ok());
}
