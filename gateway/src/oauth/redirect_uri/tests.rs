use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const ISSUER: &str = "https://mcp.example.com";

fn parse(text: &str) -> Result<RedirectUri, BadRedirectUri> {
    RedirectUri::parse(text, &["cursor".to_owned(), "com.example.app".to_owned(), "javascript".to_owned()])
}

#[test]
fn what_clients_register_today_is_accepted() {
    for text in [
        "https://claude.ai/api/mcp/auth_callback",
        "https://vscode.dev/redirect",
        "https://chatgpt.com/connector/oauth/a_b-c",
        "https://global.consent.azure-apim.net/redirect/tool-1",
        "https://client.example:8443/cb?tenant=a%20b&x",
        "https://client.example",
        "http://127.0.0.1",
        "http://127.0.0.1/",
        "http://127.0.0.1:33418/",
        "http://localhost:6274/oauth/callback",
        "http://[::1]:8080/cb",
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "com.example.app:/oauth2redirect",
    ] {
        assert_eq!(parse(text).as_ref().map(RedirectUri::as_str), Ok(text));
    }
}

/// RFC 9700 section 4.1: a code must not end at a page that is not a client's, and ours are none.
#[test]
fn nothing_leads_back_to_us() {
    for (ours, uri, good) in [
        ("https://mcp.example.com", "https://mcp.example.com/cb", false),
        ("https://mcp.example.com", "https://mcp.example.com", false),
        ("https://mcp.example.com", "https://mcp.example.com/?x", false),
        ("https://mcp.example.com", "https://mcp.example.com./cb", false),
        ("https://mcp.example.com", "https://mcp.example.com:8443/cb", true),
        ("https://mcp.example.com", "https://x.mcp.example.com/cb", true),
        ("https://mcp.example.com", "https://mcp.example.com.evil.example/cb", true),
        ("https://mcp.example.com", "https://evil.example/mcp.example.com", true),
        ("https://mcp.example.com", "cursor://mcp.example.com/cb", true),
        ("https://mcp.example.com:8443", "https://mcp.example.com:8443/cb", false),
        ("https://mcp.example.com:8443", "https://mcp.example.com/cb", true),
        ("http://localhost:8080", "http://localhost:8080/cb", false),
        ("http://localhost:8080", "http://localhost:8081/cb", true),
        ("http://localhost:8080", "http://localhost/cb", true),
        ("http://[::1]:8080", "http://[::1]:8080/cb", false),
    ] {
        let ours = PublicUrl::parse(ours).unwrap();
        let elsewhere = parse(uri).unwrap().elsewhere(&ours);
        assert_eq!(elsewhere.is_ok(), good, "{uri}");
    }
}

#[test]
fn what_must_never_be_registered() {
    use BadRedirectUri::*;
    let long = format!("https://a.example/{}", "a".repeat(2048));
    for (text, why) in [
        ("", Malformed),
        ("callback", Malformed),
        ("/callback", Malformed),
        ("//evil.example/cb", Malformed),
        ("https:", Malformed),
        ("https://", Malformed),
        ("https:///cb", Malformed),
        ("https:/evil.example/cb", Malformed),
        ("https:evil.example/cb", Malformed),
        ("HTTPS://a.example/cb", Malformed),
        ("https://A.example/cb", Malformed),
        ("https://a.example:443/cb", Malformed),
        ("https://a.example:/cb", Malformed),
        ("https://a.example:99999/cb", Malformed),
        ("https://a.example/../cb", Malformed),
        ("https://a.example/./cb", Malformed),
        ("https://a.example/%2e%2e/cb", Malformed),
        ("https://a.example/%2E./cb", Malformed),
        ("https://a.example/x%2fcb", Malformed),
        ("https://a.example/x%5Ccb", Malformed),
        ("https://a.example/x%00", Malformed),
        ("https://a.example/x%0d%0aset-cookie:x", Malformed),
        ("https://a.example/x%", Malformed),
        ("https://a.example/x%zz", Malformed),
        ("https://a.example\\@evil.example/cb", Malformed),
        ("https://a.example\\cb", Malformed),
        ("https://a.example/c b", Malformed),
        (" https://a.example/cb", Malformed),
        ("https://a.example/cb\n", Malformed),
        ("https://a.exa\tmple/cb", Malformed),
        ("https://ä.example/cb", Malformed),
        ("https://a.example%2fevil/cb", Malformed),
        ("https://127.1/cb", Malformed),
        ("https://0x7f000001/cb", Malformed),
        ("https://a.example/<script>", Malformed),
        ("https://*.example.com^/cb", Malformed),
        ("https://user@a.example/cb", UserInfo),
        ("https://user:pass@a.example/cb", UserInfo),
        ("https://@a.example/cb", UserInfo),
        ("https://a.example:443@evil.example/cb", UserInfo),
        ("http://localhost@evil.example/cb", UserInfo),
        ("http://127.0.0.1:80@evil.example/", UserInfo),
        ("cursor://user@host/cb", UserInfo),
        ("https://a.example/cb#", Fragment),
        ("https://a.example/cb#code", Fragment),
        ("https://93.184.216.34/cb", Scheme),
        ("https://[2001:db8::1]/cb", Scheme),
        ("http://a.example/cb", Scheme),
        ("http://localhost.evil.example/cb", Scheme),
        ("http://127.0.0.1.evil.example/cb", Scheme),
        ("http://127.0.0.2/cb", Scheme),
        ("http://0.0.0.0/cb", Scheme),
        ("http://2130706433/cb", Malformed),
        ("http://[::ffff:127.0.0.1]/cb", Malformed),
        ("http://[::ffff:7f00:1]/cb", Scheme),
        ("http://localhost./cb", Scheme),
        ("ftp://a.example/cb", Scheme),
        ("ws://localhost/cb", Scheme),
        ("custom://host/cb", Scheme),
        ("cursor2://host/cb", Scheme),
        ("javascript:alert(1)", Scheme),
        ("javascript://a.example/%250aalert(1)", Scheme),
        ("JavaScript:alert(1)", Scheme),
        ("data:text/html,x", Scheme),
        ("file:///etc/passwd", Scheme),
        ("vbscript:x", Scheme),
        ("blob:https://a.example/x", Scheme),
        ("about:blank", Scheme),
        ("urn:ietf:wg:oauth:2.0:oob", Scheme),
        ("https://a.example/cb?code=mine", ReservedParameter),
        ("https://a.example/cb?iss=https://evil.example", ReservedParameter),
        ("https://a.example/cb?x=1&st%61te=mine", ReservedParameter),
        ("https://a.example/cb?error", ReservedParameter),
        (&long, TooLong),
    ] {
        assert_eq!(parse(text), Err(why), "{text}");
    }
}

