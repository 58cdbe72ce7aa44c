use fake_entra::Seed;
use fake_entra::directory::{Platform, RedirectUri};
use serde_json::json;

use crate::support::{ADELE, ALEX, Answer, BLAKE, CALLBACK, SINGLE, bench, bench_with, encoded};

#[tokio::test]
async fn what_is_unproven_gets_a_page_and_never_a_redirect() {
    let bench = bench().await;
    for (changes, number) in [
        ([("client_id", "00000000-0000-0000-0000-00000000dead")], 700016),
        ([("client_id", "")], 900144),
        ([("redirect_uri", "")], 900971),
        ([("redirect_uri", "https://evil.example/oauth-callback")], 50011),
        ([("redirect_uri", "http://localhost:8080/OAUTH-callback")], 50011),
        ([("redirect_uri", "http://127.0.0.1:8080/oauth-callback")], 50011),
    ] {
        let page = bench.authorize(&changes).await;
        assert_eq!(page.page_error(), number, "{changes:?}");
        for label in ["Request Id", "Correlation Id", "Timestamp", "Message"] {
            assert!(page.body.contains(label), "{label}");
        }
    }
    let query = encoded(&bench.authorize_form(&[]));
    let foreign = format!("{}/fabrikam.example/oauth2/v2.0/authorize?{query}", bench.entra.authority());
    assert_eq!(bench.get(&foreign).await.page_error(), 90002);
    let common = format!("{}/common/oauth2/v2.0/authorize?{query}", bench.entra.authority());
    assert_eq!(bench.get(&common).await.page_error(), 50194);
}

#[tokio::test]
async fn the_page_does_not_run_what_the_request_says() {
    let bench = bench().await;
    let page = bench.authorize(&[("redirect_uri", "https://x.example/<script>alert(1)</script>")]).await;
    assert_eq!(page.page_error(), 50011);
    assert!(!page.body.contains("<script"));
}

#[tokio::test]
async fn mistakes_of_a_proven_client_are_redirected() {
    let bench = bench().await;
    let m = bench.entra.server_client_id().to_owned();
    let (unknown, mixed) = (format!("api://{m}/nope"), format!("api://{m}/.default api://{m}/access_as_user"));
    for (changes, error, number) in [
        (vec![("response_type", "")], "invalid_request", 900144),
        (vec![("response_type", "id_token")], "unsupported_response_type", 700054),
        (vec![("response_type", "code id_token")], "unsupported_response_type", 700054),
        (vec![("scope", "")], "invalid_request", 900144),
        (vec![("scope", unknown.as_str())], "invalid_client", 650053),
        (vec![("scope", "access_as_user")], "invalid_client", 650053),
        (vec![("scope", mixed.as_str())], "invalid_scope", 70011),
        (vec![("scope", "api://nobody/x")], "invalid_resource", 500011),
        (vec![("code_challenge", "short")], "invalid_request", 501491),
        (vec![("code_challenge_method", "S512")], "invalid_request", 501491),
        (vec![("prompt", "perhaps")], "invalid_request", 90023),
        (vec![("claims", "[]")], "invalid_request", 90023),
    ] {
        let answer = bench.authorize(&changes).await;
        assert_eq!(answer.refusal(), (error.to_owned(), number), "{changes:?}");
        assert_eq!(answer.redirect()["state"], "st-4_7.te~");
    }
    let twice = format!("{}&scope=openid", encoded(&bench.authorize_form(&[])));
    let answer = bench.get(&format!("{}?{twice}", bench.url("/oauth2/v2.0/authorize"))).await;
    assert_eq!(answer.refusal(), ("invalid_request".into(), 9000411));
}

#[tokio::test]
async fn error_redirects_have_the_whole_trailer() {
    let bench = bench().await;
    let parameters = bench.authorize(&[("prompt", "none")]).await.redirect();
    let names: Vec<&str> = parameters.keys().map(String::as_str).collect();
    assert_eq!(names, ["error", "error_description", "error_uri", "state"]);
    let description = &parameters["error_description"];
    assert!(description.starts_with("AADSTS50058: A silent sign-in request was sent but no user is signed in."));
    for part in [" Trace ID: ", " Correlation ID: ", " Timestamp: "] {
        assert!(description.contains(part), "{description}");
    }
}

