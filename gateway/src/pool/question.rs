//! One question to one server, outside of any exchange: for whoever looks whether an MCP server answers there. Over the same
//! TLS and in the same version of HTTP as requests go, with the fixed headers of the hop and without anybody's token.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::prelude::{Error, ErrorType, Result};
use pingora::protocols::http::client::HttpSession;

use super::Peer;

/// What a server said.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// As far as it came, up to a bound or to the first event.
    pub body: Bytes,
}

impl Peer {
    /// Posts a JSON message to the upstream's endpoint.
    ///
    /// # Errors
    /// Why there is no answer, in words that hold nothing of what was sent.
    pub async fn ask(
        &self,
        message: String,
        headers: &[(HeaderName, HeaderValue)],
    ) -> std::result::Result<Answer, String> {
        self.exchange(message, headers).await.map_err(|error| cause(&error))
    }

    async fn exchange(&self, message: String, headers: &[(HeaderName, HeaderValue)]) -> Result<Answer> {
        let peer = self.to_http_peer();
        let (mut http, _) = Connector::new(None).get_http_session(&peer).await?;
        http.set_read_timeout(Some(SILENCE));
        http.set_write_timeout(Some(SILENCE));
        let mut request = RequestHeader::build(Method::POST, self.settings.endpoint.as_bytes(), None)?;
        for (name, value) in self.settings.headers.iter().chain(headers) {
            request.insert_header(name, value)?;
        }
        request.insert_header(ACCEPT, "application/json, text/event-stream")?;
        request.insert_header(CONTENT_TYPE, "application/json")?;
        request.insert_header(CONTENT_LENGTH, message.len())?;
        match &mut http {
            HttpSession::H2(http) => {
                let uri = self.absolute(&request.uri);
                request.set_uri(uri.map_err(|_| Error::explain(ErrorType::InternalError, "the endpoint is no path"))?);
                http.write_request_header(Box::new(request), false)?;
            }
            http => {
                request.insert_header(HOST, self.authority())?;
                http.write_request_header(Box::new(request)).await?;
            }
        }
        http.write_request_body(message.into(), true).await?;
        http.finish_request_body().await?;
        http.read_response_header().await?;
        let nothing = || Error::explain(ErrorType::ReadError, "no answer");
        let header = http.response_header().ok_or_else(nothing)?;
        let (status, headers) = (header.status, header.headers.clone());
        let is_stream = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let mut body = BytesMut::new();
        while body.len() < ENOUGH && !(is_stream && holds_an_event(&body)) {
            match http.read_response_body().await? {
                Some(piece) => body.extend_from_slice(&piece),
                None => break,
            }
        }
        Ok(Answer { status, headers, body: body.freeze() })
    }
}

/// Pingora's word for it, and what it goes back to, such as a certificate.
fn cause(error: &Error) -> String {
    let word = error.etype().as_str();
    match error.root_cause().downcast_ref::<Error>() {
        Some(_) => word.to_owned(),
        None => format!("{word}: {}", error.root_cause()),
    }
}

/// Such a stream may stay open for ever.
fn holds_an_event(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).replace('\r', "");
    text.contains("data: {") && text.ends_with("\n\n")
}

const SILENCE: Duration = Duration::from_secs(5);
const ENOUGH: usize = 64 * 1024;
