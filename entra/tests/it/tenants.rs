//! Users of several tenants (GU-15): where each is asked for, whom the list keeps out, and what a renewal says of a user.

use entra::{AccessTokenPolicy, ClaimsError, Client, Error, Groups, Redemption, Secret, SignIn};
use serde_json::{Value, json};

use crate::support::*;

const PARTNER: &str = "aaaaaaaa-0c3d-4b8e-9f59-5a3f1a2b3c4d";
const STRANGER: &str = "99999999-0000-4000-8000-000000000009";
const SCOPE: &str = "api://m/access_as_user openid";

fn issuer(stage: &Stage, tenant: &str) -> String {
    format!("{}/{tenant}/v2.0", stage.address())
}

fn id_token(stage: &Stage, tenant: &str) -> Value {
    json!({
        "aud": GATEWAY, "iss": issuer(stage, tenant), "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 3600, "oid": ADELE,
        "nonce": "the nonce", "sub": "pairwise", "tid": tenant, "ver": "2.0",
    })
}

fn tokens(id_token: Option<&Value>) -> Answer {
    let mut body = json!({"token_type": "Bearer", "expires_in": 4182, "access_token": "a", "refresh_token": "r"});
    if let Some(claims) = id_token {
        body["id_token"] = signed(claims).into();
    }
    answer(200, body)
}

async fn sign_in(stage: &Stage, client: &Client, claims: &Value) -> Result<SignIn, Error> {
    stage.will([tokens(Some(claims))]);
    let (code, verifier) = (Secret::new("code".into()), Secret::new("verifier".into()));
    let redemption = Redemption {
        code: &code,
        redirect_uri: "https://mcp.example.com/oauth-callback",
        scope: SCOPE,
        code_verifier: &verifier,
        nonce: "the nonce",
    };
    client.redeem(redemption, now()).await
}

#[tokio::test]
async fn a_user_of_a_listed_tenant_signs_in_and_is_that_tenants() {
    let stage = Stage::start().await;
    let client = stage.client_of(GATEWAY, &[TENANT, PARTNER]);
    for tenant in [TENANT, PARTNER] {
        let signed_in = sign_in(&stage, &client, &id_token(&stage, tenant)).await.unwrap();
        assert_eq!((signed_in.user.tenant_id.as_str(), signed_in.user.object_id.as_str()), (tenant, ADELE));
    }
    assert_eq!(stage.calls("/organizations/discovery/v2.0/keys"), 1);
    assert_eq!(stage.calls("/organizations/oauth2/v2.0/token"), 2);
}

/// At the shared endpoint anybody's organisation signs its users in, by keys that are the same for all.
#[tokio::test]
async fn whoever_is_not_listed_is_kept_out_and_named() {
    let stage = Stage::start().await;
    let several = stage.client_of(GATEWAY, &[TENANT, PARTNER]);
    let without_our_own = stage.client_of(GATEWAY, &[PARTNER]);
    let one = stage.client(GATEWAY);
    for (client, tenant) in
        [(&several, STRANGER), (&without_our_own, TENANT), (&one, PARTNER), (&several, "organizations"), (&several, "")]
    {
        let error = sign_in(&stage, client, &id_token(&stage, tenant)).await.unwrap_err();
        let Error::OtherTenant { tenant_id, object_id } = &error else { panic!("{tenant}: {error}") };
        assert_eq!((tenant_id.as_str(), object_id.as_str()), (tenant, ADELE));
    }
    let good = id_token(&stage, PARTNER);
    for (changes, expected) in [
        // One tenant's issuer, another's name.
        (json!({"tid": TENANT}), ClaimsError::Issuer),
        (json!({"iss": issuer(&stage, TENANT)}), ClaimsError::Issuer),
        (json!({"iss": issuer(&stage, "{tenantid}")}), ClaimsError::Issuer),
        (json!({"iss": issuer(&stage, "organizations")}), ClaimsError::Issuer),
        (json!({"tid": PARTNER.to_uppercase()}), ClaimsError::Issuer),
        (json!({"nonce": "another"}), ClaimsError::Nonce),
        (json!({"aud": SERVER}), ClaimsError::Audience),
        (json!({"exp": NOW_S - 121}), ClaimsError::Expired),
    ] {
        let error = sign_in(&stage, &several, &but(&good, changes.clone())).await.unwrap_err();
        assert!(matches!(&error, Error::Untrusted(found) if *found == expected), "{changes}: {error}");
    }
}

/// A key that is one tenant's own must not sign for another of the list.
#[tokio::test]
async fn a_key_that_is_pinned_to_one_tenant_signs_for_no_other() {
    let stage = Stage::start().await;
    stage.publish(json!({"keys": [jwk("K1", 0, &issuer(&stage, PARTNER))]}));
    let client = stage.client_of(GATEWAY, &[TENANT, PARTNER]);
    sign_in(&stage, &client, &id_token(&stage, PARTNER)).await.unwrap();
    let error = sign_in(&stage, &client, &id_token(&stage, TENANT)).await.unwrap_err();
    assert!(matches!(error, Error::Untrusted(ClaimsError::KeyIssuer)), "{error}");
}

