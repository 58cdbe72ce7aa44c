//! What a value of each kind looks like. Each error says what would be right, and never quotes what was written.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use url::Url;
use zeroize::Zeroizing;

use crate::pem;
use crate::public_url::is_loopback;

/// One of a few words.
pub fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let known = words.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(", ");
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| format!("must be one of {known}"))
}

/// `8-4-4-4-12` hexadecimal digits; given back in lower case, as tokens have it.
pub fn guid(text: &str) -> Result<String, &'static str> {
    let groups: Vec<_> = text.split('-').collect();
    let lengths = groups.iter().map(|group| group.len());
    if lengths.eq([8, 4, 4, 4, 12]) && groups.concat().bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("must be a GUID such as 01234567-89ab-cdef-0123-456789abcdef")
}

/// One scope of Entra's: printable, no space (RFC 6749 section 3.3).
pub fn scope(text: &str) -> Result<String, &'static str> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) {
        return Ok(text.to_owned());
    }
    Err("must be one scope without spaces, such as api://<client id>/access_as_user")
}

/// An address, or a network with the length of its prefix.
pub fn network(text: &str) -> Result<IpNet, &'static str> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    // With bits behind its prefix set, it is not clear which is meant.
    let clear = network.filter(|network| network.addr() == network.network());
    clear.ok_or("must be a network such as 10.0.0.0/8 or 2001:db8::/32, or one address")
}

/// `<whole number><unit>` between two bounds.
pub fn duration(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    const SYNTAX: &str = "must be a whole number and a unit, such as \"45s\", \"10m\", \"1h\" or \"7d\"";
    let unit = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let (number, seconds) = unit.ok_or(SYNTAX)?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SYNTAX.to_owned());
    }
    // What does not fit into 64 bits is out of bounds too.
    let duration = number.parse().ok().and_then(|number: u64| number.checked_mul(*seconds)).map(Duration::from_secs);
    duration
        .filter(|duration| (least..=most).contains(duration))
        .ok_or_else(|| format!("must be between {} and {}", show(least), show(most)))
}

/// As [`duration`], for waits of less than a minute: in milliseconds or seconds.
pub fn brief_duration(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    const SYNTAX: &str = "must be a whole number and a unit, such as \"250ms\" or \"2s\"";
    let parts = text.strip_suffix("ms").map(|number| (number, 1));
    let (number, size) = parts.or_else(|| Some((text.strip_suffix('s')?, 1000))).ok_or(SYNTAX)?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SYNTAX.to_owned());
    }
    let duration = number.parse().ok().and_then(|number: u64| number.checked_mul(size)).map(Duration::from_millis);
    let show = |duration: Duration| match duration.subsec_millis() {
        0 => show(duration),
        _ => format!("{}ms", duration.as_millis()),
    };
    duration
        .filter(|duration| (least..=most).contains(duration))
        .ok_or_else(|| format!("must be between {} and {}", show(least), show(most)))
}

/// `<whole number><unit>` between two bounds, in bytes.
pub fn size(text: &str, least: u32, most: u32) -> Result<u32, String> {
    const SYNTAX: &str = "must be a whole number and a unit, such as \"16KiB\" or \"4MiB\"";
    let unit = SIZES.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
    let (number, bytes) = unit.ok_or(SYNTAX)?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SYNTAX.to_owned());
    }
    let show = |size: u32| {
        let (unit, bytes) = SIZES.iter().find(|(_, bytes)| size.is_multiple_of(*bytes)).unwrap_or(&("B", 1));
        format!("{}{unit}", size / bytes)
    };
    let size = number.parse().ok().and_then(|number: u32| number.checked_mul(*bytes));
    size.filter(|size| (least..=most).contains(size))
        .ok_or_else(|| format!("must be between {} and {}", show(least), show(most)))
}

/// PEM, with one certificate at least.
pub fn roots_of_trust(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = pem_file(path)?;
    pem::roots(&bytes).map_err(|error| format!("names a file that {error}"))?;
    Ok(std::mem::take(&mut *bytes))
}

/// A file of certificates or of a key.
pub fn pem_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = open(path)?.take(PEM_AT_MOST + 1).read_to_end(&mut bytes);
    if read.map_err(|error| format!("cannot be read: {error}"))? as u64 > PEM_AT_MOST {
        return Err("must name a file of at most 1 MiB".to_owned());
    }
    Ok(bytes)
}

/// `http(s)://host[:port]` and nothing behind it but perhaps one slash.
pub fn origin(text: &str) -> Result<Url, &'static str> {
    const WANTED: &str = "must be an http or https origin such as http://10.0.0.5:8000, without path, query or user";
    let url = Url::parse(text).map_err(|_| WANTED)?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let nobody = url.username().is_empty() && url.password().is_none();
    let web = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    if bare && nobody && web { Ok(url) } else { Err(WANTED) }
}

/// An origin byte for byte as a browser writes it in `Origin`.
pub fn web_origin(text: &str) -> Result<String, &'static str> {
    let url = origin(text)?;
    if url.scheme() == "http" && !is_loopback(url.host()) {
        return Err("must be https, or http on localhost: a page that travels in clear can be anyone's");
    }
    if url.origin().ascii_serialization() != text {
        return Err("must be written as browsers do: lower case, no default port, no trailing slash");
    }
    Ok(text.to_owned())
}

