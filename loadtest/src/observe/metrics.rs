//! Prometheus' text format, as far as counting needs it.

use std::collections::BTreeMap;

/// Every series with its labels, and its value. Buckets of histograms are left out: there are many. None when a line is no
/// series, or there is none: that is something else.
pub fn parse(text: &str) -> Option<BTreeMap<String, f64>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let all: BTreeMap<_, _> = lines.map(sample).collect::<Option<_>>()?;
    let without_buckets =
        |all: BTreeMap<String, f64>| all.into_iter().filter(|(series, _)| !series.contains("_bucket{")).collect();
    (!all.is_empty()).then(|| without_buckets(all))
}

fn sample(line: &str) -> Option<(String, f64)> {
    // A label's value may hold a space, the number does not.
    let (series, value) = line.rsplit_once(' ')?;
    let is_named = series.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '_' | ':'));
    Some((is_named.then(|| series.to_owned())?, value.parse().ok()?))
}

/// What changed, and by how much. A series that was not there was zero.
pub fn changes(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let change = |(series, value): (&String, &f64)| {
        let change = value - before.get(series).copied().unwrap_or(0.0);
        (change != 0.0).then(|| (series.clone(), change))
    };
    after.iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read_and_their_changes_told() {
        let before = parse("# HELP a x\n# TYPE a counter\na{route=\"m c p\"} 5\nb 1\n").unwrap();
        let after = parse("a{route=\"m c p\"} 12\nb 1\nc_sum 0.25\nc_bucket{le=\"0.1\"} 7\n").unwrap();
        let changes = changes(&before, &after);
        assert_eq!(changes, BTreeMap::from([("a{route=\"m c p\"}".to_owned(), 7.0), ("c_sum".to_owned(), 0.25)]));
    }

    #[test]
    fn what_is_no_metrics_is_none() {
        for other in ["", "# HELP a x\n", "ok", "<!doctype html>\n<p>up 5\n", "{\"up\": 5\n}"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
