//! Requests over HTTP/1.1 as an attacker writes them, and what may become of each.

/// In a case: the lines that an honest request has, host, token and `x-case`.
pub const HONEST: &str = "§";
/// In a case: a whole request with a token, which must never go upstream.
pub const HIDDEN: &str = "¤";

pub struct Case {
    pub raw: Vec<u8>,
    pub wanted: Wanted,
}

/// What becomes of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing goes upstream, and the connection is closed, with an answer or without.
    Refused,
    /// It is no whole request: more is waited for, within bounds, and nothing goes upstream whole.
    Waiting,
    /// Nothing goes upstream, and this is the answer.
    Answered(u16),
    /// It goes upstream once, with this method and body, and the connection is of use afterwards.
    Carried(&'static str, &'static str),
    /// The same, and the connection is closed afterwards.
    Last(&'static str, &'static str),
}

use Wanted::{Answered, Carried, Last, Refused, Waiting};

/// All of them.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |raw: String, wanted| cases.push(Case { raw: raw.into_bytes(), wanted });
    for (lines, wanted) in LENGTHS {
        add(format!("POST /mcp HTTP/1.1\r\n{HONEST}{lines}\r\n{{}}"), wanted);
    }
    for (lines, wanted) in CODINGS {
        add(format!("POST /mcp HTTP/1.1\r\n{HONEST}{lines}\r\n2\r\n{{}}\r\n0\r\n\r\n"), wanted);
    }
    for (body, wanted) in CHUNKS {
        add(format!("POST /mcp HTTP/1.1\r\n{HONEST}transfer-encoding: chunked\r\n\r\n{body}"), wanted);
    }
    for (line, wanted) in LINES {
        add(format!("{line}\r\n{HONEST}content-length: 2\r\n\r\n{{}}"), wanted);
    }
    for (lines, wanted) in FIELDS {
        add(format!("POST /mcp HTTP/1.1\r\n{HONEST}{lines}content-length: 2\r\n\r\n{{}}"), wanted);
    }
    for (raw, wanted) in WHOLE {
        add(raw.to_owned(), wanted);
    }
    for (raw, wanted) in BYTES {
        cases.push(Case { raw: raw.to_vec(), wanted });
    }
    cases
}

/// Of a body of two bytes.
const LENGTHS: [(&str, Wanted); 42] = [
    ("content-length: 2\r\n", Carried("POST", "{}")),
    ("content-length: 02\r\n", Carried("POST", "{}")),
    ("content-length:2\r\n", Carried("POST", "{}")),
    ("content-length:\t2 \r\n", Carried("POST", "{}")),
    ("content-length: 2\n", Carried("POST", "{}")),
    ("content-length: 2\r\ncontent_length: 40\r\n", Carried("POST", "{}")),
    ("content-length: 2\r\ncontent-length: 2\r\n", Refused),
    ("content-length: 2\r\ncontent-length: 3\r\n", Refused),
    ("content-length: 0\r\ncontent-length: 2\r\n", Refused),
    ("content-length: 2\r\ncontent-length: x\r\n", Refused),
    ("content-length: 2, 2\r\n", Refused),
    ("content-length: 2, 3\r\n", Refused),
    ("content-length: 2,\r\n", Refused),
    ("content-length: ,2\r\n", Refused),
    ("content-length: 2;3\r\n", Refused),
    ("content-length: 2 3\r\n", Refused),
    ("content-length: +2\r\n", Refused),
    ("content-length: -2\r\n", Refused),
    ("content-length: -0\r\n", Refused),
    ("content-length: 2x\r\n", Refused),
    ("content-length: 0x2\r\n", Refused),
    ("content-length: 2.0\r\n", Refused),
    ("content-length: 2e0\r\n", Refused),
    ("content-length: 1_0\r\n", Refused),
    ("content-length: \"2\"\r\n", Refused),
    ("content-length:\r\n", Refused),
    ("content-length: \u{662}\r\n", Refused),
    ("content-length: \u{ff12}\r\n", Refused),
    ("content-length: 18446744073709551615\r\n", Refused),
    ("content-length: 18446744073709551616\r\n", Refused),
    ("content-length: 18446744073709551618\r\n", Refused),
    ("content-length: 4294967298\r\n", Refused),
    ("content-length : 2\r\n", Refused),
    ("content-length\t: 2\r\n", Refused),
    (" content-length: 2\r\n", Refused),
    ("x: y\r\n content-length: 2\r\n", Refused),
    ("content-length:\r\n 2\r\n", Refused),
    ("content-length: 0\r\n 2\r\n", Refused),
    ("content-length\0: 2\r\n", Refused),
    ("content-length\x0b: 2\r\n", Refused),
    ("content-length: 2\0\r\n", Refused),
    ("content-length: 2\r\r\n", Refused),
];

