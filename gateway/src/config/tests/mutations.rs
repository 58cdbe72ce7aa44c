//! The example, spoiled in one place at a time: one mistake, with its line and key.

use proptest::prelude::*;

use super::*;
use crate::pool::HttpVersion;

/// Puts `to` in the place of the first line that begins with `from`, and gives its number.
fn spoiled(from: &str, to: &str) -> (String, usize) {
    let text = everything();
    let at = text.find(&format!("\n{from}")).unwrap_or_else(|| panic!("{from} is not in the example")) + 1;
    let end = at + text[at..].find('\n').unwrap();
    (format!("{}{to}{}", &text[..at], &text[end..]), text[..at].matches('\n').count() + 1)
}

/// The line of the section's header, where a missing key is reported.
fn header(text: &str, section: &str) -> usize {
    let at = text.lines().position(|line| line == section);
    at.unwrap_or_else(|| panic!("{section} is not in the example")) + 1
}

fn only_mistake(text: &str) -> Mistake {
    let mistakes = parse(text).err().unwrap_or_else(|| panic!("accepted:\n{text}"));
    assert_eq!(mistakes.found.len(), 1, "{mistakes}\n{text}");
    mistakes.found[0].clone()
}

#[test]
fn each_wrong_value_is_one_mistake_with_its_line_and_key() {
    let mut seen = 0;
    for case in include_str!("mutations.txt").split("\n\n").skip(1) {
        let (lines, mistake) = case.trim_end().split_once("\n    ").unwrap();
        let (from, to) = lines.split_once(" => ").unwrap();
        let (key, words) = mistake.split_once(": ").unwrap();
        let (text, line) = spoiled(from, to);
        let mistake = only_mistake(&text);
        assert_eq!(mistake.key, key, "{to}: {mistake:?}");
        assert!(mistake.words.contains(words), "{to}: {mistake:?}");
        // Of two keys that contradict each other, the other one is named.
        let other = key.strip_prefix("tokens.").filter(|other| !to.starts_with(other));
        let line = other.map_or(line, |other| 1 + text.lines().position(|line| line.starts_with(other)).unwrap());
        assert_eq!(mistake.place, Place::Line(line), "{to}: {mistake:?}");
        seen += 1;
    }
    assert!(seen > 80, "{seen}");
}

#[test]
fn what_nobody_knows_is_a_mistake() {
    for (to, key, meant) in [
        ("[tracing]", "tracing", ""),
        ("\"a\\nb\" = 1", "cors.a\\nb", ""),
        ("[upstreams]", "upstreams", ". Did you mean upstream?"),
        ("allow_origins = []", "cors.allow_origins", ". Did you mean allowed_origins?"),
    ] {
        let (text, line) = spoiled("[log]", &format!("{to}\n[log]"));
        let mistake = only_mistake(&text);
        assert_eq!((mistake.key.as_str(), mistake.place), (key, Place::Line(line)));
        assert!(mistake.words.starts_with("is no key; the keys here are "), "{}", mistake.words);
        assert_eq!(mistake.words.contains("Did you mean"), !meant.is_empty(), "{}", mistake.words);
        assert!(mistake.words.ends_with(meant), "{}", mistake.words);
    }
}

#[test]
fn tls_without_a_server_that_has_it_is_a_mistake() {
    let (text, _) = spoiled("servers = ", "servers = [\"http://10.0.0.5:8000\"]");
    let mistake = only_mistake(&text);
    assert_eq!((mistake.key.as_str(), mistake.words.contains("has no use")), ("upstream[0].tls", true));
}

#[test]
fn only_servers_with_tls_say_which_version_they_speak() {
    let text = everything().replace("https://10.0.0.", "http://10.0.0.").replace("\ntls = {", "\n#tls = {");
    let with = |version: &str| text.replace("\nhttp = \"1.1\"", &format!("\nhttp = \"{version}\""));
    assert_eq!(parsed(&with("2"), &[]).server.upstreams[0].pool.http, HttpVersion::Http2);
    assert_eq!(parsed(&with("1.1"), &[]).server.upstreams[0].pool.http, HttpVersion::Http1);
    let mistake = only_mistake(&with("auto"));
    assert_eq!((mistake.key.as_str(), mistake.words.contains("https")), ("upstream[0].http", true));
}

