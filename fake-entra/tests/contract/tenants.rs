//! Several tenants: who may sign in where, what is known where, and the errors that name tenants.

use fake_entra::Seed;
use serde_json::json;

use crate::support::*;

const KIM: &str = "kim@fabrikam.example";
const SHARED: &str = "organizations";

async fn several() -> (Bench, String) {
    let seed = Seed::of_several_tenants();
    let fabrikam = seed.tenants[0].id.clone();
    (bench_with(seed).await, fabrikam)
}

/// A page as people read it.
fn read(page: &Answer) -> String {
    page.body.replace("&#39;", "'")
}

impl Bench {
    fn at(&self, tenant: &str, path: &str) -> String {
        format!("{}/{tenant}{path}", self.entra.authority())
    }

    async fn authorize_at(&self, tenant: &str, changes: &[(&str, &str)]) -> Answer {
        let query = encoded(&self.authorize_form(changes));
        self.get(&format!("{}?{query}", self.at(tenant, "/oauth2/v2.0/authorize"))).await
    }

    async fn code_at(&self, tenant: &str, user: &str) -> String {
        let page = self.authorize_at(tenant, &[]).await;
        self.click(&page, ("user", user)).await.redirect()["code"].clone()
    }

    async fn token_at(&self, tenant: &str, form: &Form) -> Answer {
        Answer::of(self.http.post(self.at(tenant, "/oauth2/v2.0/token")).form(form).send().await.unwrap()).await
    }

    async fn redeem_at(&self, tenant: &str, code: &str) -> Answer {
        self.token_at(tenant, &self.redeem_form(code, &[]).await).await
    }

    async fn refresh_form(&self, refresh_token: &str) -> Form {
        let mut form = self.redeem_form("", &[("grant_type", "refresh_token"), ("code_verifier", "")]).await;
        form.push(("refresh_token".into(), refresh_token.into()));
        form
    }

    async fn exchange_form(&self, assertion: &str) -> Form {
        let own = self.imds(self.entra.server_identity()).await;
        let form = [
            ("client_id", self.entra.server_client_id()),
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("requested_token_use", "on_behalf_of"),
            ("assertion", assertion),
            ("scope", GRAPH_SCOPE),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &own),
        ];
        changed(&form, &[])
    }
}

#[tokio::test]
async fn each_tenant_has_its_own_documents_under_id_and_domain() {
    let (bench, fabrikam) = several().await;
    for name in [fabrikam.as_str(), "fabrikam.example"] {
        let document = bench.get(&bench.at(name, "/v2.0/.well-known/openid-configuration")).await.json();
        assert_eq!(document["issuer"], json!(bench.at(&fabrikam, "/v2.0")));
        assert_eq!(document["jwks_uri"], json!(bench.at(&fabrikam, "/discovery/v2.0/keys")));
    }
    let keys = bench.get(&bench.at(&fabrikam, "/discovery/v2.0/keys")).await.json();
    assert_eq!(keys, bench.get(&bench.at(SHARED, "/discovery/v2.0/keys")).await.json(), "the same keys for all");
    assert_eq!(keys["keys"][0]["issuer"], json!(bench.at("{tenantid}", "/v2.0")));
}

#[tokio::test]
async fn at_the_shared_endpoint_everybody_signs_in_as_of_the_own_tenant() {
    let (bench, fabrikam) = several().await;
    let page = bench.authorize_at(SHARED, &[]).await;
    assert!(page.body.contains(KIM) && page.body.contains(ADELE) && page.body.contains("lee@litware.example"));
    for (user, tenant) in [(KIM, fabrikam.as_str()), (ADELE, bench.entra.tenant_id())] {
        let body = bench.redeem_at(SHARED, &bench.code_at(SHARED, user).await).await.json();
        for token in ["access_token", "id_token"] {
            let claims = claims(body[token].as_str().unwrap());
            assert_eq!((&claims["tid"], &claims["iss"]), (&json!(tenant), &json!(bench.at(tenant, "/v2.0"))), "{user}");
        }
        let token = body["access_token"].as_str().unwrap();
        let refreshed =
            bench.token_at(tenant, &bench.refresh_form(body["refresh_token"].as_str().unwrap()).await).await;
        assert_eq!(claims(refreshed.json()["access_token"].as_str().unwrap())["tid"], json!(tenant));
        let graph = bench.token_at(tenant, &bench.exchange_form(token).await).await.json();
        let graph = graph["access_token"].as_str().unwrap();
        assert_eq!(claims(graph)["iss"], json!(bench.at(tenant, "/")));
        assert_eq!(bench.graph("/v1.0/me", graph).await.json()["userPrincipalName"], json!(user));
    }
}

/// AADSTS50020: who is of another tenant and no guest of this one.
#[tokio::test]
async fn a_tenants_own_endpoint_has_no_place_for_anothers_users() {
    let (bench, fabrikam) = several().await;
    let page = bench.authorize_at(&fabrikam, &[]).await;
    assert!(page.body.contains(KIM) && !page.body.contains(ADELE));
    let refused = bench.click(&bench.authorize(&[]).await, ("user", KIM)).await;
    assert_eq!(refused.page_error(), 50020);
    for part in [KIM, "does not exist in tenant 'Contoso'", "added as an external user", &bench.at(&fabrikam, "/")] {
        assert!(read(&refused).contains(part), "{part}: {}", refused.body);
    }
    // Signed in already, and without a page.
    let signed = bench.click(&bench.authorize_at(SHARED, &[]).await, ("user", KIM)).await;
    let silent = bench.authorize_with_cookie(&[("prompt", "none")], &signed.cookie()).await;
    assert_eq!(silent.refusal(), ("interaction_required".into(), 50020));
    // Tokens of hers, at the home tenant's token endpoint.
    let body = bench.redeem_at(SHARED, &bench.code_at(SHARED, KIM).await).await.json();
    let refresh = bench.refresh_form(body["refresh_token"].as_str().unwrap()).await;
    assert_eq!(bench.token(&refresh).await.error(), ("invalid_grant".into(), 50020));
    let exchange = bench.exchange_form(body["access_token"].as_str().unwrap()).await;
    assert_eq!(bench.token(&exchange).await.error(), ("invalid_grant".into(), 50020));
}