/// Of a body in chunks.
const CODINGS: [(&str, Wanted); 36] = [
    ("transfer-encoding: chunked\r\n", Carried("POST", "{}")),
    ("Transfer-Encoding: Chunked\r\n", Carried("POST", "{}")),
    ("TRANSFER-ENCODING:\tCHUNKED \r\n", Carried("POST", "{}")),
    ("transfer-encoding: chunked\r\ntransfer_encoding: identity\r\n", Carried("POST", "{}")),
    ("content-length: 12\r\ntransfer-encoding: chunked\r\n", Refused),
    ("transfer-encoding: chunked\r\ncontent-length: 12\r\n", Refused),
    ("transfer-encoding: chunked\r\ncontent-length: 0\r\n", Refused),
    ("transfer-encoding: chunked\r\ncontent-length: x\r\n", Refused),
    ("transfer-encoding: chunked\r\ncontent-length :12\r\n", Refused),
    ("transfer-encoding: chunked\ncontent-length: 12\n", Refused),
    ("transfer-encoding: chunked, chunked\r\n", Refused),
    ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", Refused),
    ("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", Refused),
    ("transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n", Refused),
    ("transfer-encoding: identity, chunked\r\n", Refused),
    ("transfer-encoding: gzip, chunked\r\n", Refused),
    ("transfer-encoding: x, chunked\r\n", Refused),
    ("transfer-encoding: , chunked\r\n", Refused),
    ("transfer-encoding: chunked,\r\n", Refused),
    ("transfer-encoding: chunked, identity\r\n", Refused),
    ("transfer-encoding: chunked;q=1\r\n", Refused),
    ("transfer-encoding: \"chunked\"\r\n", Refused),
    ("transfer-encoding: 'chunked'\r\n", Refused),
    ("transfer-encoding: xchunked\r\n", Refused),
    ("transfer-encoding: identity\r\n", Refused),
    ("transfer-encoding: gzip\r\n", Refused),
    ("transfer-encoding:\r\n", Refused),
    ("transfer-encoding: chun\u{212a}ed\r\n", Refused),
    ("transfer-encoding: chunked\x0b\r\n", Refused),
    ("transfer-encoding: \x0bchunked\r\n", Refused),
    ("transfer-encoding: chunked\0\r\n", Refused),
    ("transfer-encoding : chunked\r\n", Refused),
    ("transfer-encoding\t: chunked\r\n", Refused),
    ("x: y\r\n transfer-encoding: chunked\r\n", Refused),
    ("transfer-encoding:\r\n chunked\r\n", Refused),
    ("transfer-encoding: x\r\n chunked\r\n", Refused),
];

