//! A person's browser, as far as a sign-in needs one: a cookie jar, and the headers by which a server knows a page's own form.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;

use super::page::{self, Form};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::target::Target;

/// Connections to all who take part in a sign-in. They outlive the browsers, as a machine's would.
pub struct Connections {
    patience: Duration,
    open: HashMap<SocketAddr, Connection>,
}

/// A browser with an empty jar.
#[derive(Default)]
pub struct Browser {
    /// By host and name, whatever the port, as browsers keep them.
    cookies: HashMap<(String, String), String>,
}

/// A form's body.
pub fn encoded(fields: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// What a browser shows.
pub struct Page {
    at: Target,
    answer: Response<Bytes>,
}

impl Connections {
    pub fn new(patience: Duration) -> Self {
        Self { patience, open: HashMap::new() }
    }

    /// # Errors
    /// When there is no whole answer.
    pub async fn exchange(
        &mut self,
        to: &Target,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, Failure> {
        *request.uri_mut() = to.path();
        request.headers_mut().insert(HOST, to.host().clone());
        let new = || Connection::new(to.address(), self.patience);
        self.open.entry(to.address()).or_insert_with(new).exchange(request).await
    }
}

impl Browser {
    pub async fn get(&mut self, connections: &mut Connections, to: Target) -> Result<Page, Failure> {
        let request = Request::new(Full::default());
        self.load(connections, to, request).await
    }

    /// Sends `form` of `from` as if the button had been pressed.
    pub async fn press(
        &mut self,
        connections: &mut Connections,
        from: &Page,
        form: Form,
        (name, value): (&str, &str),
    ) -> Result<Page, Failure> {
        let to = from.at.join(&form.action).map_err(|_| Failure::Content("form for this machine"))?;
        let pressed = (name.to_owned(), value.to_owned());
        let mut request = Request::new(Full::from(encoded(form.fields.into_iter().chain([pressed]))));
        *request.method_mut() = Method::POST;
        let origin = from.at.url().origin().ascii_serialization();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ORIGIN, HeaderValue::from_str(&origin).map_err(|_| Failure::Content("origin"))?);
        headers.insert("sec-fetch-site", HeaderValue::from_static("same-origin"));
        self.load(connections, to, request).await
    }

    async fn load(
        &mut self,
        connections: &mut Connections,
        at: Target,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Page, Failure> {
        let host = at.url().host_str().unwrap_or_default().to_owned();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("text/html"));
        headers.entry("sec-fetch-site").or_insert(HeaderValue::from_static("none"));
        headers.insert("sec-fetch-mode", HeaderValue::from_static("navigate"));
        headers.insert("sec-fetch-dest", HeaderValue::from_static("document"));
        if let Some(cookies) = self.cookies_for(&host) {
            headers.insert(COOKIE, cookies);
        }
        let answer = connections.exchange(&at, request).await?;
        self.keep(&host, &answer);
        Ok(Page { at, answer })
    }

    fn cookies_for(&self, host: &str) -> Option<HeaderValue> {
        let cookies = self.cookies.iter().filter(|((owner, _), _)| owner == host);
        let pairs: Vec<_> = cookies.map(|((_, name), value)| format!("{name}={value}")).collect();
        let mut value = HeaderValue::from_str(&pairs.join("; ")).ok().filter(|value| !value.is_empty())?;
        value.set_sensitive(true);
        Some(value)
    }

    fn keep(&mut self, host: &str, answer: &Response<Bytes>) {
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let text = cookie.to_str().unwrap_or_default();
            let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
            let Some((name, value)) = pair.split_once('=') else { continue };
            let key = (host.to_owned(), name.trim().to_owned());
            if attributes.split(';').any(|attribute| attribute.trim().eq_ignore_ascii_case("max-age=0")) {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, value.to_owned());
            }
        }
    }
}

impl Page {
    /// Where the answer sends the browser on to, by a redirect or by itself.
    pub fn leads_to(&self) -> Option<String> {
        if self.answer.status().is_redirection() {
            return Some(self.answer.headers().get(LOCATION)?.to_str().ok()?.to_owned());
        }
        page::refresh(self.text())
    }

    /// # Errors
    /// When it leads away from this machine.
    pub fn join(&self, reference: &str) -> Result<Target, Failure> {
        self.at.join(reference).map_err(|_| Failure::Content("address on this machine"))
    }

    /// The form that has this button.
    pub fn form_with(&self, (name, value): (&str, &str)) -> Option<Form> {
        page::forms(self.text()).into_iter().find(|form| form.has_button(name, value))
    }

    pub fn status(&self) -> u16 {
        self.answer.status().as_u16()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(self.answer.body()).unwrap_or_default()
    }
}