/// AADSTS700005.
#[tokio::test]
async fn a_code_is_redeemed_where_it_was_given() {
    let (bench, fabrikam) = several().await;
    for (given, elsewhere) in [(SHARED, fabrikam.as_str()), (fabrikam.as_str(), SHARED)] {
        let code = bench.code_at(given, KIM).await;
        let refused = bench.redeem_at(elsewhere, &code).await;
        assert_eq!(refused.error(), ("invalid_grant".into(), 700005));
        assert!(refused.body.contains("intended to use against other tenant"));
        assert_eq!(bench.redeem_at(given, &code).await.status, 200, "and was not used up");
    }
}

/// AADSTS700016, 500011, 50194, 90002.
#[tokio::test]
async fn what_is_not_installed_in_a_tenant_is_not_known_there() {
    let (gateway, server) = (Seed::default().gateway, Seed::default().server);
    let mut seed = Seed::of_several_tenants();
    seed.tenants[0].applications = vec![gateway.clone()];
    seed.tenants[1].applications = vec![server.clone()];
    let (fabrikam, litware) = (seed.tenants[0].id.clone(), seed.tenants[1].id.clone());
    let bench = bench_with(seed).await;
    // The gateway is unknown to Litware, whether asked there or after the choice of a user.
    for page in [
        bench.authorize_at(&litware, &[]).await,
        bench.click(&bench.authorize_at(SHARED, &[]).await, ("user", "lee@litware.example")).await,
    ] {
        assert_eq!(page.page_error(), 700016);
        assert!(read(&page).contains("was not found in the directory 'Litware'"), "{}", page.body);
    }
    let at_litware = bench.token_at(&litware, &bench.redeem_form("code", &[]).await).await;
    assert_eq!(at_litware.error(), ("unauthorized_client".into(), 700016));
    // The gateway is known to Fabrikam, what it asks for is not.
    let refused = bench.click(&bench.authorize_at(SHARED, &[]).await, ("user", KIM)).await;
    assert_eq!(refused.refusal(), ("invalid_resource".into(), 500011));
    assert!(refused.redirect()["error_description"].contains("tenant named Fabrikam"));
    let own = bench.imds(bench.entra.gateway_identity()).await;
    let scope = format!("api://{server}/.default");
    let form = changed(
        &[
            ("client_id", gateway.as_str()),
            ("grant_type", "client_credentials"),
            ("scope", &scope),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &own),
        ],
        &[],
    );
    assert_eq!(bench.token_at(&fabrikam, &form).await.error(), ("invalid_resource".into(), 500011));
    assert_eq!(
        claims(bench.token(&form).await.json()["access_token"].as_str().unwrap())["tid"],
        bench.entra.tenant_id()
    );
    // A tenant is needed where nobody signs in.
    assert_eq!(bench.token_at(SHARED, &form).await.error(), ("invalid_request".into(), 50059));
    assert_eq!(bench.token_at("wingtip.example", &form).await.error().1, 90002);
    // A single-tenant app has no business at the shared endpoint, nor in other tenants.
    let single = [("client_id", SINGLE), ("scope", "openid")];
    assert_eq!(bench.authorize_at(SHARED, &single).await.page_error(), 50194);
    assert_eq!(bench.authorize_at(&fabrikam, &single).await.page_error(), 700016);
}

/// An administrator's consent counts in the administrator's tenant.
#[tokio::test]
async fn consent_is_each_tenants_own() {
    let mut seed = Seed::of_several_tenants();
    let fabrikam = seed.tenants[0].id.clone();
    seed.grants.retain(|grant| grant.tenant.as_ref() != Some(&fabrikam));
    let bench = bench_with(seed).await;
    let body = bench.redeem_at(SHARED, &bench.code_at(SHARED, KIM).await).await.json();
    let exchange = bench.exchange_form(body["access_token"].as_str().unwrap()).await;
    assert_eq!(bench.token_at(&fabrikam, &exchange).await.error(), ("invalid_grant".into(), 65001));
}

#[tokio::test]
async fn roles_and_groups_can_be_taken_away() {
    let bench = bench().await;
    let gateway = bench.entra.gateway_client_id().to_owned();
    let assign = async |roles: serde_json::Value| {
        let body = json!({"roles": {&gateway: roles}, "groups": []});
        assert_eq!(bench.control("PUT", &format!("/users/{ADELE}/memberships"), body).await.status, 204);
    };
    assign(json!(["Edge.User"])).await;
    let tokens = bench.tokens(ADELE).await;
    assert_eq!(claims(tokens["id_token"].as_str().unwrap())["roles"], json!(["Edge.User"]));
    assign(json!([])).await;
    let renewed = bench.refresh(tokens["refresh_token"].as_str().unwrap(), &[]).await.json();
    assert!(claims(renewed["id_token"].as_str().unwrap()).get("roles").is_none());
    let nobody = json!({"roles": {}, "groups": []});
    assert_eq!(bench.control("PUT", "/users/nobody/memberships", nobody).await.status, 404);
}