#[tokio::test]
async fn resource_is_enforced_by_default_and_by_switch() {
    let bench = bench().await;
    let own = format!("api://{}", bench.entra.server_client_id());
    let slash = format!("{own}/");
    assert_eq!(bench.authorize(&[("resource", &own)]).await.status, 200);
    for wrong in [slash.as_str(), "http://localhost:8080/mcp", "https://graph.microsoft.com"] {
        let answer = bench.authorize(&[("resource", wrong)]).await;
        assert_eq!(answer.refusal(), ("invalid_target".into(), 9010010), "{wrong}");
    }
    let bare = bench.authorize(&[("resource", &own), ("scope", "openid profile")]).await;
    assert_eq!(bare.refusal().1, 9010010);

    let mode = async |mode: &str| {
        let answer = bench.control("PUT", "/policies", json!({"resource": mode})).await;
        assert_eq!(answer.status, 204, "{}", answer.body);
    };
    mode("enforce-page").await;
    assert_eq!(bench.authorize(&[("resource", "http://localhost:8080/mcp")]).await.page_error(), 9010010);
    mode("legacy").await;
    assert_eq!(bench.authorize(&[("resource", &own)]).await.refusal(), ("invalid_request".into(), 901002));
    mode("ignore").await;
    assert_eq!(bench.authorize(&[("resource", "http://localhost:8080/mcp")]).await.status, 200);
}

#[tokio::test]
async fn a_click_on_a_user_leads_back_with_a_code() {
    let bench = bench().await;
    let page = bench.authorize(&[]).await;
    assert_eq!(page.status, 200);
    for user in bench.entra.users() {
        let button = format!("<button name=\"user\" value=\"{}\">", user.upn);
        assert!(page.body.contains(&button), "{button}");
    }
    assert!(!page.body.contains("<script"));
    let answer = bench.click(&page, ("user", ADELE)).await;
    let parameters = answer.redirect();
    let names: Vec<&str> = parameters.keys().map(String::as_str).collect();
    assert_eq!(names, ["code", "session_state", "state"], "no iss");
    assert_eq!(parameters["state"], "st-4_7.te~");
    assert!(parameters["code"].len() > 1000, "as long as Entra's");
    assert!(answer.header("set-cookie").contains("HttpOnly"));
}

#[tokio::test]
async fn the_request_may_be_posted() {
    let bench = bench().await;
    let request = bench.http.post(bench.url("/oauth2/v2.0/authorize")).form(&bench.authorize_form(&[]));
    let page = Answer::of(request.send().await.unwrap()).await;
    assert!(bench.click(&page, ("user", ADELE)).await.redirect().contains_key("code"));
}

#[tokio::test]
async fn a_page_is_good_for_one_click() {
    let bench = bench().await;
    let page = bench.authorize(&[]).await;
    bench.click(&page, ("user", ADELE)).await.redirect();
    assert_eq!(bench.click(&page, ("user", ADELE)).await.page_error(), 50089);
    let late = bench.authorize(&[]).await;
    bench.entra.set_clock_offset(601);
    assert_eq!(bench.click(&late, ("user", ADELE)).await.page_error(), 50089);
}

#[tokio::test]
async fn cancel_is_access_denied() {
    let bench = bench().await;
    let page = bench.authorize(&[]).await;
    let answer = bench.click(&page, ("cancel", "1")).await;
    assert_eq!(answer.refusal(), ("access_denied".into(), 65004));
    assert_eq!(answer.redirect()["error_subcode"], "cancel");
}

#[tokio::test]
async fn disabled_and_unknown_users_stay_on_the_page() {
    let bench = bench().await;
    let page = bench.authorize(&[]).await;
    let refused = bench.click(&page, ("user", BLAKE)).await;
    assert_eq!(refused.page_error(), 50057);
    let again = bench.click(&refused, ("user", "nobody@contoso.example")).await;
    assert_eq!(again.page_error(), 50034);
    assert!(bench.click(&again, ("user", ADELE)).await.redirect().contains_key("code"));
}

#[tokio::test]
async fn state_is_returned_as_it_was_less_markup() {
    let bench = bench().await;
    for (sent, returned) in [("a b+c&d=e%2F~", "a b+c&d=e%2F~"), ("x<b>y</b>z", "xyz")] {
        let page = bench.authorize(&[("state", sent)]).await;
        assert_eq!(bench.click(&page, ("user", ADELE)).await.redirect()["state"], returned);
    }
}

