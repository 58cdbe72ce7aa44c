use super::*;
use crate::browser::{ApprovedClients, CsrfToken, DeniedClients, Label, Transaction};
use crate::clock::Timestamp;
use crate::secret::SecretKey;

fn pages() -> Pages {
    Pages::new("Contoso <MCP>".into(), true)
}

fn consent_page() -> ConsentPage<'static> {
    ConsentPage {
        client_name: "Inspector",
        vouched: Vouched::Nobody,
        destination: "client.example",
        redirect_uri: "https://client.example/cb",
        loopback: false,
        resource: "https://mcp.example.com/mcp",
        scope: "mcp.access",
        refused: None,
        offer_to_remember: true,
        request: "sealed",
        csrf: "token",
    }
}

fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

/// Every page, by its name, always the same but for what is random.
fn every_page() -> Vec<(&'static str, Response<Bytes>)> {
    let csrf = CsrfToken { transaction: Transaction::OF_THE_BROWSER, token: SecretKey::new([7; 32]) };
    let (earlier, now) = (Timestamp::from_unix(1_000), Timestamp::from_unix(1_130));
    let (mut approved, mut denied) = (ApprovedClients::default(), DeniedClients::default());
    approved.add([1; 32], Label::new("Inspector", "client.example"), earlier);
    denied.add([2; 32], Label::new("<b>Stranger", "127.0.0.1:7000"), earlier);
    let at_this_computer = ConsentPage {
        client_name: "<script>alert(1)</script>",
        destination: "127.0.0.1:6274",
        redirect_uri: "http://127.0.0.1:6274/cb",
        loopback: true,
        refused: Some(Duration::from_secs(190)),
        offer_to_remember: false,
        ..consent_page()
    };
    let leave = LeavePage {
        url: "https://client.example/cb?error=invalid_target&state=s",
        destination: "client.example",
        error: "invalid_target",
        description: "The resource is not one of this server's.",
    };
    vec![
        ("consent", pages().consent(consent_page())),
        ("consent-at-this-computer", pages().consent(at_this_computer)),
        ("consent-operator", pages().consent(ConsentPage { vouched: Vouched::Operator, ..consent_page() })),
        (
            "consent-publisher",
            pages().consent(ConsentPage { vouched: Vouched::Publisher("a.example"), ..consent_page() }),
        ),
        ("to-sign-in", pages().to_sign_in("https://login.example/authorize?a=b&c=d")),
        ("refused", pages().refused("http://127.0.0.1:1/cb?error=access_denied")),
        ("leave", pages().leave(leave)),
        ("error", pages().error(Fault::UnknownClient, Reference::random())),
        ("connect", pages().connect("https://mcp.example.com/mcp")),
        ("connections", pages().connections(&approved, &denied, &csrf, now)),
        ("connections-none", pages().connections(&ApprovedClients::default(), &DeniedClients::default(), &csrf, now)),
        ("signed-out", pages().signed_out()),
    ]
}

/// So that a review sees what a change does to a page: status, headers, HTML. The style sheet is a file of its own.
#[test]
fn every_page_is_as_it_was_reviewed() {
    for (name, response) in every_page() {
        let style = text(&response).split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let html = text(&response).replace(style, "[style]");
        let html = match html.split_once("reference ") {
            // Eight random digits.
            Some((before, after)) => format!("{before}reference [reference]{}", &after[8..]),
            None => html,
        };
        let mut shown = format!("{}\n", response.status());
        for (name, value) in response.headers() {
            let value = value.to_str().unwrap();
            let value = value.split_once("sha256-").map_or(value.to_owned(), |(before, after)| {
                format!("{before}sha256-[hash]{}", &after[after.find('\'').unwrap()..])
            });
            shown.push_str(&format!("{name}: {value}\n"));
        }
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, format!("{shown}\n{html}")));
    }
}

