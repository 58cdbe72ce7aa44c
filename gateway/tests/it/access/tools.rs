//! Which tools may be called.

use super::*;
use crate::support::journey::ALEX;

#[tokio::test]
async fn a_call_that_is_allowed_goes_on_byte_for_byte() {
    let guarded = Guarded::start().await;
    for body in [
        call("get_user"),
        " {\"id\" :1,\n\"method\":\"tools\\/call\", \"params\":{\"name\":\"get_\\u0075ser\",\"arguments\":{\"a\":1,\"a\":2}} }\n".to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":3,"result":{"method":"tools/call","params":{"name":"debug"}}}"#.to_owned(),
        format!("[{},{}]", call("get_user"), r#"{"id":2,"method":"ping"}"#),
    ] {
        let answer = guarded.post(body.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{body}");
        let seen = guarded.upstream.seen().pop().unwrap();
        assert_eq!(seen.body, body);
        assert_eq!(seen.headers["content-length"], body.len().to_string());
        assert_eq!(answer.text().await.unwrap(), body, "and the answer comes back");
    }
    for kind in ["tool", "unclear_body", "unclear_headers"] {
        assert_eq!(guarded.refused(kind).await, 0.0);
    }
}

#[tokio::test]
async fn a_call_that_is_refused_is_told_to_whoever_called() {
    let guarded = Guarded::start().await;
    for (count, (tool, written)) in
        [("delete_user", "delete_user"), ("debug", "d\\u0065bug"), ("delete_", "delete\\u005f")].into_iter().enumerate()
    {
        let body = call(tool).replace(tool, written);
        let (status, answer) = guarded.answer(guarded.post(body)).await;
        assert_eq!((status.as_u16(), &answer["id"], &answer["jsonrpc"]), (200, &json!(7), &json!("2.0")), "{tool}");
        assert_eq!(answer["error"]["code"], -32003);
        assert!(answer["error"]["message"].as_str().unwrap().contains("may not call this tool"));
        assert_eq!(guarded.refused("tool").await as usize, count + 1);
    }
    // A notification has nobody who waits for an answer.
    let body = r#"{"method":"tools/call","params":{"name":"debug"}}"#;
    assert_eq!(guarded.answer(guarded.post(body)).await.0, 403);
    // Nor is any of a batch done.
    let batch = format!("[{},{}]", call("get_user"), call("debug").replace('7', "8"));
    let (status, answer) = guarded.answer(guarded.post(batch)).await;
    assert_eq!((status.as_u16(), answer.as_array().unwrap().len()), (200, 2));
    assert_eq!((&answer[0]["id"], &answer[1]["id"]), (&json!(7), &json!(8)));
    assert!(guarded.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_role_opens_what_it_is_named_for() {
    let guarded = Guarded::with_roles(&["Tools.Admin"]).await;
    let (status, answer) = guarded.answer(guarded.post(call("delete_user"))).await;
    assert_eq!((status.as_u16(), &answer["method"]), (200, &json!("tools/call")), "the upstream's echo");
    assert_eq!(guarded.answer(guarded.post(call("debug"))).await.1["error"]["code"], -32003, "nobody is nobody");
    let alex = Client::register(&guarded.gateway).await.token(&guarded.gateway, ALEX).await;
    let request = http_client().post(guarded.gateway.url("/mcp")).bearer_auth(alex);
    let request = request.header("content-type", "application/json").body(call("delete_user"));
    assert_eq!(guarded.answer(request).await.1["error"]["code"], -32003);
}

#[tokio::test]
async fn the_legacy_transport_obeys_the_same_rules() {
    let guarded = Guarded::start().await;
    let mut stream = http_client()
        .get(guarded.gateway.url("/mcp/sse"))
        .bearer_auth(&guarded.token)
        .header("accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    guarded.upstream.send("event: endpoint\ndata: /message?sessionId=s1\n\n").await;
    let event = String::from_utf8(stream.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    let path = event.split("data: ").nth(1).unwrap().trim();
    let post = |tool: &str| {
        let request = http_client().post(guarded.gateway.url(path)).bearer_auth(&guarded.token);
        request.header("content-type", "application/json").body(call(tool))
    };
    assert_eq!(post("get_user").send().await.unwrap().status(), 200);
    assert_eq!(guarded.upstream.seen().last().unwrap().body, call("get_user"));
    let seen = guarded.upstream.seen().len();
    let (status, answer) = guarded.answer(post("debug")).await;
    assert_eq!((status.as_u16(), &answer["id"], &answer["error"]["code"]), (403, &json!(7), &json!(-32003)));
    assert_eq!(guarded.upstream.seen().len(), seen);
}

/// Where no rule stands nobody reads.
#[tokio::test]
async fn without_a_rule_anything_goes_on() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let body = r#"{"method":"ping","method":"tools/call"} and no JSON"#;
    let request = http_client().post(gateway.url("/mcp")).bearer_auth(token).header("mcp-method", "other").body(body);
    assert_eq!(request.send().await.unwrap().status(), 200);
    assert_eq!(upstream.seen()[0].body, body);
}