#[tokio::test]
async fn single_sign_on_and_prompts() {
    let bench = bench().await;
    let page = bench.authorize(&[]).await;
    let cookie = bench.click(&page, ("user", ADELE)).await.cookie();
    let ask = async |changes: &[(&str, &str)]| bench.authorize_with_cookie(changes, &cookie).await;

    assert!(ask(&[]).await.redirect().contains_key("code"));
    assert!(ask(&[("login_hint", ADELE)]).await.redirect().contains_key("code"));
    assert!(ask(&[("prompt", "none")]).await.redirect().contains_key("code"));
    for pages in
        [[("login_hint", ALEX)], [("prompt", "login")], [("prompt", "select_account")], [("prompt", "consent")]]
    {
        assert_eq!(ask(&pages).await.status, 200, "{pages:?}");
    }
    assert_eq!(ask(&[("prompt", "none"), ("login_hint", ALEX)]).await.refusal(), ("login_required".into(), 50058));

    // A second person in the same browser: now somebody has to choose.
    let page = ask(&[("prompt", "select_account")]).await;
    bench.click(&page, ("user", ALEX)).await.redirect();
    assert_eq!(ask(&[]).await.status, 200);
    assert_eq!(ask(&[("prompt", "none")]).await.refusal(), ("interaction_required".into(), 16000));
    assert!(ask(&[("prompt", "none"), ("login_hint", ALEX)]).await.redirect().contains_key("code"));

    let out = bench.http.get(bench.url("/oauth2/v2.0/logout")).header("cookie", &cookie).send().await.unwrap();
    let out = Answer::of(out).await;
    assert!(out.status == 200 && out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(ask(&[("prompt", "none")]).await.refusal().1, 50058);
}

#[tokio::test]
async fn logout_goes_back_to_registered_places_only() {
    let bench = bench().await;
    let logout = |to: &str| bench.url(&format!("/oauth2/v2.0/logout?post_logout_redirect_uri={to}&state=s"));
    let good = bench.get(&logout(CALLBACK)).await;
    assert_eq!(good.header("location"), format!("{CALLBACK}?state=s"));
    let bad = bench.get(&logout("https://evil.example/")).await;
    assert_eq!((bad.status, bad.headers.get("location")), (200, None));
}

#[tokio::test]
async fn a_hint_puts_its_user_first_unless_an_account_must_be_selected() {
    let bench = bench().await;
    let first = |page: &Answer| {
        let at = page.body.find("name=\"user\" value=\"").unwrap();
        page.body[at + 19..].split('"').next().unwrap().to_owned()
    };
    assert_eq!(first(&bench.authorize(&[("login_hint", ALEX)]).await), ALEX);
    assert_eq!(first(&bench.authorize(&[("login_hint", ALEX), ("prompt", "select_account")]).await), ADELE);
}

#[tokio::test]
async fn response_modes() {
    let bench = bench().await;
    let page = bench.authorize(&[("response_mode", "fragment")]).await;
    let answer = bench.click(&page, ("user", ADELE)).await;
    assert!(answer.header("location").starts_with(&format!("{CALLBACK}#code=")));
    let page = bench.authorize(&[("response_mode", "form_post")]).await;
    let answer = bench.click(&page, ("user", ADELE)).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains(&format!("<form method=\"post\" action=\"{CALLBACK}\">")));
    for name in ["code", "state", "session_state"] {
        assert!(answer.body.contains(&format!("<input type=\"hidden\" name=\"{name}\" value=\"")), "{name}");
    }
    assert!(answer.header("content-security-policy").contains("script-src 'sha256-"));
}

#[tokio::test]
async fn client_info_when_asked() {
    let bench = bench().await;
    let page = bench.authorize(&[("client_info", "1")]).await;
    assert!(bench.click(&page, ("user", ADELE)).await.redirect().contains_key("client_info"));
}

#[tokio::test]
async fn consent_is_asked_once_and_may_be_declined() {
    // The gateway has no grant on Graph: asking for it needs consent.
    let bench = bench().await;
    let graph = [("scope", "openid https://graph.microsoft.com/User.Read")];
    let page = bench.authorize(&graph).await;
    let consent = bench.click(&page, ("user", ADELE)).await;
    assert_eq!(consent.status, 200);
    assert!(consent.body.contains("<li>User.Read</li>"), "{}", consent.body);
    let cookie = consent.cookie();
    let silent = [graph[0], ("prompt", "none")];
    assert_eq!(bench.authorize_with_cookie(&silent, &cookie).await.refusal(), ("consent_required".into(), 65001));
    assert_eq!(bench.click(&consent, ("consent", "decline")).await.refusal(), ("access_denied".into(), 65004));

    let consent = bench.authorize_with_cookie(&graph, &cookie).await;
    assert!(bench.click(&consent, ("consent", "accept")).await.redirect().contains_key("code"));
    assert!(bench.authorize_with_cookie(&silent, &cookie).await.redirect().contains_key("code"));
}

