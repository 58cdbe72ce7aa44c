//! What holds for all series: how many there are, what they may say, and that docs/metrics.md tells of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::entra::{Code, Observer as _, Operation, Outcome};
use prometheus::proto::MetricType;

use super::entra::AGES;
use super::*;
use crate::store::Observer as _;

const UPSTREAMS: [&str; 16] = [
    "up-01", "up-02", "up-03", "up-04", "up-05", "up-06", "up-07", "up-08", "up-09", "up-10", "up-11", "up-12",
    "up-13", "up-14", "up-15", "up-16",
];

/// Every value that a label can take, beside every other.
fn touched() -> Metrics {
    let metrics = Metrics::default();
    let moment = Duration::from_millis(1);
    for route in labels::ROUTES {
        for status in [0, 200, 300, 400, 500] {
            metrics.answered(route, status, moment, false);
        }
    }
    labels::TIERS.iter().for_each(|tier| metrics.admitted(tier, moment, moment));
    labels::REJECTIONS.iter().for_each(|reason| metrics.rejected(reason));
    labels::REFUSALS.iter().for_each(|reason| metrics.refused(reason));
    labels::LIMITS.iter().for_each(|limit| metrics.limited(limit));
    labels::ACCESS_REFUSALS.iter().for_each(|kind| metrics.access_refused(kind));
    labels::STREAM_ENDS.iter().for_each(|cause| metrics.stream_ended(cause));
    for endpoint in labels::ENDPOINTS {
        labels::OAUTH_RESULTS.iter().for_each(|result| metrics.oauth_answered(endpoint, result, moment));
    }
    for grant in labels::GRANTS {
        labels::GRANT_RESULTS.iter().for_each(|result| metrics.granted(grant, result));
    }
    for upstream in UPSTREAMS {
        let counts = metrics.upstream(upstream);
        metrics.upstream_servers(upstream, [1, 0, 0, 0]);
        let upstream = counts;
        [0, 200, 300, 400, 500].into_iter().for_each(|status| upstream.answered(status));
        labels::UPSTREAM_CAUSES.iter().for_each(|cause| upstream.failed(cause));
        upstream.ejected();
    }
    for reused in [true, false] {
        metrics.connected(reused, moment);
    }
    labels::KEY_STATES.iter().for_each(|state| metrics.ring_keys(state, 1));
    // As many keys as a ring may have, and as many again after rotations.
    (1..=32).for_each(|key: u32| metrics.seals().with_label_values(&[key.to_string().as_str()]).inc());
    for operation in crate::store::Operation::ALL {
        [true, false].into_iter().for_each(|well| metrics.store.ended(operation, well, moment));
    }
    let known = ::entra::KNOWN_CODES.iter().copied().map(Code::Known);
    for code in known.chain([Code::None, Code::Other]) {
        for operation in Operation::ALL {
            for outcome in Outcome::ALL {
                metrics.entra.begun(operation);
                metrics.entra.ended(operation, outcome, code, moment);
            }
        }
    }
    metrics.configuration().reloaded(0, &["listen.address".to_owned()]);
    metrics
}

fn text_of(metrics: &Metrics) -> String {
    String::from_utf8(metrics.render()).unwrap()
}

