//! What is noted of one request. Cheap: moments and words that are there anyway; what becomes of them is for `spans`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::Traces;
use crate::secret::random_number;
use crate::trace_context::{TraceId, TraceParent};

/// Of one request; what comes beyond that is not noted.
const NOTES: usize = 64;

pub struct Trace {
    traces: Traces,
    pub(super) id: TraceId,
    /// The span of the whole.
    pub(super) span: u64,
    pub(super) origin: Origin,
    pub(super) sampled: bool,
    pub(super) begun: Instant,
    notes: Mutex<Vec<Note>>,
}

/// Where a trace is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    New,
    /// A hop that is trusted.
    Continued(TraceParent),
    /// It began here, and this is what the client said of another one.
    Linked(TraceParent),
    /// Work that goes on after the request with this span.
    Following(u64),
}

/// Something that took time.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub span: u64,
    pub begun: Instant,
    /// `None`: nobody said so, and the next thing or the end of the request ended it.
    pub ended: Option<Instant>,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    /// A connection to a server: one that waited for a request, a new one, or `None` when there was none to be had.
    Connect {
        server: SocketAddr,
        reused: Option<bool>,
    },
    /// A request to a server. With the status and moment of its answer, if there was one.
    Exchange {
        server: SocketAddr,
        answer: Option<(u16, Instant)>,
    },
    /// Entra's tokens of a session are renewed.
    Renewal,
    Entra {
        operation: &'static str,
        outcome: &'static str,
        is_ok: bool,
        code: Option<u32>,
    },
    Store {
        operation: &'static str,
        is_redis: bool,
        is_ok: bool,
    },
}

/// What the edge knows of a request when it is over.
#[derive(Debug)]
pub struct Request {
    pub ended: Instant,
    pub method: &'static str,
    /// As configured, never as the client wrote it.
    pub path: Option<String>,
    /// Of HTTP.
    pub version: &'static str,
    /// 0: the client went away before an answer.
    pub status: u16,
    pub request_id: String,
    pub reason: Option<&'static str>,
    /// Of an error page.
    pub code: Option<&'static str>,
    /// The kind of what broke it off.
    pub error: Option<String>,
    pub upstream: Option<String>,
    pub streamed: bool,
    pub admission: Option<Admission>,
}

/// How it was admitted.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    pub begun: Instant,
    /// What it took to open the token, and then to find the session.
    pub open: Duration,
    pub lookup: Duration,
    pub tier: &'static str,
}

/// What is sent.
pub(super) struct Ended {
    pub trace: Arc<Trace>,
    pub notes: Vec<Note>,
    pub of: Of,
}

pub(super) enum Of {
    Request(Box<Request>),
    Following { name: &'static str, ended: Instant },
}

impl Trace {
    pub(super) fn new(traces: Traces, id: TraceId, origin: Origin, sampled: bool) -> Self {
        let (span, begun) = (random_number().max(1), Instant::now());
        Self { traces, id, span, origin, sampled, begun, notes: Mutex::default() }
    }

    pub fn id(&self) -> TraceId {
        self.id
    }

    /// Whether it goes on with the trace of whoever asks, whose `tracestate` is of the same trace then.
    pub fn is_continued(&self) -> bool {
        matches!(self.origin, Origin::Continued(_))
    }

    /// Something ended now.
    pub fn note(&self, begun: Instant, what: What) {
        self.push(|| Note { span: random_number().max(1), begun, ended: Some(Instant::now()), what });
    }

    /// A request goes to a server, with this as its `traceparent`.
    pub fn exchange(&self, server: SocketAddr) -> HeaderValue {
        let span = random_number().max(1);
        let what = What::Exchange { server, answer: None };
        self.push(|| Note { span, begun: Instant::now(), ended: None, what });
        TraceParent { trace: self.id, span, sampled: self.sampled }.to_header()
    }

    /// The header of the server's answer came.
    pub fn answered(&self, status: u16) {
        if !self.sampled {
            return;
        }
        if let Some(What::Exchange { answer, .. }) = self.notes().last_mut().map(|note| &mut note.what) {
            *answer = Some((status, Instant::now()));
        }
    }

    pub fn end(self: Arc<Self>, request: impl FnOnce() -> Request) {
        if self.sampled {
            self.send(Of::Request(Box::new(request())));
        }
    }

    /// Of what goes on when the request is over.
    pub(super) fn follow(&self) -> Arc<Self> {
        Arc::new(Self::new(self.traces.clone(), self.id, Origin::Following(self.span), self.sampled))
    }

    pub(super) fn end_following(self: Arc<Self>, name: &'static str) {
        self.send(Of::Following { name, ended: Instant::now() });
    }

    fn send(self: Arc<Self>, of: Of) {
        let notes = std::mem::take(&mut *self.notes());
        let traces = self.traces.clone();
        traces.queue(Ended { trace: self, notes, of });
    }

    fn push(&self, note: impl FnOnce() -> Note) {
        if self.sampled {
            let mut notes = self.notes();
            if notes.len() < NOTES {
                notes.push(note());
            }
        }
    }

    /// Every change is whole before it is let go.
    fn notes(&self) -> std::sync::MutexGuard<'_, Vec<Note>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
