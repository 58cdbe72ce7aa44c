//! Alerts, runbooks, board and metrics, compared with one another.

use std::collections::{BTreeMap, BTreeSet};

use super::{board, busy, metrics_in, project, queries_of_board, read, rules, scrape};

/// Each alert with its page.
fn runbooks() -> BTreeMap<String, String> {
    let (mut pages, mut alert) = (BTreeMap::new(), None);
    for line in rules().lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            assert_eq!(alert, None, "an alert without a page");
            alert = Some(name.to_owned());
        } else if let Some(page) = line.strip_prefix("runbook_url: ") {
            let alert = alert.take().expect("a page without an alert");
            let before = pages.insert(alert.clone(), page.to_owned());
            assert!(before.is_none_or(|before| before == page), "{alert} has two pages");
        }
    }
    assert!(pages.len() > 15, "{} alerts", pages.len());
    pages
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let pages = runbooks();
    let index = read("docs/runbooks/README.md");
    for (alert, page) in &pages {
        let text = read(page);
        assert!(text.starts_with(&format!("# {alert}\n")), "{page} is the page of another alert");
        for part in ["**What it means.**", "**What users see.**", "**First look.**", "**What to do.**"] {
            assert!(text.contains(part), "{page} lacks {part}");
        }
        let file = page.rsplit('/').next().unwrap();
        assert!(index.contains(&format!("[{alert}]({file})")), "docs/runbooks/README.md lacks {alert}");
        for metric in metrics_in(&text) {
            assert!(read("docs/metrics.md").contains(&metric), "{page} names {metric}, which there is not");
        }
    }
    let linked: BTreeSet<_> = pages.values().map(|page| page.rsplit('/').next().unwrap().to_owned()).collect();
    let files = std::fs::read_dir(project().join("docs/runbooks")).unwrap();
    let files: BTreeSet<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let expected: BTreeSet<_> = linked.into_iter().chain(["README.md".to_owned()]).collect();
    assert_eq!(files, expected);
}

#[test]
fn every_alert_is_tested_to_fire_and_names_a_severity() {
    let tests = read("deploy/prometheus/sallyport.test.yml");
    for alert in runbooks().keys() {
        // An expectation of none has no list behind it.
        let fires = format!("alertname: {alert}\n        exp_alerts:\n");
        assert!(tests.contains(&fires), "no test of the rules has {alert} fire");
    }
    let (alerts, severities) = (rules().matches("- alert: ").count(), rules().matches("severity: ").count());
    assert_eq!(alerts, severities);
}

/// Whoever renames a metric learns who asks for it.
#[tokio::test]
async fn every_metric_of_the_board_the_rules_and_the_reference_is_in_a_live_scrape() {
    let (_upstream, gateway) = busy().await;
    let text = scrape(&gateway).await;
    let families: BTreeMap<_, _> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split_once(' ').expect("a name and a type"))
        .collect();
    let is_there = |metric: &str| {
        families.contains_key(metric)
            || ["_bucket", "_sum", "_count"]
                .iter()
                .any(|suffix| metric.strip_suffix(suffix).is_some_and(|name| families.get(name) == Some(&"histogram")))
    };
    let sources = [("the rules", rules()), ("the board", queries_of_board().join("\n"))];
    for (source, text) in sources {
        let metrics = metrics_in(&text);
        assert!(metrics.len() > 10, "{source}: {metrics:?}");
        for metric in metrics {
            assert!(is_there(&metric), "{source}: {metric} is in no scrape");
        }
    }
    let reference = read("docs/metrics.md");
    for family in families.keys() {
        assert!(reference.contains(&format!("| `{family}` |")), "docs/metrics.md lacks {family}");
    }
    // Labels that hold what a person or a client is would be words of theirs.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        for word in ["contoso", "adele", "Test client", "sp1_", "127.0.0.1", "localhost", "Bearer"] {
            assert!(!line.contains(word), "{line}");
        }
    }
}

#[test]
fn the_board_has_what_it_is_for_and_no_two_panels_overlap() {
    let board = board();
    let panels: Vec<_> = board["panels"].as_array().unwrap().iter().collect();
    let mut titles = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in &panels {
        let title = panel["title"].as_str().unwrap();
        assert!(titles.insert(title.to_owned()), "two panels are called {title}");
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(x < 24 && taken.insert((x, y)), "{title} lies on another panel");
            }
        }
        if panel["type"] != "row" {
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{title} shows nothing");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        }
    }
    for row in ["Rates", "Refusals", "Latency", "Streams", "Upstreams", "Redis", "Entra", "Keys", "Sessions", "Process"]
    {
        assert!(titles.iter().any(|title| title.starts_with(row)), "no row for {row}");
    }
}