#[test]
fn there_are_at_most_two_thousand_series_whatever_happens() {
    let text = text_of(&touched());
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!((500..=2000).contains(&series), "{series} series");
    for line in text.lines().filter(|line| line.contains(r#""other""#)) {
        assert!(line.starts_with("sallyport_entra_requests_total"), "a word that its list lacks: {line}");
    }
}

/// An alarm on a first refusal needs the zero before it.
#[test]
fn what_can_be_refused_is_there_before_it_is() {
    let metrics = Metrics::default();
    metrics.upstream("mcp");
    let text = text_of(&metrics);
    for series in [
        r#"sallyport_token_rejected_total{reason="revoked"} 0"#,
        r#"sallyport_http_refused_total{reason="internal"} 0"#,
        r#"sallyport_upstream_failures_total{cause="none_well",upstream="mcp"} 0"#,
        r#"sallyport_oauth_requests_total{endpoint="callback",result="server_error"} 0"#,
        r#"sallyport_grants_total{grant="refresh_token",result="reused"} 0"#,
        r#"sallyport_store_requests_total{op="get",result="failed"} 0"#,
        r#"sallyport_entra_requests_total{error="none",op="keys",outcome="try_later"} 0"#,
        r#"sallyport_keyring_reloads_total{result="failed"} 0"#,
    ] {
        assert!(text.lines().any(|line| line == series), "{series}");
    }
}

#[test]
fn two_registries_do_not_meet_and_words_of_somebodys_make_no_series() {
    let (one, other) = (Metrics::default(), Metrics::default());
    one.rejected("missing");
    one.rejected("a word of somebody's");
    assert!(text_of(&one).contains(r#"sallyport_token_rejected_total{reason="missing"} 1"#));
    assert!(text_of(&other).contains(r#"sallyport_token_rejected_total{reason="missing"} 0"#));
    assert!(!text_of(&one).contains("somebody"));
    assert!(text_of(&one).contains(r#"sallyport_token_rejected_total{reason="other"} 1"#));
}

#[test]
fn an_upstream_that_has_left_leaves_no_series() {
    let metrics = Metrics::default();
    let (stays, leaves) = (metrics.upstream("stays"), metrics.upstream("leaves"));
    stays.failed("slow");
    metrics.upstream_servers("leaves", [1, 0, 0, 0]);
    metrics.keep_upstreams(&["stays"]);
    leaves.answered(200);
    leaves.ejected();
    let text = text_of(&metrics);
    assert!(!text.contains(r#"upstream="leaves""#), "{text}");
    assert!(text.contains(r#"sallyport_upstream_failures_total{cause="slow",upstream="stays"} 1"#));
    metrics.upstream("leaves");
    let again = text_of(&metrics);
    assert!(again.contains(r#"sallyport_upstream_answers_total{code_class="2xx",upstream="leaves"} 0"#), "anew");
}

/// Names as Prometheus wants them: base units, `_total` for what counts; `promtool` looks at a live scrape besides.
#[test]
fn names_say_their_units() {
    for family in touched().families() {
        let name = family.name();
        assert!(name.starts_with("sallyport_") || name.starts_with("process_"), "{name}");
        assert!(family.help().ends_with('.'), "{name}: {}", family.help());
        let is_counter = family.get_field_type() == MetricType::COUNTER;
        assert_eq!(is_counter, name.ends_with("_total"), "{name}");
        if family.get_field_type() == MetricType::HISTOGRAM {
            assert!(name.ends_with("_seconds"), "{name}");
            let histogram = family.get_metric()[0].get_histogram();
            assert_eq!(histogram.get_bucket()[0].upper_bound(), 0.00025, "{name}");
        }
    }
}

/// Whoever counts by a word that its list lacks learns of it here, and not by a series called `other`.
#[test]
fn every_word_in_the_sources_is_in_its_list() {
    let lists = [
        ("limited(", labels::LIMITS),
        ("rejected(", labels::REJECTIONS),
        ("access_refused(", labels::ACCESS_REFUSALS),
        ("stream_ended(", labels::STREAM_ENDS),
    ];
    let (mut seen, mut words) = (BTreeSet::new(), 0);
    for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for (method, list) in lists {
            let call = format!("metrics.{method}\"");
            for rest in text.split(call.as_str()).skip(1) {
                let word = rest.split('"').next().unwrap();
                assert!(list.contains(&word), "{}: {word} is not in metrics/labels.rs", file.display());
                seen.insert(method);
                words += 1;
            }
        }
        for rest in text.split("\n            Full::").skip(1) {
            let word = rest.split('"').nth(1).unwrap();
            assert!(labels::LIMITS.contains(&word), "{word} is not in metrics/labels.rs");
        }
    }
    assert!(words > 8 && seen.contains("limited("), "the sources are read: {seen:?}");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => vec![path],
        })
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("metrics/tests.rs")
        })
        .collect()
}

/// `UPDATE_DOCS=1` writes it anew (`make docs-reference`).
#[test]
fn the_reference_tells_of_every_metric() {
    crate::documented::is_generated("metrics.md", "begin", &reference());
}

/// A table of all metrics: name, type, labels and their values, meaning.
fn reference() -> String {
    let mut table = String::from("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n");
    for (name, help) in AGES {
        writeln!(table, "| `{name}` | gauge | | {help} |").unwrap();
    }
    for family in touched().families() {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            other => panic!("{other:?}"),
        };
        let mut labels = BTreeMap::<_, Vec<String>>::new();
        for pair in family.get_metric().iter().flat_map(|metric| metric.get_label()) {
            let values = labels.entry(pair.name().to_owned()).or_default();
            if !values.iter().any(|value| value == pair.value()) {
                values.push(pair.value().to_owned());
            }
        }
        let labels: Vec<_> =
            labels.iter().map(|(label, values)| format!("`{label}`: {}", told(label, values))).collect();
        writeln!(table, "| `{}` | {kind} | {} | {} |", family.name(), labels.join("; "), family.help()).unwrap();
    }
    let mut lines: Vec<_> = table.lines().collect();
    lines[2..].sort_unstable();
    lines.join("\n") + "\n"
}

fn told(label: &str, values: &[String]) -> String {
    match label {
        "upstream" => "the upstream's `name` in the configuration".to_owned(),
        "key" => "the id of a key".to_owned(),
        "version" => "this program's".to_owned(),
        "error" => "an AADSTS number, `none` or `other`".to_owned(),
        _ => values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", "),
    }
}
