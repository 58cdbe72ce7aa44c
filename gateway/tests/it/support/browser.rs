//! A browser without a window: a cookie jar, and no redirect followed by itself.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode};
use url::Url;

/// One person's browser. Cookies are kept by host and port, which is stricter than the real thing.
pub struct Browser {
    http: Client,
    jar: Mutex<BTreeMap<(String, String), String>>,
}

/// A page or a redirect, read whole.
pub struct Page {
    pub status: StatusCode,
    pub url: Url,
    pub location: Option<String>,
    pub body: String,
    pub headers: reqwest::header::HeaderMap,
}

/// A client that resolves `localhost` to 127.0.0.1 and follows nothing.
pub fn http_client() -> Client {
    builder().build().unwrap()
}

/// The same, with a new connection for each request.
pub fn unkept_client() -> Client {
    builder().pool_max_idle_per_host(0).build().unwrap()
}

fn builder() -> ClientBuilder {
    super::install_crypto_provider();
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .resolve("localhost", SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .no_proxy()
        // Gateways with TLS have certificates of their own making.
        .tls_danger_accept_invalid_certs(true)
        .timeout(std::time::Duration::from_secs(20))
}

impl Browser {
    pub fn new() -> Self {
        Self::over(http_client())
    }

    /// With connections as the client has them.
    pub fn over(http: Client) -> Self {
        Self { http, jar: Mutex::default() }
    }

    pub async fn get(&self, url: &str) -> Page {
        self.send(self.request(Method::GET, url), url).await
    }

    /// Posts a form as a page of `url`'s own origin does.
    pub async fn submit(&self, url: &str, form: &[(&str, &str)]) -> Page {
        let origin = Url::parse(url).unwrap().origin().ascii_serialization();
        let request = self.request(Method::POST, url).header(ORIGIN, origin).header("sec-fetch-site", "same-origin");
        self.send(request.form(form), url).await
    }

    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        let host = host(url);
        let jar = self.jar.lock().unwrap();
        let cookies: Vec<_> = jar
            .iter()
            .filter(|((owner, _), _)| *owner == host)
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        let request = self.http.request(method, url);
        if cookies.is_empty() { request } else { request.header(COOKIE, cookies.join("; ")) }
    }

    pub async fn send(&self, request: RequestBuilder, url: &str) -> Page {
        let response = request.send().await.unwrap();
        self.keep_cookies(&host(url), &response);
        let location = response.headers().get(LOCATION).map(|value| value.to_str().unwrap().to_owned());
        Page {
            status: response.status(),
            url: Url::parse(url).unwrap(),
            location,
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        }
    }

    /// Names of the cookies held for a URL's host.
    pub fn cookie_names(&self, url: &str) -> Vec<String> {
        let host = host(url);
        self.jar.lock().unwrap().keys().filter(|(owner, _)| *owner == host).map(|(_, name)| name.clone()).collect()
    }

    fn keep_cookies(&self, host: &str, response: &Response) {
        let mut jar = self.jar.lock().unwrap();
        for cookie in response.headers().get_all(SET_COOKIE) {
            let text = cookie.to_str().unwrap();
            let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
            let (name, value) = pair.split_once('=').unwrap();
            let key = (host.to_owned(), name.trim().to_owned());
            if attributes.to_ascii_lowercase().contains("max-age=0") {
                jar.remove(&key);
            } else {
                jar.insert(key, value.to_owned());
            }
        }
    }
}

impl Page {
    /// Where a redirect, or an interstitial's refresh, leads.
    pub fn next(&self) -> String {
        let target = match &self.location {
            Some(location) => location.clone(),
            None => unescape(between(&self.body, "url=", "\"").expect("the page leads somewhere")),
        };
        self.url.join(&target).unwrap().into()
    }

    /// A hidden field of the page's form.
    pub fn hidden(&self, name: &str) -> String {
        let after = self
            .body
            .split(&format!("name=\"{name}\""))
            .nth(1)
            .unwrap_or_else(|| panic!("no field {name}: {}", self.body));
        unescape(between(after, "value=\"", "\"").unwrap())
    }

    /// Where the page's form is sent.
    pub fn action(&self) -> String {
        let action = between(&self.body, "action=\"", "\"").expect("the page has a form");
        self.url.join(&unescape(action)).unwrap().into()
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(found, _)| found)
}

fn unescape(text: &str) -> String {
    text.replace("&#x3d;", "=")
        .replace("&#61;", "=")
        .replace("&quot;", "\"")
        .replace("&#38;", "&")
        .replace("&amp;", "&")
}

fn host(url: &str) -> String {
    let url = Url::parse(url).unwrap();
    format!("{}:{}", url.host_str().unwrap(), url.port_or_known_default().unwrap())
}
