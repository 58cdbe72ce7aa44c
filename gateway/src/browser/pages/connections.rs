//! What this browser remembers, and the page after it has forgotten all of it.

use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use http::header::REFERRER_POLICY;
use http::{HeaderValue, Response, StatusCode};

use super::{Pages, STYLE, in_words};
use crate::browser::lists::Listed;
use crate::browser::{ApprovedClients, CsrfToken, DeniedClients};
use crate::clock::Timestamp;

#[derive(Template)]
#[template(path = "connections.html")]
struct ConnectionsTemplate<'a> {
    style: &'static str,
    server_name: &'a str,
    /// None of them empty.
    lists: Vec<List>,
    csrf: String,
}

struct List {
    id: &'static str,
    title: &'static str,
    rows: Vec<Row>,
}

struct Row {
    entry: Listed,
    time: String,
}

#[derive(Template)]
#[template(path = "signed_out.html")]
struct SignedOutTemplate<'a> {
    style: &'static str,
    server_name: &'a str,
}

impl Pages {
    /// Lists what is remembered, with a button to forget each entry, and one for all.
    pub fn connections(
        &self,
        approved: &ApprovedClients,
        denied: &DeniedClients,
        csrf: &CsrfToken,
        now: Timestamp,
    ) -> Response<Bytes> {
        let approved = approved.list(now).into_iter().map(|entry| Row { time: days(entry.remaining), entry });
        let denied = denied.list(now).into_iter().map(|entry| Row { time: ago(entry.remaining), entry });
        let lists = [
            List { id: "approved", title: "Allowed without asking again", rows: approved.collect() },
            List { id: "denied", title: "Refused a short while ago", rows: denied.collect() },
        ];
        let template = ConnectionsTemplate {
            style: STYLE,
            server_name: &self.server_name,
            lists: lists.into_iter().filter(|list| !list.rows.is_empty()).collect(),
            csrf: csrf.to_text(),
        };
        let mut response = self.html(StatusCode::OK, &template);
        // As on the consent page: without it the form would be sent with `Origin: null`.
        response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        response
    }

    pub fn signed_out(&self) -> Response<Bytes> {
        self.html(StatusCode::OK, &SignedOutTemplate { style: STYLE, server_name: &self.server_name })
    }
}

/// Rounded up: what ends today still holds today.
fn days(remaining: Duration) -> String {
    match remaining.as_secs().div_ceil(24 * 3600) {
        1 => "for 1 more day".to_owned(),
        days => format!("for {days} more days"),
    }
}

fn ago(remaining: Duration) -> String {
    format!("{} ago", in_words(DeniedClients::REMEMBERED.saturating_sub(remaining)))
}