#[test]
fn only_the_same_bytes_match() {
    let registered = parse("https://a.example/cb?x=1").unwrap();
    assert!(registered.accept("https://a.example/cb?x=1").is_some());
    for other in [
        "https://a.example/cb",
        "https://a.example/cb/?x=1",
        "https://a.example/cb?x=1&y=2",
        "https://a.example/cb?x=%31",
        "https://a.example:8443/cb?x=1",
        "https://a.example/CB?x=1",
        "https://b.example/cb?x=1",
        "http://a.example/cb?x=1",
        "https://a.example.evil.example/cb?x=1",
    ] {
        assert_eq!(registered.accept(other), None, "{other}");
    }
}

#[test]
fn on_loopback_the_port_may_differ_and_nothing_else() {
    let registered = parse("http://127.0.0.1:33418/cb").unwrap();
    for port in ["http://127.0.0.1/cb", "http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb"] {
        assert_eq!(registered.accept(port).map(|uri| uri.0), Some(port.to_owned()));
    }
    for other in [
        "http://localhost:33418/cb",
        "http://[::1]:33418/cb",
        "http://127.0.0.1:33418/cb/",
        "http://127.0.0.1:33418/",
        "http://127.0.0.1:33418",
        "https://127.0.0.1:33418/cb",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:033418/cb",
        "http://127.0.0.1:33418@evil.example/cb",
        "http://127.0.0.1:x@evil.example/cb",
        "http://127.0.0.1.evil.example:33418/cb",
    ] {
        assert_eq!(registered.accept(other), None, "{other}");
    }
}

#[test]
fn an_empty_path_is_a_slash() {
    assert!(parse("http://127.0.0.1:4555").unwrap().accept("http://127.0.0.1:4556/").is_some());
    assert!(parse("https://a.example/").unwrap().accept("https://a.example").is_some());
    assert!(parse("https://a.example").unwrap().accept("https://a.example/x").is_none());
}

#[test]
fn a_private_use_scheme_matches_exactly() {
    let registered = parse("cursor://anysphere.cursor-mcp/oauth/callback").unwrap();
    assert!(registered.accept("cursor://anysphere.cursor-mcp/oauth/callback").is_some());
    assert!(registered.accept("cursor://anysphere.cursor-mcp/oauth/callback/").is_none());
    assert!(registered.accept("cursor://anysphere.cursor-mcp:1/oauth/callback").is_none());
    assert!(registered.accept("vscode://anysphere.cursor-mcp/oauth/callback").is_none());
}

#[test]
fn a_person_sees_where_the_answer_goes() {
    for (text, destination) in [
        ("https://claude.ai/api/cb", "claude.ai"),
        ("https://client.example:8443/?x", "client.example:8443"),
        ("http://localhost:6274/oauth/callback", "localhost:6274"),
        ("cursor://anysphere.cursor-mcp/cb", "cursor://anysphere.cursor-mcp"),
        ("com.example.app:/cb", "com.example.app"),
    ] {
        assert_eq!(parse(text).unwrap().destination(), destination);
    }
}

