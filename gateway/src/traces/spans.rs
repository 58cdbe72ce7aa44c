//! What was noted becomes spans, by the names of OpenTelemetry's semantic conventions for HTTP and databases. What they have
//! no name for begins with `sallyport.`.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::trace::{Admission, Ended, Note, Of, Origin, Request, Trace, What};
use crate::public_url::PublicUrl;
use crate::secret::random_number;
use crate::trace_context::{TraceId, TraceParent};

/// Knows what is the same for all spans.
pub(super) struct Maker {
    scope: InstrumentationScope,
    scheme: &'static str,
    /// What clients know this server by.
    host: String,
}

/// Between two moments of one trace, below which span.
struct Place {
    span: u64,
    begun: Instant,
    ended: Instant,
}

/// The spans of one trace so far.
struct Tree<'a> {
    maker: &'a Maker,
    trace: &'a Trace,
    /// One moment by both clocks.
    now: (Instant, SystemTime),
    /// Where others can be below.
    places: Vec<Place>,
    spans: Vec<SpanData>,
}

impl Maker {
    pub fn new(public_url: &PublicUrl) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self {
            scope: InstrumentationScope::builder("sallyport").with_version(version).build(),
            scheme: if public_url.scheme() == "https" { "https" } else { "http" },
            host: public_url.authority().to_owned(),
        }
    }

    /// Whose spans they are. The instance is one process.
    pub fn resource(&self) -> Resource {
        let instance = format!("{:016x}", random_number());
        let attributes = [
            KeyValue::new("service.name", "sallyport"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance),
        ];
        Resource::builder_empty().with_attributes(attributes).build()
    }

    pub fn of(&self, ended: impl Iterator<Item = Ended>) -> Vec<SpanData> {
        let now = (Instant::now(), wall_time());
        ended.flat_map(|ended| self.tree(&ended, now)).collect()
    }

    fn tree(&self, ended: &Ended, now: (Instant, SystemTime)) -> Vec<SpanData> {
        let Ended { trace, notes, of } = ended;
        let end = match of {
            Of::Request(request) => request.ended,
            Of::Following { ended, .. } => *ended,
        };
        let whole = Place { span: trace.span, begun: trace.begun, ended: end };
        let mut tree = Tree { maker: self, trace, now, places: Vec::new(), spans: Vec::new() };
        match of {
            Of::Request(request) => tree.server(&whole, request),
            Of::Following { name, .. } => tree.add(&whole, SpanKind::Internal, *name, Vec::new(), Status::Unset),
        }
        tree.places.push(whole);
        if let Of::Request(request) = of
            && let Some(admission) = request.admission
        {
            tree.admission(admission);
        }
        // What has others below it first.
        let (stages, calls): (Vec<_>, Vec<_>) = notes.iter().enumerate().partition(|(_, note)| note.has_others_below());
        for (number, note) in stages.into_iter().chain(calls) {
            let next = notes.get(number + 1).map_or(end, |next| next.begun);
            tree.note(note, next);
        }
        tree.spans
    }
}

