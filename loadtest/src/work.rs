//! Requests, prepared once and sent many times, and what their answers must be.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use memchr::memmem;
use rand::Rng;

use crate::failure::Failure;
use crate::mix::Mix;
use crate::target::Target;
use crate::wire::Answer;

/// `tools/list` of the 2026-07-28 revision, which needs no session of MCP's: each request stands alone.
const TOOLS_LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"loadtest","version":"0.1"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#;

/// A call of a tool, likewise.
const TOOLS_CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"loadtest","version":"0.1"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#;

pub struct Work {
    method: Method,
    path: Uri,
    headers: HeaderMap,
    body: Bytes,
    /// A request as bytes, up to where `Authorization` goes.
    head: Vec<u8>,
    /// One `Authorization` for each session; none: the headers say all.
    bearers: Vec<HeaderValue>,
    mix: Option<Mix>,
    expected: Expected,
}

/// What makes an answer a good one.
#[derive(Clone, Debug)]
pub struct Expected {
    pub status: StatusCode,
    /// Text that the body has: a JSON-RPC error comes with 200 too.
    pub text: Option<&'static str>,
}

impl Work {
    /// A POST of `body`, or a GET without one, with `headers` and nothing else.
    pub fn new(target: &Target, mut headers: HeaderMap, body: Option<Bytes>, expected: Expected) -> Self {
        headers.insert(HOST, target.host().clone());
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let (path, body) = (target.path(), body.unwrap_or_default());
        let head = head(&method, &path, &headers, body.len());
        Self { method, path, headers, body, head, bearers: Vec::new(), mix: None, expected }
    }

    /// `tools/list`.
    pub fn tools_list(target: &Target, expected: Expected) -> Self {
        Self::new(target, headers("tools/list"), Some(Self::tools_list_body()), expected)
    }

    /// `tools/call` of a tool named `echo`.
    pub fn tools_call(target: &Target, expected: Expected) -> Self {
        let mut headers = headers("tools/call");
        headers.insert("mcp-name", HeaderValue::from_static("echo"));
        Self::new(target, headers, Some(Bytes::from_static(TOOLS_CALL.as_bytes())), expected)
    }

    pub fn tools_list_body() -> Bytes {
        Bytes::from_static(TOOLS_LIST.as_bytes())
    }

    /// Sent by these tokens, chosen by `mix`.
    ///
    /// # Errors
    /// When a token cannot stand in a header.
    pub fn by<'a>(mut self, tokens: impl IntoIterator<Item = &'a str>, mix: Mix) -> anyhow::Result<Self> {
        for token in tokens {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))?;
            value.set_sensitive(true);
            self.bearers.push(value);
        }
        self.mix = Some(mix);
        Ok(self)
    }

    /// The next request.
    pub fn request(&self, random: &mut impl Rng) -> Request<Full<Bytes>> {
        let mut headers = self.headers.clone();
        if let Some(bearer) = self.bearer(random) {
            headers.insert(AUTHORIZATION, bearer.clone());
        }
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = headers;
        request
    }

    /// Puts the next request into `buffer`, in the place of what is there.
    pub fn write(&self, random: &mut impl Rng, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(&self.head);
        if let Some(bearer) = self.bearer(random) {
            buffer.extend_from_slice(b"authorization: ");
            buffer.extend_from_slice(bearer.as_bytes());
            buffer.extend_from_slice(b"\r\n");
        }
        buffer.extend_from_slice(b"\r\n");
        buffer.extend_from_slice(&self.body);
    }

    fn bearer(&self, random: &mut impl Rng) -> Option<&HeaderValue> {
        self.bearers.get(self.mix.as_ref()?.choose(random))
    }

    /// # Errors
    /// Says what the answer is not.
    pub fn judge(&self, answer: &Answer<'_>) -> Result<(), Failure> {
        self.judge_status(answer.status)?;
        match self.expected.text {
            Some(text) if memmem::find(&answer.body, text.as_bytes()).is_none() => Err(Failure::Content(text)),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// When it is not the expected one.
    pub fn judge_status(&self, status: StatusCode) -> Result<(), Failure> {
        let (got, expected) = (status.as_u16(), self.expected.status.as_u16());
        if got == expected { Ok(()) } else { Err(Failure::Status { got, expected }) }
    }
}

impl Expected {
    /// A result of JSON-RPC.
    pub const RESULT: Self = Self { status: StatusCode::OK, text: Some("\"result\"") };
    /// The refusal of a token.
    pub const REFUSED: Self = Self { status: StatusCode::UNAUTHORIZED, text: None };
}

fn head(method: &Method, path: &Uri, headers: &HeaderMap, length: usize) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    if method == Method::POST {
        head.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
    }
    head
}

fn headers(mcp_method: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("mcp-protocol-version", HeaderValue::from_static("2026-07-28"));
    headers.insert("mcp-method", HeaderValue::from_static(mcp_method));
    headers
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn an_error_that_comes_with_200_is_an_error() {
        let work = Work::tools_list(&"http://localhost/mcp".parse().unwrap(), Expected::RESULT);
        let answer = |status, body: &'static str| work.judge(&Answer { status, body: Cow::Borrowed(body.as_bytes()) });
        assert_eq!(answer(StatusCode::OK, r#"{"id":1,"result":{}}"#), Ok(()));
        assert_eq!(answer(StatusCode::OK, r#"{"id":1,"error":{}}"#), Err(Failure::Content("\"result\"")));
        assert_eq!(answer(StatusCode::SERVICE_UNAVAILABLE, ""), Err(Failure::Status { got: 503, expected: 200 }));
    }

    #[test]
    fn each_session_sends_its_own_token_and_none_is_shown() {
        let work = Work::tools_list(&"http://localhost:1/mcp".parse().unwrap(), Expected::RESULT);
        let work = work.by(["one", "two"], Mix::new(2, 0.0).unwrap()).unwrap();
        let mut random = SmallRng::seed_from_u64(3);
        let requests: Vec<_> = (0..50).map(|_| work.request(&mut random)).collect();
        for token in ["Bearer one", "Bearer two"] {
            assert!(requests.iter().any(|request| request.headers()["authorization"] == token), "{token}");
        }
        assert!(!format!("{:?}", requests[0]).contains("Bearer"));
        assert_eq!(requests[0].headers()["host"], "localhost:1");
    }

    #[test]
    fn as_bytes_a_request_is_the_same() {
        let work = Work::tools_list(&"http://localhost:1/mcp".parse().unwrap(), Expected::RESULT);
        let work = work.by(["one"], Mix::new(1, 0.0).unwrap()).unwrap();
        let mut bytes = b"what was there".to_vec();
        work.write(&mut SmallRng::seed_from_u64(3), &mut bytes);
        let mut headers = [httparse::EMPTY_HEADER; 20];
        let mut request = httparse::Request::new(&mut headers);
        let length = request.parse(&bytes).unwrap().unwrap();
        assert_eq!((request.method, request.path), (Some("POST"), Some("/mcp")));
        let value = |name| request.headers.iter().find(|header| header.name == name).map(|header| header.value);
        assert_eq!(value("authorization"), Some(&b"Bearer one"[..]));
        assert_eq!(value("host"), Some(&b"localhost:1"[..]));
        assert_eq!(value("content-length"), Some(TOOLS_LIST.len().to_string().as_bytes()));
        assert_eq!(&bytes[length..], TOOLS_LIST.as_bytes());
    }
}
