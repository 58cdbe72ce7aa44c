//! Who may use what: roles and groups in tokens, apps that want an assignment, policies of conditional access.

use fake_entra::Seed;
use fake_entra::directory::{App, ConditionalAccess, Effect, RequiredPermission};
use serde_json::{Value, json};

use crate::support::*;

const GROUP: &str = "8a3fa1c4-972d-4e6b-8615-be427f9d5301";

fn seed(change: impl FnOnce(&mut Seed)) -> Seed {
    let mut seed = Seed::default();
    change(&mut seed);
    seed
}

fn app<'a>(seed: &'a mut Seed, client_id: &str) -> &'a mut App {
    seed.apps.iter_mut().find(|app| app.client_id == client_id).unwrap()
}

fn access(tokens: &Value) -> Value {
    claims(tokens["access_token"].as_str().unwrap())
}

#[tokio::test]
async fn roles_are_those_of_the_app_the_token_is_for() {
    let seed = seed(|seed| {
        let (gateway, server) = (seed.gateway.clone(), seed.server.clone());
        seed.users[0].roles.insert(server, vec!["Tools.Read".into(), "Tools.Write".into()]);
        seed.users[0].roles.insert(gateway, vec!["Edge.User".into()]);
    });
    let bench = bench_with(seed).await;
    let tokens = bench.tokens(ADELE).await;
    assert_eq!(access(&tokens)["roles"], json!(["Tools.Read", "Tools.Write"]));
    assert_eq!(claims(tokens["id_token"].as_str().unwrap())["roles"], json!(["Edge.User"]));
    assert_eq!(access(&bench.tokens(ALEX).await)["roles"], Value::Null);
}

#[tokio::test]
async fn groups_are_told_to_apps_that_want_them() {
    let bench = bench_with(seed(|seed| {
        let server = seed.server.clone();
        app(seed, &server).group_claims = true;
        seed.users[0].groups = vec![GROUP.into()];
    }))
    .await;
    let tokens = bench.tokens(ADELE).await;
    assert_eq!(access(&tokens)["groups"], json!([GROUP]));
    assert_eq!(claims(tokens["id_token"].as_str().unwrap())["groups"], Value::Null, "the gateway did not ask");
    assert_eq!(access(&bench.tokens(ALEX).await)["groups"], Value::Null);
}

#[tokio::test]
async fn more_than_200_groups_are_replaced_by_the_place_to_ask() {
    for (count, overage) in [(200, false), (201, true)] {
        let bench = bench_with(seed(|seed| {
            let server = seed.server.clone();
            app(seed, &server).group_claims = true;
            seed.users[0].groups = (0..count).map(|number| format!("{GROUP}-{number}")).collect();
        }))
        .await;
        let token = access(&bench.tokens(ADELE).await);
        assert_eq!(token["groups"].is_null(), overage);
        assert_eq!(token["_claim_names"], if overage { json!({"groups": "src1"}) } else { Value::Null });
        if overage {
            let endpoint = token["_claim_sources"]["src1"]["endpoint"].as_str().unwrap();
            assert!(endpoint.ends_with(&format!("/users/{}/getMemberObjects", token["oid"].as_str().unwrap())));
        }
    }
}

#[tokio::test]
async fn an_app_that_wants_an_assignment_gives_others_a_page() {
    let bench = bench_with(seed(|seed| {
        let gateway = seed.gateway.clone();
        app(seed, &gateway).assignment_required = true;
        seed.users[0].roles.insert(gateway, vec!["Edge.User".into()]);
    }))
    .await;
    bench.tokens(ADELE).await;
    let users = bench.authorize(&[]).await;
    let refusal = bench.click(&users, ("user", ALEX)).await;
    assert_eq!(refusal.page_error(), 50105);
    assert!(refusal.body.contains("unless they are specifically granted"), "{}", refusal.body);
}

fn guarded(effect: Effect, resource: &str) -> Seed {
    seed(|seed| {
        seed.policies.conditional_access = vec![ConditionalAccess {
            id: "c1b2".into(),
            users: vec![ADELE.into()],
            resources: vec![resource.into()],
            effect,
        }];
    })
}

/// Microsoft Graph's client id.
const GRAPH: &str = "00000003-0000-0000-c000-000000000000";