impl Tree<'_> {
    fn server(&mut self, whole: &Place, request: &Request) {
        // The words of the conventions for a method that nobody knows.
        let is_known = request.method != "other";
        let (method, named) = if is_known { (request.method, request.method) } else { ("_OTHER", "HTTP") };
        let name = request.path.as_ref().map_or(named.to_owned(), |path| format!("{named} {path}"));
        let (host, port) = match self.maker.host.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse::<i64>().ok()),
            _ => (self.maker.host.as_str(), None),
        };
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("url.scheme", self.maker.scheme),
            KeyValue::new("server.address", host.to_owned()),
            KeyValue::new("network.protocol.version", request.version),
            KeyValue::new("sallyport.request_id", request.request_id.clone()),
        ];
        let mut some = |name: &'static str, value: Option<Value>| {
            attributes.extend(value.map(|value| KeyValue::new(name, value)));
        };
        some("server.port", port.map(Value::from));
        some("http.route", request.path.clone().map(Value::from));
        some("url.path", request.path.clone().map(Value::from));
        some("http.response.status_code", (request.status > 0).then(|| i64::from(request.status).into()));
        some("sallyport.upstream", request.upstream.clone().map(Value::from));
        some("sallyport.reason", request.reason.map(Value::from));
        some("sallyport.code", request.code.map(Value::from));
        some("sallyport.streamed", request.streamed.then_some(Value::from(true)));
        let word = || request.reason.map(str::to_owned).or(request.error.clone());
        let error = match request.status {
            500.. => Some(word().unwrap_or_else(|| request.status.to_string())),
            0 => word(),
            _ => request.error.clone(),
        };
        some("error.type", error.map(Value::from));
        // The client's own mistakes, and its going away, are no errors of a server.
        let status = if request.status >= 500 { Status::error("") } else { Status::Unset };
        self.add(whole, SpanKind::Server, name, attributes, status);
    }

    fn admission(&mut self, admission: Admission) {
        let Admission { begun, open, lookup, tier } = admission;
        let opened = begun + open;
        let tier = vec![KeyValue::new("sallyport.session.tier", tier)];
        self.stage("open token", begun, opened, Vec::new());
        self.stage("look up session", opened, opened + lookup, tier);
    }

    fn stage(&mut self, name: &'static str, begun: Instant, ended: Instant, attributes: Vec<KeyValue>) {
        let place = Place { span: random_number().max(1), begun, ended };
        self.add(&place, SpanKind::Internal, name, attributes, Status::Unset);
        self.places.push(place);
    }

    fn note(&mut self, note: &Note, next: Instant) {
        let ended = note.ended.unwrap_or(next).max(note.begun);
        let place = Place { span: note.span, begun: note.begun, ended };
        let failed = |is_ok: bool, word: &'static str| (!is_ok).then(|| KeyValue::new("error.type", word));
        let status = |is_ok: bool| if is_ok { Status::Unset } else { Status::error("") };
        match &note.what {
            What::Connect { server, reused } => {
                let mut attributes = of_server(*server);
                let words = reused.map(|reused| if reused { "reused" } else { "new" });
                attributes.extend(words.map(|word| KeyValue::new("sallyport.connection", word)));
                attributes.extend(failed(reused.is_some(), "no_connection"));
                self.add(&place, SpanKind::Internal, "connect", attributes, status(reused.is_some()));
            }
            What::Exchange { server, answer } => self.exchange(place, *server, *answer),
            What::Renewal => {
                self.add(&place, SpanKind::Internal, "renew tokens", Vec::new(), Status::Unset);
                self.places.push(place);
            }
            What::Entra { operation, outcome, is_ok, code } => {
                let mut attributes = vec![
                    KeyValue::new("sallyport.entra.operation", *operation),
                    KeyValue::new("sallyport.entra.outcome", *outcome),
                ];
                attributes.extend(code.map(|code| KeyValue::new("sallyport.entra.code", i64::from(code))));
                attributes.extend(failed(*is_ok, outcome));
                self.add(&place, SpanKind::Client, format!("entra {operation}"), attributes, status(*is_ok));
            }
            What::Store { operation, is_redis, is_ok } => {
                let (system, kind) =
                    if *is_redis { ("redis", SpanKind::Client) } else { ("memory", SpanKind::Internal) };
                let mut attributes =
                    vec![KeyValue::new("db.system.name", system), KeyValue::new("db.operation.name", *operation)];
                attributes.extend(failed(*is_ok, "unavailable"));
                self.add(&place, kind, format!("{system} {operation}"), attributes, status(*is_ok));
            }
        }
    }

    /// A request to a server. It lasts as long as its answer, and the time to its first byte has a span below.
    fn exchange(&mut self, place: Place, server: SocketAddr, answer: Option<(u16, Instant)>) {
        let method = self.spans.first().and_then(|server| {
            server.attributes.iter().find(|attribute| attribute.key.as_str() == "http.request.method").cloned()
        });
        let name = method.as_ref().map_or("HTTP".into(), |method| method.value.as_str().into_owned());
        let mut attributes = of_server(server);
        attributes.extend(method);
        let is_error = answer.is_none_or(|(status, _)| status >= 400);
        attributes.extend(answer.map(|(status, _)| KeyValue::new("http.response.status_code", i64::from(status))));
        if is_error {
            let word = answer.map_or("no_answer".to_owned(), |(status, _)| status.to_string());
            attributes.push(KeyValue::new("error.type", word));
        }
        let status = if is_error { Status::error("") } else { Status::Unset };
        self.add(&place, SpanKind::Client, name, attributes, status);
        let (begun, span) = (place.begun, place.span);
        self.places.push(place);
        if let Some((_, first)) = answer {
            let waited = Place { span: random_number().max(1), begun, ended: first.max(begun) };
            self.below(span, &waited, SpanKind::Internal, "first byte", Vec::new(), Status::Unset);
        }
    }

    /// Below the shortest that holds it.
    fn add(
        &mut self,
        place: &Place,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        attributes: Vec<KeyValue>,
        status: Status,
    ) {
        let holds = |other: &&Place| other.begun <= place.begun && place.ended <= other.ended;
        let parent = self.places.iter().filter(holds).min_by_key(|other| other.ended - other.begun);
        let parent = parent.map(|parent| parent.span).or((place.span != self.trace.span).then_some(self.trace.span));
        match parent {
            Some(parent) => self.below(parent, place, kind, name, attributes, status),
            None => self.root(place, kind, name.into(), attributes, status),
        }
    }

    fn root(
        &mut self,
        place: &Place,
        kind: SpanKind,
        name: Cow<'static, str>,
        attributes: Vec<KeyValue>,
        status: Status,
    ) {
        let parent = match self.trace.origin {
            Origin::Continued(parent) => parent.span,
            Origin::Following(span) => span,
            Origin::New | Origin::Linked(_) => 0,
        };
        self.below(parent, place, kind, name, attributes, status);
        let Some(span) = self.spans.last_mut() else { return };
        span.parent_span_is_remote = self.trace.is_continued();
        if let Origin::Linked(TraceParent { trace, span: other, sampled }) = self.trace.origin {
            let mut links = SpanLinks::default();
            links.links.push(Link::with_context(context(trace, other, sampled, true)));
            span.links = links;
        }
    }

    fn below(
        &mut self,
        parent: u64,
        place: &Place,
        span_kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        attributes: Vec<KeyValue>,
        status: Status,
    ) {
        let at = |moment: Instant| self.now.1 - self.now.0.saturating_duration_since(moment);
        self.spans.push(SpanData {
            span_context: context(self.trace.id, place.span, true, false),
            parent_span_id: SpanId::from(parent),
            parent_span_is_remote: false,
            span_kind,
            name: name.into(),
            start_time: at(place.begun),
            end_time: at(place.ended),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: self.maker.scope.clone(),
        });
    }
}

impl Note {
    fn has_others_below(&self) -> bool {
        matches!(self.what, What::Renewal | What::Exchange { .. })
    }
}

fn of_server(server: SocketAddr) -> Vec<KeyValue> {
    vec![
        KeyValue::new("server.address", server.ip().to_string()),
        KeyValue::new("server.port", i64::from(server.port())),
    ]
}

fn context(trace: TraceId, span: u64, sampled: bool, is_remote: bool) -> SpanContext {
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    SpanContext::new(trace.to_number().into(), SpanId::from(span), flags, is_remote, TraceState::NONE)
}

#[expect(clippy::disallowed_methods, reason = "when a span was is told to no part of the program")]
fn wall_time() -> SystemTime {
    SystemTime::now()
}
