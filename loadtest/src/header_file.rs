//! Headers from a file, one `name: value` in a line: any target can be driven with them, and no secret is on a command line.

use std::path::Path;

use anyhow::{Context, bail};
use http::{HeaderMap, HeaderName, HeaderValue};

/// # Errors
/// When the file cannot be read, or a line is no header. The line's number is said, never its text.
pub fn read(path: &Path) -> anyhow::Result<HeaderMap> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("in {}", path.display()))
}

fn parse(text: &str) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let Some((name, value)) = header(line) else { bail!("line {} is no header", index + 1) };
        headers.append(name, value);
    }
    Ok(headers)
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let mut value = HeaderValue::from_str(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((name.trim().parse().ok()?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_header() {
        let headers = parse("accept: text/plain\n\nX-Key:  a:b \n").unwrap();
        assert_eq!(headers["accept"], "text/plain");
        assert_eq!(headers["x-key"], "a:b");
        assert!(!format!("{headers:?}").contains("a:b"), "a value may be a secret");
    }

    #[test]
    fn a_mistake_is_told_by_its_line_and_not_by_its_text() {
        let error = parse("accept: */*\nsecret").unwrap_err().to_string();
        assert_eq!(error, "line 2 is no header");
    }
}