/// Bodies in chunks.
const CHUNKS: [(&str, Wanted); 41] = [
    ("2\r\n{}\r\n0\r\n\r\n", Carried("POST", "{}")),
    ("0\r\n\r\n", Carried("POST", "")),
    ("1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", Carried("POST", "{}")),
    ("0002\r\n{}\r\n000\r\n\r\n", Carried("POST", "{}")),
    ("A\r\n0123456789\r\n0\r\n\r\n", Carried("POST", "0123456789")),
    ("2;a=b\r\n{}\r\n0;c\r\n\r\n", Carried("POST", "{}")),
    ("2;a=\"b;c\"\r\n{}\r\n0\r\n\r\n", Carried("POST", "{}")),
    ("2 ;a\r\n{}\r\n0\r\n\r\n", Carried("POST", "{}")),
    ("2\r\n{}\r\n0\r\nx-late: 1\r\n\r\n", Carried("POST", "{}")),
    ("2\r\n{}\r\n0\r\nauthorization: Bearer x\r\ncontent-length: 9\r\n\r\n", Carried("POST", "{}")),
    ("2\r\n{}\r\n0\r\ntransfer-encoding: chunked\r\nhost: evil.example\r\n\r\n", Carried("POST", "{}")),
    ("2\r\n{}\r\n0\r\n\r\n¤", Last("POST", "{}")),
    ("2\r\n{}\r\n0\r\n\r\n\r\n", Last("POST", "{}")),
    ("0\r\n\r\n¤", Last("POST", "")),
    ("2\n{}\n0\n\n", Refused),
    ("2\n{}\r\n0\r\n\r\n", Refused),
    ("2\r{}\r\n0\r\n\r\n", Refused),
    ("2\r\n{}\n0\r\n\r\n", Refused),
    ("2\r\n{}\r0\r\n\r\n", Refused),
    ("2\r\n{}0\r\n\r\n", Refused),
    ("2\r\n{}xx0\r\n\r\n", Refused),
    ("2\r\n{}\r\n0\n\n", Refused),
    ("2\r\n{}\r\n\r\n0\r\n\r\n", Carried("POST", "{}")),
    ("\r\n2\r\n{}\r\n0\r\n\r\n", Carried("POST", "")),
    (" 2\r\n{}\r\n0\r\n\r\n", Refused),
    ("0x2\r\n{}\r\n0\r\n\r\n", Refused),
    ("+2\r\n{}\r\n0\r\n\r\n", Refused),
    ("-2\r\n{}\r\n0\r\n\r\n", Refused),
    ("2,\r\n{}\r\n0\r\n\r\n", Refused),
    ("2 2\r\n{}\r\n0\r\n\r\n", Refused),
    ("g\r\n{}\r\n0\r\n\r\n", Refused),
    ("\r\n\r\n", Carried("POST", "")),
    (";a\r\n\r\n", Carried("POST", "")),
    ("2;a\nb\r\n{}\r\n0\r\n\r\n", Carried("POST", "{}")),
    ("2;\n{}\r\n0\r\n\r\n", Refused),
    ("2;a\rb\r\n{}\r\n0\r\n\r\n", Refused),
    ("10000000000000002\r\n{}\r\n0\r\n\r\n", Refused),
    ("ffffffffffffffff\r\n{}\r\n0\r\n\r\n", Refused),
    ("fffffffffffffffe\r\n{}\r\n0\r\n\r\n", Refused),
    ("7fffffffffffffff\r\n{}\r\n0\r\n\r\n", Waiting),
    ("2\r\n{}\r\n0\r\nx: y\n\n", Refused),
];

/// First lines.
const LINES: [(&str, Wanted); 46] = [
    ("POST /mcp HTTP/1.1", Carried("POST", "{}")),
    ("\r\nPOST /mcp HTTP/1.1", Carried("POST", "{}")),
    ("GET /mcp HTTP/1.1", Carried("GET", "{}")),
    ("HEAD /mcp HTTP/1.1", Carried("HEAD", "{}")),
    ("DELETE /mcp HTTP/1.1", Carried("DELETE", "{}")),
    ("POST http://localhost:PORT/mcp HTTP/1.1", Carried("POST", "{}")),
    ("POST http://evil.example/mcp HTTP/1.1", Refused),
    ("POST http://localhost:PORT@evil.example/mcp HTTP/1.1", Refused),
    ("POST http://evil.example@localhost:PORT/mcp HTTP/1.1", Refused),
    ("POST http:/\\localhost:PORT/mcp HTTP/1.1", Refused),
    ("POST http:///mcp HTTP/1.1", Refused),
    ("POST //evil.example/mcp HTTP/1.1", Answered(404)),
    ("POST https://localhost:PORT/admin HTTP/1.1", Answered(404)),
    ("POST localhost:PORT HTTP/1.1", Answered(404)),
    ("POST mcp HTTP/1.1", Answered(404)),
    ("POST * HTTP/1.1", Answered(404)),
    ("POST ?x HTTP/1.1", Answered(404)),
    ("OPTIONS * HTTP/1.1", Answered(404)),
    ("OPTIONS /mcp HTTP/1.1", Answered(204)),
    ("CONNECT /mcp HTTP/1.1", Answered(405)),
    ("CONNECT localhost:PORT HTTP/1.1", Answered(405)),
    ("CONNECT evil.example:443 HTTP/1.1", Refused),
    ("TRACE /mcp HTTP/1.1", Answered(405)),
    ("PATCH /mcp HTTP/1.1", Answered(405)),
    ("PRI /mcp HTTP/1.1", Answered(405)),
    ("post /mcp HTTP/1.1", Answered(405)),
    ("POSTX /mcp HTTP/1.1", Answered(405)),
    ("POST\t/mcp\tHTTP/1.1", Refused),
    ("POST  /mcp HTTP/1.1", Answered(404)),
    ("POST /mcp  HTTP/1.1", Answered(404)),
    ("POST /mcp HTTP/1.1 ", Refused),
    (" POST /mcp HTTP/1.1", Refused),
    ("POST /mcp", Refused),
    ("POST /mcp HTTP/0.9", Refused),
    ("POST /mcp HTTP/1.2", Refused),
    ("POST /mcp HTTP/1.10", Refused),
    ("POST /mcp HTTP/2.0", Refused),
    ("POST /mcp http/1.1", Refused),
    ("POST /mcp HTTP/1.1/", Refused),
    ("POST /mcp HTTP/1.1\rx", Refused),
    ("POST /mcp\0 HTTP/1.1", Answered(404)),
    ("POST /mcp\rHTTP/1.1", Refused),
    ("PO\0ST /mcp HTTP/1.1", Refused),
    ("POST: /mcp HTTP/1.1", Refused),
    ("/mcp HTTP/1.1", Refused),
    ("HTTP/1.1 200 OK", Refused),
];