/// A path on a server: printable ASCII from `/` on, without query, fragment, escapes, `//` or dot segments. Such a path has
/// one reading only, whoever reads it.
pub fn path(text: &str) -> Result<String, &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let odd = text.contains("//") || text.split('/').any(|segment| segment == "." || segment == "..");
    if text.starts_with('/') && text.bytes().all(plain) && !odd {
        return Ok(text.to_owned());
    }
    Err("must be a path that begins with / and has only letters, digits, and - . _ ~ between slashes")
}

/// A word or a few for people to read.
pub fn name(text: &str) -> Result<String, &'static str> {
    let shown = !text.trim().is_empty() && !text.chars().any(char::is_control);
    if shown && text.chars().count() <= 80 { Ok(text.to_owned()) } else { Err("must be 1 to 80 printable characters") }
}

/// A file that can be read now, which it will have to be when it is needed.
pub fn readable(path: PathBuf) -> Result<PathBuf, String> {
    open(&path)?;
    Ok(path)
}

/// The one line of a file that holds a secret.
pub fn secret(path: &Path) -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::new());
    let read = open(path)?.take(SECRET_AT_MOST + 1).read_to_string(&mut text);
    if read.map_err(|error| format!("cannot be read: {error}"))? as u64 > SECRET_AT_MOST {
        return Err("must name a file of at most 64 KiB".to_owned());
    }
    let line = text.trim_end_matches(['\r', '\n']);
    match line {
        "" => Err("names a file that is empty".to_owned()),
        line if line.chars().any(char::is_control) => Err("must name a file with one line of text".to_owned()),
        line => Ok(Zeroizing::new(line.to_owned())),
    }
}

fn open(path: &Path) -> Result<File, String> {
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    match file.metadata() {
        Ok(about) if about.is_file() => Ok(file),
        _ => Err("must name a file, and names something else".to_owned()),
    }
}

fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    // Nothing is no whole day.
    let whole = |size: u64| size == 1 || (seconds > 0 && seconds.is_multiple_of(size));
    let (unit, size) = UNITS.iter().rev().find(|(_, size)| whole(*size)).expect("every number is whole seconds");
    format!("{}{unit}", seconds / size)
}

const SIZES: [(&str, u32); 2] = [("MiB", 1024 * 1024), ("KiB", 1024)];
const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 24 * 3600)];
const SECRET_AT_MOST: u64 = 64 * 1024;
const PEM_AT_MOST: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_a_unit_and_bounds() {
        let parse = |text| duration(text, Duration::from_secs(60), Duration::from_secs(7 * 24 * 3600));
        for (text, seconds) in [("60s", 60), ("1m", 60), ("24h", 86_400), ("7d", 604_800), ("007m", 420)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "h", "1", "1 h", "1.5h", "-1h", "+1h", "1H", "1w", "1h30m", "٣h"] {
            assert!(parse(text).unwrap_err().contains("a unit"), "{text}");
        }
        for text in ["59s", "0d", "8d", "99999999999999999999d", "9999999999999999999d"] {
            assert_eq!(parse(text).unwrap_err(), "must be between 1m and 7d", "{text}");
        }
    }

    #[test]
    fn brief_durations_have_milliseconds_or_seconds() {
        let parse = |text| brief_duration(text, Duration::from_millis(100), Duration::from_secs(10));
        for (text, millis) in [("100ms", 100), ("1s", 1000), ("1500ms", 1500), ("10s", 10_000)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "ms", "1", "1m", "1 s", "1.5s", "-1s", "1sms"] {
            assert!(parse(text).unwrap_err().contains("a unit"), "{text}");
        }
        for text in ["99ms", "11s", "0s", "99999999999999999999s", "18446744073709551615s"] {
            assert_eq!(parse(text).unwrap_err(), "must be between 100ms and 10s", "{text}");
        }
    }

    #[test]
    fn sizes_are_in_kibibytes_or_mebibytes() {
        let parse = |text| size(text, 4 * 1024, 64 * 1024 * 1024);
        for (text, bytes) in [("4KiB", 4096), ("1024KiB", 1 << 20), ("1MiB", 1 << 20), ("64MiB", 64 << 20)] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "4096", "4kB", "4 KiB", "-4KiB", "1.5MiB", "4KB", "4GiB"] {
            assert!(parse(text).unwrap_err().contains("a unit"), "{text}");
        }
        for text in ["0KiB", "3KiB", "65MiB", "4096MiB", "99999999999999999999MiB"] {
            assert_eq!(parse(text).unwrap_err(), "must be between 4KiB and 64MiB", "{text}");
        }
    }

    #[test]
    fn paths_have_one_reading() {
        for good in ["/", "/mcp", "/mcp/v1", "/mcp/", "/a-b._~c"] {
            assert!(path(good).is_ok(), "{good}");
        }
        for bad in [
            "", "mcp", "//", "//mcp", "/a//b", "/a/../b", "/.", "/a/..", "/a%2fb", "/a?b", "/a#b", "/a b", "/ä",
            "/a\\b",
        ] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn guids_are_dashed_and_come_back_in_lower_case() {
        let lower = "01234567-89ab-cdef-0123-456789abcdef";
        assert_eq!(guid(&lower.to_uppercase()).unwrap(), lower);
        for bad in ["", "common", "0123456789abcdef0123456789abcdef", "{01234567-89ab-cdef-0123-456789abcdef}"] {
            assert!(guid(bad).is_err(), "{bad}");
        }
    }
}
