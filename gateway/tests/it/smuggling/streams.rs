//! Requests over HTTP/2 as an attacker writes them. What goes upstream goes over HTTP/1.1, where their parts are lines.

use super::http2::Message;

/// What becomes of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It goes upstream, as a POST with the body `{}`.
    Carried,
    Kept,
    /// What is wrong with it comes after a whole request, which goes upstream; but there is no answer.
    Cut,
}

use Wanted::{Carried, Cut, Kept};

/// `honest` are the fields of an honest POST, without a length.
pub fn cases(honest: &[(String, String)], authority: &str) -> Vec<(Message, Wanted)> {
    let mut cases = Vec::new();
    let message = |fields: Vec<(String, String)>| Message { fields, data: vec!["{}"], trailers: None };
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.replace("HERE", authority));
    for (added, wanted) in FIELDS {
        cases.push((message(honest.iter().cloned().chain(added.iter().copied().map(pair)).collect()), wanted));
    }
    for (name, value, wanted) in PSEUDO {
        let fields = honest.iter().map(
            |(own, kept)| {
                if own == name { pair((name, value)) } else { (own.clone(), kept.clone()) }
            },
        );
        cases.push((message(fields.collect()), wanted));
    }
    for missing in [":method", ":path", ":scheme", ":authority"] {
        cases.push((message(honest.iter().filter(|(name, _)| name != missing).cloned().collect()), Kept));
    }
    for repeated in [":method", ":path", ":scheme", ":authority"] {
        let twice = honest.iter().flat_map(|field| vec![field.clone(); 1 + usize::from(field.0 == repeated)]);
        cases.push((message(twice.collect()), Kept));
    }
    for (trailers, wanted) in TRAILERS {
        let trailers = Some(trailers.iter().copied().map(pair).collect());
        cases.push((Message { trailers, ..message(honest.to_vec()) }, wanted));
    }
    for (length, data, wanted) in LENGTHS {
        let fields = honest.iter().cloned().chain([pair(("content-length", length))]);
        cases.push((Message { data: data.to_vec(), ..message(fields.collect()) }, wanted));
    }
    cases.push((Message { data: vec!["{", "", "}", ""], ..message(honest.to_vec()) }, Carried));
    cases
}

/// Beside those of an honest request.
const FIELDS: [(&[(&str, &str)], Wanted); 35] = [
    (&[], Carried),
    (&[("content-length", "2")], Carried),
    (&[("content_length", "40")], Carried),
    (&[("te", "trailers")], Carried),
    (&[("expect", "100-continue")], Carried),
    (&[("x-forwarded-for", "127.0.0.1"), ("via", "x")], Carried),
    (&[("content-length", "+2")], Kept),
    (&[("content-length", "2, 2")], Kept),
    (&[("content-length", "2"), ("content-length", "2")], Kept),
    (&[("content-length", "2"), ("content-length", "3")], Kept),
    (&[("content-length", "2\r\ntransfer-encoding: chunked")], Kept),
    (&[("transfer-encoding", "chunked")], Kept),
    (&[("transfer-encoding", "identity")], Kept),
    (&[("transfer-encoding", "chunked"), ("content-length", "2")], Kept),
    (&[("Transfer-Encoding", "chunked")], Kept),
    (&[("transfer-encoding ", "chunked")], Kept),
    (&[("transfer-encoding:", "chunked")], Kept),
    (&[("connection", "close")], Kept),
    (&[("connection", "authorization")], Kept),
    (&[("keep-alive", "timeout=1")], Kept),
    (&[("proxy-connection", "close")], Kept),
    (&[("upgrade", "h2c")], Kept),
    (&[("te", "chunked")], Kept),
    (&[("x", "y\r\nx-forwarded-for: 1")], Kept),
    (&[("x", "y\nz: 1")], Kept),
    (&[("x", "y\rz")], Kept),
    (&[("x", "y\0z")], Kept),
    (&[("x\r\nz", "y")], Kept),
    (&[("x: y\r\nz", "y")], Kept),
    (&[("x y", "z")], Kept),
    (&[("", "z")], Kept),
    (&[("X-Upper", "z")], Kept),
    (&[(":path", "/mcp")], Kept),
    (&[(":x", "y")], Kept),
    (&[("host", "evil.example")], Kept),
];

/// In place of an honest one.
const PSEUDO: [(&str, &str, Wanted); 29] = [
    (":path", "/mcp/", Carried),
    (":path", "", Kept),
    (":path", "*", Kept),
    (":path", "mcp", Kept),
    (":path", "//HERE/mcp", Kept),
    (":path", "http://HERE/admin", Kept),
    (":path", "/mcp HTTP/1.1\r\nx: y", Kept),
    (":path", "/mcp HTTP/1.1", Kept),
    (":path", "/mcp\r\n\r\nGET /x", Kept),
    (":path", "/mcp\n", Kept),
    (":path", "/mcp\t", Kept),
    (":path", "/mcp\0", Kept),
    (":path", "/mcp?x\r\ny: z", Kept),
    (":path", "/mcp?x y", Kept),
    (":path", "/mcp#x", Carried),
    (":path", "/%6dcp", Kept),
    (":method", "", Kept),
    (":method", "post", Kept),
    (":method", "POST /admin HTTP/1.1\r\nx:", Kept),
    (":method", "PO ST", Kept),
    (":method", "CONNECT", Kept),
    (":method", "TRACE", Kept),
    (":authority", "evil.example", Kept),
    (":authority", "x@HERE", Kept),
    (":authority", "HERE/x", Kept),
    (":authority", "HERE\r\nx: y", Kept),
    (":authority", "", Kept),
    (":scheme", "https://HERE/admin?", Kept),
    (":scheme", "", Carried),
];

const TRAILERS: [(&[(&str, &str)], Wanted); 5] = [
    (&[("x-late", "1")], Carried),
    (&[("content-length", "9"), ("authorization", "Bearer x")], Carried),
    (&[(":path", "/admin")], Carried),
    (&[("x", "y\r\nz: 1")], Kept),
    (&[("transfer-encoding", "chunked")], Kept),
];

/// Lengths that are not those of the data.
const LENGTHS: [(&str, &[&str], Wanted); 7] = [
    ("1", &["{}"], Kept),
    ("3", &["{}"], Kept),
    ("0", &["{}"], Cut),
    ("2", &[], Kept),
    ("2", &["{}", "{}"], Cut),
    ("2x", &["{}"], Kept),
    ("18446744073709551618", &["{}"], Kept),
];
