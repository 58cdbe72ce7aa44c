//! `[telemetry]`: where traces go, if anywhere.

use url::Url;

use super::super::reader::Section;
use super::super::values::network;
use crate::traces::Settings;

/// `Some(None)`: no traces are made.
pub fn read(section: &Section<'_>) -> Option<Option<Settings>> {
    let endpoint = section.text("otlp_endpoint");
    let is_off = endpoint.is_absent();
    let endpoint = endpoint.parse(collector);
    let sample_percent = section.number("sample_percent", 100, 0..=100);
    let networks = section.list("continue_from");
    let continue_from = networks.or(&[]).each(network);
    section.finish();
    let (sample_percent, continue_from) = (sample_percent?, continue_from?);
    if is_off {
        return Some(None);
    }
    Some(Some(Settings { endpoint: endpoint?, sample_percent, continue_from }))
}

/// As exporters of OpenTelemetry have it: without the path of the signal.
fn collector(text: &str) -> Result<Url, &'static str> {
    const WANTED: &str = "must be an http or https URL such as http://127.0.0.1:4318, without query or user";
    let url = Url::parse(text).map_err(|_| WANTED)?;
    let nobody = url.username().is_empty() && url.password().is_none();
    let web = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    if !(nobody && web && url.query().is_none() && url.fragment().is_none()) {
        return Err(WANTED);
    }
    if url.path().trim_end_matches('/').ends_with("/v1/traces") {
        return Err("must end before /v1/traces, which is put behind it");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_url_that_hides_nothing() {
        for good in ["http://127.0.0.1:4318", "https://collector.example/otlp", "http://[::1]:4318/"] {
            assert!(collector(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1:4318",
            "grpc://127.0.0.1:4317",
            "http://user:word@127.0.0.1:4318",
            "http://127.0.0.1:4318/?key=x",
            "http://127.0.0.1:4318/v1/traces",
            "http://127.0.0.1:4318/v1/traces/",
        ] {
            assert!(collector(bad).is_err(), "{bad}");
        }
    }
}