#[tokio::test]
async fn a_policy_on_graph_stops_the_exchange_until_a_sign_in_answers_its_challenge() {
    let bench = bench_with(guarded(Effect::StepUp, GRAPH)).await;
    let first = bench.tokens(ADELE).await["access_token"].as_str().unwrap().to_owned();
    let refusal = bench.on_behalf_of(&first, &[]).await;
    assert_eq!(refusal.error(), ("invalid_grant".into(), 50076));
    let body = refusal.json();
    assert_eq!(body["suberror"], "basic_action");
    let challenge = body["claims"].as_str().unwrap();
    let named: Value = serde_json::from_str(challenge).unwrap();
    assert_eq!(named, json!({"access_token": {"capolids": {"essential": true, "values": ["c1b2"]}}}));
    // Others are let through, and so is whoever answers.
    let other = bench.tokens(ALEX).await["access_token"].as_str().unwrap().to_owned();
    assert_eq!(bench.on_behalf_of(&other, &[]).await.status, 200);
    let users = bench.authorize(&[("claims", challenge)]).await;
    let factor = bench.click(&users, ("user", ADELE)).await;
    let code = bench.click(&factor, ("mfa", "approve")).await.redirect()["code"].clone();
    let second = bench.redeem(&code, &[]).await.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(bench.on_behalf_of(&second, &[]).await.status, 200);
    assert_eq!(bench.on_behalf_of(&first, &[]).await.error().1, 50076, "the old sign-in answered nothing");
}

#[tokio::test]
async fn a_policy_on_the_resource_itself_is_asked_for_at_once() {
    let bench = bench_with(guarded(Effect::StepUp, &Seed::default().server)).await;
    let users = bench.authorize(&[]).await;
    let factor = bench.click(&users, ("user", ADELE)).await;
    let code = bench.click(&factor, ("mfa", "approve")).await.redirect()["code"].clone();
    assert_eq!(bench.redeem(&code, &[]).await.status, 200);
}

#[tokio::test]
async fn a_blocking_policy_is_final() {
    let bench = bench_with(guarded(Effect::Block, GRAPH)).await;
    let token = bench.tokens(ADELE).await["access_token"].as_str().unwrap().to_owned();
    let refusal = bench.on_behalf_of(&token, &[]).await;
    assert_eq!(refusal.error(), ("invalid_grant".into(), 53003));
    assert_eq!(refusal.json()["suberror"], "message_only");
    let bench = bench_with(guarded(Effect::Block, &Seed::default().server)).await;
    let users = bench.authorize(&[]).await;
    assert_eq!(bench.click(&users, ("user", ADELE)).await.refusal(), ("access_denied".into(), 53003));
}

#[tokio::test]
async fn sign_in_frequency_ends_a_refresh_token_and_the_single_sign_on() {
    let bench = bench().await;
    let users = bench.authorize(&[]).await;
    let back = bench.click(&users, ("user", ADELE)).await;
    let cookie = back.cookie();
    let tokens = bench.redeem(&back.redirect()["code"], &[]).await.json();
    bench.order(&format!("/users/{ADELE}/require-sign-in"), Value::Null).await;
    let refusal = bench.refresh(tokens["refresh_token"].as_str().unwrap(), &[]).await;
    assert_eq!(refusal.error(), ("invalid_grant".into(), 70043));
    assert_eq!(refusal.json()["suberror"], "token_expired");
    assert_eq!(bench.authorize_with_cookie(&[], &cookie).await.status, 200, "the page of users again");
    assert_eq!(
        bench.authorize_with_cookie(&[("prompt", "none")], &cookie).await.refusal(),
        ("login_required".into(), 50058)
    );
}

/// Entra asks for what the server needs on Graph only where the server's registration knows the gateway.
#[tokio::test]
async fn one_page_asks_for_client_and_server_if_the_server_knows_the_client() {
    for known in [true, false] {
        let bench = bench_with(seed(|seed| {
            let (gateway, server) = (seed.gateway.clone(), seed.server.clone());
            seed.grants.clear();
            let app = app(seed, &server);
            app.preauthorized.clear();
            app.required_permissions =
                vec![RequiredPermission { resource: GRAPH.into(), scopes: ["User.Read".into()].into() }];
            app.known_clients = if known { vec![gateway] } else { vec![] };
        }))
        .await;
        let scope = format!("api://{}/.default", bench.entra.server_client_id());
        let asked = format!("{scope} openid offline_access");
        let users = bench.authorize(&[("scope", &asked)]).await;
        let consent = bench.click(&users, ("user", ADELE)).await;
        assert!(consent.body.contains("<li>access_as_user</li>"), "{}", consent.body);
        assert_eq!(consent.body.contains("<li>User.Read</li>"), known);
        let code = bench.click(&consent, ("consent", "accept")).await.redirect()["code"].clone();
        let tokens = bench.redeem(&code, &[("scope", &asked)]).await.json();
        let exchange = bench.on_behalf_of(tokens["access_token"].as_str().unwrap(), &[]).await;
        if known {
            assert_eq!(exchange.status, 200, "{}", exchange.body);
        } else {
            assert_eq!(exchange.error(), ("invalid_grant".into(), 65001));
        }
    }
}
