//! Plain HTTP beside the edge: people who type the address without `https` are led there; programs are told.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method, Response, StatusCode};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;

use crate::edge::{Live, header_arrived};
use crate::public_url::PublicUrl;

pub struct Redirect {
    pub public_url: PublicUrl,
    /// Says where MCP is spoken. A client that was redirected there would send its token in clear a second time tomorrow (C4).
    pub live: Arc<ArcSwap<Live>>,
}

impl Redirect {
    fn answer(&self, method: &Method, headers: &HeaderMap, path_and_query: &str) -> Response<Vec<u8>> {
        let live = self.live.load();
        answer_of(&self.public_url, live.routes.paths(), method, headers, path_and_query)
    }
}

fn answer_of<'a>(
    public_url: &PublicUrl,
    mut mcp: impl Iterator<Item = &'a str>,
    method: &Method,
    headers: &HeaderMap,
    path_and_query: &str,
) -> Response<Vec<u8>> {
    let path = path_and_query.split('?').next().unwrap_or_default();
    if headers.contains_key(AUTHORIZATION) || mcp.any(|mcp| is_at_or_under(path, mcp)) {
        let words = "Use https. Whatever was sent here went over the network in clear.\n";
        return answer(StatusCode::FORBIDDEN, words);
    }
    if method != Method::GET && method != Method::HEAD {
        let mut answer = answer(StatusCode::METHOD_NOT_ALLOWED, "Use https.\n");
        answer.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    // Our own origin stands before it, and no `Host` header has a say: it leads nowhere else, whatever the path is.
    match format!("{}{path_and_query}", public_url.as_str()).parse() {
        Ok(location) if path.starts_with('/') => {
            let mut answer = answer(StatusCode::PERMANENT_REDIRECT, "Use https.\n");
            answer.headers_mut().insert(LOCATION, location);
            answer
        }
        _ => answer(StatusCode::BAD_REQUEST, "Use https.\n"),
    }
}

#[async_trait]
impl ServeHttp for Redirect {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        header_arrived();
        let header = session.req_header();
        let path_and_query = header.uri.path_and_query().map_or("", |whole| whole.as_str());
        self.answer(&header.method, &header.headers, path_and_query)
    }
}

fn is_at_or_under(path: &str, mcp: &str) -> bool {
    path.strip_prefix(mcp).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn answer(status: StatusCode, words: &str) -> Response<Vec<u8>> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(CONTENT_LENGTH, words.len())
        .body(words.as_bytes().to_vec())
        .expect("the parts are well-formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(method: Method, path: &str, authorization: bool) -> (u16, Option<String>) {
        let public_url = PublicUrl::parse("https://mcp.example.com").unwrap();
        let mut headers = HeaderMap::new();
        if authorization {
            headers.insert(AUTHORIZATION, http::HeaderValue::from_static("Bearer x"));
        }
        let answer = answer_of(&public_url, ["/mcp"].into_iter(), &method, &headers, path);
        let location = answer.headers().get(LOCATION).map(|location| location.to_str().unwrap().to_owned());
        (answer.status().as_u16(), location)
    }

    #[test]
    fn people_are_led_to_our_own_origin_and_nowhere_else() {
        for path in ["/", "/authorize?client_id=a%20b", "//evil.example/x", "/\\evil.example", "/@evil.example"] {
            let location = format!("https://mcp.example.com{path}");
            assert_eq!(answered(Method::GET, path, false), (308, Some(location)), "{path}");
        }
        for path in ["", "*", "evil.example", "@evil.example/"] {
            assert_eq!(answered(Method::GET, path, false), (400, None), "{path}");
        }
    }

    #[test]
    fn programs_are_told() {
        for path in ["/mcp", "/mcp/", "/mcp/sse", "/mcp?x=y"] {
            assert_eq!(answered(Method::GET, path, false), (403, None), "{path}");
            assert_eq!(answered(Method::POST, path, true), (403, None), "{path}");
        }
        assert_eq!(answered(Method::GET, "/", true), (403, None));
        assert_eq!(answered(Method::POST, "/token", false), (405, None));
        assert_eq!(answered(Method::GET, "/mcp-guide", false).0, 308);
    }
}
