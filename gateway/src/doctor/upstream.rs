//! Every MCP server: whether it answers as one, in both eras of the protocol, to a client that has no token. A 401 is the best
//! answer: the server wants to see whose call it is.

use std::sync::Arc;

use futures_util::future::join_all;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::finding::shown;
use super::{Finding, Subject};
use crate::pool::{self, Answer, Peer, Pool};

pub async fn look(subject: &Subject) -> Vec<Finding> {
    join_all(subject.settings.upstreams.iter().map(|upstream| of_group(&upstream.pool))).await.concat()
}

async fn of_group(settings: &pool::Settings) -> Vec<Finding> {
    let (name, own) = (settings.name.clone(), settings.clone());
    // Looks names up, which blocks.
    let pool = match spawn_blocking(move || Pool::new(own)).await {
        Ok(Ok(pool)) => pool,
        Ok(Err(error)) => {
            let fix = "correct the upstream's servers, or the name server: the edge does not start like this";
            return vec![Finding::fail("upstream.dns", shown(&error.to_string()), fix)];
        }
        Err(_) => return vec![Finding::fail("upstream.dns", format!("{name}: not looked up"), "ask again")],
    };
    let pool = Arc::new(pool);
    let servers = pool.servers().into_iter().filter_map(|server| Some((server.server, pool.peer(server.address)?)));
    join_all(servers.map(|(url, peer)| {
        let origin = format!("{name} at {}", url.as_str().trim_end_matches('/'));
        async move { of_server(&origin, &peer).await }
    }))
    .await
    .concat()
}

async fn of_server(server: &str, peer: &Peer) -> Vec<Finding> {
    let initialized = match peer.ask(initialize(), &[]).await {
        Ok(answer) => answer,
        Err(error) => {
            let says = format!("{server} gives no answer: {}", shown(&error));
            let fix = "start the server, and see that this machine may reach it; with TLS see [upstream.tls], with HTTP/2 \
                       upstream.http";
            return vec![Finding::fail("upstream.initialize", says, fix)];
        }
    };
    let mut findings = vec![judged("upstream.initialize", server, "initialize", &initialized)];
    if findings[0].level == super::Level::Fail {
        return findings;
    }
    let headers = [
        (HeaderName::from_static("mcp-protocol-version"), HeaderValue::from_static(MODERN)),
        (HeaderName::from_static("mcp-method"), HeaderValue::from_static("server/discover")),
    ];
    findings.push(match peer.ask(discover(), &headers).await {
        // As servers of the earlier era say that they know no such method (C19).
        Ok(answer) if matches!(answer.status.as_u16(), 400 | 404 | 405 | 406 | 422) || is_unknown_method(&answer) => {
            let says = format!("{server} speaks the versions of the protocol before {MODERN}, which clients take too");
            Finding::ok("upstream.discover", says)
        }
        Ok(answer) => judged("upstream.discover", server, "server/discover", &answer),
        Err(error) => {
            let says = format!("{server} gives no answer to server/discover: {}", shown(&error));
            Finding::fail("upstream.discover", says, "see the server's log")
        }
    });
    findings
}

fn judged(check: &'static str, server: &str, method: &str, answer: &Answer) -> Finding {
    let status = answer.status.as_u16();
    match answer.status {
        StatusCode::UNAUTHORIZED => {
            Finding::ok(check, format!("{server} answers {method} with 401: it wants the user's token"))
        }
        StatusCode::FORBIDDEN => Finding::ok(check, format!("{server} answers {method} with 403 to who has no token")),
        StatusCode::OK if message(answer).is_some() => Finding::warn(
            check,
            format!("{server} answers {method} to anybody, without a token"),
            "let the server verify Entra's token, and let nobody but the edge reach it: the first that gets there is in",
        ),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Finding::fail(
            check,
            format!("{server} answers {method} with {status}: no Streamable HTTP at this path"),
            "set the upstream's endpoint to the path of MCP on the server",
        ),
        status if status.is_redirection() => Finding::fail(
            check,
            format!("{server} answers {method} with {}, a redirect: it is not followed", status.as_u16()),
            "set the upstream's endpoint to where it leads, perhaps with or without a slash at its end",
        ),
        _ => Finding::fail(
            check,
            format!("{server} answers {method} with {status}, which is no answer of MCP"),
            "see the server's log, and that it is an MCP server",
        ),
    }
}

/// The JSON-RPC answer, alone or as an event.
fn message(answer: &Answer) -> Option<Value> {
    let text = String::from_utf8_lossy(&answer.body);
    let event = text.lines().filter_map(|line| line.strip_prefix("data:")).find(|data| data.contains('{'));
    let message: Value = serde_json::from_str(event.unwrap_or(&text).trim()).ok()?;
    (message["jsonrpc"] == "2.0").then_some(message)
}

fn is_unknown_method(answer: &Answer) -> bool {
    message(answer).is_some_and(|message| message["error"]["code"] == METHOD_NOT_FOUND)
}

fn initialize() -> String {
    let client = json!({"name": "sallyport doctor", "version": env!("CARGO_PKG_VERSION")});
    let parameters = json!({"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client});
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": parameters}).to_string()
}

fn discover() -> String {
    let about = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "sallyport doctor", "version": env!("CARGO_PKG_VERSION")},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": about}}).to_string()
}

/// The last version with `initialize`, and the first without.
const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";
/// Of JSON-RPC.
const METHOD_NOT_FOUND: i64 = -32601;
