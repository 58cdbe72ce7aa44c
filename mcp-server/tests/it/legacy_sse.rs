//! Legacy HTTP+SSE, as clients of 2024-11-05 speak it.

use std::time::Duration;

use fake_entra::{Fault, Match};
use serde_json::{Value, json};

use crate::support::*;

struct Session {
    events: Events,
    endpoint: String,
}

async fn open(stage: &Stage, token: &str) -> Session {
    let request = stage.http.get(stage.url("/sse")).bearer_auth(token).header("accept", "text/event-stream");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let mut events = Events::new(response);
    let (name, endpoint) = events.next().await.unwrap();
    assert_eq!(name, "endpoint");
    let id = endpoint.strip_prefix("/message?sessionId=").expect(&endpoint);
    assert_eq!((id.len(), id.chars().filter(|letter| *letter == '-').count()), (36, 4), "{endpoint}");
    Session { events, endpoint }
}

async fn send(stage: &Stage, token: &str, endpoint: &str, message: &Value) -> u16 {
    stage.http.post(stage.url(endpoint)).bearer_auth(token).json(message).send().await.unwrap().status().as_u16()
}

impl Session {
    async fn answer(&mut self, id: u64) -> Value {
        loop {
            let (name, data) = self.events.next().await.expect("an answer before the stream ends");
            assert_eq!(name, "message");
            let message: Value = serde_json::from_str(&data).unwrap();
            if message["id"] == id {
                return message["result"].clone();
            }
        }
    }

    async fn initialize(&mut self, stage: &Stage, token: &str) {
        let params =
            json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}});
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
        assert_eq!(send(stage, token, &self.endpoint, &message).await, 202);
        assert_eq!(self.answer(1).await["protocolVersion"], "2024-11-05");
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(send(stage, token, &self.endpoint, &initialized).await, 202);
    }
}

fn call(id: u64) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": TOOL, "arguments": {}}})
}

#[tokio::test]
async fn from_the_endpoint_event_to_the_details() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    let mut session = open(&stage, &token).await;
    session.initialize(&stage, &token).await;
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    assert_eq!(send(&stage, &token, &session.endpoint, &list).await, 202);
    assert_eq!(session.answer(2).await["tools"][0]["name"], TOOL);
    assert_eq!(send(&stage, &token, &session.endpoint, &call(3)).await, 202);
    let details = session.answer(3).await;
    assert_eq!(details["structuredContent"]["mail"], ADELE);
    assert_eq!(details["structuredContent"]["success"], true);
}

#[tokio::test]
async fn a_stream_is_its_owners() {
    let stage = Stage::start().await;
    let (adele, alex) = (stage.token(ADELE).await, stage.token(ALEX).await);
    let mut of_adele = open(&stage, &adele).await;
    let mut of_alex = open(&stage, &alex).await;
    of_adele.initialize(&stage, &adele).await;
    of_alex.initialize(&stage, &alex).await;
    assert_eq!(send(&stage, &alex, &of_adele.endpoint, &call(9)).await, 404);
    for id in 10..20 {
        assert_eq!(send(&stage, &adele, &of_adele.endpoint, &call(id)).await, 202);
        assert_eq!(send(&stage, &alex, &of_alex.endpoint, &call(id)).await, 202);
    }
    for id in 10..20 {
        assert_eq!(of_adele.answer(id).await["structuredContent"]["mail"], ADELE);
        assert_eq!(of_alex.answer(id).await["structuredContent"]["mail"], ALEX);
    }
}

#[tokio::test]
async fn what_cannot_be_delivered() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    let session = open(&stage, &token).await;
    for endpoint in [
        "/message",
        "/message?sessionId=",
        "/message?sessionId=x",
        "/message?sessionId=00000000-0000-4000-8000-000000000000",
    ] {
        assert_eq!(send(&stage, &token, endpoint, &call(1)).await, 404, "{endpoint}");
    }
    assert_eq!(send(&stage, &token, &session.endpoint, &json!({"no": "rpc"})).await, 400);
    assert_eq!(send(&stage, &token, &session.endpoint, &json!("x".repeat(2 << 20))).await, 413);
}

#[tokio::test]
async fn the_session_ends_with_the_stream() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    let mut session = open(&stage, &token).await;
    session.initialize(&stage, &token).await;
    let endpoint = session.endpoint.clone();
    drop(session);
    for _ in 0..100 {
        if send(&stage, &token, &endpoint, &call(2)).await == 404 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the session is still there two seconds after its stream");
}

#[tokio::test]
async fn a_users_streams_are_bounded() {
    let stage = Stage::start().await;
    let (adele, alex) = (stage.token(ADELE).await, stage.token(ALEX).await);
    let mut streams = Vec::new();
    for _ in 0..32 {
        streams.push(open(&stage, &adele).await);
    }
    let more = stage.http.get(stage.url("/sse")).bearer_auth(&adele).send().await.unwrap();
    assert_eq!((more.status().as_u16(), more.headers()["retry-after"].to_str().unwrap()), (503, "5"));
    open(&stage, &alex).await;
}

#[tokio::test]
async fn a_stop_ends_streams_and_sessions() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    let mut session = open(&stage, &token).await;
    session.initialize(&stage, &token).await;
    let Stage { server, .. } = stage;
    tokio::time::timeout(Duration::from_secs(5), server.stop()).await.expect("well before the drain's end");
    tokio::time::timeout(Duration::from_secs(5), session.events.end()).await.expect("the stream ends");
}

/// The answer to a call is in a stream that is open: the call fails in words, and the next one before it begins.
#[tokio::test]
async fn what_the_callers_token_lacks_is_told_by_the_next_call() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    let mut session = open(&stage, &token).await;
    session.initialize(&stage, &token).await;
    let matching = Match { grant: Some("urn:ietf:params:oauth:grant-type:jwt-bearer".into()), ..Match::default() };
    stage.fake.fault(Fault { matching, aadsts: Some(50076), ..Fault::default() });
    assert_eq!(send(&stage, &token, &session.endpoint, &call(2)).await, 202);
    let failed = session.answer(2).await;
    assert_eq!((&failed["isError"], &failed["structuredContent"]["error"]), (&json!(true), &json!("sign_in_required")));
    assert_eq!(send(&stage, &token, &session.endpoint, &call(3)).await, 401);
    let renewed = stage.token(ADELE).await;
    assert_eq!(send(&stage, &renewed, &session.endpoint, &call(3)).await, 202);
    assert_eq!(session.answer(3).await["structuredContent"]["mail"], ADELE);
}