#[test]
fn answers_keep_the_uri_and_append_what_is_ours() {
    let to =
        |uri, state: Option<&str>| ReturnAddress { redirect_uri: parse(uri).unwrap(), state: state.map(str::to_owned) };
    assert_eq!(
        to("https://a.example/cb?x=a%20b&y", Some("a+b/c== &code=evil")).with_code(ISSUER, "sp1_ac_x"),
        "https://a.example/cb?x=a%20b&y&code=sp1_ac_x&state=a%2Bb%2Fc%3D%3D%20%26code%3Devil&iss=https%3A%2F%2Fmcp.example.com"
    );
    assert_eq!(
        to("http://127.0.0.1:1", None).with_error(ISSUER, "access_denied", "No."),
        "http://127.0.0.1:1?error=access_denied&error_description=No.&iss=https%3A%2F%2Fmcp.example.com"
    );
}

/// Hostile edits of a registered URI, as an attacker would try them.
fn mutation() -> impl Strategy<Value = (String, String)> {
    let registered = prop::sample::select(vec![
        "https://client.example/cb",
        "https://client.example:8443/cb?x=1",
        "http://127.0.0.1:33418/cb",
        "http://localhost/oauth/callback",
        "http://[::1]:8080/",
        "cursor://anysphere.cursor-mcp/oauth/callback",
    ]);
    let inserted = prop::sample::select(vec![
        "@",
        "@evil.example",
        "evil.example",
        ".evil.example",
        "/",
        "//",
        "\\",
        "..",
        "/../",
        "%2e",
        "%2f",
        "%5c",
        "%00",
        "%0a",
        "#",
        "?",
        "&code=x",
        ":",
        ":1",
        ":80",
        "0",
        "a",
        "A",
        " ",
        "\t",
        "\n",
        ";",
        "é",
        "\u{202e}",
        "javascript:",
        "https://",
        "http://localhost",
        "%25",
        "[",
        "]",
    ]);
    (registered, prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), inserted), 1..4))
        .prop_map(|(registered, edits)| {
            let mut mutated = registered.to_owned();
            for (at, length, text) in edits {
                let mut start = at.index(mutated.len() + 1);
                while !mutated.is_char_boundary(start) {
                    start -= 1;
                }
                let mut end = start + length.index(4).min(mutated.len() - start);
                while !mutated.is_char_boundary(end) {
                    end -= 1;
                }
                mutated.replace_range(start..end.max(start), text);
            }
            (registered.to_owned(), mutated)
        })
}

/// The rule again, told without the code under test: a port of a loopback URI replaced by another, or the same bytes.
fn may_match(registered: &str, presented: &str) -> bool {
    let without_port = |text: &str| {
        let host =
            ["http://127.0.0.1", "http://localhost", "http://[::1]"].into_iter().find(|host| text.starts_with(host))?;
        let rest = &text[host.len()..];
        let rest = match rest.strip_prefix(':') {
            Some(rest) => rest.trim_start_matches(|character: char| character.is_ascii_digit()),
            None => rest,
        };
        Some(format!("{host}{}", if rest.is_empty() { "/" } else { rest }))
    };
    registered == presented || without_port(registered).is_some_and(|left| Some(left) == without_port(presented))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn no_mutation_of_a_registered_uri_is_accepted((registered, presented) in mutation()) {
        let accepted = parse(&registered).unwrap().accept(&presented);
        prop_assert!(accepted.is_none() || may_match(&registered, &presented), "{registered} accepted {presented}");
    }

    #[test]
    fn an_answer_has_each_of_our_parameters_exactly_once((_, uri) in mutation(), state in proptest::option::of(".{0,64}")) {
        let Ok(redirect_uri) = parse(&uri) else { return Ok(()) };
        let address = ReturnAddress { redirect_uri, state: state.clone() };
        for answer in [address.with_code(ISSUER, "c0de"), address.with_error(ISSUER, "server_error", "Try again.")] {
            prop_assert!(answer.starts_with(&uri));
            let mut seen: HashMap<String, Vec<String>> = HashMap::new();
            for (name, value) in Url::parse(&answer).unwrap().query_pairs() {
                seen.entry(name.into_owned()).or_default().push(value.into_owned());
            }
            prop_assert_eq!(seen.get("iss"), Some(&vec![ISSUER.to_owned()]));
            prop_assert_eq!(seen.get("state").cloned(), state.clone().map(|state| vec![state]));
            let outcome = seen.get("code").or(seen.get("error")).unwrap();
            prop_assert_eq!(outcome.len(), 1);
            prop_assert!(seen.contains_key("code") != seen.contains_key("error"));
        }
    }
}
