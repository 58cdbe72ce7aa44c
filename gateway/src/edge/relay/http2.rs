//! What is particular to HTTP/2 on the way upstream: how requests are addressed there, and what its errors mean.

use http::header::HOST;
use pingora::http::RequestHeader;
use pingora::prelude::{Error, ErrorType, Result};

use super::super::http_messages::status_error;
use crate::pool::Peer;

/// The server has said that it did nothing about the request, or it was never told: RFC 9113 section 8.7. So even a POST may
/// be sent again.
pub const NOT_PROCESSED: ErrorType = ErrorType::new("NotProcessed");

/// Scheme and authority stand beside the path, and `Host` nowhere (RFC 9113 section 8.3.1).
pub fn address(request: &mut RequestHeader, peer: &Peer) -> Result<()> {
    let uri = peer.absolute(&request.uri).map_err(|_| status_error(400, "the path cannot be sent over HTTP/2"))?;
    request.set_uri(uri);
    request.remove_header(&HOST);
    Ok(())
}

/// The error without the server's own words, which it may hold, and with what it means for the request.
pub fn told(error: Box<Error>) -> Box<Error> {
    let Some(cause) = error.root_cause().downcast_ref::<h2::Error>() else { return error };
    let reason = cause.reason();
    // A stream fails by GOAWAY only if that names it as one that is not seen to.
    let is_refused = cause.is_remote() && (cause.is_go_away() || reason == Some(h2::Reason::REFUSED_STREAM));
    let (kind, words) = if is_refused {
        (NOT_PROCESSED, "the server did not process the request")
    } else if cause.is_io() {
        (ErrorType::ReadError, "the connection was lost")
    } else if cause.is_remote() {
        (ErrorType::H2Error, "the server gave the request up")
    } else if cause.is_library() {
        (ErrorType::InvalidH2, "the server does not speak HTTP/2, or breaks its rules")
    } else {
        (ErrorType::H2Error, "the request could not go on")
    };
    let reason = reason.map(|reason| format!(": {reason:?}")).unwrap_or_default();
    Error::explain(kind, format!("HTTP/2: {words}{reason}"))
}

/// Likewise, of an error while the header was handed over: then nothing was sent.
pub fn unsent(error: Box<Error>) -> Box<Error> {
    let mut error = told(error);
    error.etype = NOT_PROCESSED;
    error
}