/// Fields beside those of an honest request with a body of two bytes.
const FIELDS: [(&str, Wanted); 40] = [
    ("x: y\n", Carried("POST", "{}")),
    ("connection: x-one, authorization, mcp-session-id\r\nx-one: 1\r\n", Carried("POST", "{}")),
    ("connection: content-length\r\n", Carried("POST", "{}")),
    ("connection: transfer-encoding\r\n", Carried("POST", "{}")),
    ("connection: close\r\n", Last("POST", "{}")),
    ("connection: keep-alive, close\r\n", Last("POST", "{}")),
    ("connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n", Carried("POST", "{}")),
    ("connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAA\r\n", Carried("POST", "{}")),
    ("te: chunked\r\ntrailer: content-length\r\n", Carried("POST", "{}")),
    ("keep-alive: timeout=0\r\n", Carried("POST", "{}")),
    ("expect: 100-continue\r\n", Last("POST", "{}")),
    ("expect: 200-ok\r\n", Last("POST", "{}")),
    ("transfer_encoding: chunked\r\n", Carried("POST", "{}")),
    ("transfer.encoding: chunked\r\n", Carried("POST", "{}")),
    ("x-http-method-override: DELETE\r\n", Carried("POST", "{}")),
    ("content-encoding: chunked\r\n", Carried("POST", "{}")),
    ("connection: host\r\n", Refused),
    ("connection: x-forwarded-for\r\n", Refused),
    ("connection: a b\r\n", Refused),
    ("connection: \"close\"\r\n", Refused),
    ("host: localhost:PORT\r\n", Refused),
    ("host: evil.example\r\n", Refused),
    ("host : evil.example\r\n", Refused),
    ("x: y\r\n host: evil.example\r\n", Refused),
    ("x: y\r\n\tz\r\n", Refused),
    ("x : y\r\n", Refused),
    ("x\r\n", Refused),
    (": y\r\n", Refused),
    ("x y: z\r\n", Refused),
    ("x\0: z\r\n", Refused),
    ("x: a\0b\r\n", Refused),
    ("x: a\rb\r\n", Refused),
    ("x: a\r\rb: c\r\n", Refused),
    ("\rx: y\r\n", Refused),
    ("x(y): z\r\n", Refused),
    ("x: a\x01b\r\n", Refused),
    ("x: a\x7fb\r\n", Refused),
    ("\u{e9}: y\r\n", Refused),
    ("authorization: Bearer x\r\n", Answered(401)),
    ("origin: https://evil.example\r\n", Answered(403)),
];

