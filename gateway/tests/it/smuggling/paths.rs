//! Paths that are nearly one of ours: whatever is not exactly one gets nowhere, by any method, with a good token.

use futures_util::{StreamExt, stream};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::recorder::Recorder;
use super::{AT_ONCE, PATIENCE, answer};
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client};

const METHODS: [&str; 6] = ["GET", "POST", "DELETE", "HEAD", "PUT", "OPTIONS"];
const OURS: [&str; 3] = ["/mcp", "/mcp/sse", "/mcp/message"];

#[tokio::test]
async fn nothing_unrouted_gets_through() {
    let recorder = Recorder::start().await;
    let gateway = Gateway::start(&recorder.url).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let paths = paths();
    assert!(paths.len() >= 300, "{}", paths.len());
    let lines = format!("host: localhost:{}\r\nauthorization: Bearer {token}\r\n", gateway.port);
    let asked = stream::iter(&paths).map(|path| statuses(gateway.port, path, &lines)).buffered(AT_ONCE);
    let statuses: Vec<_> = asked.collect().await;
    for (path, statuses) in paths.iter().zip(statuses) {
        // What is no path at all ends the connection. Of our own documents, which all have one folder, pages may ask for any.
        let document = path.starts_with("/.well-known/");
        let is_no = |status: &u16| matches!(status, 404 | 400 | 0) || document && matches!(status, 405 | 204);
        assert!(statuses.iter().all(is_no), "{path:?} {statuses:?}");
    }
    assert!(recorder.seen().is_empty() && recorder.doubts().is_empty(), "{:?}", recorder.seen());
}

/// By each method, on one connection as long as it lives.
async fn statuses(port: u16, path: &str, lines: &str) -> Vec<u16> {
    let mut statuses = Vec::new();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    for method in METHODS {
        let request = format!("{method} {path} HTTP/1.1\r\n{lines}content-length: 2\r\n\r\n{{}}");
        let asked = async {
            stream.write_all(request.as_bytes()).await.ok()?;
            Some(answer(&mut stream, method == "HEAD").await.0)
        };
        let status = timeout(PATIENCE, asked).await.expect("an answer or an end").unwrap_or(0);
        statuses.push(status);
        if matches!(status, 400 | 0) {
            stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        }
    }
    statuses
}

fn paths() -> Vec<String> {
    let ours = |path: &String| OURS.contains(&path.as_str()) || path == "/mcp/";
    let around = OURS.iter().flat_map(|own| {
        let behind = BEHIND.iter().map(move |end| format!("{own}{end}"));
        behind.chain(BEFORE.iter().map(move |start| format!("{start}{own}")))
    });
    let mut paths: Vec<_> = around.chain(OTHERS.iter().map(|path| (*path).to_owned())).collect();
    // What is ours in a query does not count.
    paths.extend(OTHERS[..20].iter().map(|path| format!("{path}?/mcp")));
    paths.retain(|path| !ours(path));
    paths
}

const BEHIND: [&str; 62] = [
    "%2f",
    "%2F",
    "//",
    "/.",
    "/..",
    "/../",
    "/./",
    "/../mcp",
    "/..;/",
    ";",
    ";x",
    ";a=b",
    ";/",
    "/;",
    "%3b",
    "%00",
    "%0a",
    "%0d%0a",
    "%20",
    "%09",
    "\\",
    "\\..",
    "%5c",
    "%5C..",
    "%3f",
    "%3fx",
    "%23",
    "..",
    ".",
    ".json",
    "/x",
    "x",
    "/mcp",
    "%2e",
    "%2e%2e",
    "/%2e",
    "/%2e%2e",
    "/%2e%2e/",
    "%252f",
    "%252e",
    "/%c0%ae",
    "%c0%af",
    "%uff0f",
    "\u{ff0f}",
    "\u{2215}",
    "\u{200b}",
    "\u{e9}",
    "+",
    "~",
    "*",
    "!",
    "'",
    "@evil.example",
    ":80",
    ",x",
    "&x",
    "=x",
    "$",
    "|x",
    "//sse",
    "/SSE",
    "/message/",
];

const BEFORE: [&str; 30] = [
    "/",
    "//",
    "/.",
    "/..",
    "/./.",
    "/x/..",
    "/x/../..",
    "/%2e",
    "/%2e%2e",
    "/%2f",
    "/%5c",
    "/\\",
    "\\",
    "/;",
    "/;x",
    "/~",
    "/_",
    "/api",
    "/v1",
    "/mcp/..",
    "/mcp/.",
    "/mcp/../..",
    "/%252e%252e",
    "/authorize/..",
    "/.well-known/..",
    "/%00",
    "/\u{200b}",
    "/%20",
    "/*",
    "x",
];

const OTHERS: [&str; 64] = [
    "/",
    "/admin",
    "/metrics",
    "/healthz",
    "/readyz",
    "/sessions",
    "/sessions/revoke",
    "/.env",
    "/.git/config",
    "/.well-known",
    "/.well-known/",
    "/.well-known/mcp",
    "/index.html",
    "/robots.txt",
    "/static",
    "/internal",
    "/debug/pprof",
    "/actuator",
    "/server-status",
    "/MCP",
    "/Mcp",
    "/mCp",
    "/mcP",
    "/mcp/SSE",
    "/mcp/Sse",
    "/mcp/Message",
    "/%6dcp",
    "/m%63p",
    "/mc%70",
    "/%4d%43%50",
    "/mcp/%73se",
    "/mcp/s%73e",
    "/mcp%2fsse",
    "/mcp%5csse",
    "/mcp%252fsse",
    "/mcp\\sse",
    "/mcp/./sse",
    "/mcp/x/../sse",
    "/mcp/;/sse",
    "/mcp;/sse",
    "/\u{ff4d}cp",
    "/m\u{441}p",
    "/mcp\u{307}",
    "/mcp-",
    "/mcp_",
    "/mcps",
    "/mc",
    "/m",
    "/mcp/s",
    "/mcp/ss",
    "/mcp/sse/sse",
    "/mcp/message/x",
    "/mcp/messages",
    "/sse",
    "/message",
    "/token/",
    "/token%2f",
    "/TOKEN",
    "/Authorize",
    "/register/",
    "/consent/",
    "/revoke/",
    "/oauth-callback/",
    "/authorize;x",
];
