//! Prometheus' text format, as far as counting needs it.

use std::collections::BTreeMap;

/// Every series with its labels, and its value. Buckets of histograms are left out: there are many.
pub fn parse(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        // A label's value may hold a space, the number does not.
        let (series, value) = line.rsplit_once(' ')?;
        Some((series.to_owned(), value.parse().ok()?))
    });
    samples.filter(|(series, _)| !series.contains("_bucket{")).collect()
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
        let before = parse("# HELP a x\n# TYPE a counter\na{route=\"m c p\"} 5\nb 1\n");
        let after = parse("a{route=\"m c p\"} 12\nb 1\nc_sum 0.25\nc_bucket{le=\"0.1\"} 7\n");
        let changes = changes(&before, &after);
        assert_eq!(changes, BTreeMap::from([("a{route=\"m c p\"}".to_owned(), 7.0), ("c_sum".to_owned(), 0.25)]));
    }
}
