//! A collector of traces: OTLP over HTTP, and nothing but what a test asks.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;

/// Stopped when its runtime ends.
pub struct Collector {
    pub url: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
pub struct Seen {
    pub spans: Vec<Span>,
    /// Of whom they are.
    pub resource: Vec<KeyValue>,
    /// All that came, headers too.
    pub bytes: Vec<u8>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Seen>>::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(seen.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, seen }
    }

    pub fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }

    /// The first span that this is true of; ten seconds are waited.
    pub async fn wait_for(&self, what: &str, is_it: impl Fn(&Span) -> bool) -> Span {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(span) = self.look(|seen| seen.spans.iter().find(|span| is_it(span)).cloned()) {
                return span;
            }
            let names = || self.look(|seen| seen.spans.iter().map(|span| span.name.clone()).collect::<Vec<_>>());
            assert!(Instant::now() < deadline, "no span {what} among {:?}", names());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The one span of this name below that one. All spans of a request come together.
    pub fn below(&self, parent: &Span, name: &str) -> Span {
        let found: Vec<_> = self.look(|seen| {
            let is_it = |span: &&Span| span.parent_span_id == parent.span_id && span.name == name;
            seen.spans.iter().filter(is_it).cloned().collect()
        });
        assert_eq!(found.len(), 1, "{name} below {}: {:#?}", parent.name, self.look(|seen| seen.spans.clone()));
        found[0].clone()
    }
}

/// An attribute, as text.
pub fn attribute(of: &[KeyValue], name: &str) -> Option<String> {
    let value = of.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()?;
    Some(match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(is_so) => is_so.to_string(),
        other => panic!("{name} is {other:?}"),
    })
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn take(State(seen): State<Arc<Mutex<Seen>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(body.clone()).unwrap();
    let mut seen = seen.lock().unwrap();
    seen.bytes.extend(format!("{headers:?}").bytes().chain(body));
    for of_resource in request.resource_spans {
        seen.resource = of_resource.resource.unwrap().attributes;
        seen.spans.extend(of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans));
    }
    StatusCode::OK
}