#[test]
fn every_fault_is_told_as_it_was_reviewed() {
    let told = Fault::ALL
        .map(|fault| format!("{} {}\n{}\n{}\n", fault.code(), fault.status().as_u16(), fault.title(), fault.advice()));
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("faults", told.join("\n")));
}

#[test]
fn every_page_is_locked_down() {
    for (name, response) in every_page() {
        let headers = response.headers();
        // With no referrer at all a browser would say of these pages' forms that they come from nowhere.
        let has_form = name.starts_with("consent") || name.starts_with("connections");
        let referrer = if has_form { "same-origin" } else { "no-referrer" };
        assert_eq!(headers[REFERRER_POLICY], referrer, "{name}");
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        for directive in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(directive), "{policy}");
        }
        assert!(!policy.contains("unsafe"));
        assert_eq!(headers[X_FRAME_OPTIONS], "DENY");
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        assert_eq!(headers[CROSS_ORIGIN_OPENER_POLICY], "same-origin");
        assert_eq!(headers[STRICT_TRANSPORT_SECURITY], "max-age=31536000");
        assert_eq!(headers[CONTENT_TYPE], "text/html; charset=utf-8");
    }
    let plain = Pages::new("x".into(), false).consent(consent_page());
    assert!(!plain.headers().contains_key(STRICT_TRANSPORT_SECURITY));
}

#[test]
fn the_policy_names_the_hash_of_the_very_style_that_the_page_has() {
    for (_, response) in every_page() {
        let style = text(&response).split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let hash = BASE64_STANDARD.encode(Sha256::digest(style));
        assert!(response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().contains(&hash));
    }
}

#[test]
fn no_page_has_a_script_or_anything_from_elsewhere() {
    for (_, response) in every_page() {
        for forbidden in ["<script", "<img", "<link", "<iframe", " style=", "@import", "url(", "onclick"] {
            assert!(!text(&response).contains(forbidden), "{forbidden}");
        }
    }
}

#[test]
fn the_consent_page_lets_its_form_name_its_origin() {
    assert_eq!(pages().consent(consent_page()).headers()[REFERRER_POLICY], "same-origin");
    assert_eq!(pages().error(Fault::NotAForm, Reference::random()).headers()[REFERRER_POLICY], "no-referrer");
}

#[test]
fn strangers_words_are_escaped() {
    let hostile = r#""><script>alert(1)</script><a href='x'>&amp;__CSRF_TOKEN__{{ page.csrf }}"#;
    let page = ConsentPage { client_name: hostile, destination: hostile, redirect_uri: hostile, ..consent_page() };
    let response = pages().consent(page);
    assert!(!text(&response).contains("<script") && !text(&response).contains("<a href='x'"));
    assert!(text(&response).contains("__CSRF_TOKEN__{{ page.csrf }}"), "no second round of templating");
    assert!(text(&response).contains("Contoso &#60;MCP&#62;"));
    let response = pages().refused("cursor://x/cb?a='&b=\"");
    assert!(text(&response).contains("url=cursor://x/cb?a=&#39;&#38;b=&#34;"));
}

#[test]
fn the_box_and_the_warnings_are_there_when_they_should_be() {
    let response = pages().consent(consent_page());
    assert!(
        text(&response).contains(r#"<input type="checkbox" name="remember" value="yes">"#),
        "there, and not ticked"
    );
    assert!(!text(&response).contains("your own computer") && !text(&response).contains("You refused"));
    let page = ConsentPage {
        loopback: true,
        refused: Some(Duration::from_secs(190)),
        offer_to_remember: false,
        ..consent_page()
    };
    let response = pages().consent(page);
    assert!(!text(&response).contains(r#"name="remember""#));
    assert!(
        text(&response).contains("your own computer")
            && text(&response).contains("refused this application 3 minutes ago")
    );
}

#[test]
fn an_outage_says_when_to_try_again() {
    let response = pages().error(Fault::Unavailable, Reference::random());
    assert_eq!((response.status().as_u16(), &response.headers()[RETRY_AFTER]), (503, &HeaderValue::from_static("2")));
}