/// Whole requests, and what comes behind them.
const WHOLE: [(&str, Wanted); 37] = [
    ("GET /mcp HTTP/1.1\r\n§\r\n", Carried("GET", "")),
    ("GET /mcp HTTP/1.1\n§\n", Carried("GET", "")),
    ("POST /mcp HTTP/1.1\r\n§\r\n", Carried("POST", "")),
    ("DELETE /mcp HTTP/1.1\r\n§transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", Carried("DELETE", "{}")),
    ("HEAD /mcp HTTP/1.1\r\n§\r\n", Carried("HEAD", "")),
    ("GET /mcp HTTP/1.0\r\n§\r\n", Last("GET", "")),
    ("POST /mcp HTTP/1.0\r\n§content-length: 2\r\n\r\n{}", Last("POST", "{}")),
    ("GET /mcp HTTP/1.0\r\n§connection: keep-alive\r\n\r\n", Carried("GET", "")),
    ("POST /mcp HTTP/1.0\r\n§transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", Refused),
    ("POST /mcp HTTP/1.0\r\n§content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", Refused),
    // A finding of `loadtest attack` (H4): it was 421.
    ("GET /mcp HTTP/1.1\r\n\r\n", Answered(400)),
    ("GET /mcp HTTP/1.0\r\n\r\n", Answered(421)),
    ("GET http://evil.example/mcp HTTP/1.1\r\n\r\n", Answered(400)),
    ("GET /mcp HTTP/1.1\r\nhost:\r\n\r\n", Answered(421)),
    ("GET /mcp HTTP/1.1\r\nhost: localhost:PORT, evil.example\r\n\r\n", Answered(421)),
    ("GET /mcp HTTP/1.1\r\nhost: localhost:PORT.\r\n\r\n", Answered(421)),
    ("GET /mcp HTTP/1.1\r\nhost: x@localhost:PORT\r\n\r\n", Refused),
    ("GET /mcp HTTP/1.1\r\nhost: localhost:PORT/x\r\n\r\n", Answered(421)),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refused),
    ("GET /mcp HTTP/1.1\r\n§\r\n¤", Last("GET", "")),
    ("GET /mcp HTTP/1.1\r\n§\r\n\r\n", Last("GET", "")),
    ("GET /mcp HTTP/1.1\r\n§\r\n\0", Last("GET", "")),
    ("POST /mcp HTTP/1.1\r\n§content-length: 0\r\n\r\n¤", Last("POST", "")),
    ("POST /mcp HTTP/1.1\r\n§\r\n¤", Last("POST", "")),
    ("POST /mcp HTTP/1.1\r\n§content-length: 2\r\n\r\n{}¤", Last("POST", "{}")),
    ("HEAD /mcp HTTP/1.1\r\n§\r\n¤", Last("HEAD", "")),
    ("DELETE /mcp HTTP/1.1\r\n§\r\n¤", Last("DELETE", "")),
    ("GET /mcp HTTP/1.1\r\n§expect: 100-continue\r\n\r\n¤", Last("GET", "")),
    ("GET /mcp HTTP/1.1\r\n§connection: upgrade\r\nupgrade: websocket\r\n\r\n¤", Last("GET", "")),
    ("GET /admin HTTP/1.1\r\n§\r\n¤", Answered(404)),
    ("POST /admin HTTP/1.1\r\n§content-length: 2\r\n\r\n{}¤", Answered(404)),
    ("POST /admin HTTP/1.1\r\n§transfer-encoding: chunked\r\n\r\n0\r\n\r\n¤", Answered(404)),
    ("POST /mcp HTTP/1.1\r\nhost: localhost:PORT\r\ncontent-length: 2\r\n\r\n{}¤", Answered(401)),
    ("OPTIONS /mcp HTTP/1.1\r\n§\r\n¤", Answered(204)),
    ("GET /.well-known/oauth-authorization-server HTTP/1.1\r\n§\r\n¤", Answered(200)),
    ("POST /token HTTP/1.1\r\n§content-length: 2\r\n\r\n{}¤", Answered(400)),
    ("PUT /mcp HTTP/1.1\r\n§content-length: 2\r\n\r\n{}¤", Answered(405)),
];

/// What is no text.
const BYTES: [(&[u8], Wanted); 4] = [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Refused),
    (b"\xff\xfe/mcp HTTP/1.1\r\n\r\n", Refused),
    (b"GET /mcp HTTP/1.1\r\nhost: \xff\r\n\r\n", Answered(421)),
    (b"\0\0\0\0\0\0\0\0\r\n\r\n", Refused),
];
