//! Which request it was.

use std::net::IpAddr;

use http::Request;

use crate::trace_context::TraceId;

/// What ties a line to those of the other logs. Empty where there was no request.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// As the access log has it.
    pub request_id: Option<Box<str>>,
    pub trace_id: Option<TraceId>,
    /// Of the client, as far as it is known.
    pub address: Option<IpAddr>,
}

impl Context {
    /// What the edge has put among the request's extensions.
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }
}
