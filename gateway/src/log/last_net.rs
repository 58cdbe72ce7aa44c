//! The last net: what looks like a secret is taken out of every line before it is written. What then cannot be written is counted.
//!
//! It should never catch anything, for secrets are types that no format shows. If it does, something is wrong that
//! `sallyport_log_redactions_total` tells of.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memmem::Finder;
use tracing_subscriber::fmt::MakeWriter;

/// A process has one log.
static CAUGHT: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

/// How often something was taken out since the process began.
pub fn redactions() -> u64 {
    CAUGHT.load(Ordering::Relaxed)
}

/// How often the log took nothing since the process began: a full disk, a reader that has gone.
pub fn failed_writes() -> u64 {
    FAILED.load(Ordering::Relaxed)
}

/// The line without what looks like a secret.
pub fn without_secrets(line: String) -> String {
    match redacted(line.as_bytes()) {
        // What is taken out is ASCII, and so is what takes its place.
        Some(clean) => String::from_utf8_lossy(&clean).into_owned(),
        None => line,
    }
}

/// Makes writers that have the net before them.
pub struct Net<W>(pub W);

/// Takes whole lines, as the subscriber writes them.
pub struct NetWriter<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Net<W> {
    type Writer = NetWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        NetWriter(self.0.make_writer())
    }
}

impl<W: Write> Write for NetWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_all(line)?;
        Ok(line.len())
    }

    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        let clean = redacted(line).map_or(Cow::Borrowed(line), Cow::Owned);
        self.0.write_all(&clean).inspect_err(|_| {
            FAILED.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// `None` when there is nothing to take out: three searches, and no copy.
fn redacted(line: &[u8]) -> Option<Vec<u8>> {
    let mut found: Vec<(usize, usize)> = NETS.iter().flat_map(|net| net.catch(line)).collect();
    if found.is_empty() {
        return None;
    }
    found.sort_unstable();
    CAUGHT.fetch_add(found.len() as u64, Ordering::Relaxed);
    let (mut clean, mut done) = (Vec::with_capacity(line.len()), 0);
    for (start, end) in found {
        // One net may catch within what another has caught.
        if start >= done {
            clean.extend_from_slice(&line[done..start]);
            clean.extend_from_slice(b"[redacted]");
        }
        done = done.max(end);
    }
    clean.extend_from_slice(&line[done..]);
    Some(clean)
}

struct Mesh {
    begins: Finder<'static>,
    /// How much of the beginning may stay.
    stays: usize,
    /// Where the secret ends that begins here; `None` when it is none.
    ends: fn(&[u8]) -> Option<usize>,
}

impl Mesh {
    fn catch<'a>(&'a self, line: &'a [u8]) -> impl Iterator<Item = (usize, usize)> + 'a {
        self.begins.find_iter(line).filter_map(|start| {
            let after = start + self.begins.needle().len();
            let length = (self.ends)(&line[after..])?;
            Some((start + self.stays, after + length))
        })
    }
}

/// Our own tokens, JSON Web Tokens, and what follows the scheme of a header.
static NETS: LazyLock<[Mesh; 4]> = LazyLock::new(|| {
    let net = |begins: &'static str, stays, ends| Mesh { begins: Finder::new(begins), stays, ends };
    [
        net("sp1_", 4, our_token),
        net("eyJ", 0, web_token),
        net("Bearer ", 7, credentials),
        net("bearer ", 7, credentials),
    ]
});

/// Two letters, an underscore, and base64url.
fn our_token(rest: &[u8]) -> Option<usize> {
    let kind = rest.first_chunk::<3>()?;
    let [first, second, b'_'] = kind else { return None };
    let length = run(&rest[3..], is_base64url);
    (first.is_ascii_lowercase() && second.is_ascii_lowercase() && length >= SHORTEST).then_some(3 + length)
}

/// Two parts with a dot between, at least; a third is taken along.
fn web_token(rest: &[u8]) -> Option<usize> {
    let head = run(rest, is_base64url);
    let body = run(rest.get(head..)?.strip_prefix(b".")?, is_base64url);
    let whole = run(rest, |byte| is_base64url(byte) || byte == b'.');
    (body >= SHORTEST).then_some(whole)
}

/// RFC 6750 section 2.1. A word of prose is shorter.
fn credentials(rest: &[u8]) -> Option<usize> {
    let length = run(rest, |byte| is_base64url(byte) || matches!(byte, b'.' | b'~' | b'+' | b'/'));
    (length >= LONGER_THAN_WORDS).then_some(length)
}

fn run(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| belongs(**byte)).count()
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

const SHORTEST: usize = 16;
const LONGER_THAN_WORDS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(line: &str) -> String {
        without_secrets(line.to_owned())
    }

    #[test]
    fn what_looks_like_a_secret_is_taken_out_and_the_rest_stays() {
        let token = format!("sp1_at_{}", "Ab-_".repeat(30));
        let web = format!("eyJ{}.eyJ{}.{}", "a".repeat(20), "b".repeat(40), "c".repeat(43));
        let before = redactions();
        assert_eq!(clean(&format!("a {token} b {token}.")), "a sp1_[redacted] b sp1_[redacted].");
        assert_eq!(clean(&format!("{{\"x\":\"{web}\"}}")), "{\"x\":\"[redacted]\"}");
        assert_eq!(clean(&format!("Authorization: Bearer {web}!")), "Authorization: Bearer [redacted]!");
        assert_eq!(clean("bearer abcdefghijklmnopqrst~+/= x"), "bearer [redacted]= x");
        assert_eq!(clean(&format!("ä{token}ü")), "äsp1_[redacted]ü");
        assert!(redactions() >= before + 6);
    }

    #[test]
    fn prose_is_left_alone() {
        for line in [
            "",
            "sp1_",
            "sp1_at_",
            "not beginning with sp1_ and more",
            "sp1_at_short",
            "sp1_AT_AAAAAAAAAAAAAAAAAAAAAAAAA",
            "eyJ",
            "eyJhbGciOiJSUzI1NiJ9",
            "eyJhbGciOiJSUzI1NiJ9.short",
            "Bearer realm=\"x\"",
            "Bearer resource_metadata=\"https://mcp.example.com/.well-known/x\"",
            "no bearer token",
            "the bearer authentication of this",
        ] {
            assert_eq!(redacted(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_writer_has_the_net_before_it() {
        let mut written = Vec::new();
        let mut writer = NetWriter(&mut written);
        writer.write_all(b"token sp1_rt_AAAAAAAAAAAAAAAAAAAAAAAA\n").unwrap();
        writer.write_all(b"nothing\n").unwrap();
        assert_eq!(written, b"token sp1_[redacted]\nnothing\n");
    }
}