#[test]
fn each_missing_key_is_one_mistake_at_its_section() {
    for (line, section, key) in [
        ("public_url = ", "", "public_url"),
        ("address = \"0.0", "[listen]", "listen.address"),
        ("tenant_id = ", "[entra]", "entra.tenant_id"),
        ("client_id = ", "[entra]", "entra.client_id"),
        ("scope = ", "[entra]", "entra.scope"),
        ("kind = ", "[entra.credential]", "entra.credential.kind"),
        ("token_file = ", "[entra.credential]", "entra.credential.token_file"),
        ("url = ", "[store]", "store.url"),
        ("file = ", "[keys]", "keys.file"),
        ("name = ", "[[upstream]]", "upstream[0].name"),
        ("path = ", "[[upstream]]", "upstream[0].path"),
        ("servers = ", "[[upstream]]", "upstream[0].servers"),
    ] {
        let (text, _) = spoiled(line, "#");
        let mistake = only_mistake(&text);
        assert_eq!(mistake.key, key);
        assert!(mistake.words.starts_with("is missing: "), "{mistake:?}");
        let at = if section.is_empty() { 1 } else { header(&text, section) };
        assert_eq!(mistake.place, Place::Line(at), "{mistake:?}");
    }
}

#[test]
fn upstreams_must_not_meet() {
    for (second, key, words) in [
        ("name = \"graph\"\npath = \"/two\"", "upstream[1].name", "another upstream"),
        ("name = \"two\"\npath = \"/mcp\"", "upstream[1].path", "another upstream"),
        ("name = \"two\"\npath = \"/mcp/sse\"", "upstream[1].path", "/sse or /message"),
        ("name = \"two\"\npath = \"/mcp/message\"", "upstream[1].path", "/sse or /message"),
    ] {
        let (text, _) = spoiled("[tokens]", &format!("[[upstream]]\n{second}\nservers = [\"http://b\"]\n[tokens]"));
        let mistake = only_mistake(&text);
        assert_eq!(mistake.key, key);
        assert!(mistake.words.contains(words), "{mistake:?}");
    }
    let (text, _) =
        spoiled("[tokens]", "[[upstream]]\nname = \"two\"\npath = \"/mcp/two\"\nservers = [\"http://b\"]\n[tokens]");
    assert_eq!(parsed(&text, &[]).server.upstreams.len(), 2, "one may be under another");
    let mistake = only_mistake(&everything().replace("[[upstream]]", "[upstream]"));
    assert_eq!(mistake.key, "upstream");
    assert!(mistake.words.contains("[[upstream]]"), "{mistake:?}");
}

#[test]
fn mistakes_come_all_at_once_in_the_order_of_the_file() {
    let text = everything()
        .replace("address = \"0.0.0.0:8443\"", "adress = \"0.0.0.0:8443\"")
        .replace("tenant_id = \"1", "tenant_id = \"")
        .replace("access_lifetime = \"1h\"", "access_lifetime = \"soon\"")
        .replace("level = \"info\"", "level = 5");
    let mistakes = parse(&text).err().unwrap();
    let keys: Vec<_> = mistakes.found.iter().map(|mistake| mistake.key.as_str()).collect();
    assert_eq!(keys, ["listen.address", "listen.adress", "entra.tenant_id", "tokens.access_lifetime", "log.level"]);
    let shown = mistakes.to_string();
    let first = shown.lines().next().unwrap();
    assert!(
        first.starts_with(&format!("edge.toml:{}: listen.address: is missing", header(&text, "[listen]"))),
        "{first}"
    );
}

#[test]
fn an_empty_file_lacks_everything_that_is_required() {
    let mistakes = parse("").err().unwrap();
    let keys: Vec<_> = mistakes.found.iter().map(|mistake| mistake.key.as_str()).collect();
    let required = [
        "entra.client_id",
        "entra.credential.kind",
        "entra.scope",
        "entra.tenant_id",
        "keys.file",
        "listen.address",
        "public_url",
        "store.url",
        "upstream",
    ];
    assert_eq!(keys, required);
}

#[test]
fn what_is_not_toml_is_said_with_its_line() {
    for (text, line) in [("a = 1\nb = \n", 2), ("a = 1\na = 2\n", 2), ("[a\n", 1), ("\n\n\"", 3), ("a = 1 b = 2", 1)] {
        let mistakes = parse(text).err().unwrap();
        assert_eq!(mistakes.found[0].place, Place::Line(line), "{text:?}: {mistakes}");
        assert!(mistakes.found[0].words.starts_with("not TOML: "), "{mistakes}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is cut out and put in: an answer, and a reason when it is no.
    #[test]
    fn nothing_makes_it_panic(at in 0.0..1.0_f64, cut in 0..40_usize, put in "[\\[\\]{}=\"'#,.a-z0-9\n\u{e4}\u{7}-]{0,12}") {
        let letters: Vec<char> = everything().chars().collect();
        let at = (letters.len() as f64 * at) as usize;
        let text: String = letters[..at].iter().copied().chain(put.chars()).chain(letters.iter().copied().skip(at + cut)).collect();
        if let Err(mistakes) = parse(&text) {
            prop_assert!(!mistakes.found.is_empty());
            prop_assert!(mistakes.found.iter().all(|mistake| !mistake.words.is_empty() && mistake.place != Place::Default));
        }
    }
}