#[tokio::test]
async fn preauthorised_clients_see_consent_only_when_they_ask_for_it() {
    let bench = bench().await;
    let page = bench.authorize(&[("prompt", "consent")]).await;
    let consent = bench.click(&page, ("user", ADELE)).await;
    assert_eq!(consent.status, 200);
    assert!(bench.click(&consent, ("consent", "accept")).await.redirect().contains_key("code"));
}

#[tokio::test]
async fn an_app_asks_for_itself_by_guid_only() {
    let bench = bench().await;
    let ask = async |scope: &str| {
        let page = bench.authorize(&[("client_id", SINGLE), ("scope", scope)]).await;
        bench.click(&page, ("user", ADELE)).await
    };
    assert!(ask(&format!("{SINGLE}/.default openid")).await.redirect().contains_key("code"));
    assert_eq!(ask(&format!("api://{SINGLE}/.default")).await.refusal().1, 90009);

    let mut seed = Seed::default();
    seed.grants.retain(|grant| grant.client != SINGLE);
    let bench = bench_with(seed).await;
    let scope = format!("{SINGLE}/.default");
    let page = bench.authorize(&[("client_id", SINGLE), ("scope", &scope)]).await;
    assert_eq!(bench.click(&page, ("user", ADELE)).await.refusal().1, 90008);
}

#[tokio::test]
async fn a_second_factor_is_a_page_and_a_silent_refusal() {
    let bench = bench().await;
    bench.order(&format!("/users/{ADELE}/require-mfa"), json!(null)).await;
    let page = bench.authorize(&[]).await;
    let factor = bench.click(&page, ("user", ADELE)).await;
    assert!(factor.body.contains("<button name=\"mfa\" value=\"approve\">"));
    let cookie = factor.cookie();
    let silent = [("prompt", "none")];
    assert_eq!(bench.authorize_with_cookie(&silent, &cookie).await.refusal(), ("interaction_required".into(), 50076));
    assert!(bench.click(&factor, ("mfa", "approve")).await.redirect().contains_key("code"));
    assert!(bench.authorize_with_cookie(&silent, &cookie).await.redirect().contains_key("code"));

    // A replayed challenge asks again, whoever is signed in.
    let challenge = json!({"access_token": {"capolids": {"essential": true, "values": ["p1"]}}}).to_string();
    let page = bench.authorize_with_cookie(&[("claims", &challenge)], &cookie).await;
    assert!(page.body.contains("value=\"approve\""));
}

#[tokio::test]
async fn next_login_answers_without_a_page_once() {
    let bench = bench().await;
    bench.entra.next_login(ADELE);
    assert!(bench.authorize(&[]).await.redirect().contains_key("code"));
    assert_eq!(bench.authorize(&[]).await.status, 200);
    bench.order("/next-login", json!({"upn": ALEX})).await;
    assert!(bench.authorize(&[]).await.redirect().contains_key("code"));
    let unknown = bench.control("POST", "/next-login", json!({"upn": "nobody@contoso.example"})).await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn scripted_errors_reach_the_redirect_uri_of_proven_clients_only() {
    let bench = bench().await;
    bench.order("/faults", json!({"match": {"path": "/authorize"}, "aadsts": 90033, "times": 2})).await;
    assert_eq!(bench.authorize(&[]).await.refusal(), ("temporarily_unavailable".into(), 90033));
    assert_eq!(bench.authorize(&[("redirect_uri", "https://evil.example/")]).await.page_error(), 50011);
    assert_eq!(bench.authorize(&[]).await.status, 200);
}

#[tokio::test]
async fn a_redirect_uri_of_a_single_page_app_is_told_apart_at_redemption() {
    let mut seed = Seed::default();
    let gateway = seed.gateway.clone();
    let app = seed.apps.iter_mut().find(|app| app.client_id == gateway).unwrap();
    app.redirect_uris = vec![RedirectUri { uri: "http://localhost/oauth-callback".into(), platform: Platform::Spa }];
    let bench = bench_with(seed).await;
    let code = bench.code(ADELE).await;
    assert_eq!(bench.redeem(&code, &[]).await.error(), ("invalid_request".into(), 9002327));
}