#[tokio::test]
async fn renewals_and_exchanges_go_to_the_users_own_tenant_and_to_no_stranger() {
    let stage = Stage::start().await;
    let client = stage.client_of(GATEWAY, &[TENANT, PARTNER]);
    let refresh_token = Secret::new("r".into());
    for tenant in [TENANT, PARTNER] {
        let at = format!("/{tenant}/oauth2/v2.0/token");
        let renewal = entra::Renewal { tenant_id: tenant, ..renewal(&refresh_token, SCOPE) };
        stage.will([tokens(None), tokens(None)]);
        client.refresh(renewal).await.unwrap();
        assert_eq!(stage.last_call().path, at);
        client.on_behalf_of(tenant, &refresh_token, SCOPE, None).await.unwrap();
        assert_eq!(stage.last_call().path, at);
    }
    for tenant in [STRANGER, "organizations", "common", ""] {
        let renewal = entra::Renewal { tenant_id: tenant, ..renewal(&refresh_token, SCOPE) };
        assert!(matches!(client.refresh(renewal).await, Err(Error::OtherTenant { .. })), "{tenant}");
        assert!(client.on_behalf_of(tenant, &refresh_token, SCOPE, None).await.is_err(), "{tenant}");
    }
    assert_eq!(stage.calls("/token"), 0, "nobody was asked about a stranger");
}

/// GU-7, T44: roles and groups are those of now.
#[tokio::test]
async fn a_renewal_says_what_the_user_is_by_now_and_is_about_that_user() {
    let stage = Stage::start().await;
    let client = stage.client(GATEWAY);
    let refresh_token = Secret::new("r".into());
    let good = but(&id_token(&stage, TENANT), json!({"nonce": null, "roles": ["Edge.User"], "groups": ["g1"]}));
    let refresh = async |claims: Option<&Value>| {
        stage.will([tokens(claims)]);
        client.refresh(renewal(&refresh_token, SCOPE)).await
    };
    let memberships = refresh(Some(&good)).await.unwrap().memberships.unwrap();
    assert_eq!((memberships.roles, memberships.groups), (vec!["Edge.User".into()], Groups::Told(vec!["g1".into()])));
    assert_eq!(refresh(None).await.unwrap().memberships, None);
    // Clocks that have gone apart end no session.
    let late = but(&good, json!({"exp": NOW_S - 3600, "nbf": NOW_S - 7200}));
    assert_eq!(refresh(Some(&late)).await.unwrap().memberships.unwrap().roles, ["Edge.User"]);
    for (changes, expected) in [
        (json!({"oid": "bbbbbbbb-0000-4000-8000-00000000000b"}), ClaimsError::User),
        (json!({"tid": PARTNER, "iss": issuer(&stage, PARTNER)}), ClaimsError::User),
        (json!({"iss": issuer(&stage, PARTNER)}), ClaimsError::Issuer),
        (json!({"aud": SERVER}), ClaimsError::Audience),
        (json!({"roles": "Edge.User"}), ClaimsError::Shape),
        (json!({"emu": true}), ClaimsError::Emulator),
    ] {
        let error = refresh(Some(&but(&good, changes.clone()))).await.unwrap_err();
        assert!(matches!(&error, Error::Untrusted(found) if *found == expected), "{changes}: {error}");
    }
}

/// MO-2.
#[tokio::test]
async fn access_tokens_are_good_of_the_listed_tenants_in_either_version() {
    let stage = Stage::start().await;
    let policy = AccessTokenPolicy {
        audiences: vec![SERVER.to_owned()],
        allowed_callers: vec![GATEWAY.to_owned()],
        required_scope: Some("access_as_user".to_owned()),
    };
    let client = stage.client_of(SERVER, &[TENANT, PARTNER]);
    let verify = async |claims: Value| client.verify_access_token(&signed(&claims), &policy, now()).await;
    let token = |tenant: &str, issuer: String, caller: &str| {
        json!({
            "aud": SERVER, "iss": issuer, "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 3600, "oid": ADELE, "sub": "pairwise",
            "tid": tenant, "scp": "access_as_user", caller: GATEWAY,
        })
    };
    let (v1, v2) = (|tenant: &str| format!("{}/{tenant}/", stage.address()), |tenant: &str| issuer(&stage, tenant));
    for tenant in [TENANT, PARTNER] {
        for claims in [token(tenant, v2(tenant), "azp"), token(tenant, v1(tenant), "appid")] {
            assert_eq!(verify(claims).await.unwrap().user.tenant_id, tenant);
        }
    }
    for (claims, expected) in [
        (token(STRANGER, v2(STRANGER), "azp"), ClaimsError::Tenant),
        (token(STRANGER, v1(STRANGER), "appid"), ClaimsError::Tenant),
        (token(STRANGER, v2(TENANT), "azp"), ClaimsError::Tenant),
        (token(PARTNER, v2(TENANT), "azp"), ClaimsError::Issuer),
        (token(TENANT, v1(PARTNER), "appid"), ClaimsError::Issuer),
        (token(TENANT, v2("{tenantid}"), "azp"), ClaimsError::Issuer),
    ] {
        assert_eq!(verify(claims.clone()).await, Err(expected), "{claims}");
    }
}
